//! The public `QualityError`: why two signals cannot be compared, or one cannot be cleaned.

use super::{HIGHEST_RATE_HZ, LOWEST_RATE_HZ};

/// Why there is no score. Each message names the measure (or the baseline) and ends with what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QualityError {
    /// The two signals have different lengths.
    #[error(
        "{measure}: the clean signal has {clean} samples, the estimate {estimate}; align them and cut them to one length"
    )]
    LengthsDiffer {
        /// What was asked for.
        measure: &'static str,
        /// Samples of the clean signal.
        clean: usize,
        /// Samples of the estimate.
        estimate: usize,
    },

    /// There is no sample at all.
    #[error("{measure}: the signal is empty; expected at least one sample")]
    Empty {
        /// What was asked for.
        measure: &'static str,
    },

    /// A sample is NaN or infinite.
    #[error("{measure}: sample {sample} of the {signal} is not finite; mend the signal first")]
    NotFinite {
        /// What was asked for.
        measure: &'static str,
        /// Which signal it is.
        signal: &'static str,
        /// The first such sample, from 0.
        sample: usize,
    },

    /// The clean signal is all zeros, so that nothing can be compared with it.
    #[error("{measure}: the clean signal is silent; expected some speech in it")]
    CleanIsSilent {
        /// What was asked for.
        measure: &'static str,
    },

    /// Too little signal for the measure's frames.
    #[error(
        "{measure}: {actual} samples are too few; expected at least {needed} (for STOI: of speech, without the pauses)"
    )]
    TooShort {
        /// What was asked for.
        measure: &'static str,
        /// Samples that are needed, at the rate of the signal.
        needed: usize,
        /// Samples that there are.
        actual: usize,
    },

    /// A sample rate that no recording of sound has.
    #[error("{measure}: {rate_hz} samples per second are out of range; expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}")]
    RateOutOfRange {
        /// What was asked for.
        measure: &'static str,
        /// The rate given.
        rate_hz: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::QualityError;

    #[test]
    fn every_message_is_one_line_that_names_its_measure() {
        let measure = "STOI";
        let errors = [
            QualityError::LengthsDiffer { measure, clean: 3, estimate: 4 },
            QualityError::Empty { measure },
            QualityError::NotFinite { measure, signal: "estimate", sample: 7 },
            QualityError::CleanIsSilent { measure },
            QualityError::TooShort { measure, needed: 9, actual: 4 },
            QualityError::RateOutOfRange { measure, rate_hz: 0 },
        ];
        for error in errors {
            let message = error.to_string();
            assert!(message.starts_with("STOI: ") && !message.contains('\n'), "{message}");
        }
    }
}
