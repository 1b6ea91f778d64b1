//! Which colour a method has: in every figure and on the page the same.
//!
//! The methods that we know have a place of their own in the list below, whatever they are compared
//! with. Others take the places that are free, in their order. The leading method of a comparison has
//! the first colour, which nobody else has.

use crate::RunResult;
use crate::fronts::method_names;
use plotters::style::RGBColor;

/// Colours that also most colour-blind readers tell apart (Okabe and Ito), without the yellow,
/// which white paper swallows. The first is the leading method's alone.
const COLOURS: [RGBColor; 7] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// The methods that we know, as [`plain`] writes them. A place stands for a colour behind the first,
/// and for dashes from the seventh on.
const KNOWN: [&str; 20] = [
    "gdpo",
    "scalarized",
    "hdpo",
    "lagrangian",
    "grpo",
    "otc",
    "mogrpo",
    "hvweighting",
    "ddca",
    "gd2po",
    "smoothminimum",
    "scalarizedwithoutdeviation",
    "drgrpo",
    "rloo",
    "reinforceplusplus",
    "chebyshev",
    "callpenalty",
    "untrained",
    "paretopowithoutstage1",
    "paretopowithoutstage2",
];

/// A method's name as both tables and configurations mean it: `MO-GRPO` is `mo_grpo`.
fn plain(name: &str) -> String {
    let letters = name.replace("++", "plusplus");
    letters.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The look of a method, for whoever draws elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Red, green, blue.
    pub colour: [u8; 3],
    /// Pixels of a dash; 0 for a solid line.
    pub dash: u32,
}

/// The styles of methods, in their order. `lead` is the one that has the first colour; where none is
/// named, it is ParetoPO.
pub fn styles(methods: &[String], lead: Option<&str>) -> Vec<Style> {
    let is_lead = |method: &String| match lead {
        Some(lead) => method == lead,
        None => plain(method) == "paretopo",
    };
    let places = places(methods, is_lead);
    places.into_iter().map(|place| place.map_or(FIRST, Style::at)).collect()
}

/// Of the leading method.
const FIRST: Style = Style { colour: [213, 94, 0], dash: 0 };

impl Style {
    fn at(place: usize) -> Self {
        let others = &COLOURS[1..];
        let RGBColor(red, green, blue) = others[place % others.len()];
        Self { colour: [red, green, blue], dash: 4 * (place / others.len()) as u32 }
    }
}

/// The place of each method; `None` of the one that leads.
fn places(methods: &[String], is_lead: impl Fn(&String) -> bool) -> Vec<Option<usize>> {
    let known = |method: &String| KNOWN.iter().position(|known| *known == plain(method));
    let others = || methods.iter().filter(|method| !is_lead(method));
    let mut taken: Vec<usize> = others().filter_map(known).collect();
    let mut found: Vec<(&String, usize)> = Vec::new();
    for method in others() {
        // two names that mean one method are still two
        let is_free = |place: &usize| !found.iter().any(|(_, other)| other == place);
        let place = known(method).filter(is_free).unwrap_or_else(|| {
            let place = (0..).find(|place| !taken.contains(place) && is_free(place));
            place.expect("there are more numbers than methods")
        });
        taken.push(place);
        found.push((method, place));
    }
    let place = |method: &String| found.iter().find(|(own, _)| *own == method).map(|(_, at)| *at);
    methods.iter().map(place).collect()
}

/// The look of a method. Baselines beyond the sixth share a colour with another one, and have
/// dashes and hollow marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) colour: RGBColor,
    /// Pixels of a dash; 0 for a solid line and filled marks.
    pub(crate) dash: u32,
    pub(crate) is_lead: bool,
}

impl Look {
    /// Its colour for texts, darker, so that it can be read.
    pub(crate) fn ink(&self) -> RGBColor {
        darker(self.colour)
    }
}

fn darker(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let [red, green, blue] = [red, green, blue].map(|part| (u32::from(part) * 7 / 10) as u8);
    RGBColor(red, green, blue)
}

