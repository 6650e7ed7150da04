//! Where samples go: WAV, raw and SigMF files, and standard output.
//!
//! # Inputs
//! Blocks as [`Source`](super::source::Source) gives them: `f32`, full scale 1.0, whole sample
//! times. What exceeds full scale is clamped when the output stores integers, and kept when it
//! stores floats.
//!
//! # Outputs
//! A file that appears under its name when [`Sink::finish`] succeeds, and not at all otherwise; see
//! `format/pending.rs`. Standard output and devices get bare samples as they come.
//!
//! # Parameters
//! [`SinkOptions`]; and the output's extension, which decides what kind of file it is. Without one,
//! or with the input's own, the output is what the input was.
//!
//! # Example
//! ```no_run
//! use auricle::stage::{sink::{Sink, SinkOptions}, source::{Source, SourceHints}};
//!
//! let source = Source::open("noisy.wav", &SourceHints::default())?;
//! let mut sink = Sink::create("clean.wav", source.template(), &SinkOptions::default())?;
//! sink.write(&[0.0; 1024])?;
//! sink.finish()?;
//! # Ok::<(), auricle::Error>(())
//! ```

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest as _, Sha512};

use crate::{
    format::{
        ByteOrder, Container, FileError, MAX_CHANNELS, SampleFormat, SignalSpec, Template,
        convert::bytes_from_floats,
        pending::{BUFFER_BYTES, PendingFile, write_error},
        raw, sigmf, wav,
    },
    frame::Domain,
};

/// Floats converted at a time: they stay in the L2 cache.
const CHUNK_FLOATS: usize = 32 * 1024;

/// Where to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A file, a device, or one half of a SigMF pair.
    Path(PathBuf),
    /// Standard output, spelled `-`.
    Stdout,
}

impl<P: AsRef<Path>> From<P> for Output {
    fn from(path: P) -> Self {
        match path.as_ref() {
            dash if dash == Path::new("-") => Self::Stdout,
            path => Self::Path(path.to_owned()),
        }
    }
}

/// How to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkOptions {
    /// Replace a file that is there already. The input itself is never replaced.
    pub force: bool,
    /// How samples are stored; as in the input unless given.
    pub format: Option<SampleFormat>,
}

/// A signal open for writing. Dropped before [`Sink::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Sink {
    spec: SignalSpec,
    body: Body,
    written_bytes: u64,
    /// Floats on their way to becoming bytes.
    chunk: Vec<u8>,
    settings: Option<Value>,
    has_failed: bool,
}

/// What surrounds the samples.
#[derive(Debug)]
enum Body {
    Stream(Stream),
    Raw(PendingFile),
    Wav(PendingFile, wav::HeaderLayout),
    SigMf(Box<SigMfBody>),
}

/// Bytes that are gone once written: standard output, a pipe, a device.
struct Stream {
    path: PathBuf,
    writer: BufWriter<Box<dyn Write + Send>>,
}

#[derive(Debug)]
struct SigMfBody {
    data: PendingFile,
    meta: PendingFile,
    template: Template,
    hash: Sha512,
}

impl Sink {
    /// Opens the output for a signal like `template`'s.
    pub fn create(output: impl Into<Output>, template: &Template, options: &SinkOptions) -> Result<Self, FileError> {
        match output.into() {
            Output::Stdout => Self::to_writer("standard output", io::stdout(), template, options),
            Output::Path(path) if is_stream(&path) => {
                let opened = File::options().write(true).open(&path);
                let device = opened.map_err(|cause| write_error(&path, cause))?;
                Self::to_writer(&path, device, template, options)
            }
            Output::Path(path) => Self::to_path(&path, template, options),
        }
    }

