//! The front of a method: what it reaches in the plane of calls and accuracy.
//!
//! Who has two policies can also toss a coin between them before each task, and lands on the
//! segment between their places. So what a set of policies reaches is all that lies below its upper
//! hull.

use serde::{Deserialize, Serialize};

/// A policy's place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Mean calls an episode, at least 0; fewer are better.
    pub calls: f64,
    /// Share of right answers, from 0 to 1; more are better.
    pub em: f64,
}

/// The upper hull of places: concave, never falling, from the fewest calls to the largest EM. To
/// the right of its end it is level, since calls need not be made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Front {
    corners: Vec<Place>,
}

impl Front {
    /// The hull of those places whose numbers are finite.
    ///
    /// ```
    /// use paretopo_report::{Front, Place};
    ///
    /// let place = |calls, em| Place { calls, em };
    /// let places = [place(0.0, 0.5), place(0.5, 0.6), place(1.0, 0.9), place(2.0, 0.8)];
    /// let front = Front::of(&places);
    /// // (0.5, 0.6) lies below the segment from (0, 0.5) to (1, 0.9), which is at 0.7 there;
    /// // (2, 0.8) has more calls and less EM than (1, 0.9)
    /// assert_eq!(front.corners(), [place(0.0, 0.5), place(1.0, 0.9)]);
    /// assert_eq!((front.em_at(0.5), front.calls_at(0.9)), (Some(0.7), Some(1.0)));
    /// // (0.5 + 0.9) / 2 from 0 to 1, then 0.9 to 2
    /// assert!((front.area(0.0, 2.0) - 1.6).abs() < 1e-12);
    /// ```
    pub fn of(places: &[Place]) -> Self {
        let mut corners: Vec<Place> = Vec::new();
        for place in staircase(places) {
            while let [.., before, last] = corners[..]
                && rises_no_less(before, last, place)
            {
                corners.pop();
            }
            corners.push(place);
        }
        Self { corners }
    }

    /// Its corners, by calls.
    pub fn corners(&self) -> &[Place] {
        &self.corners
    }

    /// EM at so many mean calls, interpolated; `None` left of the front.
    pub fn em_at(&self, calls: f64) -> Option<f64> {
        let after = self.corners.iter().position(|corner| corner.calls >= calls);
        match after {
            None => self.corners.last().map(|last| last.em),
            Some(0) => (self.corners[0].calls == calls).then(|| self.corners[0].em),
            Some(after) => {
                let (left, right) = (self.corners[after - 1], self.corners[after]);
                let share = (calls - left.calls) / (right.calls - left.calls);
                Some(left.em + share * (right.em - left.em))
            }
        }
    }

    /// The fewest mean calls that reach an EM, interpolated; `None` above the front.
    pub fn calls_at(&self, em: f64) -> Option<f64> {
        let after = self.corners.iter().position(|corner| corner.em >= em)?;
        if after == 0 {
            return Some(self.corners[0].calls);
        }
        let (left, right) = (self.corners[after - 1], self.corners[after]);
        let share = (em - left.em) / (right.em - left.em);
        Some(left.calls + share * (right.calls - left.calls))
    }

    /// The area below it between two numbers of calls, `integral of EM(c) dc`; where nothing is
    /// reached, it is 0.
    pub fn area(&self, from: f64, to: f64) -> f64 {
        let inner = self.corners.iter().map(|corner| corner.calls);
        let mut ends: Vec<f64> = inner.filter(|calls| from < *calls && *calls < to).collect();
        ends.insert(0, from);
        ends.push(to);
        let strip = |ends: &[f64]| match (self.em_at(ends[0]), self.em_at(ends[1])) {
            (Some(left), Some(right)) => (ends[1] - ends[0]) * (left + right) / 2.0,
            _ => 0.0,
        };
        ends.windows(2).map(strip).sum()
    }
}

/// Whether the slope from `before` over `last` to `place` does not fall, so that `last` is no
/// corner.
fn rises_no_less(before: Place, last: Place, place: Place) -> bool {
    let rise = |a: Place, b: Place| b.em - a.em;
    let run = |a: Place, b: Place| b.calls - a.calls;
    rise(last, place) * run(before, last) >= rise(before, last) * run(last, place)
}

