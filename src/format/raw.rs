//! Raw files: bare little-endian samples, told apart by a name alone.
//!
//! The name is given with `--format` or is the file's extension. Both lists stand here, so that a
//! name means the same in either place.

use std::{fmt, path::Path, str::FromStr};

use super::{ByteOrder, Encoding, SampleFormat};
use crate::format::FileError;

/// Each format's name, then the other names it goes by. `u8` is audio around 128 and `cu8` is IQ
/// around 127.5: that is what the programs that write them mean.
const NAMES: [(SampleFormat, &[&str]); 7] = [
    (SampleFormat::F32, &["f32", "f32le", "rf32"]),
    (SampleFormat::S16, &["s16", "s16le", "i16", "ri16"]),
    (SampleFormat::real(Encoding::U8), &["u8"]),
    (SampleFormat::CF32, &["cf32", "cfile", "fc32", "complex", "complex64"]),
    (SampleFormat::CS16, &["cs16", "sc16", "ci16"]),
    (SampleFormat::complex(Encoding::I8), &["cs8", "sc8", "ci8"]),
    (SampleFormat::CU8, &["cu8", "uc8"]),
];

/// The names to offer in a message.
pub(crate) fn names() -> String {
    NAMES.map(|(_, names)| names[0]).join(", ")
}

/// The extension of `path` in lower case; empty when there is none.
pub(crate) fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// The format that `name` stands for, as `--format` or as an extension.
pub(crate) fn format_from_name(name: &str) -> Option<SampleFormat> {
    let name = name.to_ascii_lowercase();
    NAMES.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(format, _)| *format)
}

impl FromStr for SampleFormat {
    type Err = FileError;

    /// Reads a name such as `cf32`, upper or lower case.
    fn from_str(name: &str) -> Result<Self, FileError> {
        format_from_name(name).ok_or_else(|| FileError::SampleFormatUnknown { name: name.to_owned(), formats: names() })
    }
}

impl fmt::Display for SampleFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = ["", "c"][self.values_per_sample() - 1];
        let encoding = match self.encoding {
            Encoding::U8 | Encoding::U8Centred => "u8",
            Encoding::I8 => "s8",
            Encoding::U16 => "u16",
            Encoding::I16 => "s16",
            Encoding::I24 => "s24",
            Encoding::U32 => "u32",
            Encoding::I32 => "s32",
            Encoding::F32 => "f32",
            Encoding::F64 => "f64",
        };
        let suffix = match self.byte_order {
            ByteOrder::Little => "",
            ByteOrder::Big => "_be",
        };
        write!(f, "{prefix}{encoding}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::{NAMES, SampleFormat, format_from_name};

    #[test]
    fn names_read_back() {
        for (format, names) in NAMES {
            assert_eq!(format.to_string(), names[0], "the first name is the one printed");
            for name in names {
                assert_eq!(format_from_name(&name.to_uppercase()), Some(format), "{name}");
            }
        }
        let refused = "mp3".parse::<SampleFormat>().unwrap_err().to_string();
        assert!(refused.contains("cf32"), "{refused}");
    }
}
