//! Every format, there and back: bytes, values, block sizes, channels, rates.

use std::fs;

use auricle::Domain;
use auricle::format::{ByteOrder, Container, Encoding, SampleFormat, SignalSpec, Template};
use auricle::stage::{
    sink::{Sink, SinkOptions},
    source::{Source, SourceHints},
};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngSeed};
use proptest::{collection::vec, prop_assert_eq, proptest};

use crate::adapter::skipped;
use crate::files::{drain, folder, open, put, write};

const ENCODINGS: [Encoding; 10] = [
    Encoding::U8,
    Encoding::U8Centred,
    Encoding::I8,
    Encoding::U16,
    Encoding::I16,
    Encoding::I24,
    Encoding::U32,
    Encoding::I32,
    Encoding::F32,
    Encoding::F64,
];

/// Bytes in, the same bytes out, through a reader and a writer of bare samples.
fn copy(format: SampleFormat, bytes: Vec<u8>) -> Vec<u8> {
    let folder = folder();
    let hints = SourceHints { format: Some(format), ..SourceHints::default() };
    let input = put(&folder, "in.bin", &bytes);
    let output = folder.path().join("out.bin");
    let mut source = Source::open(input, &hints).unwrap();
    let mut sink = Sink::create(&output, source.template(), &SinkOptions::default()).unwrap();
    sink.write(&drain(&mut source, 4096).unwrap()).unwrap();
    sink.finish().unwrap();
    fs::read(output).unwrap()
}

#[test]
fn every_integer_of_8_16_and_24_bits_survives() {
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    for encoding in [Encoding::U8, Encoding::U8Centred, Encoding::I8] {
        assert_eq!(copy(SampleFormat::real(encoding), bytes.clone()), bytes, "{encoding:?}");
    }
    let words: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for encoding in [Encoding::U16, Encoding::I16] {
        assert_eq!(copy(SampleFormat::real(encoding), words.clone()), words, "{encoding:?}");
    }
    let triples: Vec<u8> = (0..1_u32 << 24).flat_map(|v| v.to_le_bytes().into_iter().take(3)).collect();
    let is_same = copy(SampleFormat::real(Encoding::I24), triples.clone()) == triples;
    assert!(is_same, "every 24-bit value should come back");
}

#[test]
fn floats_survive_bit_by_bit() {
    let patterns: Vec<u32> =
        [0, 1, 0x8000_0000, 0x7F80_0000, 0xFF80_0000, 0x7FC0_1234, 0x7F80_0001, 0xFFFF_FFFF, 0x3F80_0000, 0x0000_FFFF]
            .into();
    let bytes: Vec<u8> = patterns.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    assert_eq!(copy(SampleFormat::F32, bytes.clone()), bytes, "f32");
    assert_eq!(copy(SampleFormat::CF32, bytes.clone()), bytes, "cf32");
}

#[test]
fn full_scale_rounding_and_nan_are_as_documented() {
    let cases: [(Encoding, f32, &[u8]); 18] = [
        (Encoding::I16, 1.0, &[0xFF, 0x7F]),
        (Encoding::I16, -1.0, &[0x00, 0x80]),
        (Encoding::I16, 7.0, &[0xFF, 0x7F]),
        (Encoding::I16, f32::NEG_INFINITY, &[0x00, 0x80]),
        (Encoding::I16, f32::NAN, &[0, 0]),
        (Encoding::I16, 0.499_999_97 / 32_768.0, &[0, 0]),
        (Encoding::I16, 1.5 / 32_768.0, &[2, 0]),
        (Encoding::U8, f32::NAN, &[128]),
        (Encoding::U8, -1.0, &[0]),
        (Encoding::U8, 1.0, &[255]),
        (Encoding::U8Centred, f32::NAN, &[128]),
        (Encoding::U8Centred, 1.0, &[255]),
        (Encoding::U8Centred, -3.0, &[0]),
        (Encoding::I24, 1.0, &[0xFF, 0xFF, 0x7F]),
        (Encoding::I32, 1.0, &[0xFF, 0xFF, 0xFF, 0x7F]),
        (Encoding::I32, -2.0, &[0, 0, 0, 0x80]),
        (Encoding::U32, -1.0, &[0, 0, 0, 0]),
        (Encoding::U16, 0.0, &[0, 0x80]),
    ];
    for (encoding, value, expected) in cases {
        let folder = folder();
        let path = folder.path().join("out.f32");
        let template = Template::new(SignalSpec::raw(SampleFormat::F32, None, 1));
        let options = SinkOptions { format: Some(SampleFormat::real(encoding)), ..SinkOptions::default() };
        let mut sink = Sink::create(&path, &template, &options).unwrap();
        sink.write(&[value]).unwrap();
        sink.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), expected, "{value} as {encoding:?}");
    }
}

fn step_of(encoding: Encoding) -> f32 {
    match encoding {
        Encoding::U8 | Encoding::U8Centred | Encoding::I8 => 1.0 / 127.5,
        Encoding::U16 | Encoding::I16 => 1.0 / 32_768.0,
        Encoding::I24 | Encoding::U32 | Encoding::I32 => 1.0 / 8_388_608.0,
        _ => 0.0,
    }
}

