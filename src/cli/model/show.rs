//! `auricle model show`: what a model is, and what it costs.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cli::print;
use crate::stage::denoise::model::{Activation, Basis, Description, Feature, Layer, LayerKind, Model, Part, Window};
use crate::tensors::{kinds_stored, read_bounded};

/// Say what a model file holds and what it costs.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ShowArguments {
    /// The model file.
    file: PathBuf,

    /// Print one JSON object, with the tensors.
    #[arg(long)]
    json: bool,
}

pub(super) fn show(arguments: &ShowArguments) -> Result<()> {
    let summary = Summary::of(&Model::read(&arguments.file)?, &arguments.file)?;
    print(&if arguments.json { serde_json::to_string_pretty(&summary)? } else { summary.text() })
}

/// What there is to say of a model file.
#[derive(Debug, serde::Serialize)]
pub(super) struct Summary {
    file: String,
    file_bytes: u64,
    /// The kinds of numbers in the file.
    stored_as: Vec<String>,
    description: Description,
    latency_ms: f64,
    parameters: u64,
    /// Multiply-adds of the matrix products, for each second of a channel.
    multiply_adds_per_s: f64,
    weight_bytes: WeightBytes,
    layers: Vec<LayerSummary>,
    tensors: Vec<TensorSummary>,
}

/// Bytes of the weights in each precision.
#[derive(Debug, serde::Serialize)]
struct WeightBytes {
    f32: u64,
    f16: u64,
    /// With a 32-bit scale for each row.
    int8: u64,
}

#[derive(Debug, serde::Serialize)]
struct LayerSummary {
    part: String,
    layer: String,
    kind: String,
    inputs: usize,
    outputs: usize,
    parameters: u64,
    multiply_adds_per_s: f64,
}

#[derive(Debug, serde::Serialize)]
struct TensorSummary {
    name: String,
    shape: Vec<usize>,
}

impl Summary {
    pub(super) fn of(model: &Model, path: &Path) -> Result<Self> {
        let bytes = read_bounded(path)?;
        let description = model.description();
        let parameters = description.parameters();
        let tensor = |(name, shape)| TensorSummary { name, shape };
        Ok(Self {
            file: path.display().to_string(),
            file_bytes: bytes.len() as u64,
            stored_as: kinds_stored(&bytes)?,
            latency_ms: 1e3 * description.latency().as_secs_f64(),
            parameters,
            multiply_adds_per_s: description.multiply_adds_per_s(),
            weight_bytes: WeightBytes {
                f32: 4 * parameters,
                f16: 2 * parameters,
                int8: parameters + 4 * description.rows(),
            },
            layers: description.parts.iter().flat_map(|part| layers_of(part, description)).collect(),
            tensors: description.expected_tensors().into_iter().map(tensor).collect(),
            description: description.clone(),
        })
    }

    pub(super) fn text(&self) -> String {
        let Description { name, version, licence, source, sample_rate_hz, window_len, hop, window, .. } =
            &self.description;
        let lines = [
            format!("{name}, version {version}  ({})", self.file),
            format!("  licence    {licence}"),
            format!("  source     {source}"),
            format!(
                "  signal     {sample_rate_hz} Hz, windows of {window_len} samples ({}), hop {hop}",
                shape(*window)
            ),
            format!("  latency    {:.1} ms: a sample comes out once its last window is whole", self.latency_ms),
            format!("  level      {}", level(&self.description)),
            format!("  mask       {}", mask_floor(&self.description)),
            format!(
                "  cost       {} parameters, {} multiply-adds per second and channel",
                grouped(self.parameters),
                millions(self.multiply_adds_per_s)
            ),
            format!("  size       {} in the file as {}; {}", mega(self.file_bytes), self.kinds(), self.sizes()),
            String::new(),
            self.table(),
        ];
        lines.join("\n")
    }

    fn kinds(&self) -> String {
        self.stored_as.join(" and ").to_lowercase()
    }

