//! Tests of paired differences: the sign-flip permutation test, Holm's correction, and how many
//! seeds an effect needs.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Pairs up to which all sign patterns are counted.
const EXACT: usize = 40;

/// Patterns that are drawn beyond.
const DRAWN: usize = 100_000;

/// Differences of sums below this are rounding.
const ROUNDING: f64 = 1e-12;

/// The two-sided p-value of a paired sign-flip permutation test of `mean(a - b) = 0`: the share of
/// the `2^n` patterns of signs whose sum is as far from 0 as the observed one. With n pairs the
/// smallest possible value is `2 / 2^n`.
///
/// Up to 40 pairs it is exact: all sums of the first half of the pairs are sorted, and for each sum
/// of the other half two searches count those that reach the observed one. Beyond, 100,000 patterns
/// are drawn with a fixed seed, and p is `(extreme + 1) / (100,000 + 1)`.
///
/// ```
/// use paretopo_report::paired_permutation_test;
///
/// // differences 1, 1, 1: of 8 patterns of signs two reach a sum of 3 or -3
/// assert_eq!(paired_permutation_test(&[1.0, 2.0, 3.0], &[0.0, 1.0, 2.0]), 0.25);
/// ```
pub fn paired_permutation_test(a: &[f64], b: &[f64]) -> f64 {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let observed = differences.iter().sum::<f64>().abs() - ROUNDING;
    if differences.len() > EXACT {
        return drawn_share(&differences, observed);
    }
    let (left, right) = differences.split_at(differences.len() / 2);
    let mut left = signed_sums(left);
    left.sort_by(f64::total_cmp);
    let extreme = |sum: &f64| {
        let below = left.partition_point(|other| other + sum <= -observed);
        let above = left.len() - left.partition_point(|other| other + sum < observed);
        // where 0 itself is extreme, a sum may be both
        if observed <= 0.0 { left.len() } else { below + above }
    };
    let count: usize = signed_sums(right).iter().map(extreme).sum();
    count as f64 / 2f64.powi(differences.len() as i32)
}

/// The sums of all patterns of signs.
fn signed_sums(differences: &[f64]) -> Vec<f64> {
    differences
        .iter()
        .fold(vec![0.0], |sums, d| sums.iter().flat_map(|sum| [sum + d, sum - d]).collect())
}

fn drawn_share(differences: &[f64], observed: f64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut is_extreme = || {
        let signed = |d: &f64| if rng.random_bool(0.5) { *d } else { -d };
        differences.iter().map(signed).sum::<f64>().abs() >= observed
    };
    let extreme = (0..DRAWN).filter(|_| is_extreme()).count();
    (extreme + 1) as f64 / (DRAWN + 1) as f64
}

