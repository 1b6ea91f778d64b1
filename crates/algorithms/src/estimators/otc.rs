//! OTC-GRPO (Wang et al., 2025, arXiv 2504.14870): `r = a * r_tool * r_task`, then GRPO.
//!
//! With m calls in this rollout and n the fewest calls among the group's correct rollouts: `r_tool
//! = 1` if m = n = 0; `cos(m pi / (2m + c))` if n = 0; `sin(f pi / (2n))` with `f = 2nm / (m + n)`
//! otherwise. The constant `c` is the largest number of calls that an episode may make, unless a
//! number is given. Where tools have prices, m, n and c are all sums of prices: a price that all
//! calls share then changes nothing.

use super::{Advantages, Estimator, EstimatorError, Group, Progress, grpo};
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
    /// The constant `c` > 0: larger forgives calls where none was needed. Absent, it is the most
    /// that an episode's calls can count for: `rollout.max_calls` times the highest price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<Positive>,
    /// Whether to divide by the group's standard deviation.
    pub std_normalization: bool,
}

impl Default for OtcConfig {
    fn default() -> Self {
        let one = const { Positive::literal(1.0) };
        Self { scale: one, smoothing: None, std_normalization: true }
    }
}

impl Estimator for OtcConfig {
    type State = ();

    fn advantages(
        &self,
        _: &mut (),
        groups: &[Group],
        progress: Progress,
    ) -> Result<Advantages, EstimatorError> {
        let smoothing = self.smoothing.map_or(progress.call_limit, Positive::get);
        advantages(self, smoothing, groups)
    }
}

fn advantages(
    config: &OtcConfig,
    smoothing: f64,
    groups: &[Group],
) -> Result<Advantages, EstimatorError> {
    let mut scalars = Vec::with_capacity(groups.len());
    for group in groups {
        let calls = group.calls.as_ref().ok_or(EstimatorError::NoCalls("otc"))?;
        let correct = group.rewards.iter().zip(calls).filter(|(reward, _)| reward[0] > 0.5);
        let fewest = correct.map(|(_, calls)| *calls).reduce(f64::min);
        let reward = |(reward, calls): (&Vec<f64>, &f64)| {
            // without a correct rollout every r_task is 0 and r_tool does not matter
            config.scale.get()
                * reward[0]
                * fewest.map_or(0.0, |fewest| tool_reward(*calls, fewest, smoothing))
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
    use crate::estimators::outcomes::{fewer_calls_earn_more, group, outcomes, right};
    use proptest::prelude::*;

    #[test]
    fn the_fewest_calls_pay_most() {
        assert_eq!(tool_reward(0.0, 0.0, 4.0), 1.0);
        // c = 4: cos(pi / 6) = 0.866025 and cos(2 pi / 8) = 0.707107
        assert!(
            (tool_reward(1.0, 0.0, 4.0) - 0.866_025).abs() < 1e-6
                && (tool_reward(2.0, 0.0, 4.0) - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-6
        );
        // n = 1: m = 1 gives f = 1, sin(pi / 2) = 1; m = 3 gives f = 1.5, sin(3 pi / 4) = 0.707107
        assert!(
            (tool_reward(1.0, 1.0, 4.0) - 1.0).abs() < 1e-6
                && (tool_reward(3.0, 1.0, 4.0) - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-6
        );
    }

    #[test]
    fn the_constant_is_the_budget_of_calls_unless_it_is_given() {
        let group = Group {
            rewards: vec![vec![1.0, 1.0], vec![1.0, 1.0]],
            calls: Some(vec![0.0, 1.0]),
            ..Group::default()
        };
        let first = |smoothing: Option<f64>, call_limit| {
            let config = OtcConfig {
                smoothing: smoothing.map(Positive::literal),
                std_normalization: false,
                ..OtcConfig::default()
            };
            let progress = Progress { step: 0, total_steps: 1, seed: 0, call_limit };
            let groups = std::slice::from_ref(&group);
            config.advantages(&mut (), groups, progress).unwrap().values[0][0]
        };
        // n = 0: r = (1, cos(pi / (2 + c))); half the difference is the first one's advantage
        // c = 4: (1 - 0.866025) / 2 = 0.066987; c = 1: (1 - 0.5) / 2 = 0.25
        assert!((first(None, 4.0) - 0.066_987).abs() < 1e-6);
        assert!((first(Some(1.0), 4.0) - 0.25).abs() < 1e-6);
        // five calls may be made: cos(pi / 7) = 0.900969, (1 - 0.900969) / 2 = 0.049516
        assert!((first(None, 5.0) - 0.049_516).abs() < 1e-6);
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
        let values = advantages(&config, 4.0, std::slice::from_ref(&group)).unwrap().values;
        assert!((values[0][0] - 0.5).abs() < 1e-6 && (values[0][1] + 0.5).abs() < 1e-6);
        assert_eq!(
            advantages(&config, 4.0, &[Group { calls: None, ..group }]),
            Err(EstimatorError::NoCalls("otc"))
        );
    }

    proptest! {
        #[test]
        fn of_right_rollouts_the_fewest_calls_have_the_highest_reward(
            outcomes in outcomes(),
            smoothing in 0.5f64..20.0,
        ) {
            // the rewards less their mean
            let config = OtcConfig { std_normalization: false, ..OtcConfig::default() };
            let groups = [group(&outcomes)];
            let values = advantages(&config, smoothing, &groups).unwrap().values.remove(0);
            let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let right = || right(&outcomes, &values);
            let fewest = right().map(|(calls, _)| calls).fold(f64::INFINITY, f64::min);
            for (calls, own) in right() {
                prop_assert!((own == highest) == (calls == fewest), "{values:?}");
            }
            // and the more calls beyond these, the less
            fewer_calls_earn_more(&outcomes, &values, true)?;
        }
    }
}
