//! Drawing a token from logits, with the log-probabilities that training needs.

use crate::Points;
use paretopo_settings::{RepetitionPenalty, Share, Temperature, TopP, whole, within};
use paretopo_vectorised::{log_sum_exp, sum_of_exponentials};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cmp::Ordering;

/// How tokens are drawn: the penalty, then the temperature, then each of the others on what the one
/// before it has left, in transformers' order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// Logits are divided by it; 0 is greedy.
    pub temperature: Temperature,
    /// Only the k likeliest tokens; 0 for all.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub top_k: usize,
    /// Only the likeliest tokens whose probabilities add up to at least this; 1 for all.
    pub top_p: TopP,
    /// Only tokens at least this many times as likely as the likeliest; 0 for all.
    pub min_p: Share,
    /// Positive logits of tokens that the episode holds already, its prompt and what tools returned
    /// included, are divided by it, negative ones multiplied (CTRL, arXiv 1909.05858); 1 for none.
    /// Also where the temperature is 0.
    pub repetition_penalty: RepetitionPenalty,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            temperature: const { Temperature::literal(1.0) },
            top_k: 0,
            top_p: const { TopP::literal(1.0) },
            min_p: const { Share::literal(0.0) },
            repetition_penalty: const { RepetitionPenalty::literal(1.0) },
        }
    }
}

/// A drawn token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// Its id.
    pub id: u32,
    /// Its log-probability under the logits as they are.
    pub logprob: f32,
    /// Its log-probability under the distribution it was drawn from; 0 when greedy.
    pub sampling_logprob: f32,
}

/// Log-probabilities of all tokens.
///
/// # Shapes
/// - `logits`, output: `vocab_size` values
pub fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let normaliser = log_sum_exp(logits);
    logits.iter().map(|logit| logit - normaliser).collect()
}

/// Draws a token, or takes the likeliest at temperature 0 (the first of equals). `None` if a logit
/// is not finite: no token is impossible for a sound policy, so `-inf` is no less wrong than NaN.
/// `earlier` are the ids that the episode holds; only a penalty looks at them.
///
/// # Shapes
/// - `logits`: `vocab_size` values, more than any of the ids
pub fn sample(
    logits: &[f32],
    earlier: impl Iterator<Item = u32>,
    config: &SamplingConfig,
    points: &mut Points,
) -> Option<Sampled> {
    sample_allowed(logits, earlier, &[], config, points)
}

/// [`sample`] among the tokens that are not `forbidden`, of which at least one is left:
/// `p(i) = exp(s_i) / sum of exp(s_j) over the allowed j`. The log-probability of the policy is still
/// that among all tokens, which is what training computes again.
///
/// # Shapes
/// - `logits`: `vocab_size` values, more than any of the ids
pub fn sample_allowed(
    logits: &[f32],
    earlier: impl Iterator<Item = u32>,
    forbidden: &[u32],
    config: &SamplingConfig,
    points: &mut Points,
) -> Option<Sampled> {
    let normaliser = log_sum_exp(logits);
    if !normaliser.is_finite() || logits.iter().any(|logit| !logit.is_finite()) {
        return None;
    }
    let drawn = |index: usize, sampling_logprob| Sampled {
        id: index as u32,
        logprob: logits[index] - normaliser,
        sampling_logprob,
    };
    let temperature = config.temperature.single();
    let penalty = config.repetition_penalty.single();
    let mut scores = if penalty == 1.0 {
        Cow::Borrowed(logits)
    } else {
        Cow::Owned(penalised(logits, earlier, penalty))
    };
    for id in forbidden {
        scores.to_mut()[*id as usize] = f32::NEG_INFINITY;
    }
    if temperature == 0.0 {
        let best = scores
            .iter()
            .enumerate()
            .fold(0, |best, (index, score)| if *score > scores[best] { index } else { best });
        return Some(drawn(best, 0.0));
    }
    if config.top_k == 0 && config.top_p.single() >= 1.0 && config.min_p.single() == 0.0 {
        let as_they_are = temperature == 1.0 && penalty == 1.0 && forbidden.is_empty();
        let (scores, total) = match as_they_are {
            true => (scores, normaliser),
            false => {
                let tempered: Vec<f32> = scores.iter().map(|score| score / temperature).collect();
                let total = log_sum_exp(&tempered);
                (Cow::Owned(tempered), total)
            }
        };
        let index = draw(&scores, total, points.draw());
        return Some(drawn(index, scores[index] - total));
    }
    let mut candidates = candidates_of(&scores, config);
    // in the order of ids, so that the draw does not depend on how candidates were found
    candidates.sort_unstable();
    let tempered: Vec<f32> = candidates.iter().map(|index| scores[*index] / temperature).collect();
    let total = log_sum_exp(&tempered);
    let place = draw(&tempered, total, points.draw());
    Some(drawn(candidates[place], tempered[place] - total))
}

