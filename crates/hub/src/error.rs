//! What can go wrong on the way from the hub to a file.

use std::path::PathBuf;

/// What can go wrong on the way from the hub to a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The name of a repository, a revision or an address that is none.
    #[error(transparent)]
    Name(#[from] crate::NameError),
    /// `HF_ENDPOINT` or the place of the cache.
    #[error("`{variable}` is `{value}`: {reason}")]
    Environment {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Offline, and never fetched.
    #[error(
        "`{file}` of `{repository}` is not in the cache `{cache}`, and `HF_HUB_OFFLINE` is set\n\
         hint: unset it, or fetch the files on a machine with a network"
    )]
    NotCached {
        /// The repository.
        repository: String,
        /// The file; `*` for any.
        file: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The hub knows no such thing.
    #[error(
        "`{endpoint}` has no `{file}` in `{repository}`\n\
         hint: check the name and the revision; private repositories need `HF_TOKEN`"
    )]
    Missing {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// The file; `*` for any.
        file: String,
    },
    /// The hub refuses.
    #[error(
        "`{endpoint}` refuses `{repository}` (status {status})\n\
         hint: set `HF_TOKEN`, and accept the repository's terms on its page"
    )]
    Denied {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// HTTP status.
        status: u16,
    },
    /// The hub cannot be reached, or breaks off.
    #[error(
        "cannot fetch `{file}` of `{repository}` from `{endpoint}`: {reason}\n\
         hint: the same command goes on where this one stopped; `HF_ENDPOINT` names another \
         server, `HF_HUB_OFFLINE=1` uses the cache alone"
    )]
    Unreachable {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// What happened.
        reason: String,
    },
    /// The hub is asked by `https`, which this build cannot.
    #[error(
        "`{file}` of `{repository}` is at `{endpoint}`, and `https` is not compiled into this \
         binary\nhint: build it with `cargo build --release --features https`"
    )]
    LeftOut {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// The file; `*` for any.
        file: String,
    },
    /// The hub says what no hub says; nothing of it is believed.
    #[error(
        "`{endpoint}` does not speak the hub's protocol about `{file}` of `{repository}`: \
         {reason}\nhint: `HF_ENDPOINT` names another server"
    )]
    Nonsense {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A file's name leads out of its repository.
    #[error(
        "`{repository}` lists `{}`, which is no place inside a repository: {reason}",
        file.escape_debug()
    )]
    Outside {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// What is wrong with the name.
        reason: &'static str,
    },
    /// What arrived is not what was announced.
    #[error(
        "`{file}` of `{repository}` arrived damaged twice: its checksum is {found}, not {expected}"
    )]
    Damaged {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// Of what arrived.
        found: String,
        /// Of what was announced.
        expected: String,
    },
    /// A place of the cache is a link to somewhere else.
    #[error(
        "`{path}` leads out of the repository's folder in the cache\n\
         hint: remove it, and what belongs there is fetched anew"
    )]
    LeadsOut {
        /// The link.
        path: PathBuf,
    },
    /// The disk cannot hold what was announced.
    #[error(
        "`{file}` of `{repository}` has {needed} bytes to come, and `{cache}` has room for {free}\n\
         hint: make room, or name another place by `HF_HOME`"
    )]
    NoRoom {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// Bytes that are still to be fetched.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The cache.
        cache: PathBuf,
    },
    /// A file of the cache.
    #[error("cannot access `{path}`: {source}")]
    Access {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
