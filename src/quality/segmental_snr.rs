//! Segmental signal-to-noise ratio: the SNR of short frames, averaged in dB.

use super::spectrum::hann;
use super::{QualityError, check, check_rate, samples_from_ms};

const NAME: &str = "segmental SNR";

const FRAME_MS: f64 = 30.0;
/// Frames begin a quarter of their length apart.
const HOPS_PER_FRAME: usize = 4;
const LOWEST_DB: f64 = -10.0;
const HIGHEST_DB: f64 = 35.0;

/// Segmental signal-to-noise ratio, in dB.
///
/// With frames `m` of 30 ms under a Hann window, a quarter of a frame apart,
///
/// ```text
/// SSNR = mean over m of  clamp( 10 log10( sum s^2 / sum (s - y)^2 ), -10, 35 )
/// ```
///
/// after J. H. L. Hansen and B. L. Pellom, "An effective quality evaluation protocol for speech enhancement algorithms",
/// ICSLP 1998, with the frames and limits of `comp_snr.m` in P. Loizou, "Speech Enhancement", 2nd ed., CRC Press 2013.
/// Every frame counts, pauses too: a frame in which the clean signal is silent scores -10.
///
/// # Inputs
/// One channel each, of equal length and aligned to the sample, at `rate_hz` samples per second. Gain matters: an
/// estimate at half the level scores 6 dB.
///
/// # Output
/// -10 to 35 dB, more is better; a copy scores 35, except for frames of digital silence, which score -10 as in
/// `comp_snr.m`.
///
/// # Errors
/// [`QualityError`] when the lengths differ, are 0 or below 30 ms, when a sample is not finite, when the clean signal is
/// silent, and when the rate is below 1 kHz or above 768 kHz.
pub fn segmental_snr_db(clean: &[f32], estimate: &[f32], rate_hz: u32) -> Result<f64, QualityError> {
    check(NAME, clean, estimate)?;
    check_rate(NAME, rate_hz)?;
    let len = samples_from_ms(FRAME_MS, rate_hz);
    if clean.len() < len {
        return Err(QualityError::TooShort { measure: NAME, needed: len, actual: clean.len() });
    }
    let (window, hop) = (hann(len), len / HOPS_PER_FRAME);
    let frames = clean.windows(len).step_by(hop).zip(estimate.windows(len).step_by(hop));
    let scores: Vec<f64> = frames.map(|(clean, estimate)| frame_snr_db(&window, clean, estimate)).collect();
    Ok(scores.iter().sum::<f64>() / scores.len() as f64)
}

fn frame_snr_db(window: &[f64], clean: &[f32], estimate: &[f32]) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for ((w, s), y) in window.iter().zip(clean).zip(estimate) {
        let (s, y) = (f64::from(*s), f64::from(*y));
        signal += (w * s).powi(2);
        noise += (w * (s - y)).powi(2);
    }
    // As `comp_snr.m` keeps clear of the logarithm of nothing.
    (10.0 * (signal / (noise + f64::EPSILON) + f64::EPSILON).log10()).clamp(LOWEST_DB, HIGHEST_DB)
}
