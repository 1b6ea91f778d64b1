//! Fast non-dominated sorting (Deb et al., 2002, NSGA-II, section III-A).

use super::dominates;

/// The rank of each point: 1 for points that nothing dominates, 2 for those that only rank-1 points
/// dominate, and so on. Equal points share a rank. Ranks have no gaps. O(objectives * points^2).
///
/// # Shapes
/// - `points`: one point per entry; output: as many ranks
pub fn non_dominated_ranks<P: AsRef<[f64]>>(points: &[P]) -> Vec<usize> {
    let count = points.len();
    let mut dominated_by_me: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut dominators_left = vec![0usize; count];
    for first in 0..count {
        for second in first + 1..count {
            let (a, b) = (points[first].as_ref(), points[second].as_ref());
            if dominates(a, b) {
                dominated_by_me[first].push(second);
                dominators_left[second] += 1;
            } else if dominates(b, a) {
                dominated_by_me[second].push(first);
                dominators_left[first] += 1;
            }
        }
    }
    let mut ranks = vec![0; count];
    let mut front: Vec<usize> = (0..count).filter(|point| dominators_left[*point] == 0).collect();
    let mut rank = 1;
    while !front.is_empty() {
        let mut next = Vec::new();
        for point in front {
            ranks[point] = rank;
            for dominated in &dominated_by_me[point] {
                dominators_left[*dominated] -= 1;
                if dominators_left[*dominated] == 0 {
                    next.push(*dominated);
                }
            }
        }
        front = next;
        rank += 1;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn a_dominated_point_ranks_behind_and_each_rank_is_needed(
            points in proptest::collection::vec(proptest::collection::vec((0u8..5).prop_map(|v| f64::from(v) / 4.0), 3), 1..14)
        ) {
            let ranks = non_dominated_ranks(&points);
            for (a, rank_a) in points.iter().zip(&ranks) {
                for (b, rank_b) in points.iter().zip(&ranks) {
                    if dominates(a, b) { prop_assert!(rank_a < rank_b); }
                    if a == b { prop_assert_eq!(rank_a, rank_b); }
                }
                // whoever is of rank r > 1 is dominated by somebody of rank r - 1
                prop_assert!(*rank_a == 1 || points.iter().zip(&ranks).any(|(b, rank_b)| rank_b + 1 == *rank_a && dominates(b, a)));
            }
        }
    }
}
