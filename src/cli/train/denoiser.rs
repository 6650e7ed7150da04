//! `auricle train denoiser`: makes the built-in model, from data that it makes itself.

use std::io::IsTerminal as _;
use std::num::ParseFloatError;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::super::progress::Interrupt;
use super::check_output;
use crate::stage::denoise::model::{Model, StoredAs};
use crate::train::{Progress, Report, TrainOptions, Trainer};

const DETAILS: &str = "\
What it does: espeak-ng, flite and festival speak --speech seconds of sentences
in many voices, once, into a file of the folder. Each step takes --clips pieces
of 4 s from it, puts them into random rooms with random noise (all of it
synthetic), and moves the weights of a dense-GRU mask network (921,601 of them)
so that the masked mixtures come closer to the speech. Every --mark steps the
averaged weights are judged on clips that are never learned from, the checkpoint
is written, and the loss is drawn.

Files in the folder:
  speech-<seed>.i16   what was spoken: 16-bit samples at 16 kHz
  checkpoint.bin      everything that --resume needs
  loss.svg            the course of the loss

Voices, as packages of Debian and Ubuntu:
  apt install espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k \\
    festvox-us-slt-hts festvox-ca-ona-hts festvox-czech-dita festvox-czech-krb \\
    festvox-czech-machac festvox-czech-ph festvox-suopuhe-lj \\
    festvox-suopuhe-mv festvox-italp16k festvox-itapc16k

Ctrl-C stops after the step and leaves a checkpoint; --resume goes on with its
seed and its data, as if it had never been stopped. One seed always gives the
same data; the weights agree as far as floating-point sums do.

A build for the processor at hand trains about twice as fast:
  RUSTFLAGS=\"-C target-cpu=native\" \\
    cargo run --release --features train -- train denoiser

Examples:
  # the recipe of the built-in model, from the beginning
  auricle train denoiser
  # goes on after Ctrl-C
  auricle train denoiser --resume
  # trains longer than was planned
  auricle train denoiser --resume --steps 50000
  # goes on from the built-in model, with other data
  auricle train denoiser --from builtin --seed 2 --steps 2000
  # a quick try
  auricle train denoiser --steps 200 --speech 300 --directory /tmp/try \\
    -o /tmp/try.safetensors
  # cleans with what came of it
  auricle run noisy.wav -o clean.wav --denoise auricle-small.safetensors";

/// Train the network of the built-in denoiser; needs espeak-ng, flite and festival.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(in crate::cli) struct DenoiserArguments {
    /// The model file to write at the end.
    #[arg(short, long, default_value = "auricle-small.safetensors", value_name = "FILE")]
    output: PathBuf,

    /// Where speech, checkpoint and loss plot are kept.
    #[arg(long, default_value = "training", value_name = "DIR")]
    directory: PathBuf,

    /// Go on from the checkpoint in the folder.
    #[arg(long)]
    resume: bool,

    /// Replace a model file or a checkpoint that is there already.
    #[arg(long)]
    force: bool,

    /// What all data and the first weights follow from.
    #[arg(long, default_value_t = 1, conflicts_with = "resume", help_heading = "Training")]
    seed: u64,

    /// Start from the weights of this model, or of the one that is built in, instead of random ones.
    #[arg(long, value_name = "builtin|FILE", conflicts_with = "resume", help_heading = "Training")]
    from: Option<PathBuf>,

    /// Steps until the learning rate has come down [default: 24200, or what the checkpoint says].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Training")]
    steps: Option<u32>,

    /// Clips of 4 seconds in each step.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096),
        conflicts_with = "resume", help_heading = "Training")]
    clips: u32,

    /// Speech to learn from, in seconds.
    #[arg(long, default_value_t = 7200, value_parser = clap::value_parser!(u32).range(60..=360_000),
        conflicts_with = "resume", help_heading = "Training")]
    speech: u32,

    /// The highest learning rate: it rises for 300 steps, then falls as half a cosine.
    #[arg(long, default_value_t = 1e-3, value_parser = within(1e-9_f64, 1.0), conflicts_with = "resume",
        help_heading = "Training")]
    learning_rate: f64,

    /// 0 to 1: how far the phi-resolvent smooths gradients, and how much of what it would take out of activations is
    /// added to the loss; 0 leaves both alone.
    #[arg(long, value_name = "LAMBDA", default_value_t = 0.0, value_parser = within(0.0_f32, 1.0),
        conflicts_with = "resume", help_heading = "Training")]
    resolvent_lambda: f32,

    /// Steps from one checkpoint to the next.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Training")]
    mark: u32,

    /// Written into the model: the least that its mask leaves of any frequency, in dB, 0 or less.
    #[arg(long, default_value_t = -17.0, value_name = "DB", value_parser = within(-200.0_f32, 0.0),
        allow_hyphen_values = true, help_heading = "Model")]
    mask_floor: f32,

    /// Keep the weights as 32-bit floats; 16 bits are half the size and sound the same.
    #[arg(long, help_heading = "Model")]
    full_precision: bool,
}

