//! Ranks for any number of objectives, by the set of each point's dominators, one bit for a point
//! (after Moreno et al., 2020, merge non-dominated sorting, whose sets are such bits, too).
//!
//! In the descending order of one objective, the points before one are as good as it is there, and
//! of those that equal it, the ones before it in the lexicographic order. The points that are so in
//! every objective dominate it, or equal it:
//! `D(p) = {q before p} & intersection over k of {q : q_k >= p_k}`.
//!
//! The ranks of the points so far are bits, too, one set for each binary digit. So the worst rank
//! in `D(p)` is found digit by digit, 64 points at a time.

use crate::order::descending;

/// Points whose dominators are held at the same time, which bounds the memory.
const BLOCK: usize = 512;

/// Bits of one word.
const WORD: usize = u64::BITS as usize;

/// The rank of each point. `order` is the lexicographic one, in which a place is what a bit stands
/// for.
pub(super) fn ranks<P: AsRef<[f64]>>(points: &[P], order: &[usize]) -> Vec<usize> {
    let count = points.len();
    let sorted: Vec<&[f64]> = order.iter().map(|index| points[*index].as_ref()).collect();
    let mut dominators = Dominators::new(&sorted);
    let mut digits = Digits { sets: Vec::new(), words: count.div_ceil(WORD) };
    let mut ranks = vec![0; count];
    for start in (0..count).step_by(BLOCK) {
        let end = count.min(start + BLOCK);
        dominators.fill(start, end);
        for place in start..end {
            let index = order[place];
            ranks[index] = if place > 0 && sorted[place - 1] == sorted[place] {
                ranks[order[place - 1]]
            } else {
                digits.largest(dominators.row(place)) + 1
            };
            digits.set(place, ranks[index]);
        }
    }
    ranks
}

/// The sets `D` of a block of consecutive places.
struct Dominators {
    /// The points' places in the descending order of each objective, of equal values the first
    /// place first, so that whatever can dominate a point is before it. The first objective's is no
    /// news.
    orders: Vec<Vec<usize>>,
    sets: Vec<u64>,
    /// Words of one set.
    words: usize,
    start: usize,
}

impl Dominators {
    /// Of points in the lexicographic order.
    fn new(points: &[&[f64]]) -> Self {
        let objectives = points.first().map_or(0, |point| point.len());
        let in_order = |objective: usize| {
            descending(points.len(), |place| points[place][objective], |a, b| a.cmp(&b))
        };
        let orders = (1..objectives).map(in_order).collect();
        Self { orders, sets: Vec::new(), words: 0, start: 0 }
    }

    /// Makes the sets of the places from `start` to before `end`.
    fn fill(&mut self, start: usize, end: usize) {
        self.words = end.div_ceil(WORD);
        self.start = start;
        self.sets.clear();
        self.sets.resize((end - start) * self.words, 0);
        for place in start..end {
            // only what is before a point in the lexicographic order can dominate it
            let set = self.row(place);
            set.fill(u64::MAX);
            set[place / WORD] = (1 << (place % WORD)) - 1;
        }
        let orders = std::mem::take(&mut self.orders);
        for order in &orders {
            self.keep_as_good(order, end);
        }
        self.orders = orders;
    }

    /// The set of a place, as far as it can have members.
    fn row(&mut self, place: usize) -> &mut [u64] {
        let offset = (place - self.start) * self.words;
        &mut self.sets[offset..=offset + place / WORD]
    }

    /// Takes out of each set what is smaller in the objective with this order.
    fn keep_as_good(&mut self, order: &[usize], end: usize) {
        let mut seen = vec![0; self.words];
        for place in order.iter().copied().filter(|place| *place < end) {
            seen[place / WORD] |= 1 << (place % WORD);
            if place >= self.start {
                self.row(place).iter_mut().zip(&seen).for_each(|(set, seen)| *set &= seen);
            }
        }
    }
}

/// The ranks by their binary digits: the set of the places whose rank has a 1 there.
struct Digits {
    sets: Vec<Vec<u64>>,
    /// Words of one set.
    words: usize,
}

impl Digits {
    /// The largest rank in the set, which is used up; 0 for an empty one. Each digit, from the
    /// highest, is 1 if a member has a 1 there, and then only those matter further on.
    fn largest(&self, members: &mut [u64]) -> usize {
        let mut rank = 0;
        for (digit, ones) in self.sets.iter().enumerate().rev() {
            let common = members.iter().zip(ones).fold(0, |any, (set, ones)| any | set & ones);
            if common != 0 {
                rank |= 1 << digit;
                members.iter_mut().zip(ones).for_each(|(set, ones)| *set &= ones);
            }
        }
        rank
    }

    fn set(&mut self, place: usize, rank: usize) {
        let digits = (usize::BITS - rank.leading_zeros()) as usize;
        while self.sets.len() < digits {
            self.sets.push(vec![0; self.words]);
        }
        for (digit, ones) in self.sets.iter_mut().enumerate() {
            ones[place / WORD] |= ((rank >> digit & 1) as u64) << (place % WORD);
        }
    }
}
