//! The evaluation recipe: play episodes on held-out tasks, grade, count.

pub(crate) mod conclusion;
mod config;
mod finished;
pub(crate) mod summary;

pub use config::EvaluationConfig;
pub use finished::FinishedEpisodes;
pub use summary::summarise;
use summary::{preferred, put_head_skill};

use crate::failures::LOST;
use crate::ranks::Ranks;
use crate::seeds::{Purpose, derive_seed};
use crate::{ConfigError, EpisodeFailures, Observer, Stage, TrainingError};
use paretopo_agent::{
    PolicyText, RolloutConfig, RolloutContext, RolloutRequest, RolloutStatistics, normalised,
};
use paretopo_environments::{DataError, RunMemory, ToolEnvironment, score_groups};
use paretopo_generation::{Recorded, SamplingConfig};
use paretopo_records::Evaluation;
use paretopo_trajectory::{ObjectiveValues, Split, Task, Trajectory, TrajectoryId};
use std::time::Instant;

/// Plays `config.samples` episodes on each task and summarises them. `seed` decides the episodes'
/// random numbers; episodes that are finished already are not played again.
///
/// # Errors
/// When a rollout as a whole fails or is cancelled, or all episodes failed; the finished ones are
/// then put aside as `failed.jsonl`.
pub fn evaluate(
    context: &RolloutContext<'_>,
    rollout_config: &RolloutConfig,
    config: &EvaluationConfig,
    seed: u64,
    mut finished: Option<FinishedEpisodes>,
    observer: &mut dyn Observer,
) -> Result<(Evaluation, Vec<Trajectory>), TrainingError> {
    let (name, ranks) = ("evaluate", Ranks::alone());
    let playing = Playing { context, rollout: rollout_config, config, seed, name, ranks };
    let found = playing.play_and_summarise(finished.as_mut(), observer)?;
    if let Some(reason) = found.bad_reward {
        // a mended objective judges the same episodes
        let episodes = finished.map(|finished| finished.path().to_owned());
        return Err(TrainingError::EvaluatedReward {
            what: "the evaluation".into(),
            reason,
            episodes,
        });
    }
    let Some(failures) = EpisodeFailures::of(&found.trajectories) else {
        return Ok((found.evaluation, found.trajectories));
    };
    let what = match &finished {
        Some(_) => "the evaluation",
        None => "the evaluation (a folder, `--out`, would keep its episodes)",
    };
    let episodes = finished.map(FinishedEpisodes::put_aside).transpose()?;
    Err(TrainingError::EpisodesFailed { what: what.into(), failures, episodes })
}

/// What an evaluation has brought.
pub(crate) struct Played {
    pub(crate) evaluation: Evaluation,
    pub(crate) trajectories: Vec<Trajectory>,
    /// Why a group has no sound reward, the first one that has none.
    pub(crate) bad_reward: Option<String>,
}

/// An evaluation to be played.
pub(crate) struct Playing<'a> {
    pub(crate) context: &'a RolloutContext<'a>,
    pub(crate) rollout: &'a RolloutConfig,
    pub(crate) config: &'a EvaluationConfig,
    pub(crate) seed: u64,
    /// With what the names of its episodes begin; of no other evaluation of the run.
    pub(crate) name: &'a str,
    pub(crate) ranks: Ranks<'a>,
}

