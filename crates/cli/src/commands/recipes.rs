//! `train`, `sft`, `plan`, `solve`.

use super::resources;
use crate::arguments::ConfigArguments;
use crate::commands::Options;
use crate::output::{self, outln};
use crate::policies;
use crate::problem::Problem;
use crate::program::own_name;
use crate::programs;
use crate::progress::Progress;
use crate::ranks::Job;
use paretopo_collective::OneProcess;
use paretopo_records::{Evaluation, read_evaluation};
use paretopo_settings::Temperature;
use paretopo_training::{EntryPoints, EpisodeFailures, Observer, Recipe, RunConfig, Surroundings};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Reads the configuration and applies `--set`, `--model` and `--adapter`; `None` when a dry run
/// has printed it.
fn resolve(arguments: &ConfigArguments) -> Result<Option<RunConfig>, Problem> {
    let (text, name) = match &arguments.config {
        Some(path) => (
            paretopo_reading::read_text(path).map_err(|error| Problem::unreadable(path, &error))?,
            path.display().to_string(),
        ),
        None => (String::new(), "the defaults".to_owned()),
    };
    let mut config = RunConfig::parse(&text, &name, &arguments.set)?;
    if let Some(model) = &arguments.model {
        config.policy = policies::source(model, arguments.adapter.as_deref())?;
    }
    if arguments.dry_run {
        output::result(format_args!("{}", config.to_toml()?));
        // as comments, so that the output is a configuration still
        programs::print([&config], "# ")?;
        return Ok(None);
    }
    Ok(Some(config))
}

fn surroundings(
    config: &RunConfig,
    backend: &EntryPoints,
    name: &str,
    cancelled: &'static AtomicBool,
    progress: &mut Progress,
) -> Result<Surroundings<'static>, Problem> {
    Ok(Surroundings {
        resources: resources()?,
        cancelled,
        backend: name.to_owned(),
        commit: env!("PARETOPO_COMMIT"),
        policy_folder: policies::folder(&config.policy, progress)?,
        threads: (backend.threads)(),
        sampling_place: backend.sampling_place,
        collective: Arc::new(OneProcess),
    })
}

/// What a recipe is called with, once it is known.
pub(super) struct Opened {
    pub(super) config: RunConfig,
    pub(super) backend: EntryPoints,
    pub(super) index: usize,
    pub(super) progress: Progress,
    pub(super) surroundings: Surroundings<'static>,
}

/// Resolves the configuration, chooses the backend, says both, and fetches the policy; `None` when
/// a dry run has printed the configuration.
pub(super) fn open(
    arguments: &ConfigArguments,
    folder: Option<&Path>,
    options: &Options<'_>,
) -> Result<Option<Opened>, Problem> {
    let Some(config) = resolve(arguments)? else { return Ok(None) };
    let (backend, index) = options.choose_backend()?;
    let name = format!("{}:{index}", backend.name);
    let mut progress = Progress::new(options.quiet);
    announce(&mut progress, &config, &name, folder);
    let surroundings = surroundings(&config, &backend, &name, options.cancelled, &mut progress)?;
    Ok(Some(Opened { config, backend, index, progress, surroundings }))
}

fn announce(progress: &mut Progress, config: &RunConfig, backend: &str, folder: Option<&Path>) {
    let folder = folder.map(|folder| format!(", folder {}", folder.display())).unwrap_or_default();
    progress.note(&format!("backend {backend}, seed {}{folder}", config.seed));
    for warning in config.warnings() {
        progress.note(&format!("warning: {warning}"));
    }
}

/// Tokens of a prompt, where nobody has said.
pub(crate) const USUAL_PROMPT: usize = 256;

/// `train` or `sft`, whichever `pick` picks from the backend; `plans` says whether the memory plan,
/// which is one for `train`, is told first.
pub(crate) fn run(
    pick: fn(&EntryPoints) -> Recipe,
    plans: bool,
    arguments: &ConfigArguments,
    run: &Path,
    options: &Options<'_>,
) -> Result<(), Problem> {
    let job = Job::join()?;
    if arguments.dry_run && !job.leads() {
        return job.end(Ok(()));
    }
    let options = &Options { quiet: options.quiet || !job.leads(), ..*options };
    let Some(Opened { config, backend, index, mut progress, mut surroundings }) =
        open(arguments, Some(run), options)?
    else {
        return job.end(Ok(()));
    };
    surroundings.collective = job.collective();
    let leads = job.leads();
    if leads && plans {
        let ranks = surroundings.collective.ranks();
        if ranks > 1 {
            progress.note(&format!("{ranks} ranks, of {} threads each", surroundings.threads));
        }
    }
    if plans {
        let folder = &surroundings.policy_folder;
        let machine = [surroundings.threads, surroundings.collective.ranks()];
        let plan = (options.models.plan)(&config, folder, USUAL_PROMPT, machine)?;
        progress.note(&format!(
            "planned peak memory {:.2} GiB; `{} plan` has its parts",
            plan.peak(),
            own_name()
        ));
    }
    if leads {
        progress.log_into(run);
    }
    let done = pick(&backend)(index, &config, run, &surroundings, &mut progress);
    drop((progress, surroundings));
    job.end(done)?;
    if !leads {
        return Ok(());
    }
    if !plans && !config.sft.data.is_empty() {
        outln!("wrote {}", run.join("policy").display());
        return Ok(());
    }
    show_evaluation_of(run)
}

