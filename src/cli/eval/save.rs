//! What `--save` keeps: one folder for each method, one 32-bit float WAV file in it for each pair.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::EvalConfig;
use super::method::{INPUT, Method};
use super::pairs::Pair;
use crate::format::{Container, FileError, SampleFormat};
use crate::stage::sink::{Sink, SinkOptions};

/// Where the outputs go; nowhere without `--save`.
pub(super) struct Folders {
    root: Option<PathBuf>,
    force: bool,
}

impl Folders {
    /// Makes the folders, and refuses early what could not be written in the end.
    pub(super) fn create(config: &EvalConfig, methods: &[Method], pairs: &[Pair]) -> Result<Self> {
        let folders = Self { root: config.save.clone(), force: config.force };
        let mut taken: Vec<PathBuf> = Vec::new();
        for method in methods {
            let Some(folder) = folders.of(method) else { continue };
            if taken.contains(&folder) {
                bail!("two methods would be saved in {}; evaluate them one after the other", folder.display());
            }
            std::fs::create_dir_all(&folder).with_context(|| format!("--save {}", folder.display()))?;
            let there = pairs.iter().map(|pair| folder.join(&pair.name)).find(|path| path.exists() && !config.force);
            if let Some(path) = there {
                return Err(FileError::OutputExists { path }.into());
            }
            taken.push(folder);
        }
        Ok(folders)
    }

    /// The folder of a method. The input is not copied.
    pub(super) fn of(&self, method: &Method) -> Option<PathBuf> {
        let root = self.root.as_ref().filter(|_| method.name != INPUT)?;
        Some(root.join(file_name(&method.name)))
    }

    pub(super) fn save(&self, method: &Method, pair: &Pair, channels: &[Vec<f32>]) -> Result<()> {
        let Some(folder) = self.of(method) else { return Ok(()) };
        let mut template = pair.template()?;
        template.spec.container = Container::Wav;
        let options = SinkOptions { force: self.force, format: Some(SampleFormat::F32) };
        let mut sink = Sink::create(folder.join(&pair.name), &template, &options)?;
        sink.write(&interleaved(channels))?;
        Ok(sink.finish()?)
    }
}

/// The letters and digits of a name, and a dash for all else, since a name may be a path.
fn file_name(name: &str) -> String {
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "._".contains(*letter);
    let letters = name.chars().map(|letter| if is_plain(&letter) { letter } else { '-' });
    letters.collect::<String>().trim_start_matches(['.', '-']).to_owned()
}

fn interleaved(channels: &[Vec<f32>]) -> Vec<f32> {
    let len = channels.first().map_or(0, Vec::len);
    (0..len).flat_map(|n| channels.iter().map(move |channel| channel[n])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_plain_names() {
        assert_eq!(file_name("log-MMSE"), "log-MMSE");
        assert_eq!(file_name("spectral subtraction"), "spectral-subtraction");
        assert_eq!(file_name("../models/dtln.safetensors"), "models-dtln.safetensors");
    }
}
