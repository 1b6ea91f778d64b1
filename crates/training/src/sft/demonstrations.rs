//! Demonstrations as sequences to learn from.

use crate::{Observer, Policy, RunConfig, TrainingError, TrainingSequence};
use burn::tensor::backend::AutodiffBackend;
use paretopo_agent::{LongPrompts, PolicyText};
use paretopo_algorithms::losses::{Aggregation, token_weights};
use paretopo_chat::{ChatError, ToolSyntax};
use paretopo_environments::{Demonstration, ToolEnvironment};
use paretopo_models::{ModelConfig, ModelFamily};
use paretopo_trajectory::{Author, Task};
use std::path::Path;

/// Demonstrations that are measured before the run. They are drawn without end, so not all can be:
/// one of these that fits takes the place of every one that does not, also of a later one, and
/// those are counted.
const MEASURED: u64 = 1024;

/// The `index`-th demonstration that the run draws, as ids.
pub(super) fn sequence_of<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    run: &Path,
    policy: &Policy<F, B>,
    environment: &ToolEnvironment,
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
pub(super) fn measure<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    run: &Path,
    policy: &Policy<F, B>,
    environment: &ToolEnvironment,
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

/// A demonstration as ids, of which those that the policy is to write are trained on.
fn to_sequence(
    id: String,
    demonstration: &Demonstration,
    text: &PolicyText,
    environment: &ToolEnvironment,
    syntax: &ToolSyntax,
) -> Result<TrainingSequence, ChatError> {
    let task = Task { id, question: demonstration.question.clone(), ..Task::default() };
    let opening = text.opening(environment, &task, syntax)?;
    let mut sequence = TrainingSequence {
        mask: vec![false; opening.len()],
        ids: opening,
        ..TrainingSequence::default()
    };
    for (author, ids) in text.demonstrated(environment, &demonstration.turns, syntax)? {
        sequence.mask.resize(sequence.mask.len() + ids.len(), author == Author::Model);
        sequence.ids.extend(ids);
    }
    Ok(sequence)
}

/// Every trained token counts the same.
pub(super) fn weigh(sequences: &mut [TrainingSequence]) {
    let masks: Vec<&[bool]> = sequences.iter().map(|sequence| sequence.mask.as_slice()).collect();
    let weights = token_weights(Aggregation::TokenMean {}, &masks);
    for (sequence, weights) in sequences.iter_mut().zip(weights) {
        sequence.weights = weights.into_iter().filter(|weight| *weight > 0.0).collect();
        sequence.old_logprobs = vec![0.0; sequence.weights.len()];
    }
}
