//! WAV headers, read and written.
//!
//! ```text
//! RIFF size WAVE | fmt: what a sample is | other chunks, skipped | data size | samples ...
//! ```
//!
//! Above 4 GiB the same file is called RF64 and a `ds64` chunk in front holds the real sizes.
//!
//! hound 3.5 was considered and reads less than what turns up: it refuses a data chunk whose length
//! is no multiple of the block (every interrupted recording), 64-bit float, RF64, and 32-bit PCM or
//! float under `fmt ` chunks of unusual length; it does not name the codec that it refuses, and it
//! reads samples one by one. Its tests' idea, a file cut at each byte, is kept, and hound itself
//! checks our files in the tests.

use std::path::Path;

use super::{Container, Encoding, MAX_CHANNELS, Opened, SampleFormat, SignalSpec, Template, bytes::ByteInput};
use crate::format::FileError;

const TAG_PCM: u16 = 1;
const TAG_FLOAT: u16 = 3;
const TAG_EXTENSIBLE: u16 = 0xFFFE;
/// The end of every sub-format GUID that merely wraps a format tag.
const GUID_TAIL: [u8; 14] = [0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xAA, 0x00, 0x38, 0x9B, 0x71];
/// Bytes of an extensible `fmt ` chunk, the longest that says anything to us.
const FMT_BYTES: usize = 40;
/// Bytes of a `ds64` chunk without a table, or of the `JUNK` chunk that keeps room for one.
const DS64_BYTES: u32 = 28;
/// More than any header written here.
const HEADER_RESERVE_BYTES: u64 = 4096;

/// Whether a file that begins with `first` is one for [`open`].
pub(crate) fn is_wav(first: &[u8]) -> bool {
    matches!(first, b"RIFF" | b"RF64" | b"BW64")
}

/// What the chunks in front of the samples have told so far.
#[derive(Debug, Default)]
struct Header {
    fmt: Option<Fmt>,
    riff_bytes: u64,
    /// The length of the data that a `ds64` chunk gave.
    long_data_bytes: Option<u64>,
    is_64: bool,
}

#[derive(Debug)]
struct Fmt {
    format: SampleFormat,
    channels: usize,
    rate: u32,
    channel_mask: Option<u32>,
}

/// Reads the header; leaves `input` at the first sample.
///
/// A sample rate of 0 comes back as none, for a hint to fill.
pub(crate) fn open(input: &mut ByteInput) -> Result<Opened, FileError> {
    let mut header = read_riff(input)?;
    loop {
        let mut head = [0; 8];
        if input.read_full(&mut head)? < head.len() {
            let chunk = ["a `fmt ` chunk", "a `data` chunk"][usize::from(header.fmt.is_some())];
            return Err(bad(input, chunk, "the end of the file"));
        }
        let length = u32_at(&head, 4);
        match &head[..4] {
            b"fmt " => header.fmt = Some(read_fmt(input, length)?),
            b"ds64" => header.read_ds64(input, length)?,
            b"data" => return header.into_opened(input, length),
            _ => skip_chunk(input, u64::from(length), 0)?,
        }
    }
}

fn read_riff(input: &mut ByteInput) -> Result<Header, FileError> {
    let mut riff = [0; 12];
    let got = input.read_full(&mut riff)?;
    let magic = &riff[..4.min(got)];
    if !is_wav(magic) {
        return Err(bad(input, "RIFF or RF64 at the start", &kind_of(magic)));
    }
    if got < riff.len() {
        return Err(bad(input, "a header of 12 bytes", &format!("{got}")));
    }
    if &riff[8..] != b"WAVE" {
        let kind = format!("a RIFF file of another kind, {:?}", text(&riff[8..]));
        return Err(bad(input, "the kind WAVE", &kind));
    }
    Ok(Header { riff_bytes: u64::from(u32_at(&riff, 4)), is_64: magic != b"RIFF", ..Header::default() })
}

