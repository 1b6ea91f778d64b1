//! Summaries over seeds, as Markdown.

use crate::statistics::{
    bootstrap_interval, igd_plus, mean, paired_permutation_test, pareto_front,
};
use crate::{RunResult, results};
use serde::Serialize;
use std::fmt::Write;

/// A method over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodSummary {
    /// Its name.
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

/// Summaries in the order of each method's first run. Baselines are the methods in `baselines`; the
/// strongest has the largest mean hypervolume.
pub fn summarise_methods(runs: &[results::RunResult], baselines: &[String]) -> Vec<MethodSummary> {
    let methods = methods_of(runs);
    let front = pareto_front(&runs.iter().map(|run| run.point).collect::<Vec<_>>());
    let of = |method: &str| runs.iter().filter(|run| run.method == method).collect::<Vec<_>>();
    let volume = |run: &RunResult| run.point[0] * run.point[1];
    let mean_volume = |method: &str| mean(&of(method).into_iter().map(volume).collect::<Vec<_>>());
    let strongest = methods
        .iter()
        .filter(|method| baselines.iter().any(|name| name == **method))
        .max_by(|a, b| mean_volume(a).total_cmp(&mean_volume(b)))
        .copied();
    methods
        .iter()
        .map(|method| {
            let own = of(method);
            let column = |pick: &dyn Fn(&RunResult) -> f64| {
                own.iter().map(|run| pick(run)).collect::<Vec<f64>>()
            };
            let (em, calls, volumes) =
                (column(&|run| run.em), column(&|run| run.calls), column(&volume));
            let correct: Vec<f64> = own.iter().filter_map(|run| run.calls_per_correct).collect();
            let p_value = strongest.filter(|other| other != method).and_then(|other| {
                let pairs: Vec<(f64, f64)> = own
                    .iter()
                    .filter_map(|run| {
                        of(other)
                            .into_iter()
                            .find(|rival| rival.seed == run.seed)
                            .map(|rival| (volume(run), volume(rival)))
                    })
                    .collect();
                let (a, b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
                (a.len() > 1).then(|| paired_permutation_test(&a, &b))
            });
            MethodSummary {
                method: (*method).to_owned(),
                runs: own.len(),
                em: mean(&em),
                em_interval: bootstrap_interval(&em),
                calls: mean(&calls),
                calls_interval: bootstrap_interval(&calls),
                calls_per_correct: (!correct.is_empty()).then(|| mean(&correct)),
                response_tokens: mean(&column(&|run| run.response_tokens)),
                hypervolume: mean(&volumes),
                hypervolume_interval: bootstrap_interval(&volumes),
                igd_plus: igd_plus(&own.iter().map(|run| run.point).collect::<Vec<_>>(), &front),
                p_value,
            }
        })
        .collect()
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
    let with_interval = |value: f64, [low, high]: [f64; 2], digits: usize| {
        if low == high {
            format!("{value:.digits$}")
        } else {
            format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]")
        }
    };
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
                .filter(|run| run.method == method)
                .filter_map(|run| run.levels.get(level).copied())
                .collect();
            let average = |k: usize| mean(&found.iter().map(|pair| pair[k]).collect::<Vec<_>>());
            format!("{:.3} / {:.2}", average(0), average(1))
        };
        rows.push(std::iter::once(method.to_owned()).chain(levels.iter().map(cell)).collect());
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
                .filter(|run| run.method == method)
                .filter_map(|run| run.environment.get(*name).copied())
                .collect();
            if found.is_empty() { "-".to_owned() } else { format!("{:.3}", mean(&found)) }
        };
        rows.push(std::iter::once(method.to_owned()).chain(names.iter().map(cell)).collect());
    }
    Some(markdown(&rows))
}

/// The methods in the order of their first runs.
fn methods_of(runs: &[RunResult]) -> Vec<&str> {
    let mut methods: Vec<&str> = Vec::new();
    for run in runs {
        if !methods.contains(&run.method.as_str()) {
            methods.push(&run.method);
        }
    }
    methods
}

/// A table with aligned columns; the first row is the header.
fn markdown(rows: &[Vec<String>]) -> String {
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
mod tests {
    use super::*;

    fn run(method: &str, seed: u64, em: f64, calls: f64) -> RunResult {
        RunResult {
            method: method.into(),
            seed,
            em,
            calls,
            calls_per_correct: Some(calls / em),
            response_tokens: 10.0,
            point: [em, 1.0 - calls / 4.0],
            levels: [(0, [em, calls])].into(),
            environment: [("f1".to_owned(), em)].into(),
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
