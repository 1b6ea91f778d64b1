//! Stage 2, Pareto-ranking advantages, inside each group with ranks `rho` = 1 (best) .. N:
//!
//! `A = (N - rho + 1) + beta * (r_hat - 0.5)` with `r_hat` the scalarized reward mapped to [0, 1]
//! inside its rank (0.5 where all are equal), then centered. As `beta <= 1`, no trajectory of a
//! worse rank gets a higher advantage. Centering is ours: the paper's formula has none.
//!
//! What stands in the place of `N - rho + 1` is `ranking`, what `r_hat` is made of is `in_rank`.
//! With credit by turns the part of success is what the same formula gives where the first
//! objective alone differs.

use super::ranking::levels;
use super::{Centering, Credit, ParetoPoConfig, credit, in_rank};
use crate::estimators::statistics::standardised;
use crate::estimators::{Advantages, EstimatorError, Group, Progress};
use crate::pareto::Point;
use rand::SeedableRng;
use rand::distr::{Distribution, Open01};
use rand_chacha::ChaCha8Rng;

pub(super) fn advantages(
    config: &ParetoPoConfig,
    groups: &[Group],
    reference: &[f64],
    progress: Progress,
) -> Result<Advantages, EstimatorError> {
    let mut rng = ChaCha8Rng::seed_from_u64(progress.seed);
    let noise = config.stochastic_rank.get();
    let mut advantages = Advantages::default();
    let mut turns = Vec::new();
    for group in groups {
        let ranked = match noise > 0.0 {
            true => &perturbed(group, noise, &mut rng),
            false => &group.rewards,
        };
        let values = of_group(config, group, ranked, reference)?;
        if config.credit == Credit::Turn {
            let alone = success_alone(group);
            let success = of_group(config, &alone, &alone.rewards, reference)?;
            turns.push(credit::by_turns(group, &values, &success)?);
        }
        advantages.values.push(values);
    }
    advantages.turns = (config.credit == Credit::Turn).then_some(turns);
    Ok(advantages)
}

/// The advantages of a group whose rollouts are ranked by these vectors.
fn of_group(
    config: &ParetoPoConfig,
    group: &Group,
    ranked: &[Point],
    reference: &[f64],
) -> Result<Vec<f64>, EstimatorError> {
    let levels = levels(config, group, ranked)?;
    let places = in_rank::places(config, group, &levels, reference);
    let beta = config.beta.get();
    let value = |(level, place): (&f64, f64)| level + beta * (place - 0.5);
    let raw: Vec<f64> = levels.iter().zip(places).map(value).collect();
    Ok(match config.centering {
        Centering::None => raw,
        Centering::Mean => standardised(&raw, false),
        Centering::MeanStd => standardised(&raw, true),
    })
}

/// The group as if its rollouts were alike in all objectives but the first.
fn success_alone(group: &Group) -> Group {
    let alone = |reward: &Point| {
        let mut alone = vec![0.0; reward.len()];
        alone[0] = reward[0];
        alone
    };
    Group { rewards: group.rewards.iter().map(alone).collect(), ..group.clone() }
}

