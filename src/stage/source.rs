//! Where samples come from: WAV, raw and SigMF files, and pipes.
//!
//! # Outputs
//! Blocks of `f32`, full scale 1.0, whole sample times, interleaved by channel; a complex sample is
//! I then Q. A block is full unless the signal ends in it.
//!
//! # Parameters
//! [`SourceHints`]: what a file without a header cannot say.
//!
//! Memory is bounded: a 32-bit float goes from the file straight into the caller's block, anything
//! else through one buffer.
//!
//! # Example
//! ```no_run
//! use auricle::stage::source::{Source, SourceHints};
//!
//! let mut source = Source::open("speech.wav", &SourceHints::default())?;
//! let mut block = vec![0.0; 1024 * source.spec().floats_per_sample_time()];
//! loop {
//!     let len = source.read(&mut block)?;
//!     if len == 0 {
//!         break;
//!     }
//!     let _samples = &block[..len];
//! }
//! # Ok::<(), auricle::Error>(())
//! ```

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::format::{
    Container, FileError, MAX_CHANNELS, Opened, SampleFormat, SignalSpec, Template, bytes::ByteInput,
    convert::floats_from_bytes, raw, sigmf, wav,
};

/// Bytes converted at a time: they stay in the L2 cache.
const CHUNK_BYTES: usize = 128 * 1024;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, a named pipe, or one half of a SigMF pair.
    Path(PathBuf),
    /// Standard input, spelled `-`.
    Stdin,
}

impl<P: AsRef<Path>> From<P> for Input {
    fn from(path: P) -> Self {
        match path.as_ref() {
            dash if dash == Path::new("-") => Self::Stdin,
            path => Self::Path(path.to_owned()),
        }
    }
}

/// What the caller knows about the input.
///
/// A format or a channel count must agree with what a file's header says, if it says anything. A
/// sample rate replaces the header's, with a warning.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceHints {
    /// `--format`: how bare samples are stored.
    pub format: Option<SampleFormat>,
    /// `--sample-rate`.
    pub sample_rate_hz: Option<f64>,
    /// `--channels`: 1 unless given.
    pub channels: Option<usize>,
}

impl SourceHints {
    pub(crate) fn check(&self) -> Result<(), FileError> {
        if let Some(rate_hz) = self.sample_rate_hz
            && !(rate_hz.is_finite() && rate_hz > 0.0)
        {
            return Err(FileError::HintInvalid {
                option: "--sample-rate",
                given: rate_hz.to_string(),
                expected: "a number of samples per second above 0",
            });
        }
        match self.channels {
            Some(channels) if !(1..=MAX_CHANNELS).contains(&channels) => Err(FileError::HintInvalid {
                option: "--channels",
                given: channels.to_string(),
                expected: "1 to 65535",
            }),
            _ => Ok(()),
        }
    }

    fn raw_spec(&self, format: SampleFormat) -> SignalSpec {
        SignalSpec::raw(format, self.sample_rate_hz, self.channels.unwrap_or(1))
    }
}

/// A signal open for reading.
#[derive(Debug)]
pub struct Source {
    input: ByteInput,
    template: Template,
    /// Bytes of samples still to come; none: up to the end.
    remaining_bytes: Option<u64>,
    total_samples: Option<u64>,
    promised_samples: Option<u64>,
    /// Bytes on their way to becoming floats.
    chunk: Vec<u8>,
    warnings: Vec<String>,
}

impl Source {
    /// Opens a file or standard input.
    ///
    /// The extension decides; failing that, `hints.format`; failing that, the first bytes, which
    /// can only tell WAV.
    pub fn open(input: impl Into<Input>, hints: &SourceHints) -> Result<Self, FileError> {
        hints.check()?;
        match input.into() {
            Input::Stdin => Self::from_reader("standard input", io::stdin(), hints),
            Input::Path(path) => Self::from_path(&path, hints),
        }
    }

    /// Reads WAV or raw bytes as they come; `name` is what messages call them.
    pub fn from_reader(name: &str, reader: impl Read + Send + 'static, hints: &SourceHints) -> Result<Self, FileError> {
        hints.check()?;
        let input = ByteInput::from_pipe(name.into(), Box::new(reader));
        Self::from_bytes(input, hints.format, hints)
    }