    /// Writes bare samples to `writer`; `name` is what messages call it.
    pub fn to_writer(
        name: impl AsRef<Path>,
        writer: impl Write + Send + 'static,
        template: &Template,
        options: &SinkOptions,
    ) -> Result<Self, FileError> {
        let path = name.as_ref().to_owned();
        let mut format = options.format.unwrap_or(template.spec.format);
        check_signal(&path, &template.spec)?;
        check_domain(&path, format, template.spec.domain())?;
        format.byte_order = ByteOrder::Little;
        let stream = Stream { path, writer: BufWriter::with_capacity(BUFFER_BYTES, Box::new(writer)) };
        let spec = SignalSpec { container: Container::Raw, format, ..template.spec.clone() };
        Ok(Self::new(spec, Body::Stream(stream)))
    }

    /// Writes a WAV file to `writer`, which cannot be gone back in: the header in front says that there will be `samples`
    /// sample times, or, as recorders do that cannot know, that there is no end. The encoding is the nearest that WAV has.
    ///
    /// # Errors
    /// When no WAV file holds such a signal, or the header cannot be written.
    pub fn to_wav_writer(
        name: impl AsRef<Path>,
        writer: impl Write + Send + 'static,
        template: &Template,
        samples: Option<u64>,
    ) -> Result<Self, FileError> {
        let path = name.as_ref().to_owned();
        check_signal(&path, &template.spec)?;
        let format = storable(&path, Container::Wav, template.spec.format)?;
        let spec = SignalSpec { container: Container::Wav, format, ..template.spec.clone() };
        let template = Template { expected_samples: Some(samples.unwrap_or(0)), ..template.clone() };
        let layout = wav::HeaderLayout::new(&path, &spec, &template)?;
        let data_bytes = samples.map(|samples| samples.saturating_mul(spec.bytes_per_sample_time() as u64));
        let mut stream = Stream { path, writer: BufWriter::with_capacity(BUFFER_BYTES, Box::new(writer)) };
        let header = data_bytes.map_or_else(|| layout.endless_header(), |bytes| layout.header(bytes));
        stream.writer.write_all(&header).map_err(|cause| stream_error(&stream.path, cause))?;
        Ok(Self::new(spec, Body::Stream(stream)))
    }

    fn to_path(path: &Path, template: &Template, options: &SinkOptions) -> Result<Self, FileError> {
        let ends_in_separator = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if path.is_dir() || ends_in_separator {
            return Err(FileError::OutputIsDirectory { path: path.into() });
        }
        check_signal(path, &template.spec)?;
        let spec = output_spec(path, template, options)?;
        check_domain(path, spec.format, template.spec.domain())?;
        let pending = |path: &Path| PendingFile::create(path, &template.inputs, options.force);
        let body = match spec.container {
            Container::Raw => Body::Raw(pending(path)?),
            Container::Wav => {
                let layout = wav::HeaderLayout::new(path, &spec, template)?;
                let mut file = pending(path)?;
                file.write_all(&layout.header(0))?;
                Body::Wav(file, layout)
            }
            Container::SigMf => {
                if spec.sample_rate_hz.is_none() {
                    return Err(FileError::SampleRateMissing { path: path.into() });
                }
                let pair = sigmf::Pair::of(path);
                Body::SigMf(Box::new(SigMfBody {
                    data: pending(&pair.data)?,
                    meta: pending(&pair.meta)?,
                    template: template.clone(),
                    hash: Sha512::new(),
                }))
            }
        };
        Ok(Self::new(spec, body))
    }

    fn new(spec: SignalSpec, body: Body) -> Self {
        Self { spec, body, written_bytes: 0, chunk: Vec::new(), settings: None, has_failed: false }
    }

    /// What is being written.
    #[must_use]
    pub fn spec(&self) -> &SignalSpec {
        &self.spec
    }

    /// The files that it will replace or make, and those that hold the bytes until then; none for a stream.
    #[cfg(feature = "cli")]
    pub(crate) fn files(&self) -> Vec<&PendingFile> {
        match &self.body {
            Body::Stream(_) => Vec::new(),
            Body::Raw(file) | Body::Wav(file, _) => vec![file],
            Body::SigMf(body) => vec![&body.data, &body.meta],
        }
    }

