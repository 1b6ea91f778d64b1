//! A program with pieces of its own and the whole command line: what `paretopo` is, and what a crate
//! of your own becomes in a few lines.

use crate::arguments::{Arguments, Command};
use crate::commands::{self, Options};
use crate::models::Models;
use crate::output::{self, errln};
use crate::problem::{OUT_OF_MEMORY, Problem};
use crate::{allocator, signals};
use clap::FromArgMatches;
use paretopo_algorithms::{Estimator, register_estimator};
use paretopo_environments::{
    EnvironmentSettings, Objective, register_environment, register_objective,
};
use paretopo_models::{AutoFamily, ModelFamily};
use paretopo_settings::Settings;
use paretopo_tools::{ToolSettings, register_tool};
use paretopo_training::Pieces;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Set by Ctrl-C and other signals; recipes look at it between steps.
static CANCELLED: AtomicBool = AtomicBool::new(false);

/// The command line over what we ship and what is registered.
///
/// Each piece is registered by the name that stands behind `type =` in a configuration. Its settings
/// are the struct itself, read by serde; unknown keys are errors with their line where it has
/// `#[serde(deny_unknown_fields)]`.
///
/// ```no_run
/// use paretopo::prelude::*;
///
/// /// 1 for a response of at most so many tokens.
/// #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Short {
///     /// The most tokens.
///     tokens: usize,
/// }
///
/// impl Objective for Short {
///     fn score(&self, scoring: &Scoring<'_>) -> Option<f64> {
///         Some(if scoring.trajectory.sampled_tokens() <= self.tokens { 1.0 } else { 0.0 })
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     Program::new().objective::<Short>("short").run()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Program {
    pieces: Pieces,
    models: Models,
}

impl Default for Program {
    fn default() -> Self {
        Self { pieces: Pieces::default(), models: Models::of::<AutoFamily>() }
    }
}

impl Program {
    /// What we ship.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an environment.
    ///
    /// # Panics
    /// When the name is taken or no plain word (small letters, digits, `_`, `-`), or a setting is
    /// called `type`.
    #[track_caller]
    pub fn environment<E: EnvironmentSettings + Settings>(mut self, name: &str) -> Self {
        register_environment::<E>(Arc::make_mut(&mut self.pieces.environments), name);
        self
    }

    /// Adds a tool.
    ///
    /// # Panics
    /// When the name is taken or no plain word (small letters, digits, `_`, `-`), or a setting is
    /// called `type`.
    #[track_caller]
    pub fn tool<T: ToolSettings + Settings>(mut self, name: &str) -> Self {
        register_tool::<T>(Arc::make_mut(&mut self.pieces.tools), name);
        self
    }

    /// Adds an objective.
    ///
    /// # Panics
    /// When the name is taken or no plain word (small letters, digits, `_`, `-`), or a setting is
    /// called `type`.
    #[track_caller]
    pub fn objective<O: Objective + Settings>(mut self, name: &str) -> Self {
        register_objective::<O>(Arc::make_mut(&mut self.pieces.objectives), name);
        self
    }

    /// Adds an advantage estimator.
    ///
    /// # Panics
    /// When the name is taken or no plain word (small letters, digits, `_`, `-`), or a setting is
    /// called `type`.
    #[track_caller]
    pub fn estimator<E: Estimator + Settings>(mut self, name: &str) -> Self {
        register_estimator::<E>(Arc::make_mut(&mut self.pieces.estimators), name);
        self
    }

    /// Takes the models of another family in place of ours; `OneOf<Own, AutoFamily>` has both.
    pub fn models<F: ModelFamily>(mut self) -> Self {
        self.models = Models::of::<F>();
        self
    }

    /// Does what this process's arguments say. Exit codes: 0 done, 1 the run failed, 2 the user's
    /// mistake (arguments, configuration, files), 3 out of memory, 130 interrupted.
    pub fn run(self) -> ExitCode {
        let Self { pieces, models } = &self;
        pieces.while_reading(|| {
            let command = Arguments::command_line(pieces);
            let matches = command.get_matches_from(std::env::args_os());
            let arguments =
                Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
            execute(arguments, models)
        })
    }
}

/// The name by which this program was called.
pub(crate) fn own_name() -> String {
    let called = std::env::args_os().next().unwrap_or_else(|| OsString::from("paretopo"));
    let file = std::path::Path::new(&called).file_stem();
    file.map_or_else(|| "paretopo".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn execute(arguments: Arguments, models: &Models) -> ExitCode {
    if let Command::PythonWorker = arguments.command {
        return exit_code(paretopo_tools::python_worker());
    }
    if let Command::TemplateWorker = arguments.command {
        let limited = monty_alloc::set_limit(Some(paretopo_chat::TEMPLATE_WORKER_MEMORY), false)
            .map_err(std::io::Error::other);
        return exit_code(limited.and_then(|()| paretopo_chat::template_worker()));
    }
    if let Command::PythonSandbox { settings } = &arguments.command {
        return exit_code(paretopo_tools::python_sandbox(settings));
    }
    if let Command::EnclosedProgram { settings } = &arguments.command {
        return match paretopo_tools::enclosed_program(settings) {
            Ok(code) => ExitCode::from(code),
            Err(reason) => {
                errln!("{reason}");
                ExitCode::FAILURE
            }
        };
    }
    allocator::tell_failures();
    keep_freed_memory();
    output::log_panics();
    paretopo_containment::silence_contained_panics();
    signals::watch(&CANCELLED);
    match attempt(arguments, models).and_then(|()| output::finish()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            errln!("error: {}", problem.message);
            ExitCode::from(problem.exit_code)
        }
    }
}

/// Does what the arguments say. To get no thread is a panic of the standard library, and means what
/// a failed allocation means.
fn attempt(arguments: Arguments, models: &Models) -> Result<(), Problem> {
    let Arguments { backend, quiet, end_with, command } = arguments;
    if let Some(parent) = end_with {
        paretopo_containment::end_with_parent(parent);
    }
    let wish = backend.as_deref();
    let options = Options { backend: wish, quiet, cancelled: &CANCELLED, models };
    let work = std::panic::AssertUnwindSafe(|| commands::run(command, &options));
    std::panic::catch_unwind(work).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map_or("", String::as_str);
        // the standard library's words, and those of the thread pool
        let is_of_threads = text.starts_with("failed to spawn thread")
            || text.starts_with("The global thread pool has not been initialized");
        if !is_of_threads {
            std::panic::resume_unwind(panic);
        }
        let lower = paretopo_training::Stage::now().lower();
        let message = format!(
            "the system gives no thread more (`ulimit -v`, `ulimit -u`): {text}\nhint: {lower}"
        );
        Err(Problem { message, exit_code: OUT_OF_MEMORY })
    })
}

/// How a worker ends: its parent hears of errors by the code alone.
fn exit_code(result: std::io::Result<()>) -> ExitCode {
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Large tensors are freed and allocated all the time; handing their pages back and forth costs
/// more than computing on them.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallopt only changes the allocator's thresholds, before any thread is started
        #[expect(unsafe_code, reason = "glibc offers its thresholds only as a C function")]
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
            libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        }
    }
}
