//! `auricle train policy`: makes the policy that weights bins for the time difference of arrival.

mod ablation;

mod picture;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::super::device::DeviceArgument;
use super::super::progress::Interrupt;
use super::super::{Misuse, print};
use super::check_output;
use crate::locate::training::{PolicyOptions, PolicyStep, PolicyTrainer};
use crate::{Engine, EngineOptions};

const DETAILS: &str = "\
What it does: two receivers hear one emitter (BPSK, QPSK, OFDM, FM or a chirp;
complex baseband, 1024 samples; half of them wider, narrower, on another carrier
or in bursts), each with noise, a phase and perhaps a jammer of its own, the
second one up to 12 samples earlier or later. The policy sees both spectra and
draws a mask and a whitening for each band; the delay is where the weighted
correlation is highest; the reward of a draw is -ln(|error in samples| + 0.02).
Draws that were better than the others of their pair become more likely
(REINFORCE, leave-one-out baseline, Adam).

A line says the step, the mean reward, the mean magnitude of the errors in
samples, and the entropy of the policy in nats, each over the steps since the
line before.

Files in the folder, written every --viz-interval steps and at the end:
  policy.checkpoint   everything that --resume needs
  curve.svg           residual and reward over the steps
  before-after.png    a jammed QPSK signal, before and after the mask

Ctrl-C stops after the step and leaves a checkpoint. One seed gives the same
pairs on every device; draws follow the weights, which agree as far as
floating-point sums do.

Examples:
  # the policy that is built in: some eight minutes
  auricle train policy
  # a quick try
  auricle train policy --num-steps 20 --batch-size 8 -o /tmp/try.safetensors \\
    --directory /tmp/try
  # goes on, longer than was planned
  auricle train policy --resume --num-steps 9000
  # jammers everywhere, and more noise
  auricle train policy --jammer 1 --min-snr 0
  # what entropy and resolvent terms do, over five seeds
  auricle train policy --ablate --num-steps 1000
  # how good it is, beside other weightings and the bound
  auricle eval policy auricle-policy.safetensors";

/// Train the policy that weights bins for the time difference of arrival.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(in crate::cli) struct PolicyArguments {
    /// The policy file to write at the end.
    #[arg(short, long, default_value = "auricle-policy.safetensors", value_name = "FILE")]
    output: PathBuf,

    /// Where checkpoint and pictures are kept.
    #[arg(long, default_value = "training-policy", value_name = "DIR")]
    directory: PathBuf,

    /// Go on from the checkpoint in the folder.
    #[arg(long)]
    resume: bool,

    /// Replace a policy file or a checkpoint that is there already.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    device: DeviceArgument,

    /// Train with and without the entropy term and the resolvent, over five seeds, and compare; no policy is written.
    #[arg(long, conflicts_with_all = ["resume", "seed", "output", "directory", "force", "viz_interval", "distortion",
        "correlation_entropy", "resolvent_lambda"])]
    ablate: bool,

    /// Steps until the learning rate has come down [default: 6000, or what the checkpoint says].
    #[arg(long, value_name = "N", help_heading = "Training")]
    num_steps: Option<usize>,

    /// Pairs of frames in each step.
    #[arg(long, value_name = "N", default_value_t = PolicyOptions::default().pairs, conflicts_with = "resume", help_heading = "Training")]
    batch_size: usize,

    /// Draws for each pair.
    #[arg(long, value_name = "N", default_value_t = PolicyOptions::default().draws, conflicts_with = "resume", help_heading = "Training")]
    draws: usize,

    /// What all pairs, draws and first weights follow from.
    #[arg(long, default_value_t = PolicyOptions::default().seed, conflicts_with = "resume", help_heading = "Training")]
    seed: u64,

    /// The learning rate at the beginning; it falls along a line.
    #[arg(long, default_value_t = PolicyOptions::default().learning_rate, conflicts_with = "resume", help_heading = "Training")]
    learning_rate: f64,

    /// Steps from one checkpoint and set of pictures to the next.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Training")]
    viz_interval: u32,

    /// The least signal-to-noise ratio, over the whole band.
    #[arg(
        long,
        value_name = "DB",
        default_value_t = PolicyOptions::default().snr_db.0,
        allow_hyphen_values = true,
        conflicts_with = "resume",
        help_heading = "Signals"
    )]
    min_snr: f64,

    /// The highest signal-to-noise ratio, over the whole band.
    #[arg(
        long,
        value_name = "DB",
        default_value_t = PolicyOptions::default().snr_db.1,
        allow_hyphen_values = true,
        conflicts_with = "resume",
        help_heading = "Signals"
    )]
    max_snr: f64,

    /// Share of the pairs, 0 to 1, that have a jammer at each receiver, 20 dB above the noise.
    #[arg(long, value_name = "0..1", default_value_t = PolicyOptions::default().jammers, conflicts_with = "resume", help_heading = "Signals")]
    jammer: f32,

    /// What the part of the power that the mask takes away costs.
    #[arg(long, value_name = "WEIGHT", default_value_t = PolicyOptions::default().distortion, conflicts_with = "resume", help_heading = "Reward")]
    distortion: f32,

    /// What the entropy of the correlation costs; 0.5 is what was published for this method.
    #[arg(long, value_name = "LAMBDA", default_value_t = PolicyOptions::default().correlation_entropy, conflicts_with = "resume", help_heading = "Reward")]
    correlation_entropy: f32,

    /// 0 to 1: how far the phi-resolvent smooths gradients, and how much of what it would take out of activations is
    /// added to the loss; 0 leaves both alone.
    #[arg(long, value_name = "LAMBDA", default_value_t = PolicyOptions::default().resolvent, conflicts_with = "resume", help_heading = "Reward")]
    resolvent_lambda: f32,

    /// Bands that spectra are divided into: a power of two.
    #[arg(long, default_value_t = PolicyOptions::default().bands, conflicts_with = "resume", help_heading = "Network")]
    bands: usize,

    /// Units of the hidden layer.
    #[arg(long, default_value_t = PolicyOptions::default().hidden, conflicts_with = "resume", help_heading = "Network")]
    hidden: usize,
}

