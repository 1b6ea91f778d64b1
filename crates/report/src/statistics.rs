//! Means, their intervals, and indicators of points in any number of objectives.

use paretopo_pareto::{dominates, hypervolume};
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

/// The points that no other point dominates (every coordinate to be maximised), in their order;
/// a front is a set, so of equal points the first alone.
///
/// # Shapes
/// - each point: one value per objective
pub fn pareto_front<P: AsRef<[f64]> + Clone>(points: &[P]) -> Vec<P> {
    let is_dominated =
        |point: &P| points.iter().any(|other| dominates(other.as_ref(), point.as_ref()));
    let mut front: Vec<P> = Vec::new();
    for point in points.iter().filter(|point| !is_dominated(point)) {
        if front.iter().all(|known| known.as_ref() != point.as_ref()) {
            front.push(point.clone());
        }
    }
    front
}

/// IGD+ (Ishibuchi et al., 2015): the mean over the front of the distance that the nearest of
/// `points` falls short of it, `min_p sqrt(sum_k max(t_k - p_k, 0)^2)`. 0 is best.
///
/// ```
/// use paretopo_report::{igd_plus, pareto_front};
///
/// let front = pareto_front(&[[1.0, 0.0], [0.0, 1.0], [0.0, 0.5]]);
/// assert_eq!(front, [[1.0, 0.0], [0.0, 1.0]]);
/// // (0.7, 0.6) falls short of (1, 0) by 0.3 and of (0, 1) by 0.4
/// assert!((igd_plus(&[[0.7, 0.6]], &front) - 0.35).abs() < 1e-12);
/// ```
///
/// # Shapes
/// - each point, of `points` and `front`: one value per objective
pub fn igd_plus<P: AsRef<[f64]>>(points: &[P], front: &[P]) -> f64 {
    let shortfall = |point: &P, target: &P| {
        let pairs = target.as_ref().iter().zip(point.as_ref());
        pairs.map(|(target, value)| (target - value).max(0.0)).fold(0.0, f64::hypot)
    };
    let nearest = |target: &P| {
        points.iter().map(|point| shortfall(point, target)).fold(f64::INFINITY, f64::min)
    };
    mean(&front.iter().map(nearest).collect::<Vec<_>>())
}

/// The volume between a point and the origin: that of the policies which it dominates.
///
/// # Shapes
/// - `point`: one value per objective
pub fn volume_of(point: &[f64]) -> f64 {
    hypervolume(&[point], &vec![0.0; point.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn igd_plus_by_hand() {
        let front = pareto_front(&[[1.0, 0.0], [0.0, 1.0], [0.0, 0.5]]);
        assert_eq!(front, [[1.0, 0.0], [0.0, 1.0]]);
        // from (0.7, 0.6): short of (1, 0) by 0.3 and of (0, 1) by 0.4, mean 0.35
        assert!((igd_plus(&[[0.7, 0.6]], &front) - 0.35).abs() < 1e-12);
        // (1, 0) reached by two runs counts once; twice, it would make (0.3 + 0.3 + 0.4) / 3
        assert_eq!(pareto_front(&[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), front);
    }

    #[test]
    fn front_indicators_by_hand_for_one_three_and_five_objectives() {
        // one: the largest value is the front, and what falls short of it does so by the difference
        let front = pareto_front(&[[0.25], [0.75], [0.5]]);
        assert_eq!((front.clone(), igd_plus(&[[0.25], [0.5]], &front)), (vec![[0.75]], 0.25));
        assert_eq!(volume_of(&[0.75]), 0.75);
        // three: (0.5, 0.5, 0.5) is dominated by (0.5, 0.5, 1); each other is best in one
        let points = [[1.0, 0.0, 0.5], [0.5, 0.5, 0.5], [0.5, 0.5, 1.0], [0.0, 1.0, 0.0]];
        let front = pareto_front(&points);
        assert_eq!(front, [points[0], points[2], points[3]]);
        // from (1, 0.5, 0.5): short of these by (0, 0, 0), (0, 0, 0.5), (0, 0.5, 0): mean 1/3
        assert!((igd_plus(&[[1.0, 0.5, 0.5]], &front) - 1.0 / 3.0).abs() < 1e-15);
        // from the origin of the first: sqrt(1 + 0.25)
        let far = igd_plus(&[[0.0; 3]], &[points[0]]);
        assert!((far - 1.25f64.sqrt()).abs() < 1e-15);
        assert_eq!(volume_of(&points[2]), 0.25);
        // five: 3, 4 and nothing missing make 5 tenths; 0.5 * 1 * 1 * 0.5 * 0.5
        let five = [0.5, 1.0, 1.0, 0.5, 0.5];
        let short = [0.2, 0.6, 1.0, 0.9, 0.5];
        assert!((igd_plus(&[short], &[five]) - 0.5).abs() < 1e-15);
        assert_eq!(pareto_front(&[five, short]).len(), 2);
        assert_eq!((volume_of(&five), volume_of(&[0.5, -1.0, -1.0])), (0.125, 0.0));
    }

    #[test]
    fn the_interval_holds_the_mean_and_narrows_with_data() {
        let few = bootstrap_interval(&[0.0, 1.0, 0.0, 1.0]);
        let many = bootstrap_interval(&[0.0, 1.0].repeat(50));
        assert!(few[0] <= 0.5 && few[1] >= 0.5 && many[1] - many[0] < few[1] - few[0]);
        assert_eq!(bootstrap_interval(&[2.0]), [2.0, 2.0]);
    }
}
