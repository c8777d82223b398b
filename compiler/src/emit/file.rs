//! A file that appears whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that could not be written. What stood under its name before still stands.
#[derive(Debug, Error)]
#[error("can't write {}: {source}", .path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl FileError {
    /// True if the machine ran out of room.
    pub fn out_of_space(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self.source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
    }
}

/// What [`replace`] would write to.
enum Place {
    /// A file that is or will be in this folder. A link stays one, and the file that it names is replaced.
    File { path: PathBuf, folder: PathBuf },
    /// A pipe or a device, which is written to and can't be replaced.
    Device,
}

/// Finds out whether `path` could be written, as far as that shows without writing: for whoever has long work to do
/// first.
///
/// # Errors
/// If `path` is a folder, or its own folder isn't there.
pub fn check(path: &Path) -> Result<(), FileError> {
    match place(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(FileError { path: path.to_owned(), source }),
    }
}

fn place(path: &Path) -> io::Result<Place> {
    let path = match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => return Ok(Place::Device),
        Ok(_) => fs::canonicalize(path)?,
        Err(_) => path.to_owned(),
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let problem = |kind, what: &str| {
        let text = format!("expected a folder {}, found {what}", folder.display());
        Err(io::Error::new(kind, text))
    };
    match fs::metadata(&folder) {
        Ok(found) if found.is_dir() => Ok(Place::File { path, folder }),
        Ok(_) => problem(io::ErrorKind::NotADirectory, "a file"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            problem(io::ErrorKind::NotFound, "nothing")
        }
        Err(error) => Err(error),
    }
}

/// Writes `path` through a temporary file in the same folder, then renames it into place. A pipe or a device is written
/// to as it is.
///
/// # Errors
/// What `fill` returns, or [`FileError`]; then the temporary file is gone and `path` is as it was.
pub fn replace<T, E: From<FileError>>(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let failed = |source| FileError { path: path.to_owned(), source };
    match place(path).map_err(failed)? {
        Place::File { path, folder } => {
            let mut temporary = temporary(&folder).map_err(failed)?;
            let result = write(temporary.as_file_mut(), &failed, fill)?;
            temporary.as_file().sync_all().map_err(failed)?;
            temporary.persist(&path).map_err(|e| failed(e.error))?;
            Ok(result)
        }
        Place::Device => {
            let mut device = OpenOptions::new().write(true).open(path).map_err(failed)?;
            write(&mut device, &failed, fill)
        }
    }
}

fn write<T, E: From<FileError>>(
    file: &mut File,
    failed: &dyn Fn(io::Error) -> FileError,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let result = fill(&mut writer)?;
    writer.flush().map_err(failed)?;
    Ok(result)
}

fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bytec-").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What a plain create asks for; the process's umask takes its part off.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // The error names the temporary file, which means nothing to whoever asked for another one.
    builder.tempfile_in(folder).map_err(|error| error.kind().into())
}
