//! One function per command.

mod benchmarks;
mod compare;
mod comparison;
mod controls;
mod doctor;
mod experiment;
mod health;
mod inspect;
mod knob;
mod launching;
mod ledger;
mod lines;
mod new;
mod recipes;
mod remaining;
mod render;
mod search;
mod soup;
mod tools;
mod view;

pub(crate) use launching::Launcher;
pub(crate) use recipes::USUAL_PROMPT;

use crate::arguments::{Arguments, Command};
use crate::backends;
use crate::models::Models;
use crate::output;
use crate::problem::Problem;
use crate::program::own_name;
use crate::ranks;
use paretopo_environments::Resources;
use paretopo_training::{CheckDepth, EntryPoints, Pieces};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// What every command that runs a recipe is given besides its own arguments.
#[derive(Clone, Copy)]
pub(crate) struct Options<'a> {
    /// The backend that is wished for.
    pub(crate) backend: Option<&'a str>,
    /// Whether nothing but results is said.
    pub(crate) quiet: bool,
    /// Set from outside to give up.
    pub(crate) cancelled: &'static AtomicBool,
    /// What models there are, and where they can compute.
    pub(crate) models: &'a Models,
}

impl Options<'_> {
    /// The backend that is wished for, or the first that works, and the index of its device.
    fn choose_backend(&self) -> Result<(EntryPoints, usize), Problem> {
        backends::choose(&self.models.backends, self.backend)
    }
}

/// Runs what was asked for.
pub(crate) fn run(command: Command, options: &Options<'_>) -> Result<(), Problem> {
    paretopo_chat::isolate_templates(vec![this_program()?, "template-worker".into()]);
    let Options { quiet, cancelled, .. } = *options;
    if !matches!(command, Command::Train { .. } | Command::Sft { .. }) {
        ranks::require_one()?;
    }
    match command {
        Command::Train { config, run } => {
            recipes::run(|backend| backend.train, true, &config, &run, options)
        }
        Command::Sft { config, run } => {
            recipes::run(|backend| backend.sft, false, &config, &run, options)
        }
        Command::Evaluate { mut config, benchmarks, tool_free, out, format } => {
            if tool_free {
                config.set.push("evaluation.tool_free=true".into());
            }
            benchmarks::evaluate(&config, &benchmarks, out.as_deref(), format, options)
        }
        Command::Plan { config, prompt_tokens, ranks } => {
            recipes::plan(&config, prompt_tokens, ranks, options)
        }
        Command::Solve { question, mut config, preference } => {
            if !preference.is_empty() {
                let weights: Vec<f64> = preference.iter().map(|weight| weight.get()).collect();
                config.set.push(format!("rollout.preference.weights={weights:?}"));
            }
            recipes::solve(&question, &config, options)
        }
        Command::Compare { experiment, out, set, dry_run: true, .. } => {
            compare::dry_run(experiment.as_deref(), &out, &set)
        }
        Command::Compare { experiment, out, set, finished: true, .. } => {
            compare::finished(experiment.as_deref(), &out, &set)
        }
        Command::Compare { experiment, out, set, jobs, launcher, .. } => {
            let starting = compare::Starting { jobs, launcher: &launcher.unwrap_or_default() };
            compare::compare(experiment.as_deref(), &out, &set, &starting, options)
        }
        Command::Controls { head, tool, calls, out } => {
            controls::controls(&head, &tool, &calls, out.as_deref())
        }
        Command::New { what, target } => new::new(what, &target),
        Command::Phases { run } => phases(&run),
        Command::Devices => tools::devices(options),
        Command::Doctor { run: Some(run), json } => health::doctor(&run, json),
        Command::Doctor { run: None, .. } => doctor::doctor(),
        Command::Check { fixtures, gradients, out } => {
            let depth = if gradients { CheckDepth::Gradients } else { CheckDepth::Whole };
            tools::check(&fixtures, depth, out.as_deref(), options)
        }
        Command::Score { model, file } => tools::score(&model, &file, options),
        Command::Render { model, file, json } => render::render(&model, &file, json, options),
        Command::Search { corpus, query: Some(query), topk, .. } => {
            search::query(&corpus, &query, topk, quiet)
        }
        Command::Search { corpus, questions: Some(questions), topk, .. } => {
            search::recall(&corpus, &questions, topk, quiet)
        }
        Command::Search { .. } => unreachable!("the arguments hold a query or a file of questions"),
        Command::ServeSearch { corpus, address, topk } => {
            search::serve(&corpus, &address, topk, quiet, cancelled)
        }
        Command::View { runs, export, address } => {
            view::view(runs, export.as_deref(), &address, cancelled)
        }
        Command::Front { file, reference } => tools::front(&file, &reference),
        Command::Advantages { file: Some(file), estimator, set, seed, .. } => {
            tools::advantages(&file, &estimator, &set, seed)
        }
        Command::Advantages { call_threshold: Some(alpha), estimator, set, .. } => {
            tools::call_threshold(&estimator, &set, alpha)
        }
        Command::Advantages { .. } => {
            unreachable!("the arguments hold a file or a threshold to compute")
        }
        Command::Grade { file, kind } => tools::grade(&file, kind),
        Command::Python { file, interpreter, seconds, memory, output } => {
            tools::python(&file, interpreter, seconds, memory, output)
        }
        Command::Soup { checkpoints, weights, out } => soup::soup(&checkpoints, &weights, &out),
        Command::Completions { shell } => {
            // into memory first: the generator panics where it cannot write
            let mut script = Vec::new();
            let mut command = Arguments::command_line(&Pieces::in_use());
            clap_complete::generate(shell, &mut command, own_name(), &mut script);
            output::result(format_args!("{}", String::from_utf8_lossy(&script)));
            Ok(())
        }
        Command::PythonWorker
        | Command::PythonSandbox { .. }
        | Command::EnclosedProgram { .. }
        | Command::TemplateWorker => {
            unreachable!("main starts the worker before anything else")
        }
    }
}

/// Prints the table of a run's phases.
fn phases(run: &Path) -> Result<(), Problem> {
    let phases = paretopo_report::read_phases(run).map_err(Problem::mistake)?;
    output::result(format_args!("{}", paretopo_report::phases_table(&phases)));
    Ok(())
}

/// This program, also when its file has been replaced since it started (as a rebuild does).
fn this_program() -> Result<PathBuf, Problem> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        return Ok(running);
    }
    std::env::current_exe()
        .map_err(|error| Problem::failure(format!("cannot find this program's own file: {error}")))
}

/// The command that starts a worker of the Python tool: this binary.
fn python_worker() -> Result<Vec<PathBuf>, Problem> {
    Ok(vec![this_program()?, "python-worker".into()])
}

/// What environments use of this machine. Indices are kept in `$PARETOPO_CACHE`, or where the
/// system keeps such things.
fn resources() -> Result<Resources, Problem> {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual =
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let cache = variable("PARETOPO_CACHE")
        .unwrap_or_else(|| usual.unwrap_or_else(std::env::temp_dir).join("paretopo"));
    Ok(Resources { python_worker: python_worker()?, cache })
}
