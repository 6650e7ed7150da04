//! Where training stands, in one file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::adam::Adam;
use super::{PolicyOptions, PolicyStep, TrainingError, description};
use crate::format::pending::PendingFile;

/// All that training needs to go on as if it had never stopped; scenes and draws follow from seed and step.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    pub(super) options: PolicyOptions,
    pub(super) history: Vec<PolicyStep>,
    pub(super) weights: Vec<f32>,
    pub(super) adam: Adam,
}

impl Checkpoint {
    /// Reads one, with `steps` in place of those that it was to do if told.
    pub(super) fn read(path: &Path, steps: Option<usize>) -> Result<Self, TrainingError> {
        let bytes = std::fs::read(path).map_err(|error| broken(path, &error))?;
        let mut checkpoint: Self = serde_json::from_slice(&bytes).map_err(|error| broken(path, &error))?;
        if let Some(steps) = steps.filter(|steps| *steps != checkpoint.options.steps) {
            let before = std::mem::replace(&mut checkpoint.options.steps, steps);
            checkpoint.options.planned_before.push(before);
        }
        checkpoint.options.check().map_err(|error| broken(path, &error))?;
        checkpoint.check_lengths().map_err(|problem| broken(path, &problem))?;
        Ok(checkpoint)
    }

    /// Whether it has as much in it as its options say.
    fn check_lengths(&self) -> Result<(), String> {
        let (done, steps) = (self.history.len(), self.options.steps);
        if done > steps {
            return Err(format!("{done} steps are done already, more than the {steps} asked for"));
        }
        let expected = description(&self.options).weights();
        let lengths = [&self.weights, &self.adam.first, &self.adam.second].map(Vec::len);
        if lengths.iter().any(|&length| length != expected) {
            return Err(format!("it holds {lengths:?} numbers where its network has {expected}"));
        }
        Ok(())
    }

    /// Writes it; it appears whole or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<(), TrainingError> {
        let text = serde_json::to_vec(self).map_err(|error| broken(path, &error))?;
        let mut file = PendingFile::create(path, &[], true)?;
        file.write_all(&text)?;
        Ok(file.publish()?)
    }
}

fn broken(path: &Path, problem: &dyn std::fmt::Display) -> TrainingError {
    TrainingError::Checkpoint { path: path.to_owned(), problem: problem.to_string() }
}
