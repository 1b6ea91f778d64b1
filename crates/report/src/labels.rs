//! Texts beside what they name, placed so that none covers another.

/// Pixels.
type Pixel = (i32, i32);

/// A rectangle of pixels: left, top, right, bottom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rectangle {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Rectangle {
    pub(crate) fn new((left, top): Pixel, (right, bottom): Pixel) -> Self {
        Self { left, top, right, bottom }
    }

    /// The square around a mark.
    pub(crate) fn around((x, y): Pixel, radius: i32) -> Self {
        Self::new((x - radius, y - radius), (x + radius, y + radius))
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn is_within(&self, other: &Self) -> bool {
        self.left >= other.left
            && self.right <= other.right
            && self.top >= other.top
            && self.bottom <= other.bottom
    }
}

/// Pixels that a text takes: letters are about half as wide as the size that figures give them.
pub(crate) fn width_of(text: &str, size: i32) -> i32 {
    text.chars().count() as i32 * size * 48 / 100
}

/// A text that has its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placed {
    /// Its left end, at half of its height.
    pub(crate) at: Pixel,
    /// The anchor that it belongs to.
    pub(crate) anchor: Pixel,
    /// Whether it stands so far from it that a line has to lead there.
    pub(crate) is_far: bool,
}

/// What is on a figure already.
pub(crate) struct Labels {
    frame: Rectangle,
    /// What no text may cover.
    texts: Vec<Rectangle>,
    /// What a text covers only when there is no other place.
    marks: Vec<Rectangle>,
}

/// Right, left, above, below, and the corners.
const DIRECTIONS: [Pixel; 8] =
    [(1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)];

/// Distances from an anchor; those behind the first need a line.
const DISTANCES: [i32; 5] = [11, 26, 48, 80, 120];

impl Labels {
    pub(crate) fn new(frame: Rectangle) -> Self {
        Self { frame, texts: Vec::new(), marks: Vec::new() }
    }

    /// Something is drawn there.
    pub(crate) fn mark(&mut self, mark: Rectangle) {
        self.marks.push(mark);
    }

    /// A line is drawn there, so there are marks along it.
    pub(crate) fn mark_line(&mut self, from: Pixel, to: Pixel) {
        let steps = ((to.0 - from.0).abs().max((to.1 - from.1).abs()) / 6).max(1);
        for step in 0..=steps {
            let between = |a: i32, b: i32| a + (b - a) * step / steps;
            self.mark(Rectangle::around((between(from.0, to.0), between(from.1, to.1)), 2));
        }
    }

    /// The best place near one of the anchors: within the frame, over no other text, over few
    /// marks, near. `None` where every place is over another text.
    pub(crate) fn place(&mut self, text: &str, size: i32, anchors: &[Pixel]) -> Option<Placed> {
        self.place_within(text, size, anchors, &DISTANCES)
    }

    /// The same beside the anchor and over no mark, or not at all.
    pub(crate) fn place_near(&mut self, text: &str, size: i32, anchor: Pixel) -> Option<Placed> {
        let kept = self.texts.len();
        let marks = std::mem::take(&mut self.marks);
        self.texts.extend_from_slice(&marks);
        let placed = self.place_within(text, size, &[anchor], &DISTANCES[..1]);
        let own = self.texts.split_off(kept + marks.len());
        self.texts.truncate(kept);
        self.texts.extend(own);
        self.marks = marks;
        placed
    }

    fn place_within(
        &mut self,
        text: &str,
        size: i32,
        anchors: &[Pixel],
        distances: &[i32],
    ) -> Option<Placed> {
        let (width, height) = (width_of(text, size), size);
        let mut best: Option<(usize, Placed, Rectangle)> = None;
        for (rank, distance) in distances.iter().enumerate() {
            for anchor in anchors {
                for (dx, dy) in DIRECTIONS {
                    let centre = (
                        anchor.0 + dx * (distance + width / 2),
                        anchor.1 + dy * (distance + height / 2 - 4),
                    );
                    let taken = Rectangle::new(
                        (centre.0 - width / 2, centre.1 - height / 2),
                        (centre.0 + width / 2, centre.1 + height / 2),
                    );
                    let is_free = !self.texts.iter().any(|text| text.overlaps(&taken));
                    if !is_free || !taken.is_within(&self.frame) {
                        continue;
                    }
                    let covered = self.marks.iter().filter(|mark| mark.overlaps(&taken)).count();
                    let cost = 4 * covered + 5 * rank;
                    if best.as_ref().is_none_or(|(least, _, _)| cost < *least) {
                        let at = (taken.left, centre.1);
                        let placed = Placed { at, anchor: *anchor, is_far: rank > 0 };
                        best = Some((cost, placed, taken));
                    }
                }
            }
        }
        let (_, placed, taken) = best?;
        self.texts.push(taken);
        Some(placed)
    }
}

/// Heights at which texts of so many pixels stand beside the ends of lines, in the order of the
/// wishes: moved apart where they would overlap, and kept between top and bottom while there is
/// room.
pub(crate) fn spread(wishes: &[i32], height: i32, (top, bottom): Pixel) -> Vec<i32> {
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by_key(|index| wishes[*index]);
    let mut places = vec![0; wishes.len()];
    let mut next = top;
    for index in &order {
        places[*index] = wishes[*index].max(next);
        next = places[*index] + height;
    }
    let mut lowest = bottom;
    for index in order.iter().rev() {
        places[*index] = places[*index].min(lowest);
        lowest = places[*index] - height;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_texts_of_one_place_do_not_overlap() {
        let mut labels = Labels::new(Rectangle::new((0, 0), (600, 400)));
        let placed: Vec<Placed> =
            (0..20).filter_map(|_| labels.place("a method", 14, &[(300, 200)])).collect();
        assert_eq!(placed.len(), 20);
        for (index, text) in labels.texts.iter().enumerate() {
            assert!(!labels.texts[..index].iter().any(|other| other.overlaps(text)), "{text:?}");
            assert!(text.is_within(&labels.frame));
        }
        // the first stands beside its anchor: 11 to the right
        assert!(!placed[0].is_far && placed[0].at == (311, 200), "{:?}", placed[0]);
        assert!(placed[19].is_far);
    }

    #[test]
    fn a_text_avoids_marks_and_the_frame() {
        let mut labels = Labels::new(Rectangle::new((0, 0), (600, 400)));
        labels.mark_line((300, 200), (400, 200));
        let left = labels.place("text", 14, &[(300, 200)]).unwrap();
        assert!(left.at.0 < 290, "{left:?}");
        let corner = labels.place("text", 14, &[(595, 395)]).unwrap();
        assert!(corner.at.0 + width_of("text", 14) <= 600 && corner.at.1 <= 393, "{corner:?}");
        // beside an anchor whose eight places are taken there is none
        let free = |labels: &mut Labels| labels.place_near("text", 14, (300, 200)).is_some();
        assert!((0..9).filter(|_| free(&mut labels)).count() < 9);
    }

    #[test]
    fn texts_at_the_ends_of_lines_are_moved_apart() {
        // 50 and 52 are 10 apart then, 100 stays
        assert_eq!(spread(&[100, 52, 50], 10, (0, 200)), [100, 60, 50]);
        // at the bottom they go up: 95 and 96 become 85 and 95
        assert_eq!(spread(&[95, 96], 10, (0, 95)), [85, 95]);
    }
}
