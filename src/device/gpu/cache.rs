//! The pipeline cache on disk: what the driver made of our kernels, kept for the next start.
//!
//! A file holds a magic word, a checksum and the driver's bytes. It is replaced as a whole or not at all; one that is
//! damaged is ignored, aloud, and written anew. Only Vulkan offers this; others have caches of their own.

use std::hash::Hasher as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use twox_hash::XxHash64;

const MAGIC: &[u8; 8] = b"AURPIPE1";

/// Where compiled pipelines are kept between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PipelineCacheDir {
    /// The user's cache folder: `$XDG_CACHE_HOME/auricle`, `~/.cache/auricle`, or `%LOCALAPPDATA%\auricle`.
    #[default]
    User,
    /// This folder.
    At(PathBuf),
    /// Nowhere.
    Off,
}

impl PipelineCacheDir {
    fn folder(&self) -> Option<PathBuf> {
        let from_env = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        match self {
            Self::Off => None,
            Self::At(folder) => Some(folder.clone()),
            Self::User => from_env("XDG_CACHE_HOME")
                .or_else(|| from_env("LOCALAPPDATA"))
                .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
                .map(|folder| folder.join("auricle")),
        }
    }

    /// The file for an adapter; its name holds all that the bytes depend on besides the driver's own check.
    pub(super) fn file(&self, adapter: &wgpu::AdapterInfo) -> Option<PathBuf> {
        let key = wgpu::util::pipeline_cache_key(adapter)?;
        let driver: String = adapter.driver_info.chars().filter(char::is_ascii_alphanumeric).collect();
        Some(self.folder()?.join(format!("{key}_{driver}_{}.bin", env!("CARGO_PKG_VERSION"))))
    }
}

fn checksum(data: &[u8]) -> [u8; 8] {
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(data);
    hasher.finish().to_le_bytes()
}

/// The driver's bytes, if the file is there and whole.
pub(super) fn load(file: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(file).ok()?;
    let whole =
        bytes.split_at_checked(16).filter(|(header, data)| header[..8] == *MAGIC && header[8..] == checksum(data));
    if whole.is_none() {
        tracing::warn!("ignoring the damaged pipeline cache {}; it will be written anew", file.display());
    }
    whole.map(|(_, data)| data.to_vec())
}

/// Replaces the file. That it cannot be written is no error: the next start is slower.
pub(super) fn store(file: &Path, data: &[u8]) {
    if let Err(error) = replace(file, data) {
        tracing::debug!("pipeline cache {} not written: {error}", file.display());
    }
}

fn replace(file: &Path, data: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(MAGIC)?;
    new.write_all(&checksum(data))?;
    new.write_all(data)?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_ignored_and_a_whole_one_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder should be possible");
        let file = folder.path().join("new folder").join("cache.bin");
        store(&file, b"what the driver said");
        assert_eq!(load(&file).as_deref(), Some(&b"what the driver said"[..]));
        let whole = std::fs::read(&file).expect("it was just written");
        for len in 0..whole.len() {
            std::fs::write(&file, &whole[..len]).expect("it was writable before");
            assert_eq!(load(&file), None, "cut to {len} bytes");
        }
        for flipped in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[flipped] ^= 0x10;
            std::fs::write(&file, bytes).expect("it was writable before");
            assert_eq!(load(&file), None, "byte {flipped} flipped");
        }
    }
}
