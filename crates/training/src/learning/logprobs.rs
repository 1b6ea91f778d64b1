//! Log-probabilities under a model without gradients, micro-batch by micro-batch.

use super::arrangement::micro_batches;
use super::batch::{MicroBatch, TrainingSequence, response_logprobs};
use burn::tensor::FloatDType;
use burn::tensor::backend::Backend;
use paretopo_agent::Workers;
use paretopo_models::{CausalLm, Placement, to_host};

/// How sequences are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scoring {
    /// Tokens of a micro-batch, at most.
    pub(crate) tokens: usize,
    /// The number type of activations.
    pub(crate) precision: FloatDType,
    /// Whether by the sequences' experts, else by those of the model's router.
    pub(crate) replay: bool,
}

/// Log-probabilities of the trained tokens of each sequence.
///
/// # Shapes
/// - output: as the sequences' `old_logprobs`
pub(crate) fn logprobs_of<B: Backend, M: CausalLm<B>>(
    model: &M,
    sequences: &[TrainingSequence],
    scoring: Scoring,
    workers: &Workers,
    place: &Placement<B>,
) -> Vec<Vec<f32>> {
    let groups = micro_batches(sequences, scoring.tokens);
    in_order(
        sequences.len(),
        logprobs_of_groups(model, sequences, groups, scoring, (workers, place)),
    )
}

/// Rows by the numbers of their sequences, each once.
pub(crate) fn in_order(count: usize, rows: Vec<(usize, Vec<f32>)>) -> Vec<Vec<f32>> {
    let mut found = vec![Vec::new(); count];
    rows.into_iter().for_each(|(index, row)| found[index] = row);
    found
}

/// The same of some micro-batches, given by the numbers of their sequences; each row with its
/// sequence's number, in any order.
pub(crate) fn logprobs_of_groups<B: Backend, M: CausalLm<B>>(
    model: &M,
    sequences: &[TrainingSequence],
    groups: Vec<Vec<usize>>,
    scoring: Scoring,
    (workers, place): (&Workers, &Placement<B>),
) -> Vec<(usize, Vec<f32>)> {
    let mut found = Vec::with_capacity(sequences.len());
    let score = |(): &mut (), group: Vec<usize>, tell: &mut dyn FnMut((usize, Vec<f32>))| {
        let rows: Vec<&TrainingSequence> = group.iter().map(|index| &sequences[*index]).collect();
        let batch = MicroBatch::<B>::new(&rows, &place.device).in_precision(scoring.precision);
        let batch = if scoring.replay { batch } else { batch.routed_anew() };
        let (logprobs, _) = response_logprobs(model, &batch, false);
        let longest = logprobs.dims()[1];
        for (index, row) in group.into_iter().zip(to_host(logprobs).chunks(longest)) {
            tell((index, row[..sequences[index].old_logprobs.len()].to_vec()));
        }
    };
    workers.run(vec![(); workers.count()], groups, score, &mut |row| found.push(row));
    found
}
