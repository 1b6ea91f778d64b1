//! The first format of trajectories, which did not say its version. It had one weight version for
//! the whole episode, rewards without names, and neither ids nor times.
//!
//! What is read of it: the episode's weight version is that of each segment of the model; rewards
//! get the names `0`, `1`, ... (only the run's configuration knows better, and a file may lie
//! anywhere); whether it succeeded is not known; a call belongs to the last segment of the model
//! before its output. The name is `task-sample`, which is unique where each was played once.

use crate::{
    Author, CallRecord, FinishReason, FormatVersion, ObjectiveValues, Segment, TokenId, ToolCall,
    ToolOutcome, Trajectory, TrajectoryId, numbers,
};
use serde::Deserialize;
use std::sync::Arc;

/// A line of the first format.
#[derive(Deserialize)]
pub(crate) struct FirstTrajectory {
    task_id: String,
    sample: usize,
    weight_version: u64,
    segments: Vec<FirstSegment>,
    calls: Vec<FirstCall>,
    finish: FinishReason,
    response: String,
    answer: Option<String>,
    /// Those that are not finite were written as `null`.
    rewards: Vec<Option<f64>>,
    seconds: f32,
}

#[derive(Deserialize)]
struct FirstSegment {
    author: Author,
    ids: Vec<TokenId>,
    #[serde(default, with = "numbers::list")]
    logprobs: Vec<f32>,
    #[serde(default, with = "numbers::list")]
    sampling_logprobs: Vec<f32>,
}

#[derive(Deserialize)]
struct FirstCall {
    call: Option<ToolCall>,
    outcome: ToolOutcome,
}

impl FirstSegment {
    fn converted(self, weight_version: u64) -> Segment {
        let sampled = self.author == Author::Model;
        Segment {
            author: self.author,
            ids: self.ids,
            weight_version: sampled.then_some(weight_version),
            logprobs: self.logprobs,
            sampling_logprobs: self.sampling_logprobs,
            ..Segment::sampling(weight_version)
        }
    }
}

impl From<FirstTrajectory> for Trajectory {
    fn from(first: FirstTrajectory) -> Self {
        let name = format!("{}-{}", first.task_id, first.sample);
        let mut asked = asked_for(&first.segments).into_iter();
        let calls = first.calls.into_iter().map(|FirstCall { call, outcome }| CallRecord {
            call,
            outcome,
            segment: asked.next(),
            time: None,
            price: None,
        });
        let calls = calls.collect();
        let convert = |segment: FirstSegment| segment.converted(first.weight_version);
        let rewards = first.rewards.into_iter().map(|reward| reward.unwrap_or(f64::NAN));
        Self {
            version: FormatVersion,
            id: TrajectoryId::from(name.as_str()),
            task_id: first.task_id,
            sample: first.sample,
            success: None,
            objectives: ObjectiveValues::unnamed(rewards.collect()),
            advantages: Vec::new(),
            preference: ObjectiveValues::default(),
            tool_free: false,
            segments: first.segments.into_iter().map(convert).collect(),
            experts: Arc::default(),
            calls,
            replies: Vec::new(),
            finish: first.finish,
            response: first.response,
            answer: first.answer,
            seconds: first.seconds,
        }
    }
}

/// For each output of a tool, the last segment of the model before it.
fn asked_for(segments: &[FirstSegment]) -> Vec<usize> {
    let outputs = (0..segments.len()).filter(|index| segments[*index].author == Author::Tool);
    outputs
        .filter_map(|output| {
            segments[..output].iter().rposition(|segment| segment.author == Author::Model)
        })
        .collect()
}
