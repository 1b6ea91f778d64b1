//! Training with less memory gives the same gradients: checkpointed layers, chunked logits, small
//! micro-batches. Rollouts hold no graph.

use crate::{Tracked, both, cases, checkout, ids, json, load};
use burn::tensor::backend::Backend;
use paretopo_agent::Workers;
use paretopo_engine::Engine;
use paretopo_models::{AutoFamily, AutoModel, Placement, to_host};
use paretopo_training::{
    GradientSum, MemoryConfig, MicroBatch, TrainingSequence, accumulate_gradient, total_gradient,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::path::Path;

const PLAIN: MemoryConfig = MemoryConfig { gradient_checkpointing: false, logits_chunk: 0 };

/// Three sequences of 24, 15 and 6 ids in which every third id is not trained on, as if a tool had
/// written it.
fn sequences(all: &[u32]) -> Vec<TrainingSequence> {
    let sequence = |(ids, advantage): (&[u32], f32)| {
        let mask: Vec<bool> = (0..ids.len()).map(|place| place > 0 && place % 3 != 0).collect();
        let trained = mask.iter().filter(|trained| **trained).count();
        let weights = (1..=trained).map(|place| 0.1 / place as f32).collect();
        TrainingSequence {
            ids: ids.to_vec(),
            mask,
            old_logprobs: vec![-4.0; trained],
            weights,
            advantage,
            ..TrainingSequence::default()
        }
    };
    [(&all[..24], 1.0), (&all[3..18], -0.5), (&all[9..15], 2.0)].map(sequence).to_vec()
}

/// All gradients, one parameter after the other, of
/// `sum weight * (ratio * advantage + 0.3 * entropy)`; `groups` share forward passes.
fn gradients(
    model: &AutoModel<Tracked>,
    groups: &[&[TrainingSequence]],
    memory: MemoryConfig,
    entropy: bool,
) -> Vec<f32> {
    let device = Default::default();
    let mut sum = GradientSum::<Tracked>::default();
    for group in groups {
        let batch = MicroBatch::new(&group.iter().collect::<Vec<_>>(), &device);
        let loss = |logprobs: burn::Tensor<Tracked, 2>,
                    entropy: Option<burn::Tensor<Tracked, 2>>| {
            let ratio = (logprobs - batch.old_logprobs.clone()).exp() * batch.advantages.clone();
            let value = entropy.map_or(ratio.clone(), |entropy| ratio + entropy * 0.3);
            Ok::<_, Infallible>((value * batch.weights.clone()).sum())
        };
        accumulate_gradient::<AutoFamily, _, _>(model, &batch, memory, entropy, &mut sum, loss)
            .unwrap();
    }
    sum.parts().iter().flatten().flat_map(|gradient| to_host(gradient.clone())).collect()
}

/// Every gradient differs by at most 1e-5 of the largest.
#[track_caller]
fn assert_same(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: parameters with a gradient");
    let largest = want.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 1e-3, "{what}: the gradient vanishes");
    let difference = got
        .iter()
        .zip(want)
        .fold(0.0f32, |difference, (got, want)| difference.max((got - want).abs()));
    assert!(difference <= 1e-5 * largest, "{what}: {difference} of {largest}");
}

#[test]
fn less_memory_gives_the_same_gradients() {
    for (case, place) in cases() {
        let folder = checkout("tests/fixtures/models").join(case);
        let (_, model) = load::<Tracked>(&folder, &place);
        let sequences = sequences(&ids(&json(&folder.join("expected.json"))["ids"]));
        for entropy in [false, true] {
            let plain = gradients(&model, &[&sequences], PLAIN, entropy);
            for (gradient_checkpointing, logits_chunk) in
                [(true, 0), (false, 5), (true, 5), (true, 1000)]
            {
                let memory = MemoryConfig { gradient_checkpointing, logits_chunk };
                assert_same(
                    &gradients(&model, &[&sequences], memory, entropy),
                    &plain,
                    &format!("{case}, {memory:?}, entropy {entropy}"),
                );
            }
            let alone: Vec<&[TrainingSequence]> = sequences.chunks(1).collect();
            assert_same(
                &gradients(&model, &alone, PLAIN, entropy),
                &plain,
                &format!("{case}, one sequence at a time"),
            );
        }
    }
}

/// Workers change who computes what, not in which order gradients are added.
#[test]
fn workers_give_the_same_gradients_to_the_bit() {
    let folder = checkout("tests/fixtures/models").join("qwen3");
    for place in both() {
        workers_agree(&load(&folder, &place).1, &folder);
    }
}

