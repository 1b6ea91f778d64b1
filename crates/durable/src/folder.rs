//! Folders: created so that they stay, put in place as a whole, removed piece by piece.

use crate::seam::{Operation, ask};
use crate::{Failure, at, sync};
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Stands in front of the name of a folder that is being filled, or removed.
const UNFINISHED: &str = "unfinished-";
/// Stands in front of the name of a folder whose successor is being put in its place.
const REPLACED: &str = "replaced-";
/// Stands in front of the name of what was put aside.
const DAMAGED: &str = "damaged-";

/// The folder in which something is listed.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The path beside it whose name has something in front.
fn beside(path: &Path, prefix: &str) -> PathBuf {
    let mut name = prefix.to_owned();
    name.push_str(&path.file_name().unwrap_or_default().to_string_lossy());
    path.with_file_name(name)
}

/// What a folder lists, in the order of names, so that what is done with it has an order.
fn entries(folder: &Path) -> std::result::Result<Vec<PathBuf>, Failure> {
    let listed = || -> Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = listed().map_err(at(folder))?;
    paths.sort();
    Ok(paths)
}

/// Makes what a folder lists survive a power cut. File systems that cannot do this for folders say
/// so; there is nothing more to be done then.
fn sync_folder(folder: &Path) -> std::result::Result<(), Failure> {
    ask(Operation::SyncFolder(folder)).map_err(at(folder))?;
    #[cfg(unix)]
    match fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {}
        other => other.map_err(at(folder))?,
    }
    Ok(())
}

/// Creates a folder, and those above it that are not there, so that they stay.
///
/// # Errors
/// When one cannot be created.
pub fn create_folder(path: &Path) -> std::result::Result<(), Failure> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(at(path)(ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(at(path)(error)),
    }
    if parent(path) != Path::new(".") {
        create_folder(parent(path))?;
    }
    match ask(Operation::CreateFolder(path)).and_then(|_| fs::create_dir(path)) {
        // somebody else was faster
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other.map_err(at(path))?,
    }
    sync_folder(parent(path))
}

/// Renames a file or folder inside its folder, so that it stays; a file that has the name is
/// replaced.
///
/// # Errors
/// When that fails.
pub fn rename(from: &Path, to: &Path) -> std::result::Result<(), Failure> {
    ask(Operation::Rename(from, to)).and_then(|_| fs::rename(from, to)).map_err(at(to))?;
    sync_folder(parent(to))
}

/// Removes a file, so that it stays away; that there is none is no error.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_file(path: &Path) -> std::result::Result<(), Failure> {
    unlink(path)?;
    sync_folder(parent(path))
}

fn unlink(path: &Path) -> std::result::Result<(), Failure> {
    match ask(Operation::RemoveFile(path)).and_then(|_| fs::remove_file(path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it; it loses its name first, so that what a kill leaves is
/// not taken for a whole one.
///
/// # Errors
/// When something cannot be removed.
pub fn remove_folder(path: &Path) -> std::result::Result<(), Failure> {
    let unfinished = beside(path, UNFINISHED);
    remove_pieces(&unfinished)?;
    rename(path, &unfinished)?;
    remove_pieces(&unfinished)
}

/// Removes what a path leads to, piece by piece; that there is nothing is no error.
fn remove_pieces(path: &Path) -> std::result::Result<(), Failure> {
    let is_folder = |metadata: fs::Metadata| metadata.is_dir();
    let folder: Result<bool> = fs::symlink_metadata(path).map(is_folder);
    match folder {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(path)(error)),
        Ok(false) => unlink(path),
        Ok(true) => {
            entries(path)?.iter().try_for_each(|piece| remove_pieces(piece))?;
            let removed = ask(Operation::RemoveFolder(path)).and_then(|_| fs::remove_dir(path));
            removed.map_err(at(path))
        }
    }
}

/// Puts a folder in place that `fill` fills with files. It is filled beside its place,
/// synchronised, and renamed; the one before it is removed when the new one is there. A kill or a
/// power cut leaves the old or the new one, if need be after [`recover`].
///
/// ```
/// use paretopo_durable::{Failure, put_folder, read, write};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let folder = tempfile::tempdir()?;
///     let best = folder.path().join("best");
///     for step in ["1", "2"] {
///         put_folder(&best, |unfinished| -> Result<(), Failure> {
///             write(&unfinished.join("config.json"), b"{}")?;
///             write(&unfinished.join("step"), step.as_bytes())
///         })?;
///     }
///     assert_eq!(read(&best.join("step"))?, Some(b"2".to_vec()));
///     Ok(())
/// }
/// ```
///
/// # Errors
/// When something cannot be written, synchronised or renamed, and those of `fill`; the old folder
/// is then still there, if need be after [`recover`].
pub fn put_folder<E: From<Failure>>(
    finished: &Path,
    fill: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let unfinished = beside(finished, UNFINISHED);
    remove_pieces(&unfinished)?;
    create_folder(&unfinished)?;
    fill(&unfinished)?;
    for path in entries(&unfinished)? {
        sync(&path)?;
    }
    sync_folder(&unfinished)?;
    let replaced = beside(finished, REPLACED);
    match fs::metadata(finished) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(at(finished)(error).into()),
        // not what an earlier call has put there
        Ok(metadata) if !metadata.is_dir() => {
            return Err(at(finished)(ErrorKind::NotADirectory.into()).into());
        }
        Ok(_) => {
            remove_pieces(&replaced)?;
            rename(finished, &replaced)?;
        }
    }
    rename(&unfinished, finished)?;
    Ok(remove_pieces(&replaced)?)
}

/// Ends what was interrupted among a folder's entries: a folder whose successor never came is put
/// back, and unfinished ones are removed. Returns the names of those that were put back.
///
/// # Errors
/// When the folder cannot be read, or something cannot be renamed or removed.
pub fn recover(folder: &Path) -> std::result::Result<Vec<String>, Failure> {
    let mut back = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if let Some(name) = name.strip_prefix(REPLACED) {
            let place = path.with_file_name(name);
            if fs::symlink_metadata(&place).is_ok() {
                remove_pieces(&path)?;
            } else {
                rename(&path, &place)?;
                back.push(name.to_owned());
            }
        } else if name.starts_with(UNFINISHED) {
            remove_pieces(&path)?;
        }
    }
    Ok(back)
}

