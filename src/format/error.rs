//! The public `FileError`: what can go wrong when signal files are read or written.
//!
//! Each message names the stage and the file, says what was expected and what was found, and ends
//! with the fix where there is one. It is one complete line: the cause that the system gave is a
//! field called `cause` and is printed, so that no caller has to walk a chain to show it.

use std::{io, path::PathBuf};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The input file is not there.
    #[error("source: `{}` does not exist; check the spelling and the folder", path.display())]
    InputMissing {
        /// The file asked for.
        path: PathBuf,
    },

    /// The input is a folder.
    #[error("source: `{}` is a folder; give one of the recordings in it", path.display())]
    InputIsDirectory {
        /// The path asked for.
        path: PathBuf,
    },

    /// The input file has no bytes at all.
    #[error("source: `{}` is empty (0 bytes); record or download it again", path.display())]
    InputEmpty {
        /// The file asked for.
        path: PathBuf,
    },

    /// The operating system refused to open or read the input.
    #[error("source: cannot read `{}`: {cause}", path.display())]
    InputRead {
        /// The file asked for.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },

    /// Neither the name nor the first bytes of the input tell its format.
    #[error(
        "source: cannot tell what `{}` holds from {found}; pass --format {formats} \
         (a dump1090 or rtl_sdr .bin is cu8), or use .wav or .sigmf-meta", path.display()
    )]
    InputFormatUnknown {
        /// The file asked for.
        path: PathBuf,
        /// What there was to go by.
        found: String,
        /// The names that `--format` accepts.
        formats: String,
    },

    /// `--format` names no sample format.
    #[error("format: `{name}` is no sample format; use one of {formats}")]
    SampleFormatUnknown {
        /// The name given.
        name: String,
        /// The names that are accepted.
        formats: String,
    },

    /// The WAV header is damaged.
    #[error(
        "source: `{}` is no readable WAV file: expected {expected}, found {actual}; \
         convert it again, or pass its bare samples under a raw name such as .f32", path.display()
    )]
    BadWav {
        /// The file asked for.
        path: PathBuf,
        /// What should stand there.
        expected: String,
        /// What stands there.
        actual: String,
    },

    /// The WAV header is fine, but its samples are coded in a way that is not read here.
    #[error(
        "source: `{}` holds {codec}; expected 8, 16, 24 or 32-bit PCM or 32 or 64-bit float: \
         convert it first, as with `ffmpeg -i IN -c:a pcm_s16le OUT.wav`", path.display()
    )]
    CodecUnsupported {
        /// The file asked for.
        path: PathBuf,
        /// The name of the codec.
        codec: String,
    },

    /// One half of a SigMF pair is not there.
    #[error("source: `{}` has no `{}` beside it; a SigMF recording needs both files", path.display(), missing.display())]
    SigMfHalfMissing {
        /// The half that was given.
        path: PathBuf,
        /// The half that is missing.
        missing: PathBuf,
    },

    /// The SigMF metadata cannot be used.
    #[error("source: `{}` is no usable SigMF metadata: expected {expected}, found {actual}", path.display())]
    BadSigMf {
        /// The metadata file.
        path: PathBuf,
        /// What should stand there.
        expected: String,
        /// What stands there.
        actual: String,
    },

    /// A SigMF archive was given where a pair is expected.
    #[error(
        "format: `{}` is a SigMF archive; unpack it with `tar xf` and give the .sigmf-meta file, \
         and write to a name that ends in .sigmf-meta", path.display()
    )]
    SigMfArchive {
        /// The archive.
        path: PathBuf,
    },

    /// A hint contradicts what the file says of itself.
    #[error("source: `{}` says {actual}, {option} says {given}; leave {option} out", path.display())]
    HintContradicts {
        /// The file asked for.
        path: PathBuf,
        /// The command-line option of the hint.
        option: &'static str,
        /// The value of the hint.
        given: String,
        /// What the file says.
        actual: String,
    },

    /// A hint has a value that no signal can have.
    #[error("source: {option} is {given}; expected {expected}")]
    HintInvalid {
        /// The command-line option of the hint.
        option: &'static str,
        /// The value of the hint.
        given: String,
        /// What the value must be.
        expected: &'static str,
    },

    /// Neither the file nor a hint says how many samples make a second.
    #[error("format: `{}` has no sample rate; pass --sample-rate HZ", path.display())]
    SampleRateMissing {
        /// The file without a rate.
        path: PathBuf,
    },

    /// The block handed to `Source::read` cannot hold one sample of every channel.
    #[error("source: the block to read into holds {actual} floats; expected at least {expected}")]
    BlockTooShort {
        /// Floats in one sample of every channel.
        expected: usize,
        /// Floats that were offered.
        actual: usize,
    },

    /// The block handed to `Sink::write` ends in the middle of a sample time.
    #[error("sink: a block of {actual} floats ends between channels; expected a multiple of {expected}")]
    BlockRagged {
        /// Floats in one sample of every channel.
        expected: usize,
        /// Floats that were given.
        actual: usize,
    },

    /// The output is there already.
    #[error("sink: `{}` exists already; pass --force to replace it, or choose another name", path.display())]
    OutputExists {
        /// The file that is there.
        path: PathBuf,
    },

    /// The output is the input, perhaps under another name.
    #[error("sink: `{}` is the input itself; choose another output", path.display())]
    OutputIsInput {
        /// The output asked for.
        path: PathBuf,
    },

    /// The output is a folder.
    #[error("sink: `{}` is a folder; add a file name", path.display())]
    OutputIsDirectory {
        /// The output asked for.
        path: PathBuf,
    },

    /// The folder of the output is not there.
    #[error("sink: cannot write `{}`: the folder `{}` does not exist; create it first", path.display(), parent.display())]
    OutputFolderMissing {
        /// The output asked for.
        path: PathBuf,
        /// The folder it should lie in.
        parent: PathBuf,
    },

    /// No file can be created in the folder of the output.
    #[error("sink: cannot create a file for `{}` in `{}`: {cause}; choose a folder you may write to", path.display(), parent.display())]
    OutputFolderRefused {
        /// The output asked for.
        path: PathBuf,
        /// The folder it should lie in.
        parent: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },

    /// The name of the output does not tell its format.
    #[error(
        "sink: cannot tell the format of `{}` from its name; end it in .wav, .sigmf-meta \
         or one of {formats}", path.display()
    )]
    OutputFormatUnknown {
        /// The output asked for.
        path: PathBuf,
        /// The extensions of raw files.
        formats: String,
    },

    /// The output format cannot hold this signal.
    #[error("sink: `{}` cannot hold this signal: it is {actual}, the format takes {expected}", path.display())]
    OutputUnfit {
        /// The output asked for.
        path: PathBuf,
        /// What the format takes, with a way out.
        expected: String,
        /// What the signal is.
        actual: String,
    },

    /// A WAV file grew past 4 GiB although its announced length fitted.
    #[error("sink: `{}` grew past the {limit_bytes} bytes that its WAV header can count; write a raw .f32 file instead", path.display())]
    OutputTooLong {
        /// The output asked for.
        path: PathBuf,
        /// The most bytes of samples that fit.
        limit_bytes: u64,
    },

    /// The disk is full.
    #[error("sink: no space left to write `{}` ({cause}); nothing was left behind, so free some space and run again", path.display())]
    DiskFull {
        /// The output asked for.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },

    /// The operating system refused to write the output.
    #[error("sink: cannot write `{}`: {cause}", path.display())]
    OutputWrite {
        /// The output asked for.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },

    /// The reader of a piped output went away.
    #[error("sink: the program that reads `{}` has closed it; the rest was not written", path.display())]
    OutputClosed {
        /// The pipe, or standard output.
        path: PathBuf,
    },

    /// `Sink::finish` after a `Sink::write` that failed.
    #[error("sink: `{}` was not kept, since an earlier write to it failed", path.display())]
    OutputAbandoned {
        /// The output asked for.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::{FileError, io};

    fn every_variant() -> Vec<FileError> {
        let path = || "FILE".into();
        let text = || "TEXT".to_owned();
        let cause = || io::Error::from(io::ErrorKind::PermissionDenied);
        let (expected, actual) = (4, 6);
        vec![
            FileError::InputMissing { path: path() },
            FileError::InputIsDirectory { path: path() },
            FileError::InputEmpty { path: path() },
            FileError::InputRead { path: path(), cause: cause() },
            FileError::InputFormatUnknown { path: path(), found: text(), formats: text() },
            FileError::SampleFormatUnknown { name: text(), formats: text() },
            FileError::BadWav { path: path(), expected: text(), actual: text() },
            FileError::CodecUnsupported { path: path(), codec: text() },
            FileError::SigMfHalfMissing { path: path(), missing: path() },
            FileError::BadSigMf { path: path(), expected: text(), actual: text() },
            FileError::SigMfArchive { path: path() },
            FileError::HintContradicts { path: path(), option: "--channels", given: text(), actual: text() },
            FileError::HintInvalid { option: "--channels", given: text(), expected: "TEXT" },
            FileError::SampleRateMissing { path: path() },
            FileError::BlockTooShort { expected, actual },
            FileError::BlockRagged { expected, actual },
            FileError::OutputExists { path: path() },
            FileError::OutputIsInput { path: path() },
            FileError::OutputIsDirectory { path: path() },
            FileError::OutputFolderMissing { path: path(), parent: path() },
            FileError::OutputFolderRefused { path: path(), parent: path(), cause: cause() },
            FileError::OutputFormatUnknown { path: path(), formats: text() },
            FileError::OutputUnfit { path: path(), expected: text(), actual: text() },
            FileError::OutputTooLong { path: path(), limit_bytes: 4 },
            FileError::DiskFull { path: path(), cause: cause() },
            FileError::OutputWrite { path: path(), cause: cause() },
            FileError::OutputClosed { path: path() },
            FileError::OutputAbandoned { path: path() },
        ]
    }

    #[test]
    fn every_message_is_one_line_that_names_its_stage() {
        for error in every_variant() {
            let message = error.to_string();
            let stages = ["source: ", "format: ", "sink: "];
            assert!(stages.iter().any(|stage| message.starts_with(stage)), "{message}");
            assert!(!message.contains('\n') && !message.contains("  "), "{message}");
        }
    }
}
