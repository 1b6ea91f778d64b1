//! OTC-GRPO (Wang et al., 2025, arXiv 2504.14870): `r = a * r_tool * r_task`, then GRPO.
//!
//! With m calls in this rollout and n the fewest calls among the group's correct rollouts:
//! `r_tool = 1` if m = n = 0; `cos(m pi / (2m + c))` if n = 0; `sin(f pi / (2n))` with
//! `f = 2nm / (m + n)` otherwise.

use super::{Advantages, EstimatorError, Group, grpo, stateless};
use paretopo_settings::Positive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// OTC-GRPO (arXiv 2504.14870).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtcConfig {
    /// The factor `a`.
    pub scale: Positive,
    /// The constant `c` > 0: larger forgives calls where none was needed.
    pub smoothing: Positive,
    /// Whether to divide by the group's standard deviation.
    pub std_normalization: bool,
}

impl Default for OtcConfig {
    fn default() -> Self {
        let one = const { Positive::literal(1.0) };
        Self { scale: one, smoothing: one, std_normalization: true }
    }
}

stateless!(OtcConfig, |_| None, advantages);

fn advantages(config: &OtcConfig, groups: &[Group]) -> Result<Advantages, EstimatorError> {
    let mut scalars = Vec::with_capacity(groups.len());
    for group in groups {
        let calls = group.calls.as_ref().ok_or(EstimatorError::NoCalls("otc"))?;
        let correct = group.rewards.iter().zip(calls).filter(|(reward, _)| reward[0] > 0.5);
        let fewest = correct.map(|(_, calls)| *calls).reduce(f64::min);
        let reward = |(reward, calls): (&Vec<f64>, &f64)| {
            // without a correct rollout every r_task is 0 and r_tool does not matter
            config.scale.get()
                * reward[0]
                * fewest.map_or(0.0, |fewest| tool_reward(*calls, fewest, config.smoothing.get()))
        };
        scalars.push(group.rewards.iter().zip(calls).map(reward).collect());
    }
    Ok(grpo::from_scalars(scalars.into_iter(), config.std_normalization))
}

fn tool_reward(m: f64, n: f64, c: f64) -> f64 {
    match (m, n) {
        (0.0, 0.0) => 1.0,
        (_, 0.0) => (m * PI / (2.0 * m + c)).cos(),
        _ => {
            let f = 2.0 * n * m / (m + n);
            (f * PI / (2.0 * n)).sin()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_calls_pay_most() {
        assert_eq!(tool_reward(0.0, 0.0, 1.0), 1.0);
        // cos(pi / 3) = 0.5 and cos(2 pi / 5) = 0.309017
        assert!(
            (tool_reward(1.0, 0.0, 1.0) - 0.5).abs() < 1e-6
                && (tool_reward(2.0, 0.0, 1.0) - 0.309_017).abs() < 1e-6
        );
        // n = 1: m = 1 gives f = 1, sin(pi / 2) = 1; m = 3 gives f = 1.5, sin(3 pi / 4) = 0.707107
        assert!(
            (tool_reward(1.0, 1.0, 1.0) - 1.0).abs() < 1e-6
                && (tool_reward(3.0, 1.0, 1.0) - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-6
        );
    }

    #[test]
    fn wrong_rollouts_get_nothing_and_calls_are_needed() {
        let group = Group {
            rewards: vec![vec![1.0, 1.0], vec![0.0, 1.0]],
            calls: Some(vec![1.0, 0.0]),
            ..Group::default()
        };
        let config = OtcConfig { std_normalization: false, ..OtcConfig::default() };
        // r = (1 * sin(pi / 2), 0), mean 0.5
        let values = advantages(&config, std::slice::from_ref(&group)).unwrap().values;
        assert!((values[0][0] - 0.5).abs() < 1e-6 && (values[0][1] + 0.5).abs() < 1e-6);
        assert_eq!(
            advantages(&config, &[Group { calls: None, ..group }]),
            Err(EstimatorError::NoCalls("otc"))
        );
    }
}
