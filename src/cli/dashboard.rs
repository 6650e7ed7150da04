//! `auricle dashboard`: a window on an engine at work, or a picture of one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::device::DeviceArgument;
use crate::Qos;
use crate::dashboard::{self, DashboardOptions, Denoiser, Settings, Sound, Theme, WindowOptions};
use crate::stage::denoise::model::Model;
use crate::stage::gate::Threshold;

const DETAILS: &str = "\
With INPUT, each recording becomes a live stream, played over and over at the
speed that it was made at. With --demo, the engine works on signals that it
makes itself, at all three levels of service. With --connect, an engine
somewhere else is shown, through its `auricle serve`. Without any of them the
window is empty: add streams there, or drop recordings into it.

All figures are the engine's own. F1 in the window shows all keys.

Examples:
  auricle dashboard --demo
  auricle dashboard noisy.wav --theme light
  auricle serve & auricle dashboard --connect http://127.0.0.1:7870
  auricle dashboard --demo --screenshot dashboard.png --size 1280x800 --scale 2

A window needs a desktop (X11, Wayland, Windows or macOS) and something to draw
with: a GPU, or Mesa's software driver. A picture needs no desktop.";

/// Watch an engine at work and steer it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = DETAILS)]
pub(super) struct DashboardArguments {
    /// Recordings to play: WAV or SigMF.
    #[arg(value_name = "INPUT", conflicts_with = "connect")]
    inputs: Vec<PathBuf>,

    /// Play signals that are made here, at all three levels.
    #[arg(long, conflicts_with = "connect")]
    demo: bool,

    /// Show the engine of an `auricle serve` instead of one of its own.
    #[arg(long, value_name = "URL", conflicts_with = "device")]
    connect: Option<String>,

    /// A file with the token that the service wants.
    #[arg(long, value_name = "FILE", requires = "connect")]
    token_file: Option<PathBuf>,

    /// Write a picture of the window and end; needs no display.
    #[arg(long, value_name = "FILE.png")]
    screenshot: Option<PathBuf>,

    /// Replace the picture or the report if it is there already.
    #[arg(long)]
    force: bool,

    /// Colours.
    #[arg(long, value_enum, default_value_t = ThemeArgument::Dark)]
    theme: ThemeArgument,

    #[command(flatten)]
    device: DeviceArgument,

    /// The level of service of the recordings.
    #[arg(long, default_value = "default", value_name = "high|default|low", conflicts_with = "connect")]
    qos: String,

    /// The gate's threshold: a level such as -60dB or 0.001, or off.
    #[arg(
        long,
        default_value = "-60dB",
        value_name = "LEVEL|off",
        allow_hyphen_values = true,
        conflicts_with = "connect"
    )]
    gate: String,

    /// The denoiser: builtin, off, or a model file.
    #[arg(long, default_value = "builtin", value_name = "builtin|off|FILE", conflicts_with = "connect")]
    denoise: String,

    /// Percent of the time in which a client of background jobs is at work, at the lowest level; 25 with --demo.
    #[arg(long, value_name = "PERCENT", conflicts_with = "connect")]
    background: Option<f32>,

    /// Width and height in points, 1024x640 to 16384x16384.
    #[arg(long, default_value = "1280x800", value_name = "WIDTHxHEIGHT")]
    size: String,

    /// Pixels in a point of the picture, 0.5 to 8; a window asks its display.
    #[arg(long, default_value_t = 1.0, value_name = "N", requires = "screenshot")]
    scale: f32,

    /// Seconds until the picture is taken (5 unless set), or until the window closes by itself.
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    after: Option<f64>,

    /// At the end, write what was shown to this file, as JSON.
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ThemeArgument {
    Dark,
    Light,
}

/// Everything that `auricle dashboard` needs to know.
#[derive(Debug)]
pub(super) struct DashboardConfig {
    options: DashboardOptions,
    window: WindowOptions,
    screenshot: Option<PathBuf>,
}

impl DashboardConfig {
    pub(super) fn new(arguments: &DashboardArguments) -> Result<Self> {
        let qos: Qos = arguments.qos.parse().context("--qos")?;
        let mut options = if arguments.demo { DashboardOptions::demo() } else { DashboardOptions::default() };
        for input in &arguments.inputs {
            if !input.exists() {
                bail!("{} does not exist; check the spelling and the folder", input.display());
            }
            options.streams.push((Sound::File(input.clone()), qos));
        }
        if let Some(percent) = arguments.background {
            if !(0.0..=100.0).contains(&percent) {
                bail!("--background {percent}: 0 to 100 percent are allowed");
            }
            options.background.low = percent / 100.0;
        }
        options.settings = settings(arguments)?;
        options.engine.device = arguments.device.choice.clone();
        options.connect.clone_from(&arguments.connect);
        let read =
            |file: &PathBuf| std::fs::read_to_string(file).with_context(|| format!("--token-file {}", file.display()));
        options.token = arguments.token_file.as_ref().map(read).transpose()?.map(|token| token.trim().to_owned());
        options.theme = match arguments.theme {
            ThemeArgument::Dark => Theme::Dark,
            ThemeArgument::Light => Theme::Light,
        };
        let after = arguments.after.map(after).transpose()?;
        let size = size(&arguments.size)?;
        let window = WindowOptions { size, scale: arguments.scale, after, report: arguments.report.clone() };
        for file in arguments.screenshot.iter().chain(&arguments.report).filter(|_| !arguments.force) {
            if file.exists() {
                bail!("{} is there already; give another name, or --force to replace it", file.display());
            }
        }
        Ok(Self { options, window, screenshot: arguments.screenshot.clone() })
    }
}

fn settings(arguments: &DashboardArguments) -> Result<Settings> {
    let threshold: Threshold = arguments.gate.parse().context("--gate")?;
    let gate_db = match threshold {
        Threshold::Off => None,
        Threshold::Decibels(db) => Some(db),
        Threshold::Linear(level) => Some(20.0 * level.max(1e-10).log10()),
    };
    let denoiser = match arguments.denoise.as_str() {
        "builtin" => Denoiser::Builtin,
        "off" => Denoiser::Off,
        file => {
            Model::read(std::path::Path::new(file)).with_context(|| format!("--denoise {file}"))?;
            Denoiser::File(file.into())
        }
    };
    Ok(Settings { gate_db, denoiser, ..Settings::default() })
}

fn after(seconds: f64) -> Result<Duration> {
    if !(0.0..=86_400.0).contains(&seconds) {
        bail!("--after {seconds}: 0 to 86400 seconds are allowed");
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn size(text: &str) -> Result<[f32; 2]> {
    let sides = text.split_once('x').and_then(|(width, height)| Some([width.parse().ok()?, height.parse().ok()?]));
    let fits = |[width, height]: &[u16; 2]| (1024..=16_384).contains(width) && (640..=16_384).contains(height);
    match sides.filter(fits) {
        Some(sides) => Ok(sides.map(f32::from)),
        None => bail!("--size {text}: give width and height as 1280x800, from 1024x640 to 16384x16384"),
    }
}

pub(super) fn dashboard(config: DashboardConfig) -> Result<()> {
    let DashboardConfig { options, window, screenshot } = config;
    let Some(path) = screenshot else { return Ok(dashboard::run(options, window)?) };
    let (size, rgba) = dashboard::picture(options, &window)?;
    dashboard::write_png(&path, size, &rgba).with_context(|| format!("--screenshot {}", path.display()))
}
