//! Sums in a fixed binary tree, whoever holds which of its leaves.
//!
//! The node over the leaves `[a, b)` is the sum of `[a, m)` and `[m, b)` with `m = a + (b - a) / 2`.
//! Floating-point sums depend on their order, so ranks that each add up their own leaves would give
//! other bits for another number of ranks. Here each adds up whole nodes of the one tree, and what is
//! left of it is added as nodes travel to where their left neighbour is.

use std::ops::Range;

/// The place of part `index` where `items` are dealt out to `parts`, as evenly as can be and in
/// order: `[items index / parts, items (index + 1) / parts)`, rounded down.
pub fn part(items: usize, index: usize, parts: usize) -> Range<usize> {
    items * index / parts..items * (index + 1) / parts
}

fn middle(node: &Range<usize>) -> usize {
    node.start + node.len() / 2
}

/// The sums of consecutive leaves, in nodes of the tree that are as large as can be.
#[derive(Debug)]
pub struct TreeSum<T> {
    leaves: usize,
    next: usize,
    nodes: Vec<(Range<usize>, T)>,
}

impl<T> TreeSum<T> {
    /// Nothing yet of a tree with so many leaves, of which the next one is `first`.
    pub fn new(leaves: usize, first: usize) -> Self {
        Self { leaves, next: first, nodes: Vec::new() }
    }

    /// Puts the next leaf behind the others; `add(left, right)` is their sum.
    pub fn push(&mut self, leaf: T, mut add: impl FnMut(T, T) -> T) {
        let mut node = (self.next..self.next + 1, leaf);
        self.next += 1;
        while let Some((left, sum)) = self.nodes.pop() {
            let both = left.start..node.0.end;
            if !self.is_node(&both) {
                self.nodes.push((left, sum));
                break;
            }
            node = (both, add(sum, node.1));
        }
        self.nodes.push(node);
    }

    /// The sum of the whole tree, where all of its leaves were pushed here; `None` of no leaves.
    pub fn into_whole(mut self) -> Option<T> {
        debug_assert!(self.nodes.len() <= 1 && self.next == self.leaves, "leaves are missing");
        self.nodes.pop().map(|(_, sum)| sum)
    }

    /// Whether the tree has a node over these leaves.
    fn is_node(&self, wanted: &Range<usize>) -> bool {
        let mut node = 0..self.leaves;
        while node.len() > wanted.len() {
            let middle = middle(&node);
            node = if wanted.start < middle { node.start..middle } else { middle..node.end };
        }
        node == *wanted
    }

    /// The sum of the whole tree at the rank of its first leaf, `None` at the others. The leaves lie
    /// with the ranks as [`part`] deals them out, and there are at least as many as ranks.
    ///
    /// `send` gives a sum to a rank, `receive` waits for one.
    ///
    /// # Errors
    /// Those of `send` and `receive`.
    pub fn reduce<E>(
        self,
        (rank, ranks): (usize, usize),
        carry: &mut impl Carry<T, E>,
    ) -> Result<Option<T>, E> {
        let whole = 0..self.leaves;
        let owners =
            (0..ranks).flat_map(|owner| part(self.leaves, owner, ranks).map(move |_| owner));
        let owners: Vec<usize> = owners.collect();
        let mut held = self.nodes.into_iter();
        sum_of(&whole, rank, &owners, &mut held, carry)
    }
}

/// What a sum needs of the values and of those who carry them.
pub trait Carry<T, E> {
    /// The sum of two.
    fn add(&mut self, left: T, right: T) -> T;

    /// Gives a value to a rank.
    ///
    /// # Errors
    /// When the rank is lost.
    fn send(&mut self, to: usize, value: T) -> Result<(), E>;

    /// Waits for a value of a rank.
    ///
    /// # Errors
    /// When the rank is lost.
    fn receive(&mut self, from: usize) -> Result<T, E>;
}