fn read_fmt(input: &mut ByteInput, length: u32) -> Result<Fmt, FileError> {
    let mut fmt = [0; FMT_BYTES];
    let held = FMT_BYTES.min(usize::try_from(length).unwrap_or(FMT_BYTES));
    let got = input.read_full(&mut fmt[..held])?;
    if got < held {
        return Err(bad(input, "a whole `fmt ` chunk", "the end of the file"));
    }
    if held < 16 {
        let found = format!("{length}");
        return Err(bad(input, "a `fmt ` chunk of 16 bytes or more", &found));
    }
    skip_chunk(input, u64::from(length), held as u64)?;
    let (channels, rate) = (usize::from(u16_at(&fmt, 2)), u32_at(&fmt, 4));
    if channels == 0 {
        return Err(bad(input, "1 channel or more", "0 channels"));
    }
    let format = SampleFormat::real(encoding_of(input, &fmt[..held])?);
    let (block, expected) = (usize::from(u16_at(&fmt, 12)), channels * format.encoding.bytes());
    if block != expected {
        let expected = format!("blocks of {expected} bytes for {channels} channels of {format}");
        return Err(bad(input, &expected, &format!("blocks of {block}")));
    }
    let is_extensible = u16_at(&fmt, 0) == TAG_EXTENSIBLE;
    Ok(Fmt { format, channels, rate, channel_mask: is_extensible.then(|| u32_at(&fmt, 20)) })
}

fn encoding_of(input: &ByteInput, fmt: &[u8]) -> Result<Encoding, FileError> {
    let mut tag = u16_at(fmt, 0);
    let bits = u16_at(fmt, 14);
    if tag == TAG_EXTENSIBLE {
        if fmt.len() < FMT_BYTES {
            let found = format!("{}", fmt.len());
            return Err(bad(input, "an extensible `fmt ` chunk of 40 bytes", &found));
        }
        tag = u16_at(fmt, 24);
        if fmt[26..] != GUID_TAIL {
            let codec = format!("a codec with the GUID {:02x?}", &fmt[24..]);
            return Err(unsupported(input, codec));
        }
    }
    match (tag, bits) {
        (TAG_PCM, 8) => Ok(Encoding::U8),
        (TAG_PCM, 16) => Ok(Encoding::I16),
        (TAG_PCM, 24) => Ok(Encoding::I24),
        (TAG_PCM, 32) => Ok(Encoding::I32),
        (TAG_FLOAT, 32) => Ok(Encoding::F32),
        (TAG_FLOAT, 64) => Ok(Encoding::F64),
        (TAG_PCM, bits) => Err(unsupported(input, format!("{bits}-bit PCM"))),
        (TAG_FLOAT, bits) => Err(unsupported(input, format!("{bits}-bit float"))),
        (tag, _) => Err(unsupported(input, codec_name(tag))),
    }
}

fn codec_name(tag: u16) -> String {
    let name = match tag {
        0x0002 => "Microsoft ADPCM",
        0x0006 => "A-law",
        0x0007 => "mu-law",
        0x0011 => "IMA ADPCM",
        0x0014 | 0x0040 | 0x0045 => "G.72x ADPCM",
        0x0031 => "GSM 6.10",
        0x0050 => "MPEG layer 1 or 2",
        0x0055 => "MP3",
        0x0092 | 0x2000 => "AC-3",
        0x00FF | 0x1600 | 0x1610 | 0xA106 => "AAC",
        0x0160..=0x0163 => "Windows Media Audio",
        0x2001 => "DTS",
        0x674F..=0x6751 | 0x676F..=0x6771 => "Ogg Vorbis",
        0x704F => "Opus",
        0xF1AC => "FLAC",
        _ => return format!("an unknown codec, format tag {tag:#06x}"),
    };
    format!("{name} (format tag {tag:#06x})")
}

impl Header {
    fn read_ds64(&mut self, input: &mut ByteInput, length: u32) -> Result<(), FileError> {
        let mut ds64 = [0; 16];
        if length < DS64_BYTES || input.read_full(&mut ds64)? < ds64.len() {
            return Err(bad(input, "a `ds64` chunk of 28 bytes", "less"));
        }
        if self.is_64 {
            self.riff_bytes = u64_at(&ds64, 0);
            self.long_data_bytes = Some(u64_at(&ds64, 8));
        }
        skip_chunk(input, u64::from(length), ds64.len() as u64)
    }

