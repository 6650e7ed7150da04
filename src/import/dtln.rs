//! DTLN, the dual-signal transformation LSTM network of N. L. Westhausen and B. T. Meyer (Interspeech 2020).
//!
//! ```text
//! window -> FFT -> |X| -> LSTM -> LSTM -> dense, sigmoid -> mask -> inverse FFT
//!        -> encoder -> layer normalisation -> LSTM -> LSTM -> dense, sigmoid -> mask -> decoder -> overlap-add
//! ```
//!
//! It is published as a pair of ONNX files, and as Keras weights; a variant of those (`norm_40h`) takes the logarithm
//! of the magnitudes and normalises them before the first LSTM.

use std::collections::BTreeMap;
use std::path::Path;

use super::npy::Arrays;
use super::onnx::{Graph, Node};
use super::{Published, Weights, dense, finish, layer, tensor, transposed, with_gates_in_order, with_shape};
use crate::stage::denoise::model::{
    Activation, Basis, Description, Feature, Layer, LayerKind, Model, ModelError, Part, Tensor, Window,
};

const SAMPLE_RATE_HZ: u32 = 16_000;
const WINDOW_LEN: usize = 512;
const HOP: usize = 128;
const BINS: usize = WINDOW_LEN / 2 + 1;
const UNITS: usize = 128;
const BASIS: usize = 256;

/// Of both layer normalisations, and what is added to a magnitude before its logarithm is taken.
const EPSILON: f32 = 1e-7;

/// The gates input, forget, cell, output, where the ONNX order is input, output, forget, cell.
const GATES_OF_ONNX: [usize; 4] = [0, 2, 3, 1];

const PUBLISHED: [Published; 2] = [
    Published {
        sha256: "5dbcf55f40c5f574fd254edc073e786923fcec3a83a9a0a13b54cbc5676ed210",
        licence: "MIT, (c) 2020 Nils L. Westhausen",
        source: "https://github.com/breizhn/DTLN, pretrained_model: model_1.onnx and model_2.onnx, or model.h5",
    },
    Published {
        sha256: "b4881f4ea431f1333fd03c4b350db54b75b01dbc45cd2f2430248ac7b8b0e503",
        licence: "MIT, (c) 2020 Nils L. Westhausen",
        source: "https://github.com/breizhn/DTLN, pretrained_model: DTLN_norm_40h.h5",
    },
];

/// Reads the pair of ONNX files.
///
/// # Errors
/// [`ModelError::Import`] with what was expected of a file that is not one of them.
pub fn from_onnx(stage1: &Path, stage2: &Path) -> Result<Model, ModelError> {
    let mut weights = Weights::default();
    first_stage(&Graph::read(stage1)?, &mut weights)?;
    second_stage(&Graph::read(stage2)?, &mut weights)?;
    finish(description(false), weights.0, stage1, &PUBLISHED)
}

/// Reads Keras weights from a folder of arrays, which `assets/import/keras-to-npy.py` makes of the `.h5` file.
///
/// # Errors
/// [`ModelError::Import`] with what was expected of a folder that does not hold them.
pub fn from_keras_arrays(folder: &Path) -> Result<Model, ModelError> {
    let keras = Keras::open(folder)?;
    let mut weights = Weights::default();
    let norms = keras.layers("layer_normalization", 1..=2)?;
    let is_normalised = norms.len() == 2;
    if is_normalised {
        keras.norm(&norms[0], "stage1.norm", BINS, &mut weights)?;
    }
    let lstms = keras.layers("lstm", 4..=4)?;
    keras.lstm(&lstms[0], "stage1.lstm1", BINS, &mut weights)?;
    keras.lstm(&lstms[1], "stage1.lstm2", UNITS, &mut weights)?;
    let denses = keras.layers("dense", 2..=2)?;
    keras.dense(&denses[0], "stage1.mask", BINS, &mut weights)?;
    let bases = keras.layers("conv1d", 2..=2)?;
    weights.insert("stage2", "encoder", keras.kernel(&bases[0], WINDOW_LEN, BASIS)?);
    weights.insert("stage2", "decoder", keras.kernel(&bases[1], BASIS, WINDOW_LEN)?);
    keras.norm(&norms[norms.len() - 1], "stage2.norm", BASIS, &mut weights)?;
    keras.lstm(&lstms[2], "stage2.lstm1", BASIS, &mut weights)?;
    keras.lstm(&lstms[3], "stage2.lstm2", UNITS, &mut weights)?;
    keras.dense(&denses[1], "stage2.mask", BASIS, &mut weights)?;
    finish(description(is_normalised), weights.0, folder, &PUBLISHED)
}

