//! A finished episode: its segments, calls and what they were worth.

use crate::{
    Author, CallRecord, ExpertRecord, FormatVersion, ObjectiveValues, Reply, Segment, TokenId,
    TrajectoryId,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Why an episode ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason", content = "detail")]
pub enum FinishReason {
    /// The policy ended its turn by itself.
    Stop,
    /// The token budget (or the model's context) was used up.
    Length,
    /// The trajectory's deadline passed.
    Deadline,
    /// Something outside the policy failed; the detail says what. The trajectory is kept as data.
    /// (Older versions also gave a policy whose logits are not finite here; now that is an error.)
    Failed(String),
}

/// One finished episode. It is written by [`Trajectory::to_line`] and read by
/// [`Trajectory::from_line`], which knows every format that there was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// The format, in the file.
    pub version: FormatVersion,
    /// Its name, which no other trajectory of the run has.
    pub id: TrajectoryId,
    /// The task that was attempted.
    pub task_id: String,
    /// Which of the task's rollouts this is, counted from 0.
    pub sample: usize,
    /// Whether the answer is right; `None` until scored.
    pub success: Option<bool>,
    /// One value in [0, 1] per objective, in the environment's order; empty until scored.
    pub objectives: ObjectiveValues,
    /// What training weighed it by: a number for each turn, or one for all of them; empty where
    /// nothing was learnt from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advantages: Vec<f64>,
    /// What the episode was asked to prefer: weights of objectives; empty where it was not told.
    #[serde(default, skip_serializing_if = "ObjectiveValues::is_empty")]
    pub preference: ObjectiveValues,
    /// Whether it was forbidden to begin a call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tool_free: bool,
    /// What the model saw and wrote, in order.
    pub segments: Vec<Segment>,
    /// Which experts read its ids, of a policy that has some; in no file.
    #[serde(skip)]
    pub experts: Arc<ExpertRecord>,
    /// The tool calls, in order.
    pub calls: Vec<CallRecord>,
    /// What the environment said to its turns, in order; empty where it answers none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Reply>,
    /// Why it ended.
    pub finish: FinishReason,
    /// The text of everything after the prompt, for people and for answer extraction.
    pub response: String,
    /// The extracted final answer, if there is one.
    pub answer: Option<String>,
    /// Wall-clock seconds from the opening to the end.
    pub seconds: f32,
}

impl Trajectory {
    /// An episode of `task_id` in which nothing happened: what is known of one is filled in.
    pub fn empty(id: TrajectoryId, task_id: &str, sample: usize) -> Self {
        Self {
            version: FormatVersion,
            id,
            task_id: task_id.to_owned(),
            sample,
            success: None,
            objectives: ObjectiveValues::default(),
            advantages: Vec::new(),
            preference: ObjectiveValues::default(),
            tool_free: false,
            segments: Vec::new(),
            experts: Arc::default(),
            calls: Vec::new(),
            replies: Vec::new(),
            finish: FinishReason::Stop,
            response: String::new(),
            answer: None,
            seconds: 0.0,
        }
    }

    /// All ids that the model saw or wrote, in order.
    pub fn ids(&self) -> Vec<TokenId> {
        self.segments.iter().flat_map(|segment| segment.ids.iter().copied()).collect()
    }

    /// The loss mask: true exactly where [`Author::Model`] wrote. As long as [`Self::ids`].
    pub fn mask(&self) -> Vec<bool> {
        self.segments
            .iter()
            .flat_map(|segment| {
                std::iter::repeat_n(segment.author == Author::Model, segment.ids.len())
            })
            .collect()
    }

    /// Untempered log-probabilities aligned with [`Self::ids`], 0 where nothing was sampled.
    pub fn aligned_logprobs(&self) -> Vec<f32> {
        self.align(|segment| &segment.logprobs)
    }

    /// Log-probabilities under the sampling distribution aligned with [`Self::ids`], 0 where
    /// nothing was sampled.
    pub fn aligned_sampling_logprobs(&self) -> Vec<f32> {
        self.align(|segment| &segment.sampling_logprobs)
    }

    fn align(&self, values: impl Fn(&Segment) -> &Vec<f32>) -> Vec<f32> {
        let mut aligned = Vec::new();
        for segment in &self.segments {
            if segment.author == Author::Model {
                aligned.extend_from_slice(values(segment));
            } else {
                aligned.resize(aligned.len() + segment.ids.len(), 0.0);
            }
        }
        aligned
    }

    /// How many ids the policy sampled.
    pub fn sampled_tokens(&self) -> usize {
        self.segments
            .iter()
            .filter(|segment| segment.author == Author::Model)
            .map(|segment| segment.ids.len())
            .sum()
    }

    /// Why its environment failed it; `None` where it did not.
    pub fn lost(&self) -> Option<&str> {
        self.replies.last().and_then(|reply| reply.error.as_deref())
    }

    /// How many tool calls were made (`N_call` of the paper), failed ones included.
    pub fn call_count(&self) -> usize {
        self.calls.len()
    }
}
