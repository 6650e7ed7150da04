//! `auricle bench`: figures that anyone can check on their own machine.

mod figures;

mod ingest;

mod qos;

#[cfg(feature = "serve")]
mod serve;

mod signal;

mod streams;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use self::figures::FigureArguments;
use self::ingest::IngestArguments;
pub(super) use self::qos::QosArguments;
use self::streams::StreamsArguments;
use crate::cli::device::DeviceArgument;
use crate::cli::print;
use crate::{Engine, EngineOptions, ScheduleOptions};

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub(super) enum BenchCommand {
    /// Measure everything that has a rate: gate, filter, both, ingest, denoiser, start, scaling, and a GPU where there is one.
    #[command(after_long_help = figures::DETAILS)]
    All(FigureArguments),

    /// Measure the gate: looking at samples from memory.
    #[command(after_long_help = figures::DETAILS)]
    Gate(FigureArguments),

    /// Measure the filter: frames from and to a cache.
    #[command(after_long_help = figures::DETAILS)]
    Filter(FigureArguments),

    /// Measure gate and filter: from memory, more or less of it quiet.
    #[command(after_long_help = figures::DETAILS)]
    Pipeline(FigureArguments),

    /// Measure the denoiser: channels in real time, f32, f16 and int8.
    #[command(after_long_help = figures::DETAILS)]
    Denoise(FigureArguments),

    /// Measure how long `auricle run` takes for a second of sound.
    #[command(after_long_help = figures::DETAILS)]
    Start(FigureArguments),

    /// Print the figures of a result file as a table in Markdown, as README has it.
    Table {
        /// What `auricle bench all --json` wrote.
        file: PathBuf,

        /// Draw its scaling curves as SVG, too.
        #[arg(long, value_name = "FILE")]
        picture: Option<PathBuf>,
    },

    /// Measure how well urgent jobs are kept on time while background work fills the device.
    Qos(QosArguments),

    /// Measure many live streams at once, in real time: what is lost, what comes late, what it costs.
    Streams(StreamsArguments),

    /// Measure how fast one stream takes samples in, most of them silent.
    Ingest(IngestArguments),

    /// Measure the HTTP service under mixed load: how soon hints come, what streams lose, whether memory grows.
    #[cfg(feature = "serve")]
    Serve(serve::ServeArguments),
}

pub(super) fn bench(command: &BenchCommand) -> Result<()> {
    match command {
        BenchCommand::All(arguments) => figures::bench(figures::Kind::All, arguments),
        BenchCommand::Gate(arguments) => figures::bench(figures::Kind::Gate, arguments),
        BenchCommand::Filter(arguments) => figures::bench(figures::Kind::Filter, arguments),
        BenchCommand::Pipeline(arguments) => figures::bench(figures::Kind::Pipeline, arguments),
        BenchCommand::Denoise(arguments) => figures::bench(figures::Kind::Denoise, arguments),
        BenchCommand::Start(arguments) => figures::bench(figures::Kind::Start, arguments),
        BenchCommand::Table { file, picture } => figures::table(file, picture.as_deref()),
        BenchCommand::Qos(arguments) => qos::bench(arguments),
        BenchCommand::Streams(arguments) => streams::bench(arguments),
        BenchCommand::Ingest(arguments) => ingest::bench(arguments),
        #[cfg(feature = "serve")]
        BenchCommand::Serve(arguments) => serve::bench(arguments),
    }
}

/// Where it is measured, and where the figures go.
#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    device: DeviceArgument,

    /// Workers on the CPU; one for each core when 0.
    #[arg(long, default_value_t = 0)]
    threads: usize,

    /// Write one JSON object to this file, or to standard output with `-`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Place {
    /// Whether standard output is for one JSON object.
    fn is_json_out(&self) -> bool {
        self.json.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }

    fn engine(&self, schedule: ScheduleOptions) -> Result<Engine> {
        let device = self.device.choice.clone();
        Ok(Engine::open(&EngineOptions { device, threads: self.threads, schedule, ..EngineOptions::default() })?)
    }
}

/// Prints the figures as a table, or as one JSON object where `-` asks for that; or the table, and the object into a file.
fn give(figures: &impl serde::Serialize, table: &str, json: Option<&Path>) -> Result<()> {
    match json {
        Some(path) if path.as_os_str() == "-" => print(&serde_json::to_string_pretty(figures)?),
        Some(path) => {
            // What took minutes is told, whatever becomes of the file.
            print(table)?;
            let text = serde_json::to_string_pretty(figures)? + "\n";
            std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
        }
        None => print(table),
    }
}

/// A table of names and values, under a line that says what they are of.
fn table(head: &str, rows: &[(&str, String)]) -> String {
    let rows = rows.iter().map(|(name, value)| format!("  {name:<18} {value}"));
    std::iter::once(head.to_owned()).chain(rows).collect::<Vec<_>>().join("\n")
}

/// Seconds from a text, for a length of time: `MOST` of them at most.
fn seconds<const MOST: u32>(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=f64::from(MOST)).contains(seconds));
    seconds.ok_or_else(|| format!("0.1 to {MOST} seconds are allowed"))
}

#[expect(clippy::disallowed_methods, reason = "a date for people")]
fn seconds_since_1970() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Processor time of this process; none where the system does not tell.
fn cpu_time() -> Option<Duration> {
    cpu_time::ProcessTime::try_now().ok().map(|time| time.as_duration())
}

/// Resident memory of this process; none where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
