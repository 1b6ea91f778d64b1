//! SVG figures of objectives, however many there are: every pair of them, parallel coordinates, and
//! the archive that an estimator keeps.

use crate::figures::{Area, Drawn, padded};
use crate::palette::Palette;
use crate::{ObjectiveSummary, RunResult};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Height of a row of the legend.
const ROW: i32 = 24;

/// All pairs of so many objectives, the first with each other one first.
fn pairs(objectives: usize) -> Vec<(usize, usize)> {
    (0..objectives).flat_map(|x| (x + 1..objectives).map(move |y| (x, y))).collect()
}

/// Rows and columns that have room for so many panels, three of them side by side at most.
fn grid(panels: usize) -> (usize, usize) {
    let columns = panels.min(3);
    (panels.div_ceil(columns.max(1)), columns)
}

/// A panel for every pair of objectives: each run a small dot, each method's mean with its 95%
/// intervals. Empty for a single objective.
pub fn pairs_svg(summaries: &[ObjectiveSummary], runs: &[RunResult], palette: &Palette) -> String {
    let mut svg = String::new();
    if summaries.first().is_some_and(|summary| summary.point.len() > 1) {
        draw_pairs(&mut svg, summaries, runs, palette).expect("drawing into memory does not fail");
    }
    svg
}

fn draw_pairs(
    svg: &mut String,
    summaries: &[ObjectiveSummary],
    runs: &[RunResult],
    palette: &Palette,
) -> Drawn {
    let pairs = pairs(summaries[0].point.len());
    let (rows, columns) = grid(pairs.len());
    let width = 340 * columns as u32;
    let entries = legend(summaries, width);
    let height = legend_height(&entries);
    let size = (width, 300 * rows as u32 + height);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, panels) = root.split_vertically(height);
    for (pair, area) in pairs.into_iter().zip(panels.split_evenly((rows, columns))) {
        draw_pair(&area, pair, summaries, runs, palette)?;
    }
    draw_legend(&above, &entries, palette)?;
    root.present()
}

fn draw_pair(
    area: &Area<'_>,
    (x, y): (usize, usize),
    summaries: &[ObjectiveSummary],
    runs: &[RunResult],
    palette: &Palette,
) -> Drawn {
    let names = summaries[0].point.names();
    let shown = |k: usize| {
        let ends =
            summaries.iter().flat_map(move |one| [one.low.values()[k], one.high.values()[k]]);
        padded(runs.iter().map(move |run| run.point.values()[k]).chain(ends))
    };
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(shown(x), shown(y))?;
    chart
        .configure_mesh()
        .x_desc(&names[x])
        .y_desc(&names[y])
        .x_labels(5)
        .light_line_style(WHITE)
        .draw()?;
    for summary in summaries {
        let colour = palette.look(&summary.method).colour;
        let own = runs.iter().filter(|run| run.row() == summary.method);
        let place = |run: &RunResult| (run.point.values()[x], run.point.values()[y]);
        let dot = colour.mix(0.35).filled();
        chart.draw_series(own.map(|run| Circle::new(place(run), 3, dot)))?;
        let (low, high) = (summary.low.values(), summary.high.values());
        let mean = (summary.point.values()[x], summary.point.values()[y]);
        let intervals =
            [[(low[x], mean.1), (high[x], mean.1)], [(mean.0, low[y]), (mean.0, high[y])]];
        let bars = intervals.map(|bar| PathElement::new(bar.to_vec(), colour.stroke_width(2)));
        chart.draw_series(bars)?;
        chart.draw_series([Circle::new(mean, 6, colour.filled())])?;
    }
    Ok(())
}

/// Parallel coordinates: an axis for each objective, a thin line for each run, a thick one for each
/// method's mean. A method whose line lies above another's everywhere dominates it.
pub fn parallel_svg(
    summaries: &[ObjectiveSummary],
    runs: &[RunResult],
    palette: &Palette,
) -> String {
    let mut svg = String::new();
    if summaries.first().is_some_and(|summary| summary.point.len() > 1) {
        draw_parallel(&mut svg, summaries, runs, palette)
            .expect("drawing into memory does not fail");
    }
    svg
}

