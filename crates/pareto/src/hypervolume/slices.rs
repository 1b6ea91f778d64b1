//! The hypervolume for four and more objectives: WFG (While, Bradstreet and Barone, 2012), which
//! splits the volume into what each box adds to the ones before it.
//!
//! From the largest last side to the smallest, the boxes before one are as large there. So what one
//! adds has its last side everywhere, and is a volume of one objective less:
//! `HV(S) = sum_i last_i * (prod_k p_ik - HV({min(p_i, p_j) : j < i}))`, where `k` and `HV` leave
//! the last objective out.

use super::Boxes;
use crate::order::descending;
use std::cmp::Ordering;

/// The volume of a union of boxes, whose sides are in rows.
pub(super) fn volume(sides: &[f64], objectives: usize) -> f64 {
    let base = objectives - 1;
    let mut before = Bases { sides: Vec::new(), objectives: base };
    let mut volume = 0.0;
    let last = |index: usize| sides[index * objectives + base];
    for index in descending(sides.len() / objectives, last, |_, _| Ordering::Equal) {
        let start = index * objectives;
        let point = &sides[start..start + base];
        if before.cover(point) {
            continue;
        }
        let whole: f64 = point.iter().product();
        volume += last(index) * (whole - before.clipped(point).volume());
        before.insert(point);
    }
    volume
}

/// Boxes of which none covers another one, descending in the last side. As clipping keeps this
/// order, the next recursion's sort finds nothing to do.
struct Bases {
    sides: Vec<f64>,
    objectives: usize,
}

impl Bases {
    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.sides.chunks_exact(self.objectives)
    }

    fn cover(&self, point: &[f64]) -> bool {
        self.rows().any(|other| covers(other, point))
    }

    /// What each box covers of `point`'s.
    fn clipped(&self, point: &[f64]) -> Boxes {
        let mut clipped = Boxes::new(self.objectives, self.sides.len() / self.objectives);
        for other in self.rows() {
            clipped.sides.extend(other.iter().zip(point).map(|(a, b)| a.min(*b)));
        }
        clipped
    }

    /// Adds a box that none covers, and drops what it covers.
    fn insert(&mut self, point: &[f64]) {
        let last = self.objectives - 1;
        let mut kept = 0;
        let mut place = 0;
        for row in 0..self.sides.len() / self.objectives {
            let start = row * self.objectives;
            let other = start..start + self.objectives;
            if covers(point, &self.sides[other.clone()]) {
                continue;
            }
            self.sides.copy_within(other, kept);
            kept += self.objectives;
            if self.sides[kept - 1] >= point[last] {
                place = kept;
            }
        }
        self.sides.truncate(kept);
        self.sides.splice(place..place, point.iter().copied());
    }
}

fn covers(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a >= b)
}
