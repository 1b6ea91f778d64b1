//! Which searches miss: a retriever that is not perfect, and whose luck repeats.
//!
//! ```text
//! miss(seed, trajectory, n)  =  mix(seed ^ fnv1a(trajectory) + n * golden) / 2^53  <  rate
//! ```
//!
//! for the `n`-th search of a trajectory, counted from 0. `mix` is SplitMix64's finaliser, of whose
//! result the upper 53 bits count. So a run repeats, and searching again draws anew. Luck does not
//! depend on the query.

use paretopo_settings::Share;
use paretopo_trajectory::TrajectoryId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Draws which searches miss. A trajectory counts its searches from its [`Self::begin`] on.
pub(crate) struct Misses {
    rate: Share,
    seed: u64,
    /// Searches that each trajectory under way has made.
    made: Mutex<HashMap<TrajectoryId, u64>>,
}

impl Misses {
    /// Searches of which a share of `rate` misses.
    pub(crate) fn new(rate: Share, seed: u64) -> Self {
        Self { rate, seed, made: Mutex::default() }
    }

    /// A trajectory begins that may search.
    pub(crate) fn begin(&self, trajectory: &TrajectoryId) {
        if self.rate.get() > 0.0 {
            self.counts().insert(trajectory.clone(), 0);
        }
    }

    /// A trajectory has ended: its count is forgotten.
    pub(crate) fn end(&self, trajectory: &TrajectoryId) {
        if self.rate.get() > 0.0 {
            self.counts().remove(trajectory);
        }
    }

    /// Whether the trajectory's next search misses; counts it. One that has not begun is always at
    /// its first.
    pub(crate) fn next(&self, trajectory: &TrajectoryId) -> bool {
        if self.rate.get() == 0.0 {
            return false;
        }
        let mut counts = self.counts();
        let number = counts.get_mut(trajectory).map_or(0, |count| {
            *count += 1;
            *count - 1
        });
        luck(self.seed, trajectory, number) < self.rate.get()
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<TrajectoryId, u64>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number in [0, 1) that looks random: the same for the same arguments.
fn luck(seed: u64, trajectory: &TrajectoryId, number: u64) -> f64 {
    let name = trajectory.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut mixed = (seed ^ name).wrapping_add((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(misses: &Misses, trajectory: &TrajectoryId, count: usize) -> Vec<bool> {
        misses.begin(trajectory);
        let drawn = (0..count).map(|_| misses.next(trajectory)).collect();
        misses.end(trajectory);
        drawn
    }

    #[test]
    fn luck_repeats_and_each_search_draws_anew() {
        let misses = Misses::new(Share::literal(0.5), 3);
        let id = TrajectoryId::new("test", 0, 0);
        let first = drawn(&misses, &id, 64);
        assert_eq!(first, drawn(&misses, &id, 64));
        assert!(misses.counts().is_empty());
        // of 64 fair draws between 16 and 48 miss: further off are four standard deviations (4 * 4)
        let missed = first.iter().filter(|missed| **missed).count();
        assert!((16..=48).contains(&missed), "{missed}");
        let other = Misses::new(Share::literal(0.5), 4);
        assert_ne!(first, drawn(&other, &id, 64));
        assert_ne!(first, drawn(&misses, &TrajectoryId::new("test", 0, 1), 64));
    }

    #[test]
    fn as_many_miss_as_the_rate_says() {
        let misses = Misses::new(Share::literal(0.15), 1);
        let missed: usize = (0..10_000)
            .map(|prompt| drawn(&misses, &TrajectoryId::new("train", prompt, 0), 2))
            .map(|both| both.iter().filter(|missed| **missed).count())
            .sum();
        // 20000 * 0.15 = 3000, standard deviation sqrt(3000 * 0.85) = 50.5; four of them
        assert!((2798..=3202).contains(&missed), "{missed}");
        let never = Misses::new(Share::literal(0.0), 1);
        assert!(!drawn(&never, &TrajectoryId::new("t", 0, 0), 100).contains(&true));
        let always = Misses::new(Share::literal(1.0), 1);
        assert!(!drawn(&always, &TrajectoryId::new("t", 0, 0), 100).contains(&false));
    }
}