fn draw_parallel(
    svg: &mut String,
    summaries: &[ObjectiveSummary],
    runs: &[RunResult],
    palette: &Palette,
) -> Drawn {
    let names = summaries[0].point.names();
    let width = 160 * names.len().max(4) as u32;
    let entries = legend(summaries, width);
    let height = legend_height(&entries);
    let size = (width, 420 + height);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, plot) = root.split_vertically(height);
    let ys = padded(runs.iter().flat_map(|run| run.point.values().iter().copied()));
    let bottom = ys.start;
    let mut chart = ChartBuilder::on(&plot)
        .margin(16)
        .y_label_area_size(44)
        .build_cartesian_2d(-0.25..names.len() as f64 - 0.75, ys.clone())?;
    chart.configure_mesh().disable_x_mesh().disable_x_axis().light_line_style(WHITE).draw()?;
    let axis = |k: usize| vec![(k as f64, ys.start), (k as f64, ys.end)];
    let axes = (0..names.len()).map(|k| PathElement::new(axis(k), BLACK.mix(0.4)));
    chart.draw_series(axes)?;
    let style = ("sans-serif", 13).into_text_style(&plot).pos(Pos::new(HPos::Left, VPos::Bottom));
    let name = |(k, name): (usize, &String)| {
        Text::new(name.clone(), (k as f64 + 0.02, bottom), style.clone())
    };
    chart.draw_series(names.iter().enumerate().map(name))?;
    let line = |values: &[f64]| -> Vec<(f64, f64)> {
        values.iter().enumerate().map(|(k, value)| (k as f64, *value)).collect()
    };
    for summary in summaries {
        let colour = palette.look(&summary.method).colour;
        for run in runs.iter().filter(|run| run.row() == summary.method) {
            chart.draw_series(LineSeries::new(line(run.point.values()), colour.mix(0.3)))?;
        }
        let mean = line(summary.point.values());
        chart.draw_series(LineSeries::new(mean, colour.stroke_width(3)))?;
    }
    draw_legend(&above, &entries, palette)?;
    root.present()
}

/// A method's name and where it stands, of all methods from left to right and row by row.
fn legend(summaries: &[ObjectiveSummary], width: u32) -> Vec<(&str, (i32, i32))> {
    let (mut x, mut y) = (16, 20);
    let mut entries = Vec::new();
    for summary in summaries {
        let room = 24 + 7 * summary.method.chars().count() as i32;
        if x + room > width as i32 && x > 16 {
            x = 16;
            y += ROW;
        }
        entries.push((summary.method.as_str(), (x, y)));
        x += room;
    }
    entries
}

fn legend_height(entries: &[(&str, (i32, i32))]) -> u32 {
    entries.last().map_or(0, |(_, (_, y))| *y as u32 + ROW as u32 - 4)
}

fn draw_legend(area: &Area<'_>, entries: &[(&str, (i32, i32))], palette: &Palette) -> Drawn {
    let style = ("sans-serif", 13).into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
    for (name, (x, y)) in entries {
        area.draw(&Circle::new((*x, *y), 5, palette.look(name).colour.filled()))?;
        area.draw(&Text::new((*name).to_owned(), (x + 9, *y), style.clone()))?;
    }
    Ok(())
}

/// The points of an archive and the steps of the volume that they dominate: a panel for each pair
/// of objectives, which `names` names. `row` is the method's row in tables. Empty for a single
/// objective.
pub fn archive_svg(row: &str, names: &[String], points: &[Vec<f64>], palette: &Palette) -> String {
    let mut svg = String::new();
    if names.len() > 1 {
        draw_archive(&mut svg, row, names, points, palette)
            .expect("drawing into memory does not fail");
    }
    svg
}