fn any_spec() -> impl Strategy<Value = (SignalSpec, &'static str)> {
    let kind = prop_oneof![
        Just((Container::Wav, "out.wav")),
        Just((Container::SigMf, "out.sigmf-meta")),
        Just((Container::Raw, "out.f32")),
    ];
    let format = (0..ENCODINGS.len(), any::<bool>(), any::<bool>());
    (kind, format, 1..=9_usize, 1..=400_000_u32).prop_map(
        |((container, name), (encoding, is_complex, is_big), channels, rate)| {
            let is_wav = container == Container::Wav;
            let format = SampleFormat {
                encoding: ENCODINGS[encoding],
                domain: if is_complex && !is_wav { Domain::Complex } else { Domain::Real },
                byte_order: if is_big { ByteOrder::Big } else { ByteOrder::Little },
            };
            let spec = SignalSpec { container, format, sample_rate_hz: Some(f64::from(rate)), channels };
            (spec, name)
        },
    )
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..Config::with_cases(200) })]

    #[test]
    fn what_is_written_is_read(
        (spec, name) in any_spec(),
        values in vec(-1.0_f32..1.0, 0..700),
        write_times in 1..50_usize,
        read_times in 1..50_usize,
    ) {
        let folder = folder();
        let path = folder.path().join(name);
        let lanes = spec.floats_per_sample_time();
        let samples = &values[..values.len() - values.len() % lanes];
        let options = SinkOptions { format: Some(spec.format), ..SinkOptions::default() };
        let template = Template::new(spec.clone());
        let mut sink = Sink::create(&path, &template, &options).unwrap();
        let stored = sink.spec().clone();
        for block in samples.chunks(write_times * lanes) {
            sink.write(block).unwrap();
        }
        prop_assert_eq!(sink.written_samples(), (samples.len() / lanes) as u64);
        sink.finish().unwrap();

        let hints = match spec.container {
            Container::Raw if samples.is_empty() => return Ok(()), // 0 bytes: refused, elsewhere
            Container::SigMf if samples.is_empty() => return Ok(()),
            Container::Raw => SourceHints {
                format: Some(stored.format),
                sample_rate_hz: spec.sample_rate_hz,
                channels: Some(spec.channels),
            },
            _ => SourceHints::default(),
        };
        let mut source = Source::open(&path, &hints).unwrap();
        prop_assert_eq!(source.spec(), &stored);
        prop_assert_eq!(source.total_samples(), Some((samples.len() / lanes) as u64));
        let read = drain(&mut source, read_times).unwrap();
        prop_assert_eq!(source.take_warnings(), Vec::<String>::new());
        prop_assert_eq!(read.len(), samples.len());
        let tolerance = step_of(stored.format.encoding);
        for (read, written) in read.iter().zip(samples) {
            proptest::prop_assert!((read - written).abs() <= tolerance, "{} {}", read, written);
        }
    }
}

#[test]
fn hound_and_python_read_our_wav_files() {
    let folder = folder();
    let samples: Vec<f32> = (0..3 * 999_i16).map(|v| f32::from(v) / 4096.0).collect();
    for (bits, encoding) in
        [(8, Encoding::U8), (16, Encoding::I16), (24, Encoding::I24), (32, Encoding::I32), (32, Encoding::F32)]
    {
        for channels in [1, 3] {
            let path = folder.path().join(format!("{encoding:?}-{channels}.wav"));
            let format = SampleFormat::real(encoding);
            let mut spec = SignalSpec::raw(format, Some(48_000.0), channels);
            spec.container = Container::Wav;
            write(&path, &spec, &samples, 100).unwrap();
            let reader = hound::WavReader::open(&path).unwrap();
            assert_eq!(reader.spec().bits_per_sample, bits, "{encoding:?}");
            assert_eq!(usize::from(reader.spec().channels), channels, "{encoding:?}");
            assert_eq!(reader.len() as usize, samples.len(), "{encoding:?}");
            let ours = drain(&mut open(&path).unwrap(), 7).unwrap();
            let theirs: Vec<f32> = match encoding {
                Encoding::F32 => reader.into_samples::<f32>().map(Result::unwrap).collect(),
                _ => {
                    let scale = 2_f64.powi(i32::from(bits) - 1);
                    let values = reader.into_samples::<i32>().map(Result::unwrap);
                    values.map(|v| (f64::from(v) / scale) as f32).collect()
                }
            };
            assert_eq!(ours, theirs, "{encoding:?}");
            if channels == 1 && encoding != Encoding::F32 {
                python_agrees(&path, bits / 8, samples.len());
            }
        }
    }
}

/// Python's `wave` module, where there is a Python.
fn python_agrees(path: &std::path::Path, bytes: u16, len: usize) {
    let script = "import sys,wave; w=wave.open(sys.argv[1]); p=w.getparams(); \
                  print(p.nchannels,p.sampwidth,p.framerate,len(w.readframes(p.nframes)))";
    let run = std::process::Command::new("python3").args(["-c", script]).arg(path).output();
    match run {
        Ok(output) if output.status.success() => {
            let expected = format!("1 {bytes} 48000 {}\n", len * usize::from(bytes));
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", path.display());
        }
        _ => skipped("no python3 to compare with"),
    }
}
