//! Ranks and hypervolumes beside their plain definitions, on coordinates of few values, so that
//! ties and equal points are many.

use paretopo_pareto::{dominates, hypervolume, hypervolume_gain, non_dominated_ranks};
use proptest::collection::vec;
use proptest::prelude::*;

/// Ranks by the definition: what nothing left dominates is a front; it goes, and so on.
fn peeled(points: &[Vec<f64>]) -> Vec<usize> {
    let mut ranks = vec![0; points.len()];
    for rank in 1.. {
        let left: Vec<usize> = (0..points.len()).filter(|index| ranks[*index] == 0).collect();
        if left.is_empty() {
            break;
        }
        for index in &left {
            if !left.iter().any(|other| dominates(&points[*other], &points[*index])) {
                ranks[*index] = rank;
            }
        }
    }
    ranks
}

/// The volume above `reference` by the definition, for whole coordinates up to `side`: how many
/// cells of a grid a point covers.
fn cells(points: &[Vec<f64>], reference: &[f64], side: usize) -> f64 {
    let objectives = reference.len();
    let cell = |number: usize| -> Vec<f64> {
        // the cell's upper corner, from the digits of its number
        (0..objectives).map(|k| (number / side.pow(k as u32) % side + 1) as f64).collect()
    };
    let is_covered = |corner: &[f64]| {
        let is_above = corner.iter().zip(reference).all(|(corner, low)| corner > low);
        is_above
            && points
                .iter()
                .any(|point| point.iter().zip(corner).all(|(value, corner)| value >= corner))
    };
    (0..side.pow(objectives as u32)).filter(|number| is_covered(&cell(*number))).count() as f64
}

/// Points of whole coordinates, up to `most` each.
fn whole(count: usize, objectives: usize, most: u8) -> impl Strategy<Value = Vec<Vec<f64>>> {
    vec(vec((0..=most).prop_map(f64::from), objectives), 0..=count)
}

/// Points of 1 to `objectives` objectives.
fn any_whole(count: usize, objectives: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    (1..=objectives, 1u8..=30)
        .prop_flat_map(move |(objectives, most)| whole(count, objectives, most))
}

/// A repeatable sequence of numbers in [0, 1), `2^-53 * (state >> 11)` of a linear congruential
/// generator with Knuth's factor.
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Points of [0, 1), on a grid of `steps` values, or on the unit sphere without one.
fn drawn(count: usize, objectives: usize, steps: Option<f64>) -> Vec<Vec<f64>> {
    let mut next = uniform(count as u64);
    (0..count)
        .map(|_| {
            let point: Vec<f64> = (0..objectives).map(|_| next()).collect();
            let length = point.iter().map(|value| value * value).sum::<f64>().sqrt();
            let place = |value: &f64| match steps {
                Some(steps) => (value * steps).floor() / steps,
                None => value / length,
            };
            point.iter().map(place).collect()
        })
        .collect()
}

#[test]
fn ranks_by_hand() {
    // (3, 3, 0) and (0, 3, 3) are incomparable: 1. (2, 3, 0) is below the first: 2. (0, 2, 0) is
    // below (2, 3, 0): 3, also the second time. (0, 3, 2) is below (0, 3, 3) alone: 2.
    let points = [
        [0.0, 2.0, 0.0],
        [3.0, 3.0, 0.0],
        [2.0, 3.0, 0.0],
        [0.0, 3.0, 3.0],
        [0.0, 2.0, 0.0],
        [0.0, 3.0, 2.0],
    ];
    assert_eq!(non_dominated_ranks(&points), [3, 1, 2, 1, 3, 2]);
    // a fourth objective that is the same for all changes nothing
    let longer = points.map(|[a, b, c]| [a, b, c, 7.0]);
    assert_eq!(non_dominated_ranks(&longer), [3, 1, 2, 1, 3, 2]);
    // one against the order in which (3, 3, 0) dominates frees what is below it
    let freed = [[2.0, 3.0, 0.0, 1.0], [3.0, 3.0, 0.0, 0.0]];
    assert_eq!(non_dominated_ranks(&freed), [1, 1]);
}

