//! Accuracy and tool calls over seeds, as Markdown.

use crate::RunResult;
use crate::results::distinct;
use crate::significance::paired_permutation_test;
use crate::statistics::{bootstrap_interval, igd_plus, mean, pareto_front, volume_of};
use serde::Serialize;
use std::fmt::Write;

/// A method over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodSummary {
    /// Its name, and the setting of its knob.
    pub method: String,
    /// Number of runs.
    pub runs: usize,
    /// Mean EM.
    pub em: f64,
    /// 95% bootstrap interval.
    pub em_interval: [f64; 2],
    /// Mean #Tool.
    pub calls: f64,
    /// 95% bootstrap interval.
    pub calls_interval: [f64; 2],
    /// Mean calls per right answer.
    pub calls_per_correct: Option<f64>,
    /// Mean sampled tokens.
    pub response_tokens: f64,
    /// Mean hypervolume of the runs' points above (0, 0): EM times (1 - #Tool / largest number of
    /// calls).
    pub hypervolume: f64,
    /// 95% bootstrap interval.
    pub hypervolume_interval: [f64; 2],
    /// IGD+ of the method's points against the front of all methods' points.
    pub igd_plus: f64,
    /// p-value of the paired test of the hypervolume against the strongest baseline; `None` for
    /// that baseline or without common seeds.
    pub p_value: Option<f64>,
}

/// Which method the others are compared with, and by what.
pub(crate) struct Comparison<'a> {
    runs: &'a [RunResult],
    strongest: Option<String>,
    volume: &'a dyn Fn(&RunResult) -> f64,
}

impl<'a> Comparison<'a> {
    /// Baselines are the methods in `baselines`; the strongest has the largest mean `volume`.
    pub(crate) fn new(
        runs: &'a [RunResult],
        baselines: &[String],
        volume: &'a dyn Fn(&RunResult) -> f64,
    ) -> Self {
        let mean_volume = |method: &str| {
            let own = runs.iter().filter(|run| run.row() == method);
            mean(&own.map(volume).collect::<Vec<_>>())
        };
        let strongest = methods_of(runs)
            .into_iter()
            .filter(|method| baselines.contains(method))
            .max_by(|a, b| mean_volume(a).total_cmp(&mean_volume(b)));
        Self { runs, strongest, volume }
    }

    /// The paired test against the strongest baseline over common seeds; `None` for that baseline
    /// itself, or with fewer than two pairs.
    pub(crate) fn p_value(&self, method: &str) -> Option<f64> {
        let strongest = self.strongest.as_ref().filter(|other| *other != method)?;
        let rivals: Vec<&RunResult> =
            self.runs.iter().filter(|run| run.row() == strongest.as_str()).collect();
        let own = self.runs.iter().filter(|run| run.row() == method);
        let (own, rivals): (Vec<f64>, Vec<f64>) = own
            .filter_map(|run| {
                let rival = rivals.iter().find(|rival| rival.seed == run.seed)?;
                Some(((self.volume)(run), (self.volume)(rival)))
            })
            .unzip();
        (own.len() > 1).then(|| paired_permutation_test(&own, &rivals))
    }
}

/// Summaries in the order of each method's first run. Baselines are the methods in `baselines`; the
/// strongest has the largest mean hypervolume.
pub fn summarise_methods(runs: &[RunResult], baselines: &[String]) -> Vec<MethodSummary> {
    let all: Vec<[f64; 2]> = runs.iter().map(|run| run.accuracy_efficiency).collect();
    let front = pareto_front(&all);
    let volume = |run: &RunResult| volume_of(&run.accuracy_efficiency);
    let comparison = Comparison::new(runs, baselines, &volume);
    let summary = |method: &str| {
        let own: Vec<&RunResult> = runs.iter().filter(|run| run.row() == method).collect();
        let column = |pick: &dyn Fn(&RunResult) -> f64| {
            own.iter().map(|run| pick(run)).collect::<Vec<f64>>()
        };
        let ems = column(&|run| run.em);
        let calls = column(&|run| run.calls);
        let volumes = column(&volume);
        let correct: Vec<f64> = own.iter().filter_map(|run| run.calls_per_correct).collect();
        let points: Vec<[f64; 2]> = own.iter().map(|run| run.accuracy_efficiency).collect();
        MethodSummary {
            method: method.to_owned(),
            runs: own.len(),
            em: mean(&ems),
            em_interval: bootstrap_interval(&ems),
            calls: mean(&calls),
            calls_interval: bootstrap_interval(&calls),
            calls_per_correct: (!correct.is_empty()).then(|| mean(&correct)),
            response_tokens: mean(&column(&|run| run.response_tokens)),
            hypervolume: mean(&volumes),
            hypervolume_interval: bootstrap_interval(&volumes),
            igd_plus: igd_plus(&points, &front),
            p_value: comparison.p_value(method),
        }
    };
    methods_of(runs).iter().map(|method| summary(method)).collect()
}

/// `0.750 [0.500, 1.000]`, or without the interval where it is a point.
pub(crate) fn with_interval(value: f64, [low, high]: [f64; 2], digits: usize) -> String {
    if low == high {
        format!("{value:.digits$}")
    } else {
        format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]")
    }
}

