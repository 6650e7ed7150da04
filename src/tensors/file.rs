//! Files of tensors: safetensors, with a description as JSON text in the metadata.
//!
//! ```text
//! 8 bytes  length of the header, little-endian
//! header   {"__metadata__": {"auricle_format": "1", "<key>": "<description>"},
//!           "<tensor>": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ..}, padded with spaces
//! data     the tensors, row-major, little-endian, each where its offsets say
//! ```
//!
//! The reader is our own, since the `safetensors` crate lets the last of two equal keys win, ignores fields that it
//! does not know, and names neither the tensor nor the sizes when those disagree. It reads what we write, and we what
//! it writes: a test keeps that so. Nothing is allocated from a size in the file before that size is known to be there.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use half::f16;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::{ModelError, Tensor, quotable};

/// The newest layout that is read, and the one that is written.
pub const FORMAT_VERSION: u32 = 1;

/// The largest file that is read.
pub const LARGEST_FILE_BYTES: u64 = 256 << 20;

/// The largest header: a hundred times what 64 layers need.
const LARGEST_HEADER_BYTES: usize = 4 << 20;

/// Bytes in front of the header.
const PREFIX_BYTES: usize = 8;

/// Of the metadata.
const FORMAT_KEY: &str = "auricle_format";

/// How weights are kept in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredAs {
    /// 32-bit floats: every bit of them.
    #[default]
    F32,
    /// 16-bit floats, half the size: rounded to 11 significant bits.
    F16,
}

impl StoredAs {
    /// Bytes of one weight.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::F32, Self::F16].into_iter().find(|stored_as| stored_as.name() == name)
    }

    fn append(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F16 => bytes.extend(values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes())),
        }
    }

    fn read(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect(),
            Self::F16 => bytes.as_chunks().0.iter().map(|&two| f16::from_le_bytes(two).to_f32()).collect(),
        }
    }
}

/// The text of the description under `key`, and the tensors, of which it is known that they are in the file.
pub(crate) fn read_tensors(bytes: &[u8], key: &str) -> Result<(String, BTreeMap<String, Tensor>), ModelError> {
    let (header, data) = split(bytes)?;
    let description = header.description(key)?;
    header.check_offsets(data.len())?;
    let tensors = header.tensors.iter().map(|(name, place)| Ok((name.clone(), place.read(name, data)?)));
    Ok((description, tensors.collect::<Result<_, ModelError>>()?))
}

/// What the text of a description says.
pub(crate) fn described<T: serde::de::DeserializeOwned>(key: &str, description: &str) -> Result<T, ModelError> {
    serde_json::from_str(description).map_err(|error| ModelError::description(key, quotable(&error.to_string())))
}

/// The bytes of a file with this description and these tensors, in their order.
pub(crate) fn write_tensors(
    key: &str,
    description: &str,
    tensors: &[(String, &Tensor)],
    stored_as: StoredAs,
) -> Vec<u8> {
    let metadata = serde_json::json!({ FORMAT_KEY: FORMAT_VERSION.to_string(), key: description });
    let mut entries = serde_json::Map::from_iter([("__metadata__".to_owned(), metadata)]);
    let mut numbers = 0;
    for (name, tensor) in tensors {
        let begin = numbers * stored_as.bytes();
        numbers += tensor.values.len();
        let end = numbers * stored_as.bytes();
        let place =
            serde_json::json!({ "dtype": stored_as.name(), "shape": tensor.shape, "data_offsets": [begin, end] });
        entries.insert(name.clone(), place);
    }
    let mut header = serde_json::Value::from(entries).to_string();
    let padded = header.len().next_multiple_of(PREFIX_BYTES);
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + header.len() + numbers * stored_as.bytes());
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    for (_, tensor) in tensors {
        stored_as.append(&tensor.values, &mut bytes);
    }
    bytes
}

/// How the weights of a file are kept, each kind once.
#[cfg(feature = "cli")]
pub(crate) fn kinds_stored(bytes: &[u8]) -> Result<Vec<String>, ModelError> {
    let (header, _) = split(bytes)?;
    let kinds: std::collections::BTreeSet<_> = header.tensors.into_values().map(|place| place.dtype).collect();
    Ok(kinds.into_iter().collect())
}

pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, ModelError> {
    let failed = |cause| ModelError::Read { path: path.to_owned(), cause };
    let too_large = || {
        let problem = format!("it has more than {LARGEST_FILE_BYTES} bytes, the most that is read");
        ModelError::layout(problem).in_file(path)
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > LARGEST_FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST_FILE_BYTES { Err(too_large()) } else { Ok(bytes) }
}

fn split(bytes: &[u8]) -> Result<(Header, &[u8]), ModelError> {
    let (prefix, rest) = bytes
        .split_first_chunk::<PREFIX_BYTES>()
        .ok_or_else(|| ModelError::layout(format!("expected at least {PREFIX_BYTES} bytes, got {}", bytes.len())))?;
    let announced = u64::from_le_bytes(*prefix);
    let len = usize::try_from(announced).ok().filter(|&len| len <= LARGEST_HEADER_BYTES).ok_or_else(|| {
        let problem = format!("expected a header of at most {LARGEST_HEADER_BYTES} bytes, got {announced}");
        ModelError::layout(problem + ": it is no safetensors file")
    })?;
    let (header, data) = rest.split_at_checked(len).ok_or_else(|| {
        ModelError::layout(format!("expected {len} bytes of header, got {}: it is cut short", rest.len()))
    })?;
    if header.first() != Some(&b'{') {
        return Err(ModelError::layout("expected the header to begin with `{`: it is no safetensors file"));
    }
    let header = serde_json::from_slice(header)
        .map_err(|error| ModelError::layout(format!("its header: {}", quotable(&error.to_string()))))?;
    Ok((header, data))
}

/// What stands in front of the tensors.
#[derive(Debug, Default)]
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Place>,
}