    fn from_path(path: &Path, hints: &SourceHints) -> Result<Self, FileError> {
        let extension = raw::extension(path);
        match extension.as_str() {
            "sigmf-meta" | "sigmf-data" => return Self::from_sigmf(path, hints),
            "sigmf" => return Err(FileError::SigMfArchive { path: path.into() }),
            _ => {}
        }
        if !path.exists() && sigmf::Pair::of(path).meta.exists() {
            return Self::from_sigmf(path, hints);
        }
        let input = ByteInput::open(path)?;
        let mut source = match extension.as_str() {
            "wav" | "wave" | "rf64" => Self::from_wav(input, hints),
            _ => {
                let format = hints.format.or_else(|| raw::format_from_name(&extension));
                Self::from_bytes(input, format, hints)
            }
        }?;
        source.template.inputs = vec![path.to_owned()];
        Ok(source)
    }

    /// Bare samples where their format is known, else whatever the first bytes announce.
    fn from_bytes(mut input: ByteInput, format: Option<SampleFormat>, hints: &SourceHints) -> Result<Self, FileError> {
        if let Some(format) = format {
            let data_bytes = input.remaining();
            let opened = Opened { template: Template::new(hints.raw_spec(format)), data_bytes, warnings: Vec::new() };
            return Ok(Self::new(input, opened));
        }
        if wav::is_wav(input.peek(4)?) {
            return Self::from_wav(input, hints);
        }
        let found = match input.path().extension() {
            Some(extension) => format!("the extension .{}", extension.display()),
            None => "its name".to_owned(),
        };
        Err(FileError::InputFormatUnknown { path: input.path().to_owned(), found, formats: raw::names() })
    }

    fn from_wav(mut input: ByteInput, hints: &SourceHints) -> Result<Self, FileError> {
        let mut opened = wav::open(&mut input)?;
        apply_hints(input.path(), &mut opened, hints)?;
        Ok(Self::new(input, opened))
    }

    fn from_sigmf(path: &Path, hints: &SourceHints) -> Result<Self, FileError> {
        let (input, mut opened) = sigmf::open(path)?;
        apply_hints(&sigmf::Pair::of(path).meta, &mut opened, hints)?;
        Ok(Self::new(input, opened))
    }

    fn new(input: ByteInput, opened: Opened) -> Self {
        let Opened { mut template, data_bytes, mut warnings } = opened;
        let block_bytes = template.spec.bytes_per_sample_time() as u64;
        let mut remaining_bytes = data_bytes;
        let promised_samples = data_bytes.map(|bytes| bytes / block_bytes);
        let total_samples = match (input.len(), data_bytes) {
            (Some(_), Some(bytes)) => {
                let ragged = bytes % block_bytes;
                if ragged > 0 {
                    warnings.push(ragged_warning(input.path(), ragged, block_bytes));
                }
                remaining_bytes = Some(bytes - ragged);
                Some(bytes / block_bytes)
            }
            _ => None,
        };
        template.expected_samples = total_samples;
        Self { input, template, remaining_bytes, total_samples, promised_samples, chunk: Vec::new(), warnings }
    }

    /// What the signal is.
    #[must_use]
    pub fn spec(&self) -> &SignalSpec {
        &self.template.spec
    }

    /// What an output should take over from this input.
    #[must_use]
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Sample times from start to end; none for a pipe.
    #[must_use]
    pub fn total_samples(&self) -> Option<u64> {
        self.total_samples
    }

    /// What a header said how many there would be, where there was one: of a pipe, nobody knows whether it is true.
    #[must_use]
    pub fn promised_samples(&self) -> Option<u64> {
        self.promised_samples
    }

    /// What was odd about the input and could be read all the same; each is told once.
    ///
    /// Ask after opening and again at the end: a pipe tells only then that it was cut.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Fills `out` with whole sample times; returns the floats written, 0 at the end.
    ///
    /// Less than `out` has room for comes only at the end. What lies behind the floats returned is
    /// garbage, and after an error all of `out` is.
    pub fn read(&mut self, out: &mut [f32]) -> Result<usize, FileError> {
        let expected = self.spec().floats_per_sample_time();
        if out.len() < expected {
            let actual = out.len();
            return Err(FileError::BlockTooShort { expected, actual });
        }
        let whole = out.len() - out.len() % expected;
        let out = &mut out[..whole];
        if self.spec().format.is_native_f32() {
            let bytes = bytemuck::cast_slice_mut(out);
            return Ok(self.read_bytes(bytes)? / size_of::<f32>());
        }
        self.read_converted(out)
    }

