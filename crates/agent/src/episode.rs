//! An episode while it is played: what the policy has read and written, and what it waits for.

use crate::protocol::Protocol;
use crate::rollout::RolloutRequest;
use crate::tool_desk::{Put, Submitted, Tenancy};
use crate::{Authored, RolloutConfig};
use paretopo_chat::TurnText;
use paretopo_environments::Budget;
use paretopo_generation::Drawn;
use paretopo_trajectory::{
    Alternative, Author, CallRecord, ExpertRecord, FinishReason, Reply, Segment, Span, TokenId,
    ToolCall, ToolOutcome, Trajectory,
};
use std::sync::Arc;
use std::time::Instant;

/// What an episode does.
pub(crate) enum State {
    Generating,
    /// For the outcomes of the calls of a turn, in their order.
    Waiting {
        asked: Vec<Asked>,
        /// The round in which the outcomes are delivered.
        due: u64,
    },
    /// For what the environment says to a turn.
    Put {
        put: Put,
        /// The round in which the reply is delivered.
        due: u64,
    },
    Finished(FinishReason),
}

/// A call that a turn asks for.
pub(crate) struct Asked {
    /// `None` if what was written is none.
    pub(crate) call: Option<ToolCall>,
    /// Seconds from the episode's beginning to the call.
    pub(crate) began: f32,
    pub(crate) outcome: Awaited,
}

impl Asked {
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.outcome, Awaited::Here(_))
    }
}

/// What a call came to.
pub(crate) enum Awaited {
    Here(ToolOutcome),
    Due(Submitted),
}

/// What an episode may use up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) calls: usize,
    pub(crate) turns: usize,
    pub(crate) tokens: usize,
}

impl Limits {
    /// Those of its environment, and else the rollout's.
    pub(crate) fn of(budget: Budget, config: &RolloutConfig) -> Self {
        Self {
            calls: budget.max_calls.unwrap_or(config.max_calls),
            turns: budget.max_turns.unwrap_or(config.max_turns),
            tokens: budget.max_sampled_tokens.unwrap_or(config.max_sampled_tokens),
        }
    }
}

pub(crate) struct Episode<'a> {
    pub(crate) request: &'a RolloutRequest<'a>,
    pub(crate) limits: Limits,
    pub(crate) state: State,
    pub(crate) calls: Vec<CallRecord>,
    pub(crate) replies: Vec<Reply>,
    /// What the policy has written since the last insertion.
    pub(crate) turn: TurnText,
    /// Tokens that the policy has drawn.
    pub(crate) sampled: usize,
    /// Ids in all segments.
    pub(crate) length: usize,
    pub(crate) started: Instant,
    /// The round in which it last called.
    pub(crate) called: u64,
    /// What tools keep for it, until it ends.
    pub(crate) tenancy: Option<Arc<Tenancy>>,
    segments: Vec<Segment>,
    experts: ExpertRecord,
    /// What the policy said, without what it thought and what tools returned.
    said: String,
    response: String,
    seconds: f32,
}

impl<'a> Episode<'a> {
    pub(crate) fn open(
        request: &'a RolloutRequest<'a>,
        prompt: &[TokenId],
        limits: Limits,
        tenancy: Arc<Tenancy>,
    ) -> Self {
        Self {
            request,
            limits,
            state: State::Generating,
            calls: Vec::new(),
            replies: Vec::new(),
            turn: TurnText::default(),
            sampled: 0,
            length: prompt.len(),
            started: Instant::now(),
            called: 0,
            tenancy: Some(tenancy),
            segments: vec![Segment::given(Author::Prompt, prompt.to_vec()).at(Span::default())],
            experts: ExpertRecord::default(),
            said: String::new(),
            response: String::new(),
            seconds: 0.0,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished(_))
    }

    /// The latest id that the policy has drawn.
    pub(crate) fn last_drawn(&self) -> Option<TokenId> {
        let by_model = self.segments.iter().rfind(|segment| segment.author == Author::Model);
        by_model.and_then(|segment| segment.ids.last().copied())
    }

