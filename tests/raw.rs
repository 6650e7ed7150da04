//! Raw files, pipes and hints.

use auricle::format::{Encoding, FileError, SampleFormat};
use auricle::stage::source::{Input, Source, SourceHints};

use crate::files::{drain, folder, message_of, open, put, shared_data};

fn hints(format: SampleFormat) -> SourceHints {
    SourceHints { format: Some(format), ..SourceHints::default() }
}

#[test]
fn extensions_name_the_format() {
    let folder = folder();
    for (name, format, values) in [
        ("x.f32", SampleFormat::F32, 2),
        ("x.CF32", SampleFormat::CF32, 2),
        ("x.cfile", SampleFormat::CF32, 2),
        ("x.fc32", SampleFormat::CF32, 2),
        ("x.cs16", SampleFormat::CS16, 4),
        ("x.cu8", SampleFormat::CU8, 8),
        ("x.cs8", SampleFormat::complex(Encoding::I8), 8),
        ("x.s16", SampleFormat::S16, 4),
    ] {
        let mut source = open(&put(&folder, name, &[0; 8])).unwrap();
        assert_eq!(source.spec().format, format, "{name}");
        assert_eq!(source.spec().sample_rate_hz, None, "{name}");
        assert_eq!(drain(&mut source, 1).unwrap().len(), values, "{name}");
    }
}

#[test]
fn scales_are_as_documented() {
    let folder = folder();
    let read = |name: &str, bytes: &[u8]| drain(&mut open(&put(&folder, name, bytes)).unwrap(), 9).unwrap();
    assert_eq!(read("x.cu8", &[0, 255]), [-1.0, 1.0], "around 127.5");
    assert_eq!(read("x.u8", &[0, 128]), [-1.0, 0.0], "around 128");
    assert_eq!(read("x.cs16", &[0, 0x80, 0, 0x40]), [-1.0, 0.5], "by 2^15");
    assert_eq!(read("x.cs8", &[0x80, 0x40]), [-1.0, 0.5], "by 2^7");
}

#[test]
fn unknown_extension_says_what_to_pass() {
    let folder = folder();
    let path = put(&folder, "modes1.bin", &[127; 10]);
    let message = message_of(open(&path), "modes1.bin");
    assert!(message.contains("--format") && message.contains("cu8"), "{message}");
    let mut source = Source::open(&path, &hints(SampleFormat::CU8)).unwrap();
    assert_eq!(drain(&mut source, 2).unwrap().len(), 10, "read as told");
}

#[test]
fn blocks_are_whole_sample_times() {
    let folder = folder();
    let bytes: Vec<u8> = (0..23_u8).flat_map(|v| f32::from(v).to_le_bytes()).collect();
    let path = put(&folder, "x.cf32", &bytes[..bytes.len() - 2]);
    let stereo = SourceHints { channels: Some(2), ..SourceHints::default() };
    let mut source = Source::open(&path, &stereo).unwrap();
    assert_eq!(source.total_samples(), Some(5), "of 8 bytes and 2 channels each");
    assert!(source.take_warnings()[0].contains("last 10 bytes"), "the rest is told");
    let mut block = [0.0; 11];
    assert_eq!(source.read(&mut block).unwrap(), 8, "11 floats have room for 8");
    assert_eq!(block[..8], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], "in order");
    let short = source.read(&mut block[..3]);
    assert!(matches!(short, Err(FileError::BlockTooShort { expected: 4, actual: 3 })), "{short:?}");
    assert_eq!(source.read(&mut block).unwrap(), 8, "full while there is more");
    assert_eq!(source.read(&mut block).unwrap(), 4, "short at the end");
    assert_eq!(source.read(&mut block).unwrap(), 0, "the end");
    assert_eq!(source.read(&mut block).unwrap(), 0, "stays the end");
}

/// A pipe that hands out a byte or two at a time and is interrupted in between.
struct Trickle(std::collections::VecDeque<u8>, usize);

