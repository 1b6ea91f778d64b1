//! What the page asks for: an answer for each address.

use crate::catalog::{Run, find};
use crate::episodes::Wanted;
use crate::experiment::Experiments;
use crate::settings::flat_settings;
use crate::summary::{RunSummary, Stamp, stamp};
use crate::{episode, episodes, series, tokens};
use paretopo_chat::Tokenizer;
use paretopo_health::{Record, Verdict, examine};
use paretopo_records::{TrajectoryFile, episode_files};
use paretopo_trajectory::stable_hash;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a list of runs is taken for true.
const FRESH: Duration = Duration::from_secs(4);
/// Points of a picture of a rule.
const MOST_POINTS: usize = 400;
/// Files of trajectories that stay open with their indices.
const OPEN_FILES: usize = 16;

/// The bytes of the tokenizer of a policy that the program carries, by its name.
type Embedded = fn(&str) -> Option<&'static [u8]>;

/// What there is to see: the runs below some folders.
pub struct View {
    folders: Vec<PathBuf>,
    embedded: Embedded,
    known: Mutex<Known>,
}

/// What was read already, with what tells whether it is still so.
#[derive(Default)]
struct Known {
    listed: Option<(Instant, Arc<Listed>)>,
    summaries: HashMap<String, (Stamp, RunSummary)>,
    health: HashMap<String, (Stamp, Value)>,
    tokenizers: HashMap<String, Option<Arc<Tokenizer>>>,
    /// The latest last.
    files: Vec<(PathBuf, Stamp, Arc<TrajectoryFile>)>,
}

/// What lies below the folders.
struct Listed {
    runs: Vec<Run>,
    experiments: Experiments,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing of that name.
    #[error("{0}")]
    Missing(String),
    /// What is asked for cannot be understood, or read.
    #[error("{0}")]
    Wrong(String),
}