fn description(is_normalised: bool) -> Description {
    let norm = |name: &str, len| layer(name, len, len, LayerKind::LayerNorm { epsilon: EPSILON });
    let mut first = lstms_and_mask("stage1", BINS);
    let feature = if is_normalised {
        first.insert(0, norm("stage1.norm", BINS));
        Feature::LogMagnitude { floor: EPSILON }
    } else {
        Feature::Magnitude
    };
    let mut second = lstms_and_mask("stage2", BASIS);
    second.insert(0, norm("stage2.norm", BASIS));
    Description {
        name: if is_normalised { "dtln-norm" } else { "dtln" }.to_owned(),
        version: "1".to_owned(),
        licence: String::new(),
        source: String::new(),
        sample_rate_hz: SAMPLE_RATE_HZ,
        window_len: WINDOW_LEN,
        hop: HOP,
        window: Window::Rectangular,
        // Where PESQ is best on the VoiceBank pairs: 2.67, and 2.63 at -35, 2.60 at -15 (levels of whole recordings).
        level_dbfs: Some(-25.0),
        mask_floor_db: None,
        parts: vec![
            Part { name: "stage1".to_owned(), basis: Basis::Spectrum(feature), layers: first },
            Part { name: "stage2".to_owned(), basis: Basis::Learned { size: BASIS }, layers: second },
        ],
    }
}

fn lstms_and_mask(stage: &str, features: usize) -> Vec<Layer> {
    vec![
        layer(&format!("{stage}.lstm1"), features, UNITS, LayerKind::Lstm),
        layer(&format!("{stage}.lstm2"), UNITS, UNITS, LayerKind::Lstm),
        dense(&format!("{stage}.mask"), UNITS, features, Activation::Sigmoid),
    ]
}

/// From the mask back to the magnitudes.
fn first_stage(graph: &Graph, weights: &mut Weights) -> Result<(), ModelError> {
    let mask = graph.maker(graph.output()?, "Sigmoid", "the mask of stage 1")?;
    let value = mask_layer(graph, mask, "stage1.mask", BINS, weights)?;
    let value = lstm(graph, value, "stage1.lstm2", UNITS, weights)?;
    let value = lstm(graph, value, "stage1.lstm1", BINS, weights)?;
    ensure_input(graph, value, "the first LSTM of stage 1")
}

/// From the decoded window back to the window.
fn second_stage(graph: &Graph, weights: &mut Weights) -> Result<(), ModelError> {
    let (decoder, masked) = convolution(graph, graph.output()?, "the decoder", BASIS, WINDOW_LEN)?;
    weights.insert("stage2", "decoder", decoder);
    let product = graph.maker(masked, "Mul", "the masked basis")?;
    let (mask, encoded) = operand_made_by(graph, product, "Sigmoid", "the mask of stage 2")?;
    let value = mask_layer(graph, mask, "stage2.mask", BASIS, weights)?;
    let value = lstm(graph, value, "stage2.lstm2", UNITS, weights)?;
    let value = lstm(graph, value, "stage2.lstm1", BASIS, weights)?;
    let value = norm(graph, value, "stage2.norm", weights)?;
    if graph.before_moves(value) != graph.before_moves(encoded) {
        return Err(graph.problem("expected the mask to be applied to what the layer normalisation takes"));
    }
    let (encoder, value) = convolution(graph, value, "the encoder", WINDOW_LEN, BASIS)?;
    weights.insert("stage2", "encoder", encoder);
    ensure_input(graph, value, "the encoder")
}

fn ensure_input(graph: &Graph, value: &str, role: &str) -> Result<(), ModelError> {
    if graph.is_input(value) {
        return Ok(());
    }
    Err(graph.problem(format!("expected {role} to take the first input of the file")))
}

