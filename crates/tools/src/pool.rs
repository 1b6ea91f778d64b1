//! Runs tool calls beside the decoding: a bounded set of threads, one channel of outcomes.

use crate::{CallContext, Tool};
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

struct Job {
    ticket: u64,
    tool: Arc<dyn Tool>,
    call: ToolCall,
    context: CallContext,
}

/// An outcome with the ticket of the call it belongs to.
#[derive(Debug)]
pub struct Completed {
    /// The ticket given to [`ToolPool::submit`].
    pub ticket: u64,
    /// What the tool returned.
    pub outcome: ToolOutcome,
}

/// A fixed number of threads that run tool calls.
pub struct ToolPool {
    jobs: Sender<Job>,
    completed: Receiver<Completed>,
    pending: usize,
}

impl ToolPool {
    /// Starts `threads` (at least one) worker threads. They end when the pool is dropped.
    pub fn new(threads: usize) -> Self {
        let (jobs, job_receiver) = channel::<Job>();
        let (outcome_sender, completed) = channel();
        let job_receiver = Arc::new(Mutex::new(job_receiver));
        for _ in 0..threads.max(1) {
            let (job_receiver, outcome_sender) = (job_receiver.clone(), outcome_sender.clone());
            std::thread::spawn(move || work(&job_receiver, &outcome_sender));
        }
        Self { jobs, completed, pending: 0 }
    }

    /// Queues a call. Its outcome arrives through [`Self::poll`] or [`Self::wait`] under the same
    /// `ticket`.
    pub fn submit(
        &mut self,
        ticket: u64,
        tool: Arc<dyn Tool>,
        call: ToolCall,
        context: CallContext,
    ) {
        self.pending += 1;
        self.jobs
            .send(Job { ticket, tool, call, context })
            .expect("the workers hold the receiver as long as the pool lives");
    }

    /// Calls that have been submitted and not yet delivered.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// The next finished call, if there is one now.
    pub fn poll(&mut self) -> Option<Completed> {
        let completed = self.completed.try_recv().ok()?;
        self.pending -= 1;
        Some(completed)
    }

    /// The next finished call, waiting at most `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Option<Completed> {
        match self.completed.recv_timeout(timeout) {
            Ok(completed) => {
                self.pending -= 1;
                Some(completed)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>, outcomes: &Sender<Completed>) {
    loop {
        // the lock is held only while waiting for the next job, never while one runs
        let job = match jobs.lock() {
            Ok(receiver) => receiver.recv(),
            Err(_) => return,
        };
        let Ok(job) = job else { return };
        let started = Instant::now();
        let outcome = if job.context.time_left().is_zero() {
            ToolOutcome::new(
                CallStatus::Timeout,
                "TimeoutError: the call's deadline passed while it was queued",
                0.0,
            )
        } else {
            catch_unwind(AssertUnwindSafe(|| job.tool.call(&job.call, &job.context)))
                .unwrap_or_else(|_| {
                    ToolOutcome::new(
                        CallStatus::Error,
                        format!("ToolError: `{}` failed internally", job.call.name),
                        started.elapsed().as_secs_f32(),
                    )
                    .with_fault(Fault::Tool)
                })
        };
        if outcomes.send(Completed { ticket: job.ticket, outcome }).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::{ToolSpec, TrajectoryId};

    /// Sleeps for the given milliseconds, or panics when asked to.
    struct Sleeper;

    impl Tool for Sleeper {
        fn spec(&self) -> ToolSpec {
            ToolSpec {
                name: "sleep".into(),
                description: String::new(),
                parameters: serde_json::json!({}),
            }
        }

        fn call(&self, call: &ToolCall, _context: &CallContext) -> ToolOutcome {
            let milliseconds = call.arguments["ms"].as_u64().expect("the test gives a number");
            std::thread::sleep(Duration::from_millis(milliseconds));
            ToolOutcome::new(CallStatus::Ok, milliseconds.to_string(), 0.0)
        }
    }

    fn call(ms: serde_json::Value) -> ToolCall {
        ToolCall { name: "sleep".into(), arguments: serde_json::json!({ "ms": ms }) }
    }

    fn context() -> CallContext {
        CallContext::new(TrajectoryId::new("test", 0, 0), Instant::now() + Duration::from_secs(5))
    }

    #[test]
    fn a_slow_call_does_not_hold_up_a_fast_one() {
        let mut pool = ToolPool::new(2);
        let tool: Arc<dyn Tool> = Arc::new(Sleeper);
        pool.submit(1, tool.clone(), call(400.into()), context());
        pool.submit(2, tool, call(1.into()), context());
        assert_eq!(pool.wait(Duration::from_secs(5)).map(|done| done.ticket), Some(2));
        assert_eq!(pool.wait(Duration::from_secs(5)).map(|done| done.ticket), Some(1));
        assert_eq!(pool.pending(), 0);
    }

    #[test]
    fn a_panicking_tool_is_an_error_outcome_and_the_thread_lives_on() {
        let mut pool = ToolPool::new(1);
        let tool: Arc<dyn Tool> = Arc::new(Sleeper);
        pool.submit(1, tool.clone(), call("x".into()), context());
        pool.submit(2, tool, call(1.into()), context());
        let first = pool.wait(Duration::from_secs(5)).expect("an outcome");
        assert_eq!((first.ticket, first.outcome.status), (1, CallStatus::Error));
        assert_eq!(first.outcome.fault, Some(Fault::Tool));
        assert_eq!(
            pool.wait(Duration::from_secs(5)).map(|done| done.outcome.status),
            Some(CallStatus::Ok)
        );
    }
}
