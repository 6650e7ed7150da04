//! SigMF pairs: carried metadata, data types, bad pairs.

use std::fs;

use auricle::Domain;
use auricle::format::{ByteOrder, Container, Encoding, FileError, SampleFormat, SignalSpec, Template};
use auricle::stage::{
    sink::{Sink, SinkOptions},
    source::{Source, SourceHints},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files::{drain, folder, message_of, names_in, open, put, shared_data};

fn pair(folder: &TempDir, metadata: &Value, data: &[u8]) -> std::path::PathBuf {
    put(folder, "x.sigmf-data", data);
    put(folder, "x.sigmf-meta", metadata.to_string().as_bytes())
}

fn metadata(datatype: &str) -> Value {
    json!({ "global": { "core:datatype": datatype, "core:sample_rate": 2e6, "core:version": "1.0.0" },
            "captures": [], "annotations": [] })
}

#[test]
fn either_half_or_the_base_name_will_do() {
    let folder = folder();
    pair(&folder, &metadata("cf32_le"), &[0; 16]);
    for name in ["x.sigmf-meta", "x.sigmf-data", "x"] {
        let source = open(&folder.path().join(name)).unwrap();
        assert_eq!(source.spec().container, Container::SigMf, "{name}");
        assert_eq!(source.total_samples(), Some(2), "{name}");
        assert_eq!(source.spec().sample_rate_hz, Some(2e6), "{name}");
    }
}

#[test]
fn datatypes_are_read() {
    let big = ByteOrder::Big;
    for (name, encoding, domain, order, bytes, expected) in [
        ("rf32_le", Encoding::F32, Domain::Real, ByteOrder::Little, &[0, 0, 0, 0x3F][..], 0.5),
        ("cf32_be", Encoding::F32, Domain::Complex, big, &[0x3F, 0, 0, 0], 0.5),
        ("ci16_le", Encoding::I16, Domain::Complex, ByteOrder::Little, &[0, 0x40], 0.5),
        ("ri16_be", Encoding::I16, Domain::Real, big, &[0x40, 0], 0.5),
        ("cu8", Encoding::U8Centred, Domain::Complex, ByteOrder::Little, &[255], 1.0),
        ("ru8", Encoding::U8, Domain::Real, ByteOrder::Little, &[192], 0.5),
        ("ci8", Encoding::I8, Domain::Complex, ByteOrder::Little, &[0x40], 0.5),
        ("cu16_le", Encoding::U16, Domain::Complex, ByteOrder::Little, &[0, 0xC0], 0.5),
        ("ri32_be", Encoding::I32, Domain::Real, big, &[0x40, 0, 0, 0], 0.5),
        ("ru32_le", Encoding::U32, Domain::Real, ByteOrder::Little, &[0, 0, 0, 0xC0], 0.5),
        ("rf64_be", Encoding::F64, Domain::Real, big, &[0x3F, 0xE0, 0, 0, 0, 0, 0, 0], 0.5),
    ] {
        let folder = folder();
        let path = pair(&folder, &metadata(name), &bytes.repeat(2));
        let mut source = open(&path).unwrap();
        let format = SampleFormat { encoding, domain, byte_order: order };
        assert_eq!(source.spec().format, format, "{name}");
        assert_eq!(drain(&mut source, 9).unwrap(), [expected; 2], "{name}");

        let output = folder.path().join("y.sigmf-data");
        let mut sink = Sink::create(&output, source.template(), &SinkOptions::default()).unwrap();
        sink.write(&[expected; 2]).unwrap();
        sink.finish().unwrap();
        assert_eq!(fs::read(&output).unwrap(), bytes.repeat(2), "{name} keeps its type");
    }
}

#[test]
fn metadata_is_carried_over() {
    let folder = folder();
    let carried = json!({
        "zebra": [1, { "b": null, "a": 1.5e-7 }],
        "global": {
            "core:datatype": "ci16_le", "core:sample_rate": 48000, "core:version": "1.1.0",
            "core:hw": "a dongle", "core:recorder": "some program", "other:key": { "deep": [true] },
            "core:sha512": "stale", "core:offset": 100,
            "core:extensions": [{ "name": "other", "version": "1.0.0", "optional": true }],
        },
        "captures": [{ "core:sample_start": 100, "core:frequency": 1090000000.0, "core:header_bytes": 2 }],
        "annotations": [{ "core:sample_start": 101, "core:sample_count": 1, "core:comment": "here" }],
    });
    let path = pair(&folder, &carried, &[9, 9, 1, 0, 2, 0, 3, 0, 4, 0]);
    let mut source = open(&path).unwrap();
    assert_eq!(source.take_warnings(), [""; 0], "nothing odd");
    let samples = drain(&mut source, 4).unwrap();
    assert_eq!(samples.len(), 4, "the two foreign bytes are no samples");
    let output = folder.path().join("y.sigmf-meta");
    let mut sink = Sink::create(&output, source.template(), &SinkOptions::default()).unwrap();
    sink.write(&samples).unwrap();
    sink.set_settings(json!({ "gate": { "threshold": 0.1 } }));
    sink.finish().unwrap();

    let text = fs::read_to_string(&output).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    let mut expected = carried;
    let sha512 = "see below";
    expected["global"]["core:sha512"] = sha512.into();
    expected["global"]["auricle:settings"] = json!({ "gate": { "threshold": 0.1 } });
    expected["global"]["core:extensions"] = json!([
        { "name": "other", "version": "1.0.0", "optional": true },
        { "name": "auricle", "version": env!("CARGO_PKG_VERSION"), "optional": true },
    ]);
    expected["captures"] = json!([{ "core:sample_start": 100, "core:frequency": 1090000000.0 }]);
    let ours = &written["annotations"][0];
    assert_eq!((&ours["core:sample_start"], &ours["core:sample_count"]), (&json!(100), &json!(2)), "{ours}");
    let mut compared = written.clone();
    compared["annotations"].as_array_mut().unwrap().remove(0);
    compared["global"]["core:sha512"] = sha512.into();
    assert_eq!(compared, expected, "all else is as it was");
    assert!(text.find("zebra") < text.find("global"), "in the order it was");

    let sum = written["global"]["core:sha512"].as_str().unwrap();
    // sha512sum of 01 00 02 00 03 00 04 00
    let of_its_bytes = "0c70f9c56f5311234d7ce68048356214fa75b4add804d504d2573fbb1375a2ba\
        4afc95439fbb2f8aa8f75cc6b90f6798b325679f9b071105a03149c119ae4eca";
    assert_eq!(sum, of_its_bytes, "of all that it wrote");
    let again = open(&output).unwrap();
    assert_eq!(again.total_samples(), Some(2), "our own output reads back");
}

#[test]
fn a_new_pair_has_what_the_standard_asks_for() {
    let folder = folder();
    let template = Template::new(SignalSpec::raw(SampleFormat::CU8, Some(2.4e6), 2));
    let output = folder.path().join("new.sigmf-data");
    Sink::create(&output, &template, &SinkOptions::default()).unwrap().finish().unwrap();
    assert_eq!(names_in(&folder), ["new.sigmf-data", "new.sigmf-meta"], "both halves");
    let text = fs::read(folder.path().join("new.sigmf-meta")).unwrap();
    let written: Value = serde_json::from_slice(&text).unwrap();
    let global = &written["global"];
    assert_eq!(global["core:datatype"], "cu8", "{global}");
    assert_eq!(global["core:sample_rate"], 2.4e6, "{global}");
    assert_eq!(global["core:num_channels"], 2, "{global}");
    assert_eq!(global["core:version"], "1.2.0", "{global}");
    let of_nothing = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                      47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
    assert_eq!(global["core:sha512"], of_nothing, "the known sum of no bytes");
    assert_eq!(written["captures"], json!([{ "core:sample_start": 0 }]), "{written}");
}

#[test]
fn bad_pairs_are_refused_in_one_line() {
    let with = |key: &str, value: Value| {
        let mut metadata = metadata("cf32_le");
        metadata["global"][key] = value;
        metadata.to_string()
    };
    let late_header = json!({ "global": { "core:datatype": "cu8", "core:sample_rate": 1 },
        "captures": [{}, { "core:header_bytes": 3 }] });
    for (metadata, expected) in [
        ("{ \"global\": ".to_owned(), "line 1"),
        (String::new(), "JSON"),
        ("\u{0}\u{1}".to_owned(), "JSON"),
        ("[".repeat(5000), "recursion"),
        ("[]".to_owned(), "`global`"),
        ("{\"global\": 3}".to_owned(), "`global`"),
        ("{\"global\": {}}".to_owned(), "core:datatype"),
        (with("core:datatype", "cf16_le".into()), "\"cf16_le\""),
        (with("core:datatype", "cf32".into()), "cf32"),
        (with("core:datatype", "\u{e9}8".into()), "core:datatype"),
        (with("core:datatype", 5.into()), "core:datatype"),
        (with("core:sample_rate", 0.into()), "above 0"),
        (with("core:sample_rate", "fast".into()), "above 0"),
        (with("core:num_channels", 0.into()), "1 to 65535"),
        (with("core:num_channels", json!(u64::MAX)), "1 to 65535"),
        (with("core:dataset", "../../etc/passwd".into()), "without folders"),
        (with("core:dataset", "elsewhere.bin".into()), "elsewhere.bin"),
        (with("core:metadata_only", true.into()), "x.sigmf-data"),
        (late_header.to_string(), "first capture"),
    ] {
        let folder = folder();
        put(&folder, "x.sigmf-data", &[0; 16]);
        let path = put(&folder, "x.sigmf-meta", metadata.as_bytes());
        let message = message_of(open(&path), "x.sigmf-meta");
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn halves_archives_and_rates_that_are_missing() {
    let folder = folder();
    let path = put(&folder, "a.sigmf-meta", metadata("cu8").to_string().as_bytes());
    assert!(message_of(open(&path), "a.sigmf-meta").contains("a.sigmf-data"), "no data");
    let path = put(&folder, "b.sigmf-data", &[0; 4]);
    assert!(message_of(open(&path), "b.sigmf-data").contains("b.sigmf-meta"), "no metadata");
    let neither = open(&folder.path().join("c.sigmf-meta"));
    assert!(matches!(neither, Err(FileError::InputMissing { .. })), "{neither:?}");
    let archive = message_of(open(&put(&folder, "d.sigmf", b"tar")), "d.sigmf");
    assert!(archive.contains("tar xf"), "{archive}");

    let mut no_rate = metadata("cu8");
    no_rate["global"].as_object_mut().unwrap().remove("core:sample_rate");
    let path = pair(&folder, &no_rate, &[0; 4]);
    assert!(message_of(open(&path), "x.sigmf-meta").contains("--sample-rate"), "the fix");
    let hints = SourceHints { sample_rate_hz: Some(1e6), ..SourceHints::default() };
    assert_eq!(Source::open(&path, &hints).unwrap().spec().sample_rate_hz, Some(1e6), "given");
}

#[test]
fn data_that_is_too_short_or_ragged_is_told() {
    let folder = folder();
    let mut long = metadata("ci16_le");
    long["annotations"] = json!([{ "core:sample_start": 5, "core:sample_count": 5 }]);
    let path = pair(&folder, &long, &[0; 18]);
    let mut source = open(&path).unwrap();
    let warnings = source.take_warnings();
    assert!(warnings.iter().any(|warning| warning.contains("speaks of 10")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("last 2 bytes")), "{warnings:?}");
    assert_eq!(drain(&mut source, 3).unwrap().len(), 8, "four samples");
}

#[test]
fn neither_half_remains_when_the_second_fails() {
    for force in [false, true] {
        let folder = folder();
        if force {
            put(&folder, "y.sigmf-data", b"older");
        }
        let template = Template::new(SignalSpec::raw(SampleFormat::CU8, Some(1.0), 1));
        let options = SinkOptions { force, ..SinkOptions::default() };
        let output = folder.path().join("y.sigmf-meta");
        let sink = Sink::create(&output, &template, &options).unwrap();
        fs::create_dir(&output).unwrap();
        message_of(sink.finish(), "y.sigmf-meta");
        fs::remove_dir(&output).unwrap();
        match force {
            false => assert_eq!(names_in(&folder), [""; 0], "neither"),
            true => {
                assert_eq!(names_in(&folder), ["y.sigmf-data"], "what was there");
                assert_eq!(fs::read(folder.path().join("y.sigmf-data")).unwrap(), b"older", "as it was");
            }
        }
    }
}

#[test]
fn the_logo_comes_out_as_it_went_in() {
    let Some(shared) = shared_data() else { return };
    let folder = folder();
    let mut source = open(&shared.join("iq/sigmf_logo.sigmf-meta")).unwrap();
    assert_eq!(source.total_samples(), Some(288_000), "6 s of stereo");
    let output = folder.path().join("logo.sigmf-meta");
    let mut sink = Sink::create(&output, source.template(), &SinkOptions::default()).unwrap();
    sink.write(&drain(&mut source, 777).unwrap()).unwrap();
    sink.finish().unwrap();
    let original = fs::read(shared.join("iq/sigmf_logo.sigmf-data")).unwrap();
    assert!(fs::read(folder.path().join("logo.sigmf-data")).unwrap() == original, "data");
    let written: Value = serde_json::from_slice(&fs::read(&output).unwrap()).unwrap();
    let text = fs::read(shared.join("iq/sigmf_logo.sigmf-meta")).unwrap();
    let expected: Value = serde_json::from_slice(&text).unwrap();
    // The same data has the same sum, which proves the sum.
    assert_eq!(written["global"], expected["global"], "no settings, no change");
}
