//! From sequences to tensors, and the log-probabilities of sampled tokens under the policy.
//!
//! Only hidden states in front of a trained token reach the vocabulary projection, so neither
//! prompts nor tool output cost logits.

use burn::tensor::activation::log_softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Int, Tensor, TensorData};
use paretopo_models::{CausalLm, ForwardInput, from_host};

/// A sequence to learn from. All lists but `ids` and `mask` have one entry per id that `mask`
/// marks.
#[derive(Clone, Debug, Default, PartialEq)]
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
            ids,
        }
    }
}

/// Sequences that share a forward pass.
///
/// # Shapes
/// - `old_logprobs`, `weights`: `[batch, longest]`, padded with weight 0
/// - `advantages`: `[batch, 1]`
#[derive(Debug)]
pub struct MicroBatch<B: Backend> {
    pub(crate) input: ForwardInput<B>,
    /// Rows of the flattened hidden states in front of each target, `[batch * longest]`.
    pub(crate) positions: Tensor<B, 1, Int>,
    pub(crate) targets: Tensor<B, 1, Int>,
    /// See [`TrainingSequence::old_logprobs`].
    pub old_logprobs: Tensor<B, 2>,
    /// See [`TrainingSequence::weights`].
    pub weights: Tensor<B, 2>,
    /// See [`TrainingSequence::advantage`].
    pub advantages: Tensor<B, 2>,
    pub(crate) shape: [usize; 2],
}

/// Groups sequences of similar length so that each group, padded, holds at most `tokens` ids (or a
/// single longer sequence).
pub(crate) fn micro_batches(sequences: &[TrainingSequence], tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(sequences[*index].ids.len()));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for index in order {
        match groups.last_mut() {
            Some(group) if (group.len() + 1) * longest <= tokens => group.push(index),
            _ => {
                longest = sequences[index].ids.len().max(1);
                groups.push(vec![index]);
            }
        }
    }
    groups
}

impl<B: Backend> MicroBatch<B> {
    /// The same, computed in another number type.
    pub fn in_precision(mut self, precision: impl Into<FloatDType>) -> Self {
        self.input.precision = Some(precision.into());
        self
    }

    /// The same, with adapters that drop what `seed` decides.
    pub fn with_dropout(mut self, seed: u64) -> Self {
        self.input.dropout = Some(seed);
        self
    }

    /// Pads and uploads the sequences.
    pub fn new(sequences: &[&TrainingSequence], device: &B::Device) -> Self {
        // the last trained id is only predicted, never read
        let read: Vec<&[u32]> = sequences
            .iter()
            .map(|sequence| {
                let last = sequence.mask.iter().rposition(|trained| *trained).unwrap_or(0);
                &sequence.ids[..last.max(1)]
            })
            .collect();
        let time = read.iter().map(|row| row.len()).max().unwrap_or(0);
        let trained: Vec<Vec<usize>> = sequences
            .iter()
            .map(|sequence| {
                (1..sequence.ids.len()).filter(|position| sequence.mask[*position]).collect()
            })
            .collect();
        let longest = trained.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let shape = [sequences.len(), longest];
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        let (mut old_logprobs, mut weights) = (Vec::new(), Vec::new());
        for (row, (sequence, trained)) in sequences.iter().zip(&trained).enumerate() {
            let padding = longest - trained.len();
            positions.extend(trained.iter().map(|position| (row * time + position - 1) as i32));
            positions.resize(positions.len() + padding, (row * time) as i32);
            targets.extend(trained.iter().map(|position| sequence.ids[*position] as i32));
            targets.resize(targets.len() + padding, 0);
            let pad = |values: &[f32], into: &mut Vec<f32>| {
                into.extend_from_slice(values);
                into.resize(into.len() + longest - values.len(), 0.0);
            };
            pad(&sequence.old_logprobs, &mut old_logprobs);
            pad(&sequence.weights, &mut weights);
        }
        let advantages = sequences.iter().map(|sequence| sequence.advantage).collect();
        Self {
            input: ForwardInput::right_padded(&read, device),
            positions: Tensor::from_data(TensorData::new(positions, [shape[0] * shape[1]]), device),
            targets: Tensor::from_data(TensorData::new(targets, [shape[0] * shape[1]]), device),
            old_logprobs: from_host(old_logprobs, shape, device),
            weights: from_host(weights, shape, device),
            advantages: from_host(advantages, [shape[0], 1], device),
            shape,
        }
    }
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
    (logprobs.reshape(batch.shape), entropy.map(|entropy| entropy.reshape(batch.shape)))
}

/// The hidden states in front of the trained tokens.
///
/// # Shapes
/// - output: `[rows, hidden_size]`
pub(crate) fn picked_hidden<B: Backend, M: CausalLm<B>>(
    model: &M,
    batch: &MicroBatch<B>,
) -> Tensor<B, 2> {
    let hidden = model.hidden(&batch.input, None);
    let [sequences, time, size] = hidden.dims();
    hidden.reshape([sequences * time, size]).select(0, batch.positions.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_batches_hold_each_sequence_once_within_the_budget() {
        let sequences: Vec<TrainingSequence> = [5usize, 9, 2, 7, 7, 30]
            .iter()
            .map(|length| TrainingSequence { ids: vec![0; *length], ..TrainingSequence::default() })
            .collect();
        let groups = micro_batches(&sequences, 20);
        // 30 alone although it is too long; 9 and 7 padded to 18; 7 and 5 padded to 14; adding 2
        // would make 21
        assert_eq!(groups, [vec![5], vec![1, 3], vec![4, 0], vec![2]]);
    }
}
