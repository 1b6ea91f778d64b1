//! What an episode waits for, and how it goes on: tools' outcomes behind a turn that calls, and an
//! environment's reply behind one that does not.

use super::{CHARACTERS_PER_TOKEN, Failure, TurnLoop};
use crate::episode::{Asked, Awaited, State};
use crate::protocol::{Answered, Output, replied};
use crate::rollout_config::ToolSchedule;
use crate::tool_desk::{Submitted, ToolDesk};
use paretopo_chat::ChatError;
use paretopo_tools::truncate_middle;
use paretopo_trajectory::{CallRecord, FinishReason, Reply, TokenId, ToolOutcome};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a call is waited for between two looks at whether the rollout is given up.
const LOOKED: Duration = Duration::from_millis(20);

impl TurnLoop<'_> {
    /// Puts a turn that calls nothing to the environment; whether it answers such.
    pub(super) fn put(&mut self, key: usize) -> bool {
        let episode = &self.episodes[key];
        let tenancy = episode.tenancy.as_ref().expect("an episode has it until it ends");
        let said = self.protocol.said(episode.turn.text());
        let Some(put) = self.desk.put(said, episode.request.task, tenancy) else { return false };
        self.generator.pause(key, episode.length);
        let due = self.round + self.lag();
        let episode = &mut self.episodes[key];
        episode.called = self.round;
        episode.state = State::Put { put, due };
        true
    }

    /// Rounds until an outcome is delivered.
    pub(super) fn lag(&self) -> u64 {
        match self.config.tool_schedule {
            ToolSchedule::FixedLag { steps } => steps.max(1),
            ToolSchedule::AsReady {} => 0,
        }
    }

    /// Hands replies and outcomes to the episodes that are due, in the order of the episodes.
    pub(super) fn deliver(&mut self) -> Result<(), Failure> {
        self.desk.receive(Duration::ZERO);
        for key in 0..self.episodes.len() {
            match &self.episodes[key].state {
                State::Put { .. } => self.deliver_reply(key)?,
                State::Waiting { .. } => self.deliver_outcomes(key)?,
                State::Generating | State::Finished(_) => {}
            }
        }
        Ok(())
    }

    /// Whether a schedule holds outcomes until their round, and waits for them then.
    fn holds(&self) -> bool {
        matches!(self.config.tool_schedule, ToolSchedule::FixedLag { .. })
    }

    fn deliver_reply(&mut self, key: usize) -> Result<(), Failure> {
        let held = self.holds();
        let State::Put { put, due } = &self.episodes[key].state else { return Ok(()) };
        if held && self.round < *due {
            return Ok(());
        }
        let started = Instant::now();
        if held {
            wait_for(&put.submitted, &mut self.desk, self.context.cancelled);
        }
        self.stalled_seconds += started.elapsed().as_secs_f64();
        match self.desk.reply(put) {
            Some(reply) => self.take_reply(reply, key),
            None => Ok(()),
        }
    }

    /// Ends the episode where the environment says so or has failed; else the reply is put behind
    /// the turn as a user's, and the episode goes on.
    fn take_reply(&mut self, reply: Reply, key: usize) -> Result<(), Failure> {
        let mut reply = reply;
        let Output { ids, text } = self.cut(&mut reply.text, &mut reply.truncated)?;
        let (error, done) = (reply.error.clone(), reply.done);
        let episode = &mut self.episodes[key];
        episode.state = State::Generating;
        episode.note_reply(reply);
        if let Some(reason) = error {
            self.finish(key, FinishReason::Failed(format!("the environment: {reason}")));
            return Ok(());
        }
        if done {
            self.finish(key, FinishReason::Stop);
            return Ok(());
        }
        let is_used_up = episode.replies.len() >= episode.limits.turns
            || episode.sampled >= episode.limits.tokens
            || episode.length + ids.len() >= self.context.context;
        let Some(turn) = self.reply_turn.as_ref().filter(|_| !is_used_up) else {
            self.finish(key, FinishReason::Length);
            return Ok(());
        };
        let end = episode.last_drawn();
        let answered = replied(turn, &self.context.text.tokenizer, &text, end)?;
        self.go_on_behind(answered, Vec::new(), key)
    }

    /// Hands outcomes to an episode that is due. One whose turn made several calls waits for all of
    /// them.
    fn deliver_outcomes(&mut self, key: usize) -> Result<(), Failure> {
        let held = self.holds();
        let State::Waiting { asked, due } = &mut self.episodes[key].state else { return Ok(()) };
        if held && self.round < *due {
            return Ok(());
        }
        let started = Instant::now();
        for asked in asked.iter_mut() {
            let Awaited::Due(submitted) = &asked.outcome else { continue };
            if held {
                wait_for(submitted, &mut self.desk, self.context.cancelled);
            }
            if let Some(outcome) = self.desk.outcome(submitted.ticket, submitted.give_up) {
                asked.outcome = Awaited::Here(outcome);
            }
        }
        self.stalled_seconds += started.elapsed().as_secs_f64();
        if asked.iter().all(Asked::is_answered) {
            let asked = std::mem::take(asked);
            self.episodes[key].state = State::Generating;
            self.append(asked, key)?;
        }
        Ok(())
    }

    /// Puts the outcomes of a turn's calls behind it, marked as the tools', and lets the episode go
    /// on.
    pub(super) fn append(&mut self, asked: Vec<Asked>, key: usize) -> Result<(), Failure> {
        let mut calls = Vec::with_capacity(asked.len());
        let mut outputs = Vec::with_capacity(asked.len());
        for (place, Asked { call, began, outcome }) in asked.into_iter().enumerate() {
            let Awaited::Here(mut outcome) = outcome else {
                unreachable!("an episode goes on when all its calls have an outcome")
            };
            outputs.push(self.shown(&mut outcome)?);
            let episode = &self.episodes[key];
            let tenancy = episode.tenancy.as_ref().expect("an episode has it until it ends");
            let place = episode.calls.len() + place;
            let price = call.as_ref().and_then(|call| self.desk.drawn_price(call, tenancy, place));
            calls.push((CallRecord { price, ..CallRecord::new(call, outcome) }, began));
        }
        let end = self.episodes[key].last_drawn();
        let answered = self.protocol.answered(&self.context.text.tokenizer, &outputs, end)?;
        self.go_on_behind(answered, calls, key)
    }

    /// Puts what an episode reads behind its turn, and lets it go on.
    fn go_on_behind(
        &mut self,
        answered: Answered,
        calls: Vec<(CallRecord, f32)>,
        key: usize,
    ) -> Result<(), Failure> {
        let episode = &mut self.episodes[key];
        let pieces = answered.pieces.iter();
        let ids: Vec<TokenId> = pieces.flat_map(|(_, ids)| ids.iter().copied()).collect();
        episode.push_outcomes(calls, answered.pieces, &answered.text, &self.protocol);
        if episode.length >= self.context.context {
            self.finish(key, FinishReason::Length);
            return Ok(());
        }
        match self.place_in_waiting(key) {
            // it has yet to be admitted anew
            Some(place) => self.waiting[place].ids = self.episodes[key].ids().into(),
            None => self.generator.extend(key, &ids),
        }
        Ok(())
    }

    /// What the policy reads of an outcome, cut to what may be shown.
    fn shown(&self, outcome: &mut ToolOutcome) -> Result<Output, ChatError> {
        self.cut(&mut outcome.text, &mut outcome.truncated)
    }

    /// The same of any text that somebody else wrote.
    fn cut(&self, text: &mut String, truncated: &mut bool) -> Result<Output, ChatError> {
        let config = self.config;
        let tokenizer = &self.context.text.tokenizer;
        let most = CHARACTERS_PER_TOKEN * config.max_output_tokens.max(1);
        if text.len() > most {
            let (shorter, is_cut) = truncate_middle(text, most);
            *truncated |= is_cut;
            *text = shorter;
        }
        let mut ids = tokenizer.encode_foreign(text)?;
        if ids.len() > config.max_output_tokens {
            let ellipsis = tokenizer.encode_foreign("...")?;
            ids = config.output_truncation.apply(&ids, config.max_output_tokens, &ellipsis);
            *truncated = true;
        }
        let text = if *truncated { tokenizer.decode(&ids)? } else { text.clone() };
        Ok(Output { ids, text })
    }
}

/// Waits for a call until it has returned or is given up.
fn wait_for(submitted: &Submitted, desk: &mut ToolDesk<'_>, cancelled: &AtomicBool) {
    while !desk.has(submitted.ticket)
        && Instant::now() < submitted.give_up
        && !cancelled.load(Ordering::Relaxed)
    {
        desk.receive(LOOKED);
    }
}
