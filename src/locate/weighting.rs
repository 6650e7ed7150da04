//! Weights of the bins for [`DelayEstimator`](super::DelayEstimator), besides 1 everywhere, which is the phase transform.
//!
//! Spectra are of complex samples, as pairs of floats, bins in their natural order. The estimator divides the
//! cross-spectrum by its magnitude, so what is usually a weight of the cross-spectrum stands here times that magnitude.

use num_complex::Complex32;

/// Bins to either side of which a spectrum is smoothed, with a Hann window.
const SMOOTHED: usize = 16;
/// Signal-to-noise ratios that are believed.
const LEAST_SNR: f32 = 1e-3;
const MOST_SNR: f32 = 1e12;

/// The plain cross-correlation: each bin counts with the magnitude of its cross-spectrum.
pub fn cross_correlation(first: &[f32], second: &[f32]) -> Vec<f32> {
    let both = bins(first).iter().zip(bins(second));
    both.map(|(first, second)| first.norm() * second.norm()).collect()
}

/// Hannan's and Thomson's weight, from the power of the signal and of each receiver's noise in every bin, in any unit:
///
/// ```text
/// |X1 X2| S / (N1 N2 + S (N1 + N2))
/// ```
///
/// which is the coherence's `g^2 / (1 - g^2) / |G|` of Knapp and Carter (1976) with `G` the true cross-spectrum. With long
/// frames of Gaussian signals, not tapered, it reaches the Cramer-Rao bound. A bin without signal counts for nothing.
pub fn hannan_thomson(
    first: &[f32],
    second: &[f32],
    signal: &[f32],
    first_noise: &[f32],
    second_noise: &[f32],
) -> Vec<f32> {
    let powers = signal.iter().zip(first_noise).zip(second_noise);
    let factor = |((signal, first), second): ((&f32, &f32), &f32)| {
        let [signal, first, second] = [*signal, *first, *second].map(f64::from);
        let noise = first * second + signal * (first + second);
        if noise > 0.0 { signal / noise } else { 0.0 }
    };
    let weighted = cross_correlation(first, second).into_iter().zip(powers.map(factor));
    #[expect(clippy::cast_possible_truncation, reason = "weights are in f32")]
    let weight = |(magnitude, factor): (f32, f64)| (f64::from(magnitude) * factor).min(f32::MAX.into()) as f32;
    weighted.map(weight).collect()
}

/// The same with powers that are estimated from the pair.
///
/// Each receiver's spectrum is smoothed over 33 bins, its noise is the mean of the lowest quarter, the signal is what both
/// have above that, and what only one has is noise of its own.
pub fn estimated_hannan_thomson(first: &[f32], second: &[f32]) -> Vec<f32> {
    let ratios = |spectrum: &[f32]| -> Vec<f32> {
        let power: Vec<f32> = bins(spectrum).iter().map(Complex32::norm_sqr).collect();
        let smooth = smoothed(&power);
        let mut sorted = smooth.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let quietest = &sorted[..(sorted.len() / 4).max(1)];
        let noise = (quietest.iter().sum::<f32>() / quietest.len() as f32).max(f32::MIN_POSITIVE);
        smooth.iter().map(|power| (power / noise).clamp(1.0 + LEAST_SNR, MOST_SNR)).collect()
    };
    let (first_ratio, second_ratio) = (ratios(first), ratios(second));
    let signal: Vec<f32> = first_ratio.iter().zip(&second_ratio).map(|(one, other)| one.min(*other) - 1.0).collect();
    let rest =
        |ratio: &[f32]| -> Vec<f32> { ratio.iter().zip(&signal).map(|(ratio, signal)| ratio - signal).collect() };
    hannan_thomson(first, second, &signal, &rest(&first_ratio), &rest(&second_ratio))
}

pub(super) fn bins(spectrum: &[f32]) -> &[Complex32] {
    bytemuck::cast_slice(spectrum)
}

fn smoothed(power: &[f32]) -> Vec<f32> {
    let reach = SMOOTHED.min(power.len() / 2);
    let window: Vec<f32> = (0..=2 * reach)
        .map(|n| 0.5 - 0.5 * (std::f32::consts::PI * (n + 1) as f32 / (reach + 1) as f32).cos())
        .collect();
    let sum: f32 = window.iter().sum();
    let at = |k: usize, n: usize| power[(k + power.len() + n - reach) % power.len()];
    let mean = |k| window.iter().enumerate().map(|(n, weight)| weight * at(k, n)).sum::<f32>() / sum;
    (0..power.len()).map(mean).collect()
}
