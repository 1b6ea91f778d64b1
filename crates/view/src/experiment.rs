//! What a comparison left beside its runs: how its methods are called and ordered, and what can be
//! had without learning when to call. A file that cannot be read is named on the page.

use paretopo_report::{Controls, Place, Style, row_name, styles};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The part of `results.json` that the page shows; whatever else it holds is passed over.
#[derive(Default, Deserialize)]
struct Results {
    #[serde(default)]
    frame: Frame,
    #[serde(default)]
    runs: Vec<Named>,
    lead: Option<Lead>,
}

#[derive(Deserialize)]
struct Lead {
    method: String,
}

#[derive(Default, Deserialize)]
struct Frame {
    controls: Option<Controls>,
}

#[derive(Deserialize)]
struct Named {
    method: String,
    setting: Option<String>,
}

/// The comparisons in some folders.
#[derive(Default)]
pub(crate) struct Experiments {
    /// A method by the name that folders of its runs have, without the seed.
    methods: BTreeMap<String, String>,
    /// Methods in the order of figures.
    pub(crate) order: Vec<String>,
    /// The leading method of the first comparison that has one.
    lead: Option<String>,
    controls: Option<Controls>,
    /// Of each file that cannot be read: which, why, and what to do.
    pub(crate) unreadable: Vec<String>,
}

/// What to do about a file that cannot be read.
const RESULTS_HINT: &str = "until it can, methods are called as in their configurations; \
                            `paretopo compare FILE --finished --out DIR` writes it anew";
const CONTROLS_HINT: &str = "until it can, fronts have no controls; `paretopo controls` writes it";

impl Experiments {
    /// Reads `results.json` and `controls.json` of each folder, where they are.
    pub(crate) fn of(folders: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for folder in folders {
            let path = folder.join("results.json");
            let results: Results = found.read(&path, RESULTS_HINT).unwrap_or_default();
            for run in results.runs {
                let row = match &run.setting {
                    Some(setting) => row_name(&run.method, setting),
                    None => run.method.clone(),
                };
                if !found.order.contains(&run.method) {
                    found.order.push(run.method.clone());
                }
                found.methods.insert(folder_name(&row), run.method);
            }
            found.lead = found.lead.or(results.lead.map(|lead| lead.method));
            let (path, controls) = match results.frame.controls {
                Some(controls) => (path, Some(controls)),
                None => {
                    let beside = folder.join("controls.json");
                    let controls = found.read(&beside, CONTROLS_HINT);
                    (beside, controls)
                }
            };
            let controls = controls.and_then(|controls: Controls| match controls.check() {
                Ok(()) => Some(controls),
                Err(reason) => {
                    found.say(&path, &reason, CONTROLS_HINT);
                    None
                }
            });
            found.controls = found.controls.or(controls);
        }
        found
    }

    /// What a file holds; `None` without it, and where it cannot be read, which is said.
    fn read<T: serde::de::DeserializeOwned>(&mut self, path: &Path, hint: &str) -> Option<T> {
        let reason = match paretopo_reading::read_text(path) {
            Ok(text) => match serde_json::from_str(&text) {
                Ok(found) => return Some(found),
                Err(error) => error.to_string(),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => error.to_string(),
        };
        self.say(path, &reason, hint);
        None
    }

    fn say(&mut self, path: &Path, reason: &str, hint: &str) {
        let path = path.display();
        self.unreadable.push(format!("cannot read `{path}`: {reason}\nhint: {hint}"));
    }

    /// The method of runs whose folders have this name, their path and seed left out.
    pub(crate) fn method(&self, row: &str) -> Option<&str> {
        let name = row.rsplit(['/', ':']).next().unwrap_or(row);
        self.methods.get(name).map(String::as_str)
    }

    /// How each method looks, in the order of figures and then of `others`: `{"method": "GRPO",
    /// "colour": "#e69f00", "dash": 0, "leads": false}`. It is the look that figures give it.
    pub(crate) fn looks<'a>(&self, others: impl Iterator<Item = &'a str>) -> Vec<Value> {
        let mut methods = self.order.clone();
        for method in others {
            if !methods.iter().any(|known| known == method) {
                methods.push(method.to_owned());
            }
        }
        let styles = styles(&methods, self.lead.as_deref());
        let look = |(method, style): (&String, &Style)| {
            let [red, green, blue] = style.colour;
            let colour = format!("#{red:02x}{green:02x}{blue:02x}");
            let (dash, leads) = (style.dash, style.is_lead);
            json!({ "method": method, "colour": colour, "dash": dash, "leads": leads })
        };
        methods.iter().zip(&styles).map(look).collect()
    }

