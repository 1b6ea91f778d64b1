//! The warm-start recipe: next-token cross-entropy on demonstrations, on the tokens that the agent
//! writes.

use crate::batch::micro_batches;
use crate::checkpoint;
use crate::conclusion::Conclusion;
use crate::evaluate::{require_tasks, sampling_of};
use crate::fitting::{fitting, played_splits};
use crate::run_folder::write_atomically;
use crate::seeds::{Purpose, derive_seed};
use crate::{
    AdamW, GradientSum, MicroBatch, Observer, Policy, RunConfig, RunFolder, Surroundings,
    TrainingError, TrainingSequence, accumulate_gradient, total_gradient,
};
use burn::tensor::backend::AutodiffBackend;
use paretopo_agent::{LongPrompts, PolicyText};
use paretopo_algorithms::losses::{Aggregation, token_weights};
use paretopo_chat::{ChatError, ToolSyntax};
use paretopo_environments::{Demonstration, DemonstrationTurn, Environment};
use paretopo_models::{ModelConfig, ModelFamily, Placement, to_host};
use paretopo_trajectory::Task;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Demonstrations that are measured before the run. They are drawn without end, so not all can be:
/// one of these that fits takes the place of every one that does not, also of a later one, and
/// those are counted.
const MEASURED: u64 = 1024;

