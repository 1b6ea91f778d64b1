//! What can go wrong while an index is made, and while it is asked.

use std::path::PathBuf;

/// Why there is no index or no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetrievalError {
    /// A file or folder cannot be read or written.
    #[error("cannot access `{path}`: {source}")]
    Access {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of a corpus is not a passage.
    #[error("`{path}` line {line}: {reason}")]
    Line {
        /// The corpus.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A corpus without a passage.
    #[error("`{0}` holds no passage")]
    Empty(PathBuf),
    /// The index cannot be built or opened.
    #[error(
        "the index in `{path}`: {reason}\nhint: delete this folder, and the index is built anew"
    )]
    Index {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// This build has no index.
    #[error(
        "the search index is not compiled into this binary\nhint: build it with `cargo build \
         --release --features search`"
    )]
    LeftOut,
    /// A server is to be asked by `https`, which this build cannot.
    #[error(
        "`{0}`: `https` is not compiled into this binary\nhint: build it with `cargo build \
         --release --features https`"
    )]
    Unencrypted(String),
    /// The system lets the server open next to nothing.
    #[error(
        "this process may open {limit} files and has {open} open, which leaves too few for \
         connections\nhint: raise the limit, `ulimit -n 1024`"
    )]
    FewFiles {
        /// How many it may open.
        limit: u64,
        /// How many it has open.
        open: u64,
    },
    /// The server cannot listen.
    #[error("cannot listen on `{address}`: {source}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Why a query has no answer. An agent reads it as the outcome of its call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RetrieveError {
    /// The deadline passed.
    #[error("the search did not answer in time")]
    Timeout,
    /// The retriever is down, refuses, or answers nonsense.
    #[error("the search failed: {0}")]
    Failed(String),
}
