//! The reinforcement learning recipe: roll out, score, estimate advantages, update; step by step,
//! resumable after a kill at any moment.

use crate::batch::micro_batches;
use crate::config::{BadNumbers, OldLogprobs};
use crate::evaluate::{conclude, phases, play_and_summarise, require_tasks, sampling_of};
use crate::fitting::{fitting, played_splits};
use crate::run_folder::{peak_memory_mib, resident_memory_mib};
use crate::seeds::derive_seed;
use crate::summary::{environment_metrics, validated_volume};
use crate::{
    AdamW, EpisodeFailures, GradientSum, Metrics, MicroBatch, Observer, Policy, RunConfig,
    RunFolder, Stage, Surroundings, TrainConfig, TrainingError, TrainingSequence, TrainingState,
    accumulate_gradient, checkpoint, response_logprobs, total_gradient,
};
use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use paretopo_agent::{RolloutContext, RolloutRequest, RolloutStatistics, Workers, rollout};
use paretopo_algorithms::losses::{kl_penalty, policy_loss, token_weights};
use paretopo_algorithms::pareto::underflows;
use paretopo_algorithms::{Advantages, Group, Progress, advantages};
use paretopo_environments::{Environment, bad_reward, objective_names, score_group};
use paretopo_models::{AutoModel, from_host, in_precision, to_host, without_adapter};
use paretopo_records::EpisodeSummary;
use paretopo_trajectory::{FinishReason, ObjectiveValues, Split, Task, Trajectory, TrajectoryId};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The rollouts of a step, group by group.
struct Batch {
    tasks: Vec<Task>,
    groups: Vec<Vec<Trajectory>>,
    advantages: Advantages,
    statistics: RolloutStatistics,
    /// Scoring and estimating advantages.
    grading_seconds: f64,
    refills: usize,
    /// Groups with a reward that is not finite, of which nothing is learnt.
    skipped_groups: usize,
}

impl Batch {
    /// How it came that all episodes failed, groups of `size` that were left out included.
    fn failures(&self, size: usize) -> Option<EpisodeFailures> {
        if self.groups.is_empty() && self.skipped_groups > 0 {
            let episodes = self.skipped_groups * size;
            let reason =
                "a reward of its group is not finite, so that nothing is learnt of it".into();
            return Some(EpisodeFailures { episodes, failed: episodes, reason, share: 1.0 });
        }
        EpisodeFailures::of(self.groups.iter().flatten())
    }
}

/// Sums over the tokens and updates of a step.
#[derive(Clone, Default)]
struct UpdateSums {
    loss: f64,
    tokens: f64,
    clipped_low: f64,
    clipped_high: f64,
    largest_log_ratio: f64,
    mismatch: f64,
    kl: f64,
    entropy: f64,
    gradient_norm: f64,
    /// Of the last update.
    learning_rate: f64,
    updates: f64,
    /// Over all workers.
    forward_seconds: f64,
    /// Over all workers.
    backward_seconds: f64,
    optimizer_seconds: f64,
    /// Why each update that was left out was.
    skipped: Vec<String>,
}

impl UpdateSums {
    /// Adds what another micro-batch summed up.
    fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.tokens += other.tokens;
        self.clipped_low += other.clipped_low;
        self.clipped_high += other.clipped_high;
        self.largest_log_ratio = self.largest_log_ratio.max(other.largest_log_ratio);
        self.mismatch += other.mismatch;
        self.kl += other.kl;
        self.entropy += other.entropy;
        self.forward_seconds += other.forward_seconds;
        self.backward_seconds += other.backward_seconds;
    }
}

/// Trains a policy and evaluates it; the result lies in `run/policy` and `run/evaluation.json`.
///
/// # Errors
/// When something cannot be read or written, the numbers go wrong, all episodes of too many steps in
/// a row failed, or the run is interrupted. Running it again resumes.
pub fn train<B: AutodiffBackend>(
    config: &RunConfig,
    run: &Path,
    device: &B::Device,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    let folder = RunFolder::open(run, config, "train", surroundings)?;
    let environment = surroundings.environment(config, observer)?;
    train_in::<B>(config, environment, folder, device, surroundings, observer)
}