impl std::io::Read for Trickle {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let len = out.len().min(1 + self.1 % 2);
        std::io::Read::read(&mut self.0, &mut out[..len])
    }
}

#[test]
fn a_pipe_gives_full_blocks() {
    let bytes: Vec<u8> = (0..=100).collect();
    let pipe = Trickle(bytes.into(), 0);
    let mut source = Source::from_reader("standard input", pipe, &hints(SampleFormat::CS16)).unwrap();
    assert_eq!(source.total_samples(), None, "nobody knows");
    let mut block = [0.0; 32];
    assert_eq!(source.read(&mut block).unwrap(), 32, "full");
    assert_eq!(source.read(&mut block).unwrap(), 18, "the rest");
    assert!(source.take_warnings()[0].contains("last 1 bytes"), "an odd byte");
    assert_eq!(source.read(&mut block).unwrap(), 0, "the end");
    assert_eq!(source.take_warnings(), [""; 0], "told once");
}

#[test]
fn a_pipe_without_a_format_is_asked_for_one() {
    let pipe = std::io::Cursor::new(vec![0; 100]);
    let message = message_of(Source::from_reader("standard input", pipe, &SourceHints::default()), "standard input");
    assert!(message.contains("--format"), "{message}");
    assert_eq!(Input::from("-"), Input::Stdin, "a dash");
}

#[test]
fn a_pipe_can_carry_wav() {
    let bytes = crate::files::wav_bytes(&crate::files::fmt(1, 2, 8000, 16), &[1; 16]);
    let pipe = Trickle(bytes.into(), 0);
    let mut source = Source::from_reader("standard input", pipe, &SourceHints::default()).unwrap();
    assert_eq!(source.spec().channels, 2, "from the header");
    assert_eq!(drain(&mut source, 3).unwrap().len(), 8, "every sample");
}

#[test]
fn hints_that_cannot_be_are_refused() {
    let folder = folder();
    let raw = put(&folder, "x.f32", &[0; 8]);
    let wav = put(&folder, "x.wav", &crate::files::wav_bytes(&crate::files::fmt(1, 2, 8000, 16), &[0; 8]));
    let rate = |rate_hz| SourceHints { sample_rate_hz: Some(rate_hz), ..SourceHints::default() };
    let channels = |channels| SourceHints { channels: Some(channels), ..SourceHints::default() };
    for wrong in [rate(0.0), rate(-1.0), rate(f64::NAN), rate(f64::INFINITY), channels(0), channels(65_536)] {
        let refused = Source::open(&raw, &wrong);
        assert!(matches!(refused, Err(FileError::HintInvalid { .. })), "{wrong:?}");
    }
    for wrong in [channels(1), hints(SampleFormat::CU8)] {
        let message = message_of(Source::open(&wav, &wrong), "x.wav");
        assert!(message.contains("leave --"), "{message}");
    }
    let mut source = Source::open(&wav, &rate(9000.0)).unwrap();
    assert_eq!(source.spec().sample_rate_hz, Some(9000.0), "a rate may be corrected");
    assert_eq!(source.take_warnings().len(), 1, "and is told");
}

#[test]
fn real_radio_recordings_are_read() {
    let Some(shared) = shared_data() else { return };
    let path = shared.join("iq/dump1090_modes1.bin");
    let mut source = Source::open(&path, &hints(SampleFormat::CU8)).unwrap();
    assert_eq!(source.total_samples(), Some(713_736 / 2), "two bytes each");
    let samples = drain(&mut source, 1000).unwrap();
    let mean = samples.iter().sum::<f32>() / samples.len() as f32;
    assert!(mean.abs() < 0.02, "centred: {mean}");
    let source = open(&shared.join("iq/futuresdr_bpsk-1-2-15db.cf32")).unwrap();
    assert_eq!(source.total_samples(), Some(478_784 / 8), "eight bytes each");
}
