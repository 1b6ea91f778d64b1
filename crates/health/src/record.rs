//! What a run recorded, as far as rules need it.

use paretopo_records::{RecordError, Step, TrajectoryFile, episode_files, read_new_metrics};
use paretopo_trajectory::Trajectory;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Files of trajectories that are looked at, spread over the run, and lines of each.
const FILES: usize = 8;
const LINES: usize = 64;

/// What a run recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The metrics of each step, in order.
    pub steps: Vec<Step>,
    /// The settings that rules compute with.
    pub settings: Settings,
    /// Which weights sampled trajectories, and how many of those gave an answer, in the order of
    /// their steps.
    pub seen: Vec<WeightsSeen>,
}

/// The settings of a run that rules compute with, as its `config.toml` has them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Prompts a step, G: `train.prompts_per_step`.
    pub prompts_per_step: f64,
    /// Rollouts a prompt, n: `train.rollouts_per_prompt`.
    pub rollouts_per_prompt: f64,
    /// Optimiser updates a step: `train.epochs` times `train.minibatches`.
    pub updates_per_step: f64,
    /// Steps by which rollouts may be played ahead: `train.max_staleness`.
    pub max_staleness: f64,
    /// Upper width of the clip range: `train.loss.clip_high`.
    pub clip_high: f64,
    /// `train.kl.coefficient`.
    pub kl_coefficient: f64,
}

impl Default for Settings {
    /// Those of a configuration that says nothing.
    fn default() -> Self {
        Self {
            prompts_per_step: 12.0,
            rollouts_per_prompt: 8.0,
            updates_per_step: 1.0,
            max_staleness: 0.0,
            clip_high: 0.2,
            kl_coefficient: 0.0,
        }
    }
}

/// What a few trajectories of a step say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WeightsSeen {
    /// The step.
    pub step: u64,
    /// Mean of the versions of the weights, over the sampled tokens: optimiser updates behind them.
    pub version: f64,
    /// Trajectories that were looked at.
    pub episodes: usize,
    /// Those that gave an answer.
    pub answered: usize,
}

impl Record {
    /// Reads a run's folder, also while the run is at work: a line that is not whole yet is left
    /// out. Of trajectories a few files are looked at, never all.
    ///
    /// # Errors
    /// When the folder holds no run, or a file of it cannot be read.
    pub fn read(run: &Path) -> Result<Self, RecordError> {
        let settings = Settings::read(run)?;
        let steps = read_new_metrics(run, 0)?.steps;
        Ok(Self { steps, settings, seen: seen(run)? })
    }

    /// Steps that are looked at together: a quarter of all, at least 5, at most 50.
    pub(crate) fn window(&self) -> usize {
        (self.steps.len() / 4).clamp(5, 50)
    }

    /// A metric over the steps that have it: pairs of step and value.
    pub(crate) fn points(&self, metric: &str) -> Vec<(f64, f64)> {
        let point = |(place, step): (usize, &Step)| {
            let value = step.get(metric).copied().filter(|value| value.is_finite())?;
            Some((step.get("step").copied().unwrap_or(place as f64), value))
        };
        self.steps.iter().enumerate().filter_map(point).collect()
    }

    /// The mean of a metric over the last window; `None` where not all of its steps have it.
    pub(crate) fn last(&self, metric: &str) -> Option<f64> {
        self.mean_of(metric, self.steps.len().checked_sub(self.window())?, self.window())
    }

    /// The same over the first window, which may reach into the last one.
    pub(crate) fn beginning(&self, metric: &str) -> Option<f64> {
        let is_long_enough = self.steps.len() >= self.window();
        is_long_enough.then(|| self.mean_of(metric, 0, self.window()))?
    }

    fn mean_of(&self, metric: &str, from: usize, count: usize) -> Option<f64> {
        let steps = &self.steps[from..from + count];
        let values: Option<Vec<f64>> =
            steps.iter().map(|step| step.get(metric).copied().filter(|v| v.is_finite())).collect();
        Some(values?.iter().sum::<f64>() / count as f64)
    }
}

impl Settings {
    fn read(run: &Path) -> Result<Self, RecordError> {
        let path = run.join("config.toml");
        let wrong = |reason: String| RecordError { path: path.clone(), reason };
        let text = paretopo_reading::read_text(&path).map_err(|error| {
            wrong(format!("{error}\nhint: give the folder of a run, as for `train --run`"))
        })?;
        let table: toml::Table = text.parse().map_err(|error| wrong(format!("{error}")))?;
        let train = table.get("train").and_then(toml::Value::as_table);
        let number = |keys: &[&str], usual: f64| {
            let (last, tables) = keys.split_last().expect("a key has a name");
            let mut inner = train;
            for table in tables {
                inner = inner.and_then(|inner| inner.get(*table)?.as_table());
            }
            let value = inner.and_then(|inner| inner.get(*last));
            let value = value.and_then(|value| value.as_float().or(value.as_integer().map(whole)));
            value.unwrap_or(usual)
        };
        let usual = Self::default();
        Ok(Self {
            prompts_per_step: number(&["prompts_per_step"], usual.prompts_per_step),
            rollouts_per_prompt: number(&["rollouts_per_prompt"], usual.rollouts_per_prompt),
            updates_per_step: number(&["epochs"], 1.0) * number(&["minibatches"], 1.0),
            max_staleness: number(&["max_staleness"], usual.max_staleness),
            clip_high: number(&["loss", "clip_high"], usual.clip_high),
            kl_coefficient: number(&["kl", "coefficient"], usual.kl_coefficient),
        })
    }
}