/// Renames what cannot be used, so that it is kept and in nobody's way; returns where it is now.
///
/// # Errors
/// When it cannot be renamed.
pub fn put_aside(path: &Path) -> std::result::Result<PathBuf, Failure> {
    let aside = free_name(&beside(path, DAMAGED));
    rename(path, &aside)?;
    Ok(aside)
}

/// The path, or with the first number behind it that is not taken.
fn free_name(path: &Path) -> PathBuf {
    let taken = |path: &Path| fs::symlink_metadata(path).is_ok();
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    };
    let mut free = path.to_owned();
    let mut number = 2;
    while taken(&free) {
        free = numbered(number);
        number += 1;
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read, write, write_atomically};

    fn names(folder: &Path) -> Vec<String> {
        let names = entries(folder).unwrap().into_iter();
        names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn text(path: &Path) -> String {
        String::from_utf8(read(path).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().join("a/b/best");
        let put = |content: &'static str| {
            put_folder(&place, |folder| write(&folder.join("file"), content.as_bytes()))
        };
        put("1").unwrap();
        put("2").unwrap();
        assert_eq!(text(&place.join("file")), "2");
        assert_eq!(names(place.parent().unwrap()), ["best"]);
        // what `fill` refuses is never in place
        let refused = put_folder(&place, |folder| {
            write(&folder.join("other"), b"3")?;
            Err(at(folder)(ErrorKind::StorageFull.into()))
        });
        assert!(refused.is_err());
        assert_eq!((names(&place), text(&place.join("file"))), (vec!["file".into()], "2".into()));
        assert_eq!(recover(place.parent().unwrap()).unwrap(), Vec::<String>::new());
        assert_eq!(names(place.parent().unwrap()), ["best"]);
    }

    #[test]
    fn what_is_no_folder_is_not_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().join("best");
        std::fs::write(&place, "somebody's").unwrap();
        let put = put_folder(&place, |folder| write(&folder.join("file"), b"1"));
        assert_eq!(put.unwrap_err().source.kind(), ErrorKind::NotADirectory);
        assert_eq!(text(&place), "somebody's");
        let created = create_folder(&place.join("below"));
        assert_eq!(created.unwrap_err().source.kind(), ErrorKind::NotADirectory);
    }

    #[test]
    fn an_interrupted_replacement_is_ended_one_way_or_the_other() {
        let scratch = tempfile::tempdir().unwrap();
        let with = |name: &str| {
            std::fs::create_dir(scratch.path().join(name)).unwrap();
            std::fs::write(scratch.path().join(name).join("file"), name).unwrap();
        };
        // between the two renames, and behind both
        for name in ["replaced-best", "unfinished-best", "replaced-policy", "policy", "unfinished"]
        {
            with(name);
        }
        assert_eq!(recover(scratch.path()).unwrap(), ["best"]);
        assert_eq!(names(scratch.path()), ["best", "policy", "unfinished"]);
        assert_eq!(text(&scratch.path().join("best/file")), "replaced-best");
        assert_eq!(text(&scratch.path().join("policy/file")), "policy");
    }

    #[test]
    fn what_is_put_aside_never_meets_what_was() {
        let scratch = tempfile::tempdir().unwrap();
        for content in ["1", "2", "3"] {
            std::fs::write(scratch.path().join("file"), content).unwrap();
            put_aside(&scratch.path().join("file")).unwrap();
        }
        assert_eq!(names(scratch.path()), ["damaged-file", "damaged-file-2", "damaged-file-3"]);
        assert_eq!(text(&scratch.path().join("damaged-file-2")), "2");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_a_files_place_is_refused_and_not_waited_for() {
        let scratch = tempfile::tempdir().unwrap();
        let pipe = scratch.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for refused in [
            read(&pipe).map(drop),
            write(&pipe, b"1"),
            write_atomically(&pipe, b"1"),
            crate::File::append(&pipe).map(drop),
        ] {
            let said = refused.unwrap_err().to_string();
            assert!(said.ends_with("pipe`: it is no regular file"), "{said}");
        }
        let folder = read(scratch.path()).unwrap_err();
        assert_eq!(folder.source.kind(), ErrorKind::IsADirectory);
        assert_eq!(read(&scratch.path().join("nothing")).unwrap(), None);
    }
}
