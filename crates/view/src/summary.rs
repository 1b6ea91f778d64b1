//! A run in a line: what it is, how far it is, how good it is.

use crate::catalog::Run;
use crate::settings::flat_settings;
use paretopo_records::{Step, last_metrics, read_evaluation};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds without a step, times the usual length of a step, after which a run that is marked as at
/// work is taken for one that was ended.
const PATIENCE: f64 = 20.0;
/// The same at least, in seconds.
const LEAST_PATIENCE: f64 = 120.0;

/// A run in a line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RunSummary {
    pub(crate) id: String,
    /// The estimator's type, or the recipe of a run that has none.
    pub(crate) method: String,
    /// Its name without the seed: runs that differ by it alone have the same.
    pub(crate) row: String,
    pub(crate) seed: Option<u64>,
    /// `working`, `done`, `stopped` or `broken`.
    pub(crate) state: &'static str,
    /// Steps that were made, and that there will be.
    pub(crate) step: Option<f64>,
    pub(crate) steps: Option<f64>,
    /// Of the last step.
    pub(crate) em: Option<f64>,
    pub(crate) calls: Option<f64>,
    /// Of its evaluation: EM, half of its interval, calls, means of the objectives.
    pub(crate) evaluation: Option<Achieved>,
    pub(crate) seconds_left: Option<f64>,
    /// Seconds since 1970 of its last step.
    pub(crate) changed: f64,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Achieved {
    em: f64,
    em_interval: f64,
    calls: f64,
    tokens: f64,
    point: BTreeMap<String, f64>,
}

/// What of a folder says that it is as it was: lengths and times of the files that are read.
pub(crate) type Stamp = [(u64, u128); 3];

pub(crate) fn stamp(run: &Path) -> Stamp {
    ["metrics.jsonl", "evaluation.json", "running.json"].map(|name| {
        let metadata = std::fs::metadata(run.join(name)).ok();
        let time = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        (metadata.map_or(0, |metadata| metadata.len()), since.map_or(0, |since| since.as_nanos()))
    })
}

impl RunSummary {
    pub(crate) fn of(run: &Run) -> Self {
        let settings = flat_settings(&run.path);
        let last = last_metrics(&run.path).ok().flatten().unwrap_or_default();
        let [metrics, _, _] = stamp(&run.path);
        let changed = metrics.1 as f64 / 1e9;
        let evaluation = read_evaluation(&run.path).ok();
        let number = |key: &str| settings.get(key).and_then(|text| text.parse::<f64>().ok());
        let step = last.get("step").map(|step| step + 1.0);
        let has_steps = last.contains_key("em");
        let steps = number(if has_steps || step.is_none() { "train.steps" } else { "sft.steps" });
        let seconds = seconds_of(&last);
        let state = state(&run.path, changed, seconds, evaluation.is_some());
        let left = steps.zip(step).map(|(steps, step)| (steps - step).max(0.0) * seconds);
        Self {
            id: run.id.clone(),
            method: method(&settings, has_steps, step.is_some()),
            row: row(&run.id, settings.get("seed").map(String::as_str)),
            seed: settings.get("seed").and_then(|seed| seed.parse().ok()),
            state,
            step,
            steps: steps.filter(|_| step.is_some()),
            em: last.get("em").copied(),
            calls: last.get("calls").copied(),
            evaluation: evaluation.map(|found| Achieved {
                em: found.em,
                em_interval: found.em_interval,
                calls: found.calls,
                tokens: found.response_tokens,
                point: found.point.iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            }),
            seconds_left: left.filter(|left| state == "working" && *left > 0.0),
            changed,
        }
    }
}

fn method(settings: &BTreeMap<String, String>, is_train: bool, has_steps: bool) -> String {
    match (is_train, has_steps) {
        (true, _) => settings.get("estimator.type").cloned().unwrap_or_else(|| "train".into()),
        (false, true) => "sft".into(),
        (false, false) => "evaluation".into(),
    }
}

/// `paretopo-q-0-65-4` of seed 4 is the fourth run of `paretopo-q-0-65`.
fn row(id: &str, seed: Option<&str>) -> String {
    let without = seed.and_then(|seed| id.strip_suffix(seed)?.strip_suffix('-'));
    without.unwrap_or(id).to_owned()
}

/// Seconds of a step.
fn seconds_of(step: &Step) -> f64 {
    let seconds = |name: &str| step.get(name).copied().unwrap_or(0.0);
    seconds("rollout/seconds") + seconds("update/seconds")
}

fn state(run: &Path, changed: f64, seconds: f64, is_evaluated: bool) -> &'static str {
    let is_marked = run.join("running.json").is_file();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
    let is_silent = now - changed > (PATIENCE * seconds).max(LEAST_PATIENCE);
    match (is_marked, is_evaluated) {
        (true, _) if is_process_there(run) != Some(false) && !is_silent => "working",
        (true, _) if is_process_there(run) == Some(true) => "working",
        (true, _) => "broken",
        (false, true) => "done",
        (false, false) => "stopped",
    }
}

/// Whether the process that marked the folder is on this machine; `None` where that cannot be told.
fn is_process_there(run: &Path) -> Option<bool> {
    let mark = paretopo_reading::read_text(&run.join("running.json")).ok()?;
    let mark: serde_json::Value = serde_json::from_str(mark.lines().next()?).ok()?;
    let boot = paretopo_reading::read_text(Path::new("/proc/sys/kernel/random/boot_id")).ok()?;
    let is_of_now = mark.get("boot")?.as_str()? == boot.trim();
    is_of_now.then(|| Path::new(&format!("/proc/{}", mark["pid"])).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_by_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let run = Run { id: "x/grpo-3".into(), path: path.clone() };
        let config = "seed = 3\n[train]\nsteps = 10\n[estimator]\ntype = \"grpo\"\n";
        std::fs::write(path.join("config.toml"), config).unwrap();
        let step =
            "{\"step\":3,\"em\":0.5,\"calls\":1.5,\"rollout/seconds\":2,\"update/seconds\":1}\n";
        std::fs::write(path.join("metrics.jsonl"), step).unwrap();
        let found = RunSummary::of(&run);
        assert_eq!((found.method.as_str(), found.row.as_str()), ("grpo", "x/grpo"));
        assert_eq!((found.step, found.steps, found.state), (Some(4.0), Some(10.0), "stopped"));
        assert_eq!((found.em, found.seconds_left), (Some(0.5), None));
        // this very process is at work: 6 steps of 3 seconds are left
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let mark = |pid: u32| {
            let text = format!("{{\"pid\":{pid},\"boot\":\"{}\"}}\n", boot.trim());
            std::fs::write(path.join("running.json"), text).unwrap();
            RunSummary::of(&run)
        };
        let found = mark(std::process::id());
        assert_eq!((found.state, found.seconds_left), ("working", Some(18.0)));
        // one that cannot be: it was killed
        assert_eq!(mark(u32::MAX).state, "broken");
    }
}
