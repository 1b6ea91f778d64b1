//! What methods achieve in every objective that they were trained or evaluated on, however many
//! there are; beside the accuracy and tool calls of `table.rs`, which say the same of every
//! experiment.

use crate::RunResult;
use crate::results::distinct;
use crate::statistics::{bootstrap_interval, igd_plus, mean, pareto_front, volume_of};
use crate::table::{Comparison, markdown, methods_of, with_interval};
use paretopo_trajectory::ObjectiveValues;
use serde::Serialize;
use std::sync::Arc;

/// A method's objectives over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObjectiveSummary {
    /// The method's name.
    pub method: String,
    /// Mean over the runs of each objective's mean.
    pub point: ObjectiveValues,
    /// Lower ends of the 95% bootstrap intervals.
    pub low: ObjectiveValues,
    /// Upper ends.
    pub high: ObjectiveValues,
    /// What compares methods; `None` unless all runs have the same objectives.
    pub indicators: Option<Indicators>,
}

/// One number for all objectives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Indicators {
    /// Mean hypervolume of the runs' points above the origin: of one point, the product of its
    /// objectives.
    pub hypervolume: f64,
    /// 95% bootstrap interval.
    pub hypervolume_interval: [f64; 2],
    /// IGD+ of the method's points against the front of all methods' points.
    pub igd_plus: f64,
    /// p-value of the paired test of the hypervolume against the strongest baseline.
    pub p_value: Option<f64>,
}

/// Summaries in the order of each method's first run; of methods whose evaluations tell of no
/// objective, none.
pub fn summarise_objectives(runs: &[RunResult], baselines: &[String]) -> Vec<ObjectiveSummary> {
    let volume = |run: &RunResult| volume_of(run.point.values());
    let shared = shared_names(runs).map(|_| {
        let all: Vec<&[f64]> = runs.iter().map(|run| run.point.values()).collect();
        (Comparison::new(runs, baselines, &volume), pareto_front(&all))
    });
    let indicators = |method: &str, own: &[&RunResult]| {
        let (comparison, front) = shared.as_ref()?;
        let points: Vec<&[f64]> = own.iter().map(|run| run.point.values()).collect();
        let volumes: Vec<f64> = points.iter().map(|point| volume_of(point)).collect();
        Some(Indicators {
            hypervolume: mean(&volumes),
            hypervolume_interval: bootstrap_interval(&volumes),
            igd_plus: igd_plus(&points, front),
            p_value: comparison.p_value(method),
        })
    };
    let summary = |method: &str| {
        let own: Vec<&RunResult> = runs.iter().filter(|run| run.row() == method).collect();
        let first = own.first().filter(|run| !run.point.is_empty())?;
        let values = |name: &String| own.iter().filter_map(|run| run.point.get(name)).collect();
        let columns: Vec<Vec<f64>> = first.point.names().iter().map(values).collect();
        let intervals: Vec<[f64; 2]> =
            columns.iter().map(|values| bootstrap_interval(values)).collect();
        let named = |values: Vec<f64>| ObjectiveValues::new(first.point.names(), values);
        Some(ObjectiveSummary {
            method: method.to_owned(),
            point: named(columns.iter().map(|values| mean(values)).collect()),
            low: named(intervals.iter().map(|[low, _]| *low).collect()),
            high: named(intervals.iter().map(|[_, high]| *high).collect()),
            indicators: indicators(method, &own),
        })
    };
    methods_of(runs).iter().filter_map(|method| summary(method)).collect()
}

/// The names of the objectives, if all runs have the same, and finite means of them.
pub fn shared_names(runs: &[RunResult]) -> Option<Arc<[String]>> {
    let names = runs.first()?.point.names();
    let is_same = |run: &RunResult| {
        run.point.names() == names && run.point.values().iter().all(|value| value.is_finite())
    };
    (!names.is_empty() && runs.iter().all(is_same)).then(|| names.clone())
}

/// The means of the objectives by method, `None` without any.
pub fn objectives_table(summaries: &[ObjectiveSummary]) -> Option<String> {
    let names = distinct(summaries.iter().flat_map(|summary| summary.point.names().iter()));
    if names.is_empty() {
        return None;
    }
    let head = std::iter::once("objectives").chain(names.iter().map(|name| name.as_str()));
    let mut rows = vec![head.chain(["hypervolume", "IGD+", "p"]).map(str::to_owned).collect()];
    for summary in summaries {
        let mut row = vec![summary.method.clone()];
        row.extend(names.iter().map(|name| cell(summary, name)));
        row.extend(indicator_cells(summary.indicators.as_ref()));
        rows.push(row);
    }
    Some(markdown(&rows))
}

