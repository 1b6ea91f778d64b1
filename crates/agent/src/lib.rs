//! The tool-calling agent: a policy decodes a batch of episodes, calls tools, reads what they
//! return and goes on, until each episode has become a [`paretopo_trajectory::Trajectory`].
//!
//! [`Engine`] turns tokens into logits for many sequences at once; [`rollout`] is the turn loop
//! above it. Rollouts run on the inner backend, so the type system keeps them free of autodiff
//! graphs.

mod engine;
mod generation_config;
mod policy_text;
mod prompts;
mod sampling;
mod turn_loop;
mod workers;

pub use engine::Engine;
pub use policy_text::PolicyText;
pub use prompts::{LongPrompts, leaves_room, open_tasks, require_question};
pub use sampling::{Sampled, SamplingConfig, log_softmax, sample};
pub use turn_loop::{
    OutputTruncation, RolloutConfig, RolloutContext, RolloutError, RolloutRequest,
    RolloutStatistics, ToolSchedule, rollout,
};
pub use workers::Workers;
