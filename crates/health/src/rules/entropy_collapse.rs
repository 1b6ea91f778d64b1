//! Entropy collapse: the policy says the same thing again and again before it is right.
//!
//! `E = entropy_estimate * response_tokens` is the mean of `-ln p(response)`, in nats. All n
//! rollouts of a prompt are copies of the first with the probability `E[p^(n-1)]`, by Jensen's
//! inequality at least `exp(-(n - 1) E)`. The rule speaks where that is a half or more, that is `E
//! <= ln 2 / (n - 1)`: most groups are copies, so nothing new is tried. A group in which on average
//! less than one of n is wrong is nearly solved, and may be sure of itself: `1 - em > 1 / n`.
//!
//! That bound is far below what is seen where prompts differ: a few of which the policy is unsure
//! have most of the mean. So the rule also speaks where copies are seen, not computed: a response has
//! no more entropy than a coin, `E <= ln 2`, and half of the wrong answers or more lie in groups
//! without signal, `s >= (1 + em) / 2` (as for silent groups).

use super::{judged, missing, percent};
use crate::{Condition, Curve, Record, Verdict};

pub(super) fn examine(record: &Record) -> Verdict {
    let entropies = record.points("entropy_estimate");
    let tokens = record.points("response_tokens");
    let points = match entropies.len() == tokens.len() {
        true => entropies.iter().zip(&tokens).map(|((step, a), (_, b))| (*step, a * b)).collect(),
        false => Vec::new(),
    };
    let name = "nats a response".to_owned();
    Verdict {
        rule: "entropy_collapse",
        title: "entropy collapse",
        formula: "exp(-(n - 1) E) >= 1/2, or E <= ln 2 and s >= (1 + em) / 2; and 1 - em > 1/n; \
                  for E nats a response (entropy of a token times tokens), n rollouts a prompt, \
                  the share s of groups without signal",
        condition: condition(record),
        remedies: &[
            "Begin again from a checkpoint before the fall, with a lower \
             `train.optimizer.learning_rate`.",
            "Give unlikely tokens room to rise: `train.loss.clip_high` above `clip_low` \
             (clip-higher).",
            "Hold the policy back: an entropy bonus (`train.entropy_coefficient`) or a KL penalty \
             (`train.kl.coefficient`).",
        ],
        curves: vec![Curve { name, points, limit: limit(record) }],
    }
}

/// Nats a response at which half of the groups are copies.
fn limit(record: &Record) -> Option<f64> {
    let others = record.settings.rollouts_per_prompt - 1.0;
    (others > 0.0).then(|| std::f64::consts::LN_2 / others)
}

fn condition(record: &Record) -> Condition {
    let (Some(entropy), Some(tokens), Some(em), Some(limit)) = (
        record.last("entropy_estimate"),
        record.last("response_tokens"),
        record.last("em"),
        limit(record),
    ) else {
        return missing(record, "entropy_estimate");
    };
    let rollouts = record.settings.rollouts_per_prompt;
    let nats = entropy * tokens;
    let copies = (-(rollouts - 1.0) * nats).exp();
    let silent = record.last("estimator/groups_without_signal");
    let seen =
        silent.filter(|silent| nats <= std::f64::consts::LN_2 && *silent >= (1.0 + em) / 2.0);
    let is_wrong = 1.0 - em > 1.0 / rollouts;
    let said = format!("A response has {nats:.2} nats of entropy");
    let copied = match (nats <= limit, seen) {
        (true, _) => format!(
            "in {:.0}% of the groups or more all {rollouts} rollouts are copies",
            100.0 * copies
        ),
        (false, Some(silent)) => {
            format!(
                "less than a coin, and in {} of the groups all are worth the same",
                percent(silent)
            )
        }
        (false, None) => {
            return Condition::Well(format!(
                "{said}; at {limit:.2} half of the groups would be copies."
            ));
        }
    };
    judged(
        is_wrong,
        format!("{said}: {copied}, at an EM of {em:.2}."),
        format!("{said}, at an EM of {em:.2}: the policy is sure, and right."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::run;

    #[test]
    fn half_of_the_groups_are_copies_at_ln_2_over_7_nats() {
        let is_ill = |entropy: f64, em: f64| {
            let metrics: [(&str, &dyn Fn(usize) -> f64); 3] = [
                ("entropy_estimate", &|_| entropy),
                ("response_tokens", &|_| 20.0),
                ("em", &|_| em),
            ];
            examine(&run(20, &metrics)).is_ill()
        };
        // ln 2 / 7 / 20 = 0.004951
        assert!(is_ill(0.0049, 0.5) && !is_ill(0.0050, 0.5));
        // where copies are seen, as little as a coin is enough: ln 2 / 20 = 0.03466
        let is_ill_with = |entropy: f64, silent: f64| {
            let metrics: [(&str, &dyn Fn(usize) -> f64); 4] = [
                ("entropy_estimate", &|_| entropy),
                ("response_tokens", &|_| 20.0),
                ("em", &|_| 0.5),
                ("estimator/groups_without_signal", &|_| silent),
            ];
            examine(&run(20, &metrics)).is_ill()
        };
        assert!(is_ill_with(0.0346, 0.75) && !is_ill_with(0.0347, 1.0));
        // (1 + 0.5) / 2 = 0.75
        assert!(!is_ill_with(0.0346, 0.74) && is_ill_with(0.0049, 0.0));
        // sure of itself and right: 1 - 0.88 < 1/8 < 1 - 0.87
        assert!(!is_ill(0.001, 0.88) && is_ill(0.001, 0.87));
    }
}