/// The looks of an experiment's methods.
#[derive(Clone, Debug)]
pub struct Palette {
    /// The leading method first, then the others in the order of their first runs.
    methods: Vec<String>,
    /// A row of tables and its method.
    rows: Vec<(String, String)>,
    has_lead: bool,
}

impl Palette {
    /// The leading method is the first that is no baseline.
    pub fn of(runs: &[RunResult], baselines: &[String]) -> Self {
        let mut methods = method_names(runs);
        let lead = methods.iter().position(|method| !baselines.contains(method));
        if let Some(lead) = lead {
            methods[..=lead].rotate_right(1);
        }
        let mut rows: Vec<(String, String)> = Vec::new();
        for run in runs {
            let row = run.row();
            if !rows.iter().any(|(known, _)| *known == row) {
                rows.push((row.into_owned(), run.method.clone()));
            }
        }
        Self { methods, rows, has_lead: lead.is_some() }
    }

    /// All methods, the leading one first.
    pub(crate) fn methods(&self) -> &[String] {
        &self.methods
    }

    /// The look of a method, or of the method of a row.
    pub(crate) fn look(&self, name: &str) -> Look {
        let of_row = self.rows.iter().find(|(row, _)| row == name).map(|(_, method)| method);
        let method = of_row.map_or(name, String::as_str);
        let index = self.methods.iter().position(|known| known == method);
        let Some(index) = index else {
            return Look { colour: RGBColor(150, 150, 150), dash: 0, is_lead: false };
        };
        let lead = self.methods.first().filter(|_| self.has_lead);
        let places = places(&self.methods, |method| Some(method) == lead);
        let Style { colour: [red, green, blue], dash } = places[index].map_or(FIRST, Style::at);
        Look { colour: RGBColor(red, green, blue), dash, is_lead: places[index].is_none() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fronts::tests::swept;
    use crate::table::tests::run;

    #[test]
    fn no_two_methods_look_the_same_and_settings_share_a_look() {
        let mut runs: Vec<RunResult> =
            (0..12).map(|k| run(&format!("baseline {k}"), 1, 0.5, 1.0)).collect();
        let baselines = method_names(&runs);
        runs.push(swept("ours", "q 0.6", 1, 0.5, 1.0));
        runs.push(swept("ours", "q 0.8", 1, 0.5, 1.0));
        let palette = Palette::of(&runs, &baselines);
        let looks: Vec<Look> = palette.methods().iter().map(|name| palette.look(name)).collect();
        for (index, look) in looks.iter().enumerate() {
            assert!(!looks[..index].contains(look), "{look:?}");
        }
        assert_eq!(palette.look("ours q 0.8"), palette.look("ours"));
        assert!(palette.look("ours").is_lead && palette.look("ours").colour == COLOURS[0]);
        assert_eq!(palette.look("baseline 0").colour, COLOURS[1]);
        // those that we know have the same look everywhere, also under a configuration's name
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let found = styles(&names(&["untrained", "MO-GRPO", "ParetoPO", "mine", "GRPO"]), None);
        assert_eq!(found[2], FIRST);
        assert_eq!(found[4], styles(&names(&["grpo"]), None)[0]);
        assert_eq!(found[1], styles(&names(&["x", "mo_grpo"]), Some("x"))[1]);
        assert_eq!((found[1].colour, found[1].dash), ([0, 114, 178], 4));
        // the first place that is free
        assert_eq!((found[3].colour, found[3].dash), ([0, 114, 178], 0));
        let twice = styles(&names(&["GRPO", "grpo", "Grpo"]), None);
        assert!(twice[0] != twice[1] && twice[1] != twice[2] && twice[0] != twice[2]);
        // where all are baselines nobody has the lead's look
        let palette = Palette::of(&runs[..2], &baselines);
        assert!(!palette.look("baseline 0").is_lead);
        assert_eq!(palette.look("baseline 0").colour, COLOURS[1]);
    }
}