/// Graphics cards by their memory in GiB; a tenth is left for the driver, workspaces and the
/// allocator.
const CARDS: [f64; 6] = [8.0, 16.0, 24.0, 40.0, 48.0, 80.0];

/// Prints what memory a training run needs.
pub(crate) fn plan(
    arguments: &ConfigArguments,
    prompt_tokens: usize,
    ranks: usize,
    options: &Options<'_>,
) -> Result<(), Problem> {
    let Some(config) = resolve(arguments)? else { return Ok(()) };
    let folder = policies::config_folder(&config.policy, &mut Progress::new(true))?;
    let plan = (options.models.plan)(&config, &folder, prompt_tokens, [1, ranks])?;
    let precision = format!("{:?}", config.precision).to_lowercase();
    outln!(
        "{} parameters, {} of them trained, episodes of at most {} tokens, {precision}; GiB:\n",
        plan.parameters,
        plan.trained,
        plan.longest
    );
    outln!("| phase | parts | sum |\n|---|---|---|");
    for ((phase, parts), sum) in plan.phases.iter().zip(plan.sums()) {
        let shown: Vec<String> =
            parts.iter().map(|(name, size)| format!("{name} {size:.2}")).collect();
        outln!("| {phase} | {} | {sum:.2} |", shown.join(", "));
    }
    let peak = plan.peak();
    match CARDS.into_iter().find(|card| peak <= 0.9 * card) {
        Some(card) => outln!("\npeak {peak:.2} GiB: fits a device of {card} GiB"),
        None => outln!(
            "\npeak {peak:.2} GiB: does not fit a device of {} GiB\nhint: `train.memory.gradient_checkpointing=true`, a `train.memory.logits_chunk`, a smaller `train.micro_batch_tokens`, `precision=bf16`, `lora={{}}`",
            CARDS[CARDS.len() - 1]
        ),
    }
    programs::print([&config], "")
}

pub(crate) fn solve(
    question: &str,
    arguments: &ConfigArguments,
    options: &Options<'_>,
) -> Result<(), Problem> {
    let Options { quiet, cancelled, .. } = *options;
    if question.trim().is_empty() {
        return Err(Problem::mistake("the question is empty"));
    }
    let Some(mut config) = resolve(arguments)? else { return Ok(()) };
    // a single answer is best when nothing is left to chance
    config.rollout.sampling.temperature = const { Temperature::literal(0.0) };
    let (backend, index) = options.choose_backend()?;
    let surroundings =
        surroundings(&config, &backend, backend.name, cancelled, &mut Progress::new(quiet))?;
    let trajectory = (backend.solve)(index, &config, question, &surroundings)?;
    if !quiet {
        outln!("{}", trajectory.response.trim_end());
        outln!("---");
    }
    outln!("{}", trajectory.answer.as_deref().unwrap_or("(no answer)"));
    match EpisodeFailures::of([&trajectory]) {
        Some(failures) => Err(Problem::failure(format!(
            "the answer was given in an episode that failed: {failures}"
        ))),
        None => Ok(()),
    }
}

fn show_evaluation_of(run: &Path) -> Result<(), Problem> {
    show(&read_evaluation(run).map_err(Problem::failure)?);
    Ok(())
}

/// Each of several environments.
fn show_environments(evaluation: &Evaluation) {
    for (name, own) in &evaluation.environments {
        let point: Vec<String> =
            own.point.iter().map(|(name, mean)| format!("{name} {mean:.3}")).collect();
        outln!(
            "  environment {name}: EM {:.3} +- {:.3}, #Tool {:.2}, {} ({} episodes)",
            own.em,
            own.em_interval,
            own.calls,
            point.join(", "),
            own.episodes
        );
    }
}

pub(super) fn show(evaluation: &Evaluation) {
    outln!(
        "EM     {:.3} +- {:.3}   ({} episodes on {} tasks)",
        evaluation.em,
        evaluation.em_interval,
        evaluation.episodes,
        evaluation.tasks
    );
    let passes: Vec<String> = evaluation
        .pass_at
        .iter()
        .filter(|(j, _)| **j > 1)
        .map(|(j, share)| format!("pass@{j} {share:.3}"))
        .collect();
    if !passes.is_empty() {
        outln!("       {}", passes.join("  "));
    }
    let per_correct = evaluation
        .calls_per_correct
        .map_or("none correct".to_owned(), |calls| format!("{calls:.2} per right answer"));
    outln!(
        "#Tool  {:.2}   ({per_correct}, {:.1}% of calls failed)",
        evaluation.calls,
        100.0 * evaluation.failed_calls
    );
    for (name, mean) in evaluation.point.iter() {
        let half = evaluation.point_interval.get(name).unwrap_or_default();
        outln!("{name} {mean:.3} +- {half:.3}");
    }
    outln!(
        "tokens {:.1} a response, {:.0} a second",
        evaluation.response_tokens,
        evaluation.tokens_per_second
    );
    outln!(
        "answer in {:.1}% of episodes, {:.1}% ran out of tokens",
        100.0 * evaluation.answered,
        100.0 * evaluation.truncated
    );
    for (level, summary) in &evaluation.levels {
        outln!(
            "  level {level}: EM {:.3}, #Tool {:.2} ({} episodes)",
            summary.em,
            summary.calls,
            summary.episodes
        );
    }
    show_environments(evaluation);
    for (name, value) in &evaluation.environment {
        outln!("{name} {value:.3}");
    }
    if let Some(memory) = evaluation.peak_memory_mib {
        outln!("peak memory {memory:.0} MiB");
    }
}
