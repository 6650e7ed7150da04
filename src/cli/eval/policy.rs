//! `auricle eval policy`: how well delays between two receivers come out.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use num_complex::Complex64;
use serde::Serialize;

use super::super::device::DeviceArgument;
use super::super::progress::Interrupt;
use super::super::{Misuse, print};
use crate::format::SampleFormat;
use crate::locate::emitter::{Emitters, Kind, Origin, Scene};
use crate::locate::trial::{Estimate, Method, Row, Trial};
use crate::locate::{DelayEstimator, DelayOptions, Policy};
use crate::stage::source::{Source, SourceHints};
use crate::{DeviceInfo, Domain, Engine, EngineOptions};

const DETAILS: &str = "\
Two receivers hear one emitter; each has noise, a phase and, where it says so, a
jammer of its own. For each kind of signal and each ratio to the noise, all
methods estimate the delays of the same pairs of frames of 1024 samples:
  cross    plain cross-correlation
  phat     GCC-PHAT: every bin alike
  HT       Hannan and Thomson, with spectra estimated from the pair
  policy   the policy
  oracle   Hannan and Thomson with the true mean spectrum, the true noise and
           the true jammers, which no receiver knows
  bound    the Cramer-Rao bound of a Gaussian signal with that spectrum in white
           noise, for frames without a taper
All methods see the same frames after a Hann window, which keeps jammers in few
bins; with it, and with frames of this length, the oracle is some 1.4 times as
far off as the bound. Each figure is the root of the mean square of the errors
in samples, with the share of errors beyond one sample; the interval is that of
the policy's error with a probability of 95 %. --json has the intervals of all.

Examples:
  auricle eval policy builtin
  auricle eval policy auricle-policy.safetensors --pairs 10000 --snr 0,5,10 \\
    --json > scores.json
  auricle eval policy builtin --recording air.cu8  off the air, with noise added
  auricle eval policy builtin --device llvmpipe    the pairs on another device";

/// Measure how well a policy lets the time difference of arrival come out.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(in crate::cli) struct PolicyArguments {
    /// A policy file as `auricle train policy` makes them, or the policy that is built in.
    #[arg(value_name = "builtin|FILE")]
    policy: std::path::PathBuf,

    /// Pairs of frames in each scene.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    pairs: u32,

    /// Signal-to-noise ratios over the whole band, in dB.
    #[arg(long, value_name = "DB,..", value_delimiter = ',', default_values_t = [5.0, 10.0, 15.0], allow_hyphen_values = true)]
    snr: Vec<f64>,

    /// What the pairs follow from; training never sees those of the default.
    #[arg(long, default_value_t = 1_000_003)]
    seed: u64,

    /// Take the signals from a recording of complex samples instead: the second receiver hears a later copy.
    #[arg(long, value_name = "FILE")]
    recording: Option<std::path::PathBuf>,

    /// What the recording holds, if its name does not say: cf32, cs16, cs8, cu8.
    #[arg(long, requires = "recording")]
    format: Option<SampleFormat>,

    #[command(flatten)]
    device: DeviceArgument,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Samples of a recording that are looked at.
const MOST_RECORDED: usize = 30_000_000;

/// What is printed as JSON.
#[derive(Serialize)]
struct Report {
    policy: String,
    device: DeviceInfo,
    seed: u64,
    seconds: f64,
    scenes: Vec<Row>,
    means: Vec<Mean>,
}

/// Means over the scenes with, or without, jammers.
#[derive(Serialize)]
struct Mean {
    jammer: bool,
    /// Mean of the magnitudes of the errors, in samples.
    phat_residual: f64,
    policy_residual: f64,
    /// How much less the policy's is, from 0 to 1.
    reduction: f64,
}