fn cell(summary: &ObjectiveSummary, name: &str) -> String {
    match (summary.point.get(name), summary.low.get(name), summary.high.get(name)) {
        (Some(mean), Some(low), Some(high)) => with_interval(mean, [low, high], 3),
        _ => "-".into(),
    }
}

fn indicator_cells(indicators: Option<&Indicators>) -> [String; 3] {
    let Some(indicators) = indicators else { return ["-"; 3].map(str::to_owned) };
    let volume = indicators.hypervolume;
    let volume = match volume > 0.0 && volume < 0.001 {
        // products of many objectives are small
        true => format!("{volume:.2e}"),
        false => with_interval(volume, indicators.hypervolume_interval, 3),
    };
    let p_value = indicators.p_value.map_or("-".into(), |p| format!("{p:.3}"));
    [volume, format!("{:.4}", indicators.igd_plus), p_value]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

    pub(crate) fn run(method: &str, seed: u64, values: &[f64]) -> RunResult {
        let point = NAMES.into_iter().zip(values.iter().copied()).collect();
        RunResult { point, ..crate::table::tests::run(method, seed, 0.5, 1.0) }
    }

    #[test]
    fn objectives_are_summarised_by_hand_for_one_two_three_and_five() {
        // x is 0.5 in each objective, then 1; y is 0.5 but for the last, which is 0.25, then 0.5
        let point = |count: usize, value: f64, last: f64| -> Vec<f64> {
            (0..count).map(|k| if k + 1 == count { last } else { value }).collect()
        };
        for count in [1usize, 2, 3, 5] {
            let runs = [
                run("x", 1, &point(count, 0.5, 0.5)),
                run("x", 2, &point(count, 1.0, 1.0)),
                run("y", 1, &point(count, 0.5, 0.25)),
                run("y", 2, &point(count, 0.5, 0.5)),
            ];
            let summaries = summarise_objectives(&runs, &["y".into()]);
            assert_eq!(summaries[0].point.names()[..], NAMES[..count]);
            assert_eq!(summaries[0].point.values(), vec![0.75; count]);
            // two runs: 2.5% of the resamples and more are of one run alone
            assert_eq!(summaries[0].low.values(), vec![0.5; count]);
            assert_eq!(summaries[0].high.values(), vec![1.0; count]);
            assert_eq!(summaries[1].point.values().last(), Some(&0.375));
            let [x, y] = [0, 1].map(|index| summaries[index].indicators.unwrap());
            // x: (0.5^K + 1) / 2; y: (0.5^(K - 1) * 0.25 + 0.5^K) / 2 = 0.75 * 0.5^K
            let half = 0.5f64.powi(count as i32);
            assert_eq!((x.hypervolume, y.hypervolume), ((half + 1.0) / 2.0, 0.75 * half));
            // the front is (1, ..., 1), of which y's better run lacks 0.5 in each: 0.5 sqrt(K)
            let expected = 0.5 * (count as f64).sqrt();
            assert!(x.igd_plus == 0.0 && (y.igd_plus - expected).abs() < 1e-15, "{y:?}");
            // two pairs, both better: 2 of 4 sign patterns are as extreme
            assert_eq!((x.p_value, y.p_value), (Some(0.5), None));
            let table = objectives_table(&summaries).unwrap();
            assert!(table.contains("0.750 [0.500, 1.000]"), "{table}");
            assert_eq!(table.lines().next().unwrap().matches('|').count(), count + 5);
        }
    }

    #[test]
    fn methods_of_other_objectives_have_means_and_no_common_number() {
        let other = [("c", 0.25)].into_iter().collect();
        let other = RunResult { point: other, ..run("y", 1, &[]) };
        let summaries = summarise_objectives(&[run("x", 1, &[0.5, 1e-4]), other], &[]);
        assert!(summaries.iter().all(|summary| summary.indicators.is_none()));
        let table = objectives_table(&summaries).unwrap();
        let rows: Vec<String> = table.lines().map(|line| line.replace(' ', "")).collect();
        assert_eq!(rows[0], "|objectives|a|b|c|hypervolume|IGD+|p|");
        assert_eq!(rows[2..], ["|x|0.500|0.000|-|-|-|-|", "|y|-|-|0.250|-|-|-|"]);
        // an evaluation that tells of none has no row
        let silent = summarise_objectives(&[run("old", 1, &[])], &[]);
        assert!(silent.is_empty() && objectives_table(&silent).is_none());
        // a volume that three digits would make 0: 0.01 * 0.01
        let small = summarise_objectives(&[run("x", 1, &[0.01, 0.01])], &[]);
        assert!(objectives_table(&small).unwrap().contains("| 1.00e-4 "));
    }
}