/// Holm's step-down correction of m p-values: of the sorted ones `p_(i)` becomes `max over j <= i
/// of min(1, (m - j + 1) p_(j))`. Who rejects those below 0.05 is wrong anywhere with a probability
/// of at most 0.05. The values come back in their order.
///
/// ```
/// use paretopo_report::holm;
///
/// // sorted: 0.0625 * 3, then 0.125 * 2, then 0.2 * 1, which is not below the one before
/// assert_eq!(holm(&[0.2, 0.0625, 0.125]), [0.25, 0.1875, 0.25]);
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        let scaled = (p_values.len() - rank) as f64 * p_values[index];
        largest = largest.max(scaled.min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

/// Quantiles of the normal distribution: a two-sided test at 5%, and a power of 80%.
const TEST: f64 = 1.959_964;
const POWER: f64 = 0.841_621;

/// Seeds that a paired comparison needs to see an `effect` with a probability of 80% at the level
/// of 5%: `n = ((1.960 + 0.842) d / e)^2 + 1.960^2 / 2`, rounded up, d being the deviation of the
/// paired differences. The second term is Guenther's for a deviation that is estimated from the
/// same seeds.
///
/// ```
/// use paretopo_report::seeds_for;
///
/// // (2.8016 * 0.04 / 0.02)^2 = 31.4, and 1.92: 33.3
/// assert_eq!(seeds_for(0.02, 0.04), 34);
/// ```
pub fn seeds_for(effect: f64, deviation: f64) -> u64 {
    (((TEST + POWER) * deviation / effect).powi(2) + TEST * TEST / 2.0).ceil() as u64
}

/// The smallest effect that `pairs` paired differences see with a power of 80% at the level of 5%,
/// the inverse of [`seeds_for`]: `e = (1.960 + 0.842) d / sqrt(n - 1.92)`, d being their deviation.
/// `None` below three pairs.
pub fn visible_effect(differences: &[f64]) -> Option<f64> {
    let deviation = deviation(differences)?;
    let pairs = differences.len() as f64 - TEST * TEST / 2.0;
    (pairs > 0.0).then(|| (TEST + POWER) * deviation / pairs.sqrt())
}

/// The deviation of a sample, `sqrt(sum (x - mean)^2 / (n - 1))`; `None` of less than two values.
pub(crate) fn deviation(values: &[f64]) -> Option<f64> {
    let mean = crate::mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All patterns one by one.
    fn counted(differences: &[f64]) -> f64 {
        let observed = differences.iter().sum::<f64>().abs() - ROUNDING;
        let sums = signed_sums(differences);
        let extreme = sums.iter().filter(|sum| sum.abs() >= observed).count();
        extreme as f64 / sums.len() as f64
    }

    #[test]
    fn permutation_test_by_hand() {
        // differences 1, 1, 1: of 8 sign patterns only +++ and --- reach |3|
        assert_eq!(paired_permutation_test(&[1.0, 2.0, 3.0], &[0.0, 1.0, 2.0]), 0.25);
        // differences 1, -1: the sum is 0, every pattern reaches it
        assert_eq!(paired_permutation_test(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
        // 2, 1, 1 (sum 4): +++ and ---, 2 of 8; 2, 1, -1 (sum 2): besides +++ and --- the
        // patterns with |sum| = 2, which are ++- and +-+ and their opposites: 6 of 8
        assert_eq!(paired_permutation_test(&[2.0, 1.0, 1.0], &[0.0; 3]), 0.25);
        assert_eq!(paired_permutation_test(&[2.0, 1.0, -1.0], &[0.0; 3]), 0.75);
    }

    #[test]
    fn the_halves_count_every_pattern_of_all_pairs() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for pairs in 0..=18 {
            let differences: Vec<f64> =
                (0..pairs).map(|_| f64::from(rng.random_range(-3i32..=4)) / 8.0).collect();
            let zeros = vec![0.0; pairs];
            assert_eq!(paired_permutation_test(&differences, &zeros), counted(&differences));
        }
        // twenty equal differences: 2 of 2^20 patterns. The first sixteen alone would give 2 / 2^16
        assert_eq!(paired_permutation_test(&[0.1; 20], &[0.0; 20]), 2.0 / 1_048_576.0);
    }

    #[test]
    fn more_pairs_than_can_be_counted_are_drawn() {
        let share = |count: usize| {
            let signs = (0..count).map(|k| if k % 3 == 0 { -1.0 } else { 1.0 });
            let differences: Vec<f64> = signs.collect();
            paired_permutation_test(&differences, &vec![0.0; count])
        };
        // 14 of 40 and 14 of 41 are negative: by the binomial distribution P(B <= 14) * 2 is
        // 0.0807 of 40 and 0.0596 of 41
        assert!((share(40) - 0.0807).abs() < 1e-4, "{}", share(40));
        assert!((share(41) - 0.0596).abs() < 3e-3, "{}", share(41));
    }

    #[test]
    fn holm_never_exceeds_one_and_keeps_the_order() {
        assert_eq!(holm(&[]), Vec::<f64>::new());
        assert_eq!(holm(&[0.5, 0.75]), [1.0, 1.0]);
        // 4 * 0.01, 3 * 0.02, then 2 * 0.02 = 0.04 is raised to 0.06
        let adjusted = holm(&[0.02, 0.01, 0.9, 0.02]);
        let expected = [0.06, 0.04, 0.9, 0.06];
        let is_near = |pair: (&f64, &f64)| (pair.0 - pair.1).abs() < 1e-12;
        assert!(adjusted.iter().zip(&expected).all(is_near), "{adjusted:?}");
    }

    #[test]
    fn seeds_and_visible_effects_are_inverse() {
        // half the effect needs four times the seeds: 4 * 31.4 + 1.92 = 127.5
        assert_eq!(seeds_for(0.01, 0.04), 128);
        // 0 and 2 in turn, 34 times: deviation sqrt(34 / 33) = 1.0150; 2.8016 * 1.0150 /
        // sqrt(32.08) = 0.5021
        let differences: Vec<f64> = (0..34).map(|k| f64::from(k % 2) * 2.0).collect();
        let visible = visible_effect(&differences).unwrap();
        assert!((visible - 0.5021).abs() < 1e-4, "{visible}");
        assert_eq!(seeds_for(visible, deviation(&differences).unwrap()), 34);
        assert_eq!(visible_effect(&[1.0]), None);
    }
}