/// The same in an environment that is built already, which may be one of your own.
///
/// # Errors
/// As [`train`].
pub fn train_in<B: AutodiffBackend>(
    config: &RunConfig,
    environment: Box<dyn Environment>,
    mut folder: RunFolder,
    device: &B::Device,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    for note in folder.take_notes() {
        observer.note(&note);
    }
    let run = &folder.path().to_owned();
    // better now than after hours of training
    let validation = (config.train.validate_every > 0).then_some(Split::Validation);
    for split in [Split::Train, config.evaluation.split].into_iter().chain(validation) {
        require_tasks(environment.as_ref(), split)?;
    }
    let mut policy = Policy::<B>::load(config, &surroundings.policy_folder, device)?;
    sampling_of(&config.evaluation, &policy.text)?;
    let reader = policy.reader(surroundings.cancelled);
    let splits = played_splits(config, true);
    let fitting = fitting(&reader, &config.rollout, environment, &splits, observer)?;
    let environment = fitting.as_ref();
    // of a policy with an adapter, the policy without it
    let reference =
        (config.train.kl.coefficient.get() != 0.0).then(|| without_adapter(policy.model.valid()));
    let workers = surroundings.workers(config, &policy.model)?;
    let updates_per_step = (config.train.epochs * config.train.minibatches) as u64;
    let mut optimizer = AdamW::new(config.train.optimizer, config.train.steps * updates_per_step);
    let restored = checkpoint::restore(run, &mut policy, &mut optimizer, device, &mut |message| {
        observer.note(message)
    })?;
    let mut state = restored.unwrap_or_default();
    state.require_of_training(run, config, environment.objectives().len())?;
    if state.step > 0 {
        observer.note(&format!("resuming after step {}", state.step));
    }
    folder.rewind(state.step, &mut |message| observer.note(message))?;
    // what an estimator said once is not said at every step
    let mut said = BTreeSet::new();
    // steps in a row of which all episodes failed; a checkpoint is from before the first of them
    let mut failed_steps = 0;
    while state.step < config.train.steps {
        if surroundings.cancelled.load(Ordering::Relaxed) {
            return Err(TrainingError::Interrupted);
        }
        let mut metrics = Metrics::new();
        let model = in_precision(policy.model.valid(), config.precision.into());
        let context = policy.context(
            &model,
            device,
            environment,
            state.updates,
            surroundings.cancelled,
            &workers,
        );
        if config.train.validate_every > 0 && state.step.is_multiple_of(config.train.validate_every)
        {
            let point = validate(config, &context, &mut state, &folder, &mut metrics, observer)
                .map_err(|error| error.at_step(state.step))?;
            if let Some(means) = point.as_ref().map(ObjectiveValues::values)
                && underflows(means, &vec![0.0; means.len()])
                && said.insert("best")
            {
                observer.note(&format!(
                    "warning: the mean rewards {means:?} of the validation multiply to less than \
                     2.2e-308, the smallest 64-bit float: `best` cannot tell such policies apart"
                ));
            }
            if let Some(point) = point
                && let Some(volume) = validated_volume(&point)
                && state.best_validation.is_none_or(|best| volume > best)
            {
                state.best_validation = Some(volume);
                if config.train.keep.best {
                    checkpoint::save_best(run, &policy, state.step, &point)?;
                }
            }
        }
        let batch = collect(config, &context, &mut state, &folder, observer)
            .map_err(|error| error.at_step(state.step))?;
        for (topic, note) in &batch.advantages.notes {
            if said.insert(topic) {
                observer.note(note);
            }
        }
        let limit = config.train.stop_after_failed_steps;
        failed_steps = match batch.failures(config.train.rollouts_per_prompt) {
            None => 0,
            Some(failures) if failed_steps + 1 < limit => {
                observer.note(&format!(
                    "step {}: {failures} (the run stops after {limit} such steps in a row)",
                    state.step
                ));
                failed_steps + 1
            }
            Some(failures) => {
                return Err(failed_steps_in_a_row(&state, limit, failures, &batch, &folder)?);
            }
        };
        if config.train.save_trajectories_every > 0
            && state.step.is_multiple_of(config.train.save_trajectories_every)
        {
            folder.save_trajectories(
                &format!("step-{:06}", state.step),
                batch.groups.iter().flatten(),
            )?;
        }
        describe(&batch, environment, &state, workers.count(), &mut metrics);
        let started = Instant::now();
        let step = state.step;
        // with the sampler's view of the weights gone, the optimiser may update them in place
        drop(model);
        let updated = update(
            config,
            policy,
            &mut optimizer,
            reference.as_ref(),
            &batch,
            step,
            &workers,
            device,
        );
        let (trained, sums) = updated.map_err(|failure| {
            let saved = folder.save_trajectories(
                &format!("failed-step-{step:06}"),
                batch.groups.iter().flatten(),
            );
            let stopped = |batch| match failure {
                BadUpdate::Batch(reason) => TrainingError::Numbers { step, reason, batch },
                BadUpdate::Policy(reason) => TrainingError::Policy { step: Some(step), reason },
            };
            saved.map_or_else(|error| error, stopped)
        })?;
        policy = trained;
        if !sums.skipped.is_empty() {
            folder.save_trajectories(
                &format!("skipped-step-{step:06}"),
                batch.groups.iter().flatten(),
            )?;
        }
        for reason in &sums.skipped {
            observer.note(&format!("step {step}: left out an update: {reason}"));
        }
        describe_update(
            &sums,
            started.elapsed().as_secs_f64(),
            &batch,
            workers.count(),
            &mut metrics,
        );
        folder.log(state.step, &metrics)?;
        state.step += 1;
        state.updates = optimizer.updates();
        observer.step(state.step, config.train.steps, &metrics);
        let is_due = state.step.is_multiple_of(config.train.checkpoint_every)
            || state.step == config.train.steps;
        if is_due && failed_steps == 0 {
            checkpoint::save(run, &policy, &optimizer, &state, config.train.keep.latest)?;
        }
    }
    conclude(config, &folder, policy, environment, state.updates, device, surroundings, observer)
        .map_err(|error| error.at_step(state.step))
}

