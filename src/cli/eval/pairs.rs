//! Noisy recordings and their clean partners: found by name, checked by their headers, read whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::Domain;
use crate::format::Template;
use crate::stage::source::{Source, SourceHints};

/// Two files that fit together.
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) noisy: PathBuf,
    pub(super) clean: PathBuf,
    pub(super) rate_hz: u32,
    pub(super) channels: usize,
    /// Of each channel, as the header says.
    pub(super) samples: u64,
}

/// What is in them, one channel after the other.
pub(super) struct Signals {
    pub(super) noisy: Vec<Vec<f32>>,
    pub(super) clean: Vec<Vec<f32>>,
    pub(super) warnings: Vec<String>,
}

/// Every pair of the two folders, by name. A file without a partner is a warning, a pair that does not fit an error.
pub(super) fn find(noisy: &Path, clean: &Path) -> Result<Vec<Pair>> {
    let (noisy_names, clean_names) = (names(noisy, "--noisy")?, names(clean, "--clean")?);
    warn_of_lonely(noisy, &noisy_names, clean, &clean_names);
    warn_of_lonely(clean, &clean_names, noisy, &noisy_names);
    let both: Vec<_> = noisy_names.intersection(&clean_names).collect();
    if both.is_empty() {
        bail!("no file has the same name in `{}` and `{}`; rename one side", noisy.display(), clean.display());
    }
    both.into_iter().map(|name| Pair::open(name, noisy.join(name), clean.join(name))).collect()
}

fn names(folder: &Path, option: &str) -> Result<BTreeSet<String>> {
    let context = || format!("{option} {}", folder.display());
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let is_wav = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav"));
        if let Some(name) = path.file_name().filter(|_| is_wav && path.is_file()) {
            let Some(name) = name.to_str() else { bail!("`{}` has a name that is no text; rename it", path.display()) };
            names.insert(name.to_owned());
        }
    }
    if names.is_empty() {
        bail!("{option} {}: there is no .wav file in this folder", folder.display());
    }
    Ok(names)
}

/// How many names a warning lists.
const LISTED: usize = 5;

fn warn_of_lonely(folder: &Path, names: &BTreeSet<String>, other: &Path, partners: &BTreeSet<String>) {
    let lonely: Vec<&str> = names.difference(partners).map(String::as_str).collect();
    if lonely.is_empty() {
        return;
    }
    let more = match lonely.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let listed = lonely[..lonely.len().min(LISTED)].join(", ");
    tracing::warn!("left out, since `{}` has no such file: {listed}{more} of `{}`", other.display(), folder.display());
}

/// What has to be the same on both sides.
#[derive(PartialEq)]
struct Header {
    rate_hz: u32,
    channels: usize,
    samples: u64,
}

impl std::fmt::Display for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let channels = if self.channels == 1 { "channel" } else { "channels" };
        write!(f, "{} Hz, {} {channels}, {} samples", self.rate_hz, self.channels, self.samples)
    }
}

impl Pair {
    fn open(name: &str, noisy: PathBuf, clean: PathBuf) -> Result<Self> {
        let (is, should) = (header(&noisy)?, header(&clean)?);
        if is != should {
            bail!("`{}` and `{}` are no pair: {is} against {should}", noisy.display(), clean.display());
        }
        let Header { rate_hz, channels, samples } = is;
        Ok(Self { name: name.to_owned(), noisy, clean, rate_hz, channels, samples })
    }

    pub(super) fn read(&self) -> Result<Signals> {
        let mut warnings = Vec::new();
        let noisy = read(&self.noisy, self.channels, &mut warnings)?;
        let clean = read(&self.clean, self.channels, &mut warnings)?;
        Ok(Signals { noisy, clean, warnings })
    }

    /// What an output made of this pair is like, and which files it must not replace.
    pub(super) fn template(&self) -> Result<Template> {
        let mut template = Source::open(&self.noisy, &SourceHints::default())?.template().clone();
        template.inputs.push(self.clean.clone());
        Ok(template)
    }
}

fn header(path: &Path) -> Result<Header> {
    let source = Source::open(path, &SourceHints::default())?;
    let spec = source.spec();
    let rate = spec.sample_rate_hz.unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is compared with what it was")]
    let rate_hz = rate as u32;
    if f64::from(rate_hz) != rate || spec.domain() != Domain::Real {
        bail!("`{}`: expected sound at a whole number of samples per second, found {rate} Hz", path.display());
    }
    let Some(samples) = source.total_samples() else { bail!("`{}` does not say how long it is", path.display()) };
    Ok(Header { rate_hz, channels: spec.channels, samples })
}

/// Samples of all channels that are read at a time.
const BLOCK_FLOATS: usize = 1 << 16;

fn read(path: &Path, channels: usize, warnings: &mut Vec<String>) -> Result<Vec<Vec<f32>>> {
    let mut source = Source::open(path, &SourceHints::default())?;
    let mut planar = vec![Vec::new(); channels];
    let mut block = vec![0.0; BLOCK_FLOATS.next_multiple_of(channels)];
    loop {
        let len = source.read(&mut block)?;
        if len == 0 {
            break;
        }
        for (channel, samples) in planar.iter_mut().enumerate() {
            samples.extend(block[..len].iter().skip(channel).step_by(channels));
        }
    }
    warnings.extend(source.take_warnings());
    Ok(planar)
}
