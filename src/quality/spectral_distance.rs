//! Log-spectral distance: how far the short-time spectra of two signals are apart, in dB.

use super::spectrum::PowerSpectrum;
use super::{QualityError, check, check_rate, samples_from_ms, wide};

const NAME: &str = "log-spectral distance";

const FRAME_MS: f64 = 32.0;
/// What lies further below the loudest bin of the clean signal counts as if it were there.
const DYNAMIC_RANGE_DB: f64 = 50.0;

/// Log-spectral distance, in dB.
///
/// With `S` and `Y` the short-time spectra of the clean signal and of the estimate (frames `m` of 32 ms under a Hann
/// window, half a frame apart; bins `k` from 0 to half the rate), and `L X = max(20 log10 |X|, floor)`,
///
/// ```text
/// LSD = mean over m of  sqrt( mean over k of ( L S[m, k] - L Y[m, k] )^2 )
/// ```
///
/// after A. H. Gray and J. D. Markel, "Distance measures for speech processing", IEEE Trans. ASSP 24(5), 1976, with the
/// dynamic range confined to 50 dB below the loudest bin of the clean signal, as I. Cohen, "Noise spectrum estimation in
/// adverse environments", IEEE Trans. SAP 11(5), 2003, does.
///
/// # Inputs
/// One channel each, of equal length and aligned to the sample, at `rate_hz` samples per second. Gain matters.
///
/// # Output
/// 0 dB (a copy) and above, less is better; at most 50 unless the estimate is louder than the clean signal.
///
/// # Errors
/// [`QualityError`] when the lengths differ, are 0 or below 32 ms, when a sample is not finite, when the clean signal is
/// silent, and when the rate is below 1 kHz or above 768 kHz.
pub fn log_spectral_distance_db(clean: &[f32], estimate: &[f32], rate_hz: u32) -> Result<f64, QualityError> {
    check(NAME, clean, estimate)?;
    check_rate(NAME, rate_hz)?;
    let len = samples_from_ms(FRAME_MS, rate_hz);
    if clean.len() < len {
        return Err(QualityError::TooShort { measure: NAME, needed: len, actual: clean.len() });
    }
    let mut spectrum = PowerSpectrum::new(len, len);
    let (clean, estimate) = (wide(clean), wide(estimate));
    let begins = || (0..=clean.len() - len).step_by(len / 2);
    let loudest = |powers: &[f64]| powers.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let loudest = begins().map(|begin| loudest(spectrum.of(&clean[begin..]))).fold(f64::MIN_POSITIVE, f64::max);
    let floor = loudest * 10_f64.powf(-DYNAMIC_RANGE_DB / 10.0);
    let distances = begins().map(|begin| {
        let clean = spectrum.of(&clean[begin..]).to_vec();
        frame_distance_db(&clean, spectrum.of(&estimate[begin..]), floor)
    });
    Ok(distances.sum::<f64>() / begins().count() as f64)
}

fn frame_distance_db(clean: &[f64], estimate: &[f64], floor: f64) -> f64 {
    let apart = |(s, y): (&f64, &f64)| 10.0 * (s.max(floor) / y.max(floor)).log10();
    let squares: f64 = clean.iter().zip(estimate).map(|pair| apart(pair).powi(2)).sum();
    (squares / clean.len() as f64).sqrt()
}