/// What ends a run after as many failed steps in a row as are allowed; the last one's episodes are
/// written out.
///
/// # Errors
/// When they cannot be written.
fn failed_steps_in_a_row(
    state: &TrainingState,
    count: u64,
    failures: EpisodeFailures,
    batch: &Batch,
    folder: &RunFolder,
) -> Result<TrainingError, TrainingError> {
    let name = format!("failed-step-{:06}", state.step);
    // groups that were left out have been written out already
    let save = |batch: &Batch| folder.save_trajectories(&name, batch.groups.iter().flatten());
    let episodes = Some(batch).filter(|batch| !batch.groups.is_empty()).map(save).transpose()?;
    let what = match count {
        1 => format!("step {}", state.step),
        _ => format!("step {}, the last of {count} failed steps in a row", state.step),
    };
    Ok(TrainingError::EpisodesFailed { what, failures, episodes })
}

/// Evaluates on validation tasks; returns the mean of each objective, `None` if all episodes failed.
fn validate<B: burn::tensor::backend::Backend>(
    config: &RunConfig,
    context: &RolloutContext<'_, B>,
    state: &mut TrainingState,
    folder: &RunFolder,
    metrics: &mut Metrics,
    observer: &mut dyn Observer,
) -> Result<Option<ObjectiveValues>, TrainingError> {
    let settings = crate::EvaluationConfig {
        split: Split::Validation,
        samples: 1,
        ..config.evaluation.clone()
    };
    let (validation, trajectories) =
        play_and_summarise(context, &config.rollout, &settings, config.seed, None, observer)?;
    if let Some(failures) = EpisodeFailures::of(&trajectories) {
        let name = format!("failed-validation-{:06}", state.step);
        let path = folder.save_trajectories(&name, trajectories.iter())?;
        observer.note(&format!(
            "step {}: the validation is left out: {failures}; the episodes are in `{}`",
            state.step,
            path.display()
        ));
        return Ok(None);
    }
    let tasks = context.environment.tasks(Split::Validation);
    match tasks.iter().zip(trajectories.chunks(1)).find_map(|(task, group)| bad_reward(task, group))
    {
        None => state.estimator.observe_validation(validation.point.values(), &config.estimator),
        Some(reason) => {
            left_out(config, state.step, "validation", reason, &trajectories, folder, observer)?
        }
    }
    metrics.insert("validation/em".into(), validation.em);
    metrics.insert("validation/calls".into(), validation.calls);
    for (name, mean) in validation.point.iter() {
        metrics.insert(format!("validation/{name}"), mean);
    }
    Ok(Some(validation.point))
}

/// The next prompts: the training tasks in a new order each time all have been used.
fn next_tasks(tasks: &[Task], seed: u64, drawn: &mut u64, count: usize) -> Vec<Task> {
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let (pass, place) = (*drawn / tasks.len() as u64, (*drawn % tasks.len() as u64) as usize);
        let mut order: Vec<usize> = (0..tasks.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(derive_seed(seed, pass, 1)));
        let taken = (count - chosen.len()).min(tasks.len() - place);
        chosen.extend(order[place..place + taken].iter().map(|index| tasks[*index].clone()));
        *drawn += taken as u64;
    }
    chosen
}

