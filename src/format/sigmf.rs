//! SigMF pairs: JSON metadata in `.sigmf-meta`, bare samples in `.sigmf-data`.
//!
//! The metadata stays one `serde_json::Value`, so that keys nobody here has heard of come out as
//! they went in. The crate `sigmf` 0.1 reads a fixed list of keys and drops all others, hence not.
//! Metadata that is written differs from what was read only in what would otherwise be wrong (data
//! type, lengths, checksum) and in what Auricle adds: an annotation over the whole recording, and
//! its settings under `auricle:settings`.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{
    ByteOrder, Container, Encoding, MAX_CHANNELS, Opened, SampleFormat, SignalSpec, Template, bytes::ByteInput,
    bytes::read_error,
};
use crate::format::FileError;
use crate::frame::Domain;

const META: &str = "sigmf-meta";
const DATA: &str = "sigmf-data";
/// Above any real metadata; a recording renamed by mistake shall not fill the memory.
const META_LIMIT_BYTES: u64 = 256 << 20;
const GENERATOR: &str = concat!("auricle ", env!("CARGO_PKG_VERSION"));

/// The two files of one recording: metadata, data.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) meta: PathBuf,
    pub(crate) data: PathBuf,
}

impl Pair {
    /// From either file's name or from the base name.
    pub(crate) fn of(path: &Path) -> Self {
        let is_half = matches!(super::raw::extension(path).as_str(), META | DATA);
        let named = |extension: &str| {
            let mut name = if is_half { path.with_extension("") } else { path.to_owned() }.into_os_string();
            name.push(".");
            name.push(extension);
            PathBuf::from(name)
        };
        Self { meta: named(META), data: named(DATA) }
    }
}

/// Opens the recording that `path` belongs to; the input returned stands at the first sample.
pub(crate) fn open(path: &Path) -> Result<(ByteInput, Opened), FileError> {
    let pair = Pair::of(path);
    let metadata = read_metadata(path, &pair)?;
    let meta = Meta { path: &pair.meta, global: global_of(&pair.meta, &metadata)? };
    let data = meta.data_path(&pair)?;
    if !data.exists() {
        return Err(half_missing(&pair.meta, &data));
    }
    let spec = SignalSpec {
        container: Container::SigMf,
        format: meta.format()?,
        sample_rate_hz: meta.sample_rate_hz()?,
        channels: meta.channels()?,
    };
    let mut input = ByteInput::open(&data)?;
    let mut warnings = Vec::new();
    input.skip(meta.header_bytes(&metadata)?)?;
    let trailing = meta.global.get("core:trailing_bytes").and_then(Value::as_u64);
    let data_bytes = input.remaining().map(|left| left.saturating_sub(trailing.unwrap_or(0)));
    if let Some(bytes) = data_bytes {
        let samples = bytes / spec.bytes_per_sample_time() as u64;
        warnings.extend(warning_if_short(&pair, &metadata, meta.offset(), samples));
    }
    let template = Template { inputs: vec![pair.meta.clone(), data], metadata: Some(metadata), ..Template::new(spec) };
    Ok((input, Opened { template, data_bytes, warnings }))
}

fn read_metadata(path: &Path, pair: &Pair) -> Result<Value, FileError> {
    let file = File::open(&pair.meta).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound if pair.data.exists() => half_missing(&pair.data, &pair.meta),
        io::ErrorKind::NotFound => read_error(path, cause),
        _ => read_error(&pair.meta, cause),
    })?;
    let mut bytes = Vec::new();
    let read = file.take(META_LIMIT_BYTES).read_to_end(&mut bytes);
    read.map_err(|cause| read_error(&pair.meta, cause))?;
    let json = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    serde_json::from_slice(json).map_err(|cause| bad(&pair.meta, "JSON", &format!("a mistake in it: {cause}")))
}

fn global_of<'a>(path: &Path, metadata: &'a Value) -> Result<&'a Map<String, Value>, FileError> {
    metadata.get("global").and_then(Value::as_object).ok_or_else(|| bad(path, "an object called `global`", "none"))
}

/// The `global` object, with the file's name for messages.
struct Meta<'a> {
    path: &'a Path,
    global: &'a Map<String, Value>,
}

