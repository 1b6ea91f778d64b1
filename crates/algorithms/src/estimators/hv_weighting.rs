//! Hypervolume-guided weighting (arXiv 2509.11452): the scalarized reward times
//! `0.5 + 1.5 tanh(dHV)`, where dHV is what the policy's latest validation point adds to the
//! hypervolume of the earlier ones. The factor is common to all rollouts of a step, so it changes
//! the step's size and nothing inside a group; the group's deviation is not divided by, or the
//! factor would cancel.

use super::{Advantages, EstimatorState, Group, grpo, weighted};
use paretopo_settings::Weights;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of hypervolume-guided weighting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HvWeightingConfig {
    /// One weight per objective.
    pub weights: Weights,
}

impl Default for HvWeightingConfig {
    fn default() -> Self {
        Self { weights: Weights::literal([0.6, 0.4]) }
    }
}

pub(super) fn advantages(
    config: &HvWeightingConfig,
    state: &EstimatorState,
    groups: &[Group],
) -> Advantages {
    let factor = 0.5 + 1.5 * state.validation_gain.tanh();
    let weights = config.weights.get();
    let scalars = groups.iter().map(|group| {
        group.rewards.iter().map(|reward| factor * weighted(&weights, reward)).collect()
    });
    let mut advantages = grpo::from_scalars(scalars, false);
    advantages.diagnostics.insert("r_pareto", factor);
    advantages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EstimatorConfig;

    #[test]
    fn progress_enlarges_the_step() {
        let config = HvWeightingConfig::default();
        let groups = [Group { rewards: vec![vec![1.0, 0.0], vec![0.0, 0.0]], ..Group::default() }];
        let mut state = EstimatorState::default();
        // dHV 0: factor 0.5, r = (0.3, 0), mean 0.15
        assert!((advantages(&config, &state, &groups).values[0][0] - 0.15).abs() < 1e-6);
        // the point (0.5, 0.8) adds 0.4: 0.5 + 1.5 tanh(0.4) = 0.5 + 1.5 * 0.379949 = 1.069923, r =
        // 0.641954, / 2 = 0.320977
        state.observe_validation(&[0.5, 0.8], &EstimatorConfig::HvWeighting(config.clone()));
        assert!((advantages(&config, &state, &groups).values[0][0] - 0.320_977).abs() < 1e-5);
    }
}
