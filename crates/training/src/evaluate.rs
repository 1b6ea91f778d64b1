//! The evaluation recipe: play episodes on held-out tasks, grade, count.

use crate::finished::FinishedEpisodes;
use crate::run_folder::write_atomically;
use crate::seeds::derive_seed;
use crate::{
    ConfigError, EpisodeFailures, EvaluationConfig, Observer, Policy, RunConfig, RunFolder, Stage,
    Surroundings, TrainingError,
};
use burn::tensor::backend::AutodiffBackend;
use paretopo_agent::{
    PolicyText, RolloutConfig, RolloutContext, RolloutRequest, RolloutStatistics, rollout,
};
use paretopo_durable::put_folder;
use paretopo_environments::{DataError, Environment, RunMemory, score_group};
use paretopo_generation::SamplingConfig;
use paretopo_models::{ModelFamily, in_precision};
use paretopo_trajectory::{CallStatus, FinishReason, Split, Task, Trajectory, TrajectoryId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The achieved point: (EM, 1 - #Tool / largest number of calls), both to be maximised in [0,
    /// 1].
    pub point: [f64; 2],
    /// By level, where tasks have one.
    pub levels: BTreeMap<u32, LevelSummary>,
    /// Means of the environment's own metrics, over the episodes to which each applies.
    #[serde(default)]
    pub environment: BTreeMap<String, f64>,
    /// Seconds of each phase, averaged over the workers.
    #[serde(default)]
    pub phases: BTreeMap<String, f64>,
    /// Tokens sampled a second.
    pub tokens_per_second: f64,
    /// Peak resident memory in MiB, where the system tells.
    pub peak_memory_mib: Option<f64>,
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
}

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
    let found =
        play_and_summarise(context, rollout_config, config, seed, finished.as_mut(), observer)?;
    let Some(failures) = EpisodeFailures::of(&found.1) else { return Ok(found) };
    let what = match &finished {
        Some(_) => "the evaluation",
        None => "the evaluation (a folder, `--out`, would keep its episodes)",
    };
    let episodes = finished.map(FinishedEpisodes::put_aside).transpose()?;
    Err(TrainingError::EpisodesFailed { what: what.into(), failures, episodes })
}

