//! DDCA (arXiv 2602.02099; the authors' code was read), with calls in the place of tokens:
//!
//! `A_i = A_task_i - beta p (s_i - mean(s))` for a right rollout, `A_task_i` for a wrong one, with
//! `s_i = 1 / (1 + exp(-z_i))`, `z_i = (N_i - mean(N)) / (std(N) + epsilon)`, all means and the
//! deviation over the group's right rollouts, and `p` their share of the group. `A_task` is GRPO's
//! advantage of the first objective. The more often a prompt is answered right, the more calls
//! count.

use super::hdpo::among_right;
use super::statistics::standardised;
use super::{Advantages, EstimatorError, Group, stateless};
use paretopo_settings::NonNegative;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Accuracy, and calls among right rollouts times the pass rate (DDCA, arXiv 2602.02099).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DdcaConfig {
    /// Weight of the calls.
    pub beta: NonNegative,
}

impl Default for DdcaConfig {
    fn default() -> Self {
        Self { beta: const { NonNegative::literal(0.2) } }
    }
}

stateless!(DdcaConfig, |_| None, advantages);

fn advantages(config: &DdcaConfig, groups: &[Group]) -> Result<Advantages, EstimatorError> {
    let mut values = Vec::with_capacity(groups.len());
    for group in groups {
        let calls = group.calls.as_ref().ok_or(EstimatorError::NoCalls("ddca"))?;
        let success: Vec<f64> = group.rewards.iter().map(|reward| reward[0]).collect();
        let right = success.iter().filter(|reward| **reward > 0.5).count();
        let pass_rate = right as f64 / success.len().max(1) as f64;
        let excess = among_right(group, calls, |calls| {
            let logistic = |z: &f64| 1.0 / (1.0 + (-z).exp());
            let scores: Vec<f64> = standardised(calls, true).iter().map(logistic).collect();
            standardised(&scores, false)
        });
        let sum = |(task, excess): (&f64, &f64)| task - config.beta.get() * pass_rate * excess;
        values.push(standardised(&success, true).iter().zip(&excess).map(sum).collect());
    }
    Ok(Advantages { values, ..Advantages::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimators::outcomes::{fewer_calls_earn_more, group, outcomes};
    use proptest::prelude::*;

    #[test]
    fn calls_count_as_much_as_the_pass_rate() {
        let group = group(&[(1.0, 0.0), (1.0, 2.0), (0.0, 0.0), (0.0, 4.0)]);
        let config = DdcaConfig { beta: NonNegative::literal(0.5) };
        let values = advantages(&config, &[group]).unwrap().values.remove(0);
        // r_task: +-0.5 / (0.577350 + 0.0001) = +-0.865875
        // calls of the right ones (0, 2): mean 1, deviation 1.414214, z = -+0.707057;
        // 1 / (1 + exp(0.707057)) = 0.330255 and 0.669745: -+0.169745 about their mean;
        // times 0.5 * 2/4: +-0.042436
        let want = [0.865_875 + 0.042_436, 0.865_875 - 0.042_436, -0.865_875, -0.865_875];
        assert!(values.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{values:?}");
    }

    #[test]
    fn calls_are_needed() {
        let unknown = Group { rewards: vec![vec![1.0]], ..Group::default() };
        let found = advantages(&DdcaConfig::default(), &[unknown]);
        assert_eq!(found, Err(EstimatorError::NoCalls("ddca")));
    }

    proptest! {
        #[test]
        fn of_right_rollouts_fewer_calls_never_earn_less(
            outcomes in outcomes(),
            beta in prop_oneof![Just(0.0), 0.01f64..2.0],
        ) {
            let config = DdcaConfig { beta: NonNegative::literal(beta) };
            let values = advantages(&config, &[group(&outcomes)]).unwrap().values.remove(0);
            fewer_calls_earn_more(&outcomes, &values, beta > 0.0)?;
        }
    }
}