/// The places that none other dominates: each has more calls and a larger EM than the one before.
pub fn staircase(places: &[Place]) -> Vec<Place> {
    let is_finite = |place: &&Place| place.calls.is_finite() && place.em.is_finite();
    let mut sorted: Vec<Place> = places.iter().filter(is_finite).copied().collect();
    sorted.sort_by(|a, b| a.calls.total_cmp(&b.calls).then(b.em.total_cmp(&a.em)));
    let mut steps: Vec<Place> = Vec::new();
    for place in sorted {
        if steps.last().is_none_or(|last| place.em > last.em) {
            steps.push(place);
        }
    }
    steps
}

/// The area that a staircase dominates, as a share of all: the hypervolume of the points
/// `(EM, 1 - calls / limit)` above the reference (0, 0). Places beyond the limit count nothing.
///
/// ```
/// use paretopo_report::{Place, front_hypervolume};
///
/// let places = [Place { calls: 0.0, em: 0.5 }, Place { calls: 1.0, em: 0.9 }];
/// // (0.5, 1) covers 0.5; (0.9, 0.75) adds (0.9 - 0.5) * 0.75
/// assert!((front_hypervolume(&places, 4.0) - 0.8).abs() < 1e-12);
/// ```
pub fn front_hypervolume(places: &[Place], limit: f64) -> f64 {
    let point = |place: &Place| [place.em, 1.0 - place.calls / limit];
    let points: Vec<[f64; 2]> = staircase(places).iter().map(point).collect();
    paretopo_pareto::hypervolume(&points, &[0.0, 0.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(calls: f64, em: f64) -> Place {
        Place { calls, em }
    }

    #[test]
    fn the_hull_has_the_corners_that_no_mixture_reaches() {
        // slopes 0.8, 0.4 and 0.2 fall, so all are corners
        let places = [place(0.0, 0.2), place(0.5, 0.6), place(1.0, 0.8), place(1.5, 0.9)];
        assert_eq!(Front::of(&places).corners(), places);
        // (0.5, 0.35) and (1, 0.5) lie below the segment to (1.5, 0.9), at 0.43 and 0.67 there
        let low = [places[0], place(0.5, 0.35), place(1.0, 0.5), places[3]];
        assert_eq!(Front::of(&low).corners(), [places[0], places[3]]);
        // a place on a segment is no corner, the same place twice is one
        let flat = [place(0.0, 0.0), place(1.0, 0.5), place(2.0, 1.0), place(2.0, 1.0)];
        assert_eq!(Front::of(&flat).corners(), [flat[0], flat[2]]);
        assert!(Front::of(&[place(f64::NAN, 1.0)]).corners().is_empty());
    }

    #[test]
    fn what_lies_beyond_its_ends_is_level_or_nothing() {
        let front = Front::of(&[place(0.5, 0.6), place(1.0, 0.8)]);
        assert_eq!(
            (front.em_at(0.25), front.em_at(0.5), front.em_at(3.0)),
            (None, Some(0.6), Some(0.8))
        );
        assert_eq!((front.calls_at(0.1), front.calls_at(0.9)), (Some(0.5), None));
        // from 0 to 0.5 nothing, 0.5 * 0.7, then 1 * 0.8
        assert!((front.area(0.0, 2.0) - 1.15).abs() < 1e-12);
        // half of the middle: 0.25 * (0.6 + 0.7) / 2
        assert!((front.area(0.5, 0.75) - 0.1625).abs() < 1e-12);
        assert_eq!(Front::of(&[]).area(0.0, 1.0), 0.0);
    }

    #[test]
    fn steps_and_their_volume_leave_out_what_is_dominated() {
        let places = [place(1.0, 0.5), place(0.0, 0.5), place(2.0, 0.9), place(2.0, 0.8)];
        assert_eq!(staircase(&places), [place(0.0, 0.5), place(2.0, 0.9)]);
        // (0.5, 1) and (0.9, 0.5): 0.5 + 0.4 * 0.5
        assert!((front_hypervolume(&places, 4.0) - 0.7).abs() < 1e-12);
        // at the limit nothing is covered beside (0.5, 1)
        assert!((front_hypervolume(&places, 2.0) - 0.5).abs() < 1e-12);
    }
}