/// A node's sum, at the rank that holds its first leaf.
fn sum_of<T, E>(
    node: &Range<usize>,
    rank: usize,
    owners: &[usize],
    held: &mut std::vec::IntoIter<(Range<usize>, T)>,
    carry: &mut impl Carry<T, E>,
) -> Result<Option<T>, E> {
    let owner = owners[node.start];
    if owners[node.end - 1] == owner {
        // its leaves were pushed in order, and nodes are asked for in order
        return Ok((owner == rank).then(|| held.next().expect("a rank holds its nodes").1));
    }
    let (left, right) = (node.start..middle(node), middle(node)..node.end);
    let other = owners[right.start];
    let left = sum_of(&left, rank, owners, held, carry)?;
    let right = sum_of(&right, rank, owners, held, carry)?;
    let right = match right {
        Some(right) if other != owner => {
            carry.send(owner, right)?;
            None
        }
        None if other != owner && owner == rank => Some(carry.receive(other)?),
        right => right,
    };
    Ok(match (left, right) {
        (Some(left), Some(right)) => Some(carry.add(left, right)),
        (left, _) => left,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{from_bytes, to_bytes};
    use crate::{Collective, CollectiveError, Threads};
    use proptest::prelude::*;

    struct Numbers<'a>(&'a Threads);

    impl Carry<f32, CollectiveError> for Numbers<'_> {
        fn add(&mut self, left: f32, right: f32) -> f32 {
            left + right
        }

        fn send(&mut self, to: usize, value: f32) -> Result<(), CollectiveError> {
            self.0.send(to, to_bytes(&value))
        }

        fn receive(&mut self, from: usize) -> Result<f32, CollectiveError> {
            from_bytes(from, &self.0.receive(from)?)
        }
    }

    /// The sum of leaves that lie with so many ranks.
    fn sum(leaves: &[f32], ranks: usize) -> f32 {
        std::thread::scope(|scope| {
            let at = |own: Threads| {
                scope.spawn(move || {
                    let share = part(leaves.len(), own.rank(), ranks);
                    let mut tree = TreeSum::new(leaves.len(), share.start);
                    for leaf in &leaves[share] {
                        tree.push(*leaf, |left, right| left + right);
                    }
                    tree.reduce((own.rank(), ranks), &mut Numbers(&own)).unwrap()
                })
            };
            let started: Vec<_> = Threads::new(ranks).into_iter().map(at).collect();
            let found: Vec<Option<f32>> =
                started.into_iter().map(|one| one.join().unwrap()).collect();
            assert!(found[1..].iter().all(Option::is_none));
            found[0].unwrap()
        })
    }

    #[test]
    fn parts_are_even_and_follow_each_other() {
        // 7 / 3: 0, 2.33, 4.67, 7
        let parts: Vec<_> = (0..3).map(|index| part(7, index, 3)).collect();
        assert_eq!(parts, [0..2, 2..4, 4..7]);
        assert_eq!(part(1, 0, 4), 0..0);
        assert_eq!(part(1, 3, 4), 0..1);
    }

    #[test]
    fn the_order_of_a_sum_is_that_of_the_tree() {
        // in f32 (2^24 + 1) + 1 = 2^24, but 2^24 + (1 + 1) = 2^24 + 2
        let large = 16_777_216.0f32;
        let leaves = [large, 0.0, 1.0, 1.0];
        assert_eq!(leaves.iter().sum::<f32>(), large);
        for ranks in 1..=4 {
            // ([0] + [1]) + ([2] + [3])
            assert_eq!(sum(&leaves, ranks), large + 2.0, "{ranks}");
        }
        // of three leaves the second pair is [1] + [2]
        assert_eq!(sum(&[large, 1.0, 1.0], 1), large + 2.0);
    }

    proptest! {
        #[test]
        fn a_sum_has_the_same_bits_for_any_number_of_ranks(
            leaves in prop::collection::vec(-1e3f32..1e3, 1..40),
        ) {
            let whole = sum(&leaves, 1);
            for ranks in 2..=leaves.len().min(9) {
                prop_assert_eq!(sum(&leaves, ranks).to_bits(), whole.to_bits());
            }
        }
    }
}
