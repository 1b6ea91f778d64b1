//! The random numbers of a row.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Points in [0, 1), one for each drawn token. The `n`-th point follows from the seed alone, so that a
/// row which goes on elsewhere draws what it would have drawn here.
///
/// ```
/// use paretopo_generation::Points;
///
/// let mut points = Points::new(7, 0);
/// let (_first, second) = (points.draw(), points.draw());
/// assert_eq!(Points::new(7, 1).draw(), second);
/// ```
#[derive(Clone, Debug)]
pub struct Points(ChaCha8Rng);

impl Points {
    /// The points of `seed` behind the first `drawn`.
    pub fn new(seed: u64, drawn: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // a point takes one word of 32 bits
        rng.set_word_pos(drawn as u128);
        Self(rng)
    }

    /// The next one.
    pub fn draw(&mut self) -> f32 {
        self.0.random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_goes_on_elsewhere_draws_the_same_points() {
        let mut whole = Points::new(7, 0);
        let all: Vec<f32> = (0..200).map(|_| whole.draw()).collect();
        for drawn in [0, 1, 15, 16, 63, 64, 199] {
            assert_eq!(Points::new(7, drawn).draw(), all[drawn], "after {drawn}");
        }
        assert_ne!(Points::new(8, 0).draw(), all[0]);
        assert!(all.iter().all(|point| (0.0..1.0).contains(point)));
    }
}
