//! A file that appears whole or not at all.
//!
//! Bytes go to a hidden temporary file beside the target; [`PendingFile::publish`] gives it the
//! target's name. Dropped before that, it is removed, and an older target was never touched.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use tempfile::{NamedTempFile, TempPath};

use crate::format::FileError;

/// Large enough that a system call costs nothing beside its bytes.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;

/// An output under construction.
#[derive(Debug)]
pub(crate) struct PendingFile {
    /// The file itself, not tempfile's wrapper, which adds its own name to every error.
    writer: BufWriter<File>,
    temporary: TempPath,
    target: PathBuf,
    /// As the user spelled it, for messages.
    path: PathBuf,
    force: bool,
}

impl PendingFile {
    /// Refuses what must not be replaced: a folder, one of `inputs`, and any file without `force`.
    pub(crate) fn create(path: &Path, inputs: &[PathBuf], force: bool) -> Result<Self, FileError> {
        let owned = || path.to_owned();
        if path.is_dir() {
            return Err(FileError::OutputIsDirectory { path: owned() });
        }
        if inputs.iter().any(|input| is_same_file(path, input)) {
            return Err(FileError::OutputIsInput { path: owned() });
        }
        // A link that leads nowhere exists as well: replacing it is for `force` to say.
        let is_taken = path.symlink_metadata().is_ok();
        if is_taken && !force {
            return Err(FileError::OutputExists { path: owned() });
        }
        // What a link leads to is replaced, not the link.
        let target = resolved(path);
        let parent = folder_of(&target);
        if !parent.is_dir() {
            let parent = parent.to_owned();
            return Err(FileError::OutputFolderMissing { path: owned(), parent });
        }
        let temporary = temporary_in(parent).map_err(|cause| match cause.kind() {
            io::ErrorKind::StorageFull => write_error(path, bare(cause)),
            _ => FileError::OutputFolderRefused { path: owned(), parent: parent.to_owned(), cause: bare(cause) },
        })?;
        if let Ok(older) = fs::metadata(&target)
            && cfg!(unix)
        {
            let kept = temporary.as_file().set_permissions(older.permissions());
            kept.map_err(|cause| write_error(path, cause))?;
        }
        let (file, temporary) = temporary.into_parts();
        Ok(Self { writer: BufWriter::with_capacity(BUFFER_BYTES, file), temporary, target, path: owned(), force })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that will be replaced or made, however it was spelled.
    #[cfg(feature = "cli")]
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where the bytes are until then.
    #[cfg(feature = "cli")]
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let result = self.writer.write_all(bytes);
        result.map_err(|cause| write_error(&self.path, cause))
    }

    /// Writes `bytes` over the start of the file.
    pub(crate) fn rewrite_start(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let mut rewrite = || {
            self.writer.seek(SeekFrom::Start(0))?;
            self.writer.write_all(bytes)
        };
        rewrite().map_err(|cause| write_error(&self.path, cause))
    }

    /// Hands everything to the disk, so that [`Self::publish`] can hardly fail.
    pub(crate) fn sync(&mut self) -> Result<(), FileError> {
        let mut sync = || {
            self.writer.flush()?;
            self.writer.get_ref().sync_all()
        };
        sync().map_err(|cause| write_error(&self.path, cause))
    }

    /// Gives the file its name, and keeps what that replaced until the answer is dropped.
    pub(crate) fn publish_reversibly(self) -> Result<Replaced, FileError> {
        let replaced = Replaced::keep_older(self.target.clone());
        self.publish().map(|()| replaced)
    }

    /// Gives the file its name.
    pub(crate) fn publish(mut self) -> Result<(), FileError> {
        self.sync()?;
        let Self { writer, temporary, target, path, force } = self;
        drop(writer); // everything is on disk; some systems rename closed files only
        if force {
            let result = temporary.persist(&target);
            result.map_err(|failed| write_error(&path, failed.error))?;
        } else {
            persist_new(temporary, &target).map_err(|cause| match cause.kind() {
                io::ErrorKind::AlreadyExists => FileError::OutputExists { path: path.clone() },
                _ => write_error(&path, cause),
            })?;
        }
        sync_folder(folder_of(&target));
        Ok(())
    }
}

/// A second name for the file that was replaced, until this is dropped.
#[derive(Debug)]
pub(crate) struct Replaced {
    target: PathBuf,
    there_was_one: bool,
    older: Option<TempPath>,
}

impl Replaced {
    /// Where the file system has no hard links there is nothing to go back to.
    fn keep_older(target: PathBuf) -> Self {
        let there_was_one = target.symlink_metadata().is_ok();
        let older = tempfile::Builder::new()
            .prefix(&prefix())
            .suffix(".old")
            .make_in(folder_of(&target), |name| fs::hard_link(&target, name))
            .ok()
            .map(NamedTempFile::into_temp_path);
        Self { target, there_was_one, older }
    }

    /// Undoes the publishing: brings the older file back, or leaves none where there was none. An older one that
    /// could not be kept is gone; then the new one stays, rather than nothing. Best effort.
    pub(crate) fn restore(self) {
        let undone = match self.older {
            Some(older) => older.persist(&self.target).map_err(|failed| failed.error),
            None if self.there_was_one => Ok(()),
            None => fs::remove_file(&self.target),
        };
        // The error that made this necessary is the one to report.
        drop(undone);
    }
}

/// A file beside the target, since renaming works only within one file system. The user's umask
/// decides who may read it, as for any new file. The process id tells whose it was after a crash.
fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    let prefix = prefix();
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

fn prefix() -> String {
    format!(".auricle-{}-", std::process::id())
}

/// Renames unless the name is taken. Where the file system cannot do that in one step, looks first.
fn persist_new(temporary: TempPath, target: &Path) -> io::Result<()> {
    let failed = match temporary.persist_noclobber(target) {
        Ok(_) => return Ok(()),
        Err(failed) => failed,
    };
    if failed.error.kind() == io::ErrorKind::AlreadyExists || target.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    failed.path.persist(target)?;
    Ok(())
}

/// Makes the new name last. Not every system can, and the file itself is safe already.
fn sync_folder(folder: &Path) {
    if cfg!(unix) {
        drop(File::open(folder).and_then(|folder| folder.sync_all()));
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether both names lead to one file: another spelling, a symbolic link or a hard link.
///
/// Hard links are told on Unix only; replacing one elsewhere leaves the input's own name intact.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other || has_same_inode(&one, &other),
        _ => false,
    }
}

#[cfg(unix)]
fn has_same_inode(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.dev() == other.dev() && one.ino() == other.ino(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn has_same_inode(_one: &Path, _other: &Path) -> bool {
    false
}

/// Why no temporary file came about, without the name that it would have had.
fn bare(cause: io::Error) -> io::Error {
    match cause.kind() {
        kind @ (io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotFound
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::StorageFull) => kind.into(),
        _ => cause,
    }
}

/// The error that says best why `path` cannot be written.
pub(crate) fn write_error(path: &Path, cause: io::Error) -> FileError {
    let path = path.to_owned();
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            FileError::DiskFull { path, cause }
        }
        _ => FileError::OutputWrite { path, cause },
    }
}

/// One spelling for all: links followed, and the folder too where the file is not there yet.
fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| match (fs::canonicalize(folder_of(path)), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    })
}
