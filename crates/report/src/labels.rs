//! Texts beside what they name: none covers another, each stands nearer to its own marks than to
//! others', and where it cannot be near a line leads there.
//!
//! Of all places around its anchors a text takes the one that costs least, given where the others
//! stand; that is repeated, so that one that came early makes room for those that came late.

use crate::rectangle::{Pixel, Rectangle};

/// A text that looks for a place.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) text: String,
    /// Pixels of its height.
    pub(crate) size: i32,
    pub(crate) is_bold: bool,
    /// The number of what it names, the same as of its marks.
    pub(crate) owner: usize,
    /// The marks that it may stand beside.
    pub(crate) anchors: Vec<Rectangle>,
}

impl Label {
    /// Pixels that it takes: those of a wide font, since the viewer has its own.
    fn width(&self) -> i32 {
        let bold = if self.is_bold { 115 } else { 100 };
        width_of(&self.text, self.size) * bold / 100
    }
}

/// Pixels that a text takes in a wide font (DejaVu Sans). Of the size that figures give a text they
/// draw 1 / 1.24.
pub(crate) fn width_of(text: &str, size: i32) -> i32 {
    let hundredths = |letter: char| match letter {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 32,
        'f' | 't' | 'r' | '(' | ')' | '-' | '[' | ']' | '/' => 41,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 90,
        letter if letter.is_uppercase() => 70,
        _ => 61,
    };
    text.chars().map(hundredths).sum::<i32>() * size * 81 / 10_000
}

/// Which end of a text has its place, so that it is near whatever the viewer's font.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Left,
    Middle,
    Right,
}

/// A text that has its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placed {
    /// Where the end stands, at half of the text's height.
    pub(crate) at: Pixel,
    pub(crate) end: End,
    /// The line to its mark, if it stands far from all that is its own.
    pub(crate) leader: Option<[Pixel; 2]>,
    taken: Rectangle,
}

/// Something drawn.
struct Mark {
    place: Rectangle,
    owner: usize,
    weight: f64,
}

/// What is on a figure already.
pub(crate) struct Labels {
    frame: Rectangle,
    marks: Vec<Mark>,
    placed: Vec<Placed>,
}

/// Where a text stands, seen from its anchor: its end to the right or left (2), its middle moved by
/// a quarter of it (1) or not; above or below.
const DIRECTIONS: [Pixel; 12] = [
    (2, 0),
    (-2, 0),
    (0, -1),
    (0, 1),
    (2, -1),
    (-2, -1),
    (2, 1),
    (-2, 1),
    (1, -1),
    (-1, -1),
    (1, 1),
    (-1, 1),
];

/// Pixels between an anchor and its text.
const GAPS: [i32; 6] = [4, 18, 34, 56, 86, 120];
/// The same, beyond which a line leads there.
const NEAR: f64 = 9.0;
/// Pixels by which another's mark should be farther from a text than its own.
const ROOM: f64 = 6.0;
/// Where a line leads there, its own mark counts as so near.
const LED: f64 = 6.0;
/// Pixels that texts should keep between them.
const APART: f64 = 8.0;

/// A point weighs as much as 24 pixels of a line, and the line of a text half as much as one.
const POINT: f64 = 4.0;
const THIN: f64 = 0.5;

// what a place costs: for each larger gap, each weight that the text covers, each pixel that
// another's mark is too near, each weight that its line crosses, each text that is too near, and
// each step of a line over a text
const FARTHER: f64 = 6.0;
const COVERED: f64 = 9.0;
const DOUBTFUL: f64 = 2.0;
const CROSSED: f64 = 4.0;
const CROWDED: f64 = 6.0;
const STRUCK: f64 = 60.0;

/// How often all texts look for a better place.
const ROUNDS: usize = 3;

impl Labels {
    pub(crate) fn new(frame: Rectangle) -> Self {
        Self { frame, marks: Vec::new(), placed: Vec::new() }
    }

    /// A point is drawn there.
    pub(crate) fn mark(&mut self, place: Rectangle, owner: usize) {
        self.marks.push(Mark { place, owner, weight: POINT });
    }

    /// A line is drawn there.
    pub(crate) fn mark_line(&mut self, from: Pixel, to: Pixel, owner: usize) {
        let marks = Rectangle::along(from, to).map(|place| Mark { place, owner, weight: 1.0 });
        self.marks.extend(marks);
    }

