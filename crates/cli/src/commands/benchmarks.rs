//! `evaluate`, on the configuration's own tasks or on several data sets: one folder each, resumed
//! where it was interrupted, and one table.

use super::inspect;
use super::recipes::{Opened, open, show};
use crate::arguments::{ConfigArguments, LogFormat};
use crate::commands::Options;
use crate::output;
use crate::problem::Problem;
use paretopo_environments::with_dataset;
use paretopo_records::{
    EVALUATION, Evaluation, read_evaluation, write_evaluation, write_trajectories,
};
use paretopo_training::{
    Evaluated, FinishedEpisodes, Observer, PolicySource, RunConfig, TrainingError, write_atomically,
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// The episodes of an evaluation.
pub(super) const TRAJECTORIES: &str = "trajectories.jsonl";

const OTHER_FOLDER: &str = "hint: choose another folder with `--out`, or delete this one";

/// What an evaluation folder holds the result of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The configuration with all its settings.
    pub(super) config: String,
    /// Name, bytes and time of change (seconds since 1970) of the policy's files; no time for
    /// those that the binary writes out.
    files: Vec<(String, u64, u64)>,
}

impl Identity {
    /// What a folder says that its result is of; `None` if it does not say.
    ///
    /// # Errors
    /// When the file cannot be read, or is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, Problem> {
        let path = folder.join("identity.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Problem::unreadable(&path, &error)),
        };
        let identity = serde_json::from_slice(&text).map_err(|error| {
            Problem::mistake(format!("`{}`: {error}\n{OTHER_FOLDER}", path.display()))
        })?;
        Ok(Some(identity))
    }
}

pub(crate) fn evaluate(
    arguments: &ConfigArguments,
    benchmarks: &[String],
    out: Option<&Path>,
    format: Option<LogFormat>,
    options: &Options<'_>,
) -> Result<(), Problem> {
    for (index, benchmark) in benchmarks.iter().enumerate() {
        // both would be played into one folder, and count twice in the mean
        if benchmarks[..index].contains(benchmark) {
            return Err(Problem::mistake(format!("`--benchmarks`: `{benchmark}` is listed twice")));
        }
    }
    let Some(Opened { config, backend, index, mut progress, surroundings }) =
        open(arguments, out, options)?
    else {
        return Ok(());
    };
    let mut configs = Vec::new();
    for benchmark in benchmarks {
        let environment = with_dataset(&config.environment, benchmark).map_err(Problem::mistake)?;
        configs.push((benchmark.as_str(), RunConfig { environment, ..config.clone() }));
    }
    let several = !configs.is_empty();
    if !several {
        configs.push(("", config));
    }
    if several {
        // better now than after hours on the benchmarks before it
        let is_done =
            |benchmark: &str| out.is_some_and(|out| out.join(benchmark).join(EVALUATION).exists());
        for (benchmark, config) in configs.iter().filter(|(benchmark, _)| !is_done(benchmark)) {
            (options.models.check_prompts)(config, &surroundings, &mut progress).map_err(
                |error| {
                    let problem = Problem::from(error);
                    Problem { message: format!("{benchmark}: {}", problem.message), ..problem }
                },
            )?;
        }
    }
    let mut results = Vec::new();
    for (benchmark, config) in &configs {
        let folder = out.map(|out| out.join(benchmark));
        let policy = &surroundings.policy_folder;
        let mut note = |message: &str| progress.note(message);
        let done = folder.as_deref().map(|folder| found(folder, config, policy, &mut note));
        let done = done.transpose()?.flatten();
        // the folder is this evaluation's
        if let Some(out) = out.filter(|_| results.is_empty()) {
            output::open_log(out);
        }
        let mut play =
            |finished| (backend.evaluate)(index, config, finished, &surroundings, &mut progress);
        let mut asked = None;
        let evaluation = match &folder {
            None => play(None)?.evaluation,
            Some(folder) => match done {
                Some(evaluation) => evaluation,
                None => {
                    let partial = folder.join("finished.jsonl");
                    let Evaluated { evaluation, trajectories, tasks } =
                        play(Some(FinishedEpisodes::open(&partial)?))?;
                    let place = folder.join(TRAJECTORIES);
                    write_trajectories(&place, trajectories.iter()).map_err(Problem::failure)?;
                    asked = Some(tasks);
                    write_evaluation(folder, &evaluation).map_err(Problem::failure)?;
                    std::fs::remove_file(&partial).map_err(|error| {
                        Problem::failure(format!("`{}`: {error}", partial.display()))
                    })?;
                    evaluation
                }
            },
        };
        if let (Some(LogFormat::Inspect), Some(folder)) = (format, &folder) {
            let tasks = match asked {
                Some(tasks) => tasks,
                None => surroundings
                    .evaluated_tasks(config, &mut progress)
                    .map_err(|error| Problem::from(TrainingError::from(error)))?,
            };
            let task = Some(*benchmark).filter(|name| !name.is_empty());
            let place = inspect::write(folder, task, config, (&evaluation, &tasks), policy)?;
            progress.note(&format!("the log for `inspect view` is `{}`", place.display()));
        }
        if several {
            progress.note(&format!(
                "{benchmark}: EM {:.3} +- {:.3}, #Tool {:.2}",
                evaluation.em, evaluation.em_interval, evaluation.calls
            ));
        }
        results.push((*benchmark, evaluation));
    }
    drop(progress);
    if !several {
        show(&results[0].1);
        return Ok(());
    }
    let rows = rows(&results);
    let table = markdown(&rows);
    if let Some(out) = out {
        write_atomically(&out.join("benchmarks.md"), table.as_bytes())?;
        write_atomically(&out.join("benchmarks.csv"), csv(&rows).as_bytes())?;
    }
    output::result(format_args!("{table}"));
    Ok(())
}

