//! `evaluation.json`: what an evaluation found.
//!
//! Older ones had `point`, the pair (EM, 1 - #Tool / largest number of calls), and no means of the
//! objectives. The pair is now called `accuracy_efficiency`, and `point` has a value per objective.

use crate::{RecordError, of};
use paretopo_durable::{Failure, write_atomically};
use paretopo_trajectory::ObjectiveValues;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The file's name in a run's folder.
pub const EVALUATION: &str = "evaluation.json";

/// What an evaluation found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Episodes.
    pub episodes: usize,
    /// Tasks.
    pub tasks: usize,
    /// Share of episodes with a right answer (avg@k for k episodes a task).
    pub em: f64,
    /// Half the width of its 95% interval, from the standard error of the tasks' means.
    pub em_interval: f64,
    /// pass@j for j = 1, 2, 4, ... up to the episodes a task: the chance that at least one of j
    /// episodes is right.
    #[serde(default)]
    pub pass_at: BTreeMap<usize, f64>,
    /// Half the width of its 95% interval, likewise.
    #[serde(default)]
    pub pass_at_interval: BTreeMap<usize, f64>,
    /// Mean tool calls an episode (#Tool).
    pub calls: f64,
    /// Tool calls per right answer; `None` without one.
    pub calls_per_correct: Option<f64>,
    /// Mean sampled tokens an episode.
    pub response_tokens: f64,
    /// Share of episodes that gave an answer at all.
    pub answered: f64,
    /// Share of calls that failed, timed out or hit a limit.
    pub failed_calls: f64,
    /// Share of episodes that ran out of tokens.
    pub truncated: f64,
    /// The achieved point: the mean of every objective over the episodes, all to be maximised in
    /// [0, 1]. Empty in files that did not tell.
    pub point: ObjectiveValues,
    /// Half the width of each mean's 95% interval, from the standard error of the tasks' means.
    #[serde(default)]
    pub point_interval: ObjectiveValues,
    /// (EM, 1 - #Tool / largest number of calls), both to be maximised in [0, 1], whatever the
    /// objectives are.
    pub accuracy_efficiency: [f64; 2],
    /// Share of right answers where no call may be begun, if that was played, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_skill: Option<f64>,
    /// What the same policy achieves where it is told other preferences, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<PreferencePoint>,
    /// By level, where tasks have one.
    pub levels: BTreeMap<u32, LevelSummary>,
    /// Means of the environment's own metrics, over the episodes to which each applies.
    #[serde(default)]
    pub environment: BTreeMap<String, f64>,
    /// Each environment by its name, in a run of several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environments: BTreeMap<String, EnvironmentSummary>,
    /// Seconds of each phase, averaged over the workers.
    #[serde(default)]
    pub phases: BTreeMap<String, f64>,
    /// Tokens sampled a second.
    pub tokens_per_second: f64,
    /// Peak resident memory in MiB, where the system tells.
    pub peak_memory_mib: Option<f64>,
}

/// An evaluation of one of several environments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentSummary {
    /// Episodes.
    pub episodes: usize,
    /// Tasks.
    pub tasks: usize,
    /// Share of episodes with a right answer.
    pub em: f64,
    /// Half the width of its 95% interval, from the standard error of the tasks' means.
    pub em_interval: f64,
    /// Mean tool calls an episode.
    pub calls: f64,
    /// Mean sampled tokens an episode.
    pub response_tokens: f64,
    /// The mean of every objective that it has.
    pub point: ObjectiveValues,
    /// Half the width of each mean's 95% interval, from the standard error of the tasks' means.
    pub point_interval: ObjectiveValues,
    /// Means of its own metrics, over the episodes to which each applies.
    #[serde(default)]
    pub environment: BTreeMap<String, f64>,
}

/// What a policy achieves that is told a preference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PreferencePoint {
    /// A weight for each objective; they add up to 1.
    pub preference: ObjectiveValues,
    /// Share of episodes with a right answer.
    pub em: f64,
    /// Mean tool calls an episode.
    pub calls: f64,
    /// The mean of every objective.
    pub point: ObjectiveValues,
    /// Half the width of each mean's 95% interval, from the standard error of the tasks' means.
    pub point_interval: ObjectiveValues,
}

