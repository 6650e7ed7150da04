//! Layers with their weights packed, and what each does to a block of rows.

use super::activation::{Activate, GruStep, LstmStep, Multiply, Normalise};
use super::matrix::{Matrix, Rows, Start, stride};
use crate::simd::SimdLevel;
use crate::stage::denoise::model::{Activation, Layer, LayerKind, Model};
use crate::stage::denoise::network::{HopStep, Precision};

/// A layer, ready to run.
#[derive(Debug)]
pub(super) struct PackedLayer {
    level: SimdLevel,
    work: Work,
    /// Floats from one row of what it gives to the next.
    pub(super) outputs: usize,
    /// Numbers in a row of what it gives.
    pub(super) units: usize,
    /// Where the layer's state starts in a channel's, and how long it is: runs of `outputs` floats.
    pub(super) state_at: usize,
    pub(super) state_len: usize,
    /// Where the channel's own scale starts, when the layer has one.
    pub(super) scale_at: Option<usize>,
}

#[derive(Debug)]
enum Work {
    Dense { weights: Matrix, bias: Vec<f32>, activation: Activation },
    Lstm { input: Matrix, recurrent: Matrix, bias: Vec<f32> },
    Gru { input: Matrix, recurrent: Matrix, input_bias: Vec<f32>, recurrent_bias: Vec<f32> },
    LayerNorm { inputs: usize, gain: Vec<f32>, bias: Vec<f32>, epsilon: f32 },
}

/// A block of rows: for each of `hops` hops in turn, one of each channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) channels: usize,
    pub(super) hops: usize,
    /// For each row.
    pub(super) steps: &'a [HopStep],
}

impl Block<'_> {
    pub(super) fn rows(&self) -> usize {
        self.channels * self.hops
    }
}

/// Memory that the layers use in turn.
#[derive(Debug, Default)]
pub(super) struct Room {
    gates: Vec<f32>,
    recurrent_gates: Vec<f32>,
    hidden: Vec<f32>,
    pub(super) bytes: Vec<u8>,
}

impl PackedLayer {
    /// Packs a layer whose state starts at `state_at` of a channel's.
    pub(super) fn new(model: &Model, layer: &Layer, level: SimdLevel, precision: Precision, state_at: usize) -> Self {
        let tensor =
            |name: &str| model.tensor(&format!("{}.{name}", layer.name)).map_or(&[][..], |tensor| &*tensor.values);
        let (inputs, units, padded) = (layer.inputs, layer.outputs, stride(layer.outputs));
        let gates = |name: &str, columns: usize| by_gate(tensor(name), columns, units);
        let pack =
            |name: &str, columns: usize| Matrix::new(level, precision, columns, &by_gate(tensor(name), columns, units));
        let (work, state_len) = match layer.kind {
            LayerKind::Dense(activation) => {
                (Work::Dense { weights: pack("weights", inputs), bias: gates("bias", 1), activation }, 0)
            }
            LayerKind::Lstm => {
                let (input, recurrent) = (pack("input_weights", inputs), pack("recurrent_weights", units));
                (Work::Lstm { input, recurrent, bias: gates("bias", 1) }, 2 * padded)
            }
            LayerKind::Gru => {
                let (input, recurrent) = (pack("input_weights", inputs), pack("recurrent_weights", units));
                let (input_bias, recurrent_bias) = (gates("input_bias", 1), gates("recurrent_bias", 1));
                (Work::Gru { input, recurrent, input_bias, recurrent_bias }, padded)
            }
            LayerKind::LayerNorm { epsilon } => {
                (Work::LayerNorm { inputs, gain: gates("gain", 1), bias: gates("bias", 1), epsilon }, 0)
            }
        };
        Self { level, work, outputs: padded, units, state_at, state_len, scale_at: None }
    }

    /// Runs on all rows of `from`; `results` gets `self.outputs` floats for each, and `states` is that of the channels.
    pub(super) fn run(
        &self,
        block: Block<'_>,
        from: Rows<'_>,
        states: &mut [&mut [f32]],
        results: &mut Vec<f32>,
        room: &mut Room,
    ) {
        results.resize(block.rows() * self.outputs, 0.0);
        match &self.work {
            Work::Dense { weights, bias, activation } => {
                weights.product(from, Start::Bias(bias), results, &mut room.bytes);
                self.level.run(Activate { activation: *activation, values: results });
            }
            Work::Lstm { input, recurrent, bias } => {
                room.gates.resize(block.rows() * input.outputs(), 0.0);
                input.product(from, Start::Bias(bias), &mut room.gates, &mut room.bytes);
                self.lstm(recurrent, block, states, results, room);
            }
            Work::Gru { input, recurrent, input_bias, recurrent_bias } => {
                room.gates.resize(block.rows() * input.outputs(), 0.0);
                input.product(from, Start::Bias(input_bias), &mut room.gates, &mut room.bytes);
                self.gru(recurrent, recurrent_bias, block, states, results, room);
            }
            Work::LayerNorm { inputs, gain, bias, epsilon } => {
                for (row, to) in results.chunks_exact_mut(self.outputs).enumerate() {
                    let from = &from.floats[row * from.stride..];
                    self.level.run(Normalise { len: *inputs, gain, bias, epsilon: *epsilon, from, to });
                }
            }
        }
        self.scale(block, states, results);
    }

