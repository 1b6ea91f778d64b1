//! The Python tool, with three interpreters to choose from.
//!
//! - `monty`, the default: an interpreter in Rust with no access to files, network, environment or
//!   processes; starts at once, has no packages (`monty.rs`).
//! - `cpython`: the system's Python in a sandbox, with its packages (`cpython.rs`, `programs.rs`,
//!   `sandbox/`); Linux only.
//! - `sandbox_fusion`: a server (`sandbox_fusion.rs`).
//!
//! The first two run in worker processes. A worker is this very binary, started as
//! `paretopo python-worker` or `python-sandbox`. A process and not a thread, because only so can
//! memory be limited and a crash be contained. A worker that died is replaced and its call gets an
//! error outcome; a program that has ended its worker twice is not run again.
//!
//! With `session = true` the programs of one trajectory share a process that nobody else has
//! (`sessions.rs`, `session.rs`), and so their names and files.

mod config;
#[cfg(target_os = "linux")]
mod cpython;
mod monty;
#[cfg(target_os = "linux")]
mod programs;
#[cfg(target_os = "linux")]
mod sandbox;
mod sandbox_fusion;
mod session;
mod sessions;
mod started;

pub use config::{PythonConfig, PythonInterpreter, PythonLimits};
#[cfg(target_os = "linux")]
pub use cpython::{CpythonConfig, MissingLayers, Walls};
pub use monty::{evaluate_python, python_worker};
pub use sandbox_fusion::SandboxFusionConfig;

use crate::{CallContext, Tool, ToolSettings, truncate_middle};
use monty::Monty;
use paretopo_containment::WorkerFailure;
use paretopo_settings::Seconds;
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, ToolSpec, TrajectoryId};
use sandbox_fusion::SandboxFusion;
use session::Session;
use sessions::Sessions;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time beyond a call's own limit after which its worker is killed.
const GRACE: Duration = Duration::from_millis(100);
/// Programs longer than this are refused unread, in bytes.
const LONGEST_PROGRAM: usize = 64 * 1024;

/// The sandboxed CPython worker's entry: puts up the walls, starts the interpreter behind them and
/// keeps it until it or the parent ends.
///
/// # Errors
/// Why the interpreter did not start, which the parent has been told.
pub fn python_sandbox(settings: &str) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    return sandbox::enter(settings).or_else(|reason| {
        paretopo_containment::say(&cpython::Hello::Refused { reason })?;
        Err(std::io::Error::other("the sandbox did not start"))
    });
    #[cfg(not(target_os = "linux"))]
    Err(std::io::Error::other(format!("the sandbox needs Linux, not {settings}")))
}

/// How a program ended, and what it printed.
type Ran = (CallStatus, String);

/// Why a program could not be run, with the tool itself to blame.
#[derive(Debug)]
enum Unavailable {
    /// No worker.
    NotStarted(String),
    /// The worker's process ended, or broke the protocol. Perhaps the program's doing.
    Crashed(WorkerFailure, Option<i32>),
    /// Anything else, in words.
    Failed(String),
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotStarted(reason) => {
                write!(formatter, "ToolError: the python worker did not start: {reason}")
            }
            Self::Crashed(WorkerFailure::Died, code) => {
                let code = code.map_or("none".into(), |code| code.to_string());
                write!(formatter, "ToolError: the interpreter crashed (exit code {code})")
            }
            Self::Crashed(failure, _) => {
                write!(formatter, "ToolError: the python worker was stopped: {failure}")
            }
            Self::Failed(reason) => write!(formatter, "ToolError: {reason}"),
        }
    }
}

fn crashed(failure: WorkerFailure, exit_code: Option<i32>) -> Unavailable {
    Unavailable::Crashed(failure, exit_code)
}

/// Who runs programs, ready.
enum Engine {
    Monty(Monty),
    #[cfg(target_os = "linux")]
    Cpython(Box<cpython::Cpython>),
    Server(SandboxFusion),
}

