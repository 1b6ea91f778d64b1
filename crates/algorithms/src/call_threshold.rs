//! `p*`: how sure the head must be before an estimator prefers an answer in the head to a tool call
//! that is sure to be right.

use crate::{
    Advantages, EstimatorConfig, EstimatorState, Group, Progress, advantages,
    estimators::EstimatorError,
};

/// The most calls of an episode, as `rollout.max_calls` is unless it is said otherwise.
const CALL_LIMIT: f64 = 4.0;

/// The success rate in the head at which the expected advantages of both ways are equal, in [0, 1];
/// 0 if not calling is always preferred, 1 if never. `alpha` is that of `r_tool`.
///
/// A group of `size` rollouts on a prompt with `N_optimal = 0`: half of them answer in the head and
/// are right with probability `p`, the others make one call and are right. With `k` of `h` right in
/// the head, which has probability `C(h, k) p^k (1 - p)^(h - k)`, the reward vectors are (1, 1) and
/// (0, 1) in the head and (1, exp(-alpha)) with a call. Many steps came before, in which all that
/// can be had was had: the archive of ParetoPO holds (1, 1), and it is in the stage in which its
/// configuration ends. An episode may make at most four calls. With credit by turns the decisive
/// turn counts: the call, or the answer without one.
///
/// # Errors
/// When the estimator does not fit two objectives.
pub fn call_threshold(
    config: &EstimatorConfig,
    size: usize,
    alpha: f64,
) -> Result<f64, EstimatorError> {
    let heads = (size / 2).max(1);
    call_threshold_where(config, size, |_, right| {
        let head = |index: usize| vec![f64::from(u8::from(index < right)), 1.0];
        let mut rewards: Vec<Vec<f64>> = (0..heads).map(head).collect();
        rewards.resize(2 * heads, vec![1.0, (-alpha).exp()]);
        rewards
    })
}

/// The same where the rewards are those of one's own objective: `rewards(p, k)` has the reward vectors
/// of the `size / 2` answers in the head, of which the first `k` are right, and then of as many that
/// called. `p` is how often an answer in the head was right before.
///
/// # Errors
/// As [`call_threshold`].
pub fn call_threshold_where(
    config: &EstimatorConfig,
    size: usize,
    rewards: impl Fn(f64, usize) -> Vec<Vec<f64>>,
) -> Result<f64, EstimatorError> {
    let heads = (size / 2).max(1);
    let progress = Progress { step: 999, total_steps: 1000, seed: 0, call_limit: CALL_LIMIT };
    let mut settled = EstimatorState::default();
    for step in 0..999 {
        let all_is_had = Group {
            rewards: vec![vec![1.0, 1.0]; size.max(2)],
            calls: Some(vec![0.0; size.max(2)]),
            turn_costs: Some(vec![vec![0.0]; size.max(2)]),
            ..Group::default()
        };
        advantages(config, &mut settled, &[all_is_had], Progress { step, ..progress })?;
    }
    // the mean advantage in the head less that with a call
    let gap = |p: f64, right: usize| -> Result<f64, EstimatorError> {
        let calls = [vec![0.0; heads], vec![1.0; heads]].concat();
        let turn_costs = [vec![vec![0.0]; heads], vec![vec![1.0, 0.0]; heads]].concat();
        let group = Group {
            prompt: String::new(),
            rewards: rewards(p, right),
            calls: Some(calls),
            turn_costs: Some(turn_costs),
            lacks: Vec::new(),
            preference: None,
        };
        let mut state = settled.clone();
        let values = of_first_turns(advantages(config, &mut state, &[group], progress)?);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        Ok(mean(&values[..heads]) - mean(&values[heads..]))
    };
    let expected = |p: f64| -> Result<f64, EstimatorError> {
        let mut choose = 1.0;
        let mut sum = 0.0;
        for right in 0..=heads {
            let chance = choose * p.powi(right as i32) * (1.0 - p).powi((heads - right) as i32);
            sum += chance * gap(p, right)?;
            choose *= (heads - right) as f64 / (right + 1) as f64;
        }
        Ok(sum)
    };
    let (mut low, mut high) = (0.0, 1.0);
    if expected(0.0)? >= 0.0 {
        return Ok(0.0);
    }
    if expected(1.0)? <= 0.0 {
        return Ok(1.0);
    }
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if expected(middle)? < 0.0 { low = middle } else { high = middle }
    }
    Ok(low)
}

