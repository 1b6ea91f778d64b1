//! Silent groups: rollouts of a prompt that are all worth the same teach nothing.
//!
//! With the share `s` of groups silent, a step learns from `(1 - s) G` groups, and the standard
//! error of its gradient is `1 / sqrt(1 - s)` times what it could be: twice at `s = 3/4`.
//!
//! Silent groups are no harm where everything is right. Of the episodes at least `s - em` are wrong
//! and lie in silent groups: the wrong ones are `1 - em`, and those in the other groups at most
//! `1 - s`. That is half of all wrong ones or more where `s >= (1 + em) / 2`. To be no single
//! prompt, it must be three groups of the window at least: `(s - em) G W >= 3`.
//!
//! A run that was as silent in its first W steps has hardly learnt anything since it began,
//! whatever its EM: the rollouts of a prompt are alike, or its prompts have nothing to teach.

use super::{curve, judged, missing, percent};
use crate::{Condition, Record, Verdict};

const SILENT: &str = "estimator/groups_without_signal";

pub(super) fn examine(record: &Record) -> Verdict {
    Verdict {
        rule: "silent_groups",
        title: "silent groups",
        formula: "s >= max(3/4, (1 + em) / 2) and (s - em) G W >= 3, or s >= 3/4 now and in \
                  the first W steps; for the share s of groups without signal in the last W steps \
                  of G prompts",
        condition: condition(record),
        remedies: &[
            "Let rollouts differ: `rollout.sampling.temperature = 1.0`, no narrow `top_k` or \
             `top_p`, more `train.rollouts_per_prompt`.",
            "Take prompts that are neither always nor never solved; drop the others, or let \
             `train.refill_rounds` replace silent groups by new ones.",
            "See in the trajectories of one group whether the grader tells answers apart.",
        ],
        curves: vec![curve(record, SILENT, Some(0.75)), curve(record, "em", None)],
    }
}

fn condition(record: &Record) -> Condition {
    let (Some(silent), Some(em)) = (record.last(SILENT), record.last("em")) else {
        return missing(record, SILENT);
    };
    let groups = record.settings.prompts_per_step * record.window() as f64;
    let teaches_nothing = silent >= 0.75_f64.max((1.0 + em) / 2.0);
    let is_wrong = teaches_nothing && (silent - em) * groups >= 3.0;
    let ever = record.beginning(SILENT).is_some_and(|beginning| beginning >= 0.75);
    let said = format!(
        "In the last {} steps {} of the groups had no signal: their rollouts were all worth the \
         same",
        record.window(),
        percent(silent),
    );
    let wrong = percent(silent - em);
    let because = match is_wrong {
        true => format!("At least {wrong} of the episodes are wrong and teach nothing."),
        false => "So it was from the first steps on: nothing is learnt.".to_owned(),
    };
    judged(
        is_wrong || (ever && silent >= 0.75),
        format!("{said}. {because}"),
        format!("{said}, with an EM of {em:.2}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::run;

    #[test]
    fn half_of_the_wrong_answers_must_lie_in_silent_groups() {
        let is_ill = |silent: f64, em: f64| {
            let later = |step: usize| if step < 10 { 0.0 } else { silent };
            examine(&run(20, &[(SILENT, &later), ("em", &|_| em)])).is_ill()
        };
        // (1 + 0.8) / 2 = 0.9, and (0.9 - 0.8) * 10 * 5 = 5 groups
        assert!(is_ill(0.9, 0.8) && !is_ill(0.89, 0.8));
        // nobody is ever right: three of four groups are enough
        assert!(is_ill(0.75, 0.0) && !is_ill(0.74, 0.0));
        // nearly done: (1 + 0.98) / 2 = 0.99, but (0.99 - 0.98) * 50 is half a group
        assert!(!is_ill(0.99, 0.98) && !is_ill(1.0, 1.0));
    }

    #[test]
    fn what_was_silent_from_the_first_step_on_has_learnt_nothing() {
        let is_ill = |first: f64, last: f64| {
            let silent = |step: usize| if step < 10 { first } else { last };
            examine(&run(20, &[(SILENT, &silent), ("em", &|_| 0.99)])).is_ill()
        };
        assert!(is_ill(0.75, 0.75) && is_ill(1.0, 1.0));
        assert!(!is_ill(0.7, 1.0) && !is_ill(1.0, 0.7));
    }
}
