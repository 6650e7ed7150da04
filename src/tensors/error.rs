//! The public `ModelError`: what is wrong with a model, with its file, or with what is to become one.
//!
//! Each message is one line that names the tensor, the field or the file, and says what was expected and what was
//! found. Text that comes from a file is escaped and cut before it is quoted, so that no file can write to a terminal.

use std::path::{Path, PathBuf};

/// What is wrong with a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file that cannot be opened or read.
    #[error("model `{}`: cannot read it: {cause}", path.display())]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },

    /// A file that can be read, but holds no model that can be used.
    #[error("model `{}`: {problem}", path.display())]
    File {
        /// The file asked for.
        path: PathBuf,
        /// What is wrong with what it holds.
        problem: Box<Self>,
    },

    /// Bytes that are not laid out as a model file is.
    #[error("not a model file: {problem}")]
    Layout {
        /// Where they differ.
        problem: String,
    },

    /// The description contradicts itself, or asks for what no model may be.
    #[error("description, `{field}`: {problem}")]
    Description {
        /// The field, or the layer or part that is named there.
        field: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A tensor that is missing, is not as described, or holds what cannot be computed with.
    #[error("tensor `{tensor}`: {problem}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A file of another program that is not the network that was to be imported.
    #[error("import, `{}`: {problem}", path.display())]
    Import {
        /// The file or folder.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
}

impl ModelError {
    pub(crate) fn layout(problem: impl Into<String>) -> Self {
        Self::Layout { problem: problem.into() }
    }

    pub(crate) fn description(field: &str, problem: impl Into<String>) -> Self {
        Self::Description { field: quotable(field), problem: problem.into() }
    }

    pub(crate) fn tensor(tensor: &str, problem: impl Into<String>) -> Self {
        Self::Tensor { tensor: quotable(tensor), problem: problem.into() }
    }

    #[cfg(feature = "cli")]
    pub(crate) fn import(path: &Path, problem: impl Into<String>) -> Self {
        Self::Import { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self::File { path: path.to_owned(), problem: Box::new(self) }
    }
}

/// The longest text from a file that a message repeats, in characters.
const LONGEST_QUOTE: usize = 200;

/// Text from a file as a message may repeat it: on one line, without control characters, not too long.
pub(crate) fn quotable(text: &str) -> String {
    let mut characters = text.chars();
    let mut quote: String = characters
        .by_ref()
        .take(LONGEST_QUOTE)
        .flat_map(|character| match character {
            '`' | '\'' | '"' | '\\' => vec![character],
            _ => character.escape_debug().collect(),
        })
        .collect();
    if characters.next().is_some() {
        quote.push_str("...");
    }
    quote
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_one_line_that_names_its_place() {
        let path = || PathBuf::from("FILE");
        let problem = || "PROBLEM".to_owned();
        let cause = std::io::ErrorKind::NotFound.into();
        for (error, message) in [
            (ModelError::Read { path: path(), cause }, "model `FILE`: cannot read it: entity not found"),
            (ModelError::layout("PROBLEM").in_file(&path()), "model `FILE`: not a model file: PROBLEM"),
            (ModelError::Layout { problem: problem() }, "not a model file: PROBLEM"),
            (ModelError::description("hop", "PROBLEM"), "description, `hop`: PROBLEM"),
            (ModelError::tensor("a.bias", "PROBLEM"), "tensor `a.bias`: PROBLEM"),
            (ModelError::Import { path: path(), problem: problem() }, "import, `FILE`: PROBLEM"),
        ] {
            assert_eq!(error.to_string(), message);
            assert_eq!(crate::Error::from(error).to_string(), message);
        }
    }

    #[test]
    fn quotes_are_short_and_write_nothing_to_a_terminal() {
        assert_eq!(quotable("plain `text`, \"quoted\""), "plain `text`, \"quoted\"");
        assert_eq!(quotable("\u{1b}[31m\nred\u{202e}"), "\\u{1b}[31m\\nred\\u{202e}");
        assert_eq!(quotable(&"x".repeat(1000)), "x".repeat(LONGEST_QUOTE) + "...");
    }
}
