//! A run's folder: resolved configuration, metadata, metrics, trajectories, checkpoints, result.
//!
//! ```text
//! config.toml  run.json  metrics.jsonl  events.out.tfevents.*  evaluation.json  running.json  lock
//! dashboards.json
//! trajectories/step-000010.jsonl   checkpoints/step-000010/   best/   policy/   adapter/
//! ```
//!
//! Every file is either appended to line by line or written by `paretopo_durable` beside its place
//! and then renamed, so a kill or a power cut at any moment leaves the old or the new content,
//! never half of it. What is damaged nevertheless is refused with the way out, or put aside
//! (`damaged-*`) with a note; it is never written over.

use crate::run::metrics_file::MetricsFile;
use crate::run::running::Running;
use crate::run::tensorboard::EventWriter;
use crate::{Metrics, RunConfig, Surroundings, TrainingError, stage};
use paretopo_dashboards::{Dashboards, DashboardsConfig, Ending, LastWords, RunAbout};
use paretopo_durable::{File, create_folder, put_aside, read, recover};
use paretopo_records::{Evaluation, write_trajectories};
use paretopo_trajectory::{TokenId, Trajectory};
use serde::{Deserialize, Serialize};
use std::fs::{self, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a lock that another process holds is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Who made a run, and with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunMetadata {
    /// The recipe: `train` or `sft`.
    pub recipe: String,
    /// Version of the program.
    pub version: String,
    /// Commit that the program was built from.
    pub commit: String,
    /// The run's seed.
    pub seed: u64,
    /// Backend and device.
    pub backend: String,
    /// Seconds since 1970 at the start.
    pub started_unix: u64,
}

/// An open run folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: MetricsFile,
    events: EventWriter,
    /// Who else hears of it.
    dashboards: Dashboards,
    /// What was found when the folder was opened, and not told yet.
    notes: Vec<String>,
    /// Removed before the lock is let go, so that nobody takes it for a process that was ended.
    _running: Running,
    /// Held as long as the run is open; the system lets go of it when the process ends, however it
    /// ends.
    _lock: File,
}

pub(crate) fn access(path: &Path) -> impl Fn(std::io::Error) -> TrainingError {
    move |source| TrainingError::Access { path: path.into(), source }
}

/// Writes a file so that a reader, or a kill, sees the old or the new content and nothing in
/// between.
///
/// # Errors
/// When the file cannot be written, synchronised or renamed.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), TrainingError> {
    Ok(paretopo_durable::write_atomically(path, content)?)
}

/// A killed run may hold its lock for a moment longer: what it was just starting has a copy of it
/// until it has become another program.
fn lock_soon(lock: &fs::File) -> Result<(), TryLockError> {
    let started = Instant::now();
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20))
            }
            locked => return locked,
        }
    }
}

/// Whether a run made a step in this folder.
fn has_steps(path: &Path) -> Result<bool, TrainingError> {
    let metrics = path.join("metrics.jsonl");
    let logged = match fs::metadata(&metrics) {
        Ok(metadata) => metadata.len() > 0,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(access(&metrics)(error)),
    };
    let mut found = logged;
    for name in ["checkpoints", "policy"] {
        let path = path.join(name);
        found |= path.try_exists().map_err(access(&path))?;
    }
    Ok(found)
}

const OTHER_FOLDER: &str = "hint: choose another folder with `--run`, or delete this one";

/// The metadata that lies beside a configuration or in a checkpoint; `None` if there is none.
///
/// # Errors
/// When it cannot be read, or is not what a run writes.
pub(crate) fn read_metadata(folder: &Path) -> Result<Option<RunMetadata>, TrainingError> {
    let path = folder.join("run.json");
    let Some(text) = read(&path)? else { return Ok(None) };
    let metadata = serde_json::from_slice(&text);
    metadata.map(Some).map_err(|error| TrainingError::Invalid { path, reason: error.to_string() })
}

/// What is in a folder before a run begins there, or goes on.
enum Found {
    /// Nothing that a run would spoil.
    Nothing,
    /// A run of the same configuration and recipe.
    Run,
    /// The same, but its `run.json` is missing or damaged; says which.
    RunWithoutMetadata(String),
}

