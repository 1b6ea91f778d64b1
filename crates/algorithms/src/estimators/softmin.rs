//! The smooth minimum of separately standardised objectives, standardised over the batch:
//!
//! `A_i = -(1/k) log(sum_j w_j exp(-k Z_ij))` with `sum_j w_j = 1` and `Z_ij` the j-th objective
//! standardised inside the group. For small k it is the weighted mean (GDPO), for large k the worst
//! objective. Public notes describe RVPO so, with equal weights; that paper itself was not read,
//! hence the name.

use super::reinforce_plus_plus::split_like;
use super::statistics::standardised;
use super::{Advantages, Group, stateless};
use paretopo_settings::{Positive, Weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The smooth minimum of separately standardised objectives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftminConfig {
    /// One weight per objective; only their ratios count.
    pub weights: Weights,
    /// How sharp the minimum is, `k`.
    pub sharpness: Positive,
}

impl Default for SoftminConfig {
    fn default() -> Self {
        Self { weights: Weights::literal([0.5, 0.5]), sharpness: const { Positive::literal(1.0) } }
    }
}

stateless!(SoftminConfig, |own| Some(own.weights.len()), |own, groups| Ok(advantages(own, groups)));

fn advantages(config: &SoftminConfig, groups: &[Group]) -> Advantages {
    let configured = config.weights.get();
    let mut all = Vec::new();
    for group in groups {
        let weights = group.weights(&configured);
        let total: f64 = weights.iter().sum();
        // what its environment lacks is no minimum
        let share = |(k, weight): (usize, &f64)| match group.lacks.contains(&k) {
            true => 0.0,
            false => weight / total,
        };
        let shares: Vec<f64> = weights.iter().enumerate().map(share).collect();
        let columns = standardised_objectives(group);
        all.extend((0..group.rewards.len()).map(|rollout| {
            let values: Vec<f64> = columns.iter().map(|column| column[rollout]).collect();
            smooth_minimum(&values, &shares, config.sharpness.get())
        }));
    }
    Advantages { values: split_like(&standardised(&all, true), groups), ..Advantages::default() }
}

/// Each objective standardised inside its group: a list for each objective.
pub(super) fn standardised_objectives(group: &Group) -> Vec<Vec<f64>> {
    let objectives = group.rewards.first().map_or(0, Vec::len);
    let column = |k: usize| group.rewards.iter().map(|reward| reward[k]).collect::<Vec<f64>>();
    (0..objectives).map(|k| standardised(&column(k), true)).collect()
}

/// `-(1/k) log(sum_j w_j exp(-k v_j))`, computed about the lowest value that has a weight.
fn smooth_minimum(values: &[f64], shares: &[f64], k: f64) -> f64 {
    let weighted = || values.iter().zip(shares).filter(|(_, share)| **share > 0.0);
    let lowest = weighted().map(|(value, _)| *value).fold(f64::INFINITY, f64::min);
    let sum: f64 = weighted().map(|(value, share)| share * (-k * (value - lowest)).exp()).sum();
    lowest - sum.ln() / k
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn between_the_mean_and_the_worst() {
        let half = [0.5, 0.5];
        // -log((exp(-1) + exp(1)) / 2) = -log(1.543081) = -0.433781
        assert!((smooth_minimum(&[1.0, -1.0], &half, 1.0) + 0.433_781).abs() < 1e-6);
        // k -> 0: the mean 0; k -> infinity: -1 + log(2) / 1000 = -0.999307
        assert!(smooth_minimum(&[1.0, -1.0], &half, 1e-4).abs() < 1e-3);
        assert!((smooth_minimum(&[1.0, -1.0], &half, 1e3) + 0.999_307).abs() < 1e-6);
        // without a weight an objective is not there
        assert_eq!(smooth_minimum(&[1.0, -1.0], &[1.0, 0.0], 2.0), 1.0);
    }

    #[test]
    fn is_standardised_over_the_batch() {
        let group = Group { rewards: vec![vec![1.0, 0.0], vec![0.0, 0.0]], ..Group::default() };
        // Z of the first objective +-0.5 / 0.707207 = +-0.707007, of the second 0:
        // -log((exp(-+0.707007) + 1) / 2) = -log(0.746559) = 0.292281 and
        // -log(1.513958) = -0.414727; half of their difference is 0.353504, their deviation
        // 0.353504 * sqrt(2) = 0.499930; 0.353504 / 0.500030 = 0.706966
        let values = &advantages(&SoftminConfig::default(), &[group]).values[0];
        assert!(
            (values[0] - 0.706_966).abs() < 1e-5 && (values[1] + 0.706_966).abs() < 1e-5,
            "{values:?}"
        );
    }

    proptest! {
        #[test]
        fn what_is_better_in_all_is_worth_more(
            low in proptest::collection::vec(-3.0f64..3.0, 3),
            steps in proptest::collection::vec(0.01f64..2.0, 3),
            k in 0.01f64..20.0,
        ) {
            let high: Vec<f64> = low.iter().zip(&steps).map(|(low, step)| low + step).collect();
            let shares = [0.2, 0.3, 0.5];
            let (a, b) = (smooth_minimum(&high, &shares, k), smooth_minimum(&low, &shares, k));
            prop_assert!(a > b);
            // and it lies between the worst value and the weighted mean (Jensen)
            let mean: f64 = low.iter().zip(&shares).map(|(value, share)| value * share).sum();
            let worst = low.iter().copied().fold(f64::INFINITY, f64::min);
            prop_assert!(b <= mean + 1e-9 && b >= worst - 1e-9);
        }
    }
}