/// The ids that top-k, top-p and min-p leave, each of what the one before it has left.
fn candidates_of(scores: &[f32], config: &SamplingConfig) -> Vec<usize> {
    let temperature = config.temperature.single();
    let top_p = config.top_p.single();
    let min_p = config.min_p.single();
    let tempered = |index: usize| scores[index] / temperature;
    let mut candidates: Vec<usize> = (0..scores.len()).collect();
    let descending = |a: &usize, b: &usize| falling(scores[*a], scores[*b]).then(a.cmp(b));
    if config.top_k > 0 && config.top_k < candidates.len() {
        candidates.select_nth_unstable_by(config.top_k, descending);
        candidates.truncate(config.top_k);
    }
    if top_p < 1.0 {
        keep_nucleus(&mut candidates, top_p, tempered, descending);
    }
    if min_p > 0.0 {
        // p >= min_p * p_highest, in logarithms; the likeliest itself always is
        let highest = candidates.iter().map(|index| tempered(*index)).fold(f32::MIN, f32::max);
        candidates.retain(|index| tempered(*index) - highest >= min_p.ln());
    }
    candidates
}

/// The higher of two finite numbers first; zeros of both signs are equal.
fn falling(a: f32, b: f32) -> Ordering {
    (b + 0.0).total_cmp(&(a + 0.0))
}

/// How many of the likeliest candidates are put in order first.
const HEAD: usize = 64;

/// Keeps the likeliest candidates whose probabilities add up to `top_p`, at least one. They are put in
/// order only as far as the sum has to go: most of a vocabulary has no share in it.
fn keep_nucleus(
    candidates: &mut Vec<usize>,
    top_p: f32,
    tempered: impl Fn(usize) -> f32,
    descending: impl Fn(&usize, &usize) -> Ordering,
) {
    let highest = candidates.iter().map(|index| tempered(*index)).fold(f32::MIN, f32::max);
    let exponentials = candidates.iter().map(|index| (tempered(*index) - highest).exp());
    let total = highest + exponentials.sum::<f32>().ln();
    let (mut mass, mut kept, mut ordered) = (0.0, 0, 0);
    while kept == ordered && kept < candidates.len() {
        let next = (ordered.max(HEAD / 8) * 8).min(candidates.len());
        let rest = &mut candidates[ordered..];
        if next < ordered + rest.len() {
            rest.select_nth_unstable_by(next - ordered - 1, &descending);
        }
        candidates[ordered..next].sort_unstable_by(&descending);
        ordered = next;
        while kept < ordered && mass < top_p {
            mass += (tempered(candidates[kept]) - total).exp();
            kept += 1;
        }
    }
    candidates.truncate(kept.max(1));
}

/// The `count` likeliest tokens with their log-probabilities, the likeliest first, of equals the one
/// with the lower id.
///
/// ```
/// use paretopo_generation::likeliest;
///
/// let [(first, logprob), (second, _)] = likeliest(&[0.0, 2.0, 1.0], 2)[..] else { panic!() };
/// assert_eq!((first, second), (1, 2));
/// // ln(e^2 / (e^0 + e^2 + e^1)) = ln(7.3891 / 11.1073)
/// assert!((logprob + 0.4076).abs() < 1e-4);
/// ```
///
/// # Shapes
/// - `logits`: `vocab_size` values
pub fn likeliest(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let count = count.min(logits.len());
    if count == 0 {
        return Vec::new();
    }
    let descending = |a: &usize, b: &usize| falling(logits[*a], logits[*b]).then(a.cmp(b));
    let mut candidates: Vec<usize> = (0..logits.len()).collect();
    candidates.select_nth_unstable_by(count - 1, descending);
    candidates.truncate(count);
    candidates.sort_unstable_by(descending);
    let normaliser = log_sum_exp(logits);
    candidates.into_iter().map(|index| (index as u32, logits[index] - normaliser)).collect()
}

