//! Exact hypervolume: the volume that a set of points dominates, above a reference point.
//!
//! Two objectives: a sweep. Three and more: the WFG algorithm (While, Bradstreet and Barone, 2012),
//! which splits the volume into each point's exclusive part,
//! `HV(S) = sum_i (incl(p_i) - HV({min(p_i, p_j) : j > i}))`.

use super::{Point, dominates};

/// The hypervolume of `points` above `reference`. Points that do not exceed the reference in every
/// objective add nothing.
///
/// # Shapes
/// - each point and `reference`: one finite value per objective
pub fn hypervolume<P: AsRef<[f64]>>(points: &[P], reference: &[f64]) -> f64 {
    let above: Vec<Vec<f64>> =
        points.iter().filter_map(|point| above_reference(point.as_ref(), reference)).collect();
    volume(non_dominated(above))
}

/// `dHV(point, set) = HV(set + {point}) - HV(set)`, the volume that only `point` dominates. Never
/// negative.
///
/// # Shapes
/// - each point and `reference`: one finite value per objective
pub fn hypervolume_gain<P: AsRef<[f64]>>(point: &[f64], set: &[P], reference: &[f64]) -> f64 {
    let Some(point) = above_reference(point, reference) else { return 0.0 };
    let set: Vec<Vec<f64>> =
        set.iter().filter_map(|other| above_reference(other.as_ref(), reference)).collect();
    exclusive(&point, &set).max(0.0)
}

/// Whether a point dominates a volume that an f64 cannot hold: it exceeds the reference in every
/// objective, but the product of by how much is below 2.2e-308, where digits are lost, or 0.
///
/// # Shapes
/// - `point` and `reference`: one finite value per objective
pub fn underflows(point: &[f64], reference: &[f64]) -> bool {
    above_reference(point, reference)
        .is_some_and(|sides| sides.iter().product::<f64>() < f64::MIN_POSITIVE)
}

/// The point relative to the reference, or `None` where it does not exceed it.
fn above_reference(point: &[f64], reference: &[f64]) -> Option<Vec<f64>> {
    debug_assert_eq!(
        point.len(),
        reference.len(),
        "the reference has as many objectives as the points"
    );
    let relative: Vec<f64> = point.iter().zip(reference).map(|(value, low)| value - low).collect();
    relative.iter().all(|value| *value > 0.0).then_some(relative)
}

/// The volume of `point`'s box that no other point covers.
fn exclusive(point: &[f64], others: &[Vec<f64>]) -> f64 {
    let covered = others
        .iter()
        .map(|other| other.iter().zip(point).map(|(a, b)| a.min(*b)).collect())
        .collect();
    point.iter().product::<f64>() - volume(non_dominated(covered))
}

fn non_dominated(points: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let covers = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a >= b);
    let mut kept: Vec<Vec<f64>> = Vec::with_capacity(points.len());
    for point in points {
        if !kept.iter().any(|other| covers(other, &point)) {
            kept.retain(|other| !covers(&point, other));
            kept.push(point);
        }
    }
    kept
}

/// The volume of mutually non-dominated boxes at the origin.
fn volume(mut points: Vec<Vec<f64>>) -> f64 {
    match points.first().map(Vec::len) {
        None | Some(0) => 0.0,
        Some(1) => points.iter().map(|point| point[0]).fold(0.0, f64::max),
        Some(2) => {
            // from right to left each point adds its width times the height that it rises above the
            // one before
            points.sort_by(|a, b| b[0].total_cmp(&a[0]));
            let mut height = 0.0;
            let strip = |point: &Vec<f64>| {
                let area = point[0] * (point[1] - height);
                height = point[1];
                area
            };
            points.iter().map(strip).sum()
        }
        Some(_) => {
            // descending in the last objective keeps the limited sets small
            points.sort_by(|a, b| b[b.len() - 1].total_cmp(&a[a.len() - 1]));
            (0..points.len()).map(|index| exclusive(&points[index], &points[index + 1..])).sum()
        }
    }
}

