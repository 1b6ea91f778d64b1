//! What a server allows: sizes, times, connections.

use crate::RetrievalError;
use std::time::Duration;

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Queries in a request.
    pub queries: usize,
    /// Bytes of a query.
    pub query_bytes: usize,
    /// Bytes of a request.
    pub body_bytes: usize,
    /// Passages a query.
    pub topk: usize,
    /// Passages of a request, over all its queries.
    pub passages: usize,
    /// Bytes of requests that arrive and of answers that leave, over all connections.
    pub memory_bytes: usize,
    /// Connections at a time; fewer where the system allows fewer open files. Where there are more,
    /// the one that has waited for its client the longest is closed.
    pub connections: usize,
    /// Time for a connection to begin a request.
    pub idle_time: Duration,
    /// Time for a request's headers to arrive, all of them.
    pub head_time: Duration,
    /// Time for a request's body to arrive.
    pub body_time: Duration,
    /// Time for an answer to be taken.
    pub write_time: Duration,
    /// Time for requests under way to be answered once the server is to stop.
    pub stop_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queries: 4096,
            query_bytes: 8 << 10,
            body_bytes: 8 << 20,
            topk: 1000,
            passages: 1 << 17,
            memory_bytes: 256 << 20,
            connections: 1024,
            idle_time: Duration::from_secs(120),
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            write_time: Duration::from_secs(60),
            stop_time: Duration::from_secs(3),
        }
    }
}

/// Files that are opened besides connections: the next one that asks, the runtime's, the index's.
const OTHER_FILES: u64 = 32;
/// With fewer there is no point in listening.
const FEWEST: u64 = 8;

/// How many connections there can be, by what is wanted and by what the system lets a process open.
///
/// # Errors
/// When there can be next to none.
pub(super) fn most_connections(wanted: usize) -> Result<usize, RetrievalError> {
    #[cfg(unix)]
    {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let Some(limit) = limit else { return Ok(wanted) };
        let open = std::fs::read_dir("/dev/fd").map_or(OTHER_FILES, |files| files.count() as u64);
        let left = limit.saturating_sub(open + OTHER_FILES);
        if left < FEWEST {
            return Err(RetrievalError::FewFiles { limit, open });
        }
        Ok(usize::try_from(left).unwrap_or(usize::MAX).min(wanted))
    }
    #[cfg(not(unix))]
    Ok(wanted)
}
