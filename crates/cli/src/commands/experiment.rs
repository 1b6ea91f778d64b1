//! An experiment: methods, seeds, and the runs that they make together.

use super::benchmarks::Identity;
use super::knob::Knob;
use crate::embedded;
use crate::problem::Problem;
use paretopo_records::EVALUATION;
use paretopo_report::{Behind, Controls, RecordError, RunResult, read_run, row_name};
use paretopo_settings::{LARGEST_SEED, all_within, read_toml};
use paretopo_training::RunConfig;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The list of methods and seeds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Experiment {
    #[serde(deserialize_with = "all_within::<0, LARGEST_SEED, _, _>")]
    seeds: Vec<u64>,
    /// Settings changed for every method.
    #[serde(default)]
    set: Vec<String>,
    methods: Vec<Method>,
    /// A setting that every trained method is run with several values of.
    #[serde(default)]
    sweep: Option<Sweep>,
    /// The file of finished runs' numbers, beside this one.
    #[serde(default)]
    runs: Option<PathBuf>,
    /// The measured skills that the controls are computed from, a file beside this one.
    #[serde(default)]
    controls: Option<PathBuf>,
    /// The `results.json` of a larger experiment, whose fronts are drawn behind this one's.
    #[serde(default)]
    shown_over: Option<PathBuf>,
    /// Another experiment's file of runs, which tells how long they take.
    #[serde(default)]
    times: Option<PathBuf>,
}

/// A setting and its values; a method's name gets the value behind it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sweep {
    key: String,
    values: Vec<toml::Value>,
}

/// Bytes of a method's name, which is that of its runs' folders, too.
const LONGEST_NAME: usize = 100;

impl Experiment {
    /// # Errors
    /// When there is nothing to compare, a seed is listed twice, or a setting would be overruled.
    fn check(&self, methods: &[Method], set: &[String]) -> Result<(), String> {
        if self.seeds.is_empty() {
            return Err(
                "`seeds` is empty\nhint: list at least one, as in `seeds = [1, 2, 3]`".into()
            );
        }
        let is_twice = |index: &usize| self.seeds[..*index].contains(&self.seeds[*index]);
        if let Some(index) = (0..self.seeds.len()).find(is_twice) {
            return Err(format!(
                "the seed {} is listed twice in `seeds`, which would count one run as two",
                self.seeds[index]
            ));
        }
        if self.methods.is_empty() {
            return Err("`methods` is empty\nhint: add a section `[[methods]]`".into());
        }
        if self.sweep.as_ref().is_some_and(|sweep| sweep.values.is_empty()) {
            return Err("`sweep.values` is empty, so no method would be trained".into());
        }
        if methods.iter().any(|method| !method.name.contains(char::is_alphanumeric)) {
            return Err("a method needs a `name` with at least a letter or digit".into());
        }
        let is_bad = |name: &str| {
            name.len() > LONGEST_NAME || name.contains(|c: char| c == '|' || c.is_control())
        };
        if let Some(row) = methods.iter().map(Method::row).find(|row| is_bad(row)) {
            return Err(format!(
                "the name {row:?} cannot stand in a table and name a folder\nhint: at most \
                 {LONGEST_NAME} bytes, without `|` and line breaks"
            ));
        }
        self.check_knobs()?;
        self.check_seed(set)
    }

    fn check_knobs(&self) -> Result<(), String> {
        for method in &self.methods {
            let Some(knob) = &method.knob else { continue };
            knob.check().map_err(|reason| format!("method `{}`: {reason}", method.name))?;
            if method.untrained {
                return Err(format!(
                    "method `{}` is untrained, so its `knob` turns nothing",
                    method.name
                ));
            }
        }
        Ok(())
    }

    /// A seed that is set elsewhere would be overruled.
    fn check_seed(&self, set: &[String]) -> Result<(), String> {
        let of_methods = self.methods.iter().flat_map(|method| &method.set);
        let knobs = self.methods.iter().filter_map(|method| method.knob.as_ref());
        let turned: Vec<String> = knobs.flat_map(Knob::assignments).collect();
        let swept = self.sweep.as_ref().map(|sweep| &sweep.key);
        let keys = self.set.iter().chain(of_methods).chain(set).chain(swept).chain(&turned);
        let is_seed =
            |text: &String| text.split('=').next().is_some_and(|key| key.trim() == "seed");
        match keys.into_iter().find(|text| is_seed(text)) {
            Some(text) => Err(format!(
                "`{text}` has no effect: each run has a seed of the list `seeds`\nhint: change that list"
            )),
            None => Ok(()),
        }
    }

    /// The methods, each once for every value of the sweep and every place of its knob.
    fn variants(&self) -> Vec<Method> {
        self.swept().iter().flat_map(Method::turned).collect()
    }

