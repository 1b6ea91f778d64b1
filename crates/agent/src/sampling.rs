//! Drawing a token from logits, with the log-probabilities that training needs.

use paretopo_settings::{RepetitionPenalty, Share, Temperature, TopP, within};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How tokens are drawn: the penalty, then the temperature, then each of the others on what the one
/// before it has left, in transformers' order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// Logits are divided by it; 0 is greedy.
    pub temperature: Temperature,
    /// Only the k likeliest tokens; 0 for all.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
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

/// `log(sum(exp(logits)))`, stable.
fn log_sum_exp(logits: impl Iterator<Item = f32> + Clone) -> f32 {
    let highest = logits.clone().fold(f32::NEG_INFINITY, f32::max);
    highest + logits.map(|logit| (logit - highest).exp()).sum::<f32>().ln()
}

/// Log-probabilities of all tokens.
///
/// # Shapes
/// - `logits`, output: `vocab_size` values
pub fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let normaliser = log_sum_exp(logits.iter().copied());
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
    rng: &mut impl Rng,
) -> Option<Sampled> {
    let normaliser = log_sum_exp(logits.iter().copied());
    if !normaliser.is_finite() || logits.iter().any(|logit| !logit.is_finite()) {
        return None;
    }
    let drawn = |index: usize, sampling_logprob| Sampled {
        id: index as u32,
        logprob: logits[index] - normaliser,
        sampling_logprob,
    };
    let (temperature, top_p) = (config.temperature.single(), config.top_p.single());
    let min_p = config.min_p.single();
    let penalty = config.repetition_penalty.single();
    let scores = if penalty == 1.0 {
        Cow::Borrowed(logits)
    } else {
        Cow::Owned(penalised(logits, earlier, penalty))
    };
    if temperature == 0.0 {
        let best = scores
            .iter()
            .enumerate()
            .fold(0, |best, (index, score)| if *score > scores[best] { index } else { best });
        return Some(drawn(best, 0.0));
    }
    let tempered = |index: usize| scores[index] / temperature;
    if config.top_k == 0 && top_p >= 1.0 && min_p == 0.0 {
        let total = if temperature == 1.0 && penalty == 1.0 {
            normaliser
        } else {
            log_sum_exp(scores.iter().map(|score| score / temperature))
        };
        let index = draw(0..scores.len(), |index| (tempered(index) - total).exp(), rng);
        return Some(drawn(index, tempered(index) - total));
    }
    let mut candidates: Vec<usize> = (0..scores.len()).collect();
    let descending = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    if config.top_k > 0 && config.top_k < candidates.len() {
        candidates.select_nth_unstable_by(config.top_k, descending);
        candidates.truncate(config.top_k);
    }
    if top_p < 1.0 {
        candidates.sort_unstable_by(descending);
        let total = log_sum_exp(candidates.iter().map(|index| tempered(*index)));
        let mut mass = 0.0;
        let inside = candidates.iter().take_while(|index| {
            let needed = mass < top_p;
            mass += (tempered(**index) - total).exp();
            needed
        });
        let kept = inside.count().max(1);
        candidates.truncate(kept);
    }
    if min_p > 0.0 {
        // p >= min_p * p_highest, in logarithms; the likeliest itself always is
        let highest = candidates.iter().map(|index| tempered(*index)).fold(f32::MIN, f32::max);
        candidates.retain(|index| tempered(*index) - highest >= min_p.ln());
    }
    // in the order of ids, so that the draw does not depend on how candidates were found
    candidates.sort_unstable();
    let total = log_sum_exp(candidates.iter().map(|index| tempered(*index)));
    let index = draw(candidates.iter().copied(), |index| (tempered(index) - total).exp(), rng);
    Some(drawn(index, tempered(index) - total))
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

/// Inverse transform sampling; rounding may leave a little mass, which goes to the last candidate
/// of positive probability.
fn draw(
    candidates: impl Iterator<Item = usize>,
    probability: impl Fn(usize) -> f32,
    rng: &mut impl Rng,
) -> usize {
    let mut point: f32 = rng.random();
    let mut last = 0;
    for index in candidates {
        let probability = probability(index);
        if probability > 0.0 {
            last = index;
            if point < probability {
                return index;
            }
            point -= probability;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const NONE: std::iter::Empty<u32> = std::iter::empty();

    /// Probabilities 0.5, 0.3, 0.15, 0.05.
    fn logits() -> Vec<f32> {
        [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect()
    }

    fn frequencies(config: SamplingConfig) -> [f32; 4] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
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
        let mut rng = ChaCha8Rng::seed_from_u64(1);
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
        let mut rng = ChaCha8Rng::seed_from_u64(1);
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

    #[test]
    fn logits_that_are_no_numbers_yield_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
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