/// What a tensor is, and where it lies in the data.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl Header {
    fn description(&self, description_key: &str) -> Result<String, ModelError> {
        let text = |key: &str| self.metadata.get(key);
        let foreign = "it is a safetensors file, but its metadata has no";
        let version =
            text(FORMAT_KEY).ok_or_else(|| ModelError::layout(format!("{foreign} format version, `{FORMAT_KEY}`")))?;
        check_version(version)?;
        let unknown = |key: &&String| key.starts_with("auricle") && *key != FORMAT_KEY && *key != description_key;
        if let Some(key) = self.metadata.keys().find(unknown) {
            return Err(ModelError::layout(format!("its metadata has the unknown key `{}`", quotable(key))));
        }
        text(description_key)
            .cloned()
            .ok_or_else(|| ModelError::layout(format!("{foreign} description, `{description_key}`")))
    }

    /// Tensors follow one another from the first byte of the data to the last, in any order.
    fn check_offsets(&self, data_len: usize) -> Result<(), ModelError> {
        let mut places: Vec<_> = self.tensors.iter().collect();
        places.sort_by_key(|(_, place)| place.data_offsets);
        let mut end = 0;
        for (name, place) in places {
            if place.data_offsets.0 != end {
                let begin = place.data_offsets.0;
                let problem = format!("expected its data to begin where the one before ends, at {end}, got {begin}");
                return Err(ModelError::tensor(name, problem));
            }
            end = place.check_end(name)?;
        }
        match data_len.checked_sub(end) {
            Some(0) => Ok(()),
            Some(more) => Err(ModelError::layout(format!("expected {end} bytes of tensors, got {more} more"))),
            None => {
                let problem = format!("expected {end} bytes of tensors, got {data_len}: it is cut short");
                Err(ModelError::layout(problem))
            }
        }
    }
}

fn check_version(text: &str) -> Result<(), ModelError> {
    match text.parse() {
        Ok(FORMAT_VERSION) => Ok(()),
        Ok(version) if version > FORMAT_VERSION => Err(ModelError::layout(format!(
            "its format version is {version}, and {FORMAT_VERSION} is the newest that is known here; \
             update auricle, or write the file again for version {FORMAT_VERSION}"
        ))),
        _ => {
            let problem = format!("expected the format version {FORMAT_VERSION}, got `{}`", quotable(text));
            Err(ModelError::layout(problem))
        }
    }
}

impl Place {
    fn stored_as(&self, name: &str) -> Result<StoredAs, ModelError> {
        StoredAs::from_name(&self.dtype).ok_or_else(|| {
            ModelError::tensor(name, format!("expected dtype F32 or F16, got `{}`", quotable(&self.dtype)))
        })
    }

    /// Where the data ends, when its length is that of the shape.
    fn check_end(&self, name: &str) -> Result<usize, ModelError> {
        let (begin, end) = self.data_offsets;
        let each = self.stored_as(name)?.bytes();
        let expected = self.shape.iter().try_fold(each, |bytes, &len| bytes.checked_mul(len));
        let actual = end.checked_sub(begin);
        if expected.is_some() && expected == actual {
            return Ok(end);
        }
        let expected = expected.map_or_else(|| "more than memory can hold".to_owned(), |bytes| bytes.to_string());
        let shape = quotable(&format!("{:?}", self.shape));
        let problem = format!("expected {expected} bytes for shape {shape}, got offsets {begin} to {end}");
        Err(ModelError::tensor(name, problem))
    }

    fn read(&self, name: &str, data: &[u8]) -> Result<Tensor, ModelError> {
        let (begin, end) = self.data_offsets;
        let bytes = data.get(begin..end).ok_or_else(|| ModelError::tensor(name, "its data is not in the file"))?;
        Ok(Tensor { shape: self.shape.clone(), values: self.stored_as(name)?.read(bytes).into() })
    }
}

/// A JSON object, each key of which may appear once; `read` takes the value of each.
fn unique_keys<'de, A: MapAccess<'de>>(
    mut map: A,
    mut read: impl FnMut(String, &mut A) -> Result<bool, A::Error>,
) -> Result<(), A::Error> {
    while let Some(key) = map.next_key::<String>()? {
        let name = quotable(&key);
        if !read(key, &mut map)? {
            return Err(A::Error::custom(format_args!("the key `{name}` appears twice")));
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with `__metadata__` and tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                let mut metadata = None;
                unique_keys(map, |key, map| {
                    Ok(if key == "__metadata__" {
                        metadata.replace(map.next_value::<Metadata>()?.0).is_none()
                    } else {
                        header.tensors.insert(key, map.next_value()?).is_none()
                    })
                })?;
                header.metadata = metadata.unwrap_or_default();
                Ok(header)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Metadata;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Metadata, A::Error> {
                let mut texts = BTreeMap::new();
                unique_keys(map, |key, map| Ok(texts.insert(key, map.next_value()?).is_none()))?;
                Ok(Metadata(texts))
            }
        }

        deserializer.deserialize_map(Texts)
    }
}
