//! The numbers of a step, by name.

use super::collect::Batch;
use super::tool_metrics::of_tools;
use super::update::UpdateSums;
use crate::evaluation::phases;
use crate::evaluation::summary::environment_metrics;
use crate::run::run_folder::{peak_memory_mib, resident_memory_mib};
use crate::{Metrics, TrainingState};
use paretopo_environments::ToolEnvironment;
use paretopo_models::ExpertCounts;
use paretopo_records::EpisodeSummary;
use paretopo_trajectory::{ExpertRecord, Task, Trajectory};

/// What was played, what it was worth, and what it took.
pub(super) fn of_batch(
    batch: &Batch,
    environment: &ToolEnvironment,
    state: &TrainingState,
    experts: Option<ExpertCounts>,
    metrics: &mut Metrics,
) {
    let mut put = |name: &str, value: f64| {
        metrics.insert(name.to_owned(), value);
    };
    of_rewards(batch, environment, &mut put);
    of_episodes(batch, &mut put);
    let trajectories: Vec<&Trajectory> = batch.groups.iter().flatten().collect();
    of_tools(environment.tools.iter().map(|tool| tool.name.as_str()), &trajectories, &mut put);
    of_memory(batch, state, &mut put);
    if let Some(counts) = experts {
        let records = batch.groups.iter().flatten().map(|one| &*one.experts);
        let found = ExpertRecord::imbalance(records, counts.layers, counts.experts);
        found.into_iter().for_each(|found| put("experts/imbalance", found));
    }
    of_environment(batch, environment, &mut put);
    for (name, value) in &batch.advantages.diagnostics {
        put(&format!("estimator/{name}"), *value);
    }
    let advantages: Vec<f64> = batch.advantages.values.iter().flatten().copied().collect();
    put("advantage_std", mean_and_deviation(&advantages)[1]);
    if let Some(turns) = &batch.advantages.turns {
        let turns: Vec<f64> = turns.iter().flatten().flatten().copied().collect();
        put("turn_advantage_std", mean_and_deviation(&turns)[1]);
    }
    put("refills", batch.refills as f64);
    put("staleness", batch.staleness as f64);
    put("skipped_groups", batch.skipped_groups as f64);
    if environment.partner().is_some() {
        put("lost_groups", batch.lost.len() as f64);
    }
    let statistics = &batch.statistics;
    put("rollout/seconds", statistics.seconds);
    for (phase, seconds) in phases(statistics, batch.workers, batch.grading_seconds) {
        put(&format!("phase/{phase}_seconds"), seconds);
    }
    let tokens = statistics.sampled_tokens as f64;
    put("rollout/tokens_per_second", tokens / statistics.seconds.max(1e-9));
    if let Some(mebibytes) = resident_memory_mib() {
        put("rollout/memory_mib", mebibytes);
    }
}

/// Mean and deviation of each objective.
fn of_rewards(batch: &Batch, environment: &ToolEnvironment, put: &mut dyn FnMut(&str, f64)) {
    for name in environment.objective_names().iter() {
        let rollouts = batch.groups.iter().flatten();
        let values: Vec<f64> = rollouts.filter_map(|one| one.objectives.get(name)).collect();
        let [mean, deviation] = mean_and_deviation(&values);
        put(&format!("reward/{name}"), mean);
        put(&format!("reward/{name}_std"), deviation);
    }
}

/// The environment's own numbers, or each of several's.
fn of_environment(batch: &Batch, environment: &ToolEnvironment, put: &mut dyn FnMut(&str, f64)) {
    // what an environment failed tells of it, too
    let lost = batch.lost.iter().map(|(task, group)| (task, group.as_slice()));
    let groups = batch.tasks.iter().zip(batch.groups.iter().map(Vec::as_slice)).chain(lost);
    if environment.parts().is_empty() {
        for (name, value) in environment_metrics(environment, groups) {
            put(&format!("environment/{name}"), value);
        }
    } else {
        of_parts(environment, &groups.collect::<Vec<_>>(), put);
    }
}

/// What the groups of each of several environments came to; those that it failed count, too.
fn of_parts(
    environment: &ToolEnvironment,
    groups: &[(&Task, &[Trajectory])],
    put: &mut dyn FnMut(&str, f64),
) {
    for part in environment.parts() {
        let is_own = |task: &Task| part.owns(&**environment, task);
        let own = groups.iter().copied().filter(|(task, _)| is_own(task));
        let mut put = |name: &str, value: f64| {
            put(&format!("environment/{}/{name}", part.name), value);
        };
        let episodes: Vec<&Trajectory> = own.clone().flat_map(|(_, group)| group).collect();
        put("prompts", own.clone().count() as f64);
        if episodes.is_empty() {
            continue;
        }
        let summary = EpisodeSummary::of(episodes.iter().copied());
        put("em", summary.em());
        put("calls", summary.per_episode(summary.calls));
        put("response_tokens", summary.per_episode(summary.sampled_tokens));
        put("truncated", summary.per_episode(summary.truncated));
        put("failed", summary.per_episode(summary.failed));
        for name in environment.objective_names().iter() {
            let values: Vec<f64> = episodes
                .iter()
                .filter_map(|one| one.objectives.get(name))
                .filter(|value| value.is_finite())
                .collect();
            if !values.is_empty() {
                put(&format!("reward/{name}"), mean_and_deviation(&values)[0]);
            }
        }
        for (name, value) in environment_metrics(environment, own) {
            put(&name, value);
        }
    }
}

