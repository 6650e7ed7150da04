//! The network as training sees it: forward over whole sequences of windows, and back again with the gradient of
//! every weight.
//!
//! Burn's own recurrent layers record some dozens of small operations for each window of a sequence, which took eight
//! times as long (1.4 s against 0.17 s for 16 sequences of 255 windows, one thread, AVX-512). So the sequence is walked
//! here by hand: products of all windows at once wherever possible, and one product per window for the recurrent part.
//! A test holds the gradient against burn's.
//!
//! Everything is window by window, then sequence by sequence: `[windows, sequences, values]`.

use std::ops::Range;

use super::matrix::{Matrix, multiply};
use crate::random::Random;
use crate::regulariser::Resolvent;
use crate::stage::denoise::model::{Activation, Description, Layer, LayerKind};

/// Layers in order, and where each tensor lies in one long slice of weights.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    layers: Vec<Placed>,
    weights: usize,
}

#[derive(Clone, Debug)]
struct Placed {
    layer: Layer,
    /// One for each tensor, in the order of the description.
    tensors: Vec<Range<usize>>,
}

/// What the way back needs from the way forward.
#[derive(Debug)]
pub(crate) struct Trace {
    sequences: usize,
    /// The input, then what each layer gave.
    values: Vec<Vec<f32>>,
    /// For each layer what else it keeps; empty where nothing.
    kept: Vec<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// A GRU's gates `[windows, sequences, 3 outputs]`: reset, update, new.
    gates: Vec<f32>,
    /// A GRU's recurrent product of the new gate, before the reset gate is applied.
    recurrent_new: Vec<f32>,
}

impl Trace {
    /// What the last layer gave.
    pub(crate) fn output(&self) -> &[f32] {
        self.values.last().map_or(&[], Vec::as_slice)
    }

    /// What each of the other layers gave.
    #[cfg(test)]
    pub(crate) fn hidden(&self) -> &[Vec<f32>] {
        &self.values[1..self.values.len() - 1]
    }
}

impl Network {
    /// The layers of all parts of a model, one after the other.
    ///
    /// # Panics
    /// When there is a layer that training does not know.
    pub(crate) fn new(description: &Description) -> Self {
        let mut start = 0;
        let mut layers = Vec::new();
        for layer in description.parts.iter().flat_map(|part| &part.layers) {
            assert!(
                !layer.scaled && matches!(layer.kind, LayerKind::Dense(_) | LayerKind::Gru),
                "training should know the layer {}",
                layer.name,
            );
            let tensors = sizes(layer)
                .map(|size| {
                    start += size;
                    start - size..start
                })
                .collect();
            layers.push(Placed { layer: layer.clone(), tensors });
        }
        Self { layers, weights: start }
    }

