//! How a policy is trained.

use serde::{Deserialize, Serialize};

/// How to train a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyOptions {
    /// What all scenes, draws and first weights follow from.
    pub(crate) seed: u64,
    /// Steps until the learning rate is down.
    pub(crate) steps: usize,
    /// Pairs of frames in each step.
    pub(crate) pairs: usize,
    /// Draws for each pair; at least 2.
    pub(crate) draws: usize,
    /// The range that signal-to-noise ratios are from, in dB.
    pub(crate) snr_db: (f64, f64),
    /// How many of the pairs have jammers, from 0 to 1.
    pub(crate) jammers: f32,
    /// The learning rate at the beginning; it falls along a line.
    pub(crate) learning_rate: f64,
    /// What the part of the power that the mask takes away costs.
    pub(crate) distortion: f32,
    /// What the entropy of the correlation costs.
    pub(crate) correlation_entropy: f32,
    /// What the phi-resolvent does to gradients and activations; 0 leaves both alone.
    pub(crate) resolvent: f32,
    /// Bands of the spectra.
    pub(crate) bands: usize,
    /// Units of the hidden layer.
    pub(crate) hidden: usize,
    /// Numbers of steps that were planned before this one, when a run was resumed towards another.
    pub(crate) planned_before: Vec<usize>,
}

impl Default for PolicyOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            steps: 6000,
            pairs: 32,
            draws: 8,
            snr_db: (5.0, 15.0),
            jammers: 0.5,
            learning_rate: 3e-3,
            distortion: 0.0,
            correlation_entropy: 0.0,
            resolvent: 0.0,
            bands: 128,
            hidden: 32,
            planned_before: Vec::new(),
        }
    }
}

impl PolicyOptions {
    /// Whether anything can be trained with them.
    pub(crate) fn check(&self) -> crate::Result<()> {
        let range = |name, value: f64, range: std::ops::RangeInclusive<f64>| {
            let expected = || format!("{} to {}", range.start(), range.end());
            if range.contains(&value) { Ok(()) } else { Err(crate::Error::setting(name, value, expected())) }
        };
        range("steps", self.steps as f64, 1.0..=1e9)?;
        range("pairs of a step", self.pairs as f64, 1.0..=4096.0)?;
        range("draws", self.draws as f64, 2.0..=256.0)?;
        range("least signal-to-noise ratio", self.snr_db.0, -60.0..=60.0)?;
        range("highest signal-to-noise ratio", self.snr_db.1, self.snr_db.0..=60.0)?;
        range("jammers", self.jammers.into(), 0.0..=1.0)?;
        range("learning rate", self.learning_rate, 1e-9..=1.0)?;
        range("distortion", self.distortion.into(), 0.0..=100.0)?;
        range("correlation entropy", self.correlation_entropy.into(), 0.0..=100.0)?;
        range("resolvent lambda", self.resolvent.into(), 0.0..=1.0)?;
        range("hidden units", self.hidden as f64, 1.0..=1024.0)?;
        if self.bands.is_power_of_two() && (8..=512).contains(&self.bands) {
            return Ok(());
        }
        Err(crate::Error::setting("bands", self.bands, "a power of two from 8 to 512"))
    }
}