/// # Errors
/// When the folder holds another run, or something that cannot be told from one.
fn found(path: &Path, config: &RunConfig, recipe: &str) -> Result<Found, TrainingError> {
    let config_path = path.join("config.toml");
    let invalid = |path: &Path, reason: String| {
        let reason = format!("{reason}\n{OTHER_FOLDER}");
        TrainingError::Invalid { path: path.into(), reason }
    };
    let has_steps = has_steps(path)?;
    let Some(bytes) = read(&config_path)? else {
        if has_steps {
            let reason = "holds steps of a run, but no `config.toml` that says of which";
            return Err(invalid(path, reason.into()));
        }
        return Ok(Found::Nothing);
    };
    // what cannot be read may be anybody's, and of any run
    let old = paretopo_reading::to_text(bytes)
        .map_err(|error| invalid(&config_path, error.to_string()))?;
    // which would be read as one of defaults
    if old.trim().is_empty() {
        return Err(invalid(&config_path, "is empty".into()));
    }
    RunConfig::parse(&old, "", &[]).map_err(|error| {
        let error = error.to_string();
        let reason = error.trim_start_matches("``: ");
        let hint = "hint: if another program wrote it, with pieces of its own, go on with that one";
        invalid(&config_path, format!("is not the configuration of a run: {reason}\n{hint}"))
    })?;
    let metadata = read_metadata(path);
    if !matches!(&metadata, Ok(Some(metadata)) if metadata.recipe == recipe) && !has_steps {
        // a run writes `run.json` first, so this is somebody's own file
        if matches!(metadata, Ok(None)) && !config.is_written_as(&old) {
            let reason = "is not the configuration of a run: there is no `run.json` beside it";
            return Err(invalid(&config_path, reason.into()));
        }
        return Ok(Found::Nothing);
    }
    if let Some(difference) = config.first_difference(&old) {
        // what was refused before its first step (a policy that cannot be read, a prompt that is
        // too long) holds nothing that another configuration would spoil
        return match has_steps {
            true => Err(TrainingError::OtherRun { path: path.into(), difference }),
            false => Ok(Found::Nothing),
        };
    }
    match metadata {
        Ok(Some(metadata)) if metadata.recipe != recipe => {
            let reason =
                format!("holds a run of the recipe `{}`, not of `{recipe}`", metadata.recipe);
            Err(invalid(path, reason))
        }
        Ok(Some(_)) => Ok(Found::Run),
        Ok(None) => Ok(Found::RunWithoutMetadata("is missing".into())),
        Err(TrainingError::Invalid { reason, .. }) => Ok(Found::RunWithoutMetadata(reason)),
        Err(error) => Err(error),
    }
}

impl RunFolder {
    /// Creates the folder, or opens one that holds a run with the same configuration, or one that
    /// made no step.
    ///
    /// # Errors
    /// When it cannot be written, holds another run or what cannot be told from one, or is being
    /// written by another process.
    pub fn open(
        path: &Path,
        config: &RunConfig,
        recipe: &str,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, TrainingError> {
        stage::begin_recipe(recipe);
        create_folder(path)?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path)?;
        lock_soon(lock.as_file()).map_err(|error| match error {
            TryLockError::WouldBlock => TrainingError::InUse { path: path.into() },
            TryLockError::Error(source) => TrainingError::Access { path: lock_path, source },
        })?;
        let found = found(path, config, recipe)?;
        let mut notes = Vec::new();
        for folder in [path.to_owned(), path.join("checkpoints")] {
            if folder.try_exists().map_err(access(&folder))? {
                let back = recover(&folder)?.into_iter();
                let told = |name| format!("put back `{}`", folder.join(name).display());
                notes.extend(back.map(told));
            }
        }
        if let Found::RunWithoutMetadata(reason) = &found {
            let path = path.join("run.json");
            let aside = match path.try_exists().map_err(access(&path))? {
                true => format!("; as it was it is `{}`", put_aside(&path)?.display()),
                false => String::new(),
            };
            notes.push(format!("`{}`: {reason}; it is written anew{aside}", path.display()));
        }
        if !matches!(found, Found::Run) {
            let metadata = RunMetadata {
                recipe: recipe.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                commit: surroundings.commit.to_owned(),
                seed: config.seed,
                backend: surroundings.backend.clone(),
                started_unix: std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs()),
            };
            let json = serde_json::to_vec_pretty(&metadata).expect("plain data serialises");
            write_atomically(&path.join("run.json"), &json)?;
        }
        if matches!(found, Found::Nothing) {
            write_atomically(&path.join("config.toml"), config.to_toml()?.as_bytes())?;
        }
        let metrics = MetricsFile::open(path)?;
        let (running, told) = Running::begin(path)?;
        notes.extend(told);
        let events = EventWriter::create(path)?;
        let dashboards = dashboards(path, config, &mut notes)?;
        let path = path.to_owned();
        Ok(Self { path, metrics, events, dashboards, notes, _running: running, _lock: lock })
    }

    /// What a person should know, the first time that it is asked for: that the last process did
    /// not come to its end, what was mended, that a dashboard is not told anything.
    pub fn take_notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(self.dashboards.take_notes());
        notes
    }

    /// How much dashboards were not told, to be asked for when this folder is closed.
    pub fn last_words(&self) -> LastWords {
        self.dashboards.last_words()
    }

    /// Everything is done: dashboards hear the evaluation, if there was one, and the end.
    pub(crate) fn finish(&mut self, step: u64, evaluation: Option<&Evaluation>) {
        if let Some(evaluation) = evaluation {
            self.dashboards.evaluation(step, &told_of(evaluation));
        }
        self.dashboards.end(Ending::Finished);
    }

    /// Shows trajectories of a step to dashboards that have a place for them; `read` says what ids
    /// mean.
    pub(crate) fn show<'t>(
        &self,
        step: u64,
        trajectories: impl Iterator<Item = &'t Trajectory>,
        read: &dyn Fn(&[TokenId]) -> String,
    ) {
        self.dashboards.traces(step, trajectories, read);
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Drops metrics of steps from `step` on: a resumed run makes them again. `note` hears of what
    /// cannot be read of the steps before.
    ///
    /// # Errors
    /// When the file cannot be rewritten.
    pub fn rewind(&mut self, step: u64, note: &mut dyn FnMut(&str)) -> Result<(), TrainingError> {
        self.metrics.rewind(step, note)
    }

    /// Appends a step's metrics to `metrics.jsonl` and to the TensorBoard events, and lets
    /// dashboards know them.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn log(&mut self, step: u64, metrics: &Metrics) -> Result<(), TrainingError> {
        self.metrics.log(step, metrics)?;
        self.events.write(step, metrics)?;
        self.dashboards.step(step, metrics);
        Ok(())
    }

    /// Writes trajectories as JSON lines.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_trajectories<'t>(
        &self,
        name: &str,
        trajectories: impl Iterator<Item = &'t Trajectory>,
    ) -> Result<PathBuf, TrainingError> {
        let folder = self.path.join("trajectories");
        create_folder(&folder)?;
        let path = folder.join(format!("{name}.jsonl"));
        write_trajectories(&path, trajectories)?;
        Ok(path)
    }
}

