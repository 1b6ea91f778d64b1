//! Calls collapsed: a policy that called its tools does so no longer, and is the worse for it.
//!
//! Of N calls an episode a group of n has n N on average, and by Markov's inequality at most the
//! share `n N` of the groups has a call at all. Where `n N < 1`, a group has less than one, and
//! whether a call would have helped is hardly ever seen: the policy does not come back by itself.
//! Before, calls must have been common: in some five successive steps `n N >= 3`, at which 95% of
//! the groups have a call if calls come independently (`1 - exp(-3)`).
//!
//! To call no longer is right where answers are known by heart. So either the EM must have fallen
//! from the steps with `n N >= 3` to the last window, by three standard errors of the two means,
//! computed over prompts; or the environment says that tasks need a call each and the policy is
//! wrong more than once in a group (`1 - em > 1/n`).

use super::{curve, judged, missing};
use crate::{Condition, Record, Verdict};

/// Successive steps in which calls must have been common.
const COMMON: usize = 5;

pub(super) fn examine(record: &Record) -> Verdict {
    let limit = 1.0 / record.settings.rollouts_per_prompt;
    Verdict {
        rule: "calls_collapsed",
        title: "calls collapsed",
        formula: "n N < 1 after n N >= 3, for N calls an episode and n rollouts a prompt; and em \
                  fell by 3 standard errors, or tasks need calls and 1 - em > 1/n",
        condition: condition(record),
        remedies: &[
            "Make calls cheaper beside being right: a smaller weight of the tool objective, a \
             smaller `alpha` of `tool_efficiency`, a lower `price` of the tool.",
            "Let only right answers be rewarded for few calls: `success_first`, or an \
             `n_optimal.reliable` nearer to 1.",
            "Begin again from a checkpoint before the fall: from none to some calls there is no \
             way back by chance.",
        ],
        curves: vec![curve(record, "calls", Some(limit)), curve(record, "em", None)],
    }
}

fn condition(record: &Record) -> Condition {
    let (Some(calls), Some(em)) = (record.last("calls"), record.last("em")) else {
        return missing(record, "calls");
    };
    let rollouts = record.settings.rollouts_per_prompt;
    let before = Before::of(record);
    let now =
        format!("The policy makes {calls:.3} calls an episode, {:.1} a group", rollouts * calls);
    let Some(before) = before.filter(|_| rollouts * calls < 1.0) else {
        return Condition::Well(format!("{now}."));
    };
    let last = record.settings.prompts_per_step * record.window() as f64;
    let earlier = record.settings.prompts_per_step * before.steps as f64;
    let error = |share: f64, count: f64| share * (1.0 - share) / count;
    let noise = (error(em, last) + error(before.em, earlier)).sqrt();
    let fell = before.em - em > 3.0 * noise && before.em > em;
    let needed = record.last("environment/needed_calls").filter(|needed| *needed >= 1.0);
    let lacks = needed.filter(|_| 1.0 - em > 1.0 / rollouts);
    let because = match (fell, lacks) {
        (true, _) => format!("the EM fell from {:.2} to {em:.2}", before.em),
        (false, Some(needed)) => format!("tasks need {needed:.1}, and the EM is {em:.2}"),
        (false, None) => String::new(),
    };
    judged(
        !because.is_empty(),
        format!("{now}, after {:.2} an episode: {because}.", before.calls),
        format!("{now}, after {:.2}; the EM is {em:.2}, no worse than then.", before.calls),
    )
}

/// The steps in which calls were common.
struct Before {
    steps: usize,
    calls: f64,
    em: f64,
}

impl Before {
    /// `None` where calls never were common.
    fn of(record: &Record) -> Option<Self> {
        let common = 3.0 / record.settings.rollouts_per_prompt;
        let pairs: Vec<(f64, f64)> = record
            .steps
            .iter()
            .filter_map(|step| Some((*step.get("calls")?, *step.get("em")?)))
            .collect();
        let mean = |steps: &[(f64, f64)]| {
            steps.iter().map(|(calls, _)| calls).sum::<f64>() / steps.len() as f64
        };
        pairs.windows(COMMON).find(|steps| mean(steps) >= common)?;
        let common: Vec<(f64, f64)> =
            pairs.into_iter().filter(|(calls, _)| *calls >= common).collect();
        let count = common.len().max(1) as f64;
        let em = common.iter().map(|(_, em)| em).sum::<f64>() / count;
        Some(Self { steps: common.len(), calls: mean(&common), em })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::run;

    /// 20 steps with one call, then 20 with so many.
    fn is_ill(calls: f64, em: [f64; 2], needed: Option<f64>) -> bool {
        let later =
            |before: f64, after: f64| move |step: usize| if step < 20 { before } else { after };
        let (calls, em) = (later(1.0, calls), later(em[0], em[1]));
        let mut metrics: Vec<(&str, &dyn Fn(usize) -> f64)> = vec![("calls", &calls), ("em", &em)];
        let needed = needed.map(|needed| move |_: usize| needed);
        if let Some(needed) = &needed {
            metrics.push(("environment/needed_calls", needed));
        }
        examine(&run(40, &metrics)).is_ill()
    }

    #[test]
    fn the_em_must_fall_with_the_calls() {
        // the last 10 steps have 100 prompts, the 20 before 200:
        // 3 sqrt(0.8 * 0.2 / 200 + 0.6 * 0.4 / 100) = 0.170
        assert!(is_ill(0.1, [0.8, 0.6], None));
        // 3 sqrt(0.0008 + 0.66 * 0.34 / 100) = 0.165
        assert!(!is_ill(0.1, [0.8, 0.66], None));
        // 8 * 0.13 calls a group are more than one
        assert!(!is_ill(0.13, [0.8, 0.1], None));
        // it got better
        assert!(!is_ill(0.0, [0.6, 0.8], None));
    }

    #[test]
    fn tasks_that_need_calls_are_reason_enough() {
        assert!(is_ill(0.1, [0.7, 0.7], Some(1.4)));
        // known by heart, or nearly solved
        assert!(!is_ill(0.1, [0.7, 0.7], Some(0.5)) && !is_ill(0.1, [0.9, 0.9], Some(1.4)));
    }

    #[test]
    fn who_never_called_has_lost_nothing() {
        let metrics: [(&str, &dyn Fn(usize) -> f64); 2] =
            [("calls", &|_| 0.0), ("em", &|step| if step < 20 { 0.8 } else { 0.1 })];
        assert!(!examine(&run(40, &metrics)).is_ill());
    }
}
