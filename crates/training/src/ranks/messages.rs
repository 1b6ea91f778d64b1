//! What ranks tell each other, as CBOR; tensors travel beside it ([`super::tensors`]).

use crate::{RunConfig, Surroundings, TrainingError, TrainingSequence};
use paretopo_agent::{RolloutConfig, RolloutRequest, RolloutStatistics};
use paretopo_trajectory::{ExpertRecord, ObjectiveValues, Task, Trajectory, TrajectoryId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What rank 0 tells all others to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Play episodes: each rank's own follow as a [`Share`].
    Play { version: u64, rollout: Box<RolloutConfig> },
    /// Compute and make the updates of a step.
    Update { step: u64, sequences: Vec<TrainingSequence> },
    /// Tell which weights there are, and send the moments that rank 0 does not hold.
    Checkpoint,
    /// Add the adapter to the weights, after the last update.
    Merge,
    /// There is nothing more to do.
    End,
}

/// An episode to play.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    id: TrajectoryId,
    task: Task,
    sample: usize,
    seed: u64,
    tool_free: bool,
    preference: ObjectiveValues,
}

impl Request {
    pub(super) fn of(request: &RolloutRequest<'_>) -> Self {
        Self {
            id: request.id.clone(),
            task: request.task.clone(),
            sample: request.sample,
            seed: request.seed,
            tool_free: request.tool_free,
            preference: request.preference.clone(),
        }
    }

    pub(super) fn borrowed(&self) -> RolloutRequest<'_> {
        RolloutRequest {
            id: self.id.clone(),
            task: &self.task,
            sample: self.sample,
            seed: self.seed,
            tool_free: self.tool_free,
            preference: self.preference.clone(),
        }
    }
}

/// The episodes that a rank has played.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlayedShare {
    trajectories: Vec<Trajectory>,
    /// Of each trajectory, since its own file has none.
    experts: Vec<ExpertRecord>,
    pub(super) statistics: RolloutStatistics,
}

impl PlayedShare {
    pub(super) fn new(trajectories: Vec<Trajectory>, statistics: RolloutStatistics) -> Self {
        let experts = trajectories.iter().map(|one| (*one.experts).clone()).collect();
        Self { trajectories, experts, statistics }
    }

    pub(super) fn into_trajectories(self) -> Vec<Trajectory> {
        let pairs = self.trajectories.into_iter().zip(self.experts);
        pairs.map(|(one, experts)| Trajectory { experts: Arc::new(experts), ..one }).collect()
    }
}

/// What all ranks have in common.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    version: String,
    commit: String,
    backend: String,
    config: String,
}

impl Identity {
    pub(super) fn of(
        config: &RunConfig,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, TrainingError> {
        // the number of the device is each rank's own
        let backend = surroundings.backend.split(':').next().unwrap_or_default();
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: surroundings.commit.into(),
            backend: backend.into(),
            config: config.to_toml()?,
        })
    }

    /// In what this differs from rank 0.
    pub(super) fn difference(&self, leader: &Self) -> Option<String> {
        let pairs = [
            ("version", &self.version, &leader.version),
            ("commit", &self.commit, &leader.commit),
            ("backend", &self.backend, &leader.backend),
        ];
        let differs = pairs.into_iter().find(|(_, own, other)| own != other);
        if let Some((what, own, other)) = differs {
            return Some(format!(
                "its {what} is `{own}`, and that of rank 0 `{other}`\nhint: start all ranks with \
                 the same program"
            ));
        }
        let mut lines = self.config.lines().zip(leader.config.lines());
        let (own, other) = match lines.find(|(own, other)| own != other) {
            Some(found) => found,
            None if self.config == leader.config => return None,
            None => ("less, or more", "settings"),
        };
        Some(format!(
            "its configuration has `{own}` where that of rank 0 has `{other}`\nhint: start all ranks \
             with the same configuration"
        ))
    }
}
