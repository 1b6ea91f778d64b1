//! GRPO (Shao et al., 2024, arXiv 2402.03300) on a scalar reward:
//! `A_i = (r_i - mean(r)) / (std(r) + epsilon)` inside each group. Without the division it is Dr.
//! GRPO's advantage.

use super::statistics::standardised;
use super::{Advantages, Group};

pub(super) fn advantages(weights: &[f64], divide: bool, groups: &[Group]) -> Advantages {
    from_scalars(groups.iter().map(|group| group.scalars(weights)), divide)
}

/// GRPO on rewards that are scalars already.
pub(super) fn from_scalars(groups: impl Iterator<Item = Vec<f64>>, divide: bool) -> Advantages {
    Advantages {
        values: groups.map(|scalars| standardised(&scalars, divide)).collect(),
        ..Advantages::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardises_the_weighted_reward() {
        let groups = [Group { rewards: vec![vec![1.0, 0.0], vec![0.0, 1.0]], ..Group::default() }];
        // accuracy alone: (1, 0), mean 0.5, std sqrt(0.25 + 0.25) = 0.707107, 0.5 / 0.707207 =
        // 0.707007
        assert!((advantages(&[], true, &groups).values[0][0] - 0.707_006_8).abs() < 1e-6);
        // weights (0.6, 0.4) without the division: (0.6, 0.4), mean 0.5
        let centred = &advantages(&[0.6, 0.4], false, &groups).values[0];
        assert!((centred[0] - 0.1).abs() < 1e-6 && (centred[1] + 0.1).abs() < 1e-6);
    }
}
