//! What the agent is asked, and what its answers are worth.
//!
//! An [`Environment`] gives tasks, the messages that open an episode, and says when an answer is
//! right. A [`ToolEnvironment`] is one with tools and [`Objective`]s. Scoring turns a trajectory
//! into a reward *vector* with one value in [0, 1] per objective; nothing here weighs one against
//! another.
//!
//! An environment is a struct of settings that implements [`EnvironmentSettings`], an objective one
//! that implements [`Objective`]; either is chosen by `type` among those that are registered, ours
//! or a user's own. Neither may know tokens, burn or training.

mod data;
mod demonstration;
mod environment;
mod environment_settings;
mod judge;
pub mod math;
mod memory;
mod mixture;
mod objectives;
mod openenv;
mod opening;
mod partner;
mod preference_tokens;
pub mod qa;
mod scoring;
mod tool_efficiency;
mod tool_environment;
mod word_level;

pub use data::{
    AnswerForm, BadRows, Columns, DataError, DatasetKind, DatasetSource, FileRow, FileSource,
    KNOWN_DATASETS, KnownDataset, Question, file_rows,
};
pub use demonstration::{Demonstration, DemonstrationTurn};
pub use environment::{Environment, final_answer};
pub use environment_settings::{
    EnvironmentConfig, EnvironmentSettings, Environments, environment, register_environment,
    with_dataset,
};
pub use judge::{CommandReward, HttpReward, Judge, ObjectiveName, OutsideReward};
pub use math::{MathConfig, MathEnvironment};
pub use memory::{RunMemory, Tries};
pub use mixture::{Budget, Part, Schedule};
pub use objectives::{
    EnvironmentReward, Format, NamedObjective, Objective, ObjectiveConfig, Objectives,
    ResponseLength, Scoring, TaskSuccess, named_objectives, objective, register_objective,
    usual_objectives,
};
pub use openenv::{OpenEnvAction, OpenEnvConfig, OpenEnvReward, RewardOver, TurnPart};
pub use opening::{Example, Opening};
pub use paretopo_tools::{LoadObserver, Resources};
pub use partner::Partner;
pub use preference_tokens::preference_token;
pub use qa::{QaConfig, QaEnvironment};
pub use scoring::{score_group, score_groups};
pub use tool_efficiency::{BeforeFirstSuccess, BelowOptimal, NOptimal, ToolEfficiency};
pub use tool_environment::{NEUTRAL, OneOfSeveral, ToolEnvironment};