    /// Where each tensor lies among the weights.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = Range<usize>> {
        self.layers.iter().flat_map(|placed| placed.tensors.iter().cloned())
    }

    /// How many weights there are.
    pub(crate) fn weights(&self) -> usize {
        self.weights
    }

    /// Weights to begin with: uniform, within the inverse root of what they sum over; biases zero.
    pub(crate) fn initial(&self, random: &mut Random) -> Vec<f32> {
        let mut weights = vec![0.0; self.weights];
        for placed in &self.layers {
            let matrices = if placed.layer.kind == LayerKind::Gru { 2 } else { 1 };
            for (index, tensor) in placed.tensors.iter().take(matrices).enumerate() {
                let gain = if placed.layer.kind == LayerKind::Dense(Activation::Relu) { 6.0_f32 } else { 3.0 };
                let summed = if index == 0 { placed.layer.inputs } else { placed.layer.outputs };
                let bound = (gain / summed as f32).sqrt() * if placed.layer.kind == LayerKind::Gru { 0.6 } else { 1.0 };
                weights[tensor.clone()].fill_with(|| random.between(-bound, bound));
            }
        }
        weights
    }

    /// Runs sequences from a state of zero. `features` is `[windows, sequences, inputs]`.
    pub(crate) fn forward(&self, weights: &[f32], features: Vec<f32>, sequences: usize) -> Trace {
        let mut trace = Trace { sequences, values: vec![features], kept: Vec::new() };
        for placed in &self.layers {
            let tensors: Vec<&[f32]> = placed.tensors.iter().map(|range| &weights[range.clone()]).collect();
            let (values, kept) = match (placed.layer.kind, trace.output()) {
                (LayerKind::Dense(activation), inputs) => {
                    (dense(&placed.layer, activation, &tensors, inputs), Kept::default())
                }
                (_, inputs) => gru(&placed.layer, &tensors, inputs, sequences),
            };
            trace.values.push(values);
            trace.kept.push(kept);
        }
        trace
    }

    /// The gradient of every weight, from that of the last layer's output. With a resolvent, the other layers' outputs
    /// cost what it would take out of each unit along the windows.
    pub(crate) fn backward(
        &self,
        weights: &[f32],
        trace: Trace,
        output_gradient: Vec<f32>,
        resolvent: Option<&Resolvent>,
    ) -> Vec<f32> {
        let mut gradient = vec![0.0; self.weights];
        let Trace { sequences, mut values, mut kept } = trace;
        let mut flowing = output_gradient;
        for (index, placed) in self.layers.iter().enumerate().rev() {
            let (Some(outputs), Some(kept), Some(inputs)) = (values.pop(), kept.pop(), values.last()) else { break };
            if let Some(resolvent) = resolvent.filter(|_| index + 1 < self.layers.len()) {
                let costs = resolvent.activation_gradient(&outputs, sequences * placed.layer.outputs);
                flowing.iter_mut().zip(costs).for_each(|(flow, cost)| *flow += cost);
            }
            let tensors: Vec<&[f32]> = placed.tensors.iter().map(|range| &weights[range.clone()]).collect();
            let from = placed.tensors.first().map_or(0, |range| range.start);
            let to = placed.tensors.last().map_or(0, |range| range.end);
            let pass =
                Pass { layer: &placed.layer, tensors: &tensors, inputs, outputs: &outputs, wants_input: index > 0 };
            flowing = match placed.layer.kind {
                LayerKind::Dense(activation) => pass.dense(activation, flowing, &mut gradient[from..to]),
                _ => pass.gru(sequences, kept, &flowing, &mut gradient[from..to]),
            };
        }
        gradient
    }
}

fn sizes(layer: &Layer) -> impl Iterator<Item = usize> + use<> {
    let (inputs, outputs) = (layer.inputs, layer.outputs);
    let sizes = match layer.kind {
        LayerKind::Gru => vec![3 * outputs * inputs, 3 * outputs * outputs, 3 * outputs, 3 * outputs],
        _ => vec![outputs * inputs, outputs],
    };
    sizes.into_iter()
}

fn dense(layer: &Layer, activation: Activation, tensors: &[&[f32]], inputs: &[f32]) -> Vec<f32> {
    let mut values = affine(tensors[0], tensors[1], inputs, layer.inputs);
    match activation {
        Activation::Linear => {}
        Activation::Relu => values.iter_mut().for_each(|value| *value = value.max(0.0)),
        Activation::Sigmoid => values.iter_mut().for_each(|value| *value = sigmoid(*value)),
        Activation::Tanh => values.iter_mut().for_each(|value| *value = tanh(*value)),
    }
    values
}

/// `W x + b` for each row `x` of `inputs`.
fn affine(matrix: &[f32], bias: &[f32], inputs: &[f32], width: usize) -> Vec<f32> {
    let mut values = bias.repeat(inputs.len() / width);
    multiply(&mut values, true, Matrix::new(inputs, width), Matrix::new(matrix, width).transposed());
    values
}

fn gru(layer: &Layer, tensors: &[&[f32]], inputs: &[f32], sequences: usize) -> (Vec<f32>, Kept) {
    let size = layer.outputs;
    let [input_weights, recurrent_weights, input_bias, recurrent_bias] = [0, 1, 2, 3].map(|index| tensors[index]);
    let mut gates = affine(input_weights, input_bias, inputs, layer.inputs);
    let rows = gates.len() / (3 * size);
    let mut recurrent_new = vec![0.0; rows * size];
    let mut states = vec![0.0; (rows + sequences) * size];
    let mut recurrent = vec![0.0; sequences * 3 * size];
    // The product takes a matrix of unit column steps as it lies, and would repack any other for every window.
    let turned = transposed(recurrent_weights, size);
    let windows = gates.chunks_exact_mut(sequences * 3 * size).zip(recurrent_new.chunks_exact_mut(sequences * size));
    for (window, (gates, recurrent_new)) in windows.enumerate() {
        let (before, after) = states[window * sequences * size..].split_at_mut(sequences * size);
        for row in recurrent.chunks_exact_mut(3 * size) {
            row.copy_from_slice(recurrent_bias);
        }
        multiply(&mut recurrent, true, Matrix::new(before, size), Matrix::new(&turned, 3 * size));
        for sequence in 0..sequences {
            let at = sequence * size..(sequence + 1) * size;
            gru_step(
                &mut gates[3 * at.start..3 * at.end],
                &recurrent[3 * at.start..3 * at.end],
                &mut recurrent_new[at.clone()],
                &before[at.clone()],
                &mut after[at],
            );
        }
    }
    states.drain(..sequences * size);
    (states, Kept { gates, recurrent_new })
}

