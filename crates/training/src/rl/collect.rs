//! What a step learns from: prompts are played, scored, and weighed by the estimator; with dynamic
//! sampling, groups without signal are replaced.

use super::ahead::Played;
use super::prompts::next_prompts;
use crate::failures::LOST;
use crate::ranks::Ranks;
use crate::rl::BadNumbers;
use crate::seeds::{Purpose, derive_seed};
use crate::{EpisodeFailures, Observer, RunConfig, RunFolder, Stage, TrainingError, TrainingState};
use paretopo_agent::{RolloutContext, RolloutRequest, RolloutStatistics};
use paretopo_algorithms::{Advantages, EstimatorError, Group, Progress, advantages};
use paretopo_environments::{ToolEnvironment, score_groups};
use paretopo_trajectory::{Author, Segment, Task, Trajectory, TrajectoryId};
use std::path::PathBuf;
use std::time::Instant;

/// The rollouts of a step, group by group.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) tasks: Vec<Task>,
    pub(super) groups: Vec<Vec<Trajectory>>,
    pub(super) advantages: Advantages,
    pub(super) statistics: RolloutStatistics,
    /// Workers that have played it.
    pub(super) workers: usize,
    /// Scoring and estimating advantages.
    pub(super) grading_seconds: f64,
    pub(super) refills: usize,
    /// Groups that lack a reward in [0, 1], of which nothing is learnt.
    pub(super) skipped_groups: usize,
    /// Those of them in which an environment failed an episode, for the metrics.
    pub(super) lost: Vec<(Task, Vec<Trajectory>)>,
    /// What the last of them lacks.
    pub(super) skipped_for: String,
    /// Updates between the weights that played it and those that learn from it.
    pub(super) staleness: u64,
}

impl Batch {
    /// Writes out the episodes of a step, as `failed-step-000012.jsonl` for the prefix `failed-`.
    pub(super) fn save(
        &self,
        folder: &RunFolder,
        prefix: &str,
        step: u64,
    ) -> Result<PathBuf, TrainingError> {
        folder.save_trajectories(&format!("{prefix}step-{step:06}"), self.groups.iter().flatten())
    }

    /// Writes down with each trajectory what it is weighed by, for whoever looks at it later.
    fn note_advantages(&mut self) {
        let Advantages { values, turns, .. } = &self.advantages;
        for (place, group) in self.groups.iter_mut().enumerate() {
            for (sample, trajectory) in group.iter_mut().enumerate() {
                trajectory.advantages = match turns {
                    Some(turns) => turns[place][sample].clone(),
                    None => vec![values[place][sample]],
                };
            }
        }
    }

    /// Writes down the trainer's log-probabilities, a list for each trajectory, in their order.
    pub(super) fn note_trainer(&mut self, logprobs: Vec<Vec<f32>>) {
        for (trajectory, logprobs) in self.groups.iter_mut().flatten().zip(logprobs) {
            let mut left = logprobs.as_slice();
            let sampled = |segment: &&mut Segment| segment.author == Author::Model;
            for segment in trajectory.segments.iter_mut().filter(sampled) {
                let (own, others) = left.split_at(segment.ids.len().min(left.len()));
                segment.trainer_logprobs = own.to_vec();
                left = others;
            }
        }
    }

    /// How it came that all episodes failed, groups of `size` that were left out included.
    pub(super) fn failures(&self, size: usize) -> Option<EpisodeFailures> {
        if self.groups.is_empty() && self.skipped_groups > 0 {
            let episodes = self.skipped_groups * size;
            let reason = format!("nothing is learnt of its group: {}", self.skipped_for);
            return Some(EpisodeFailures { episodes, failed: episodes, reason, share: 1.0 });
        }
        EpisodeFailures::of(self.groups.iter().flatten())
    }

    /// Leaves out groups in which all rewards are the same; whether there was one.
    fn drop_silent(&mut self) -> bool {
        let kept: Vec<bool> = self.groups.iter().map(|group| !is_silent(group)).collect();
        let mut keep = kept.iter();
        self.tasks.retain(|_| *keep.next().unwrap_or(&true));
        let mut keep = kept.iter();
        self.groups.retain(|_| *keep.next().unwrap_or(&true));
        kept.contains(&false)
    }
}