    /// The methods, each once for every value of the sweep.
    fn swept(&self) -> Vec<Method> {
        let Some(sweep) = &self.sweep else { return self.methods.clone() };
        let with = |method: &Method, value: &toml::Value| {
            let mut variant = method.clone();
            variant.name = format!("{} {value}", method.name);
            variant.set.push(format!("{}={value}", sweep.key));
            variant
        };
        let of = |method: &Method| match method.untrained {
            true => vec![method.clone()],
            false => sweep.values.iter().map(|value| with(method, value)).collect(),
        };
        self.methods.iter().flat_map(of).collect()
    }
}

/// A method of an experiment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Method {
    /// Its name in tables.
    pub(super) name: String,
    /// Its configuration, beside the experiment's file.
    config: PathBuf,
    /// Settings changed for this method.
    #[serde(default)]
    set: Vec<String>,
    /// Whether the starting policy is only evaluated.
    #[serde(default)]
    pub(super) untrained: bool,
    /// Whether others are compared with it.
    #[serde(default = "yes")]
    pub(super) baseline: bool,
    /// What moves it along its front.
    #[serde(default)]
    knob: Option<Knob>,
    /// Where that stands.
    #[serde(skip)]
    pub(super) setting: Option<String>,
}

impl Method {
    /// Its row in tables, which names its folders, too.
    pub(super) fn row(&self) -> String {
        match &self.setting {
            None => self.name.clone(),
            Some(setting) => row_name(&self.name, setting),
        }
    }

    /// The method at every place of its knob.
    fn turned(&self) -> Vec<Self> {
        let Some(knob) = &self.knob else { return vec![self.clone()] };
        let at = |(label, set): (String, Vec<String>)| {
            let set = self.set.iter().cloned().chain(set).collect();
            Self { setting: Some(label), set, ..self.clone() }
        };
        knob.places().into_iter().map(at).collect()
    }
}

fn yes() -> bool {
    true
}

/// A run of an experiment.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) method: Method,
    pub(super) seed: u64,
    pub(super) folder: PathBuf,
    pub(super) config: PathBuf,
    pub(super) set: Vec<String>,
    pub(super) resolved: RunConfig,
}

impl Job {
    /// What the finished run found.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub(super) fn result(&self) -> Result<RunResult, RecordError> {
        let found = read_run(&self.folder, &self.method.name, self.seed)?;
        Ok(RunResult { setting: self.method.setting.clone(), ..found })
    }

    /// Whether an earlier call has finished this run.
    ///
    /// # Errors
    /// When the folder holds something of other settings, or an evaluation where a run belongs, or
    /// the other way round.
    pub(super) fn is_done(&self) -> Result<bool, Problem> {
        let other = |what: &str| {
            Err(Problem::mistake(format!(
                "`{}` holds {what}\nhint: choose another folder with `--out`, or delete this one",
                self.folder.display()
            )))
        };
        let has_result = self.folder.join(EVALUATION).exists();
        let config_path = self.folder.join("config.toml");
        let trained = match paretopo_reading::read_text(&config_path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Problem::unreadable(&config_path, &error)),
        };
        let evaluated = Identity::read(&self.folder)?.map(|identity| identity.config);
        let (written, what, wrong) = match self.method.untrained {
            true => (evaluated, "an evaluation", trained.map(|_| "a training run")),
            false => (trained, "a run", evaluated.map(|_| "an evaluation by `evaluate`")),
        };
        if let Some(wrong) = wrong {
            let kind = if self.method.untrained { "only evaluated" } else { "trained" };
            return other(&format!("{wrong}, but `{}` is {kind}", self.method.row()));
        }
        match written {
            Some(text) => match self.resolved.first_difference(&text) {
                None => Ok(has_result),
                Some(difference) => other(&format!(
                    "{what} with another configuration (first difference: `{difference}`)"
                )),
            },
            // earlier versions did not write down of what an evaluation is; it is made again
            None if self.method.untrained => Ok(false),
            None if has_result => other("a result without the configuration that it belongs to"),
            None => Ok(false),
        }
    }
}

/// All that `compare` does.
pub(super) struct Plan {
    /// All runs.
    pub(super) queue: Vec<Job>,
    /// The methods at every place of their knobs.
    pub(super) methods: Vec<Method>,
    /// The file of finished runs' numbers.
    pub(super) runs: Option<PathBuf>,
    /// What can be had without learning when to call.
    pub(super) controls: Option<Controls>,
    /// Fronts to draw behind.
    pub(super) behind: Vec<Behind>,
    /// Another experiment's file of runs, which tells how long they take.
    pub(super) times: Option<PathBuf>,
}