    fn sizes(&self) -> String {
        let WeightBytes { f32, f16, int8 } = self.weight_bytes;
        format!("weights are {} in f32, {} in f16, {} in int8", mega(f32), mega(f16), mega(int8))
    }

    fn table(&self) -> String {
        let head = ["layer", "kind", "in", "out", "parameters", "million/s"].map(str::to_owned);
        let row = |layer: &LayerSummary| {
            [
                layer.layer.clone(),
                layer.kind.clone(),
                layer.inputs.to_string(),
                layer.outputs.to_string(),
                grouped(layer.parameters),
                format!("{:.2}", layer.multiply_adds_per_s / 1e6),
            ]
        };
        let rows: Vec<_> = std::iter::once(head).chain(self.layers.iter().map(row)).collect();
        aligned(&rows)
    }
}

/// The basis of a part, then its layers, then what applies the mask.
fn layers_of(part: &Part, description: &Description) -> Vec<LayerSummary> {
    let (window_len, rate) = (description.window_len, f64::from(description.sample_rate_hz) / description.hop as f64);
    let features = part.features(window_len);
    let summary = |layer: String, kind: String, inputs, outputs, parameters, multiply_adds: u64| LayerSummary {
        part: part.name.clone(),
        layer,
        kind,
        inputs,
        outputs,
        parameters,
        multiply_adds_per_s: multiply_adds as f64 * rate,
    };
    let half = part.basis_multiply_adds(window_len) / 2;
    let (there, back) = match part.basis {
        Basis::Spectrum(feature) => (format!("FFT, {}", formula(feature)), "mask, inverse FFT"),
        Basis::Learned { .. } => ("encoder".to_owned(), "mask, decoder"),
    };
    let layer = |layer: &Layer| {
        let Layer { name, inputs, outputs, .. } = layer;
        summary(name.clone(), kind(layer), *inputs, *outputs, layer.parameters(), layer.multiply_adds())
    };
    let first = summary(part.name.clone(), there, window_len, features, half, half);
    let last = summary(part.name.clone(), back.to_owned(), features, window_len, half, half);
    std::iter::once(first).chain(part.layers.iter().map(layer)).chain([last]).collect()
}

fn kind(layer: &Layer) -> String {
    let kind = match layer.kind {
        LayerKind::Dense(Activation::Linear) => "dense",
        LayerKind::Dense(Activation::Relu) => "dense, ReLU",
        LayerKind::Dense(Activation::Sigmoid) => "dense, sigmoid",
        LayerKind::Dense(Activation::Tanh) => "dense, tanh",
        LayerKind::Lstm => "LSTM",
        LayerKind::Gru => "GRU",
        LayerKind::LayerNorm { .. } => "layer normalisation",
    };
    if layer.scaled { format!("{kind}, scaled") } else { kind.to_owned() }
}

fn formula(feature: Feature) -> &'static str {
    match feature {
        Feature::Magnitude => "|X|",
        Feature::LogMagnitude { .. } => "ln |X|",
        Feature::Log10Power { .. } => "log10 |X|^2",
    }
}

fn shape(window: Window) -> &'static str {
    match window {
        Window::Rectangular => "rectangular",
        Window::SqrtHann => "square root of Hann",
        Window::SqrtHannPeriodic => "square root of periodic Hann",
    }
}

fn level(description: &Description) -> String {
    description.level_dbfs.map_or_else(|| "any".to_owned(), |level| format!("best at {level} dBFS"))
}

fn mask_floor(description: &Description) -> String {
    description.mask_floor_db.map_or_else(|| "no floor".to_owned(), |floor| format!("not below {floor} dB"))
}

/// Columns side by side: the first two to the left, numbers to the right.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    let cell = |(column, text): (usize, &String)| {
        let width = widths[column];
        if column < 2 { format!("{text:<width$}") } else { format!("{text:>width$}") }
    };
    let line =
        |row: &[String; COLUMNS]| format!("  {}", row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  "));
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// With a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

fn millions(number: f64) -> String {
    format!("{:.1} million", number / 1e6)
}

fn mega(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (986_753, "986,753"), (1_000_000, "1,000,000")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
