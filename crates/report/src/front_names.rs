//! The names of the figure of fronts: beside a method's places or along its staircase, along the
//! controls, and where the leading method's knob stands.

use crate::figures::{Chart, Drawn};
use crate::front::Place;
use crate::front_figure::{Figure, GREY, Shown, oracle_to_always, steps};
use crate::labels::{Label, Labels};
use crate::lettering::draw_label;
use crate::rectangle::{Pixel, Rectangle};
use crate::{Controls, Front};
use plotters::style::RGBColor;

/// Pixels around the middle of a mark, and of a line.
const MARK: i32 = 7;
const LINE: i32 = 2;

/// Pixels of a step from which on a name may stand along it.
const LONG: i32 = 60;

/// Where the name of a control may stand along it, in shares of the calls of always calling.
const ALONG: [f64; 9] = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9];

/// Draws the names; the leading method's has the first choice, then those that can stand at few
/// places.
pub(crate) fn draw_names(chart: &Chart<'_, '_>, figure: &Figure<'_>) -> Drawn {
    let (xs, ys) = chart.plotting_area().get_pixel_range();
    let mut labels = Labels::new(Rectangle::new((xs.start, ys.start), (xs.end, ys.end)));
    let mut names: Vec<(Label, RGBColor)> = Vec::new();
    for (owner, one) in figure.inside.iter().enumerate() {
        names.push((name_of(chart, &mut labels, owner, one), one.look.ink()));
    }
    if let Some(controls) = &figure.frame.controls {
        let of_controls = names_of_controls(chart, &mut labels, names.len(), controls);
        names.extend(of_controls.into_iter().map(|label| (label, GREY)));
    }
    names.sort_by_key(|(label, _)| (!label.is_bold, label.anchors.len()));
    let (wishes, inks): (Vec<Label>, Vec<RGBColor>) = names.into_iter().unzip();
    let area = chart.plotting_area().strip_coord_spec();
    for ((label, ink), placed) in wishes.iter().zip(inks).zip(labels.settle(&wishes)) {
        if let Some(placed) = placed {
            draw_label(&area, label, ink, &placed)?;
        }
    }
    // where the leading method's knob stands, as far as there is room
    for (owner, one) in figure.inside.iter().enumerate().filter(|(_, one)| one.look.is_lead) {
        for (setting, place) in one.settings.iter().zip(&one.places) {
            let anchors = vec![Rectangle::around(chart.backend_coord(&place.pair()), MARK)];
            let label = Label { text: setting.clone(), size: 13, is_bold: false, owner, anchors };
            if let Some(placed) = labels.beside(&label) {
                draw_label(&area, &label, one.look.ink(), &placed)?;
            }
        }
    }
    Ok(())
}

/// A method's name, after what is drawn of it.
fn name_of(chart: &Chart<'_, '_>, labels: &mut Labels, owner: usize, one: &Shown) -> Label {
    let mark = |place: &Place| Rectangle::around(chart.backend_coord(&place.pair()), MARK);
    let mut anchors: Vec<Rectangle> = one.places.iter().map(mark).collect();
    anchors.iter().for_each(|place| labels.mark(*place, owner));
    let corners: Vec<Pixel> = steps(&one.places).iter().map(|at| chart.backend_coord(at)).collect();
    for ends in corners.windows(2) {
        let [from, to] = [ends[0], ends[1]];
        labels.mark_line(from, to, owner);
        if from.1 == to.1 && to.0 - from.0 >= LONG {
            anchors.push(Rectangle::around(((from.0 + to.0) / 2, from.1), LINE));
        }
    }
    let is_bold = one.look.is_lead;
    Label { text: one.name.clone(), size: if is_bold { 22 } else { 16 }, is_bold, owner, anchors }
}

/// The names of the controls, after their lines; their numbers as owners are `first` and those
/// behind it.
fn names_of_controls(
    chart: &Chart<'_, '_>,
    labels: &mut Labels,
    first: usize,
    controls: &Controls,
) -> Vec<Label> {
    let pixel = |place: &Place| chart.backend_coord(&place.pair());
    let always = controls.always();
    let mut names: Vec<Label> = Vec::new();
    let mut add = |text: &str, anchors: Vec<Rectangle>| {
        let owner = first + names.len();
        names.push(Label { text: text.into(), size: 16, is_bold: false, owner, anchors });
        owner
    };
    let lines = [
        ("oracle router", oracle_to_always(controls)),
        ("random router", controls.trivial().to_vec()),
    ];
    for (text, corners) in lines {
        let front = Front::of(&corners);
        let at = |share: f64| {
            let calls = share * always.calls;
            let em = front.em_at(calls)?;
            Some(Rectangle::around(pixel(&Place { calls, em }), LINE))
        };
        let owner = add(text, ALONG.into_iter().filter_map(at).collect());
        for ends in corners.windows(2) {
            labels.mark_line(pixel(&ends[0]), pixel(&ends[1]), owner);
        }
    }
    for (text, place) in [("never call", controls.never()), ("always call", always)] {
        let owner = add(text, vec![Rectangle::around(pixel(&place), 5)]);
        labels.mark(Rectangle::around(pixel(&place), 4), owner);
    }
    names
}
