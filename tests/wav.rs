//! WAV headers: golden bytes, odd ones that can be read, bad ones that must be refused.

use std::fs;

use auricle::format::{Container, Encoding, FileError, SampleFormat, SignalSpec, Template};
use auricle::stage::{
    sink::{Sink, SinkOptions},
    source::{Source, SourceHints},
};

use crate::files::{drain, fmt, folder, message_of, names_in, open, put, shared_data, wav_bytes, write};

fn spec(encoding: Encoding, channels: usize) -> SignalSpec {
    SignalSpec { container: Container::Wav, ..SignalSpec::raw(SampleFormat::real(encoding), Some(16_000.0), channels) }
}

fn written(encoding: Encoding, channels: usize, samples: &[f32]) -> Vec<u8> {
    let folder = folder();
    let path = folder.path().join("out.wav");
    write(&path, &spec(encoding, channels), samples, 64).unwrap();
    fs::read(path).unwrap()
}

/// The same, from a source that knows its length, so that no room for 64-bit lengths is kept.
fn copied(bytes: &[u8]) -> Vec<u8> {
    let folder = folder();
    let input = put(&folder, "in.wav", bytes);
    let mut source = open(&input).unwrap();
    let output = folder.path().join("out.wav");
    let mut sink = Sink::create(&output, source.template(), &SinkOptions::default()).unwrap();
    sink.write(&drain(&mut source, 5).unwrap()).unwrap();
    sink.finish().unwrap();
    fs::read(output).unwrap()
}

#[test]
fn plain_pcm_comes_out_as_it_went_in() {
    for bits in [8, 16, 24, 32] {
        // Of 32 bits the lower 8 are 0, since an f32 has no room for them.
        let bytes = wav_bytes(&fmt(1, 2, 44_100, bits), &[0, 7, 7, 7].repeat(6));
        assert_eq!(copied(&bytes), bytes, "{bits} bits");
    }
    let odd = wav_bytes(&fmt(1, 1, 8000, 8), &[1, 2, 3]);
    assert_eq!(copied(&odd), odd, "an odd length is padded");
}

#[test]
fn golden_headers() {
    let bytes = written(Encoding::I16, 1, &[0.0, 0.5, -1.0]);
    let expected = b"RIFF\x4e\0\0\0WAVE\
        JUNK\x1c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        fmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0\
        data\x06\0\0\0\0\0\0\x40\0\x80";
    assert_eq!(bytes, expected, "16 bits, room for 64-bit lengths");
    let bytes = written(Encoding::F32, 3, &[0.0, 1.0, 2.0]);
    let expected = b"fmt \x28\0\0\0\xfe\xff\x03\0\x80\x3e\0\0\0\xee\x02\0\x0c\0\x20\0\x16\0\x20\0\0\0\0\0\
        \x03\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71fact\x04\0\0\0\x01\0\0\0data\x0c\0\0\0\
        \0\0\0\0\0\0\x80\x3f\0\0\0\x40";
    assert_eq!(&bytes[48..], expected, "float, extensible from 3 channels on");
}