    fn into_opened(self, input: &ByteInput, length: u32) -> Result<Opened, FileError> {
        let Some(fmt) = &self.fmt else {
            return Err(bad(input, "a `fmt ` chunk before the data", "none"));
        };
        let spec = SignalSpec {
            container: Container::Wav,
            format: fmt.format,
            sample_rate_hz: (fmt.rate != 0).then_some(f64::from(fmt.rate)),
            channels: fmt.channels,
        };
        let channel_mask = fmt.channel_mask;
        let (data_bytes, warning) = self.data_bytes(input, length);
        Ok(Opened {
            template: Template { channel_mask, ..Template::new(spec) },
            data_bytes,
            warnings: warning.into_iter().collect(),
        })
    }

    /// How many bytes of samples to believe in, and what to say when the header lies.
    ///
    /// Programs that write to a pipe, or that were interrupted, leave 0 or a very large length.
    fn data_bytes(&self, input: &ByteInput, length: u32) -> (Option<u64>, Option<String>) {
        let (promised, is_placeholder) = match (length, self.long_data_bytes) {
            (u32::MAX, Some(long)) => (long, long == 0),
            (short, _) => (u64::from(short), is_placeholder(short)),
        };
        let (Some(left), Some(total)) = (input.remaining(), input.len()) else {
            return ((!is_placeholder).then_some(promised), None);
        };
        // An empty data chunk is believed when the length of the whole file is right as well.
        let is_whole = self.riff_bytes.checked_add(8) == Some(total);
        let is_unfinished = promised == 0 && left > 0 && !is_whole;
        let is_unknown = length == u32::MAX && self.long_data_bytes.is_none();
        if promised <= left && !is_unfinished && !is_unknown {
            return (Some(promised), None);
        }
        let path = input.path().display();
        let warning = format!(
            "`{path}`: the header promises {promised} bytes of samples, the file holds {left}; \
             reading what is there"
        );
        (Some(left), Some(warning))
    }
}

/// Lengths that mean "I was writing to a pipe": 0, ffmpeg's and arecord's maxima, sox's.
fn is_placeholder(promised: u32) -> bool {
    matches!(promised, 0 | 0x7FFF_F000..=0x8000_0000 | 0xFFFF_FF00..)
}

/// Skips what is left of a chunk of which `read` bytes were read; chunks are padded to even length.
fn skip_chunk(input: &mut ByteInput, length: u64, read: u64) -> Result<(), FileError> {
    input.skip((length + length % 2).saturating_sub(read))
}

/// The header of a file to be written; the same length whatever the data's length turns out to be.
#[derive(Debug, Clone)]
pub(crate) struct HeaderLayout {
    encoding: Encoding,
    channels: u16,
    rate: u32,
    channel_mask: Option<u32>,
    has_room_for_64: bool,
}

impl HeaderLayout {
    /// Checks that a WAV file can hold `spec`; `path` is for messages.
    ///
    /// Room for 64-bit lengths is kept when `template` expects above 4 GiB or does not know.
    pub(crate) fn new(path: &Path, spec: &SignalSpec, template: &Template) -> Result<Self, FileError> {
        let rate_hz = spec.sample_rate_hz.ok_or_else(|| FileError::SampleRateMissing { path: path.to_owned() })?;
        let unfit = |expected: &str, actual: String| FileError::OutputUnfit {
            path: path.to_owned(),
            expected: expected.to_owned(),
            actual,
        };
        let channels = u16::try_from(spec.channels).ok();
        let block_bytes = spec.bytes_per_sample_time();
        let (Some(channels), Ok(_)) = (channels, u16::try_from(block_bytes)) else {
            let actual = format!("{} channels, {block_bytes} bytes per sample", spec.channels);
            return Err(unfit("65535 bytes per sample at most", actual));
        };
        let bytes = template.expected_samples.map(|samples| samples.saturating_mul(block_bytes as u64));
        Ok(Self {
            encoding: spec.format.encoding,
            channels,
            rate: whole_rate(rate_hz).ok_or_else(|| {
                unfit(
                    "a whole number of samples per second (write .sigmf-meta or raw instead)",
                    format!("at {rate_hz} Hz"),
                )
            })?,
            channel_mask: template
                .channel_mask
                .filter(|_| template.spec.channels == spec.channels)
                .or((channels > 2).then_some(0)),
            has_room_for_64: bytes.is_none_or(|bytes| bytes > Self::short_limit_bytes()),
        })
    }

