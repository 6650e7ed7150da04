//! The real transform of a window, and its inverse: a complex transform of half the length, and one pass over its bins.
//!
//! ```text
//! z[n] = x[2n] + i x[2n+1]     Z = DFT(z)     E = even samples' bins, O = odd samples' bins
//! E[k] = (Z[k] + conj Z[M-k]) / 2             X[k]   = E[k] + w^k O[k]           M = N / 2
//! O[k] = (Z[k] - conj Z[M-k]) / 2i            X[M-k] = conj(E[k] - w^k O[k])     w = exp(-2 pi i / N)
//! ```
//!
//! A window's bins depend on that window alone.

use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use crate::simd::{Simd, SimdLevel, Work};

/// Transforms of one even length.
pub(super) struct RealTransform {
    level: SimdLevel,
    len: usize,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// `w^k` for `k` from 1 to less than `M / 2`.
    twiddles: Vec<[f32; 2]>,
}

impl RealTransform {
    pub(super) fn new(level: SimdLevel, len: usize) -> Self {
        let mut planner = FftPlanner::new();
        let half = len / 2;
        #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of samples")]
        let twiddle = |k: usize| {
            let (sin, cos) = (-std::f64::consts::TAU * k as f64 / len as f64).sin_cos();
            [cos as f32, sin as f32]
        };
        Self {
            level,
            len,
            forward: planner.plan_fft_forward(half),
            inverse: planner.plan_fft_inverse(half),
            twiddles: (1..half.div_ceil(2)).map(twiddle).collect(),
        }
    }

    /// From a window to its `len / 2 + 1` bins, without scaling; the window is garbage afterwards.
    pub(super) fn forward(&self, window: &mut [f32], spectrum: &mut [f32], scratch: &mut Vec<Complex32>) {
        let window = &mut window[..self.len];
        run(&*self.forward, window, scratch);
        self.level.run(Untangle { half: window, twiddles: &self.twiddles, spectrum });
    }

    /// The way back, which divides by the length. What is imaginary in the first and the last bin does not count.
    pub(super) fn inverse(&self, spectrum: &[f32], window: &mut [f32], scratch: &mut Vec<Complex32>) {
        let window = &mut window[..self.len];
        self.level.run(Tangle { spectrum, twiddles: &self.twiddles, half: window });
        run(&*self.inverse, window, scratch);
    }
}

fn run(fft: &dyn Fft<f32>, window: &mut [f32], scratch: &mut Vec<Complex32>) {
    scratch.resize(fft.get_inplace_scratch_len().max(scratch.len()), Complex32::default());
    fft.process_with_scratch(bytemuck::cast_slice_mut(window), scratch);
}

/// From the bins of the halves to those of the whole.
struct Untangle<'a> {
    /// `M` bins.
    half: &'a [f32],
    twiddles: &'a [[f32; 2]],
    /// `M + 1` bins.
    spectrum: &'a mut [f32],
}

impl Work for Untangle<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let (half, _) = self.half.as_chunks::<2>();
        let (spectrum, _) = self.spectrum.as_chunks_mut::<2>();
        let (len, pairs) = (half.len(), self.twiddles.len());
        let [re, im] = half[0];
        spectrum[0] = [re + im, 0.0];
        spectrum[len] = [re - im, 0.0];
        if len % 2 == 0 && len > 0 {
            let [re, im] = half[len / 2];
            spectrum[len / 2] = [re, -im];
        }
        let (low, high) = (&half[1..1 + pairs], &half[len - pairs..len]);
        let (low_bins, high_bins) = spectrum[..len].split_at_mut(len - pairs);
        let bins = low_bins[1..1 + pairs].iter_mut().zip(high_bins[..pairs].iter_mut().rev());
        for (((low, high), twiddle), (low_bin, high_bin)) in
            low.iter().zip(high.iter().rev()).zip(self.twiddles).zip(bins)
        {
            let even = [0.5 * (low[0] + high[0]), 0.5 * (low[1] - high[1])];
            let odd = [0.5 * (low[1] + high[1]), 0.5 * (high[0] - low[0])];
            let turned = [twiddle[0] * odd[0] - twiddle[1] * odd[1], twiddle[0] * odd[1] + twiddle[1] * odd[0]];
            *low_bin = [even[0] + turned[0], even[1] + turned[1]];
            *high_bin = [even[0] - turned[0], turned[1] - even[1]];
        }
    }
}

