//! Truncation: responses are cut off before they end, and with them their answers.
//!
//! The EM can be `1 - t` at most where the share t of the responses is cut. The rule speaks from `t
//! = 1/n` on, where a group of n rollouts loses one on average, which is then wrong whatever it
//! was about to say; in groups of more than eight, from one of eight on.

use super::{curve, judged, missing, percent};
use crate::{Condition, Record, Verdict};

pub(super) fn examine(record: &Record) -> Verdict {
    Verdict {
        rule: "truncation",
        title: "truncation",
        formula: "t >= 1 / min(n, 8), for the share t of responses that are cut off in the last \
                  window and n rollouts a prompt",
        condition: condition(record),
        remedies: &[
            "Give more room: `rollout.max_sampled_tokens`, and a model's context for it.",
            "Look at the end of cut responses: where they repeat themselves, more room does not \
             help; lower the temperature or warm-start on demonstrations that end.",
            "Take cut responses out of the loss (`train.mask_overlong`), or price length by an \
             objective.",
        ],
        curves: vec![curve(record, "truncated", Some(limit(record)))],
    }
}

fn limit(record: &Record) -> f64 {
    1.0 / record.settings.rollouts_per_prompt.clamp(1.0, 8.0)
}

fn condition(record: &Record) -> Condition {
    let Some(cut) = record.last("truncated") else { return missing(record, "truncated") };
    let said = format!("{} of the responses are cut off", percent(cut));
    let most = 1.0 - cut;
    judged(
        cut >= limit(record),
        format!("{said} before they end, so that the EM can be {most:.2} at most."),
        format!("{said}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::run;

    #[test]
    fn one_of_each_group_is_too_many() {
        let is_ill = |cut: f64, rollouts: f64| {
            let mut record = run(20, &[("truncated", &|_| cut)]);
            record.settings.rollouts_per_prompt = rollouts;
            examine(&record).is_ill()
        };
        assert!(is_ill(0.125, 8.0) && !is_ill(0.12, 8.0));
        assert!(is_ill(0.25, 4.0) && !is_ill(0.2, 4.0));
        // 1 of 64 is no harm
        assert!(!is_ill(0.1, 64.0) && is_ill(0.13, 64.0));
    }

    #[test]
    fn what_was_cut_at_first_is_forgiven() {
        let cut = |step: usize| if step < 10 { 0.9 } else { 0.01 };
        assert!(!examine(&run(40, &[("truncated", &cut)])).is_ill());
    }
}