    /// Places for all texts, the first of which choose first. `None` where every place is outside
    /// or over another text.
    pub(crate) fn settle(&mut self, labels: &[Label]) -> Vec<Option<Placed>> {
        let mut found: Vec<Option<Placed>> = vec![None; labels.len()];
        for _ in 0..ROUNDS {
            for (index, label) in labels.iter().enumerate() {
                found[index] = None;
                let others: Vec<Placed> =
                    found.iter().flatten().chain(&self.placed).copied().collect();
                found[index] = self.best(label, &others);
            }
        }
        self.placed.extend(found.iter().flatten());
        found
    }

    /// A place beside an anchor that is over nothing and nearer to its own marks than to others',
    /// or none.
    pub(crate) fn beside(&mut self, label: &Label) -> Option<Placed> {
        let spots = spots(label, GAPS[0]).filter(|spot| {
            let over = self.marks.iter().any(|mark| mark.place.overlaps(&spot.taken));
            !over && self.is_free(&spot.taken, &self.placed)
        });
        let near = spots.filter_map(|spot| {
            let view = View::of(&spot, label.owner, self.marks.iter());
            let is_own = view.own <= NEAR && view.own <= view.other;
            let is_struck = struck(&spot.taken, None, &self.placed) > 0;
            (is_own && !is_struck).then_some((view.other, spot))
        });
        // where others are farthest
        let (_, spot) = near.min_by(|(one, _), (other, _)| other.total_cmp(one))?;
        let placed = spot.placed(None);
        self.placed.push(placed);
        Some(placed)
    }

    fn is_free(&self, taken: &Rectangle, others: &[Placed]) -> bool {
        taken.is_within(&self.frame) && !others.iter().any(|other| other.taken.overlaps(taken))
    }

    fn best(&self, label: &Label, others: &[Placed]) -> Option<Placed> {
        // what is farther away than any of its places can be is no matter
        let reach = f64::from(label.width() + GAPS[GAPS.len() - 1]) + 40.0;
        let is_near =
            |mark: &&Mark| label.anchors.iter().any(|anchor| mark.place.gap(anchor) < reach);
        let marks: Vec<&Mark> = self.marks.iter().filter(is_near).collect();
        let mut best: Option<(f64, Placed)> = None;
        for (rank, gap) in GAPS.iter().enumerate() {
            let far = FARTHER * rank as f64;
            if best.is_some_and(|(least, _)| least <= far) {
                break;
            }
            for spot in spots(label, *gap).filter(|spot| self.is_free(&spot.taken, others)) {
                let view = View::of(&spot, label.owner, marks.iter().copied());
                let leader = (view.own > NEAR).then(|| spot.leader());
                let line = leader.map_or(0.0, |line| crossed(line, label.owner, &marks, others));
                let cost = far
                    + view.cost()
                    + CROSSED * line
                    + CROWDED * crowd(&spot.taken, others) as f64
                    + STRUCK * struck(&spot.taken, leader, others) as f64;
                if best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, spot.placed(leader)));
                }
            }
        }
        best.map(|(_, placed)| placed)
    }
}

/// A place beside an anchor.
struct Spot {
    anchor: Rectangle,
    end: End,
    taken: Rectangle,
}

/// All places of a text that are so many pixels away from an anchor.
fn spots(label: &Label, gap: i32) -> impl Iterator<Item = Spot> {
    let (width, height) = (label.width(), label.size);
    label.anchors.iter().flat_map(move |anchor| {
        DIRECTIONS.map(|(across, down)| {
            let away = (anchor.right - anchor.left) / 2 + gap;
            // a corner is farther away than a side
            let away = if across.abs() == 2 && down != 0 { away * 7 / 10 } else { away };
            let (x, y) = anchor.centre();
            let x = match across.abs() {
                2 => x + across.signum() * (away + width / 2),
                _ => x + across * width / 4,
            };
            // letters do not fill their height
            let y = y + down * (away - 4 + height / 2);
            let taken =
                Rectangle::new((x - width / 2, y - height / 2), (x + width / 2, y + height / 2));
            let end = match across {
                2 => End::Left,
                -2 => End::Right,
                _ => End::Middle,
            };
            Spot { anchor: *anchor, end, taken }
        })
    })
}

