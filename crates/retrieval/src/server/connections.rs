//! The connections that are open: what each waits for and since when, which one goes when there is
//! no room, and the memory that all share.
//!
//! Whoever waits for its client can be closed: between requests, while headers or a body arrive,
//! while an answer is taken. The order is by when that wait began, not by the last byte, so that a
//! client that sends a byte now and then gains nothing. Whoever waits for us is never closed.

use super::Limits;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How long the end of a connection is waited for before another one is chosen.
const PATIENCE: Duration = Duration::from_millis(50);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request.
    Idle,
    /// The rest of the headers.
    Head,
    /// The body.
    Body,
    /// Us.
    Search,
    /// Memory for the answer.
    Memory,
    /// The answer to be taken.
    Write,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Idle, Self::Head, Self::Body, Self::Search, Self::Memory, Self::Write];

    /// How long it may last. A body's time is watched where it is read, so that there is an answer.
    fn limit(self, limits: &Limits) -> Option<Duration> {
        match self {
            Self::Idle => Some(limits.idle_time),
            Self::Head => Some(limits.head_time),
            Self::Body => Some(limits.body_time * 2),
            Self::Search => None,
            Self::Memory | Self::Write => Some(limits.write_time),
        }
    }
}

/// A connection, as the others see it.
pub(super) struct Connection {
    number: u64,
    /// Milliseconds since the server began, times eight, and the phase.
    state: AtomicU64,
    ending: AtomicBool,
    end: Notify,
    memory: Mutex<Option<OwnedSemaphorePermit>>,
    all: Arc<Connections>,
}

/// All that are open.
pub(super) struct Connections {
    limits: Limits,
    most: usize,
    began: Instant,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    memory: Arc<Semaphore>,
    /// One has ended.
    ended: Notify,
}

/// Counts a connection as open until it is dropped.
pub(super) struct Open(pub(super) Arc<Connection>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.all.open().remove(&self.0.number);
        self.0.all.ended.notify_one();
    }
}

impl Connections {
    pub(super) fn new(limits: Limits, most: usize) -> Arc<Self> {
        Arc::new(Self {
            limits,
            most,
            began: Instant::now(),
            open: Mutex::default(),
            memory: Arc::new(Semaphore::new(limits.memory_bytes)),
            ended: Notify::new(),
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts one more. If that is one too many, another goes first; if all others wait for us,
    /// this one waits for the first of them that does not.
    pub(super) async fn admit(self: &Arc<Self>, number: u64) -> Open {
        loop {
            {
                let mut open = self.open();
                if open.len() < self.most {
                    let connection = Arc::new(Connection {
                        number,
                        state: AtomicU64::new(self.now() << 3),
                        ending: AtomicBool::new(false),
                        end: Notify::new(),
                        memory: Mutex::default(),
                        all: self.clone(),
                    });
                    open.insert(number, connection.clone());
                    return Open(connection);
                }
            }
            self.close_oldest(|_| true);
            // an end that is missed here is seen by the next round
            let _ = tokio::time::timeout(PATIENCE, self.ended.notified()).await;
        }
    }

    /// Ends the connection that has waited for its client the longest, of those that `which` takes.
    pub(super) fn close_oldest(&self, which: impl Fn(&Connection) -> bool) {
        let open = self.open();
        let waiting = open.values().filter(|connection| {
            let phase = connection.phase();
            phase != Phase::Search && !connection.ending.load(Ordering::Relaxed)
        });
        let oldest = waiting.filter(|connection| which(connection)).min_by_key(|connection| {
            // a number is higher the later it came
            (connection.state.load(Ordering::Relaxed) >> 3, connection.number)
        });
        if let Some(connection) = oldest {
            connection.close();
        }
    }

    /// Ends those that have waited for longer than is allowed.
    pub(super) fn sweep(&self) {
        let now = self.now();
        for connection in self.open().values() {
            let state = connection.state.load(Ordering::Relaxed);
            let waited = Duration::from_millis(now.saturating_sub(state >> 3));
            let limit = connection.phase().limit(&self.limits);
            if limit.is_some_and(|limit| waited > limit) {
                connection.close();
            }
        }
    }

    /// Until all have ended, or `limit` has passed.
    pub(super) async fn drained(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while !self.open().is_empty() && Instant::now() < until {
            let _ = tokio::time::timeout(PATIENCE, self.ended.notified()).await;
        }
    }
}

impl Connection {
    pub(super) fn phase(&self) -> Phase {
        Phase::ALL[(self.state.load(Ordering::Relaxed) & 7) as usize]
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.state.store((self.all.now() << 3) | phase as u64, Ordering::Relaxed);
    }

    /// Until it is to end.
    pub(super) async fn told_to_end(&self) {
        self.end.notified().await;
    }

    fn close(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.end.notify_one();
    }

    fn memory(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes memory from what all share. Where nothing is left, who holds some and has waited for
    /// its client the longest goes.
    pub(super) async fn take(&self, bytes: usize) {
        let bytes = u32::try_from(bytes.min(self.all.limits.memory_bytes)).unwrap_or(u32::MAX);
        let permit = loop {
            if let Ok(permit) = self.all.memory.clone().try_acquire_many_owned(bytes) {
                break permit;
            }
            let wanted = self.all.memory.clone().acquire_many_owned(bytes);
            match tokio::time::timeout(PATIENCE, wanted).await {
                Ok(permit) => break permit.expect("the semaphore is never closed"),
                Err(_) => self.all.close_oldest(|connection| {
                    connection.number != self.number && connection.memory().is_some()
                }),
            }
        };
        let mut held = self.memory();
        match &mut *held {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
    }

    pub(super) fn give_back(&self) {
        *self.memory() = None;
    }
}
