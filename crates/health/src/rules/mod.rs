//! The rules, one a file.

mod calls_collapsed;
mod entropy_collapse;
mod grader_never_right;
mod kl_run_away;
mod memory_growth;
mod mismatch;
mod silent_groups;
mod stale_weights;
mod tool_errors;
mod truncation;

use crate::{Condition, Curve, Record, Verdict};

/// All rules, in the order in which causes come before what follows from them.
const RULES: [fn(&Record) -> Verdict; 10] = [
    grader_never_right::examine,
    tool_errors::examine,
    truncation::examine,
    stale_weights::examine,
    mismatch::examine,
    kl_run_away::examine,
    calls_collapsed::examine,
    entropy_collapse::examine,
    silent_groups::examine,
    memory_growth::examine,
];

/// What each rule says of a run, causes first.
pub fn examine(record: &Record) -> Vec<Verdict> {
    RULES.iter().map(|rule| rule(record)).collect()
}

/// What is said where a run is too short.
fn too_short(record: &Record) -> Condition {
    let window = record.window();
    let steps = record.steps.len();
    Condition::Unknown(format!("Judged from {window} steps on; there are {steps}."))
}

/// What is said where numbers are missing: too few steps, or steps without them.
fn missing(record: &Record, metric: &str) -> Condition {
    match record.steps.len() < record.window() {
        true => too_short(record),
        false => Condition::Unknown(format!("The steps do not record `{metric}`.")),
    }
}

/// A metric over the steps.
fn curve(record: &Record, metric: &str, limit: Option<f64>) -> Curve {
    Curve { name: metric.to_owned(), points: record.points(metric), limit }
}

/// Ill or well, with the words for each.
fn judged(is_ill: bool, ill: String, well: String) -> Condition {
    if is_ill { Condition::Ill(ill) } else { Condition::Well(well) }
}

/// A share in percent.
fn percent(share: f64) -> String {
    let digits = if share > 0.0 && share < 0.01 { 2 } else { 0 };
    format!("{:.digits$}%", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    /// A run of so many steps; each metric is a function of the step.
    pub(crate) fn run(steps: usize, metrics: &[(&str, &dyn Fn(usize) -> f64)]) -> Record {
        let step = |step: usize| {
            let numbers = metrics.iter().map(|(name, value)| ((*name).to_owned(), value(step)));
            numbers.chain([("step".to_owned(), step as f64)]).collect()
        };
        let settings =
            Settings { prompts_per_step: 10.0, rollouts_per_prompt: 8.0, ..Settings::default() };
        Record { steps: (0..steps).map(step).collect(), settings, seen: Vec::new() }
    }

    #[test]
    fn every_rule_has_a_name_a_formula_and_remedies_and_is_silent_of_nothing() {
        let verdicts = examine(&Record::default());
        let mut names: Vec<_> = verdicts.iter().map(|verdict| verdict.rule).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 10);
        for verdict in &verdicts {
            assert!(matches!(verdict.condition, Condition::Unknown(_)), "{verdict:?}");
            assert!(!verdict.formula.is_empty() && !verdict.remedies.is_empty());
        }
    }

    #[test]
    fn a_run_of_numbers_that_are_none_is_not_judged() {
        let nan = |_: usize| f64::NAN;
        let names = ["em", "calls", "kl", "memory_mib", "truncated", "logprob_mismatch"];
        let metrics: Vec<(&str, &dyn Fn(usize) -> f64)> =
            names.iter().map(|name| (*name, &nan as &dyn Fn(usize) -> f64)).collect();
        let verdicts = examine(&run(40, &metrics));
        assert!(!verdicts.iter().any(Verdict::is_ill), "{verdicts:?}");
    }

    #[test]
    fn shares_are_written_as_people_read_them() {
        assert_eq!([0.0, 0.004, 0.25, 1.0].map(percent), ["0%", "0.40%", "25%", "100%"]);
    }
}