/// The dashboards of a run. They know it by the name in `dashboards.json`, which no other run has.
fn dashboards(
    path: &Path,
    config: &RunConfig,
    notes: &mut Vec<String>,
) -> Result<Dashboards, TrainingError> {
    if config.dashboards.trackio.is_none() && config.dashboards.mlflow.is_none() {
        return Ok(Dashboards::default());
    }
    let place = path.join("dashboards.json");
    let text = read(&place)?;
    let known = text.as_deref().map(serde_json::from_slice::<Known>);
    let known = match known {
        Some(Ok(known)) => known,
        found => {
            if found.is_some() {
                let aside = put_aside(&place)?;
                notes.push(format!(
                    "`{}` cannot be read, and is `{}` now: dashboards hear of a run of another name",
                    place.display(),
                    aside.display()
                ));
            }
            let known = Known::new(path);
            let json = serde_json::to_vec(&known).expect("plain data serialises");
            write_atomically(&place, &json)?;
            known
        }
    };
    let name = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // where they are, and with which credentials, is nothing to be shown
    let shown = RunConfig { dashboards: DashboardsConfig::default(), ..config.clone() };
    let about = RunAbout {
        id: known.id,
        name,
        settings: serde_json::to_value(shown).unwrap_or_default(),
        started_unix: known.since_unix,
    };
    Ok(Dashboards::open(&config.dashboards, &about)?)
}

/// By what dashboards know a run.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    /// 32 hexadecimal digits.
    id: String,
    /// Seconds since 1970 at which they heard of it first.
    since_unix: u64,
}

impl Known {
    fn new(path: &Path) -> Self {
        let since =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let what = format!("{} {since:?} {}", path.display(), std::process::id());
        let id = blake3::hash(what.as_bytes()).to_hex()[..32].to_owned();
        Self { id, since_unix: since.as_secs() }
    }
}

/// The numbers of an evaluation that dashboards hear.
fn told_of(evaluation: &Evaluation) -> Metrics {
    let objectives = evaluation.point.iter().map(|(name, mean)| (name.to_owned(), mean));
    let own = [
        ("em", evaluation.em),
        ("calls", evaluation.calls),
        ("response_tokens", evaluation.response_tokens),
        ("answered", evaluation.answered),
        ("failed_calls", evaluation.failed_calls),
        ("truncated", evaluation.truncated),
    ];
    own.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(objectives).collect()
}

/// Peak resident memory of this process in MiB, where the system tells.
pub(crate) fn peak_memory_mib() -> Option<f64> {
    memory_mib("VmHWM:")
}

/// Resident memory of this process in MiB now, where the system tells.
pub(crate) fn resident_memory_mib() -> Option<f64> {
    memory_mib("VmRSS:")
}

fn memory_mib(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}
