//! The system's Python in a sandbox: where its interpreter is, and the workers that run it. The
//! walls are in `sandbox.rs`.

use super::sandbox::LauncherSettings;
use paretopo_containment::Worker;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An interpreter with large packages may take long to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// What happens on a machine whose kernel lacks a layer of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingLayers {
    /// Programs are not run.
    Refuse,
    /// Programs run behind the layers that are there.
    GoOn,
}

/// How the system's Python runs programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CpythonConfig {
    /// The interpreter, by name or path.
    pub interpreter: PathBuf,
    /// Packages that workers import before the first program; those that are not installed are
    /// passed over.
    pub preload: Vec<String>,
    /// What happens without Landlock or seccomp.
    pub missing_layers: MissingLayers,
}

impl Default for CpythonConfig {
    fn default() -> Self {
        Self {
            interpreter: "python3".into(),
            preload: vec!["numpy".into(), "sympy".into()],
            missing_layers: MissingLayers::Refuse,
        }
    }
}

/// What a worker says when it has started, behind all of its walls.
#[derive(Deserialize)]
struct Hello {
    ready: bool,
}

/// Starts workers.
#[derive(Debug)]
pub(super) struct Cpython {
    /// This program, which becomes the interpreter.
    launcher: PathBuf,
    config: CpythonConfig,
    interpreter: PathBuf,
    readable: Vec<PathBuf>,
}

/// What the interpreter says about itself.
#[derive(Deserialize)]
struct Installation {
    executable: PathBuf,
    folders: Vec<PathBuf>,
}

impl Cpython {
    /// Finds the interpreter and its packages.
    pub(super) fn find(config: &CpythonConfig, launcher: &Path) -> Result<Self, String> {
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
        Ok(Self { launcher: launcher.to_owned(), config: config.clone(), interpreter, readable })
    }

    /// Starts a worker with a scratch folder of its own, which goes when the worker does.
    pub(super) fn start(&self) -> Result<Worker, String> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let scratch =
            std::env::temp_dir().join(format!("paretopo-python-{}-{number}", std::process::id()));
        let failed = |error: std::io::Error| format!("`{}`: {error}", scratch.display());
        std::fs::DirBuilder::new().mode(0o700).create(&scratch).map_err(failed)?;
        let settings = LauncherSettings {
            interpreter: self.interpreter.clone(),
            readable: self.readable.clone(),
            scratch: scratch.clone(),
            config: self.config.clone(),
        };
        let settings = serde_json::to_string(&settings).map_err(|error| error.to_string())?;
        let command = [self.launcher.clone(), "python-sandbox".into(), settings.into()];
        let mut worker =
            Worker::start(&command, Some(scratch)).map_err(|error| error.to_string())?;
        let hello = worker
            .hear(START)
            .map_err(|failure| format!("the sandboxed interpreter did not start: {failure}"))?;
        match serde_json::from_str(&hello) {
            Ok(Hello { ready: true }) => Ok(worker),
            // the reason why not
            _ => Err(hello),
        }
    }
}
