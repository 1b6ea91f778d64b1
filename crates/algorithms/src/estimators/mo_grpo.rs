//! MO-GRPO (arXiv 2509.22047): `A_i = sum_k (r_ik - mean_k) / (std_k + epsilon)`, each objective
//! standardised inside its group, so that none dominates by its scale.

use super::statistics::standardised;
use super::{Advantages, Group, stateless};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sum of separately standardised objectives (MO-GRPO, arXiv 2509.22047).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoGrpoConfig {}

stateless!(MoGrpoConfig, |_| None, |own, groups| Ok(advantages(own, groups)));

fn advantages(_: &MoGrpoConfig, groups: &[Group]) -> Advantages {
    Advantages {
        values: groups.iter().map(|group| weighted_standardised(group, &[])).collect(),
        ..Advantages::default()
    }
}

/// `sum_k w_k * standardised(r_k)`; no weights count as ones.
pub(super) fn weighted_standardised(group: &Group, weights: &[f64]) -> Vec<f64> {
    let objectives = group.rewards.first().map_or(0, Vec::len);
    let mut sums = vec![0.0; group.rewards.len()];
    for objective in 0..objectives {
        let column: Vec<f64> = group.rewards.iter().map(|reward| reward[objective]).collect();
        let weight = weights.get(objective).copied().unwrap_or(1.0);
        for (sum, value) in sums.iter_mut().zip(standardised(&column, true)) {
            *sum += weight * value;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_does_not_matter() {
        let group = Group { rewards: vec![vec![1.0, 0.01], vec![0.0, 0.03]], ..Group::default() };
        // first objective: +-0.5 / (0.707107 + 0.0001) = +-0.707007; second: -+0.01 / (0.014142 +
        // 0.0001) = -+0.702142
        let values = &advantages(&MoGrpoConfig {}, &[group]).values[0];
        assert!(
            (values[0] - 0.004_865).abs() < 1e-4 && (values[1] + 0.004_865).abs() < 1e-4,
            "{values:?}"
        );
    }
}
