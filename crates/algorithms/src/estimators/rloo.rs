//! RLOO (Ahmadian et al., 2024, arXiv 2402.14740):
//! `A_i = r_i - mean of the other rewards in the group`.

use super::{Advantages, Group, weighted};

pub(super) fn advantages(weights: &[f32], groups: &[Group]) -> Advantages {
    let values = groups.iter().map(|group| {
        let scalars: Vec<f32> =
            group.rewards.iter().map(|reward| weighted(weights, reward)).collect();
        let (sum, others) = (scalars.iter().sum::<f32>(), scalars.len() as f32 - 1.0);
        // a single rollout has nothing to be compared with
        scalars
            .iter()
            .map(|scalar| if others > 0.0 { scalar - (sum - scalar) / others } else { 0.0 })
            .collect()
    });
    Advantages { values: values.collect(), ..Advantages::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_with_the_others() {
        let groups = [Group { rewards: vec![vec![1.0], vec![0.0], vec![0.5]], ..Group::default() }];
        // 1 - (0 + 0.5) / 2 = 0.75; 0 - (1 + 0.5) / 2 = -0.75; 0.5 - (1 + 0) / 2 = 0
        assert_eq!(advantages(&[], &groups).values, [[0.75, -0.75, 0.0]]);
    }
}
