//! The figure of fronts: the plane of calls and accuracy, what can be had there without learning
//! when to call, and each method's places with their staircase. Names stand beside what they name.

use crate::figures::{Chart, Drawn, padded};
use crate::front::{Place, staircase};
use crate::front_names::draw_names;
use crate::fronts::{Frame, mean_places, of_each_setting, settings_of};
use crate::marks::mark;
use crate::palette::{Look, Palette};
use crate::statistics::bootstrap_interval;
use crate::{Controls, RunResult};
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color, DashedLineSeries, IntoDrawingArea, IntoTextStyle,
    LineSeries, Polygon, SVGBackend, Text, WHITE,
};
use plotters::style::RGBColor;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Of the controls.
pub(crate) const GREY: RGBColor = RGBColor(95, 95, 95);

/// A front of another experiment, drawn pale behind this one's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Behind {
    /// The method's name.
    pub method: String,
    /// The mean place of each setting.
    pub places: Vec<Place>,
    /// Over how many seeds; 0 where that is not known.
    #[serde(default)]
    pub seeds: usize,
}

/// What must be known of an experiment that is drawn over a larger one, in a sentence; empty where
/// there is none.
pub fn part_of_larger(runs: &[RunResult], behind: &[Behind]) -> String {
    let count = |seeds: usize| format!("{seeds} seed{}", if seeds == 1 { "" } else { "s" });
    let seeds: BTreeSet<u64> = runs.iter().map(|run| run.seed).collect();
    match behind.iter().map(|one| one.seeds).max() {
        None | Some(0) => String::new(),
        Some(most) => format!(
            "part of a larger experiment: {} here, pale the fronts of {}",
            count(seeds.len()),
            count(most)
        ),
    }
}

/// A method as it is drawn.
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) look: Look,
    pub(crate) places: Vec<Place>,
    /// Empty without a knob.
    pub(crate) settings: Vec<String>,
    /// Half-widths of each place's 95% intervals.
    radii: Vec<Place>,
}

/// Each method's mean places with the ellipses of their 95% bootstrap intervals over seeds, and
/// their staircase; the leading method last and strongest. With controls also the line between the
/// two trivial policies, the oracle, and what is attainable between them. Methods with less than
/// half of the best EM, or with controls twice the calls of always calling, would leave no room for
/// the others; they are named with their numbers below.
pub fn front_svg(
    runs: &[RunResult],
    frame: &Frame,
    behind: &[Behind],
    palette: &Palette,
) -> String {
    let shown: Vec<Shown> =
        palette.methods().iter().map(|name| shown(runs, name, palette)).collect();
    let best = |one: &Shown| one.places.iter().map(|place| place.em).fold(0.0, f64::max);
    let highest = shown.iter().map(best).fold(0.0, f64::max);
    let fewest = |one: &Shown| one.places.iter().map(|at| at.calls).fold(f64::INFINITY, f64::min);
    let most_calls = frame.controls.as_ref().map_or(f64::INFINITY, |c| 2.0 * c.always().calls);
    let (inside, outside): (Vec<Shown>, Vec<Shown>) =
        shown.into_iter().partition(|one| best(one) >= 0.5 * highest && fewest(one) <= most_calls);
    let mut svg = String::new();
    let part = part_of_larger(runs, behind);
    draw(&mut svg, &Figure { inside, outside, part, frame, behind, palette })
        .expect("drawing into memory does not fail");
    svg
}

pub(crate) struct Figure<'a> {
    pub(crate) inside: Vec<Shown>,
    outside: Vec<Shown>,
    /// See [`part_of_larger`].
    part: String,
    pub(crate) frame: &'a Frame,
    behind: &'a [Behind],
    palette: &'a Palette,
}

fn shown(runs: &[RunResult], method: &str, palette: &Palette) -> Shown {
    let half = |values: Vec<f64>| {
        let [low, high] = bootstrap_interval(&values);
        (high - low) / 2.0
    };
    Shown {
        name: method.to_owned(),
        look: palette.look(method),
        places: mean_places(runs, method),
        settings: settings_of(runs, method),
        radii: of_each_setting(runs, method, |own| Place {
            calls: half(own.iter().map(|run| run.calls).collect()),
            em: half(own.iter().map(|run| run.em).collect()),
        }),
    }
}

