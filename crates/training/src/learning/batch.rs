//! From sequences to tensors, and the log-probabilities of sampled tokens under the policy.
//!
//! Only hidden states in front of a trained token reach the vocabulary projection, so neither
//! prompts nor tool output nor padding cost logits. Prompts that sequences have in common are read
//! once ([`super::passes`]).

use super::arrangement::Arrangement;
use super::passes::Passes;
use crate::seeds::{Purpose, derive_seed};
use burn::tensor::activation::log_softmax;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{FloatDType, Int, Tensor, TensorData};
use paretopo_models::{CausalLm, from_host};
use paretopo_trajectory::ExpertRecord;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A sequence to learn from. All lists but `ids` and `mask` have one entry per id that `mask`
/// marks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingSequence {
    /// What the model read and wrote.
    pub ids: Vec<u32>,
    /// Which of it is trained on; never the first id.
    pub mask: Vec<bool>,
    /// Log-probabilities that the ratio is taken against.
    pub old_logprobs: Vec<f32>,
    /// Weight of each token's loss.
    pub weights: Vec<f32>,
    /// The sequence's advantage.
    pub advantage: f32,
    /// Where its turns differ, the advantage of each token in place of that; empty where they do
    /// not.
    pub token_advantages: Vec<f32>,
    /// Which experts read the ids when they were sampled, and are to read them again; those of the
    /// router where this does not say.
    pub experts: Arc<ExpertRecord>,
}

impl TrainingSequence {
    /// All ids but the first, each with the same weight, so that `-sum(weight * logprob)` is the
    /// mean cross-entropy; no advantage.
    pub fn whole(ids: Vec<u32>) -> Self {
        let trained = ids.len() - 1;
        Self {
            mask: (0..ids.len()).map(|place| place > 0).collect(),
            old_logprobs: vec![0.0; trained],
            weights: vec![1.0 / trained as f32; trained],
            advantage: 0.0,
            token_advantages: Vec::new(),
            experts: Arc::default(),
            ids,
        }
    }

    /// Whether no token of it has an advantage.
    pub(crate) fn is_silent(&self) -> bool {
        match self.token_advantages.as_slice() {
            [] => self.advantage == 0.0,
            tokens => tokens.iter().all(|advantage| *advantage == 0.0),
        }
    }
}

/// Sequences that are learned from together.
///
/// # Shapes
/// - `old_logprobs`, `weights`: `[batch, longest]`, padded with weight 0
/// - `advantages`: `[batch, 1]`, or `[batch, longest]` where turns of a sequence differ
#[derive(Debug)]
pub struct MicroBatch<B: Backend> {
    pub(crate) passes: Passes<B>,
    /// The rows, among the hidden states of all passes, in front of the targets.
    positions: Tensor<B, 1, Int>,
    pub(crate) targets: Tensor<B, 1, Int>,
    /// For each place of `[batch, longest]` its target's; any at padding.
    places: Tensor<B, 1, Int>,
    /// See [`TrainingSequence::old_logprobs`].
    pub old_logprobs: Tensor<B, 2>,
    /// See [`TrainingSequence::weights`].
    pub weights: Tensor<B, 2>,
    /// See [`TrainingSequence::advantage`].
    pub advantages: Tensor<B, 2>,
    shape: [usize; 2],
}

impl<B: Backend> MicroBatch<B> {
    /// The same, computed in another number type.
    pub fn in_precision(mut self, precision: impl Into<FloatDType>) -> Self {
        self.passes.set_precision(precision.into());
        self
    }

    /// The same, with adapters that drop what `seed` decides. What is dropped of a prompt that
    /// sequences share is drawn once for all of them.
    pub fn with_dropout(mut self, seed: u64) -> Self {
        self.passes.set_dropout(|pass| match pass {
            0 => seed,
            _ => derive_seed(seed, pass, Purpose::MicroBatch),
        });
        self
    }

    /// Pads and uploads the sequences. A prompt that several begin with is read once, if that is
    /// less work.
    pub fn new(sequences: &[&TrainingSequence], device: &B::Device) -> Self {
        Self::arranged(sequences, &Arrangement::of(sequences), device)
    }

