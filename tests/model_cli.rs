//! `auricle model`, as a process.

use std::path::Path;
use std::process::Output;

use auricle::stage::denoise::model::{Description, Model, StoredAs};

use crate::cli::{Folder, assert_done, assert_refused, auricle, text};
use crate::import::shared_models;
use crate::model::small_model;

fn model(arguments: &[&str]) -> Output {
    auricle(["model"]).args(arguments).output().expect("the program should start")
}

fn name(path: &Path) -> &str {
    path.to_str().expect("the name of a temporary folder should be UTF-8")
}

#[test]
fn a_model_is_shown() {
    let folder = Folder::new();
    let path = folder.path("small.safetensors");
    small_model().write(&path, StoredAs::F16, false).unwrap();
    let shown = model(&["show", name(&path)]);
    assert_done(&shown);
    let text = text(&shown.stdout);
    for part in [
        "small, version 1",
        "licence    MIT",
        "16000 Hz, windows of 16 samples (square root of Hann), hop 8",
        "1.0 ms",
        "best at -25 dBFS",
        "not below -80 dB",
        "in the file as f16",
        "hidden  dense, ReLU, scaled",
        "FFT, log10 |X|^2",
        "mask, decoder",
    ] {
        assert!(text.contains(part), "`{part}` should stand in:\n{text}");
    }
    let table: Vec<_> = text.lines().skip_while(|line| !line.trim_start().starts_with("layer ")).collect();
    assert_eq!(table.len(), 1 + 5 + 2 + 1 + 2, "head, layers and what is around them:\n{text}");
    assert!(table.iter().all(|line| line.len() == table[0].len()), "aligned:\n{text}");
}

#[test]
fn a_model_is_shown_as_json() {
    let folder = Folder::new();
    let path = folder.path("small.safetensors");
    small_model().write(&path, StoredAs::F32, false).unwrap();
    let shown = model(&["show", name(&path), "--json"]);
    assert_done(&shown);
    let summary: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("one JSON object");
    let description: Description = serde_json::from_value(summary["description"].clone()).unwrap();
    assert_eq!(&description, small_model().description());
    assert_eq!(summary["latency_ms"], 1.0);
    assert_eq!(summary["file_bytes"], std::fs::metadata(&path).unwrap().len());
    assert_eq!(summary["stored_as"], serde_json::json!(["F32"]));
    assert_eq!(summary["tensors"][0], serde_json::json!({ "name": "norm.gain", "shape": [9] }));
    let parameters = summary["parameters"].as_u64().unwrap();
    assert_eq!(summary["weight_bytes"]["f16"], 2 * parameters);
}

#[test]
fn bad_model_files_are_refused_in_one_line() {
    let folder = Folder::new();
    let whole = small_model().to_bytes(StoredAs::F32);
    let cut = folder.file("cut.safetensors", &whole[..whole.len() - 10]);
    assert_refused(&model(&["show", name(&cut)]), 1, &["auricle: model `", "cut.safetensors", "cut short"]);
    let picture = folder.file("picture.png", b"\x89PNG\r\n\x1a\n----------------");
    assert_refused(&model(&["show", name(&picture)]), 1, &["picture.png", "not a model file"]);
    let missing = folder.path("missing.safetensors");
    assert_refused(&model(&["show", name(&missing)]), 1, &["missing.safetensors", "cannot read"]);
}

#[test]
fn what_import_needs_is_said() {
    let folder = Folder::new();
    let output = folder.path("m.safetensors");
    for arguments in [&["import", "dtln"][..], &["import", "dtln", "--stage1", "a.onnx"], &["import", "nsnet2"]] {
        let refused = model(&[arguments, &["-o", name(&output)]].concat());
        let message = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{message}");
        assert!(
            message.contains("--stage1") || message.contains("--arrays") || message.contains("--stage2"),
            "{message}"
        );
    }
    let input = folder.file("a.onnx", b"no protobuf at all");
    let refused = model(&["import", "dtln", "--stage1", name(&input), "--stage2", name(&input), "-o", name(&output)]);
    assert_refused(&refused, 1, &["auricle: import, `", "a.onnx"]);
    assert_eq!(folder.names(), ["a.onnx"]);
}

#[test]
fn a_published_network_is_imported() {
    let Some(shared) = shared_models() else { return };
    let (stage1, stage2) = (shared.join("dtln/model_1.onnx"), shared.join("dtln/model_2.onnx"));
    let folder = Folder::new();
    let output = folder.path("dtln.safetensors");
    let import = |more: &[&str]| {
        let arguments = ["import", "dtln", "--stage1", name(&stage1), "--stage2", name(&stage2), "-o", name(&output)];
        model(&[&arguments[..], more].concat())
    };
    let done = import(&[]);
    assert_done(&done);
    let summary = text(&done.stdout);
    for part in ["dtln, version 1", "MIT, (c) 2020", "32.0 ms", "123.0 million", "Next: auricle run"] {
        assert!(summary.contains(part), "`{part}` should stand in:\n{summary}");
    }
    let whole = Model::read(&output).unwrap();
    assert_refused(&import(&[]), 1, &["dtln.safetensors", "--force"]);
    assert_done(&import(&["--force", "--stored-as", "f16"]));
    assert_eq!(Model::read(&output).unwrap().description(), whole.description());
    assert!(std::fs::metadata(&output).unwrap().len() < 2_000_000, "half the size");
    assert_eq!(folder.names(), ["dtln.safetensors"]);
}

#[test]
fn help_teaches_by_example() {
    for (arguments, part) in [
        (&["--help"][..], "auricle model import dtln --stage1 model_1.onnx"),
        (&["import", "dtln", "--help"], "keras-to-npy.py"),
        (&["import", "nsnet2", "--help"], "webnn-samples"),
        (&["show", "--help"], "--json"),
    ] {
        let help = model(arguments);
        assert_done(&help);
        assert!(text(&help.stdout).contains(part), "`{part}` should stand in:\n{}", text(&help.stdout));
    }
}