/// Plays, scores and weighs the groups of a step; with dynamic sampling, groups without signal are
/// replaced.
fn collect<B: burn::tensor::backend::Backend>(
    config: &RunConfig,
    context: &RolloutContext<'_, B>,
    state: &mut TrainingState,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Batch, TrainingError> {
    Stage::Rollout.begin();
    let (settings, size) = (&config.train, config.train.rollouts_per_prompt);
    let (mut tasks, mut groups) = (Vec::new(), Vec::new());
    let mut statistics = RolloutStatistics::default();
    let (mut refills, mut skipped_groups, mut grading_seconds) = (0, 0, 0.0);
    loop {
        let wanted = settings.prompts_per_step - tasks.len();
        let first_prompt = state.prompts_drawn;
        let new = next_tasks(
            context.environment.tasks(Split::Train),
            config.seed,
            &mut state.prompts_drawn,
            wanted,
        );
        let drawn = state.prompts_drawn;
        let requests: Vec<RolloutRequest<'_>> = new
            .iter()
            .enumerate()
            .flat_map(|(index, task)| {
                let seed = move |sample: usize| {
                    derive_seed(config.seed, drawn, 1000 + (index * size + sample) as u64)
                };
                let prompt = first_prompt + index as u64;
                (0..size).map(move |sample| RolloutRequest {
                    id: TrajectoryId::new("train", prompt, sample),
                    task,
                    sample,
                    seed: seed(sample),
                })
            })
            .collect();
        let (mut done, total) = (0, requests.len());
        let mut report = |_: &Trajectory| {
            done += 1;
            observer.progress("rollout", done, total);
        };
        let (trajectories, part) = rollout(context, &config.rollout, &requests, &mut report)?;
        statistics.add(&part);
        let grading = Instant::now();
        let mut trajectories = trajectories.into_iter();
        for task in new {
            let mut group: Vec<Trajectory> = trajectories.by_ref().take(size).collect();
            score_group(context.environment, &task, &mut group, &mut state.memory);
            if let Some(reason) = bad_reward(&task, &group) {
                left_out(
                    config,
                    state.step,
                    &format!("group-{skipped_groups}"),
                    reason,
                    &group,
                    folder,
                    observer,
                )?;
                skipped_groups += 1;
                continue;
            }
            tasks.push(task);
            groups.push(group);
        }
        grading_seconds += grading.elapsed().as_secs_f64();
        if refills >= settings.refill_rounds {
            break;
        }
        let silent = |group: &[Trajectory]| {
            let first = group[0].objectives.values();
            group.iter().all(|trajectory| trajectory.objectives.values() == first)
        };
        let kept: Vec<bool> = groups.iter().map(|group| !silent(group)).collect();
        if kept.iter().all(|kept| *kept) {
            break;
        }
        let mut keep = kept.iter();
        tasks.retain(|_| *keep.next().unwrap_or(&true));
        let mut keep = kept.iter();
        groups.retain(|_| *keep.next().unwrap_or(&true));
        refills += 1;
    }
    let rewards: Vec<Group> = tasks
        .iter()
        .zip(&groups)
        .map(|(task, group): (&Task, &Vec<Trajectory>)| Group {
            prompt: task.id.clone(),
            rewards: group.iter().map(|one| one.objectives.values().to_vec()).collect(),
            calls: Some(group.iter().map(Trajectory::call_count).collect()),
        })
        .collect();
    let estimating = Instant::now();
    let progress = Progress {
        step: state.step,
        total_steps: settings.steps,
        seed: derive_seed(config.seed, state.step, 2),
    };
    let advantages = advantages(&config.estimator, &mut state.estimator, &rewards, progress)?;
    grading_seconds += estimating.elapsed().as_secs_f64();
    Ok(Batch { tasks, groups, advantages, statistics, grading_seconds, refills, skipped_groups })
}

/// Writes out trajectories with a reward that is not finite, and says so.
///
/// # Errors
/// Unless such are to be left out.
fn left_out(
    config: &RunConfig,
    step: u64,
    what: &str,
    reason: String,
    trajectories: &[Trajectory],
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    let batch = folder
        .save_trajectories(&format!("bad-reward-step-{step:06}-{what}"), trajectories.iter())?;
    if config.train.bad_numbers == BadNumbers::Stop {
        return Err(TrainingError::Reward { step, reason, batch });
    }
    observer.note(&format!("step {step}: left out what is in `{}`: {reason}", batch.display()));
    Ok(())
}

/// The trajectories as training sequences, without weights.
fn to_sequences(config: &RunConfig, batch: &Batch) -> Vec<TrainingSequence> {
    let mut sequences = Vec::new();
    for (group, advantages) in batch.groups.iter().zip(&batch.advantages.values) {
        for (trajectory, advantage) in group.iter().zip(advantages) {
            let dropped = config.train.mask_overlong && trajectory.finish == FinishReason::Length;
            let mask = trajectory.mask();
            let picked = |values: Vec<f32>| {
                values
                    .into_iter()
                    .zip(&mask)
                    .filter(|(_, sampled)| **sampled)
                    .map(|(value, _)| value)
                    .collect()
            };
            let old_logprobs = picked(trajectory.aligned_logprobs());
            let mask = if dropped { vec![false; mask.len()] } else { mask.clone() };
            let old_logprobs = if dropped { Vec::new() } else { old_logprobs };
            sequences.push(TrainingSequence {
                ids: trajectory.ids(),
                mask,
                old_logprobs,
                weights: Vec::new(),
                // from here on in tensors
                advantage: *advantage as f32,
            });
        }
    }
    sequences
}

/// Why a step's update is no good.
enum BadUpdate {
    /// A loss, gradient or ratio.
    Batch(String),
    /// A weight or moment after it, or the log-probabilities before it, which nothing mends.
    Policy(String),
}

/// All epochs and minibatches of a step.
///
/// # Errors
/// Says which number went wrong.
fn update<B: AutodiffBackend>(
    config: &RunConfig,
    mut policy: Policy<B>,
    optimizer: &mut AdamW<B>,
    reference: Option<&AutoModel<B::InnerBackend>>,
    batch: &Batch,
    step: u64,
    workers: &Workers,
    device: &B::Device,
) -> Result<(Policy<B>, UpdateSums), BadUpdate> {
    let settings = &config.train;
    let mut sequences = to_sequences(config, batch);
    let mut corrections: Vec<Vec<f32>> =
        sequences.iter().map(|sequence| vec![1.0; sequence.old_logprobs.len()]).collect();
    let mut sums = UpdateSums::default();
    if settings.old_logprobs == OldLogprobs::Recompute {
        recompute(&policy.model.valid(), &mut sequences, &mut corrections, config, workers, device);
    }
    let references = reference.map(|model| logprobs_of(model, &sequences, config, workers, device));
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    let mut dropped = 0;
    for epoch in 0..settings.epochs {
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(derive_seed(
            config.seed,
            step,
            100 + epoch as u64,
        )));
        for minibatch in order.chunks(order.len().div_ceil(settings.minibatches).max(1)) {
            let masks: Vec<&[bool]> =
                minibatch.iter().map(|index| sequences[*index].mask.as_slice()).collect();
            let weights = token_weights(settings.aggregation, &masks);
            // without an advantage nothing pulls at a sequence, unless a penalty or bonus does
            let pulled =
                |index: usize| sequences[index].advantage != 0.0 || settings.pulls_everywhere();
            let minibatch: Vec<(usize, Vec<f32>)> = minibatch
                .iter()
                .copied()
                .zip(weights)
                .filter(|(index, _)| pulled(*index))
                .collect();
            let members: Vec<TrainingSequence> = minibatch
                .iter()
                .map(|(index, weights)| {
                    let mut sequence = sequences[*index].clone();
                    let sampled =
                        weights.iter().zip(&sequence.mask).filter(|(_, sampled)| **sampled);
                    sequence.weights = sampled
                        .zip(&corrections[*index])
                        .map(|((weight, _), correction)| weight * correction)
                        .collect();
                    sequence
                })
                .collect();
            let minibatch_seed = derive_seed(config.seed, step, 200 + dropped);
            let references: Option<Vec<&Vec<f32>>> = references
                .as_ref()
                .map(|references| minibatch.iter().map(|(index, _)| &references[*index]).collect());
            let job = Minibatch {
                members: &members,
                references: references.as_deref(),
                seed: minibatch_seed,
                first: sums.updates == 0.0,
            };
            dropped += members.len() as u64;
            let (gradient, norm, part) =
                match gradient_of(config, &policy.model, &job, workers, device) {
                    Ok(found) => found,
                    Err(BadUpdate::Batch(reason)) if settings.bad_numbers == BadNumbers::Skip => {
                        sums.skipped.push(reason);
                        continue;
                    }
                    Err(failure) => return Err(failure),
                };
            sums.add(&part);
            sums.gradient_norm += norm;
            sums.updates += 1.0;
            sums.learning_rate = optimizer.learning_rate();
            let started = Instant::now();
            policy.model = optimizer.update(policy.model, gradient, norm);
            if let Some(found) = optimizer.find_not_finite(&policy.model) {
                let reason = format!("after update {}, {found}", optimizer.updates());
                return Err(BadUpdate::Policy(reason));
            }
            sums.optimizer_seconds += started.elapsed().as_secs_f64();
        }
    }
    Ok((policy, sums))
}

