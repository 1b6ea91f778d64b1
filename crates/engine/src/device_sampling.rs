//! Drawing tokens for all rows at once by operations of the backend, so that logits stay where they
//! are computed. What comes back is a handful of numbers a row.
//!
//! It is the same draw as [`paretopo_generation::sample`] makes from the same points, up to
//! rounding: penalty, temperature, top-k, top-p, min-p, then inverse transform sampling,
//!
//! `id = min { i : sum(p[j], j <= i) > point * sum(p) }`.
//!
//! Nothing is sorted, which GPU backends do on the host. A bound on rank or mass is a threshold on
//! the scores, found by bisection: with `f(t)` the number (or the mass) of the candidates whose
//! score is at least `t`, halving an interval that holds the `t` with `f(t) = wanted` forty times
//! leaves scores that are equal for all purposes; of these the first by their ids are kept. Sums
//! over the vocabulary are sums of sums over blocks of [`BLOCK`] tokens, so that a long sum loses
//! little and a position is found in two short ones.

use crate::read_back::read_back;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor, TensorData};
use paretopo_generation::{Recorded, Sampled, SamplingConfig};
use paretopo_models::{from_host, upload};
use paretopo_trajectory::TokenId;

/// Tokens that are summed up by themselves.
const BLOCK: usize = 256;
/// Halvings of an interval of scores: 2^-40 of a span of a thousand is below the spacing of f32.
const HALVINGS: usize = 40;
/// The score of what must not be drawn; its exponential is zero.
const NEVER: f32 = -1e30;

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub struct DeviceDraw<'a> {
    /// From which distribution.
    pub sampling: &'a SamplingConfig,
    /// What else is wanted.
    pub recorded: Recorded,
    /// The ids that each row holds; only a penalty looks at them.
    pub earlier: &'a [&'a [TokenId]],
    /// The ids that each row must not draw; one that may be drawn is left of each.
    pub forbidden: &'a [&'a [TokenId]],
    /// A point in [0, 1) for each row; of no account when greedy.
    pub points: &'a [f32],
}

/// What was drawn for a row.
#[derive(Clone, Debug, PartialEq)]
pub struct DrawnRow {
    /// The token; `None` where a logit is not finite.
    pub sampled: Option<Sampled>,
    /// Whether all logits are equal.
    pub are_equal: bool,
    /// The entropy, if it was wanted.
    pub entropy: Option<f32>,
    /// The likeliest tokens, as many as were wanted.
    pub alternatives: Vec<(TokenId, f32)>,
}

/// Draws a token for each row. Adds the bytes that come to the host to `bytes`: 20 for each row, 4
/// more with the entropy, 8 more for each alternative.
///
/// # Shapes
/// - `logits`: `[rows, vocab_size]`
pub fn draw_on_device<B: Backend>(
    logits: Tensor<B, 2>,
    settings: &DeviceDraw<'_>,
    bytes: &mut u64,
) -> Vec<DrawnRow> {
    let sound = logits.clone().is_finite();
    let unsound = sound.clone().bool_not().float().sum_dim(1);
    // rows with a logit that is no number are reported, and must not spoil what is computed
    let logits = logits.mask_fill(sound.bool_not(), NEVER);
    let highest = logits.clone().max_dim(1);
    let spread = highest.clone() - logits.clone().min_dim(1);
    let normaliser = sums((logits.clone() - highest.clone()).exp()).log() + highest;
    let logprobs = logits.clone() - normaliser;

    let (ids, sampling_logprobs) = draw(logits.clone(), settings);
    let drawn = logprobs.clone().gather(1, ids.clone());
    let mut columns = vec![unsound, spread, ids.float(), drawn, sampling_logprobs];
    if settings.recorded.entropy {
        let weighted = logprobs.clone().exp() * logprobs.clone().clamp_min(NEVER);
        columns.push(sums(weighted).neg());
    }
    columns.extend(likeliest(logprobs, settings.recorded.alternatives));
    let width = columns.len();
    let values = read_back(Tensor::cat(columns, 1), bytes);
    values.chunks(width).map(|row| in_words(row, settings.recorded)).collect()
}

