//! Which conversation is learnt from next.
//!
//! Of files with weights `w`, from each of which `n` have been drawn, the next is from that with the
//! smallest `(n + 1/2) / w` (the rule of Sainte-Laguë), so that shares are right at any time. Within
//! a file every conversation comes once, in an order drawn anew for each pass, before any comes
//! again. Draws need no state to be saved: who goes on repeats them.

use crate::seeds::{Purpose, derive_seed};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Endless draws from several files.
#[derive(Debug)]
pub(super) struct Draws {
    seed: u64,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    weight: f64,
    drawn: u64,
    /// The order of the pass that is under way.
    order: Vec<usize>,
}

impl Draws {
    /// From files of so many entries, at least one, each with a weight above 0.
    pub(super) fn new(seed: u64, files: impl IntoIterator<Item = (usize, f64)>) -> Self {
        let file = |(count, weight)| File { weight, drawn: 0, order: (0..count).collect() };
        Self { seed, files: files.into_iter().map(file).collect() }
    }

    /// File and place.
    pub(super) fn next(&mut self) -> (usize, usize) {
        let due = |file: &File| (file.drawn as f64 + 0.5) / file.weight;
        let (index, file) = self
            .files
            .iter_mut()
            .enumerate()
            .min_by(|(_, one), (_, other)| due(one).total_cmp(&due(other)))
            .expect("there is a file");
        let count = file.order.len() as u64;
        let (pass, place) = (file.drawn / count, (file.drawn % count) as usize);
        if place == 0 {
            file.order.sort_unstable();
            let seed = derive_seed(self.seed.wrapping_add(index as u64), pass, Purpose::TaskOrder);
            file.order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        }
        file.drawn += 1;
        (index, file.order[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_take_turns_by_their_weights() {
        // 1/2 / 2 < 1/2 / 1 < 3/2 / 2 = 3/2 / 2 .. : 0, 1, 0 and so on
        let mut draws = Draws::new(1, [(10, 2.0), (10, 1.0)]);
        let files: Vec<usize> = (0..9).map(|_| draws.next().0).collect();
        assert_eq!(files, [0, 1, 0, 0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn all_come_once_in_each_pass_and_passes_differ() {
        let mut draws = Draws::new(3, [(20, 1.0)]);
        let mut pass = || (0..20).map(|_| draws.next().1).collect::<Vec<_>>();
        let passes = [pass(), pass(), pass()];
        for pass in &passes {
            let mut sorted = pass.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        }
        assert!(passes[0] != passes[1] && passes[1] != passes[2]);
        // equal seeds repeat them, others do not
        let first = |seed| {
            let mut draws = Draws::new(seed, [(20, 1.0)]);
            (0..20).map(|_| draws.next().1).collect::<Vec<_>>()
        };
        assert_eq!(first(3), passes[0]);
        assert_ne!(first(4), passes[0]);
    }
}
