//! Scratch folders on the disk, for machines without namespaces: what a program makes of them is
//! measured and removed without recursion, with few descriptors, following no link, since it may be
//! as deep, wide and closed as the file system allows.

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, chmodat, fchmod, flock,
    fstat, open, openat, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, Result};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The folders of running programs, below the root.
pub(super) const PROGRAMS: &str = "programs";
/// What programs have left, until it is removed.
const SWEPT: &str = "swept";
/// Held by whoever owns the root.
const LOCK: &str = "lock";
/// How the roots' names begin.
const PREFIX: &str = "paretopo-python-";
/// A program's folders deeper than this are too many.
const DEEPEST: usize = 64;

/// The folder of one keeper. Its name is drawn anew, so that one that was left is in nobody's way.
#[derive(Debug)]
pub(super) struct ScratchRoot {
    path: PathBuf,
    _lock: File,
}

impl ScratchRoot {
    /// Makes it below `temporary`, and removes those whose keepers are gone.
    pub(super) fn create(temporary: &Path) -> std::result::Result<Self, String> {
        let failed = |error: std::io::Error| format!("`{}`: {error}", temporary.display());
        remove_abandoned(temporary);
        // until it is locked its name is one that nobody takes for abandoned
        let (path, making) = loop {
            let drawn = std::hash::BuildHasher::hash_one(
                &std::hash::RandomState::new(),
                std::process::id(),
            );
            let path = temporary.join(format!("{PREFIX}{drawn:016x}"));
            let making = temporary.join(format!(".{PREFIX}{drawn:016x}"));
            match std::fs::DirBuilder::new().mode(0o700).create(&making) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                created => break created.map(|()| (path, making)).map_err(failed)?,
            }
        };
        let lock = File::create(making.join(LOCK)).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| failed(error.into()))?;
        for folder in [PROGRAMS, SWEPT] {
            std::fs::DirBuilder::new().mode(0o700).create(making.join(folder)).map_err(failed)?;
        }
        std::fs::rename(&making, &path).map_err(failed)?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of whatever program runs.
    pub(super) fn programs(&self) -> PathBuf {
        self.path.join(PROGRAMS)
    }

    /// Makes the folder of a session, with a name that no program can guess.
    pub(super) fn session(&self) -> std::io::Result<PathBuf> {
        let random = std::hash::RandomState::new();
        let drawn = std::hash::BuildHasher::hash_one(&random, std::process::id());
        let folder = self.programs().join(format!("{drawn:016x}"));
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(folder)
    }

    /// Puts a session's folder to what is to be removed.
    pub(super) fn put_away(&self, session: &Path) {
        if let Some(name) = session.file_name() {
            // fails only where the folder's end removes it
            let _ = std::fs::rename(session, self.swept().join(name));
        }
    }

    /// Where that is.
    pub(super) fn swept(&self) -> PathBuf {
        self.path.join(SWEPT)
    }
}

/// Whether a program that stands still has more than `bytes` in files below a folder, more than
/// `entries` of them, or folders too deep. What cannot be looked at counts as too much.
pub(super) fn is_full(folder: &Path, bytes: usize, entries: usize) -> bool {
    let folder = open_folder(rustix::fs::CWD, folder);
    !folder.and_then(|folder| fits(folder, bytes as u64, entries)).unwrap_or(false)
}

/// Removes what programs have left in the folder for that.
pub(super) fn sweep(swept: &Path) {
    // what cannot be removed now is tried again with the next, and at the end
    let _ = open_folder(rustix::fs::CWD, swept).and_then(|folder| empty(&folder));
}

impl Drop for ScratchRoot {
    fn drop(&mut self) {
        // fails only where the next keeper will fail, too
        let _ = remove(&self.path);
    }
}

/// Removes the roots below a folder that nobody holds any more.
fn remove_abandoned(temporary: &Path) {
    let Ok(entries) = std::fs::read_dir(temporary) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let Ok(lock) = open(entry.path().join(LOCK), flags, Mode::empty()) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = remove(&entry.path());
        }
    }
}

/// Removes a folder of this user with all it holds.
fn remove(path: &Path) -> Result<()> {
    let folder = open_folder(rustix::fs::CWD, path)?;
    // not what another user has put there
    if fstat(&folder)?.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Errno::PERM);
    }
    empty(&folder)?;
    rustix::fs::rmdir(path)
}

fn open_folder<P: rustix::path::Arg + Copy>(at: impl AsFd, name: P) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// Names of a folder's entries, without itself and its parent.
fn names(folder: &OwnedFd) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// A folder that is being looked through, and the mode that it gets back afterwards.
struct Opened {
    entries: Dir,
    mode: Option<Mode>,
}

impl Opened {
    /// Opens a folder, one that cannot be listed, too: it can be filled all the same.
    fn new(at: impl AsFd, name: &CStr, mode: Mode) -> Result<Self> {
        match open_folder(&at, name) {
            Err(Errno::ACCESS) => {
                chmodat(&at, name, Mode::RWXU, AtFlags::empty())?;
                Ok(Self { entries: Dir::new(open_folder(&at, name)?)?, mode: Some(mode) })
            }
            opened => Ok(Self { entries: Dir::new(opened?)?, mode: None }),
        }
    }

    /// The program finds it as it was.
    fn close(self) -> Result<()> {
        self.mode.map_or(Ok(()), |mode| fchmod(self.entries.fd()?, mode))
    }
}