impl Meta<'_> {
    fn format(&self) -> Result<SampleFormat, FileError> {
        let name = self.global.get("core:datatype").unwrap_or(&Value::Null);
        name.as_str().and_then(format_from_datatype).ok_or_else(|| {
            let expected = "a `core:datatype` such as cf32_le, ci16_le, cu8 or rf32_le";
            bad(self.path, expected, &name.to_string())
        })
    }

    fn sample_rate_hz(&self) -> Result<Option<f64>, FileError> {
        let Some(rate) = self.global.get("core:sample_rate") else {
            return Ok(None);
        };
        match rate.as_f64() {
            Some(rate_hz) if rate_hz > 0.0 && rate_hz.is_finite() => Ok(Some(rate_hz)),
            _ => {
                let expected = "a `core:sample_rate` above 0";
                Err(bad(self.path, expected, &rate.to_string()))
            }
        }
    }

    fn channels(&self) -> Result<usize, FileError> {
        let Some(channels) = self.global.get("core:num_channels") else {
            return Ok(1);
        };
        let count = channels.as_u64().and_then(|count| usize::try_from(count).ok());
        count.filter(|count| (1..=MAX_CHANNELS).contains(count)).ok_or_else(|| {
            let expected = format!("a `core:num_channels` from 1 to {MAX_CHANNELS}");
            bad(self.path, &expected, &channels.to_string())
        })
    }

    /// The index that the first sample has in captures and annotations.
    fn offset(&self) -> u64 {
        let offset = self.global.get("core:offset").and_then(Value::as_u64);
        offset.unwrap_or(0)
    }

    /// The data file; `core:dataset` names one that is called otherwise, in the same folder.
    fn data_path(&self, pair: &Pair) -> Result<PathBuf, FileError> {
        if self.global.get("core:metadata_only") == Some(&Value::Bool(true)) {
            return Err(half_missing(&pair.meta, &pair.data));
        }
        let Some(name) = self.global.get("core:dataset") else {
            return Ok(pair.data.clone());
        };
        let bare = name.as_str().filter(|name| Path::new(name).file_name() == Some(name.as_ref()));
        let expected = "a file name without folders as `core:dataset`";
        let bare = bare.ok_or_else(|| bad(self.path, expected, &name.to_string()))?;
        Ok(pair.meta.with_file_name(bare))
    }

    /// Foreign bytes in front of the first sample. Elsewhere they would end up as noise.
    fn header_bytes(&self, metadata: &Value) -> Result<u64, FileError> {
        let held = |capture: &Value| {
            let bytes = capture.get("core:header_bytes").and_then(Value::as_u64);
            bytes.unwrap_or(0)
        };
        let captures = metadata.get("captures").and_then(Value::as_array);
        let captures = captures.map_or(&[][..], Vec::as_slice);
        if captures.iter().skip(1).any(|capture| held(capture) > 0) {
            let expected = "`core:header_bytes` in the first capture only";
            return Err(bad(self.path, expected, "some in a later one"));
        }
        Ok(captures.first().map_or(0, held))
    }
}

/// Samples carry no length of their own, but captures and annotations reach as far as they did.
fn warning_if_short(pair: &Pair, metadata: &Value, offset: u64, samples: u64) -> Option<String> {
    let reach = ["captures", "annotations"]
        .iter()
        .filter_map(|list| metadata.get(list)?.as_array())
        .flatten()
        .map(|item| {
            let number = |key| item.get(key).and_then(Value::as_u64).unwrap_or(0);
            number("core:sample_start").saturating_add(number("core:sample_count"))
        })
        .max()
        .unwrap_or(0)
        .saturating_sub(offset);
    (reach > samples).then(|| {
        let path = pair.data.display();
        format!("`{path}`: the metadata speaks of {reach} samples, the data holds {samples}; reading what is there")
    })
}

/// The metadata of an output: what came in, corrected and completed.
pub(crate) fn output_metadata(
    template: &Template,
    spec: &SignalSpec,
    samples: u64,
    sha512: &str,
    settings: Option<&Value>,
) -> Value {
    let carried = template.metadata.clone().filter(Value::is_object);
    let mut metadata = carried.unwrap_or_else(|| json!({}));
    let global = object_in(&mut metadata, "global");
    for stale in ["core:dataset", "core:trailing_bytes", "core:metadata_only"] {
        global.shift_remove(stale);
    }
    global.insert("core:datatype".into(), datatype_of(spec.format).into());
    if global.get("core:sample_rate").and_then(Value::as_f64) != spec.sample_rate_hz {
        global.insert("core:sample_rate".into(), spec.sample_rate_hz.into());
    }
    if spec.channels > 1 || global.contains_key("core:num_channels") {
        global.insert("core:num_channels".into(), spec.channels.into());
    }
    global.entry("core:version").or_insert_with(|| "1.2.0".into());
    global.insert("core:sha512".into(), sha512.into());
    if let Some(settings) = settings {
        global.insert("auricle:settings".into(), settings.clone());
        declare_extension(global);
    }
    let offset = global.get("core:offset").and_then(Value::as_u64).unwrap_or(0);

    let captures = array_in(&mut metadata, "captures");
    if captures.is_empty() {
        captures.push(json!({ "core:sample_start": offset }));
    }
    for capture in captures.iter_mut().filter_map(Value::as_object_mut) {
        capture.shift_remove("core:header_bytes");
    }
    // First, since annotations are sorted by where they start.
    array_in(&mut metadata, "annotations").insert(
        0,
        json!({
            "core:sample_start": offset,
            "core:sample_count": samples,
            "core:generator": GENERATOR,
            "core:comment": "cleaned by Auricle; `auricle:settings` in `global` says how",
        }),
    );
    metadata
}

