//! What can stop a recipe.

use crate::EpisodeFailures;
use crate::config::ConfigError;
use paretopo_agent::RolloutError;
use paretopo_algorithms::estimators::EstimatorError;
use paretopo_chat::ChatError;
use paretopo_environments::DataError;
use paretopo_models::CheckpointError;
use std::path::PathBuf;

/// Why a recipe stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tasks.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The checkpoint's text files.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The checkpoint's weights.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The rewards.
    #[error(transparent)]
    Estimator(#[from] EstimatorError),
    /// Prompts or demonstrations that do not fit into the model's context.
    #[error("{0}")]
    LongPrompts(String),
    /// A rollout as a whole.
    #[error("a rollout failed: {0}")]
    Rollout(RolloutError),
    /// Another process of the run.
    #[error("rank {rank}: {reason}")]
    Rank {
        /// Which.
        rank: usize,
        /// What it says, or what is wrong with it.
        reason: String,
    },
    /// Processes of the run do not work together any more.
    #[error("{0}\nhint: start the run again; it goes on from its latest checkpoint")]
    Collective(paretopo_collective::CollectiveError),
    /// Other people's dashboards, of which something is wrong before anything is told.
    #[error(transparent)]
    Dashboards(#[from] paretopo_dashboards::DashboardError),
    /// Servers that generate.
    #[error(transparent)]
    Serving(paretopo_serving::ServingError),
    /// A file of the run.
    #[error("cannot access `{path}`: {source}")]
    Access {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the run does not hold what it should.
    #[error("`{path}`: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The folder holds a run with other settings.
    #[error(
        "`{path}` holds a run with another configuration (first difference: `{difference}`)\nhint: choose another folder with `--run`, or delete this one"
    )]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// The first setting that differs.
        difference: String,
    },
    /// Another process is writing the same run.
    #[error(
        "another process is training in `{path}`\nhint: wait for it, or choose another folder with `--run`"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Training went numerically wrong.
    #[error(
        "step {step}: {reason}; the batch is in `{batch}`\nhint: lower `train.optimizer.learning_rate`, or resume from the last checkpoint"
    )]
    Numbers {
        /// The step.
        step: u64,
        /// What was found.
        reason: String,
        /// The batch, written out.
        batch: PathBuf,
    },
    /// The policy itself is broken: what it holds or computes is not finite.
    #[error(
        "{}{reason}\nhint: nothing was overwritten; go on from a sound checkpoint, with a lower `train.optimizer.learning_rate` if training broke it, or in another `precision`",
        at(.step)
    )]
    Policy {
        /// The step, in a training run.
        step: Option<u64>,
        /// Which tensor or output, and what it holds.
        reason: String,
    },
    /// All episodes of an evaluation, or of several training steps in a row, failed.
    #[error(
        "{what}: {failures}{}\nhint: mend what fails and run the same command again",
        kept(.episodes)
    )]
    EpisodesFailed {
        /// The evaluation, or the steps.
        what: String,
        /// What failed; of the last step.
        failures: EpisodeFailures,
        /// The episodes, written out.
        episodes: Option<PathBuf>,
    },
    /// An objective gave nothing, or something that is not in [0, 1], in an evaluation.
    #[error("{what}: {reason}{}\nhint: {}", kept(.episodes), mended(.reason))]
    EvaluatedReward {
        /// The evaluation.
        what: String,
        /// Which objective, and for what.
        reason: String,
        /// The episodes, written out.
        episodes: Option<PathBuf>,
    },
    /// An objective gave nothing, or something that is not in [0, 1].
    #[error(
        "step {step}: {reason}; its trajectories are in `{batch}`\nhint: mend the objective (`objectives`), or leave such groups out with `train.bad_numbers = \"skip\"`"
    )]
    Reward {
        /// The step.
        step: u64,
        /// Which objective, and for what.
        reason: String,
        /// The rollouts, written out.
        batch: PathBuf,
    },
    /// The device is not there.
    #[error("the backend `{name}` cannot be used: {reason}")]
    Backend {
        /// The backend.
        name: &'static str,
        /// What is missing.
        reason: String,
    },
    /// A Ctrl-C or a termination signal.
    #[error("interrupted; run the same command again to resume")]
    Interrupted,
}

/// The beginning of a message.
fn at(step: &Option<u64>) -> String {
    step.map(|step| format!("step {step}: ")).unwrap_or_default()
}

/// What to do about an evaluation that lacks a reward.
fn mended(reason: &str) -> &'static str {
    match reason.starts_with(crate::failures::LOST) {
        true => "see whether the environment's server is up; who asks again plays what is missing",
        false => "mend the objective (`objectives`)",
    }
}

/// Where episodes are.
fn kept(episodes: &Option<PathBuf>) -> String {
    let place = |path: &PathBuf| format!("; the episodes are in `{}`", path.display());
    episodes.as_ref().map(place).unwrap_or_default()
}

impl From<paretopo_durable::Failure> for TrainingError {
    fn from(failure: paretopo_durable::Failure) -> Self {
        Self::Access { path: failure.path, source: failure.source }
    }
}

impl From<paretopo_records::RecordError> for TrainingError {
    fn from(error: paretopo_records::RecordError) -> Self {
        Self::Invalid { path: error.path, reason: error.reason }
    }
}

impl From<RolloutError> for TrainingError {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Cancelled => Self::Interrupted,
            RolloutError::Chat(error @ ChatError::EmptyOpening { .. }) => Self::Chat(error),
            long @ RolloutError::PromptTooLong { .. } => Self::LongPrompts(long.to_string()),
            RolloutError::NotFinite { .. } => {
                Self::Policy { step: None, reason: error.to_string() }
            }
            other => Self::Rollout(other),
        }
    }
}

impl TrainingError {
    /// The same, said to be of that step where the policy itself is broken.
    pub(crate) fn at_step(self, step: u64) -> Self {
        match self {
            Self::Policy { reason, .. } => Self::Policy { step: Some(step), reason },
            other => other,
        }
    }
}
