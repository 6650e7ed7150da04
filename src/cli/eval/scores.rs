//! The four measures of one signal, and their means.

use anyhow::Result;

use crate::quality::{self, QualityError};

/// A measure that has no value for a signal, such as STOI for a very short one, is none, and is left out of means.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Scores {
    pub(super) si_sdr_db: Option<f64>,
    pub(super) segmental_snr_db: Option<f64>,
    pub(super) lsd_db: Option<f64>,
    pub(super) stoi: Option<f64>,
}

impl Scores {
    /// The mean over channels, and why a measure is missing.
    pub(super) fn of_channels(
        clean: &[Vec<f32>],
        estimate: &[Vec<f32>],
        rate_hz: u32,
    ) -> Result<(Self, Vec<String>), QualityError> {
        let mut warnings = Vec::new();
        let channels = clean.iter().zip(estimate);
        let scores: Result<Vec<_>, _> =
            channels.map(|(clean, estimate)| Self::of(clean, estimate, rate_hz, &mut warnings)).collect();
        warnings.dedup();
        Ok((Self::mean(&scores?), warnings))
    }

    fn of(clean: &[f32], estimate: &[f32], rate_hz: u32, warnings: &mut Vec<String>) -> Result<Self, QualityError> {
        let mut value = |score| value(score, warnings);
        Ok(Self {
            si_sdr_db: value(quality::si_sdr_db(clean, estimate))?,
            segmental_snr_db: value(quality::segmental_snr_db(clean, estimate, rate_hz))?,
            lsd_db: value(quality::log_spectral_distance_db(clean, estimate, rate_hz))?,
            stoi: value(quality::stoi(clean, estimate, rate_hz))?,
        })
    }

    pub(super) fn mean(scores: &[Self]) -> Self {
        let mean = |measure: fn(&Self) -> Option<f64>| {
            let values: Vec<f64> = scores.iter().filter_map(measure).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        Self {
            si_sdr_db: mean(|scores| scores.si_sdr_db),
            segmental_snr_db: mean(|scores| scores.segmental_snr_db),
            lsd_db: mean(|scores| scores.lsd_db),
            stoi: mean(|scores| scores.stoi),
        }
    }
}

/// A signal that is too short or silent has no score; anything else that is wrong ends the run.
fn value(score: Result<f64, QualityError>, warnings: &mut Vec<String>) -> Result<Option<f64>, QualityError> {
    match score {
        Ok(score) => Ok(Some(score)),
        Err(
            error @ (QualityError::TooShort { .. } | QualityError::CleanIsSilent { .. } | QualityError::Empty { .. }),
        ) => {
            warnings.push(error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