#[test]
fn speaker_masks_are_kept() {
    let mut extensible = fmt(0xFFFE, 6, 48_000, 16);
    extensible.extend(b"\x16\0\x10\0\x3f\0\0\0\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    let bytes = wav_bytes(&extensible, &[3; 24]);
    assert_eq!(copied(&bytes), bytes, "5.1 stays 5.1");
}

#[test]
fn other_chunks_are_skipped() {
    let plain = wav_bytes(&fmt(1, 1, 8000, 16), &[1, 2, 3, 4]);
    let mut bytes = plain[..12].to_vec();
    bytes.extend(b"LIST\x05\0\0\0abcde\0"); // odd, hence padded
    bytes.extend(&plain[12..]);
    bytes.extend(b"cue \x04\0\0\0\x01\x02\x03\x04");
    let folder = folder();
    let mut source = open(&put(&folder, "x.wav", &bytes)).unwrap();
    assert_eq!(drain(&mut source, 3).unwrap().len(), 2, "samples, and no chunk after them");
    assert_eq!(source.take_warnings(), [""; 0], "nothing odd");
}

#[test]
fn a_file_cut_anywhere_never_panics() {
    let mut extensible = fmt(0xFFFE, 3, 48_000, 24);
    extensible.extend(b"\x16\0\x18\0\0\0\0\0\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    for (whole, data_len) in [
        (wav_bytes(&fmt(1, 2, 44_100, 16), &[9; 40]), 40),
        (wav_bytes(&extensible, &[9; 45]), 45),
        (written(Encoding::F32, 1, &[0.25; 9]), 36),
    ] {
        let data_at = whole.windows(4).position(|id| id == b"data").unwrap() + 8;
        for len in 0..=whole.len() {
            let folder = folder();
            let path = put(&folder, "cut.wav", &whole[..len]);
            match open(&path) {
                Ok(mut source) => {
                    let read = drain(&mut source, 4).unwrap().len() as u64;
                    let lanes = source.spec().floats_per_sample_time() as u64;
                    assert_eq!(Some(read / lanes), source.total_samples(), "cut at {len}");
                    let is_cut = len < data_at + data_len;
                    assert_eq!(!source.take_warnings().is_empty(), is_cut, "cut at {len}");
                }
                Err(error) => {
                    assert!(len < data_at, "cut at {len} of {data_at}: {error}");
                    message_of(Err::<(), _>(error), "cut.wav");
                }
            }
            // A pipe may find out later, but has no other samples to give.
            let piped = std::io::Cursor::new(whole[..len].to_vec());
            if let Ok(mut source) = Source::from_reader("pipe", piped, &SourceHints::default()) {
                assert_eq!(source.total_samples(), None, "a pipe has no known length");
                drain(&mut source, 4).unwrap();
            }
        }
    }
}

#[test]
fn lying_lengths_give_what_is_there() {
    let honest = wav_bytes(&fmt(1, 1, 8000, 16), &[1; 10]);
    for length in [0, 11, 4000, 0x7FFF_F000, u32::MAX - 36, u32::MAX] {
        let mut bytes = honest.clone();
        bytes[40..44].copy_from_slice(&length.to_le_bytes());
        bytes[4..8].copy_from_slice(&length.wrapping_add(36).to_le_bytes());
        let folder = folder();
        let mut source = open(&put(&folder, "x.wav", &bytes)).unwrap();
        assert_eq!(source.total_samples(), Some(5), "{length}");
        assert_eq!(drain(&mut source, 2).unwrap().len(), 5, "{length}");
        let warnings = source.take_warnings();
        assert!(warnings[0].contains(&format!("promises {length} bytes")), "{warnings:?}");

        let piped = std::io::Cursor::new(bytes);
        let mut source = Source::from_reader("pipe", piped, &SourceHints::default()).unwrap();
        assert_eq!(drain(&mut source, 2).unwrap().len(), 5, "{length} through a pipe");
        let is_told = !source.take_warnings().is_empty();
        assert_eq!(is_told, matches!(length, 11 | 4000), "{length}: the usual marks are no lies");
    }
}

#[test]
fn an_empty_data_chunk_is_believed_where_the_rest_is_right() {
    let mut bytes = wav_bytes(&fmt(1, 1, 8000, 16), &[]);
    bytes.extend(b"LIST\x04\0\0\0abcd");
    let riff = u32::try_from(bytes.len() - 8).unwrap();
    bytes[4..8].copy_from_slice(&riff.to_le_bytes());
    let folder = folder();
    let mut source = open(&put(&folder, "x.wav", &bytes)).unwrap();
    assert_eq!(drain(&mut source, 2).unwrap(), [0.0; 0], "no samples");
    assert_eq!(source.take_warnings(), [""; 0], "nothing odd");
}

#[test]
fn odd_bytes_at_the_end_are_left_out() {
    let folder = folder();
    let path = put(&folder, "x.wav", &wav_bytes(&fmt(1, 2, 8000, 16), &[1; 11]));
    let mut source = open(&path).unwrap();
    assert_eq!(drain(&mut source, 9).unwrap().len(), 4, "two whole sample times");
    assert!(source.take_warnings()[0].contains("last 3 bytes"), "says so");
    assert_eq!(source.take_warnings(), [""; 0], "once");
}

#[test]
fn bad_headers_are_refused_in_one_line() {
    let good = |fmt: &[u8]| wav_bytes(fmt, &[0; 8]);
    let mut align = fmt(1, 2, 8000, 16);
    align[12] = 6;
    let mut short_extensible = fmt(0xFFFE, 1, 8000, 16);
    short_extensible.extend([0; 8]);
    let mut guid = fmt(0xFFFE, 1, 8000, 16);
    guid.extend([9; 24]);
    let no_fmt = b"RIFF\x10\0\0\0WAVEdata\x04\0\0\0\0\0\0\0".to_vec();
    let mut late_fmt = no_fmt.clone();
    late_fmt.extend(b"fmt \x10\0\0\0");
    late_fmt.extend(fmt(1, 1, 8000, 16));
    let cases: [(&str, Vec<u8>, &str); 26] = [
        ("text", b"hello, I am no recording".to_vec(), "RIFF or RF64"),
        ("one byte", b"R".to_vec(), "found \"R\""),
        ("flac", b"fLaC............".to_vec(), "a FLAC file"),
        ("mp3", b"ID3\x04............".to_vec(), "an MP3 file"),
        ("big endian", b"RIFX....WAVE".to_vec(), "RIFX"),
        ("avi", b"RIFF\0\0\0\0AVI LIST".to_vec(), "another kind"),
        ("header cut", b"RIFF\0\0\0\0WA".to_vec(), "12 bytes"),
        ("nothing after", b"RIFF\0\0\0\0WAVE".to_vec(), "a `fmt ` chunk"),
        ("no fmt", no_fmt, "before the data"),
        ("fmt after data", late_fmt, "before the data"),
        ("fmt too short", good(&[1; 15]), "16 bytes or more"),
        ("no channels", good(&fmt(1, 0, 8000, 16)), "0 channels"),
        ("rate 0", good(&fmt(1, 1, 0, 16)), "--sample-rate"),
        ("block align", good(&align), "found blocks of 6"),
        ("12 bits", good(&fmt(1, 1, 8000, 12)), "12-bit PCM"),
        ("0 bits", good(&fmt(1, 1, 8000, 0)), "0-bit PCM"),
        ("16-bit float", good(&fmt(3, 1, 8000, 16)), "16-bit float"),
        ("A-law", good(&fmt(6, 1, 8000, 8)), "A-law"),
        ("mu-law", good(&fmt(7, 1, 8000, 8)), "mu-law"),
        ("ADPCM", good(&fmt(2, 1, 8000, 4)), "Microsoft ADPCM"),
        ("IMA", good(&fmt(17, 1, 8000, 4)), "IMA ADPCM"),
        ("MP3 in WAV", good(&fmt(0x55, 1, 8000, 0)), "MP3"),
        ("unknown codec", good(&fmt(0x1234, 1, 8000, 16)), "0x1234"),
        ("short extensible", good(&short_extensible), "40 bytes"),
        ("foreign GUID", good(&guid), "GUID"),
        ("ds64 cut", b"RF64\xff\xff\xff\xffWAVEds64\x04\0\0\0\0\0\0\0".to_vec(), "ds64"),
    ];
    for (what, bytes, expected) in cases {
        let folder = folder();
        let path = put(&folder, "bad.wav", &bytes);
        let message = message_of(open(&path), "bad.wav");
        assert!(message.contains(expected), "{what}: {message}");
    }
}

#[test]
fn no_header_byte_can_cause_a_panic() {
    let whole = written(Encoding::I24, 3, &[0.5; 6]);
    for at in 0..whole.len() {
        for value in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let input = std::io::Cursor::new(bytes.clone());
            if let Ok(mut source) = Source::from_reader("pipe", input, &SourceHints::default()) {
                drain(&mut source, 2).unwrap();
            }
            let folder = folder();
            if let Ok(mut source) = open(&put(&folder, "x.wav", &bytes)) {
                drain(&mut source, 2).unwrap();
            }
        }
    }
}

