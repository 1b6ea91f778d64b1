//! An episode while it is played: what the policy has read and written, and what it waits for.

use crate::rollout::RolloutRequest;
use paretopo_chat::TurnText;
use paretopo_generation::Drawn;
use paretopo_trajectory::{
    Author, CallRecord, FinishReason, Segment, TokenId, ToolCall, Trajectory,
};
use std::time::Instant;

/// What an episode does.
pub(crate) enum State {
    Generating,
    /// For the outcome of a call.
    Waiting {
        ticket: u64,
        call: ToolCall,
        /// The round in which the outcome is delivered.
        due: u64,
        /// When it is given up.
        give_up: Instant,
    },
    Finished(FinishReason),
}

pub(crate) struct Episode<'a> {
    pub(crate) request: &'a RolloutRequest<'a>,
    pub(crate) state: State,
    pub(crate) calls: Vec<CallRecord>,
    /// What the policy has written since the last insertion.
    pub(crate) turn: TurnText,
    /// Tokens that the policy has drawn.
    pub(crate) sampled: usize,
    /// Ids in all segments.
    pub(crate) length: usize,
    pub(crate) started: Instant,
    segments: Vec<Segment>,
    /// What the policy wrote, without what tools returned.
    model_text: String,
    response: String,
    seconds: f32,
}

impl<'a> Episode<'a> {
    pub(crate) fn open(request: &'a RolloutRequest<'a>, prompt: &[TokenId]) -> Self {
        Self {
            request,
            state: State::Generating,
            calls: Vec::new(),
            turn: TurnText::default(),
            sampled: 0,
            length: prompt.len(),
            started: Instant::now(),
            segments: vec![Segment::given(Author::Prompt, prompt.to_vec())],
            model_text: String::new(),
            response: String::new(),
            seconds: 0.0,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished(_))
    }

    /// All ids, in the order in which the model saw them.
    pub(crate) fn ids(&self) -> Vec<TokenId> {
        self.segments.iter().flat_map(|segment| segment.ids.iter().copied()).collect()
    }

    pub(crate) fn finish(&mut self, reason: FinishReason) {
        if !self.is_finished() {
            self.model_text.push_str(self.turn.text());
            self.response.push_str(self.turn.text());
            self.turn = TurnText::default();
            self.seconds = self.started.elapsed().as_secs_f32();
            self.state = State::Finished(reason);
        }
    }

    /// Ids that the policy has drawn, with their log-probabilities.
    pub(crate) fn push_drawn(&mut self, drawn: &Drawn) {
        if self.segments.last().is_none_or(|segment| segment.author != Author::Model) {
            self.segments.push(Segment {
                author: Author::Model,
                ids: vec![],
                logprobs: vec![],
                sampling_logprobs: vec![],
            });
        }
        let segment = self.segments.last_mut().expect("just pushed");
        segment.ids.push(drawn.id);
        segment.logprobs.push(drawn.logprob);
        segment.sampling_logprobs.push(drawn.sampling_logprob);
        self.sampled += 1;
        self.length += 1;
    }

    /// Puts a tool's output between its markers behind the turn, which it ends.
    pub(crate) fn push_output(&mut self, parts: [(Author, Vec<TokenId>); 3], text: [&str; 3]) {
        let turn = std::mem::take(&mut self.turn);
        self.model_text.push_str(turn.text());
        self.response.push_str(turn.text());
        self.response.extend(text);
        for (author, ids) in parts {
            self.length += ids.len();
            self.segments.push(Segment::given(author, ids));
        }
    }

    /// The record of a finished episode, not yet scored; `answer` finds the answer in what the policy
    /// wrote, since a tool may print anything.
    pub(crate) fn into_trajectory(
        &mut self,
        weight_version: u64,
        answer: impl FnOnce(&str) -> Option<String>,
    ) -> Trajectory {
        let State::Finished(finish) = &self.state else {
            unreachable!("only finished episodes become trajectories")
        };
        Trajectory {
            task_id: self.request.task.id.clone(),
            sample: self.request.sample,
            weight_version,
            segments: std::mem::take(&mut self.segments),
            calls: std::mem::take(&mut self.calls),
            finish: finish.clone(),
            answer: answer(&self.model_text),
            response: std::mem::take(&mut self.response),
            rewards: Vec::new(),
            seconds: self.seconds,
        }
    }
}
