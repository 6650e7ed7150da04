//! The flags of `auricle run`, and the checked configuration that they become.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::report::HopReport;
use crate::chain::{Chain, ChainSettings, DenoiseChoice, FilterChoice};
use crate::cli::denoise::{CHOICES, DenoiseSettings};
use crate::cli::device::{self, DeviceArgument};
use crate::format::{SampleFormat, SignalSpec};
use crate::stage::source::SourceHints;
use crate::{
    Denoise, EngineOptions, Faulty, FilterMode, FrameShape, Gate, Level, Measure, PhiResolvent, Precision, Quiet,
    Threshold, Wavenumber,
};

const DETAILS: &str = "\
Formats: WAV (8, 16, 24, 32-bit integer, 32 and 64-bit float, any rate and
number of channels), raw .f32 .s16 .u8, IQ as .cf32 .cs16 .cs8 .cu8, and SigMF
pairs (give the .sigmf-meta file). The output has the length, rate, channels and
format of the input, to the sample; its extension chooses another container. `-`
is a pipe of raw samples; what comes in and begins as WAV does is read as WAV,
if there is no --format. Ctrl-C throws the run away; to keep a recording, stop
the program that feeds the pipe.

Data flows: source -> gate -> filter -> denoise -> sink.
  gate     A frame whose loudest sample is above the threshold is live; so are
           the --hold frames after it.
  filter   Live frames are smoothed: each frequency k is multiplied by
           1 / (1 + phi k^2). Off where a denoiser runs, unless asked for.
  denoise  A recurrent network takes out of the spectrum of speech what is
           noise. Signals at another rate than the network's are resampled
           around it; what is above its band is left out.

Examples:
  auricle run noisy.wav -o clean.wav --picture before-after.png
  auricle run noisy.wav -o clean.wav --denoise dtln.safetensors --precision int8
  auricle run noisy.wav -o gated.wav --denoise off --filter off \\
    --gate -45dB --hold 4
  auricle run band.sigmf-meta -o quieter.sigmf-meta \\
    --wavenumber radians --phi 0.5
  auricle run capture.bin --format cu8 --sample-rate 2e6 -o out.cu8 \\
    --gate off --wavenumber nyquist
  auricle run - --format f32 --sample-rate 16000 -o - < in.f32 > out.f32
  arecord -q -f FLOAT_LE -r 16000 -d 60 | auricle run - -o clean.wav";