/// The entropy of the distribution in nats: with `p = softmax(logits)`,
/// `-sum(p ln p) = ln(sum(exp(logits))) - sum(p logits)`.
///
/// ```
/// use paretopo_generation::entropy;
///
/// // of four equally likely tokens ln 4
/// assert!((entropy(&[3.0; 4]) - 4f32.ln()).abs() < 1e-6);
/// ```
///
/// # Shapes
/// - `logits`: `vocab_size` values
pub fn entropy(logits: &[f32]) -> f32 {
    let normaliser = log_sum_exp(logits);
    let weighted = logits.iter().map(|logit| {
        let logprob = logit - normaliser;
        f64::from(logprob.exp()) * f64::from(logprob)
    });
    -weighted.sum::<f64>() as f32
}

/// The logits with those of `earlier` ids made smaller, each once however often it occurs; still
/// finite.
fn penalised(logits: &[f32], earlier: impl Iterator<Item = u32>, penalty: f32) -> Vec<f32> {
    let mut scores = logits.to_vec();
    for id in earlier {
        let logit = logits[id as usize];
        let score = if logit > 0.0 { logit / penalty } else { logit * penalty };
        scores[id as usize] = score.clamp(f32::MIN, f32::MAX);
    }
    scores
}

/// Scores whose probabilities are added up at once on the way to the point.
const BLOCK: usize = 256;