impl PolicyArguments {
    fn options(&self) -> Result<PolicyOptions> {
        let options = PolicyOptions {
            seed: self.seed,
            steps: self.num_steps.unwrap_or(PolicyOptions::default().steps),
            pairs: self.batch_size,
            draws: self.draws,
            snr_db: (self.min_snr, self.max_snr),
            jammers: self.jammer,
            learning_rate: self.learning_rate,
            distortion: self.distortion,
            correlation_entropy: self.correlation_entropy,
            resolvent: self.resolvent_lambda,
            bands: self.bands,
            hidden: self.hidden,
            planned_before: Vec::new(),
        };
        options.check().map_err(|error| Misuse(error.to_string()))?;
        Ok(options)
    }
}

pub(super) fn train(arguments: &PolicyArguments) -> Result<()> {
    let options = arguments.options()?;
    let device = arguments.device.choice.clone();
    let engine = Engine::open(&EngineOptions { device, ..EngineOptions::default() })?;
    let interrupt = Interrupt::listen()?;
    // A step ends by itself, and its checkpoint must be written.
    interrupt.ignore();
    if arguments.ablate {
        return ablation::ablate(&engine, &options, &interrupt);
    }
    check_output(&arguments.output, arguments.force, &arguments.directory)?;
    let directory = &arguments.directory;
    std::fs::create_dir_all(directory).with_context(|| format!("making the folder {}", directory.display()))?;
    let checkpoint = directory.join("policy.checkpoint");
    let mut trainer = if arguments.resume {
        PolicyTrainer::resume(&engine, &checkpoint, arguments.num_steps)?
    } else if checkpoint.exists() && !arguments.force {
        bail!("{} exists; --resume goes on from it, --force begins anew", checkpoint.display());
    } else {
        PolicyTrainer::new(&engine, &options)?
    };
    let start = Instant::now();
    let steps = trainer.options().steps;
    let mut lines = Lines::new(steps);
    while trainer.history().len() < steps && !interrupt.is_wanted() {
        lines.add(trainer.step()?);
        let done = trainer.history().len();
        lines.show(done)?;
        if done.is_multiple_of(arguments.viz_interval as usize) && done < steps {
            keep(&trainer, &engine, directory, &checkpoint)?;
        }
    }
    keep(&trainer, &engine, directory, &checkpoint)?;
    let done = trainer.history().len();
    if done < steps {
        say(&format!("stopped after step {done}; --resume goes on from there"));
        return Ok(());
    }
    trainer.policy().write(&arguments.output, arguments.force)?;
    say(&format!("{} is written, after {:.0} s", arguments.output.display(), start.elapsed().as_secs_f64()));
    Ok(())
}

fn keep(trainer: &PolicyTrainer, engine: &Engine, directory: &Path, checkpoint: &Path) -> Result<()> {
    trainer.save(checkpoint)?;
    picture::curve(trainer.history(), &directory.join("curve.svg"))?;
    picture::before_after(&trainer.policy(), engine, &directory.join("before-after.png"))
}

/// Twenty lines for the whole training, or one for each step where those are fewer.
struct Lines {
    steps: usize,
    every: usize,
    since: Vec<PolicyStep>,
}

impl Lines {
    fn new(steps: usize) -> Self {
        Self { steps, every: steps.div_ceil(20), since: Vec::new() }
    }

    fn add(&mut self, step: PolicyStep) {
        self.since.push(step);
    }

    fn show(&mut self, done: usize) -> Result<()> {
        if !done.is_multiple_of(self.every) && done < self.steps {
            return Ok(());
        }
        let mean = |of: fn(&PolicyStep) -> f64| self.since.iter().map(of).sum::<f64>() / self.since.len() as f64;
        let (reward, residual, entropy) =
            (mean(|step| step.reward), mean(|step| step.residual), mean(|step| step.entropy));
        self.since.clear();
        let steps = self.steps;
        print(&format!(
            "Step {done}/{steps} | Reward: {reward:.4} | TDoA Residual: {residual:.4} | Entropy: {entropy:.4}"
        ))
    }
}

#[expect(clippy::print_stderr, reason = "this is what a person who trains reads")]
fn say(line: &str) {
    eprintln!("{line}");
}