/// Whether no rollout of a group did better than another in any objective.
fn is_silent(group: &[Trajectory]) -> bool {
    let first = group[0].objectives.values();
    group.iter().all(|trajectory| trajectory.objectives.values() == first)
}

/// Prompts to be played.
pub(super) struct Requested {
    pub(super) tasks: Vec<Task>,
    /// The first one's number in the run.
    pub(super) first_prompt: u64,
    /// Prompts that the run has drawn, these included.
    pub(super) drawn: u64,
}

/// Where a step's rollouts come from.
pub(super) enum Rolling<'a> {
    /// They are played now.
    Now(&'a RolloutContext<'a>),
    /// They were played while earlier updates ran.
    Played(Played),
}

/// What collecting needs of the run.
pub(super) struct Collecting<'a> {
    pub(super) config: &'a RunConfig,
    pub(super) environment: &'a ToolEnvironment,
    pub(super) folder: &'a RunFolder,
    pub(super) ranks: Ranks<'a>,
}

/// The episodes of prompts, group by group.
pub(super) fn requests<'a>(
    config: &RunConfig,
    environment: &ToolEnvironment,
    prompts: &'a Requested,
) -> Vec<RolloutRequest<'a>> {
    let size = config.train.rollouts_per_prompt;
    let names = environment.objective_names();
    let rollouts = &config.rollout;
    // the last of each group
    let calling = size - rollouts.tool_free.min(size);
    let drawn_by = rollouts.preference.as_ref().filter(|config| config.drawn);
    let request = |(index, task): (usize, &'a Task)| {
        let place = prompts.first_prompt + index as u64;
        let preference = match drawn_by {
            Some(by) => by.draw(&names, derive_seed(config.seed, place, Purpose::Preference)),
            None => rollouts.usual_preference(&names),
        };
        (0..size).map(move |sample| {
            let episode = Purpose::Episode((index * size + sample) as u64);
            RolloutRequest {
                id: TrajectoryId::new("train", place, sample),
                task,
                sample,
                seed: derive_seed(config.seed, prompts.drawn, episode),
                tool_free: sample >= calling,
                preference: preference.clone(),
            }
        })
    };
    prompts.tasks.iter().enumerate().flat_map(request).collect()
}

/// The most calls that an episode of any of the environments may make.
fn most_calls(config: &RunConfig, environment: &ToolEnvironment) -> usize {
    let usual = config.rollout.max_calls;
    let of_parts = environment.parts().iter().map(|part| part.budget.max_calls.unwrap_or(usual));
    of_parts.max().unwrap_or(usual)
}

