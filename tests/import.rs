//! Published networks made into models: from the real files where they are, and from made-up ones everywhere.

use std::path::{Path, PathBuf};

use auricle::import::{dtln, nsnet2};
use auricle::stage::denoise::model::{Basis, Feature, Model, ModelError};
use tempfile::TempDir;

use crate::adapter::skipped;
use crate::files::{folder, put, shared_data};
use crate::signals::noise;

/// The folder of published networks; says so when it is not there.
pub(crate) fn shared_models() -> Option<PathBuf> {
    let folder = shared_data()?.join("../models");
    if !folder.is_dir() {
        skipped(&format!("no published networks at {}", folder.display()));
        return None;
    }
    Some(folder)
}

fn message(result: Result<Model, ModelError>) -> String {
    let message = result.expect_err("this should have been refused").to_string();
    assert!(!message.contains('\n') && message.starts_with("import, "), "{message}");
    message
}

fn save_npy(folder: &TempDir, name: &str, shape: &[usize], values: &[f32]) {
    let lens: String = shape.iter().map(|len| format!("{len}, ")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({lens}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    put(folder, &format!("{name}.npy"), &bytes);
}

/// Arrays of these shapes: the first holds noise of seed 1, the next of seed 2.
fn save_all(arrays: &[(&str, &[usize])]) -> TempDir {
    let folder = folder();
    for (n, (name, shape)) in arrays.iter().enumerate() {
        let len = shape.iter().product();
        let values: Vec<f32> = noise(len, n as u64 + 1);
        save_npy(&folder, name, shape, &values);
    }
    folder
}

const NSNET2: [(&str, &[usize]); 16] = [
    ("172", &[161, 400]),
    ("fc_in_0_bias", &[400]),
    ("192", &[1, 1200, 400]),
    ("193", &[1, 1200, 400]),
    ("194_0", &[1, 1200]),
    ("194_1", &[1, 1200]),
    ("212", &[1, 1200, 400]),
    ("213", &[1, 1200, 400]),
    ("214_0", &[1, 1200]),
    ("214_1", &[1, 1200]),
    ("215", &[400, 600]),
    ("fc_out_0_bias", &[600]),
    ("216", &[600, 600]),
    ("fc_out_2_bias", &[600]),
    ("217", &[600, 161]),
    ("fc_out_4_bias", &[161]),
];

#[test]
fn every_array_of_nsnet2_finds_its_place() {
    let folder = save_all(&NSNET2);
    let model = nsnet2::from_arrays(folder.path()).unwrap();
    assert!(model.description().licence.contains("unknown"), "nobody knows who made noise");
    assert_eq!(model.description().parameters(), 2_687_561);
    let value = |name: &str, row: usize, column: usize| {
        let tensor = model.tensor(name).unwrap();
        tensor.values[row * tensor.shape.get(1).copied().unwrap_or(1) + column]
    };
    let first = noise(161 * 400, 1);
    assert_eq!(value("input.weights", 7, 3), first[3 * 400 + 7], "transposed");
    let (input, bias) = (noise(1200 * 400, 3), noise(1200, 6));
    for (gate, theirs) in [(0, 1), (1, 0), (2, 2)] {
        let row = theirs * 400 + 5;
        assert_eq!(value("gru1.input_weights", gate * 400 + 5, 9), input[row * 400 + 9], "gate {gate}");
        assert_eq!(value("gru1.recurrent_bias", gate * 400 + 5, 0), bias[row], "gate {gate}");
    }
    assert_eq!(value("mask.bias", 160, 0), noise(161, 16)[160]);
}

#[test]
fn arrays_that_are_not_nsnet2_are_named() {
    let refused = |folder: &Path| message(nsnet2::from_arrays(folder));
    assert!(refused(Path::new("no/such/folder")).contains("expected a folder"));
    let folder = save_all(&NSNET2);
    save_npy(&folder, "193", &[1, 400, 1200], &noise(1200 * 400, 1));
    let problem = refused(folder.path());
    assert!(problem.contains("193.npy") && problem.contains("[1, 1200, 400], got [1, 400, 1200]"), "{problem}");
    save_npy(&folder, "193", &[1, 1200, 400], &vec![f32::NAN; 1200 * 400]);
    assert!(refused(folder.path()).contains("`gru1.recurrent_weights`"), "a NaN");
    put(&folder, "193.npy", b"not an array");
    assert!(refused(folder.path()).contains("193.npy"), "no array");
    std::fs::remove_file(folder.path().join("193.npy")).unwrap();
    assert!(refused(folder.path()).contains("expected `193.npy`"), "not there");
}

const KERAS_NORM: [(&str, &[usize]); 22] = [
    ("lstm_4.kernel", &[257, 512]),
    ("lstm_4.recurrent_kernel", &[128, 512]),
    ("lstm_4.bias", &[512]),
    ("lstm_5.kernel", &[128, 512]),
    ("lstm_5.recurrent_kernel", &[128, 512]),
    ("lstm_5.bias", &[512]),
    ("lstm_10.kernel", &[256, 512]),
    ("lstm_10.recurrent_kernel", &[128, 512]),
    ("lstm_10.bias", &[512]),
    ("lstm_11.kernel", &[128, 512]),
    ("lstm_11.recurrent_kernel", &[128, 512]),
    ("lstm_11.bias", &[512]),
    ("dense.kernel", &[128, 257]),
    ("dense.bias", &[257]),
    ("dense_1.kernel", &[128, 256]),
    ("dense_1.bias", &[256]),
    ("conv1d.kernel", &[1, 512, 256]),
    ("conv1d_1.kernel", &[1, 256, 512]),
    ("instant_layer_normalization.gamma", &[257]),
    ("instant_layer_normalization.beta", &[257]),
    ("instant_layer_normalization_1.gamma", &[256]),
    ("instant_layer_normalization_1.beta", &[256]),
];

#[test]
fn keras_layers_are_taken_by_their_numbers() {
    let folder = save_all(&KERAS_NORM);
    let model = dtln::from_keras_arrays(folder.path()).unwrap();
    assert_eq!(model.description().parts[0].basis, Basis::Spectrum(Feature::LogMagnitude { floor: 1e-7 }));
    assert_eq!(model.description().parameters(), 987_267);
    let values = |name: &str| model.tensor(name).unwrap().values.to_vec();
    assert_eq!(values("stage2.lstm1.bias"), noise(512, 9), "10 comes after 5");
    assert_eq!(values("stage2.lstm1.input_weights")[256 + 2], noise(256 * 512, 7)[2 * 512 + 1], "transposed");
    assert_eq!(values("stage2.encoder")[512 + 2], noise(512 * 256, 17)[2 * 256 + 1]);
    assert_eq!(values("stage1.norm.gain"), noise(257, 19));
    assert_eq!(values("stage2.norm.bias"), noise(256, 22));
    for name in ["lstm_5.kernel", "lstm_5.bias", "lstm_5.recurrent_kernel"] {
        std::fs::remove_file(folder.path().join(format!("{name}.npy"))).unwrap();
    }
    let problem = message(dtln::from_keras_arrays(folder.path()));
    assert!(problem.contains("4 layers `lstm`, got 3"), "{problem}");
}

fn onnx_pair() -> Option<(PathBuf, PathBuf)> {
    let folder = shared_models()?.join("dtln");
    Some((folder.join("model_1.onnx"), folder.join("model_2.onnx")))
}

#[test]
fn the_published_dtln_is_known_by_its_weights() {
    let Some((stage1, stage2)) = onnx_pair() else { return };
    let model = dtln::from_onnx(&stage1, &stage2).unwrap();
    let description = model.description();
    assert!(description.licence.starts_with("MIT") && description.source.contains("breizhn/DTLN"), "{description:?}");
    assert_eq!((description.parameters(), description.multiply_adds_per_s()), (986_753, 122_960_000.0));
    let names: Vec<_> = description.expected_tensors().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 20);
    assert_eq!((names[0].as_str(), names[19].as_str()), ("stage1.lstm1.input_weights", "stage2.mask.bias"));
    assert_eq!(model.tensor("stage2.decoder").unwrap().values[0], -0.038_532_26);
}

#[test]
fn the_published_nsnet2_is_known_by_its_weights() {
    let Some(folder) = shared_models() else { return };
    let model = nsnet2::from_arrays(&folder.join("nsnet2")).unwrap();
    let description = model.description();
    assert!(description.licence.contains("Microsoft"), "{description:?}");
    assert_eq!(description.mask_floor_db, Some(-80.0));
}

#[test]
fn a_wrong_onnx_file_says_what_was_expected() {
    let Some((stage1, stage2)) = onnx_pair() else { return };
    let refused = |one: &Path, other: &Path| message(dtln::from_onnx(one, other));
    let swapped = refused(&stage2, &stage1);
    assert!(swapped.contains("model_2.onnx") && swapped.contains("`Sigmoid` to make the mask of stage 1"), "{swapped}");
    let twice = refused(&stage1, &stage1);
    assert!(twice.contains("model_1.onnx") && twice.contains("`Conv` to make the decoder"), "{twice}");
    let missing = dtln::from_onnx(Path::new("no.onnx"), &stage2).unwrap_err().to_string();
    assert!(missing.contains("no.onnx") && missing.contains("cannot read"), "{missing}");
}

#[test]
fn a_damaged_onnx_file_never_panics() {
    let Some((stage1, stage2)) = onnx_pair() else { return };
    let folder = folder();
    let whole = std::fs::read(&stage2).unwrap();
    for len in (0..whole.len()).step_by(whole.len() / 37) {
        let cut = put(&folder, "cut.onnx", &whole[..len]);
        message(dtln::from_onnx(&stage1, &cut));
    }
    // The nodes come first, so this is where the structure is.
    for place in (0..12_000).step_by(61) {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x15;
        drop(dtln::from_onnx(&stage1, &put(&folder, "flipped.onnx", &flipped)));
    }
}