/// Columns as rows.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}

/// One window of one sequence. Several short loops, since one long loop over many slices would not run in SIMD lanes.
fn gru_step(gates: &mut [f32], recurrent: &[f32], recurrent_new: &mut [f32], before: &[f32], after: &mut [f32]) {
    let size = before.len();
    let (reset_update, new) = gates.split_at_mut(2 * size);
    let (for_reset_update, for_new) = recurrent.split_at(2 * size);
    for (gate, recurrent) in reset_update.iter_mut().zip(for_reset_update) {
        *gate = sigmoid(*gate + recurrent);
    }
    let (reset, update) = reset_update.split_at(size);
    recurrent_new.copy_from_slice(for_new);
    for ((new, reset), recurrent) in new.iter_mut().zip(reset).zip(for_new) {
        *new = tanh(*new + reset * recurrent);
    }
    for (((after, before), new), update) in after.iter_mut().zip(before).zip(&*new).zip(update) {
        *after = new + update * (before - new);
    }
}

/// One layer on the way back.
struct Pass<'a> {
    layer: &'a Layer,
    tensors: &'a [&'a [f32]],
    inputs: &'a [f32],
    outputs: &'a [f32],
    /// False for the first layer, whose inputs nobody trains.
    wants_input: bool,
}

impl Pass<'_> {
    fn dense(&self, activation: Activation, mut flowing: Vec<f32>, gradient: &mut [f32]) -> Vec<f32> {
        let pairs = flowing.iter_mut().zip(self.outputs);
        match activation {
            Activation::Linear => {}
            Activation::Relu => pairs.for_each(|(flow, &out)| *flow = if out > 0.0 { *flow } else { 0.0 }),
            Activation::Sigmoid => pairs.for_each(|(flow, &out)| *flow *= out * (1.0 - out)),
            Activation::Tanh => pairs.for_each(|(flow, &out)| *flow *= 1.0 - out * out),
        }
        let (matrix, bias) = gradient.split_at_mut(self.layer.outputs * self.layer.inputs);
        self.affine(&flowing, matrix, bias);
        self.to_input(&flowing)
    }

    /// The gradient of `W` and `b` in `W x + b`, from that of the sums.
    fn affine(&self, sums: &[f32], matrix: &mut [f32], bias: &mut [f32]) {
        let inputs = Matrix::new(self.inputs, self.layer.inputs);
        multiply(matrix, false, Matrix::new(sums, bias.len()).transposed(), inputs);
        sum_rows(sums, bias);
    }

    fn to_input(&self, sums: &[f32]) -> Vec<f32> {
        if !self.wants_input {
            return Vec::new();
        }
        let rows = self.tensors[0].len() / self.layer.inputs;
        let mut flowing = vec![0.0; sums.len() / rows * self.layer.inputs];
        multiply(&mut flowing, false, Matrix::new(sums, rows), Matrix::new(self.tensors[0], self.layer.inputs));
        flowing
    }

    fn gru(&self, sequences: usize, mut kept: Kept, flowing: &[f32], gradient: &mut [f32]) -> Vec<f32> {
        let size = self.layer.outputs;
        let window_len = sequences * size;
        let mut carried = vec![0.0; window_len];
        let mut sums = vec![0.0; 3 * window_len];
        let mut earlier = vec![0.0; self.outputs.len()];
        earlier[window_len..].copy_from_slice(&self.outputs[..self.outputs.len() - window_len]);
        for start in (0..self.outputs.len()).step_by(window_len).rev() {
            let window = start..start + window_len;
            for (carry, flow) in carried.iter_mut().zip(&flowing[window.clone()]) {
                *carry += flow;
            }
            let gates = &mut kept.gates[3 * window.start..3 * window.end];
            let recurrent_new = &mut kept.recurrent_new[window.clone()];
            let before = &earlier[window];
            for sequence in 0..sequences {
                let at = sequence * size..(sequence + 1) * size;
                gru_step_back(
                    &mut gates[3 * at.start..3 * at.end],
                    &mut recurrent_new[at.clone()],
                    &before[at.clone()],
                    &mut carried[at.clone()],
                    &mut sums[3 * at.start..3 * at.end],
                );
            }
            multiply(&mut carried, true, Matrix::new(&sums, 3 * size), Matrix::new(self.tensors[1], size));
        }
        self.gru_weights(&kept, &earlier, gradient);
        self.to_input(&kept.gates)
    }

    fn gru_weights(&self, kept: &Kept, earlier: &[f32], gradient: &mut [f32]) {
        let size = self.layer.outputs;
        let (input_weights, rest) = gradient.split_at_mut(3 * size * self.layer.inputs);
        let (recurrent_weights, biases) = rest.split_at_mut(3 * size * size);
        let (input_bias, recurrent_bias) = biases.split_at_mut(3 * size);
        self.affine(&kept.gates, input_weights, input_bias);
        let gates = Matrix::new(&kept.gates, 3 * size).columns(0, 2 * size);
        let (reset_update, new) = recurrent_weights.split_at_mut(2 * size * size);
        multiply(reset_update, false, gates.transposed(), Matrix::new(earlier, size));
        multiply(new, false, Matrix::new(&kept.recurrent_new, size).transposed(), Matrix::new(earlier, size));
        recurrent_bias[..2 * size].copy_from_slice(&input_bias[..2 * size]);
        sum_rows(&kept.recurrent_new, &mut recurrent_bias[2 * size..]);
    }
}

