//! Training of the policy that weights bins for the time difference of arrival: by nothing but how well that comes out.
//!
//! ```text
//! scenes -> spectra -> features -> network -> means of logits -+-> several draws -> masks -> delays -> rewards
//!                                                              +<------- score of each draw times its advantage
//! ```
//!
//! REINFORCE (R. J. Williams, 1992) with the mean reward of a pair's other draws as the baseline of each. Everything
//! follows from the seed and the step.

mod options;

mod gradient;

mod adam;

mod checkpoint;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use adam::Adam;
use checkpoint::Checkpoint;
use gradient::Draws;
pub(crate) use options::PolicyOptions;

use super::emitter::{Emitters, Heard, Kind, Origin, Scene};
use super::features::Features;
use super::policy::{Logits, MADE, Policy, PolicyDescription};
use super::{Delay, DelayEstimator, DelayOptions};
use crate::Engine;
use crate::format::FileError;
use crate::random::Random;
use crate::regulariser::Resolvent;

/// Delays that are estimated at once: some 40 MiB with their spectra.
const MOST_DELAYS_AT_ONCE: usize = 2048;
/// Streams of the seed that are not those of a step.
const WEIGHTS_STREAM: u64 = u64::MAX;
/// An error of this many samples is as good as none.
const GOOD_ENOUGH: f32 = 0.02;
/// What the entropy of the policy counts for.
const ENTROPY_BONUS: f32 = 1e-3;
/// Deviations of the draws are kept between these, as logarithms.
const LOG_DEVIATIONS: std::ops::RangeInclusive<f32> = -2.0..=0.5;

