//! Small tools to debug with: JSON lines in, JSON lines out.

use super::lines::{self, Line};
use super::{Options, python_worker};
use crate::arguments::{GradeKind, Interpreter};
use crate::output::{errln, outln};
use crate::problem::Problem;
use paretopo_algorithms::pareto::{hypervolume, non_dominated_ranks, underflows};
use paretopo_algorithms::{EstimatorConfig, EstimatorState, Estimators, Group, Progress};
use paretopo_environments::qa;
use paretopo_grading::answers_equal;
use paretopo_settings::{NonNegative, Seconds, read_table};
use paretopo_tools::{PythonConfig, PythonLimits, PythonTool};
use paretopo_training::{Check, CheckDepth, RunConfig, ScoreRequest, TrainingError};
use paretopo_trajectory::CallStatus;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

pub(super) fn devices(options: &Options<'_>) -> Result<(), Problem> {
    for backend in &options.models.backends {
        match (backend.probe)(0) {
            Ok(device) => outln!("{:8} {device}", backend.name),
            Err(reason) => outln!(
                "{:8} not usable: {}",
                backend.name,
                reason.lines().next().unwrap_or_default()
            ),
        }
    }
    Ok(())
}

pub(super) fn score(model: &Path, file: &Path, options: &Options<'_>) -> Result<(), Problem> {
    let requests: Vec<ScoreRequest> = lines::read(file)?;
    let (backend, index) = options.choose_backend()?;
    lines::print((backend.score)(index, model, &requests)?)
}

/// A line with the fields that a command needs, and all of it as it was.
struct Row<T> {
    fields: T,
    line: Map<String, Value>,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Row<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = Map::deserialize(deserializer)?;
        let fields = T::deserialize(Value::from(line.clone())).map_err(serde::de::Error::custom)?;
        Ok(Self { fields, line })
    }
}

impl<T> Row<T> {
    /// The line with one more field.
    fn with(self, name: &str, value: impl Into<Value>) -> Value {
        let mut line = self.line;
        line.insert(name.into(), value.into());
        line.into()
    }
}

/// The vectors of a field, which must be equally long.
fn vectors(lines: &[Line], field: &str) -> Result<Vec<Vec<f64>>, Problem> {
    let vectors: Vec<Vec<f64>> =
        lines.iter().map(|line| line.vector(field)).collect::<Result<_, _>>()?;
    let length = vectors.first().map_or(0, Vec::len);
    match vectors.iter().position(|vector| vector.len() != length) {
        None => Ok(vectors),
        Some(index) => Err(lines[index].wrong(
            field,
            format!("it has {} objectives, but the first has {length}", vectors[index].len()),
        )),
    }
}

/// A line with one more field.
fn with(line: Line, name: &str, value: impl Into<Value>) -> Value {
    let mut object = line.object;
    object.insert(name.into(), value.into());
    object.into()
}

pub(super) fn front(file: &Path, reference: &[f64]) -> Result<(), Problem> {
    let rows = lines::objects(file)?;
    let points = vectors(&rows, "point")?;
    let objectives = points.first().map_or(reference.len(), Vec::len);
    let reference = if reference.is_empty() { vec![0.0; objectives] } else { reference.to_vec() };
    if reference.len() != objectives || reference.iter().any(|value| !value.is_finite()) {
        return Err(Problem::mistake(format!(
            "`--reference` needs {objectives} finite numbers, one per objective"
        )));
    }
    let (ranks, volume) = (non_dominated_ranks(&points), hypervolume(&points, &reference));
    if !volume.is_finite() {
        return Err(Problem::mistake(format!(
            "`{}`: the hypervolume is beyond the largest number, 1.8e308\nhint: scale the points",
            file.display()
        )));
    }
    if let Some(place) = points.iter().position(|point| underflows(point, &reference)) {
        let warning = rows[place].wrong(
            "point",
            "it is above the reference in every objective, but by so little that the product is \
             below 2.2e-308, the smallest 64-bit float: its hypervolume is taken as (nearly) 0",
        );
        errln!("warning: {}", warning.message);
    }
    let ranked: Vec<Value> =
        rows.into_iter().zip(ranks).map(|(row, rank)| with(row, "rank", rank)).collect();
    lines::print(ranked.into_iter().chain([json!({ "hypervolume": volume })]))
}

pub(super) fn advantages(
    file: &Path,
    estimator: &str,
    set: &[String],
    seed: u64,
) -> Result<(), Problem> {
    let config = estimator_config(estimator, set)?;
    for warning in config.warnings() {
        errln!("warning: {warning}");
    }
    let rows = lines::objects(file)?;
    let rewards = vectors(&rows, "rewards")?;
    let calls: Vec<Option<f64>> = rows
        .iter()
        .map(|row| Ok(row.count("calls")?.map(|count| count as f64)))
        .collect::<Result<_, Problem>>()?;
    // groups in the order of their first line; a group's lines need not be adjacent
    let mut names: Vec<String> = Vec::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        let name = row.object.get("group").ok_or_else(|| row.wrong("group", "is missing"))?;
        let name = name.to_string();
        let place = *places.entry(name.clone()).or_insert_with(|| {
            names.push(name);
            members.push(Vec::new());
            members.len() - 1
        });
        members[place].push(index);
    }
    let groups: Vec<Group> = names
        .iter()
        .zip(&members)
        .map(|(name, members)| Group {
            prompt: name.clone(),
            rewards: members.iter().map(|index| rewards[*index].clone()).collect(),
            calls: members.iter().map(|index| calls[*index]).collect(),
            ..Group::default()
        })
        .collect();
    // no run says how many calls an episode may make; as many as where it is not said
    let call_limit = RunConfig::default().rollout.max_calls as f64;
    let progress = Progress { step: 0, total_steps: 1, seed, call_limit };
    let result =
        paretopo_algorithms::advantages(&config, &mut EstimatorState::default(), &groups, progress)
            .map_err(Problem::mistake)?;
    for note in result.notes.values() {
        errln!("{note}");
    }
    let mut by_row = vec![0.0; rows.len()];
    for (members, values) in members.iter().zip(&result.values) {
        for (index, value) in members.iter().zip(values) {
            by_row[*index] = *value;
        }
    }
    let weighed =
        rows.into_iter().zip(by_row).map(|(row, advantage)| with(row, "advantage", advantage));
    lines::print(weighed)
}

