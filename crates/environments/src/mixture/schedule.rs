//! Which environment a prompt comes from: a function of the run's seed and the prompt's number.
//!
//! Of each block of 100 prompts every environment has its share, rounded so that the largest
//! remainders are made up (Hamilton's method), in an order that is drawn for the block. So a run that
//! was resumed goes on with the same prompts, and no environment is short for long.

use super::Part;
use crate::DataError;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Prompts of which every environment has its share.
const BLOCK: u64 = 100;

/// The order in which prompts come from environments.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Prompts of a block, of each environment.
    quotas: Vec<usize>,
    seed: u64,
}

impl Schedule {
    /// The order for a seed.
    ///
    /// # Errors
    /// When a share is so small that its environment would never be drawn.
    pub fn new(parts: &[Part], seed: u64) -> Result<Self, DataError> {
        let shares: Vec<f64> = parts.iter().map(|part| part.share).collect();
        let quotas = quotas(&shares);
        match quotas.iter().position(|quota| *quota == 0) {
            Some(place) => Err(DataError::Setting(format!(
                "`environments.{}.share` is less than one of {BLOCK} prompts, so none would ever \
                 come from it\nhint: shares are relative to each other; give it a larger one, or \
                 leave it out",
                parts[place].name
            ))),
            None => Ok(Self { quotas, seed }),
        }
    }

    /// The environment of a prompt, counted from 0, and how many of the prompts before it came from
    /// the same one.
    ///
    /// ```
    /// use paretopo_environments::{Budget, Part, Schedule};
    ///
    /// let part = |name: &str, share| Part {
    ///     name: name.into(),
    ///     share,
    ///     tools: None,
    ///     own_tools: Vec::new(),
    ///     foreign_tools: Vec::new(),
    ///     objectives: None,
    ///     rewards: Vec::new(),
    ///     budget: Budget::default(),
    /// };
    /// let schedule = Schedule::new(&[part("a", 3.0), part("b", 1.0)], 7)?;
    /// let of_block = (0..100).map(|prompt| schedule.at(prompt));
    /// assert_eq!(of_block.filter(|(part, _)| *part == 0).count(), 75);
    /// # Ok::<(), paretopo_environments::DataError>(())
    /// ```
    pub fn at(&self, prompt: u64) -> (usize, u64) {
        let (block, within) = (prompt / BLOCK, (prompt % BLOCK) as usize);
        let order = self.order(block);
        let part = order[within];
        let earlier = order[..within].iter().filter(|other| **other == part).count() as u64;
        (part, block * self.quotas[part] as u64 + earlier)
    }

    /// The environments of a block's prompts.
    fn order(&self, block: u64) -> Vec<usize> {
        let of = |(part, quota): (usize, &usize)| std::iter::repeat_n(part, *quota);
        let mut order: Vec<usize> = self.quotas.iter().enumerate().flat_map(of).collect();
        let seed = paretopo_trajectory::well_mixed(self.seed ^ block.wrapping_mul(0x9e37_79b9));
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        order
    }
}

/// How many of a block's prompts each share is.
fn quotas(shares: &[f64]) -> Vec<usize> {
    let total: f64 = shares.iter().sum();
    let exact: Vec<f64> = shares.iter().map(|share| share / total * BLOCK as f64).collect();
    let mut quotas: Vec<usize> = exact.iter().map(|wanted| wanted.floor() as usize).collect();
    let mut by_rest: Vec<usize> = (0..shares.len()).collect();
    by_rest.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()));
    let missing = (BLOCK as usize).saturating_sub(quotas.iter().sum());
    by_rest.into_iter().cycle().take(missing).for_each(|place| quotas[place] += 1);
    quotas
}

/// Lists in one, of which any beginning has them by their shares, as long as none has run out: next is
/// always the list that is furthest behind.
pub(super) fn interleaved<T>(lists: Vec<Vec<T>>, shares: &[f64]) -> Vec<T> {
    let count = lists.iter().map(Vec::len).sum();
    let mut rest: Vec<_> = lists.into_iter().map(|list| list.into_iter().peekable()).collect();
    let mut taken = vec![0.0; shares.len()];
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let is_left: Vec<bool> = rest.iter_mut().map(|list| list.peek().is_some()).collect();
        let behind = |place: &usize| (taken[*place] + 1.0) / shares[*place];
        let left = (0..shares.len()).filter(|place| is_left[*place]);
        let Some(next) = left.min_by(|a, b| behind(a).total_cmp(&behind(b))) else { break };
        all.extend(rest[next].next());
        taken[next] += 1.0;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Budget;

    fn parts(shares: &[f64]) -> Vec<Part> {
        let part = |(place, share): (usize, &f64)| Part {
            name: format!("p{place}"),
            share: *share,
            tools: None,
            own_tools: Vec::new(),
            foreign_tools: Vec::new(),
            objectives: None,
            rewards: Vec::new(),
            budget: Budget::default(),
        };
        shares.iter().enumerate().map(part).collect()
    }

    #[test]
    fn every_block_has_each_share_and_nothing_else_decides() {
        // 100 / 3 = 33.3 each: the first of equal remainders gets the one that is missing
        assert_eq!(quotas(&[1.0, 1.0, 1.0]), [34, 33, 33]);
        assert_eq!(quotas(&[0.2, 0.6]), [25, 75]);
        let schedule = Schedule::new(&parts(&[5.0, 2.0, 3.0]), 11).unwrap();
        let mut seen = [0u64; 3];
        let mut orders = Vec::new();
        for prompt in 0..400 {
            let (part, earlier) = schedule.at(prompt);
            assert_eq!(earlier, seen[part], "prompt {prompt}");
            seen[part] += 1;
            if prompt % 100 == 99 {
                let blocks = prompt / 100 + 1;
                assert_eq!(seen, [50 * blocks, 20 * blocks, 30 * blocks]);
                orders.push(schedule.order(prompt / 100));
            }
        }
        assert_ne!(orders[0], orders[1]);
        let other = Schedule::new(&parts(&[5.0, 2.0, 3.0]), 12).unwrap();
        assert_ne!(other.order(0), orders[0]);
        // one that was never drawn would be no environment of the run
        let error = Schedule::new(&parts(&[1.0, 0.001]), 0).unwrap_err().to_string();
        assert!(error.starts_with("`environments.p1.share` is less than one of 100"), "{error}");
    }

    #[test]
    fn a_beginning_has_lists_by_their_shares() {
        let lists = vec![vec!["a"; 6], vec!["b"; 2], vec!["c"; 1]];
        // behind are (1/4, 1/2, 1), (2/4, 1/2, 1), (3/4, ..): a, a, b, a, a, b, c and what is left
        let all = interleaved(lists, &[4.0, 2.0, 1.0]).concat();
        assert_eq!(all, "aabaabcaa");
    }
}
