//! An error for a person, with the exit code.

use paretopo_training::{ConfigError, TrainingError, out_of_memory};
use std::fmt::Display;

/// The exit code where the system has no memory left.
pub(crate) const OUT_OF_MEMORY: u8 = 3;

/// What went wrong.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) exit_code: u8,
}

impl Problem {
    /// The user can mend it: exit code 2.
    pub(crate) fn mistake(message: impl Display) -> Self {
        Self { message: message.to_string(), exit_code: 2 }
    }

    /// The run failed: exit code 1.
    pub(crate) fn failure(message: impl Display) -> Self {
        Self { message: message.to_string(), exit_code: 1 }
    }

    /// A file cannot be read.
    pub(crate) fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::mistake(format!("cannot read `{}`: {error}", path.display()))
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        Self::mistake(error)
    }
}

impl From<TrainingError> for Problem {
    fn from(error: TrainingError) -> Self {
        if let Some(lower) = out_of_memory(&error) {
            let message = format!("{error}\nhint: {lower}");
            return Self { message, exit_code: OUT_OF_MEMORY };
        }
        match error {
            TrainingError::Interrupted => Self { message: error.to_string(), exit_code: 130 },
            TrainingError::Numbers { .. }
            | TrainingError::Policy { .. }
            | TrainingError::EpisodesFailed { .. }
            | TrainingError::Reward { .. }
            | TrainingError::EvaluatedReward { .. }
            | TrainingError::Rollout(_)
            | TrainingError::Collective(_)
            | TrainingError::Estimator(_) => Self::failure(error),
            _ => Self::mistake(error),
        }
    }
}
