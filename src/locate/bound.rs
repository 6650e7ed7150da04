//! How well anybody can do: the Cramer-Rao bound of a delay between two receivers.

use num_complex::Complex64;

use super::emitter::{Emitters, Origin, frequency};
use crate::random::Random;

/// Signals whose spectra are averaged.
const SIGNALS: usize = 400;

/// Mean power of each bin of a frame of this origin after a taper, against white noise of the same power as the signal; in
/// natural order.
pub(crate) fn mean_spectrum(emitters: &Emitters, origin: &Origin, taper: &[f32], random: &mut Random) -> Vec<f64> {
    let len = taper.len();
    let transform = rustfft::FftPlannerScalar::new().plan_fft_forward(len);
    let noise: f64 = taper.iter().map(|weight| f64::from(*weight).powi(2)).sum();
    let mut mean = vec![0.0; len];
    for _ in 0..SIGNALS {
        let frame = emitters.frame(origin, random);
        let mut signal: Vec<Complex64> = frame.iter().zip(taper).map(|(z, weight)| z * f64::from(*weight)).collect();
        transform.process(&mut signal);
        let scale = 1.0 / (noise * SIGNALS as f64);
        mean.iter_mut().zip(&signal).for_each(|(mean, bin)| *mean += scale * bin.norm_sqr());
    }
    mean
}

/// The least standard deviation, in samples, of an unbiased estimate of the delay between two receivers that hear a
/// Gaussian signal in white noise in a frame without a taper, with an unknown phase between them; `snr` is the signal's
/// ratio to the noise in each bin (natural order):
///
/// ```text
/// 1 / variance = sum over k of 2 (2 pi (f[k] - f0))^2 snr[k]^2 / (1 + 2 snr[k])
/// ```
///
/// with `f0` the mean frequency under the same weights (Knapp and Carter 1976, with the phase as a nuisance). Infinite or
/// no number where no two bins have a signal.
pub(crate) fn cramer_rao(snr: &[f64]) -> f64 {
    let len = snr.len();
    let weight = |snr: f64| snr * snr / (1.0 + 2.0 * snr);
    let total: f64 = snr.iter().map(|&snr| weight(snr)).sum();
    let middle = snr.iter().enumerate().map(|(k, &snr)| weight(snr) * frequency(k, len)).sum::<f64>() / total;
    let information = snr.iter().enumerate().map(|(k, &snr)| {
        let angle = std::f64::consts::TAU * (frequency(k, len) - middle);
        2.0 * angle * angle * weight(snr)
    });
    information.sum::<f64>().sqrt().recip()
}

#[cfg(test)]
mod tests {
    use super::cramer_rao;

    #[test]
    fn the_bound_is_that_of_the_closed_case() {
        // A flat band of B bins of N, the same ratio in each: with n = B odd and steps of 1/N,
        // sum of squares = (B^3 - B) / 12 / N^2.
        let (len, band, snr) = (1024_usize, 201_usize, 4.0_f64);
        let in_band = |k: usize| k <= band / 2 || k >= len - band / 2;
        let spectrum: Vec<f64> = (0..len).map(|k| if in_band(k) { snr } else { 0.0 }).collect();
        let b = band as f64;
        let squares = (b.powi(3) - b) / 12.0 / (len as f64).powi(2);
        let weight = snr * snr / (1.0 + 2.0 * snr);
        let expected = 1.0 / (2.0 * std::f64::consts::TAU.powi(2) * weight * squares).sqrt();
        assert!((cramer_rao(&spectrum) / expected - 1.0).abs() < 1e-12, "{} is not {expected}", cramer_rao(&spectrum));
        // Where the band lies makes no difference, since the phase is not known.
        let moved: Vec<f64> = (0..len).map(|k| spectrum[(k + len - 300) % len]).collect();
        assert!((cramer_rao(&moved) / expected - 1.0).abs() < 1e-9, "the same band elsewhere");
        assert!(cramer_rao(&vec![1.0; 64]) < cramer_rao(&vec![0.5; 64]), "less noise is better");
    }
}