/// A row of what came to the host.
fn in_words(row: &[f32], recorded: Recorded) -> DrawnRow {
    let entropy = recorded.entropy.then(|| row[5]);
    let alternatives = &row[5 + usize::from(recorded.entropy)..];
    DrawnRow {
        sampled: (row[0] == 0.0).then(|| Sampled {
            id: row[2] as TokenId,
            logprob: row[3],
            sampling_logprob: row[4],
        }),
        are_equal: row[1] == 0.0,
        entropy,
        alternatives: alternatives.chunks(2).map(|pair| (pair[0] as TokenId, pair[1])).collect(),
    }
}

/// Ids and their log-probabilities under the distribution they were drawn from, `[rows, 1]` each.
fn draw<B: Backend>(
    logits: Tensor<B, 2>,
    settings: &DeviceDraw<'_>,
) -> (Tensor<B, 2, Int>, Tensor<B, 2>) {
    let sampling = settings.sampling;
    let scores = match sampling.repetition_penalty.single() {
        1.0 => logits,
        penalty => penalised(logits, settings.earlier, penalty),
    };
    let scores = allowed(scores, settings.forbidden);
    if sampling.temperature.get() == 0.0 {
        let ids = first_highest(scores);
        let zeros = ids.clone().float() * 0.0;
        return (ids, zeros);
    }
    let mut scores = scores / sampling.temperature.single();
    let vocab_size = scores.dims()[1];
    if sampling.top_k > 0 && sampling.top_k < vocab_size {
        let ones = scores.ones_like();
        scores = keep_likeliest(scores, ones, sampling.top_k as f32 - 0.5);
    }
    if sampling.top_p.single() < 1.0 {
        let probabilities = softmax(scores.clone());
        scores = keep_likeliest(scores, probabilities, sampling.top_p.single());
    }
    if sampling.min_p.single() > 0.0 {
        // p >= min_p * p_highest, in logarithms; the likeliest itself always is
        let least = scores.clone().max_dim(1) + sampling.min_p.single().ln();
        let below = scores.clone().lower(least);
        scores = scores.mask_fill(below, NEVER);
    }
    let points: Tensor<B, 2> =
        from_host(settings.points.to_vec(), [settings.points.len(), 1], &scores.device());
    let highest = scores.clone().max_dim(1);
    let weights = (scores.clone() - highest.clone()).exp();
    let total = sums(weights.clone());
    let ids = position(weights, points * total.clone());
    let logprobs = scores.gather(1, ids.clone()) - (total.log() + highest);
    (ids, logprobs)
}

fn softmax<B: Backend>(scores: Tensor<B, 2>) -> Tensor<B, 2> {
    let weights = (scores.clone() - scores.max_dim(1)).exp();
    let total = sums(weights.clone());
    weights / total
}

/// The id of the highest score; of equals the lowest id, whatever a backend's own search prefers.
fn first_highest<B: Backend>(scores: Tensor<B, 2>) -> Tensor<B, 2, Int> {
    let highest = scores.clone().max_dim(1).expand(scores.dims());
    let zeros = zeros_like_rows(&scores);
    position(scores.equal(highest).float(), zeros)
}

fn zeros_like_rows<B: Backend>(x: &Tensor<B, 2>) -> Tensor<B, 2> {
    Tensor::zeros([x.dims()[0], 1], &x.device())
}

