//! Playing many episodes: prompts are opened, tasks are dealt out to workers, and each plays its part.

use crate::play::play;
use crate::{PolicyText, RolloutConfig, Workers, leaves_room, open_tasks};
use paretopo_chat::ChatError;
use paretopo_environments::ToolEnvironment;
use paretopo_generation::{GenerationError, GenerationStatistics, Generators};
use paretopo_trajectory::{ObjectiveValues, Task, TokenId, Trajectory, TrajectoryId};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// One episode to play.
#[derive(Clone, Debug)]
pub struct RolloutRequest<'a> {
    /// What the trajectory is called, for tools and in its file; unique in the run.
    pub id: TrajectoryId,
    /// The task.
    pub task: &'a Task,
    /// Which of the task's rollouts.
    pub sample: usize,
    /// Seed of the episode's random numbers; the tokens do not depend on what the episode is
    /// batched with.
    pub seed: u64,
    /// Whether it is forbidden to begin a call: tokens that would are left out of each draw.
    pub tool_free: bool,
    /// What it is asked to prefer; empty where nothing is told (`rollout.preference`).
    pub preference: ObjectiveValues,
}

/// What all episodes share.
pub struct RolloutContext<'a> {
    /// What generates.
    pub generators: &'a dyn Generators,
    /// Longest sequence that the model was made for.
    pub context: usize,
    /// The policy's text side.
    pub text: &'a PolicyText,
    /// Tasks, tools, answers.
    pub environment: &'a ToolEnvironment,
    /// Optimiser steps behind the weights.
    pub weight_version: u64,
    /// Set from outside to give up.
    pub cancelled: &'a AtomicBool,
    /// Who plays, each a part of the episodes.
    pub workers: &'a Workers,
}

/// How much work a rollout was. Seconds of several workers are added up, but for `seconds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatistics {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Tokens sampled.
    pub sampled_tokens: u64,
    /// What generating was; drawing tokens includes looking for calls in them.
    pub generation: GenerationStatistics,
    /// Seconds in which every episode waited for a tool.
    pub stalled_seconds: f64,
}

impl RolloutStatistics {
    /// Adds another rollout's numbers.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.sampled_tokens += other.sampled_tokens;
        self.generation.add(&other.generation);
        self.stalled_seconds += other.stalled_seconds;
    }
}

/// Why a rollout as a whole failed. A failing episode is not an error but a trajectory; a policy that
/// fails is an error and never a trajectory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RolloutError {
    /// The template or tokenizer cannot open the episodes.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// A prompt leaves no room in the model's context.
    #[error(
        "the prompt of task `{task}` has {tokens} tokens, which leaves no room to answer in the model's context of {context} (`max_position_embeddings`)"
    )]
    PromptTooLong {
        /// The task.
        task: String,
        /// Its length.
        tokens: usize,
        /// The limit.
        context: usize,
    },
    /// The policy's logits are not finite, or all equal since what it computes overflows.
    #[error(
        "the policy's logits are {what}, for task `{task}` after {tokens} tokens{}",
        in_words(.place)
    )]
    NotFinite {
        /// In words.
        what: &'static str,
        /// The task.
        task: String,
        /// Tokens of the episode, its prompt included.
        tokens: usize,
        /// The first module whose output is not finite, or too large to be squared, by its key in a
        /// checkpoint.
        place: Option<String>,
    },
    /// What generates cannot go on.
    #[error(transparent)]
    Generation(GenerationError),
    /// What generates was lost again and again.
    #[error("what generates was lost {times} times in a row without a token between: {reason}")]
    Lost {
        /// How often.
        times: usize,
        /// The last time.
        reason: String,
    },
    /// The rollout was given up from outside.
    #[error("interrupted")]
    Cancelled,
}

fn in_words(place: &Option<String>) -> String {
    let begins = |place: &String| format!("; the first output that overflows is that of `{place}`");
    place.as_ref().map(begins).unwrap_or_default()
}