impl Collecting<'_> {
    /// Plays, scores and weighs the groups of a step; those that were played already are only scored
    /// and weighed.
    pub(super) fn collect(
        &self,
        rolling: Rolling<'_>,
        state: &mut TrainingState,
        observer: &mut dyn Observer,
    ) -> Result<Batch, TrainingError> {
        Stage::Rollout.begin();
        let mut batch = match rolling {
            Rolling::Now(context) => self.collect_now(context, state, observer)?,
            Rolling::Played(played) => {
                let staleness = state.updates - played.version;
                let mut batch = Batch { workers: played.workers, staleness, ..Batch::default() };
                batch.statistics.add(&played.statistics);
                state.prompts_drawn = played.prompts.drawn;
                let (tasks, trajectories) = (played.prompts.tasks, played.trajectories);
                self.score(tasks, trajectories, &mut batch, state, observer)?;
                batch
            }
        };
        self.weigh(&mut batch, state)?;
        Ok(batch)
    }

    fn collect_now(
        &self,
        context: &RolloutContext<'_>,
        state: &mut TrainingState,
        observer: &mut dyn Observer,
    ) -> Result<Batch, TrainingError> {
        let settings = &self.config.train;
        let mut batch = Batch { workers: context.workers.count(), ..Batch::default() };
        loop {
            let wanted = settings.prompts_per_step - batch.tasks.len();
            let first_prompt = state.prompts_drawn;
            let drawn = &mut state.prompts_drawn;
            let tasks = next_prompts(&**self.environment, self.config.seed, drawn, wanted)?;
            let prompts = Requested { tasks, first_prompt, drawn: state.prompts_drawn };
            let played = self.play(context, &prompts, &mut batch, observer)?;
            self.score(prompts.tasks, played, &mut batch, state, observer)?;
            if batch.refills >= settings.refill_rounds || !batch.drop_silent() {
                break;
            }
            batch.refills += 1;
        }
        Ok(batch)
    }

    /// Plays the groups of new prompts.
    fn play(
        &self,
        context: &RolloutContext<'_>,
        prompts: &Requested,
        batch: &mut Batch,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Trajectory>, TrainingError> {
        let requests = requests(self.config, self.environment, prompts);
        let (mut done, total) = (0, requests.len());
        let mut report = |_: &Trajectory| {
            done += 1;
            observer.progress("rollout", done, total);
        };
        let config = &self.config.rollout;
        let (trajectories, statistics) =
            self.ranks.rollout(context, config, &requests, &mut report)?;
        batch.statistics.add(&statistics);
        Ok(trajectories)
    }

    /// Scores the groups and puts them to the batch, but for those that lack a sound reward.
    fn score(
        &self,
        new: Vec<Task>,
        played: Vec<Trajectory>,
        batch: &mut Batch,
        state: &mut TrainingState,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainingError> {
        let grading = Instant::now();
        let size = self.config.train.rollouts_per_prompt;
        let mut played = played;
        let environment = self.environment;
        let faults = score_groups(environment, &new, &mut played, size, &mut state.memory);
        let mut played = played.into_iter();
        for (task, fault) in new.into_iter().zip(faults) {
            let group: Vec<Trajectory> = played.by_ref().take(size).collect();
            if let Some(reason) = group.iter().find_map(Trajectory::lost) {
                let reason = format!("{LOST}: {reason}");
                self.lose(state.step, reason, (task, group), batch, observer)?;
                continue;
            }
            if let Some(reason) = fault {
                let what = format!("group-{}", batch.skipped_groups);
                batch.skipped_for.clone_from(&reason);
                self.leave_out(state.step, &what, reason, &group, observer)?;
                batch.skipped_groups += 1;
                continue;
            }
            batch.tasks.push(task);
            batch.groups.push(group);
        }
        batch.grading_seconds += grading.elapsed().as_secs_f64();
        Ok(())
    }

    /// Leaves out a group of which an environment failed an episode: what it would have been worth is
    /// not known, and no objective is to blame for that. The run goes on; it stops when nothing else
    /// was played for as many steps as `train.stop_after_failed_steps` says.
    fn lose(
        &self,
        step: u64,
        reason: String,
        lost: (Task, Vec<Trajectory>),
        batch: &mut Batch,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainingError> {
        let name = format!("lost-step-{step:06}-group-{}", batch.skipped_groups);
        let kept = self.folder.save_trajectories(&name, lost.1.iter())?;
        if batch.lost.is_empty() {
            observer.note(&format!(
                "step {step}: left out what is in `{}`, and whatever else its environment fails in \
                 this step: {reason}",
                kept.display()
            ));
        }
        batch.skipped_for = reason;
        batch.skipped_groups += 1;
        batch.lost.push(lost);
        Ok(())
    }

    /// From reward vectors to one number a trajectory, or a turn.
    fn weigh(&self, batch: &mut Batch, state: &mut TrainingState) -> Result<(), TrainingError> {
        let environment = self.environment;
        let group = |(task, group): (&Task, &Vec<Trajectory>)| Group {
            prompt: task.id.clone(),
            rewards: group.iter().map(|one| environment.rewards(one)).collect(),
            lacks: environment.lacks(task),
            calls: Some(group.iter().map(|one| environment.cost(one)).collect()),
            turn_costs: Some(group.iter().map(|one| environment.turn_costs(one)).collect()),
            // all rollouts of a prompt were told the same
            preference: (!group[0].preference.is_empty())
                .then(|| group[0].preference.values().to_vec()),
        };
        let rewards: Vec<Group> = batch.tasks.iter().zip(&batch.groups).map(group).collect();
        let estimating = Instant::now();
        let progress = Progress {
            step: state.step,
            total_steps: self.config.train.steps,
            seed: derive_seed(self.config.seed, state.step, Purpose::Estimator),
            call_limit: environment.highest_cost(most_calls(self.config, environment)),
        };
        batch.advantages =
            advantages(&self.config.estimator, &mut state.estimator, &rewards, progress)?;
        // what no run could go on from is no step
        let done = Progress { step: state.step + 1, ..progress };
        let objectives = environment.objectives.len();
        let checked = self.config.estimator.check_state(&state.estimator, done, objectives);
        checked.map_err(|reason| EstimatorError::State {
            estimator: self.config.estimator.name().into(),
            reason,
        })?;
        batch.note_advantages();
        batch.grading_seconds += estimating.elapsed().as_secs_f64();
        Ok(())
    }

    /// Writes out trajectories with a reward that is not in [0, 1], and says so.
    ///
    /// # Errors
    /// Unless such are to be left out.
    pub(super) fn leave_out(
        &self,
        step: u64,
        what: &str,
        reason: String,
        trajectories: &[Trajectory],
        observer: &mut dyn Observer,
    ) -> Result<(), TrainingError> {
        let name = format!("bad-reward-step-{step:06}-{what}");
        let batch = self.folder.save_trajectories(&name, trajectories.iter())?;
        if self.config.train.bad_numbers == BadNumbers::Stop {
            return Err(TrainingError::Reward { step, reason, batch });
        }
        observer.note(&format!("step {step}: left out what is in `{}`: {reason}", batch.display()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainConfig;
    use paretopo_agent::RolloutConfig;
    use paretopo_environments::Environment;
    use paretopo_trajectory::Split;

    /// Prompts are given, none are drawn.
    struct NoTasks;

    impl Environment for NoTasks {
        fn tasks(&self, _: Split) -> &[Task] {
            &[]
        }
    }

    /// The episodes of groups of four, so many of each without calls.
    fn groups_of_four(prompts: &Requested, tool_free: usize) -> Vec<RolloutRequest<'_>> {
        let config = RunConfig {
            train: TrainConfig { rollouts_per_prompt: 4, ..TrainConfig::default() },
            rollout: RolloutConfig { tool_free, ..RolloutConfig::default() },
            ..RunConfig::default()
        };
        let environment = ToolEnvironment {
            environment: Box::new(NoTasks),
            tools: Vec::new(),
            objectives: Vec::new(),
        };
        requests(&config, &environment, prompts)
    }

    #[test]
    fn the_last_rollouts_of_each_group_must_not_call_and_all_others_may() {
        let tasks = ["a", "b", "c"].map(|id| Task { id: id.into(), ..Task::default() });
        let prompts = Requested { tasks: tasks.to_vec(), first_prompt: 5, drawn: 8 };
        for (tool_free, want) in [
            (0, [false, false, false, false]),
            (1, [false, false, false, true]),
            (3, [false, true, true, true]),
            (4, [true, true, true, true]),
            // a configuration of more than a group is refused; here it is all of it
            (9, [true, true, true, true]),
        ] {
            let requests = groups_of_four(&prompts, tool_free);
            let free: Vec<bool> = requests.iter().map(|request| request.tool_free).collect();
            assert_eq!(free, [want; 3].concat(), "{tool_free}");
        }
    }

    #[test]
    fn whether_it_may_call_is_all_that_tells_a_rollout_without_calls_apart() {
        let tasks = ["a", "b", "c"].map(|id| Task { id: id.into(), ..Task::default() });
        let prompts = Requested { tasks: tasks.to_vec(), first_prompt: 5, drawn: 8 };
        let (usual, with) = (groups_of_four(&prompts, 0), groups_of_four(&prompts, 2));
        for (place, (own, other)) in with.iter().zip(&usual).enumerate() {
            // of prompt 5 the rollouts 0 to 3, and so on
            let (prompt, sample) = (place / 4, place % 4);
            assert_eq!(own.id, TrajectoryId::new("train", 5 + prompt as u64, sample));
            assert_eq!((own.task, own.sample), (&prompts.tasks[prompt], sample));
            assert_eq!(own.tool_free, sample >= 2);
            // the same numbers are drawn as without any
            assert_eq!((&own.id, own.seed), (&other.id, other.seed));
            assert!(own.preference.is_empty() && !other.tool_free);
        }
        let seeds: std::collections::BTreeSet<u64> = with.iter().map(|one| one.seed).collect();
        assert_eq!((usual.len(), with.len(), seeds.len()), (12, 12, 12));
    }
}