/// Of the two inputs of a node, the maker of the one that is made like this, and the other one.
fn operand_made_by<'a>(
    graph: &'a Graph,
    node: &'a Node,
    operation: &str,
    role: &str,
) -> Result<(&'a Node, &'a str), ModelError> {
    let [one, other] = node.inputs.as_slice() else {
        return Err(graph.problem(format!("expected `{}` of {role} to take two values", node.operation)));
    };
    match graph.maker(one, operation, role) {
        Ok(made) => Ok((made, other)),
        Err(_) => Ok((graph.maker(other, operation, role)?, one)),
    }
}

/// `Sigmoid(x W + b)`: keeps W and b, gives the name of x.
fn mask_layer<'a>(
    graph: &'a Graph,
    sigmoid: &'a Node,
    name: &str,
    outputs: usize,
    weights: &mut Weights,
) -> Result<&'a str, ModelError> {
    let sum = graph.maker(first_input(graph, sigmoid)?, "Add", name)?;
    let (bias, product) = graph.weight_and_value(sum, name)?;
    let product = graph.maker(product, "MatMul", name)?;
    let (matrix, value) = graph.weight_and_value(product, name)?;
    weights.insert(name, "weights", transposed(&graph.weights(matrix, &[UNITS, outputs], name)?));
    weights.insert(name, "bias", graph.weights(bias, &[outputs], name)?);
    Ok(value)
}

fn first_input<'a>(graph: &Graph, node: &'a Node) -> Result<&'a str, ModelError> {
    let problem = || graph.problem(format!("expected `{}` to take a value, got none", node.operation));
    Ok(node.inputs.first().ok_or_else(problem)?)
}

/// A convolution of length 1: its matrix `[outputs, inputs]`, and the name of what it takes.
fn convolution<'a>(
    graph: &'a Graph,
    value: &'a str,
    role: &str,
    inputs: usize,
    outputs: usize,
) -> Result<(Tensor, &'a str), ModelError> {
    let node = graph.maker(value, "Conv", role)?;
    let (kernel, value) = graph.weight_and_value(node, role)?;
    let kernel = graph.weights(kernel, &[outputs, inputs, 1], role)?;
    Ok((with_shape(&kernel, vec![outputs, inputs]), value))
}

/// `(x - mean) / sqrt(var + epsilon) * gain + bias`: keeps gain and bias, gives the name of x.
fn norm<'a>(graph: &'a Graph, value: &'a str, name: &str, weights: &mut Weights) -> Result<&'a str, ModelError> {
    let shifted = graph.maker(value, "Add", name)?;
    let (bias, scaled) = graph.weight_and_value(shifted, name)?;
    let scaled = graph.maker(scaled, "Mul", name)?;
    let (gain, quotient) = graph.weight_and_value(scaled, name)?;
    let quotient = graph.maker(quotient, "Div", name)?;
    let (root, centred) = operand_made_by(graph, quotient, "Sqrt", name)?;
    let sum = graph.maker(first_input(graph, root)?, "Add", name)?;
    let (epsilon, _) = graph.weight_and_value(sum, name)?;
    let epsilon = graph.weights(epsilon, &[], name)?;
    if epsilon.values[0] != EPSILON {
        return Err(graph.problem(format!("{name}: expected the epsilon {EPSILON:e}, got {:e}", epsilon.values[0])));
    }
    weights.insert(name, "gain", graph.weights(gain, &[BASIS], name)?);
    weights.insert(name, "bias", graph.weights(bias, &[BASIS], name)?);
    first_input(graph, graph.maker(centred, "Sub", name)?)
}

/// An LSTM, as one node or in single steps: keeps its weights, gives the name of what it takes.
fn lstm<'a>(
    graph: &'a Graph,
    value: &'a str,
    name: &str,
    inputs: usize,
    weights: &mut Weights,
) -> Result<&'a str, ModelError> {
    match graph.maker(value, "LSTM", name) {
        Ok(node) => lstm_node(graph, node, name, inputs, weights),
        Err(no_node) => match graph.maker(value, "Mul", name) {
            Ok(product) => lstm_in_steps(graph, product, name, inputs, weights),
            Err(_) => Err(no_node),
        },
    }
}

