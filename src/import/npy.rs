//! Reads `.npy` files, as numpy writes them: one array of 32-bit floats.
//!
//! ```text
//! "\x93NUMPY" major minor | length of the header, 2 bytes (4 from version 2 on) | header | values
//! header   {'descr': '<f4', 'fortran_order': False, 'shape': (161, 400), }
//! ```
//!
//! The crates that read this format also read Python's other literals, which brings a parser generator along; only
//! the header above is ever needed here.

use std::path::{Path, PathBuf};

use super::tensor;
use crate::tensors::{ModelError, Tensor, quotable, read_bounded};

/// A folder of arrays.
#[derive(Debug)]
pub(super) struct Arrays {
    folder: PathBuf,
}

impl Arrays {
    pub(super) fn in_folder(folder: &Path) -> Result<Self, ModelError> {
        if folder.is_dir() {
            return Ok(Self { folder: folder.to_owned() });
        }
        Err(ModelError::import(folder, "expected a folder with .npy files"))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of the arrays, without `.npy`, sorted.
    pub(super) fn names(&self) -> Result<Vec<String>, ModelError> {
        let failed = |cause: std::io::Error| ModelError::import(&self.folder, format!("cannot list it: {cause}"));
        let mut names = Vec::new();
        for entry in self.folder.read_dir().map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_suffix(".npy")).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// The array of this name, which must have this shape.
    pub(super) fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let path = self.folder.join(format!("{name}.npy"));
        if !path.is_file() {
            return Err(ModelError::import(&self.folder, format!("expected `{name}.npy` in it, there is none")));
        }
        let array = parse(&read_bounded(&path)?).map_err(|problem| ModelError::import(&path, problem))?;
        if array.shape == shape {
            return Ok(array);
        }
        let actual = quotable(&format!("{:?}", array.shape));
        Err(ModelError::import(&path, format!("expected shape {shape:?}, got {actual}")))
    }
}

fn parse(bytes: &[u8]) -> Result<Tensor, String> {
    let (header, data) = split(bytes).ok_or("expected a .npy file with a whole header")?;
    let kind = field(header, "descr").unwrap_or_default().trim_matches(['\'', '"']);
    if kind != "<f4" {
        return Err(format!("expected little-endian 32-bit floats, `<f4`, got `{}`", quotable(kind)));
    }
    if field(header, "fortran_order") != Some("False") {
        return Err("expected rows one after another (C order), got columns; save it again in C order".to_owned());
    }
    let shape = shape(header).ok_or_else(|| format!("expected a shape in `{}`", quotable(header)))?;
    let expected = shape.iter().try_fold(4_usize, |bytes, &len| bytes.checked_mul(len));
    if expected != Some(data.len()) {
        let shape = quotable(&format!("{shape:?}"));
        return Err(format!("expected the values of shape {shape}, got {} bytes", data.len()));
    }
    Ok(tensor(shape, data.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect()))
}

fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (&[major, _], rest) = rest.split_first_chunk()?;
    let (len, rest) = if major == 1 {
        let (len, rest) = rest.split_first_chunk()?;
        (usize::from(u16::from_le_bytes(*len)), rest)
    } else {
        let (len, rest) = rest.split_first_chunk()?;
        (usize::try_from(u32::from_le_bytes(*len)).ok()?, rest)
    };
    let (header, data) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// What stands behind a key, up to the next comma.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, after) = header.split_once(&format!("'{key}':"))?;
    Some(after.split([',', '}']).next()?.trim())
}

fn shape(header: &str) -> Option<Vec<usize>> {
    let (_, after) = header.split_once("'shape':")?;
    let (inside, _) = after.trim_start().strip_prefix('(')?.split_once(')')?;
    inside.split(',').map(str::trim).filter(|len| !len.is_empty()).map(|len| len.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        let len = u32::try_from(header.len()).unwrap().to_le_bytes();
        bytes.extend(&len[..if version == 1 { 2 } else { 4 }]);
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn both_spellings_of_the_header_are_read() {
        let data: Vec<u8> = [1.0_f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        for (version, header, shape) in [
            (1, "{ 'descr': '<f4', 'fortran_order': False, 'shape': (1, 3) }      \n", vec![1, 3]),
            (1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", vec![3]),
            (2, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1), }", vec![3, 1]),
        ] {
            assert_eq!(parse(&npy(version, header, &data)).unwrap(), tensor(shape, vec![1.0, 2.0, 3.0]));
        }
    }

    #[test]
    fn other_arrays_are_refused() {
        for (header, part) in [
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", "`<f8`"),
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", "C order"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "got 4 bytes"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "a shape"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387905,), }", "got 4 bytes"),
            ("{'descr': '<f4', 'fortran_order': False}", "a shape"),
            ("", "`<f4`"),
        ] {
            let problem = parse(&npy(1, header, &[0; 4])).unwrap_err();
            assert!(problem.contains(part), "{header}: {problem}");
        }
        let whole = npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4]);
        for len in 0..whole.len() {
            assert!(parse(&whole[..len]).is_err(), "{len} bytes of {}", whole.len());
        }
    }
}