impl Figure<'_> {
    /// What is said below the plane, line by line.
    fn notes(&self) -> Vec<String> {
        let left_out = |one: &Shown| {
            let Place { calls, em } = one.places[0];
            format!("not shown: {}, EM {em:.2} at {calls:.2} calls", one.name)
        };
        let part = (!self.part.is_empty()).then(|| self.part.clone());
        part.into_iter().chain(self.outside.iter().map(left_out)).collect()
    }

    /// The ranges of calls and EM that hold all that is drawn.
    fn ranges(&self) -> (std::ops::Range<f64>, std::ops::Range<f64>) {
        let ends = |one: &Shown| {
            let pairs = one.places.iter().zip(&one.radii);
            pairs.flat_map(|(at, by)| [at.minus(by), at.plus(by)]).collect::<Vec<_>>()
        };
        let mut all: Vec<Place> = self.inside.iter().flat_map(ends).collect();
        all.extend(self.behind.iter().flat_map(|one| one.places.iter().copied()));
        if let Some(controls) = &self.frame.controls {
            all.extend(controls.trivial());
            all.extend(controls.oracle().corners());
        }
        let calls = padded(all.iter().map(|place| place.calls));
        (calls, padded(all.iter().map(|place| place.em)))
    }
}

impl Place {
    pub(crate) fn pair(&self) -> (f64, f64) {
        (self.calls, self.em)
    }

    fn plus(&self, by: &Self) -> Self {
        Self { calls: self.calls + by.calls, em: self.em + by.em }
    }

    fn minus(&self, by: &Self) -> Self {
        Self { calls: self.calls - by.calls, em: self.em - by.em }
    }
}

fn draw(svg: &mut String, figure: &Figure<'_>) -> Drawn {
    let below = 18 * figure.notes().len() as u32;
    let root = SVGBackend::with_string(svg, (860, 560 + below)).into_drawing_area();
    root.fill(&WHITE)?;
    let (calls, em) = figure.ranges();
    let (plot, notes) = root.split_vertically(560);
    let mut chart = ChartBuilder::on(&plot)
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(58)
        .build_cartesian_2d(calls, em)?;
    chart
        .configure_mesh()
        .x_desc("mean tool calls an episode (fewer is better)")
        .y_desc("share of right answers (EM)")
        .axis_desc_style(("sans-serif", 17))
        .label_style(("sans-serif", 15))
        .bold_line_style(BLACK.mix(0.06))
        .light_line_style(WHITE)
        .draw()?;
    if let Some(controls) = &figure.frame.controls {
        draw_controls(&mut chart, controls)?;
    }
    for one in figure.behind {
        draw_behind(&mut chart, one, figure.palette)?;
    }
    for one in figure.inside.iter().rev() {
        draw_front(&mut chart, one)?;
    }
    draw_names(&chart, figure)?;
    let style = ("sans-serif", 14).into_text_style(&notes);
    for (index, text) in figure.notes().into_iter().enumerate() {
        notes.draw(&Text::new(text, (72, 18 * index as i32), style.clone()))?;
    }
    drop(chart);
    root.present()
}

/// What is attainable, between the line and the oracle.
fn draw_controls(chart: &mut Chart<'_, '_>, controls: &Controls) -> Drawn {
    let oracle: Vec<(f64, f64)> = oracle_to_always(controls).iter().map(Place::pair).collect();
    let line: Vec<(f64, f64)> = controls.trivial().iter().map(Place::pair).collect();
    let region: Vec<_> = oracle.iter().chain(line.iter().rev()).copied().collect();
    chart.draw_series([Polygon::new(region, BLACK.mix(0.05))])?;
    chart.draw_series(LineSeries::new(oracle, GREY.stroke_width(2)))?;
    chart.draw_series(DashedLineSeries::new(line.clone(), 6, 5, GREY.stroke_width(2)))?;
    chart.draw_series(line.into_iter().map(|place| Circle::new(place, 4, GREY.filled())))?;
    Ok(())
}

/// The oracle's corners; from the last one level until always calling: calls need not be made.
pub(crate) fn oracle_to_always(controls: &Controls) -> Vec<Place> {
    let mut corners = controls.oracle().corners().to_vec();
    let Place { calls, .. } = controls.always();
    if let Some(last) = corners.last().copied()
        && last.calls < calls
    {
        corners.push(Place { calls, ..last });
    }
    corners
}

/// The corners of the staircase of places: level to the right, then up.
pub(crate) fn steps(places: &[Place]) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for place in staircase(places) {
        if let Some((_, em)) = corners.last().copied() {
            corners.push((place.calls, em));
        }
        corners.push(place.pair());
    }
    corners
}

fn draw_behind(chart: &mut Chart<'_, '_>, one: &Behind, palette: &Palette) -> Drawn {
    let colour = palette.look(&one.method).colour.mix(0.3);
    chart.draw_series(LineSeries::new(steps(&one.places), colour.stroke_width(1)))?;
    chart.draw_series(one.places.iter().map(|at| Circle::new(at.pair(), 2, colour.filled())))?;
    Ok(())
}

