//! How good a cleaned signal is: measures that compare it with the clean one, and baselines to stand beside.
//!
//! ```text
//! clean, estimate, rate -> check -> si_sdr_db | segmental_snr_db | log_spectral_distance_db | stoi -> one f64
//! noisy, rate -> baseline::{spectral_subtraction, log_mmse} -> what a textbook would give
//! ```
//!
//! A signal is one channel: real samples, full scale 1.0, any level. *Clean* is what should come out, *estimate* what
//! did; both have the same length and are aligned to the sample. All arithmetic is in f64.
//!
//! | measure | unit | range | better | says |
//! | --- | --- | --- | --- | --- |
//! | [`si_sdr_db`] | dB | -100 to 100 | up | how little of the estimate is not the clean signal, whatever its gain |
//! | [`segmental_snr_db`] | dB | -10 to 35 | up | the same frame by frame, gain included, quiet frames counting like loud ones |
//! | [`log_spectral_distance_db`] | dB | 0 to 50 and above | down | how far the spectra's shapes and levels are apart |
//! | [`stoi`] | - | -1 to 1 | up | how much of the speech can be understood |
//!
//! # Example
//! ```
//! let clean: Vec<f32> = (0..16_000).map(|n| (n as f32 * 0.1).sin()).collect();
//! let estimate: Vec<f32> = clean.iter().enumerate().map(|(n, x)| x + 0.1 * (n as f32 * 0.7).sin()).collect();
//! let score = auricle::quality::si_sdr_db(&clean, &estimate)?;
//! assert!((score - 20.0).abs() < 0.1);
//! # Ok::<(), auricle::quality::QualityError>(())
//! ```

mod error;

mod si_sdr;

mod segmental_snr;

mod spectral_distance;

mod stoi;

mod ten_khz;

mod fft;

mod spectrum;

pub mod baseline;

pub use error::QualityError;
pub use segmental_snr::segmental_snr_db;
pub use si_sdr::si_sdr_db;
pub use spectral_distance::log_spectral_distance_db;
pub use stoi::stoi;

/// What every measure asks of its two signals, before anything is computed.
fn check(measure: &'static str, clean: &[f32], estimate: &[f32]) -> Result<(), QualityError> {
    if clean.len() != estimate.len() {
        return Err(QualityError::LengthsDiffer { measure, clean: clean.len(), estimate: estimate.len() });
    }
    if clean.is_empty() {
        return Err(QualityError::Empty { measure });
    }
    check_finite(measure, "clean signal", clean)?;
    check_finite(measure, "estimate", estimate)?;
    if clean.iter().all(|x| *x == 0.0) {
        return Err(QualityError::CleanIsSilent { measure });
    }
    Ok(())
}

fn check_finite(measure: &'static str, signal: &'static str, samples: &[f32]) -> Result<(), QualityError> {
    match samples.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(sample) => Err(QualityError::NotFinite { measure, signal, sample }),
    }
}

/// Rates outside of this range are mistakes, and would make frames of no or of millions of samples.
fn check_rate(measure: &'static str, rate_hz: u32) -> Result<(), QualityError> {
    if (LOWEST_RATE_HZ..=HIGHEST_RATE_HZ).contains(&rate_hz) {
        return Ok(());
    }
    Err(QualityError::RateOutOfRange { measure, rate_hz })
}

const LOWEST_RATE_HZ: u32 = 1_000;
const HIGHEST_RATE_HZ: u32 = 768_000;

/// A span of time in samples, rounded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds of a checked rate")]
fn samples_from_ms(ms: f64, rate_hz: u32) -> usize {
    (ms * f64::from(rate_hz) / 1e3).round() as usize
}

fn wide(samples: &[f32]) -> Vec<f64> {
    samples.iter().map(|x| f64::from(*x)).collect()
}