/// One window of one sequence, backwards: the gates become the gradients of their sums, `carried` that of the state
/// before as far as it does not go through the recurrent product, and `sums` that of the recurrent product.
fn gru_step_back(gates: &mut [f32], recurrent_new: &mut [f32], before: &[f32], carried: &mut [f32], sums: &mut [f32]) {
    let size = before.len();
    let (reset, rest) = gates.split_at_mut(size);
    let (update, new) = rest.split_at_mut(size);
    let (to_reset, rest) = sums.split_at_mut(size);
    let (to_update, to_new) = rest.split_at_mut(size);
    for ((((to, z), state), before), n) in to_update.iter_mut().zip(&*update).zip(&*carried).zip(before).zip(&*new) {
        *to = state * (before - n) * z * (1.0 - z);
    }
    for ((new, z), state) in new.iter_mut().zip(&*update).zip(&*carried) {
        *new = state * (1.0 - z) * (1.0 - *new * *new);
    }
    for (((to, new), recurrent), r) in to_reset.iter_mut().zip(&*new).zip(&*recurrent_new).zip(&*reset) {
        *to = new * recurrent * r * (1.0 - r);
    }
    for ((to, new), r) in to_new.iter_mut().zip(&*new).zip(&*reset) {
        *to = new * r;
    }
    for (state, z) in carried.iter_mut().zip(&*update) {
        *state *= z;
    }
    reset.copy_from_slice(to_reset);
    update.copy_from_slice(to_update);
    recurrent_new.copy_from_slice(to_new);
}

fn sum_rows(values: &[f32], into: &mut [f32]) {
    into.fill(0.0);
    for row in values.chunks_exact(into.len()) {
        for (sum, value) in into.iter_mut().zip(row) {
            *sum += value;
        }
    }
}

/// `1 / (1 + exp(-x))`, to about 1e-7, without a branch, so that it runs in SIMD lanes.
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// To about 2e-7 of 1.
pub(crate) fn tanh(x: f32) -> f32 {
    2.0 / (1.0 + exp(-2.0 * x)) - 1.0
}

/// Clamped to what an `f32` holds. A power of two from the whole part, a polynomial for what is left.
pub(crate) fn exp(x: f32) -> f32 {
    // Adding it rounds to a whole number, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let scaled = x.clamp(-87.0, 87.0) * std::f32::consts::LOG2_E;
    let rounded = scaled + ROUND;
    let part = (scaled - (rounded - ROUND)) * std::f32::consts::LN_2;
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    let polynomial = 1.0 / 120.0 + part * (1.0 / 720.0);
    let polynomial = 1.0 / 24.0 + part * polynomial;
    let polynomial = 1.0 / 6.0 + part * polynomial;
    let polynomial = 0.5 + part * polynomial;
    power * (1.0 + part * (1.0 + part * polynomial))
}
