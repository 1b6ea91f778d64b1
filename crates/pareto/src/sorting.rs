//! Non-dominated sorting: the ranks of NSGA-II (Deb et al., 2002, section III-A), by faster ways
//! than to peel off one front after the other.
//!
//! Whatever dominates a point comes before it in the lexicographic order, largest values first. And
//! if a front has a point that dominates it, every better front has one, too. So one walk in this
//! order finds each point's front among those of the points before it, by halving (Zhang et al.,
//! 2015, efficient non-dominated sort, ENS-BS). Up to three objectives, all that a front needs to
//! keep is sorted. For more, the points that dominate one are bits of a set. Where points are few,
//! they are compared in pairs.

mod dominators;

use super::order::{descending, descending_key};
use super::staircase::Staircase;

/// Up to so many points of three and more objectives are compared in pairs, which is faster than to
/// keep what many points need.
const FEW: usize = 16;

/// The rank of each point: 1 for points that nothing dominates, 2 for those that only rank-1 points
/// dominate, and so on. Equal points share a rank. Ranks have no gaps.
///
/// Up to two objectives take O(n log(n)) for n points, three O(n log(n)^2) but for moves of memory,
/// and k more take O(k n^2 / 64), in O(k n) of memory.
///
/// # Shapes
/// - `points`: one point per entry, of one finite value per objective; output: as many ranks
pub fn non_dominated_ranks<P: AsRef<[f64]>>(points: &[P]) -> Vec<usize> {
    let objectives = points.first().map_or(0, |point| point.as_ref().len());
    debug_assert!(
        points.iter().all(|point| point.as_ref().len() == objectives),
        "points of one problem have as many objectives"
    );
    match objectives {
        0 => vec![1; points.len()],
        1 => ranks_in_order(points, last_of_fronts(|_| 0.0)),
        2 => ranks_in_order(points, last_of_fronts(|point| point[1])),
        _ if points.len() <= FEW => ranks_in_order(points, pairs()),
        3 => ranks_in_order(points, staircases()),
        _ => dominators::ranks(points, &lexicographic(points)),
    }
}

/// Where the points are, from the lexicographically largest to the smallest.
fn lexicographic<P: AsRef<[f64]>>(points: &[P]) -> Vec<usize> {
    let first = |index: usize| points[index].as_ref()[0];
    descending(points.len(), first, |a, b| {
        let rest = |index: usize| points[index].as_ref()[1..].iter().copied().map(descending_key);
        rest(a).cmp(rest(b))
    })
}

/// The rank of each point by `rank`, which is asked in the lexicographic order, once for equal
/// points.
fn ranks_in_order<'a, P: AsRef<[f64]>>(
    points: &'a [P],
    mut rank: impl FnMut(&'a [f64]) -> usize,
) -> Vec<usize> {
    let mut ranks = vec![1; points.len()];
    let mut previous: Option<(&[f64], usize)> = None;
    for index in lexicographic(points) {
        let point = points[index].as_ref();
        ranks[index] = match previous {
            Some((same, rank)) if same == point => rank,
            _ => rank(point),
        };
        previous = Some((point, ranks[index]));
    }
    ranks
}

/// Ranks for two objectives: all points before are as large in the first one. So a front dominates
/// a point if the largest second value in it, which is its last point's, is as large.
fn last_of_fronts(second: impl Fn(&[f64]) -> f64) -> impl FnMut(&[f64]) -> usize {
    let mut fronts: Vec<f64> = Vec::new();
    move |point| {
        let value = second(point);
        let front = fronts.partition_point(|last| *last >= value);
        match fronts.get_mut(front) {
            Some(last) => *last = value,
            None => fronts.push(value),
        }
        front + 1
    }
}

/// Ranks for three objectives: a front dominates a point if one in it is as large in the second and
/// the third, for which those that are largest in these suffice.
fn staircases() -> impl FnMut(&[f64]) -> usize {
    let mut fronts: Vec<Staircase> = Vec::new();
    move |point| {
        let rest = [point[1], point[2]];
        let front = fronts.partition_point(|front| front.covers(rest));
        if front == fronts.len() {
            fronts.push(Staircase::default());
        }
        if let Some(covered) = fronts[front].covered_by(rest) {
            fronts[front].replace(covered, rest);
        }
        front + 1
    }
}

/// Ranks for few points of any number of objectives: one more than the worst rank among the points
/// before that are as large in all but the first.
fn pairs<'a>() -> impl FnMut(&'a [f64]) -> usize {
    let mut ranked: Vec<(&[f64], usize)> = Vec::with_capacity(FEW);
    move |point| {
        let mut rank = 1;
        for (other, others_rank) in &ranked {
            if *others_rank >= rank && other[1..].iter().zip(&point[1..]).all(|(a, b)| a >= b) {
                rank = others_rank + 1;
            }
        }
        ranked.push((point, rank));
        rank
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_peel_off_fronts() {
        // (1, 1) dominates all; then (1, .6) and (0, 1) are incomparable; (1, .6) twice shares; (0,
        // .6) is dominated by (0, 1)
        let points = [[1.0, 1.0], [1.0, 0.6], [0.0, 1.0], [1.0, 0.6], [0.0, 0.6]];
        assert_eq!(non_dominated_ranks(&points), [1, 2, 2, 2, 3]);
        assert!(non_dominated_ranks::<[f64; 2]>(&[]).is_empty());
    }

    #[test]
    fn points_that_differ_in_the_last_bit_differ() {
        // both pairs are equal as f32
        assert_eq!(non_dominated_ranks(&[[0.3], [0.1 + 0.2]]), [2, 1]);
        assert_eq!(non_dominated_ranks(&[[16_777_216.0], [16_777_217.0]]), [2, 1]);
    }

    #[test]
    fn signs_of_zero_and_infinities_compare_as_floats_do() {
        // -0 equals 0, in the first objective and in the others
        assert_eq!(non_dominated_ranks(&[[0.0, 1.0], [-0.0, 1.0], [-0.0, 2.0]]), [2, 2, 1]);
        assert_eq!(non_dominated_ranks(&[[1.0, -0.0, 1.0], [1.0, 0.0, 1.0]]), [1, 1]);
        let endless = [[f64::INFINITY, 0.0], [1.0, 0.0], [f64::NEG_INFINITY, 0.0]];
        assert_eq!(non_dominated_ranks(&endless), [1, 2, 3]);
    }

    #[test]
    fn what_is_no_number_is_ranked_nevertheless() {
        for objectives in 1..=4 {
            let points: Vec<Vec<f64>> = (0..40u32)
                .map(|point| {
                    let values = (0..objectives).map(|k| point * (7 + k) % 5);
                    values.map(|v| if v == 4 { f64::NAN } else { f64::from(v) }).collect()
                })
                .collect();
            let ranks = non_dominated_ranks(&points);
            assert!(ranks.iter().all(|rank| (1..=40).contains(rank)), "{ranks:?}");
        }
    }

    #[test]
    fn points_of_no_objectives_are_all_equal() {
        assert_eq!(non_dominated_ranks(&[[0.0; 0]; 3]), [1, 1, 1]);
    }
}
