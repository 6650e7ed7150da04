//! Where training stands, in one file: written beside and then renamed, so that it is whole whenever it is there.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::format::pending::PendingFile;

const MAGIC: &[u8] = b"auricle training 1\n";

/// All that training needs to go on as if it had never stopped; the data follow from seed and step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    pub(crate) progress: Progress,
    pub(crate) weights: Vec<f32>,
    /// The running average of the weights, which is what becomes the model.
    pub(crate) average: Vec<f32>,
    /// What the optimiser remembers: mean and variance of each gradient.
    pub(crate) moments: [Vec<f32>; 2],
}

/// The part of a checkpoint that a person can read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps until the learning rate is down.
    pub steps: usize,
    /// What the data follow from.
    pub seed: u64,
    /// Clips in each step.
    pub sequences: usize,
    /// Seconds of speech in the bank.
    pub speech_seconds: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// How far the phi-resolvent smooths gradients and damps activations.
    #[serde(default)]
    pub resolvent: f32,
    /// Seconds spent so far.
    pub seconds: f64,
    /// The course of the loss.
    pub history: Vec<Mark>,
}

/// One point of the loss's course.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Steps done.
    pub step: usize,
    /// Mean loss of the steps since the last mark.
    pub training: f64,
    /// Loss of the averaged weights on clips that are never learned from.
    pub validation: f64,
}

impl Checkpoint {
    pub(crate) fn write(&self, path: &Path) -> Result<(), TrainError> {
        let header = serde_json::to_vec(&self.progress).map_err(|error| TrainError::broken(path, &error))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        for values in [&self.weights, &self.average, &self.moments[0], &self.moments[1]] {
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        replace(path, &bytes)
    }

    /// `weights` is how many there should be.
    pub(crate) fn read(path: &Path, weights: usize) -> Result<Self, TrainError> {
        let bytes = std::fs::read(path).map_err(|error| TrainError::file(path, error))?;
        let broken = || TrainError::broken(path, &"it is cut short, or no checkpoint at all");
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(broken)?;
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (header, rest) = rest.split_at_checked(length).ok_or_else(broken)?;
        let progress = serde_json::from_slice(header).map_err(|error| TrainError::broken(path, &error))?;
        if rest.len() != 16 * weights {
            return Err(TrainError::broken(path, &format!("it holds {} weights, not {weights}", rest.len() / 16)));
        }
        let mut parts = rest.chunks_exact(4 * weights).map(|part| {
            part.chunks_exact(4)
                .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .collect::<Vec<f32>>()
        });
        let mut next = || parts.next().unwrap_or_default();
        Ok(Self { progress, weights: next(), average: next(), moments: [next(), next()] })
    }
}

/// Puts a file in place of another at once.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let mut file = PendingFile::create(path, &[], true)?;
    file.write_all(bytes)?;
    Ok(file.publish()?)
}