pub(in crate::cli) fn policy(arguments: &PolicyArguments) -> Result<()> {
    let policy = match &arguments.policy {
        name if name.as_os_str() == "builtin" => Policy::builtin(),
        path => Policy::read(path)?,
    };
    if let Some(snr) = arguments.snr.iter().find(|snr| !(-60.0..=60.0).contains(*snr)) {
        bail!(Misuse(format!("--snr: expected -60 to 60 dB, got {snr}")));
    }
    let options = DelayOptions::default();
    let bins = policy.description().bins;
    ensure!(
        bins == options.frame_len,
        "the policy is for spectra of {bins} bins, and the frames have {}",
        options.frame_len
    );
    let interrupt = Interrupt::listen()?;
    interrupt.ignore();
    let device = arguments.device.choice.clone();
    let engine = Engine::open(&EngineOptions { device, ..EngineOptions::default() })?;
    let estimator = DelayEstimator::new(&engine, &options)?;
    let emitters = Emitters::new(options.frame_len);
    let origins = match &arguments.recording {
        None => Kind::ALL.map(Origin::Made).into(),
        Some(path) => vec![recording(path, arguments.format, &emitters)?],
    };
    let trial = Trial {
        estimator: &estimator,
        emitters: &emitters,
        policy: &policy,
        pairs: arguments.pairs as usize,
        seed: arguments.seed,
    };
    let start = Instant::now();
    let bar = ProgressBar::new((2 * origins.len() * arguments.snr.len()) as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos} of {len} scenes, {eta} left")?);
    let mut rows = Vec::new();
    for origin in &origins {
        let spectrum = trial.spectrum(origin);
        for has_jammer in [false, true] {
            for &snr_db in &arguments.snr {
                let scene = Scene { origin: origin.clone(), snr_db, has_jammer };
                let row = trial.scene(&scene, &spectrum, rows.len() as u64, &|| interrupt.is_wanted())?;
                rows.push(row.context("interrupted")?);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    let report = Report {
        policy: arguments.policy.display().to_string(),
        device: engine.device().clone(),
        seed: arguments.seed,
        seconds: start.elapsed().as_secs_f64(),
        means: [false, true].map(|jammer| mean(&rows, jammer)).into(),
        scenes: rows,
    };
    print(&if arguments.json { serde_json::to_string_pretty(&report)? } else { text(&report) })
}

/// The signals of a recording.
fn recording(path: &std::path::Path, format: Option<SampleFormat>, emitters: &Emitters) -> Result<Origin> {
    let mut source = Source::open(path, &SourceHints { format, ..SourceHints::default() })?;
    let spec = source.spec().clone();
    if spec.domain() != Domain::Complex || spec.channels != 1 {
        let has = format!("{} with {} channels", spec.domain(), spec.channels);
        bail!("{}: expected one channel of complex samples, got {has}", path.display());
    }
    let mut samples = Vec::new();
    let mut block = vec![0.0; 1 << 16];
    // A quarter of a minute at 2 MS/s: more would only take memory.
    while samples.len() < MOST_RECORDED {
        let count = source.read(&mut block)?;
        if count == 0 {
            break;
        }
        samples.extend(block[..count].chunks_exact(2).map(|z| Complex64::new(z[0].into(), z[1].into())));
    }
    let pieces = emitters.pieces(&samples);
    ensure!(!pieces.is_empty(), "{}: expected at least 1536 samples that are not silent", path.display());
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(Origin::Recorded { name, pieces })
}

fn mean(rows: &[Row], jammer: bool) -> Mean {
    let residual = |method: Method| {
        let scores = rows.iter().filter(|row| row.jammer == jammer).flat_map(|row| &row.scores);
        let residuals: Vec<f64> = scores.filter(|score| score.method == method).map(|score| score.residual).collect();
        residuals.iter().sum::<f64>() / residuals.len() as f64
    };
    let (phat_residual, policy_residual) = (residual(Method::Phat), residual(Method::Policy));
    Mean { jammer, phat_residual, policy_residual, reduction: 1.0 - policy_residual / phat_residual }
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} on {}; errors in samples, {} pairs a scene\n\n",
        report.policy,
        report.device.name,
        report.scenes.first().map_or(0, |row| row.pairs)
    );
    let width = report.scenes.iter().map(|row| row.signal.chars().count()).max().unwrap_or(0).max(6);
    _ = writeln!(
        text,
        "{:<width$} {:<6} {:>5}  {:>13} {:>13} {:>13} {:>13} {:>15} {:>13} {:>7}  policy/oracle",
        "signal", "jammer", "SNR", "cross", "phat", "HT", "policy", "", "oracle", "bound"
    );
    for row in &report.scenes {
        let jammer = if row.jammer { "yes" } else { "no" };
        _ = write!(text, "{:<width$} {:<6} {:>5}  ", row.signal, jammer, row.snr_db);
        for score in &row.scores {
            let Estimate { value, low, high } = score.rmse;
            _ = write!(text, "{:>13} ", format!("{value:.4} {:>4.1} %", 100.0 * score.far_off.value));
            if score.method == Method::Policy {
                _ = write!(text, "{:>15} ", format!("{low:.4}-{high:.4}"));
            }
        }
        let rmse =
            |method| row.scores.iter().find(|score| score.method == method).map_or(f64::NAN, |score| score.rmse.value);
        _ = writeln!(text, "{:>7.4}  {:.2}", row.bound, rmse(Method::Policy) / rmse(Method::Oracle));
    }
    for mean in &report.means {
        _ = write!(
            text,
            "\nMean residual {} jammers: phat {:.4}, policy {:.4}: {:.1} % {}",
            if mean.jammer { "with" } else { "without" },
            mean.phat_residual,
            mean.policy_residual,
            100.0 * mean.reduction.abs(),
            if mean.reduction < 0.0 { "more" } else { "less" }
        );
    }
    _ = write!(text, "\n{:.1} s", report.seconds);
    text
}
