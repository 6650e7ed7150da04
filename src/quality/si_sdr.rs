//! Scale-invariant signal-to-distortion ratio: how little of the estimate is not the clean signal, whatever its gain.

use super::{QualityError, check};

const NAME: &str = "SI-SDR";

/// Scores are kept within this distance of 0 dB: an exact copy and silence have one too.
const LIMIT_DB: f64 = 100.0;

/// Scale-invariant signal-to-distortion ratio, in dB.
///
/// With `s` clean and `y` estimate, `a = <s, y> / <s, s>` is the gain that fits `s` to `y` best, and
///
/// ```text
/// SI-SDR = 10 log10( |a s|^2 / |y - a s|^2 )
/// ```
///
/// after J. Le Roux, S. Wisdom, H. Erdogan and J. R. Hershey, "SDR - half-baked or well done?", ICASSP 2019, equation 5.
/// No mean is removed first.
///
/// # Inputs
/// One channel each, of equal length and aligned to the sample; any rate.
///
/// # Output
/// -100 to 100 dB, more is better. An exact copy at any gain scores 100, silence and what has nothing in common with
/// the clean signal -100 (the formula has no finite value there).
///
/// # Errors
/// [`QualityError`] when the lengths differ or are 0, when a sample is not finite, and when the clean signal is silent.
pub fn si_sdr_db(clean: &[f32], estimate: &[f32]) -> Result<f64, QualityError> {
    check(NAME, clean, estimate)?;
    let pairs = || clean.iter().zip(estimate).map(|(s, y)| (f64::from(*s), f64::from(*y)));
    let clean_energy: f64 = pairs().map(|(s, _)| s * s).sum();
    let gain = pairs().map(|(s, y)| s * y).sum::<f64>() / clean_energy;
    let target = gain * gain * clean_energy;
    if target == 0.0 {
        return Ok(-LIMIT_DB);
    }
    let distortion: f64 = pairs().map(|(s, y)| (y - gain * s).powi(2)).sum();
    Ok((10.0 * (target / distortion).log10()).clamp(-LIMIT_DB, LIMIT_DB))
}
