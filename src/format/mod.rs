//! Signal files: what a file says of its samples, and the bytes behind it.
//!
//! ```text
//! bytes  -> wav | raw | sigmf -> convert -> stage/source.rs      (reading)
//! stage/sink.rs -> convert -> wav | raw | sigmf -> pending       (writing)
//! ```
//!
//! A *value* is one number in the file; a *sample* is one value, or two (I, then Q) when the signal
//! is complex; a *sample time* is one sample of every channel. In memory every value is an `f32`
//! with full scale 1.0, and files and blocks hold whole sample times only.

mod error;

pub(crate) mod bytes;

pub(crate) mod wav;

pub(crate) mod raw;

pub(crate) mod sigmf;

pub(crate) mod convert;

pub(crate) mod pending;

#[cfg(any(feature = "cli", feature = "serve"))]
pub(crate) mod planar;

use std::path::PathBuf;

pub use error::FileError;

use crate::frame::Domain;

/// The most channels of one signal: what a WAV header can count.
pub const MAX_CHANNELS: usize = 65_535;

/// How one value is stored.
///
/// `bits` integers map to `v / 2^(bits - 1)`, so that 1.0 itself is clamped by one step on writing.
/// 8, 16 and 24-bit values survive reading and writing exactly. An `f32` has 24 bits of mantissa:
/// 32-bit integers and 64-bit floats are rounded to it, an error of at most 2^-24 of the value.
/// An integer cannot say NaN: it is written as silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// Unsigned 8-bit as WAV has it: silence is 128, `(v - 128) / 128`.
    U8,
    /// Unsigned 8-bit as RTL-SDR has it: silence lies between 127 and 128, `(v - 127.5) / 127.5`.
    U8Centred,
    /// Signed 8-bit.
    I8,
    /// Unsigned 16-bit, silence is 2^15.
    U16,
    /// Signed 16-bit.
    I16,
    /// Signed 24-bit in three bytes.
    I24,
    /// Unsigned 32-bit, silence is 2^31.
    U32,
    /// Signed 32-bit.
    I32,
    /// 32-bit float, stored bit by bit, payloads of NaN included.
    F32,
    /// 64-bit float.
    F64,
}

impl Encoding {
    /// Bytes of one value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::U8Centred | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::I24 => 3,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Which byte of a value comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The least significant byte first; all of WAV and raw.
    Little,
    /// The most significant byte first; some SigMF recordings.
    Big,
}

impl ByteOrder {
    /// The order of this machine.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };
}

/// How one sample is stored. `raw.rs` gives the short names, as `cs16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SampleFormat {
    /// How each value is stored.
    pub encoding: Encoding,
    /// How many values make a sample.
    pub domain: Domain,
    /// The order of a value's bytes.
    pub byte_order: ByteOrder,
}

impl SampleFormat {
    /// `f32`: real 32-bit float, little-endian.
    pub const F32: Self = Self::real(Encoding::F32);
    /// `s16`: real signed 16-bit, little-endian.
    pub const S16: Self = Self::real(Encoding::I16);
    /// `cf32`: complex 32-bit float, little-endian.
    pub const CF32: Self = Self::complex(Encoding::F32);
    /// `cs16`: complex signed 16-bit, little-endian.
    pub const CS16: Self = Self::complex(Encoding::I16);
    /// `cu8`: complex unsigned 8-bit around 127.5, as RTL-SDR writes it.
    pub const CU8: Self = Self::complex(Encoding::U8Centred);

    /// Real little-endian values.
    #[must_use]
    pub const fn real(encoding: Encoding) -> Self {
        Self { encoding, domain: Domain::Real, byte_order: ByteOrder::Little }
    }

    /// Complex little-endian values.
    #[must_use]
    pub const fn complex(encoding: Encoding) -> Self {
        Self { encoding, domain: Domain::Complex, byte_order: ByteOrder::Little }
    }

    /// Values of one sample of one channel: 1 or 2.
    #[must_use]
    pub fn values_per_sample(self) -> usize {
        match self.domain {
            Domain::Real => 1,
            Domain::Complex => 2,
        }
    }

    /// Whether the bytes in the file are the bytes in memory, so that none needs converting.
    pub(crate) fn is_native_f32(self) -> bool {
        self.encoding == Encoding::F32 && self.byte_order == ByteOrder::NATIVE
    }
}

/// What kind of file the samples lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Container {
    /// A RIFF WAVE file, or RF64 when it is above 4 GiB.
    Wav,
    /// Bare samples, no header.
    Raw,
    /// A `.sigmf-meta` and `.sigmf-data` pair.
    SigMf,
}

/// What a signal is: everything about it but its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalSpec {
    /// The kind of file.
    pub container: Container,
    /// How one sample is stored.
    pub format: SampleFormat,
    /// Samples of one channel in a second; bare samples may not say.
    pub sample_rate_hz: Option<f64>,
    /// Channels, interleaved by sample time; 1 to [`MAX_CHANNELS`].
    pub channels: usize,
}

impl SignalSpec {
    /// Bare samples of `channels` channels.
    #[must_use]
    pub fn raw(format: SampleFormat, sample_rate_hz: Option<f64>, channels: usize) -> Self {
        Self { container: Container::Raw, format, sample_rate_hz, channels }
    }

    /// Real or complex.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.format.domain
    }

    /// Floats that one sample time takes in memory.
    #[must_use]
    pub fn floats_per_sample_time(&self) -> usize {
        self.channels.max(1) * self.format.values_per_sample()
    }

    /// Bytes that one sample time takes in the file.
    #[must_use]
    pub fn bytes_per_sample_time(&self) -> usize {
        self.floats_per_sample_time() * self.format.encoding.bytes()
    }
}

/// What an output takes over from its input: the spec, and what else the input's file said.
///
/// [`Source::template`](crate::stage::source::Source::template) makes one from a file;
/// [`Template::new`] makes one for a signal that comes from elsewhere.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) spec: SignalSpec,
    /// The input's files, which no output may replace.
    pub(crate) inputs: Vec<PathBuf>,
    /// SigMF metadata, to be carried over word for word.
    pub(crate) metadata: Option<serde_json::Value>,
    /// Which loudspeaker each WAV channel belongs to, when the input said so.
    pub(crate) channel_mask: Option<u32>,
    /// Sample times to expect; decides whether a WAV header needs room for 64-bit lengths.
    pub(crate) expected_samples: Option<u64>,
}

impl Template {
    /// A template for a signal that comes from no file.
    #[must_use]
    pub fn new(spec: SignalSpec) -> Self {
        Self { spec, inputs: Vec::new(), metadata: None, channel_mask: None, expected_samples: None }
    }

    /// What the signal is.
    #[must_use]
    pub fn spec(&self) -> &SignalSpec {
        &self.spec
    }
}

/// Where the samples lie in an input, as its header tells.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) template: Template,
    /// Bytes of samples from here on; none: up to the end, wherever that is.
    pub(crate) data_bytes: Option<u64>,
    pub(crate) warnings: Vec<String>,
}
