//! REINFORCE++ (Hu, 2025, arXiv 2501.03262): rewards standardised over the whole batch; with
//! `group_baseline` each group's mean is subtracted first (its variant for several rollouts a
//! prompt).

use super::shipped::if_any;
use super::statistics::{mean, standardised};
use super::{Advantages, Group, stateless};
use paretopo_settings::TaskWeights;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Standardised over the whole batch (REINFORCE++, arXiv 2501.03262).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReinforceConfig {
    /// One weight per objective; empty for accuracy alone.
    pub weights: TaskWeights,
    /// Whether to subtract the group's mean before standardising over the batch.
    pub group_baseline: bool,
}

impl Default for ReinforceConfig {
    fn default() -> Self {
        Self { weights: TaskWeights::default(), group_baseline: true }
    }
}

stateless!(ReinforceConfig, |own| if_any(own.weights.len()), |own, groups| Ok(advantages(
    own, groups
)));

fn advantages(config: &ReinforceConfig, groups: &[Group]) -> Advantages {
    let weights = config.weights.get();
    let mut all = Vec::new();
    for group in groups {
        let scalars = group.scalars(&weights);
        let baseline = if config.group_baseline { mean(&scalars) } else { 0.0 };
        all.extend(scalars.iter().map(|scalar| scalar - baseline));
    }
    Advantages { values: split_like(&standardised(&all, true), groups), ..Advantages::default() }
}

/// Cuts a flat list into pieces as long as the groups.
pub(super) fn split_like(flat: &[f64], groups: &[Group]) -> Vec<Vec<f64>> {
    let mut rest = flat;
    let mut pieces = Vec::with_capacity(groups.len());
    for group in groups {
        let (piece, behind) = rest.split_at(group.rewards.len());
        pieces.push(piece.to_vec());
        rest = behind;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardises_over_the_batch() {
        let group = |rewards: [f64; 2]| Group {
            rewards: rewards.iter().map(|r| vec![*r]).collect(),
            ..Group::default()
        };
        let groups = [group([1.0, 0.0]), group([1.0, 1.0])];
        // group means 0.5 and 1: (0.5, -0.5, 0, 0), batch mean 0, std sqrt(0.5 / 3) = 0.408248; 0.5
        // / 0.408348 = 1.224445
        let values = advantages(&ReinforceConfig::default(), &groups).values;
        assert!((values[0][0] - 1.224_445).abs() < 1e-5 && values[1] == [0.0, 0.0], "{values:?}");
        // without the baseline the sure success of the second group is praised: mean 0.75
        let plain = advantages(
            &ReinforceConfig { group_baseline: false, ..ReinforceConfig::default() },
            &groups,
        )
        .values;
        assert!(plain[1][0] > 0.0);
    }
}