/// Keeps the points that nothing dominates, each once.
pub(super) fn merge_non_dominated(points: &mut Vec<Point>, new: &[f64]) -> bool {
    if points.iter().any(|point| point == new || dominates(point, new)) {
        return false;
    }
    points.retain(|point| !dominates(new, point));
    points.push(new.to_vec());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_objectives_by_hand() {
        // boxes 1 x 0.2, 0.6 x 0.5, 0.3 x 0.9: strips 1 * 0.2 + 0.6 * (0.5 - 0.2) + 0.3 * (0.9 -
        // 0.5) = 0.2 + 0.18 + 0.12
        let points = [[1.0, 0.2], [0.6, 0.5], [0.3, 0.9], [0.5, 0.4]];
        assert!((hypervolume(&points, &[0.0, 0.0]) - 0.5).abs() < 1e-7);
        // above (0.3, 0.1): (0.7, 0.1) and (0.3, 0.4): 0.7 * 0.1 + 0.3 * 0.3 = 0.16; (0.3, 0.9)
        // does not exceed 0.3
        assert!((hypervolume(&points, &[0.3, 0.1]) - 0.16).abs() < 1e-7);
    }

    #[test]
    fn three_objectives_by_hand() {
        // two boxes of volume 0.5 * 1 * 1 overlap in 0.5 * 0.5 * 1: 0.5 + 0.5 - 0.25
        let points = [[0.5, 1.0, 1.0], [1.0, 0.5, 1.0]];
        assert!((hypervolume(&points, &[0.0; 3]) - 0.75).abs() < 1e-7);
    }

    #[test]
    fn coordinates_are_f64() {
        // 2^24 + 1 is no f32: 16777217 * 2 + 1 * (3 - 2) = 33554435
        assert_eq!(hypervolume(&[[16_777_217.0, 2.0], [1.0, 3.0]], &[0.0, 0.0]), 33_554_435.0);
        // 0.1 + 0.2 is 2^-54 above 0.3; the strip is as wide as 1
        let sum: f64 = 0.1 + 0.2;
        assert_eq!(hypervolume_gain(&[1.0, sum], &[[1.0, 0.3]], &[0.0, 0.0]), sum - 0.3);
    }

    #[test]
    fn a_volume_too_small_for_a_float_is_told_from_none() {
        // 1e-154 squared is 1e-308, below the smallest normal number; 1e-200 squared is 0
        assert!(underflows(&[1e-154, 1e-154], &[0.0, 0.0]));
        assert!(underflows(&[1e-200, 1e-200], &[0.0, 0.0]));
        assert!(underflows(&[0.1; 400], &[0.0; 400]));
        assert!(!underflows(&[1e-150, 1e-150], &[0.0, 0.0]));
        // not above the reference: there is nothing to lose
        assert!(!underflows(&[0.0, 1e-200], &[0.0, 0.0]));
        assert!(!underflows(&[0.5, 0.5], &[0.5, 0.0]));
        assert_eq!(hypervolume(&[[1e-200, 1e-200]], &[0.0, 0.0]), 0.0);
    }

    #[test]
    fn nothing_has_no_volume() {
        assert_eq!(hypervolume::<[f64; 2]>(&[], &[0.0, 0.0]), 0.0);
        assert_eq!(hypervolume(&[[0.0, 1.0]], &[0.0, 0.0]), 0.0);
    }

    /// Inclusion and exclusion over all subsets.
    fn by_inclusion_exclusion(points: &[Vec<f64>], objectives: usize) -> f64 {
        (1u32..1 << points.len())
            .map(|subset| {
                let chosen: Vec<_> = points
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| subset >> index & 1 == 1)
                    .map(|(_, p)| p)
                    .collect();
                let overlap: f64 = (0..objectives)
                    .map(|k| chosen.iter().map(|point| point[k]).fold(f64::INFINITY, f64::min))
                    .product();
                if chosen.len() % 2 == 1 { overlap } else { -overlap }
            })
            .sum()
    }

    proptest! {
        #[test]
        fn equals_inclusion_exclusion(
            objectives in 1usize..=5,
            values in proptest::collection::vec(0u8..=8, 30),
            count in 0usize..=6,
        ) {
            let points: Vec<Vec<f64>> =
                (0..count).map(|p| (0..objectives).map(|k| f64::from(values[p * 5 + k]) / 8.0).collect()).collect();
            let exact = by_inclusion_exclusion(&points, objectives);
            prop_assert!((hypervolume(&points, &vec![0.0; objectives]) - exact).abs() < 1e-9);
            if let Some((last, rest)) = points.split_last() {
                let gain = hypervolume_gain(last, rest, &vec![0.0; objectives]);
                prop_assert!((gain - (exact - by_inclusion_exclusion(rest, objectives))).abs() < 1e-9);
            }
        }
    }
}
