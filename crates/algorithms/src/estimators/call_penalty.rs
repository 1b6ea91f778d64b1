//! A heuristic: GRPO on `r_task - price * N_call`. What one would try first, and a baseline for
//! everything better.

use super::{Advantages, EstimatorError, Group, grpo, stateless};
use paretopo_settings::NonNegative;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// GRPO on accuracy minus a price per call (a heuristic).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CallPenaltyConfig {
    /// Reward lost per call; with tools of different price, per unit of price.
    pub price: NonNegative,
    /// Whether to divide by the group's standard deviation.
    pub std_normalization: bool,
}

impl Default for CallPenaltyConfig {
    fn default() -> Self {
        Self { price: const { NonNegative::literal(0.1) }, std_normalization: true }
    }
}

stateless!(CallPenaltyConfig, |_| None, advantages);

fn advantages(config: &CallPenaltyConfig, groups: &[Group]) -> Result<Advantages, EstimatorError> {
    let mut scalars = Vec::with_capacity(groups.len());
    for group in groups {
        let calls = group.calls.as_ref().ok_or(EstimatorError::NoCalls("call_penalty"))?;
        scalars.push(
            group
                .rewards
                .iter()
                .zip(calls)
                .map(|(reward, calls)| reward[0] - config.price.get() * *calls)
                .collect(),
        );
    }
    Ok(grpo::from_scalars(scalars.into_iter(), config.std_normalization))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_price() {
        let group = Group {
            rewards: vec![vec![1.0], vec![1.0]],
            calls: Some(vec![0.0, 2.0]),
            ..Group::default()
        };
        // r = (1, 0.8), mean 0.9
        let config = CallPenaltyConfig { std_normalization: false, ..CallPenaltyConfig::default() };
        let values = &advantages(&config, &[group]).unwrap().values[0];
        assert!((values[0] - 0.1).abs() < 1e-6 && (values[1] + 0.1).abs() < 1e-6);
    }
}
