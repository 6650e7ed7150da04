//! Model files: written, read again, and refused.

use std::collections::{BTreeMap, HashMap};

use auricle::Error;
use auricle::stage::denoise::model::{
    Activation, Basis, Description, Feature, LARGEST_FILE_BYTES, LARGEST_WEIGHT, Layer, LayerKind, Model, ModelError,
    Part, StoredAs, Tensor, Window,
};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::{Config, RngSeed};
use serde_json::{Value, json};

use crate::files::{folder, names_in, put};
use crate::signals::noise;

fn layer(name: &str, inputs: usize, outputs: usize, kind: LayerKind) -> Layer {
    Layer { name: name.to_owned(), inputs, outputs, kind, scaled: false }
}

/// Every kind of layer and basis, as small as allowed.
pub(crate) fn small_description() -> Description {
    let mut hidden = layer("hidden", 9, 5, LayerKind::Dense(Activation::Relu));
    hidden.scaled = true;
    let spectrum = vec![
        layer("norm", 9, 9, LayerKind::LayerNorm { epsilon: 1e-7 }),
        hidden,
        layer("lstm", 5, 3, LayerKind::Lstm),
        layer("gru", 3, 2, LayerKind::Gru),
        layer("mask", 2, 9, LayerKind::Dense(Activation::Sigmoid)),
    ];
    let learned = vec![layer("last", 4, 4, LayerKind::Dense(Activation::Sigmoid))];
    let feature = Feature::Log10Power { floor: 1e-12, offset: 3.0, scale: 0.5 };
    Description {
        name: "small".to_owned(),
        version: "1".to_owned(),
        licence: "MIT".to_owned(),
        source: "a test".to_owned(),
        sample_rate_hz: 16_000,
        window_len: 16,
        hop: 8,
        window: Window::SqrtHann,
        level_dbfs: Some(-25.0),
        mask_floor_db: Some(-80.0),
        parts: vec![
            Part { name: "first".to_owned(), basis: Basis::Spectrum(feature), layers: spectrum },
            Part { name: "second".to_owned(), basis: Basis::Learned { size: 4 }, layers: learned },
        ],
    }
}

fn tensors_for(description: &Description) -> BTreeMap<String, Tensor> {
    let tensor = |(place, (name, shape)): (usize, (String, Vec<usize>))| {
        let values = noise(shape.iter().product(), place as u64 + 1).into();
        (name, Tensor { shape, values })
    };
    description.expected_tensors().into_iter().enumerate().map(tensor).collect()
}

pub(crate) fn small_model() -> Model {
    let description = small_description();
    let tensors = tensors_for(&description);
    Model::new(description, tensors).expect("the small model should be a good one")
}

/// The header of a file as JSON, and the data behind it.
fn taken_apart(file: &[u8]) -> (Value, Vec<u8>) {
    let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&file[8..8 + len]).unwrap(), file[8 + len..].to_vec())
}