    /// Read as `arrangement` says.
    pub(crate) fn arranged(
        sequences: &[&TrainingSequence],
        arrangement: &Arrangement,
        device: &B::Device,
    ) -> Self {
        let (passes, rows) = Passes::new(sequences, arrangement, device);
        let trained: Vec<Vec<usize>> = sequences
            .iter()
            .map(|sequence| {
                (1..sequence.ids.len()).filter(|position| sequence.mask[*position]).collect()
            })
            .collect();
        let longest = trained.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let shape = [sequences.len(), longest];
        let (mut positions, mut targets, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let (mut old_logprobs, mut weights) = (Vec::new(), Vec::new());
        for (row, (sequence, trained)) in sequences.iter().zip(&trained).enumerate() {
            places.extend((0..trained.len()).map(|place| (positions.len() + place) as i32));
            places.resize((row + 1) * longest, 0);
            positions.extend(trained.iter().map(|position| rows.of(row, position - 1) as i32));
            targets.extend(trained.iter().map(|position| sequence.ids[*position] as i32));
            let pad = |values: &[f32], into: &mut Vec<f32>| {
                into.extend_from_slice(values);
                into.resize(into.len() + longest - values.len(), 0.0);
            };
            pad(&sequence.old_logprobs, &mut old_logprobs);
            pad(&sequence.weights, &mut weights);
        }
        if positions.is_empty() {
            // something to compute where nothing is trained on
            positions.push(0);
            targets.push(0);
        }
        let (advantages, columns) = advantages(sequences, longest);
        Self {
            passes,
            positions: indices(positions, device),
            targets: indices(targets, device),
            places: indices(places, device),
            old_logprobs: from_host(old_logprobs, shape, device),
            weights: from_host(weights, shape, device),
            advantages: from_host(advantages, [shape[0], columns], device),
            shape,
        }
    }

    /// The same, with the experts that the router chooses, whatever the sequences say.
    pub(crate) fn routed_anew(mut self) -> Self {
        self.passes.set_router();
        self
    }

    /// Of how many tokens and layers the experts were given, and in how many of these the router
    /// would have chosen others, so far.
    pub(crate) fn expert_differences(&self) -> (u64, u64) {
        self.passes.expert_differences()
    }

    /// How many of [`Self::tokens`] are padding.
    pub fn padding(&self) -> usize {
        self.passes.padding()
    }

    /// Tokens that a layer reads, padding included.
    pub fn tokens(&self) -> usize {
        self.passes.tokens()
    }

    /// What of the last layer's output is in front of a target, normalised.
    ///
    /// # Shapes
    /// - `x`: `[tokens, hidden_size]` for each pass; output: `[targets, hidden_size]`
    pub(crate) fn pick(&self, model: &impl CausalLm<B>, x: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        model.final_norm(Tensor::cat(x, 0).select(0, self.positions.clone()))
    }

    /// One row for each sequence.
    ///
    /// # Shapes
    /// - `values`: `[targets]`; output: `[batch, longest]`
    pub(crate) fn in_rows(&self, values: Tensor<B, 1>) -> Tensor<B, 2> {
        values.select(0, self.places.clone()).reshape(self.shape)
    }
}

impl<B: AutodiffBackend> MicroBatch<B> {
    /// [`Self::pick`] for a model without autodiff.
    pub(crate) fn pick_inner(
        &self,
        model: &impl CausalLm<B::InnerBackend>,
        x: Vec<Tensor<B::InnerBackend, 2>>,
    ) -> Tensor<B::InnerBackend, 2> {
        model.final_norm(Tensor::cat(x, 0).select(0, self.positions.clone().inner()))
    }
}

/// One advantage for each sequence, or for each of its tokens if turns of any differ; and how many.
fn advantages(sequences: &[&TrainingSequence], longest: usize) -> (Vec<f32>, usize) {
    if sequences.iter().all(|sequence| sequence.token_advantages.is_empty()) {
        return (sequences.iter().map(|sequence| sequence.advantage).collect(), 1);
    }
    let mut values = Vec::with_capacity(sequences.len() * longest);
    for (row, sequence) in sequences.iter().enumerate() {
        values.extend_from_slice(&sequence.token_advantages);
        // padding has no weight
        values.resize((row + 1) * longest, sequence.advantage);
    }
    (values, longest)
}

fn indices<B: Backend>(values: Vec<i32>, device: &B::Device) -> Tensor<B, 1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// Log-probabilities of the trained tokens and, if asked for, the entropy of the distribution each
/// was drawn from.
///
/// # Shapes
/// - outputs: `[batch, longest]` as in [`MicroBatch`]; padding holds numbers without meaning
pub fn response_logprobs<B: Backend, M: CausalLm<B>>(
    model: &M,
    batch: &MicroBatch<B>,
    entropy: bool,
) -> (Tensor<B, 2>, Option<Tensor<B, 2>>) {
    let (logprobs, entropy) =
        target_logprobs(model, picked_hidden(model, batch), batch.targets.clone(), entropy);
    (batch.in_rows(logprobs), entropy.map(|entropy| batch.in_rows(entropy)))
}

/// The hidden states in front of the trained tokens.
///
/// # Shapes
/// - output: `[targets, hidden_size]`
pub(crate) fn picked_hidden<B: Backend, M: CausalLm<B>>(
    model: &M,
    batch: &MicroBatch<B>,
) -> Tensor<B, 2> {
    let mut layers = batch.passes.layers(model);
    let embedded = batch.passes.embed(model);
    let x = (0..model.depth()).fold(embedded, |x, index| layers.forward(model, index, x));
    batch.pick(model, x)
}

/// The log-probability of each target behind a hidden state and, if asked for, the entropy of the
/// distribution.
///
/// # Shapes
/// - `hidden`: `[rows, hidden_size]`; `targets`, outputs: `[rows]`
pub(crate) fn target_logprobs<B: Backend, M: CausalLm<B>>(
    model: &M,
    hidden: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    entropy: bool,
) -> (Tensor<B, 1>, Option<Tensor<B, 1>>) {
    let logits = model.unembed(hidden.unsqueeze()).squeeze_dim::<2>(0);
    if let Some(fused) = model.kernels().suiting(&logits).filter(|_| !entropy) {
        return (fused.target_logprobs(logits, targets), None);
    }
    let logprobs = log_softmax(logits, 1);
    let entropy = entropy
        .then(|| (logprobs.clone().exp() * logprobs.clone()).sum_dim(1).neg().squeeze_dim(1));
    (logprobs.gather(1, targets.unsqueeze_dim(1)).squeeze_dim(1), entropy)
}
