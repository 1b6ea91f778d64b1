//! Recipes that read top to bottom: [`sft`] (warm start), [`train`] (reinforcement learning),
//! [`evaluate`]; and what they stand on: batches, gradients and the optimiser (`learning`), the run's
//! folder and its checkpoints (`run`), configurations, each beside what it configures.
//!
//! A recipe is generic over the family of models `F` and the backend `B`. Rollouts and evaluation run
//! on `B::InnerBackend`, which has no autodiff graph. Nothing here prints; recipes tell an
//! [`Observer`] what happens.

mod check;
mod config;
mod decoding;
mod entry;
mod error;
mod evaluation;
mod failures;
#[cfg(test)]
mod faults;
mod fitting;
mod generating;
mod learning;
mod plan;
mod policy;
mod ranks;
mod rl;
mod run;
mod score;
mod seeds;
mod sft;
mod solve;
mod stage;

pub use check::{Check, CheckDepth};
pub use config::{ConfigError, EnvironmentEntry, Pieces, PolicySource, Precision, RunConfig};
pub use entry::{BackendChoice, EntryPoints, Evaluated, Recipe};
pub use error::TrainingError;
pub use evaluation::{EvaluationConfig, FinishedEpisodes, evaluate, summarise};
pub use failures::EpisodeFailures;
pub use fitting::check_prompts;
pub use generating::GeneratorConfig;
pub use learning::{
    AdamW, GradientSum, LearningRateSchedule, MemoryConfig, MicroBatch, OptimizerConfig,
    TrainingSequence, accumulate_gradient, response_logprobs, total_gradient,
};
pub use paretopo_records::Evaluation;
pub use plan::MemoryPlan;
pub use policy::Policy;
pub use ranks::follow_in;
pub use rl::{
    BadNumbers, ImportanceBeyond, ImportanceLevel, KeepConfig, OldLogprobs, TrainConfig, train,
    train_in,
};
pub use run::{RunFolder, RunMetadata, TrainingState, write_atomically};
pub use score::{ScoreRequest, Scores};
pub use sft::{ConversationFile, SftConfig, sft};
pub use stage::{Stage, out_of_memory, write_reason};

use burn::module::Module;
use burn::tensor::backend::Backend;
use paretopo_agent::Workers;
use paretopo_collective::Collective;
use paretopo_engine::SamplingPlace;
use paretopo_environments::{DataError, LoadObserver, Resources, ToolEnvironment};
use paretopo_trajectory::Task;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
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

/// Hears nothing.
impl Observer for () {
    fn progress(&mut self, _: &str, _: usize, _: usize) {}

    fn step(&mut self, _: u64, _: u64, _: &Metrics) {}

    fn note(&mut self, _: &str) {}
}

/// What every recipe is given besides its configuration.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// What environments use of this machine.
    pub resources: Resources,
    /// Set from outside to stop at the next safe point.
    pub cancelled: &'a AtomicBool,
    /// The backend's name, for the run's records.
    pub backend: String,
    /// The commit that the binary was built from, for the run's records.
    pub commit: &'static str,
    /// The folder that holds the configuration's policy.
    pub policy_folder: PathBuf,
    /// CPU threads for the backend's work; 1 where it computes elsewhere.
    pub threads: usize,
    /// Where the backend draws tokens.
    pub sampling_place: SamplingPlace,
    /// The processes that train together; [`OneProcess`](paretopo_collective::OneProcess) alone.
    pub collective: Arc<dyn Collective>,
}

/// Tells an observer what building an environment does.
struct Loading<'a>(&'a mut dyn Observer);

impl LoadObserver for Loading<'_> {
    fn progress(&mut self, what: &str, done: u64, total: u64) {
        self.0.progress(what, done as usize, total as usize);
    }

    fn note(&mut self, message: &str) {
        self.0.note(message);
    }
}

impl Surroundings<'_> {
    /// The workers that a configuration asks for.
    pub(crate) fn workers<B: Backend, M: Module<B>>(
        &self,
        config: &RunConfig,
        model: &M,
    ) -> Result<Workers, TrainingError> {
        let count = Workers::suitable(config.workers, self.threads, model.num_params() as u64);
        Workers::new(count, self.threads)
            .map_err(|reason| ConfigError::Setting(format!("`workers`: {reason}")).into())
    }

    /// The tasks that an evaluation plays, unless their prompts are too long.
    ///
    /// # Errors
    /// When the environment cannot be built.
    pub fn evaluated_tasks(
        &self,
        config: &RunConfig,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Task>, DataError> {
        let environment = self.environment(config, observer)?;
        Ok(config.evaluation.chosen(&*environment).to_vec())
    }

    /// Builds a run's environment; the observer hears what takes time.
    pub(crate) fn environment(
        &self,
        config: &RunConfig,
        observer: &mut dyn Observer,
    ) -> Result<ToolEnvironment, DataError> {
        Stage::Environment.begin();
        config.build_environment(&self.resources, &mut Loading(observer))
    }
}
