//! Hypervolume-guided weighting (arXiv 2509.11452; the authors' code was read): the scalarized
//! reward times `0.5 + 1.5 tanh(dHV)`, then GRPO.
//!
//! dHV is what the policy's latest point adds to the hypervolume of the earlier ones above the
//! reference. As the authors run it, points are means over validation tasks after each update
//! (`train.validate_every = 1`), the reference is the initial policy's, and the factor is 1 before
//! the first update. The factor is common to all rollouts of a step: division by the group's
//! deviation, which is theirs, too, cancels it but for the epsilon. Without the division
//! (`std_normalization = false`) and above the origin (`reference = "origin"`) it is what this
//! project ran under this name until 2026-11-26.

use super::statistics::{batch_mean, check_archive, check_volume};
use super::{Advantages, Estimator, EstimatorError, Group, Progress, grpo};
use crate::pareto::Archive;
use paretopo_settings::{Finite, Weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the hypervolume is measured above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReferencePoint {
    /// The point of the policy that the run begins with.
    InitialPolicy,
    /// (0, ..., 0).
    Origin,
}

/// What the policy's point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyPoint {
    /// The mean over validation tasks, whenever there is a validation (`train.validate_every`).
    Validation,
    /// The mean over the step's rollouts: a point at each step without a validation.
    BatchMean,
}

/// Scalarization weighted by the policy's hypervolume gain (arXiv 2509.11452).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HvWeightingConfig {
    /// One weight per objective.
    pub weights: Weights,
    /// Whether to divide by the group's standard deviation.
    pub std_normalization: bool,
    /// What the hypervolume is measured above.
    pub reference: ReferencePoint,
    /// What the policy's point is.
    pub point: PolicyPoint,
}

impl Default for HvWeightingConfig {
    fn default() -> Self {
        Self {
            weights: Weights::literal([0.6, 0.4]),
            std_normalization: true,
            reference: ReferencePoint::InitialPolicy,
            point: PolicyPoint::Validation,
        }
    }
}

/// What it remembers between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationState {
    /// The policy's own points.
    pub archive: Archive,
    /// dHV of the latest of them; `None` as long as there is no point but the reference.
    pub validation_gain: Option<f64>,
    /// The initial policy's point, where that is the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Vec<f64>>,
}

impl Estimator for HvWeightingConfig {
    type State = ValidationState;

    fn advantages(
        &self,
        state: &mut ValidationState,
        groups: &[Group],
        _: Progress,
    ) -> Result<Advantages, EstimatorError> {
        if self.point == PolicyPoint::BatchMean
            && let Some(point) = batch_mean(groups)
        {
            observe(self, state, &point);
        }
        Ok(advantages(self, state, groups))
    }

    fn observe_validation(&self, state: &mut ValidationState, point: &[f64]) {
        if self.point == PolicyPoint::Validation {
            observe(self, state, point);
        }
    }

    fn weight_count(&self) -> Option<usize> {
        Some(self.weights.len())
    }

    fn warnings(&self) -> Vec<String> {
        if !self.std_normalization {
            return Vec::new();
        }
        vec![
            "`std_normalization` cancels the factor of `hv_weighting`, as in its authors' code: it \
             is `scalarized` but for rounding"
                .into(),
        ]
    }

    fn check_state(
        &self,
        state: &ValidationState,
        _: Progress,
        objectives: usize,
    ) -> Result<(), String> {
        check_archive("archive", &state.archive, objectives)?;
        check_volume("validation_gain", state.validation_gain.unwrap_or(0.0))?;
        let is_from_origin = self.reference == ReferencePoint::Origin;
        match &state.initial {
            Some(point) if is_from_origin => {
                Err(format!("`initial` is {point:?}, but `reference` is \"origin\""))
            }
            Some(point) if point.len() != objectives => {
                Err(format!("`initial` is {point:?}, but there are {objectives} objectives"))
            }
            Some(point) if point.iter().any(|value| !Finite::RANGE.contains(*value)) => {
                Err(format!("`initial` is {point:?}, but a reward is {}", Finite::RANGE))
            }
            None if !is_from_origin && !state.archive.points().is_empty() => Err(
                "`archive` holds points above the origin: earlier versions measured so\nhint: start again \
                 with another `--run`; what ran is `estimator.reference = \"origin\"` with \
                 `estimator.std_normalization = false`"
                    .into(),
            ),
            _ => Ok(()),
        }
    }
}

/// Takes in the policy's latest point: the first is the reference, where that is the initial
/// policy's.
fn observe(config: &HvWeightingConfig, state: &mut ValidationState, point: &[f64]) {
    let origin = vec![0.0; point.len()];
    let reference = match (config.reference, &state.initial) {
        (ReferencePoint::Origin, _) => &origin,
        (ReferencePoint::InitialPolicy, Some(initial)) => initial,
        (ReferencePoint::InitialPolicy, None) => {
            state.initial = Some(point.to_vec());
            return;
        }
    };
    let gain = state.archive.gain(point, reference);
    state.validation_gain = Some(gain);
    // a point beside the initial policy's has no volume, and may dominate none
    if config.reference == ReferencePoint::Origin || gain > 0.0 {
        state.archive.insert(point);
    }
}

