//! A curve in one line of a terminal: `▂▃▅▇`.

/// Heights from the lowest to the highest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Places of a curve.
const WIDTH: usize = 16;

/// The values of a run so far, of which as many are shown as there is room for.
#[derive(Default)]
pub(crate) struct Sparkline {
    /// Means of blocks of steps.
    blocks: Vec<f64>,
    /// Steps of a block, and the sum and the number of those of the block that is being filled.
    size: usize,
    sum: f64,
    count: usize,
}

impl Sparkline {
    /// Adds a step's value; one that is no number is passed over. Where there is no more room, two
    /// blocks become one, so that the whole run is shown.
    pub(crate) fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.sum += value;
        self.count += 1;
        if self.count < self.size.max(1) {
            return;
        }
        self.blocks.push(self.sum / self.count as f64);
        (self.sum, self.count) = (0.0, 0);
        if self.blocks.len() > WIDTH {
            self.size = self.size.max(1) * 2;
            // the block beyond the room begins the next pair
            let last = self.blocks.pop().unwrap_or_default();
            self.blocks = self.blocks.chunks(2).map(|two| (two[0] + two[1]) / 2.0).collect();
            (self.sum, self.count) = (last * (self.size / 2) as f64, self.size / 2);
        }
    }

    /// The curve from 0 to `top`, or to the highest value where that is higher.
    pub(crate) fn drawn(&self, top: f64) -> String {
        let top = self.blocks.iter().copied().fold(top, f64::max);
        let bar = |value: &f64| {
            let share = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
            BARS[((share * BARS.len() as f64) as usize).min(BARS.len() - 1)]
        };
        self.blocks.iter().map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: impl IntoIterator<Item = f64>, top: f64) -> String {
        let mut line = Sparkline::default();
        values.into_iter().for_each(|value| line.add(value));
        line.drawn(top)
    }

    #[test]
    fn heights_are_eighths_of_the_top() {
        assert_eq!(drawn([0.0, 0.125, 0.5, 0.99, 1.0, f64::NAN], 1.0), "▁▂▅██");
        // 4 is higher than the top that was given: 1 is a quarter of it
        assert_eq!(drawn([1.0, 4.0], 2.0), "▃█");
        assert_eq!((drawn([], 1.0), drawn([0.0], 0.0)), (String::new(), "▁".to_owned()));
    }

    #[test]
    fn a_long_run_is_shown_as_a_whole_by_means() {
        // 16 blocks of one step, and the 17th makes 8 of two: the means of 0 and 1 are 0.5
        let alternating = |count: usize| (0..count).map(|step| (step % 2) as f64);
        assert_eq!(drawn(alternating(16), 1.0), "▁█".repeat(8));
        assert_eq!(drawn(alternating(17), 1.0), "▅".repeat(8));
        assert_eq!(drawn(alternating(18), 1.0), "▅".repeat(9));
        assert_eq!(drawn(alternating(10_000), 1.0).chars().filter(|c| *c != '▅').count(), 0);
        assert!(drawn(alternating(10_000), 1.0).chars().count() <= WIDTH);
    }
}
