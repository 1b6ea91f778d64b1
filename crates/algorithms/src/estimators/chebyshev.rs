//! Weighted Chebyshev scalarization: GRPO on `r = -max_k w_k * (1 - r_k)`, the distance from the
//! ideal point (1, ..., 1). Unlike a weighted sum it can reach concave parts of a front.

use super::{Advantages, Group, WeightedConfig, grpo};

pub(super) fn advantages(config: &WeightedConfig, groups: &[Group]) -> Advantages {
    let configured = config.weights.get();
    let scalars = groups.iter().map(|group| {
        let weights = group.weights(&configured);
        let distance = |reward: &Vec<f64>| {
            let terms = weights.iter().zip(reward).map(|(weight, value)| weight * (1.0 - value));
            terms.fold(f64::MIN, f64::max)
        };
        group.rewards.iter().map(|reward| -distance(reward)).collect()
    });
    grpo::from_scalars(scalars, config.std_normalization)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_weighted_shortfall_counts() {
        let groups = [Group { rewards: vec![vec![1.0, 0.5], vec![0.0, 1.0]], ..Group::default() }];
        // shortfalls: max(0.6 * 0, 0.4 * 0.5) = 0.2 and max(0.6 * 1, 0) = 0.6; r = (-0.2, -0.6),
        // mean -0.4
        let config = WeightedConfig { std_normalization: false, ..WeightedConfig::default() };
        let values = &advantages(&config, &groups).values[0];
        assert!((values[0] - 0.2).abs() < 1e-6 && (values[1] + 0.2).abs() < 1e-6);
    }
}