/// Plays all requests and returns their trajectories in the same order, not yet scored.
/// `on_finished` hears of each as it ends.
///
/// Each worker plays every so many-th task, with all its rollouts. What is batched with what
/// depends on the number of workers, so trajectories are bit-exact for an equal number of workers;
/// for another one log-probabilities differ by rounding.
///
/// # Errors
/// When an episode cannot be opened, the policy's logits are not finite, or the rollout is cancelled.
pub fn rollout(
    context: &RolloutContext<'_>,
    config: &RolloutConfig,
    requests: &[RolloutRequest<'_>],
    on_finished: &mut dyn FnMut(&Trajectory),
) -> Result<(Vec<Trajectory>, RolloutStatistics), RolloutError> {
    enum Event {
        Finished(usize, Box<Trajectory>),
        Done(Result<RolloutStatistics, RolloutError>),
    }
    let started = Instant::now();
    let prompts = open_all(context, config, requests)?;
    // an environment that bears few episodes at a time has them shared out, and none too many
    let most = context.environment.most_episodes().max(1);
    let parts = split(requests, context.workers.count().min(most));
    let config = RolloutConfig {
        batch_size: config.batch_size.div_ceil(parts.len()).min((most / parts.len()).max(1)),
        tool_threads: config.tool_threads.div_ceil(parts.len()),
        cache_mib: config.cache_mib.div_ceil(parts.len() as u64),
        ..config.clone()
    };
    let mut trajectories: Vec<Option<Trajectory>> = vec![None; requests.len()];
    let mut statistics = RolloutStatistics::default();
    let mut failed = None;
    context.workers.run(
        vec![(); parts.len()],
        parts,
        |(), part: Vec<usize>, tell| {
            let own: Vec<RolloutRequest<'_>> =
                part.iter().map(|place| requests[*place].clone()).collect();
            let prompts: Vec<Arc<[TokenId]>> =
                part.iter().map(|place| prompts[*place].clone()).collect();
            let done = play(context, &config, &prompts, &own, |index, trajectory| {
                tell(Event::Finished(part[index], Box::new(trajectory)))
            });
            tell(Event::Done(done));
        },
        &mut |event| match event {
            Event::Finished(place, trajectory) => {
                on_finished(&trajectory);
                trajectories[place] = Some(*trajectory);
            }
            Event::Done(Ok(part)) => statistics.add(&part),
            Event::Done(Err(error)) => failed = Some(error),
        },
    );
    statistics.seconds = started.elapsed().as_secs_f64();
    match failed {
        Some(error) => Err(error),
        None => Ok((trajectories.into_iter().flatten().collect(), statistics)),
    }
}

/// Deals out tasks in turn: the places of each part's requests. At least one part, and none empty
/// unless there is no request.
fn split(requests: &[RolloutRequest<'_>], parts: usize) -> Vec<Vec<usize>> {
    let mut task_of: HashMap<&str, usize> = HashMap::new();
    let mut found = vec![Vec::new(); parts];
    for (place, request) in requests.iter().enumerate() {
        let next = task_of.len();
        let task = *task_of.entry(&request.task.id).or_insert(next);
        found[task % parts].push(place);
    }
    found.truncate(task_of.len().max(1));
    found
}

/// The prompt of each request, in their order; those that read the same are opened once.
fn open_all(
    context: &RolloutContext<'_>,
    config: &RolloutConfig,
    requests: &[RolloutRequest<'_>],
) -> Result<Vec<Arc<[TokenId]>>, RolloutError> {
    if let Some(preference) = &config.preference {
        preference.require_tokens(&context.text.tokenizer)?;
    }
    let told: Vec<String> =
        requests.iter().map(|request| config.told(&request.preference)).collect();
    let (mut distinct, mut place_of) = (Vec::new(), HashMap::new());
    let mut places = Vec::with_capacity(requests.len());
    for (request, told) in requests.iter().zip(&told) {
        places.push(*place_of.entry((request.task.id.as_str(), told)).or_insert_with(|| {
            distinct.push((request.task, told.as_str()));
            distinct.len() - 1
        }));
    }
    let opened = open_tasks(context.text, context.environment, config, &distinct)?;
    let mut prompts: Vec<Arc<[TokenId]>> = Vec::with_capacity(opened.len());
    for ((task, _), ids) in distinct.into_iter().zip(opened) {
        if !leaves_room(ids.len(), context.context) {
            return Err(RolloutError::PromptTooLong {
                task: task.id.clone(),
                tokens: ids.len(),
                context: context.context,
            });
        }
        prompts.push(ids.into());
    }
    Ok(places.into_iter().map(|place| prompts[place].clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_dealt_out_whole_and_in_turn() {
        let tasks: Vec<Task> =
            ["a", "b", "c"].iter().map(|id| Task { id: (*id).into(), ..Task::default() }).collect();
        let requests: Vec<RolloutRequest<'_>> = tasks
            .iter()
            .flat_map(|task| {
                (0..2).map(move |sample| RolloutRequest {
                    id: TrajectoryId::new("test", 0, sample),
                    task,
                    sample,
                    seed: 0,
                    tool_free: false,
                    preference: ObjectiveValues::default(),
                })
            })
            .collect();
        // a and c go to the first worker, b to the second
        assert_eq!(split(&requests, 2), [vec![0, 1, 4, 5], vec![2, 3]]);
        // no more parts than tasks
        assert_eq!(split(&requests, 5).len(), 3);
        assert_eq!(split(&[], 5), [Vec::<usize>::new()]);
    }
}
