//! What pieces of your own are written with: `use paretopo::prelude::*;`.
//!
//! A crate needs `serde` (with `derive`) and `schemars` among its dependencies, whose derives name
//! their crates. Numbers of settings have types with a range ([`Share`], [`NonNegative`]), so that a
//! bad one is an error with its line and column.

pub use crate::Program;
pub use paretopo_algorithms::estimators::{Advantages, Estimator, EstimatorError, Group, Progress};
pub use paretopo_environments::{
    DataError, Demonstration, DemonstrationTurn, Environment, EnvironmentSettings, LoadObserver,
    Objective, Partner, Resources, RunMemory, Scoring, final_answer,
};
pub use paretopo_models::{AutoFamily, CausalLm, ModelConfig, ModelFamily};
pub use paretopo_retrieval::Passage;
pub use paretopo_settings::{NonNegative, Positive, Seconds, Share, Weights, whole, within};
pub use paretopo_tools::{CallContext, Tool, ToolEntry, ToolSettings, ToolSurroundings};
pub use paretopo_trajectory::{
    CallRecord, CallStatus, Fault, Message, Reply, Role, Split, Task, ToolCall, ToolOutcome,
    ToolSpec, Trajectory, TrajectoryId,
};
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use serde_json::json;
pub use std::sync::Arc;
