//! The bytes of one input: a file that can be skipped through, or a pipe that cannot.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use crate::format::FileError;

/// An input open for reading, with a name for messages.
pub(crate) struct ByteInput {
    path: PathBuf,
    reader: Reader,
    /// Bytes looked at by [`Self::peek`] and not yet read.
    peeked: Vec<u8>,
    position: u64,
    len: Option<u64>,
}

enum Reader {
    File(File),
    Pipe(Box<dyn Read + Send>),
}

impl fmt::Debug for ByteInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteInput")
            .field("path", &self.path)
            .field("position", &self.position)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl ByteInput {
    /// Opens a file; a named pipe or a device counts as a pipe. An empty file is an error.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let named = |cause| read_error(path, cause);
        let file = File::open(path).map_err(named)?;
        let metadata = file.metadata().map_err(named)?;
        let path = path.to_owned();
        if metadata.is_dir() {
            return Err(FileError::InputIsDirectory { path });
        }
        if !metadata.is_file() {
            return Ok(Self::from_pipe(path, Box::new(file)));
        }
        if metadata.len() == 0 {
            return Err(FileError::InputEmpty { path });
        }
        Ok(Self { path, reader: Reader::File(file), peeked: Vec::new(), position: 0, len: Some(metadata.len()) })
    }

    /// Takes bytes as they come; `path` is what messages call them.
    pub(crate) fn from_pipe(path: PathBuf, pipe: Box<dyn Read + Send>) -> Self {
        Self { path, reader: Reader::Pipe(pipe), peeked: Vec::new(), position: 0, len: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes from here to the end; none for a pipe.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.len.map(|len| len.saturating_sub(self.position))
    }

    /// The length of the whole file; none for a pipe.
    pub(crate) fn len(&self) -> Option<u64> {
        self.len
    }

    /// The first `count` bytes, or as many as there are. For use before anything is read.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8], FileError> {
        let mut first = vec![0; count];
        let got = self.read_full(&mut first)?;
        first.truncate(got);
        self.position = 0;
        self.peeked = first;
        Ok(&self.peeked)
    }

    /// Fills `buffer`, or what the end leaves of it; returns the bytes read.
    pub(crate) fn read_full(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        let mut filled = self.peeked.len().min(buffer.len());
        buffer[..filled].copy_from_slice(&self.peeked[..filled]);
        self.peeked.drain(..filled);
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            let result = match &mut self.reader {
                Reader::File(file) => file.read(rest),
                Reader::Pipe(pipe) => pipe.read(rest),
            };
            match result {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(read_error(&self.path, cause)),
            }
        }
        self.position = self.position.saturating_add(filled as u64);
        Ok(filled)
    }

    /// Goes `count` bytes on; past the end is no error, the next read then finds nothing.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), FileError> {
        let mut target = self.position.saturating_add(count);
        let result = match &mut self.reader {
            Reader::File(file) => {
                target = target.min(self.len.unwrap_or(target));
                self.peeked.clear();
                file.seek(SeekFrom::Start(target)).map(|_| ())
            }
            Reader::Pipe(pipe) => {
                let buffered = count.min(self.peeked.len() as u64);
                self.peeked.drain(..usize::try_from(buffered).unwrap_or(0));
                io::copy(&mut pipe.take(count - buffered), &mut io::sink()).map(|_| ())
            }
        };
        self.position = target;
        result.map_err(|cause| read_error(&self.path, cause))
    }
}

/// The error that says best why `path` cannot be read.
pub(crate) fn read_error(path: &Path, cause: io::Error) -> FileError {
    let path = path.to_owned();
    match cause.kind() {
        io::ErrorKind::NotFound => FileError::InputMissing { path },
        io::ErrorKind::IsADirectory => FileError::InputIsDirectory { path },
        _ => FileError::InputRead { path, cause },
    }
}