/// What an update learns from.
struct Minibatch<'a> {
    members: &'a [TrainingSequence],
    /// The reference policy's log-probabilities of each member.
    references: Option<&'a [&'a Vec<f32>]>,
    /// For adapters that drop features.
    seed: u64,
    /// Before the first update of a step the trainer's and the sampler's weights are the same.
    first: bool,
}

/// The gradient of a minibatch, its norm, and the sums of its losses.
///
/// # Errors
/// Says which number went wrong.
fn gradient_of<B: AutodiffBackend>(
    config: &RunConfig,
    model: &AutoModel<B>,
    minibatch: &Minibatch<'_>,
    workers: &Workers,
    device: &B::Device,
) -> Result<(GradientSum<B>, f64, UpdateSums), BadUpdate> {
    let settings = &config.train;
    let trained = |group: &Vec<usize>| {
        group.iter().any(|place| !minibatch.members[*place].weights.is_empty())
    };
    let groups = micro_batches(minibatch.members, settings.micro_batch_tokens)
        .into_iter()
        .filter(trained)
        .enumerate()
        .collect();
    let work = |model: &AutoModel<B>,
                (index, group): (usize, Vec<usize>),
                sum: &mut GradientSum<B>| {
        let (started, mut sums) = (Instant::now(), UpdateSums::default());
        let rows: Vec<&TrainingSequence> =
            group.iter().map(|place| &minibatch.members[*place]).collect();
        let seed = derive_seed(minibatch.seed, index as u64, 0);
        let batch =
            MicroBatch::<B>::new(&rows, device).in_precision(config.precision).with_dropout(seed);
        let reference: Option<Vec<&Vec<f32>>> = minibatch
            .references
            .map(|references| group.iter().map(|place| references[*place]).collect());
        let with_entropy = settings.entropy_coefficient.get() != 0.0;
        accumulate_gradient(
            model,
            &batch,
            settings.memory,
            with_entropy,
            sum,
            |logprobs, entropy| {
                let loss = loss_of(
                    settings,
                    &batch,
                    logprobs,
                    entropy,
                    reference.as_deref(),
                    minibatch.first,
                    &mut sums,
                )?;
                sums.forward_seconds = started.elapsed().as_secs_f64();
                Ok::<_, BadUpdate>(loss)
            },
        )?;
        sums.backward_seconds = started.elapsed().as_secs_f64() - sums.forward_seconds;
        Ok::<_, BadUpdate>(sums)
    };
    let (gradient, parts) = total_gradient(workers, model, groups, work)?;
    let mut sums = UpdateSums::default();
    parts.iter().for_each(|part| sums.add(part));
    let norm = gradient.norm();
    if norm.is_finite() && sums.loss.is_finite() {
        return Ok((gradient, norm, sums));
    }
    Err(BadUpdate::Batch(gradient.in_words(model, sums.loss, norm)))
}

