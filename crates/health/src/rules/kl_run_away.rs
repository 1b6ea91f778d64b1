//! KL run-away: the policy leaves what it is held to.
//!
//! `kl` is the mean divergence of a token from the reference policy, in nats, K. A policy that
//! always gives one of its reference's typical responses is as far away as that reference is
//! uncertain: its log-probability there is minus the entropy (asymptotic equipartition), so K = H
//! with the entropy of a token at first, H. Twice that is more than choosing among what the
//! reference does: `K >= 2 H`, where the KL must also have grown from the first window to the last.
//!
//! Where most tokens are clipped, the updates themselves run away: the share of clipped tokens is a
//! half or more. Without a reference (`train.kl.coefficient = 0`) that alone is judged.

use super::{curve, judged, missing, percent, too_short};
use crate::{Condition, Record, Verdict};

pub(super) fn examine(record: &Record) -> Verdict {
    Verdict {
        rule: "kl_run_away",
        title: "KL run-away",
        formula: "K >= 2 H and K grew, for K nats of KL a token in the last window and the entropy \
                  H of a token in the first; or half of the tokens are clipped",
        condition: condition(record),
        remedies: &[
            "Lower `train.optimizer.learning_rate`, or raise `train.kl.coefficient`.",
            "Fewer updates on the same rollouts: `train.epochs`, `train.minibatches`.",
            "Begin again from a checkpoint before it rose; look at what the policy writes now.",
        ],
        curves: vec![
            curve(record, "kl", record.first("entropy_estimate").map(|first| 2.0 * first)),
            curve(record, "clip/high", None),
        ],
    }
}

fn condition(record: &Record) -> Condition {
    if record.steps.len() < record.window() {
        return too_short(record);
    }
    let clipped = match (record.last("clip/low"), record.last("clip/high")) {
        (Some(low), Some(high)) => low + high,
        _ => return missing(record, "clip/high"),
    };
    if clipped >= 0.5 {
        return Condition::Ill(format!(
            "{} of the tokens are clipped: an update moves further than it may.",
            percent(clipped)
        ));
    }
    let clips = format!("{} of the tokens are clipped", percent(clipped));
    if record.settings.kl_coefficient == 0.0 {
        return Condition::Well(format!("{clips}; no reference is held, so there is no KL."));
    }
    let (Some(last), Some(first), Some(entropy)) =
        (record.last("kl"), record.first("kl"), record.first("entropy_estimate"))
    else {
        return missing(record, "kl");
    };
    let said = format!("The policy is {last:.3} nats a token from its reference, after {first:.3}");
    judged(
        last >= 2.0 * entropy && last > first,
        format!("{said}: twice the entropy of {entropy:.3} that it began with, or more."),
        format!("{said}; {clips}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::run;

    fn is_ill(kl: [f64; 2], clip: f64, coefficient: f64) -> bool {
        let metrics: [(&str, &dyn Fn(usize) -> f64); 4] = [
            ("kl", &|step| kl[usize::from(step >= 20)]),
            ("clip/low", &|_| 0.01),
            ("clip/high", &|_| clip),
            ("entropy_estimate", &|_| 0.25),
        ];
        let mut record = run(40, &metrics);
        record.settings.kl_coefficient = coefficient;
        examine(&record).is_ill()
    }

    #[test]
    fn twice_the_first_entropy_is_too_far() {
        assert!(is_ill([0.01, 0.5], 0.0, 0.1) && !is_ill([0.01, 0.49], 0.0, 0.1));
        // it comes back
        assert!(!is_ill([0.9, 0.6], 0.0, 0.1));
        // nothing is held to
        assert!(!is_ill([0.0, 9.0], 0.0, 0.0));
    }

    #[test]
    fn half_of_the_tokens_clipped_are_too_many() {
        assert!(is_ill([0.0, 0.0], 0.49, 0.0) && !is_ill([0.0, 0.0], 0.48, 0.0));
    }
}
