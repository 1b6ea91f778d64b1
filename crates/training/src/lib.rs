//! Recipes that read top to bottom: [`sft`] (warm start), [`train`] (reinforcement learning), [`evaluate`]; and what they stand on: configuration, run folder,
//! checkpoints, optimiser, batches.
//!
//! A recipe is generic over the backend `B`. Rollouts and evaluation run on `B::InnerBackend`, which has no autodiff graph. Nothing here
//! prints; recipes tell an [`Observer`] what happens.

mod batch;
mod checkpoint;
mod config;
mod entry;
mod error;
mod evaluate;
mod optimizer;
mod policy;
mod rl;
mod run_folder;
mod seeds;
mod sft;
mod tensorboard;

pub use batch::{MicroBatch, TrainingSequence, response_logprobs};
pub use checkpoint::TrainingState;
pub use config::{
    ConfigError, EvaluationConfig, KeepConfig, LearningRateSchedule, OldLogprobs, OptimizerConfig, PolicySource, RunConfig, SftConfig,
    TrainConfig,
};
pub use entry::{BackendChoice, EntryPoints, Recipe, ScoreRequest, Scores};
pub use error::TrainingError;
pub use evaluate::{Evaluation, LevelSummary, evaluate, summarise};
pub use optimizer::AdamW;
pub use policy::Policy;
pub use rl::train;
pub use run_folder::{RunFolder, RunMetadata, write_atomically, write_trajectories};
pub use sft::sft;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Numbers of a step, by name.
pub type Metrics = BTreeMap<String, f64>;

/// Hears what a recipe does.
pub trait Observer {
    /// Part of a phase is done.
    fn progress(&mut self, phase: &str, done: usize, total: usize);

    /// A step is done; the metrics are those in `metrics.jsonl`.
    fn step(&mut self, step: u64, total: u64, metrics: &Metrics);

    /// Something that a person should know.
    fn note(&mut self, message: &str);
}

/// What every recipe is given besides its configuration.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The command that starts a worker of the Python tool.
    pub python_worker: Vec<PathBuf>,
    /// Set from outside to stop at the next safe point.
    pub cancelled: &'a AtomicBool,
    /// The backend's name, for the run's records.
    pub backend: String,
    /// The commit that the binary was built from, for the run's records.
    pub commit: &'static str,
    /// The folder that holds the policy inside the binary.
    pub embedded_policy: PathBuf,
}
