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
use paretopo_trajectory::{Message, ObjectiveValues, Split, Task, Trajectory};
use schemars::JsonSchema;
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

    /// Whether the trajectory's answer is right. Asked once, by [`score_group`].
    fn succeeded(&self, task: &Task, trajectory: &Trajectory) -> bool;

    /// `r_task`, in [0, 1]: what the answer is worth. Whether it is right stands in the trajectory
    /// by then (`success`).
    fn task_reward(&self, _task: &Task, trajectory: &Trajectory) -> f64 {
        f64::from(u8::from(trajectory.success == Some(true)))
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// The objectives' names, in the order of the reward vector. One that has the name of an objective
/// before it gets its place behind it: `r_length`, `r_length_3`.
pub fn objective_names(environment: &dyn Environment) -> Arc<[String]> {
    let mut names: Vec<String> = Vec::new();
    for (place, objective) in environment.objectives().iter().enumerate() {
        let name = objective.name().to_owned();
        let is_taken = names.contains(&name);
        names.push(if is_taken { format!("{name}_{}", place + 1) } else { name });
    }
    names.into()
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
    for trajectory in group.iter_mut() {
        let is_right = environment.succeeded(task, trajectory);
        trajectory.success = Some(is_right);
        if is_right {
            memory.record_success(&task.id, trajectory.call_count());
        }
    }
    let names = objective_names(environment);
    for trajectory in group.iter_mut() {
        let rewards = environment
            .objectives()
            .iter()
            .map(|objective| objective.score(environment, task, trajectory, memory).unwrap_or(0.0));
        trajectory.objectives = ObjectiveValues::new(&names, rewards.collect());
    }
}

/// The first reward of a scored group that is not finite, in words: objective, value, rollout and
/// task.
pub fn bad_reward(task: &Task, group: &[Trajectory]) -> Option<String> {
    group.iter().find_map(|trajectory| {
        let (name, value) = trajectory.objectives.iter().find(|(_, value)| !value.is_finite())?;
        Some(format!(
            "`{name}` gave {value} for rollout {} of task `{}`",
            trajectory.sample, task.id
        ))
    })
}