fn put_together(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn message(result: Result<Model, ModelError>) -> String {
    let message = result.expect_err("this should have been refused").to_string();
    assert!(!message.contains('\n'), "one line: {message:?}");
    assert!(message.len() < 700, "a short one: {message}");
    message
}

fn assert_refused(result: Result<Model, ModelError>, parts: &[&str]) {
    let message = message(result);
    for part in parts {
        assert!(message.contains(part), "`{part}` should stand in: {message}");
    }
}

#[test]
fn a_model_comes_back_to_the_bit_and_its_bytes_too() {
    let model = small_model();
    let bytes = model.to_bytes(StoredAs::F32);
    let again = Model::from_bytes(&bytes).unwrap();
    assert_eq!(again, model);
    assert_eq!(again.to_bytes(StoredAs::F32), bytes);
    let (header, data) = taken_apart(&bytes);
    assert_eq!((bytes.len() - data.len()) % 8, 0, "the data is aligned");
    let description = header["__metadata__"]["auricle"].as_str().unwrap();
    assert!(description.contains("\"floor\":1e-12"), "numbers as a person would write them: {description}");
}

#[test]
fn half_the_bits_lose_half_a_step() {
    let model = small_model();
    let half = Model::from_bytes(&model.to_bytes(StoredAs::F16)).unwrap();
    for (name, tensor) in model.tensors() {
        let rounded = half.tensor(name).unwrap();
        assert_eq!(rounded.shape, tensor.shape);
        for (kept, value) in rounded.values.iter().zip(tensor.values.iter()) {
            assert!((kept - value).abs() <= value.abs() / 2048.0 + 3e-8, "{name}: {value} became {kept}");
        }
    }
    assert_eq!(Model::from_bytes(&half.to_bytes(StoredAs::F16)).unwrap(), half, "once is enough");
    assert_eq!(Model::from_bytes(&half.to_bytes(StoredAs::F32)).unwrap(), half);
}

#[test]
fn what_the_reference_crate_writes_is_read_and_what_we_write_it_reads() {
    let model = small_model();
    let bytes = model.to_bytes(StoredAs::F32);
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.len(), model.tensors().count());
    for (name, tensor) in model.tensors() {
        let view = theirs.tensor(name).unwrap();
        let values: Vec<u8> = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!((view.dtype(), view.shape(), view.data()), (safetensors::Dtype::F32, &*tensor.shape, &*values));
    }
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata: Option<HashMap<String, String>> = header.metadata().clone();
    let written = safetensors::serialize(theirs.iter(), metadata).unwrap();
    assert_ne!(written, bytes, "they order tensors by name");
    assert_eq!(Model::from_bytes(&written).unwrap(), model);
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let folder = folder();
    let path = folder.path().join("m.safetensors");
    let model = small_model();
    model.write(&path, StoredAs::F32, false).unwrap();
    assert_eq!(Model::read(&path).unwrap(), model);
    let refused = model.write(&path, StoredAs::F16, false).unwrap_err();
    assert!(matches!(refused, Error::File(_)) && refused.to_string().contains("--force"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), model.to_bytes(StoredAs::F32), "it was left alone");
    model.write(&path, StoredAs::F16, true).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), model.to_bytes(StoredAs::F16));
    assert_eq!(names_in(&folder), ["m.safetensors"]);
}

#[test]
fn files_that_cannot_be_models_are_named() {
    let folder = folder();
    let missing = folder.path().join("missing.safetensors");
    assert_refused(Model::read(&missing), &["missing.safetensors", "cannot read"]);
    assert_refused(Model::read(folder.path()), &["cannot read"]);
    let empty = put(&folder, "empty.safetensors", b"");
    assert_refused(Model::read(&empty), &["empty.safetensors", "got 0"]);
    let wav = put(&folder, "speech.wav", b"RIFF\x24\0\0\0WAVEfmt ");
    assert_refused(Model::read(&wav), &["speech.wav", "not a model file"]);
    let huge = folder.path().join("huge.safetensors");
    std::fs::File::create(&huge).unwrap().set_len(LARGEST_FILE_BYTES + 1).unwrap();
    assert_refused(Model::read(&huge), &["huge.safetensors", "268435456"]);
}

/// A wrong description, and what must be said of it.
type Wrong = (fn(&mut Description), &'static [&'static str]);

