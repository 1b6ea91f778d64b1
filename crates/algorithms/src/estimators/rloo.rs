//! RLOO (Ahmadian et al., 2024, arXiv 2402.14740):
//! `A_i = r_i - mean of the other rewards in the group`.

use super::statistics::mean;
use super::{Advantages, Group};

pub(super) fn advantages(weights: &[f64], groups: &[Group]) -> Advantages {
    let values = groups.iter().map(|group| {
        let scalars = group.scalars(weights);
        // the mean of the others is as far below as the mean of all, times n / (n - 1); a single
        // rollout has nothing to be compared with
        let (mean, count) = (mean(&scalars), scalars.len() as f64);
        let stretch = if count > 1.0 { count / (count - 1.0) } else { 0.0 };
        scalars.iter().map(|scalar| stretch * (scalar - mean)).collect()
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
        let equals = [Group { rewards: vec![vec![0.1]; 3], ..Group::default() }];
        assert_eq!(advantages(&[], &equals).values, [[0.0; 3]]);
    }
}
