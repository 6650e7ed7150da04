//! What layers do between their matrix products: sigmoid, tanh, layer normalisation, the steps of recurrent layers.
//!
//! Accuracy, against f64: tanh and sigmoid within 3e-7 (absolute).

use crate::simd::{Simd, Vector as _, Work};
use crate::stage::denoise::model::Activation;

/// Rational approximation of tanh by an odd polynomial of degree 13 over an even one of degree 6, as in Eigen's
/// `ptanh_float`: numerator from the lowest power up, denominator the same.
const TANH_NUMERATOR: [f32; 7] =
    [4.893_524_6e-3, 6.372_619_3e-4, 1.485_722_4e-5, 5.122_297_1e-8, -8.604_672e-11, 2.000_188e-13, -2.760_768_5e-16];
const TANH_DENOMINATOR: [f32; 4] = [4.893_525e-3, 2.268_434_6e-3, 1.185_347_1e-4, 1.198_258_4e-6];
/// Where the approximation is 1 to the last bit but one.
const TANH_LIMIT: f32 = 7.905_311;

#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let x = x.min(simd.splat(TANH_LIMIT)).max(simd.splat(-TANH_LIMIT));
    let square = x * x;
    let mut numerator = simd.splat(TANH_NUMERATOR[6]);
    for power in 1..7 {
        numerator = numerator.mul_add(square, simd.splat(TANH_NUMERATOR[6 - power]));
    }
    let mut denominator = simd.splat(TANH_DENOMINATOR[3]);
    for power in 1..4 {
        denominator = denominator.mul_add(square, simd.splat(TANH_DENOMINATOR[3 - power]));
    }
    x * numerator / denominator
}

/// `1 / (1 + exp(-x)) = tanh(x / 2) / 2 + 1 / 2`
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let half = simd.splat(0.5);
    tanh(simd, x * half).mul_add(half, half)
}

/// Applies a function to each of `values`, whole vectors of them.
pub(super) struct Activate<'a> {
    pub(super) activation: Activation,
    pub(super) values: &'a mut [f32],
}

impl Work for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.activation {
            Activation::Linear => {}
            Activation::Relu => {
                for values in self.values.chunks_exact_mut(S::LANES) {
                    simd.load(values).max(simd.splat(0.0)).store(values);
                }
            }
            Activation::Sigmoid => {
                for values in self.values.chunks_exact_mut(S::LANES) {
                    sigmoid(simd, simd.load(values)).store(values);
                }
            }
            Activation::Tanh => {
                for values in self.values.chunks_exact_mut(S::LANES) {
                    tanh(simd, simd.load(values)).store(values);
                }
            }
        }
    }
}

/// Multiplies each of `values` by its factor: a channel's scale of a layer, the mask of a learned basis.
pub(super) struct Multiply<'a> {
    pub(super) factors: &'a [f32],
    pub(super) values: &'a mut [f32],
}

impl Work for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (value, factor) in self.values.iter_mut().zip(self.factors) {
            *value *= factor;
        }
    }
}

/// One step of an LSTM for one channel. `gates` holds input, forget, cell and output gate, each `cell.len()` long.
pub(super) struct LstmStep<'a> {
    pub(super) gates: &'a [f32],
    pub(super) cell: &'a mut [f32],
    pub(super) hidden: &'a mut [f32],
}

impl Work for LstmStep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let units = self.cell.len();
        for unit in (0..units).step_by(S::LANES) {
            let gate = |gate: usize| gate * units + unit;
            let input = sigmoid(simd, simd.load(&self.gates[gate(0)..]));
            let forget = sigmoid(simd, simd.load(&self.gates[gate(1)..]));
            let new = tanh(simd, simd.load(&self.gates[gate(2)..]));
            let output = sigmoid(simd, simd.load(&self.gates[gate(3)..]));
            let cell = forget.mul_add(simd.load(&self.cell[unit..]), input * new);
            cell.store(&mut self.cell[unit..]);
            (output * tanh(simd, cell)).store(&mut self.hidden[unit..]);
        }
    }
}

/// One step of a GRU for one channel. Both hold reset, update and new gate, each `hidden.len()` long.
pub(super) struct GruStep<'a> {
    pub(super) from_input: &'a [f32],
    pub(super) from_hidden: &'a [f32],
    pub(super) hidden: &'a mut [f32],
}

impl Work for GruStep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let units = self.hidden.len();
        for unit in (0..units).step_by(S::LANES) {
            let (reset, update, new) = (unit, units + unit, 2 * units + unit);
            let reset = sigmoid(simd, simd.load(&self.from_input[reset..]) + simd.load(&self.from_hidden[reset..]));
            let update = sigmoid(simd, simd.load(&self.from_input[update..]) + simd.load(&self.from_hidden[update..]));
            let new =
                tanh(simd, reset.mul_add(simd.load(&self.from_hidden[new..]), simd.load(&self.from_input[new..])));
            let hidden = simd.load(&self.hidden[unit..]);
            update.mul_add(hidden - new, new).store(&mut self.hidden[unit..]);
        }
    }
}

/// Layer normalisation of one row of `len` values, which stand in whole vectors.
pub(super) struct Normalise<'a> {
    pub(super) len: usize,
    pub(super) gain: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) epsilon: f32,
    pub(super) from: &'a [f32],
    pub(super) to: &'a mut [f32],
}

impl Work for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let values = &self.from[..self.len];
        let mean = sum(simd, values, simd.splat(0.0), false) / self.len as f32;
        let variance = sum(simd, values, simd.splat(mean), true) / self.len as f32;
        let factor = 1.0 / (variance + self.epsilon).sqrt();
        let (mean, factor) = (simd.splat(mean), simd.splat(factor));
        for at in (0..self.to.len()).step_by(S::LANES) {
            let centred = simd.load(&self.from[at..]) - mean;
            let gained = (centred * factor).mul_add(simd.load(&self.gain[at..]), simd.load(&self.bias[at..]));
            gained.store(&mut self.to[at..]);
        }
    }
}

/// The sum of `values - mean`, or of its squares, in a fixed order.
#[inline(always)]
fn sum<S: Simd>(simd: S, values: &[f32], mean: S::Vector, squares: bool) -> f32 {
    let mut lanes = [0.0; 16];
    let mut sums = simd.splat(0.0);
    let whole = values.len() / S::LANES * S::LANES;
    for values in values[..whole].chunks_exact(S::LANES) {
        let centred = simd.load(values) - mean;
        sums = if squares { centred.mul_add(centred, sums) } else { sums + centred };
    }
    sums.store(&mut lanes);
    let mut total = 0.0;
    for lane in &lanes[..S::LANES] {
        total += lane;
    }
    mean.store(&mut lanes);
    for value in &values[whole..] {
        let centred = value - lanes[0];
        total += if squares { centred * centred } else { centred };
    }
    total
}
