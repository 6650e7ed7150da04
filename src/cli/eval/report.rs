//! What `auricle eval` found: one object, as JSON or as a table.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::EvalConfig;
use super::method::Method;
use super::pairs::Pair;
use super::save::Folders;
use super::scores::Scores;

/// The report. `scores` and `mean` go from a method's name to its scores; a measure without a value is null.
#[derive(Debug, serde::Serialize)]
pub(super) struct Report {
    noisy: PathBuf,
    clean: PathBuf,
    methods: Vec<MethodReport>,
    files: Vec<FileReport>,
    mean: MethodScores,
    wall_s: f64,
}

#[derive(Debug, serde::Serialize)]
struct MethodReport {
    name: String,
    /// Where its outputs were saved; none for the input, and without `--save`.
    folder: Option<PathBuf>,
}

#[derive(Debug, serde::Serialize)]
pub(super) struct FileReport {
    pub(super) name: String,
    sample_rate_hz: u32,
    channels: usize,
    /// Of each channel.
    samples: u64,
    scores: MethodScores,
    #[serde(skip)]
    pub(super) warnings: Vec<String>,
}

/// In the order of the methods.
#[derive(Debug, Default)]
struct MethodScores(Vec<(String, Scores)>);

impl serde::Serialize for MethodScores {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = |(name, scores): &(String, Scores)| Ok((name.clone(), serde_json::to_value(scores)?));
        let map: Result<Map<String, Value>, serde_json::Error> = self.0.iter().map(entry).collect();
        map.map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl FileReport {
    pub(super) fn new(pair: &Pair, warnings: Vec<String>) -> Self {
        Self {
            name: pair.name.clone(),
            sample_rate_hz: pair.rate_hz,
            channels: pair.channels,
            samples: pair.samples,
            scores: MethodScores::default(),
            warnings,
        }
    }

    /// The same measures are missing for every method: they are told once.
    pub(super) fn add(&mut self, method: &Method, scores: Scores, warnings: Vec<String>) {
        if self.scores.0.is_empty() {
            self.warnings.extend(warnings);
        }
        self.scores.0.push((method.name.clone(), scores));
    }

    fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(self.sample_rate_hz.max(1))
    }
}

impl Report {
    pub(super) fn new(
        config: &EvalConfig,
        methods: &[Method],
        folders: &Folders,
        files: Vec<FileReport>,
        wall_s: f64,
    ) -> Self {
        let mean_of = |(index, method): (usize, &Method)| {
            let scores: Vec<Scores> = files.iter().map(|file| file.scores.0[index].1).collect();
            (method.name.clone(), Scores::mean(&scores))
        };
        let mean = MethodScores(methods.iter().enumerate().map(mean_of).collect());
        let method = |method: &Method| MethodReport { name: method.name.clone(), folder: folders.of(method) };
        let methods = methods.iter().map(method).collect();
        Self { noisy: config.noisy.clone(), clean: config.clean.clone(), methods, files, mean, wall_s }
    }

    pub(super) fn text(&self) -> String {
        let mean_title = if self.files.len() == 1 { "mean of 1 file".into() } else { self.mean_title() };
        let titles = self.files.iter().map(|file| file.name.as_str()).chain([mean_title.as_str(), "file"]);
        let table = Table {
            title_len: titles.map(|title| title.chars().count()).max().unwrap_or(0),
            name_len: self.methods.iter().map(|method| method.name.chars().count()).max().unwrap_or(0).max(6),
        };
        let mut lines =
            vec![table.line("file", "method", ["SI-SDR dB", "seg SNR dB", "LSD dB", "STOI"].map(Into::into))];
        for file in &self.files {
            table.rows(&file.name, &file.scores, &mut lines);
        }
        lines.push(String::new());
        table.rows(&mean_title, &self.mean, &mut lines);
        let seconds: f64 = self.files.iter().map(FileReport::seconds).sum();
        lines.push(format!("\n{seconds:.1} s of signal, took {:.1} s", self.wall_s));
        lines.join("\n")
    }

    fn mean_title(&self) -> String {
        format!("mean of {} files", self.files.len())
    }
}

/// Columns as wide as their longest entry.
struct Table {
    title_len: usize,
    name_len: usize,
}

impl Table {
    fn rows(&self, title: &str, scores: &MethodScores, lines: &mut Vec<String>) {
        for (index, (name, scores)) in scores.0.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            let value = |value: Option<f64>, digits: usize| match value {
                Some(value) => format!("{value:.digits$}"),
                None => "-".to_owned(),
            };
            let Scores { si_sdr_db, segmental_snr_db, lsd_db, stoi } = *scores;
            let values = [value(si_sdr_db, 2), value(segmental_snr_db, 2), value(lsd_db, 2), value(stoi, 4)];
            lines.push(self.line(title, name, values));
        }
    }

    fn line(&self, title: &str, name: &str, [si_sdr, segmental_snr, lsd, stoi]: [String; 4]) -> String {
        let (title_len, name_len) = (self.title_len, self.name_len);
        format!("{title:<title_len$}  {name:<name_len$}  {si_sdr:>9}  {segmental_snr:>10}  {lsd:>6}  {stoi:>7}")
    }
}