pub(super) fn train(arguments: &DenoiserArguments) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    // A step may take longer than the patience with files and pipes, and its checkpoint must be written.
    interrupt.ignore();
    let mut trainer = trainer(arguments)?;
    let mut display = Display::new(&trainer);
    let result = trainer.run(&mut |report| display.show(report), &|| interrupt.is_wanted());
    display.finish();
    result?;
    let stored_as = if arguments.full_precision { StoredAs::F32 } else { StoredAs::F16 };
    let model = trainer.model(Some(arguments.mask_floor))?;
    if trainer.progress().step < trainer.progress().steps {
        say(&format!("stopped after step {}; --resume goes on from there", trainer.progress().step));
        return Ok(());
    }
    model.write(&arguments.output, stored_as, arguments.force)?;
    say(&format!("{} is written", arguments.output.display()));
    Ok(())
}

fn trainer(arguments: &DenoiserArguments) -> Result<Trainer> {
    check_output(&arguments.output, arguments.force, &arguments.directory)?;
    let directory = &arguments.directory;
    std::fs::create_dir_all(directory).with_context(|| format!("making the folder {}", directory.display()))?;
    let steps = arguments.steps.map(|steps| steps as usize);
    if arguments.resume {
        return Ok(Trainer::resume(directory, steps, arguments.mark as usize)?);
    }
    let checkpoint = Trainer::checkpoint_path(directory);
    if checkpoint.exists() && !arguments.force {
        bail!("{} exists; --resume goes on from it, --force begins anew", checkpoint.display());
    }
    let start = match &arguments.from {
        None => None,
        Some(name) if name.as_os_str() == "builtin" => Some(Model::builtin()),
        Some(path) => Some(Arc::new(Model::read(path)?)),
    };
    Ok(Trainer::new(&TrainOptions {
        directory: directory.clone(),
        seed: arguments.seed,
        start,
        steps: steps.unwrap_or(24_200),
        sequences: arguments.clips as usize,
        speech_seconds: arguments.speech as usize,
        learning_rate: arguments.learning_rate,
        resolvent: arguments.resolvent_lambda,
        mark_every: arguments.mark as usize,
    })?)
}

/// Takes numbers of a range.
fn within<T>(low: T, high: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr<Err = ParseFloatError> + PartialOrd + std::fmt::Display + Copy + Send + Sync + 'static,
{
    move |text: &str| {
        let value: T = text.parse().map_err(|error: ParseFloatError| error.to_string())?;
        if (low..=high).contains(&value) { Ok(value) } else { Err(format!("expected {low} to {high}")) }
    }
}

/// A bar on a terminal; elsewhere a line for each mark.
struct Display {
    bar: ProgressBar,
    start: Instant,
    first_step: usize,
    steps: usize,
    sequences: usize,
    loss: f64,
    validation: Option<f64>,
}

impl Display {
    fn new(trainer: &Trainer) -> Self {
        let Progress { step, steps, sequences, ref history, .. } = *trainer.progress();
        let bar = ProgressBar::new(steps as u64);
        let style = ProgressStyle::with_template("{wide_bar} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        let validation = history.last().map(|mark| mark.validation);
        Self { bar, start: Instant::now(), first_step: step, steps, sequences, loss: f64::NAN, validation }
    }

    fn show(&mut self, report: Report<'_>) {
        match report {
            Report::Speaking(part) => {
                self.bar.set_message(format!("speaking: {:.0} %", part * 100.0));
                self.start = Instant::now();
            }
            Report::Step(step, loss) => {
                self.loss = if self.loss.is_nan() { loss } else { 0.98 * self.loss + 0.02 * loss };
                self.bar.set_position(step as u64);
                self.bar.set_message(self.line(step));
            }
            Report::Marked(progress) => {
                self.validation = progress.history.last().map(|mark| mark.validation);
                if !std::io::stderr().is_terminal() {
                    say(&self.line(progress.step));
                }
            }
        }
    }

    fn line(&self, step: usize) -> String {
        let done = (step - self.first_step).max(1) as f64;
        let each = self.start.elapsed().as_secs_f64() / done;
        let left = Duration::from_secs_f64(each * (self.steps - step) as f64);
        let validation = self.validation.map_or_else(String::new, |loss| format!(", validation {loss:.3}"));
        let speed = self.sequences as f64 / each * 4.08;
        let (loss, left) = (self.loss, HumanDuration(left));
        format!("step {step} of {}, loss {loss:.3}{validation}, {speed:.0} x real time, {left} left", self.steps)
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[expect(clippy::print_stderr, reason = "this is what a person who trains reads")]
fn say(line: &str) {
    eprintln!("{line}");
}