/// An evaluation of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LevelSummary {
    /// Episodes.
    pub episodes: usize,
    /// Share of episodes with a right answer.
    pub em: f64,
    /// Mean tool calls an episode.
    pub calls: f64,
    /// Share of right answers where no call may be begun, if that was played, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_skill: Option<f64>,
    /// Mean of the calls that its tasks need, where they say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_calls: Option<f64>,
    /// Share of right answers among the episodes without a call; `None` without one. Where the
    /// policy chooses when to call, these are the episodes in which it chose not to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub em_without_calls: Option<f64>,
    /// Share of right answers among the episodes that made exactly the calls that their task needs;
    /// `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub em_with_needed_calls: Option<f64>,
}

/// Reads the `evaluation.json` of a folder, of this version or an older one.
///
/// # Errors
/// When it cannot be read or is malformed.
pub fn read_evaluation(folder: &Path) -> Result<Evaluation, RecordError> {
    let path = folder.join(EVALUATION);
    let text = paretopo_reading::read_text(&path).map_err(of(&path))?;
    from_json(&text).map_err(of(&path))
}

/// Writes the `evaluation.json` of a folder.
///
/// # Errors
/// When it cannot be written.
pub fn write_evaluation(folder: &Path, evaluation: &Evaluation) -> Result<(), Failure> {
    let json = serde_json::to_vec_pretty(evaluation).expect("plain data serialises");
    write_atomically(&folder.join(EVALUATION), &json)
}

fn from_json(text: &str) -> serde_json::Result<Evaluation> {
    let mut json: serde_json::Value = serde_json::from_str(text)?;
    let is_old = json.get("point").is_some_and(serde_json::Value::is_array);
    if let (true, Some(keys)) = (is_old, json.as_object_mut()) {
        let none = serde_json::json!({});
        let pair = keys.insert("point".into(), none).unwrap_or_default();
        keys.insert("accuracy_efficiency".into(), pair);
    }
    serde_json::from_value(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 0.1 wrote it.
    const OLD: &str = r#"{"episodes":4,"tasks":2,"em":0.75,"em_interval":0.49,"pass_at":{"1":0.75,"2":1.0},"pass_at_interval":{"1":0.49,"2":0.0},"calls":1.5,"calls_per_correct":2.0,"response_tokens":10.5,"answered":1.0,"failed_calls":0.25,"truncated":0.0,"point":[0.75,0.625],"levels":{"0":{"episodes":4,"em":0.75,"calls":1.5}},"environment":{"f1":0.5},"phases":{"decode":1.5},"tokens_per_second":100.0,"peak_memory_mib":null}"#;

    #[test]
    fn what_is_written_is_read_and_so_is_what_older_versions_wrote() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(EVALUATION), OLD).unwrap();
        let old = read_evaluation(folder.path()).unwrap();
        assert_eq!(old.accuracy_efficiency, [0.75, 0.625]);
        assert!(old.point.is_empty() && old.levels[&0].calls == 1.5 && old.pass_at[&2] == 1.0);
        let point: ObjectiveValues =
            [("r_task", 0.75), ("r_tool", f64::NAN), ("r_length", 0.1)].into_iter().collect();
        let new = Evaluation { point, peak_memory_mib: Some(12.5), ..old };
        write_evaluation(folder.path(), &new).unwrap();
        let read = read_evaluation(folder.path()).unwrap();
        // what is no number is not equal to itself
        assert_eq!(format!("{read:?}"), format!("{new:?}"));
        assert_eq!(read.point.names()[..], ["r_task", "r_tool", "r_length"]);
    }

    #[test]
    fn what_is_none_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            std::fs::write(folder.path().join(EVALUATION), text).unwrap();
            read_evaluation(folder.path()).unwrap_err().to_string()
        };
        for (text, said) in [
            ("{}", "missing field `episodes`"),
            ("", "EOF while parsing"),
            (&OLD.replace("[0.75,0.625]", "[0.75]"), "array of length 2"),
        ] {
            let error = refused(text);
            assert!(error.contains("evaluation.json`: ") && error.contains(said), "{error}");
        }
    }
}