/// The likeliest tokens of each row with their log-probabilities, likeliest first: twice as many
/// columns, `[rows, 1]` each.
fn likeliest<B: Backend>(mut logprobs: Tensor<B, 2>, count: usize) -> Vec<Tensor<B, 2>> {
    let mut columns = Vec::with_capacity(2 * count);
    for _ in 0..count.min(logprobs.dims()[1]) {
        let ids = first_highest(logprobs.clone());
        columns.push(ids.clone().float());
        columns.push(logprobs.clone().gather(1, ids.clone()));
        let taken = Tensor::full([ids.dims()[0], 1], NEVER, &logprobs.device());
        let old = logprobs.clone().gather(1, ids.clone());
        logprobs = logprobs.scatter(1, ids, taken - old, IndexingUpdateOp::Add);
    }
    columns
}

/// Values in blocks, `[rows, blocks, BLOCK]`; what is missing in the last is zero.
fn in_blocks<B: Backend>(values: Tensor<B, 2>) -> Tensor<B, 3> {
    let [rows, columns] = values.dims();
    let blocks = columns.div_ceil(BLOCK);
    let missing = blocks * BLOCK - columns;
    let values = if missing == 0 {
        values
    } else {
        let zeros = Tensor::zeros([rows, missing], &values.device());
        Tensor::cat(vec![values, zeros], 1)
    };
    values.reshape([rows, blocks, BLOCK])
}

/// The sum of each row, block by block, `[rows, 1]`.
fn sums<B: Backend>(values: Tensor<B, 2>) -> Tensor<B, 2> {
    in_blocks(values).sum_dim(2).squeeze_dim::<2>(2).sum_dim(1)
}

/// For each row the first place with a value above zero at which the sum of all values up to it
/// exceeds `wanted`; where rounding leaves none, the last one with a value above zero.
///
/// # Shapes
/// - `values`: `[rows, columns]`, none below zero, one of each row above; `wanted`, output:
///   `[rows, 1]`
fn position<B: Backend>(values: Tensor<B, 2>, wanted: Tensor<B, 2>) -> Tensor<B, 2, Int> {
    let [rows, _] = values.dims();
    let blocks = in_blocks(values);
    let [_, count, _] = blocks.dims();
    let block_sums: Tensor<B, 2> = blocks.clone().sum_dim(2).squeeze_dim(2);
    let block = first_beyond(block_sums.clone(), wanted.clone());
    let before = places(&block_sums).lower(block.clone().expand([rows, count]));
    let passed = (block_sums * before.float()).sum_dim(1);
    let index = block.clone().reshape([rows, 1, 1]).expand([rows, 1, BLOCK]);
    let inside: Tensor<B, 2> = blocks.gather(1, index).squeeze_dim(1);
    let place = first_beyond(inside, wanted - passed);
    block * BLOCK as i64 + place
}

/// [`position`] by one running sum, for few columns.
fn first_beyond<B: Backend>(values: Tensor<B, 2>, wanted: Tensor<B, 2>) -> Tensor<B, 2, Int> {
    let [_, columns] = values.dims();
    let is_candidate = values.clone().greater_elem(0.0);
    let is_beyond = values.clone().cumsum(1).greater(wanted).bool_and(is_candidate.clone());
    let places = places(&values);
    let first = places.clone().mask_fill(is_beyond.bool_not(), columns as i64).min_dim(1);
    let last = places.mask_fill(is_candidate.bool_not(), 0).max_dim(1);
    let none = first.clone().equal_elem(columns as i64);
    first.mask_where(none, last)
}