impl Spot {
    fn placed(&self, leader: Option<[Pixel; 2]>) -> Placed {
        let (middle, y) = self.taken.centre();
        let x = match self.end {
            End::Left => self.taken.left,
            End::Middle => middle,
            End::Right => self.taken.right,
        };
        Placed { at: (x, y), end: self.end, leader, taken: self.taken }
    }

    /// From the edge of the mark to the text.
    fn leader(&self) -> [Pixel; 2] {
        let (x, y) = self.anchor.centre();
        let room = Rectangle::new(
            (self.taken.left - 2, self.taken.top + 1),
            (self.taken.right + 2, self.taken.bottom - 1),
        );
        let end = room.nearest_to((x, y));
        let (across, down) = (f64::from(end.0 - x), f64::from(end.1 - y));
        let radius = f64::from(self.anchor.right - self.anchor.left) / 2.0;
        let share = (radius / across.hypot(down).max(1.0)).min(1.0);
        [(x + (across * share).round() as i32, y + (down * share).round() as i32), end]
    }
}

/// What a text would be among.
struct View {
    /// Pixels to the nearest of its own marks, and to the nearest of others'.
    own: f64,
    other: f64,
    /// The weight of what it would cover.
    covered: f64,
}

impl View {
    fn of<'m>(spot: &Spot, owner: usize, marks: impl Iterator<Item = &'m Mark>) -> Self {
        let own = spot.taken.gap(&spot.anchor);
        let mut view = Self { own, other: f64::INFINITY, covered: 0.0 };
        for mark in marks {
            let gap = spot.taken.gap(&mark.place);
            let nearest = if mark.owner == owner { &mut view.own } else { &mut view.other };
            *nearest = nearest.min(gap);
            if mark.place.overlaps(&spot.taken) {
                view.covered += mark.weight;
            }
        }
        view
    }

    fn cost(&self) -> f64 {
        let doubt = (self.own.min(LED) + ROOM - self.other).max(0.0);
        COVERED * self.covered + DOUBTFUL * doubt
    }
}

/// The weight of what a line crosses: others' marks, and the lines of other texts.
fn crossed(line: [Pixel; 2], owner: usize, marks: &[&Mark], others: &[Placed]) -> f64 {
    let foreign: Vec<&&Mark> = marks.iter().filter(|mark| mark.owner != owner).collect();
    let lines: Vec<Rectangle> =
        others.iter().filter_map(|other| other.leader).flat_map(steps).collect();
    let below = |step: Rectangle| -> f64 {
        let marks = foreign.iter().filter(|mark| mark.place.overlaps(&step));
        let lines = lines.iter().filter(|other| other.overlaps(&step)).count();
        marks.map(|mark| mark.weight).sum::<f64>() + THIN * lines as f64
    };
    steps(line).map(below).sum()
}

fn steps([from, to]: [Pixel; 2]) -> impl Iterator<Item = Rectangle> {
    Rectangle::along(from, to)
}

/// Texts that would be too near.
fn crowd(taken: &Rectangle, others: &[Placed]) -> usize {
    others.iter().filter(|other| other.taken.gap(taken) < APART).count()
}