fn declare_extension(global: &mut Map<String, Value>) {
    let ours = json!({ "name": "auricle", "version": env!("CARGO_PKG_VERSION"), "optional": true });
    let extensions = global.entry("core:extensions").or_insert_with(|| json!([]));
    if let Some(list) = extensions.as_array_mut() {
        list.retain(|extension| extension.get("name") != ours.get("name"));
        list.push(ours);
    }
}

/// The object called `key`, put there first if it is missing or something else.
fn object_in<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !value[key].is_object() {
        value[key] = json!({});
    }
    match &mut value[key] {
        Value::Object(object) => object,
        _ => unreachable!("an object was put there"),
    }
}

/// The array called `key`, put there first if it is missing or something else.
fn array_in<'a>(value: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    if !value[key].is_array() {
        value[key] = json!([]);
    }
    match &mut value[key] {
        Value::Array(array) => array,
        _ => unreachable!("an array was put there"),
    }
}

/// What a `core:datatype` such as `ci16_le` means; one byte has no order, and may state one anyway.
fn format_from_datatype(name: &str) -> Option<SampleFormat> {
    let (name, byte_order) = match name.split_once('_') {
        Some((name, "le")) => (name, ByteOrder::Little),
        Some((name, "be")) => (name, ByteOrder::Big),
        None if name.ends_with('8') => (name, ByteOrder::Little),
        _ => return None,
    };
    let (domain, kind) = match name.split_at_checked(1)? {
        ("r", kind) => (Domain::Real, kind),
        ("c", kind) => (Domain::Complex, kind),
        _ => return None,
    };
    let encoding = match (kind, domain) {
        ("u8", Domain::Real) => Encoding::U8,
        ("u8", Domain::Complex) => Encoding::U8Centred,
        ("i8", _) => Encoding::I8,
        ("u16", _) => Encoding::U16,
        ("i16", _) => Encoding::I16,
        ("u32", _) => Encoding::U32,
        ("i32", _) => Encoding::I32,
        ("f32", _) => Encoding::F32,
        ("f64", _) => Encoding::F64,
        _ => return None,
    };
    Some(SampleFormat { encoding, domain, byte_order })
}

/// The `core:datatype` of `format`, which [`writable_format`] has made one that has a name.
fn datatype_of(format: SampleFormat) -> String {
    let domain = match format.domain {
        Domain::Real => "r",
        Domain::Complex => "c",
    };
    let order = match (format.encoding.bytes(), format.byte_order) {
        (1, _) => "",
        (_, ByteOrder::Little) => "_le",
        (_, ByteOrder::Big) => "_be",
    };
    let kind = match format.encoding {
        Encoding::U8 | Encoding::U8Centred => "u8",
        Encoding::I8 => "i8",
        Encoding::U16 => "u16",
        Encoding::I16 => "i16",
        Encoding::U32 => "u32",
        Encoding::I24 | Encoding::I32 => "i32",
        Encoding::F32 => "f32",
        Encoding::F64 => "f64",
    };
    format!("{domain}{kind}{order}")
}

/// `format`, or the next wider one where SigMF has no name for it.
pub(crate) fn writable_format(mut format: SampleFormat) -> SampleFormat {
    format.encoding = match (format.encoding, format.domain) {
        (Encoding::I24, _) => Encoding::I32,
        (Encoding::U8, Domain::Complex) => Encoding::I8,
        (Encoding::U8Centred, Domain::Real) => Encoding::F32,
        (encoding, _) => encoding,
    };
    if format.encoding.bytes() == 1 {
        format.byte_order = ByteOrder::Little;
    }
    format
}

fn half_missing(path: &Path, missing: &Path) -> FileError {
    FileError::SigMfHalfMissing { path: path.to_owned(), missing: missing.to_owned() }
}

fn bad(path: &Path, expected: &str, actual: &str) -> FileError {
    FileError::BadSigMf { path: path.to_owned(), expected: expected.to_owned(), actual: actual.to_owned() }
}