/// After so many workers that a program has ended, one after the other, it is not run again.
const ENDED_TOO_MANY: usize = 2;

/// The Python tool. Safe to call from several threads: each call in flight has a worker of its own.
pub struct PythonTool {
    config: PythonConfig,
    /// Stand before the engine, so that they end first.
    sessions: Option<Sessions<Session>>,
    engine: Engine,
    /// How many workers a program has ended since it last succeeded, by the hash of its text.
    ended: Mutex<HashMap<u64, usize>>,
    hasher: RandomState,
    misbehaved: AtomicUsize,
}

impl PythonTool {
    /// A tool whose workers are started with `worker_command` (this program, then the argument for
    /// monty's worker).
    ///
    /// # Errors
    /// When the settings make no sense, the interpreter is not there, or the machine lacks a layer
    /// of its sandbox.
    pub fn new(config: PythonConfig, worker_command: Vec<PathBuf>) -> Result<Self, String> {
        config.check()?;
        let engine = match config.interpreter {
            PythonInterpreter::Monty => Engine::Monty(Monty::new(worker_command, &config.limits)),
            PythonInterpreter::SandboxFusion => {
                let missing = "`python.interpreter = \"sandbox_fusion\"` needs `python.sandbox_fusion = { url = .. }`";
                let server = config.sandbox_fusion.as_ref().ok_or(missing)?;
                paretopo_retrieval::check_reachable(&server.url)
                    .map_err(|error| error.to_string())?;
                Engine::Server(SandboxFusion::new(server))
            }
            #[cfg(target_os = "linux")]
            PythonInterpreter::Cpython => {
                let launcher = worker_command.first().ok_or("no worker command given")?;
                let PythonConfig { cpython, limits, session, .. } = &config;
                let cpython = cpython::Cpython::start(cpython, limits, launcher, *session)?;
                Engine::Cpython(Box::new(cpython))
            }
            #[cfg(not(target_os = "linux"))]
            PythonInterpreter::Cpython => {
                return Err(
                    "`python.interpreter = \"cpython\"`: its sandbox needs Linux\nhint: `monty`, or a `sandbox_fusion` server".into()
                );
            }
        };
        let sessions = config.session.then(|| Sessions::new(config.most_sessions));
        Ok(Self {
            config,
            sessions,
            engine,
            ended: Mutex::default(),
            hasher: RandomState::new(),
            misbehaved: AtomicUsize::new(0),
        })
    }

    /// Runs a program under the tool's limits, at most until `deadline`; it is of no session.
    pub fn run(&self, program: &str, deadline: Instant) -> ToolOutcome {
        let started = Instant::now();
        let limits = self.limits_until(deadline);
        let ran = self.run_unless_harmful(0, program, || match &self.engine {
            Engine::Monty(monty) => monty.run(program, limits),
            #[cfg(target_os = "linux")]
            Engine::Cpython(cpython) => cpython.run(program, limits),
            Engine::Server(server) => server.run(program, limits.seconds),
        });
        self.outcome(ran, started)
    }

    /// The limits of a program that is due at `deadline`.
    fn limits_until(&self, deadline: Instant) -> PythonLimits {
        let limits = self.config.limits;
        let left = deadline.saturating_duration_since(Instant::now());
        PythonLimits { seconds: limits.seconds.at_most(left), ..limits }
    }

    fn outcome(&self, ran: Result<Ran, Unavailable>, started: Instant) -> ToolOutcome {
        let fault = ran.is_err().then_some(Fault::Tool);
        let (status, text) = ran.unwrap_or_else(|why| (CallStatus::Error, why.to_string()));
        let (text, truncated) = truncate_middle(text.trim_end(), self.config.output_characters);
        let seconds = started.elapsed().as_secs_f32();
        ToolOutcome { truncated, fault, ..ToolOutcome::new(status, text, seconds) }
    }

