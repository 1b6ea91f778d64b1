//! Exact hypervolume: the volume that a set of points dominates, above a reference point.
//!
//! Two and three objectives: a sweep, O(points * log(points)). More: slices, each of which is a
//! hypervolume of one objective less.

mod slices;
mod sweeps;

/// The hypervolume of `points` above `reference`. Points that do not exceed the reference in every
/// objective add nothing.
///
/// # Shapes
/// - each point and `reference`: one finite value per objective
pub fn hypervolume<P: AsRef<[f64]>>(points: &[P], reference: &[f64]) -> f64 {
    let mut boxes = Boxes::new(reference.len(), points.len());
    for point in points {
        boxes.push(above_reference(point.as_ref(), reference));
    }
    boxes.volume()
}

/// `dHV(point, set) = HV(set + {point}) - HV(set)`, the volume that only `point` dominates. Never
/// negative.
///
/// It is the volume of the point's box less what the others cover of it:
/// `prod_k p_k - HV({min(p, q) : q in set})` (While, Bradstreet and Barone, 2012, WFG).
///
/// # Shapes
/// - each point and `reference`: one finite value per objective
pub fn hypervolume_gain<P: AsRef<[f64]>>(point: &[f64], set: &[P], reference: &[f64]) -> f64 {
    if !exceeds(point, reference) {
        return 0.0;
    }
    let mut covered = Boxes::new(reference.len(), set.len());
    for other in set.iter().map(P::as_ref).filter(|other| exceeds(other, reference)) {
        let sides = above_reference(other, reference);
        covered.push(sides.zip(above_reference(point, reference)).map(|(a, b)| a.min(b)));
    }
    let all: f64 = above_reference(point, reference).product();
    (all - covered.volume()).max(0.0)
}

/// Whether a point dominates a volume that an f64 cannot hold: it exceeds the reference in every
/// objective, but the product of by how much is below 2.2e-308, where digits are lost, or 0.
///
/// # Shapes
/// - `point` and `reference`: one finite value per objective
pub fn underflows(point: &[f64], reference: &[f64]) -> bool {
    exceeds(point, reference)
        && above_reference(point, reference).product::<f64>() < f64::MIN_POSITIVE
}

/// The point relative to the reference.
fn above_reference<'a>(
    point: &'a [f64],
    reference: &'a [f64],
) -> impl Iterator<Item = f64> + use<'a> {
    debug_assert_eq!(
        point.len(),
        reference.len(),
        "the reference has as many objectives as the points"
    );
    point.iter().zip(reference).map(|(value, low)| value - low)
}

fn exceeds(point: &[f64], reference: &[f64]) -> bool {
    above_reference(point, reference).all(|side| side > 0.0)
}

/// Boxes with a corner at the origin, one row of sides after the other. Every side is above 0.
struct Boxes {
    sides: Vec<f64>,
    objectives: usize,
}

impl Boxes {
    fn new(objectives: usize, capacity: usize) -> Self {
        Self { sides: Vec::with_capacity(objectives * capacity), objectives }
    }

    /// Adds a box unless one of its sides is 0 or less, or no number.
    fn push(&mut self, sides: impl Iterator<Item = f64>) {
        let before = self.sides.len();
        self.sides.extend(sides);
        if !self.sides[before..].iter().all(|side| *side > 0.0) {
            self.sides.truncate(before);
        }
    }

    /// The volume of the union.
    fn volume(&self) -> f64 {
        let sides = &self.sides;
        match self.objectives {
            0 => 0.0,
            // the most frequent volume: what a step's means, or the last slices, have
            objectives if sides.len() == objectives => sides.iter().product(),
            1 => sides.iter().copied().fold(0.0, f64::max),
            2 => sweeps::area(sides.as_chunks().0),
            3 => sweeps::volume(sides.as_chunks().0),
            objectives => slices::volume(sides, objectives),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // what is no number exceeds nothing, and covers nothing: 1 * 1
        let nothing = [[f64::NAN, 1.0]];
        assert_eq!(hypervolume(&nothing, &[0.0, 0.0]), 0.0);
        assert_eq!(hypervolume_gain(&[1.0, 1.0], &nothing, &[0.0, 0.0]), 1.0);
        assert_eq!(hypervolume_gain(&nothing[0], &[[1.0, 1.0]], &[0.0, 0.0]), 0.0);
    }
}
