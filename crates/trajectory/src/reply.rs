//! What an environment of several turns said to a turn of the policy. A reply is data: a server that
//! fails, or runs late, is one with an `error`.

use crate::ObjectiveValues;
use serde::{Deserialize, Serialize};

/// What an environment answered to a turn that would otherwise have ended the episode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// What the policy reads in its next turn; of the last reply, what it would have read.
    pub text: String,
    /// Whether `text` was shortened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Whether the environment says that the episode is over.
    pub done: bool,
    /// What the episode is worth up to here, by the names that the environment has for it, in its
    /// own measure.
    #[serde(default, skip_serializing_if = "ObjectiveValues::is_empty")]
    pub rewards: ObjectiveValues,
    /// Why there is none: the environment failed, and the episode with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Wall-clock seconds that it took.
    pub seconds: f32,
    /// Which segment of the trajectory it answers, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<usize>,
}

impl Reply {
    /// One that says why there is none.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { error: Some(reason.into()), ..Self::default() }
    }
}
