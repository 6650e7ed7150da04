//! The figures as one JSON object, as a table, and beside those of another day.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::turns::{FigureResult, is_time};

/// All that a measurement gives. Names of figures are stable.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Document {
    pub(super) machine: Machine,
    /// The adapter that was measured, or `cpu`.
    pub(super) adapter: String,
    pub(super) driver: String,
    /// Of this program, and of peers.
    pub(super) versions: BTreeMap<String, String>,
    /// UTC, year-month-day.
    pub(super) date: String,
    pub(super) quick: bool,
    /// Runnable threads of the minute before: above 1, others were using the machine.
    pub(super) load_before: Option<f64>,
    /// What the machine can do at most.
    pub(super) limits: Vec<FigureResult>,
    pub(super) results: Vec<FigureResult>,
    /// What was not measured, and why.
    pub(super) skipped: BTreeMap<String, String>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) simd: String,
    pub(super) os: String,
    pub(super) arch: String,
}

impl Machine {
    pub(super) fn this(cores: usize) -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = info.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let model = field("model name").unwrap_or_else(|| "unknown CPU".to_owned());
        let cpu = match (field("cpu family"), field("model\t")) {
            (Some(family), Some(number)) => format!("{model}, family {family} model {number}"),
            _ => model,
        };
        let simd = crate::simd::SimdLevel::detect().name().to_owned();
        Self { cpu, cores, simd, os: std::env::consts::OS.to_owned(), arch: std::env::consts::ARCH.to_owned() }
    }
}

impl Document {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let read = serde_json::from_str(&text);
        read.with_context(|| format!("{} has no figures of `auricle bench all --json`", path.display()))
    }

    fn head(&self) -> String {
        let Machine { cpu, cores, simd, .. } = &self.machine;
        let device =
            if self.adapter == "cpu" { String::new() } else { format!(", {} ({})", self.adapter, self.driver) };
        let quick = if self.quick { ", few rounds" } else { "" };
        format!("{cpu}, {cores} cores, {simd}{device}; {}{quick}", self.date)
    }

    /// For people, in a terminal.
    pub(super) fn table(&self) -> String {
        let mut text =
            format!("{}\n\n{:<34}{:>16}{:>22}\n", self.head(), "what this machine can do", "median", "range");
        for result in &self.limits {
            text += &line(result, "");
        }
        let beside_them = "of its limit; times its peers";
        write!(text, "\n{:<34}{:>16}{:>22}  {beside_them}\n", "figure", "median", "range").ok();
        for result in &self.results {
            text += &line(result, &beside(result));
        }
        for (what, why) in &self.skipped {
            writeln!(text, "\nnot measured: {what} ({why})").ok();
        }
        text += "\nRatios are medians of the ratios within a round: compare them, and rates only within one run.";
        text
    }

    /// Held against the figures of another file: those that both have.
    pub(super) fn compared(&self, before: &Self, of: &Path) -> Result<String> {
        let mut text = format!(
            "against {} of {}\n\n{:<34}{:>14}{:>14}{:>10}\n",
            of.display(),
            before.date,
            "figure",
            "before",
            "now",
            "better"
        );
        let mut count = 0;
        for now in &self.results {
            let Some(old) = before.results.iter().find(|old| old.name == now.name && old.unit == now.unit) else {
                continue;
            };
            let better = if is_time(&now.unit) { old.median / now.median } else { now.median / old.median };
            writeln!(text, "{:<34}{:>14}{:>14}{better:>9.2}x", now.name, short(old.median), short(now.median)).ok();
            count += 1;
        }
        if count == 0 {
            bail!("{} has none of the figures that were measured", of.display());
        }
        if before.machine.cpu != self.machine.cpu || before.adapter != self.adapter {
            write!(text, "\nThat was another machine: {}", before.head()).ok();
        }
        Ok(text)
    }

    /// For a README, in Markdown: what most people ask first.
    pub(super) fn markdown(&self, file: &str) -> String {
        let columns = "| what | figure | median | of its limit | times others, in the same rounds |";
        let mut text =
            format!("{} ([all figures]({file})).\n\n{columns}\n| --- | --- | --- | --- | --- |\n", self.head());
        for result in &self.results {
            let Some(what) = meaning(&result.name) else { continue };
            let of = result.limit.as_ref().zip(result.of_limit);
            let of = of.map_or_else(String::new, |(limit, part)| format!("{:.0} % of `{limit}`", 100.0 * part));
            let vs: Vec<String> = result.vs.iter().map(|(peer, ratio)| format!("{ratio:.1} x {peer}")).collect();
            let median = format!("{} {}", short(result.median), result.unit);
            writeln!(text, "| {what} | `{}` | {median} | {of} | {} |", result.name, vs.join(", ")).ok();
        }
        let limits: Vec<String> = self
            .limits
            .iter()
            .map(|limit| format!("`{}` {} {}", limit.name, short(limit.median), limit.unit))
            .collect();
        write!(text, "\nLimits of this machine, measured with them: {}.", limits.join(", ")).ok();
        text
    }
}

