//! The summary: every figure next to what limits it, measured in turns.
//!
//! Machines are shared and clocks move, so a figure from one minute says little about one from another. The members of
//! a group therefore take turns, round after round, and a ratio is the median of the ratios within a round.

use std::time::Instant;

use serde_json::{Value, json};

/// One thing to measure, and what it is held against.
pub struct Figure<'a> {
    name: String,
    frames: usize,
    work: Box<dyn FnMut() + 'a>,
    /// The figure of the same group that limits this one, or that it should beat.
    against: Option<&'static str>,
    /// Frames per second, one per round.
    rates: Vec<f64>,
}

impl<'a> Figure<'a> {
    pub fn new(name: impl Into<String>, frames: usize, work: impl FnMut() + 'a) -> Self {
        Self { name: name.into(), frames, work: Box::new(work), against: None, rates: Vec::new() }
    }

    pub fn against(self, other: &'static str) -> Self {
        Self { against: Some(other), ..self }
    }

    fn once(&mut self) -> f64 {
        let start = Instant::now();
        (self.work)();
        self.frames as f64 / start.elapsed().as_secs_f64()
    }
}

/// How long to measure.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Each turn repeats its work for at least this long.
    pub turn_s: f64,
}

/// Measures a group in turns.
pub fn measure(figures: Vec<Figure<'_>>, effort: Effort, into: &mut Vec<Value>) {
    let mut figures = figures;
    let repeats: Vec<usize> = figures
        .iter_mut()
        .map(|figure| {
            figure.once();
            let seconds = figure.frames as f64 / figure.once();
            (effort.turn_s / seconds).ceil().clamp(1.0, 1e6) as usize
        })
        .collect();
    for _ in 0..effort.rounds {
        for (figure, &repeats) in figures.iter_mut().zip(&repeats) {
            // The median call of the turn: a neighbour that takes a core for a moment spoils one call, not the turn.
            let rates: Vec<f64> = (0..repeats).map(|_| figure.once()).collect();
            figure.rates.push(median(&rates));
        }
    }
    into.extend(figures.iter().map(|figure| describe(figure, &figures)));
}

fn describe(figure: &Figure<'_>, group: &[Figure<'_>]) -> Value {
    let mut value = json!({
        "name": figure.name,
        "unit": "frames/s",
        "median": median(&figure.rates).round(),
        "min": figure.rates.iter().copied().fold(f64::INFINITY, f64::min).round(),
        "max": figure.rates.iter().copied().fold(0.0, f64::max).round(),
    });
    let other = figure.against.and_then(|name| group.iter().find(|other| other.name == name));
    if let Some(other) = other {
        let ratios: Vec<f64> = figure.rates.iter().zip(&other.rates).map(|(own, other)| own / other).collect();
        value["against"] = json!(other.name);
        value["ratio"] = json!((median(&ratios) * 1e4).round() / 1e4);
    }
    value
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The machine and the day, with the figures.
pub fn complete(figures: Vec<Value>, simd: &str, threads: usize, quick: bool, load_before: Option<f64>) -> Value {
    json!({
        "machine": cpu_name(),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "date": today(),
        "version": env!("CARGO_PKG_VERSION"),
        "simd": simd,
        "threads": threads,
        "frame_len": crate::workload::FRAME_LEN,
        "quick": quick,
        // Above 1 before the start, others were using the machine: rates on all threads then say little.
        "load_before": load_before,
        "figures": figures,
    })
}

/// Runnable threads of the last minute, where the system tells.
pub fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let model = field("model name").unwrap_or_else(|| "unknown CPU".to_owned());
    match (field("cpu family"), field("model\t")) {
        (Some(family), Some(number)) => format!("{model}, family {family} model {number}"),
        _ => model,
    }
}

/// The date in UTC, year-month-day.
fn today() -> String {
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

/// The same as a table for people.
pub fn table(summary: &Value) -> String {
    let mut text = format!(
        "{} ({}, {} threads), {}\n{:<34}{:>13}{:>13}{:>13}  ratio\n",
        summary["machine"].as_str().unwrap_or_default(),
        summary["simd"].as_str().unwrap_or_default(),
        summary["threads"],
        summary["date"].as_str().unwrap_or_default(),
        "frames/s",
        "median",
        "min",
        "max"
    );
    for figure in summary["figures"].as_array().into_iter().flatten() {
        let number = |key: &str| format!("{:.0}", figure[key].as_f64().unwrap_or(0.0));
        let name = figure["name"].as_str().unwrap_or_default();
        text += &format!("{name:<34}{:>13}{:>13}{:>13}", number("median"), number("min"), number("max"));
        if let Some(against) = figure["against"].as_str() {
            text += &format!("  {:.3} of {against}", figure["ratio"].as_f64().unwrap_or(0.0));
        }
        text.push('\n');
    }
    text
}
