//! Which colour a method has: in every figure of an experiment the same.

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
        if self.has_lead && index == 0 {
            return Look { colour: COLOURS[0], dash: 0, is_lead: true };
        }
        let (place, others) = (index - usize::from(self.has_lead), &COLOURS[1..]);
        Look {
            colour: others[place % others.len()],
            dash: 4 * (place / others.len()) as u32,
            is_lead: false,
        }
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
        // where all are baselines nobody has the lead's look
        let palette = Palette::of(&runs[..2], &baselines);
        assert!(!palette.look("baseline 0").is_lead);
        assert_eq!(palette.look("baseline 0").colour, COLOURS[1]);
    }
}
