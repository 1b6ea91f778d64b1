//! Stage 2, Pareto-ranking advantages, inside each group with ranks `rho` = 1 (best) .. N:
//!
//! `A = (N - rho + 1) + beta * (r_hat - 0.5)` with `r_hat` the scalarized reward mapped to [0, 1]
//! inside its rank (0.5 where all are equal), then centered. As `beta <= 1`, no trajectory of a
//! worse rank gets a higher advantage.

use super::{Centering, ParetoPoConfig, scalar_rewards};
use crate::estimators::statistics::standardised;
use crate::estimators::{Advantages, Group, Progress};
use crate::pareto::{Point, non_dominated_ranks};
use rand::SeedableRng;
use rand::distr::{Distribution, Open01};
use rand_chacha::ChaCha8Rng;

pub(super) fn advantages(
    config: &ParetoPoConfig,
    groups: &[Group],
    progress: Progress,
) -> Advantages {
    let mut rng = ChaCha8Rng::seed_from_u64(progress.seed);
    let values = groups.iter().map(|group| {
        let noise = config.stochastic_rank.get();
        let ranks = if noise > 0.0 {
            non_dominated_ranks(&perturbed(&group.rewards, noise, &mut rng))
        } else {
            non_dominated_ranks(&group.rewards)
        };
        let raw = rank_advantages(&ranks, &scalar_rewards(config, group), config.beta.get());
        match config.centering {
            Centering::None => raw,
            Centering::Mean => standardised(&raw, false),
            Centering::MeanStd => standardised(&raw, true),
        }
    });
    Advantages { values: values.collect(), ..Advantages::default() }
}

/// Gumbel noise of scale `sigma` on every coordinate.
fn perturbed(rewards: &[Point], sigma: f64, rng: &mut ChaCha8Rng) -> Vec<Point> {
    let mut gumbel = || {
        // drawn as f32, as ever, so that a seed means the same noise
        let uniform: f32 = Open01.sample(rng);
        -(-f64::from(uniform).ln()).ln()
    };
    rewards
        .iter()
        .map(|reward| reward.iter().map(|value| value + sigma * gumbel()).collect())
        .collect()
}

fn rank_advantages(ranks: &[usize], scalars: &[f64], beta: f64) -> Vec<f64> {
    let last = ranks.iter().copied().max().unwrap_or(0);
    let range = |rank: usize| {
        let inside = ranks
            .iter()
            .zip(scalars)
            .filter(|(other, _)| **other == rank)
            .map(|(_, scalar)| *scalar);
        inside.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), scalar| {
            (low.min(scalar), high.max(scalar))
        })
    };
    let advantage = |(rank, scalar): (&usize, &f64)| {
        let (low, high) = range(*rank);
        let place = if high > low { (scalar - low) / (high - low) } else { 0.5 };
        (last - rank + 1) as f64 + beta * (place - 0.5)
    };
    ranks.iter().zip(scalars).map(advantage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_settings::{NonNegative, Share};
    use proptest::prelude::*;

    const START: Progress = Progress { step: 0, total_steps: 1, seed: 7 };

    fn run(config: &ParetoPoConfig, rewards: &[[f64; 2]]) -> Vec<f64> {
        let group = Group {
            rewards: rewards.iter().map(|reward| reward.to_vec()).collect(),
            ..Group::default()
        };
        advantages(config, &[group], START).values.remove(0)
    }

    #[test]
    fn ranks_then_rewards_inside_a_rank() {
        let rewards = [[1.0, 1.0], [1.0, 0.6], [0.0, 1.0], [0.0, 0.6]];
        // ranks 1, 2, 2, 3 of 3; r_w = (1, 0.84, 0.4, 0.24); inside rank 2 r_hat = (1, 0)
        // A = 3 + 0, 2 + 0.5, 2 - 0.5, 1 + 0; mean 2
        let raw = run(
            &ParetoPoConfig { centering: Centering::None, ..ParetoPoConfig::default() },
            &rewards,
        );
        assert_eq!(raw, [3.0, 2.5, 1.5, 1.0]);
        assert_eq!(run(&ParetoPoConfig::default(), &rewards), [1.0, 0.5, -0.5, -1.0]);
        // std = sqrt((1 + 0.25 + 0.25 + 1) / 3) = 0.912871; 1 / 0.912971 = 1.095325
        let scaled = run(
            &ParetoPoConfig { centering: Centering::MeanStd, ..ParetoPoConfig::default() },
            &rewards,
        );
        assert!((scaled[0] - 1.095_325).abs() < 1e-5);
    }

    #[test]
    fn a_group_of_equals_has_no_signal() {
        assert_eq!(run(&ParetoPoConfig::default(), &[[1.0, 0.5]; 3]), [0.0; 3]);
    }

    #[test]
    fn noise_vanishes_with_its_scale() {
        let rewards = [[1.0, 1.0], [1.0, 0.6], [0.0, 1.0], [0.0, 0.6]];
        let noisy = |sigma| {
            run(
                &ParetoPoConfig {
                    stochastic_rank: NonNegative::literal(sigma),
                    ..ParetoPoConfig::default()
                },
                &rewards,
            )
        };
        // with a clear gap between points a tiny scale leaves the order of strict dominance; equal
        // coordinates may break either way
        let tiny = noisy(1e-6);
        assert!(tiny[0] > tiny[3]);
        assert_eq!(noisy(0.0), [1.0, 0.5, -0.5, -1.0]);
        assert_ne!(noisy(5.0), noisy(0.0));
    }

    proptest! {
        #[test]
        fn a_worse_rank_never_gets_the_higher_advantage(
            rewards in proptest::collection::vec(proptest::collection::vec((0u8..6).prop_map(|v| f64::from(v) / 5.0), 2), 1..12),
            beta in prop_oneof![Just(1.0), 0.0..=1.0],
            centering in prop_oneof![Just(Centering::None), Just(Centering::Mean), Just(Centering::MeanStd)],
        ) {
            let config = ParetoPoConfig { beta: Share::literal(beta), centering, ..ParetoPoConfig::default() };
            let group = Group { rewards: rewards.clone(), ..Group::default() };
            let values = advantages(&config, &[group], START).values.remove(0);
            let ranks = non_dominated_ranks(&rewards);
            for (rank_a, value_a) in ranks.iter().zip(&values) {
                for (rank_b, value_b) in ranks.iter().zip(&values) {
                    if rank_a < rank_b {
                        prop_assert!(*value_a >= *value_b - 1e-5);
                        if beta < 0.99 { prop_assert!(value_a > value_b); }
                    }
                }
            }
        }
    }
}
