//! What happens to one window or its spectrum outside the layers: weights, features, masks, overlaps.
//!
//! Accuracy, against f64: the logarithm within 2e-7 of its size or 1e-7.

use crate::simd::{Simd, Vector as _, Work};
use crate::stage::denoise::model::Feature;

/// Multiplies a window of samples by its weights and a gain.
pub(super) struct Weigh<'a> {
    pub(super) samples: &'a [f32],
    pub(super) weights: &'a [f32],
    pub(super) gain: f32,
    pub(super) to: &'a mut [f32],
}

impl Work for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for ((to, sample), weight) in self.to.iter_mut().zip(self.samples).zip(self.weights) {
            *to = sample * (weight * self.gain);
        }
    }
}

/// What a network sees of a spectrum: `bins` values from twice as many floats, real and imaginary part in turn.
pub(super) struct Features<'a> {
    pub(super) feature: Feature,
    pub(super) spectrum: &'a [f32],
    /// In whole vectors; what stands behind the last bin afterwards is garbage, perhaps NaN: readers take the bins only.
    pub(super) features: &'a mut [f32],
}

impl Work for Features<'_> {
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

/// Multiplies each bin by its mask, which is raised to `floor` where it is less.
pub(super) struct MaskBins<'a> {
    pub(super) mask: &'a [f32],
    pub(super) floor: f32,
    pub(super) spectrum: &'a mut [f32],
}

impl Work for MaskBins<'_> {
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

/// Adds a window that the network made to what overlaps it, with the weights of the way out.
pub(super) struct OverlapAdd<'a> {
    pub(super) window: &'a [f32],
    pub(super) weights: &'a [f32],
    pub(super) gain: f32,
    pub(super) to: &'a mut [f32],
}

impl Work for OverlapAdd<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for ((to, sample), weight) in self.to.iter_mut().zip(self.window).zip(self.weights) {
            *to += sample * (weight * self.gain);
        }
    }
}
