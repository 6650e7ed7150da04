//! Weights of the bins for [`DelayEstimator`](super::DelayEstimator), besides 1 everywhere, which is the phase transform.
//!
//! Spectra are of complex samples, as pairs of floats, bins in their natural order. The estimator divides the
//! cross-spectrum by its magnitude, so what is usually a weight of the cross-spectrum stands here times that magnitude.

use num_complex::Complex32;

/// Bins to either side of which a spectrum is smoothed, with a Hann window.
const SMOOTHED: usize = 16;
/// The least signal-to-noise ratio that is believed.
const LEAST_SNR: f32 = 1e-3;

/// The plain cross-correlation: each bin counts with the magnitude of its cross-spectrum.
pub fn cross_correlation(first: &[f32], second: &[f32]) -> Vec<f32> {
    let both = bins(first).iter().zip(bins(second));
    both.map(|(first, second)| first.norm() * second.norm()).collect()
}

/// Hannan's and Thomson's weight, `snr^2 / (1 + 2 snr)`, which reaches the Cramer-Rao bound where each bin's
/// signal-to-noise ratio (of powers, the same at both receivers) is known.
pub fn hannan_thomson(snr: &[f32]) -> Vec<f32> {
    snr.iter().map(|snr| snr * snr / (1.0 + 2.0 * snr)).collect()
}

/// The same with ratios that are estimated: from the mean of both power spectra, smoothed over 33 bins, against the mean of
/// its lowest quarter.
pub fn estimated_hannan_thomson(first: &[f32], second: &[f32]) -> Vec<f32> {
    let both = bins(first).iter().zip(bins(second));
    let power: Vec<f32> = both.map(|(first, second)| 0.5 * (first.norm_sqr() + second.norm_sqr())).collect();
    let smooth = smoothed(&power);
    let mut sorted = smooth.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let quietest = &sorted[..(sorted.len() / 4).max(1)];
    let noise = quietest.iter().sum::<f32>() / quietest.len() as f32;
    let snr: Vec<f32> = smooth.iter().map(|power| (power / noise - 1.0).max(LEAST_SNR)).collect();
    hannan_thomson(&snr)
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
