//! Smooth Chebyshev scalarization: GRPO on `r = -mu log(sum_k exp(w_k (1 - r_k) / mu))`. It is
//! within `mu log(K)` of the weighted Chebyshev distance from (1, ..., 1), but unlike that it also
//! moves with the objectives that are not the worst.

use super::{grpo, stateless};
use paretopo_settings::{Positive, Weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// GRPO on the smooth maximum of the weighted distances from 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SmoothChebyshevConfig {
    /// One weight per objective.
    pub weights: Weights,
    /// How smooth the maximum is, `mu`.
    pub smoothness: Positive,
    /// Whether to divide by the group's standard deviation.
    pub std_normalization: bool,
}

impl Default for SmoothChebyshevConfig {
    fn default() -> Self {
        Self {
            weights: Weights::literal([0.6, 0.4]),
            smoothness: const { Positive::literal(0.1) },
            std_normalization: true,
        }
    }
}

stateless!(SmoothChebyshevConfig, |own| Some(own.weights.len()), |own, groups| {
    let configured = own.weights.get();
    let scalars = groups.iter().map(|group| {
        let weights = group.weights(&configured);
        let reward = |reward: &Vec<f64>| -distance(weights, reward, own.smoothness.get());
        group.rewards.iter().map(reward).collect()
    });
    Ok(grpo::from_scalars(scalars, own.std_normalization))
});

/// `mu log(sum_k exp(w_k (1 - r_k) / mu))`, computed about the largest term.
fn distance(weights: &[f64], reward: &[f64], mu: f64) -> f64 {
    let terms = || weights.iter().zip(reward).map(|(weight, value)| weight * (1.0 - value));
    let largest = terms().fold(f64::MIN, f64::max);
    largest + mu * terms().map(|term| ((term - largest) / mu).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_shortfalls_count_the_worst_most() {
        // (1, 0.5): terms (0, 0.2): 0.2 + 0.1 log(exp(-2) + 1) = 0.2 + 0.1 * 0.126928
        let found = distance(&[0.6, 0.4], &[1.0, 0.5], 0.1);
        assert!((found - 0.212_693).abs() < 1e-6, "{found}");
        // (0, 1): terms (0.6, 0): 0.6 + 0.1 log(1 + exp(-6)) = 0.600248
        let found = distance(&[0.6, 0.4], &[0.0, 1.0], 0.1);
        assert!((found - 0.600_248).abs() < 1e-6, "{found}");
    }

    proptest! {
        #[test]
        fn it_is_near_the_largest_shortfall_and_orders_what_is_better_in_all(
            reward in proptest::collection::vec(0.0f64..1.0, 3),
            step in 0.001f64..0.5,
            mu in 0.01f64..1.0,
        ) {
            let weights = [0.5, 0.3, 0.2];
            let terms = weights.iter().zip(&reward).map(|(weight, value)| weight * (1.0 - value));
            let largest = terms.fold(f64::MIN, f64::max);
            let found = distance(&weights, &reward, mu);
            prop_assert!(found >= largest && found <= largest + mu * 3f64.ln() + 1e-9);
            let better: Vec<f64> = reward.iter().map(|value| value + step).collect();
            prop_assert!(distance(&weights, &better, mu) < found);
        }
    }
}