/// Keeps of each row the likeliest candidates until their weights add up to more than `wanted`; of
/// equal scores those with the lower ids. The others get the score [`NEVER`].
///
/// # Shapes
/// - `scores`, `weights`, output: `[rows, vocab_size]`
fn keep_likeliest<B: Backend>(
    scores: Tensor<B, 2>,
    weights: Tensor<B, 2>,
    wanted: f32,
) -> Tensor<B, 2> {
    let highest = scores.clone().max_dim(1);
    let excluded = scores.clone().lower_equal_elem(NEVER / 2.0);
    let weights = weights.mask_fill(excluded.clone(), 0.0);
    // above `high` too little, from `low` on enough
    let mut low = scores.clone().mask_fill(excluded, f32::MAX).min_dim(1);
    let mut high = highest.clone() + highest.abs() * 1e-6 + 1e-6;
    for _ in 0..HALVINGS {
        let middle = (low.clone() + high.clone()) / 2.0;
        let inside = scores.clone().greater_equal(middle.clone());
        let enough = sums(weights.clone() * inside.float()).greater_elem(wanted);
        low = low.mask_where(enough.clone(), middle.clone());
        high = middle.mask_where(enough, high);
    }
    let above = scores.clone().greater_equal(high);
    let equal = scores.clone().greater_equal(low).bool_and(above.clone().bool_not());
    let missing = sums(weights.clone() * above.clone().float()).neg() + wanted;
    // where nothing is missing, nor is there one of equal score that is needed
    let last = position(weights * equal.clone().float() + is_empty(&equal), missing);
    let first_ones = up_to(last, &scores).bool_and(equal);
    scores.mask_fill(above.bool_or(first_ones).bool_not(), NEVER)
}

/// 1 everywhere in rows without a member, so that a position in them is defined.
fn is_empty<B: Backend>(members: &Tensor<B, 2, Bool>) -> Tensor<B, 2> {
    members.clone().float().max_dim(1).neg() + 1.0
}

/// Which places come up to `last`, it included.
fn up_to<B: Backend>(last: Tensor<B, 2, Int>, like: &Tensor<B, 2>) -> Tensor<B, 2, Bool> {
    places(like).lower_equal(last.expand(like.dims()))
}

/// Each column's number in each row, of the shape of `like`.
fn places<B: Backend>(like: &Tensor<B, 2>) -> Tensor<B, 2, Int> {
    let [rows, columns] = like.dims();
    Tensor::<B, 1, Int>::arange(0..columns as i64, &like.device())
        .reshape([1, columns])
        .expand([rows, columns])
}

/// The logits with those of each row's earlier ids made smaller, each once: positive ones are
/// divided by the penalty, negative ones multiplied.
fn penalised<B: Backend>(
    logits: Tensor<B, 2>,
    earlier: &[&[TokenId]],
    penalty: f32,
) -> Tensor<B, 2> {
    let distinct = earlier.iter().map(|ids| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids
    });
    let distinct: Vec<Vec<TokenId>> = distinct.collect();
    let width = distinct.iter().map(Vec::len).max().unwrap_or(0);
    if width == 0 {
        return logits;
    }
    let shape = [distinct.len(), width];
    let (mut places, mut given) = (Vec::new(), Vec::new());
    for ids in &distinct {
        places.extend(ids.iter().map(|id| *id as i32));
        places.resize(places.len() + width - ids.len(), 0);
        given.extend(ids.iter().map(|_| 1.0f32));
        given.resize(given.len() + width - ids.len(), 0.0);
    }
    let device = logits.device();
    let places: Tensor<B, 2, Int> = upload(TensorData::new(places, shape), &device);
    let given = from_host(given, shape, &device);
    let old = logits.clone().gather(1, places.clone());
    let divided = old.clone() / penalty;
    let positive = old.clone().greater_elem(0.0);
    let new = (old.clone() * penalty).mask_where(positive, divided).clamp(f32::MIN, f32::MAX);
    logits.scatter(1, places, (new - old) * given, IndexingUpdateOp::Add)
}

