//! The system's Python in a sandbox: where its interpreter is, and the workers that run it. The
//! walls are in `sandbox/`, one program's run in `programs.rs`.

use super::programs::{self, Afterwards, Broken};
use super::sandbox::LauncherSettings;
use super::{GRACE, PythonLimits, Ran, Unavailable, crashed};
use paretopo_containment::{Conversation, Farewell, Worker, WorkerFailure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// An interpreter with large packages may take long to start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Bytes of what a worker says: how a program ended, never what it printed.
const LONGEST_ANSWER: usize = 1 << 16;
/// Workers that clean up after a program while others take the next.
const MOST_CLEANING: usize = 8;

/// What happens on a machine whose kernel lacks a layer of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingLayers {
    /// Programs are not run.
    Refuse,
    /// Programs run behind the layers that are there.
    GoOn,
}

/// How programs are kept from the host and from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Walls {
    /// In namespaces where the machine grants them, otherwise behind Landlock.
    Strongest,
    /// In namespaces; where the machine refuses them, no program runs.
    Namespaces,
    /// Behind Landlock, with a scratch folder on the disk.
    Landlock,
}

/// How the system's Python runs programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CpythonConfig {
    /// The interpreter, by name or path.
    pub interpreter: PathBuf,
    /// Packages that workers import before the first program; those that are not installed are
    /// passed over.
    pub preload: Vec<String>,
    /// How programs are kept from the host and from each other.
    pub walls: Walls,
    /// What happens without seccomp, or with neither namespaces nor Landlock.
    pub missing_layers: MissingLayers,
}

impl Default for CpythonConfig {
    fn default() -> Self {
        Self {
            interpreter: "python3".into(),
            preload: vec!["numpy".into(), "sympy".into()],
            walls: Walls::Strongest,
            missing_layers: MissingLayers::Refuse,
        }
    }
}

/// What a worker says when it has started: that it is behind all of its walls, or why not.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Hello {
    Ready { ready: bool, layers: Vec<String> },
    Refused { reason: String },
}

/// A worker, and whether it is still cleaning up after its last program.
struct Waiting {
    worker: Worker,
    cleaning: bool,
}

/// Runs programs in workers, each call in flight in one of its own.
pub(super) struct Cpython {
    /// This program, which becomes the interpreter's keeper.
    launcher: PathBuf,
    config: CpythonConfig,
    files: usize,
    interpreter: PathBuf,
    readable: Vec<PathBuf>,
    /// What holds programs.
    layers: Vec<String>,
    waiting: Mutex<Vec<Waiting>>,
    /// The worker whose forks are sessions; it runs no program itself.
    mother: Mutex<Option<Worker>>,
}

/// A fork of an interpreter that keeps its names from program to program, and ends with this.
pub(super) struct CpythonSession {
    line: Conversation,
}

/// What the mother of sessions is told, with the socket of a new one.
#[derive(Serialize)]
struct BeginSession {
    session: bool,
}

/// What the interpreter says about itself.
#[derive(Deserialize)]
struct Installation {
    executable: PathBuf,
    folders: Vec<PathBuf>,
}

impl Cpython {
    /// Finds the interpreter and its packages, and starts a first worker, that of sessions where
    /// they are asked for: better now than in the first episode.
    pub(super) fn start(
        config: &CpythonConfig,
        limits: &PythonLimits,
        launcher: &Path,
        sessions: bool,
    ) -> Result<Self, String> {
        const ASK: &str = "import json, os, sys\n\
            folders = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path]\n\
            print(json.dumps({'executable': os.path.realpath(sys.executable), 'folders': [folder for folder in folders if os.path.isabs(folder)]}))";
        let name = config.interpreter.display();
        let hint = "hint: `python.cpython.interpreter` names another, `python.interpreter = \"monty\"` needs none";
        let mut command = Command::new(&config.interpreter);
        let output = command
            .args(["-I", "-c", ASK])
            .output()
            .map_err(|error| format!("`{name}` does not start: {error}\n{hint}"))?;
        let installation: Installation = serde_json::from_slice(&output.stdout).map_err(|_| {
            format!(
                "`{name}` is no Python: {}\n{hint}",
                String::from_utf8_lossy(&output.stderr).trim()
            )
        })?;
        // a virtual environment's interpreter is a link; started by its target it would not find
        // the environment
        let wanted = if config.interpreter.components().count() > 1 {
            config.interpreter.clone()
        } else {
            installation.executable.clone()
        };
        let interpreter =
            std::path::absolute(&wanted).map_err(|error| format!("`{name}`: {error}"))?;
        // the whole file system is no place for an interpreter
        let readable = installation.folders.into_iter().filter(|folder| folder.parent().is_some());
        let readable = readable.chain([installation.executable, interpreter.clone()]).collect();
        let mut cpython = Self {
            launcher: launcher.to_owned(),
            config: config.clone(),
            files: limits.files,
            interpreter,
            readable,
            layers: Vec::new(),
            waiting: Mutex::default(),
            mother: Mutex::default(),
        };
        let (worker, layers) = cpython.start_worker(sessions)?;
        cpython.layers = layers;
        if sessions {
            cpython.mother = Mutex::new(Some(worker));
        } else {
            cpython.keep(worker, false);
        }
        Ok(cpython)
    }