/// The way back, divided by `N`: by 2 as the bins ask, and by `M` as the transform of the halves does.
struct Tangle<'a> {
    spectrum: &'a [f32],
    twiddles: &'a [[f32; 2]],
    half: &'a mut [f32],
}

impl Work for Tangle<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let (spectrum, _) = self.spectrum.as_chunks::<2>();
        let (half, _) = self.half.as_chunks_mut::<2>();
        let (len, pairs) = (half.len(), self.twiddles.len());
        let factor = 0.5 / len as f32;
        let (first, last) = (spectrum[0][0], spectrum[len][0]);
        half[0] = [factor * (first + last), factor * (first - last)];
        if len % 2 == 0 && len > 0 {
            let [re, im] = spectrum[len / 2];
            half[len / 2] = [2.0 * factor * re, -2.0 * factor * im];
        }
        let (low, high) = (&spectrum[1..1 + pairs], &spectrum[len - pairs..len]);
        let (low_bins, high_bins) = half.split_at_mut(len - pairs);
        let bins = low_bins[1..1 + pairs].iter_mut().zip(high_bins[..pairs].iter_mut().rev());
        for (((low, high), twiddle), (low_bin, high_bin)) in
            low.iter().zip(high.iter().rev()).zip(self.twiddles).zip(bins)
        {
            let even = [factor * (low[0] + high[0]), factor * (low[1] - high[1])];
            let turned = [factor * (low[0] - high[0]), factor * (low[1] + high[1])];
            // Turned back: by the conjugate of the twiddle.
            let odd =
                [twiddle[0] * turned[0] + twiddle[1] * turned[1], twiddle[0] * turned[1] - twiddle[1] * turned[0]];
            *low_bin = [even[0] - odd[1], even[1] + odd[0]];
            *high_bin = [even[0] + odd[1], odd[0] - even[1]];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in f64.
    fn bins(window: &[f32]) -> Vec<[f64; 2]> {
        let len = window.len();
        let bin = |k: usize| {
            window.iter().enumerate().fold([0.0, 0.0], |sum, (n, x)| {
                let (sin, cos) = (-std::f64::consts::TAU * (k * n % len) as f64 / len as f64).sin_cos();
                [sum[0] + f64::from(*x) * cos, sum[1] + f64::from(*x) * sin]
            })
        };
        (0..=len / 2).map(bin).collect()
    }

    #[test]
    fn bins_are_those_of_the_definition_and_come_back_as_the_window() {
        for level in SimdLevel::available() {
            for len in [2, 4, 6, 10, 16, 30, 64, 320, 512, 514, 1024] {
                let window: Vec<f32> = (0..len).map(|n| ((n * n * 7 + 3 * n) % 101) as f32 / 50.0 - 1.0).collect();
                let transform = RealTransform::new(level, len);
                let (mut work, mut scratch) = (window.clone(), Vec::new());
                let mut spectrum = vec![f32::NAN; len + 2];
                transform.forward(&mut work, &mut spectrum, &mut scratch);
                let expected = bins(&window);
                let level_of = (window.iter().map(|x| f64::from(x * x)).sum::<f64>()).sqrt();
                for (k, (bin, expected)) in spectrum.chunks_exact(2).zip(&expected).enumerate() {
                    let error = (f64::from(bin[0]) - expected[0]).hypot(f64::from(bin[1]) - expected[1]);
                    assert!(error < 1e-6 * level_of, "{level:?}, {len}, bin {k}: {bin:?}, not {expected:?}");
                }
                // What is imaginary there is nobody's.
                (spectrum[1], spectrum[len + 1]) = (9.0, -9.0);
                transform.inverse(&spectrum, &mut work, &mut scratch);
                for (n, (back, x)) in work.iter().zip(&window).enumerate() {
                    assert!((back - x).abs() < 2e-6, "{level:?}, {len}, sample {n}: {back}, not {x}");
                }
            }
        }
    }
}
