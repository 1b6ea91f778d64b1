//! Which colour a method has: in every figure and on the page the same.
//!
//! The methods that we know have a colour of their own in the list below, whatever they are
//! compared with; a name with something behind it (`GDPO, K = 3`, `untrained (TIR)`) has the colour
//! of the method before it. Others take what is free, in their order. Methods of one colour in one
//! figure differ by their dashes and marks. A leading method that we do not know has the first
//! colour, unless ParetoPO, whose colour that is, is in the figure, too.

use crate::RunResult;
use crate::fronts::method_names;
use plotters::style::RGBColor;

/// Colours that also most colour-blind readers tell apart (Okabe and Ito), without the yellow,
/// which white paper swallows. The first is ParetoPO's.
const COLOURS: [RGBColor; 7] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// The methods that we know beside ParetoPO, by their names as [`plain`] writes them. A place
/// stands for a colour behind the first, and for dashes from the seventh on.
const KNOWN: [&[&str]; 21] = [
    &["gdpo"],
    &["scalarized"],
    &["hdpo"],
    &["lagrangian"],
    &["grpo"],
    &["otc"],
    &["mogrpo"],
    &["hvweighting"],
    &["ddca"],
    &["gd2po"],
    &["smoothminimum", "softmin"],
    &["scalarizedwithoutdeviation"],
    &["drgrpo"],
    &["rloo"],
    &["reinforceplusplus"],
    &["chebyshev"],
    &["callpenalty"],
    &["untrained"],
    &["paretopowithoutstage1", "withoutstage1", "stage2alone"],
    &["paretopowithoutstage2", "withoutstage2", "stage1alone"],
    &["smoothchebyshev"],
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
    /// Whether it is the leading method, which is drawn over the others.
    pub is_lead: bool,
}

/// The styles of methods, in their order. Where no `lead` is named, it is ParetoPO.
///
/// ```
/// use paretopo_report::styles;
///
/// let names = ["GDPO", "GDPO, K = 3", "ParetoPO"].map(str::to_owned);
/// let found = styles(&names, None);
/// assert_eq!((found[0].colour, found[0].dash), ([0, 114, 178], 0));
/// assert_eq!((found[1].colour, found[1].dash), ([0, 114, 178], 4));
/// assert!(found[2].is_lead && found[2].colour == [213, 94, 0]);
/// ```
pub fn styles(methods: &[String], lead: Option<&str>) -> Vec<Style> {
    let is_lead = |method: &String| match lead {
        Some(lead) => method == lead,
        None => plain(method) == "paretopo",
    };
    styles_of(methods, methods.iter().position(is_lead))
}

fn styles_of(methods: &[String], lead: Option<usize>) -> Vec<Style> {
    let styled = |(index, slot): (usize, Slot)| Style::at(slot, lead == Some(index));
    slots(methods, lead).into_iter().enumerate().map(styled).collect()
}

impl Style {
    fn at(slot: Slot, is_lead: bool) -> Self {
        let RGBColor(red, green, blue) = COLOURS[slot.colour];
        Self { colour: [red, green, blue], dash: DASH * slot.level as u32, is_lead }
    }
}

/// Pixels by which the dashes of two methods of one colour differ.
const DASH: u32 = 4;

/// A place of the list of colours, and how many others of that colour come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    colour: usize,
    level: usize,
}

/// ParetoPO's.
const FIRST: Slot = Slot { colour: 0, level: 0 };

impl Slot {
    /// That of a place of [`KNOWN`], and of places behind.
    fn at(place: usize) -> Self {
        let others = COLOURS.len() - 1;
        Self { colour: 1 + place % others, level: place / others }
    }

    /// Of a method that we know.
    fn of(method: &str) -> Option<Self> {
        let name = plain(method);
        if name == "paretopo" {
            return Some(FIRST);
        }
        KNOWN.iter().position(|names| names.contains(&name.as_str())).map(Self::at)
    }

    /// Of the method that a name begins with, up to a comma or a bracket.
    fn of_kind(method: &str) -> Option<Self> {
        let end = method.find([',', '(']).unwrap_or(method.len());
        Self::of(&method[..end])
    }
}

/// The slots of methods, no two the same: first of those that we know, then of those whose names
/// begin with a known one, then of the others; in each of these parts first the leading one.
fn slots(methods: &[String], lead: Option<usize>) -> Vec<Slot> {
    let mut found: Vec<Option<Slot>> = vec![None; methods.len()];
    let mut order: Vec<usize> = (0..methods.len()).collect();
    order.sort_by_key(|index| lead != Some(*index));
    for index in &order {
        found[*index] = Slot::of(&methods[*index]).filter(|slot| !found.contains(&Some(*slot)));
    }
    for index in &order {
        if found[*index].is_none()
            && let Some(Slot { colour, level }) = Slot::of_kind(&methods[*index])
        {
            let of_colour = (level..).map(|level| Slot { colour, level });
            found[*index] = first_free(of_colour, &found);
        }
    }
    let is_first_free = !found.iter().flatten().any(|slot| slot.colour == FIRST.colour);
    for index in &order {
        if found[*index].is_none() {
            let own = (is_first_free && lead == Some(*index)).then_some(FIRST);
            found[*index] = first_free(own.into_iter().chain((0..).map(Slot::at)), &found);
        }
    }
    found.into_iter().map(|slot| slot.expect("there are more slots than methods")).collect()
}

