//! How deep the calls fell in the course of a training.

use std::collections::BTreeMap;

/// Steps of a mean.
const WINDOW: usize = 5;

/// The depth of the early collapse: the lowest mean of `calls` over five successive steps. `None`
/// of fewer steps.
///
/// ```
/// use paretopo_report::lowest_calls;
///
/// let step = |calls| [("calls".to_owned(), calls)].into();
/// // the means of five are 0.8, 0.6 and 0.7
/// let steps = [2.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0].map(step);
/// assert_eq!(lowest_calls(&steps), Some(0.6));
/// ```
pub fn lowest_calls(metrics: &[BTreeMap<String, f64>]) -> Option<f64> {
    let calls: Vec<f64> = metrics.iter().filter_map(|step| step.get("calls").copied()).collect();
    calls.windows(WINDOW).map(crate::mean).min_by(f64::total_cmp)
}