#[test]
fn descriptions_that_contradict_themselves_are_refused() {
    let cases: &[Wrong] = &[
        (|d| d.name = String::new(), &["`name`", "1 to 64"]),
        (|d| d.name = "a b".to_owned(), &["`name`", "`a b`"]),
        (|d| d.version = " ".to_owned(), &["`version`", "expected text"]),
        (|d| d.licence = "\u{1b}[2J".to_owned(), &["`licence`", "plain text", "\\u{1b}"]),
        (|d| d.source = "x".repeat(5000), &["`source`", "4096", "5000"]),
        (|d| d.sample_rate_hz = 999, &["`sample_rate_hz`", "1000 to 384000", "999"]),
        (|d| d.sample_rate_hz = 384_001, &["`sample_rate_hz`", "384001"]),
        (|d| d.window_len = 14, &["`window_len`", "16 to 8192", "14"]),
        (|d| d.window_len = 17, &["`window_len`", "even", "17"]),
        (|d| d.window_len = usize::MAX - 1, &["`window_len`"]),
        (|d| d.hop = 0, &["`hop`", "got hops of 0"]),
        (|d| d.hop = 3, &["`hop`", "window of 16", "got hops of 3"]),
        (|d| d.hop = 32, &["`hop`"]),
        (|d| d.level_dbfs = Some(f32::NAN), &["`level_dbfs`", "NaN"]),
        (|d| d.level_dbfs = Some(1.0), &["`level_dbfs`", "got 1"]),
        (|d| d.mask_floor_db = Some(0.5), &["`mask_floor_db`", "got 0.5"]),
        (|d| d.mask_floor_db = Some(f32::NEG_INFINITY), &["`mask_floor_db`", "-inf"]),
        (|d| d.parts.clear(), &["`parts`", "at least one"]),
        (|d| d.parts[0].layers.clear(), &["`first`", "at least one layer"]),
        (|d| d.parts[1].layers = vec![d.parts[1].layers[0].clone(); 65], &["`layers`", "at most 64", "got 70"]),
        (|d| d.parts[1].name = "first".to_owned(), &["`first`", "two parts or layers"]),
        (|d| d.parts[1].layers[0].name = "gru".to_owned(), &["`gru`", "two parts or layers"]),
        (|d| d.parts[0].layers[2].name = "a\nb".to_owned(), &["`name`", "a\\nb"]),
        (|d| d.parts[0].layers[0].inputs = 8, &["`norm`", "as many outputs as inputs, 8, got 9"]),
        (|d| d.parts[0].layers[2].inputs = 6, &["`lstm`", "expected 5 inputs", "got 6"]),
        (
            |d| d.parts[1].layers[0].inputs = 5,
            &["`last`", "expected 4 inputs", "the features of part `second`", "got 5"],
        ),
        (|d| d.parts[1].layers[0].outputs = 5, &["`second`", "expected its last layer to give 4", "got 5"]),
        (|d| d.parts[0].layers[2].outputs = 4097, &["`lstm`", "1 to 4096 outputs", "got 4097"]),
        (|d| d.parts[0].layers[3].outputs = 0, &["`gru`", "1 to 4096 outputs", "got 0"]),
        (|d| d.parts[1].layers[0].kind = LayerKind::Dense(Activation::Tanh), &["`second`", "sigmoid"]),
        (|d| d.parts[1].layers[0].kind = LayerKind::Gru, &["`second`", "dense with a sigmoid"]),
        (|d| d.parts[0].layers[0].kind = LayerKind::LayerNorm { epsilon: 0.0 }, &["`norm`", "`epsilon`", "got 0"]),
        (|d| d.parts[0].layers[0].kind = LayerKind::LayerNorm { epsilon: f32::NAN }, &["`norm`", "NaN"]),
        (|d| d.parts[1].basis = Basis::Learned { size: 0 }, &["`second`", "size", "got 0"]),
        (|d| d.parts[1].basis = Basis::Learned { size: usize::MAX }, &["`second`", "size"]),
        (
            |d| d.parts[0].basis = Basis::Spectrum(Feature::LogMagnitude { floor: 1e-40 }),
            &["`first`", "`floor`", "at least 1.1754944e-38, got 1e-40"],
        ),
        (
            |d| d.parts[0].basis = Basis::Spectrum(Feature::Log10Power { floor: 1.0, offset: 0.0, scale: 0.0 }),
            &["`first`", "`scale`", "not 0"],
        ),
        (
            |d| {
                let offset = f32::INFINITY;
                d.parts[0].basis = Basis::Spectrum(Feature::Log10Power { floor: 1.0, offset, scale: 1.0 });
            },
            &["`first`", "`offset`", "inf"],
        ),
    ];
    for (spoil, parts) in cases {
        let mut description = small_description();
        spoil(&mut description);
        assert_refused(Model::new(description, BTreeMap::new()), parts);
    }
}

