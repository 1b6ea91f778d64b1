//! Rollouts of one prompt read it once in training. Log-probabilities and gradients are those of
//! each rollout by itself, which is read whole.

use crate::{Tracked, assert_close, both, cases, checkout, load};
use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use paretopo_models::{
    AdapterConfig, AutoFamily, AutoModel, CausalLm, Placement, attach_adapter, freeze, from_host,
    to_host,
};
use paretopo_training::{
    GradientSum, MemoryConfig, MicroBatch, TrainingSequence, accumulate_gradient, response_logprobs,
};
use proptest::prelude::*;
use std::convert::Infallible;

const PLAIN: MemoryConfig = MemoryConfig { gradient_checkpointing: false, logits_chunk: 0 };

/// Ids below 48 that look random.
pub(crate) fn ids(seed: u32, count: usize) -> Vec<u32> {
    (0..count as u32).map(|place| (seed * 31 + place * 17 + place * place * 5) % 48).collect()
}

/// A rollout of `sampled` ids behind a prompt, of which every fifth is a tool's, but for the first
/// and the last.
pub(crate) fn rollout(prompt: &[u32], seed: u32, sampled: usize) -> TrainingSequence {
    let is_sampled = |place: usize| place % 5 != 3 || place + 1 == sampled;
    let mask: Vec<bool> =
        std::iter::repeat_n(false, prompt.len()).chain((0..sampled).map(is_sampled)).collect();
    let trained = mask.iter().filter(|trained| **trained).count();
    TrainingSequence {
        ids: [prompt, &ids(seed, sampled)].concat(),
        mask,
        old_logprobs: vec![-4.0; trained],
        weights: (1..=trained).map(|place| 0.3 / (place + seed as usize) as f32).collect(),
        // of one sign, so that the loss is no difference of large numbers
        advantage: if seed.is_multiple_of(2) { 1.0 } else { 0.7 },
        ..TrainingSequence::default()
    }
}

/// Rollouts of prompts of 40 and 33 ids, one of which has nothing to read behind its prompt, and a
/// sequence whose prompt is its own.
fn rollouts() -> Vec<TrainingSequence> {
    let (first, second) = (ids(1, 40), ids(2, 33));
    vec![
        rollout(&first, 3, 20),
        rollout(&second, 4, 7),
        rollout(&first, 5, 1),
        rollout(&first, 6, 13),
        rollout(&second, 7, 22),
        rollout(&ids(8, 21), 9, 4),
        rollout(&first, 10, 20),
        rollout(&second, 11, 2),
    ]
}

/// `sum weight * (ratio * advantage + 0.3 * entropy)`, its log-probabilities row by row, and all
/// its gradients, with the rows in the given micro-batches.
fn learned(
    model: &AutoModel<Tracked>,
    groups: &[&[TrainingSequence]],
    memory: MemoryConfig,
    entropy: bool,
) -> (f32, Vec<f32>, Vec<f32>) {
    let (mut total, mut found) = (0.0, Vec::new());
    let mut sum = GradientSum::<Tracked>::default();
    for group in groups {
        let batch =
            MicroBatch::new(&group.iter().collect::<Vec<_>>(), &Default::default()).with_dropout(5);
        let loss = |logprobs: Tensor<Tracked, 2>, entropy: Option<Tensor<Tracked, 2>>| {
            let rows = crate::rows_of(logprobs.clone().inner());
            for (row, sequence) in rows.iter().zip(*group) {
                found.extend_from_slice(&row[..sequence.old_logprobs.len()]);
            }
            let ratio = (logprobs - batch.old_logprobs.clone()).exp() * batch.advantages.clone();
            let value = entropy.map_or(ratio.clone(), |entropy| ratio + entropy * 0.3);
            let loss = (value * batch.weights.clone()).sum();
            total += to_host(loss.clone().inner())[0];
            Ok::<_, Infallible>(loss)
        };
        accumulate_gradient::<AutoFamily, _, _>(model, &batch, memory, entropy, &mut sum, loss)
            .unwrap();
    }
    let gradients = sum.parts().iter().flatten().flat_map(|part| to_host(part.clone())).collect();
    (total, found, gradients)
}

/// Loss, log-probabilities and every gradient differ by at most 1e-5 of the largest.
#[track_caller]
fn assert_same(got: &(f32, Vec<f32>, Vec<f32>), want: &(f32, Vec<f32>, Vec<f32>), what: &str) {
    let largest =
        |values: &[f32]| values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    assert!(largest(&want.2) > 1e-5, "{what}: the gradient vanishes");
    assert_close(&[got.0], &[want.0], 1e-5 * want.0.abs(), what);
    assert_close(&got.1, &want.1, 1e-5 * largest(&want.1), &format!("{what}, log-probabilities"));
    assert_close(&got.2, &want.2, 1e-5 * largest(&want.2), &format!("{what}, gradients"));
}

const SETTINGS: [MemoryConfig; 4] = [
    PLAIN,
    MemoryConfig { gradient_checkpointing: true, logits_chunk: 0 },
    MemoryConfig { gradient_checkpointing: false, logits_chunk: 5 },
    MemoryConfig { gradient_checkpointing: true, logits_chunk: 7 },
];

/// A row with all its sequences in a micro-batch, and each in its own.
fn compare(model: &AutoModel<Tracked>, sequences: &[TrainingSequence], what: &str) {
    let alone: Vec<&[TrainingSequence]> = sequences.chunks(1).collect();
    for entropy in [false, true] {
        let want = learned(model, &alone, PLAIN, entropy);
        for memory in SETTINGS {
            let got = learned(model, &[sequences], memory, entropy);
            assert_same(&got, &want, &format!("{what}, {memory:?}, entropy {entropy}"));
        }
    }
}