    /// `{"line": [[calls, em], ..], "oracle": ..}`; `null` without controls.
    pub(crate) fn controls(&self) -> Value {
        let pairs = |places: &[Place]| -> Vec<[f64; 2]> {
            places.iter().map(|place| [place.calls, place.em]).collect()
        };
        self.controls.as_ref().map_or(Value::Null, |controls| {
            json!({
                "line": pairs(&controls.trivial()),
                "oracle": pairs(controls.oracle().corners()),
            })
        })
    }
}

/// The name that a comparison gives to the folders of a row.
fn folder_name(row: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    row.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_names_its_methods_and_its_controls() {
        let folder = tempfile::tempdir().unwrap();
        let results = json!({
            "frame": { "controls": { "levels": [
                { "level": 0, "share": 0.5, "head_skill": 0.75, "tool_skill": 1.0, "calls": 1.0 },
                { "level": 1, "share": 0.5, "head_skill": 0.25, "tool_skill": 1.0, "calls": 1.0 },
            ] } },
            "lead": { "method": "GDPO", "against": [] },
            "runs": [
                { "method": "GDPO", "setting": "w 0.10", "seed": 1 },
                { "method": "ParetoPO", "setting": null, "seed": 1 },
            ],
        });
        std::fs::write(folder.path().join("results.json"), results.to_string()).unwrap();
        let found = Experiments::of(&[folder.path().to_owned()]);
        assert_eq!(found.order, ["GDPO", "ParetoPO"]);
        let looks = found.looks(["grpo", "GDPO"].into_iter());
        let colours: Vec<&Value> = looks.iter().map(|look| &look["colour"]).collect();
        assert_eq!(colours, ["#0072b2", "#d55e00", "#e69f00"]);
        assert_eq!((&looks[2]["method"], &looks[2]["dash"]), (&json!("grpo"), &json!(0)));
        let leads: Vec<&Value> = looks.iter().map(|look| &look["leads"]).collect();
        assert_eq!(leads, [&json!(true), &json!(false), &json!(false)]);
        assert_eq!(found.method("1:runs/gdpo-w-0-10"), Some("GDPO"));
        assert_eq!((found.method("paretopo"), found.method("x")), (Some("ParetoPO"), None));
        // as in the example of `Controls::oracle`
        let controls = found.controls();
        assert_eq!(controls["oracle"], json!([[0.0, 0.5], [0.5, 0.875], [1.0, 1.0]]));
        assert_eq!(controls["line"], json!([[0.0, 0.5], [1.0, 1.0]]));
        let none = Experiments::of(&[folder.path().join("none")]);
        assert!(none.controls() == Value::Null && none.unreadable.is_empty());
    }

    #[test]
    fn what_compare_has_written_is_read() {
        let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
        let of = |name: &str| Experiments::of(&[experiments.join(name)]);
        let math = of("math");
        assert_eq!(math.order[..3], ["ParetoPO", "GDPO", "scalarized"]);
        assert_eq!(math.lead.as_deref(), Some("ParetoPO"));
        assert_eq!(math.method("paretopo-q-0-65"), Some("ParetoPO"));
        assert!(math.controls.is_some());
        // the third is of a time before leads and fronts
        for name in ["math", "qa", "math-python", "smollm2-gsm8k"] {
            let found = of(name);
            assert_eq!(found.unreadable, Vec::<String>::new());
            assert!(!found.order.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            Experiments::of(&[folder.path().to_owned()]).unreadable
        };
        // the leading method is no name but what it is compared with, too
        let said = write("results.json", r#"{ "lead": "ParetoPO", "runs": [] }"#);
        let place = folder.path().join("results.json").display().to_string();
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with(&format!("cannot read `{place}`: ")), "{}", said[0]);
        assert!(said[0].contains("\nhint: ") && said[0].contains("--finished"), "{}", said[0]);
        // shares that sum up to a half
        let said = write(
            "controls.json",
            r#"{ "levels": [{ "level": 0, "share": 0.5, "head_skill": 0.5, "tool_skill": 1.0,
                              "calls": 1.0 }] }"#,
        );
        assert!(said.len() == 2 && said[1].contains("instead of 1"), "{said:?}");
        let said = write("results.json", "{");
        assert!(said.len() == 2 && said[0].contains("EOF"), "{said:?}");
    }
}