fn lstm_node<'a>(
    graph: &Graph,
    node: &'a Node,
    name: &str,
    inputs: usize,
    weights: &mut Weights,
) -> Result<&'a str, ModelError> {
    let [value, input, recurrent, bias, ..] = node.inputs.as_slice() else {
        return Err(graph.problem(format!("{name}: expected an LSTM with weights and a bias")));
    };
    if !node.is_plain_lstm() {
        return Err(graph.problem(format!("{name}: expected a forward LSTM with sigmoid, tanh, tanh and no peepholes")));
    }
    let gates = 4 * UNITS;
    let input = graph.weights(input, &[1, gates, inputs], name)?;
    let recurrent = graph.weights(recurrent, &[1, gates, UNITS], name)?;
    let bias = graph.weights(bias, &[1, 2 * gates], name)?;
    let (one, other) = bias.values.split_at(gates);
    let bias = tensor(vec![gates], one.iter().zip(other).map(|(one, other)| one + other).collect());
    let ordered = |stacked: &Tensor, shape| with_gates_in_order(&with_shape(stacked, shape), &GATES_OF_ONNX);
    weights.insert(name, "input_weights", ordered(&input, vec![gates, inputs]));
    weights.insert(name, "recurrent_weights", ordered(&recurrent, vec![gates, UNITS]));
    weights.insert(name, "bias", with_gates_in_order(&bias, &GATES_OF_ONNX));
    Ok(value)
}

/// `h = sigmoid(o) tanh(c)`, `c = sigmoid(f) c' + sigmoid(i) tanh(g)`: what each gate is used for says which it is.
fn lstm_in_steps<'a>(
    graph: &'a Graph,
    product: &'a Node,
    name: &str,
    inputs: usize,
    weights: &mut Weights,
) -> Result<&'a str, ModelError> {
    let (output_gate, squashed) = operand_made_by(graph, product, "Sigmoid", name)?;
    let cell = graph.maker(first_input(graph, graph.maker(squashed, "Tanh", name)?)?, "Add", name)?;
    let [one, other] = cell.inputs.as_slice() else {
        return Err(graph.problem(format!("{name}: expected the cell to be a sum of two")));
    };
    let (one, other) = (graph.maker(one, "Mul", name)?, graph.maker(other, "Mul", name)?);
    let is_new = |product| operand_made_by(graph, product, "Tanh", name).is_ok();
    let (kept, added) = if is_new(other) { (one, other) } else { (other, one) };
    let (forget_gate, _) = operand_made_by(graph, kept, "Sigmoid", name)?;
    let (input_gate, candidate) = operand_made_by(graph, added, "Sigmoid", name)?;
    let candidate = graph.maker(candidate, "Tanh", name)?;
    let split = graph.maker(first_input(graph, output_gate)?, "Split", name)?;
    let mut order = Vec::new();
    for gate in [input_gate, forget_gate, candidate, output_gate] {
        let value = first_input(graph, gate)?;
        let place = split.outputs.iter().position(|output| output == value);
        order.push(place.ok_or_else(|| graph.problem(format!("{name}: expected all gates to come of one split")))?);
    }
    if split.outputs.len() != 4 {
        return Err(graph.problem(format!("{name}: expected 4 gates, got {}", split.outputs.len())));
    }
    gate_weights(graph, split, &order, (name, inputs), weights)
}

/// `Split(x W + h R + b)`.
fn gate_weights<'a>(
    graph: &'a Graph,
    split: &'a Node,
    order: &[usize],
    (name, inputs): (&str, usize),
    weights: &mut Weights,
) -> Result<&'a str, ModelError> {
    let gates = 4 * UNITS;
    let sum = graph.maker(first_input(graph, split)?, "Add", name)?;
    let (bias, sum) = graph.weight_and_value(sum, name)?;
    let sum = graph.maker(sum, "Add", name)?;
    let (one, other) = operand_made_by(graph, sum, "MatMul", name)?;
    let other = graph.maker(other, "MatMul", name)?;
    let (one, other) = (graph.weight_and_value(one, name)?, graph.weight_and_value(other, name)?);
    // What was before comes straight from an input of the file: a slice of the state.
    let is_state = |value: &str| graph.maker(value, "Slice", name).is_ok();
    let ((input, value), (recurrent, _)) = if is_state(one.1) { (other, one) } else { (one, other) };
    let ordered = |matrix: &Tensor| with_gates_in_order(&transposed(matrix), order);
    weights.insert(name, "input_weights", ordered(&graph.weights(input, &[inputs, gates], name)?));
    weights.insert(name, "recurrent_weights", ordered(&graph.weights(recurrent, &[UNITS, gates], name)?));
    weights.insert(name, "bias", with_gates_in_order(&graph.weights(bias, &[gates], name)?, order));
    Ok(value)
}