#[test]
fn rollouts_of_a_prompt_learn_what_each_learns_by_itself() {
    let sequences = rollouts();
    let rows: Vec<&TrainingSequence> = sequences.iter().collect();
    // prompts of at most 40; what is read behind them is 21, 19, 19, 12, 6, 3 and 1 ids, less than
    // a second pass would save
    let batch = MicroBatch::<Tracked>::new(&rows, &Default::default());
    assert_eq!(batch.tokens(), 3 * 40 + 7 * 21);
    for (case, place) in cases() {
        let (_, model) = load::<Tracked>(&checkout("tests/fixtures/models").join(case), &place);
        compare(&model, &sequences, case);
        // one prompt, and prompts of one length
        compare(&model, &[0, 2, 3, 6].map(|row| sequences[row].clone()), case);
        let cut = |sequence: &TrainingSequence| {
            let (ids, mask) = (sequence.ids[7..].to_vec(), sequence.mask[7..].to_vec());
            TrainingSequence { ids, mask, ..sequence.clone() }
        };
        let equal = [cut(&sequences[0]), sequences[1].clone(), cut(&sequences[3])];
        let more = [sequences[4].clone(), cut(&sequences[6]), sequences[7].clone()];
        compare(&model, &[equal, more].concat(), case);
    }
}

/// With an adapter whose `B` is not zero, where `A` would learn nothing.
fn adapted(place: &Placement<Tracked>, dropout: f64) -> AutoModel<Tracked> {
    let model = load(&checkout("tests/fixtures/models/qwen2"), place).1;
    let config = AdapterConfig { rank: 3, ..AdapterConfig::default() };
    let mut model = attach_adapter(freeze(model), &config, 5, &Default::default()).unwrap();
    for (index, (_, projection)) in model.projections_mut().into_iter().enumerate() {
        let lora = projection.lora.as_mut().unwrap();
        lora.dropout = dropout;
        lora.b = lora.b.clone().map(|b| {
            let value = |place| ((place * 7 + index * 3) % 11) as f32 * 0.02 - 0.1;
            let values = (0..b.shape().num_elements()).map(value).collect();
            Tensor::from_inner(from_host(values, b.dims(), &b.device())).require_grad()
        });
    }
    model
}

#[test]
fn an_adapter_learns_the_same() {
    for place in both() {
        compare(&adapted(&place, 0.0), &rollouts(), "adapter");
    }
}

#[test]
fn what_is_dropped_of_a_prompt_is_drawn_once() {
    for place in both() {
        let model = adapted(&place, 0.3);
        // rollouts of one id read their prompt alone: by itself each draws the same for it
        let prompt = ids(1, 45);
        let sequences = [3, 4, 5].map(|seed| rollout(&prompt, seed, 1));
        let rows: Vec<&TrainingSequence> = sequences.iter().collect();
        assert_eq!(MicroBatch::<Tracked>::new(&rows, &Default::default()).tokens(), 45);
        compare(&model, &sequences, "what is dropped of a prompt");
        // what is drawn for that behind a prompt is drawn again where a layer is computed again
        let sequences = rollouts();
        let want = learned(&model, &[&sequences], PLAIN, true);
        for memory in SETTINGS {
            let got = learned(&model, &[&sequences], memory, true);
            assert_same(&got, &want, &format!("dropout, {memory:?}"));
        }
    }
}

/// Backward passes of several threads take nothing of each other's graphs for unused, also where
/// parameters have been through one before.
#[test]
fn threads_lose_no_gradient_of_each_other() {
    let folder = checkout("tests/fixtures/models/llama_tied_rope3_bias");
    let sequences = rollouts();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let model = load::<Tracked>(&folder, &both()[1]).1;
                for memory in SETTINGS {
                    let want = learned(&model, &[&sequences], memory, false);
                    for _ in 0..10 {
                        assert!(learned(&model, &[&sequences], memory, false) == want);
                    }
                }
            });
        }
    });
}

/// The old policy's log-probabilities and the reference's come from passes without a graph.
#[test]
fn log_probabilities_without_a_graph_are_the_same() {
    let sequences = rollouts();
    for (case, place) in cases::<Tracked>() {
        let model = load(&checkout("tests/fixtures/models").join(case), &place).1.valid();
        let of = |group: &[&TrainingSequence]| {
            let batch = MicroBatch::new(group, &Default::default());
            crate::rows_of(response_logprobs(&model, &batch, false).0)
        };
        let found = of(&sequences.iter().collect::<Vec<_>>());
        for (found, sequence) in found.iter().zip(&sequences) {
            let want = &of(&[sequence])[0];
            assert_close(&found[..want.len()], want, 1e-5 * 8.0, case);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever the lengths of prompts and of what follows them, and whoever is beside whom.
    #[test]
    fn any_lengths_learn_the_same(
        prompts in proptest::collection::vec(1usize..40, 1..4),
        rows in proptest::collection::vec((0usize..4, 1usize..24), 1..9),
        is_lean in any::<bool>(),
    ) {
        let place = both::<Tracked>()[usize::from(is_lean)].clone();
        let model = load(&checkout("tests/fixtures/models/qwen3"), &place).1;
        let sequences: Vec<TrainingSequence> = rows
            .iter()
            .enumerate()
            .map(|(row, (prompt, sampled))| {
                let prompt = prompt % prompts.len();
                rollout(&ids(prompt as u32, prompts[prompt]), 9 + row as u32, *sampled)
            })
            .collect();
        let alone: Vec<&[TrainingSequence]> = sequences.chunks(1).collect();
        let want = learned(&model, &alone, PLAIN, false);
        let memory = if is_lean { SETTINGS[3] } else { PLAIN };
        assert_same(&learned(&model, &[&sequences], memory, false), &want, "any lengths");
    }
}