/// [`evaluate`], also where all episodes failed.
///
/// # Errors
/// When a rollout as a whole fails or is cancelled.
pub(crate) fn play_and_summarise(
    context: &RolloutContext<'_>,
    rollout_config: &RolloutConfig,
    config: &EvaluationConfig,
    seed: u64,
    mut finished: Option<&mut FinishedEpisodes>,
    observer: &mut dyn Observer,
) -> Result<(Evaluation, Vec<Trajectory>), TrainingError> {
    Stage::Evaluation.begin();
    require_tasks(context.environment, config.split)?;
    let all = context.environment.tasks(config.split);
    let tasks = if config.tasks == 0 { all } else { &all[..config.tasks.min(all.len())] };
    let requests: Vec<RolloutRequest<'_>> = tasks
        .iter()
        .enumerate()
        .flat_map(|(index, task)| {
            let seed_of =
                move |sample: usize| derive_seed(seed, index as u64, 0xE7A1_0000 + sample as u64);
            (0..config.samples).map(move |sample| RolloutRequest {
                id: TrajectoryId::new("evaluate", index as u64, sample),
                task,
                sample,
                seed: seed_of(sample),
            })
        })
        .collect();
    let sampling = sampling_of(config, context.text)?;
    let rollout_config = RolloutConfig { sampling, ..rollout_config.clone() };
    for note in finished.as_mut().map(|finished| finished.take_notes()).unwrap_or_default() {
        observer.note(&note);
    }
    let mut earlier = finished.as_mut().map(|finished| finished.take()).unwrap_or_default();
    let key = |request: &RolloutRequest<'_>| (request.task.id.clone(), request.sample);
    let missing: Vec<RolloutRequest<'_>> =
        requests.iter().filter(|request| !earlier.contains_key(&key(request))).cloned().collect();
    let (mut done, total) = (requests.len() - missing.len(), requests.len());
    let mut unsaved = None;
    let mut report = |trajectory: &Trajectory| {
        done += 1;
        observer.progress("evaluate", done, total);
        if let Some(finished) = &mut finished {
            unsaved = finished.append(trajectory).err().or(unsaved.take());
        }
    };
    let (played, statistics) = rollout(context, &rollout_config, &missing, &mut report)?;
    if let Some(error) = unsaved {
        return Err(error);
    }
    let mut played = played.into_iter();
    let in_order =
        requests.iter().map(|request| earlier.remove(&key(request)).or_else(|| played.next()));
    let mut trajectories: Vec<Trajectory> = in_order.flatten().collect();
    let grading = Instant::now();
    let mut memory = RunMemory::default();
    for (task, group) in tasks.iter().zip(trajectories.chunks_mut(config.samples)) {
        score_group(context.environment, task, group, &mut memory);
    }
    let grading_seconds = grading.elapsed().as_secs_f64();
    let mut evaluation = summarise(
        context.environment,
        tasks,
        &trajectories,
        config.samples,
        rollout_config.max_calls,
        &statistics,
    );
    let phases = phases(&statistics, context.workers.count(), grading_seconds);
    evaluation.phases =
        phases.into_iter().map(|(phase, seconds)| (phase.to_owned(), seconds)).collect();
    Ok((evaluation, trajectories))
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
    environment: &dyn Environment,
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

/// The end of a training recipe: the policy goes to `run/policy` (and its adapter, if one was
/// trained, to `run/adapter`), its evaluation to `run/evaluation.json`.
///
/// # Errors
/// When the policy is not finite, before it is written; when all episodes failed, after they were
/// written; when something cannot be written.
pub(crate) fn conclude<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    folder: &RunFolder,
    policy: Policy<F, B>,
    environment: &dyn Environment,
    weight_version: u64,
    device: &B::Device,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    Stage::Writing.begin();
    policy.require_computes(&F::valid(&policy.model))?;
    if policy.adapter.is_some() {
        put_folder(&folder.path().join("adapter"), |place| policy.save_adapter(place))?;
    }
    let policy = policy.merged();
    put_folder(&folder.path().join("policy"), |place| policy.save(&policy.model, place))?;
    let model = in_precision(F::valid(&policy.model), config.precision.into());
    let workers = surroundings.workers(config, &model)?;
    let generators = policy.generators(&model, device, config.precision, surroundings);
    let context =
        policy.context(&generators, environment, weight_version, surroundings.cancelled, &workers);
    let settings = &config.evaluation;
    let (evaluation, trajectories) =
        play_and_summarise(&context, &config.rollout, settings, config.seed, None, observer)?;
    let episodes = folder.save_trajectories("evaluation", trajectories.iter())?;
    if let Some(failures) = EpisodeFailures::of(&trajectories) {
        let what = "the evaluation of the trained policy".into();
        return Err(TrainingError::EpisodesFailed { what, failures, episodes: Some(episodes) });
    }
    let json = serde_json::to_vec_pretty(&evaluation).expect("plain data serialises");
    write_atomically(&folder.path().join("evaluation.json"), &json)
}