/// A micro-batch's policy loss with KL penalty and entropy bonus.
///
/// # Errors
/// When a log importance ratio is out of range, or no number: then the policy is to blame, since the
/// sampler's log-probabilities are finite.
fn loss_of<B: AutodiffBackend>(
    settings: &TrainConfig,
    batch: &MicroBatch<B>,
    logprobs: Tensor<B, 2>,
    entropy: Option<Tensor<B, 2>>,
    reference: Option<&[&Vec<f32>]>,
    first: bool,
    sums: &mut UpdateSums,
) -> Result<Tensor<B, 1>, BadUpdate> {
    let sampled = batch.weights.clone().not_equal_elem(0.0).float();
    let total =
        |values: Tensor<B, 2>| f64::from(to_host((values * sampled.clone()).sum().inner())[0]);
    let mut extra = logprobs.clone().zeros_like();
    if let Some(reference) = reference {
        let [_, longest] = logprobs.dims();
        let padded = reference.iter().flat_map(|row| {
            row.iter().copied().chain(std::iter::repeat_n(0.0, longest - row.len()))
        });
        let reference = from_host(padded.collect(), logprobs.dims(), &logprobs.device());
        let kl = kl_penalty(settings.kl.estimator, logprobs.clone() * sampled.clone(), reference);
        sums.kl += total(kl.clone());
        extra = extra + kl * settings.kl.coefficient.single();
    }
    if let Some(entropy) = entropy {
        sums.entropy += total(entropy.clone());
        extra = extra - entropy * settings.entropy_coefficient.single();
    }
    if first {
        sums.mismatch += total((logprobs.clone() - batch.old_logprobs.clone()).abs());
    }
    let (old, advantages, weights) =
        (batch.old_logprobs.clone(), batch.advantages.clone(), batch.weights.clone());
    let result = policy_loss(&settings.loss, logprobs, old, advantages, weights.clone());
    let loss = result.loss + (extra * weights).sum();
    let number = |value: Tensor<B, 1>| f64::from(to_host(value.inner())[0]);
    sums.loss += number(loss.clone());
    sums.tokens += number(sampled.clone().sum());
    sums.clipped_low += number(result.clipped_low);
    sums.clipped_high += number(result.clipped_high);
    let log_ratio = number(result.largest_log_ratio);
    sums.largest_log_ratio = sums.largest_log_ratio.max(log_ratio);
    if !log_ratio.is_finite() {
        let reason =
            format!("the policy's log-probabilities give an importance ratio of {log_ratio}");
        return Err(BadUpdate::Policy(reason));
    }
    if log_ratio > settings.largest_log_ratio.get() {
        return Err(BadUpdate::Batch(format!(
            "a log importance ratio of {log_ratio} (at most {} is allowed)",
            settings.largest_log_ratio
        )));
    }
    Ok(loss)
}