fn workers_agree(model: &AutoModel<Tracked>, folder: &Path) {
    let sequences = sequences(&ids(&json(&folder.join("expected.json"))["ids"]));
    let many: Vec<&TrainingSequence> = sequences.iter().cycle().take(12).collect();
    let of = |workers: usize, broken: Option<usize>| {
        let work = |model: &AutoModel<Tracked>,
                    (index, sequence): (usize, &TrainingSequence),
                    sum: &mut GradientSum<Tracked>| {
            let batch = MicroBatch::new(&[sequence], &Default::default());
            let loss = |logprobs: burn::Tensor<Tracked, 2>, _| {
                if broken == Some(index) {
                    Err(index)
                } else {
                    Ok((logprobs * batch.weights.clone()).sum())
                }
            };
            accumulate_gradient::<AutoFamily, _, _>(model, &batch, PLAIN, false, sum, loss)
                .map(|()| index)
        };
        let workers = Workers::new(workers, workers).unwrap();
        total_gradient(&workers, model, many.iter().copied().enumerate().collect(), work).map(
            |(sum, found)| {
                assert!(found.into_iter().eq(0..12));
                sum.parts()
                    .iter()
                    .flatten()
                    .flat_map(|gradient| to_host(gradient.clone()))
                    .collect::<Vec<f32>>()
            },
        )
    };
    let alone = of(1, None).unwrap();
    assert_same(&alone, &gradients_of_logprobs(model, &many), "one worker");
    for workers in [2, 3, 5] {
        assert_eq!(of(workers, None).unwrap(), alone, "{workers} workers");
    }
    // an error in one job ends them all
    assert_eq!(of(3, Some(4)), Err(4));
}

/// All gradients of `sum weight * logprob` with every sequence in one forward pass.
fn gradients_of_logprobs(model: &AutoModel<Tracked>, sequences: &[&TrainingSequence]) -> Vec<f32> {
    let mut sum = GradientSum::<Tracked>::default();
    let batch = MicroBatch::new(sequences, &Default::default());
    let loss = |logprobs: burn::Tensor<Tracked, 2>, _| {
        Ok::<_, Infallible>((logprobs * batch.weights.clone()).sum())
    };
    accumulate_gradient::<AutoFamily, _, _>(model, &batch, PLAIN, false, &mut sum, loss).unwrap();
    sum.parts().iter().flatten().flat_map(|gradient| to_host(gradient.clone())).collect()
}

/// Counts the bytes that each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: all is handed on to the system's allocator; the counter is a plain number of the thread
// and allocates nothing.
#[expect(unsafe_code, reason = "an allocator has no safe interface")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = HELD.try_with(|held| held.set(held.get() + layout.size() as i64));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get() - layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that are held after 48 decoding steps of 3 rows and were not before them.
fn held_by_decoding<B: Backend>(folder: &Path, place: &Placement<B>) -> i64 {
    let (_, model) = load(folder, place);
    let mut engine = Engine::new(&model, &place.device);
    engine.admit(&[(0, &[1, 2]), (1, &[3, 4]), (2, &[5, 6])]);
    let before = HELD.get();
    for step in 0..48 {
        engine.step(&[Some(step % 40), Some(step % 40 + 1), Some(step % 40 + 2)]);
    }
    HELD.get() - before
}

/// A rollout samples on the inner backend. What decoding leaves behind there are keys and values;
/// under autodiff it would be every step's activations.
#[test]
fn a_rollout_holds_no_graph() {
    let folder = checkout("tests/fixtures/models").join("qwen3");
    // one worker, as in a rollout, so that all is allocated and freed by this thread
    let alone = |held: &(dyn Fn() -> i64 + Sync)| {
        rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(held)
    };
    let config = json(&folder.join("config.json"));
    let number = |name: &str| config[name].as_i64().unwrap();
    // layers * (keys and values) * heads * features * columns * rows * 4 bytes
    let cache = number("num_hidden_layers")
        * 2
        * number("num_key_value_heads")
        * number("head_dim")
        * 48
        * 3
        * 4;
    for place in both::<Tracked>() {
        let plain = alone(&|| held_by_decoding(&folder, &place.inner()));
        let tracked = alone(&|| held_by_decoding(&folder, &place));
        println!("cache {cache} bytes, held {plain}, held under autodiff {tracked}");
        assert!(
            (cache..cache * 5 / 4).contains(&plain),
            "{plain} bytes held, {cache} of keys and values"
        );
        let shown = tracked > 10 * cache;
        assert!(shown, "the comparison shows nothing: {tracked} bytes under autodiff");
    }
}