    /// The most bytes of samples that this header can count.
    pub(crate) fn limit_bytes(&self) -> u64 {
        if self.has_room_for_64 { u64::MAX / 2 } else { Self::short_limit_bytes() }
    }

    fn short_limit_bytes() -> u64 {
        u64::from(u32::MAX) - HEADER_RESERVE_BYTES
    }

    /// The bytes in front of `data_bytes` bytes of samples.
    pub(crate) fn header(&self, data_bytes: u64) -> Vec<u8> {
        let fmt = self.fmt();
        let is_float = matches!(self.encoding, Encoding::F32 | Encoding::F64);
        let room = if self.has_room_for_64 { 8 + DS64_BYTES } else { 0 };
        let fact = if is_float { 12 } else { 0 };
        let in_front = 4 + u64::from(room) + (8 + fmt.len() as u64) + fact + 8;
        let riff_bytes = data_bytes.saturating_add(in_front + data_bytes % 2);
        let is_64 = u32::try_from(riff_bytes).is_err();
        let samples = data_bytes / self.block_bytes();

        let mut bytes = Vec::new();
        bytes.extend(if is_64 { b"RF64" } else { b"RIFF" });
        bytes.extend(short(riff_bytes));
        bytes.extend(b"WAVE");
        if self.has_room_for_64 {
            bytes.extend(if is_64 { b"ds64" } else { b"JUNK" });
            bytes.extend(DS64_BYTES.to_le_bytes());
            let sizes = if is_64 { [riff_bytes, data_bytes, samples] } else { [0; 3] };
            bytes.extend(sizes.into_iter().flat_map(u64::to_le_bytes));
            bytes.extend([0; 4]); // no table of further chunks
        }
        bytes.extend(b"fmt ");
        bytes.extend(short(fmt.len() as u64));
        bytes.extend(fmt);
        if is_float {
            bytes.extend(b"fact\x04\0\0\0");
            bytes.extend(short(samples));
        }
        bytes.extend(b"data");
        bytes.extend(short(if is_64 { u64::MAX } else { data_bytes }));
        bytes
    }

    /// The bytes in front of samples of which nobody knows how many come.
    pub(crate) fn endless_header(&self) -> Vec<u8> {
        let mut bytes = self.header(0);
        let data_at = bytes.len() - 4;
        bytes[data_at..].copy_from_slice(&[0xFF; 4]);
        bytes[4..8].copy_from_slice(&[0xFF; 4]);
        bytes
    }

    fn block_bytes(&self) -> u64 {
        u64::from(self.channels) * self.encoding.bytes() as u64
    }

    fn fmt(&self) -> Vec<u8> {
        let (tag, has_size) = match self.encoding {
            Encoding::F32 | Encoding::F64 => (TAG_FLOAT, true),
            _ => (TAG_PCM, false),
        };
        let bits = (self.encoding.bytes() * 8).to_le_bytes();
        let bits = [bits[0], bits[1]];
        let outer_tag = if self.channel_mask.is_some() { TAG_EXTENSIBLE } else { tag };
        let mut fmt = Vec::with_capacity(FMT_BYTES);
        fmt.extend(outer_tag.to_le_bytes());
        fmt.extend(self.channels.to_le_bytes());
        fmt.extend(self.rate.to_le_bytes());
        fmt.extend(short(u64::from(self.rate).saturating_mul(self.block_bytes())));
        fmt.extend(&self.block_bytes().to_le_bytes()[..2]);
        fmt.extend(bits);
        match self.channel_mask {
            Some(mask) => {
                fmt.extend(22_u16.to_le_bytes());
                fmt.extend(bits); // all of them valid
                fmt.extend(mask.to_le_bytes());
                fmt.extend(tag.to_le_bytes());
                fmt.extend(GUID_TAIL);
            }
            None if has_size => fmt.extend(0_u16.to_le_bytes()),
            None => {}
        }
        fmt
    }
}