/// Keras weights as arrays: `<layer>.<weight>.npy`. Keras numbers the layers of one kind in the order in which they
/// were made, from wherever its session was: `lstm_4`, `lstm_5`.
struct Keras {
    arrays: Arrays,
    /// By what the names begin with, the numbers behind it.
    layers: BTreeMap<String, Vec<(u32, String)>>,
}

impl Keras {
    fn open(folder: &Path) -> Result<Self, ModelError> {
        let arrays = Arrays::in_folder(folder)?;
        let mut layers = BTreeMap::<String, Vec<_>>::new();
        for name in arrays.names()? {
            let Some((name, _)) = name.split_once('.') else { continue };
            let (kind, number) = match name.rsplit_once('_').map(|(kind, number)| (kind, number.parse())) {
                Some((kind, Ok(number))) => (kind, number),
                _ => (name, 0),
            };
            let of_kind = layers.entry(kind.trim_start_matches("instant_").to_owned()).or_default();
            let numbered = (number, name.to_owned());
            if !of_kind.contains(&numbered) {
                of_kind.push(numbered);
            }
        }
        layers.values_mut().for_each(|layers| layers.sort());
        Ok(Self { arrays, layers })
    }

    /// The layers of one kind, in the order of their numbers.
    fn layers(&self, kind: &str, count: std::ops::RangeInclusive<usize>) -> Result<Vec<String>, ModelError> {
        let of_kind = self.layers.get(kind).map_or(&[][..], Vec::as_slice);
        if count.contains(&of_kind.len()) {
            return Ok(of_kind.iter().map(|(_, name)| name.clone()).collect());
        }
        let (low, high) = count.into_inner();
        let expected = if low == high { low.to_string() } else { format!("{low} or {high}") };
        let problem = format!("expected the arrays of {expected} layers `{kind}`, got {}", of_kind.len());
        Err(ModelError::import(self.arrays.folder(), problem))
    }

    /// `[1, inputs, outputs]` of a convolution of length 1, as `[outputs, inputs]`.
    fn kernel(&self, layer: &str, inputs: usize, outputs: usize) -> Result<Tensor, ModelError> {
        let kernel = self.arrays.get(&format!("{layer}.kernel"), &[1, inputs, outputs])?;
        Ok(transposed(&with_shape(&kernel, vec![inputs, outputs])))
    }

    fn lstm(&self, layer: &str, name: &str, inputs: usize, weights: &mut Weights) -> Result<(), ModelError> {
        let gates = 4 * UNITS;
        let get = |weight: &str, shape: &[usize]| self.arrays.get(&format!("{layer}.{weight}"), shape);
        weights.insert(name, "input_weights", transposed(&get("kernel", &[inputs, gates])?));
        weights.insert(name, "recurrent_weights", transposed(&get("recurrent_kernel", &[UNITS, gates])?));
        weights.insert(name, "bias", get("bias", &[gates])?);
        Ok(())
    }

    fn dense(&self, layer: &str, name: &str, outputs: usize, weights: &mut Weights) -> Result<(), ModelError> {
        let get = |weight: &str, shape: &[usize]| self.arrays.get(&format!("{layer}.{weight}"), shape);
        weights.insert(name, "weights", transposed(&get("kernel", &[UNITS, outputs])?));
        weights.insert(name, "bias", get("bias", &[outputs])?);
        Ok(())
    }

    fn norm(&self, layer: &str, name: &str, len: usize, weights: &mut Weights) -> Result<(), ModelError> {
        weights.insert(name, "gain", self.arrays.get(&format!("{layer}.gamma"), &[len])?);
        weights.insert(name, "bias", self.arrays.get(&format!("{layer}.beta"), &[len])?);
        Ok(())
    }
}
