//! What can be wrong with an environment's data or settings.

use std::path::PathBuf;

/// What can be wrong with an environment's data or settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file is missing or unreadable.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("`{path}` line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A parquet file, which this build cannot read.
    #[error(
        "`{path}` is a parquet file, and their reader is not compiled into this binary\n\
         hint: build it with `cargo build --release --features parquet`, or give JSON lines"
    )]
    LeftOut {
        /// The file.
        path: PathBuf,
    },
    /// A data set by name.
    #[error(transparent)]
    Hub(#[from] paretopo_hub::HubError),
    /// The passages to search in.
    #[error(transparent)]
    Retrieval(#[from] paretopo_retrieval::RetrievalError),
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(String),
}
