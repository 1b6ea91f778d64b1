//! Files: written through the seam, synchronised when told so, replaced in one step.

use crate::seam::{Operation, ask};
use crate::{Failure, at, folder};
use std::fs::{self, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

/// A file that is being written.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    file: fs::File,
}

/// # Errors
/// When there is something else than a file in its place. To open a pipe would wait for whoever is
/// at its other end, without end.
fn require_file(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => {
            Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl File {
    /// Creates a file, or empties the one that is there.
    ///
    /// # Errors
    /// When that fails, or it is no regular file.
    pub fn create(path: &Path) -> std::result::Result<Self, Failure> {
        let created = require_file(path)
            .and_then(|()| ask(Operation::Create(path)))
            .and_then(|_| fs::File::create(path));
        Ok(Self { path: path.into(), file: created.map_err(at(path))? })
    }

    /// Opens a file to write at its end, and creates it when it is not there.
    ///
    /// # Errors
    /// When that fails, or it is no regular file.
    pub fn append(path: &Path) -> std::result::Result<Self, Failure> {
        let opened = require_file(path)
            .and_then(|()| ask(Operation::Append(path)))
            .and_then(|_| OpenOptions::new().create(true).append(true).open(path));
        Ok(Self { path: path.into(), file: opened.map_err(at(path))? })
    }

    /// Makes what the file holds survive a power cut.
    ///
    /// # Errors
    /// When the disk cannot hold it; whether it does is then unknown.
    pub fn sync(&self) -> std::result::Result<(), Failure> {
        let synced = ask(Operation::Sync(&self.path)).and_then(|_| self.file.sync_all());
        synced.map_err(at(&self.path))
    }

    /// Writes everything.
    ///
    /// # Errors
    /// When the disk does not take it; part of it may then be in the file.
    pub fn put(&mut self, bytes: &[u8]) -> std::result::Result<(), Failure> {
        self.write_all(bytes).map_err(at(&self.path))
    }

    /// The open file itself, to be locked or asked; what is written to it passes no seam.
    pub fn as_file(&self) -> &fs::File {
        &self.file
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let allowed = ask(Operation::Write(&self.path, bytes))?;
        self.file.write(&bytes[..allowed])
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What a file holds; `None` if there is none.
///
/// # Errors
/// When it cannot be read, or is no regular file.
pub fn read(path: &Path) -> std::result::Result<Option<Vec<u8>>, Failure> {
    match require_file(path).and_then(|()| fs::read(path)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// A file that is read part by part; `None` if there is none.
///
/// # Errors
/// When it cannot be opened, or is no regular file.
pub fn open(path: &Path) -> std::result::Result<Option<fs::File>, Failure> {
    match require_file(path).and_then(|()| fs::File::open(path)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Makes what a file holds survive a power cut, whoever has written it.
///
/// # Errors
/// When the file cannot be opened, or the disk cannot hold it.
pub fn sync(path: &Path) -> std::result::Result<(), Failure> {
    let synced = ask(Operation::Sync(path))
        .and_then(|_| fs::File::open(path))
        .and_then(|file| file.sync_all());
    synced.map_err(at(path))
}

/// Writes a file in its place. It is for files in a folder that [`crate::put_folder`] will put in
/// place as a whole: a kill leaves part of it.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, content: &[u8]) -> std::result::Result<(), Failure> {
    File::create(path)?.put(content)
}

/// Writes a file so that a reader, a kill or a power cut sees the old or the new content and
/// nothing in between, and the new one once this has returned.
///
/// # Errors
/// When it cannot be written, synchronised or renamed; the old content is then still there.
pub fn write_atomically(path: &Path, content: &[u8]) -> std::result::Result<(), Failure> {
    fill_atomically(path, |file| file.put(content))
}

/// The same for content that is made part by part.
///
/// # Errors
/// As [`write_atomically`], and those of `fill`.
pub fn fill_atomically<E: From<Failure>>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    require_file(path).map_err(at(path))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    fill(&mut file)?;
    file.sync()?;
    Ok(folder::rename(&beside, path)?)
}
