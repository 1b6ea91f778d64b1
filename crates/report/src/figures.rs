//! SVG figures of training: a panel for each metric. Text is drawn by the viewer, so no font is
//! needed.

use crate::fronts::settings_of;
use crate::lettering::draw_beside;
use crate::palette::{Look, Palette};
use crate::significance::deviation;
use crate::spread::spread;
use crate::{RunResult, mean, row_name};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::collections::BTreeMap;

pub(crate) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Where a figure is drawn.
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A plane that is drawn.
pub(crate) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Methods that a panel has room for.
const MOST: usize = 8;

/// Pixels beside a panel for the methods' names.
const NAMES: i32 = 170;

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

/// A method's curve: at each step the mean over seeds and half the width of its interval.
struct Curve {
    name: String,
    look: Look,
    points: Vec<[f64; 3]>,
}

/// One panel per metric that a run has: for each method the mean over seeds at each step, and the
/// band `mean +- 1.96 d / sqrt(n)` of its 95% interval, d being the deviation over seeds. Of a
/// method with a knob the middle setting is drawn. Beyond eight methods, the leading one first, the
/// rest is left out and counted.
pub fn curves_svg(runs: &[RunResult], metrics: &[(&str, &str)], palette: &Palette) -> String {
    let has =
        |key: &str| runs.iter().any(|run| run.metrics.iter().any(|step| step.contains_key(key)));
    let metrics: Vec<_> = metrics.iter().filter(|(key, _)| has(key)).collect();
    let mut svg = String::new();
    if metrics.is_empty() {
        return svg;
    }
    draw_curves(&mut svg, runs, &metrics, palette).expect("drawing into memory does not fail");
    svg
}

/// The rows to draw and their looks, one for each trained method.
fn drawn_rows(runs: &[RunResult], palette: &Palette) -> Vec<(String, Look)> {
    let is_trained =
        |name: &&String| runs.iter().any(|run| run.method == **name && !run.metrics.is_empty());
    let row = |name: &String| {
        let settings = settings_of(runs, name);
        let middle = settings.get(settings.len() / 2);
        let row = middle.map_or_else(|| name.clone(), |setting| row_name(name, setting));
        (row, palette.look(name))
    };
    palette.methods().iter().filter(is_trained).map(row).collect()
}

fn curve(runs: &[RunResult], (name, look): &(String, Look), key: &str) -> Curve {
    let mut by_step: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for step in runs.iter().filter(|run| run.row() == *name).flat_map(|run| &run.metrics) {
        if let (Some(number), Some(value)) = (step.get("step"), step.get(key)) {
            by_step.entry(*number as u64).or_default().push(*value);
        }
    }
    let point = |(step, values): (u64, Vec<f64>)| {
        let half = 1.96 * deviation(&values).unwrap_or(0.0) / (values.len() as f64).sqrt();
        [step as f64, mean(&values), half]
    };
    Curve { name: name.clone(), look: *look, points: by_step.into_iter().map(point).collect() }
}

fn draw_curves(
    svg: &mut String,
    runs: &[RunResult],
    metrics: &[&(&str, &str)],
    palette: &Palette,
) -> Drawn {
    let mut rows = drawn_rows(runs, palette);
    let left_out = rows.len().saturating_sub(MOST);
    rows.truncate(MOST);
    let lines = metrics.len().div_ceil(2);
    let note = 24 * u32::from(left_out > 0);
    let size = (1180, 300 * lines as u32 + note);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, panels) = root.split_vertically(note);
    if left_out > 0 {
        let text = format!("{left_out} more methods are not drawn");
        let style = ("sans-serif", 14).into_text_style(&above);
        above.draw(&Text::new(text, (16, 8), style))?;
    }
    for ((key, title), area) in metrics.iter().zip(panels.split_evenly((lines, 2))) {
        let curves: Vec<Curve> = rows.iter().map(|row| curve(runs, row, key)).collect();
        let curves: Vec<Curve> =
            curves.into_iter().filter(|curve| !curve.points.is_empty()).collect();
        draw_panel(&area, title, &curves)?;
    }
    root.present()
}

