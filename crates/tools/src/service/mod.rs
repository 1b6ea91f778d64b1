//! Programs and servers of other people that are asked: tools, and judges of episodes.
//!
//! A [`Service`] has a fixed number of threads, which is the bound on requests at a time. Each has
//! a line of its own: a process of the program, started before the first request and kept, or
//! requests by HTTP. Whatever goes wrong on a line (no answer by the deadline, an end, nonsense,
//! the answer to another request) ends its process; the next request finds a new one. A breaker
//! bounds how often that happens. `docs/outside.md` has the protocol.

mod config;
mod connection;
mod server;
mod tool;

pub use config::{Asked, ProgramConfig, ServiceLimits};
pub use server::ServerConfig;
pub use tool::{CommandTool, HttpTool};

use connection::{Connection, Failure, Kind};
use paretopo_retrieval::Breaker;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The version of the protocol that a greeting tells.
const PROTOCOL: u64 = 1;
/// How long is slept before it is looked whether the service is over.
const NAP: Duration = Duration::from_millis(50);

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceFailure {
    /// Time ran out.
    #[error("{0}")]
    Late(String),
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

impl From<Failure> for ServiceFailure {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Late | Kind::Expired => Self::Late(failure.reason),
            Kind::Untaken | Kind::Lost => Self::Failed(failure.reason),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct ServiceRequest {
    /// Its keys, without `id` and `seconds`, which each attempt adds.
    pub body: Map<String, Value>,
    /// When an answer is of no use any more; `None` where the limits alone say how long to wait.
    pub deadline: Option<Instant>,
    /// Whether it may be asked again where it is not known what became of it.
    pub is_repeatable: bool,
}

impl ServiceRequest {
    fn require_time(&self) -> Result<(), Failure> {
        match self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            true => Err(Failure::new(Kind::Expired, "there was no time left to ask")),
            false => Ok(()),
        }
    }
}

struct Job {
    request: ServiceRequest,
    answer: SyncSender<Result<Map<String, Value>, ServiceFailure>>,
}

/// A request that was sent.
#[derive(Debug)]
pub struct Waiting {
    answer: Receiver<Result<Map<String, Value>, ServiceFailure>>,
    deadline: Option<Instant>,
}

impl Waiting {
    /// The answer; waits for it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn answer(self) -> Result<Map<String, Value>, ServiceFailure> {
        let ended = || ServiceFailure::Failed("nobody is left to be asked".into());
        let Some(deadline) = self.deadline else {
            // bounded by the attempts and their limits: each sent request is answered or dropped
            return self.answer.recv().unwrap_or_else(|_| Err(ended()));
        };
        match self.answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
            Err(RecvTimeoutError::Timeout) => Err(ServiceFailure::Late("no answer in time".into())),
        }
    }
}

/// What the threads of a service share.
struct Shared {
    limits: ServiceLimits,
    breaker: Breaker,
    greeting: Map<String, Value>,
    jobs: Mutex<Receiver<Job>>,
    /// Of the last request.
    id: AtomicU64,
    over: Arc<AtomicBool>,
}

/// A program or a server that is asked, by so many threads. Its processes are killed when it is
/// dropped.
#[derive(Debug)]
pub struct Service {
    jobs: Option<Sender<Job>>,
    over: Arc<AtomicBool>,
    /// Those that have processes to kill.
    threads: Vec<JoinHandle<()>>,
}

impl Service {
    /// Starts the threads, and waits until one of them has been greeted back. `role` (`tool`,
    /// `objective`) and `name` are told in the greeting.
    ///
    /// # Errors
    /// Why nobody greets back.
    pub fn start(
        asked: &Asked,
        limits: &ServiceLimits,
        role: &str,
        name: &str,
    ) -> Result<Self, String> {
        let greeting = serde_json::json!({
            "type": "hello", "protocol": PROTOCOL, "role": role, "name": name,
        });
        let greeting = greeting.as_object().cloned().unwrap_or_default();
        let (jobs, receiver) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            limits: *limits,
            breaker: Breaker::new(limits.breaker),
            greeting,
            jobs: Mutex::new(receiver),
            id: AtomicU64::new(0),
            over: over.clone(),
        });
        let (ready, greeted) = channel();
        let mut threads = Vec::new();
        for _ in 0..limits.concurrency.max(1) {
            let line = Connection::new(asked)?;
            let (shared, ready) = (shared.clone(), ready.clone());
            threads.push(std::thread::spawn(move || Worker { shared, line }.work(ready)));
        }
        drop((shared, ready));
        let mut first_reason = None;
        let has_begun = greeted.iter().any(|greeting: Result<(), Failure>| match greeting {
            Ok(()) => true,
            Err(failure) => {
                first_reason.get_or_insert(failure.reason);
                false
            }
        });
        // a request by HTTP leaves nothing behind that would have to be killed
        if matches!(asked, Asked::Server(_)) {
            threads.clear();
        }
        let service = Self { jobs: Some(jobs), over, threads };
        let reason = first_reason.unwrap_or_else(|| "its threads have ended".into());
        if has_begun { Ok(service) } else { Err(reason) }
    }

    /// Sends a request; who waits for its answer may send others meanwhile.
    pub fn send(&self, request: ServiceRequest) -> Waiting {
        let (sender, answer) = sync_channel(1);
        let deadline = request.deadline;
        if let Some(jobs) = &self.jobs {
            // if nobody is left to take it, it is dropped, which whoever waits hears
            let _ = jobs.send(Job { request, answer: sender });
        }
        Waiting { answer, deadline }
    }

    /// The answer to a request.
    ///
    /// # Errors
    /// Why there is none.
    pub fn ask(&self, request: ServiceRequest) -> Result<Map<String, Value>, ServiceFailure> {
        self.send(request).answer()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // a thread that has panicked has dropped its process
            let _ = thread.join();
        }
    }
}

