//! NSNet2, the baseline of Microsoft's deep noise suppression challenges (S. Braun and I. Tashev, 2020).
//!
//! ```text
//! window -> FFT -> log10 |X|^2 -> dense, ReLU -> GRU -> GRU -> dense, ReLU -> dense, ReLU -> dense, sigmoid -> mask
//! ```
//!
//! It is published as ONNX; its arrays, named after the nodes there, are published with a web demo.

use std::path::Path;

use super::npy::Arrays;
use super::{Published, Weights, dense, finish, layer, transposed, with_gates_in_order, with_shape};
use crate::stage::denoise::model::{
    Activation, Basis, Description, Feature, LayerKind, Model, ModelError, Part, Tensor, Window,
};

const SAMPLE_RATE_HZ: u32 = 16_000;
const WINDOW_LEN: usize = 320;
const HOP: usize = 160;
const BINS: usize = WINDOW_LEN / 2 + 1;
const UNITS: usize = 400;
const WIDE: usize = 600;

/// The gates reset, update, new, where the ONNX order is update, reset, new.
const GATES_OF_ONNX: [usize; 3] = [1, 0, 2];

/// Name here, array of the weights, array of the bias, inputs, outputs.
const DENSE: [(&str, &str, &str, usize, usize); 4] = [
    ("input", "172", "fc_in_0_bias", BINS, UNITS),
    ("output1", "215", "fc_out_0_bias", UNITS, WIDE),
    ("output2", "216", "fc_out_2_bias", WIDE, WIDE),
    ("mask", "217", "fc_out_4_bias", WIDE, BINS),
];

/// Name here, arrays of the input weights, the recurrent weights, the input bias and the recurrent bias.
const GRU: [(&str, [&str; 4]); 2] =
    [("gru1", ["192", "193", "194_0", "194_1"]), ("gru2", ["212", "213", "214_0", "214_1"])];

const PUBLISHED: [Published; 1] = [Published {
    sha256: "92be4e581f315c44d469bec1bf32eb77e4a18e728552c50ab0ff8ab63db61f67",
    licence: "MIT (code) and CC-BY-4.0 (content), (c) Microsoft; the arrays Apache-2.0",
    source: "https://github.com/microsoft/DNS-Challenge, NSNet2-baseline, as arrays in \
             https://github.com/huningxin/webnn-samples, nsnet2/weights",
}];

/// Reads the sixteen arrays from a folder.
///
/// # Errors
/// [`ModelError::Import`] with what was expected of a folder that does not hold them.
pub fn from_arrays(folder: &Path) -> Result<Model, ModelError> {
    let arrays = Arrays::in_folder(folder)?;
    let mut weights = Weights::default();
    for (name, matrix, bias, inputs, outputs) in DENSE {
        weights.insert(name, "weights", transposed(&arrays.get(matrix, &[inputs, outputs])?));
        weights.insert(name, "bias", arrays.get(bias, &[outputs])?);
    }
    for (name, names) in GRU {
        gru(&arrays, name, names, &mut weights)?;
    }
    finish(description(), weights.0, folder, &PUBLISHED)
}

fn gru(arrays: &Arrays, name: &str, names: [&str; 4], weights: &mut Weights) -> Result<(), ModelError> {
    let gates = 3 * UNITS;
    let matrix = |array: &str| Ok(in_order(&arrays.get(array, &[1, gates, UNITS])?, vec![gates, UNITS]));
    let bias = |array: &str| Ok(in_order(&arrays.get(array, &[1, gates])?, vec![gates]));
    let [input_weights, recurrent_weights, input_bias, recurrent_bias] = names;
    weights.insert(name, "input_weights", matrix(input_weights)?);
    weights.insert(name, "recurrent_weights", matrix(recurrent_weights)?);
    weights.insert(name, "input_bias", bias(input_bias)?);
    weights.insert(name, "recurrent_bias", bias(recurrent_bias)?);
    Ok(())
}

fn in_order(stacked: &Tensor, shape: Vec<usize>) -> Tensor {
    with_gates_in_order(&with_shape(stacked, shape), &GATES_OF_ONNX)
}

fn description() -> Description {
    let feature = Feature::Log10Power { floor: 1e-12, offset: 0.0, scale: 1.0 };
    Description {
        name: "nsnet2".to_owned(),
        version: "1".to_owned(),
        licence: String::new(),
        source: String::new(),
        sample_rate_hz: SAMPLE_RATE_HZ,
        window_len: WINDOW_LEN,
        hop: HOP,
        window: Window::SqrtHann,
        // The middle of the levels, -35 to -15 dBFS, at which the challenge mixes what it trains on. It matters little:
        // over that range the VoiceBank pairs score PESQ 2.49 to 2.47 and SI-SDR 15.6 to 14.8 dB, the quiet end best.
        level_dbfs: Some(-25.0),
        mask_floor_db: Some(-80.0),
        parts: vec![Part {
            name: "network".to_owned(),
            basis: Basis::Spectrum(feature),
            layers: vec![
                dense("input", BINS, UNITS, Activation::Relu),
                layer("gru1", UNITS, UNITS, LayerKind::Gru),
                layer("gru2", UNITS, UNITS, LayerKind::Gru),
                dense("output1", UNITS, WIDE, Activation::Relu),
                dense("output2", WIDE, WIDE, Activation::Relu),
                dense("mask", WIDE, BINS, Activation::Sigmoid),
            ],
        }],
    }
}
