//! What stage 2 ranks a group's rollouts by: a level for each, higher is better.
//!
//! - `fronts`: `N - rho + 1` of non-dominated ranks `rho` = 1 (best) .. N.
//! - `dominance_counts`: rollouts that are dominated, less those that dominate. Whoever dominates
//!   another is at least two levels above it.
//! - `call_classes`: the rollouts whose calls cost the same are a class with the vector `(n m_c + k
//!   m) / (n + k)`, of its n rollouts' mean `m_c`, the group's mean `m` and `k` = `class_prior`;
//!   the level is that of the class's front. A lucky rollout of a class that is mostly wrong shares
//!   its rank.

use super::{ParetoPoConfig, Ranking};
use crate::estimators::statistics::batch_mean;
use crate::estimators::{EstimatorError, Group};
use crate::pareto::{Point, dominates, non_dominated_ranks};

/// A level for each rollout, ranked by these vectors.
pub(super) fn levels(
    config: &ParetoPoConfig,
    group: &Group,
    ranked: &[Point],
) -> Result<Vec<f64>, EstimatorError> {
    match config.ranking {
        Ranking::Fronts => Ok(of_fronts(ranked)),
        Ranking::DominanceCounts => Ok(of_counts(ranked)),
        Ranking::CallClasses => {
            let calls = group.calls.as_ref().ok_or(EstimatorError::NoCalls("paretopo"))?;
            Ok(of_classes(ranked, calls, config.class_prior.get()))
        }
    }
}

fn of_fronts(points: &[Point]) -> Vec<f64> {
    let ranks = non_dominated_ranks(points);
    let last = ranks.iter().copied().max().unwrap_or(0);
    ranks.iter().map(|rank| (last - rank + 1) as f64).collect()
}

fn of_counts(points: &[Point]) -> Vec<f64> {
    let level = |own: &Point| {
        let below = points.iter().filter(|other| dominates(own, other)).count();
        let above = points.iter().filter(|other| dominates(other, own)).count();
        below as f64 - above as f64
    };
    points.iter().map(level).collect()
}

fn of_classes(points: &[Point], calls: &[f64], prior: f64) -> Vec<f64> {
    let everybody = Group { rewards: points.to_vec(), ..Group::default() };
    let Some(overall) = batch_mean(&[everybody]) else { return Vec::new() };
    let shrunk = |own: &f64| -> Point {
        let members: Vec<&Point> =
            calls.iter().zip(points).filter(|(calls, _)| *calls == own).map(|(_, p)| p).collect();
        let count = members.len() as f64;
        let coordinate = |k: usize| {
            let sum: f64 = members.iter().map(|point| point[k]).sum();
            (sum + prior * overall[k]) / (count + prior)
        };
        (0..overall.len()).map(coordinate).collect()
    };
    // all of a class have the same vector, to the bit, and so the same rank
    of_fronts(&calls.iter().map(shrunk).collect::<Vec<Point>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(rewards: &[[f64; 2]]) -> Vec<Point> {
        rewards.iter().map(|reward| reward.to_vec()).collect()
    }

    #[test]
    fn counts_of_what_is_dominated() {
        // (1, 1) dominates all three; (1, .6) and (0, 1) dominate (0, .6); (0, .6) none
        let found = of_counts(&points(&[[1.0, 1.0], [1.0, 0.6], [0.0, 1.0], [0.0, 0.6]]));
        assert_eq!(found, [3.0, 0.0, 0.0, -3.0]);
    }

    #[test]
    fn a_lucky_rollout_shares_the_rank_of_its_class() {
        // without a call one of four is right, with one all four are
        let rewards = points(&[
            [1.0, 1.0],
            [0.0, 1.0],
            [0.0, 1.0],
            [0.0, 1.0],
            [1.0, 0.6],
            [1.0, 0.6],
            [1.0, 0.6],
            [1.0, 0.6],
        ]);
        let calls = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0];
        // fronts: the lucky one is alone in front
        assert_eq!(of_fronts(&rewards), [2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        // classes (0.25, 1) and (1, 0.6): neither dominates
        assert_eq!(of_classes(&rewards, &calls, 0.0), [1.0; 8]);
        // a third class, (0, 0.6): dominated by both
        let mut more = rewards.clone();
        more.push(vec![0.0, 0.6]);
        let calls = [calls.to_vec(), vec![2.0]].concat();
        let found = of_classes(&more, &calls, 0.0);
        assert!(found[..8] == [2.0; 8] && found[8] == 1.0, "{found:?}");
    }

    #[test]
    fn a_prior_draws_small_classes_to_the_middle() {
        // a right rollout without a call beside three right ones with one: means (1, 1), (1, 0.6)
        // and overall (0.8, 0.76) with a wrong one of two calls, (0, 0.4)
        let rewards = points(&[[1.0, 1.0], [1.0, 0.6], [1.0, 0.6], [1.0, 0.6], [0.0, 0.4]]);
        let calls = [0.0, 1.0, 1.0, 1.0, 2.0];
        assert_eq!(of_classes(&rewards, &calls, 0.0), [3.0, 2.0, 2.0, 2.0, 1.0]);
        // overall: (4/5, 3.2/5 = 0.64); k = 1: (0.9, 0.82), (3.8/4 = 0.95, 2.44/4 = 0.61) and
        // (0.4, 0.52): the first two do not dominate each other any more
        assert_eq!(of_classes(&rewards, &calls, 1.0), [2.0, 2.0, 2.0, 2.0, 1.0]);
    }

    fn vectors() -> impl Strategy<Value = Vec<Point>> {
        let value = (0u8..6).prop_map(|value| f64::from(value) / 5.0);
        proptest::collection::vec(proptest::collection::vec(value, 2), 1..12)
    }

    proptest! {
        #[test]
        fn who_dominates_stands_higher(points in vectors()) {
            let (fronts, counts) = (of_fronts(&points), of_counts(&points));
            for (i, a) in points.iter().enumerate() {
                for (j, b) in points.iter().enumerate() {
                    if dominates(a, b) {
                        prop_assert!(fronts[i] >= fronts[j] + 1.0);
                        prop_assert!(counts[i] >= counts[j] + 2.0);
                    }
                }
            }
        }

        #[test]
        fn a_price_may_be_distorted_by_whatever_increases(
            points in vectors(),
            steps in proptest::collection::vec(0.001f64..10.0, 6),
        ) {
            // the six values of the second objective become six others, in the same order
            let up_to = |place: usize| steps[..=place].iter().sum::<f64>();
            let distorted = |value: f64| up_to((5.0 * value).round() as usize);
            let others: Vec<Point> =
                points.iter().map(|point| vec![point[0], distorted(point[1])]).collect();
            prop_assert_eq!(of_fronts(&others), of_fronts(&points));
            prop_assert_eq!(of_counts(&others), of_counts(&points));
        }

        #[test]
        fn a_class_shares_its_level(points in vectors(), seed in 0usize..3, prior in 0.0f64..3.0) {
            let calls: Vec<f64> =
                (0..points.len()).map(|place| ((place * 7 + seed) % 3) as f64).collect();
            let levels = of_classes(&points, &calls, prior);
            for (i, a) in calls.iter().enumerate() {
                for (j, b) in calls.iter().enumerate() {
                    prop_assert!(a != b || levels[i] == levels[j]);
                }
            }
        }
    }
}
