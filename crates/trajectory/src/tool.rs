//! Tool calls and what came of them. An outcome is data: a tool that fails, is refused or runs late
//! still has one.

use serde::{Deserialize, Serialize};

/// What a tool offers, in the form that chat templates and prompts use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The name that a call must use.
    pub name: String,
    /// One or two sentences for the prompt.
    pub description: String,
    /// JSON schema of the arguments.
    pub parameters: serde_json::Value,
}

/// A parsed call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Arguments by name.
    pub arguments: serde_json::Value,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// The tool did what was asked.
    Ok,
    /// The tool reported an error (an exception, an unknown tool, bad arguments).
    Error,
    /// The call's deadline passed.
    Timeout,
    /// A memory, recursion or output limit was hit.
    Limit,
}

/// Who is to blame for a call that no tool has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The call: it is malformed, names no tool or has wrong arguments, and no tool was asked.
    Call,
    /// The tool: its server is down, its worker does not start or has crashed.
    Tool,
}

/// What a tool returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolOutcome {
    /// How it ended.
    pub status: CallStatus,
    /// What the model will read.
    pub text: String,
    /// Whether `text` was shortened.
    #[serde(default)]
    pub truncated: bool,
    /// Wall-clock seconds of the call.
    pub seconds: f32,
    /// Who is to blame if no tool has answered; `None` if one has, be it with an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Titles of the passages in `text`, for tools that search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

impl ToolOutcome {
    /// An outcome that holds all of `text`.
    pub fn new(status: CallStatus, text: impl Into<String>, seconds: f32) -> Self {
        let text = text.into();
        Self { status, text, truncated: false, seconds, fault: None, sources: Vec::new() }
    }

    /// The same, with someone to blame.
    pub fn with_fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }
}

/// A call with its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallRecord {
    /// The call; `None` when what the model wrote could not be parsed as one.
    pub call: Option<ToolCall>,
    /// The outcome.
    pub outcome: ToolOutcome,
}