/// Trains a policy on the environment's demonstrations and writes it to `run/policy`.
///
/// # Errors
/// When something cannot be read or written, the environment has no demonstrations or they do not
/// fit into the model's context, or the loss or a weight is no number.
pub fn sft<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    run: &Path,
    place: &Placement<B>,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    let device = &place.device;
    let mut folder = RunFolder::open(run, config, "sft", surroundings)?;
    for note in folder.take_notes() {
        observer.note(&note);
    }
    let environment = surroundings.environment(config, observer)?;
    require_tasks(environment.as_ref(), config.evaluation.split)?;
    let mut policy = Policy::<F, B>::load(config, &surroundings.policy_folder, place)?;
    // better now than after hours of training
    sampling_of(&config.evaluation, &policy.text)?;
    let reader = policy.reader(surroundings.cancelled);
    let splits = played_splits(config, false);
    let environment = fitting(&reader, &config.rollout, environment, &splits, observer)?;
    let settings = &config.sft;
    let fitting = measure(config, run, &policy, environment.as_ref(), observer)?;
    let workers = surroundings.workers(config, &policy.model)?;
    let mut optimizer = AdamW::new(settings.optimizer, settings.steps);
    let mut state =
        checkpoint::restore(run, &mut policy, &mut optimizer, device, &mut |message| {
            observer.note(message)
        })?
        .unwrap_or_default();
    state.require_of_sft(run, config)?;
    folder.rewind(state.step, &mut |message| observer.note(message))?;
    while state.step < settings.steps {
        if surroundings.cancelled.load(Ordering::Relaxed) {
            return Err(TrainingError::Interrupted);
        }
        let started = Instant::now();
        let first = state.step * settings.batch_size as u64;
        let (mut sequences, mut long) = (Vec::with_capacity(settings.batch_size), 0usize);
        for index in first..first + settings.batch_size as u64 {
            let sequence = sequence_of(config, run, &policy, environment.as_ref(), index)?;
            if sequence.ids.len() <= policy.config.context() {
                sequences.push(sequence);
            } else {
                sequences.push(fitting[index as usize % fitting.len()].clone());
                long += 1;
            }
        }
        weigh(&mut sequences);
        let tokens: usize = sequences.iter().map(|sequence| sequence.ids.len()).sum();
        let groups = micro_batches(&sequences, settings.micro_batch_tokens)
            .into_iter()
            .enumerate()
            .collect();
        let work =
            |model: &F::Model<B>, (index, group): (usize, Vec<usize>), sum: &mut GradientSum<B>| {
                let rows: Vec<&TrainingSequence> =
                    group.iter().map(|index| &sequences[*index]).collect();
                let dropout = derive_seed(config.seed, state.step, Purpose::Dropout(index as u64));
                let batch = MicroBatch::<B>::new(&rows, device)
                    .in_precision(config.precision)
                    .with_dropout(dropout);
                let weights = batch.weights.clone();
                let (started, mut loss, mut forward) = (Instant::now(), 0.0, 0.0);
                accumulate_gradient::<F, B, Infallible>(
                    model,
                    &batch,
                    settings.memory,
                    false,
                    sum,
                    |logprobs, _| {
                        let part = (logprobs * weights).sum().neg();
                        loss = f64::from(to_host(part.clone().inner())[0]);
                        forward = started.elapsed().as_secs_f64();
                        Ok(part)
                    },
                )?;
                Ok::<_, Infallible>([loss, forward, started.elapsed().as_secs_f64() - forward])
            };
        let (gradient, parts) = total_gradient(&workers, &policy.model, groups, work)
            .unwrap_or_else(|never| match never {});
        let (loss, norm) = (parts.iter().map(|part| part[0]).sum::<f64>(), gradient.norm());
        if !loss.is_finite() || !norm.is_finite() {
            let batch = run.join(format!("failed-step-{:06}.json", state.step));
            let ids: Vec<&Vec<u32>> = sequences.iter().map(|sequence| &sequence.ids).collect();
            write_atomically(&batch, &serde_json::to_vec(&ids).expect("plain data serialises"))?;
            return Err(TrainingError::Numbers {
                step: state.step,
                reason: gradient.in_words(&policy.model, loss, norm),
                batch,
            });
        }
        let learning_rate = optimizer.learning_rate();
        let updating = Instant::now();
        policy.model = optimizer.update(policy.model, gradient, norm);
        if let Some(found) = optimizer.find_not_finite(&policy.model) {
            let reason = format!("after update {}, {found}", optimizer.updates());
            return Err(TrainingError::Policy { step: Some(state.step), reason });
        }
        let metrics = [
            ("loss", loss),
            ("gradient_norm", norm),
            ("learning_rate", learning_rate),
            (
                "phase/forward_seconds",
                parts.iter().map(|part| part[1]).sum::<f64>() / workers.count() as f64,
            ),
            (
                "phase/backward_seconds",
                parts.iter().map(|part| part[2]).sum::<f64>() / workers.count() as f64,
            ),
            ("phase/optimizer_seconds", updating.elapsed().as_secs_f64()),
            ("tokens_per_second", tokens as f64 / started.elapsed().as_secs_f64()),
            ("long_demonstrations", long as f64),
        ];
        let metrics = metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        folder.log(state.step, &metrics)?;
        state.step += 1;
        state.updates = optimizer.updates();
        observer.step(state.step, settings.steps, &metrics);
        if state.step.is_multiple_of(settings.checkpoint_every) || state.step == settings.steps {
            checkpoint::save(run, &policy, &optimizer, &state, config.train.keep.latest)?;
        }
    }
    Conclusion { config, folder: &folder, environment: environment.as_ref(), device, surroundings }
        .write(policy, state.updates, observer)
        .map_err(|error| error.at_step(state.step))
}

/// The `index`-th demonstration that the run draws, as ids.
fn sequence_of<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    run: &Path,
    policy: &Policy<F, B>,
    environment: &dyn Environment,
    index: u64,
) -> Result<TrainingSequence, TrainingError> {
    let demonstration = environment
        .demonstration(config.seed.wrapping_mul(1 << 32).wrapping_add(index))
        .ok_or_else(|| TrainingError::Invalid {
            path: run.join("config.toml"),
            reason: "this environment has no demonstrations to learn from".into(),
        })?;
    let id = format!("demonstration-{index}");
    Ok(to_sequence(id, &demonstration, &policy.text, environment, &config.rollout.syntax)?)
}

