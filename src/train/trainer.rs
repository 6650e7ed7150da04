//! The loop: mixtures from a thread of their own, a step on each batch, now and then a checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use super::checkpoint::{Checkpoint, Mark, Progress, replace};
use super::loss::loss;
use super::mixture::{Batch, Mixer};
use super::network::Network;
use super::optimiser::Optimiser;
use super::plot::loss_plot;
use super::speech::{Speech, Use};
use super::{TrainError, WINDOWS, description};
use crate::random::Random;
use crate::regulariser::Resolvent;
use crate::stage::denoise::model::{Description, Model, ModelError, Tensor};

/// Streams of the seed that are not those of a step.
const WEIGHTS_STREAM: u64 = u64::MAX;
const VALIDATION_STREAM: u64 = 1 << 40;
const VALIDATION_CLIPS: usize = 48;
/// How slowly the average of the weights follows them.
const AVERAGE: f32 = 0.999;
/// Steps in which the learning rate rises, and what of it is left at the end.
const RISE: f64 = 300.0;
const REST: f64 = 0.01;

/// What to train, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Where the speech, the checkpoint and the plot are kept.
    pub directory: PathBuf,
    /// What all data and the first weights follow from.
    pub seed: u64,
    /// A model whose weights are the first ones instead.
    pub start: Option<Arc<Model>>,
    /// How many steps until the learning rate is down.
    pub steps: usize,
    /// Clips in each step.
    pub sequences: usize,
    /// Seconds of speech to learn from.
    pub speech_seconds: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// How far the phi-resolvent smooths gradients and damps activations, from 0 to 1; 0 leaves both alone.
    pub resolvent: f32,
    /// Steps from one mark of the progress to the next.
    pub mark_every: usize,
}

/// What happened since the last report.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Report<'a> {
    /// So much of the speech is there, from 0 to 1.
    Speaking(f32),
    /// Steps done, the loss of the last.
    Step(usize, f64),
    /// There is a new mark.
    Marked(&'a Progress),
}

/// A network in training.
#[derive(Debug)]
pub struct Trainer {
    network: Network,
    resolvent: Option<Resolvent>,
    optimiser: Optimiser,
    average: Vec<f32>,
    progress: Progress,
    directory: PathBuf,
    mark_every: usize,
}

impl Trainer {
    /// Where the checkpoint of a directory lies.
    pub fn checkpoint_path(directory: &Path) -> PathBuf {
        directory.join("checkpoint.bin")
    }

    /// Begins anew.
    ///
    /// # Errors
    /// [`TrainError::OtherModel`] when it cannot start from the model that it was given.
    pub fn new(options: &TrainOptions) -> Result<Self, TrainError> {
        let network = Network::new(&description());
        let weights = match &options.start {
            Some(model) => weights_of(model)?,
            None => network.initial(&mut Random::new(options.seed, WEIGHTS_STREAM)),
        };
        let progress = Progress {
            steps: options.steps,
            seed: options.seed,
            sequences: options.sequences,
            speech_seconds: options.speech_seconds,
            learning_rate: options.learning_rate,
            resolvent: options.resolvent,
            ..Progress::default()
        };
        Ok(Self {
            resolvent: resolvent(&network, &progress),
            network,
            optimiser: Optimiser::new(weights.clone(), 0, Default::default()),
            average: weights,
            progress,
            directory: options.directory.clone(),
            mark_every: options.mark_every,
        })
    }

    /// Goes on where the checkpoint of the directory stopped, with its seed and its data, towards `steps` if told.
    ///
    /// # Errors
    /// When the checkpoint cannot be read, or has more steps behind it than are asked for.
    pub fn resume(directory: &Path, steps: Option<usize>, mark_every: usize) -> Result<Self, TrainError> {
        let network = Network::new(&description());
        let path = Self::checkpoint_path(directory);
        let checkpoint = Checkpoint::read(&path, network.weights())?;
        let mut progress = checkpoint.progress;
        progress.steps = steps.unwrap_or(progress.steps);
        let Progress { step, steps, .. } = progress;
        if step > steps {
            let problem = format!("{step} steps are done already, more than the {steps} asked for");
            return Err(TrainError::broken(&path, &problem));
        }
        let optimiser = Optimiser::new(checkpoint.weights, progress.step, checkpoint.moments);
        Ok(Self {
            resolvent: resolvent(&network, &progress),
            network,
            optimiser,
            average: checkpoint.average,
            progress,
            directory: directory.to_owned(),
            mark_every,
        })
    }

    /// Where it stands.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The model that the averaged weights make.
    ///
    /// # Errors
    /// When a weight is beyond what a model may hold.
    pub fn model(&self, mask_floor_db: Option<f32>) -> Result<Model, ModelError> {
        let description = Description { mask_floor_db, ..description() };
        let mut rest = self.average.as_slice();
        let tensors = description.expected_tensors().into_iter().map(|(name, shape)| {
            let (values, after) = rest.split_at(shape.iter().product());
            rest = after;
            (name, Tensor { shape, values: values.into() })
        });
        let tensors = tensors.collect();
        Model::new(description, tensors)
    }