fn draw_archive(
    svg: &mut String,
    row: &str,
    names: &[String],
    points: &[Vec<f64>],
    palette: &Palette,
) -> Drawn {
    let colour = palette.look(row).colour;
    let pairs = pairs(names.len());
    let (rows, columns) = grid(pairs.len());
    let size = (460 * columns as u32, 420 * rows as u32);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    for ((x, y), area) in pairs.into_iter().zip(root.split_evenly((rows, columns))) {
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .caption(format!("Archive of {row}"), ("sans-serif", 15))
            .build_cartesian_2d(0.0..1.05, 0.0..1.05)?;
        chart
            .configure_mesh()
            .x_desc(&names[x])
            .y_desc(&names[y])
            .light_line_style(WHITE)
            .draw()?;
        let places: Vec<(f64, f64)> = points.iter().map(|point| (point[x], point[y])).collect();
        let fill = colour.mix(0.15).filled();
        chart.draw_series(places.iter().map(|place| Rectangle::new([(0.0, 0.0), *place], fill)))?;
        chart.draw_series(places.iter().map(|place| Circle::new(*place, 4, colour.filled())))?;
    }
    root.present()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objectives::tests::run;
    use crate::summarise_objectives;

    /// How often an element stands in a figure.
    fn count(svg: &str, element: &str) -> usize {
        svg.matches(&format!("<{element} ")).count()
    }

    #[test]
    fn every_pair_and_every_axis_is_drawn_for_two_three_and_five_objectives() {
        for (objectives, pairs) in [(2, 1), (3, 3), (5, 10)] {
            let values: Vec<f64> = (0..objectives).map(|k| 0.1 + 0.1 * k as f64).collect();
            let better: Vec<f64> = values.iter().map(|value| value + 0.3).collect();
            let runs = [run("x", 1, &values), run("x", 2, &better), run("y", 1, &better)];
            let summaries = summarise_objectives(&runs, &[]);
            let palette = Palette::of(&runs, &[]);
            let svg = pairs_svg(&summaries, &runs, &palette);
            // three runs and two means in each panel, and two in the legend
            assert_eq!(count(&svg, "circle"), pairs * 5 + 2, "{objectives}");
            for name in ["a", "b", "c", "d", "e"].iter().take(objectives) {
                assert!(svg.contains(&format!("\n{name}\n")), "{name}");
            }
            let parallel = parallel_svg(&summaries, &runs, &palette);
            // as many lines: three thin ones, two thick ones
            let thick = parallel.matches("stroke-width=\"3\"").count();
            let thin = parallel.matches("opacity=\"0.3\"").count();
            assert_eq!((thin, thick), (3, 2), "{parallel}");
            assert_eq!(parallel.matches("opacity=\"0.4\"").count(), objectives, "{parallel}");
        }
        let single = [run("x", 1, &[0.5])];
        let summaries = summarise_objectives(&single, &[]);
        let palette = Palette::of(&single, &[]);
        assert!(pairs_svg(&summaries, &single, &palette).is_empty());
        assert!(parallel_svg(&summaries, &single, &palette).is_empty());
    }

    #[test]
    fn a_legend_goes_on_in_the_next_row() {
        // 24 + 7 * 10 = 94 each: 16 + 94 + 94 fit in 220, a third does not
        let runs = ["x", "y", "z"].map(|name| run(&name.repeat(10), 1, &[0.5, 0.5]));
        let summaries = summarise_objectives(&runs, &[]);
        let places: Vec<(i32, i32)> =
            legend(&summaries, 220).into_iter().map(|(_, place)| place).collect();
        assert_eq!(places, [(16, 20), (110, 20), (16, 44)]);
        assert_eq!(legend_height(&legend(&summaries, 220)), 64);
        assert_eq!(legend_height(&legend(&summaries, 999)), 40);
    }

    #[test]
    fn an_archive_has_a_panel_for_each_pair() {
        let names = ["r_task", "r_tool", "r_length"].map(str::to_owned);
        let points = vec![vec![1.0, 0.5, 0.25], vec![0.5, 1.0, 0.25]];
        let palette = Palette::of(&[], &[]);
        let svg = archive_svg("x", &names, &points, &palette);
        assert_eq!(count(&svg, "circle"), 3 * 2);
        assert!(svg.starts_with("<svg width=\"1380\" height=\"420\""), "{}", &svg[..60]);
        let pair: Vec<Vec<f64>> = points.iter().map(|point| point[..2].to_vec()).collect();
        let two = archive_svg("x", &names[..2], &pair, &palette);
        assert!(two.starts_with("<svg width=\"460\" height=\"420\""), "{}", &two[..60]);
        assert_eq!(count(&two, "circle"), 2);
        assert!(archive_svg("x", &names[..1], &[vec![0.5]], &palette).is_empty());
    }
}
