//! From a model's description to the kernels of its program.

use std::collections::BTreeMap;

use super::table::{Recipe, Table};
use super::{ITEMS_PER_WORKGROUP, Operation, Place, Program, Work};
use crate::error::{Error, Result};
use crate::recording::word;
use crate::stage::denoise::kernel::{self, RecurrentTile, activation_code, feature_constants, stride_of};
use crate::stage::denoise::model::{Activation, Basis, Description, Feature, Layer, LayerKind, Model, Part};
use crate::stage::denoise::network::{NetworkOptions, Precision};

/// Parameters as an operation has them.
fn as_words(params: impl bytemuck::Pod) -> Vec<u32> {
    bytemuck::cast_slice(&[params]).to_vec()
}

/// Numbers in each row, and where they are.
#[derive(Clone, Copy)]
struct Rows {
    place: Place,
    len: usize,
    /// Magnitudes as they are: a few loud bins, and many quiet ones that 8 bits would lose.
    is_raw: bool,
}

impl Rows {
    fn stride(self) -> u32 {
        word(stride_of(self.len))
    }
}

/// A dense layer, what the input of a recurrent one adds to its gates, or a learned basis.
struct Product<'a> {
    label: &'a str,
    tensor: &'a str,
    bias: Option<&'a str>,
    /// Rows of the matrix that come together.
    gates: usize,
    source: Rows,
    result: Rows,
    activation: Activation,
    scales: Option<Place>,
}

struct Builder {
    options: NetworkOptions,
    program: Program,
    /// Layers so far.
    layer: usize,
}

impl Program {
    /// # Errors
    /// [`Error::Setting`] when the model is more than the kernels can do.
    pub(crate) fn new(model: &Model, options: NetworkOptions) -> Result<Self> {
        let description = model.description();
        check(description)?;
        let program = Self {
            operations: Vec::new(),
            tables: Vec::new(),
            per_row: BTreeMap::new(),
            per_channel: BTreeMap::new(),
            scaled: BTreeMap::new(),
            most_hops: usize::MAX,
            hop: description.hop,
        };
        let mut builder = Builder { options, program, layer: 0 };
        builder.build(description);
        Ok(builder.program)
    }
}

fn check(description: &Description) -> Result<()> {
    let (window_len, kept) = (description.window_len, description.window_len - description.hop);
    let transforms = description.parts.iter().any(|part| matches!(part.basis, Basis::Spectrum(_)));
    if transforms && window_len > kernel::LONGEST_WINDOW {
        let expected = format!("a GPU transforms {} samples at most", kernel::LONGEST_WINDOW);
        return Err(Error::setting("the model's window", window_len, expected));
    }
    if kept > kernel::MOST_KEPT {
        let expected = format!("a GPU keeps {} at most", kernel::MOST_KEPT);
        return Err(Error::setting("the overlap of the model's windows", kept, expected));
    }
    let layers = description.parts.iter().flat_map(|part| &part.layers);
    let recurrent = layers.filter(|layer| matches!(layer.kind, LayerKind::Lstm | LayerKind::Gru));
    if let Some(layer) = recurrent.into_iter().find(|layer| layer.outputs > kernel::MOST_UNITS) {
        let expected = format!("a GPU runs recurrent layers of {} at most (`{}`)", kernel::MOST_UNITS, layer.name);
        return Err(Error::setting("the number of units", layer.outputs, expected));
    }
    Ok(())
}

impl Builder {
    fn build(&mut self, description: &Description) {
        let (window_len, hop) = (description.window_len, description.hop);
        let windows = self.rows(Place::Windows, window_len);
        self.rows(Place::Samples, hop);
        self.rows(Place::Finished, hop);
        self.program.per_row.insert(Place::Channels, 1);
        self.program.per_row.insert(Place::Steps, 2);
        self.program.per_channel.insert(Place::History, window_len - hop);
        self.program.per_channel.insert(Place::Tails, window_len - hop);
        let weights = self.table("window", Recipe::Window);
        self.frame_windows(windows, hop, weights);
        for part in &description.parts {
            self.part(part, windows);
        }
        self.overlap_add(windows, hop, weights);
    }

    fn frame_windows(&mut self, windows: Rows, hop: usize, weights: Place) {
        let params = kernel::FrameParams {
            window_len: word(windows.len),
            hop: word(hop),
            window_stride: windows.stride(),
            ..Default::default()
        };
        self.push(Operation {
            label: "frame".to_owned(),
            wgsl: kernel::FRAME,
            entry: "frame_windows",
            constants: vec![("WORKGROUP_SIZE", ITEMS_PER_WORKGROUP)],
            work: Work::Items(windows.len),
            bound: vec![
                (Place::Channels, false),
                (Place::Steps, false),
                (weights, false),
                (Place::History, false),
                (Place::Samples, false),
                (windows.place, true),
            ],
            params: as_words(params),
        });
    }

