//! What `compare` leaves and shows of finished runs: tables, figures, numbers.
//!
//! Fronts come first, where methods have knobs or there are controls. Accuracy and tool calls look
//! the same for every experiment; the means of all objectives stand beside them, and more than two
//! of them have figures of their own.

use super::experiment::{Method, Plan};
use crate::output::outln;
use crate::problem::Problem;
use paretopo_records::latest_archive;
use paretopo_report::{
    Against, Curve, Frame, FrontSummary, MethodSummary, ObjectiveSummary, Palette, RunResult,
    against_table, archive_svg, by_preference, controls_table, curves_svg, environment_table,
    front_picture, front_svg, fronts_table, lead_against_each, levels_table, objectives_picture,
    objectives_table, pairs_svg, parallel_svg, part_of_larger, shared_names, summarise_fronts,
    summarise_methods, summarise_objectives, summary_table, with_measured_efficiency,
};
use paretopo_training::write_atomically;
use serde::Serialize;
use std::path::Path;

/// The curves that are drawn of every experiment, by metric.
const CURVES: [(&str, &str); 9] = [
    ("em", "EM on training prompts"),
    ("calls", "#Tool on training prompts"),
    ("validation/head_skill", "head skill: EM where no call can be made"),
    ("estimator/r_pareto", "r_pareto (stage 1)"),
    ("estimator/tie_right_wrong", "groups where a wrong rollout ranks with a right one"),
    ("estimator/rank_1", "share of rollouts in rank 1"),
    ("estimator/rank_2", "share of rollouts in rank 2"),
    ("estimator/archive_hypervolume", "hypervolume of the archive"),
    ("response_tokens", "sampled tokens a response"),
];

/// `results.json`; `docs/results.md` describes it.
#[derive(Serialize)]
struct StoredResults<'a> {
    commit: &'a str,
    /// What fronts are measured against.
    frame: &'a Frame,
    fronts: &'a [FrontSummary],
    lead: Option<Lead<'a>>,
    methods: &'a [MethodSummary],
    objectives: &'a [ObjectiveSummary],
    runs: &'a [RunResult],
}

/// The leading method against each other one.
#[derive(Serialize)]
struct Lead<'a> {
    method: &'a str,
    against: &'a [Against],
}

/// What fronts are measured against.
fn frame(plan: &Plan) -> Frame {
    let mut baselines: Vec<String> = Vec::new();
    for method in plan.methods.iter().filter(|method| method.baseline) {
        if !baselines.contains(&method.name) {
            baselines.push(method.name.clone());
        }
    }
    let limits = plan.queue.iter().map(|job| job.resolved.rollout.max_calls);
    Frame {
        controls: plan.controls.clone(),
        call_limit: limits.max().unwrap_or(1).max(1) as f64,
        baselines,
    }
}

/// Writes tables, figures and numbers, and prints the tables and the pictures.
pub(super) fn report(results: &[RunResult], plan: &Plan, out: &Path) -> Result<(), Problem> {
    // as the ledger has them, so that figures are the same with and without run folders
    let thin =
        |run: &RunResult| RunResult { metrics: Curve::of(&run.metrics).metrics(), ..run.clone() };
    let results: Vec<RunResult> = results.iter().map(thin).collect();
    let results = results.as_slice();
    let rows: Vec<String> =
        plan.methods.iter().filter(|method| method.baseline).map(Method::row).collect();
    let methods = summarise_methods(results, &rows);
    let objectives = summarise_objectives(results, &rows);
    let frame = frame(plan);
    let places = by_preference(results);
    let fronts = summarise_fronts(&places, &frame);
    let lead = lead_against_each(&places, &frame);
    let tables = [
        is_about_fronts(&fronts, &frame).then(|| fronts_table(&fronts)),
        lead.as_ref().and_then(|(lead, against)| against_table(lead, against)),
        frame.controls.as_ref().map(controls_table),
        Some(summary_table(&methods)),
        objectives_table(&objectives),
        Some(levels_table(results)),
        environment_table(results),
    ];
    let part = part_of_larger(results, &plan.behind);
    let part = (!part.is_empty()).then(|| format!("{part}\n"));
    let tables = part.into_iter().chain(tables.into_iter().flatten());
    let tables = tables.collect::<Vec<_>>().join("\n");
    write_atomically(&out.join("results.md"), tables.as_bytes())?;
    let stored = StoredResults {
        commit: env!("PARETOPO_COMMIT"),
        frame: &frame,
        fronts: &fronts,
        lead: lead.as_ref().map(|(method, against)| Lead { method, against }),
        methods: &methods,
        objectives: &objectives,
        runs: results,
    };
    let json = serde_json::to_vec_pretty(&stored).map_err(Problem::failure)?;
    write_atomically(&out.join("results.json"), &json)?;
    let measured_runs = with_measured_efficiency(results);
    let measured = summarise_objectives(&measured_runs, &rows);
    let mut figures = figures(plan, results, &places, &frame);
    figures.extend(objective_figures(&measured, &measured_runs, &frame));
    for (name, svg) in &figures {
        write_atomically(&out.join(name), svg.as_bytes())?;
    }
    outln!("{tables}\n{}", front_picture(&methods, frame.controls.as_ref()));
    if let Some(picture) = objectives_picture(&methods, &measured) {
        outln!("{picture}");
    }
    let named = |(name, _): &(&str, String)| format!("{}/{name}", out.display());
    let places: Vec<String> = figures.iter().map(named).collect();
    outln!("table {}/results.md, figures {}", out.display(), places.join(", "));
    Ok(())
}

