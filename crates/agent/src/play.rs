//! The turn loop: generate, call, append, go on, up to a call and token budget, then one last
//! generation without tools.
//!
//! Nothing waits for anything but its own tool: while one episode's call runs, the others decode.
//! Every call and every episode has a deadline, so no rollout can hang. What goes wrong with a tool
//! or an episode becomes part of its trajectory. A generator that is lost is opened anew, and the
//! episodes go on in it from their ids; [`RESTARTS`] times in a row without a token between.

mod deliver;

use crate::episode::{Asked, Awaited, Episode, Limits, State};
use crate::protocol::Protocol;
use crate::rollout::{RolloutContext, RolloutError, RolloutRequest, RolloutStatistics};
use crate::rollout_config::RolloutConfig;
use crate::tool_desk::{ToolDesk, refused};
use paretopo_chat::{ChatError, Parsed, ReplyTurn};
use paretopo_generation::{
    Drawn, Event, GenerationError, GenerationSettings, GenerationStatistics, Generator, Row,
};
use paretopo_trajectory::{FinishReason, Task, TokenId, ToolCall, Trajectory};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often in a row a generator is opened anew before a token comes.
const RESTARTS: usize = 3;
/// What is kept of a tool's output before it is tokenised; few tokens are longer.
const CHARACTERS_PER_TOKEN: usize = 64;
/// How long nothing but tools is waited for at a time.
const STALL: Duration = Duration::from_millis(5);

/// The turn loop of one worker.
pub(crate) struct TurnLoop<'a> {
    context: &'a RolloutContext<'a>,
    config: &'a RolloutConfig,
    requests: &'a [RolloutRequest<'a>],
    protocol: Protocol,
    /// What stands around a reply, where the environment gives some.
    reply_turn: Option<ReplyTurn>,
    settings: GenerationSettings,
    generator: Box<dyn Generator + 'a>,
    desk: ToolDesk<'a>,
    /// All rows as they begin, by the places of their requests.
    rows: Vec<Row>,
    /// Those to be admitted, in the order of their keys.
    waiting: VecDeque<Row>,
    episodes: Vec<Episode<'a>>,
    /// Rounds so far.
    round: u64,
    /// Generators that were lost since the last token.
    lost: usize,
    sampling_seconds: f64,
    stalled_seconds: f64,
    /// The work of generators that were lost.
    earlier: GenerationStatistics,
}

/// Plays requests with one generator, each from its prompt; `on_finished` gets each trajectory with
/// its request's index.
pub(crate) fn play<'a>(
    context: &'a RolloutContext<'a>,
    config: &'a RolloutConfig,
    prompts: &[Arc<[TokenId]>],
    requests: &'a [RolloutRequest<'a>],
    mut on_finished: impl FnMut(usize, Trajectory),
) -> Result<RolloutStatistics, RolloutError> {
    let mut turns = TurnLoop::open(context, config, prompts, requests)?;
    let mut reported = vec![false; requests.len()];
    let mut statistics = RolloutStatistics::default();
    let mut done = 0;
    while done < requests.len() {
        if context.cancelled.load(Ordering::Relaxed) {
            return Err(RolloutError::Cancelled);
        }
        turns.go_on()?;
        for (key, episode) in turns.episodes.iter_mut().enumerate() {
            if episode.is_finished() && !std::mem::replace(&mut reported[key], true) {
                statistics.sampled_tokens += episode.sampled as u64;
                let task = episode.request.task;
                let answer = |text: &str| context.environment.answer_to(task, text);
                on_finished(key, episode.take_trajectory(answer));
                done += 1;
            }
        }
    }
    statistics.generation = turns.earlier;
    statistics.generation.add(&turns.generator.statistics());
    statistics.generation.sampling_seconds += turns.sampling_seconds;
    statistics.stalled_seconds = turns.stalled_seconds;
    Ok(statistics)
}

