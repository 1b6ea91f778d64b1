//! Token segments with their author, and the trajectory that they form.

use crate::{CallRecord, TokenId};
use serde::{Deserialize, Serialize};

/// Who wrote the ids of a segment. Only [`Author::Model`] is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The opening: system message, tools, the question.
    Prompt,
    /// Sampled from the policy.
    Model,
    /// The text that a tool returned.
    Tool,
    /// Markers that the turn loop put around tool output or turns.
    Template,
}

/// A run of consecutive ids by one author.
///
/// For [`Author::Model`] both log-probability lists are as long as `ids`; for every other author
/// both are empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Who wrote the ids.
    pub author: Author,
    /// The ids, in the order in which the model saw them.
    pub ids: Vec<TokenId>,
    /// Natural log-probability of each sampled id under the untempered policy (temperature 1, full
    /// vocabulary).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<f32>,
    /// Natural log-probability of each sampled id under the distribution it was drawn from
    /// (temperature, top-k, top-p).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sampling_logprobs: Vec<f32>,
}

impl Segment {
    /// A segment that nobody sampled.
    pub fn given(author: Author, ids: Vec<TokenId>) -> Self {
        debug_assert_ne!(author, Author::Model, "sampled ids need log-probabilities");
        Self { author, ids, logprobs: Vec::new(), sampling_logprobs: Vec::new() }
    }
}

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

/// One finished episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trajectory {
    /// The task that was attempted.
    pub task_id: String,
    /// Which of the task's rollouts this is, counted from 0.
    pub sample: usize,
    /// Optimiser steps behind the weights that sampled it.
    pub weight_version: u64,
    /// What the model saw and wrote, in order.
    pub segments: Vec<Segment>,
    /// The tool calls, in order.
    pub calls: Vec<CallRecord>,
    /// Why it ended.
    pub finish: FinishReason,
    /// The text of everything after the prompt, for people and for answer extraction.
    pub response: String,
    /// The extracted final answer, if there is one.
    pub answer: Option<String>,
    /// One value in [0, 1] per objective, in the environment's order; empty until scored.
    pub rewards: Vec<f64>,
    /// Wall-clock seconds from the opening to the end.
    pub seconds: f32,
}

impl Trajectory {
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

    /// How many tool calls were made (`N_call` of the paper), failed ones included.
    pub fn call_count(&self) -> usize {
        self.calls.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment() -> impl Strategy<Value = Segment> {
        (0..4u8, proptest::collection::vec(0u32..100, 0..6)).prop_map(
            |(author, ids)| match author {
                0 => Segment::given(Author::Prompt, ids),
                1 => Segment::given(Author::Tool, ids),
                2 => Segment::given(Author::Template, ids),
                _ => {
                    let logprobs: Vec<f32> = ids.iter().map(|id| -(*id as f32) - 1.0).collect();
                    Segment {
                        author: Author::Model,
                        sampling_logprobs: logprobs.clone(),
                        logprobs,
                        ids,
                    }
                }
            },
        )
    }

    proptest! {
        #[test]
        fn mask_and_logprobs_follow_authorship(segments in proptest::collection::vec(segment(), 0..8)) {
            let expected_ids: Vec<u32> = segments.iter().flat_map(|s| s.ids.clone()).collect();
            let sampled: usize = segments.iter().filter(|s| s.author == Author::Model).map(|s| s.ids.len()).sum();
            let trajectory = Trajectory {
                task_id: "t".into(), sample: 0, weight_version: 0, segments, calls: vec![], finish: FinishReason::Stop,
                response: String::new(), answer: None, rewards: vec![], seconds: 0.0,
            };
            let (ids, mask, logprobs) = (trajectory.ids(), trajectory.mask(), trajectory.aligned_logprobs());
            prop_assert_eq!(&ids, &expected_ids);
            prop_assert_eq!(mask.len(), ids.len());
            prop_assert_eq!(mask.iter().filter(|m| **m).count(), sampled);
            for ((id, sampled), logprob) in ids.iter().zip(&mask).zip(&logprobs) {
                // a sampled id `i` was given the log-probability -(i + 1), everything else 0
                prop_assert_eq!(*logprob, if *sampled { -(*id as f32) - 1.0 } else { 0.0 });
            }
            let json = serde_json::to_string(&trajectory).unwrap();
            prop_assert_eq!(serde_json::from_str::<Trajectory>(&json).unwrap(), trajectory);
        }
    }
}