/// The result that a folder holds already; `None` after preparing it for one.
///
/// A result that does not say of what it is (earlier versions wrote such) is made again.
///
/// # Errors
/// When the folder belongs to another configuration or policy, or to a training run.
fn found(
    folder: &Path,
    config: &RunConfig,
    policy: &Path,
    note: &mut dyn FnMut(&str),
) -> Result<Option<Evaluation>, Problem> {
    let failed = |path: &Path, error: std::io::Error| {
        Problem::mistake(format!("cannot access `{}`: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let mut files = Vec::new();
    for folder in [Some(policy), config.policy.adapter()].into_iter().flatten() {
        for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error))?.flatten() {
            let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
            let embedded = matches!(config.policy, PolicySource::Embedded { .. });
            let changed = metadata
                .modified()
                .ok()
                .filter(|_| !embedded)
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            files.push((
                entry.file_name().to_string_lossy().into_owned(),
                metadata.len(),
                changed.map_or(0, |since| since.as_secs()),
            ));
        }
    }
    files.sort();
    let identity = Identity { config: config.to_toml()?, files };
    let (identity_path, result_path) = (folder.join("identity.json"), folder.join(EVALUATION));
    match Identity::read(folder)? {
        None if folder.join("config.toml").exists() => {
            return Err(Problem::mistake(format!(
                "`{}` holds a training run\n{OTHER_FOLDER}",
                folder.display()
            )));
        }
        None => {
            if result_path.exists() {
                note(&format!(
                    "`{}` does not say of what it is the result; evaluating again",
                    result_path.display()
                ));
            }
            let json = serde_json::to_vec_pretty(&identity).map_err(Problem::failure)?;
            // first the old result, so that a kill in between leaves none that looks like this one's
            if result_path.exists() {
                std::fs::remove_file(&result_path).map_err(|error| failed(&result_path, error))?;
            }
            write_atomically(&identity_path, &json)?;
        }
        Some(found) if found.files == identity.files && config.is_written_as(&found.config) => {}
        Some(found) => {
            let difference = config.first_difference(&found.config);
            let what = difference.map_or_else(
                || "another policy".to_owned(),
                |line| format!("another configuration (first difference: `{line}`)"),
            );
            return Err(Problem::mistake(format!(
                "`{}` holds an evaluation of {what}\n{OTHER_FOLDER}",
                folder.display()
            )));
        }
    }
    if !result_path.exists() {
        return Ok(None);
    }
    let evaluation = read_evaluation(folder)
        .map_err(|error| Problem::mistake(format!("{error}\nhint: delete it to evaluate again")))?;
    Ok(Some(evaluation))
}

/// The table's head and a row of texts for each benchmark; the last holds the plain means over
/// benchmarks.
fn rows(results: &[(&str, Evaluation)]) -> Vec<Vec<String>> {
    let passes: Vec<usize> = results[0].1.pass_at.keys().copied().filter(|j| *j > 1).collect();
    let samples = results[0].1.episodes / results[0].1.tasks.max(1);
    let mut head: Vec<String> = ["benchmark", "tasks"].map(str::to_owned).to_vec();
    head.push(if samples > 1 { format!("avg@{samples}") } else { "EM".into() });
    head.push("+-".into());
    for j in &passes {
        head.extend([format!("pass@{j}"), "+-".into()]);
    }
    head.extend(["#Tool", "calls per right answer", "tokens", "answered"].map(str::to_owned));
    let mut rows = vec![head];
    let mut sums: Vec<(f64, usize)> = Vec::new();
    for (name, evaluation) in results {
        let mut numbers = vec![Some(evaluation.em), Some(evaluation.em_interval)];
        for j in &passes {
            numbers.extend([
                evaluation.pass_at.get(j).copied(),
                evaluation.pass_at_interval.get(j).copied(),
            ]);
        }
        numbers.extend([
            Some(evaluation.calls),
            evaluation.calls_per_correct,
            Some(evaluation.response_tokens),
            Some(evaluation.answered),
        ]);
        sums.resize(numbers.len(), (0.0, 0));
        for (sum, number) in sums.iter_mut().zip(&numbers) {
            if let Some(number) = number {
                *sum = (sum.0 + number, sum.1 + 1);
            }
        }
        rows.push(
            [(*name).to_owned(), evaluation.tasks.to_string()]
                .into_iter()
                .chain(numbers.into_iter().map(shown))
                .collect(),
        );
    }
    let tasks: usize = results.iter().map(|(_, evaluation)| evaluation.tasks).sum();
    let is_interval: Vec<bool> = rows[0][2..].iter().map(|name| name == "+-").collect();
    // half-widths do not average; those of a mean of independent benchmarks would be smaller
    let means = sums.into_iter().zip(is_interval).map(|((sum, count), interval)| {
        shown((count > 0 && !interval).then(|| sum / count as f64))
    });
    rows.push(["mean".to_owned(), tasks.to_string()].into_iter().chain(means).collect());
    rows
}

fn shown(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.3}"))
}

fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
        }
    }
    text
}

fn csv(rows: &[Vec<String>]) -> String {
    // no field holds a comma, a quote or a line break
    rows.iter().map(|row| row.join(",") + "\n").collect()
}
