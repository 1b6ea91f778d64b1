//! GD2PO (arXiv 2606.16771; the authors' code was read): rollouts whose objectives pull apart are
//! left out, and a prompt counts as much as it has rollouts left.
//!
//! `Z_ik` is the k-th objective standardised inside the group. A rollout is in conflict if one of
//! its `Z` is positive, one negative, and `|sum_k Z_ik| < threshold * sum_k |Z_ik|`. Conflicting
//! ones get 0. The others get `share * sum_k Z_ik`, with `share` the group's rollouts without
//! conflict by all of them, standardised over those that are left of the batch.

use super::softmin::standardised_objectives;
use super::statistics::standardised;
use super::{Advantages, Group, stateless};
use paretopo_settings::Share;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rollouts whose objectives pull apart are masked (GD2PO, arXiv 2606.16771).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gd2poConfig {
    /// What `|sum Z| / sum |Z|` has to be for objectives of mixed sign to be no conflict: at 1 each
    /// mixed sign is one, the authors' hard mask; their soft one has 0.2.
    pub threshold: Share,
}

impl Default for Gd2poConfig {
    fn default() -> Self {
        Self { threshold: const { Share::literal(1.0) } }
    }
}

stateless!(Gd2poConfig, |_| None, |own, groups| Ok(advantages(own, groups)));

/// Below this an advantage has no sign.
const NO_SIGN: f64 = 1e-8;

fn advantages(config: &Gd2poConfig, groups: &[Group]) -> Advantages {
    // what is left, group by group: `None` where objectives pull apart
    let left: Vec<Vec<Option<f64>>> =
        groups.iter().map(|group| without_conflicts(group, config.threshold.get())).collect();
    let flat: Vec<f64> = left.iter().flatten().flatten().copied().collect();
    let mut whitened = standardised(&flat, true).into_iter();
    let mut next = |kept: &Option<f64>| match kept {
        Some(_) => whitened.next().unwrap_or_default(),
        None => 0.0,
    };
    let values: Vec<Vec<f64>> =
        left.iter().map(|group| group.iter().map(&mut next).collect()).collect();
    let rollouts = left.iter().map(Vec::len).sum::<usize>().max(1);
    let mut advantages = Advantages { values, ..Advantages::default() };
    advantages.diagnostics.insert("kept_share", flat.len() as f64 / rollouts as f64);
    advantages
}

/// `share * sum_k Z_ik` of each rollout, `None` for one in conflict.
fn without_conflicts(group: &Group, threshold: f64) -> Vec<Option<f64>> {
    let columns = standardised_objectives(group);
    let sum_or_conflict = |rollout: usize| {
        let values = || columns.iter().map(|column| column[rollout]);
        let is_mixed =
            values().any(|value| value > NO_SIGN) && values().any(|value| value < -NO_SIGN);
        let sum: f64 = values().sum();
        let size: f64 = values().map(f64::abs).sum();
        (!is_mixed || sum.abs() >= threshold * size).then_some(sum)
    };
    let sums: Vec<Option<f64>> = (0..group.rewards.len()).map(sum_or_conflict).collect();
    let share = sums.iter().flatten().count() as f64 / sums.len().max(1) as f64;
    sums.into_iter().map(|sum| sum.map(|sum| share * sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(rewards: &[[f64; 2]]) -> Group {
        Group { rewards: rewards.iter().map(|r| r.to_vec()).collect(), ..Group::default() }
    }

    #[test]
    fn a_rollout_whose_objectives_pull_apart_gets_nothing() {
        // both columns have mean 0.5 and deviation 0.577350: Z = +-0.5 / 0.577450 = +-0.865875
        // sums 1.731751, 0 (mixed), 0 (mixed), -1.731751; two of four are left: share 0.5
        let group = group(&[[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]);
        let found = without_conflicts(&group, 1.0);
        assert!((found[0].unwrap() - 0.865_875).abs() < 1e-5, "{found:?}");
        assert_eq!(found[1..3], [None, None]);
        // (0.865875, -0.865875): deviation 1.224533; 0.865875 / 1.224633 = 0.707049
        let result = advantages(&Gd2poConfig::default(), &[group]);
        let values = &result.values[0];
        assert!((values[0] - 0.707_049).abs() < 1e-5 && (values[3] + 0.707_049).abs() < 1e-5);
        assert_eq!(values[1..3], [0.0, 0.0]);
        assert_eq!(result.diagnostics["kept_share"], 0.5);
    }

    #[test]
    fn a_clear_majority_is_no_conflict_for_the_soft_mask() {
        // first objective (1, 1, 1, 0): mean 0.75, deviation 0.5, Z = 0.499900 and -1.499700;
        // second (0.9, 0.8, 0, 0.9): mean 0.65, deviation 0.435890, Z = 0.573394, 0.344037,
        // -1.490825 and 0.573394
        let group = group(&[[1.0, 0.9], [1.0, 0.8], [1.0, 0.0], [0.0, 0.9]]);
        // |0.4999 - 1.4908| / 1.9907 = 0.4978 and |-1.4997 + 0.5734| / 2.0731 = 0.4468
        let left = |threshold| {
            without_conflicts(&group, threshold).iter().map(Option::is_some).collect::<Vec<_>>()
        };
        assert_eq!(left(1.0), [true, true, false, false]);
        assert_eq!(left(0.48), [true, true, true, false]);
        assert_eq!(left(0.2), [true; 4]);
    }
}