fn draw_panel(area: &Area<'_>, title: &str, curves: &[Curve]) -> Drawn {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let xs = padded(points().map(|[step, ..]| *step));
    let ys = padded(points().flat_map(|[_, mean, half]| [mean - half, mean + half]));
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(NAMES)
        .x_label_area_size(32)
        .y_label_area_size(48)
        .caption(title, ("sans-serif", 17))
        .build_cartesian_2d(xs, ys)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .x_labels(6)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_labels(6)
        .bold_line_style(BLACK.mix(0.06))
        .light_line_style(WHITE)
        .draw()?;
    // the leading method is the first of them, and drawn over the others
    for curve in curves.iter().rev() {
        let Look { colour, dash, is_lead } = curve.look;
        let upper = curve.points.iter().map(|[step, mean, half]| (*step, mean + half));
        let lower = curve.points.iter().rev().map(|[step, mean, half]| (*step, mean - half));
        let band: Vec<(f64, f64)> = upper.chain(lower).collect();
        chart.draw_series([Polygon::new(band, colour.mix(0.15))])?;
        let line: Vec<(f64, f64)> = curve.points.iter().map(|[x, y, _]| (*x, *y)).collect();
        let stroke = colour.stroke_width(if is_lead { 3 } else { 2 });
        match dash {
            0 => chart.draw_series(LineSeries::new(line, stroke))?,
            dash => chart.draw_series(DashedLineSeries::new(line, dash, 3, stroke))?,
        };
    }
    let last = |curve: &Curve| {
        let [step, mean, _] = curve.points[curve.points.len() - 1];
        chart.backend_coord(&(step, mean))
    };
    let ends: Vec<(i32, i32)> = curves.iter().map(last).collect();
    let (columns, heights) = chart.plotting_area().get_pixel_range();
    let (left, top) = area.get_base_pixel();
    let wishes: Vec<i32> = ends.iter().map(|(_, y)| *y).collect();
    let places = spread(&wishes, 15, (heights.start, heights.end));
    for (curve, y) in curves.iter().zip(places) {
        let at = (columns.end + 5 - left, y - top);
        draw_beside(area, &curve.name, 14, curve.look.ink(), at)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fronts::tests::swept;
    use crate::table::tests::run;

    fn trained(run: RunResult, ems: [f64; 2]) -> RunResult {
        let step = |k: usize| [("step".to_owned(), k as f64), ("em".to_owned(), ems[k])].into();
        RunResult { metrics: vec![step(0), step(1)], ..run }
    }

    #[test]
    fn a_curve_is_the_mean_of_the_middle_setting_with_its_interval() {
        let mut runs = vec![
            trained(swept("a", "x", 1, 0.5, 1.0), [0.9, 0.9]),
            trained(swept("a", "y", 1, 0.5, 1.0), [0.25, 0.5]),
            trained(swept("a", "y", 2, 0.5, 1.0), [0.75, 0.5]),
            trained(swept("a", "z", 1, 0.5, 1.0), [0.9, 0.9]),
            run("untrained", 1, 0.5, 1.0),
        ];
        let palette = Palette::of(&runs, &[]);
        let rows = drawn_rows(&runs, &palette);
        assert_eq!(rows.len(), 1);
        let curve = curve(&runs, &rows[0], "em");
        // 0.25 and 0.75: deviation sqrt(2 / 16) = 0.35355, 1.96 times it over sqrt(2) is 0.49
        assert_eq!((curve.name.as_str(), curve.points[1]), ("a y", [1.0, 0.5, 0.0]));
        assert!(curve.points[0][1] == 0.5 && (curve.points[0][2] - 0.49).abs() < 1e-12);
        let panels = [("em", "EM"), ("loss", "no run has it")];
        let svg = curves_svg(&runs, &panels, &palette);
        // one band, and the name beside the line's end
        assert_eq!(svg.matches("<polygon ").count(), 1);
        assert!(svg.contains("a y") && !svg.contains("no run") && !svg.contains("more methods"));
        assert!(curves_svg(&runs, &panels[1..], &palette).is_empty());
        for k in 0..9 {
            runs.push(trained(run(&format!("other {k}"), 1, 0.5, 1.0), [0.5, 0.5]));
        }
        let svg = curves_svg(&runs, &panels, &Palette::of(&runs, &[]));
        assert!(svg.contains("2 more methods are not drawn"));
        assert_eq!(svg.matches("<polygon ").count(), 8);
    }
}
