//! Stale weights: tokens are sampled by a policy that the trainer left behind.
//!
//! Each trajectory says after how many updates the weights were that sampled it. At step s at least
//! as many updates are done as steps before it had a gradient, so a token is at least `lag =
//! updates - version` updates old. The clipped loss takes the sampling policy for the one before
//! the step's updates; that is off by a step with rollouts one step ahead, or by the k steps that
//! `train.max_staleness` asks for. The rule speaks where the mean lag is more than the updates of
//! `max(1, k)` steps in the latest trajectories.

use super::judged;
use crate::{Condition, Curve, Record, Verdict, WeightsSeen};

pub(super) fn examine(record: &Record) -> Verdict {
    let lags = record.seen.iter().map(|seen| (seen.step as f64, lag(record, seen)));
    let name = "updates behind".to_owned();
    let limit = Some(limit(record));
    Verdict {
        rule: "stale_weights",
        title: "stale weights",
        formula: "lag > u max(1, k), for the mean updates between a token's weights and the \
                  trainer's, u updates a step, and k steps that rollouts may be ahead",
        condition: condition(record),
        remedies: &[
            "See that what samples gets the weights after each step: of a server, that the request \
             that loads them succeeds.",
            "Play fewer rollouts ahead (`train.max_staleness`), or make fewer updates on each \
             (`train.epochs`, `train.minibatches`).",
            "Where it must be so, correct for it: `train.old_logprobs = \"recompute\"` with \
             `train.importance_cap`.",
        ],
        curves: vec![Curve { name, points: lags.collect(), limit }],
    }
}

/// The lag that is taken for granted.
fn limit(record: &Record) -> f64 {
    record.settings.updates_per_step * record.settings.max_staleness.max(1.0)
}

/// Updates that were made before a step, at least: one of each step that had a gradient, and all
/// of those in which no group was silent and no update was left out.
fn updates_before(record: &Record, step: u64) -> f64 {
    let of_a_step = |numbers: &paretopo_records::Step| {
        let number = |name: &str| numbers.get(name).copied().unwrap_or(0.0);
        let all = number("estimator/groups_without_signal") == 0.0
            && number("skipped_updates") == 0.0
            && numbers.contains_key("estimator/groups_without_signal");
        match number("gradient_norm") > 0.0 {
            true if all => record.settings.updates_per_step,
            true => 1.0,
            false => 0.0,
        }
    };
    let before = record
        .steps
        .iter()
        .filter(|numbers| numbers.get("step").is_some_and(|number| *number < step as f64));
    before.map(of_a_step).sum()
}

fn lag(record: &Record, seen: &WeightsSeen) -> f64 {
    (updates_before(record, seen.step) - seen.version).max(0.0)
}

fn condition(record: &Record) -> Condition {
    let Some(last) = record.seen.last() else {
        return Condition::Unknown(
            "No trajectories of steps are kept (`train.save_trajectories_every`).".into(),
        );
    };
    if record.steps.is_empty() {
        return Condition::Unknown("There is no step yet.".into());
    }
    let behind = lag(record, last);
    let said =
        format!("At step {} tokens were sampled by weights {behind:.1} updates old", last.step);
    let allowed = limit(record);
    judged(
        behind > allowed,
        format!("{said}; {allowed:.0} are allowed for."),
        match behind > 0.0 {
            true => format!("{said}; {allowed:.0} are allowed for."),
            false => format!("At step {} tokens were sampled by the newest weights.", last.step),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::run;

    fn is_ill(version: f64, updates_per_step: f64, gradient: impl Fn(usize) -> f64) -> bool {
        let metrics: [(&str, &dyn Fn(usize) -> f64); 2] =
            [("gradient_norm", &gradient), ("estimator/groups_without_signal", &|_| 0.0)];
        let mut record = run(20, &metrics);
        record.settings.updates_per_step = updates_per_step;
        record.seen = vec![WeightsSeen { step: 15, version, episodes: 8, answered: 8 }];
        examine(&record).is_ill()
    }

    #[test]
    fn more_than_a_step_behind_is_too_old() {
        // 15 updates before step 15
        assert!(is_ill(13.5, 1.0, |_| 1.0) && !is_ill(14.0, 1.0, |_| 1.0));
        // of four updates a step: 60
        assert!(is_ill(55.0, 4.0, |_| 1.0) && !is_ill(56.0, 4.0, |_| 1.0));
        assert!(!is_ill(60.0, 4.0, |_| 1.0));
    }

    #[test]
    fn what_was_asked_for_is_not_too_old() {
        let mut record = run(20, &[("gradient_norm", &|_| 1.0)]);
        record.settings.max_staleness = 3.0;
        let mut is_ill = |version: f64| {
            record.seen = vec![WeightsSeen { step: 15, version, episodes: 8, answered: 8 }];
            examine(&record).is_ill()
        };
        // 15 updates before step 15: weights of 12 are three steps old
        assert!(!is_ill(12.0) && is_ill(11.5));
    }

    #[test]
    fn steps_without_a_gradient_make_no_update() {
        assert!(!is_ill(5.0, 1.0, |step| if step < 10 { 0.0 } else { 1.0 }));
        assert!(is_ill(3.0, 1.0, |step| if step < 10 { 0.0 } else { 1.0 }));
    }
}