/// The figures by their files' names. `places` are the results with a policy that is told preferences
/// in pieces.
fn figures(
    plan: &Plan,
    results: &[RunResult],
    places: &[RunResult],
    frame: &Frame,
) -> Vec<(&'static str, String)> {
    let palette = Palette::of(results, &frame.baselines);
    let mut figures = vec![
        ("front.svg", front_svg(places, frame, &plan.behind, &palette)),
        ("curves.svg", curves(results, &palette)),
        ("archive.svg", archive(plan, results, &palette)),
    ];
    let always = ["front.svg", "curves.svg"];
    figures.retain(|(name, svg)| !svg.is_empty() || always.contains(name));
    figures
}

/// Those of more than two objectives: of two the table says as much, of other methods' others nothing
/// can be drawn.
fn objective_figures(
    objectives: &[ObjectiveSummary],
    results: &[RunResult],
    frame: &Frame,
) -> Vec<(&'static str, String)> {
    if shared_names(results).is_none_or(|names| names.len() <= 2) {
        return Vec::new();
    }
    let palette = Palette::of(results, &frame.baselines);
    let pairs = pairs_svg(objectives, results, &palette);
    let parallel = parallel_svg(objectives, results, &palette);
    let mut figures = vec![("pairs.svg", pairs), ("parallel.svg", parallel)];
    figures.retain(|(_, svg)| !svg.is_empty());
    figures
}

/// Whether a method has a knob, or there are controls; else the table of runs says as much.
fn is_about_fronts(fronts: &[FrontSummary], frame: &Frame) -> bool {
    frame.controls.is_some() || fronts.iter().any(|front| !front.settings.is_empty())
}

/// How training went; of more than two objectives each one, too.
fn curves(results: &[RunResult], palette: &Palette) -> String {
    let names = shared_names(results).filter(|names| names.len() > 2);
    let rewards: Vec<(String, String)> = names
        .iter()
        .flat_map(|names| names.iter())
        .map(|name| (format!("reward/{name}"), format!("{name} on training prompts")))
        .collect();
    let rewards = rewards.iter().map(|(metric, title)| (metric.as_str(), title.as_str()));
    let panels: Vec<(&str, &str)> = CURVES.into_iter().chain(rewards).collect();
    curves_svg(results, &panels, palette)
}

/// The archive of the first run whose estimator keeps one; empty without one.
fn archive(plan: &Plan, results: &[RunResult], palette: &Palette) -> String {
    let found = plan.queue.iter().zip(results).find_map(|(job, result)| {
        let points = latest_archive(&job.folder)?;
        // evaluations that did not tell yet are of these two
        let names = match result.point.is_empty() {
            true => ["r_task", "r_tool"].map(str::to_owned).to_vec(),
            false => result.point.names().to_vec(),
        };
        let fits = points.iter().all(|point| point.len() == names.len());
        fits.then(|| archive_svg(&result.row(), &names, &points, palette))
    });
    found.unwrap_or_default()
}
