//! The cache as Python's `huggingface_hub` lays it out: `refs/REVISION` holds a commit,
//! `snapshots/COMMIT/FILE` is a link to `blobs/NAME`.
//!
//! Nothing is written through a symbolic link, whoever made it: folders below a repository's are
//! real folders or an error, files are made anew and renamed to their place. What is read lies in
//! the repository's own folder, after all links.

use crate::HubError;
use crate::names::is_commit;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a lock that somebody else has is asked for.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// A repository's folder in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// Attaches a path to an error.
pub(crate) fn access(path: &Path) -> impl Fn(std::io::Error) -> HubError {
    let path = path.to_owned();
    move |source| HubError::Access { path: path.clone(), source }
}

impl Folder {
    pub(crate) fn new(cache: &Path, kind: &str, repository: &str) -> Self {
        Self { path: cache.join(format!("{kind}--{}", repository.replace('/', "--"))) }
    }

    /// The commit of a revision, if it is known.
    fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = std::fs::read_to_string(self.path.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The folder of what is cached of a revision.
    pub(crate) fn snapshot(&self, revision: &str) -> Option<PathBuf> {
        let folder = self.path.join("snapshots").join(self.commit(revision)?);
        Some(folder).filter(|folder| folder.is_dir())
    }

    /// A file's place, if it is cached. Its name was checked.
    ///
    /// # Errors
    /// When the place leads out of the repository's folder.
    pub(crate) fn find(&self, revision: &str, file: &str) -> Result<Option<PathBuf>, HubError> {
        let Some(place) = self.snapshot(revision).map(|folder| folder.join(file)) else {
            return Ok(None);
        };
        let resolved = match place.canonicalize() {
            Ok(resolved) => resolved,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(source) => return Err(access(&place)(source)),
        };
        let inside = self.path.canonicalize().map_err(access(&self.path))?;
        if !resolved.starts_with(inside) || !resolved.is_file() {
            return Err(HubError::LeadsOut { path: place });
        }
        Ok(Some(place))
    }

    /// The names of all files that are cached of a revision.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(crate) fn names(&self, revision: &str) -> Result<Option<Vec<String>>, HubError> {
        let Some(folder) = self.snapshot(revision) else { return Ok(None) };
        let mut names = Vec::new();
        walk(&folder, "", &mut names).map_err(access(&folder))?;
        Ok(Some(names))
    }

    /// Where a blob is kept while it arrives and after that. Made if need be.
    ///
    /// # Errors
    /// When `blobs` is no folder or cannot be made.
    pub(crate) fn blob(&self, name: &str) -> Result<Blob, HubError> {
        std::fs::create_dir_all(&self.path).map_err(access(&self.path))?;
        let folder = self.real_folder(&["blobs"])?;
        Ok(Blob {
            path: folder.join(name),
            part: folder.join(format!("{name}.part")),
            lock: folder.join(format!("{name}.lock")),
        })
    }

    /// Makes a blob a file of a commit, and the commit that of the revision.
    ///
    /// # Errors
    /// When a folder on the way is a link, or nothing can be written.
    pub(crate) fn link(
        &self,
        blob: &str,
        revision: &str,
        commit: &str,
        file: &str,
    ) -> Result<PathBuf, HubError> {
        let parts: Vec<&str> = file.split('/').collect();
        let (last, folders) = parts.split_last().expect("a split has a part");
        let folders: Vec<&str> =
            ["snapshots", commit].into_iter().chain(folders.iter().copied()).collect();
        let place = self.real_folder(&folders)?.join(last);
        let target = format!("{}blobs/{blob}", "../".repeat(folders.len()));
        self.replace(&place, |new| make_link(&target, new))?;
        if revision != commit {
            let parts: Vec<&str> = revision.split('/').collect();
            let (last, folders) = parts.split_last().expect("a split has a part");
            let folders: Vec<&str> = [&["refs"], folders].concat();
            let place = self.real_folder(&folders)?.join(last);
            self.replace(&place, |new| {
                let mut file = OpenOptions::new().write(true).create_new(true).open(new)?;
                file.write_all(commit.as_bytes())
            })?;
        }
        Ok(place)
    }

    /// Makes something beside and renames it to its place, which replaces a link there instead of
    /// following it.
    fn replace(
        &self,
        place: &Path,
        make: impl Fn(&Path) -> std::io::Result<()>,
    ) -> Result<(), HubError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let new = self.real_folder(&["blobs"])?.join(format!("{}-{count}.new", std::process::id()));
        // of a process of the same number that was killed here
        let _ = std::fs::remove_file(&new);
        make(&new).map_err(access(&new))?;
        std::fs::rename(&new, place).map_err(access(place))
    }

    /// A folder below the repository's, each of whose parts is a folder and no link.
    fn real_folder(&self, parts: &[&str]) -> Result<PathBuf, HubError> {
        let mut path = self.path.clone();
        for part in parts {
            path.push(part);
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let found = path.symlink_metadata().map_err(access(&path))?;
                    if found.is_symlink() {
                        return Err(HubError::LeadsOut { path });
                    }
                    if !found.is_dir() {
                        return Err(access(&path)(ErrorKind::NotADirectory.into()));
                    }
                }
                made => made.map_err(access(&path))?,
            }
        }
        Ok(path)
    }
}

/// Where the bytes of a file are kept: whole, while they arrive, and who is at it.
pub(crate) struct Blob {
    pub(crate) path: PathBuf,
    pub(crate) part: PathBuf,
    lock: PathBuf,
}

impl Blob {
    /// Whether the blob is there: a file, and no link to one.
    pub(crate) fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok_and(|found| found.is_file())
    }

    /// What has arrived so far, to be written on.
    ///
    /// # Errors
    /// When it is a link or cannot be opened.
    pub(crate) fn open_part(&self) -> Result<File, HubError> {
        open(&self.part)
    }

    /// Waits until no other process fetches this blob; `Ok(None)` when another does but nothing
    /// has arrived there for `patience`.
    ///
    /// # Errors
    /// When there can be no lock.
    pub(crate) fn lock(&self, patience: Duration) -> Result<Option<File>, HubError> {
        let file = open(&self.lock)?;
        let size = || self.part.symlink_metadata().map_or(0, |found| found.len());
        let mut seen = (size(), Instant::now());
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(source)) => {
                    return Err(access(&self.lock)(source));
                }
            }
            if size() != seen.0 {
                seen = (size(), Instant::now());
            } else if seen.1.elapsed() > patience {
                return Ok(None);
            }
            std::thread::sleep(LOCK_PAUSE);
        }
    }
}

/// Opens a file to be written on, made if need be; a link is not followed.
fn open(path: &Path) -> Result<File, HubError> {
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(HubError::LeadsOut { path: path.to_owned() });
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW);
    options.open(path).map_err(access(path))
}

#[cfg(unix)]
fn make_link(target: &str, new: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, new)
}

/// A copy where links need a privilege; the target is given as seen from a snapshot.
#[cfg(not(unix))]
fn make_link(target: &str, new: &Path) -> std::io::Result<()> {
    let blob = target.rsplit('/').next().unwrap_or_default();
    std::fs::copy(new.with_file_name(blob), new).map(|_| ())
}

/// Files and links by their names; a folder behind a link is not entered.
fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}
