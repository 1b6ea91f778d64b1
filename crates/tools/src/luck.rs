//! What chance decides about a call: whether it fails, what it costs, whether its result is right.
//!
//! It is drawn from the run's seed, the trajectory's name and the call's place in it, and from
//! nothing else. So a run that is repeated or resumed has the same luck, whatever is played beside
//! it.

use paretopo_trajectory::{TrajectoryId, stable_hash, well_mixed};

/// Random numbers of one call.
///
/// ```
/// use paretopo_tools::Luck;
/// use paretopo_trajectory::TrajectoryId;
///
/// let trajectory = TrajectoryId::new("train", 41, 3);
/// let draw = |number| Luck::of_call(7, &trajectory, number).share();
/// assert_eq!(draw(0), draw(0));
/// assert_ne!(draw(0), draw(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Luck(u64);

/// The step of SplitMix64's counter.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Luck {
    /// That of the `number`-th call of a trajectory, counted from 0; `seed` is the episode's own.
    pub fn of_call(seed: u64, trajectory: &TrajectoryId, number: usize) -> Self {
        let mut luck = Self(seed ^ stable_hash(trajectory.as_str()));
        // tokens are drawn from the same seed, by another generator
        let mixed = luck.next() ^ (number as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self(mixed)
    }

    /// The next number, by SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        well_mixed(self.0)
    }

    /// A number in [0, 1), of 53 bits.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with that probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// A whole number below `bound`, which is above 0; each as likely, but for 1 part in 2^40 with
    /// bounds up to 2^24.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A draw of the standard normal distribution, by Box and Muller's transform:
    /// `sqrt(-2 ln(1 - u)) cos(2 pi v)`.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luck_depends_on_seed_name_and_number_alone() {
        let (one, other) = (TrajectoryId::new("train", 1, 0), TrajectoryId::new("train", 10, 0));
        let first = |seed, name, number| Luck::of_call(seed, name, number).next();
        let base = first(1, &one, 0);
        assert_eq!(first(1, &one, 0), base);
        for another in [first(2, &one, 0), first(1, &other, 0), first(1, &one, 1)] {
            assert_ne!(another, base);
        }
    }

    #[test]
    fn shares_and_normal_draws_have_their_moments() {
        let name = TrajectoryId::new("train", 1, 0);
        let draws = |draw: fn(&mut Luck) -> f64| -> (f64, f64) {
            let values: Vec<f64> =
                (0..4000).map(|number| draw(&mut Luck::of_call(3, &name, number))).collect();
            let mean = values.iter().sum::<f64>() / 4000.0;
            (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 4000.0)
        };
        // uniform: mean 1/2, variance 1/12; five deviations of the mean: 5 * 0.289 / 63.2 = 0.023
        let (mean, variance) = draws(Luck::share);
        assert!((mean - 0.5).abs() < 0.023 && (variance - 1.0 / 12.0).abs() < 0.008, "{mean}");
        // normal: mean 0, variance 1; five deviations are 5 / 63.2 = 0.079 and 5 * 1.41 / 63.2
        let (mean, variance) = draws(Luck::normal);
        assert!(mean.abs() < 0.079 && (variance - 1.0).abs() < 0.112, "{mean} {variance}");
    }
}