impl Playing<'_> {
    /// [`evaluate`], also where all episodes failed.
    ///
    /// # Errors
    /// When a rollout as a whole fails or is cancelled.
    pub(crate) fn play_and_summarise(
        &self,
        mut finished: Option<&mut FinishedEpisodes>,
        observer: &mut dyn Observer,
    ) -> Result<Played, TrainingError> {
        Stage::Evaluation.begin();
        let Self { context, config, .. } = *self;
        require_tasks(context.environment, config.split)?;
        let tasks = config.chosen(&**context.environment);
        for note in finished.as_mut().map(|finished| finished.take_notes()).unwrap_or_default() {
            observer.note(&note);
        }
        let names = context.environment.objective_names();
        let usual = self.rollout.usual_preference(&names);
        let requests = self.requests(tasks, config.tool_free, &usual);
        let (mut trajectories, statistics) = self.play(&requests, finished, observer)?;
        let grading = Instant::now();
        let bad_reward = self.score(tasks, &mut trajectories);
        let lost = trajectories.iter().find_map(Trajectory::lost);
        let lost = lost.map(|reason| format!("{LOST}: {reason}"));
        let mut bad_reward = lost.or(bad_reward);
        let grading_seconds = grading.elapsed().as_secs_f64();
        let mut evaluation = summarise(
            context.environment,
            tasks,
            &trajectories,
            config.samples,
            self.rollout.max_calls,
            &statistics,
        );
        let phases = phases(&statistics, context.workers.count(), grading_seconds);
        evaluation.phases =
            phases.into_iter().map(|(phase, seconds)| (phase.to_owned(), seconds)).collect();
        if config.head_skill {
            let (alone, bad) = self.again(tasks, true, &usual, observer)?;
            bad_reward = bad_reward.or(bad);
            put_head_skill(&mut evaluation, tasks, &alone);
        }
        for weights in &config.preferences {
            let preference = normalised(weights, &names);
            let (played, bad) = self.again(tasks, config.tool_free, &preference, observer)?;
            bad_reward = bad_reward.or(bad);
            evaluation.preferences.push(preferred(preference, tasks, &played));
        }
        Ok(Played { evaluation, trajectories, bad_reward })
    }

    /// Another play of the same tasks, scored; it is not kept.
    fn again(
        &self,
        tasks: &[Task],
        tool_free: bool,
        preference: &ObjectiveValues,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<Trajectory>, Option<String>), TrainingError> {
        let requests = self.requests(tasks, tool_free, preference);
        let (mut played, _) = self.play(&requests, None, observer)?;
        let bad_reward = self.score(tasks, &mut played);
        Ok((played, bad_reward))
    }

    /// Returns why a group has no sound reward, of the first one that has none.
    fn score(&self, tasks: &[Task], trajectories: &mut [Trajectory]) -> Option<String> {
        let (environment, size) = (self.context.environment, self.config.samples);
        let mut memory = RunMemory::default();
        let faults = score_groups(environment, tasks, trajectories, size, &mut memory);
        faults.into_iter().flatten().next()
    }

    /// All episodes, task by task.
    fn requests<'t>(
        &self,
        tasks: &'t [Task],
        tool_free: bool,
        preference: &ObjectiveValues,
    ) -> Vec<RolloutRequest<'t>> {
        let mut requests = Vec::with_capacity(tasks.len() * self.config.samples);
        for (index, task) in tasks.iter().enumerate() {
            for sample in 0..self.config.samples {
                let purpose = Purpose::Evaluation(sample as u64);
                let seed = derive_seed(self.seed, index as u64, purpose);
                let id = TrajectoryId::new(self.name, index as u64, sample);
                let preference = preference.clone();
                requests.push(RolloutRequest { id, task, sample, seed, tool_free, preference });
            }
        }
        requests
    }

    /// Plays what is not finished already, and returns all in the order of the requests.
    fn play(
        &self,
        requests: &[RolloutRequest<'_>],
        mut finished: Option<&mut FinishedEpisodes>,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<Trajectory>, RolloutStatistics), TrainingError> {
        let sampling = sampling_of(self.config, self.context.text)?;
        // nothing is trained on these
        let recorded = Recorded { experts: false, ..self.rollout.recorded };
        let rollout_config = RolloutConfig { sampling, recorded, ..self.rollout.clone() };
        let mut earlier = finished.as_mut().map(|finished| finished.take()).unwrap_or_default();
        let key = |request: &RolloutRequest<'_>| (request.task.id.clone(), request.sample);
        let is_missing = |request: &&RolloutRequest<'_>| !earlier.contains_key(&key(request));
        let missing: Vec<RolloutRequest<'_>> =
            requests.iter().filter(is_missing).cloned().collect();
        let (mut done, total) = (requests.len() - missing.len(), requests.len());
        let mut unsaved = None;
        let mut report = |trajectory: &Trajectory| {
            done += 1;
            observer.progress("evaluate", done, total);
            if let Some(finished) = &mut finished {
                unsaved = finished.append(trajectory).err().or(unsaved.take());
            }
        };
        let (played, statistics) =
            self.ranks.rollout(self.context, &rollout_config, &missing, &mut report)?;
        if let Some(error) = unsaved {
            return Err(error);
        }
        let mut played = played.into_iter();
        let in_order = requests.iter().map(|request| match earlier.remove(&key(request)) {
            // which files of the first format did not tell
            Some(found) => Some(Trajectory { id: request.id.clone(), ..found }),
            None => played.next(),
        });
        Ok((in_order.flatten().collect(), statistics))
    }
}

/// The phases of a rollout and of what follows it, in seconds averaged over the workers: reading
/// prompts and long tool output, decoding steps, drawing tokens, waiting for tools while nothing
/// else could be done, grading.
pub(crate) fn phases(
    statistics: &RolloutStatistics,
    workers: usize,
    grading_seconds: f64,
) -> [(&'static str, f64); 5] {
    let each = |seconds: f64| seconds / workers as f64;
    [
        ("prefill", each(statistics.generation.prefill_seconds)),
        ("decode", each(statistics.generation.decode_seconds)),
        ("sampling", each(statistics.generation.sampling_seconds)),
        ("tools", each(statistics.stalled_seconds)),
        ("grading", grading_seconds),
    ]
}

/// How an evaluation draws tokens.
///
/// # Errors
/// When the checkpoint is to say it and does not, or says what is not supported.
pub(crate) fn sampling_of(
    config: &EvaluationConfig,
    text: &PolicyText,
) -> Result<SamplingConfig, TrainingError> {
    if !config.checkpoint_sampling {
        return Ok(config.sampling);
    }
    let reason = "`evaluation.checkpoint_sampling` is set, but the checkpoint has no \
                  `generation_config.json`";
    text.sampling()?.ok_or_else(|| ConfigError::Setting(reason.into()).into())
}

/// # Errors
/// When a split that is needed is empty.
pub(crate) fn require_tasks(
    environment: &ToolEnvironment,
    split: Split,
) -> Result<(), TrainingError> {
    if environment.tasks(split).is_empty() {
        let name = format!("{split:?}").to_lowercase();
        return Err(DataError::Setting(format!(
            "there is no {name} task\nhint: `environment` says how many there are of each split"
        ))
        .into());
    }
    Ok(())
}
