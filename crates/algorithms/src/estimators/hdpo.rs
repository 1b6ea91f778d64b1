//! HDPO (arXiv 2604.08545; the authors' code was read): two advantages that never share a
//! deviation.
//!
//! `A_i = A_task_i + w_tool A_tool_i`, with `A_task` GRPO's advantage of the first objective over
//! the group. `A_tool` is GRPO's advantage of `1 / (N_call + 1)` over the group's right rollouts
//! alone; it is 0 for a wrong rollout, and for all where fewer than two are right. The authors add
//! two clipped losses; here the advantages are added, which is the same wherever no ratio is
//! clipped.

use super::statistics::standardised;
use super::{Advantages, EstimatorError, Group, stateless};
use paretopo_settings::NonNegative;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Accuracy, and few calls among the right rollouts alone (HDPO, arXiv 2604.08545).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HdpoConfig {
    /// Weight of the advantage among right rollouts; that of accuracy is 1.
    pub tool_weight: NonNegative,
}

impl Default for HdpoConfig {
    fn default() -> Self {
        Self { tool_weight: const { NonNegative::literal(0.15) } }
    }
}

stateless!(HdpoConfig, |_| None, advantages);

fn advantages(config: &HdpoConfig, groups: &[Group]) -> Result<Advantages, EstimatorError> {
    let mut values = Vec::with_capacity(groups.len());
    for group in groups {
        let calls = group.calls.as_ref().ok_or(EstimatorError::NoCalls("hdpo"))?;
        let success: Vec<f64> = group.rewards.iter().map(|reward| reward[0]).collect();
        let thrift: Vec<f64> = calls.iter().map(|calls| 1.0 / (calls + 1.0)).collect();
        let efficiency = among_right(group, &thrift, |values| standardised(values, true));
        let sum = |(task, tool): (&f64, &f64)| task + config.tool_weight.get() * tool;
        values.push(standardised(&success, true).iter().zip(&efficiency).map(sum).collect());
    }
    Ok(Advantages { values, ..Advantages::default() })
}

/// What `advantage` makes of the values of a group's right rollouts; 0 for the wrong ones, and for
/// all where fewer than two are right.
pub(super) fn among_right(
    group: &Group,
    values: &[f64],
    advantage: impl Fn(&[f64]) -> Vec<f64>,
) -> Vec<f64> {
    let right: Vec<usize> =
        (0..values.len()).filter(|place| group.rewards[*place][0] > 0.5).collect();
    let mut found = vec![0.0; values.len()];
    if right.len() < 2 {
        return found;
    }
    let chosen: Vec<f64> = right.iter().map(|place| values[*place]).collect();
    for (place, value) in right.into_iter().zip(advantage(&chosen)) {
        found[place] = value;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimators::outcomes::{fewer_calls_earn_more, group, outcomes};
    use proptest::prelude::*;

    #[test]
    fn calls_are_compared_among_right_rollouts_alone() {
        let config = HdpoConfig { tool_weight: NonNegative::literal(0.5) };
        let outcomes = [(1.0, 0.0), (1.0, 1.0), (0.0, 0.0)];
        let values = advantages(&config, &[group(&outcomes)]).unwrap().values.remove(0);
        // r_task (1, 1, 0): mean 2/3, deviation sqrt((1/9 + 1/9 + 4/9) / 2) = 0.577350;
        // (1/3) / 0.577450 = 0.577250 and -1.154501
        // 1 / (T + 1) of the right ones (1, 0.5): mean 0.75, deviation 0.353553,
        // +-0.25 / 0.353653 = +-0.706907; half of it is +-0.353453
        let want = [0.577_250 + 0.353_453, 0.577_250 - 0.353_453, -1.154_501];
        assert!(values.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{values:?}");
    }

    #[test]
    fn a_single_right_rollout_is_compared_with_none() {
        let outcomes = [(1.0, 3.0), (0.0, 0.0)];
        let with = |weight| {
            let config = HdpoConfig { tool_weight: NonNegative::literal(weight) };
            advantages(&config, &[group(&outcomes)]).unwrap().values
        };
        assert_eq!(with(0.9), with(0.0));
    }

    #[test]
    fn calls_are_needed() {
        let unknown = Group { calls: None, ..group(&[(1.0, 0.0)]) };
        let found = advantages(&HdpoConfig::default(), &[unknown]);
        assert_eq!(found, Err(EstimatorError::NoCalls("hdpo")));
    }

    proptest! {
        #[test]
        fn of_right_rollouts_fewer_calls_never_earn_less(
            outcomes in outcomes(),
            weight in prop_oneof![Just(0.0), 0.01f64..2.0],
        ) {
            let config = HdpoConfig { tool_weight: NonNegative::literal(weight) };
            let values = advantages(&config, &[group(&outcomes)]).unwrap().values.remove(0);
            fewer_calls_earn_more(&outcomes, &values, weight > 0.0)?;
        }
    }
}
