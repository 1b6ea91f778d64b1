//! What the agent is asked, and what its answers are worth.
//!
//! An [`Environment`] gives tasks, the messages that open an episode, the tools, and a list of
//! [`Objective`]s. Scoring turns a trajectory into a reward *vector* with one value in [0, 1] per
//! objective; nothing here weighs one against another.
//!
//! An environment is a folder or file here plus a variant of [`EnvironmentConfig`]; an objective a
//! struct in `objectives.rs` plus a variant of [`ObjectiveConfig`]. Neither may know tokens, burn
//! or training.

mod data;
mod demonstration;
pub mod math;
mod memory;
mod objectives;
mod opening;
pub mod qa;
mod word_level;

pub use data::{
    AnswerForm, BadRows, Columns, DataError, DatasetKind, DatasetSource, FileSource,
    KNOWN_DATASETS, KnownDataset, Question,
};
pub use demonstration::{Demonstration, DemonstrationTurn};
pub use math::{MathConfig, MathEnvironment};
pub use memory::RunMemory;
pub use objectives::{BeforeFirstSuccess, Objective, ObjectiveConfig};
pub use opening::{Example, Opening};
pub use qa::{QaConfig, QaEnvironment};

use paretopo_tools::Tool;
use paretopo_trajectory::{Message, Split, Task, Trajectory};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// A family of tasks with its tools and objectives.
pub trait Environment: Send + Sync {
    /// The tasks of a split, always in the same order. Splits share no question.
    fn tasks(&self, split: Split) -> &[Task];

    /// The messages that open an episode on `task`.
    fn opening(&self, task: &Task) -> Vec<Message>;

    /// What the agent may call.
    fn tools(&self) -> &[Arc<dyn Tool>];

    /// The objectives, in the order of the reward vector; the first is task success.
    fn objectives(&self) -> &[Box<dyn Objective>];

    /// The final answer in a response, if there is one.
    fn extract_answer(&self, response: &str) -> Option<String>;

    /// Whether the trajectory's answer is right.
    fn succeeded(&self, task: &Task, trajectory: &Trajectory) -> bool;

    /// `r_task`, in [0, 1]: what the answer is worth.
    fn task_reward(&self, task: &Task, trajectory: &Trajectory) -> f64 {
        f64::from(u8::from(self.succeeded(task, trajectory)))
    }

    /// Further numbers about an episode, by name; their means are reported. A name that does not
    /// apply is left out.
    fn metrics(&self, _task: &Task, _trajectory: &Trajectory) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// Worked solutions of mixed quality for supervised warm starts, never of a validation or test
    /// task. `index` seeds each.
    fn demonstration(&self, index: u64) -> Option<Demonstration>;
}

/// Which environment, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum EnvironmentConfig {
    /// Math problems with a Python tool.
    Math(MathConfig),
    /// Multi-hop questions with a search tool.
    Qa(QaConfig),
}

impl Default for EnvironmentConfig {
    fn default() -> Self {
        Self::Math(MathConfig::default())
    }
}

/// What environments use of the machine they run on.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// The command that starts a worker of the Python tool.
    pub python_worker: Vec<PathBuf>,
    /// A folder for what is made once and used again, such as search indices.
    pub cache: PathBuf,
}

/// Hears what building an environment does.
pub trait LoadObserver {
    /// How far something is.
    fn progress(&mut self, what: &str, done: u64, total: u64);

    /// Something that a person should know.
    fn note(&mut self, message: &str);
}

/// Nobody listens.
impl LoadObserver for () {
    fn progress(&mut self, _: &str, _: u64, _: u64) {}

    fn note(&mut self, _: &str) {}
}

impl EnvironmentConfig {
    /// The same with the tasks of a data set, of the kind that this environment plays.
    ///
    /// # Errors
    /// When the data set is of another kind.
    pub fn with_dataset(&self, name: &str) -> Result<Self, DataError> {
        let mut config = self.clone();
        let known = KNOWN_DATASETS.iter().find(|known| known.name == name).map(|known| known.kind);
        match (&mut config, known) {
            (Self::Math(math), Some(DatasetKind::Math) | None) => {
                math.problems = math::ProblemSource::Dataset(DatasetSource::named(name))
            }
            (Self::Qa(qa), Some(DatasetKind::Qa) | None) => {
                qa.questions = qa::QuestionSource::Dataset(DatasetSource::named(name))
            }
            (_, Some(kind)) => {
                let kind = format!("{kind:?}").to_lowercase();
                return Err(DataError::Setting(format!(
                    "`{name}` is a data set for `environment.type = \"{kind}\"`"
                )));
            }
        }
        Ok(config)
    }

    /// The objectives.
    pub fn objectives(&self) -> &[ObjectiveConfig] {
        match self {
            Self::Math(config) => &config.objectives,
            Self::Qa(config) => &config.objectives,
        }
    }

    /// Checks the settings that depend on each other.
    ///
    /// # Errors
    /// Names them.
    pub fn validate(&self) -> Result<(), DataError> {
        ObjectiveConfig::check_all(self.objectives())?;
        match self {
            Self::Math(config) => {
                config.python.check().map_err(DataError::Setting)?;
                config.demonstrations.check()
            }
            Self::Qa(config) => config.demonstrations.check(),
        }
    }

    /// Builds the environment.
    ///
    /// # Errors
    /// When data cannot be read or a setting makes no sense.
    pub fn build(
        &self,
        resources: &Resources,
        observer: &mut dyn LoadObserver,
    ) -> Result<Box<dyn Environment>, DataError> {
        self.validate()?;
        match self {
            Self::Math(config) => Ok(Box::new(MathEnvironment::new(
                config,
                resources.python_worker.clone(),
                observer,
            )?)),
            Self::Qa(config) => Ok(Box::new(QaEnvironment::new(config, resources, observer)?)),
        }
    }
}

/// Scores the rollouts of one task: first success, then the memory (`N_optimal`), then every
/// objective.
///
/// The memory moves *before* the group is scored, so a group's own first success already counts
/// (method, "Setting"). An objective that does not apply scores 0.
pub fn score_group(
    environment: &dyn Environment,
    task: &Task,
    group: &mut [Trajectory],
    memory: &mut RunMemory,
) {
    for trajectory in group.iter() {
        if environment.succeeded(task, trajectory) {
            memory.record_success(&task.id, trajectory.call_count());
        }
    }
    for trajectory in group.iter_mut() {
        let rewards = environment
            .objectives()
            .iter()
            .map(|objective| objective.score(environment, task, trajectory, memory).unwrap_or(0.0));
        trajectory.rewards = rewards.collect();
    }
}

/// The first reward of a scored group that is not finite, in words: objective, value, rollout and
/// task.
pub fn bad_reward(
    environment: &dyn Environment,
    task: &Task,
    group: &[Trajectory],
) -> Option<String> {
    group.iter().find_map(|trajectory| {
        let (objective, value) = environment
            .objectives()
            .iter()
            .zip(&trajectory.rewards)
            .find(|(_, value)| !value.is_finite())?;
        Some(format!(
            "`{}` gave {value} for rollout {} of task `{}`",
            objective.name(),
            trajectory.sample,
            task.id
        ))
    })
}