/// Whether all below a folder, which nobody changes meanwhile, takes at most so much. Depth-first,
/// with an open folder for each level of at most [`DEEPEST`].
fn fits(folder: OwnedFd, bytes: u64, entries: usize) -> Result<bool> {
    let (mut taken, mut counted) = (0, 0);
    let mut open = vec![Opened { entries: Dir::new(folder)?, mode: None }];
    while let Some(mut deepest) = open.pop() {
        let Some(entry) = deepest.entries.read() else {
            deepest.close()?;
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            open.push(deepest);
            continue;
        }
        let found = statat(deepest.entries.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)?;
        counted += 1;
        taken += u64::try_from(found.st_blocks).unwrap_or(u64::MAX).saturating_mul(512);
        if counted > entries || taken > bytes || open.len() >= DEEPEST {
            return Ok(false);
        }
        let is_folder = FileType::from_raw_mode(found.st_mode).is_dir();
        let mode = Mode::from_raw_mode(found.st_mode);
        let inner = is_folder.then(|| Opened::new(deepest.entries.fd()?, name, mode));
        open.push(deepest);
        open.extend(inner.transpose()?);
    }
    Ok(true)
}

/// Empties a folder. An inner folder's folders are first moved up into it, so that none is ever
/// deeper than two levels and two descriptors suffice.
fn empty(folder: &OwnedFd) -> Result<()> {
    let mut moved = 0_u64;
    loop {
        let names = names(folder)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in &names {
            if unlinkat(folder, name, AtFlags::empty()).is_ok() {
                continue;
            }
            // a program may have shut it
            let _ = chmodat(folder, name, Mode::RWXU, AtFlags::empty());
            flatten(folder, name, &mut moved)?;
            unlinkat(folder, name, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Empties an inner folder: files are removed, folders moved up.
fn flatten(folder: &OwnedFd, name: &CStr, moved: &mut u64) -> Result<()> {
    let inner = open_folder(folder, name)?;
    for entry in names(&inner)? {
        if unlinkat(&inner, &entry, AtFlags::empty()).is_ok() {
            continue;
        }
        // moving a folder changes its entry for its parent
        let _ = chmodat(&inner, &entry, Mode::RWXU, AtFlags::empty());
        loop {
            *moved += 1;
            let place = format!("moved-{moved}");
            match renameat_with(&inner, &entry, folder, &*place, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                renamed => break renamed?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("paretopo-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// 3,000 nested folders, more than a recursive removal has descriptors for, a folder
    /// of 3,000 files and shut ones.
    #[test]
    fn what_is_deep_wide_or_shut_is_removed() {
        let folder = temporary("deep");
        let mut inner = open_folder(rustix::fs::CWD, &folder).unwrap();
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&inner, c"moved-1", Mode::RWXU).unwrap();
            inner = open_folder(&inner, c"moved-1").unwrap();
        }
        let wide = folder.join("wide");
        std::fs::create_dir(&wide).unwrap();
        for number in 0..3000 {
            std::fs::write(wide.join(number.to_string()), "x").unwrap();
        }
        let shut = folder.join("shut");
        std::fs::create_dir_all(shut.join("inner")).unwrap();
        std::os::unix::fs::symlink("/etc", shut.join("link")).unwrap();
        rustix::fs::chmod(shut.join("inner"), Mode::empty()).unwrap();
        rustix::fs::chmod(&shut, Mode::empty()).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists());
        assert!(Path::new("/etc").is_dir());
    }

    /// Three files of one page each: 3 x 4,096 = 12,288 bytes in four entries with their folder.
    #[test]
    fn bytes_entries_and_depth_are_bounded() {
        let folder = temporary("full");
        let inner = folder.join("inner");
        std::fs::create_dir(&inner).unwrap();
        let measured = |bytes, entries| {
            fits(open_folder(rustix::fs::CWD, &folder).unwrap(), bytes, entries).unwrap()
        };
        for number in 0..3 {
            std::fs::write(inner.join(number.to_string()), [1; 4096]).unwrap();
        }
        assert!(measured(1 << 20, 4));
        assert!(!measured(1 << 20, 3));
        assert!(!measured(12_287, 4));
        // a hole takes no room
        File::create(inner.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        assert!(measured(1 << 20, 5));
        let deep = (0..DEEPEST).fold(folder.clone(), |folder, _| folder.join("d"));
        std::fs::create_dir_all(&deep).unwrap();
        assert!(measured(1 << 20, 1000));
        // a folder that is shut counts, and stays as it is
        let shut = folder.join("shut");
        std::fs::create_dir(&shut).unwrap();
        std::fs::write(shut.join("large"), vec![1; 1 << 20]).unwrap();
        rustix::fs::chmod(&shut, Mode::WUSR | Mode::XUSR).unwrap();
        assert!(measured(2 << 20, 1000));
        assert_eq!(rustix::fs::stat(&shut).unwrap().st_mode & 0o777, 0o300);
        assert!(!measured(1 << 20, 1000));
        std::fs::create_dir(deep.join("d")).unwrap();
        assert!(!measured(2 << 20, 1000));
        remove(&folder).unwrap();
    }

    #[test]
    fn only_roots_that_nobody_holds_are_removed() {
        let folder = temporary("abandoned");
        let held = ScratchRoot::create(&folder).unwrap();
        let abandoned = folder.join(format!("{PREFIX}0"));
        std::fs::create_dir_all(abandoned.join(PROGRAMS).join("1/d")).unwrap();
        std::fs::write(abandoned.join(LOCK), "").unwrap();
        let other = folder.join("other");
        std::fs::create_dir(&other).unwrap();
        let next = ScratchRoot::create(&folder).unwrap();
        assert!(!abandoned.exists());
        assert!(held.path().exists() && next.path().exists() && other.exists());
        drop((held, next));
        std::fs::remove_dir(&other).unwrap();
        std::fs::remove_dir(&folder).unwrap();
    }
}
