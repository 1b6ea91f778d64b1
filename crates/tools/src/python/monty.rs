//! The interpreter in Rust: no file, network, environment or process exists for a program. It
//! enforces time and recursion between its instructions; its worker's allocator enforces memory,
//! and the parent kills a worker that has not answered shortly after the deadline.

use super::{GRACE, LONGEST_PROGRAM, PythonLimits, Ran, Unavailable, crashed, late, too_long};
use monty::MontyRun;
use monty_types::{
    CompileOptions, ExcType, MontyObject, OOM_EXIT_CODE, PrintWriter, ResourceLimits,
    ResourceTracker,
};
use paretopo_containment::{Farewell, IdleWorkers, Worker, WorkerFailure, serve};
use paretopo_trajectory::CallStatus;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Serialize, Deserialize)]
struct Request {
    program: String,
    limits: PythonLimits,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    status: CallStatus,
    text: String,
}

/// Runs a program in this process and thread, and returns its status with what it printed.
///
/// A program that prints nothing yields the `repr` of its last expression, as an interactive
/// session would. An exception yields what was printed before it and the last line of the
/// traceback. The memory limit holds only in a process whose global allocator is monty's; use
/// [`PythonTool`](super::PythonTool) for untrusted programs.
pub fn evaluate_python(program: &str, limits: &PythonLimits) -> (CallStatus, String) {
    if program.len() > LONGEST_PROGRAM {
        return too_long();
    }
    let tracker = ResourceTracker::new(ResourceLimits {
        max_duration: Some(limits.seconds.duration()),
        max_memory: Some(limits.memory),
        max_recursion_depth: limits.recursion,
        ..ResourceLimits::default()
    });
    let mut printed = String::new();
    let result =
        MontyRun::new(program.to_owned(), "main.py", Vec::new(), CompileOptions::default())
            .and_then(|runner| {
                runner.run(
                    Vec::new(),
                    tracker,
                    PrintWriter::CollectString(&mut printed, Some(limits.printed)),
                )
            });
    let (status, last) = match result {
        Ok(value) => {
            if printed.is_empty() && value != MontyObject::None {
                printed = value.py_repr();
            }
            return (CallStatus::Ok, printed);
        }
        Err(exception) => match exception.exc_type() {
            // its own words hold the time that it took, to the nanosecond
            ExcType::TimeoutError => late(limits.seconds),
            ExcType::MemoryError | ExcType::RecursionError => {
                (CallStatus::Limit, exception.summary())
            }
            _ => (CallStatus::Error, exception.summary()),
        },
    };
    if !printed.is_empty() && !printed.ends_with('\n') {
        printed.push('\n');
    }
    (status, printed + &last)
}

/// The worker's main loop: programs and their outcomes, until the parent closes the socket that is
/// this process's standard input.
///
/// # Errors
/// When the socket breaks, which ends the worker.
pub fn python_worker() -> std::io::Result<()> {
    serve(|request: Request| {
        // not being installed as the allocator is only possible in a foreign binary; the limit is
        // then not enforced
        let _ = monty_alloc::set_limit(Some(request.limits.memory), false);
        let (status, text) = evaluate_python(&request.program, &request.limits);
        // between programs the worker itself may allocate as it likes
        let _ = monty_alloc::set_limit(None, false);
        Answer { status, text }
    })
}

/// Runs programs in workers, each call in flight in one of its own.
#[derive(Debug)]
pub(super) struct Monty {
    command: Vec<PathBuf>,
    /// Bytes that an answer has at most.
    longest_answer: usize,
    idle: IdleWorkers,
}

impl Monty {
    /// Workers are started by `command`.
    pub(super) fn new(command: Vec<PathBuf>, limits: &PythonLimits) -> Self {
        // a byte is written as six at most, `\u0000`; what a program's error says comes on top
        let longest_answer = 6 * limits.printed.saturating_add(LONGEST_PROGRAM) + (1 << 20);
        Self { command, longest_answer, idle: IdleWorkers::default() }
    }

    /// Runs a program.
    pub(super) fn run(&self, program: &str, limits: PythonLimits) -> Result<Ran, Unavailable> {
        let mut worker = match self.idle.take() {
            Some(worker) => worker,
            None => Worker::start(&self.command, self.longest_answer, Farewell::Kill)
                .map_err(|error| Unavailable::NotStarted(error.to_string()))?,
        };
        let request = Request { program: program.to_owned(), limits };
        match worker.ask::<Answer>(&request, limits.seconds.duration() + GRACE) {
            Ok(answer) => {
                self.idle.keep(worker);
                Ok((answer.status, answer.text))
            }
            Err(WorkerFailure::Late) => Ok(late(limits.seconds)),
            Err(failure) => match worker.exit_code() {
                Some(OOM_EXIT_CODE) => Ok((
                    CallStatus::Limit,
                    format!("MemoryError: more than {} MiB used", limits.memory >> 20),
                )),
                code => Err(crashed(failure, code)),
            },
        }
    }
}