    /// The layers that hold programs.
    pub(super) fn layers(&self) -> &[String] {
        &self.layers
    }

    /// Runs a program.
    pub(super) fn run(&self, program: &str, limits: PythonLimits) -> Result<Ran, Unavailable> {
        let mut worker = match self.take() {
            Some(worker) => worker,
            None => self.start_worker(false).map_err(Unavailable::NotStarted)?.0,
        };
        let ran = programs::run(worker.conversation(), program, limits, self.file(limits));
        let (ran, afterwards) = ran.map_err(|broken| failed(broken, &mut worker))?;
        match afterwards {
            Afterwards::Ready => self.keep(worker, false),
            Afterwards::Cleaning => self.keep(worker, true),
            Afterwards::Lost => {}
        }
        Ok(ran)
    }

    /// Begins a session.
    pub(super) fn begin_session(&self) -> Result<CpythonSession, Unavailable> {
        let broken = |error: std::io::Error| Unavailable::Failed(error.to_string());
        let mut mother = self.mother.lock().unwrap_or_else(PoisonError::into_inner);
        // one that has ended is seen by its not taking the request
        for _ in 0..2 {
            let worker = match mother.as_mut() {
                Some(worker) => worker,
                None => {
                    let started = self.start_worker(true).map_err(Unavailable::NotStarted)?;
                    mother.insert(started.0)
                }
            };
            let (line, theirs) = Conversation::pair(LONGEST_ANSWER).map_err(broken)?;
            let request = BeginSession { session: true };
            match worker.conversation().request(&request, &[theirs.as_fd()], GRACE) {
                Ok(_) => return Ok(CpythonSession { line }),
                // its other sessions go on
                Err(WorkerFailure::Late) => return Err(crashed(WorkerFailure::Late, None)),
                Err(_) => *mother = None,
            }
        }
        Err(crashed(WorkerFailure::Died, None))
    }

    /// Runs a program in a session, and whether the session goes on.
    pub(super) fn run_in(
        &self,
        session: &mut CpythonSession,
        program: &str,
        limits: PythonLimits,
    ) -> (Result<Ran, Unavailable>, bool) {
        match programs::run(&mut session.line, program, limits, self.file(limits)) {
            Ok((ran, afterwards)) => (Ok(ran), afterwards == Afterwards::Ready),
            Err(Broken::Worker(failure)) => (Err(crashed(failure, None)), false),
            Err(Broken::Other(reason)) => (Err(Unavailable::Failed(reason)), false),
        }
    }

    /// Bytes that a single file may have. A disk's folder is measured now and then, and a removed
    /// file that is still open escapes the measure; so no single one is large.
    fn file(&self, limits: PythonLimits) -> usize {
        let in_memory = self.layers.iter().any(|layer| layer == "namespaces");
        if in_memory { limits.files } else { limits.files / 4 }
    }

    /// A worker that waits for a program. One that still cleans up is left to it: its next program
    /// would pay for the last.
    fn take(&self) -> Option<Worker> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain_mut(|one| match one.cleaning {
            false => true,
            true => match programs::is_ready(one.worker.conversation()) {
                Ok(ready) => {
                    one.cleaning = !ready;
                    true
                }
                Err(_) => false,
            },
        });
        let at = waiting.iter().rposition(|one| !one.cleaning)?;
        Some(waiting.swap_remove(at).worker)
    }

    fn keep(&self, worker: Worker, cleaning: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(Waiting { worker, cleaning });
        if waiting.iter().filter(|one| one.cleaning).count() > MOST_CLEANING {
            let oldest = waiting.iter().position(|one| one.cleaning);
            // it goes on cleaning, and then ends
            oldest.map(|at| waiting.remove(at));
        }
    }

    fn start_worker(&self, sessions: bool) -> Result<(Worker, Vec<String>), String> {
        let settings = LauncherSettings {
            interpreter: self.interpreter.clone(),
            readable: self.readable.clone(),
            temporary: std::env::temp_dir(),
            files: self.files,
            sessions,
            config: self.config.clone(),
        };
        let settings = serde_json::to_string(&settings).map_err(|error| error.to_string())?;
        let command = [self.launcher.clone(), "python-sandbox".into(), settings.into()];
        let mut worker = Worker::start(&command, LONGEST_ANSWER, Farewell::HangUp)
            .map_err(|error| error.to_string())?;
        match worker.hear(0, START) {
            Ok(Hello::Ready { ready: true, layers }) => Ok((worker, layers)),
            Ok(Hello::Refused { reason }) => Err(reason),
            Ok(Hello::Ready { .. }) => Err("the sandboxed interpreter is not ready".into()),
            Err(failure) => Err(format!("the sandboxed interpreter did not start: {failure}")),
        }
    }
}

fn failed(broken: Broken, worker: &mut Worker) -> Unavailable {
    match broken {
        // it may go on cleaning up, so it is not killed
        Broken::Worker(WorkerFailure::Late) => crashed(WorkerFailure::Late, None),
        Broken::Worker(failure) => crashed(failure, worker.exit_code()),
        Broken::Other(reason) => Unavailable::Failed(reason),
    }
}