/// Steps of lines over texts: of the text's own over others, and of others' over it.
fn struck(taken: &Rectangle, leader: Option<[Pixel; 2]>, others: &[Placed]) -> usize {
    let over =
        |line: [Pixel; 2], text: &Rectangle| steps(line).filter(|step| step.overlaps(text)).count();
    let one = |other: &Placed| {
        let own = leader.map_or(0, |leader| over(leader, &other.taken));
        own + other.leader.map_or(0, |leader| over(leader, taken))
    };
    others.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str, owner: usize, anchors: &[Pixel]) -> Label {
        let anchors = anchors.iter().map(|at| Rectangle::around(*at, 7)).collect();
        Label { text: text.into(), size: 14, is_bold: false, owner, anchors }
    }

    fn empty() -> Labels {
        Labels::new(Rectangle::new((0, 0), (600, 400)))
    }

    #[test]
    fn twelve_texts_of_one_place_do_not_overlap() {
        let mut labels = empty();
        labels.mark(Rectangle::around((300, 200), 7), 0);
        let wishes = vec![label("a method", 0, &[(300, 200)]); 12];
        let placed: Vec<Placed> = labels.settle(&wishes).into_iter().flatten().collect();
        assert_eq!(placed.len(), 12);
        for (index, one) in placed.iter().enumerate() {
            let is_over = |other: &Placed| other.taken.overlaps(&one.taken);
            assert!(!placed[..index].iter().any(is_over), "{one:?}");
            assert!(one.taken.is_within(&labels.frame));
        }
        // what is far away has a line from the mark's edge: 7 pixels from (300, 200)
        let led: Vec<Pixel> = placed.iter().filter_map(|one| Some(one.leader?[0])).collect();
        assert!(!led.is_empty() && led.len() < 12);
        for (x, y) in led {
            let away = f64::from(x - 300).hypot(f64::from(y - 200));
            assert!((away - 7.0).abs() < 1.0, "{away}");
        }
    }

    #[test]
    fn a_single_text_stands_to_the_right_of_its_mark() {
        // a radius of 7 and a gap of 4: 11
        let placed = empty().settle(&[label("a method", 0, &[(300, 200)])])[0].unwrap();
        assert_eq!((placed.at, placed.end, placed.leader), ((311, 200), End::Left, None));
    }

    #[test]
    fn a_text_avoids_lines_and_the_frame() {
        let mut labels = empty();
        labels.mark_line((300, 200), (400, 200), 0);
        let left = labels.settle(&[label("text", 0, &[(300, 200)])])[0].unwrap();
        assert_eq!((left.at, left.end), ((289, 200), End::Right));
        let corner = labels.settle(&[label("text", 1, &[(595, 395)])])[0].unwrap();
        assert!(corner.taken.is_within(&labels.frame), "{corner:?}");
    }

    #[test]
    fn a_text_is_nearer_to_its_own_mark_than_to_anothers() {
        let mut labels = empty();
        labels.mark(Rectangle::around((300, 200), 7), 0);
        // on the right, where a text would stand, and on the left
        for x in [280, 330] {
            labels.mark(Rectangle::around((x, 200), 7), 1);
        }
        let placed = labels.settle(&[label("text", 0, &[(300, 200)])])[0].unwrap();
        let gap = |x: i32| placed.taken.gap(&Rectangle::around((x, 200), 7));
        assert!(gap(300) < gap(280) && gap(300) < gap(330), "{placed:?}");
    }

    #[test]
    fn a_line_is_named_along_it() {
        let mut labels = empty();
        labels.mark_line((0, 400), (600, 0), 0);
        let along: Vec<Pixel> = (1..6).map(|k| (100 * k, 400 - 400 * k / 6)).collect();
        let mut name = label("random router", 0, &along);
        name.anchors = along.iter().map(|at| Rectangle::around(*at, 2)).collect();
        let placed = labels.settle(&[name])[0].unwrap();
        let near = Rectangle::along((0, 400), (600, 0)).map(|mark| mark.gap(&placed.taken));
        assert!(near.fold(f64::INFINITY, f64::min) <= NEAR && placed.leader.is_none());
    }

    #[test]
    fn beside_a_mark_there_is_room_or_none() {
        let mut labels = empty();
        labels.mark(Rectangle::around((300, 200), 7), 0);
        let own = label("text", 0, &[(300, 200)]);
        let found = (0..13).filter(|_| labels.beside(&own).is_some()).count();
        assert!((1..12).contains(&found), "{found}");
        // between marks of others there is none
        let mut crowded = empty();
        for (x, y) in [(300, 200), (280, 200), (320, 200), (300, 180), (300, 220)] {
            crowded.mark(Rectangle::around((x, y), 9), usize::from((x, y) != (300, 200)));
        }
        assert_eq!(crowded.beside(&own), None);
    }

    #[test]
    fn a_line_crosses_others_marks_and_lines_but_not_its_own() {
        let mark =
            |owner: usize| Mark { place: Rectangle::around((30, -24), 4), owner, weight: POINT };
        let leader = Some([(0, 0), (60, 0)]);
        let taken = Rectangle::new((60, -7), (90, 7));
        let other = Placed { at: (60, 0), end: End::Left, leader, taken };
        // of the steps at -30, -24, .., 30 that at -24 is over the marks, one of which is its own,
        // and that at 0 over the other line: 4 + 0.5
        let found = crossed([(30, -30), (30, 30)], 0, &[&mark(0), &mark(1)], &[other]);
        assert_eq!(found, 4.5);
    }

    #[test]
    fn wide_letters_take_more_than_narrow_ones() {
        // 2 * 90 = 180 and 2 * 32 = 64 hundredths of 100 * 0.81
        assert_eq!((width_of("mM", 100), width_of("il", 100)), (145, 51));
    }
}
