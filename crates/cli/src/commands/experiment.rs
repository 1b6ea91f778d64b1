//! An experiment: methods, seeds, and the runs that they make together.

use super::benchmarks::Identity;
use crate::embedded;
use crate::problem::Problem;
use paretopo_records::EVALUATION;
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
        if let Some(method) = methods.iter().find(|method| is_bad(&method.name)) {
            return Err(format!(
                "the name {:?} cannot stand in a table and name a folder\nhint: at most {LONGEST_NAME} \
                 bytes, without `|` and line breaks",
                method.name
            ));
        }
        let of_methods = self.methods.iter().flat_map(|method| &method.set);
        let swept = self.sweep.as_ref().map(|sweep| &sweep.key);
        let keys = self.set.iter().chain(of_methods).chain(set).chain(swept);
        let is_seed =
            |text: &String| text.split('=').next().is_some_and(|key| key.trim() == "seed");
        match keys.into_iter().find(|text| is_seed(text)) {
            Some(text) => Err(format!(
                "`{text}` has no effect: each run has a seed of the list `seeds`\nhint: change that list"
            )),
            None => Ok(()),
        }
    }

    /// The methods, each once for every value of the sweep.
    fn variants(&self) -> Vec<Method> {
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
}

fn yes() -> bool {
    true
}

pub(super) struct Job {
    pub(super) method: Method,
    pub(super) seed: u64,
    pub(super) folder: PathBuf,
    pub(super) config: PathBuf,
    pub(super) set: Vec<String>,
    pub(super) resolved: RunConfig,
}

impl Job {
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
            return other(&format!("{wrong}, but `{}` is {kind}", self.method.name));
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

/// All runs of an experiment, and its methods.
///
/// # Errors
/// Names what is wrong with the experiment or with a method's configuration.
pub(super) fn planned(
    experiment: Option<&Path>,
    out: &Path,
    set: &[String],
) -> Result<(Vec<Job>, Vec<Method>), Problem> {
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
            first.method.name,
            second.method.name,
            second.folder.display()
        )));
    }
    Ok((queue, methods))
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
            let text = match folder {
                Some(_) => paretopo_reading::read_text(&config)
                    .map_err(|error| Problem::unreadable(&config, &error))?,
                None => embedded::experiment_config(&method.config).to_owned(),
            };
            let mut settings = experiment.set.clone();
            settings.extend(method.set.iter().chain(set).cloned());
            settings.push(format!("seed={seed}"));
            let parsed = RunConfig::parse(&text, &config.display().to_string(), &settings)?;
            let slug: String = method
                .name
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
