//! Files that survive a kill, a full disk and a power cut.
//!
//! ```
//! use paretopo_durable::{read, write_atomically};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let folder = tempfile::tempdir()?;
//!     let path = folder.path().join("state.json");
//!     assert_eq!(read(&path)?, None);
//!
//!     // whoever reads it meanwhile sees the old or the new content, and so does the next boot
//!     write_atomically(&path, b"{\"step\":1}")?;
//!     write_atomically(&path, b"{\"step\":2}")?;
//!     assert_eq!(read(&path)?.as_deref(), Some(&b"{\"step\":2}"[..]));
//!     Ok(())
//! }
//! ```
//!
//! A kill leaves what the kernel was told; a power cut leaves what was synchronised, and of the
//! rest anything. So what must be whole is written beside its place, synchronised, renamed, and the
//! folder in which it was renamed is synchronised too: by [`write_atomically`] a file, by
//! [`put_folder`] a folder. [`recover`] ends what was interrupted in between.
//!
//! Every change of the disk passes one seam, [`Operation`], where a test may fail it, cut it short,
//! or write down what a power cut would leave ([`watched`]). Reading has no seam: what can be read
//! is decided by what was written.

mod file;
mod folder;
mod seam;

pub use file::{File, fill_atomically, open, read, sync, write, write_atomically};
pub use folder::{
    create_folder, put_aside, put_folder, recover, remove_file, remove_folder, rename,
};
pub use seam::{Answer, Operation, Watcher, watched};

use std::path::{Path, PathBuf};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// A file or folder that cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot access `{path}`: {source}")]
pub struct Failure {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

pub(crate) fn at(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |source| Failure { path: path.into(), source }
}
