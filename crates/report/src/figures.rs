//! SVG figures of accuracy and tool calls, and of training. Text is drawn by the viewer, so no font is
//! needed.

use crate::{MethodSummary, RunResult, mean};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Distinct also for most colour-blind readers (Okabe and Ito), then repeated darker.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
    RGBColor(60, 60, 60),
];

pub(crate) fn colour(index: usize) -> RGBColor {
    let RGBColor(r, g, b) = COLOURS[index % COLOURS.len()];
    if index < COLOURS.len() { RGBColor(r, g, b) } else { RGBColor(r / 2, g / 2, b / 2) }
}

pub(crate) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

pub(crate) fn padded(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return 0.0..1.0;
    }
    let room = ((high - low) * 0.08).max(0.01);
    low - room..high + room
}

/// The accuracy-efficiency front: every run as a small dot, every method's mean with its 95%
/// intervals. Methods with less than half of the best EM would leave no room for the others; they
/// are named with their numbers in the legend only.
pub fn front_svg(summaries: &[MethodSummary], runs: &[RunResult]) -> String {
    let mut svg = String::new();
    let best = summaries.iter().map(|summary| summary.em).fold(0.0, f64::max);
    let (inside, outside): (Vec<_>, Vec<_>) =
        summaries.iter().cloned().partition(|summary| summary.em >= 0.5 * best);
    let drawn = draw_front(&mut svg, &inside, &outside, runs);
    drawn.expect("drawing into memory does not fail");
    svg
}

fn draw_front(
    svg: &mut String,
    summaries: &[MethodSummary],
    outside: &[MethodSummary],
    runs: &[RunResult],
) -> Drawn {
    let root = SVGBackend::with_string(svg, (860, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let (plot, legend) = root.split_horizontally(620);
    let shown: Vec<&RunResult> = runs
        .iter()
        .filter(|run| summaries.iter().any(|summary| summary.method == run.method))
        .collect();
    let xs = padded(
        shown
            .iter()
            .map(|run| run.calls)
            .chain(summaries.iter().flat_map(|summary| summary.calls_interval)),
    );
    let ys = padded(
        shown
            .iter()
            .map(|run| run.em)
            .chain(summaries.iter().flat_map(|summary| summary.em_interval)),
    );
    let mut chart = ChartBuilder::on(&plot)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .caption("Accuracy and tool calls on held-out problems", ("sans-serif", 18))
        .build_cartesian_2d(xs, ys)?;
    chart
        .configure_mesh()
        .x_desc("#Tool: mean calls an episode (fewer is better)")
        .y_desc("EM")
        .light_line_style(WHITE)
        .draw()?;
    for (index, summary) in summaries.iter().enumerate() {
        let colour = colour(index);
        let own = shown.iter().filter(|run| run.row() == summary.method);
        chart.draw_series(
            own.map(|run| Circle::new((run.calls, run.em), 3, colour.mix(0.35).filled())),
        )?;
        let (x, y) = (summary.calls, summary.em);
        let intervals = [
            [(summary.calls_interval[0], y), (summary.calls_interval[1], y)],
            [(x, summary.em_interval[0]), (x, summary.em_interval[1])],
        ];
        chart.draw_series(
            intervals.map(|line| PathElement::new(line.to_vec(), colour.stroke_width(2))),
        )?;
        chart.draw_series([Circle::new((x, y), 6, colour.filled())])?;
    }
    let style = |size: i32| {
        ("sans-serif", size).into_text_style(&legend).pos(Pos::new(HPos::Left, VPos::Center))
    };
    let line = |index: usize| 60 + 24 * index as i32;
    for (index, summary) in summaries.iter().enumerate() {
        legend.draw(&Circle::new((12, line(index)), 6, colour(index).filled()))?;
        legend.draw(&Text::new(summary.method.clone(), (26, line(index)), style(14)))?;
    }
    for (index, summary) in outside.iter().enumerate() {
        let text =
            format!("not shown: {} ({:.2} / {:.2})", summary.method, summary.em, summary.calls);
        legend.draw(&Text::new(text, (6, line(summaries.len() + index)), style(12)))?;
    }
    root.present()
}

/// One panel per metric: the mean over seeds at each step, a line per method. Metrics that no run
/// has are left out.
pub fn curves_svg(methods: &[String], runs: &[RunResult], metrics: &[(&str, &str)]) -> String {
    let has =
        |key: &str| runs.iter().any(|run| run.metrics.iter().any(|step| step.contains_key(key)));
    let metrics: Vec<_> = metrics.iter().filter(|(key, _)| has(key)).collect();
    let mut svg = String::new();
    if metrics.is_empty() {
        return svg;
    }
    draw_curves(&mut svg, methods, runs, &metrics).expect("drawing into memory does not fail");
    svg
}

/// The mean over a method's runs at each step that has the metric.
fn curve(runs: &[RunResult], method: &str, key: &str) -> Vec<(f64, f64)> {
    let mut by_step: std::collections::BTreeMap<u64, Vec<f64>> = std::collections::BTreeMap::new();
    for step in runs.iter().filter(|run| run.row() == method).flat_map(|run| &run.metrics) {
        if let (Some(number), Some(value)) = (step.get("step"), step.get(key)) {
            by_step.entry(*number as u64).or_default().push(*value);
        }
    }
    by_step.into_iter().map(|(step, values)| (step as f64, mean(&values))).collect()
}

fn draw_curves(
    svg: &mut String,
    methods: &[String],
    runs: &[RunResult],
    metrics: &[&(&str, &str)],
) -> Drawn {
    let rows = metrics.len().div_ceil(2);
    let root = SVGBackend::with_string(svg, (1000, 300 * rows as u32 + 64)).into_drawing_area();
    root.fill(&WHITE)?;
    let (legend, plots) = root.split_vertically(64);
    for ((key, title), area) in metrics.iter().zip(plots.split_evenly((rows, 2))) {
        let curves: Vec<Vec<(f64, f64)>> =
            methods.iter().map(|method| curve(runs, method, key)).collect();
        let xs = padded(curves.iter().flatten().map(|(x, _)| *x));
        let ys = padded(curves.iter().flatten().map(|(_, y)| *y));
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(32)
            .y_label_area_size(48)
            .caption(title, ("sans-serif", 15))
            .build_cartesian_2d(xs, ys)?;
        chart.configure_mesh().x_desc("step").light_line_style(WHITE).draw()?;
        for (index, points) in curves.into_iter().enumerate() {
            chart.draw_series(LineSeries::new(points, colour(index).stroke_width(2)))?;
        }
    }
    let style = ("sans-serif", 13).into_text_style(&legend).pos(Pos::new(HPos::Left, VPos::Center));
    let (mut x, mut y) = (16, 18);
    for (index, method) in methods.iter().enumerate() {
        let width = 24 + 7 * method.chars().count() as i32;
        if x + width > 990 {
            (x, y) = (16, y + 24);
        }
        legend.draw(&Circle::new((x, y), 5, colour(index).filled()))?;
        legend.draw(&Text::new(method.clone(), (x + 9, y), style.clone()))?;
        x += width;
    }
    root.present()
}
