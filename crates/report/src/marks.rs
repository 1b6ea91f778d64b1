//! A method's marks: filled, hollow, or hollow with something inside, so that methods of one colour
//! can be told apart where no line shows their dashes.

use crate::palette::Look;
use plotters::prelude::{Circle, Color};

/// The strength of what fills a mark palely.
const PALE: f64 = 0.35;

/// What is drawn at a place for a method, `strength` from 0 (nothing) to 1.
pub(crate) fn mark<Coord: Clone>(
    at: &Coord,
    size: i32,
    look: &Look,
    strength: f64,
) -> Vec<Circle<Coord, i32>> {
    let colour = look.colour.mix(strength);
    let ring = || Circle::new(at.clone(), size, colour.stroke_width(2));
    match look.level() {
        0 => vec![Circle::new(at.clone(), size, colour.filled())],
        1 => vec![ring()],
        2 => vec![ring(), Circle::new(at.clone(), (size / 3).max(1), colour.filled())],
        _ => {
            let pale = look.colour.mix(PALE * strength);
            vec![Circle::new(at.clone(), size, pale.filled()), ring()]
        }
    }
}