    /// The sums of overlapping windows; then what the next call needs is kept.
    fn overlap_add(&mut self, windows: Rows, hop: usize, weights: Place) {
        let params = kernel::OverlapParams {
            window_len: word(windows.len),
            hop: word(hop),
            window_stride: windows.stride(),
            ..Default::default()
        };
        let kept = (windows.len - hop).max(1);
        for (entry, work) in [("overlap_add", Work::Items(hop)), ("keep_ends", Work::Slots)] {
            self.push(Operation {
                label: entry.to_owned(),
                wgsl: kernel::OVERLAP_ADD,
                entry,
                constants: vec![("WORKGROUP_SIZE", ITEMS_PER_WORKGROUP), ("KEPT_LEN", kept)],
                work,
                bound: vec![
                    (Place::Channels, false),
                    (Place::Steps, false),
                    (weights, false),
                    (windows.place, false),
                    (Place::Samples, false),
                    (Place::Tails, true),
                    (Place::History, true),
                    (Place::Finished, true),
                ],
                params: as_words(params),
            });
        }
    }

    fn push(&mut self, operation: Operation) {
        self.program.operations.push(operation);
    }

    /// Memory for rows of this length, at least.
    fn rows(&mut self, place: Place, len: usize) -> Rows {
        let words = self.program.per_row.entry(place).or_default();
        *words = (*words).max(stride_of(len));
        Rows { place, len, is_raw: false }
    }

    /// A table by its recipe, which may be there already.
    fn table(&mut self, label: impl Into<String>, recipe: Recipe) -> Place {
        let tables = &mut self.program.tables;
        let place = tables.iter().position(|table| table.recipe == recipe).unwrap_or_else(|| {
            tables.push(Table { label: label.into(), recipe });
            tables.len() - 1
        });
        Place::Table(place)
    }

    fn part(&mut self, part: &Part, windows: Rows) {
        match part.basis {
            Basis::Spectrum(feature) => {
                let features = self.spectrum(part, feature, windows);
                let mask = self.layers(part, features);
                self.mask_spectrum(part, mask, windows);
            }
            Basis::Learned { size } => {
                let encoded = self.rows(Place::Basis, size);
                self.basis(&format!("{}.encoder", part.name), windows, encoded);
                let mask = self.layers(part, encoded);
                self.mask_features(part, mask, encoded);
                self.basis(&format!("{}.decoder", part.name), encoded, windows);
            }
        }
    }

    fn spectrum(&mut self, part: &Part, feature: Feature, windows: Rows) -> Rows {
        let bins = windows.len / 2 + 1;
        self.rows(Place::Basis, 2 * bins);
        let features = self.rows(Place::Layer(0), bins);
        let (code, [floor, offset, scale]) = feature_constants(feature);
        let params = kernel::SpectrumParams {
            window_stride: windows.stride(),
            feature_stride: features.stride(),
            floor,
            offset,
            scale,
            ..Default::default()
        };
        let twiddles = self.table("twiddles", Recipe::Twiddles);
        self.push(Operation {
            label: format!("{}.spectrum", part.name),
            wgsl: kernel::SPECTRUM,
            entry: "spectrum",
            constants: vec![("WINDOW_LEN", windows.len), ("FEATURE", code as usize)],
            work: Work::Rows,
            bound: vec![(windows.place, false), (twiddles, false), (Place::Basis, true), (features.place, true)],
            params: as_words(params),
        });
        Rows { is_raw: feature == Feature::Magnitude, ..features }
    }

    fn mask_spectrum(&mut self, part: &Part, mask: Rows, windows: Rows) {
        let params = kernel::MaskParams {
            mask_stride: mask.stride(),
            window_stride: windows.stride(),
            floor: self.options.mask_floor,
            ..Default::default()
        };
        let twiddles = self.table("twiddles", Recipe::Twiddles);
        self.push(Operation {
            label: format!("{}.mask", part.name),
            wgsl: kernel::MASK,
            entry: "mask_spectrum",
            constants: vec![("WINDOW_LEN", windows.len)],
            work: Work::Rows,
            bound: vec![(mask.place, false), (Place::Basis, false), (twiddles, false), (windows.place, true)],
            params: as_words(params),
        });
    }

    fn mask_features(&mut self, part: &Part, mask: Rows, encoded: Rows) {
        let (size, stride) = (word(encoded.len), encoded.stride());
        let params = kernel::MaskFeaturesParams { size, stride, ..Default::default() };
        self.push(Operation {
            label: format!("{}.mask", part.name),
            wgsl: kernel::MASK_FEATURES,
            entry: "mask_features",
            constants: vec![("WORKGROUP_SIZE", ITEMS_PER_WORKGROUP)],
            work: Work::Items(encoded.len),
            bound: vec![(mask.place, false), (encoded.place, true)],
            params: as_words(params),
        });
    }