/// Log-probabilities of the sampled tokens under a model without gradients.
fn logprobs_of<B: burn::tensor::backend::Backend>(
    model: &AutoModel<B>,
    sequences: &[TrainingSequence],
    config: &RunConfig,
    workers: &Workers,
    device: &B::Device,
) -> Vec<Vec<f32>> {
    let mut found = vec![Vec::new(); sequences.len()];
    let score = |(): &mut (), group: Vec<usize>, tell: &mut dyn FnMut((usize, Vec<f32>))| {
        let rows: Vec<&TrainingSequence> = group.iter().map(|index| &sequences[*index]).collect();
        let batch = MicroBatch::<B>::new(&rows, device).in_precision(config.precision);
        let (logprobs, _) = response_logprobs(model, &batch, false);
        let longest = logprobs.dims()[1];
        for (index, row) in group.into_iter().zip(to_host(logprobs).chunks(longest)) {
            tell((index, row[..sequences[index].old_logprobs.len()].to_vec()));
        }
    };
    let groups = micro_batches(sequences, config.train.micro_batch_tokens);
    workers.run(vec![(); workers.count()], groups, score, &mut |(index, row)| found[index] = row);
    found
}

/// Replaces the sampler's log-probabilities by the trainer's; with a cap,
/// `min(exp(trainer - sampler), cap)` corrects each token.
fn recompute<B: burn::tensor::backend::Backend>(
    model: &AutoModel<B>,
    sequences: &mut [TrainingSequence],
    corrections: &mut [Vec<f32>],
    config: &RunConfig,
    workers: &Workers,
    device: &B::Device,
) {
    let (trainer_logprobs, cap) =
        (logprobs_of(model, sequences, config, workers, device), config.train.importance_cap);
    for ((sequence, corrections), trainer) in
        sequences.iter_mut().zip(corrections).zip(trainer_logprobs)
    {
        if let Some(cap) = cap {
            let ratios = trainer
                .iter()
                .zip(&sequence.old_logprobs)
                .map(|(trainer, sampler)| (trainer - sampler).exp().min(cap.single()));
            *corrections = ratios.collect();
        }
        sequence.old_logprobs = trainer;
    }
}

