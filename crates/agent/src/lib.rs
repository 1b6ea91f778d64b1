//! The tool-calling agent: a policy generates a batch of episodes, calls tools, reads what they
//! return and goes on, until each episode has become a [`paretopo_trajectory::Trajectory`].
//!
//! [`rollout`] deals out episodes to workers; each plays its part by the turn loop (`play`), which
//! knows a [`paretopo_generation::Generator`] and no tensor. What an episode holds stands in
//! `episode`, how its turns end in `protocol`, the calls that are under way in `tool_desk`.

mod demonstrated;
mod episode;
mod lessons;
mod play;
mod policy_text;
mod preference;
mod prompts;
mod protocol;
mod rollout;
mod rollout_config;
mod tool_desk;
mod workers;

pub use demonstrated::Authored;
pub use lessons::Lesson;
pub use policy_text::PolicyText;
pub use preference::{PreferenceConfig, Told, normalised};
pub use prompts::{LongPrompts, leaves_room, open_tasks, require_question};
pub use rollout::{RolloutContext, RolloutError, RolloutRequest, RolloutStatistics, rollout};
pub use rollout_config::{OutputTruncation, RolloutConfig, RolloutPrecision, ToolSchedule};
pub use workers::{Weights, Workers};
