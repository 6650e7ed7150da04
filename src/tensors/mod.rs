//! Weights: tensors with names, and the files that they come in, for denoisers and for policies.

mod error;

mod file;

use std::sync::Arc;

pub use error::ModelError;
pub(crate) use error::quotable;
#[cfg(feature = "cli")]
pub(crate) use file::kinds_stored;
pub use file::{FORMAT_VERSION, LARGEST_FILE_BYTES, StoredAs};
pub(crate) use file::{described, read_bounded, read_tensors, write_tensors};

/// The largest magnitude of a weight: what a 16-bit float holds, so that any precision can hold the model.
pub const LARGEST_WEIGHT: f32 = 65_504.0;

/// Numbers in a row-major array.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The length of each axis.
    pub shape: Vec<usize>,
    /// As many as the product of `shape`.
    pub values: Arc<[f32]>,
}

impl Tensor {
    /// Whether it has this shape, and weights that can be computed with.
    pub(crate) fn check(&self, name: &str, shape: &[usize]) -> Result<(), ModelError> {
        let (expected, actual) = (shape.iter().product::<usize>(), self.values.len());
        if self.shape != shape {
            let problem = format!("expected shape {shape:?}, got {:?}", self.shape);
            return Err(ModelError::tensor(name, quotable(&problem)));
        }
        if actual != expected {
            let problem = format!("expected {expected} values for shape {shape:?}, got {actual}");
            return Err(ModelError::tensor(name, problem));
        }
        let is_usable = |value: f32| value.abs() <= LARGEST_WEIGHT;
        match self.values.iter().position(|&value| !is_usable(value)) {
            None => Ok(()),
            Some(place) => {
                let value = self.values[place];
                let problem =
                    format!("expected weights from -{LARGEST_WEIGHT} to {LARGEST_WEIGHT}, got {value} at {place}");
                Err(ModelError::tensor(name, problem))
            }
        }
    }
}