#[test]
fn files_that_are_none_are_told_apart() {
    let folder = folder();
    let missing = open(&folder.path().join("none.wav"));
    assert!(matches!(missing, Err(FileError::InputMissing { .. })), "{missing:?}");
    let directory = open(folder.path());
    assert!(matches!(directory, Err(FileError::InputIsDirectory { .. })), "{directory:?}");
    let empty = open(&put(&folder, "empty.wav", b""));
    assert!(matches!(empty, Err(FileError::InputEmpty { .. })), "{empty:?}");
}

#[test]
fn rf64_is_read() {
    let plain = wav_bytes(&fmt(1, 1, 8000, 16), &[1, 2, 3, 4]);
    for (magic, long) in [(b"RF64", 4_u64), (b"BW64", 4), (b"RF64", 1 << 40)] {
        let mut bytes = magic.to_vec();
        bytes.extend(b"\xff\xff\xff\xffWAVEds64\x1c\0\0\0");
        bytes.extend((plain.len() as u64 + 28).to_le_bytes());
        bytes.extend(long.to_le_bytes());
        bytes.extend([0; 12]);
        bytes.extend(&plain[12..40]);
        bytes.extend(b"\xff\xff\xff\xff\x01\x02\x03\x04");
        let folder = folder();
        let mut source = open(&put(&folder, "x.wav", &bytes)).unwrap();
        assert_eq!(drain(&mut source, 9).unwrap().len(), 2, "{long}");
        assert_eq!(source.take_warnings().len(), usize::from(long > 4), "{long}");
    }
}