    /// A product with the vectors of a learned basis, which are never in 8 bits: the signal itself goes through them.
    fn basis(&mut self, tensor: &str, source: Rows, result: Rows) {
        let bits = if self.options.precision == Precision::F16 { 16 } else { 32 };
        let (activation, scales) = (Activation::Linear, None);
        self.dense(&Product { label: tensor, tensor, bias: None, gates: 1, source, result, activation, scales }, bits);
    }

    fn layers(&mut self, part: &Part, features: Rows) -> Rows {
        let mut source = features;
        for layer in &part.layers {
            let turn = usize::from(source.place == Place::Layer(0));
            let result = self.rows(Place::Layer(turn), layer.outputs);
            self.layer(layer, source, result);
            self.layer += 1;
            source = result;
        }
        source
    }

    fn layer(&mut self, layer: &Layer, source: Rows, result: Rows) {
        let scales = layer.scaled.then_some(Place::Scales(self.layer));
        if let Some(scales) = scales {
            self.program.per_channel.insert(scales, layer.outputs);
            self.program.scaled.insert(self.layer, format!("{}.scale", layer.name));
        }
        match layer.kind {
            LayerKind::Dense(activation) => {
                let (tensor, bias) = (format!("{}.weights", layer.name), format!("{}.bias", layer.name));
                let (label, bias) = (&layer.name, Some(bias.as_str()));
                let tensor = &tensor;
                self.product(&Product { label, tensor, bias, gates: 1, source, result, activation, scales });
            }
            LayerKind::Lstm | LayerKind::Gru => self.recurrent(layer, source, result, scales),
            LayerKind::LayerNorm { epsilon } => self.layer_norm(layer, epsilon, source, result, scales),
        }
    }

    /// Runs it in the precision that was asked for.
    fn product(&mut self, product: &Product<'_>) {
        match self.options.precision {
            Precision::Int8 if product.source.is_raw => self.dense(product, 32),
            Precision::Int8 => self.dense_int8(product),
            Precision::F16 => self.dense(product, 16),
            Precision::F32 => self.dense(product, 32),
        }
    }

    fn dense(&mut self, product: &Product<'_>, bits: usize) {
        let &Product { label, tensor, bias, gates, source, result, activation, scales } = product;
        let weights = self.table(tensor, Recipe::Dense { tensor: tensor.to_owned(), gates, bits });
        let biases = match bias {
            Some(bias) => self.table(bias, Recipe::Vector { tensor: bias.to_owned(), gates }),
            None => self.table("zeros", Recipe::Zeros { len: result.len }),
        };
        let params = kernel::DenseParams {
            inputs: word(source.len),
            outputs: word(result.len),
            source_quads: source.stride() / 4,
            weight_quads: word(source.len.next_multiple_of(16) * bits / 128),
            result_stride: result.stride(),
            activation: activation_code(activation),
            ..Default::default()
        };
        self.push(Operation {
            label: label.to_owned(),
            wgsl: kernel::DENSE,
            entry: "dense",
            constants: vec![("WEIGHT_BITS", bits), ("SCALED", usize::from(scales.is_some()))],
            work: Work::Dense { outputs: result.len },
            bound: vec![
                (source.place, false),
                (weights, false),
                (biases, false),
                (Place::Channels, false),
                (scales.unwrap_or(Place::Nothing), false),
                (result.place, true),
            ],
            params: as_words(params),
        });
    }

    fn quantise(&mut self, label: &str, source: Rows, words: usize) {
        self.rows(Place::Packed, words);
        self.program.per_row.insert(Place::PackedScale, 1);
        let params = kernel::QuantiseParams {
            len: word(source.len),
            stride: source.stride(),
            words: word(words),
            ..Default::default()
        };
        self.push(Operation {
            label: format!("{label}.quantise"),
            wgsl: kernel::QUANTISE,
            entry: "quantise",
            constants: Vec::new(),
            work: Work::Rows,
            bound: vec![(source.place, false), (Place::Packed, true), (Place::PackedScale, true)],
            params: as_words(params),
        });
    }

