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
        let open = std::fs::read_dir("/dev/fd").map_or(OTHER_FILES, |files| files.count() as u64);
        room(limit, open, wanted)
    }
    #[cfg(not(unix))]
    Ok(wanted)
}

/// `limit` is `None` where there is none.
#[cfg(unix)]
fn room(limit: Option<u64>, open: u64, wanted: usize) -> Result<usize, RetrievalError> {
    let Some(limit) = limit else { return Ok(wanted) };
    let left = limit.saturating_sub(open.saturating_add(OTHER_FILES));
    if left < FEWEST {
        return Err(RetrievalError::FewFiles { limit, open });
    }
    Ok(usize::try_from(left).unwrap_or(usize::MAX).min(wanted))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_what_may_be_opened() {
        // 12 are open and 32 are kept free
        for (limit, expected) in [
            (Some(256), 212),
            (Some(52), 8),
            (Some(1068), 1024),
            (Some(1067), 1023),
            (Some(1 << 20), 1024),
            (Some(u64::MAX), 1024),
            (None, 1024),
        ] {
            assert_eq!(room(limit, 12, 1024).unwrap(), expected, "{limit:?}");
        }
        for limit in [51, 12, 0] {
            let error = room(Some(limit), 12, 1024).unwrap_err().to_string();
            assert!(error.contains(&format!("may open {limit} files and has 12 open")), "{error}");
        }
    }
}