    /// Sample times written so far.
    #[must_use]
    pub fn written_samples(&self) -> u64 {
        self.written_bytes / self.spec.bytes_per_sample_time() as u64
    }

    /// What was done to the signal, for formats with a place to say so: SigMF.
    pub fn set_settings(&mut self, settings: Value) {
        self.settings = Some(settings);
    }

    /// Appends whole sample times. A pipe gets them at once: somebody may be listening.
    pub fn write(&mut self, samples: &[f32]) -> Result<(), FileError> {
        let expected = self.spec.floats_per_sample_time();
        if !samples.len().is_multiple_of(expected) {
            let actual = samples.len();
            return Err(FileError::BlockRagged { expected, actual });
        }
        let result = self.append(samples).and_then(|()| self.body.hand_on());
        self.has_failed |= result.is_err();
        result
    }

    fn append(&mut self, samples: &[f32]) -> Result<(), FileError> {
        let format = self.spec.format;
        let value_bytes = format.encoding.bytes();
        self.written_bytes += (samples.len() * value_bytes) as u64;
        if let Body::Wav(file, layout) = &self.body
            && self.written_bytes > layout.limit_bytes()
        {
            return Err(FileError::OutputTooLong { path: file.path().to_owned(), limit_bytes: layout.limit_bytes() });
        }
        if format.is_native_f32() {
            return self.body.write_all(bytemuck::cast_slice(samples));
        }
        self.chunk.resize(samples.len().min(CHUNK_FLOATS) * value_bytes, 0);
        for piece in samples.chunks(CHUNK_FLOATS) {
            let bytes = &mut self.chunk[..piece.len() * value_bytes];
            bytes_from_floats(format, piece, bytes);
            self.body.write_all(bytes)?;
        }
        Ok(())
    }

    /// Completes the header, hands all to the disk and gives the file its name.
    pub fn finish(mut self) -> Result<(), FileError> {
        if self.has_failed {
            let path = self.body.path().to_owned();
            return Err(FileError::OutputAbandoned { path });
        }
        let samples = self.written_samples();
        match self.body {
            Body::Stream(_) => {
                if self.spec.container == Container::Wav && !self.written_bytes.is_multiple_of(2) {
                    self.body.write_all(&[0])?;
                }
                self.body.hand_on()
            }
            Body::Raw(file) => file.publish(),
            Body::Wav(mut file, layout) => {
                if !self.written_bytes.is_multiple_of(2) {
                    file.write_all(&[0])?;
                }
                file.rewrite_start(&layout.header(self.written_bytes))?;
                file.publish()
            }
            Body::SigMf(body) => body.finish(&self.spec, samples, self.settings.as_ref()),
        }
    }
}

