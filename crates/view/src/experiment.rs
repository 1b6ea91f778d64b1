//! What a comparison left beside its runs: how its methods are called and ordered, and what can be
//! had without learning when to call.

use paretopo_report::{Controls, Place, Style, row_name, styles};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The part of `results.json` that the page shows; whatever else it holds is passed over.
#[derive(Default, Deserialize)]
struct Results {
    #[serde(default)]
    frame: Frame,
    #[serde(default)]
    runs: Vec<Named>,
    lead: Option<String>,
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
}

impl Experiments {
    /// Reads `results.json` and `controls.json` of each folder; what cannot be read is passed over.
    pub(crate) fn of(folders: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for folder in folders {
            let results: Results = read(&folder.join("results.json")).unwrap_or_default();
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
            found.lead = found.lead.or(results.lead);
            let beside = || read(&folder.join("controls.json"));
            let controls = results.frame.controls.or_else(beside);
            let is_good = |controls: &Controls| controls.check().is_ok();
            found.controls = found.controls.or(controls.filter(is_good));
        }
        found
    }

    /// The method of runs whose folders have this name, their path and seed left out.
    pub(crate) fn method(&self, row: &str) -> Option<&str> {
        let name = row.rsplit(['/', ':']).next().unwrap_or(row);
        self.methods.get(name).map(String::as_str)
    }

    /// How each method looks, in the order of figures and then of `others`: `{"method": "GRPO",
    /// "colour": "#e69f00", "dash": 0}`. It is the look that figures give it.
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
            json!({ "method": method, "colour": colour, "dash": style.dash })
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

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    let text = paretopo_reading::read_text(path).ok()?;
    serde_json::from_str(&text).ok()
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
            "lead": "ParetoPO",
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
        assert_eq!(found.method("1:runs/gdpo-w-0-10"), Some("GDPO"));
        assert_eq!((found.method("paretopo"), found.method("x")), (Some("ParetoPO"), None));
        // as in the example of `Controls::oracle`
        let controls = found.controls();
        assert_eq!(controls["oracle"], json!([[0.0, 0.5], [0.5, 0.875], [1.0, 1.0]]));
        assert_eq!(controls["line"], json!([[0.0, 0.5], [1.0, 1.0]]));
        assert_eq!(Experiments::of(&[folder.path().join("none")]).controls(), Value::Null);
    }
}
