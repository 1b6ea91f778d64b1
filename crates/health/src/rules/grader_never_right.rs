//! A grader that never says right: there is nothing to learn from, or the grader is broken.
//!
//! Of an event that did not come in M episodes the probability is below `3 / M` with 95% certainty
//! (the rule of three, `-ln 0.05 = 3`). With M = 300 episodes in a row, up to the last step,
//! without a right one it is below 1%: of 100 groups of eight, 92 have none, and are silent in what
//! matters most.

use super::{curve, judged, missing};
use crate::{Condition, Record, Verdict};

/// Episodes without a right answer from which on the rule speaks.
const ENOUGH: f64 = 300.0;

pub(super) fn examine(record: &Record) -> Verdict {
    Verdict {
        rule: "grader_never_right",
        title: "grader never right",
        formula: "no right answer in the last 300 episodes or more",
        condition: condition(record),
        remedies: &[
            "Read a few trajectories beside their tasks: are answers that a person would accept \
             graded as wrong? `paretopo grade` grades pairs by hand.",
            "Where no answer is found, the policy does not write it in the form that the \
             environment looks for: see `environment.opening` and the prompt, or warm-start with \
             `paretopo sft`.",
            "Where the answers are wrong, begin with easier tasks or a stronger policy: without a \
             right answer there is nothing to learn from.",
        ],
        curves: vec![curve(record, "em", None)],
    }
}

fn condition(record: &Record) -> Condition {
    let Some(em) = record.last("em") else { return missing(record, "em") };
    let points = record.points("em");
    let since = points.iter().rev().take_while(|(_, em)| *em == 0.0).count();
    let of_a_step = record.settings.prompts_per_step * record.settings.rollouts_per_prompt;
    let episodes = since as f64 * of_a_step;
    let before = match points.get(points.len() - since) {
        Some((step, _)) if since < points.len() => format!("since step {step:.0}"),
        _ => "since the run began".to_owned(),
    };
    judged(
        episodes >= ENOUGH,
        format!("None of the {episodes:.0} answers {before} was right{}.", answers(record)),
        format!("Of the last answers {em:.3} were right."),
    )
}

/// Whether there were answers at all, where trajectories tell.
fn answers(record: &Record) -> String {
    let Some(last) = record.seen.last() else { return String::new() };
    match (last.answered, last.episodes) {
        (0, _) => "; in none of the trajectories was an answer found".to_owned(),
        (answered, episodes) => {
            format!("; of {episodes} trajectories of step {} {answered} gave an answer", last.step)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WeightsSeen;
    use crate::rules::tests::run;

    #[test]
    fn three_hundred_wrong_answers_in_a_row_are_enough() {
        // 80 episodes a step: 4 steps have 320
        let em = |first: usize| move |step: usize| if step < first { 0.5 } else { 0.0 };
        assert!(examine(&run(20, &[("em", &em(16))])).is_ill());
        assert!(!examine(&run(20, &[("em", &em(17))])).is_ill());
        // one right answer of the last step's 80
        let hard = |step: usize| if step == 19 { 1.0 / 80.0 } else { 0.0 };
        assert!(!examine(&run(20, &[("em", &hard)])).is_ill());
    }

    #[test]
    fn it_says_whether_there_were_answers() {
        let mut record = run(20, &[("em", &|_| 0.0)]);
        record.seen = vec![WeightsSeen { step: 19, version: 19.0, episodes: 64, answered: 60 }];
        let said = examine(&record).condition.said().to_owned();
        let wanted = "None of the 1600 answers since the run began was right; of 64 trajectories \
                      of step 19 60 gave an answer.";
        assert_eq!(said, wanted);
        record.seen[0].answered = 0;
        assert!(examine(&record).condition.said().contains("in none of the trajectories"));
    }
}
