//! The Python tool, with three interpreters to choose from.
//!
//! - `monty`, the default: an interpreter in Rust with no access to files, network, environment or
//!   processes; starts at once, has no packages.
//! - `cpython`: the system's Python in a sandbox, with its packages (`cpython.rs`, `sandbox.rs`,
//!   `cpython.py`); Linux only.
//! - `sandbox_fusion`: a server (`sandbox_fusion.rs`).
//!
//! The first two run in worker processes. A worker is this very binary, started as
//! `paretopo python-worker` or `python-sandbox`. It reads a program per line and answers with a
//! line. A process and not a thread, because only so can memory be limited and a crash be
//! contained: monty enforces time and recursion between its instructions, the worker's allocator
//! enforces memory, and the parent kills a worker that has not answered shortly after the deadline.
//! A worker that died is replaced and its call gets an error outcome.

#[cfg(target_os = "linux")]
mod cpython;
mod programs;
#[cfg(target_os = "linux")]
mod sandbox;
mod sandbox_fusion;

#[cfg(target_os = "linux")]
pub use cpython::{CpythonConfig, MissingLayers};
pub use sandbox_fusion::SandboxFusionConfig;

use crate::{CallContext, Tool, truncate_middle};
use monty::MontyRun;
use monty_types::{
    CompileOptions, ExcType, MontyObject, OOM_EXIT_CODE, PrintWriter, ResourceLimits,
    ResourceTracker,
};
use paretopo_containment::{IdleWorkers, Worker, WorkerFailure, serve_lines};
use paretopo_settings::{Seconds, within};
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, ToolSpec};
use sandbox_fusion::SandboxFusion;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time beyond a call's own limit after which its worker is killed.
const GRACE: Duration = Duration::from_millis(100);
/// Programs longer than this are refused unread, in bytes.
const LONGEST_PROGRAM: usize = 64 * 1024;

/// What one program may use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PythonLimits {
    /// Execution time in seconds.
    pub seconds: Seconds,
    /// Memory in bytes beyond what an idle worker needs.
    #[serde(deserialize_with = "within::<1_048_576, 1_099_511_627_776, _, _>")]
    pub memory: usize,
    /// Depth of function calls.
    #[serde(deserialize_with = "within::<1, 100_000, _, _>")]
    pub recursion: usize,
    /// Bytes that a program may print before it is stopped.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    pub printed: usize,
}

impl Default for PythonLimits {
    fn default() -> Self {
        Self {
            seconds: const { Seconds::literal(2.0) },
            memory: 64 << 20,
            recursion: 200,
            printed: 1 << 20,
        }
    }
}

/// Who runs programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PythonInterpreter {
    /// An interpreter in Rust, sandboxed by what it lacks.
    Monty,
    /// The system's Python in a sandbox.
    Cpython,
    /// A SandboxFusion server.
    SandboxFusion,
}

/// The Python tool's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PythonConfig {
    /// Who runs programs.
    pub interpreter: PythonInterpreter,
    /// For `interpreter = "cpython"`.
    #[cfg(target_os = "linux")]
    pub cpython: CpythonConfig,
    /// For `interpreter = "sandbox_fusion"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_fusion: Option<SandboxFusionConfig>,
    /// Limits for each program.
    pub limits: PythonLimits,
    /// Longest text that the model reads, in characters; longer output loses its middle.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    pub output_characters: usize,
}

