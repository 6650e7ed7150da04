//! A denoiser as plain data: what its layers are, in order, and their weights.
//!
//! ```text
//! samples -> window -> | features -> layers -> mask -> masked window | -> window -> overlap-add -> samples
//!                      |____________ once for each part ____________|
//! ```
//!
//! A window of `window_len` samples, taken every `hop`, goes through the parts in turn; each multiplies it by a mask,
//! either in the spectrum or in a learned basis. Conventions, for whoever makes a model:
//!
//! - Matrices are stored `[outputs, inputs]`, row after row.
//! - An LSTM has the gates input, forget, cell, output, in this order (as PyTorch and Keras; ONNX has i, o, f, c), and
//!   one bias, the sum of PyTorch's two: `c' = sigmoid(f) c + sigmoid(i) tanh(g)`, `h' = sigmoid(o) tanh(c')`.
//! - A GRU has the gates reset, update, new, in this order (as PyTorch; ONNX has z, r, h), and two biases, since the
//!   reset gate is applied after the recurrent product (ONNX `linear_before_reset = 1`, Keras `reset_after=True`):
//!   `n = tanh(W x + b + sigmoid(r) * (R h + b'))`, `h' = (1 - sigmoid(z)) n + sigmoid(z) h`.
//! - Layer normalisation is over the last axis, with the biased variance: `gain (x - mean) / sqrt(var + epsilon) + bias`.
//! - The transform is a real FFT without scaling; its inverse divides by the length.
//! - The last layer of a part ends in a sigmoid, and its outputs are the mask.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::stage::tile::rounded;

pub use super::check::{HOPS_PER_WINDOW, LAYER_SIZES, MOST_LAYERS, SAMPLE_RATES_HZ, WINDOW_LENS};
pub use crate::tensors::{FORMAT_VERSION, LARGEST_FILE_BYTES, LARGEST_WEIGHT, ModelError, StoredAs, Tensor};

/// What a model is: everything but its weights. This is the JSON text in the metadata of a model file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// A short name, as `dtln`.
    pub name: String,
    /// The version of the weights, in whatever scheme their maker uses.
    pub version: String,
    /// An SPDX expression, or what the maker says.
    pub licence: String,
    /// Where the weights come from.
    pub source: String,
    /// Samples per second that it was trained for.
    pub sample_rate_hz: u32,
    /// Samples in a window: a multiple of `hop`.
    pub window_len: usize,
    /// Samples from one window to the next.
    pub hop: usize,
    /// The weight of each sample, on the way in and on the way out.
    pub window: Window,
    /// The level of speech that it does best at, in dB of full scale (RMS); none when any level will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level_dbfs: Option<f32>,
    /// What the mask of a spectrum is raised to where it is less, in dB; none for no floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_floor_db: Option<f32>,
    /// At least one.
    pub parts: Vec<Part>,
}

/// The weight of each sample of a window, applied before the first part and after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// All ones: overlapping windows are added as the network makes them.
    Rectangular,
    /// Square root of the symmetric Hann window, `sqrt(0.5 - 0.5 cos(2 pi n / (len - 1)))`.
    SqrtHann,
    /// Square root of the periodic Hann window, `sqrt(0.5 - 0.5 cos(2 pi n / len))`.
    SqrtHannPeriodic,
}

/// One network, and where its mask is applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// A name that no other part has; tensors of its basis are called `<name>.encoder` and `<name>.decoder`.
    pub name: String,
    /// Where the mask is applied.
    pub basis: Basis,
    /// At least one; each takes what the one before it gives.
    pub layers: Vec<Layer>,
}

/// Where a part applies its mask.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Basis {
    /// The bins of a real FFT of the window: `window_len / 2 + 1` of them, with the phase as it was.
    Spectrum(Feature),
    /// `size` products of the window with learned vectors, which are also the features.
    Learned {
        /// How many.
        size: usize,
    },
}

/// What the first layer of a part sees of a bin X.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Feature {
    /// `|X|`
    Magnitude,
    /// `ln(|X| + floor)`
    LogMagnitude {
        /// At least `f32::MIN_POSITIVE`.
        floor: f32,
    },
    /// `(log10(max(|X|^2, floor)) + offset) * scale`
    Log10Power {
        /// At least `f32::MIN_POSITIVE`.
        floor: f32,
        /// Any finite number.
        offset: f32,
        /// Any finite number but 0.
        scale: f32,
    },
}

/// One layer of a network. Its tensors are called `<name>.<tensor>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// A name that no other layer or part has.
    pub name: String,
    /// Values that it takes of each window.
    pub inputs: usize,
    /// Values that it gives.
    pub outputs: usize,
    /// What it does.
    pub kind: LayerKind,
    /// True when it has the tensor `scale`: a factor for each of its outputs, which a channel can replace by its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scaled: bool,
}