#[test]
fn long_double_and_rate_hint() {
    let folder = folder();
    let data: Vec<u8> = [0.5_f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let path = put(&folder, "x.wav", &wav_bytes(&fmt(3, 1, 0, 64), &data));
    let hints = SourceHints { sample_rate_hz: Some(8000.0), ..SourceHints::default() };
    let mut source = Source::open(&path, &hints).unwrap();
    assert_eq!(source.spec().sample_rate_hz, Some(8000.0), "the hint fills the gap");
    assert_eq!(drain(&mut source, 1).unwrap(), [0.5, -2.0], "64-bit float");
    assert_eq!(source.take_warnings(), [""; 0], "a gap is no contradiction");
}

#[test]
fn what_no_wav_holds_is_refused() {
    let folder = folder();
    let template = |spec: SignalSpec| Template::new(spec);
    let path = folder.path().join("out.wav");
    let real = SampleFormat::F32;
    for (spec, expected) in [
        (SignalSpec::raw(real, None, 1), "--sample-rate"),
        (SignalSpec::raw(real, Some(11_025.5), 1), "11025.5 Hz"),
        (SignalSpec::raw(real, Some(8e9), 1), "whole number"),
        (SignalSpec::raw(real, Some(f64::NAN), 1), "above 0"),
        (SignalSpec::raw(real, Some(8e3), 20_000), "20000 channels"),
        (SignalSpec::raw(real, Some(8e3), 0), "1 to 65535"),
        (SignalSpec::raw(SampleFormat::CF32, Some(8e3), 1), ".cf32"),
    ] {
        let sink = Sink::create(&path, &template(spec), &SinkOptions::default());
        let message = message_of(sink, "out.wav");
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(names_in(&folder), [""; 0], "nothing is left behind");
}

#[test]
fn real_recordings_come_out_as_they_went_in() {
    let Some(shared) = shared_data() else { return };
    for name in ["iq/sat_by701.wav", "iq/sat_aausat_4.wav", "iq/sat_gomx_1.wav"] {
        let bytes = fs::read(shared.join(name)).unwrap();
        assert!(copied(&bytes) == bytes, "{name}");
    }
}