impl<'a> TurnLoop<'a> {
    fn open(
        context: &'a RolloutContext<'a>,
        config: &'a RolloutConfig,
        prompts: &[Arc<[TokenId]>],
        requests: &'a [RolloutRequest<'a>],
    ) -> Result<Self, RolloutError> {
        let settings = GenerationSettings {
            sampling: config.sampling,
            recorded: config.recorded,
            end_ids: context.text.end_ids.clone(),
            batch_size: config.batch_size,
            memory: (config.cache_mib > 0).then_some(config.cache_mib << 20),
        };
        let forbids = requests.iter().any(|request| request.tool_free);
        let protocol = context.text.protocol(&config.syntax, &context.environment.tools)?;
        let partner = context.environment.partner();
        let reply_turn = partner.as_ref().map(|_| context.text.reply_turn(&config.syntax));
        let reply_turn = reply_turn.transpose()?;
        let told = || {
            let openings = requests.iter().flat_map(|one| context.environment.opening(one.task));
            openings.map(|message| message.content).collect::<Vec<_>>().join("\n")
        };
        let call =
            forbids.then(|| context.text.beginning_of_calls(&protocol, &told())).transpose()?;
        let row = |(key, request): (usize, &RolloutRequest<'_>)| {
            let ids = prompts[key].clone();
            let limits = Limits::of(context.environment.budget(request.task), config);
            let budget = limits.tokens.min(context.context - ids.len());
            let forbidden = call.clone().filter(|_| request.tool_free);
            Row { key, ids, seed: request.seed, drawn: 0, budget, forbidden }
        };
        let rows: Vec<Row> = requests.iter().enumerate().map(row).collect();
        let mut generator =
            context.generators.open(&settings).map_err(|error| in_words(error, requests))?;
        generator.expect(&rows);
        Ok(Self {
            context,
            config,
            requests,
            protocol,
            reply_turn,
            settings,
            generator,
            desk: ToolDesk::new(
                &context.environment.tools,
                partner,
                config.tool_threads,
                config.call_seconds,
            ),
            waiting: rows.iter().cloned().collect(),
            rows,
            episodes: Vec::with_capacity(requests.len()),
            round: 0,
            lost: 0,
            sampling_seconds: 0.0,
            stalled_seconds: 0.0,
            earlier: GenerationStatistics::default(),
        })
    }

    /// One round: admit, deliver what tools returned, step, take what was drawn, look at deadlines.
    fn go_on(&mut self) -> Result<(), RolloutError> {
        match self.generate() {
            Ok(()) => {}
            Err(Failure::Generation(GenerationError::Lost(reason))) => self.restart(reason)?,
            Err(Failure::Generation(error)) => return Err(in_words(error, self.requests)),
            Err(Failure::Rollout(error)) => return Err(error),
        }
        for key in 0..self.episodes.len() {
            let episode = &self.episodes[key];
            let limit = self.config.episode_seconds.duration();
            if !episode.is_finished() && episode.started.elapsed() > limit {
                self.finish(key, FinishReason::Deadline);
            }
        }
        Ok(())
    }

    fn generate(&mut self) -> Result<(), Failure> {
        self.admit()?;
        self.round += 1;
        self.deliver()?;
        let events = self.generator.step()?;
        let mut unfinished = self.episodes.iter().filter(|episode| !episode.is_finished());
        let is_waiting = |episode: &Episode<'_>| {
            matches!(episode.state, State::Waiting { .. } | State::Put { .. })
        };
        if events.is_empty() && unfinished.all(is_waiting) {
            // nothing to decode until a tool or the environment answers
            let waited = Instant::now();
            self.desk.receive(STALL);
            self.stalled_seconds += waited.elapsed().as_secs_f64();
        }
        let taking = Instant::now();
        for event in events {
            self.lost = 0;
            match event {
                Event::Drawn(drawn) => self.take(&drawn)?,
                Event::Failed { row, reason } => {
                    self.episodes[row].finish(FinishReason::Failed(reason), &self.protocol);
                }
            }
        }
        self.sampling_seconds += taking.elapsed().as_secs_f64();
        Ok(())
    }

    /// Lets the generator take rows, and opens an episode for each that has none yet.
    fn admit(&mut self) -> Result<(), Failure> {
        let taken = self.generator.admit(self.waiting.make_contiguous())?;
        for row in self.waiting.drain(..taken) {
            // after a restart it has one, which may wait for a tool
            match self.episodes.get(row.key) {
                None => {
                    let request = &self.requests[row.key];
                    let tenancy = self.desk.begin(request.task, &request.id, request.seed);
                    let budget = self.context.environment.budget(request.task);
                    let limits = Limits::of(budget, self.config);
                    self.episodes.push(Episode::open(request, &row.ids, limits, tenancy));
                }
                Some(episode) if !matches!(episode.state, State::Generating) => {
                    self.generator.pause(row.key, row.ids.len());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Opens another generator and lets all episodes go on in it from the ids that they hold.
    ///
    /// # Errors
    /// When that has been done too often, or none can be had.
    fn restart(&mut self, reason: String) -> Result<(), RolloutError> {
        self.lost += 1;
        if self.lost > RESTARTS {
            return Err(RolloutError::Lost { times: self.lost, reason });
        }
        self.earlier.add(&self.generator.statistics());
        self.generator = match self.context.generators.open(&self.settings) {
            Ok(generator) => generator,
            Err(GenerationError::Lost(reason)) => return self.restart(reason),
            Err(error) => return Err(in_words(error, self.requests)),
        };
        self.waiting.clear();
        for (key, row) in self.rows.iter().enumerate() {
            let Some(episode) = self.episodes.get(key) else {
                self.waiting.push_back(row.clone());
                continue;
            };
            if !episode.is_finished() {
                self.waiting.push_back(Row {
                    ids: episode.ids().into(),
                    drawn: episode.sampled,
                    budget: row.budget.saturating_sub(episode.sampled).max(1),
                    ..row.clone()
                });
            }
        }
        Ok(())
    }

    /// Puts a drawn token to its episode, and ends it or calls tools where that token or a budget
    /// says so. What was drawn behind that is of no account.
    fn take(&mut self, drawn: &Drawn) -> Result<(), Failure> {
        let key = drawn.row;
        let episode = &mut self.episodes[key];
        // behind a call that was answered at once, it generates already
        if !matches!(episode.state, State::Generating) || episode.called == self.round {
            return Ok(());
        }
        episode.push_drawn(self.context.weight_version, drawn);
        let is_full = |episode: &Episode<'_>| {
            episode.sampled >= episode.limits.tokens || episode.length >= self.context.context
        };
        if self.context.text.end_ids.contains(&drawn.id) {
            let may_call = !episode.request.tool_free && !self.desk.is_empty();
            let written = may_call.then(|| self.protocol.calls(episode.turn.text()));
            let Some(calls) = written.filter(|calls| !calls.is_empty()) else {
                if !self.put(key) {
                    self.finish(key, FinishReason::Stop);
                }
                return Ok(());
            };
            if is_full(episode) {
                self.finish(key, FinishReason::Length);
                return Ok(());
            }
            return self.call(key, calls);
        }
        episode.turn.push(&self.context.text.tokenizer, drawn.id)?;
        if is_full(episode) {
            self.finish(key, FinishReason::Length);
            return Ok(());
        }
        self.call_if_asked(key)
    }

    /// Submits the call that the turn has just completed, if any.
    fn call_if_asked(&mut self, key: usize) -> Result<(), Failure> {
        let episode = &mut self.episodes[key];
        if episode.request.tool_free {
            let begun = |open: &str| episode.turn.text().contains(open);
            if self.protocol.open_string().is_some_and(begun) {
                let reason = "what generates began a call though that was forbidden";
                self.finish(key, FinishReason::Failed(reason.into()));
            }
            return Ok(());
        }
        if self.desk.is_empty() || episode.calls.len() >= episode.limits.calls {
            return Ok(());
        }
        match self.protocol.completed(episode.turn.text()) {
            Some(call) => self.call(key, vec![call]),
            None => Ok(()),
        }
    }

    /// Submits the calls of a turn, each to its tool. What is no call, is not allowed or goes beyond
    /// the budget is answered at once, and the policy reads why.
    fn call(&mut self, key: usize, calls: Vec<Parsed>) -> Result<(), Failure> {
        self.episodes[key].called = self.round;
        let episode = &self.episodes[key];
        self.generator.pause(key, episode.length);
        let began = episode.now();
        let tenancy = episode.tenancy.as_ref().expect("an episode has it until it ends");
        let mut asked: Vec<Asked> = Vec::with_capacity(calls.len());
        for parsed in calls {
            let earlier = || {
                let made = episode.calls.iter().map(|record| record.call.as_ref());
                made.chain(asked.iter().map(|asked| asked.call.as_ref()))
            };
            let (call, outcome) = match parsed {
                Parsed::None => continue,
                Parsed::Malformed(reason) => (None, Awaited::Here(refused(reason))),
                Parsed::Call(call) if earlier().count() >= episode.limits.calls => {
                    let most = episode.limits.calls;
                    let reason = format!("ToolError: at most {most} calls may be made");
                    (Some(call), Awaited::Here(refused(reason)))
                }
                Parsed::Call(call) if !self.may_call(&call, episode.request.task) => {
                    let reason = format!("ToolError: there is no tool `{}`", call.name);
                    (Some(call), Awaited::Here(refused(reason)))
                }
                Parsed::Call(call) => {
                    let earlier: Vec<Option<&ToolCall>> = earlier().collect();
                    let outcome = match self.desk.submit(&call, tenancy, &earlier) {
                        Ok(submitted) => Awaited::Due(submitted),
                        Err(outcome) => Awaited::Here(outcome),
                    };
                    (Some(call), outcome)
                }
            };
            asked.push(Asked { call, began, outcome });
        }
        if asked.iter().all(Asked::is_answered) {
            return self.append(asked, key);
        }
        let due = self.round + self.lag();
        self.episodes[key].state = State::Waiting { asked, due };
        Ok(())
    }

    /// Whether episodes on a task may call a tool; one that there is not is refused elsewhere.
    fn may_call(&self, call: &ToolCall, task: &Task) -> bool {
        self.context.environment.part_of(task).is_none_or(|part| part.offers(&call.name))
    }

    fn finish(&mut self, key: usize, reason: FinishReason) {
        self.episodes[key].finish(reason, &self.protocol);
        match self.place_in_waiting(key) {
            Some(place) => drop(self.waiting.remove(place)),
            None => self.generator.release(key),
        }
    }

    /// Where an open episode waits for being admitted anew.
    fn place_in_waiting(&self, key: usize) -> Option<usize> {
        self.waiting.binary_search_by_key(&key, |row| row.key).ok()
    }
}

/// What stops a round.
enum Failure {
    Generation(GenerationError),
    Rollout(RolloutError),
}

impl From<GenerationError> for Failure {
    fn from(error: GenerationError) -> Self {
        Self::Generation(error)
    }
}

impl From<ChatError> for Failure {
    fn from(error: ChatError) -> Self {
        Self::Rollout(error.into())
    }
}

/// What a generator's error means for the rollout, with the task that it is about.
fn in_words(error: GenerationError, requests: &[RolloutRequest<'_>]) -> RolloutError {
    match error {
        GenerationError::NotFinite { row, what, tokens, place } => {
            let task = requests[row].task.id.clone();
            RolloutError::NotFinite { what, task, tokens, place }
        }
        error => RolloutError::Generation(error),
    }
}
