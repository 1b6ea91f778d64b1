//! Mean and deviation, with the conventions of TRL; and what a state that was read may hold.

use super::Group;
use crate::pareto::{Archive, Point};
use paretopo_settings::Finite;

/// Added to a deviation before dividing by it, as TRL does.
pub(super) const STD_EPSILON: f64 = 1e-4;

/// The mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    // measured from the first value, so that equal values have exactly themselves as their mean,
    // and a group of equals no advantage at all
    let Some(first) = values.first() else { return 0.0 };
    first + values.iter().map(|value| value - first).sum::<f64>() / values.len() as f64
}

/// The sample standard deviation (divided by n - 1, as `torch.std`); 0 of fewer than two values.
pub(super) fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let largest = values.iter().map(|value| (value - mean).abs()).fold(0.0, f64::max);
    // squares of what is beyond 1e150 are too large for an f64, though the deviation is not
    let unit = if largest > 1e150 { largest } else { 1.0 };
    let squares: f64 = values.iter().map(|value| ((value - mean) / unit).powi(2)).sum();
    unit * (squares / (values.len() - 1) as f64).sqrt()
}

/// `(x - mean) / (std + epsilon)`, or only `x - mean`.
pub(super) fn standardised(values: &[f64], divide: bool) -> Vec<f64> {
    standardised_by(values, values, divide)
}

/// The same with the deviation of other values.
pub(super) fn standardised_by(values: &[f64], others: &[f64], divide: bool) -> Vec<f64> {
    let mean = mean(values);
    let scale = if divide { standard_deviation(others) + STD_EPSILON } else { 1.0 };
    values.iter().map(|value| (value - mean) / scale).collect()
}

/// The mean reward vector of all rollouts, the policy's own point; `None` without a rollout. The mean
/// of an objective is that of the groups that have it; 1 where none has it.
pub(super) fn batch_mean(groups: &[Group]) -> Option<Point> {
    let objectives = groups.iter().flat_map(|group| &group.rewards).next()?.len();
    let coordinate = |k: usize| {
        let having = groups.iter().filter(|group| !group.lacks.contains(&k));
        let values: Vec<f64> =
            having.flat_map(|group| &group.rewards).map(|reward| reward[k]).collect();
        match values.len() {
            0 => 1.0,
            count => values.iter().sum::<f64>() / count as f64,
        }
    };
    Some((0..objectives).map(coordinate).collect())
}

/// Whether an archive that was read can be one of so many objectives.
pub(super) fn check_archive(key: &str, archive: &Archive, objectives: usize) -> Result<(), String> {
    for point in archive.points() {
        if point.len() != objectives {
            return Err(format!("`{key}` holds {point:?}, but there are {objectives} objectives"));
        }
        if point.iter().any(|value| !Finite::RANGE.contains(*value)) {
            return Err(format!("`{key}` holds {point:?}, but a reward is {}", Finite::RANGE));
        }
    }
    Ok(())
}

/// Whether a number that was read can be a volume.
pub(super) fn check_volume(key: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(format!("`{key}` is {value:?}, but a volume is never below 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardises_with_n_minus_one() {
        // mean 1, squares (1 + 1) / (2 - 1) = 2, std 1.414214; +-1 / 1.414314 = +-0.707057
        assert!(
            standardised(&[0.0, 2.0], true)
                .iter()
                .zip([-0.707_056_8, 0.707_056_8])
                .all(|(a, b)| (a - b).abs() < 1e-6)
        );
        assert_eq!(standardised(&[0.0, 2.0], false), [-1.0, 1.0]);
        assert_eq!(standardised(&[3.0], true), [0.0]);
        assert!(standardised(&[], true).is_empty());
    }

    #[test]
    fn equal_values_have_no_deviation_to_the_bit() {
        // three times 0.1 add up to 0.30000000000000004, and a third of it is not 0.1
        for count in 1..20 {
            assert_eq!(standardised(&vec![0.1; count], true), vec![0.0; count]);
        }
        // but values that differ in their last bit only do differ
        let (low, high) = (0.3, 0.1 + 0.2);
        let values = standardised(&[low, high], false);
        assert!(values[0] < values[1]);
        assert_eq!(values[1] - values[0], high - low);
    }

    #[test]
    fn large_values_are_not_squared_away() {
        // mean 0, std sqrt(2) * 1e200; 1e200 / (sqrt(2) * 1e200) = 0.707107
        let values = standardised(&[1e200, -1e200], true);
        assert!(
            (values[0] - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-8 && values[0] == -values[1],
            "{values:?}"
        );
    }
}
