//! What sampler and trainer differ by with the same weights, as means over what was compared.

use serde::{Deserialize, Serialize};

/// Sampled tokens in front of a place where another mean begins: the difference grows with length
/// where what was computed before is rounded otherwise.
const FROM: [usize; 5] = [0, 16, 64, 256, 1024];

/// A mean: of experts whether others would be chosen, over tokens and layers; of log-probabilities
/// `|trainer - sampler|` in nats, over tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::rl) struct Mismatch {
    sum: f64,
    compared: f64,
}

impl Mismatch {
    pub(super) fn add(&mut self, sum: f64, compared: f64) {
        self.sum += sum;
        self.compared += compared;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.add(other.sum, other.compared);
    }

    /// 0 of nothing.
    pub(in crate::rl) fn mean(&self) -> f64 {
        self.sum / self.compared.max(1.0)
    }

    /// The same, `None` of nothing.
    pub(in crate::rl) fn known(&self) -> Option<f64> {
        (self.compared > 0.0).then(|| self.mean())
    }
}

/// What log-probabilities differ by: on average, at most, and by the place of the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::rl) struct LogprobMismatch {
    all: Mismatch,
    largest: f64,
    /// Of the tokens from each of [`FROM`] on.
    places: [Mismatch; FROM.len()],
}

impl LogprobMismatch {
    /// A token's difference; `place` counts the sampled tokens in front of it in its trajectory.
    pub(super) fn add(&mut self, place: usize, difference: f64) {
        self.all.add(difference, 1.0);
        self.largest = self.largest.max(difference);
        let part = FROM.partition_point(|from| *from <= place) - 1;
        self.places[part].add(difference, 1.0);
    }

    /// Differences of rows with padding behind them, of which only the `sampled` count.
    ///
    /// # Shapes
    /// - `differences`, `sampled`: rows of `longest` values, 1 where sampled
    pub(super) fn add_rows(&mut self, differences: &[f32], sampled: &[f32], longest: usize) {
        let rows = differences.chunks(longest.max(1)).zip(sampled.chunks(longest.max(1)));
        for (differences, sampled) in rows {
            for (place, (difference, sampled)) in differences.iter().zip(sampled).enumerate() {
                if *sampled != 0.0 {
                    self.add(place, f64::from(*difference));
                }
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.largest = self.largest.max(other.largest);
        self.places.iter_mut().zip(&other.places).for_each(|(own, other)| own.merge(other));
    }

    pub(in crate::rl) fn mean(&self) -> f64 {
        self.all.mean()
    }

    /// The numbers of a step, by name: means by place where there are tokens.
    pub(in crate::rl) fn metrics(&self) -> Vec<(String, f64)> {
        let mut found = vec![
            ("logprob_mismatch".to_owned(), self.mean()),
            ("logprob_mismatch/largest".to_owned(), self.largest),
        ];
        for (from, part) in FROM.iter().zip(&self.places) {
            let name = format!("logprob_mismatch/from_{from}");
            found.extend(part.known().map(|mean| (name, mean)));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_by_their_place() {
        let mut found = LogprobMismatch::default();
        // the last of the first row is padding
        found.add_rows(&[0.25, 0.75, 9.0, 0.5, 0.0, 0.5], &[1.0, 1.0, 0.0, 1.0, 1.0, 1.0], 3);
        found.add(15, 0.0);
        found.add(16, 1.0);
        found.add(5000, 2.0);
        // (0.25 + 0.75 + 0.5 + 0 + 0.5 + 0) / 6 below 16; all: (2 + 1 + 2) / 8
        let metrics = found.metrics();
        let wanted = [
            ("logprob_mismatch", 0.625),
            ("logprob_mismatch/largest", 2.0),
            ("logprob_mismatch/from_0", 1.0 / 3.0),
            ("logprob_mismatch/from_16", 1.0),
            ("logprob_mismatch/from_1024", 2.0),
        ];
        assert_eq!(metrics.len(), wanted.len());
        for ((name, value), wanted) in metrics.iter().zip(wanted) {
            assert_eq!((name.as_str(), (value - wanted.1).abs() < 1e-12), (wanted.0, true));
        }
        let mut twice = found;
        twice.merge(&found);
        assert_eq!(twice.metrics(), metrics);
        assert_eq!(LogprobMismatch::default().mean(), 0.0);
    }
}