/// The main table.
pub fn summary_table(summaries: &[MethodSummary]) -> String {
    let mut rows = vec![
        [
            "method",
            "runs",
            "EM",
            "#Tool",
            "calls per right answer",
            "tokens",
            "hypervolume",
            "IGD+",
            "p",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for summary in summaries {
        rows.push(vec![
            summary.method.clone(),
            summary.runs.to_string(),
            with_interval(summary.em, summary.em_interval, 3),
            with_interval(summary.calls, summary.calls_interval, 2),
            summary.calls_per_correct.map_or("-".into(), |calls| format!("{calls:.2}")),
            format!("{:.1}", summary.response_tokens),
            with_interval(summary.hypervolume, summary.hypervolume_interval, 3),
            format!("{:.4}", summary.igd_plus),
            summary.p_value.map_or("-".into(), |p| format!("{p:.3}")),
        ]);
    }
    markdown(&rows)
}

/// EM / #Tool by level.
pub fn levels_table(runs: &[RunResult]) -> String {
    let levels: std::collections::BTreeSet<u32> =
        runs.iter().flat_map(|run| run.levels.keys().copied()).collect();
    let mut rows = vec![
        std::iter::once("EM / #Tool".to_owned())
            .chain(levels.iter().map(|level| format!("level {level}")))
            .collect::<Vec<_>>(),
    ];
    for method in methods_of(runs) {
        let cell = |level: &u32| {
            let found: Vec<[f64; 2]> = runs
                .iter()
                .filter(|run| run.row() == method)
                .filter_map(|run| run.levels.get(level).copied())
                .collect();
            let average = |k: usize| mean(&found.iter().map(|pair| pair[k]).collect::<Vec<_>>());
            format!("{:.3} / {:.2}", average(0), average(1))
        };
        rows.push(std::iter::once(method.clone()).chain(levels.iter().map(cell)).collect());
    }
    markdown(&rows)
}

/// Means of the environment's own metrics by method; `None` where the environment has none.
pub fn environment_table(runs: &[RunResult]) -> Option<String> {
    let names: std::collections::BTreeSet<&str> =
        runs.iter().flat_map(|run| run.environment.keys().map(String::as_str)).collect();
    if names.is_empty() {
        return None;
    }
    let mut rows = vec![
        std::iter::once("method")
            .chain(names.iter().copied())
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    ];
    for method in methods_of(runs) {
        let cell = |name: &&str| {
            let found: Vec<f64> = runs
                .iter()
                .filter(|run| run.row() == method)
                .filter_map(|run| run.environment.get(*name).copied())
                .collect();
            if found.is_empty() { "-".to_owned() } else { format!("{:.3}", mean(&found)) }
        };
        rows.push(std::iter::once(method.clone()).chain(names.iter().map(cell)).collect());
    }
    Some(markdown(&rows))
}

/// The rows of tables, a method or a setting of its knob, in the order of their first runs.
pub(crate) fn methods_of(runs: &[RunResult]) -> Vec<String> {
    distinct(runs.iter().map(RunResult::row))
}

/// A table with aligned columns; the first row is the header.
pub(crate) fn markdown(rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use paretopo_trajectory::ObjectiveValues;

    pub(crate) fn run(method: &str, seed: u64, em: f64, calls: f64) -> RunResult {
        RunResult {
            method: method.into(),
            setting: None,
            seed,
            em,
            calls,
            calls_per_correct: Some(calls / em),
            response_tokens: 10.0,
            accuracy_efficiency: [em, 1.0 - calls / 4.0],
            point: ObjectiveValues::default(),
            levels: [(0, [em, calls])].into(),
            environment: [("f1".to_owned(), em)].into(),
            lowest_calls: None,
            head_skill: None,
            preferences: vec![],
            metrics: vec![],
        }
    }

    #[test]
    fn summaries_compare_with_the_strongest_baseline_by_seed() {
        let runs = [
            run("a", 1, 0.8, 1.0),
            run("a", 2, 0.9, 1.0),
            run("b", 1, 0.8, 2.0),
            run("b", 2, 0.9, 2.0),
            run("weak", 1, 0.1, 4.0),
        ];
        let summaries = summarise_methods(&runs, &["b".into(), "weak".into()]);
        // a: 0.8 * 0.75 = 0.6 and 0.9 * 0.75 = 0.675, mean 0.6375; b: 0.4 and 0.45
        assert!((summaries[0].hypervolume - 0.6375).abs() < 1e-12);
        // two pairs, both better: 2 of 4 sign patterns are as extreme
        assert_eq!(summaries[0].p_value, Some(0.5));
        assert_eq!(summaries[1].p_value, None);
        // the front of all is a's second run (0.9, 0.75), which a holds
        assert_eq!(summaries[0].igd_plus, 0.0);
        let table = summary_table(&summaries);
        assert_eq!(table.lines().count(), 5);
        assert!(
            table
                .lines()
                .all(|line| line.chars().count() == table.lines().next().unwrap().chars().count()),
            "{table}"
        );
        assert!(levels_table(&runs).contains("0.850 / 1.00"));
        assert!(environment_table(&runs).unwrap().contains("| a      | 0.850 |"));
    }
}
