//! Clean speech to train on: some hours of it, spoken in many voices, kept in one file.

use std::path::Path;

use super::sentences::sentence;
use super::signal::{resampled, whole};
use super::voice::Voice;
use super::{SAMPLE_RATE_HZ, TrainError};
use crate::random::Random;

/// Speech, one utterance after another with pauses between, at [`SAMPLE_RATE_HZ`].
#[derive(Debug)]
pub(crate) struct Speech {
    samples: Vec<i16>,
}

/// What a piece of speech is used for: the last twentieth is kept for judging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// To learn from.
    Training,
    /// To judge by.
    Validation,
}

impl Speech {
    /// From samples that somebody else made.
    pub(crate) fn new(samples: Vec<i16>) -> Self {
        Self { samples }
    }

    /// What `path` holds, or as many seconds of speech as asked for, which are then left there. Nothing when `proceed`,
    /// which hears how much there is, from 0 to 1, says no.
    pub(crate) fn at(
        path: &Path,
        seconds: usize,
        seed: u64,
        proceed: &mut dyn FnMut(f32) -> bool,
    ) -> Result<Option<Self>, TrainError> {
        let wanted = seconds * SAMPLE_RATE_HZ;
        if let Ok(bytes) = std::fs::read(path)
            && bytes.len() / 2 >= wanted
        {
            let samples = bytes.chunks_exact(2).take(wanted).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
            return Ok(Some(Self::new(samples.collect())));
        }
        let mut samples = Vec::with_capacity(wanted);
        for utterance in 0.. {
            if samples.len() >= wanted {
                break;
            }
            samples.extend(utter(&mut Random::new(seed, utterance))?);
            if !proceed(samples.len() as f32 / wanted as f32) {
                return Ok(None);
            }
        }
        samples.truncate(wanted);
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        super::checkpoint::replace(path, &bytes)?;
        Ok(Some(Self::new(samples)))
    }

    /// `length` samples from somewhere, full scale 1.
    pub(crate) fn piece(&self, length: usize, of: Use, random: &mut Random) -> Vec<f32> {
        let kept = self.samples.len() / 20;
        let (first, count) = match of {
            Use::Training => (0, self.samples.len() - kept),
            Use::Validation => (self.samples.len() - kept, kept),
        };
        let start = first + random.below(count.saturating_sub(length).max(1));
        let end = (start + length).min(self.samples.len());
        let mut piece: Vec<f32> = self.samples[start..end].iter().map(|&sample| f32::from(sample) / 32768.0).collect();
        piece.resize(length, 0.0);
        piece
    }
}

/// A sentence by a voice, with the pause after it, as loud as any other.
fn utter(random: &mut Random) -> Result<Vec<i16>, TrainError> {
    let voice = Voice::any(random);
    // A few voices stumble over a few sounds.
    let mut said = voice.says(&sentence(random), random);
    for _ in 0..4 {
        if matches!(said, Err(TrainError::Speaker { .. })) {
            said = voice.says(&sentence(random), random);
        }
    }
    let (rate_hz, spoken) = said?;
    let rate = rate_hz / SAMPLE_RATE_HZ as f32 * random.between_log(0.82, 1.22);
    let mut samples = resampled(spoken_part(&spoken), rate);
    let peak = samples.iter().fold(1e-3_f32, |peak, sample| peak.max(sample.abs()));
    samples.iter_mut().for_each(|sample| *sample *= 0.7 / peak);
    let pause = random.between(0.0, 1.0).powi(3) * 1.8 * SAMPLE_RATE_HZ as f32;
    samples.extend(std::iter::repeat_n(0.0, whole(pause)));
    #[expect(clippy::cast_possible_truncation, reason = "quantised to the range of the target")]
    let quantised = |sample: &f32| (sample * 32767.0) as i16;
    Ok(samples.iter().map(quantised).collect())
}

/// Without the silence before and after it, which some programs make long.
fn spoken_part(samples: &[f32]) -> &[f32] {
    let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    let is_loud = |sample: &f32| sample.abs() > 0.01 * peak;
    let (first, last) = (samples.iter().position(is_loud), samples.iter().rposition(is_loud));
    match (first, last) {
        (Some(first), Some(last)) => &samples[first.saturating_sub(400)..(last + 1000).min(samples.len())],
        _ => &[],
    }
}
