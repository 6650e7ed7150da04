//! Files to read, files to write, and what tests look at in both.

use std::{fs, path::Path, path::PathBuf};

use auricle::{
    format::{FileError, SignalSpec, Template},
    stage::{
        sink::{Sink, SinkOptions},
        source::{Source, SourceHints},
    },
};
use tempfile::TempDir;

use crate::adapter::skipped;

/// A folder that goes away with the test.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("the temporary folder should be writable")
}

/// Writes `bytes` under `name`.
pub(crate) fn put(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a small file should be writable");
    path
}

/// The names in a folder, hidden ones too, sorted.
pub(crate) fn names_in(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn open(path: &Path) -> Result<Source, FileError> {
    Source::open(path, &SourceHints::default())
}

/// All that a source has, read `block_times` sample times at a time.
pub(crate) fn drain(source: &mut Source, block_times: usize) -> Result<Vec<f32>, FileError> {
    let mut block = vec![f32::NAN; block_times * source.spec().floats_per_sample_time()];
    let mut all = Vec::new();
    loop {
        match source.read(&mut block)? {
            0 => return Ok(all),
            len => all.extend_from_slice(&block[..len]),
        }
    }
}

/// Writes `samples` in blocks of `block_times` sample times.
pub(crate) fn write(path: &Path, spec: &SignalSpec, samples: &[f32], block_times: usize) -> Result<(), FileError> {
    let template = Template::new(spec.clone());
    let mut sink = Sink::create(path, &template, &SinkOptions::default())?;
    for block in samples.chunks(block_times * spec.floats_per_sample_time()) {
        sink.write(block)?;
    }
    sink.finish()
}

/// The message of an error that is expected, checked to be one line that names `file`.
pub(crate) fn message_of<T: std::fmt::Debug>(result: Result<T, FileError>, file: &str) -> String {
    let message = result.expect_err("this should have been refused").to_string();
    assert!(!message.contains('\n'), "one line: {message:?}");
    assert!(message.contains(file), "names the file: {message}");
    message
}

/// A canonical WAV file around any `fmt ` body and data.
pub(crate) fn wav_bytes(fmt: &[u8], data: &[u8]) -> Vec<u8> {
    let riff_len = 4 + 8 + fmt.len() + 8 + data.len() + data.len() % 2;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(u32::try_from(riff_len).unwrap().to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(u32::try_from(fmt.len()).unwrap().to_le_bytes());
    bytes.extend(fmt);
    bytes.extend(b"data");
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes.extend(vec![0; data.len() % 2]);
    bytes
}

/// A `fmt ` body of 16 bytes.
pub(crate) fn fmt(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let block = channels * bits.div_ceil(8);
    let mut bytes = Vec::new();
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(rate.wrapping_mul(u32::from(block)).to_le_bytes());
    bytes.extend(block.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes
}

/// The folder of real recordings; says so when it is not there.
pub(crate) fn shared_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("AURICLE_SHARED_DATA").map_or(folder, PathBuf::from);
    if !folder.is_dir() {
        skipped(&format!("no real recordings at {}", folder.display()));
        return None;
    }
    Some(folder)
}

/// The folder around that one, with published networks and what their reference runtime gives; says so when that is not there.
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = shared_data()?.join("..");
    if !folder.join("golden").is_dir() {
        skipped(&format!("no outputs of reference runtimes at {}", folder.display()));
        return None;
    }
    Some(folder)
}

/// Little-endian bytes of samples.
pub(crate) fn float_bytes(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// And back.
pub(crate) fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// The samples of a WAV file of floats or 16 bits, as somebody else reads them.
pub(crate) fn wav_samples(path: &Path) -> Vec<f32> {
    let mut reader = hound::WavReader::open(path).expect("the file should be readable");
    match reader.spec().sample_format {
        hound::SampleFormat::Float => reader.samples::<f32>().map(Result::unwrap).collect(),
        hound::SampleFormat::Int => reader.samples::<i16>().map(|x| f32::from(x.unwrap()) / 32_768.0).collect(),
    }
}
