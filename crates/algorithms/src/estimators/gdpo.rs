//! GDPO (arXiv 2601.05242): each objective is standardised inside its group, the weighted sum is
//! standardised over the batch.

use super::mo_grpo::weighted_standardised;
use super::reinforce_plus_plus::split_like;
use super::statistics::standardised;
use super::{Advantages, Group, stateless};
use paretopo_settings::Weights;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Group-wise decoupled normalisation (GDPO, arXiv 2601.05242).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GdpoConfig {
    /// One weight per objective.
    pub weights: Weights,
}

impl Default for GdpoConfig {
    fn default() -> Self {
        Self { weights: Weights::literal([0.6, 0.4]) }
    }
}

stateless!(GdpoConfig, |own| Some(own.weights.len()), |own, groups| Ok(advantages(own, groups)));

fn advantages(config: &GdpoConfig, groups: &[Group]) -> Advantages {
    let configured = config.weights.get();
    let of_group = |group: &Group| weighted_standardised(group, group.weights(&configured));
    let flat: Vec<f64> = groups.iter().flat_map(of_group).collect();
    Advantages { values: split_like(&standardised(&flat, true), groups), ..Advantages::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_normalisations() {
        let group = |rewards: [[f64; 2]; 2]| Group {
            rewards: rewards.iter().map(|r| r.to_vec()).collect(),
            ..Group::default()
        };
        let groups = [group([[1.0, 1.0], [0.0, 0.0]]), group([[1.0, 0.0], [1.0, 1.0]])];
        // both objectives of the first group: +-0.707007 * (0.6 + 0.4); the second group: only the
        // second objective, -+0.707007 * 0.4 batch (0.707007, -0.707007, -0.282803, 0.282803): mean
        // 0, std sqrt(2 (0.499859 + 0.079977) / 3) = 0.621738 0.707007 / 0.621838 = 1.136963
        let values = advantages(&GdpoConfig::default(), &groups).values;
        assert!(
            (values[0][0] - 1.136_963).abs() < 1e-4 && (values[1][0] + 0.454_785).abs() < 1e-4,
            "{values:?}"
        );
    }
}