/// What a layer does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LayerKind {
    /// `activation(W x + b)`; tensors `weights` `[outputs, inputs]`, `bias` `[outputs]`.
    Dense(Activation),
    /// Long short-term memory; tensors `input_weights` `[4 outputs, inputs]`, `recurrent_weights`
    /// `[4 outputs, outputs]`, `bias` `[4 outputs]`.
    Lstm,
    /// Gated recurrent unit; tensors `input_weights` `[3 outputs, inputs]`, `recurrent_weights` `[3 outputs, outputs]`,
    /// `input_bias` `[3 outputs]`, `recurrent_bias` `[3 outputs]`.
    Gru,
    /// Layer normalisation; tensors `gain` `[outputs]`, `bias` `[outputs]`. As many outputs as inputs.
    LayerNorm {
        /// Added to the variance.
        epsilon: f32,
    },
}

/// What a dense layer does to each of its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Nothing.
    Linear,
    /// `max(x, 0)`
    Relu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
}

/// A description with all of its tensors, checked against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    description: Description,
    tensors: BTreeMap<String, Tensor>,
}

impl Window {
    /// The weight of each sample of a window of `len`.
    pub(crate) fn weights(self, len: usize) -> Vec<f32> {
        let period = match self {
            Self::Rectangular => return vec![1.0; len],
            Self::SqrtHann => len - 1,
            Self::SqrtHannPeriodic => len,
        };
        let weight = |n: usize| (0.5 - 0.5 * (TAU * n as f64 / period as f64).cos()).max(0.0).sqrt();
        (0..len).map(weight).map(rounded).collect()
    }
}

impl Description {
    /// Bins of the spectrum of a window.
    pub fn bins(&self) -> usize {
        self.window_len / 2 + 1
    }

    /// Name and shape of every tensor that a model of this description has.
    pub fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        self.parts.iter().flat_map(|part| part.expected_tensors(self.window_len)).collect()
    }
}

impl Part {
    /// Values that the first layer takes, which is also how many the mask has.
    pub fn features(&self, window_len: usize) -> usize {
        match self.basis {
            Basis::Spectrum(_) => window_len / 2 + 1,
            Basis::Learned { size } => size,
        }
    }

    fn expected_tensors(&self, window_len: usize) -> Vec<(String, Vec<usize>)> {
        let mut tensors = Vec::new();
        if let Basis::Learned { size } = self.basis {
            tensors.push((format!("{}.encoder", self.name), vec![size, window_len]));
            tensors.push((format!("{}.decoder", self.name), vec![window_len, size]));
        }
        tensors.extend(self.layers.iter().flat_map(Layer::expected_tensors));
        tensors
    }
}

impl Layer {
    pub(super) fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let mut tensors: Vec<(&str, Vec<usize>)> = match self.kind {
            LayerKind::Dense(_) => vec![("weights", vec![outputs, inputs]), ("bias", vec![outputs])],
            LayerKind::Lstm => vec![
                ("input_weights", vec![4 * outputs, inputs]),
                ("recurrent_weights", vec![4 * outputs, outputs]),
                ("bias", vec![4 * outputs]),
            ],
            LayerKind::Gru => vec![
                ("input_weights", vec![3 * outputs, inputs]),
                ("recurrent_weights", vec![3 * outputs, outputs]),
                ("input_bias", vec![3 * outputs]),
                ("recurrent_bias", vec![3 * outputs]),
            ],
            LayerKind::LayerNorm { .. } => vec![("gain", vec![outputs]), ("bias", vec![outputs])],
        };
        if self.scaled {
            tensors.push(("scale", vec![outputs]));
        }
        tensors.into_iter().map(|(tensor, shape)| (format!("{}.{tensor}", self.name), shape)).collect()
    }
}

impl Model {
    /// Puts the two together.
    ///
    /// # Errors
    /// [`ModelError`] when the description breaks a limit ([`SAMPLE_RATES_HZ`], [`WINDOW_LENS`], [`HOPS_PER_WINDOW`],
    /// [`LAYER_SIZES`], [`MOST_LAYERS`]) or has layers that do not fit together; when a tensor is missing, has another
    /// shape than described, or holds a NaN or a weight beyond [`LARGEST_WEIGHT`]; or when there is one that the
    /// description does not know.
    pub fn new(description: Description, tensors: BTreeMap<String, Tensor>) -> Result<Self, ModelError> {
        super::check::check(&description)?;
        let expected = description.expected_tensors();
        for (name, shape) in &expected {
            tensors.get(name).ok_or_else(|| ModelError::tensor(name, "it is missing"))?.check(name, shape)?;
        }
        if let Some(name) = tensors.keys().find(|name| !expected.iter().any(|(known, _)| known == *name)) {
            return Err(ModelError::tensor(name, "the description knows no such tensor"));
        }
        Ok(Self { description, tensors })
    }

    /// The model that comes with this crate: for speech, at 16 kHz. See `assets/README.md` for how it was made.
    pub fn builtin() -> Arc<Self> {
        static BUILTIN: OnceLock<Arc<Model>> = OnceLock::new();
        let read = || Self::from_bytes(include_bytes!("../../../assets/auricle-small.safetensors"));
        #[expect(clippy::expect_used, reason = "a test reads it")]
        Arc::clone(BUILTIN.get_or_init(|| Arc::new(read().expect("the file that is built in should be a model"))))
    }

    /// What the model is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The tensor of this name; none when it has no such tensor.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Every tensor, by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}
