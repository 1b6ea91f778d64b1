//! What `compare` leaves and shows of finished runs: tables, figures, numbers.
//!
//! Accuracy and tool calls come first and look the same for every experiment; the means of all
//! objectives stand beside them, and more than two of them have figures of their own.

use crate::output::outln;
use crate::problem::Problem;
use paretopo_records::latest_archive;
use paretopo_report::{
    MethodSummary, ObjectiveSummary, RunResult, archive_svg, curves_svg, environment_table,
    front_picture, front_svg, levels_table, objectives_picture, objectives_table, pairs_svg,
    parallel_svg, shared_names, summarise_methods, summarise_objectives, summary_table,
};
use paretopo_training::write_atomically;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The curves that are drawn of every experiment, by metric.
const CURVES: [(&str, &str); 8] = [
    ("em", "EM on training prompts"),
    ("calls", "#Tool on training prompts"),
    ("estimator/r_pareto", "r_pareto (stage 1)"),
    (
        "estimator/tie_right_wrong",
        "groups in which a wrong rollout ranks no worse than a right one",
    ),
    ("estimator/rank_1", "share of rollouts in rank 1"),
    ("estimator/rank_2", "share of rollouts in rank 2"),
    ("estimator/archive_hypervolume", "hypervolume of the archive"),
    ("response_tokens", "sampled tokens a response"),
];

#[derive(Serialize)]
struct StoredResults<'a> {
    commit: &'a str,
    methods: &'a [MethodSummary],
    objectives: &'a [ObjectiveSummary],
    runs: &'a [RunResult],
}

/// Writes tables, figures and numbers, and prints the tables and the pictures. `all` are name, seed
/// and folder of each run.
pub(super) fn report(
    results: &[RunResult],
    baselines: &[String],
    out: &Path,
    all: &[(String, u64, PathBuf)],
) -> Result<(), Problem> {
    let methods = summarise_methods(results, baselines);
    let objectives = summarise_objectives(results, baselines);
    let tables = [
        Some(summary_table(&methods)),
        objectives_table(&objectives),
        Some(levels_table(results)),
        environment_table(results),
    ];
    let tables = tables.into_iter().flatten().collect::<Vec<_>>().join("\n");
    write_atomically(&out.join("results.md"), tables.as_bytes())?;
    let stored = StoredResults {
        commit: env!("PARETOPO_COMMIT"),
        methods: &methods,
        objectives: &objectives,
        runs: results,
    };
    let json = serde_json::to_vec_pretty(&stored).map_err(Problem::failure)?;
    write_atomically(&out.join("results.json"), &json)?;
    let mut figures = vec![
        ("front.svg", front_svg(&methods, results)),
        ("curves.svg", curves(&methods, results)),
        ("archive.svg", archive(all, results)),
    ];
    // of two objectives the table says as much; of other methods' others nothing can be drawn
    if shared_names(results).is_some_and(|names| names.len() > 2) {
        figures.push(("pairs.svg", pairs_svg(&objectives, results)));
        figures.push(("parallel.svg", parallel_svg(&objectives, results)));
    }
    let always = ["front.svg", "curves.svg"];
    figures.retain(|(name, svg)| !svg.is_empty() || always.contains(name));
    for (name, svg) in &figures {
        write_atomically(&out.join(name), svg.as_bytes())?;
    }
    outln!("{tables}\n{}", front_picture(&methods));
    if let Some(picture) = objectives_picture(&methods, &objectives) {
        outln!("{picture}");
    }
    let named = |(name, _): &(&str, String)| format!("{}/{name}", out.display());
    let places: Vec<String> = figures.iter().map(named).collect();
    outln!("table {}/results.md, figures {}", out.display(), places.join(", "));
    Ok(())
}

/// How training went, for the methods that were trained; of more than two objectives each one, too.
fn curves(methods: &[MethodSummary], results: &[RunResult]) -> String {
    let is_trained = |method: &&MethodSummary| {
        results.iter().any(|run| run.method == method.method && !run.metrics.is_empty())
    };
    let trained: Vec<String> =
        methods.iter().filter(is_trained).map(|method| method.method.clone()).collect();
    let names = shared_names(results).filter(|names| names.len() > 2);
    let rewards: Vec<(String, String)> = names
        .iter()
        .flat_map(|names| names.iter())
        .map(|name| (format!("reward/{name}"), format!("{name} on training prompts")))
        .collect();
    let rewards = rewards.iter().map(|(metric, title)| (metric.as_str(), title.as_str()));
    let panels: Vec<(&str, &str)> = CURVES.into_iter().chain(rewards).collect();
    curves_svg(&trained, results, &panels)
}

/// The archive of the first run whose estimator keeps one; empty without one.
fn archive(all: &[(String, u64, PathBuf)], results: &[RunResult]) -> String {
    let found = all.iter().zip(results).find_map(|((method, _, folder), result)| {
        let points = latest_archive(folder)?;
        // evaluations that did not tell yet are of these two
        let names = match result.point.is_empty() {
            true => ["r_task", "r_tool"].map(str::to_owned).to_vec(),
            false => result.point.names().to_vec(),
        };
        let fits = points.iter().all(|point| point.len() == names.len());
        fits.then(|| archive_svg(&format!("Archive of {method}"), &names, &points))
    });
    found.unwrap_or_default()
}