fn advantages(config: &HvWeightingConfig, state: &ValidationState, groups: &[Group]) -> Advantages {
    let factor = match (state.validation_gain, config.reference) {
        (None, ReferencePoint::InitialPolicy) => 1.0,
        (gain, _) => 0.5 + 1.5 * gain.unwrap_or(0.0).tanh(),
    };
    let weights = config.weights.get();
    let scaled =
        |group: &Group| group.scalars(&weights).into_iter().map(|scalar| factor * scalar).collect();
    let scalars = groups.iter().map(scaled);
    let mut advantages = grpo::from_scalars(scalars, config.std_normalization);
    advantages.diagnostics.insert("r_pareto", factor);
    advantages
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Progress = Progress { step: 0, total_steps: 1, seed: 0, call_limit: 4.0 };

    fn without_division() -> HvWeightingConfig {
        HvWeightingConfig { std_normalization: false, ..HvWeightingConfig::default() }
    }

    /// The advantage of the first of the rewards (1, 0) and (0, 0), scalarized (0.6, 0).
    fn first(config: &HvWeightingConfig, state: &mut ValidationState) -> f64 {
        let rewards = vec![vec![1.0, 0.0], vec![0.0, 0.0]];
        let groups = [Group { rewards, ..Group::default() }];
        config.advantages(state, &groups, START).unwrap().values[0][0]
    }

    #[test]
    fn progress_beyond_the_initial_policy_enlarges_the_step() {
        let config = without_division();
        let mut state = ValidationState::default();
        // the initial policy's point is the reference, and the factor 1: 0.6 / 2
        config.observe_validation(&mut state, &[0.25, 0.5]);
        assert!((first(&config, &mut state) - 0.3).abs() < 1e-12);
        // (0.5, 0.9) adds 0.25 * 0.4 = 0.1: 0.5 + 1.5 tanh(0.1) = 0.5 + 1.5 * 0.099668 = 0.649502
        config.observe_validation(&mut state, &[0.5, 0.9]);
        assert!((first(&config, &mut state) - 0.649_502 * 0.3).abs() < 1e-6);
        // worse than the initial policy in one: nothing is added, factor 0.5
        config.observe_validation(&mut state, &[0.9, 0.4]);
        assert!((first(&config, &mut state) - 0.15).abs() < 1e-12);
        assert_eq!(state.archive.points(), [[0.5, 0.9]]);
    }

    #[test]
    fn the_factor_cancels_with_the_division() {
        let config = HvWeightingConfig::default();
        let mut state = ValidationState::default();
        let before = first(&config, &mut state);
        config.observe_validation(&mut state, &[0.0, 0.0]);
        config.observe_validation(&mut state, &[1.0, 1.0]);
        // equal but for the epsilon beside the deviation
        assert!((first(&config, &mut state) - before).abs() < 1e-3);
        assert_eq!(config.warnings().len(), 1);
        assert!(without_division().warnings().is_empty());
    }

    #[test]
    fn what_ran_until_now_is_still_there() {
        let settings = r#"{"reference":"origin","std_normalization":false}"#;
        let config: HvWeightingConfig = serde_json::from_str(settings).unwrap();
        let mut state = ValidationState::default();
        // dHV 0: factor 0.5, r = (0.3, 0), mean 0.15
        assert!((first(&config, &mut state) - 0.15).abs() < 1e-6);
        // the point (0.5, 0.8) adds 0.4: 0.5 + 1.5 tanh(0.4) = 0.5 + 1.5 * 0.379949 = 1.069923, r =
        // 0.641954, / 2 = 0.320977
        config.observe_validation(&mut state, &[0.5, 0.8]);
        assert!((first(&config, &mut state) - 0.320_977).abs() < 1e-5);
        // such a state is refused where the initial policy is the reference, with the way out
        assert_eq!(config.check_state(&state, START, 2), Ok(()));
        let refused = HvWeightingConfig::default().check_state(&state, START, 2).unwrap_err();
        assert!(
            refused.contains("hint: start again") && refused.contains("\"origin\""),
            "{refused}"
        );
    }

    #[test]
    fn batch_means_are_points_without_a_validation() {
        let config = HvWeightingConfig { point: PolicyPoint::BatchMean, ..without_division() };
        let mut state = ValidationState::default();
        // the batch's mean (0.5, 0) is the initial policy's point; a validation is not listened to
        assert!((first(&config, &mut state) - 0.3).abs() < 1e-12);
        config.observe_validation(&mut state, &[1.0, 1.0]);
        assert_eq!(state.initial, Some(vec![0.5, 0.0]));
        // the same point again adds nothing
        assert!((first(&config, &mut state) - 0.15).abs() < 1e-12);
    }
}
