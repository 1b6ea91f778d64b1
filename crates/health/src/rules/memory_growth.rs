//! Memory growth: each step leaves something behind, until the system ends the run.
//!
//! The first quarter of the steps warms up caches and allocators, and is left out; of the four
//! quarters of the rest the medians are compared, `m1` to `m4`. A leak grows without end: `m1 < m2
//! < m3 < m4`, by a quarter of `m1` or more in all, the last rise at least half of the first. What
//! levels off exponentially, and has done so by half or more from rise to rise, has a quarter of
//! the first rise at most. Memory that grows no more than the responses do is explained by them.
//! A run that was resumed has the steps of another process, whose memory says nothing about this one:
//! the process's own peak never falls, so it begins where that does.

use super::{curve, judged};
use crate::{Condition, Record, Verdict};

/// Steps behind the first quarter from which on the rule judges.
const ENOUGH: usize = 20;

pub(super) fn examine(record: &Record) -> Verdict {
    Verdict {
        rule: "memory_growth",
        title: "memory growth",
        formula: "m1 < m2 < m3 < m4, m4 >= 5/4 m1, m4 - m3 >= (m2 - m1) / 2 and m4 / m1 > the \
                  growth of the responses, for the medians of memory in the quarters of the steps \
                  behind the first quarter, since the run was last resumed",
        condition: condition(record),
        remedies: &[
            "See `paretopo plan` for what the run needs; a run that is killed goes on from its \
             last checkpoint by the same command.",
            "Look at which tool or environment keeps something for each trajectory, and whether it \
             lets go of it at `end`.",
            "Bound what is kept on purpose: `rollout.cache_mib`, `tools.max_calls`.",
        ],
        curves: vec![curve(record, "memory_mib", None)],
    }
}

fn condition(record: &Record) -> Condition {
    let begun = begun(&record.points("peak_memory_mib"));
    let since = |name| {
        let points = record.points(name).into_iter();
        points.filter(|(step, _)| *step >= begun).collect::<Vec<_>>()
    };
    let points = since("memory_mib");
    let judged_from = points.len() / 4;
    if points.len() < judged_from + ENOUGH {
        return Condition::Unknown(format!(
            "Judged from {} steps with `memory_mib` on; there are {}.",
            ENOUGH + ENOUGH / 3 + 1,
            points.len()
        ));
    }
    let rest = &points[judged_from..];
    let medians = quarters(rest);
    let rises = medians.windows(2).all(|pair| pair[0] < pair[1]);
    let [first, second, third, last] = medians;
    let goes_on = last - third >= (second - first) / 2.0;
    let tokens = since("response_tokens");
    let longer = match tokens.len() == points.len() {
        true => {
            let [first, _, _, last] = quarters(&tokens[judged_from..]);
            if first > 0.0 { last / first } else { 1.0 }
        }
        false => 1.0,
    };
    let is_ill = rises && goes_on && last >= 1.25 * first && last / first > longer;
    let said = format!("Memory went from {first:.0} to {last:.0} MiB");
    let steps = rest[rest.len() - 1].0 - rest[0].0;
    judged(
        is_ill,
        format!("{said} in {steps:.0} steps, and rises on as it did."),
        format!("{said} in {steps:.0} steps."),
    )
}

/// The first step of the latest process, by the peaks of memory.
fn begun(peaks: &[(f64, f64)]) -> f64 {
    let latest = peaks.windows(2).rev().find(|pair| pair[1].1 < pair[0].1);
    latest.map_or(f64::NEG_INFINITY, |pair| pair[1].0)
}

/// The medians of four successive parts.
fn quarters(points: &[(f64, f64)]) -> [f64; 4] {
    [0, 1, 2, 3].map(|part| {
        let part = &points[part * points.len() / 4..(part + 1) * points.len() / 4];
        let mut values: Vec<f64> = part.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::run;

    fn is_ill(memory: impl Fn(usize) -> f64, tokens: impl Fn(usize) -> f64) -> bool {
        let metrics: [(&str, &dyn Fn(usize) -> f64); 2] =
            [("memory_mib", &memory), ("response_tokens", &tokens)];
        examine(&run(80, &metrics)).is_ill()
    }

    #[test]
    fn quarters_have_the_medians_of_their_steps() {
        let points: Vec<(f64, f64)> = (0..12).map(|step| (step as f64, step as f64)).collect();
        assert_eq!(quarters(&points), [1.0, 4.0, 7.0, 10.0]);
    }

    #[test]
    fn a_leak_rises_on_and_a_cache_levels_off() {
        let even = |_: usize| 20.0;
        // the medians lie at the steps 27, 42, 57 and 72: 127 to 172 MiB is a growth by 1.35
        assert!(is_ill(|step| 100.0 + step as f64, even));
        // 113.5 to 136 is one by 1.198
        assert!(!is_ill(|step| 100.0 + 0.5 * step as f64, even));
        // 1 - exp(-step / 20): 0.741, 0.878, 0.942, 0.973; rises of 0.137 and 0.031
        let cache = |step: usize| 100.0 + 1000.0 * (1.0 - (-(step as f64) / 20.0).exp());
        assert!(!is_ill(cache, even));
        // noise has no order
        assert!(!is_ill(|step| 100.0 + ((step * 37) % 50) as f64, even));
    }

    #[test]
    fn longer_responses_may_take_more() {
        assert!(!is_ill(|step| 100.0 + step as f64, |step| 20.0 + step as f64));
    }

    #[test]
    fn a_process_that_resumes_a_run_warms_up_anew() {
        // from step 20 on another process: 140 MiB, 1.1 more with each step up to 184 at step 60
        let memory = |step: usize| match step {
            0..20 => 150.0,
            _ => 140.0 + 1.1 * step.min(60).saturating_sub(20) as f64,
        };
        let judged = |peak: &dyn Fn(usize) -> f64| {
            let metrics: [(&str, &dyn Fn(usize) -> f64); 2] =
                [("memory_mib", &memory), ("peak_memory_mib", peak)];
            examine(&run(70, &metrics)).is_ill()
        };
        // all steps: medians at 24, 37, 50 and 64, 184 / 144 = 1.27
        assert!(judged(&|_| 250.0));
        // its own: at 37, 46, 56 and 65, 184 / 159 = 1.16
        assert!(!judged(&|step| if step < 20 { 250.0 } else { memory(step) }));
    }

    #[test]
    fn a_short_run_is_not_judged() {
        let record = run(26, &[("memory_mib", &|step| 100.0 * step as f64)]);
        // 26 - 6 = 20 are enough, 25 - 6 = 19 are not
        assert!(examine(&record).is_ill());
        let record = run(25, &[("memory_mib", &|step| 100.0 * step as f64)]);
        assert!(matches!(examine(&record).condition, Condition::Unknown(_)));
    }
}
