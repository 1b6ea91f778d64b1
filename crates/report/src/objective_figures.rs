//! SVG figures of objectives, however many there are: every pair of them, and parallel coordinates.
//! Methods have the colours, dashes and marks that they have everywhere, and names beside what is
//! drawn of them.

use crate::figures::{Area, Chart, Drawn, padded};
use crate::labels::{Label, Labels, width_of};
use crate::lettering::{draw_beside, draw_label};
use crate::marks::mark;
use crate::palette::{Look, Palette};
use crate::rectangle::{Pixel, Rectangle};
use crate::spread::spread;
use crate::{ObjectiveSummary, RunResult};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Height of a row of the legend.
const ROW: i32 = 24;

/// Height of a name beside a line's end.
const NAME: i32 = 14;

/// All pairs of so many objectives, the first with each other one first.
pub(crate) fn pairs(objectives: usize) -> Vec<(usize, usize)> {
    (0..objectives).flat_map(|x| (x + 1..objectives).map(move |y| (x, y))).collect()
}

/// Rows and columns that have room for so many panels, three of them side by side at most.
pub(crate) fn grid(panels: usize) -> (usize, usize) {
    let columns = panels.min(3);
    (panels.div_ceil(columns.max(1)), columns)
}

/// What is drawn: the rows of tables, that of the leading method last and so over the others.
struct Drawing<'a> {
    rows: Vec<(&'a ObjectiveSummary, Look)>,
    runs: &'a [RunResult],
    palette: &'a Palette,
}

impl<'a> Drawing<'a> {
    /// `None` for a single objective.
    fn of(
        summaries: &'a [ObjectiveSummary],
        runs: &'a [RunResult],
        palette: &'a Palette,
    ) -> Option<Self> {
        let look = |summary: &'a ObjectiveSummary| (summary, palette.look(&summary.method));
        let mut rows: Vec<(&ObjectiveSummary, Look)> = summaries.iter().map(look).collect();
        rows.sort_by_key(|(_, look)| look.is_lead);
        (summaries.first()?.point.len() > 1).then_some(Self { rows, runs, palette })
    }

    /// The objectives.
    fn names(&self) -> &'a [String] {
        self.rows[0].0.point.names()
    }

    fn runs_of(&self, summary: &ObjectiveSummary) -> impl Iterator<Item = &'a RunResult> {
        self.runs.iter().filter(move |run| run.row() == summary.method)
    }

    /// The methods, the leading one first.
    fn methods(&self) -> Vec<String> {
        let methods: Vec<&str> =
            self.rows.iter().map(|(summary, _)| self.palette.method_of(&summary.method)).collect();
        let is_drawn = |method: &&String| methods.contains(&method.as_str());
        self.palette.methods().iter().filter(is_drawn).cloned().collect()
    }
}

/// A panel for every pair of objectives: each run a small mark, each method's mean with its 95%
/// intervals; names in a legend, and in a panel as far as there is room. Empty for a single
/// objective.
pub fn pairs_svg(summaries: &[ObjectiveSummary], runs: &[RunResult], palette: &Palette) -> String {
    let mut svg = String::new();
    if let Some(drawing) = Drawing::of(summaries, runs, palette) {
        draw_pairs(&mut svg, &drawing).expect("drawing into memory does not fail");
    }
    svg
}

fn draw_pairs(svg: &mut String, drawing: &Drawing<'_>) -> Drawn {
    let pairs = pairs(drawing.names().len());
    let (rows, columns) = grid(pairs.len());
    let width = 340 * columns as u32;
    let methods = drawing.methods();
    let entries = legend(&methods, width);
    let height = legend_height(&entries);
    let size = (width, 300 * rows as u32 + height);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, panels) = root.split_vertically(height);
    for (pair, area) in pairs.into_iter().zip(panels.split_evenly((rows, columns))) {
        draw_pair(&area, pair, drawing)?;
    }
    draw_legend(&above, &entries, drawing.palette)?;
    root.present()
}

fn draw_pair(area: &Area<'_>, (x, y): (usize, usize), drawing: &Drawing<'_>) -> Drawn {
    let names = drawing.names();
    let shown = |k: usize| {
        let ends =
            drawing.rows.iter().flat_map(|(one, _)| [one.low.values()[k], one.high.values()[k]]);
        padded(drawing.runs.iter().map(|run| run.point.values()[k]).chain(ends))
    };
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(58)
        .build_cartesian_2d(shown(x), shown(y))?;
    chart
        .configure_mesh()
        .x_desc(&names[x])
        .y_desc(&names[y])
        .x_labels(5)
        .light_line_style(WHITE)
        .draw()?;
    for (summary, look) in &drawing.rows {
        let place = |run: &RunResult| (run.point.values()[x], run.point.values()[y]);
        let own = drawing.runs_of(summary).flat_map(|run| mark(&place(run), 3, look, 0.35));
        chart.draw_series(own)?;
        let (mean, intervals) = cross(summary, (x, y));
        let stroke = look.colour.stroke_width(2);
        chart.draw_series(intervals.map(|bar| PathElement::new(bar.to_vec(), stroke)))?;
        let size = if look.is_lead { 7 } else { 5 };
        chart.draw_series(mark(&mean, size, look, 1.0))?;
    }
    draw_names(&chart, (x, y), drawing)
}