    fn read_converted(&mut self, out: &mut [f32]) -> Result<usize, FileError> {
        let format = self.spec().format;
        let value_bytes = format.encoding.bytes();
        let block_floats = self.spec().floats_per_sample_time();
        let chunk_floats = CHUNK_BYTES.div_ceil(block_floats * value_bytes) * block_floats;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.resize(chunk_floats * value_bytes, 0);
        let mut filled = 0;
        for piece in out.chunks_mut(chunk_floats) {
            let wanted = piece.len() * value_bytes;
            let got = self.read_bytes(&mut chunk[..wanted])?;
            let floats = got / value_bytes;
            floats_from_bytes(format, &chunk[..got], &mut piece[..floats]);
            filled += floats;
            if got < wanted {
                break;
            }
        }
        self.chunk = chunk;
        Ok(filled)
    }

    /// Reads whole sample times; `bytes` must have room for whole ones.
    fn read_bytes(&mut self, bytes: &mut [u8]) -> Result<usize, FileError> {
        let promised = self.remaining_bytes.unwrap_or(u64::MAX);
        let wanted = bytes.len().min(usize::try_from(promised).unwrap_or(usize::MAX));
        let got = self.input.read_full(&mut bytes[..wanted])?;
        let ragged = got % self.spec().bytes_per_sample_time();
        let left = promised - got as u64;
        if got < wanted {
            self.warn_at_end(ragged, left);
        } else if ragged > 0 {
            self.warn_at_end(ragged, 0);
        }
        if let Some(remaining) = &mut self.remaining_bytes {
            *remaining = if got < wanted { 0 } else { left };
        }
        Ok(got - ragged)
    }

    /// The end came early, or in the middle of a sample time.
    fn warn_at_end(&mut self, ragged: usize, missing_bytes: u64) {
        let path = self.input.path();
        let block_bytes = self.spec().bytes_per_sample_time() as u64;
        if self.remaining_bytes.is_some() && missing_bytes > 0 {
            let path = path.display();
            self.warnings
                .push(format!("`{path}`: ended {missing_bytes} bytes before its header said; what came was read"));
        } else if ragged > 0 {
            let warning = ragged_warning(path, ragged as u64, block_bytes);
            self.warnings.push(warning);
        }
    }
}

fn ragged_warning(path: &Path, ragged: u64, block_bytes: u64) -> String {
    let path = path.display();
    format!(
        "`{path}`: the last {ragged} bytes are no whole sample time of {block_bytes} bytes; \
         they were left out"
    )
}

/// Lets hints fill what a header left open, and refuses those that contradict it.
fn apply_hints(path: &Path, opened: &mut Opened, hints: &SourceHints) -> Result<(), FileError> {
    let spec = &mut opened.template.spec;
    let contradicts = |option, given: String, actual: String| FileError::HintContradicts {
        path: path.to_owned(),
        option,
        given,
        actual,
    };
    if let Some(format) = hints.format
        && format != spec.format
    {
        let actual = format!("its samples are {}", spec.format);
        return Err(contradicts("--format", format.to_string(), actual));
    }
    if let Some(channels) = hints.channels
        && channels != spec.channels
    {
        let actual = format!("it has {} channels", spec.channels);
        return Err(contradicts("--channels", channels.to_string(), actual));
    }
    let stated = spec.sample_rate_hz;
    spec.sample_rate_hz = hints.sample_rate_hz.or(stated);
    let Some(rate_hz) = spec.sample_rate_hz else {
        return Err(FileError::SampleRateMissing { path: path.into() });
    };
    if let Some(stated) = stated
        && stated.to_bits() != rate_hz.to_bits()
    {
        let path = path.display();
        opened.warnings.push(format!(
            "`{path}`: its header says {stated} Hz, taken as {rate_hz} Hz because --sample-rate says so"
        ));
    }
    debug_assert!(spec.container != Container::Raw, "only a header can disagree");
    Ok(())
}
