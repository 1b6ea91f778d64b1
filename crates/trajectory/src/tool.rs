//! Tool calls and what came of them. An outcome is data: a tool that fails, is refused or runs late
//! still has one.

use crate::Span;
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
pub struct CallRecord {
    /// The call; `None` when what the model wrote could not be parsed as one.
    pub call: Option<ToolCall>,
    /// The outcome.
    pub outcome: ToolOutcome,
    /// Which segment of the trajectory asked for it, counted from 0: calls of one turn have the
    /// same. `None` where a file of the first format does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<usize>,
    /// From the call to when its output was in the episode. `None` in files of the first format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
    /// What the call counted for, where its tool draws a price for each call; `None` where the
    /// price is that of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
}

impl CallRecord {
    /// A call of which neither turn nor time is known.
    pub fn new(call: Option<ToolCall>, outcome: ToolOutcome) -> Self {
        Self { call, outcome, segment: None, time: None, price: None }
    }
}
