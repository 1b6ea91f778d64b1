//! Hypervolume-guided weighting (arXiv 2509.11452): the scalarized reward times
//! `0.5 + 1.5 tanh(dHV)`, where dHV is what the policy's latest validation point adds to the
//! hypervolume of the earlier ones. The factor is common to all rollouts of a step, so it changes
//! the step's size and nothing inside a group; the group's deviation is not divided by, or the
//! factor would cancel.

use super::statistics::{check_archive, check_volume};
use super::{Advantages, Estimator, EstimatorError, Group, Progress, grpo, weighted};
use crate::pareto::Archive;
use paretopo_settings::Weights;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Scalarization weighted by the validation point's hypervolume gain (arXiv 2509.11452).
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

/// What it remembers between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationState {
    /// The policy's own points on the validation tasks.
    pub archive: Archive,
    /// dHV of the latest of them.
    pub validation_gain: f64,
}

impl Estimator for HvWeightingConfig {
    type State = ValidationState;

    fn advantages(
        &self,
        state: &mut ValidationState,
        groups: &[Group],
        _: Progress,
    ) -> Result<Advantages, EstimatorError> {
        Ok(advantages(self, state, groups))
    }

    fn observe_validation(&self, state: &mut ValidationState, point: &[f64]) {
        state.validation_gain = state.archive.gain(point, &vec![0.0; point.len()]);
        state.archive.insert(point);
    }

    fn weight_count(&self) -> Option<usize> {
        Some(self.weights.len())
    }

    fn check_state(
        &self,
        state: &ValidationState,
        _: Progress,
        objectives: usize,
    ) -> Result<(), String> {
        check_archive("archive", &state.archive, objectives)?;
        check_volume("validation_gain", state.validation_gain)
    }
}

fn advantages(config: &HvWeightingConfig, state: &ValidationState, groups: &[Group]) -> Advantages {
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

    #[test]
    fn progress_enlarges_the_step() {
        let config = HvWeightingConfig::default();
        let groups = [Group { rewards: vec![vec![1.0, 0.0], vec![0.0, 0.0]], ..Group::default() }];
        let mut state = ValidationState::default();
        // dHV 0: factor 0.5, r = (0.3, 0), mean 0.15
        assert!((advantages(&config, &state, &groups).values[0][0] - 0.15).abs() < 1e-6);
        // the point (0.5, 0.8) adds 0.4: 0.5 + 1.5 tanh(0.4) = 0.5 + 1.5 * 0.379949 = 1.069923, r =
        // 0.641954, / 2 = 0.320977
        config.observe_validation(&mut state, &[0.5, 0.8]);
        assert!((advantages(&config, &state, &groups).values[0][0] - 0.320_977).abs() < 1e-5);
    }
}