#[test]
fn the_largest_window_may_have_all_its_bins() {
    let mut description = small_description();
    (description.window_len, description.hop) = (8192, 4096);
    description.parts.truncate(1);
    description.parts[0].layers = vec![layer("mask", 4097, 4097, LayerKind::Dense(Activation::Sigmoid))];
    assert_refused(Model::new(description, BTreeMap::new()), &["`mask.weights`", "missing"]);
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let description = small_description;
    let cases: [(&str, Option<Tensor>, &[&str]); 8] = [
        ("lstm.bias", None, &["`lstm.bias`", "missing"]),
        ("second.encoder", None, &["`second.encoder`", "missing"]),
        ("hidden.scale", None, &["`hidden.scale`", "missing"]),
        (
            "gru.input_weights",
            Some(Tensor { shape: vec![3, 6], values: vec![0.0; 18].into() }),
            &["`gru.input_weights`", "expected shape [6, 3]", "got [3, 6]"],
        ),
        (
            "norm.gain",
            Some(Tensor { shape: vec![9], values: vec![0.0; 8].into() }),
            &["`norm.gain`", "expected 9 values", "got 8"],
        ),
        (
            "norm.bias",
            Some(Tensor { shape: vec![9], values: vec![f32::NAN; 9].into() }),
            &["`norm.bias`", "got NaN at 0"],
        ),
        (
            "norm.bias",
            Some(Tensor { shape: vec![9], values: vec![2.0 * LARGEST_WEIGHT; 9].into() }),
            &["`norm.bias`", "65504", "131008"],
        ),
        (
            "lstm.scale",
            Some(Tensor { shape: vec![3], values: vec![1.0; 3].into() }),
            &["`lstm.scale`", "no such tensor"],
        ),
    ];
    for (name, replacement, parts) in cases {
        let mut tensors = tensors_for(&description());
        match replacement {
            Some(tensor) => tensors.insert(name.to_owned(), tensor),
            None => tensors.remove(name),
        };
        assert_refused(Model::new(description(), tensors), parts);
    }
}

/// A file whose header was changed as text.
fn with_header(change: impl FnOnce(String) -> String) -> Vec<u8> {
    let (header, data) = taken_apart(&small_model().to_bytes(StoredAs::F32));
    put_together(&change(header.to_string()), &data)
}

/// A file whose header was changed as JSON.
fn with_json(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    with_header(|text| {
        let mut header = serde_json::from_str(&text).unwrap();
        change(&mut header);
        header.to_string()
    })
}

/// A file whose description was changed as text.
fn with_description(change: impl FnOnce(String) -> String) -> Vec<u8> {
    with_json(|header| {
        let description = &mut header["__metadata__"]["auricle"];
        *description = change(description.as_str().unwrap().to_owned()).into();
    })
}

