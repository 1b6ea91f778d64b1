//! Log-probabilities under a model without gradients, micro-batch by micro-batch.

use super::arrangement::micro_batches;
use super::batch::{MicroBatch, TrainingSequence, response_logprobs};
use burn::tensor::FloatDType;
use burn::tensor::backend::Backend;
use paretopo_agent::Workers;
use paretopo_models::{CausalLm, Placement, to_host};

/// Log-probabilities of the trained tokens of each sequence, of which at most `tokens` are in a
/// micro-batch.
///
/// # Shapes
/// - output: as the sequences' `old_logprobs`
pub(crate) fn logprobs_of<B: Backend, M: CausalLm<B>>(
    model: &M,
    sequences: &[TrainingSequence],
    tokens: usize,
    precision: impl Into<FloatDType>,
    workers: &Workers,
    place: &Placement<B>,
) -> Vec<Vec<f32>> {
    let precision = precision.into();
    let mut found = vec![Vec::new(); sequences.len()];
    let score = |(): &mut (), group: Vec<usize>, tell: &mut dyn FnMut((usize, Vec<f32>))| {
        let rows: Vec<&TrainingSequence> = group.iter().map(|index| &sequences[*index]).collect();
        let batch = MicroBatch::<B>::new(&rows, &place.device).in_precision(precision);
        let (logprobs, _) = response_logprobs(model, &batch, false);
        let longest = logprobs.dims()[1];
        for (index, row) in group.into_iter().zip(to_host(logprobs).chunks(longest)) {
            tell((index, row[..sequences[index].old_logprobs.len()].to_vec()));
        }
    };
    let groups = micro_batches(sequences, tokens);
    workers.run(vec![(); workers.count()], groups, score, &mut |(index, row)| found[index] = row);
    found
}
