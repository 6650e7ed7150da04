//! Model files: a model's description and its tensors.

use std::path::Path;

use super::model::Model;
use crate::format::pending::PendingFile;
use crate::tensors::{ModelError, StoredAs, described, read_bounded, read_tensors, write_tensors};

/// Of the description, in the metadata.
const DESCRIPTION_KEY: &str = "auricle";

impl Model {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`ModelError::Read`] when it cannot be read; [`ModelError::File`] when it is larger than
    /// [`LARGEST_FILE_BYTES`](super::model::LARGEST_FILE_BYTES), or for any reason that [`Model::from_bytes`] has.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let bytes = read_bounded(path)?;
        Self::from_bytes(&bytes).map_err(|problem| problem.in_file(path))
    }

    /// Reads what a model file holds.
    ///
    /// # Errors
    /// [`ModelError`] when the bytes are not laid out as safetensors to the last one, when a key appears twice or is
    /// not known, when the description is missing, newer than [`FORMAT_VERSION`](super::model::FORMAT_VERSION) or no
    /// valid one, when a tensor is neither F32 nor F16, and for any reason that [`Model::new`] has.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let (description, tensors) = read_tensors(bytes, DESCRIPTION_KEY)?;
        Self::new(described(DESCRIPTION_KEY, &description)?, tensors)
    }

    /// The bytes of a model file.
    pub fn to_bytes(&self, stored_as: StoredAs) -> Vec<u8> {
        // Not by way of a `Value`, which would write 1e-7 as the 64-bit number that is nearest to its 32 bits.
        #[expect(clippy::expect_used, reason = "plain data with texts for keys is always JSON")]
        let description = serde_json::to_string(self.description()).expect("a description should become JSON");
        // In the order in which they are used.
        let names = self.description().expected_tensors().into_iter().map(|(name, _)| name);
        let tensors = names.filter_map(|name| self.tensor(&name).map(|tensor| (name, tensor)));
        write_tensors(DESCRIPTION_KEY, &description, &tensors.collect::<Vec<_>>(), stored_as)
    }

    /// Writes a model file. It appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) when it is there already and `force` is not given, or cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, stored_as: StoredAs, force: bool) -> crate::Result<()> {
        let mut file = PendingFile::create(path.as_ref(), &[], force)?;
        file.write_all(&self.to_bytes(stored_as))?;
        Ok(file.publish()?)
    }
}
