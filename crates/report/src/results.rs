//! What a finished run left in its folder.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The result of one run of one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The method's name in tables.
    pub method: String,
    /// The run's seed.
    pub seed: u64,
    /// Share of right answers.
    pub em: f64,
    /// Mean tool calls an episode.
    pub calls: f64,
    /// Tool calls per right answer.
    pub calls_per_correct: Option<f64>,
    /// Mean sampled tokens an episode.
    pub response_tokens: f64,
    /// (EM, 1 - #Tool / largest number of calls).
    pub point: [f64; 2],
    /// EM and #Tool by level.
    pub levels: BTreeMap<u32, [f64; 2]>,
    /// Means of the environment's own metrics.
    #[serde(default)]
    pub environment: BTreeMap<String, f64>,
    /// The lines of `metrics.jsonl`; empty for methods without training.
    #[serde(skip)]
    pub metrics: Vec<BTreeMap<String, f64>>,
}

/// What is wrong with a run folder.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {reason}")]
pub struct ReportError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

#[derive(Deserialize)]
struct StoredEvaluation {
    em: f64,
    calls: f64,
    calls_per_correct: Option<f64>,
    response_tokens: f64,
    point: [f64; 2],
    levels: BTreeMap<u32, StoredLevel>,
    #[serde(default)]
    environment: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct StoredLevel {
    em: f64,
    calls: f64,
}

/// A JSON file of a run's folder.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(
    folder: &Path,
    name: &str,
) -> Result<T, ReportError> {
    let path = folder.join(name);
    let wrong = |reason: String| ReportError { path: path.clone(), reason };
    let text = paretopo_reading::read_text(&path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// The lines of a run's `metrics.jsonl`; none without the file.
pub(crate) fn read_metrics(folder: &Path) -> Result<Vec<BTreeMap<String, f64>>, ReportError> {
    let path = folder.join("metrics.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let wrong = |reason: String| ReportError { path: path.clone(), reason };
    let text = paretopo_reading::read_text(&path).map_err(|error| wrong(error.to_string()))?;
    let parsed: Result<_, _> = text.lines().map(serde_json::from_str).collect();
    parsed.map_err(|error: serde_json::Error| wrong(error.to_string()))
}

/// Reads `evaluation.json` and, if present, `metrics.jsonl`.
///
/// # Errors
/// When a file cannot be read or is malformed.
pub fn read_run(folder: &Path, method: &str, seed: u64) -> Result<RunResult, ReportError> {
    let stored: StoredEvaluation = read_json(folder, "evaluation.json")?;
    let metrics = read_metrics(folder)?;
    Ok(RunResult {
        method: method.to_owned(),
        seed,
        em: stored.em,
        calls: stored.calls,
        calls_per_correct: stored.calls_per_correct,
        response_tokens: stored.response_tokens,
        point: stored.point,
        levels: stored
            .levels
            .into_iter()
            .map(|(level, found)| (level, [found.em, found.calls]))
            .collect(),
        environment: stored.environment,
        metrics,
    })
}
