//! KL run-away: the policy leaves what it is held to.
//!
//! `kl` is the mean divergence of a token from the reference policy, in nats, K. A policy that
//! always gives one of its reference's typical responses is as far away as that reference is
//! uncertain: its log-probability there is minus the entropy (asymptotic equipartition), so K = H
//! with the entropy of a token at first, H. Twice that is more than choosing among what the
//! reference does: `K >= 2 H`, where the KL must also have grown since then.
//!
//! "At first" are the leading steps, of the first window at most, in which K is below a tenth of the
//! entropy: there the policy is still its reference. A run that is driven away leaves it within a
//! few steps; over a whole window its entropy would be that of a policy that has gone already.
//!
//! Where most tokens are clipped, the updates themselves run away: the share of clipped tokens is a
//! half or more. Without a reference (`train.kl.coefficient = 0`) that alone is judged.

use super::{curve, judged, missing, percent, too_short};
use crate::{Condition, Record, Verdict};
use paretopo_records::Step;

pub(super) fn examine(record: &Record) -> Verdict {
    Verdict {
        rule: "kl_run_away",
        title: "KL run-away",
        formula: "K >= 2 H and K grew, for K nats of KL a token in the last window and the entropy \
                  H of a token at first, while K was below H / 10; or half of the tokens are clipped",
        condition: condition(record),
        remedies: &[
            "Lower `train.optimizer.learning_rate`, or raise `train.kl.coefficient`.",
            "Fewer updates on the same rollouts: `train.epochs`, `train.minibatches`.",
            "Begin again from a checkpoint before it rose; look at what the policy writes now.",
        ],
        curves: vec![
            curve(record, "kl", at_first(record).map(|(_, entropy)| 2.0 * entropy)),
            curve(record, "clip/high", None),
        ],
    }
}

/// The KL and the entropy of a token while the policy is still its reference; of the first step,
/// where it never is.
fn at_first(record: &Record) -> Option<(f64, f64)> {
    let number = |step: &Step, name: &str| step.get(name).copied().filter(|v| v.is_finite());
    let pair = |step: &Step| Some((number(step, "kl")?, number(step, "entropy_estimate")?));
    let window = record.steps.iter().take(record.window());
    let leading: Vec<(f64, f64)> = window
        .map_while(pair)
        .enumerate()
        .take_while(is_still_there)
        .map(|(_, pair)| pair)
        .collect();
    let count = leading.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| leading.iter().map(of).sum::<f64>() / count;
    (count > 0.0).then(|| (mean(|pair| pair.0), mean(|pair| pair.1)))
}

/// The first step always counts.
fn is_still_there((place, (kl, entropy)): &(usize, (f64, f64))) -> bool {
    *place == 0 || *kl < entropy / 10.0
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
    let (Some(last), Some((first, entropy))) = (record.last("kl"), at_first(record)) else {
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
        // it was away by a tenth of the entropy after two steps, of 0.25 and 0.35; then it is lost
        let ill = |last: f64| {
            let metrics: [(&str, &dyn Fn(usize) -> f64); 4] = [
                ("kl", &|step| [0.0_f64, 0.03, 0.04, 0.9][step.min(3)].min(last)),
                ("clip/low", &|_| 0.0),
                ("clip/high", &|_| 0.0),
                ("entropy_estimate", &|step| [0.25, 0.35, 0.3, 2.0][step.min(3)]),
            ];
            let mut record = run(40, &metrics);
            record.settings.kl_coefficient = 0.1;
            examine(&record).is_ill()
        };
        assert!(ill(0.61) && !ill(0.59));
        // nothing is held to
        assert!(!is_ill([0.0, 9.0], 0.0, 0.0));
    }

    #[test]
    fn half_of_the_tokens_clipped_are_too_many() {
        assert!(is_ill([0.0, 0.0], 0.49, 0.0) && !is_ill([0.0, 0.0], 0.48, 0.0));
    }
}
