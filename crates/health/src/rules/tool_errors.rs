//! Tool errors: calls fail so often that rewards tell more of luck than of the policy.
//!
//! Where the share e of the calls fails, luck alone gives a reward of right or wrong the variance
//! `e (1 - e)`. The most that such a reward can have is 1/4; luck has half of that from `e = (1 -
//! sqrt(1/2)) / 2 = 0.146` on. The share must be above that with 99.9% certainty: e less
//! `sqrt(ln(1000) / 2 M)` for M calls (Hoeffding). A policy that learns to call has errors, too; so
//! nothing is said while they fall to half of what they were at first. Episodes that something
//! outside the policy ended (`failed`) count the same way: one of each group is too many.

use super::{curve, judged, missing, percent};
use crate::{Condition, Curve, Record, Verdict};
use paretopo_records::Step;

/// `(1 - sqrt(1/2)) / 2`
const LUCK: f64 = 0.146_446_609_406_726_24;

pub(super) fn examine(record: &Record) -> Verdict {
    let points = record.steps.iter().enumerate().filter_map(|(place, step)| {
        Some((step.get("step").copied().unwrap_or(place as f64), share(step)?))
    });
    let name = "calls that failed".to_owned();
    let calls = Curve { name, points: points.collect(), limit: Some(LUCK) };
    Verdict {
        rule: "tool_errors",
        title: "tool errors",
        formula: "e - sqrt(ln(1000) / 2 M) >= 0.146, for the share e of M calls that failed or ran \
                  out of time, unless it fell to half; or the share of failed episodes >= 1/n",
        condition: condition(record),
        remedies: &[
            "Read the outcomes of calls in the trajectories: the commonest error usually says it.",
            "Time-outs: give `rollout.call_seconds` more room, or the tool more workers \
             (`rollout.tool_threads`); of a server, see whether it is up.",
            "Errors of the policy's own making: show it calls that work, in the prompt or by \
             `paretopo sft`.",
        ],
        curves: vec![calls, curve(record, "failed", None)],
    }
}

/// The share of a step's calls that failed.
fn share(step: &Step) -> Option<f64> {
    let share = step.get("tool/errors")? + step.get("tool/timeouts")?;
    share.is_finite().then_some(share)
}

/// Calls of some steps, and the share of them that failed.
fn counted(record: &Record, steps: &[Step]) -> Option<(f64, f64)> {
    let episodes = record.settings.prompts_per_step * record.settings.rollouts_per_prompt;
    let (mut calls, mut failed) = (0.0, 0.0);
    for step in steps {
        let made = step.get("calls")? * episodes;
        calls += made;
        failed += share(step)? * made;
    }
    let share = if calls > 0.0 { failed / calls } else { 0.0 };
    (calls.is_finite() && share.is_finite()).then_some((calls, share))
}

fn condition(record: &Record) -> Condition {
    let window = record.window();
    let Some(from) = record.steps.len().checked_sub(window) else {
        return missing(record, "tool/errors");
    };
    let Some((calls, share)) = counted(record, &record.steps[from..]) else {
        return missing(record, "tool/errors");
    };
    let failed = record.last("failed").unwrap_or(0.0);
    if failed >= 1.0 / record.settings.rollouts_per_prompt {
        return Condition::Ill(format!(
            "{} of the episodes were ended by something outside the policy, or their deadline.",
            percent(failed)
        ));
    }
    let first = match from >= window {
        true => counted(record, &record.steps[..window]),
        false => None,
    };
    let falls = first.is_some_and(|(calls, before)| calls > 0.0 && share <= before / 2.0);
    let certain = share - (1000.0_f64.ln() / (2.0 * calls.max(1.0))).sqrt();
    let said = format!("{} of the last {calls:.0} calls failed", percent(share));
    judged(
        certain >= LUCK && !falls,
        format!("{said} or ran out of time: rewards tell more of luck than of the policy."),
        format!("{said} or ran out of time."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::run;

    fn is_ill(errors: impl Fn(usize) -> f64, calls: f64, failed: f64) -> bool {
        let metrics: [(&str, &dyn Fn(usize) -> f64); 4] = [
            ("tool/errors", &errors),
            ("tool/timeouts", &|_| 0.05),
            ("calls", &|_| calls),
            ("failed", &|_| failed),
        ];
        examine(&run(40, &metrics)).is_ill()
    }

    #[test]
    fn luck_must_have_half_of_the_largest_variance() {
        assert!((LUCK * (1.0 - LUCK) - 0.125).abs() < 1e-15);
        // 10 steps of 80 calls: sqrt(ln 1000 / 1600) = 0.0657, so 0.2121 is the limit
        assert!(is_ill(|_| 0.17, 1.0, 0.0) && !is_ill(|_| 0.16, 1.0, 0.0));
        // of 8 calls in all nothing is certain: 0.657
        assert!(!is_ill(|_| 0.7, 0.01, 0.0));
    }

    #[test]
    fn who_learns_to_call_is_left_alone() {
        assert!(!is_ill(|step| if step < 10 { 0.9 } else { 0.3 }, 1.0, 0.0));
        assert!(is_ill(|step| if step < 10 { 0.6 } else { 0.3 }, 1.0, 0.0));
    }

    #[test]
    fn episodes_that_are_ended_count_too() {
        assert!(is_ill(|_| 0.0, 1.0, 0.125) && !is_ill(|_| 0.0, 1.0, 0.12));
    }
}