fn whole(number: i64) -> f64 {
    number as f64
}

/// Looks at a few files of the run's steps, spread over them, the last one included.
fn seen(run: &Path) -> Result<Vec<WeightsSeen>, RecordError> {
    let files: Vec<(u64, PathBuf)> =
        episode_files(run)?.into_iter().filter_map(|file| Some((file.step?, file.path))).collect();
    let count = files.len().min(FILES);
    // of so many places the i-th of `count`, so that the last is the last
    let place = |i: usize| (i + 1) * files.len() / count - 1;
    let mut found = Vec::new();
    for (step, path) in (0..count).map(|i| &files[place(i)]) {
        // lines that cannot be read say nothing here, and the view names them
        let episodes = TrajectoryFile::open(path)?.iter()?.take(LINES).flatten();
        found.extend(WeightsSeen::of(*step, episodes));
    }
    Ok(found)
}

impl WeightsSeen {
    /// `None` where nothing was sampled.
    fn of(step: u64, episodes: impl Iterator<Item = Trajectory>) -> Option<Self> {
        let (mut tokens, mut versions) = (0usize, 0.0);
        let mut seen = Self { step, ..Self::default() };
        for episode in episodes {
            seen.episodes += 1;
            seen.answered += usize::from(episode.answer.is_some());
            for segment in &episode.segments {
                let Some(version) = segment.weight_version else { continue };
                tokens += segment.ids.len();
                versions += version as f64 * segment.ids.len() as f64;
            }
        }
        seen.version = versions / tokens.max(1) as f64;
        (tokens > 0).then_some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_records::write_trajectories;
    use paretopo_trajectory::{Segment, TrajectoryId};

    fn episode(step: usize, version: u64, ids: usize) -> Trajectory {
        let values = vec![-1.0; ids];
        let segment = Segment {
            ids: vec![1; ids],
            logprobs: values.clone(),
            sampling_logprobs: values,
            ..Segment::sampling(version)
        };
        let id = TrajectoryId::new("train", step as u64, 0);
        Trajectory { segments: vec![segment], ..Trajectory::empty(id, "t", 0) }
    }

    #[test]
    fn a_run_folder_is_read_as_it_lies_there() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        let refused = Record::read(run).unwrap_err().to_string();
        assert!(refused.contains("config.toml`") && refused.contains("hint: "), "{refused}");
        let text = "[train]\nrollouts_per_prompt = 4\nepochs = 2\nminibatches = 3\n\
                    [train.kl]\ncoefficient = 0.5\n";
        std::fs::write(run.join("config.toml"), text).unwrap();
        // the last line is not whole yet
        std::fs::write(run.join("metrics.jsonl"), "{\"step\":0,\"em\":0.5}\n{\"st").unwrap();
        let trajectories = run.join("trajectories");
        std::fs::create_dir(&trajectories).unwrap();
        for step in 0..20 {
            let path = trajectories.join(format!("step-{step:06}.jsonl"));
            write_trajectories(&path, &[episode(step, 3, 1), episode(step, 7, 3)]).unwrap();
        }
        let record = Record::read(run).unwrap();
        assert_eq!(record.steps.len(), 1);
        let settings = record.settings;
        assert_eq!((settings.rollouts_per_prompt, settings.prompts_per_step), (4.0, 12.0));
        assert_eq!((settings.updates_per_step, settings.kl_coefficient), (6.0, 0.5));
        // 8 of 20: every 2.5th, from 20 / 8 - 1 on
        let steps: Vec<u64> = record.seen.iter().map(|seen| seen.step).collect();
        assert_eq!(steps, [1, 4, 6, 9, 11, 14, 16, 19]);
        // (3 * 1 + 7 * 3) / 4
        assert_eq!((record.seen[0].version, record.seen[0].answered), (6.0, 0));
    }

    #[test]
    fn windows_are_quarters_within_bounds() {
        let of = |count: usize| {
            let step = |step: usize| [("x".to_owned(), step as f64)].into();
            Record { steps: (0..count).map(step).collect(), ..Record::default() }
        };
        assert_eq!((of(4).last("x"), of(0).last("x")), (None, None));
        // 0 + 1 + 2 + 3 + 4
        assert_eq!((of(5).last("x"), of(5).beginning("x")), (Some(2.0), Some(2.0)));
        assert_eq!((of(10).last("x"), of(10).beginning("x")), (Some(7.0), Some(2.0)));
        assert_eq!((of(400).window(), of(40).window()), (50, 10));
        assert_eq!(of(10).last("y"), None);
    }
}
