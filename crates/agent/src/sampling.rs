//! Drawing a token from logits, with the log-probabilities that training needs.

use paretopo_settings::{Temperature, TopP, within};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// How tokens are drawn.
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
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            temperature: const { Temperature::literal(1.0) },
            top_k: 0,
            top_p: const { TopP::literal(1.0) },
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
///
/// # Shapes
/// - `logits`: `vocab_size` values
pub fn sample(logits: &[f32], config: &SamplingConfig, rng: &mut impl Rng) -> Option<Sampled> {
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
    if temperature == 0.0 {
        let best = logits
            .iter()
            .enumerate()
            .fold(0, |best, (index, logit)| if *logit > logits[best] { index } else { best });
        return Some(drawn(best, 0.0));
    }
    let tempered = |index: usize| logits[index] / temperature;
    if config.top_k == 0 && top_p >= 1.0 {
        let total = if temperature == 1.0 {
            normaliser
        } else {
            log_sum_exp(logits.iter().map(|logit| logit / temperature))
        };
        let index = draw(0..logits.len(), |index| (tempered(index) - total).exp(), rng);
        return Some(drawn(index, tempered(index) - total));
    }
    let mut candidates: Vec<usize> = (0..logits.len()).collect();
    let descending = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
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
    // in the order of ids, so that the draw does not depend on how candidates were found
    candidates.sort_unstable();
    let total = log_sum_exp(candidates.iter().map(|index| tempered(*index)));
    let index = draw(candidates.iter().copied(), |index| (tempered(index) - total).exp(), rng);
    Some(drawn(index, tempered(index) - total))
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

    /// Probabilities 0.5, 0.3, 0.15, 0.05.
    fn logits() -> Vec<f32> {
        [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect()
    }

    fn frequencies(config: SamplingConfig) -> [f32; 4] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0.0; 4];
        for _ in 0..20_000 {
            counts[sample(&logits(), &config, &mut rng).unwrap().id as usize] += 1.0 / 20_000.0;
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
    fn both_log_probabilities_are_recorded() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn =
            sample(&logits(), &SamplingConfig { top_k: 1, ..SamplingConfig::default() }, &mut rng)
                .unwrap();
        assert_eq!(drawn.id, 0);
        assert!((drawn.logprob - 0.5f32.ln()).abs() < 1e-6 && drawn.sampling_logprob.abs() < 1e-6);
        // temperature 0.5: 0.25 / 0.365
        let drawn = sample(
            &logits()[..],
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
                assert_eq!(sample(&[0.0, bad], &config, &mut rng), None, "{bad}");
            }
        }
        // large, but a number
        let config = SamplingConfig::default();
        assert_eq!(sample(&[-3e38, 3e38], &config, &mut rng).map(|drawn| drawn.id), Some(1));
    }
}