impl Body {
    fn path(&self) -> &Path {
        match self {
            Self::Stream(stream) => &stream.path,
            Self::Raw(file) | Self::Wav(file, _) => file.path(),
            Self::SigMf(body) => body.data.path(),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        match self {
            Self::Stream(stream) => {
                let result = stream.writer.write_all(bytes);
                result.map_err(|cause| stream_error(&stream.path, cause))
            }
            Self::Raw(file) | Self::Wav(file, _) => file.write_all(bytes),
            Self::SigMf(body) => {
                body.hash.update(bytes);
                body.data.write_all(bytes)
            }
        }
    }

    /// Lets a stream's reader have what was written; files take their time.
    fn hand_on(&mut self) -> Result<(), FileError> {
        match self {
            Self::Stream(stream) => {
                let result = stream.writer.flush();
                result.map_err(|cause| stream_error(&stream.path, cause))
            }
            Self::Raw(_) | Self::Wav(..) | Self::SigMf(_) => Ok(()),
        }
    }
}

impl SigMfBody {
    /// Data first: metadata without its data would be the worse half to find.
    fn finish(self, spec: &SignalSpec, samples: u64, settings: Option<&Value>) -> Result<(), FileError> {
        let Self { mut data, mut meta, template, hash } = self;
        let sha512: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let metadata = sigmf::output_metadata(&template, spec, samples, &sha512, settings);
        meta.write_all(format!("{metadata:#}\n").as_bytes())?;
        data.sync()?;
        meta.sync()?;
        let replaced = data.publish_reversibly()?;
        match meta.publish() {
            Ok(()) => Ok(()),
            Err(error) => {
                replaced.restore();
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Whether `path` is there and is no file to be replaced: `/dev/null` must stay what it is.
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// The kind of file, by the output's extension, and how it stores samples.
fn output_spec(path: &Path, template: &Template, options: &SinkOptions) -> Result<SignalSpec, FileError> {
    let like = &template.spec;
    let extension = raw::extension(path);
    let is_like_input = extension.is_empty() || template.inputs.iter().any(|input| raw::extension(input) == extension);
    let wanted = options.format.unwrap_or(like.format);
    let (container, format) = match extension.as_str() {
        "wav" | "wave" | "rf64" => (Container::Wav, wanted),
        "sigmf-meta" | "sigmf-data" => (Container::SigMf, wanted),
        "sigmf" => return Err(FileError::SigMfArchive { path: path.into() }),
        name => match raw::format_from_name(name) {
            Some(format) => (Container::Raw, options.format.unwrap_or(format)),
            None if is_like_input => (like.container, wanted),
            None if options.format.is_some() => (Container::Raw, wanted),
            None => {
                return Err(FileError::OutputFormatUnknown { path: path.into(), formats: raw::names() });
            }
        },
    };
    Ok(SignalSpec { container, format: storable(path, container, format)?, ..like.clone() })
}

/// `format`, or the nearest to it that the container has.
fn storable(path: &Path, container: Container, format: SampleFormat) -> Result<SampleFormat, FileError> {
    match container {
        Container::Raw => Ok(SampleFormat { byte_order: ByteOrder::Little, ..format }),
        Container::SigMf => Ok(sigmf::writable_format(format)),
        Container::Wav if format.domain == Domain::Complex => Err(FileError::OutputUnfit {
            path: path.to_owned(),
            expected: "real ones; end the name in .cf32 or .sigmf-meta".to_owned(),
            actual: Domain::Complex.to_string(),
        }),
        Container::Wav => Ok(SampleFormat::real(wav::nearest_encoding(format.encoding))),
    }
}

/// Refuses what no file can hold; a source never gives it, a caller's own template may.
fn check_signal(path: &Path, spec: &SignalSpec) -> Result<(), FileError> {
    let unfit = |expected: &str, actual: String| FileError::OutputUnfit {
        path: path.to_owned(),
        expected: expected.to_owned(),
        actual,
    };
    if !(1..=MAX_CHANNELS).contains(&spec.channels) {
        return Err(unfit("1 to 65535 channels", format!("of {}", spec.channels)));
    }
    match spec.sample_rate_hz {
        Some(rate_hz) if !(rate_hz.is_finite() && rate_hz > 0.0) => {
            Err(unfit("a rate above 0", format!("at {rate_hz} Hz")))
        }
        _ => Ok(()),
    }
}

fn check_domain(path: &Path, format: SampleFormat, domain: Domain) -> Result<(), FileError> {
    if format.domain == domain {
        return Ok(());
    }
    let fix = match domain {
        Domain::Real => "f32",
        Domain::Complex => "cf32",
    };
    Err(FileError::OutputUnfit {
        path: path.to_owned(),
        expected: format!("{} ones as {format}; use {fix}", format.domain),
        actual: domain.to_string(),
    })
}

fn stream_error(path: &Path, cause: io::Error) -> FileError {
    let path = path.to_owned();
    match cause.kind() {
        io::ErrorKind::BrokenPipe => FileError::OutputClosed { path },
        _ => FileError::OutputWrite { path, cause },
    }
}
