//! Means, intervals, tests and front indicators.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The 95% percentile bootstrap interval of the mean, from 10,000 resamples with a fixed seed.
pub fn bootstrap_interval(values: &[f64]) -> [f64; 2] {
    if values.len() < 2 {
        return [mean(values); 2];
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut resampled = || {
        (0..values.len()).map(|_| values[rng.random_range(0..values.len())]).sum::<f64>()
            / values.len() as f64
    };
    let mut means: Vec<f64> = (0..10_000).map(|_| resampled()).collect();
    means.sort_by(f64::total_cmp);
    [means[250], means[9749]]
}

/// The two-sided p-value of a paired sign-flip permutation test of `mean(a - b) = 0`, exact over
/// all `2^n` flips (`n <= 16` pairs; of more, the first 16 are used). With n pairs the smallest
/// possible value is `2 / 2^n`.
pub fn paired_permutation_test(a: &[f64], b: &[f64]) -> f64 {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).take(16).collect();
    let observed = differences.iter().sum::<f64>().abs();
    let flips = 1u32 << differences.len();
    let flipped = |flip: u32| {
        differences
            .iter()
            .enumerate()
            .map(|(index, d)| if flip >> index & 1 == 1 { -d } else { *d })
            .sum::<f64>()
    };
    let extreme = (0..flips).filter(|flip| flipped(*flip).abs() >= observed - 1e-12).count();
    extreme as f64 / f64::from(flips)
}

/// The points that no other point dominates (both coordinates to be maximised).
pub fn pareto_front(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let dominates = |a: &[f64; 2], b: &[f64; 2]| a[0] >= b[0] && a[1] >= b[1] && a != b;
    points
        .iter()
        .filter(|point| !points.iter().any(|other| dominates(other, point)))
        .copied()
        .collect()
}

/// IGD+ (Ishibuchi et al., 2015): the mean over the front of the distance that the nearest of
/// `points` falls short of it. 0 is best.
pub fn igd_plus(points: &[[f64; 2]], front: &[[f64; 2]]) -> f64 {
    let shortfall = |point: &[f64; 2], target: &[f64; 2]| {
        let missing = |k: usize| (target[k] - point[k]).max(0.0);
        missing(0).hypot(missing(1))
    };
    let nearest = |target: &[f64; 2]| {
        points.iter().map(|point| shortfall(point, target)).fold(f64::INFINITY, f64::min)
    };
    mean(&front.iter().map(nearest).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutation_test_by_hand() {
        // differences 1, 1, 1: of 8 sign patterns only +++ and --- reach |3|
        assert_eq!(paired_permutation_test(&[1.0, 2.0, 3.0], &[0.0, 1.0, 2.0]), 0.25);
        // differences 1, -1: the sum is 0, every pattern reaches it
        assert_eq!(paired_permutation_test(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
    }

    #[test]
    fn igd_plus_by_hand() {
        let front = pareto_front(&[[1.0, 0.0], [0.0, 1.0], [0.0, 0.5]]);
        assert_eq!(front, [[1.0, 0.0], [0.0, 1.0]]);
        // from (0.7, 0.6): short of (1, 0) by 0.3 and of (0, 1) by 0.4, mean 0.35
        assert!((igd_plus(&[[0.7, 0.6]], &front) - 0.35).abs() < 1e-12);
    }

    #[test]
    fn the_interval_holds_the_mean_and_narrows_with_data() {
        let few = bootstrap_interval(&[0.0, 1.0, 0.0, 1.0]);
        let many = bootstrap_interval(&[0.0, 1.0].repeat(50));
        assert!(few[0] <= 0.5 && few[1] >= 0.5 && many[1] - many[0] < few[1] - few[0]);
        assert_eq!(bootstrap_interval(&[2.0]), [2.0, 2.0]);
    }
}