/// A point of a panel.
type At = (f64, f64);

/// The mean of a pair of objectives, and from end to end the interval of each.
fn cross(summary: &ObjectiveSummary, (x, y): (usize, usize)) -> (At, [[At; 2]; 2]) {
    let (low, high) = (summary.low.values(), summary.high.values());
    let mean = (summary.point.values()[x], summary.point.values()[y]);
    (mean, [[(low[x], mean.1), (high[x], mean.1)], [(mean.0, low[y]), (mean.0, high[y])]])
}

/// A method's name beside one of its means, where there is room; the legend has them all.
fn draw_names(chart: &Chart<'_, '_>, pair: (usize, usize), drawing: &Drawing<'_>) -> Drawn {
    let (xs, ys) = chart.plotting_area().get_pixel_range();
    let mut labels = Labels::new(Rectangle::new((xs.start, ys.start), (xs.end, ys.end)));
    let pixel = |at: (f64, f64)| chart.backend_coord(&at);
    let methods = drawing.methods();
    let mut names: Vec<Label> = Vec::new();
    for (owner, method) in methods.iter().enumerate() {
        let look = drawing.palette.look(method);
        let mut anchors = Vec::new();
        let is_own = |row: &str| drawing.palette.method_of(row) == method;
        for (summary, _) in drawing.rows.iter().filter(|(one, _)| is_own(&one.method)) {
            let (mean, intervals) = cross(summary, pair);
            for [from, to] in intervals {
                labels.mark_line(pixel(from), pixel(to), owner);
            }
            anchors.push(Rectangle::around(pixel(mean), 7));
        }
        anchors.iter().for_each(|place| labels.mark(*place, owner));
        let is_bold = look.is_lead;
        names.push(Label { text: method.clone(), size: NAME, is_bold, owner, anchors });
    }
    let area = chart.plotting_area().strip_coord_spec();
    for (name, method) in names.iter().zip(&methods) {
        if let Some(placed) = labels.beside(name) {
            draw_label(&area, name, drawing.palette.look(method).ink(), &placed)?;
        }
    }
    Ok(())
}

/// Parallel coordinates: an axis for each objective, a thin line for each run, a thick one for each
/// method's mean with its name at the end. A method whose line lies above another's everywhere
/// dominates it. Empty for a single objective.
pub fn parallel_svg(
    summaries: &[ObjectiveSummary],
    runs: &[RunResult],
    palette: &Palette,
) -> String {
    let mut svg = String::new();
    if let Some(drawing) = Drawing::of(summaries, runs, palette) {
        draw_parallel(&mut svg, &drawing).expect("drawing into memory does not fail");
    }
    svg
}

fn draw_parallel(svg: &mut String, drawing: &Drawing<'_>) -> Drawn {
    let names = drawing.names();
    let room = drawing.rows.iter().map(|(one, _)| width_of(&one.method, NAME) + 16).max();
    let room = room.unwrap_or_default() as u32;
    // a row of names for each line's end
    let height = 420u32.max(NAME as u32 * drawing.rows.len() as u32 + 40);
    let size = (160 * names.len().max(4) as u32 + room, height);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let ys = padded(drawing.runs.iter().flat_map(|run| run.point.values().iter().copied()));
    let bottom = ys.start;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .margin_right(room)
        .y_label_area_size(44)
        .build_cartesian_2d(-0.25..names.len() as f64 - 0.75, ys.clone())?;
    chart.configure_mesh().disable_x_mesh().disable_x_axis().light_line_style(WHITE).draw()?;
    let axis = |k: usize| vec![(k as f64, ys.start), (k as f64, ys.end)];
    let axes = (0..names.len()).map(|k| PathElement::new(axis(k), BLACK.mix(0.4)));
    chart.draw_series(axes)?;
    let style = ("sans-serif", 13).into_text_style(&root).pos(Pos::new(HPos::Left, VPos::Bottom));
    let name = |(k, name): (usize, &String)| {
        Text::new(name.clone(), (k as f64 + 0.02, bottom), style.clone())
    };
    chart.draw_series(names.iter().enumerate().map(name))?;
    for (summary, look) in &drawing.rows {
        for run in drawing.runs_of(summary) {
            let thin = LineSeries::new(line(run.point.values()), look.colour.mix(0.3));
            chart.draw_series(thin)?;
        }
        let stroke = look.colour.stroke_width(if look.is_lead { 4 } else { 2 });
        let mean = line(summary.point.values());
        match look.dash {
            0 => chart.draw_series(LineSeries::new(mean, stroke))?,
            dash => chart.draw_series(DashedLineSeries::new(mean, dash, 3, stroke))?,
        };
    }
    draw_ends(&root, &chart, drawing)?;
    drop(chart);
    root.present()
}