    /// Writes the checkpoint, and the loss plot beside it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Result<(), TrainError> {
        let checkpoint = Checkpoint {
            progress: self.progress.clone(),
            weights: self.optimiser.weights(),
            average: self.average.clone(),
            moments: self.optimiser.moments(),
        };
        checkpoint.write(&Self::checkpoint_path(&self.directory))?;
        replace(&self.directory.join("loss.svg"), loss_plot(&self.progress).as_bytes())
    }

    /// Trains until all steps are done or `stopped` says so, and leaves a checkpoint either way. After an error, that of
    /// the last mark is there.
    ///
    /// # Errors
    /// When there is no speech or mixture to be had, a file cannot be written, or the loss or a weight is no number any
    /// more.
    pub fn run(&mut self, report: &mut dyn FnMut(Report<'_>), stopped: &dyn Fn() -> bool) -> Result<(), TrainError> {
        let seed = self.progress.seed;
        let bank = self.directory.join(format!("speech-{seed}.i16"));
        let seconds = self.progress.speech_seconds;
        let proceed = &mut |part| {
            report(Report::Speaking(part));
            !stopped()
        };
        let Some(speech) = Speech::at(&bank, seconds, seed, proceed)? else { return self.save() };
        let speech = Arc::new(speech);
        let judged = Mixer::new().batch(&speech, Use::Validation, VALIDATION_CLIPS, seed, VALIDATION_STREAM);
        let batches = self.batches(&speech)?;
        let mut losses = Vec::new();
        let mut since = Instant::now();
        while self.progress.step < self.progress.steps && !stopped() {
            let Ok(batch) = batches.recv() else {
                return Err(TrainError::Mixtures {
                    problem: "their thread has panicked, which is a mistake in auricle; another --seed goes around it"
                        .to_owned(),
                });
            };
            losses.push(self.step(&batch)?);
            report(Report::Step(self.progress.step, losses[losses.len() - 1]));
            if self.progress.step.is_multiple_of(self.mark_every) || self.progress.step == self.progress.steps {
                let training = losses.iter().sum::<f64>() / losses.len() as f64;
                losses.clear();
                let validation = self.judge(&judged)?;
                self.progress.history.push(Mark { step: self.progress.step, training, validation });
                self.progress.seconds += std::mem::replace(&mut since, Instant::now()).elapsed().as_secs_f64();
                self.save()?;
                report(Report::Marked(&self.progress));
            }
        }
        self.progress.seconds += since.elapsed().as_secs_f64();
        self.save()
    }

    /// The batches of the steps to come, made ahead on another thread.
    fn batches(&self, speech: &Arc<Speech>) -> Result<Receiver<Batch>, TrainError> {
        let (sender, receiver) = sync_channel(2);
        let (speech, progress) = (Arc::clone(speech), self.progress.clone());
        let make = move || {
            let mixer = Mixer::new();
            for step in progress.step..progress.steps {
                let batch = mixer.batch(&speech, Use::Training, progress.sequences, progress.seed, step as u64);
                if sender.send(batch).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("train.mixtures".to_owned()).spawn(make);
        thread.map_err(|error| TrainError::Mixtures {
            problem: format!("{error}; try again with fewer programs running"),
        })?;
        Ok(receiver)
    }

    fn step(&mut self, batch: &Batch) -> Result<f64, TrainError> {
        let weights = self.optimiser.weights();
        let trace = self.network.forward(&weights, batch.features.clone(), batch.sequences);
        let mut mask = trace.output().to_vec();
        let loss = loss(batch, &mut mask);
        if !loss.is_finite() {
            return Err(self.diverged());
        }
        let resolvent = self.resolvent.as_ref();
        let mut gradient = self.network.backward(&weights, trace, mask, resolvent);
        if let Some(resolvent) = resolvent {
            resolvent.smooth_gradient(&mut gradient);
        }
        self.optimiser.step(self.learning_rate(), gradient);
        self.progress.step += 1;
        // The average forgets quickly at first, so that it does not hold on to the weights of the beginning.
        let keep = AVERAGE.min(self.progress.step as f32 / (self.progress.step as f32 + 10.0));
        for (average, weight) in self.average.iter_mut().zip(self.optimiser.weights()) {
            *average += (1.0 - keep) * (weight - *average);
        }
        // No checkpoint is to be written with them.
        if self.average.iter().all(|average| average.is_finite()) { Ok(loss) } else { Err(self.diverged()) }
    }

    fn diverged(&self) -> TrainError {
        TrainError::Diverged { step: self.progress.step }
    }

    /// Rises, then falls as half a cosine.
    fn learning_rate(&self) -> f64 {
        let (step, steps) = (self.progress.step as f64, self.progress.steps as f64);
        let fall = 0.5 + 0.5 * (std::f64::consts::PI * step / steps).cos();
        self.progress.learning_rate * ((step + 1.0) / RISE).min(1.0) * (fall + REST * (1.0 - fall))
    }

    /// The loss of the averaged weights.
    fn judge(&self, batch: &Batch) -> Result<f64, TrainError> {
        let trace = self.network.forward(&self.average, batch.features.clone(), batch.sequences);
        let loss = loss(batch, &mut trace.output().to_vec());
        if loss.is_finite() { Ok(loss) } else { Err(self.diverged()) }
    }
}

fn resolvent(network: &Network, progress: &Progress) -> Option<Resolvent> {
    (progress.resolvent > 0.0).then(|| Resolvent::new(progress.resolvent, network.tensors(), WINDOWS))
}

/// The weights of a model, in the order in which training keeps them.
fn weights_of(model: &Model) -> Result<Vec<f32>, TrainError> {
    let mut weights = Vec::new();
    for (name, shape) in description().expected_tensors() {
        let tensor = model.tensor(&name).filter(|tensor| tensor.shape == shape);
        let tensor = tensor.ok_or_else(|| TrainError::OtherModel { model: model.description().name.clone() })?;
        weights.extend_from_slice(&tensor.values);
    }
    Ok(weights)
}
