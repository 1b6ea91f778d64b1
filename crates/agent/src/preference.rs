//! What a policy is asked to prefer: a weight for each objective, told in front of the question.
//!
//! One policy then stands for a whole front (preference-conditioned policies, as in arXiv
//! 2503.00295): training draws the weights of each prompt, and whoever uses it says which they want.

use paretopo_chat::{ChatError, Tokenizer};
use paretopo_environments::preference_token;
use paretopo_settings::Weights;
use paretopo_trajectory::ObjectiveValues;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Parts into which 1 is divided where weights are drawn or told by tokens.
const PARTS: usize = 10;

/// How a preference is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// A token for each objective, `<w0>` to `<w10>`: its weight in tenths. For policies whose
    /// tokenizer has them.
    #[default]
    Tokens,
    /// A sentence: `What counts: r_task 0.8, r_tool 0.2.` For models that read.
    Sentence,
}

/// What a policy is asked to prefer, and how it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreferenceConfig {
    /// How it is told.
    pub tell: Told,
    /// A weight for each objective, of evaluations and `solve`; divided by their sum.
    pub weights: Weights,
    /// Whether training draws other weights for each prompt, in tenths, each division of 1 as often.
    pub drawn: bool,
}

impl Default for PreferenceConfig {
    fn default() -> Self {
        Self { tell: Told::Tokens, weights: Weights::literal([0.6, 0.4]), drawn: true }
    }
}

impl PreferenceConfig {
    /// The configured weights, which add up to 1.
    ///
    /// # Panics
    /// When there are fewer weights than objectives, which the configuration's check refuses.
    pub fn usual(&self, objectives: &Arc<[String]>) -> ObjectiveValues {
        normalised(&self.weights, objectives)
    }

    /// Weights in tenths that add up to 1, all divisions of 1 among the objectives as likely.
    pub fn draw(&self, objectives: &Arc<[String]>, seed: u64) -> ObjectiveValues {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // bars between ten stars: of ten stars and K - 1 bars in a row, where the bars are
        let bars = objectives.len().saturating_sub(1);
        let mut places = sample(&mut rng, PARTS + bars, bars).into_vec();
        places.sort_unstable();
        places.push(PARTS + bars);
        let mut behind = 0;
        let tenths = places.into_iter().map(|place| {
            let stars = place - behind;
            behind = place + 1;
            stars as f64 / PARTS as f64
        });
        ObjectiveValues::new(objectives, tenths.collect())
    }

    /// Whether a tokenizer has the tokens by which preferences are told.
    ///
    /// # Errors
    /// Names one that it has not.
    pub(crate) fn require_tokens(&self, tokenizer: &Tokenizer) -> Result<(), ChatError> {
        let tenths = (0..=PARTS as u32).filter(|_| self.tell == Told::Tokens);
        let mut missing =
            tenths.map(preference_token).filter(|token| tokenizer.token_to_id(token).is_none());
        match missing.next() {
            None => Ok(()),
            Some(token) => Err(ChatError::Tokenizer(format!(
                "it has no token `{token}`, by which a preference is told\nhint: \
                 `rollout.preference.tell = \"sentence\"` tells it in words"
            ))),
        }
    }

    /// What stands in front of the question; nothing without a preference.
    pub fn words(&self, preference: &ObjectiveValues) -> String {
        if preference.is_empty() {
            return String::new();
        }
        match self.tell {
            Told::Tokens => {
                let token = |weight: &f64| preference_token((weight * PARTS as f64).round() as u32);
                preference.values().iter().map(token).collect()
            }
            Told::Sentence => {
                let pair = |(name, weight): (&str, f64)| format!("{name} {weight:.2}");
                let pairs: Vec<String> = preference.iter().map(pair).collect();
                format!("What counts: {}.\n\n", pairs.join(", "))
            }
        }
    }
}

/// Weights divided by their sum, with the names of objectives.
pub fn normalised(weights: &Weights, objectives: &Arc<[String]>) -> ObjectiveValues {
    let weights = weights.get();
    let sum: f64 = weights.iter().sum();
    ObjectiveValues::new(objectives, weights.iter().map(|weight| weight / sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn names(count: usize) -> Arc<[String]> {
        ["r_task", "r_tool", "r_length"][..count].iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_preference_is_told_in_tokens_or_a_sentence() {
        let tokens =
            PreferenceConfig { weights: Weights::literal([2.0, 0.5]), ..Default::default() };
        // 2 and 0.5 of 2.5
        let preference = tokens.usual(&names(2));
        assert_eq!(preference.values(), [0.8, 0.2]);
        assert_eq!(tokens.words(&preference), "<w8><w2>");
        let sentence = PreferenceConfig { tell: Told::Sentence, ..tokens.clone() };
        assert_eq!(sentence.words(&preference), "What counts: r_task 0.80, r_tool 0.20.\n\n");
        assert_eq!(tokens.words(&ObjectiveValues::default()), "");
    }

    #[test]
    fn each_division_of_one_is_drawn_as_often() {
        let config = PreferenceConfig::default();
        for count in 1..4 {
            let mut found: BTreeMap<Vec<u64>, usize> = BTreeMap::new();
            for seed in 0..6600 {
                let drawn = config.draw(&names(count), seed);
                let tenths: Vec<u64> =
                    drawn.values().iter().map(|weight| (weight * 10.0).round() as u64).collect();
                assert_eq!(tenths.iter().sum::<u64>(), 10, "{tenths:?}");
                *found.entry(tenths).or_default() += 1;
            }
            // C(10 + K - 1, K - 1) divisions: 1, 11, 66
            assert_eq!(found.len(), [1, 11, 66][count - 1]);
            let expected = 6600 / found.len();
            // at 100 expected the deviation is 10: five of them
            let near = |seen: &usize| seen.abs_diff(expected) <= 5 * expected.isqrt();
            assert!(found.values().all(near), "{found:?}");
        }
        assert_eq!(config.draw(&names(2), 7), config.draw(&names(2), 7));
    }
}