impl View {
    /// The runs below these folders, or these runs. `embedded` has the tokenizer of a policy that
    /// the program carries, for runs whose folder has none yet.
    pub fn new(folders: Vec<PathBuf>, embedded: Embedded) -> Self {
        Self { folders, embedded, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids of the runs.
    pub fn runs(&self) -> Vec<String> {
        self.all().runs.iter().map(|run| run.id.clone()).collect()
    }

    fn all(&self) -> Arc<Listed> {
        if let Some((when, listed)) = &self.known().listed
            && when.elapsed() < FRESH
        {
            return listed.clone();
        }
        let experiments = Experiments::of(&self.folders);
        let listed = Arc::new(Listed { runs: find(&self.folders), experiments });
        self.known().listed = Some((Instant::now(), listed.clone()));
        listed
    }

    /// The answer to an address of the page: `overview`, `series`, `config`, `health`, `files`,
    /// `episodes`, `group`, `episode`, with the parameters of its query.
    ///
    /// # Errors
    /// When there is no such run, file or line, or it cannot be read.
    pub fn answer(&self, name: &str, query: &BTreeMap<String, String>) -> Result<Value, Refusal> {
        if name == "overview" {
            return Ok(self.overview(query.get("seen").map(String::as_str)));
        }
        let run = self.run(query)?;
        match name {
            "series" => {
                let names: Option<Vec<&str>> =
                    query.get("names").map(|names| names.split(',').collect());
                series::series(&run.path, names.as_deref()).map_err(Refusal::Wrong)
            }
            "config" => Ok(json!(flat_settings(&run.path))),
            "health" => self.health(&run, query.contains_key("brief")),
            "files" => files(&run.path),
            "episodes" => {
                let wanted = Wanted::of(query).map_err(Refusal::Wrong)?;
                episodes::listed(&*self.file(&run, query)?, &wanted).map_err(Refusal::Wrong)
            }
            "group" => {
                let line = line(query)?;
                episodes::group(&*self.file(&run, query)?, line).map_err(Refusal::Wrong)
            }
            "episode" => self.episode(&run, query),
            _ => Err(Refusal::Missing(format!("there is no `{name}`"))),
        }
    }

    /// All runs in a line each. `seen` is the version that the page has; where nothing has changed
    /// since, that is all the answer says.
    fn overview(&self, seen: Option<&str>) -> Value {
        let listed = self.all();
        let experiments = &listed.experiments;
        let mut runs: Vec<RunSummary> = listed.runs.iter().map(|run| self.summary(run)).collect();
        for run in &mut runs {
            if let Some(method) = experiments.method(&run.row) {
                run.method = method.to_owned();
            }
        }
        let folders: Vec<String> =
            self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let looks = experiments.looks(runs.iter().map(|run| run.method.as_str()));
        let mut answer = json!({
            "folders": folders,
            "runs": runs,
            "looks": looks,
            "controls": experiments.controls(),
            "unreadable": experiments.unreadable,
        });
        let version = format!("{:016x}", stable_hash(&answer.to_string()));
        if seen == Some(version.as_str()) {
            return json!({ "version": version });
        }
        answer["version"] = json!(version);
        answer
    }

    fn summary(&self, run: &Run) -> RunSummary {
        let now = stamp(&run.path);
        let known = self.known().summaries.get(&run.id).cloned();
        match known {
            // whether a process is still there is seen by no file
            Some((then, summary)) if then == now && summary.state != "working" => summary,
            _ => {
                let summary = RunSummary::of(run);
                self.known().summaries.insert(run.id.clone(), (now, summary.clone()));
                summary
            }
        }
    }

    fn run(&self, query: &BTreeMap<String, String>) -> Result<Run, Refusal> {
        let id = query.get("run").map_or("", String::as_str);
        let listed = self.all();
        let run = listed.runs.iter().find(|run| run.id == id);
        run.cloned().ok_or_else(|| Refusal::Missing(format!("there is no run `{id}`")))
    }

    /// What each rule says. What is brief has no curves: that is remembered, while a run has not
    /// gone on, since an overview asks for it of every run.
    fn health(&self, run: &Run, is_brief: bool) -> Result<Value, Refusal> {
        let now = stamp(&run.path);
        if let Some((then, value)) = self.known().health.get(&run.id)
            && *then == now
            && is_brief
        {
            return Ok(value.clone());
        }
        let record = Record::read(&run.path).map_err(|error| Refusal::Wrong(error.to_string()))?;
        let mut verdicts = examine(&record);
        let said =
            |verdicts: &[Verdict]| json!({ "steps": record.steps.len(), "verdicts": verdicts });
        for curve in verdicts.iter_mut().flat_map(|verdict| &mut verdict.curves) {
            thin(&mut curve.points);
        }
        let whole = said(&verdicts);
        verdicts.iter_mut().for_each(|verdict| verdict.curves.clear());
        let brief = said(&verdicts);
        self.known().health.insert(run.id.clone(), (now, brief.clone()));
        Ok(if is_brief { brief } else { whole })
    }

    /// A file of the run by its name, which must be one of those that are there.
    fn file(
        &self,
        run: &Run,
        query: &BTreeMap<String, String>,
    ) -> Result<Arc<TrajectoryFile>, Refusal> {
        let name = query.get("file").map_or("", String::as_str);
        let found = episode_files(&run.path).map_err(|error| Refusal::Wrong(error.to_string()))?;
        let file = found.into_iter().find(|file| file.name == name);
        let path = file.map(|file| file.path).ok_or_else(|| {
            Refusal::Missing(format!("the run `{}` has no trajectories `{name}`", run.id))
        })?;
        let now = file_stamp(&path);
        let mut known = self.known();
        if let Some(place) = known.files.iter().position(|(known, _, _)| *known == path) {
            let open = known.files.remove(place);
            if open.1 == now {
                let file = open.2.clone();
                known.files.push(open);
                return Ok(file);
            }
        }
        let file =
            TrajectoryFile::open(&path).map_err(|error| Refusal::Wrong(error.to_string()))?;
        let file = Arc::new(file);
        known.files.push((path, now, file.clone()));
        if known.files.len() > OPEN_FILES {
            known.files.remove(0);
        }
        Ok(file)
    }

    fn episode(&self, run: &Run, query: &BTreeMap<String, String>) -> Result<Value, Refusal> {
        let line = line(query)?;
        let file = self.file(run, query)?;
        let found = file.get(line).map_err(|error| Refusal::Wrong(error.to_string()))?;
        let trajectory =
            found.ok_or_else(|| Refusal::Missing(format!("there is no line {line}")))?;
        let tokenizer = self.tokenizer(run);
        Ok(episode::shown(&trajectory, tokenizer.as_deref()))
    }

    /// The tokenizer of a run; `None` where there is none, or it cannot be read.
    fn tokenizer(&self, run: &Run) -> Option<Arc<Tokenizer>> {
        if let Some(known) = self.known().tokenizers.get(&run.id).cloned().flatten() {
            return Some(known);
        }
        let settings = flat_settings(&run.path);
        let setting = |key: &str| settings.get(key).map(String::as_str);
        let file = tokens::tokenizer_file(&run.path).or_else(|| {
            let folder = setting("policy.path").map(Path::new);
            folder.map(|folder| folder.join("tokenizer.json")).filter(|file| file.is_file())
        });
        let tokenizer = match file {
            Some(file) => Tokenizer::from_file(&file).ok(),
            None => setting("policy.name")
                .and_then(self.embedded)
                .and_then(|bytes| Tokenizer::from_bytes(bytes).ok()),
        };
        let tokenizer = tokenizer.map(Arc::new);
        self.known().tokenizers.insert(run.id.clone(), tokenizer.clone());
        tokenizer
    }
}

/// Leaves points out, evenly, so that few enough remain; the last one stays.
fn thin(points: &mut Vec<(f64, f64)>) {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let mut place = 0;
    points.retain(|_| {
        place += 1;
        (last + 1 - place).is_multiple_of(every)
    });
}

fn line(query: &BTreeMap<String, String>) -> Result<usize, Refusal> {
    let text = query.get("line").map_or("", String::as_str);
    let wrong = || Refusal::Wrong(format!("`line={text}` is no line\nhint: as `line=0`"));
    text.parse().map_err(|_| wrong())
}

fn file_stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok();
    let length = metadata.as_ref().map_or(0, std::fs::Metadata::len);
    let time = metadata.and_then(|metadata| metadata.modified().ok());
    let since = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    [(length, since.map_or(0, |since| since.as_nanos())), (0, 0), (0, 0)]
}

/// The files of trajectories of a run: `[{"name": .., "step": .., "bytes": ..}]`.
fn files(run: &Path) -> Result<Value, Refusal> {
    let found = episode_files(run).map_err(|error| Refusal::Wrong(error.to_string()))?;
    let one = |file: paretopo_records::EpisodeFile| {
        let bytes = std::fs::metadata(&file.path).map_or(0, |metadata| metadata.len());
        json!({ "name": file.name, "step": file.step, "bytes": bytes })
    };
    Ok(found.into_iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_is_listed_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("a");
        std::fs::create_dir_all(run.join("trajectories")).unwrap();
        std::fs::write(run.join("metrics.jsonl"), "{\"step\":0,\"em\":0.5}\n").unwrap();
        std::fs::write(run.join("trajectories/step-000000.jsonl"), "").unwrap();
        std::fs::write(folder.path().join("secret.jsonl"), "{}\n").unwrap();
        let view = View::new(vec![folder.path().to_owned()], |_| None);
        let missing = |pairs: &[(&str, &str)]| {
            matches!(view.answer("episodes", &query(pairs)), Err(Refusal::Missing(_)))
        };
        for file in ["../../secret", "/etc/passwd", "step-000000.jsonl", ""] {
            assert!(missing(&[("run", "a"), ("file", file)]), "{file}");
        }
        for run in ["..", "../a", "a/", "a/../a", ""] {
            assert!(missing(&[("run", run), ("file", "step-000000")]), "{run}");
        }
        let found = view.answer("episodes", &query(&[("run", "a"), ("file", "step-000000")]));
        assert_eq!(found.unwrap()["total"], json!(0));
        assert!(matches!(view.answer("x", &query(&[("run", "a")])), Err(Refusal::Missing(_))));
        let wrong = query(&[("run", "a"), ("file", "step-000000"), ("line", "x")]);
        assert!(matches!(view.answer("group", &wrong), Err(Refusal::Wrong(_))));
    }

    #[test]
    fn pictures_of_rules_are_thinned_and_left_out_of_what_is_brief() {
        let mut points: Vec<(f64, f64)> = (0..1000).map(|step| (step as f64, 0.0)).collect();
        thin(&mut points);
        // every third, so that the last is there
        assert_eq!((points.len(), points[0].0, points[333].0), (334, 0.0, 999.0));
        let mut few = vec![(0.0, 1.0), (1.0, 2.0)];
        thin(&mut few);
        assert_eq!(few.len(), 2);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), "[train]\n").unwrap();
        std::fs::write(folder.path().join("metrics.jsonl"), "{\"step\":0,\"em\":0}\n").unwrap();
        let view = View::new(vec![folder.path().to_owned()], |_| None);
        let run = view.runs()[0].clone();
        let curves = |pairs: &[(&str, &str)]| {
            let found = view.answer("health", &query(pairs)).unwrap();
            let verdicts = found["verdicts"].as_array().unwrap().clone();
            verdicts.iter().map(|one| one["curves"].as_array().unwrap().len()).sum::<usize>()
        };
        assert_eq!(curves(&[("run", &run), ("brief", "1")]), 0);
        assert!(curves(&[("run", &run)]) > 9);
        assert_eq!(curves(&[("run", &run), ("brief", "1")]), 0);
    }

    #[test]
    fn an_overview_that_is_known_is_not_sent_again_until_a_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("a");
        std::fs::create_dir_all(&run).unwrap();
        let write = |text: &str| std::fs::write(run.join("metrics.jsonl"), text).unwrap();
        write("{\"step\":0,\"em\":0.5}\n");
        let view = View::new(vec![folder.path().to_owned()], |_| None);
        let first = view.answer("overview", &query(&[])).unwrap();
        let version = first["version"].as_str().unwrap();
        let again = view.answer("overview", &query(&[("seen", version)])).unwrap();
        assert!(first["runs"][0]["em"] == 0.5 && again.get("runs").is_none(), "{again}");
        assert_eq!(first["unreadable"], json!([]));
        write("{\"step\":0,\"em\":0.5}\n{\"step\":1,\"em\":0.75}\n");
        let later = view.answer("overview", &query(&[("seen", version)])).unwrap();
        assert_eq!(
            (&later["runs"][0]["em"], &later["runs"][0]["step"]),
            (&json!(0.75), &json!(2.0))
        );
        // a file beside the runs that cannot be read is news, too
        std::fs::write(folder.path().join("results.json"), "{").unwrap();
        let view = View::new(vec![folder.path().to_owned()], |_| None);
        let version = later["version"].as_str().unwrap();
        let said = view.answer("overview", &query(&[("seen", version)])).unwrap();
        assert!(said["unreadable"][0].as_str().is_some_and(|text| text.contains("results.json")));
    }
}