/// One thread of a service, with its line.
struct Worker {
    shared: Arc<Shared>,
    line: Connection,
}

impl Worker {
    fn work(mut self, ready: Sender<Result<(), Failure>>) {
        // who started it may have heard enough already
        let _ = ready.send(self.open());
        drop(ready);
        loop {
            // held while nothing is to be done, never during a request
            let job = match self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv() {
                Ok(job) => job,
                Err(_) => return,
            };
            let answer = self.answer(&job.request);
            // a failing send means that nobody waits any more
            let _ = job.answer.send(answer);
            // so that the next request does not wait for a program that starts slowly
            if !self.line.is_open() && !self.is_over() && self.shared.breaker.enter().is_ok() {
                let opened = self.open();
                self.shared.breaker.report(opened.is_ok());
            }
        }
    }

    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
    }

    /// A request's keys with the `id` that its answer must have.
    fn numbered(&self, body: &Map<String, Value>) -> Map<String, Value> {
        let id = self.shared.id.fetch_add(1, Ordering::Relaxed);
        let own = [("id".to_owned(), Value::from(id))];
        own.into_iter()
            .chain(body.iter().map(|(key, value)| (key.clone(), value.clone())))
            .collect()
    }

    fn open(&mut self) -> Result<(), Failure> {
        let greeting = self.numbered(&self.shared.greeting);
        let deadline = Instant::now() + self.shared.limits.start_seconds.duration();
        self.line.open(&greeting, deadline, &self.shared.over)
    }

    /// The answer to a request, tried again where that may help and may be done.
    fn answer(&mut self, request: &ServiceRequest) -> Result<Map<String, Value>, ServiceFailure> {
        let limits = self.shared.limits;
        let mut pause = limits.backoff_seconds.duration();
        for attempt in 0.. {
            if let Err(open) = self.shared.breaker.enter() {
                return Err(ServiceFailure::Failed(open.to_string()));
            }
            let failure = match self.attempt(request) {
                Ok(answer) => {
                    self.shared.breaker.report(true);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            // that there was no time to ask is not the fault of who was not asked
            self.shared.breaker.report(failure.kind == Kind::Expired);
            let may_repeat = match failure.kind {
                Kind::Untaken => true,
                Kind::Lost | Kind::Late => request.is_repeatable,
                Kind::Expired => false,
            };
            if !may_repeat || attempt >= limits.retries || self.is_over() {
                return Err(failure.into());
            }
            self.sleep(pause, request.deadline);
            pause = pause.saturating_mul(2);
        }
        unreachable!("the last attempt returns")
    }

    fn attempt(&mut self, request: &ServiceRequest) -> Result<Map<String, Value>, Failure> {
        request.require_time()?;
        if !self.line.is_open() {
            self.open()?;
        }
        request.require_time()?;
        let now = Instant::now();
        let due = now + self.shared.limits.seconds.duration();
        let due = request.deadline.map_or(due, |deadline| deadline.min(due));
        let mut body = self.numbered(&request.body);
        let seconds = due.saturating_duration_since(now).as_secs_f64();
        body.insert("seconds".into(), seconds.into());
        self.line.ask(&body, due, &self.shared.over)
    }

    /// Sleeps, unless the service ends or the deadline comes first.
    fn sleep(&self, pause: Duration, deadline: Option<Instant>) {
        let until = Instant::now() + pause;
        let until = deadline.map_or(until, |deadline| deadline.min(until));
        while !self.is_over() && Instant::now() < until {
            std::thread::sleep(NAP.min(until.saturating_duration_since(Instant::now())));
        }
    }
}

#[cfg(test)]
mod tests;