    /// All ids, in the order in which the model saw them.
    pub(crate) fn ids(&self) -> Vec<TokenId> {
        self.segments.iter().flat_map(|segment| segment.ids.iter().copied()).collect()
    }

    pub(crate) fn finish(&mut self, reason: FinishReason, protocol: &Protocol) {
        if !self.is_finished() {
            self.end_turn(protocol);
            self.seconds = self.started.elapsed().as_secs_f32();
            self.state = State::Finished(reason);
            self.tenancy = None;
        }
    }

    /// Seconds since it began.
    pub(crate) fn now(&self) -> f32 {
        self.started.elapsed().as_secs_f32()
    }

    /// An id that the policy has drawn. Other weights begin another segment.
    pub(crate) fn push_drawn(&mut self, weight_version: u64, drawn: &Drawn) {
        let now = self.now();
        let is_by = |segment: &Segment| segment.weight_version == Some(weight_version);
        if !self.segments.last().is_some_and(is_by) {
            let time = Span { began: now, ended: now };
            self.segments.push(Segment::sampling(weight_version).at(time));
        }
        let segment = self.segments.last_mut().expect("just pushed");
        segment.ids.push(drawn.id);
        segment.logprobs.push(drawn.logprob);
        segment.sampling_logprobs.push(drawn.sampling_logprob);
        segment.entropies.extend(drawn.entropy);
        if !drawn.alternatives.is_empty() {
            let pairs = drawn.alternatives.iter();
            let alternatives =
                pairs.map(|(id, logprob)| Alternative { id: *id, logprob: *logprob });
            segment.alternatives.push(alternatives.collect());
        }
        if let Some(time) = &mut segment.time {
            time.ended = now;
        }
        if let Some((place, read)) = &drawn.experts {
            self.experts.extend(*place, read);
        }
        self.sampled += 1;
        self.length += 1;
    }

    fn end_turn(&mut self, protocol: &Protocol) {
        let turn = std::mem::take(&mut self.turn);
        self.said.push_str(protocol.said(turn.text()));
        self.response.push_str(turn.text());
    }

    /// Puts the outcomes of a turn's calls behind it: each call with the seconds from the episode's
    /// beginning to it, and what the policy reads, piece by piece, as ids and as text.
    pub(crate) fn push_outcomes(
        &mut self,
        calls: Vec<(CallRecord, f32)>,
        pieces: Vec<Authored>,
        text: &str,
        protocol: &Protocol,
    ) {
        let asked = self.segments.iter().rposition(|segment| segment.author == Author::Model);
        self.end_turn(protocol);
        self.response.push_str(text);
        let now = self.now();
        for (author, ids) in pieces {
            self.length += ids.len();
            let time = Span { began: now, ended: now };
            self.segments.push(Segment::given(author, ids).at(time));
        }
        for (call, began) in calls {
            let time = Some(Span { began, ended: now });
            self.calls.push(CallRecord { segment: asked, time, ..call });
        }
    }

    /// Writes down what the environment said to the latest turn.
    pub(crate) fn note_reply(&mut self, reply: Reply) {
        let answered = self.segments.iter().rposition(|segment| segment.author == Author::Model);
        self.replies.push(Reply { segment: answered, ..reply });
    }

    /// The record of a finished episode, not yet scored; `answer` finds the answer in what the policy
    /// wrote, since a tool may print anything.
    pub(crate) fn take_trajectory(
        &mut self,
        answer: impl FnOnce(&str) -> Option<String>,
    ) -> Trajectory {
        let State::Finished(finish) = &self.state else {
            unreachable!("only finished episodes become trajectories")
        };
        let request = self.request;
        Trajectory {
            segments: std::mem::take(&mut self.segments),
            experts: Arc::new(std::mem::take(&mut self.experts)),
            calls: std::mem::take(&mut self.calls),
            replies: std::mem::take(&mut self.replies),
            finish: finish.clone(),
            answer: answer(&self.said),
            response: std::mem::take(&mut self.response),
            seconds: self.seconds,
            tool_free: request.tool_free,
            preference: request.preference.clone(),
            ..Trajectory::empty(request.id.clone(), &request.task.id, request.sample)
        }
    }
}
