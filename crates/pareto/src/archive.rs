//! The archive `B`: the non-dominated reward vectors seen so far.

use super::{Point, dominates, hypervolume, hypervolume_gain};
use serde::{Deserialize, Serialize};

/// Mutually non-dominated points; part of a run's checkpoint.
///
/// ```
/// use paretopo_pareto::Archive;
///
/// let mut archive = Archive::default();
/// assert!(archive.insert(&[0.5, 0.5]) && archive.insert(&[0.2, 0.9]));
/// assert!(!archive.insert(&[0.1, 0.9]), "it is dominated");
/// // 0.5 * 0.5 + 0.2 * (0.9 - 0.5)
/// assert!((archive.hypervolume(&[0.0, 0.0]) - 0.33).abs() < 1e-12);
/// // a point that dominates all leaves nothing else
/// assert!(archive.insert(&[1.0, 1.0]));
/// assert_eq!(archive.points(), [[1.0, 1.0]]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    points: Vec<Point>,
}

impl Archive {
    /// Adds a point unless the archive already holds or dominates it, and drops what it dominates.
    /// Returns whether it entered.
    pub fn insert(&mut self, point: &[f64]) -> bool {
        if self.points.iter().any(|other| other == point || dominates(other, point)) {
            return false;
        }
        self.points.retain(|other| !dominates(point, other));
        self.points.push(point.to_vec());
        true
    }

    /// Moves each point towards the reference: `b <- reference + kept (b - reference)`. `kept` is
    /// in [0, 1]. What dominated nothing before dominates nothing then, but for rounding.
    pub fn fade(&mut self, kept: f64, reference: &[f64]) {
        for point in &mut self.points {
            for (value, reference) in point.iter_mut().zip(reference) {
                *value = reference + kept * (*value - reference);
            }
        }
    }

    /// `dHV(point, B)`.
    pub fn gain(&self, point: &[f64], reference: &[f64]) -> f64 {
        hypervolume_gain(point, &self.points, reference)
    }

    /// `HV(B)`.
    pub fn hypervolume(&self, reference: &[f64]) -> f64 {
        hypervolume(&self.points, reference)
    }

    /// The points, in the order of their arrival.
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fades_leaves_room_again() {
        let mut archive = Archive::default();
        archive.insert(&[1.0, 0.5]);
        archive.insert(&[0.2, 0.9]);
        assert_eq!(archive.gain(&[0.8, 0.5], &[0.0, 0.1]), 0.0);
        // half the way to (0, 0.1): (0.5, 0.3) and (0.1, 0.5)
        archive.fade(0.5, &[0.0, 0.1]);
        let want = [[0.5, 0.3], [0.1, 0.5]];
        let mut values = archive.points().iter().flatten().zip(want.iter().flatten());
        assert!(values.all(|(a, b)| (a - b).abs() < 1e-12), "{archive:?}");
        // above 0.1: 0.8 * 0.4 of which 0.5 * 0.2 + 0.1 * 0.2 were there: 0.32 - 0.12
        assert!((archive.gain(&[0.8, 0.5], &[0.0, 0.1]) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn keeps_only_what_nothing_dominates() {
        let mut archive = Archive::default();
        assert!(archive.insert(&[0.5, 0.5]));
        assert!(archive.insert(&[0.2, 0.9]));
        assert!(!archive.insert(&[0.5, 0.5]) && !archive.insert(&[0.1, 0.9]));
        // 0.5 * 0.5 + 0.2 * (0.9 - 0.5) = 0.33, and (1, 1) adds the other 0.67
        assert!((archive.hypervolume(&[0.0, 0.0]) - 0.33).abs() < 1e-6);
        assert!((archive.gain(&[1.0, 1.0], &[0.0, 0.0]) - 0.67).abs() < 1e-6);
        assert!(archive.insert(&[1.0, 1.0]));
        assert_eq!(archive.points(), [vec![1.0, 1.0]]);
        assert_eq!(archive.gain(&[0.9, 0.9], &[0.0, 0.0]), 0.0);
    }
}
