//! The functions between matrix products: sigmoid, tanh, logarithm, layer normalisation; and the steps of recurrent
//! layers, which are made of them.
//!
//! Accuracy, against f64: tanh and sigmoid within 3e-7 (absolute), the logarithm within 2e-7 of its size or 1e-7.

use crate::simd::{Kernel, Simd, Vector as _};
use crate::stage::denoise::model::{Activation, Feature};

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

/// Natural logarithm of positive normal numbers: polynomial of Cephes' `logf` around 1, and the exponent in two pieces.
#[inline(always)]
fn ln<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    const POLYNOMIAL: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    let (mantissa, exponent) = x.split_exponent();
    let x = mantissa - simd.splat(1.0);
    let square = x * x;
    let mut sum = simd.splat(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        sum = sum.mul_add(x, simd.splat(*coefficient));
    }
    let tail = exponent.mul_add(simd.splat(-2.121_944_4e-4), sum * x * square);
    let tail = square.neg_mul_add(simd.splat(0.5), tail);
    exponent.mul_add(simd.splat(0.693_359_4), x + tail)
}

/// Applies a function to each of `values`, whole vectors of them.
pub(super) struct Activate<'a> {
    pub(super) activation: Activation,
    pub(super) values: &'a mut [f32],
}

impl Kernel for Activate<'_> {
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

/// Multiplies each row of `values` by `scale`.
pub(super) struct Scale<'a> {
    pub(super) scale: &'a [f32],
    pub(super) values: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (value, scale) in self.values.iter_mut().zip(self.scale) {
            *value *= scale;
        }
    }
}

/// One step of an LSTM for one channel. `gates` holds input, forget, cell and output gate, each `cell.len()` long.
pub(super) struct LstmStep<'a> {
    pub(super) gates: &'a [f32],
    pub(super) cell: &'a mut [f32],
    pub(super) hidden: &'a mut [f32],
}

impl Kernel for LstmStep<'_> {
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

impl Kernel for GruStep<'_> {
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

impl Kernel for Normalise<'_> {
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

/// What a network sees of a spectrum: `bins` values from twice as many floats, real and imaginary part in turn.
pub(super) struct Features<'a> {
    pub(super) feature: Feature,
    pub(super) spectrum: &'a [f32],
    /// In whole vectors; what stands behind the last bin afterwards is garbage, but finite.
    pub(super) features: &'a mut [f32],
}

impl Kernel for Features<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (power, bin) in self.features.iter_mut().zip(self.spectrum.chunks_exact(2)) {
            *power = bin[0] * bin[0] + bin[1] * bin[1];
        }
        match self.feature {
            Feature::Magnitude => {
                for values in self.features.chunks_exact_mut(S::LANES) {
                    simd.load(values).sqrt().store(values);
                }
            }
            Feature::LogMagnitude { floor } => {
                for values in self.features.chunks_exact_mut(S::LANES) {
                    ln(simd, simd.load(values).sqrt() + simd.splat(floor)).store(values);
                }
            }
            Feature::Log10Power { floor, offset, scale } => {
                let factor = simd.splat(std::f32::consts::LOG10_E * scale);
                let addend = simd.splat(offset * scale);
                for values in self.features.chunks_exact_mut(S::LANES) {
                    ln(simd, simd.load(values).max(simd.splat(floor))).mul_add(factor, addend).store(values);
                }
            }
        }
    }
}

/// Multiplies each bin by its mask, which is raised to `floor` where it is less.
pub(super) struct MaskBins<'a> {
    pub(super) mask: &'a [f32],
    pub(super) floor: f32,
    pub(super) spectrum: &'a mut [f32],
}

impl Kernel for MaskBins<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (bin, mask) in self.spectrum.chunks_exact_mut(2).zip(self.mask) {
            let mask = mask.max(self.floor);
            bin[0] *= mask;
            bin[1] *= mask;
        }
    }
}

/// Multiplies each value of a learned basis by its mask.
pub(super) struct MaskValues<'a> {
    pub(super) mask: &'a [f32],
    pub(super) values: &'a mut [f32],
}

impl Kernel for MaskValues<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (value, mask) in self.values.iter_mut().zip(self.mask) {
            *value *= mask;
        }
    }
}

/// Multiplies a window of samples by its weights and a gain.
pub(super) struct Weigh<'a> {
    pub(super) samples: &'a [f32],
    pub(super) weights: &'a [f32],
    pub(super) gain: f32,
    pub(super) to: &'a mut [f32],
}

impl Kernel for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for ((to, sample), weight) in self.to.iter_mut().zip(self.samples).zip(self.weights) {
            *to = sample * (weight * self.gain);
        }
    }
}

/// Adds a window that the network made to what overlaps it, with the weights of the way out.
pub(super) struct OverlapAdd<'a> {
    pub(super) window: &'a [f32],
    pub(super) weights: &'a [f32],
    pub(super) gain: f32,
    pub(super) to: &'a mut [f32],
}

impl Kernel for OverlapAdd<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for ((to, sample), weight) in self.to.iter_mut().zip(self.window).zip(self.weights) {
            *to += sample * (weight * self.gain);
        }
    }
}
