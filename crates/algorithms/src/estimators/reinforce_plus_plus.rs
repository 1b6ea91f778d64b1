//! REINFORCE++ (Hu, 2025, arXiv 2501.03262): rewards standardised over the whole batch; with
//! `group_baseline` each group's mean is subtracted first (its variant for several rollouts a
//! prompt). What a group's environment lacks is in no mean of the batch.

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
    let all: Vec<f64> = if config.group_baseline {
        let of_group = |group: &Group| {
            let scalars = group.scalars(&weights);
            let baseline = mean(&scalars);
            scalars.into_iter().map(move |scalar| scalar - baseline)
        };
        groups.iter().flat_map(of_group).collect()
    } else if groups.iter().all(|group| group.lacks.is_empty()) {
        groups.iter().flat_map(|group| group.scalars(&weights)).collect()
    } else {
        beside_those_that_have_it(&weights, groups)
    };
    Advantages { values: split_like(&standardised(&all, true), groups), ..Advantages::default() }
}

/// Of each rollout `sum_k (w_k r_k - m_k)`, where `m_k` is the mean of `w_k r_k` over the rollouts
/// whose environment has objective `k`; one that is lacked adds nothing. Its mean over the batch is 0,
/// and where nothing is lacked it is `s - mean(s)` with `s = w . r`.
fn beside_those_that_have_it(weights: &[f64], groups: &[Group]) -> Vec<f64> {
    let part = |group: &Group, reward: &[f64], k: usize| match group.weights(weights).get(k) {
        Some(weight) => weight * reward[k],
        // without weights the first objective alone counts
        None if k == 0 => reward[0],
        None => 0.0,
    };
    let objectives = groups.iter().flat_map(|group| &group.rewards).map(Vec::len).max();
    let mean_part = |k: usize| {
        let having = groups.iter().filter(|group| !group.lacks.contains(&k));
        let mut parts = Vec::new();
        for group in having {
            parts.extend(group.rewards.iter().map(|reward| part(group, reward, k)));
        }
        mean(&parts)
    };
    let means: Vec<f64> = (0..objectives.unwrap_or_default()).map(mean_part).collect();
    let mut all = Vec::new();
    for group in groups {
        let has = |k: &usize| !group.lacks.contains(k);
        all.extend(group.rewards.iter().map(|reward| {
            let own = (0..reward.len()).filter(has).map(|k| part(group, reward, k) - means[k]);
            own.sum::<f64>()
        }));
    }
    all
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

    #[test]
    fn without_the_baseline_a_lacked_objective_praises_nobody() {
        let group = |rewards: [[f64; 2]; 2], lacks: &[usize]| Group {
            rewards: rewards.iter().map(|reward| reward.to_vec()).collect(),
            lacks: lacks.to_vec(),
            ..Group::default()
        };
        let weights = toml::Value::Array(vec![0.5.into(), 0.5.into()]).try_into().unwrap();
        let config = ReinforceConfig { weights, group_baseline: false };
        let full = group([[1.0, 0.5], [0.0, 0.5]], &[]);
        let lacking = group([[1.0, 1.0], [0.0, 1.0]], &[1]);
        // of the first objective 0.5 (1, 0, 1, 0) with the mean 0.25; of the second, which the first
        // group alone has, 0.25 with the mean 0.25: (0.25, -0.25, 0.25, -0.25), whose deviation is
        // sqrt(4 * 0.0625 / 3) = 0.288675; 0.25 / 0.288775 = 0.865725
        let values = advantages(&config, &[full.clone(), lacking.clone()]).values;
        for group in &values {
            assert!((group[0] - 0.865_725).abs() < 1e-5, "{values:?}");
            assert!((group[1] + 0.865_725).abs() < 1e-5, "{values:?}");
        }
        // where nothing is lacked the sum is what it is without parts: (0.75, 0.25, 1, 0.5) has the
        // mean 0.625
        let both = [full, Group { lacks: Vec::new(), ..lacking }];
        let parts = beside_those_that_have_it(&config.weights.get(), &both);
        for (part, wanted) in parts.iter().zip([0.125, -0.375, 0.375, -0.125]) {
            assert!((part - wanted).abs() < 1e-12, "{parts:?}");
        }
        // a group that is asked to prefer something has its own weights, and no weights at all count
        // the first objective
        let asked = Group { preference: Some(vec![0.2, 0.8]), ..both[0].clone() };
        let lacking = Group { lacks: vec![1], ..both[1].clone() };
        // 0.2 (1, 0), 0.5 (1, 0): mean 0.175; 0.8 * 0.5 twice: 0
        let parts = beside_those_that_have_it(&config.weights.get(), &[asked, lacking]);
        for (part, wanted) in parts.iter().zip([0.025, -0.175, 0.325, -0.175]) {
            assert!((part - wanted).abs() < 1e-12, "{parts:?}");
        }
        let parts = beside_those_that_have_it(&[], &both);
        assert_eq!(parts, [0.5, -0.5, 0.5, -0.5]);
    }
}