fn of_episodes(batch: &Batch, put: &mut dyn FnMut(&str, f64)) {
    let trajectories: Vec<&Trajectory> = batch.groups.iter().flatten().collect();
    let summary = EpisodeSummary::of(trajectories.iter().copied());
    put("em", summary.em());
    put("calls", summary.per_episode(summary.calls));
    put("calls_correct", summary.calls_of_a_right_one());
    if trajectories.iter().any(|one| one.tool_free) {
        let alone = trajectories.iter().copied().filter(|one| one.tool_free);
        put("tool_free/em", EpisodeSummary::of(alone).em());
    }
    put("tool/errors", summary.per_call(summary.call_errors));
    put("tool/timeouts", summary.per_call(summary.call_timeouts));
    put("response_tokens", summary.per_episode(summary.sampled_tokens));
    put("truncated", summary.per_episode(summary.truncated));
    let lost = batch.lost.iter().flat_map(|(_, group)| group);
    let played = EpisodeSummary::of(trajectories.iter().copied().chain(lost));
    put("failed", played.per_episode(played.failed));
    let segments = trajectories.iter().flat_map(|one| &one.segments);
    let logprobs = segments.flat_map(|segment| &segment.logprobs);
    let sum: f64 = logprobs.map(|logprob| f64::from(*logprob)).sum();
    put("entropy_estimate", -sum / summary.sampled_tokens.max(1) as f64);
}

/// What is remembered of the step's tasks: the fewest calls that were enough, or what they cost.
fn of_memory(batch: &Batch, state: &TrainingState, put: &mut dyn FnMut(&str, f64)) {
    let lowest = |task: &Task| state.memory.lowest_cost(&task.id);
    let optimal: Vec<f64> = batch.tasks.iter().filter_map(lowest).collect();
    let count = optimal.len().max(1) as f64;
    let without_calls = optimal.iter().filter(|cost| **cost == 0.0).count();
    put("n_optimal/mean", optimal.iter().sum::<f64>() / count);
    put("n_optimal/zero_share", without_calls as f64 / count);
}

/// Both 0 of nothing.
fn mean_and_deviation(values: &[f64]) -> [f64; 2] {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    [mean, (squares.sum::<f64>() / count).sqrt()]
}

/// What the updates were.
pub(super) fn of_update(
    sums: &UpdateSums,
    seconds: f64,
    batch: &Batch,
    workers: usize,
    metrics: &mut Metrics,
) {
    let tokens = sums.tokens.max(1.0);
    let updates = sums.updates.max(1.0);
    let segments = batch.groups.iter().flatten().flat_map(|one| &one.segments);
    let ids: usize = segments.map(|segment| segment.ids.len()).sum();
    let values = [
        ("loss", sums.loss / updates),
        ("gradient_norm", sums.gradient_norm / updates),
        ("learning_rate", sums.learning_rate),
        ("clip/low", sums.clipped_low / tokens),
        ("clip/high", sums.clipped_high / tokens),
        ("largest_log_ratio", sums.largest_log_ratio),
        ("skipped_updates", sums.skipped.len() as f64),
        ("kl", sums.kl / tokens),
        ("entropy", sums.entropy / tokens),
        ("phase/forward_seconds", sums.forward_seconds / workers as f64),
        ("phase/backward_seconds", sums.backward_seconds / workers as f64),
        ("phase/optimizer_seconds", sums.optimizer_seconds),
        ("update/seconds", seconds),
        ("update/tokens_per_second", ids as f64 / seconds.max(1e-9)),
    ];
    metrics.extend(values.into_iter().map(|(name, value)| (name.to_owned(), value)));
    // else the policy has moved meanwhile
    if batch.staleness == 0 {
        metrics.extend(sums.mismatch.metrics());
    }
    let corrected =
        [("importance/mean", sums.corrected.ratio), ("importance/cut", sums.corrected.cut)];
    for (name, mean) in corrected {
        metrics.extend(mean.known().map(|mean| (name.to_owned(), mean)));
    }
    metrics.extend(sums.experts.known().map(|share| ("experts/mismatch".to_owned(), share)));
    let memory = [("peak_memory_mib", peak_memory_mib()), ("memory_mib", resident_memory_mib())];
    for (name, mebibytes) in memory {
        metrics.extend(mebibytes.map(|mebibytes| (name.to_owned(), mebibytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deviation_is_that_of_the_values() {
        // mean 2, squares 1, 1, 4, 4 about it: sqrt(10 / 4)
        let found = mean_and_deviation(&[1.0, 3.0, 0.0, 4.0]);
        assert!((found[0] - 2.0).abs() < 1e-12 && (found[1] - 2.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(mean_and_deviation(&[]), [0.0, 0.0]);
    }
}