/// Clean a recording or a stream.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(in crate::cli) struct RunArguments {
    /// The file to clean; `-` reads raw samples or WAV from standard input.
    input: PathBuf,

    /// The file to write; `-` writes raw samples to standard output.
    #[arg(short, long)]
    output: PathBuf,

    /// Level above which a frame is live: linear (full scale is 1), in dBFS, or `off`.
    #[arg(
        long,
        default_value = "0.001",
        value_name = "LEVEL|DB|off",
        allow_hyphen_values = true,
        help_heading = "Gate"
    )]
    gate: String,

    /// Frames that stay live after the last loud one.
    #[arg(long, default_value_t = 2, value_name = "FRAMES", help_heading = "Gate")]
    hold: u32,

    /// What becomes of quiet frames: zeros, or as they were.
    #[arg(long, default_value = "zero", value_enum, help_heading = "Gate")]
    quiet: QuietArgument,

    /// What to do with a frame that holds NaN or infinity: fail, or make it zeros and count it.
    #[arg(long, default_value = "reject", value_enum, help_heading = "Gate")]
    faulty: FaultyArgument,

    /// `seamless` filters each channel as a whole, `block` each frame alone. Unless set: `off` where a denoiser runs,
    /// which hears no better for it, else `seamless`.
    #[arg(long, value_enum, help_heading = "Filter")]
    filter: Option<FilterArgument>,

    /// Strength of the filter, above 0; the golden ratio unless set. A very large one reaches too far for any frame but with
    /// `--filter block`.
    #[arg(long, default_value_t = crate::GOLDEN_RATIO, value_name = "X", help_heading = "Filter")]
    phi: f64,

    /// Unit of k: cycles per sample is mild (0.71 at the top of the band), a fraction of Nyquist stronger (0.38),
    /// radians per sample strongest (0.06).
    #[arg(long, default_value = "cycles", value_enum, help_heading = "Filter")]
    wavenumber: WavenumberArgument,

    /// The network that takes the noise out of speech: the one that is built in, none, or a model file. Unless set:
    /// `builtin` for real signals of 4 to 384 kHz, `off` for others.
    #[arg(long, value_name = CHOICES, help_heading = "Denoiser")]
    denoise: Option<String>,

    #[command(flatten)]
    denoise_settings: DenoiseSettings,

    /// Samples in a frame: a power of two, 64 to 4096.
    #[arg(long, default_value_t = 1024, value_name = "N")]
    frame_len: usize,

    #[command(flatten)]
    device: DeviceArgument,

    /// Workers on the CPU; one for each core unless set.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    threads: usize,

    /// How raw samples are stored: f32, s16, u8, cf32, cs16, cs8, cu8. Unless set, the extension says.
    #[arg(long, value_name = "FORMAT", help_heading = "Raw input")]
    format: Option<String>,

    /// Samples per second of raw input; 2e6 is understood.
    #[arg(long, value_name = "HZ", help_heading = "Raw input")]
    sample_rate: Option<f64>,

    /// Interleaved channels of raw input.
    #[arg(long, value_name = "N", help_heading = "Raw input")]
    channels: Option<usize>,

    /// Draw the spectrograms before and after (first channel) into this PNG file.
    #[arg(long, value_name = "PNG")]
    picture: Option<PathBuf>,

    /// How to report what was done, on standard output (standard error when that carries samples).
    #[arg(long, default_value = "text", value_enum)]
    report: ReportArgument,

    /// Replace files that are there already.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum QuietArgument {
    Zero,
    Pass,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FaultyArgument {
    Reject,
    Silence,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FilterArgument {
    Seamless,
    Block,
    Off,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum WavenumberArgument {
    Cycles,
    Nyquist,
    Radians,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ReportArgument {
    Text,
    Json,
}

/// Everything that `auricle run` needs to know, checked as far as it can be without opening a device or a signal.
#[derive(Debug)]
pub(in crate::cli) struct RunConfig {
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
    pub(super) hints: SourceHints,
    pub(super) chain_settings: ChainSettings,
    pub(super) engine: EngineOptions,
    pub(super) picture: Option<PathBuf>,
    pub(super) report: ReportArgument,
    pub(super) force: bool,
    /// The gate's level as it was given, for the report.
    gate: String,
}

/// The settings that shaped the output.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Settings {
    gate: String,
    hold: u32,
    quiet: &'static str,
    faulty: &'static str,
    filter: &'static str,
    phi: f64,
    wavenumber: Wavenumber,
    /// None when there was none.
    pub(super) denoise: Option<DenoiseReport>,
    device: String,
}

impl Settings {
    /// For a caption.
    pub(super) fn summary(&self) -> String {
        let unit = match self.wavenumber {
            Wavenumber::Cycles => "cycles",
            Wavenumber::Nyquist => "nyquist",
            Wavenumber::Radians => "radians",
        };
        let filter = match self.filter {
            "off" => "no filter".to_owned(),
            mode => format!("{mode} filter, phi {:.3}, k in {unit}", self.phi),
        };
        match &self.denoise {
            None => format!("gate {}, {filter}", self.gate),
            Some(denoise) => format!("gate {}, {filter}, denoised by {}", self.gate, denoise.model),
        }
    }
}

impl From<QuietArgument> for Quiet {
    fn from(argument: QuietArgument) -> Self {
        match argument {
            QuietArgument::Zero => Self::Zero,
            QuietArgument::Pass => Self::Pass,
        }
    }
}

impl From<FaultyArgument> for Faulty {
    fn from(argument: FaultyArgument) -> Self {
        match argument {
            FaultyArgument::Reject => Self::Reject,
            FaultyArgument::Silence => Self::Silence,
        }
    }
}

impl From<FilterArgument> for FilterChoice {
    fn from(argument: FilterArgument) -> Self {
        match argument {
            FilterArgument::Seamless => Self::Mode(FilterMode::Seamless),
            FilterArgument::Block => Self::Mode(FilterMode::Block),
            FilterArgument::Off => Self::Off,
        }
    }
}

impl From<WavenumberArgument> for Wavenumber {
    fn from(argument: WavenumberArgument) -> Self {
        match argument {
            WavenumberArgument::Cycles => Self::Cycles,
            WavenumberArgument::Nyquist => Self::Nyquist,
            WavenumberArgument::Radians => Self::Radians,
        }
    }
}

impl RunArguments {
    /// What is to run, as far as it does not depend on the signal.
    fn chain_settings(&self) -> Result<ChainSettings> {
        let threshold = threshold(&self.gate)?;
        let gate = Gate { threshold, hold: self.hold, quiet: self.quiet.into(), faulty: self.faulty.into() };
        gate.check().context("--gate")?;
        let filter = self.filter.map_or(FilterChoice::WhereItHelps, Into::into);
        let (wavenumber, measure) = (self.wavenumber.into(), Measure::Coherence);
        let phi_resolvent = PhiResolvent { phi: self.phi, wavenumber, measure, ..PhiResolvent::default() };
        let denoise = match &self.denoise {
            None => DenoiseChoice::WhereItFits(self.denoise_settings.denoiser("builtin")?),
            Some(choice) => DenoiseChoice::Asked(self.denoise_settings.denoiser(choice)?),
        };
        FrameShape::real(self.frame_len).check().context("--frame-len")?;
        let chain = ChainSettings { gate, filter, phi_resolvent, denoise, frame_len: self.frame_len };
        chain.check()?;
        chain.check_filter().context("--filter")?;
        Ok(chain)
    }
}

impl RunConfig {
    pub(in crate::cli) fn new(arguments: &RunArguments) -> Result<Self> {
        let chain_settings = arguments.chain_settings()?;
        let format = arguments.format.as_deref().map(str::parse::<SampleFormat>).transpose()?;
        let device = arguments.device.choice.clone();
        Ok(Self {
            input: arguments.input.clone(),
            output: arguments.output.clone(),
            hints: SourceHints { format, sample_rate_hz: arguments.sample_rate, channels: arguments.channels },
            chain_settings,
            engine: EngineOptions { device, threads: arguments.threads, ..EngineOptions::default() },
            picture: arguments.picture.clone(),
            report: arguments.report,
            force: arguments.force,
            gate: arguments.gate.clone(),
        })
    }

    /// What runs on this signal, now that it is known.
    pub(super) fn chain(&self, spec: &SignalSpec) -> Result<Chain> {
        let (chain, warning) = self.chain_settings.for_signal(spec).context("pass --sample-rate, or --denoise off")?;
        if let Some(warning) = warning {
            tracing::warn!("{warning} (pass --sample-rate, or --denoise off)");
        }
        Ok(chain)
    }

    /// For the report: what was asked for, and what of it this chain runs.
    pub(super) fn settings(&self, chain: &Chain) -> Settings {
        let Gate { hold, quiet, faulty, .. } = self.chain_settings.gate;
        let PhiResolvent { phi, wavenumber, .. } = self.chain_settings.phi_resolvent;
        Settings {
            gate: self.gate.clone(),
            hold,
            quiet: match quiet {
                Quiet::Zero => "zero",
                Quiet::Pass => "pass",
            },
            faulty: match faulty {
                Faulty::Reject => "reject",
                Faulty::Silence => "silence",
            },
            filter: match chain.filter.map(|filter| filter.mode) {
                None => "off",
                Some(FilterMode::Block) => "block",
                Some(FilterMode::Seamless) => "seamless",
            },
            phi,
            wavenumber,
            denoise: chain.denoise.as_ref().map(DenoiseReport::new),
            device: device::name(&self.engine.device).to_owned(),
        }
    }
}

/// The denoiser that ran.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct DenoiseReport {
    model: String,
    version: String,
    precision: Precision,
    strength: f32,
    level: Level,
    mask_floor_db: Option<f32>,
    /// Of the network: how long a sample takes through it when no time is spent on computing.
    latency_ms: f64,
    model_rate_hz: u32,
    /// Of the signal, when it is resampled around the network.
    resampled_from_hz: Option<u32>,
    /// From one window to the next.
    hop_ms: f64,
}

impl DenoiseReport {
    /// One line.
    pub(super) fn text(&self, hop: Option<&HopReport>) -> String {
        let Self { model, version, model_rate_hz, latency_ms, hop_ms, .. } = self;
        let took = hop.map_or_else(String::new, |hop| format!("; a hop of {hop_ms} ms took {hop}"));
        let resampled =
            self.resampled_from_hz.map_or_else(String::new, |from_hz| format!(" (resampled from {from_hz} Hz)"));
        format!("  denoiser   {model} {version} at {model_rate_hz} Hz{resampled}, {latency_ms} ms of latency{took}")
    }

    fn new(denoise: &Denoise) -> Self {
        let description = denoise.model.description();
        Self {
            model: description.name.clone(),
            version: description.version.clone(),
            precision: denoise.precision,
            strength: denoise.strength,
            level: denoise.level,
            mask_floor_db: denoise.mask_floor_db.or(description.mask_floor_db),
            latency_ms: 1e3 * description.latency().as_secs_f64(),
            model_rate_hz: description.sample_rate_hz,
            resampled_from_hz: denoise.sample_rate_hz.filter(|rate_hz| *rate_hz != description.sample_rate_hz),
            hop_ms: 1e3 * description.hop as f64 / f64::from(description.sample_rate_hz),
        }
    }
}

fn threshold(text: &str) -> Result<Threshold> {
    if text.starts_with("--") {
        bail!("--gate needs a level, such as 0.001, -60dB or off; `{text}` follows it");
    }
    text.parse().with_context(|| format!("--gate `{text}` is no level"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_both_units() {
        assert_eq!(threshold("0.001").unwrap(), Threshold::Linear(0.001));
        assert_eq!(threshold("-60dB").unwrap(), Threshold::Decibels(-60.0));
        assert_eq!(threshold("-12.5 dBFS").unwrap(), Threshold::Decibels(-12.5));
        assert_eq!(threshold("OFF").unwrap(), Threshold::Off);
        for bad in ["", "dB", "loud", "-0.1", "nan dB x"] {
            assert!(threshold(bad).is_err(), "`{bad}` is no level");
        }
    }
}
