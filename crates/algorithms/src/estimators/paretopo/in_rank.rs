//! Where in its rank a rollout stands, in [0, 1]: `r_hat = (v - min v) / (max v - min v)` over
//! those of its rank, 0.5 where all are equal. `v` is
//!
//! - `scalarized`: `w . r`.
//! - `crowding`: the sum over objectives of the distance between the neighbours on both sides, by
//!   the range of the rank (NSGA-II); the number of objectives for an end. Equal vectors are one.
//! - `hypervolume`: `HV(rank) - HV(rank without the rollout)` above the reference (SMS-EMOA); 0 for
//!   one that has an equal.

use super::{InRank, ParetoPoConfig, scalar_rewards};
use crate::estimators::Group;
use crate::pareto::{Point, hypervolume};

/// `r_hat` of each rollout; rollouts of one rank have the same level.
pub(super) fn places(
    config: &ParetoPoConfig,
    group: &Group,
    levels: &[f64],
    reference: &[f64],
) -> Vec<f64> {
    let scalars = scalar_rewards(config, group);
    let mut found = vec![0.5; levels.len()];
    let mut distinct = levels.to_vec();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    for level in distinct {
        let rank: Vec<usize> = (0..levels.len()).filter(|place| levels[*place] == level).collect();
        let points: Vec<Point> = rank.iter().map(|place| group.rewards[*place].clone()).collect();
        let values = match config.in_rank {
            InRank::Scalarized => rank.iter().map(|place| scalars[*place]).collect(),
            InRank::Crowding => crowding(&points),
            InRank::Hypervolume => contributions(&points, reference),
        };
        for (place, value) in rank.into_iter().zip(stretched(&values)) {
            found[place] = value;
        }
    }
    found
}

/// Mapped to [0, 1], 0.5 where all are equal.
fn stretched(values: &[f64]) -> Vec<f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let place = |value: &f64| if high > low { (value - low) / (high - low) } else { 0.5 };
    values.iter().map(place).collect()
}

fn crowding(points: &[Point]) -> Vec<f64> {
    let objectives = points.first().map_or(0, Vec::len);
    let mut distances = vec![0.0; points.len()];
    let mut is_end = vec![false; points.len()];
    for k in 0..objectives {
        let mut values: Vec<f64> = points.iter().map(|point| point[k]).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let (low, high) = (values[0], values[values.len() - 1]);
        for (place, point) in points.iter().enumerate() {
            let own = values.partition_point(|value| *value < point[k]);
            if own == 0 || own == values.len() - 1 {
                is_end[place] = true;
            } else {
                distances[place] += (values[own + 1] - values[own - 1]) / (high - low);
            }
        }
    }
    let distance =
        |(is_end, distance): (bool, f64)| if is_end { objectives as f64 } else { distance };
    is_end.into_iter().zip(distances).map(distance).collect()
}

fn contributions(points: &[Point], reference: &[f64]) -> Vec<f64> {
    let whole = hypervolume(points, reference);
    let without = |place: usize| {
        let mut others = points.to_vec();
        others.remove(place);
        hypervolume(&others, reference)
    };
    (0..points.len()).map(|place| (whole - without(place)).max(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimators::paretopo::ranking::levels;
    use proptest::prelude::*;

    #[test]
    fn crowding_by_hand() {
        let points = [[0.0, 1.0], [0.2, 0.6], [0.5, 0.5], [1.0, 0.0], [0.2, 0.6]].map(Vec::from);
        let found = crowding(&points);
        // second: (0.5 - 0) / 1 + (1 - 0.5) / 1 = 1; third: (1 - 0.2) + (0.6 - 0) = 1.4; ends: 2
        let want = [2.0, 1.0, 1.4, 2.0, 1.0];
        assert!(found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        // equals are one, and an end
        assert_eq!(crowding(&[vec![0.3, 0.7], vec![0.3, 0.7]]), [2.0, 2.0]);
    }

    #[test]
    fn contributions_by_hand() {
        let points = [[1.0, 0.2], [0.6, 0.5], [0.3, 0.9]].map(Vec::from);
        let found = contributions(&points, &[0.0, 0.0]);
        // 0.4 * 0.2, 0.3 * 0.3 and 0.3 * 0.4
        let want = [0.08, 0.09, 0.12];
        assert!(found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        // of two equals neither is missed
        let twice = [[0.5, 0.5], [0.5, 0.5]].map(Vec::from);
        assert_eq!(contributions(&twice, &[0.0, 0.0]), [0.0, 0.0]);
    }

    #[test]
    fn the_choice_orders_a_rank_and_nothing_else() {
        // one front of three, and (0, 0.1) behind it
        let group = Group {
            rewards: [[1.0, 0.2], [0.6, 0.5], [0.3, 0.9], [0.0, 0.1]].map(Vec::from).to_vec(),
            ..Group::default()
        };
        let of = |in_rank| {
            let config = ParetoPoConfig { in_rank, ..ParetoPoConfig::default() };
            places(&config, &group, &[2.0, 2.0, 2.0, 1.0], &[0.0, 0.0])
        };
        let close = |found: Vec<f64>, want: [f64; 4]| {
            assert!(found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
        };
        // w . r = 0.68, 0.56, 0.54
        close(of(InRank::Scalarized), [1.0, 1.0 / 7.0, 0.0, 0.5]);
        // ends 2; (0.7 + 0.7) / 0.7 = 2 for the middle, too: all are equal
        close(of(InRank::Crowding), [0.5; 4]);
        // contributions 0.08, 0.09, 0.12
        close(of(InRank::Hypervolume), [0.0, 0.25, 1.0, 0.5]);
    }

    proptest! {
        #[test]
        fn a_place_is_a_share_whatever_orders(
            rewards in proptest::collection::vec(proptest::collection::vec(0.0f64..1.0, 2), 1..10),
        ) {
            let group = Group { rewards: rewards.clone(), ..Group::default() };
            for in_rank in [InRank::Scalarized, InRank::Crowding, InRank::Hypervolume] {
                let config = ParetoPoConfig { in_rank, ..ParetoPoConfig::default() };
                let levels = levels(&config, &group, &rewards).unwrap();
                let places = places(&config, &group, &levels, &[0.0, 0.0]);
                // so that with beta <= 1 no order of fronts is changed
                prop_assert!(places.iter().all(|place| (0.0..=1.0).contains(place)));
            }
        }
    }
}