/// The scores with [`NEVER`] for what each row must not draw.
fn allowed<B: Backend>(scores: Tensor<B, 2>, forbidden: &[&[TokenId]]) -> Tensor<B, 2> {
    if forbidden.iter().all(|ids| ids.is_empty()) {
        return scores;
    }
    let [rows, vocab_size] = scores.dims();
    let mut never = vec![0i32; rows * vocab_size];
    for (row, ids) in never.chunks_mut(vocab_size).zip(forbidden) {
        ids.iter().for_each(|id| row[*id as usize] = 1);
    }
    let never = TensorData::new(never, [rows, vocab_size]);
    let never: Tensor<B, 2, Int> = upload(never, &scores.device());
    scores.mask_fill(never.equal_elem(1), NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;
    use paretopo_generation::{Points, entropy, likeliest as likeliest_here, sample_allowed};
    use paretopo_settings::{RepetitionPenalty, Share, Temperature, TopP};

    fn tensor(rows: &[Vec<f32>]) -> Tensor<Flex, 2> {
        let shape = [rows.len(), rows[0].len()];
        Tensor::from_data(TensorData::new(rows.concat(), shape), &Default::default())
    }

    /// Logits of many rows, among them equal ones.
    fn rows(count: usize, vocab_size: usize, spread: f32) -> Vec<Vec<f32>> {
        let mut points = Points::new(vocab_size as u64, 0);
        let mut row = || {
            let mut value = || (spread * (points.draw() - 0.5) * 8.0).round() / 8.0;
            (0..vocab_size).map(|_| value()).collect()
        };
        (0..count).map(|_| row()).collect()
    }

    /// Of every other row two tokens, or one.
    fn forbidden_of(row: u32, vocab_size: u32) -> Vec<u32> {
        if row.is_multiple_of(2) {
            Vec::new()
        } else {
            vec![row % vocab_size, 3 * row % vocab_size]
        }
    }

    /// Draws on the device and on the host from the same points.
    fn check(vocab_size: usize, spread: f32, sampling: SamplingConfig) {
        let rows = rows(40, vocab_size, spread);
        let earlier: Vec<Vec<u32>> =
            (0..40).map(|row| vec![row % vocab_size as u32, 0, 1, 0]).collect();
        let earlier: Vec<&[u32]> = earlier.iter().map(Vec::as_slice).collect();
        let forbidden: Vec<Vec<u32>> =
            (0..40).map(|row| forbidden_of(row, vocab_size as u32)).collect();
        let forbidden: Vec<&[u32]> = forbidden.iter().map(Vec::as_slice).collect();
        let points: Vec<f32> = (0..40).map(|row| Points::new(row, 0).draw()).collect();
        let recorded = Recorded { entropy: true, alternatives: 3, experts: false };
        let settings = DeviceDraw {
            sampling: &sampling,
            recorded,
            earlier: &earlier,
            forbidden: &forbidden,
            points: &points,
        };
        let mut bytes = 0;
        let found = draw_on_device(tensor(&rows), &settings, &mut bytes);
        // id, two log-probabilities, two tests of soundness, the entropy, three pairs
        assert_eq!(bytes, 40 * 4 * (5 + 1 + 6));
        let mut differing = 0;
        for (row, (logits, found)) in rows.iter().zip(&found).enumerate() {
            let mut points = Points::new(row as u64, 0);
            let earlier = earlier[row].iter().copied();
            let wanted = sample_allowed(logits, earlier, forbidden[row], &sampling, &mut points);
            let (wanted, drawn) = (wanted.unwrap(), found.sampled.unwrap());
            assert!(!forbidden[row].contains(&drawn.id), "{drawn:?}");
            // a point may lie within rounding of the place where two of many tokens meet
            if drawn.id != wanted.id {
                differing += 1;
                continue;
            }
            let close = |a: f32, b: f32| (a - b).abs() < 2e-5 * (1.0 + b.abs());
            assert!(close(drawn.logprob, wanted.logprob), "{drawn:?} {wanted:?}");
            // rounding may put one of many hundred tokens into a nucleus or leave it out
            let one_more = vocab_size >= 1000 && sampling.top_p.get() < 1.0;
            let apart = (drawn.sampling_logprob - wanted.sampling_logprob).abs();
            assert!(
                close(drawn.sampling_logprob, wanted.sampling_logprob)
                    || (one_more && apart < 1e-3),
                "{drawn:?} {wanted:?}"
            );
            assert!(close(found.entropy.unwrap(), entropy(logits)));
            let likeliest = likeliest_here(logits, 3);
            assert!(
                found
                    .alternatives
                    .iter()
                    .zip(&likeliest)
                    .all(|(a, b)| a.0 == b.0 && close(a.1, b.1)),
                "{:?} {likeliest:?}",
                found.alternatives
            );
            assert!(!found.are_equal);
        }
        let allowed = usize::from(vocab_size >= 1000);
        assert!(differing <= allowed, "{differing} of 40, {vocab_size} tokens, {sampling:?}");
    }

    #[test]
    fn a_draw_on_the_device_is_the_draw_on_the_host() {
        let plain = SamplingConfig::default();
        let tempered = |value| SamplingConfig { temperature: Temperature::literal(value), ..plain };
        for vocab_size in [5, 255, 256, 257, 3000] {
            for spread in [1.0, 20.0] {
                check(vocab_size, spread, plain);
                check(vocab_size, spread, tempered(0.0));
                check(vocab_size, spread, tempered(0.6));
                check(vocab_size, spread, SamplingConfig { top_k: 4, ..tempered(1.5) });
                let top_p = TopP::literal(0.8);
                check(vocab_size, spread, SamplingConfig { top_p, ..plain });
                check(vocab_size, spread, SamplingConfig { top_p, top_k: 3, ..plain });
                let min_p = Share::literal(0.2);
                check(vocab_size, spread, SamplingConfig { min_p, top_k: 20, ..plain });
                let repetition_penalty = RepetitionPenalty::literal(1.7);
                check(vocab_size, spread, SamplingConfig { repetition_penalty, ..plain });
                check(vocab_size, spread, SamplingConfig { repetition_penalty, ..tempered(0.0) });
            }
        }
    }

    #[test]
    fn unsound_rows_are_told_and_spoil_no_others() {
        let logits = vec![
            vec![1.0, f32::NAN, 0.0],
            vec![1.0, f32::INFINITY, 0.0],
            vec![1.0, f32::NEG_INFINITY, 0.0],
            vec![2.0; 3],
            vec![0.0, 9.0, 0.0],
        ];
        let earlier: [&[u32]; 5] = [&[]; 5];
        let settings = DeviceDraw {
            sampling: &SamplingConfig {
                temperature: Temperature::literal(0.0),
                ..SamplingConfig::default()
            },
            recorded: Recorded::default(),
            earlier: &earlier,
            forbidden: &earlier,
            points: &[0.0; 5],
        };
        let found = draw_on_device(tensor(&logits), &settings, &mut 0);
        assert!(found[..3].iter().all(|row| row.sampled.is_none()));
        // of equals the first
        assert!(found[3].are_equal && found[3].sampled.unwrap().id == 0);
        assert!(!found[4].are_equal && found[4].sampled.unwrap().id == 1);
    }

    #[test]
    fn a_position_is_where_the_sum_passes_what_is_wanted() {
        let values = vec![vec![0.0, 0.25, 0.0, 0.5, 0.25, 0.0]; 6];
        // sums 0, 0.25, 0.25, 0.75, 1, 1; what is beyond all gets the last with a value
        let wanted = vec![vec![0.0], vec![0.2], vec![0.25], vec![0.7], vec![0.75], vec![1.5]];
        let found = position(tensor(&values), tensor(&wanted)).into_data();
        let found: Vec<i64> = found.iter::<i64>().collect();
        assert_eq!(found, [1, 1, 3, 3, 4, 4]);
        // the same across blocks: a 1 in each of 700 places
        let found = position(tensor(&[vec![1.0; 700]]), tensor(&[vec![511.5]])).into_data();
        assert_eq!(found.iter::<i64>().next(), Some(511));
    }
}