/// Counts scored trajectories, `samples` per task in the order of `tasks`.
pub fn summarise(
    environment: &dyn Environment,
    tasks: &[Task],
    trajectories: &[Trajectory],
    samples: usize,
    max_calls: usize,
    statistics: &RolloutStatistics,
) -> Evaluation {
    let count = trajectories.len().max(1) as f64;
    let share = |condition: &dyn Fn(&Trajectory) -> bool| {
        trajectories.iter().filter(|trajectory| condition(trajectory)).count() as f64 / count
    };
    let groups = || tasks.iter().zip(trajectories.chunks(samples.max(1)));
    let right_of = |(task, group): (&Task, &[Trajectory])| {
        group.iter().filter(|own| environment.succeeded(task, own)).count()
    };
    let right_by_task: Vec<usize> = groups().map(right_of).collect();
    let right: usize = right_by_task.iter().sum();
    let em = right as f64 / count;
    let counts = (0..).map(|power| 1 << power).take_while(|j| *j <= samples);
    let passes: Vec<(usize, Vec<f64>)> =
        counts.map(|j| (j, pass_at(&right_by_task, samples, j))).collect();
    let total_calls: usize = trajectories.iter().map(Trajectory::call_count).sum();
    let failed = trajectories
        .iter()
        .flat_map(|trajectory| &trajectory.calls)
        .filter(|call| call.outcome.status != CallStatus::Ok)
        .count();
    let calls = total_calls as f64 / count;
    let mut levels: BTreeMap<u32, LevelSummary> = BTreeMap::new();
    for ((task, group), right) in groups().zip(&right_by_task) {
        let Some(level) = task.level else { continue };
        let summary = levels.entry(level).or_default();
        summary.episodes += group.len();
        summary.em += *right as f64;
        summary.calls += group.iter().map(Trajectory::call_count).sum::<usize>() as f64;
    }
    for summary in levels.values_mut() {
        summary.em /= summary.episodes as f64;
        summary.calls /= summary.episodes as f64;
    }
    Evaluation {
        episodes: trajectories.len(),
        tasks: tasks.len(),
        em,
        em_interval: 1.96
            * standard_error(
                &right_by_task
                    .iter()
                    .map(|right| *right as f64 / samples.max(1) as f64)
                    .collect::<Vec<_>>(),
            ),
        pass_at: passes.iter().map(|(j, tasks)| (*j, mean(tasks))).collect(),
        pass_at_interval: passes
            .iter()
            .map(|(j, tasks)| (*j, 1.96 * standard_error(tasks)))
            .collect(),
        calls,
        calls_per_correct: (right > 0).then(|| total_calls as f64 / right as f64),
        response_tokens: trajectories.iter().map(Trajectory::sampled_tokens).sum::<usize>() as f64
            / count,
        answered: share(&|trajectory| trajectory.answer.is_some()),
        failed_calls: failed as f64 / total_calls.max(1) as f64,
        truncated: share(&|trajectory| trajectory.finish == FinishReason::Length),
        point: [em, (1.0 - calls / max_calls.max(1) as f64).max(0.0)],
        levels,
        environment: environment_metrics(environment, groups()),
        phases: BTreeMap::new(),
        tokens_per_second: statistics.sampled_tokens as f64 / statistics.seconds.max(1e-9),
        peak_memory_mib: crate::run_folder::peak_memory_mib(),
    }
}

/// 0 for no value.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The deviation of a mean; 0 for fewer than two values.
fn standard_error(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0) / count).sqrt()
}

/// For each task `1 - C(n - c, j) / C(n, j)`, with `c` of `n` episodes right (Chen et al., 2021,
/// arXiv 2107.03374).
fn pass_at(right: &[usize], samples: usize, j: usize) -> Vec<f64> {
    let of_task = |c: &usize| {
        let wrong = samples - c;
        // C(n - c, j) / C(n, j) = product of (n - c - i) / (n - i) for i < j
        1.0 - (0..j).map(|i| wrong.saturating_sub(i) as f64 / (samples - i) as f64).product::<f64>()
    };
    right.iter().map(of_task).collect()
}

/// The means of an environment's own metrics, each over the episodes to which it applies.
pub(crate) fn environment_metrics<'a>(
    environment: &dyn Environment,
    groups: impl Iterator<Item = (&'a Task, &'a [Trajectory])>,
) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (task, group) in groups {
        for (name, value) in
            group.iter().flat_map(|trajectory| environment.metrics(task, trajectory))
        {
            let (sum, count) = sums.entry(name).or_default();
            *sum += value;
            *count += 1.0;
        }
    }
    sums.into_iter().map(|(name, (sum, count))| (name.to_owned(), sum / count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pass_at_counts_the_draws_that_hold_a_right_one() {
        // 4 episodes, 1 right: of the 6 pairs 3 hold it; with 3 right every pair does; with none no
        // pair
        let pass_at = |right: &[usize], samples, j| mean(&super::pass_at(right, samples, j));
        assert!((pass_at(&[1], 4, 2) - 0.5).abs() < 1e-12);
        assert!((pass_at(&[3, 0], 4, 2) - 0.5).abs() < 1e-12);
        // pass@1 is the mean: (1/4 + 3/4) / 2
        assert!((pass_at(&[1, 3], 4, 1) - 0.5).abs() < 1e-12);
        assert!((pass_at(&[1], 4, 4) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_standard_error_is_that_of_the_mean() {
        // values 0 and 1: variance (0.25 + 0.25) / 1 = 0.5, of the mean 0.25
        assert!((standard_error(&[0.0, 1.0]) - 0.5).abs() < 1e-12);
        assert_eq!(standard_error(&[1.0]), 0.0);
    }
}