/// Those of the first [`MEASURED`] demonstrations that fit into the context; at least one.
///
/// # Errors
/// When one is longer than the context and that is to stop the run, or all are; says how many, the
/// longest, and which are the first.
fn measure<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    run: &Path,
    policy: &Policy<F, B>,
    environment: &dyn Environment,
    observer: &mut dyn Observer,
) -> Result<Vec<TrainingSequence>, TrainingError> {
    let context = policy.config.context();
    let measured = MEASURED.min(config.sft.steps.saturating_mul(config.sft.batch_size as u64));
    let (mut fitting, mut long) = (Vec::new(), Vec::new());
    for index in 0..measured {
        let sequence = sequence_of(config, run, policy, environment, index)?;
        if sequence.ids.len() <= context {
            fitting.push(sequence);
        } else {
            long.push((index, sequence.ids.len()));
        }
    }
    let Some(longest) = long.iter().map(|(_, tokens)| tokens).max() else { return Ok(fitting) };
    let first: Vec<String> = long.iter().take(5).map(|(index, _)| index.to_string()).collect();
    let said = format!(
        "{} of the first {measured} demonstrations are longer than the model's context of {context} tokens (`max_position_embeddings`); the longest has {longest}; the first are {}",
        long.len(),
        first.join(", ")
    );
    if config.rollout.long_prompts == LongPrompts::Stop {
        return Err(TrainingError::LongPrompts(format!(
            "{said}\nhint: take a policy with a longer context, or leave them out with `rollout.long_prompts=skip`"
        )));
    }
    if fitting.is_empty() {
        return Err(TrainingError::LongPrompts(format!(
            "{said}; none is left\nhint: take a policy with a longer context"
        )));
    }
    observer.note(&format!("left out: {said}; `long_demonstrations` counts them step by step"));
    Ok(fitting)
}

/// Turns a demonstration into ids piece by piece, as the turn loop would have: the agent's text,
/// then the tool's between its markers.
fn to_sequence(
    id: String,
    demonstration: &Demonstration,
    text: &PolicyText,
    environment: &dyn Environment,
    syntax: &ToolSyntax,
) -> Result<TrainingSequence, ChatError> {
    let task = Task { id, question: demonstration.question.clone(), ..Task::default() };
    let opening = text.opening(environment, &task, matches!(syntax, ToolSyntax::Hermes {}))?;
    let mut sequence = TrainingSequence {
        mask: vec![false; opening.len()],
        ids: opening,
        ..TrainingSequence::default()
    };
    let mut push = |ids: Vec<u32>, trained: bool| {
        sequence.mask.resize(sequence.mask.len() + ids.len(), trained);
        sequence.ids.extend(ids);
    };
    let (before, after) = syntax.output_markers();
    for turn in &demonstration.turns {
        match turn {
            DemonstrationTurn::Call(call) => {
                let wrong = || {
                    ChatError::Template(format!(
                        "the configured syntax cannot express a call of `{}`",
                        call.name
                    ))
                };
                let written = syntax.render_call(call).ok_or_else(wrong)?;
                push(text.tokenizer.encode_plain(&written)?, true);
            }
            DemonstrationTurn::Output(output) => {
                for piece in [before, output, after] {
                    push(text.tokenizer.encode_plain(piece)?, false);
                }
            }
            DemonstrationTurn::Answer(answer) => {
                push(text.tokenizer.encode_plain(answer)?, true);
                push(text.end_ids[..1].to_vec(), true);
            }
        }
    }
    Ok(sequence)
}

/// Every trained token counts the same.
fn weigh(sequences: &mut [TrainingSequence]) {
    let masks: Vec<&[bool]> = sequences.iter().map(|sequence| sequence.mask.as_slice()).collect();
    let weights = token_weights(Aggregation::TokenMean {}, &masks);
    for (sequence, weights) in sequences.iter_mut().zip(weights) {
        sequence.weights = weights.into_iter().filter(|weight| *weight > 0.0).collect();
        sequence.old_logprobs = vec![0.0; sequence.weights.len()];
    }
}