fn first_free(mut slots: impl Iterator<Item = Slot>, taken: &[Option<Slot>]) -> Option<Slot> {
    slots.find(|slot| !taken.contains(&Some(*slot)))
}

/// The look of a method. Methods that share a colour have dashes and other marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) colour: RGBColor,
    /// Pixels of a dash; 0 for a solid line.
    pub(crate) dash: u32,
    pub(crate) is_lead: bool,
}

impl Look {
    /// Its colour for texts, darker, so that it can be read.
    pub(crate) fn ink(&self) -> RGBColor {
        darker(self.colour)
    }

    /// How many methods of its colour come before it in the list.
    pub(crate) fn level(&self) -> u32 {
        self.dash / DASH
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

    /// The method of a row of tables.
    pub(crate) fn method_of<'a>(&'a self, row: &'a str) -> &'a str {
        let found = self.rows.iter().find(|(known, _)| known == row);
        found.map_or(row, |(_, method)| method)
    }

    /// The look of a method, or of the method of a row.
    pub(crate) fn look(&self, name: &str) -> Look {
        let method = self.method_of(name);
        let Some(index) = self.methods.iter().position(|known| known == method) else {
            return Look { colour: RGBColor(150, 150, 150), dash: 0, is_lead: false };
        };
        let styles = styles_of(&self.methods, self.has_lead.then_some(0));
        let Style { colour: [red, green, blue], dash, is_lead } = styles[index];
        Look { colour: RGBColor(red, green, blue), dash, is_lead }
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
        // where all are baselines nobody leads
        let palette = Palette::of(&runs[..2], &baselines);
        assert!(!palette.look("baseline 0").is_lead);
        assert_eq!(palette.look("baseline 0").colour, COLOURS[1]);
    }

    fn styled(names: &[&str], lead: Option<&str>) -> Vec<([u8; 3], u32)> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        styles(&names, lead).into_iter().map(|style| (style.colour, style.dash)).collect()
    }

    const VERMILION: [u8; 3] = [213, 94, 0];
    const BLUE: [u8; 3] = [0, 114, 178];
    const BLACK: [u8; 3] = [0, 0, 0];

    #[test]
    fn a_known_method_has_the_same_colour_whatever_it_is_compared_with() {
        let found = styled(&["untrained", "MO-GRPO", "ParetoPO", "mine", "GRPO"], None);
        assert_eq!(found[2], (VERMILION, 0));
        // also under a configuration's name
        assert_eq!(found[4], styled(&["grpo"], None)[0]);
        assert_eq!(found[1], styled(&["x", "mo_grpo"], Some("x"))[1]);
        assert_eq!(styled(&["softmin"], None), styled(&["smooth minimum"], None));
        assert_eq!(styled(&["stage 2 alone"], None), styled(&["ParetoPO without stage 1"], None));
        // the seventh of the list is the second of the first colour behind the lead's
        assert_eq!(found[1], (BLUE, 4));
        // the first slot that is free
        assert_eq!(found[3], (BLUE, 0));
        // also where another leads, or nobody
        assert_eq!(styled(&["GDPO", "ParetoPO"], Some("GDPO")), [(BLUE, 0), (VERMILION, 0)]);
        assert_eq!(styled(&["mine", "ParetoPO"], Some("mine")), [(BLUE, 0), (VERMILION, 0)]);
        assert_eq!(styled(&["mine", "GDPO"], Some("mine")), [(VERMILION, 0), (BLUE, 0)]);
        let runs = [run("ParetoPO", 1, 0.5, 1.0)];
        let alone = Palette::of(&runs, &["ParetoPO".to_owned()]).look("ParetoPO");
        assert!(alone.colour == COLOURS[0] && !alone.is_lead);
    }

    #[test]
    fn a_variant_has_the_colour_of_its_method_and_dashes_of_its_own() {
        // alone it looks as its method does
        assert_eq!(styled(&["GDPO, K = 3"], None), [(BLUE, 0)]);
        // its method is solid whichever is first; MO-GRPO has the dash of 4 already
        let found = styled(&["GDPO, the same reward", "GDPO", "MO-GRPO"], None);
        assert_eq!(found, [(BLUE, 8), (BLUE, 0), (BLUE, 4)]);
        let found = styled(&["ParetoPO", "ParetoPO, reliable 0.65", "ParetoPO, K = 3"], None);
        assert_eq!(found, [(VERMILION, 0), (VERMILION, 4), (VERMILION, 8)]);
        // `untrained` is the eighteenth of the list: the sixth colour behind the first, 4 * 2
        assert_eq!(styled(&["untrained (TIR)"], None), [(BLACK, 8)]);
        let twice = styled(&["GRPO", "grpo", "Grpo"], None);
        assert!(twice[0] != twice[1] && twice[1] != twice[2] && twice[0] != twice[2]);
        assert!(twice.iter().all(|style| style.0 == twice[0].0));
    }
}
