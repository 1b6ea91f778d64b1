//! A run's folder: resolved configuration, metadata, metrics, trajectories, checkpoints, result.
//!
//! ```text
//! config.toml  run.json  metrics.jsonl  events.out.tfevents.*  evaluation.json
//! trajectories/step-000010.jsonl   checkpoints/step-000010/   best/   policy/
//! ```
//!
//! Every file is either appended to line by line or written beside its place and then renamed, so a
//! kill at any moment leaves the old or the new content, never half of it.

use crate::tensorboard::EventWriter;
use crate::{Metrics, RunConfig, Surroundings, TrainingError};
use paretopo_trajectory::Trajectory;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
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
    metrics: File,
    events: EventWriter,
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
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside).map_err(access(&beside))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(access(&beside))?;
    fs::rename(&beside, path).map_err(access(path))
}

/// A killed run may hold its lock for a moment longer: what it was just starting has a copy of it
/// until it has become another program.
fn lock_soon(lock: &File) -> Result<(), TryLockError> {
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
fn has_steps(path: &Path) -> bool {
    let has_metrics = |metadata: fs::Metadata| metadata.len() > 0;
    fs::metadata(path.join("metrics.jsonl")).is_ok_and(has_metrics)
        || path.join("checkpoints").exists()
        || path.join("policy").exists()
}

impl RunFolder {
    /// Creates the folder, or opens one that holds a run with the same configuration, or one that
    /// made no step.
    ///
    /// # Errors
    /// When it cannot be written, holds another run, or is being written by another process.
    pub fn open(
        path: &Path,
        config: &RunConfig,
        recipe: &str,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, TrainingError> {
        fs::create_dir_all(path).map_err(access(path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(access(&lock_path))?;
        lock_soon(&lock).map_err(|error| match error {
            TryLockError::WouldBlock => TrainingError::InUse { path: path.into() },
            TryLockError::Error(source) => TrainingError::Access { path: lock_path, source },
        })?;
        let config_path = path.join("config.toml");
        let text = config.to_toml()?;
        match paretopo_reading::read_text(&config_path) {
            Ok(old) if config.first_difference(&old).is_none() => {}
            // what was refused before its first step (a policy that cannot be read, a prompt that is
            // too long) holds nothing that another configuration would spoil
            Ok(old) if has_steps(path) => {
                let difference = config.first_difference(&old).unwrap_or_default();
                return Err(TrainingError::OtherRun { path: path.into(), difference });
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(access(&config_path)(error));
            }
            Ok(_) | Err(_) => {
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
                write_atomically(&config_path, text.as_bytes())?;
            }
        }
        let metrics_path = path.join("metrics.jsonl");
        let metrics = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&metrics_path)
            .map_err(access(&metrics_path))?;
        let events = EventWriter::create(path).map_err(access(path))?;
        Ok(Self { path: path.into(), metrics, events, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Drops metrics of steps from `step` on: a resumed run makes them again.
    ///
    /// # Errors
    /// When the file cannot be rewritten.
    pub fn rewind(&mut self, step: u64) -> Result<(), TrainingError> {
        let path = self.path.join("metrics.jsonl");
        let text = fs::read_to_string(&path).map_err(access(&path))?;
        let earlier = |line: &&str| {
            let parsed: Option<serde_json::Value> = serde_json::from_str(line).ok();
            parsed.and_then(|value| value["step"].as_u64()).is_some_and(|found| found < step)
        };
        let kept: String = text.lines().filter(earlier).flat_map(|line| [line, "\n"]).collect();
        write_atomically(&path, kept.as_bytes())?;
        self.metrics = OpenOptions::new().append(true).open(&path).map_err(access(&path))?;
        Ok(())
    }

    /// Appends a step's metrics to `metrics.jsonl` and to the TensorBoard events.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn log(&mut self, step: u64, metrics: &Metrics) -> Result<(), TrainingError> {
        let mut line = serde_json::Map::new();
        line.insert("step".into(), step.into());
        line.extend(metrics.iter().map(|(name, value)| (name.clone(), serde_json::json!(value))));
        let mut text = serde_json::Value::from(line).to_string();
        text.push('\n');
        let path = self.path.join("metrics.jsonl");
        self.metrics.write_all(text.as_bytes()).map_err(access(&path))?;
        self.events.write(step, metrics).map_err(access(&self.path))
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
        fs::create_dir_all(&folder).map_err(access(&folder))?;
        let path = folder.join(format!("{name}.jsonl"));
        write_trajectories(&path, trajectories)?;
        Ok(path)
    }
}

/// Writes trajectories to a file, one JSON object a line.
///
/// # Errors
/// When the file cannot be written.
pub fn write_trajectories<'t>(
    path: &Path,
    trajectories: impl Iterator<Item = &'t Trajectory>,
) -> Result<(), TrainingError> {
    let mut text = Vec::new();
    for trajectory in trajectories {
        serde_json::to_writer(&mut text, trajectory).expect("plain data serialises");
        text.push(b'\n');
    }
    write_atomically(path, &text)
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
