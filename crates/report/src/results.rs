//! What a finished run left in its folder.

use crate::{Place, lowest_calls};
use paretopo_records::{PreferencePoint, RecordError, read_evaluation, read_metrics};
use paretopo_trajectory::ObjectiveValues;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// The result of one run of one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The method's name.
    pub method: String,
    /// Where its knob stood, for methods that are swept over one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
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
    pub accuracy_efficiency: [f64; 2],
    /// The mean of every objective, by name; empty in evaluations that did not tell.
    #[serde(default)]
    pub point: ObjectiveValues,
    /// EM and #Tool by level.
    pub levels: BTreeMap<u32, [f64; 2]>,
    /// Means of the environment's own metrics.
    #[serde(default)]
    pub environment: BTreeMap<String, f64>,
    /// The lowest mean of the calls over five steps of the training, see
    /// [`lowest_calls`](crate::lowest_calls).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest_calls: Option<f64>,
    /// Share of right answers where no call can be made, at the end (`evaluation.head_skill`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_skill: Option<f64>,
    /// What the same policy achieves where it is told other preferences
    /// (`evaluation.preferences`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<PreferencePoint>,
    /// The lines of `metrics.jsonl`; empty for methods without training.
    #[serde(skip)]
    pub metrics: Vec<BTreeMap<String, f64>>,
}

/// A row's name in tables: the method, and where its knob stands.
pub fn row_name(method: &str, setting: &str) -> String {
    format!("{method} {setting}")
}

/// Each name once, in the order of their first appearance.
pub(crate) fn distinct<S: AsRef<str> + Into<String>>(
    names: impl IntoIterator<Item = S>,
) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        if !seen.iter().any(|known| known == name.as_ref()) {
            seen.push(name.into());
        }
    }
    seen
}

impl RunResult {
    /// Its row in tables: the method, and the setting of its knob.
    pub fn row(&self) -> Cow<'_, str> {
        match &self.setting {
            None => Cow::Borrowed(&self.method),
            Some(setting) => Cow::Owned(row_name(&self.method, setting)),
        }
    }

    /// What its tools cost an episode: `cost` of the environment's metrics, or else its calls.
    pub fn cost(&self) -> f64 {
        self.environment.get("cost").copied().unwrap_or(self.calls)
    }

    /// Its place in the plane of fronts.
    pub fn place(&self) -> Place {
        Place { calls: self.calls, em: self.em }
    }
}

/// The runs with a policy that is told preferences in as many pieces as it was told, each with its
/// preference as its setting: the front of a single policy. Others stay as they are.
pub fn by_preference(runs: &[RunResult]) -> Vec<RunResult> {
    let told = |run: &RunResult, told: &PreferencePoint| {
        let weights: Vec<String> =
            told.preference.values().iter().map(|weight| format!("{weight:.1}")).collect();
        RunResult {
            setting: Some(weights.join("/")),
            em: told.em,
            calls: told.calls,
            point: told.point.clone(),
            preferences: Vec::new(),
            ..run.clone()
        }
    };
    let pieces = |run: &RunResult| match run.preferences.is_empty() {
        true => vec![run.clone()],
        false => run.preferences.iter().map(|point| told(run, point)).collect(),
    };
    runs.iter().flat_map(pieces).collect()
}

/// The runs with their efficiency as it was measured in the place of the objective `r_tool`. Where an
/// evaluation plays each task once it knows of no cheaper right answer, and `r_tool` says no more
/// than `r_task`.
pub fn with_measured_efficiency(runs: &[RunResult]) -> Vec<RunResult> {
    let measured = |run: &RunResult| {
        let pairs = run.point.names().iter().zip(run.point.values());
        let (names, values): (Vec<String>, Vec<f64>) = pairs
            .map(|(name, value)| match name.as_str() {
                "r_tool" => ("1 - #Tool / limit".to_owned(), run.accuracy_efficiency[1]),
                _ => (name.clone(), *value),
            })
            .unzip();
        RunResult { point: ObjectiveValues::new(&names.into(), values), ..run.clone() }
    };
    runs.iter().map(measured).collect()
}

/// Reads `evaluation.json` and, if present, `metrics.jsonl`.
///
/// # Errors
/// When a file cannot be read or is malformed.
pub fn read_run(folder: &Path, method: &str, seed: u64) -> Result<RunResult, RecordError> {
    let stored = read_evaluation(folder)?;
    let metrics = read_metrics(folder)?;
    Ok(RunResult {
        method: method.to_owned(),
        setting: None,
        seed,
        em: stored.em,
        calls: stored.calls,
        calls_per_correct: stored.calls_per_correct,
        response_tokens: stored.response_tokens,
        accuracy_efficiency: stored.accuracy_efficiency,
        point: stored.point,
        levels: stored
            .levels
            .into_iter()
            .map(|(level, found)| (level, [found.em, found.calls]))
            .collect(),
        lowest_calls: lowest_calls(&metrics),
        head_skill: stored.head_skill,
        preferences: stored.preferences,
        environment: stored.environment,
        metrics,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::run;

    #[test]
    fn the_efficiency_is_the_measured_one() {
        let names = ["r_task", "r_tool", "r_length"].map(str::to_owned).into();
        let point = ObjectiveValues::new(&names, vec![0.5, 0.5, 0.25]);
        // one of at most four calls: 1 - 1 / 4
        let runs = [RunResult { accuracy_efficiency: [0.5, 0.75], point, ..run("a", 1, 0.5, 1.0) }];
        let found = &with_measured_efficiency(&runs)[0].point;
        assert_eq!(found.names()[..], ["r_task", "1 - #Tool / limit", "r_length"]);
        assert_eq!(found.values(), [0.5, 0.75, 0.25]);
    }

    #[test]
    fn a_policy_that_is_told_preferences_is_a_front_of_its_own() {
        let names = ["r_task".to_owned(), "r_tool".to_owned()].into();
        let told = |weights: [f64; 2], em, calls| PreferencePoint {
            preference: ObjectiveValues::new(&names, weights.to_vec()),
            em,
            calls,
            ..PreferencePoint::default()
        };
        let points = vec![told([0.8, 0.2], 0.9, 1.5), told([0.2, 0.8], 0.6, 0.25)];
        let runs = [
            run("GDPO", 1, 0.7, 1.0),
            RunResult { preferences: points, ..run("told", 1, 0.7, 1.0) },
        ];
        let pieces = by_preference(&runs);
        assert_eq!(pieces[0], runs[0]);
        let rows: Vec<String> = pieces[1..].iter().map(|piece| piece.row().into_owned()).collect();
        assert_eq!(rows, ["told 0.8/0.2", "told 0.2/0.8"]);
        assert_eq!(pieces[2].place(), Place { calls: 0.25, em: 0.6 });
        // two pieces of one seed are one front with two places
        assert_eq!(crate::fronts::mean_places(&pieces, "told").len(), 2);
    }
}
