//! Statistics of few runs, as Agarwal et al. (2021, arXiv 2108.13264) take them: the interquartile
//! mean, its stratified bootstrap interval, the probability of improvement.
//!
//! The definitions are those of their library, rliable, whose code was read; `tests/statistics.rs`
//! compares with its numbers. What it calls a task is a *stratum* here: a world, or a data set.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;

/// The interquartile mean: of n sorted values the mean of those that remain when `floor(n / 4)` are
/// cut at each end; 0 of nothing.
///
/// ```
/// use paretopo_report::interquartile_mean;
///
/// // of five values one is cut at each end: (2 + 3 + 4) / 3
/// assert_eq!(interquartile_mean(&[100.0, 2.0, 3.0, 4.0, 0.0]), 3.0);
/// ```
pub fn interquartile_mean(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    crate::mean(&sorted[cut..sorted.len() - cut])
}

/// The 95% percentile interval of the interquartile mean over all values of all strata, from 10,000
/// resamples with a fixed seed. Each stratum is resampled on its own, so that none is ever missing.
/// A point where no stratum has two values.
///
/// # Shapes
/// - `strata`: the values of each; their numbers may differ
pub fn interquartile_interval(strata: &[&[f64]]) -> [f64; 2] {
    if strata.iter().all(|values| values.len() < 2) {
        return [interquartile_mean(&strata.concat()); 2];
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut resampled = || -> f64 {
        let mut drawn: Vec<f64> = Vec::new();
        for values in strata {
            drawn.extend((0..values.len()).map(|_| values[rng.random_range(0..values.len())]));
        }
        interquartile_mean(&drawn)
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| resampled()).collect();
    means.sort_by(f64::total_cmp);
    [means[RESAMPLES / 40], means[RESAMPLES - RESAMPLES / 40 - 1]]
}

/// The probability that a run of one method is better than a run of another, ties counting half:
/// `(1 / n m) sum_i sum_j ([x_i > y_j] + [x_i = y_j] / 2)`, the statistic of Mann and Whitney over
/// its largest value. 0.5 without a run.
///
/// ```
/// use paretopo_report::probability_of_improvement;
///
/// // of four pairs 2 > 1 and 3 > 1 are won, 3 = 3 is a tie and 2 < 3 is lost: 2.5 / 4
/// assert_eq!(probability_of_improvement(&[2.0, 3.0], &[1.0, 3.0]), 0.625);
/// ```
pub fn probability_of_improvement(own: &[f64], other: &[f64]) -> f64 {
    if own.is_empty() || other.is_empty() {
        return 0.5;
    }
    let score = |x: f64| -> f64 {
        let point = |y: &f64| {
            if x > *y {
                1.0
            } else if x == *y {
                0.5
            } else {
                0.0
            }
        };
        other.iter().map(point).sum()
    };
    own.iter().map(|x| score(*x)).sum::<f64>() / (own.len() * other.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_values_is_cut_at_each_end() {
        assert_eq!(interquartile_mean(&[]), 0.0);
        // three values: floor(3 / 4) = 0 are cut, so the mean of 0, 3 and 9
        assert_eq!(interquartile_mean(&[9.0, 0.0, 3.0]), 4.0);
        // eight: two at each end, (3 + 4 + 5 + 6) / 4
        let eight = [8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0];
        assert_eq!(interquartile_mean(&eight), 4.5);
    }

    #[test]
    fn strata_are_resampled_on_their_own() {
        // each stratum is of one value, repeated: no resample differs, whatever the other's value
        let (low, high) = ([0.0; 4], [1.0; 4]);
        assert_eq!(interquartile_interval(&[&low, &high]), [0.5, 0.5]);
        // mixed in one stratum they vary between 0 and 1
        let mixed = [low, high].concat();
        let [from, to] = interquartile_interval(&[&mixed]);
        assert!(from < 0.3 && to > 0.7, "{from} {to}");
        assert_eq!(interquartile_interval(&[&[0.25]]), [0.25, 0.25]);
    }

    #[test]
    fn improvement_is_one_half_without_a_difference() {
        assert_eq!(probability_of_improvement(&[1.0, 1.0], &[1.0]), 0.5);
        assert_eq!(probability_of_improvement(&[], &[1.0]), 0.5);
        assert_eq!(probability_of_improvement(&[2.0, 3.0], &[0.0, 1.0]), 1.0);
    }
}
