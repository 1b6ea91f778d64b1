//! The seam: every change of the disk is asked for here before it is done.
//!
//! A watcher belongs to a thread and to a stretch of work, since a run writes from one thread.
//! There is none outside of tests, and then all is allowed.

use std::cell::RefCell;
use std::io::{Error, Result};
use std::path::Path;

/// A change of the disk.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// A folder is created in a folder that is there.
    CreateFolder(&'a Path),
    /// A file is created, or emptied.
    Create(&'a Path),
    /// A file is opened to be written at its end; it is created when it is not there.
    Append(&'a Path),
    /// Bytes are written at the end of what the open file holds.
    Write(&'a Path, &'a [u8]),
    /// What a file holds is made to survive a power cut.
    Sync(&'a Path),
    /// What a folder lists is made to survive a power cut.
    SyncFolder(&'a Path),
    /// The first path becomes the second, in one step.
    Rename(&'a Path, &'a Path),
    /// A file is removed.
    RemoveFile(&'a Path),
    /// An empty folder is removed.
    RemoveFolder(&'a Path),
}

/// What is to become of an operation.
#[derive(Debug)]
pub enum Answer {
    /// It is done.
    Do,
    /// It is not done, and fails with this error.
    Fail(Error),
    /// Of a write at most so many bytes are done, which is no error; anything else is done.
    Short(usize),
}

/// Hears of each operation before it is done, and decides on it.
pub type Watcher = Box<dyn FnMut(&Operation<'_>) -> Answer>;

thread_local! {
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
}

/// Does `work` with a watcher on all that this thread changes on the disk by this crate.
///
/// ```
/// use paretopo_durable::{Answer, Operation, read, watched, write_atomically};
/// use std::io::{Error, ErrorKind};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let folder = tempfile::tempdir()?;
///     let path = folder.path().join("state.json");
///     write_atomically(&path, b"old")?;
///     // a disk that is full
///     let full = |operation: &Operation<'_>| match operation {
///         Operation::Write(..) => Answer::Fail(Error::from(ErrorKind::StorageFull)),
///         _ => Answer::Do,
///     };
///     let failed = watched(Box::new(full), || write_atomically(&path, b"new"));
///     assert_eq!(failed.expect_err("it is full").source.kind(), ErrorKind::StorageFull);
///     assert_eq!(read(&path)?, Some(b"old".to_vec()));
///     Ok(())
/// }
/// ```
pub fn watched<T>(watcher: Watcher, work: impl FnOnce() -> T) -> T {
    /// Ends the watch, also when the work panics.
    struct Unwatch;
    impl Drop for Unwatch {
        fn drop(&mut self) {
            WATCHER.take();
        }
    }
    WATCHER.replace(Some(watcher));
    let _unwatch = Unwatch;
    work()
}

/// Asks whether an operation may be done; of a write, how many of its bytes.
pub(crate) fn ask(operation: Operation<'_>) -> Result<usize> {
    let length = if let Operation::Write(_, bytes) = operation { bytes.len() } else { 0 };
    WATCHER.with_borrow_mut(|watcher| match watcher.as_mut().map(|watcher| watcher(&operation)) {
        None | Some(Answer::Do) => Ok(length),
        Some(Answer::Short(bytes)) => Ok(bytes.min(length)),
        Some(Answer::Fail(error)) => Err(error),
    })
}
