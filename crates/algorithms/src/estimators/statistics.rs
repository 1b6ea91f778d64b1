//! Mean and deviation, with the conventions of TRL.

/// Added to a deviation before dividing by it, as TRL does.
pub(super) const STD_EPSILON: f32 = 1e-4;

/// The mean; 0 of nothing.
pub(super) fn mean(values: &[f32]) -> f32 {
    if values.is_empty() {
        0.0
    } else {
        (values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64) as f32
    }
}

/// The sample standard deviation (divided by n - 1, as `torch.std`); 0 of fewer than two values.
pub(super) fn standard_deviation(values: &[f32]) -> f32 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt() as f32
}

/// `(x - mean) / (std + epsilon)`, or only `x - mean`.
pub(super) fn standardised(values: &[f32], divide: bool) -> Vec<f32> {
    let (mean, scale) =
        (mean(values), if divide { standard_deviation(values) + STD_EPSILON } else { 1.0 });
    values.iter().map(|value| (value - mean) / scale).collect()
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
}
