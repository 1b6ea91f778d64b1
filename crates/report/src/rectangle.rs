//! Rectangles of pixels, as texts and marks take them.

/// Pixels to the right and down.
pub(crate) type Pixel = (i32, i32);

/// A rectangle of pixels: left, top, right, bottom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rectangle {
    pub(crate) left: i32,
    pub(crate) top: i32,
    pub(crate) right: i32,
    pub(crate) bottom: i32,
}

impl Rectangle {
    pub(crate) fn new((left, top): Pixel, (right, bottom): Pixel) -> Self {
        Self { left, top, right, bottom }
    }

    /// The square around a mark.
    pub(crate) fn around((x, y): Pixel, radius: i32) -> Self {
        Self::new((x - radius, y - radius), (x + radius, y + radius))
    }

    /// The squares along a line: every six pixels one of four.
    pub(crate) fn along(from: Pixel, to: Pixel) -> impl Iterator<Item = Self> {
        let steps = ((to.0 - from.0).abs().max((to.1 - from.1).abs()) / 6).max(1);
        let between = move |a: i32, b: i32, step: i32| a + (b - a) * step / steps;
        (0..=steps).map(move |step| {
            Self::around((between(from.0, to.0, step), between(from.1, to.1, step)), 2)
        })
    }

    pub(crate) fn centre(&self) -> Pixel {
        ((self.left + self.right) / 2, (self.top + self.bottom) / 2)
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.left >= other.left
            && self.right <= other.right
            && self.top >= other.top
            && self.bottom <= other.bottom
    }

    /// Pixels between the two; 0 where they touch.
    pub(crate) fn gap(&self, other: &Self) -> f64 {
        let beside = (self.left - other.right).max(other.left - self.right).max(0);
        let above = (self.top - other.bottom).max(other.top - self.bottom).max(0);
        f64::from(beside).hypot(f64::from(above))
    }

    /// The point of it that is nearest to another one.
    pub(crate) fn nearest_to(&self, (x, y): Pixel) -> Pixel {
        (x.clamp(self.left, self.right), y.clamp(self.top, self.bottom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_between_the_nearest_points() {
        let one = Rectangle::new((0, 0), (10, 10));
        // 3 to the right and 4 below
        let other = Rectangle::new((13, 14), (20, 20));
        assert_eq!((one.gap(&other), other.gap(&one)), (5.0, 5.0));
        assert_eq!(one.gap(&Rectangle::new((10, 0), (20, 10))), 0.0);
        assert!(!one.overlaps(&Rectangle::new((10, 0), (20, 10))));
        assert_eq!(one.nearest_to((15, 5)), (10, 5));
        // 0, 6, 12 of 12 pixels
        let centres: Vec<Pixel> =
            Rectangle::along((0, 0), (12, 12)).map(|square| square.centre()).collect();
        assert_eq!(centres, [(0, 0), (6, 6), (12, 12)]);
    }
}