/// What goes wrong in training.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrainingError {
    /// A checkpoint that cannot be read, or is none.
    #[error("the checkpoint {}: {problem}", path.display())]
    Checkpoint {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A file that cannot be written.
    #[error(transparent)]
    File(#[from] FileError),

    /// What the device could not do.
    #[error(transparent)]
    Engine(#[from] crate::Error),

    /// A weight is no number any more.
    #[error("a weight is not finite after step {step}; a lower --learning-rate may help")]
    Diverged {
        /// When.
        step: usize,
    },
}

/// What a step gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PolicyStep {
    /// Mean reward of all draws.
    pub(crate) reward: f64,
    /// Mean of the magnitudes of the errors, in samples.
    pub(crate) residual: f64,
    /// Entropy of the policy, in nats.
    pub(crate) entropy: f64,
}

/// A policy in training.
#[derive(Debug)]
pub(crate) struct PolicyTrainer {
    options: PolicyOptions,
    description: PolicyDescription,
    weights: Vec<f32>,
    adam: Adam,
    history: Vec<PolicyStep>,
    estimator: DelayEstimator,
    emitters: Emitters,
    resolvent: Option<Resolvent>,
}

impl PolicyTrainer {
    /// Begins anew, with delays estimated on the engine's device.
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) fn new(engine: &Engine, options: &PolicyOptions) -> crate::Result<Self> {
        let description = description(options);
        let weights = first_weights(&description, &mut Random::new(options.seed, WEIGHTS_STREAM));
        let adam = Adam::new(weights.len());
        Self::with(engine, Checkpoint { options: options.clone(), history: Vec::new(), weights, adam })
    }

    /// Goes on from a checkpoint, with its options, towards `steps` if told.
    ///
    /// # Errors
    /// [`TrainingError::Checkpoint`] when it is none; what the device reports.
    pub(crate) fn resume(engine: &Engine, path: &Path, steps: Option<usize>) -> Result<Self, TrainingError> {
        Ok(Self::with(engine, Checkpoint::read(path, steps)?)?)
    }

    fn with(engine: &Engine, checkpoint: Checkpoint) -> crate::Result<Self> {
        let Checkpoint { options, history, weights, adam } = checkpoint;
        let description = description(&options);
        let delays = DelayOptions::default();
        Ok(Self {
            weights,
            adam,
            history,
            estimator: DelayEstimator::new(engine, &delays)?,
            emitters: Emitters::new(delays.frame_len),
            resolvent: (options.resolvent > 0.0)
                .then(|| Resolvent::new(options.resolvent, description.ranges(), description.bands)),
            description,
            options,
        })
    }

    /// Its options.
    pub(crate) fn options(&self) -> &PolicyOptions {
        &self.options
    }

    /// What each step gave so far.
    pub(crate) fn history(&self) -> &[PolicyStep] {
        &self.history
    }

    /// The policy as it is now.
    pub(crate) fn policy(&self) -> Policy {
        Policy::new(self.description.clone(), self.weights.clone())
    }

    /// Keeps where it stands in a file, which appears whole or not at all.
    ///
    /// # Errors
    /// [`TrainingError::File`] when it cannot be written.
    pub(crate) fn save(&self, path: &Path) -> Result<(), TrainingError> {
        let checkpoint = Checkpoint {
            options: self.options.clone(),
            history: self.history.clone(),
            weights: self.weights.clone(),
            adam: self.adam.clone(),
        };
        checkpoint.write(path)
    }

    /// One step: new pairs, draws for each, their rewards, and a move towards those that were better than the others.
    ///
    /// # Errors
    /// [`TrainingError::Diverged`] when a weight is no number any more; what the device reports.
    pub(crate) fn step(&mut self) -> Result<PolicyStep, TrainingError> {
        let step = self.history.len();
        let policy = self.policy();
        let mut random = Random::new(self.options.seed, step as u64);
        let pairs = self.pairs(&mut random)?;
        let mut draws: Vec<Draws> =
            pairs.iter().map(|pair| Draws::new(&policy, &pair.features, self.options.draws, &mut random)).collect();
        let (reward, residual) = self.reward(&pairs, &mut draws)?;
        let mut gradient = vec![0.0; self.weights.len()];
        let resolvent = self.resolvent.as_ref();
        let each: Vec<Vec<f32>> = pairs
            .par_iter()
            .zip(&draws)
            .map(|(pair, draws)| draws.gradient(&policy, &pair.features, resolvent))
            .collect();
        for of_pair in each {
            gradient.iter_mut().zip(of_pair).for_each(|(sum, part)| *sum += part / self.options.pairs as f32);
        }
        let bands = self.description.bands as f32;
        let deviations = self.weights.len() - MADE;
        gradient[deviations..].iter_mut().for_each(|deviation| *deviation += ENTROPY_BONUS * bands);
        if let Some(resolvent) = resolvent {
            resolvent.smooth_gradient(&mut gradient);
        }
        let left = (1.0 - step as f64 / self.options.steps as f64).max(0.0);
        #[expect(clippy::cast_possible_truncation, reason = "weights are in f32")]
        let learning_rate = (self.options.learning_rate * left) as f32;
        self.adam.ascend(&mut self.weights, &gradient, learning_rate);
        if self.weights.iter().any(|weight| !weight.is_finite()) {
            return Err(TrainingError::Diverged { step: step + 1 });
        }
        let (low, high) = (*LOG_DEVIATIONS.start(), *LOG_DEVIATIONS.end());
        self.weights[deviations..].iter_mut().for_each(|deviation| *deviation = deviation.clamp(low, high));
        let done = PolicyStep { reward, residual, entropy: self.entropy() };
        self.history.push(done);
        Ok(done)
    }

    fn pairs(&self, random: &mut Random) -> crate::Result<Vec<Pair>> {
        let scenes: Vec<(Scene, Random)> = (0..self.options.pairs)
            .map(|_| {
                let (low, high) = self.options.snr_db;
                let scene = Scene {
                    origin: Origin::Varied(*random.choose(&Kind::ALL)),
                    snr_db: low + (high - low) * f64::from(random.unit()),
                    has_jammer: random.chance(self.options.jammers),
                };
                (scene, Random::new(random.bits(), 0))
            })
            .collect();
        let heard: Vec<Heard> =
            scenes.into_par_iter().map(|(scene, mut random)| self.emitters.hear(&scene, &mut random)).collect();
        let frames: Vec<f32> =
            heard.iter().flat_map(|pair| [&pair.first, &pair.second]).flatten().flat_map(|z| [z.re, z.im]).collect();
        let spectra = self.estimator.spectra(&frames)?;
        let floats = 2 * self.description.bins;
        let pair = |(heard, spectra): (&Heard, &[f32])| {
            let (first, second) = spectra.split_at(floats);
            let features = Features::new(&self.description, first, second);
            #[expect(clippy::cast_possible_truncation, reason = "errors are in f32")]
            let delay = heard.delay as f32;
            Pair { first: first.to_vec(), second: second.to_vec(), features, delay }
        };
        Ok(heard.iter().zip(spectra.chunks_exact(2 * floats)).map(pair).collect())
    }

    /// Tells each draw its reward; returns the means of reward and error.
    fn reward(&self, pairs: &[Pair], draws: &mut [Draws]) -> crate::Result<(f64, f64)> {
        let count = self.options.draws;
        let (mut rewards, mut errors) = (0.0, 0.0);
        let at_once = (MOST_DELAYS_AT_ONCE / count).max(1);
        for (pairs, draws) in pairs.chunks(at_once).zip(draws.chunks_mut(at_once)) {
            let repeated = |of: fn(&Pair) -> &Vec<f32>| -> Vec<f32> {
                pairs.iter().flat_map(|pair| std::iter::repeat_n(of(pair), count).flatten().copied()).collect()
            };
            let weights: Vec<Vec<f32>> = pairs
                .par_iter()
                .zip(&*draws)
                .flat_map_iter(|(pair, draws)| draws.logits.iter().map(|logits| logits.weights(&pair.features)))
                .collect();
            let (first, second) = (repeated(|pair| &pair.first), repeated(|pair| &pair.second));
            let delays = self.estimator.delays(&first, &second, &weights.concat())?;
            for ((pair, draws), delays) in pairs.iter().zip(draws).zip(delays.chunks_exact(count)) {
                let reward = |(delay, logits): (&Delay, &Logits)| {
                    let error = (delay.samples - pair.delay).abs();
                    errors += f64::from(error);
                    let distortion =
                        if self.options.distortion > 0.0 { taken_away(logits, &pair.features) } else { 0.0 };
                    -(error + GOOD_ENOUGH).ln()
                        - self.options.distortion * distortion
                        - self.options.correlation_entropy * delay.entropy
                };
                draws.rewards = delays.iter().zip(&draws.logits).map(reward).collect();
                rewards += draws.rewards.iter().map(|&reward| f64::from(reward)).sum::<f64>();
            }
        }
        let all = (pairs.len() * count) as f64;
        Ok((rewards / all, errors / all))
    }

    /// Of the Gaussian over all logits.
    fn entropy(&self) -> f64 {
        let each = 0.5 * (std::f64::consts::TAU * std::f64::consts::E).ln();
        let deviations = &self.weights[self.weights.len() - MADE..];
        deviations.iter().map(|&log| self.description.bands as f64 * (f64::from(log) + each)).sum()
    }
}

