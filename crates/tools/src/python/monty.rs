//! The interpreter in Rust: no file, network, environment or process exists for a program. It
//! enforces time and recursion between its instructions; its worker's allocator enforces memory,
//! and the parent kills a worker that has not answered shortly after the deadline.

use super::{
    GRACE, LONGEST_PROGRAM, PythonLimits, Ran, Unavailable, crashed, late, out_of_memory, too_long,
};
use monty::{MontyRepl, MontyRun};
use monty_types::{
    CompileOptions, ExcType, MontyException, MontyObject, OOM_EXIT_CODE, PrintWriter,
    ResourceLimits, ResourceTracker,
};
use paretopo_containment::{Farewell, IdleWorkers, Worker, WorkerFailure, serve};
use paretopo_trajectory::CallStatus;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Serialize, Deserialize)]
struct Request {
    program: String,
    limits: PythonLimits,
    /// Whether the program is one of a session, whose names are kept.
    session: bool,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    status: CallStatus,
    text: String,
    /// Whether a session has ended.
    ended: bool,
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
    let mut printed = String::new();
    let print = PrintWriter::CollectString(&mut printed, Some(limits.printed));
    let result =
        MontyRun::new(program.to_owned(), "main.py", Vec::new(), CompileOptions::default())
            .and_then(|runner| runner.run(Vec::new(), tracker(limits), print));
    ran(result, printed, limits)
}

fn tracker(limits: &PythonLimits) -> ResourceTracker {
    ResourceTracker::new(ResourceLimits {
        max_duration: Some(limits.seconds.duration()),
        max_memory: Some(limits.memory),
        max_recursion_depth: limits.recursion,
        ..ResourceLimits::default()
    })
}

/// Status and text of what a program gave or raised, and what it printed.
fn ran(
    result: Result<MontyObject, MontyException>,
    mut printed: String,
    limits: &PythonLimits,
) -> (CallStatus, String) {
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

/// Runs a program of a session, begun with the first. After a limit other than that of recursion
/// the session has ended: what took the time or memory is still there.
fn evaluate_next(session: &mut Option<MontyRepl>, request: &Request) -> Answer {
    let limits = &request.limits;
    let repl = session.get_or_insert_with(|| {
        MontyRepl::new("main.py", tracker(limits), CompileOptions::default())
    });
    repl.tracker_mut().set_max_duration(limits.seconds.duration());
    let mut printed = String::new();
    let print = PrintWriter::CollectString(&mut printed, Some(limits.printed));
    let result = repl.feed_run(&request.program, Vec::new(), print);
    let ended = result.as_ref().is_err_and(|exception| {
        matches!(exception.exc_type(), ExcType::TimeoutError | ExcType::MemoryError)
    });
    let (status, text) = ran(result, printed, limits);
    Answer { status, text, ended }
}

/// The worker's main loop: programs and their outcomes, until the parent closes the socket that is
/// this process's standard input.
///
/// # Errors
/// When the socket breaks, which ends the worker.
pub fn python_worker() -> std::io::Result<()> {
    let mut session = None;
    serve(|request: Request| {
        // not being installed as the allocator is only possible in a foreign binary; the limit is
        // then not enforced
        let _ = monty_alloc::set_limit(Some(request.limits.memory), false);
        let answer = if request.session {
            evaluate_next(&mut session, &request)
        } else {
            let (status, text) = evaluate_python(&request.program, &request.limits);
            Answer { status, text, ended: false }
        };
        // between programs the worker itself may allocate as it likes
        let _ = monty_alloc::set_limit(None, false);
        answer
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
            None => self.start_worker()?,
        };
        let request = Request { program: program.to_owned(), limits, session: false };
        let answer = ask(&mut worker, &request)?;
        if !answer.ended {
            self.idle.keep(worker);
        }
        Ok((answer.status, answer.text))
    }

    /// Begins a session, in a worker of its own: memory is counted for a whole process.
    pub(super) fn begin_session(&self) -> Result<MontySession, Unavailable> {
        self.start_worker().map(|worker| MontySession { worker })
    }

    fn start_worker(&self) -> Result<Worker, Unavailable> {
        Worker::start(&self.command, self.longest_answer, Farewell::Kill)
            .map_err(|error| Unavailable::NotStarted(error.to_string()))
    }
}

/// A worker that keeps the names of its programs, and ends with this.
pub(super) struct MontySession {
    worker: Worker,
}

impl MontySession {
    /// Runs a program, and whether the session goes on.
    pub(super) fn run(
        &mut self,
        program: &str,
        limits: PythonLimits,
    ) -> (Result<Ran, Unavailable>, bool) {
        let request = Request { program: program.to_owned(), limits, session: true };
        match ask(&mut self.worker, &request) {
            Ok(answer) => (Ok((answer.status, answer.text)), !answer.ended),
            Err(unavailable) => (Err(unavailable), false),
        }
    }
}

/// What a worker answers. If it gave none, as it was late or out of memory, it has ended.
fn ask(worker: &mut Worker, request: &Request) -> Result<Answer, Unavailable> {
    let limits = request.limits;
    let ended = |(status, text)| Ok(Answer { status, text, ended: true });
    match worker.ask::<Answer>(request, limits.seconds.duration() + GRACE) {
        Ok(answer) => Ok(answer),
        Err(WorkerFailure::Late) => ended(late(limits.seconds)),
        Err(failure) => match worker.exit_code() {
            Some(OOM_EXIT_CODE) => ended((CallStatus::Limit, out_of_memory(limits.memory))),
            code => Err(crashed(failure, code)),
        },
    }
}