/// The encoding that a WAV file stores `encoding` in without loss; the few that have none at all
/// come as float.
pub(crate) fn nearest_encoding(encoding: Encoding) -> Encoding {
    match encoding {
        Encoding::U8 | Encoding::I16 | Encoding::I24 | Encoding::I32 | Encoding::F32 | Encoding::F64 => encoding,
        Encoding::I8 | Encoding::U16 => Encoding::I16,
        Encoding::U32 => Encoding::I32,
        Encoding::U8Centred => Encoding::F32,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the comparison rejects what does not fit")]
fn whole_rate(rate_hz: f64) -> Option<u32> {
    let rate = rate_hz as u32;
    (rate > 0 && f64::from(rate).to_bits() == rate_hz.to_bits()).then_some(rate)
}

/// A 32-bit length; all ones when it does not fit, as RF64 wants it.
fn short(length: u64) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn bad(input: &ByteInput, expected: &str, actual: &str) -> FileError {
    FileError::BadWav { path: input.path().to_owned(), expected: expected.to_owned(), actual: actual.to_owned() }
}

fn unsupported(input: &ByteInput, codec: String) -> FileError {
    FileError::CodecUnsupported { path: input.path().to_owned(), codec }
}

fn kind_of(magic: &[u8]) -> String {
    let kind = match magic {
        b"RIFX" => "a big-endian WAV file (RIFX)",
        b"FORM" => "an AIFF file",
        b"fLaC" => "a FLAC file",
        b"OggS" => "an Ogg file",
        b"riff" => "a Wave64 file",
        b"caff" => "a CAF file",
        [b'I', b'D', b'3', _] | [0xFF, 0xF2..=0xFB, ..] => "an MP3 file",
        _ => return format!("{:?}", text(magic)),
    };
    kind.to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

const _: () = assert!(MAX_CHANNELS == u16::MAX as usize, "what a header can count");

#[cfg(test)]
mod tests {
    use super::{Container, Encoding, HeaderLayout, Path, SampleFormat, SignalSpec, Template};

    fn layout(expected_samples: Option<u64>) -> HeaderLayout {
        let mut spec = SignalSpec::raw(SampleFormat::real(Encoding::I16), Some(8e3), 1);
        spec.container = Container::Wav;
        let mut template = Template::new(spec.clone());
        template.expected_samples = expected_samples;
        HeaderLayout::new(Path::new("x.wav"), &spec, &template).unwrap()
    }

    #[test]
    fn above_4_gib_the_header_is_rf64_in_the_same_room() {
        let layout = layout(None);
        let short = layout.header(6);
        let long = layout.header(5 << 30);
        assert_eq!(short.len(), long.len(), "so that it can be rewritten");
        let expected = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0\
            \x48\0\0\x40\x01\0\0\0\0\0\0\x40\x01\0\0\0\0\0\0\xa0\0\0\0\0\0\0\0\0fmt ";
        assert_eq!(&long[..expected.len()], expected, "sizes in ds64");
        assert_eq!(long[long.len() - 8..], *b"data\xff\xff\xff\xff", "and none here");
    }

    #[test]
    fn room_is_kept_only_where_it_may_be_needed() {
        let known = layout(Some(1000));
        assert_eq!(known.header(2000).len(), 44, "the shortest header there is");
        assert!(known.limit_bytes() < 1 << 32, "which counts to 4 GiB");
        assert!(layout(Some(3 << 30)).limit_bytes() > 1 << 40, "above that, room");
    }
}
