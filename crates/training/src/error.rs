//! What can stop a recipe.

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
    /// An objective gave something that is not a finite number.
    #[error(
        "step {step}: {reason}; its trajectories are in `{batch}`\nhint: mend the objective (`environment.objectives`), or leave such groups out with `train.bad_numbers = \"skip\"`"
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

impl From<RolloutError> for TrainingError {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Cancelled => Self::Interrupted,
            RolloutError::Chat(error @ ChatError::EmptyOpening { .. }) => Self::Chat(error),
            long @ RolloutError::PromptTooLong { .. } => Self::LongPrompts(long.to_string()),
            other => Self::Rollout(other),
        }
    }
}