/// The advantages of the first turn of each rollout of the only group: of the whole rollout where
/// its turns do not differ.
fn of_first_turns(mut advantages: Advantages) -> Vec<f64> {
    match advantages.turns {
        Some(turns) => turns[0].iter().map(|turns| turns[0]).collect(),
        None => advantages.values.remove(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(name: &str, settings: serde_json::Value) -> f64 {
        let mut config = settings;
        config["type"] = name.into();
        call_threshold(&serde_json::from_value(config).unwrap(), 8, 0.5).unwrap()
    }

    #[track_caller]
    fn asks(name: &str, settings: serde_json::Value, want: f64) {
        let p = threshold(name, settings.clone());
        assert!((p - want).abs() < 1e-6, "{name} {settings}: {p}, not {want}");
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
    fn what_each_baseline_asks_of_the_head() {
        // a price of 0.1 and nothing else: head p, call 1 - 0.1
        let lagrangian = serde_json::json!({ "start": 0.1, "rate": 0.0 });
        let p = threshold("lagrangian", lagrangian);
        assert!((p - 0.9).abs() < 1e-5, "{p}");
        // at a price of 0, to which dual ascent falls where nobody calls, a call is as good
        assert_eq!(threshold("lagrangian", serde_json::json!({})), 1.0);
        // smooth Chebyshev: right in the head -0.1 log(2) = -0.069315, wrong -0.600248 (see there),
        // a call -(0.157388 + 0.1 log(1 + exp(-1.573877))) = -0.176222; p = (0.600248 - 0.176222) /
        // (0.600248 - 0.069315)
        let smooth = serde_json::json!({ "std_normalization": false });
        let p = threshold("smooth_chebyshev", smooth);
        assert!((p - 0.798_643).abs() < 1e-5, "{p}");
        // as it ran until now: the scalarized rewards as above
        let before = serde_json::json!({ "std_normalization": false, "reference": "origin" });
        assert!((threshold("hv_weighting", before) - 0.737_687).abs() < 1e-5);
        // as its authors run it the factor cancels
        let scalarized = threshold("scalarized", serde_json::json!({}));
        let weighted = threshold("hv_weighting", serde_json::json!({}));
        assert!((weighted - scalarized).abs() < 1e-9, "{weighted} {scalarized}");
    }

    #[test]
    fn what_dividing_baselines_ask_of_the_head() {
        // the roots of sum_k C(4, k) p^k (1 - p)^(4 - k) gap_k, from the formulas once more in
        // another language
        for (name, settings, want) in [
            ("otc", serde_json::json!({}), 0.7086),
            ("otc", serde_json::json!({ "smoothing": 1.0 }), 0.5),
            ("hdpo", serde_json::json!({}), 0.9),
            ("hdpo", serde_json::json!({ "tool_weight": 1.0 }), 0.4511),
            ("hdpo", serde_json::json!({ "tool_weight": 0.0 }), 1.0),
            ("ddca", serde_json::json!({}), 0.9694),
            ("ddca", serde_json::json!({ "beta": 2.0 }), 0.7314),
            ("softmin", serde_json::json!({}), 0.2817),
            ("gd2po", serde_json::json!({}), 0.0),
        ] {
            let p = threshold(name, settings.clone());
            assert!((p - want).abs() < 1e-3, "{name} {settings}: {p}");
        }
    }

    #[test]
    fn paretopo_asks_the_head_for_the_golden_section() {
        // k of 4 are right in the head. None: all are one front, in which a call is worth most: the
        // gap is -beta = -1. One to three: these are the first front of two, with a value of 2; in
        // the second the wrong have 1 - 0.5, a call 1 + 0.5: (2 k + 0.5 (4 - k)) / 4 - 1.5 =
        // 1.5 k / 4 - 1. All four: 2 - 1 = 1, which is 0.5 more than that. With k / 4 of mean p:
        // 1.5 p - 1 + 0.5 p^4 = 0.5 (p^2 + p - 1) (p^2 - p + 2) = 0
        let golden = (5.0f64.sqrt() - 1.0) / 2.0;
        asks("paretopo", serde_json::json!({}), golden);
        // what is subtracted from all does not matter
        asks("paretopo", serde_json::json!({ "centering": "none" }), golden);
        // a single call, and an answer without one, bear all that they are worth
        asks("paretopo", serde_json::json!({ "credit": "turn" }), golden);
    }

    #[test]
    fn what_paretopos_rankings_ask_of_the_head() {
        // counts: -1 for k = 0, as above. A right one dominates 8 - k; all others are dominated by
        // k, the wrong 0.5 below and a call 0.5 above that level: the gap is
        // (k (8 - k) - (4 - k) (k + 0.5)) / 4 + k - 0.5 = 2.125 k - 1. For k = 4 it is 4 + 4 = 8,
        // 0.5 more: 8.5 p - 1 + 0.5 p^4 = 0
        asks("paretopo", serde_json::json!({ "ranking": "dominance_counts" }), 0.117_636);
        // classes: for k < 4 neither dominates, and w . r alone decides: right 1, wrong 0.4, a call
        // 0.6 + 0.4 exp(-0.5) = 0.842612. For k = 0 the gap is 0 - 1; else the call stands at
        // (0.842612 - 0.4) / 0.6 = 0.737687 and the gap is k / 4 - 0.737687. For k = 4 it is 1:
        // p - 0.737687 - 0.262313 (1 - p)^4 + 0.737687 p^4 = 0
        asks("paretopo", serde_json::json!({ "ranking": "call_classes" }), 0.627_984);
    }

    #[test]
    fn without_a_preference_in_a_rank_the_head_always_wins() {
        // k = 0: both points are ends of the front, and each has equals, so that neither is missed
        // in the hypervolume: the gap is 0. For each k > 0 a right one is alone in front
        for in_rank in ["crowding", "hypervolume"] {
            let settings = serde_json::json!({ "in_rank": in_rank });
            assert_eq!(threshold("paretopo", settings), 0.0, "{in_rank}");
        }
    }

    #[test]
    fn what_scalar_rewards_ask_of_the_head() {
        let weights = [0.6, 0.4];
        let without = serde_json::json!({ "std_normalization": false });
        // with the deviation: the roots of sum_k C(4, k) p^k (1 - p)^(4 - k) gap_k, from the
        // formulas once more in another language
        asks("scalarized", serde_json::json!({}), 0.648_670);
        // right 0, wrong -0.6, a call -0.4 (1 - exp(-0.5)) = -0.157388: each 1 below scalarized
        asks("chebyshev", serde_json::json!({}), 0.648_670);
        asks("chebyshev", without.clone(), 0.737_687);
        // the only group is the batch; of accuracy alone the head is at best as good
        asks("reinforce_plus_plus", serde_json::json!({ "weights": weights }), 0.648_670);
        asks("reinforce_plus_plus", serde_json::json!({}), 1.0);
        // head p, call 1 - 0.1
        asks("call_penalty", without, 0.9);
        asks("call_penalty", serde_json::json!({}), 0.721_366);
    }

    #[test]
    fn what_each_objective_by_its_own_deviation_asks_of_the_head() {
        // from the formulas once more in another language, as above
        asks("gdpo", serde_json::json!({}), 0.450_916);
        // equal weights: for k = 0 accuracy is all that is lost, -1 / (0.534522 + 0.0001) =
        // -1.870479, and efficiency all that is won, 0.393469 / (0.210318 + 0.0001) = 1.869940; the
        // gap is -0.000539. For k = 1 it is 0.421082: 4 p (0.421082 + 0.000539) = 0.000539
        asks("mo_grpo", serde_json::json!({}), 0.000_320);
    }

    #[test]
    fn a_smaller_beta_lets_the_head_win_earlier() {
        let of = |beta: f64| threshold("paretopo", serde_json::json!({ "beta": beta }));
        let (one, half, tenth) = (of(1.0), of(0.5), of(0.1));
        assert!(one > half && half > tenth, "{one} {half} {tenth}");
    }
}
