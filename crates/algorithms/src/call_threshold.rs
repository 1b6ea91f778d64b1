//! `p*`: how sure the head must be before an estimator prefers an answer in the head to a tool call
//! that is sure to be right.

use crate::{
    EstimatorConfig, EstimatorState, Group, Progress, advantages, estimators::EstimatorError,
};

/// The success rate in the head at which the expected advantages of both ways are equal, in [0, 1];
/// 0 if not calling is always preferred, 1 if never. `alpha` is that of `r_tool`.
///
/// A group of `size` rollouts on a prompt with `N_optimal = 0`: half of them answer in the head and
/// are right with probability `p`, the others make one call and are right. With `k` of `h` right in
/// the head, which has probability `C(h, k) p^k (1 - p)^(h - k)`, the reward vectors are (1, 1) and
/// (0, 1) in the head and (1, exp(-alpha)) with a call. Many steps came before, in which all that
/// can be had was had: the archive of ParetoPO holds (1, 1), and it is in the stage in which its
/// configuration ends.
///
/// # Errors
/// When the estimator does not fit two objectives.
pub fn call_threshold(
    config: &EstimatorConfig,
    size: usize,
    alpha: f64,
) -> Result<f64, EstimatorError> {
    let heads = (size / 2).max(1);
    let progress = Progress { step: 999, total_steps: 1000, seed: 0 };
    let mut settled = EstimatorState::default();
    for step in 0..999 {
        let all_is_had = Group {
            rewards: vec![vec![1.0, 1.0]; size.max(2)],
            calls: Some(vec![0.0; size.max(2)]),
            ..Group::default()
        };
        advantages(config, &mut settled, &[all_is_had], Progress { step, ..progress })?;
    }
    // for each k the mean advantage in the head less that with a call
    let mut gaps = Vec::with_capacity(heads + 1);
    for right in 0..=heads {
        let mut rewards: Vec<Vec<f64>> =
            (0..heads).map(|index| vec![f64::from(u8::from(index < right)), 1.0]).collect();
        rewards.resize(2 * heads, vec![1.0, (-alpha).exp()]);
        let calls = [vec![0.0; heads], vec![1.0; heads]].concat();
        let group = Group { prompt: String::new(), rewards, calls: Some(calls) };
        let mut state = settled.clone();
        let values = advantages(config, &mut state, &[group], progress)?.values.remove(0);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        gaps.push(mean(&values[..heads]) - mean(&values[heads..]));
    }
    let expected = |p: f64| -> f64 {
        let mut choose = 1.0;
        let mut sum = 0.0;
        for (right, gap) in gaps.iter().enumerate() {
            sum += choose * p.powi(right as i32) * (1.0 - p).powi((heads - right) as i32) * gap;
            choose *= (heads - right) as f64 / (right + 1) as f64;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 1.0);
    if expected(0.0) >= 0.0 {
        return Ok(0.0);
    }
    if expected(1.0) <= 0.0 {
        return Ok(1.0);
    }
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if expected(middle) < 0.0 { low = middle } else { high = middle }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(name: &str, settings: serde_json::Value) -> f64 {
        let mut config = settings;
        config["type"] = name.into();
        call_threshold(&serde_json::from_value(config).unwrap(), 8, 0.5).unwrap()
    }

    #[test]
    fn without_normalisation_the_threshold_is_where_the_rewards_are_equal() {
        // scalarized 0.6 r_task + 0.4 r_tool: head 0.6 p + 0.4, call 0.6 + 0.4 * exp(-0.5) =
        // 0.842612; p = 0.442612 / 0.6 = 0.737687
        let p = threshold("scalarized", serde_json::json!({ "std_normalization": false }));
        assert!((p - 0.737_687).abs() < 1e-5, "{p}");
    }

    #[test]
    fn accuracy_alone_never_prefers_the_head() {
        // a call is always right, so the head is at best as good
        assert_eq!(threshold("grpo", serde_json::json!({})), 1.0);
    }

    #[test]
    fn a_smaller_beta_lets_the_head_win_earlier() {
        let of = |beta: f64| threshold("paretopo", serde_json::json!({ "beta": beta }));
        let (one, half, tenth) = (of(1.0), of(0.5), of(0.1));
        assert!(one > half && half > tenth, "{one} {half} {tenth}");
    }
}