#[test]
fn volumes_by_hand() {
    // from the top: (1, 1) up to 3 adds 1 * 3; (2, 1) up to 2 adds 2 - 1 of ground: 1 * 2; (1, 3)
    // up to 1 adds 3 - 1: 2 * 1; together 7. (1, 1, 1) is covered.
    let points = [[1.0, 3.0, 1.0], [1.0, 1.0, 1.0], [2.0, 1.0, 2.0], [1.0, 1.0, 3.0]];
    assert_eq!(hypervolume(&points, &[0.0; 3]), 7.0);
    // (2, 3, 2) has 12, of which the others cover 1 * 1 * 2 + 1 * 1 * 2 + 1 * 2 * 1 = 6
    assert_eq!(hypervolume_gain(&[2.0, 3.0, 2.0], &points, &[0.0; 3]), 6.0);
    // four: 2 * 2 * 1 * 1 and 1 * 1 * 2 * 2 share 1: 4 + 4 - 1
    assert_eq!(hypervolume(&[[2.0, 2.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0]], &[0.0; 4]), 7.0);
}

#[test]
fn many_points_of_many_values_are_ranked_by_the_definition() {
    // more than the dominators of one block, the last one not full; ties, and hardly any ties
    for steps in [4.0, 64.0, 1e9] {
        for objectives in 1..=5 {
            let points = drawn(1_100, objectives, Some(steps));
            assert_eq!(non_dominated_ranks(&points), peeled(&points), "{objectives} of {steps}");
        }
    }
    let front = drawn(700, 3, None);
    assert_eq!(non_dominated_ranks(&front), peeled(&front));
    // a chain has as many fronts as points
    let chain: Vec<[f64; 4]> = (0..1_100).map(|place| [f64::from(place); 4]).collect();
    assert!(non_dominated_ranks(&chain).iter().copied().eq((1..=1_100).rev()));
}

#[test]
fn an_objective_that_is_1_for_all_changes_no_volume() {
    // so the sweeps and the slices, of which each is used for as many objectives, are compared
    for objectives in 1..=4 {
        for steps in [None, Some(8.0), Some(1e9)] {
            let points = drawn(200, objectives, steps);
            let volume = hypervolume(&points, &vec![0.0; objectives]);
            let longer: Vec<Vec<f64>> =
                points.iter().map(|point| [point.as_slice(), &[1.0]].concat()).collect();
            let same = hypervolume(&longer, &vec![0.0; objectives + 1]);
            assert!((volume - same).abs() <= 1e-12 * volume, "{objectives}: {volume} {same}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn ranks_are_those_of_peeling(points in any_whole(90, 5)) {
        prop_assert_eq!(non_dominated_ranks(&points), peeled(&points));
    }

    #[test]
    fn ranks_do_not_depend_on_the_order_of_points(
        (points, shuffled) in any_whole(40, 4)
            .prop_map(|points| points.into_iter().enumerate().collect::<Vec<_>>())
            .prop_flat_map(|points| (Just(points.clone()), Just(points).prop_shuffle()))
    ) {
        let values = |points: &[(usize, Vec<f64>)]| -> Vec<Vec<f64>> {
            points.iter().map(|(_, point)| point.clone()).collect()
        };
        let ranks = non_dominated_ranks(&values(&points));
        let others = non_dominated_ranks(&values(&shuffled));
        for ((index, _), rank) in shuffled.iter().zip(others) {
            prop_assert_eq!(ranks[*index], rank);
        }
    }

    #[test]
    fn ranks_do_not_depend_on_how_an_objective_is_measured(
        points in any_whole(40, 4),
        steps in vec(0.001f64..10.0, 31),
    ) {
        // the whole numbers up to 30 become sums of positive steps, in the same order
        let measured = |whole: f64| steps[..=whole as usize].iter().sum::<f64>() - 100.0;
        let others: Vec<Vec<f64>> = points
            .iter()
            .map(|point| {
                let mut other = point.clone();
                other[0] = measured(other[0]);
                other
            })
            .collect();
        prop_assert_eq!(non_dominated_ranks(&others), non_dominated_ranks(&points));
    }

    #[test]
    fn volumes_are_those_of_cells(
        (points, reference) in (1usize..=5).prop_flat_map(|objectives| {
            (whole(24, objectives, 5), vec((0u8..=2).prop_map(f64::from), objectives))
        })
    ) {
        // whole numbers as small as these are exact
        let exact = cells(&points, &reference, 5);
        prop_assert_eq!(hypervolume(&points, &reference), exact);
        if let Some((point, rest)) = points.split_last() {
            let gain = exact - cells(rest, &reference, 5);
            prop_assert_eq!(hypervolume_gain(point, rest, &reference), gain);
        }
    }
}
