//! Log-probabilities of given sequences.

use crate::TrainingError;
use burn::tensor::backend::Backend;
use paretopo_chat::Tokenizer;
use paretopo_generation::log_softmax;
use paretopo_models::{
    CausalLm, ForwardInput, ModelConfig, ModelFamily, Placement, first_not_finite, first_overflow,
    load_folder, to_host,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How many of the likeliest next tokens are told.
const TOP: usize = 10;

/// A text or a list of ids to score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ScoreRequest {
    /// Token ids.
    Ids {
        /// At least one.
        ids: Vec<u32>,
    },
    /// Text, encoded with the tokenizer's special tokens.
    Text {
        /// At least one token.
        text: String,
    },
}

/// The scores of a sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Log-probability of each token but the first, given those before it.
    pub logprobs: Vec<f32>,
    /// The ten likeliest next tokens, as id and logit.
    pub top: Vec<(u32, f32)>,
}

/// Scores each sequence under the checkpoint in `folder`.
///
/// # Errors
/// When the checkpoint cannot be read, a request does not fit it, or the policy computes no numbers.
pub(crate) fn score<F: ModelFamily, B: Backend>(
    folder: &Path,
    requests: &[ScoreRequest],
    place: &Placement<B>,
) -> Result<Vec<Scores>, TrainingError> {
    let (config, model) = load_folder::<F, B>(folder, place)?;
    let needs_text = requests.iter().any(|request| matches!(request, ScoreRequest::Text { .. }));
    let tokenizer =
        needs_text.then(|| Tokenizer::from_file(&folder.join("tokenizer.json"))).transpose()?;
    let mut scores = Vec::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        let name = format!("request {}", index + 1);
        let ids = match (request, &tokenizer) {
            (ScoreRequest::Ids { ids }, _) => ids.clone(),
            (ScoreRequest::Text { text }, Some(tokenizer)) => {
                tokenizer.encode_with_special(text)?
            }
            (ScoreRequest::Text { .. }, None) => unreachable!("a tokenizer was loaded for text"),
        };
        require_fitting(&ids, &config)
            .map_err(|reason| TrainingError::Invalid { path: name.clone().into(), reason })?;
        scores.push(scores_of(&model, &ids, &place.device).map_err(|reason| {
            TrainingError::Policy { step: None, reason: format!("{name}: {reason}") }
        })?);
    }
    Ok(scores)
}

/// # Errors
/// Says why the model cannot read the ids.
fn require_fitting(ids: &[u32], config: &impl ModelConfig) -> Result<(), String> {
    if ids.is_empty() {
        return Err("there is no token to score".into());
    }
    let (vocab_size, context) = (config.vocab_size(), config.context());
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) {
        return Err(format!("the id {id} is outside the vocabulary of {vocab_size}"));
    }
    if ids.len() > context {
        return Err(format!("{} tokens exceed the model's context of {context}", ids.len()));
    }
    Ok(())
}

/// # Errors
/// When logits are no numbers, or overflow made all of them equal.
pub(crate) fn scores_of<B: Backend, M: CausalLm<B>>(
    model: &M,
    ids: &[u32],
    device: &B::Device,
) -> Result<Scores, String> {
    let hidden = model.hidden(&ForwardInput::right_padded(&[ids], device), None);
    let logits = model.unembed(hidden);
    let vocab_size = logits.dims()[2];
    let logits = to_host(logits);
    if let Some(reason) = overflow(model, ids, &logits, device) {
        return Err(reason);
    }
    let rows: Vec<&[f32]> = logits.chunks(vocab_size).collect();
    let logprobs =
        ids[1..].iter().zip(&rows).map(|(id, row)| log_softmax(row)[*id as usize]).collect();
    let last = rows[ids.len() - 1];
    let mut order: Vec<u32> = (0..vocab_size as u32).collect();
    order.sort_by(|a, b| last[*b as usize].total_cmp(&last[*a as usize]));
    order.truncate(TOP);
    Ok(Scores { logprobs, top: order.into_iter().map(|id| (id, last[id as usize])).collect() })
}

/// What is wrong with the logits of `ids`: not finite, or all equal since activations overflow.
fn overflow<B: Backend, M: CausalLm<B>>(
    model: &M,
    ids: &[u32],
    logits: &[f32],
    device: &B::Device,
) -> Option<String> {
    let value = match first_not_finite(logits) {
        Some(value) => value,
        None if logits.iter().all(|logit| *logit == logits[0]) => logits[0],
        None => return None,
    };
    let place = first_overflow(model, ids, device);
    let place = place.or_else(|| (!value.is_finite()).then(|| "lm_head".into()))?;
    Some(format!("a logit is {value}; the first output that overflows is that of `{place}`"))
}