/// Inverse transform sampling: the first place at which the probabilities `exp(score - total)` add
/// up to more than the point. Rounding may leave a little mass, which goes to the last place of
/// positive probability.
fn draw(scores: &[f32], total: f32, mut point: f32) -> usize {
    let probability = |place: usize| (scores[place] - total).exp();
    let mut begin = 0;
    for block in scores.chunks(BLOCK) {
        let mass = sum_of_exponentials(block, total);
        if point < mass {
            break;
        }
        point -= mass;
        begin += block.len();
    }
    // to the end: by rounding the point may lie a little behind the block
    for place in begin..scores.len() {
        let mass = probability(place);
        if point < mass {
            return place;
        }
        point -= mass;
    }
    (0..scores.len()).rev().find(|place| probability(*place) > 0.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: std::iter::Empty<u32> = std::iter::empty();

    /// Probabilities 0.5, 0.3, 0.15, 0.05.
    fn logits() -> Vec<f32> {
        [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect()
    }

    fn frequencies(config: SamplingConfig) -> [f32; 4] {
        let mut rng = Points::new(1, 0);
        let mut counts = [0.0; 4];
        for _ in 0..20_000 {
            counts[sample(&logits(), NONE, &config, &mut rng).unwrap().id as usize] +=
                1.0 / 20_000.0;
        }
        counts
    }

    fn close(got: [f32; 4], want: [f32; 4]) {
        // the standard error of a frequency is at most sqrt(0.25 / 20000) = 0.0035
        assert!(
            got.iter().zip(want).all(|(a, b)| (a - b).abs() < 0.015),
            "{got:?} is not {want:?}"
        );
    }

    /// As many tokens as three blocks and a half, of which every seventh has a share.
    #[test]
    fn a_point_falls_where_the_shares_before_it_add_up_to_it() {
        let count = 7 * BLOCK / 2;
        let is_possible = |place: usize| place.is_multiple_of(7);
        let possible = (0..count).filter(|place| is_possible(*place)).count();
        let score = |place| if is_possible(place) { 0.0 } else { f32::NEG_INFINITY };
        let scores: Vec<f32> = (0..count).map(score).collect();
        let total = log_sum_exp(&scores);
        assert!((total - (possible as f32).ln()).abs() < 1e-6);
        for number in [0, 1, 40, 99, possible - 1] {
            // in the middle of the share of the so-many-th
            let point = (number as f32 + 0.5) / possible as f32;
            assert_eq!(draw(&scores, total, point), 7 * number);
        }
        // what rounding leaves goes to the last that is possible
        assert_eq!(draw(&scores, total, 1.0), 7 * (possible - 1));
    }

    #[test]
    fn frequencies_follow_the_distribution() {
        close(frequencies(SamplingConfig::default()), [0.5, 0.3, 0.15, 0.05]);
        // top 2: 0.5 / 0.8 and 0.3 / 0.8; top-p 0.7 needs the first two as well
        close(
            frequencies(SamplingConfig { top_k: 2, ..SamplingConfig::default() }),
            [0.625, 0.375, 0.0, 0.0],
        );
        close(
            frequencies(SamplingConfig { top_p: TopP::literal(0.7), ..SamplingConfig::default() }),
            [0.625, 0.375, 0.0, 0.0],
        );
        // temperature 0.5 squares: 0.25, 0.09, 0.0225, 0.0025 over 0.365
        close(
            frequencies(SamplingConfig {
                temperature: Temperature::literal(0.5),
                ..SamplingConfig::default()
            }),
            [0.685, 0.247, 0.062, 0.007],
        );
        close(
            frequencies(SamplingConfig {
                temperature: Temperature::literal(0.0),
                ..SamplingConfig::default()
            }),
            [1.0, 0.0, 0.0, 0.0],
        );
    }

    #[test]
    fn min_p_is_a_share_of_the_highest_probability() {
        let with = |min_p: f64, top_k: usize, temperature: f64| {
            frequencies(SamplingConfig {
                min_p: Share::literal(min_p),
                top_k,
                temperature: Temperature::literal(temperature),
                ..SamplingConfig::default()
            })
        };
        // 0.25 is 0.5 of 0.5: 0.3 stays, 0.15 does not
        close(with(0.5, 0, 1.0), [0.625, 0.375, 0.0, 0.0]);
        // 0.29 of 0.5 is 0.145, 0.31 of it 0.155: with and without 0.15
        close(with(0.29, 0, 1.0), [0.526, 0.316, 0.158, 0.0]);
        close(with(0.31, 0, 1.0), [0.625, 0.375, 0.0, 0.0]);
        // after the temperature: at 0.5, 0.09 / 0.25 is 0.36 and 0.0225 / 0.25 is 0.09
        close(with(0.1, 0, 0.5), [0.735, 0.265, 0.0, 0.0]);
        close(with(0.5, 0, 0.5), [1.0, 0.0, 0.0, 0.0]);
        // the stricter of two bounds holds
        close(with(0.05, 1, 1.0), [1.0, 0.0, 0.0, 0.0]);
        close(with(1.0, 3, 1.0), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_penalty_makes_what_was_there_less_likely_once() {
        let penalty = |value| RepetitionPenalty::literal(value);
        let config = |value| SamplingConfig {
            repetition_penalty: penalty(value),
            temperature: Temperature::literal(0.0),
            ..SamplingConfig::default()
        };
        let mut rng = Points::new(1, 0);
        let mut likeliest = |logits: &[f32], earlier: &[u32], value: f64| {
            sample(logits, earlier.iter().copied(), &config(value), &mut rng).unwrap().id
        };
        // 3 / 2 = 1.5 is below 2; twice the same id is divided once: 3 / 2 / 2 would be below 1
        assert_eq!(likeliest(&[3.0, 2.0, 1.0], &[], 2.0), 0);
        assert_eq!(likeliest(&[3.0, 2.0, 1.0], &[0, 0], 2.0), 1);
        assert_eq!(likeliest(&[3.0, 1.4, 1.0], &[0, 0], 2.0), 0);
        // negative ones are multiplied: -1 * 2 is below -1.5
        assert_eq!(likeliest(&[-1.0, -1.5], &[0], 2.0), 1);
        assert_eq!(likeliest(&[-1.0, -2.5], &[0], 2.0), 0);
        // below 1 it is a reward
        assert_eq!(likeliest(&[2.0, 3.0], &[0], 0.5), 0);
        // nothing overflows
        assert_eq!(likeliest(&[3e38, 2e38], &[1], 0.01), 1);
        // logits (1, 1), one halved: exp(0.5) / (exp(0.5) + exp(1)) = 0.377541; the policy's own
        // log-probability is that of the logits as they are, ln(0.5)
        let config = SamplingConfig { repetition_penalty: penalty(2.0), ..Default::default() };
        let drawn = sample(&[1.0, 1.0], [0].into_iter(), &config, &mut rng).unwrap();
        let probability: f32 = if drawn.id == 0 { 0.377_541 } else { 0.622_459 };
        assert!((drawn.sampling_logprob - probability.ln()).abs() < 1e-5, "{drawn:?}");
        assert!((drawn.logprob - 0.5f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn both_log_probabilities_are_recorded() {
        let mut rng = Points::new(1, 0);
        let top_1 = SamplingConfig { top_k: 1, ..SamplingConfig::default() };
        let drawn = sample(&logits(), NONE, &top_1, &mut rng).unwrap();
        assert_eq!(drawn.id, 0);
        assert!((drawn.logprob - 0.5f32.ln()).abs() < 1e-6 && drawn.sampling_logprob.abs() < 1e-6);
        // temperature 0.5: 0.25 / 0.365
        let drawn = sample(
            &logits()[..],
            NONE,
            &SamplingConfig { temperature: Temperature::literal(0.5), ..SamplingConfig::default() },
            &mut rng,
        )
        .unwrap();
        let squares = [0.25f32, 0.09, 0.0225, 0.0025];
        assert!((drawn.sampling_logprob - (squares[drawn.id as usize] / 0.365).ln()).abs() < 1e-5);
    }

    /// What `keep_nucleus` keeps, by putting everything in order.
    fn sorted_nucleus(logits: &[f32], top_p: f32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        let total = log_sum_exp(logits);
        let mut mass = 0.0;
        let inside = order.iter().take_while(|index| {
            let needed = mass < top_p;
            mass += (logits[**index] - total).exp();
            needed
        });
        let kept = inside.count().max(1);
        order.truncate(kept);
        order.sort_unstable();
        order
    }

    #[test]
    fn a_nucleus_is_what_a_sort_would_find() {
        let mut points = Points::new(5, 0);
        for size in [1, 2, 63, 64, 65, 600, 5000] {
            for (spread, top_p) in [(0.0, 0.5), (0.1, 0.99), (3.0, 0.9), (12.0, 0.3), (1.0, 1.0)] {
                let logits: Vec<f32> = (0..size).map(|_| spread * points.draw()).collect();
                let mut kept: Vec<usize> = (0..size).collect();
                let descending =
                    |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
                keep_nucleus(&mut kept, top_p, |index| logits[index], descending);
                kept.sort_unstable();
                let wanted = sorted_nucleus(&logits, top_p);
                // the total is summed in another order, which may move the last one
                let apart = kept.len().abs_diff(wanted.len());
                assert!(apart <= 1 + size / 1000, "{size}, {spread}, {top_p}: {apart}");
                let fewer = if kept.len() < wanted.len() { &kept } else { &wanted };
                let more = if kept.len() < wanted.len() { &wanted } else { &kept };
                assert!(fewer.iter().all(|index| more.contains(index)));
            }
        }
    }

    #[test]
    fn entropy_and_alternatives_by_hand() {
        // 0.5 ln 2 + 0.3 ln(1/0.3) + 0.15 ln(1/0.15) + 0.05 ln 20
        // = 0.346574 + 0.361192 + 0.284568 + 0.149787 = 1.142120
        assert!((entropy(&logits()) - 1.142_12).abs() < 1e-6);
        // all alike: ln 4 = 1.386294; one certain: 0
        assert!((entropy(&[2.0; 4]) - 1.386_294).abs() < 1e-6);
        assert!(entropy(&[90.0, 0.0]).abs() < 1e-6);
        let found = likeliest(&[1.0, 3.0, 3.0, 0.0], 3);
        assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 0]);
        // ln(e^3 / (2 e^3 + e + 1)) = 3 - ln(43.889356) = -0.781672
        assert!((found[0].1 + 0.781_672).abs() < 1e-5, "{found:?}");
        let zeros = likeliest(&[-1.0, -0.0, 0.0], 2);
        assert_eq!((zeros[0].0, zeros[1].0), (1, 2));
        assert_eq!(likeliest(&[1.0], 5).len(), 1);
        assert_eq!(likeliest(&[1.0], 0), []);
    }

    #[test]
    fn logits_that_are_no_numbers_yield_nothing() {
        let mut rng = Points::new(1, 0);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for temperature in [0.0, 1.0].map(Temperature::literal) {
                let config = SamplingConfig { temperature, ..SamplingConfig::default() };
                assert_eq!(sample(&[0.0, bad], NONE, &config, &mut rng), None, "{bad}");
            }
        }
        // large, but a number
        let config = SamplingConfig::default();
        assert_eq!(sample(&[-3e38, 3e38], NONE, &config, &mut rng).map(|drawn| drawn.id), Some(1));
    }
}
