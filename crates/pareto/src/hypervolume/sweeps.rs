//! The hypervolume for two and three objectives, by sweeps from the largest value of one objective
//! to the smallest.

use crate::order::descending;
use crate::staircase::Staircase;
use std::cmp::Ordering;

/// The area of a union of rectangles.
///
/// From the widest to the narrowest, each adds its width times the height that it rises above the
/// ones before: `sum_i w_i * max(0, h_i - max_{j < i} h_j)`.
pub(super) fn area(rectangles: &[[f64; 2]]) -> f64 {
    let order = descending(
        rectangles.len(),
        |index| rectangles[index][0],
        |a, b| {
            // of the same width, the highest is first, and the others add nothing
            rectangles[b][1].total_cmp(&rectangles[a][1])
        },
    );
    let mut reached = 0.0;
    let mut area = 0.0;
    for index in order {
        let [width, height] = rectangles[index];
        if height > reached {
            area += width * (height - reached);
            reached = height;
        }
    }
    area
}

/// The volume of a union of boxes (Beume, Fonseca et al., 2009, On the complexity of computing the
/// hypervolume indicator), whose balanced tree is a sorted array here.
///
/// From the tallest to the lowest, a box adds its height times the part of its ground that no
/// taller one covers: `sum_i z_i * area(ground_i without the union of ground_j, j < i)`. All terms
/// are positive, so that no digits cancel.
pub(super) fn volume(boxes: &[[f64; 3]]) -> f64 {
    let mut grounds = Staircase::with_capacity(boxes.len());
    let mut volume = 0.0;
    for index in descending(boxes.len(), |index| boxes[index][2], |_, _| Ordering::Equal) {
        let [width, depth, height] = boxes[index];
        if let Some(uncovered) = cover(&mut grounds, [width, depth]) {
            volume += uncovered * height;
        }
    }
    volume
}

/// Adds a rectangle to a union; the area that the union grows by, `None` if it covers it already.
fn cover(union: &mut Staircase, rectangle: [f64; 2]) -> Option<f64> {
    let covered = union.covered_by(rectangle)?;
    let [width, depth] = rectangle;
    let steps = union.steps();
    // strips from right to left: each is as low as the step that it lies on
    let mut right = width;
    let mut low = steps.get(covered.end).map_or(0.0, |step| step[1]);
    let mut area = 0.0;
    for [left, high] in steps[covered.clone()].iter().rev() {
        area += (right - left) * (depth - low);
        right = *left;
        low = *high;
    }
    let left = covered.start.checked_sub(1).map_or(0.0, |narrower| steps[narrower][0]);
    area += (right - left) * (depth - low);
    union.replace(covered, rectangle);
    Some(area)
}