pub(super) fn call_threshold(
    estimator: &str,
    set: &[String],
    alpha: NonNegative,
) -> Result<(), Problem> {
    let config = estimator_config(estimator, set)?;
    let threshold =
        paretopo_algorithms::call_threshold(&config, 8, alpha.get()).map_err(Problem::mistake)?;
    outln!(
        "{}",
        json!({ "estimator": estimator, "alpha": alpha.get(), "group": 8, "call_threshold": (threshold * 1e4).round() / 1e4 })
    );
    Ok(())
}

/// The estimator of that name with its defaults, changed by `key=value`.
fn estimator_config(name: &str, set: &[String]) -> Result<EstimatorConfig, Problem> {
    let estimators = Estimators::in_use();
    if !estimators.names().any(|known| known == name) {
        let known = estimators.listed();
        return Err(Problem::mistake(format!(
            "there is no estimator `{name}` (there are {known})"
        )));
    }
    let mut text = format!("type = \"{name}\"\n");
    for assignment in set {
        let (key, value) = assignment.split_once('=').ok_or_else(|| {
            Problem::mistake(format!("`--set {assignment}`: expected `key=value`"))
        })?;
        let literal = format!("{key} = {value}\n");
        // what is not TOML by itself is taken as a string
        if toml::from_str::<toml::Table>(&literal).is_ok() {
            text.push_str(&literal);
        } else {
            text.push_str(&format!("{key} = {}\n", toml::Value::from(value)));
        }
    }
    let table: toml::Table = toml::from_str(&text)
        .map_err(|error| Problem::mistake(format!("`--set`: {}", error.message())))?;
    read_table(table).map_err(|refused| Problem::mistake(format!("`--set`: {refused}")))
}

#[derive(Deserialize)]
struct GradeRow {
    gold: Value,
    pred: Value,
}

pub(super) fn grade(file: &Path, kind: GradeKind) -> Result<(), Problem> {
    let rows: Vec<Row<GradeRow>> = lines::read(file)?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    lines::print(rows.into_iter().map(|mut row| {
        let pred = text(&row.fields.pred);
        match kind {
            GradeKind::Math => {
                let equal = answers_equal(&text(&row.fields.gold), &pred);
                row.with("equal", equal)
            }
            GradeKind::Qa => {
                let golds: Vec<String> = row.fields.gold.as_array().map_or_else(
                    || vec![text(&row.fields.gold)],
                    |list| list.iter().map(text).collect(),
                );
                let em = golds.iter().any(|gold| qa::exact_match(gold, &pred));
                row.line.insert("em".into(), em.into());
                row.with("f1", qa::best_f1(golds.iter().map(String::as_str), &pred))
            }
        }
    }))
}

pub(super) fn check(
    fixtures: &Path,
    depth: CheckDepth,
    out: Option<&Path>,
    options: &Options<'_>,
) -> Result<(), Problem> {
    let (backend, index) = options.choose_backend()?;
    let started = Instant::now();
    outln!("backend {}:{index}\n", backend.name);
    outln!("| case | comparison | difference | allowed | |\n|---|---|---|---|---|");
    let mut checks = Vec::new();
    (backend.check)(index, fixtures, depth, &mut |check: Check| {
        let verdict = if check.passed() { "ok" } else { "FAILED" };
        let Check { case, what, difference, tolerance } = &check;
        outln!("| {case} | {what} | {difference:.1e} | {tolerance:.0e} | {verdict} |");
        checks.push(check);
        match options.cancelled.load(Ordering::Relaxed) {
            true => Err(TrainingError::Interrupted),
            false => Ok(()),
        }
    })?;
    let seconds = started.elapsed().as_secs_f64();
    outln!("\n{} comparisons in {seconds:.1} s", checks.len());
    if let Some(out) = out {
        let result = serde_json::json!({
            "backend": backend.name, "seconds": seconds, "checks": checks
        });
        let text = serde_json::to_string_pretty(&result).expect("plain data serialises") + "\n";
        std::fs::write(out, text)
            .map_err(|error| Problem::failure(format!("`{}`: {error}", out.display())))?;
    }
    match checks.iter().filter(|check| !check.passed()).count() {
        0 => Ok(()),
        failed => Err(Problem::failure(format!("{failed} of {} comparisons failed", checks.len()))),
    }
}

pub(super) fn python(
    file: &Path,
    interpreter: Interpreter,
    seconds: Seconds,
    memory: usize,
    output: usize,
) -> Result<(), Problem> {
    let program = lines::read_text(file)?;
    let limits = PythonLimits { seconds, memory: memory << 20, ..PythonLimits::default() };
    let tool = PythonTool::new(
        PythonConfig {
            interpreter: interpreter.into(),
            limits,
            output_characters: output,
            ..PythonConfig::default()
        },
        python_worker()?,
    )
    .map_err(Problem::mistake)?;
    let outcome = tool.run(&program, Instant::now() + seconds.duration());
    outln!("{}", outcome.text);
    if outcome.status == CallStatus::Ok {
        Ok(())
    } else {
        Err(Problem::failure(format!("the program ended with status {:?}", outcome.status)))
    }
}