fn describe(
    batch: &Batch,
    environment: &dyn Environment,
    state: &TrainingState,
    workers: usize,
    metrics: &mut Metrics,
) {
    let trajectories: Vec<&Trajectory> = batch.groups.iter().flatten().collect();
    let count = trajectories.len().max(1) as f64;
    let mut put = |name: &str, value: f64| {
        metrics.insert(name.to_owned(), value);
    };
    for (k, name) in objective_names(environment).iter().enumerate() {
        let values: Vec<f64> =
            trajectories.iter().map(|trajectory| trajectory.objectives.values()[k]).collect();
        let mean = values.iter().sum::<f64>() / count;
        put(&format!("reward/{name}"), mean);
        put(
            &format!("reward/{name}_std"),
            (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt(),
        );
    }
    let groups = || batch.tasks.iter().zip(&batch.groups);
    let summary = EpisodeSummary::of(trajectories.iter().copied());
    put("em", summary.em());
    put("calls", summary.per_episode(summary.calls));
    put("calls_correct", summary.calls_of_a_right_one());
    put("tool/errors", summary.per_call(summary.call_errors));
    put("tool/timeouts", summary.per_call(summary.call_timeouts));
    put("response_tokens", summary.per_episode(summary.sampled_tokens));
    put("truncated", summary.per_episode(summary.truncated));
    put("failed", summary.per_episode(summary.failed));
    let logprobs = trajectories
        .iter()
        .flat_map(|t| &t.segments)
        .flat_map(|segment| &segment.logprobs)
        .map(|value| f64::from(*value));
    put("entropy_estimate", -logprobs.sum::<f64>() / summary.sampled_tokens.max(1) as f64);
    let optimal: Vec<usize> =
        batch.tasks.iter().filter_map(|task| state.memory.fewest_calls(&task.id)).collect();
    put("n_optimal/mean", optimal.iter().sum::<usize>() as f64 / optimal.len().max(1) as f64);
    put(
        "n_optimal/zero_share",
        optimal.iter().filter(|calls| **calls == 0).count() as f64 / optimal.len().max(1) as f64,
    );
    for (name, value) in
        environment_metrics(environment, groups().map(|(task, group)| (task, group.as_slice())))
    {
        put(&format!("environment/{name}"), value);
    }
    for (name, value) in &batch.advantages.diagnostics {
        put(&format!("estimator/{name}"), *value);
    }
    let advantages: Vec<f64> = batch.advantages.values.iter().flatten().copied().collect();
    let mean = advantages.iter().sum::<f64>() / count;
    put(
        "advantage_std",
        (advantages.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt(),
    );
    put("refills", batch.refills as f64);
    put("skipped_groups", batch.skipped_groups as f64);
    put("rollout/seconds", batch.statistics.seconds);
    for (phase, seconds) in phases(&batch.statistics, workers, batch.grading_seconds) {
        put(&format!("phase/{phase}_seconds"), seconds);
    }
    put(
        "rollout/tokens_per_second",
        batch.statistics.sampled_tokens as f64 / batch.statistics.seconds.max(1e-9),
    );
}

fn describe_update(
    sums: &UpdateSums,
    seconds: f64,
    batch: &Batch,
    workers: usize,
    metrics: &mut Metrics,
) {
    let tokens = sums.tokens.max(1.0);
    let ids: usize = batch
        .groups
        .iter()
        .flatten()
        .flat_map(|trajectory| &trajectory.segments)
        .map(|segment| segment.ids.len())
        .sum();
    let values = [
        ("loss", sums.loss / sums.updates.max(1.0)),
        ("gradient_norm", sums.gradient_norm / sums.updates.max(1.0)),
        ("learning_rate", sums.learning_rate),
        ("clip/low", sums.clipped_low / tokens),
        ("clip/high", sums.clipped_high / tokens),
        ("largest_log_ratio", sums.largest_log_ratio),
        ("skipped_updates", sums.skipped.len() as f64),
        ("logprob_mismatch", sums.mismatch * sums.updates.max(1.0) / tokens),
        ("kl", sums.kl / tokens),
        ("entropy", sums.entropy / tokens),
        ("phase/forward_seconds", sums.forward_seconds / workers as f64),
        ("phase/backward_seconds", sums.backward_seconds / workers as f64),
        ("phase/optimizer_seconds", sums.optimizer_seconds),
        ("update/seconds", seconds),
        ("update/tokens_per_second", ids as f64 / seconds.max(1e-9)),
    ];
    metrics.extend(values.into_iter().map(|(name, value)| (name.to_owned(), value)));
    if let Some(memory) = peak_memory_mib() {
        metrics.insert("peak_memory_mib".into(), memory);
    }
    if let Some(memory) = resident_memory_mib() {
        metrics.insert("memory_mib".into(), memory);
    }
}
