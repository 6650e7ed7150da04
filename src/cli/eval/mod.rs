//! `auricle eval`: how good cleaned recordings are, in numbers.
//!
//! ```text
//! noisy/NAME.wav -> method -> measures against clean/NAME.wav -> table or JSON
//!                          -> DIR/METHOD/NAME.wav, with --save
//! ```
//!
//! All headers are looked at before any work begins, so that a bad pair is known at once. Then the pairs are worked on
//! in parallel, one on each core.

mod method;

mod pairs;

pub(super) mod policy;

mod report;

mod save;

mod scores;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use rayon::prelude::*;

use super::denoise::{CHOICES, DenoiseSettings};
use super::device::DeviceArgument;
use super::print;
use super::progress::{Interrupt, Progress};
use crate::{Denoise, EngineOptions};
use method::Method;
use pairs::Pair;
use report::{FileReport, Report};
use save::Folders;
use scores::Scores;

const DETAILS: &str = "\
Files of the same name in both folders (*.wav) make a pair: same rate, same
channels, same length, aligned to the sample. Each is measured as it is, after
each baseline, and after each denoiser that was asked for:
  SI-SDR   scale-invariant signal-to-distortion ratio in dB; more is better
  seg SNR  segmental signal-to-noise ratio in dB, -10 to 35; more is better
  LSD      log-spectral distance in dB; less is better
  STOI     short-time objective intelligibility, 0 to 1; more is better
Of several channels it is the mean. The baselines are textbook methods to
compare with: spectral subtraction (Boll, Berouti) and log-MMSE (Ephraim,
Malah). PESQ comes from assets/add-pesq.py in the source of this program, which
reads what --json and --save leave.

Examples:
  auricle eval --noisy noisy/ --clean clean/
  auricle eval --noisy noisy/ --clean clean/ --denoise builtin \\
    --denoise dtln.safetensors
  auricle eval --noisy noisy/ --clean clean/ --json --save cleaned/ \\
    > scores.json
  auricle eval policy builtin  delays between two receivers instead";

/// Measure how good cleaned recordings are.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct EvalArguments {
    #[command(subcommand)]
    pub(super) what: Option<EvalCommand>,

    /// Folder of noisy recordings.
    #[arg(long, value_name = "DIR", required = true)]
    noisy: Option<PathBuf>,

    /// Folder of the same recordings without the noise, under the same names.
    #[arg(long, value_name = "DIR", required = true)]
    clean: Option<PathBuf>,

    /// A denoiser to measure beside the baselines: the one that is built in, or a model file; may be given several
    /// times. `off`: none.
    #[arg(long, value_name = CHOICES, default_value = "builtin", help_heading = "Denoiser")]
    denoise: Vec<String>,

    #[command(flatten)]
    settings: DenoiseSettings,

    #[command(flatten)]
    device: DeviceArgument,

    /// Print one JSON object: every file, every method, the means.
    #[arg(long)]
    json: bool,

    /// Keep what came out of each method: DIR/METHOD/NAME.wav, 32-bit float.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,

    /// Replace files that are there already.
    #[arg(long, requires = "save")]
    force: bool,
}

/// What else can be measured than cleaned recordings.
#[derive(Debug, clap::Subcommand)]
pub(super) enum EvalCommand {
    /// Measure how well a policy lets the time difference of arrival come out, beside other weightings and the bound.
    Policy(policy::PolicyArguments),
}

/// Everything that `auricle eval` needs to know, checked as far as it can be without opening a device or a signal.
#[derive(Debug)]
pub(super) struct EvalConfig {
    noisy: PathBuf,
    clean: PathBuf,
    /// Each by the name that it was asked for by.
    denoisers: Vec<(String, Denoise)>,
    engine: EngineOptions,
    is_json: bool,
    save: Option<PathBuf>,
    force: bool,
}

impl EvalConfig {
    pub(super) fn new(arguments: &EvalArguments) -> Result<Self> {
        let device = arguments.device.choice.clone();
        Ok(Self {
            noisy: arguments.noisy.clone().unwrap_or_default(),
            clean: arguments.clean.clone().unwrap_or_default(),
            denoisers: method::denoisers(&arguments.denoise, &arguments.settings)?,
            // Pairs are worked on in parallel, so that each signal takes one core.
            engine: EngineOptions { device, threads: 1, ..EngineOptions::default() },
            is_json: arguments.json,
            save: arguments.save.clone(),
            force: arguments.force,
        })
    }
}

pub(super) fn eval(config: &EvalConfig) -> Result<()> {
    let start = Instant::now();
    let interrupt = Interrupt::listen()?;
    let pairs = pairs::find(&config.noisy, &config.clean)?;
    let methods = method::all(&config.denoisers, &config.engine)?;
    // Nothing from here on waits for anybody: the run always ends by itself, after what is in work.
    interrupt.ignore();
    let folders = Folders::create(config, &methods, &pairs)?;
    let work = Work {
        methods: &methods,
        folders: &folders,
        interrupt: &interrupt,
        progress: progress(&pairs),
        done: 0.into(),
    };
    let files: Result<Vec<_>> = pairs.par_iter().map(|pair| work.file(pair)).collect();
    work.progress.finish();
    let files = files?;
    for file in &files {
        file.warnings.iter().for_each(|warning| tracing::warn!("{}: {warning}", file.name));
    }
    let report = Report::new(config, &methods, &folders, files, start.elapsed().as_secs_f64());
    print(&if config.is_json { serde_json::to_string_pretty(&report)? } else { report.text() })
}

/// Counts samples; where all files have one rate, it shows seconds too.
fn progress(pairs: &[Pair]) -> Progress {
    let rate_hz = pairs.first().map(|pair| pair.rate_hz);
    let is_same = pairs.iter().all(|pair| Some(pair.rate_hz) == rate_hz);
    let total = pairs.iter().map(|pair| pair.samples).sum();
    Progress::new(Some(total), rate_hz.filter(|_| is_same).map(f64::from))
}

/// What the workers share.
struct Work<'a> {
    methods: &'a [Method],
    folders: &'a Folders,
    interrupt: &'a Interrupt,
    progress: Progress,
    /// Samples of the files that are done.
    done: AtomicU64,
}

impl Work<'_> {
    fn file(&self, pair: &Pair) -> Result<FileReport> {
        let signals = pair.read()?;
        let mut report = FileReport::new(pair, signals.warnings);
        for method in self.methods {
            if self.interrupt.is_wanted() {
                bail!("interrupted; files that were saved already stay");
            }
            let cleaned = method.clean_channels(&signals.noisy, pair.rate_hz).context(pair.name.clone())?;
            let (scores, warnings) =
                Scores::of_channels(&signals.clean, &cleaned, pair.rate_hz).context(pair.name.clone())?;
            self.folders.save(method, pair, &cleaned)?;
            report.add(method, scores, warnings);
        }
        self.progress.show(self.done.fetch_add(pair.samples, Ordering::Relaxed) + pair.samples);
        Ok(report)
    }
}