    /// The recurrent part; `room.gates` has what the input adds, for all rows.
    fn lstm(
        &self,
        recurrent: &Matrix,
        block: Block<'_>,
        states: &mut [&mut [f32]],
        results: &mut [f32],
        room: &mut Room,
    ) {
        let width = recurrent.outputs();
        self.walk(block, states, room, results, |states, room, rows| {
            let gates = &mut room.gates[rows.start * width..rows.end * width];
            let hidden = Rows { floats: &room.hidden, stride: self.outputs, count: rows.len() };
            recurrent.product(hidden, Start::Results, gates, &mut room.bytes);
            for ((gates, state), step) in gates.chunks_exact(width).zip(states).zip(&block.steps[rows]) {
                if step.flags & HopStep::RUN != 0 {
                    let (hidden, cell) = self.state(state).split_at_mut(self.outputs);
                    self.level.run(LstmStep { gates, cell, hidden });
                }
            }
        });
    }

    /// The same of a GRU, whose reset gate is applied after the recurrent product.
    fn gru(
        &self,
        recurrent: &Matrix,
        recurrent_bias: &[f32],
        block: Block<'_>,
        states: &mut [&mut [f32]],
        results: &mut [f32],
        room: &mut Room,
    ) {
        let width = recurrent.outputs();
        room.recurrent_gates.resize(block.channels * width, 0.0);
        self.walk(block, states, room, results, |states, room, rows| {
            let hidden = Rows { floats: &room.hidden, stride: self.outputs, count: rows.len() };
            let start = Start::Bias(recurrent_bias);
            recurrent.product(hidden, start, &mut room.recurrent_gates, &mut room.bytes);
            let gates = room.gates[rows.start * width..].chunks_exact(width);
            let gates = gates.zip(room.recurrent_gates.chunks_exact(width));
            for (((from_input, from_hidden), state), step) in gates.zip(states).zip(&block.steps[rows]) {
                if step.flags & HopStep::RUN != 0 {
                    self.level.run(GruStep { from_input, from_hidden, hidden: self.state(state) });
                }
            }
        });
    }

    /// Hop after hop, all channels in each. `step` takes the rows of one hop, with the hidden state of the channels side
    /// by side, and leaves the new one in `states`.
    fn walk(
        &self,
        block: Block<'_>,
        states: &mut [&mut [f32]],
        room: &mut Room,
        results: &mut [f32],
        mut step: impl FnMut(&mut [&mut [f32]], &mut Room, std::ops::Range<usize>),
    ) {
        room.hidden.resize(block.channels * self.outputs, 0.0);
        for hop in 0..block.hops {
            let rows = hop * block.channels..(hop + 1) * block.channels;
            let flags = block.steps[rows.clone()].iter().map(|step| step.flags);
            for ((state, hidden), flags) in states.iter_mut().zip(room.hidden.chunks_exact_mut(self.outputs)).zip(flags)
            {
                let state = self.state(state);
                if flags & HopStep::RESET != 0 {
                    state.fill(0.0);
                }
                hidden.copy_from_slice(&state[..self.outputs]);
            }
            step(states, room, rows.clone());
            let results = results[rows.start * self.outputs..].chunks_exact_mut(self.outputs);
            for (state, result) in states.iter_mut().zip(results) {
                result.copy_from_slice(&self.state(state)[..self.outputs]);
            }
        }
    }

    fn state<'a>(&self, channel: &'a mut [f32]) -> &'a mut [f32] {
        &mut channel[self.state_at..self.state_at + self.state_len]
    }

    fn scale(&self, block: Block<'_>, states: &[&mut [f32]], results: &mut [f32]) {
        let Some(at) = self.scale_at else { return };
        for (row, values) in results.chunks_exact_mut(self.outputs).enumerate() {
            let factors = &states[row % block.channels][at..at + self.outputs];
            self.level.run(Multiply { factors, values });
        }
    }
}

/// Rows of weights with each gate's units filled up with zeros to the stride, so that gates start at whole vectors.
pub(super) fn by_gate(weights: &[f32], columns: usize, units: usize) -> Vec<f32> {
    let padded = stride(units);
    let gates = weights.len() / (units * columns).max(1);
    let mut result = vec![0.0; gates * padded * columns];
    for (from, to) in weights.chunks_exact(units * columns).zip(result.chunks_exact_mut(padded * columns)) {
        to[..from.len()].copy_from_slice(from);
    }
    result
}