/// What a file beside an experiment holds; without a folder that of the program.
fn text_beside(folder: Option<&Path>, name: &Path) -> Result<String, Problem> {
    let Some(folder) = folder else { return Ok(embedded::experiment_file(name).to_owned()) };
    let path = folder.join(name);
    paretopo_reading::read_text(&path).map_err(|error| Problem::unreadable(&path, &error))
}

/// A JSON file beside an experiment.
fn beside<T: serde::de::DeserializeOwned>(
    folder: Option<&Path>,
    name: &Path,
) -> Result<T, Problem> {
    serde_json::from_str(&text_beside(folder, name)?)
        .map_err(|error| Problem::mistake(format!("`{}`: {error}", place(folder, name).display())))
}

/// How messages call a file beside an experiment.
fn place(folder: Option<&Path>, name: &Path) -> PathBuf {
    folder.unwrap_or(Path::new("")).join(name)
}

/// The fronts of a `results.json`.
#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    fronts: Vec<Behind>,
}

fn controls(folder: Option<&Path>, name: &Path) -> Result<Controls, Problem> {
    let controls: Controls = beside(folder, name)?;
    let place = place(folder, name);
    let wrong = |reason| Problem::mistake(format!("`{}`: {reason}", place.display()));
    controls.check().map_err(wrong)?;
    Ok(controls)
}

/// All runs of an experiment, and what belongs to it.
///
/// # Errors
/// Names what is wrong with the experiment or with a method's configuration.
pub(super) fn planned(
    experiment: Option<&Path>,
    out: &Path,
    set: &[String],
) -> Result<Plan, Problem> {
    let (text, folder, name) = match experiment {
        Some(path) => {
            let text = paretopo_reading::read_text(path)
                .map_err(|error| Problem::unreadable(path, &error))?;
            (text, path.parent().or(Some(Path::new(""))), path.display().to_string())
        }
        None => (embedded::EXPERIMENT[0].1.to_owned(), None, "the built-in experiment".to_owned()),
    };
    let read: Experiment =
        read_toml(&text).map_err(|refused| Problem::mistake(format!("`{name}`: {refused}")))?;
    let methods = read.variants();
    read.check(&methods, set).map_err(|reason| Problem::mistake(format!("`{name}`: {reason}")))?;
    let queue = plan(&read, &methods, folder, out, set)?;
    if let Some((first, second)) = collision(&queue) {
        return Err(Problem::mistake(format!(
            "`{name}`: the methods `{}` and `{}` would share the folder `{}`\nhint: give them names that differ in letters or digits",
            first.method.row(),
            second.method.row(),
            second.folder.display()
        )));
    }
    let controls = read.controls.as_deref().map(|name| controls(folder, name)).transpose()?;
    let shown: Option<Shown> =
        read.shown_over.as_deref().map(|name| beside(folder, name)).transpose()?;
    Ok(Plan {
        queue,
        methods,
        runs: read.runs.map(|name| place(folder, &name)),
        controls,
        behind: shown.map(|shown| shown.fronts).unwrap_or_default(),
        // the built-in experiment has no file beside it
        times: folder.and(read.times).map(|name| place(folder, &name)),
    })
}

/// All runs, seed by seed so that early results span all methods; every configuration is checked
/// before the first run starts. Configurations lie in `folder`, or else in the program.
fn plan(
    experiment: &Experiment,
    methods: &[Method],
    folder: Option<&Path>,
    out: &Path,
    set: &[String],
) -> Result<Vec<Job>, Problem> {
    let mut jobs = Vec::new();
    for seed in &experiment.seeds {
        for method in methods {
            let config = match folder {
                Some(folder) => folder.join(&method.config),
                None => out.join("configs").join(&method.config),
            };
            let text = text_beside(folder, &method.config)?;
            let mut settings = experiment.set.clone();
            settings.extend(method.set.iter().chain(set).cloned());
            settings.push(format!("seed={seed}"));
            let parsed = RunConfig::parse(&text, &config.display().to_string(), &settings)?;
            let slug: String = method
                .row()
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
                .collect();
            jobs.push(Job {
                method: method.clone(),
                seed: *seed,
                folder: out.join("runs").join(format!("{slug}-{seed}")),
                config,
                set: settings,
                resolved: parsed,
            });
        }
    }
    Ok(jobs)
}

/// Two jobs of one folder.
fn collision(jobs: &[Job]) -> Option<(&Job, &Job)> {
    let mut by_folder: BTreeMap<&Path, &Job> = BTreeMap::new();
    jobs.iter().find_map(|job| Some((by_folder.insert(&job.folder, job)?, job)))
}