struct Pair {
    first: Vec<f32>,
    second: Vec<f32>,
    features: Features,
    delay: f32,
}

/// The part of the power that a mask takes away.
fn taken_away(logits: &Logits, features: &Features) -> f32 {
    let mask = logits.mask(features.power.len());
    let total: f32 = features.power.iter().sum();
    let taken: f32 = mask.iter().zip(&features.power).map(|(mask, power)| (1.0 - mask) * power).sum();
    taken / total
}

/// All options, as JSON: with them, training gives this policy again.
fn options_text(options: &PolicyOptions) -> String {
    serde_json::to_string(options).unwrap_or_default()
}

fn description(options: &PolicyOptions) -> PolicyDescription {
    PolicyDescription {
        name: "auricle-policy".to_owned(),
        version: "1".to_owned(),
        licence: "MIT OR Apache-2.0".to_owned(),
        source: format!("auricle train policy: {}", options_text(options)),
        bins: DelayOptions::default().frame_len,
        bands: options.bands,
        context: 2,
        hidden: options.hidden,
    }
}

/// Weights by which the first policy lets nearly everything through, as the phase transform does.
fn first_weights(description: &PolicyDescription, random: &mut Random) -> Vec<f32> {
    let mut weights = Vec::with_capacity(description.weights());
    for (name, shape) in description.tensors() {
        let count = shape.iter().product();
        #[expect(clippy::cast_possible_truncation, reason = "weights are in f32")]
        let mut normal = |deviation: f32| random.gaussian() as f32 * deviation;
        match name {
            "hidden.weight" => {
                let deviation = (2.0 / description.inputs() as f32).sqrt();
                weights.extend((0..count).map(|_| normal(deviation)));
            }
            "output.weight" => weights.extend((0..count).map(|_| normal(0.05))),
            "output.bias" => weights.extend(std::iter::repeat_n(1.0_f32, count)),
            "output.log_deviation" => weights.extend(std::iter::repeat_n(-0.3_f32, count)),
            _ => weights.extend(std::iter::repeat_n(0.0_f32, count)),
        }
    }
    weights
}