/// Values at their axes.
fn line(values: &[f64]) -> Vec<(f64, f64)> {
    values.iter().enumerate().map(|(k, value)| (k as f64, *value)).collect()
}

/// The rows' names to the right of the last axis, each with a line from where its own ends.
fn draw_ends(root: &Area<'_>, chart: &Chart<'_, '_>, drawing: &Drawing<'_>) -> Drawn {
    let end = |(summary, _): &(&ObjectiveSummary, Look)| {
        let values = line(summary.point.values());
        chart.backend_coord(&values[values.len() - 1])
    };
    let ends: Vec<Pixel> = drawing.rows.iter().map(end).collect();
    let (columns, heights) = chart.plotting_area().get_pixel_range();
    let wishes: Vec<i32> = ends.iter().map(|(_, y)| *y).collect();
    let places = spread(&wishes, NAME, (heights.start, heights.end));
    for (((summary, look), end), y) in drawing.rows.iter().zip(ends).zip(places) {
        let ink = look.ink();
        root.draw(&PathElement::new(vec![end, (columns.end + 3, y)], ink.mix(0.5)))?;
        draw_beside(root, &summary.method, NAME, ink, (columns.end + 5, y))?;
    }
    Ok(())
}

/// A method's name and where it stands, of all methods from left to right and row by row.
fn legend(methods: &[String], width: u32) -> Vec<(&str, Pixel)> {
    let (mut x, mut y) = (16, 20);
    let mut entries = Vec::new();
    for method in methods {
        let room = 30 + width_of(method, NAME);
        if x + room > width as i32 && x > 16 {
            x = 16;
            y += ROW;
        }
        entries.push((method.as_str(), (x, y)));
        x += room;
    }
    entries
}

fn legend_height(entries: &[(&str, Pixel)]) -> u32 {
    entries.last().map_or(0, |(_, (_, y))| *y as u32 + ROW as u32 - 4)
}

fn draw_legend(area: &Area<'_>, entries: &[(&str, Pixel)], palette: &Palette) -> Drawn {
    for (name, (x, y)) in entries {
        let look = palette.look(name);
        for circle in mark(&(*x, *y), 5, &look, 1.0) {
            area.draw(&circle)?;
        }
        draw_beside(area, name, NAME, look.ink(), (x + 10, *y))?;
    }
    Ok(())
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
            // the mean of `x` is apart from that of `y`: names in each panel and in the legend
            for name in ["x", "y"] {
                let named = svg.matches(&format!("\n{name}\n")).count();
                assert_eq!(named, pairs + 1, "{name} of {objectives}");
            }
            for name in ["a", "b", "c", "d", "e"].iter().take(objectives) {
                assert!(svg.contains(&format!("\n{name}\n")), "{name}");
            }
            let parallel = parallel_svg(&summaries, &runs, &palette);
            // as many lines: three thin ones, the leading method's of 4 and another one of 2
            let with = |attribute: &str| parallel.matches(attribute).count();
            assert_eq!(with("opacity=\"0.3\""), 3, "{parallel}");
            assert_eq!(with("stroke-width=\"4\""), 1, "{parallel}");
            assert_eq!(with("stroke-width=\"2\""), 1, "{parallel}");
            // a name and a line to it at each end
            assert_eq!((with("\nx\n"), with("\ny\n"), with("opacity=\"0.5\"")), (1, 1, 2));
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
        // 10 * 61 * 14 * 81 / 10,000 = 69, and 30: 16 + 99 + 99 fit in 220, a third does not
        let methods = ["x", "y", "z"].map(|name| name.repeat(10));
        let places: Vec<Pixel> =
            legend(&methods, 220).into_iter().map(|(_, place)| place).collect();
        assert_eq!(places, [(16, 20), (115, 20), (16, 44)]);
        assert_eq!(legend_height(&legend(&methods, 220)), 64);
        assert_eq!(legend_height(&legend(&methods, 999)), 40);
    }

    #[test]
    fn methods_of_one_colour_differ_by_their_marks_and_dashes() {
        let names = ["GDPO", "GDPO, K = 3", "GDPO, the same reward"];
        let runs: Vec<RunResult> = (0..3)
            .map(|k| run(names[k], 1, &[0.2 + 0.3 * k as f64, 0.8 - 0.3 * k as f64, 0.5]))
            .collect();
        let summaries = summarise_objectives(&runs, &[]);
        let palette = Palette::of(&runs, &names.map(str::to_owned));
        let svg = pairs_svg(&summaries, &runs, &palette);
        // of each mark one in the legend, and a run and a mean in each of three panels: filled, a
        // ring, a ring and a dot
        let rings = svg.matches("fill=\"none\" stroke=\"#0072B2\"").count();
        assert_eq!((count(&svg, "circle"), rings), (7 + 7 + 14, 14));
        // a dashed line is one of many parts
        let parallel = parallel_svg(&summaries, &runs, &palette);
        let thick = parallel.matches("stroke=\"#0072B2\" stroke-width=\"2\"").count();
        assert!(thick > 20, "{thick}");
    }
}
