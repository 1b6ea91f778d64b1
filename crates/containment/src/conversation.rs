//! Requests to another process and its answers, where that process may be hostile.
//!
//! Each request has a number that cannot be guessed; an answer counts only if it carries the number
//! of the request that waits, is no longer than agreed and can be read.

use crate::channel::{receive, send};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{Display, Formatter};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Why a worker gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerFailure {
    /// It did not answer in time.
    Late,
    /// It ended.
    Died,
    /// It answered another request than was asked, more than was agreed, or nonsense.
    Misbehaved,
}

impl Display for WorkerFailure {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Late => "it did not answer",
            Self::Died => "it ended",
            Self::Misbehaved => "it broke the protocol",
        })
    }
}

/// Our end of a socket. The other end is some process's, often a worker's standard input; that
/// process sees it end when this is dropped.
#[derive(Debug)]
pub struct Conversation {
    stream: UnixStream,
    most: usize,
    asked: u64,
    secret: RandomState,
}

impl Conversation {
    /// One with messages of at most `most` bytes to us, and the other end.
    ///
    /// # Errors
    /// When this process may have no more descriptors.
    pub fn pair(most: usize) -> std::io::Result<(Self, OwnedFd)> {
        let (stream, theirs) = UnixStream::pair()?;
        Ok((Self { stream, most, asked: 0, secret: RandomState::new() }, theirs.into()))
    }

    /// Sends a request, with descriptors that the other side shall have (at most four), and returns
    /// the number that its answer must carry. A request without an answer may follow
    /// ([`Self::tell`]).
    ///
    /// # Errors
    /// When it is not taken within `patience`.
    pub fn request(
        &mut self,
        request: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> Result<u64, WorkerFailure> {
        self.asked += 1;
        let number = self.secret.hash_one(self.asked);
        self.tell(number, request, descriptors, patience)?;
        Ok(number)
    }

    /// Says something more about the request of this number.
    ///
    /// # Errors
    /// When it is not taken within `patience`.
    pub fn tell(
        &mut self,
        number: u64,
        request: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> Result<(), WorkerFailure> {
        let body = serde_json::to_vec(request).map_err(|_| WorkerFailure::Misbehaved)?;
        send(&self.stream, number, &body, descriptors, Instant::now() + patience)
    }

    /// What it says next, which must carry `number`; 0 for what it says unasked.
    ///
    /// # Errors
    /// When it says nothing within `patience`, has ended, or says something else.
    pub fn hear<A: DeserializeOwned>(
        &mut self,
        number: u64,
        patience: Duration,
    ) -> Result<A, WorkerFailure> {
        let body = self.hear_bytes(number, patience)?;
        serde_json::from_slice(&body).map_err(|_| WorkerFailure::Misbehaved)
    }

    /// The same, of a worker that does not speak JSON.
    ///
    /// # Errors
    /// When it says nothing within `patience`, has ended, or answers something else.
    pub fn hear_bytes(
        &mut self,
        number: u64,
        patience: Duration,
    ) -> Result<Vec<u8>, WorkerFailure> {
        let (heard, body) = receive(&self.stream, self.most, Instant::now() + patience)?;
        if heard == number { Ok(body) } else { Err(WorkerFailure::Misbehaved) }
    }

    /// Its answer to a request. Ask nothing more after an error: the answer to this request may
    /// still come.
    ///
    /// # Errors
    /// When no answer comes within `patience`, it has ended, or its answer is not an `A`.
    pub fn ask<A: DeserializeOwned>(
        &mut self,
        request: &impl Serialize,
        patience: Duration,
    ) -> Result<A, WorkerFailure> {
        let deadline = Instant::now() + patience;
        let number = self.request(request, &[], patience)?;
        self.hear(number, deadline.saturating_duration_since(Instant::now()))
    }

    /// Lets the other side see the end.
    pub fn hang_up(&self) {
        // fails only when the other side is gone already
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl AsFd for Conversation {
    /// The socket, to wait for what is said beside other things.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