impl Default for PythonConfig {
    fn default() -> Self {
        Self {
            interpreter: PythonInterpreter::Monty,
            #[cfg(target_os = "linux")]
            cpython: CpythonConfig::default(),
            sandbox_fusion: None,
            limits: PythonLimits::default(),
            output_characters: 256,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Request {
    program: String,
    limits: PythonLimits,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    status: CallStatus,
    text: String,
    /// Whether the worker asks to be replaced.
    #[serde(default)]
    last: bool,
}

/// Runs a program in this process and thread, and returns its status with what it printed.
///
/// A program that prints nothing yields the `repr` of its last expression, as an interactive
/// session would. An exception yields what was printed before it and the last line of the
/// traceback. The memory limit holds only in a process whose global allocator is monty's; use
/// [`PythonTool`] for untrusted programs.
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
    match result {
        Ok(value) => {
            if printed.is_empty() && value != MontyObject::None {
                printed = value.py_repr();
            }
            (CallStatus::Ok, printed)
        }
        Err(exception) => {
            let status = match exception.exc_type() {
                ExcType::TimeoutError => CallStatus::Timeout,
                ExcType::MemoryError | ExcType::RecursionError => CallStatus::Limit,
                _ => CallStatus::Error,
            };
            if !printed.is_empty() && !printed.ends_with('\n') {
                printed.push('\n');
            }
            (status, printed + &exception.summary())
        }
    }
}

/// The worker's main loop: a JSON request a line on standard input, a JSON answer a line on
/// standard output.
///
/// # Errors
/// When standard input or output break, which ends the worker.
pub fn python_worker() -> std::io::Result<()> {
    serve_lines(|request: Request| {
        // not being installed as the allocator is only possible in a foreign binary; the limit is
        // then not enforced
        let _ = monty_alloc::set_limit(Some(request.limits.memory), false);
        let (status, text) = evaluate_python(&request.program, &request.limits);
        // between programs the worker itself may allocate as it likes
        let _ = monty_alloc::set_limit(None, false);
        Answer { status, text, last: false }
    })
}

/// The sandboxed CPython worker's entry: puts up the walls around this process and becomes the
/// interpreter. What went wrong is said on standard output, where the parent listens.
///
/// # Errors
/// Always, if it returns.
pub fn python_sandbox(settings: &str) -> Result<std::convert::Infallible, String> {
    #[cfg(target_os = "linux")]
    return sandbox::enter(settings);
    #[cfg(not(target_os = "linux"))]
    Err(format!("the sandbox needs Linux ({} characters of settings)", settings.len()))
}

/// How a program ended, and what it printed.
type Ran = (CallStatus, String);

/// Why a program could not be run, with the tool itself to blame.
#[derive(Debug)]
struct Unavailable(String);

/// Who runs programs, ready.
enum Engine {
    Workers(Starter),
    Server(SandboxFusion),
}

/// Starts workers.
enum Starter {
    Monty(Vec<PathBuf>),
    #[cfg(target_os = "linux")]
    Cpython(cpython::Cpython),
}

impl Starter {
    fn start(&self) -> Result<Worker, String> {
        match self {
            Self::Monty(command) => Worker::start(command, None).map_err(|error| error.to_string()),
            #[cfg(target_os = "linux")]
            Self::Cpython(cpython) => cpython.start(),
        }
    }
}

/// The Python tool. Safe to call from several threads: each call in flight has a worker of its own.
pub struct PythonTool {
    config: PythonConfig,
    engine: Engine,
    idle: IdleWorkers,
}

impl PythonTool {
    /// A tool whose workers are started with `worker_command` (this program, then the argument for
    /// monty's worker).
    ///
    /// # Errors
    /// When the interpreter is not there, or the machine lacks a layer of its sandbox.
    pub fn new(config: PythonConfig, worker_command: Vec<PathBuf>) -> Result<Self, String> {
        let idle = IdleWorkers::default();
        let engine = match config.interpreter {
            PythonInterpreter::Monty => Engine::Workers(Starter::Monty(worker_command)),
            PythonInterpreter::SandboxFusion => {
                let missing = "`python.interpreter = \"sandbox_fusion\"` needs `python.sandbox_fusion = { url = .. }`";
                Engine::Server(SandboxFusion::new(config.sandbox_fusion.as_ref().ok_or(missing)?))
            }
            #[cfg(target_os = "linux")]
            PythonInterpreter::Cpython => {
                let launcher = worker_command.first().ok_or("no worker command given")?;
                let cpython = cpython::Cpython::find(&config.cpython, launcher)?;
                // better now than in the first episode
                idle.keep(cpython.start()?);
                Engine::Workers(Starter::Cpython(cpython))
            }
            #[cfg(not(target_os = "linux"))]
            PythonInterpreter::Cpython => {
                return Err(
                    "`python.interpreter = \"cpython\"`: its sandbox needs Linux\nhint: `monty`, or a `sandbox_fusion` server".into()
                );
            }
        };
        Ok(Self { config, engine, idle })
    }

    /// Runs a program under the tool's limits, at most until `deadline`.
    pub fn run(&self, program: &str, deadline: Instant) -> ToolOutcome {
        let started = Instant::now();
        let time_left = deadline.saturating_duration_since(started);
        let mut limits = self.config.limits;
        limits.seconds = limits.seconds.at_most(time_left);
        let ran = match &self.engine {
            Engine::Server(server) => server.run(program, limits.seconds),
            Engine::Workers(starter) => self.run_in_worker(starter, program, limits),
        };
        let fault = ran.is_err().then_some(Fault::Tool);
        let (status, text) = ran.unwrap_or_else(|Unavailable(text)| (CallStatus::Error, text));
        let (text, truncated) = truncate_middle(text.trim_end(), self.config.output_characters);
        let seconds = started.elapsed().as_secs_f32();
        ToolOutcome { truncated, fault, ..ToolOutcome::new(status, text, seconds) }
    }

    fn run_in_worker(
        &self,
        starter: &Starter,
        program: &str,
        limits: PythonLimits,
    ) -> Result<Ran, Unavailable> {
        if program.len() > LONGEST_PROGRAM {
            return Ok(too_long());
        }
        let not_started =
            |error| Unavailable(format!("ToolError: the python worker did not start: {error}"));
        let idle = self.idle.take();
        let mut worker = idle.map_or_else(|| starter.start(), Ok).map_err(not_started)?;
        let request = Request { program: program.to_owned(), limits };
        Ok(match worker.ask::<Answer>(&request, limits.seconds.duration() + GRACE) {
            Ok(answer) => {
                if !answer.last {
                    self.idle.keep(worker);
                }
                (answer.status, answer.text)
            }
            Err(WorkerFailure::Late) => (
                CallStatus::Timeout,
                format!("TimeoutError: no answer within {:.1} s", limits.seconds.get()),
            ),
            Err(WorkerFailure::Died) => match worker.exit_code() {
                Some(OOM_EXIT_CODE) => (
                    CallStatus::Limit,
                    format!("MemoryError: more than {} MiB used", limits.memory >> 20),
                ),
                code => {
                    let code = code.map_or("none".into(), |code| code.to_string());
                    return Err(Unavailable(format!(
                        "ToolError: the interpreter crashed (exit code {code})"
                    )));
                }
            },
        })
    }
}

fn too_long() -> (CallStatus, String) {
    (CallStatus::Limit, format!("MemoryError: the program is longer than {LONGEST_PROGRAM} bytes"))
}

impl Tool for PythonTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "python".into(),
            description: "Runs a Python program and returns what it prints.".into(),
            parameters: serde_json::json!({
                "type": "object",
                "properties": { "code": { "type": "string", "description": "the program; print the result" } },
                "required": ["code"],
            }),
        }
    }

    fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome {
        match call.arguments.get("code").and_then(|code| code.as_str()) {
            Some(program) => self.run(program, context.deadline),
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
}