/// Gumbel noise of scale `sigma` on every coordinate but those that the group's environment lacks.
fn perturbed(group: &Group, sigma: f64, rng: &mut ChaCha8Rng) -> Vec<Point> {
    let mut gumbel = || {
        // drawn as f32, as ever, so that a seed means the same noise
        let uniform: f32 = Open01.sample(rng);
        -(-f64::from(uniform).ln()).ln()
    };
    let mut noisy = |(k, value): (usize, &f64)| {
        let noise = sigma * gumbel();
        if group.lacks.contains(&k) { *value } else { value + noise }
    };
    let rewards = group.rewards.iter();
    rewards.map(|reward| reward.iter().enumerate().map(&mut noisy).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pareto::non_dominated_ranks;
    use paretopo_settings::{NonNegative, Share};
    use proptest::prelude::*;

    const START: Progress = Progress { step: 0, total_steps: 1, seed: 7, call_limit: 4.0 };

    fn run(config: &ParetoPoConfig, rewards: &[[f64; 2]]) -> Vec<f64> {
        let group = Group {
            rewards: rewards.iter().map(|reward| reward.to_vec()).collect(),
            ..Group::default()
        };
        advantages(config, &[group], &[0.0, 0.0], START).unwrap().values.remove(0)
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

    #[test]
    fn the_lesser_of_two_is_ahead_as_often_as_the_noise_says() {
        // two points that are apart by 0.1 in both objectives, sigma 0.1: the difference of two
        // Gumbels is logistic, so in one objective the lesser is ahead with 1 / (1 + exp(1)) =
        // 0.268941, and in both with 0.072329. Of 20,000 groups these are 1,446.6, with a deviation
        // of sqrt(20,000 * 0.072329 * 0.927671) = 36.6
        let config = ParetoPoConfig {
            stochastic_rank: NonNegative::literal(0.1),
            centering: Centering::None,
            ..ParetoPoConfig::default()
        };
        let group = Group { rewards: vec![vec![0.5, 0.5], vec![0.6, 0.6]], ..Group::default() };
        let groups = vec![group; 20_000];
        let found = advantages(&config, &groups, &[0.0, 0.0], START).unwrap();
        // alone in front: 2, against 1 behind it
        let turned = found.values.iter().filter(|pair| **pair == [2.0, 1.0]).count();
        assert!((turned as f64 - 1446.6).abs() < 4.0 * 36.6, "{turned}");
    }

    #[test]
    fn what_calls_cost_is_credited_to_the_calls_that_were_too_many() {
        // two right rollouts, without a call and with two; two wrong ones, with one call and
        // without
        let group = Group {
            rewards: [[1.0, 1.0], [1.0, 0.4], [0.0, 0.6], [0.0, 1.0]].map(Vec::from).to_vec(),
            calls: Some(vec![0.0, 2.0, 1.0, 0.0]),
            turn_costs: Some(vec![vec![0.0], vec![1.0, 1.0, 0.0], vec![1.0, 0.0], vec![0.0]]),
            ..Group::default()
        };
        let with = |credit, centering| {
            let config = ParetoPoConfig { credit, centering, ..ParetoPoConfig::default() };
            advantages(&config, std::slice::from_ref(&group), &[0.0, 0.0], START).unwrap()
        };
        let found = with(Credit::Turn, Centering::None);
        // ranks 1, 2, 3, 2 of 3; in rank 2 r_w is 0.76 and 0.4: A = 3, 2.5, 1, 1.5
        assert_eq!(found.values, [[3.0, 2.5, 1.0, 1.5]]);
        // by success alone ranks 1, 1, 2, 2 of 2: S = 2, 2, 1, 1; E = 1, 0.5, 0, 0.5
        // all that was earned is credited to the turns without a call
        let turns = &found.turns.unwrap()[0];
        assert_eq!(turns[0], [3.0]);
        assert_eq!(turns[1], [2.0, 2.0, 2.5]);
        assert_eq!(turns[2], [1.0, 1.0]);
        assert_eq!(turns[3], [1.5]);
        // centred: A = 1, 0.5, -1, -0.5, S = 0.5, 0.5, -0.5, -0.5; E = 0.5, 0, -0.5, 0; the wrong
        // one's call was one too many, its answer was not
        let turns = &with(Credit::Turn, Centering::Mean).turns.unwrap()[0];
        assert_eq!(turns[1], [0.5, 0.5, 0.5]);
        assert_eq!(turns[2], [-1.0, -0.5]);
        assert_eq!(with(Credit::Trajectory, Centering::Mean).turns, None);
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
            let values = advantages(&config, &[group], &[0.0, 0.0], START).unwrap().values.remove(0);
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