#[test]
fn headers_that_cannot_be_trusted_are_refused() {
    let good = small_model().to_bytes(StoredAs::F32);
    let end = taken_apart(&good).1.len();
    let with_prefix = |len: u64| [&len.to_le_bytes(), &good[8..]].concat();
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (with_prefix(u64::MAX), &["header of at most 4194304 bytes", "18446744073709551615"]),
        (with_prefix(4_000_000), &["4000000 bytes of header", "cut short"]),
        (with_prefix(0), &["begin with `{`"]),
        (with_prefix(17), &["its header", "EOF"]),
        ([good.as_slice(), b"x"].concat(), &["bytes of tensors, got 1 more"]),
        (good[..good.len() - 1].to_vec(), &["bytes of tensors", "cut short"]),
        (with_header(|text| format!(" {text}")), &["begin with `{`"]),
        (with_header(|text| text.replacen("norm.gain", "norm.bias", 1)), &["`norm.bias` appears twice"]),
        (
            with_header(|text| text.replacen("\"__metadata__\"", "\"__metadata__\":{},\"__metadata__\"", 1)),
            &["`__metadata__` appears twice"],
        ),
        (
            with_header(|text| text.replacen("{\"auricle_format\"", "{\"auricle_format\":\"2\",\"auricle_format\"", 1)),
            &["`auricle_format` appears twice"],
        ),
        (
            with_header(|text| text.replacen("\"dtype\"", "\"dtype\":\"F16\",\"dtype\"", 1)),
            &["duplicate field", "dtype"],
        ),
        (with_json(|h| h["norm.gain"]["stride"] = json!(1)), &["unknown field `stride`"]),
        (with_json(|h| h["norm.gain"]["shape"] = json!([9.5])), &["its header", "9.5"]),
        (with_json(|h| h["norm.gain"]["shape"] = json!([-9])), &["its header", "-9"]),
        (with_json(|h| h["norm.gain"]["dtype"] = json!("BF16")), &["`norm.gain`", "F32 or F16", "`BF16`"]),
        (with_json(|h| h["norm.gain"]["shape"] = json!([10])), &["`norm.gain`", "expected 40 bytes for shape [10]"]),
        (with_json(|h| h["norm.gain"]["shape"] = json!([u64::MAX, 2])), &["`norm.gain`", "more than memory"]),
        (with_json(|h| h["norm.gain"]["data_offsets"] = json!([36, 0])), &["`norm."]),
        (with_json(|h| h["norm.bias"]["data_offsets"] = json!([0, 36])), &["begin where the one before ends", "got 0"]),
        (with_json(|h| h["last.bias"]["data_offsets"] = json!([end - 8, end + 8])), &["`last.bias`", "begin where"]),
        (with_json(|h| h["norm.gain"]["shape"] = json!([3, 3])), &["`norm.gain`", "expected shape [9], got [3, 3]"]),
        (with_json(|h| h["__metadata__"] = json!({})), &["no format version", "auricle_format"]),
        (with_json(|h| h["__metadata__"]["auricle"] = json!({})), &["its header", "expected a string"]),
        (with_json(|h| h["__metadata__"]["auricle_format"] = json!("2")), &["version is 2", "update auricle"]),
        (with_json(|h| h["__metadata__"]["auricle_format"] = json!("one")), &["format version 1", "`one`"]),
        (with_json(|h| h["__metadata__"]["auricle_extra"] = json!("")), &["unknown key `auricle_extra`"]),
        (put_together("{\"__metadata__\":{\"auricle_format\":\"1\"}}", &[]), &["no description"]),
        (put_together("[]", &[]), &["begin with `{`"]),
        (put_together("{}", &[]), &["format version"]),
        (put_together(&"{\"a\":".repeat(100_000), &[]), &["its header"]),
        (with_description(|text| text[..text.len() / 2].to_owned()), &["`auricle`", "EOF"]),
        (with_description(|text| text.replacen("\"hop\"", "\"hop\":8,\"hop\"", 1)), &["duplicate field `hop`"]),
        (with_description(|text| text.replacen("\"hop\":8,", "", 1)), &["missing field `hop`"]),
        (with_description(|text| text.replacen("\"hop\"", "\"colour\":1,\"hop\"", 1)), &["unknown field `colour`"]),
        (with_description(|text| text.replacen("\"hop\":8", "\"hop\":-8", 1)), &["`auricle`", "-8"]),
        (with_description(|text| text.replacen("\"hop\":8", "\"hop\":1e300", 1)), &["`auricle`", "1e+300"]),
        (with_description(|text| text.replacen("-25.0", "-1e39", 1)), &["`auricle`", "number out of range"]),
        (
            with_description(|text| text.replacen("\"lstm\",\"inputs\"", "\"conv\",\"inputs\"", 1)),
            &["`conv.", "missing"],
        ),
        (
            with_description(|text| text.replacen("\"kind\":\"lstm\"", "\"kind\":\"conv\"", 1)),
            &["unknown variant `conv`"],
        ),
        (with_description(|text| text.replacen("\"relu\"", "\"gelu\"", 1)), &["unknown variant `gelu`"]),
        (with_description(|text| text.replacen("\"epsilon\"", "\"eps\":1,\"epsilon\"", 1)), &["unknown field `eps`"]),
        (with_description(|text| text.replacen("\"size\":4", "\"size\":4,\"size\":4", 1)), &["duplicate field `size`"]),
        (with_description(|text| text.replacen("\"sqrt_hann\"", "\"kaiser\"", 1)), &["unknown variant `kaiser`"]),
        (with_description(|text| text + "x"), &["`auricle`", "trailing"]),
        (with_description(|text| text.replacen("\"hop\"", "\"\\u001b[2J\\n\"", 1)), &["unknown field", "\\u{1b}"]),
    ];
    for (bytes, parts) in cases {
        assert_refused(Model::from_bytes(&bytes), parts);
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused_in_a_file_too() {
    for (stored_as, infinity) in [(StoredAs::F32, &f32::INFINITY.to_le_bytes()[..]), (StoredAs::F16, &[0, 0x7c])] {
        let mut bytes = small_model().to_bytes(stored_as);
        let end = bytes.len();
        bytes[end - infinity.len()..].copy_from_slice(infinity);
        assert_refused(Model::from_bytes(&bytes), &["`last.bias`", "got inf at 3"]);
    }
}

#[test]
fn other_keys_of_other_programs_are_left_alone() {
    let bytes = with_json(|header| header["__metadata__"]["format"] = json!("pt"));
    assert_eq!(Model::from_bytes(&bytes).unwrap(), small_model());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = small_model().to_bytes(StoredAs::F32);
    for len in (0..bytes.len()).filter(|len| len % 97 == 0 || *len < 400 || bytes.len() - len < 100) {
        message(Model::from_bytes(&bytes[..len]));
    }
}

#[test]
fn a_flipped_bit_in_the_header_is_refused_or_harmless() {
    let bytes = small_model().to_bytes(StoredAs::F32);
    let header_end = bytes.len() - taken_apart(&bytes).1.len();
    for place in 0..header_end {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            // In a name, a text or a number it may make another good model.
            if let Ok(model) = Model::from_bytes(&flipped) {
                assert_eq!(model.tensors().count(), small_model().tensors().count());
            }
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["F32", "dtype", "shape", "data_offsets", "auricle", "lstm", "parts"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let key = prop_oneof![".{0,6}", "dtype|shape|data_offsets|__metadata__|auricle|auricle_format|parts|hop"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6).prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

/// All leaves and branches of a JSON value, by their paths.
fn pointers(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| pointers(item, &format!("{here}/{n}"), found));
        }
        Value::Object(entries) => {
            entries.iter().for_each(|(key, item)| pointers(item, &format!("{here}/{key}"), found));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..Config::default() })]

    #[test]
    fn random_json_is_no_model(header in any_json(), data in prop::collection::vec(any::<u8>(), 0..64)) {
        message(Model::from_bytes(&put_together(&header.to_string(), &data)));
    }

    #[test]
    fn random_bytes_are_no_model(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        message(Model::from_bytes(&bytes));
    }

    #[test]
    fn a_description_with_anything_anywhere_is_refused_or_a_model(place in any::<prop::sample::Index>(), new in any_json()) {
        let bytes = with_description(|text| {
            let mut description = serde_json::from_str(&text).unwrap();
            let mut places = Vec::new();
            pointers(&description, "", &mut places);
            if let Some(old) = description.pointer_mut(place.get::<String>(&places)) {
                *old = new;
            }
            description.to_string()
        });
        if let Err(error) = Model::from_bytes(&bytes) {
            assert!(!error.to_string().contains('\n'), "one line: {error:?}");
        }
    }
}

#[test]
fn what_a_model_costs() {
    let description = small_description();
    let tensors = tensors_for(&description);
    let numbers: usize = tensors.values().map(|tensor| tensor.values.len()).sum();
    assert_eq!(description.parameters(), numbers as u64);
    // dense 9 x 5, LSTM 4 x 3 x (5 + 3), GRU 3 x 2 x (3 + 2), dense 2 x 9; encoder and decoder 4 x 16, dense 4 x 4.
    let window = 45 + 96 + 30 + 18 + 2 * 64 + 16;
    assert_eq!(description.multiply_adds(), window);
    assert_eq!(description.multiply_adds_per_s(), window as f64 * 2000.0);
    assert_eq!(description.latency(), std::time::Duration::from_millis(1));
}