fn draw_front(chart: &mut Chart<'_, '_>, one: &Shown) -> Drawn {
    let Look { colour, dash, is_lead } = one.look;
    let ellipse = |(at, by): (&Place, &Place)| {
        let corner = |k: i32| {
            let angle = f64::from(k) * std::f64::consts::TAU / 48.0;
            (at.calls + by.calls * angle.cos(), at.em + by.em * angle.sin())
        };
        (0..48).map(corner).collect::<Vec<_>>()
    };
    let ellipses: Vec<_> = one.places.iter().zip(&one.radii).map(ellipse).collect();
    let strength = if is_lead { 0.22 } else { 0.12 };
    chart.draw_series(ellipses.into_iter().map(|e| Polygon::new(e, colour.mix(strength))))?;
    let stroke = colour.stroke_width(if is_lead { 4 } else { 2 });
    match dash {
        0 => chart.draw_series(LineSeries::new(steps(&one.places), stroke))?,
        dash => chart.draw_series(DashedLineSeries::new(steps(&one.places), dash, 3, stroke))?,
    };
    let size = if is_lead { 7 } else { 5 };
    chart.draw_series(one.places.iter().flat_map(|at| mark(&at.pair(), size, &one.look, 1.0)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fronts::tests::{frame, swept};
    use crate::table::tests::run;

    /// The text elements of a figure and where they begin.
    fn texts(svg: &str) -> Vec<(String, i32, i32)> {
        let number = |element: &str, key: &str| -> i32 {
            let (_, rest) = element.split_once(&format!(" {key}=\"")).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        let read = |element: &str| {
            let (_, rest) = element.split_once('>').unwrap();
            let text = rest.split("</text>").next().unwrap().trim().to_owned();
            (text, number(element, "x"), number(element, "y"))
        };
        svg.split("<text").skip(1).map(read).collect()
    }

    #[test]
    fn steps_are_level_and_then_rise() {
        let places = [(0.0, 0.5), (1.0, 0.9)].map(|(calls, em)| Place { calls, em });
        assert_eq!(steps(&places), [(0.0, 0.5), (1.0, 0.5), (1.0, 0.9)]);
    }

    #[test]
    fn every_method_is_named_once_and_the_leading_one_is_drawn_last() {
        let runs = [
            run("b", 1, 0.775, 0.5),
            swept("a", "q 0.6", 1, 0.8, 0.5),
            swept("a", "q 0.8", 1, 0.9, 0.75),
            run("weak", 1, 0.1, 0.5),
            run("dear", 1, 0.9, 3.0),
        ];
        let frame = Frame { baselines: ["b", "weak", "dear"].map(str::to_owned).into(), ..frame() };
        let palette = Palette::of(&runs, &frame.baselines);
        let behind = [Behind { method: "b".into(), places: vec![runs[0].place()], seeds: 20 }];
        let svg = front_svg(&runs, &frame, &behind, &palette);
        let texts = texts(&svg);
        let controls = ["oracle router", "random router", "never call", "always call"];
        for name in ["a", "b"].iter().chain(&controls).chain(&["q 0.6", "q 0.8"]) {
            assert_eq!(texts.iter().filter(|(text, ..)| text == name).count(), 1, "{name}");
        }
        // less than half of 0.9, and more than twice the one call of always calling
        let notes: Vec<&str> = texts
            .iter()
            .map(|(text, ..)| text.as_str())
            .filter(|text| text.starts_with("not shown"))
            .collect();
        assert_eq!(
            notes,
            ["not shown: weak, EM 0.10 at 0.50 calls", "not shown: dear, EM 0.90 at 3.00 calls"]
        );
        let part = "part of a larger experiment: 1 seed here, pale the fronts of 20 seeds";
        assert_eq!(texts.iter().filter(|(text, ..)| text == part).count(), 1);
        // marks: two of the controls, one behind, one of b, two of a
        assert_eq!(svg.matches("<circle ").count(), 6);
        // the lead's vermilion comes behind b's blue
        let mark = |colour: &str| {
            let circles = svg.match_indices("<circle ").map(|(start, _)| &svg[start..]);
            let ours = circles.map(|rest| rest.split("/>").next().unwrap().contains(colour));
            ours.collect::<Vec<bool>>().iter().rposition(|is_ours| *is_ours)
        };
        assert!(mark("#D55E00") > mark("#0072B2") && mark("#0072B2").is_some());
        // without controls there are neither line nor oracle
        let plain = front_svg(&runs, &Frame { controls: None, ..frame }, &[], &palette);
        assert!(!plain.contains("router") && !plain.contains("larger experiment"));
        assert!(plain.matches("<circle ").count() == 4);
    }
}
