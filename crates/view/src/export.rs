//! The page as one file: with everything that it would ask for, as far as that has room.

use crate::page::with_all;
use crate::view::{Refusal, View};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Bytes of answers from which on no further trajectories are put in.
const ROOM: usize = 24 << 20;
/// Files of trajectories of a run, the latest, and trajectories of each, that are put in.
const FILES: usize = 4;
const EPISODES: usize = 96;

/// Runs from which on the file has a few curves of each and not all.
const MANY: usize = 40;
const CURVES: &str = "em,calls,response_tokens,entropy_estimate,reward/r_task,reward/r_tool,estimator/groups_without_signal";

/// What a file may not load: anything. Its own scripts and styles are inside.
const POLICY: &str = "<meta http-equiv=\"content-security-policy\" content=\"default-src 'none'; \
                      script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">\n";

/// The page as one file of HTML. Of each run it has the overview, all curves, the settings and the
/// health, and the latest trajectories.
///
/// # Errors
/// When a run cannot be read.
pub fn export(view: &View) -> Result<Vec<u8>, Refusal> {
    let mut answers = Answers { view, found: Map::new(), bytes: 0 };
    answers.ask("overview", &[])?;
    let runs = view.runs();
    let is_many = runs.len() > MANY;
    for run in runs {
        answers.series_of(&run, is_many)?;
        for name in ["config", "files"] {
            answers.ask(name, &[("run", &run)])?;
        }
        // a run without a configuration has no health, and the page says so
        let _ = answers.ask("health", &[("run", &run)]);
        answers.episodes_of(&run)?;
    }
    let json = escaped(&Value::Object(answers.found).to_string());
    let data = format!("<script type=\"application/json\" id=\"answers\">{json}</script>\n");
    Ok(with_all(POLICY, &data).into_bytes())
}

/// What was asked for, by the address that the page would ask.
struct Answers<'v> {
    view: &'v View,
    found: Map<String, Value>,
    bytes: usize,
}

impl Answers<'_> {
    fn ask(&mut self, name: &str, query: &[(&str, &str)]) -> Result<Value, Refusal> {
        let pairs: BTreeMap<String, String> =
            query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let value = self.view.answer(name, &pairs)?;
        // as `basis.js` puts it together: sorted, not encoded
        let query: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let address = format!("{name}?{}", query.join("&"));
        self.bytes += value.to_string().len();
        self.found.insert(address, value.clone());
        Ok(value)
    }

    /// The curves of a run, by the address of all of them.
    fn series_of(&mut self, run: &str, is_many: bool) -> Result<(), Refusal> {
        let mut query = vec![("run", run)];
        query.extend(is_many.then_some(("names", CURVES)));
        let pairs = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut value = self.view.answer("series", &pairs.collect())?;
        if is_many {
            // no other can be chosen there
            let kept: Vec<String> = value["columns"]
                .as_object()
                .into_iter()
                .flat_map(|map| map.keys().cloned())
                .collect();
            value["names"] = kept.into();
        }
        self.bytes += value.to_string().len();
        self.found.insert(format!("series?run={run}"), value);
        Ok(())
    }

    fn episodes_of(&mut self, run: &str) -> Result<(), Refusal> {
        let files = self.ask("files", &[("run", run)])?;
        let names: Vec<String> = files
            .as_array()
            .into_iter()
            .flatten()
            .rev()
            .filter_map(|file| Some(file["name"].as_str()?.to_owned()))
            .take(FILES)
            .collect();
        for name in names {
            if self.bytes > ROOM {
                return Ok(());
            }
            let file = [("run", run), ("file", name.as_str())];
            let listed = self.ask("episodes", &file)?;
            let rows = listed["rows"].as_array().cloned().unwrap_or_default();
            for row in rows.iter().take(EPISODES).filter(|row| row.get("error").is_none()) {
                let line = row["line"].to_string();
                for name in ["group", "episode"] {
                    self.ask(name, &[file[0], file[1], ("line", &line)])?;
                }
            }
        }
        Ok(())
    }
}

/// JSON that may stand inside of a script element whatever is in it: no `<` can end the element or
/// begin a comment, and the two line breaks that JSON allows and JavaScript once did not are
/// escaped, too.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_records::write_trajectories;
    use paretopo_trajectory::{Trajectory, TrajectoryId};

    #[test]
    fn hostile_text_stays_text_and_is_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("a");
        std::fs::create_dir_all(run.join("trajectories")).unwrap();
        std::fs::write(run.join("metrics.jsonl"), "{\"step\":0,\"em\":0.5}\n").unwrap();
        let hostile = "</script><script>alert(1)</script><!--\u{2028}";
        let trajectory = Trajectory {
            response: hostile.into(),
            ..Trajectory::empty(TrajectoryId::new("train", 0, 0), hostile, 0)
        };
        write_trajectories(&run.join("trajectories/step-000000.jsonl"), &[trajectory]).unwrap();
        let view = View::new(vec![folder.path().to_owned()], |_| None);
        let page = String::from_utf8(export(&view).unwrap()).unwrap();
        let (head, _) = page.split_once("</head>").unwrap();
        assert!(head.contains(POLICY));
        assert!(!page.contains("alert(1)</script>") && !page.contains("<script>alert"));
        let (_, data) = page.split_once("id=\"answers\">").unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        assert!(!data.contains(['<', '>', '&', '\u{2028}']));
        let answers: Value = serde_json::from_str(data).unwrap();
        let address = "episode?file=step-000000&line=0&run=a";
        assert_eq!(answers[address]["response"].as_str(), Some(hostile));
        assert_eq!(answers["group?file=step-000000&line=0&run=a"]["task"].as_str(), Some(hostile));
    }
}
