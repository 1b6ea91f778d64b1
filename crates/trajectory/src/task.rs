//! Tasks and the messages that open an episode.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who speaks in a chat message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions.
    System,
    /// The person who asks.
    User,
    /// The policy.
    Assistant,
    /// A tool's answer.
    Tool,
}

/// A chat message, as chat templates expect it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Which part of an environment's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Trained on.
    Train,
    /// Looked at while training.
    Validation,
    /// Reported.
    Test,
}

/// A question with its accepted answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Unique in its environment; `N_optimal` is remembered under it.
    pub id: String,
    /// What the agent is asked.
    pub question: String,
    /// Accepted answers; at least one.
    pub answers: Vec<String>,
    /// Difficulty, if the environment grades it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u32>,
    /// Calls with which the answer is found without the head, where the environment knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_calls: Option<u32>,
    /// Titles of the passages that the answer follows from, where the data tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supporting: Vec<String>,
}