    fn dense_int8(&mut self, product: &Product<'_>) {
        let &Product { label, tensor, bias, gates, source, result, activation, scales } = product;
        let words = source.len.next_multiple_of(64) / 4;
        self.quantise(label, source, words);
        let weights = self.table(tensor, Recipe::DenseInt8 { tensor: tensor.to_owned(), gates });
        let bias = bias.map(str::to_owned);
        let tables =
            self.table(format!("{tensor}.rows"), Recipe::DenseInt8Rows { tensor: tensor.to_owned(), bias, gates });
        let params = kernel::DenseInt8Params {
            outputs: word(result.len),
            source_quads: word(words / 4),
            result_stride: result.stride(),
            activation: activation_code(activation),
            ..Default::default()
        };
        self.push(Operation {
            label: label.to_owned(),
            wgsl: kernel::DENSE_INT8,
            entry: "dense_int8",
            constants: vec![("SCALED", usize::from(scales.is_some()))],
            work: Work::Dense { outputs: result.len },
            bound: vec![
                (Place::Packed, false),
                (Place::PackedScale, false),
                (weights, false),
                (tables, false),
                (Place::Channels, false),
                (scales.unwrap_or(Place::Nothing), false),
                (result.place, true),
            ],
            params: as_words(params),
        });
    }

    /// What the input adds to the gates, for all hops; then the walk through them.
    fn recurrent(&mut self, layer: &Layer, source: Rows, result: Rows, scales: Option<Place>) {
        let (gate_count, bias) = if layer.kind == LayerKind::Lstm { (4, "bias") } else { (3, "input_bias") };
        let gates = self.rows(Place::Gates, gate_count * layer.outputs);
        self.product(&Product {
            label: &format!("{}.input", layer.name),
            tensor: &format!("{}.input_weights", layer.name),
            bias: Some(&format!("{}.{bias}", layer.name)),
            gates: gate_count,
            source,
            result: gates,
            activation: Activation::Linear,
            scales: None,
        });
        self.walk(layer, gate_count, gates, result, scales);
    }

    fn walk(&mut self, layer: &Layer, gate_count: usize, gates: Rows, result: Rows, scales: Option<Place>) {
        let is_lstm = layer.kind == LayerKind::Lstm;
        let bits = match self.options.precision {
            Precision::F32 => 32,
            Precision::F16 => 16,
            Precision::Int8 => 8,
        };
        let units = layer.outputs;
        let tiles = RecurrentTile::all(units, bits);
        let most_hops = tiles.iter().map(|tile| tile.most_hops()).min().unwrap_or(1);
        self.program.most_hops = self.program.most_hops.min(most_hops);
        let state_len = if is_lstm { 2 * units } else { units };
        let state = Place::State(self.layer);
        self.program.per_channel.insert(state, state_len);

        let tensor = format!("{}.recurrent_weights", layer.name);
        let bias = (!is_lstm).then(|| format!("{}.recurrent_bias", layer.name));
        let weights = self.table(&tensor, Recipe::Recurrent { tensor: tensor.clone(), gates: gate_count, bits });
        let tables = if is_lstm && bits != 8 {
            Place::Nothing
        } else {
            let rows = Recipe::RecurrentRows { tensor: tensor.clone(), bias, gates: gate_count };
            self.table(format!("{tensor}.rows"), rows)
        };
        let params = kernel::RecurrentParams {
            units: word(units),
            state_len: word(state_len),
            gate_stride: gates.stride(),
            result_stride: result.stride(),
            ..Default::default()
        };
        self.push(Operation {
            label: layer.name.clone(),
            wgsl: if is_lstm { kernel::LSTM } else { kernel::GRU },
            entry: if is_lstm { "lstm" } else { "gru" },
            constants: vec![("SCALED", usize::from(scales.is_some()))],
            work: Work::Recurrent(tiles),
            bound: vec![
                (Place::Channels, false),
                (Place::Steps, false),
                (gates.place, false),
                (weights, false),
                (tables, false),
                (scales.unwrap_or(Place::Nothing), false),
                (state, true),
                (result.place, true),
            ],
            params: as_words(params),
        });
    }

    fn layer_norm(&mut self, layer: &Layer, epsilon: f32, source: Rows, result: Rows, scales: Option<Place>) {
        let params = kernel::NormParams {
            len: word(layer.outputs),
            source_stride: source.stride(),
            result_stride: result.stride(),
            epsilon,
            ..Default::default()
        };
        let vector = |tensor: &str| Recipe::Vector { tensor: format!("{}.{tensor}", layer.name), gates: 1 };
        let gains = self.table(format!("{}.gain", layer.name), vector("gain"));
        let biases = self.table(format!("{}.bias", layer.name), vector("bias"));
        self.push(Operation {
            label: layer.name.clone(),
            wgsl: kernel::LAYER_NORM,
            entry: "layer_norm",
            constants: vec![("SCALED", usize::from(scales.is_some()))],
            work: Work::Rows,
            bound: vec![
                (source.place, false),
                (gains, false),
                (biases, false),
                (Place::Channels, false),
                (scales.unwrap_or(Place::Nothing), false),
                (result.place, true),
            ],
            params: as_words(params),
        });
    }
}