    /// How many workers have broken the protocol so far and were stopped.
    pub fn misbehaved(&self) -> usize {
        self.misbehaved.load(Ordering::Relaxed)
    }

    /// The layers that hold programs, for `cpython`: `namespaces`, `landlock`, `seccomp`.
    pub fn layers(&self) -> &[String] {
        match &self.engine {
            #[cfg(target_os = "linux")]
            Engine::Cpython(cpython) => cpython.layers(),
            _ => &[],
        }
    }

    /// Runs a program, unless it has ended its worker too often, counted for each `history` of a
    /// session: what a program does depends on those before it. Being late does not count: a busy
    /// machine makes any program late.
    fn run_unless_harmful(
        &self,
        history: u64,
        program: &str,
        run: impl FnOnce() -> Result<Ran, Unavailable>,
    ) -> Result<Ran, Unavailable> {
        if program.len() > LONGEST_PROGRAM {
            return Ok(too_long());
        }
        let hash = self.hasher.hash_one((history, program));
        let ended = || self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended().get(&hash).is_some_and(|times| *times >= ENDED_TOO_MANY) {
            return Ok(not_again("this program has"));
        }
        let ran = run();
        match &ran {
            // workers that a busy machine has ended are not the program's doing
            Ok(_) => {
                ended().remove(&hash);
            }
            Err(Unavailable::Crashed(WorkerFailure::Late, _)) => {}
            Err(Unavailable::Crashed(failure, _)) => {
                *ended().entry(hash).or_default() += 1;
                if *failure == WorkerFailure::Misbehaved {
                    self.misbehaved.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(_) => {}
        }
        ran
    }
}

fn not_again(who: &str) -> Ran {
    let text = format!(
        "ToolError: {who} ended its interpreter {ENDED_TOO_MANY} times and is not run again"
    );
    (CallStatus::Error, text)
}

fn late(seconds: Seconds) -> Ran {
    let text = format!("TimeoutError: no answer within {:.1} s", seconds.get());
    (CallStatus::Timeout, text)
}

fn out_of_memory(most: usize) -> String {
    format!("MemoryError: more than {} MiB used", most >> 20)
}

fn too_long() -> (CallStatus, String) {
    (CallStatus::Limit, format!("MemoryError: the program is longer than {LONGEST_PROGRAM} bytes"))
}

impl Tool for PythonTool {
    fn spec(&self) -> ToolSpec {
        let kept =
            if self.sessions.is_some() { " Variables are kept for the next call." } else { "" };
        ToolSpec {
            name: "python".into(),
            description: format!("Runs a Python program and returns what it prints.{kept}"),
            parameters: serde_json::json!({
                "type": "object",
                "properties": { "code": { "type": "string", "description": "the program; print the result" } },
                "required": ["code"],
            }),
        }
    }

    fn begin(&self, trajectory: &TrajectoryId) {
        if let Some(sessions) = &self.sessions {
            sessions.begin(trajectory);
        }
    }

    fn end(&self, trajectory: &TrajectoryId) {
        if let Some(sessions) = &self.sessions {
            sessions.end(trajectory);
        }
    }

    fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome {
        match call.arguments.get("code").and_then(|code| code.as_str()) {
            Some(program) => match &self.sessions {
                Some(sessions) => self.run_in_session(sessions, program, context),
                None => self.run(program, context.deadline),
            },
            None => {
                let reason = "ToolError: `python` needs a string argument `code`";
                ToolOutcome::new(CallStatus::Error, reason, 0.0).with_fault(Fault::Call)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(program: &str) -> (CallStatus, String) {
        evaluate_python(
            program,
            &PythonLimits { seconds: Seconds::literal(0.2), ..PythonLimits::default() },
        )
    }

    #[test]
    fn prints_or_shows_the_last_expression() {
        assert_eq!(evaluate("print(347 * 28)"), (CallStatus::Ok, "9716\n".into()));
        assert_eq!(evaluate("x = 6\nx * 7"), (CallStatus::Ok, "42".into()));
        assert_eq!(evaluate("x = 1"), (CallStatus::Ok, String::new()));
    }

    #[test]
    fn an_exception_is_its_last_traceback_line_after_what_was_printed() {
        assert_eq!(
            evaluate("print('a')\n1 / 0"),
            (CallStatus::Error, "a\nZeroDivisionError: division by zero".into())
        );
        let (status, text) = evaluate("print(");
        assert_eq!(status, CallStatus::Error);
        assert!(text.starts_with("SyntaxError"), "{text}");
    }

    #[test]
    fn loops_and_recursion_are_stopped() {
        assert_eq!(evaluate("while True: pass").0, CallStatus::Timeout);
        assert_eq!(evaluate("def f(n): return f(n + 1)\nf(0)").0, CallStatus::Limit);
        assert_eq!(evaluate("while True: print('x' * 1000)").0, CallStatus::Limit);
    }

    #[test]
    fn there_is_no_host_to_reach() {
        for program in [
            "open('/etc/passwd').read()",
            "import os\nos.system('id')",
            "import socket",
            "import subprocess",
        ] {
            assert_eq!(evaluate(program).0, CallStatus::Error, "{program}");
        }
    }

    #[test]
    fn a_worker_that_cannot_start_is_an_outcome() {
        let tool =
            PythonTool::new(PythonConfig::default(), vec!["/nonexistent".into()]).expect("a tool");
        let outcome = tool.run("1", Instant::now() + Duration::from_secs(1));
        assert_eq!((outcome.status, outcome.fault), (CallStatus::Error, Some(Fault::Tool)));
        assert!(outcome.text.contains("did not start"), "{}", outcome.text);
    }

    #[test]
    fn a_worker_that_dies_or_hangs_is_an_outcome() {
        let context = Instant::now() + Duration::from_secs(1);
        let dead = PythonTool::new(PythonConfig::default(), vec!["true".into()])
            .expect("a tool")
            .run("1", context);
        assert_eq!(
            (dead.status, dead.fault),
            (CallStatus::Error, Some(Fault::Tool)),
            "{}",
            dead.text
        );
        let mut config = PythonConfig::default();
        config.limits.seconds = Seconds::literal(0.05);
        let hung = PythonTool::new(config, vec!["sleep".into(), "30".into()])
            .expect("a tool")
            .run("1", context);
        // whether the worker or the program hangs is not known
        assert_eq!((hung.status, hung.fault), (CallStatus::Timeout, None), "{}", hung.text);
    }

    #[test]
    fn a_program_that_ended_its_worker_twice_is_not_run_again() {
        let tool = PythonTool::new(PythonConfig::default(), vec!["false".into()]).expect("a tool");
        let run = |program: &str| tool.run(program, Instant::now() + Duration::from_secs(5));
        for _ in 0..2 {
            let ended = run("1");
            assert!(ended.text.contains("crashed"), "{}", ended.text);
        }
        let third = run("1");
        assert!(third.text.contains("not run again"), "{}", third.text);
        assert_eq!((third.status, third.fault), (CallStatus::Error, None));
        // another program is another matter
        assert!(run("2").text.contains("crashed"));
    }

    #[test]
    fn a_worker_that_breaks_the_protocol_is_stopped_and_counted() {
        let endless = ["sh", "-c", "tr '\\0' x >&0 </dev/zero"].map(PathBuf::from);
        let tool = PythonTool::new(PythonConfig::default(), endless.into()).expect("a tool");
        let outcome = tool.run("1", Instant::now() + Duration::from_secs(5));
        assert!(outcome.text.contains("broke the protocol"), "{}", outcome.text);
        assert_eq!((outcome.fault, tool.misbehaved()), (Some(Fault::Tool), 1));
    }
}