/// A figure in words; none for those that only who looks for them wants to see.
fn meaning(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let threads = |part: &str| match part.strip_suffix('t')? {
        "1" => Some("1 thread".to_owned()),
        count => count.parse::<u32>().ok().map(|count| format!("{count} threads")),
    };
    let network = |model: &str| if model == "dtln" { "DTLN" } else { "the built-in denoiser" }.to_owned();
    let channels = |part: &str| match part.strip_suffix("ch") {
        Some("1") => Some("1 channel, a hop at a time".to_owned()),
        Some(count) => Some(format!("{count} channels at once, a hop at a time")),
        None => (part == "file").then(|| "a recording".to_owned()),
    };
    let quiet = |part: &str| part.strip_prefix("sparse").map(|part| format!("{part} % quiet"));
    Some(match parts[..] {
        ["gate", "cold", count] => format!("gate, from memory, {}", threads(count)?),
        ["filter", "hot", count] => format!("filter, in a cache, {}", threads(count)?),
        ["pipeline", sparse, count] => format!("gate and filter, from memory, {}, {}", quiet(sparse)?, threads(count)?),
        ["ingest", sparse] => format!("one live stream, {}", quiet(sparse)?),
        ["denoise", model, what, count] => format!("{}, {}, {}", network(model), channels(what)?, threads(count)?),
        ["denoise", model, "int8", what, count] => {
            format!("{} in int8, {}, {}", network(model), channels(what)?, threads(count)?)
        }
        ["start", device] => format!("`auricle run` on a second of sound, from start to end, {device}"),
        ["qos", "high", "p99"] => "urgent jobs beside endless background work, 99th percentile".to_owned(),
        ["qos", "high", "p99", "alone"] => "the same without background work".to_owned(),
        ["qos", "low", "share"] => "the part that background work gets".to_owned(),
        ["gpu", "pipeline", sparse] => format!("GPU: gate and filter, {}, there and back", quiet(sparse)?),
        ["gpu", "kernels", sparse] => format!("GPU: gate and filter, {}, kernels alone", quiet(sparse)?),
        ["gpu", "denoise", model, what] => format!("GPU: {}, {}", network(model), channels(what)?),
        ["software", "filter", "cpu"] => "filter on software Vulkan, processor time of a frame".to_owned(),
        _ => return None,
    })
}

fn line(result: &FigureResult, beside: &str) -> String {
    let range = format!("{} to {}", short(result.min), short(result.max));
    let FigureResult { name, unit, median, .. } = result;
    format!("{name:<34}{:>16}{range:>22}  {beside}", format!("{} {unit}", short(*median))).trim_end().to_owned() + "\n"
}

fn beside(result: &FigureResult) -> String {
    let of = result.limit.as_ref().zip(result.of_limit);
    let of = of.map(|(limit, part)| format!("{:.0} % of {limit}", 100.0 * part));
    let vs = result.vs.iter().map(|(peer, ratio)| format!("{ratio:.2} x {peer}"));
    of.into_iter().chain(vs).collect::<Vec<_>>().join("; ")
}

/// Three digits, with k, M, G or T.
pub(super) fn short(value: f64) -> String {
    let (scale, unit) = match value.abs() {
        value if value >= 1e12 => (1e12, " T"),
        value if value >= 1e9 => (1e9, " G"),
        value if value >= 1e6 => (1e6, " M"),
        value if value >= 1e4 => (1e3, " k"),
        _ => (1.0, ""),
    };
    let value = value / scale;
    let digits = match value.abs() {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{unit}")
}

/// The date in UTC, year-month-day.
#[expect(clippy::disallowed_methods, reason = "a date for people")]
pub(super) fn today() -> String {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // Civil date from days, by Howard Hinnant's formula: years start in March, so that the leap day is the last.
    let days = (since_1970.as_secs() / 86_400).cast_signed() + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Runnable threads of the last minute, where the system tells.
pub(super) fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
