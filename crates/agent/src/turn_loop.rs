//! The turn loop: generate, call, append, go on, up to a call and token budget, then one last
//! generation without tools.
//!
//! Nothing waits for anything but its own tool: while one episode's call runs, the others decode.
//! Every call and every episode has a deadline, so no rollout can hang. What goes wrong with a tool
//! or an episode becomes part of its trajectory.

use crate::{
    Engine, LongPrompts, PolicyText, Sampled, SamplingConfig, Workers, leaves_room, open_tasks,
    sample,
};
use burn::tensor::backend::Backend;
use paretopo_chat::{ChatError, Parsed, ToolSyntax, TurnText};
use paretopo_environments::Environment;
use paretopo_models::{AutoModel, first_overflow};
use paretopo_settings::{Seconds, within};
use paretopo_tools::{CallContext, Tool, ToolPool};
use paretopo_trajectory::{
    Author, CallRecord, CallStatus, Fault, FinishReason, Segment, Span, Task, TokenId, ToolCall,
    ToolOutcome, Trajectory, TrajectoryId,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Insertions longer than this are read in one block instead of one token a step.
const BLOCK_FROM: usize = 16;
/// How long after its deadline a call is given up even if its tool has not answered.
const CALL_GRACE: Duration = Duration::from_secs(1);

/// When a tool's outcome reaches its episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToolSchedule {
    /// A fixed number of decoding steps after the call, waiting for it if need be. What is batched
    /// with what then does not depend on the clock, and a seeded run is bit-exact on flex.
    FixedLag {
        /// Decoding steps, from 1 to 1000.
        #[serde(deserialize_with = "within::<1, 1000, _, _>")]
        steps: u64,
    },
    /// As soon as it is there. For slow tools; runs are then not bit-exact.
    AsReady {},
}

/// What tool output loses that is longer than its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputTruncation {
    /// Its end.
    Tail,
    /// Its middle, where an ellipsis stands instead.
    Middle,
}

impl OutputTruncation {
    /// At most `budget` of the ids.
    fn apply(self, ids: &[TokenId], budget: usize, ellipsis: &[TokenId]) -> Vec<TokenId> {
        match self {
            Self::Middle if budget > ellipsis.len() => {
                let kept = budget - ellipsis.len();
                let (head, tail) = (kept.div_ceil(2), kept / 2);
                [&ids[..head], ellipsis, &ids[ids.len() - tail..]].concat()
            }
            _ => ids[..budget].to_vec(),
        }
    }
}

/// Budgets and limits of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutConfig {
    /// How tokens are drawn.
    pub sampling: SamplingConfig,
    /// How calls are written.
    pub syntax: ToolSyntax,
    /// Calls an episode may make; afterwards it finishes without tools.
    #[serde(deserialize_with = "within::<0, 1000, _, _>")]
    pub max_calls: usize,
    /// Tokens an episode may sample.
    #[serde(deserialize_with = "within::<1, 10_000_000, _, _>")]
    pub max_sampled_tokens: usize,
    /// Tokens of tool output an episode may read after each call.
    #[serde(deserialize_with = "within::<0, 10_000_000, _, _>")]
    pub max_output_tokens: usize,
    /// What longer output loses.
    pub output_truncation: OutputTruncation,
    /// What a task does whose prompt leaves no room in the model's context.
    pub long_prompts: LongPrompts,
    /// Seconds a call may take.
    pub call_seconds: Seconds,
    /// Seconds an episode may take.
    pub episode_seconds: Seconds,
    /// Episodes that are played at the same time, over all workers.
    #[serde(deserialize_with = "within::<1, 100_000, _, _>")]
    pub batch_size: usize,
    /// Threads that run tool calls, over all workers.
    #[serde(deserialize_with = "within::<1, 1024, _, _>")]
    pub tool_threads: usize,
    /// When a tool's outcome reaches its episode.
    pub tool_schedule: ToolSchedule,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        Self {
            sampling: SamplingConfig::default(),
            syntax: ToolSyntax::FencedPython {},
            max_calls: 4,
            max_sampled_tokens: 96,
            max_output_tokens: 256,
            output_truncation: OutputTruncation::Tail,
            long_prompts: LongPrompts::Stop,
            call_seconds: const { Seconds::literal(5.0) },
            episode_seconds: const { Seconds::literal(600.0) },
            batch_size: 128,
            tool_threads: 2,
            tool_schedule: ToolSchedule::FixedLag { steps: 2 },
        }
    }
}

/// One episode to play.
#[derive(Clone, Debug)]
pub struct RolloutRequest<'a> {
    /// What the trajectory is called, for tools and in its file; unique in the run.
    pub id: TrajectoryId,
    /// The task.
    pub task: &'a Task,
    /// Which of the task's rollouts.
    pub sample: usize,
    /// Seed of the episode's random numbers; the tokens do not depend on what the episode is
    /// batched with.
    pub seed: u64,
}

/// What all episodes share.
pub struct RolloutContext<'a, B: Backend> {
    /// The policy's weights.
    pub model: &'a AutoModel<B>,
    /// Number of decoder layers.
    pub layers: usize,
    /// Longest sequence that the model was made for.
    pub context: usize,
    /// Where it runs.
    pub device: &'a B::Device,
    /// The policy's text side.
    pub text: &'a PolicyText,
    /// Tasks, tools, answers.
    pub environment: &'a dyn Environment,
    /// Optimiser steps behind the weights.
    pub weight_version: u64,
    /// Set from outside to give up.
    pub cancelled: &'a AtomicBool,
    /// Who plays, each a part of the episodes.
    pub workers: &'a Workers,
}

/// How much work a rollout was. Seconds of several workers are added up, but for `seconds`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RolloutStatistics {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Tokens sampled.
    pub sampled_tokens: u64,
    /// Tokens read: prompts (a shared one once), sampled, tool output.
    pub tokens_read: u64,
    /// Seconds of reading prompts and long tool output.
    pub prefill_seconds: f64,
    /// Seconds of decoding steps.
    pub decode_seconds: f64,
    /// Seconds of drawing tokens and looking for calls in them.
    pub sampling_seconds: f64,
    /// Seconds in which every episode waited for a tool.
    pub stalled_seconds: f64,
}

impl RolloutStatistics {
    /// Adds another rollout's numbers.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.sampled_tokens += other.sampled_tokens;
        self.tokens_read += other.tokens_read;
        self.prefill_seconds += other.prefill_seconds;
        self.decode_seconds += other.decode_seconds;
        self.sampling_seconds += other.sampling_seconds;
        self.stalled_seconds += other.stalled_seconds;
    }
}

/// Why a rollout as a whole failed. A failing episode is not an error but a trajectory; a policy that
/// fails is an error and never a trajectory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RolloutError {
    /// The template or tokenizer cannot open the episodes.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// A prompt leaves no room in the model's context.
    #[error(
        "the prompt of task `{task}` has {tokens} tokens, which leaves no room to answer in the model's context of {context} (`max_position_embeddings`)"
    )]
    PromptTooLong {
        /// The task.
        task: String,
        /// Its length.
        tokens: usize,
        /// The limit.
        context: usize,
    },
    /// The policy's logits are not finite, or all equal since what it computes overflows.
    #[error(
        "the policy's logits are {what}, for task `{task}` after {tokens} tokens{}",
        in_words(.place)
    )]
    NotFinite {
        /// In words.
        what: &'static str,
        /// The task.
        task: String,
        /// Tokens of the episode, its prompt included.
        tokens: usize,
        /// The first module whose output is not finite, or too large to be squared, by its key in a
        /// checkpoint.
        place: Option<String>,
    },
    /// The rollout was given up from outside.
    #[error("interrupted")]
    Cancelled,
}

fn in_words(place: &Option<String>) -> String {
    let begins = |place: &String| format!("; the first output that overflows is that of `{place}`");
    place.as_ref().map(begins).unwrap_or_default()
}

/// The calls in flight.
struct ToolDesk {
    tools: HashMap<String, Arc<dyn Tool>>,
    pool: ToolPool,
    arrived: HashMap<u64, ToolOutcome>,
    next_ticket: u64,
    /// Rounds of the turn loop so far.
    round: u64,
}

impl ToolDesk {
    /// Takes in what has arrived, waiting at most `patience` for the first.
    fn receive(&mut self, patience: Duration) {
        if let Some(completed) = self.pool.wait(patience) {
            self.arrived.insert(completed.ticket, completed.outcome);
        }
        while let Some(completed) = self.pool.poll() {
            self.arrived.insert(completed.ticket, completed.outcome);
        }
    }
}

enum State {
    Generating,
    Waiting { ticket: u64, call: ToolCall, began: f32, due: u64, give_up: Instant },
    Finished(FinishReason),
}

struct Episode<'a> {
    request: &'a RolloutRequest<'a>,
    state: State,
    segments: Vec<Segment>,
    calls: Vec<CallRecord>,
    /// Ids in `segments` that the model has not read yet.
    unread: VecDeque<TokenId>,
    turn: TurnText,
    model_text: String,
    response: String,
    rng: ChaCha8Rng,
    started: Instant,
    seconds: f32,
    sampled: usize,
    length: usize,
}

impl Episode<'_> {
    fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished(_))
    }

    fn finish(&mut self, reason: FinishReason) {
        if !self.is_finished() {
            self.model_text.push_str(self.turn.text());
            self.response.push_str(self.turn.text());
            self.turn = TurnText::default();
            self.seconds = self.started.elapsed().as_secs_f32();
            self.state = State::Finished(reason);
        }
    }

    /// Seconds since it began.
    fn now(&self) -> f32 {
        self.started.elapsed().as_secs_f32()
    }

    /// Other weights begin another segment.
    fn push_sampled(&mut self, weight_version: u64, drawn: &Sampled) {
        let now = self.now();
        let id = drawn.id;
        let is_by = |segment: &Segment| segment.weight_version == Some(weight_version);
        if !self.segments.last().is_some_and(is_by) {
            let time = Span { began: now, ended: now };
            self.segments.push(Segment::sampling(weight_version).at(time));
        }
        let segment = self.segments.last_mut().expect("just pushed");
        segment.ids.push(id);
        segment.logprobs.push(drawn.logprob);
        segment.sampling_logprobs.push(drawn.sampling_logprob);
        if let Some(time) = &mut segment.time {
            time.ended = now;
        }
        self.sampled += 1;
        self.length += 1;
        self.unread.push_back(id);
    }

    fn push_given(&mut self, author: Author, ids: Vec<TokenId>) {
        self.length += ids.len();
        self.unread.extend(&ids);
        let now = self.now();
        self.segments.push(Segment::given(author, ids).at(Span { began: now, ended: now }));
    }
}

/// Plays all requests and returns their trajectories in the same order, not yet scored.
/// `on_finished` hears of each as it ends.
///
/// Each worker plays every so many-th task, with all its rollouts. What is batched with what
/// depends on the number of workers, so trajectories are bit-exact for an equal number of workers;
/// for another one log-probabilities differ by rounding.
///
/// # Errors
/// When an episode cannot be opened, the policy's logits are not finite, or the rollout is cancelled.
pub fn rollout<B: Backend>(
    context: &RolloutContext<'_, B>,
    config: &RolloutConfig,
    requests: &[RolloutRequest<'_>],
    on_finished: &mut dyn FnMut(&Trajectory),
) -> Result<(Vec<Trajectory>, RolloutStatistics), RolloutError> {
    enum Event {
        Finished(usize, Trajectory),
        Done(Result<RolloutStatistics, RolloutError>),
    }
    let started = Instant::now();
    let prompts = open_all(context, config, requests)?;
    let parts = split(requests, context.workers.count());
    let config = RolloutConfig {
        batch_size: config.batch_size.div_ceil(parts.len()),
        tool_threads: config.tool_threads.div_ceil(parts.len()),
        ..config.clone()
    };
    let mut trajectories: Vec<Option<Trajectory>> = vec![None; requests.len()];
    let mut statistics = RolloutStatistics::default();
    let mut failed = None;
    context.workers.run(
        vec![(); parts.len()],
        parts,
        |(), part: Vec<usize>, tell| {
            let own: Vec<RolloutRequest<'_>> =
                part.iter().map(|place| requests[*place].clone()).collect();
            let done = play(context, &config, &prompts, &own, |index, trajectory| {
                tell(Event::Finished(part[index], trajectory))
            });
            tell(Event::Done(done));
        },
        &mut |event| match event {
            Event::Finished(place, trajectory) => {
                on_finished(&trajectory);
                trajectories[place] = Some(trajectory);
            }
            Event::Done(Ok(part)) => statistics.add(&part),
            Event::Done(Err(error)) => failed = Some(error),
        },
    );
    statistics.seconds = started.elapsed().as_secs_f64();
    match failed {
        Some(error) => Err(error),
        None => Ok((trajectories.into_iter().flatten().collect(), statistics)),
    }
}

/// Deals out tasks in turn: the places of each part's requests. At least one part, and none empty
/// unless there is no request.
fn split(requests: &[RolloutRequest<'_>], parts: usize) -> Vec<Vec<usize>> {
    let mut task_of: HashMap<&str, usize> = HashMap::new();
    let mut found = vec![Vec::new(); parts];
    for (place, request) in requests.iter().enumerate() {
        let next = task_of.len();
        let task = *task_of.entry(&request.task.id).or_insert(next);
        found[task % parts].push(place);
    }
    found.truncate(task_of.len().max(1));
    found
}

/// Plays requests in one engine; `on_finished` gets each trajectory with its request's index.
fn play<B: Backend>(
    context: &RolloutContext<'_, B>,
    config: &RolloutConfig,
    prompts: &HashMap<String, Vec<TokenId>>,
    requests: &[RolloutRequest<'_>],
    mut on_finished: impl FnMut(usize, Trajectory),
) -> Result<RolloutStatistics, RolloutError> {
    let mut desk = ToolDesk {
        tools: context
            .environment
            .tools()
            .iter()
            .map(|tool| (tool.spec().name, tool.clone()))
            .collect(),
        pool: ToolPool::new(config.tool_threads),
        arrived: HashMap::new(),
        next_ticket: 0,
        round: 0,
    };
    let mut engine = Engine::new(context.model, context.layers, context.device);
    engine.share(requests.iter().map(|request| prompts[&request.task.id].as_slice()));
    let mut episodes: Vec<Episode<'_>> = Vec::with_capacity(requests.len());
    let mut reported = vec![false; requests.len()];
    let mut statistics = RolloutStatistics::default();
    let mut done = 0;
    while done < requests.len() {
        if context.cancelled.load(Ordering::Relaxed) {
            return Err(RolloutError::Cancelled);
        }
        // rows of finished episodes leave, and new episodes take their places
        let finished_rows =
            engine.keys().iter().filter(|key| episodes[**key].is_finished()).count();
        let waiting = requests.len() - episodes.len();
        if finished_rows * 4 >= engine.keys().len()
            || (waiting > 0 && finished_rows * 8 >= config.batch_size)
        {
            engine.retire(|key| episodes[key].is_finished());
        }
        let free = config.batch_size.max(1).saturating_sub(engine.keys().len()).min(waiting);
        let mut logits: Vec<(usize, Vec<f32>)> = Vec::new();
        if free > 0 {
            let first = episodes.len();
            for request in &requests[first..first + free] {
                episodes.push(open(request, &prompts[&request.task.id]));
            }
            let new: Vec<(usize, &[u32])> = (first..first + free)
                .map(|key| (key, prompts[&requests[key].task.id].as_slice()))
                .collect();
            logits.extend((first..first + free).zip(engine.admit(&new)));
        }
        desk.round += 1;
        statistics.stalled_seconds += deliver_outcomes(&mut desk, context, config, &mut episodes)?;
        if logits.is_empty() {
            logits = advance(&mut engine, &mut episodes);
        }
        if logits.is_empty()
            && engine.keys().iter().all(|key| matches!(episodes[*key].state, State::Waiting { .. }))
        {
            // nothing to decode until a tool answers
            let waited = Instant::now();
            desk.receive(Duration::from_millis(5));
            statistics.stalled_seconds += waited.elapsed().as_secs_f64();
        }
        let sampling = Instant::now();
        for (key, logits) in logits {
            draw(context, config, &logits, &mut episodes[key])?;
            call_if_asked(context, config, &mut desk, &mut episodes[key])?;
        }
        statistics.sampling_seconds += sampling.elapsed().as_secs_f64();
        for (key, episode) in episodes.iter_mut().enumerate() {
            if !episode.is_finished()
                && episode.started.elapsed() > config.episode_seconds.duration()
            {
                episode.finish(FinishReason::Deadline);
            }
            if episode.is_finished() && !std::mem::replace(&mut reported[key], true) {
                on_finished(key, to_trajectory(context, episode));
                statistics.sampled_tokens += episode.sampled as u64;
                done += 1;
            }
        }
    }
    statistics.tokens_read = engine.tokens_read;
    statistics.prefill_seconds = engine.prefill_seconds;
    statistics.decode_seconds = engine.decode_seconds;
    Ok(statistics)
}

fn open_all<B: Backend>(
    context: &RolloutContext<'_, B>,
    config: &RolloutConfig,
    requests: &[RolloutRequest<'_>],
) -> Result<HashMap<String, Vec<TokenId>>, RolloutError> {
    let mut seen = HashSet::new();
    let tasks: Vec<&Task> = requests
        .iter()
        .map(|request| request.task)
        .filter(|task| seen.insert(task.id.as_str()))
        .collect();
    let opened = open_tasks(context.text, context.environment, config, &tasks)?;
    let mut prompts = HashMap::new();
    for (task, ids) in tasks.into_iter().zip(opened) {
        if !leaves_room(ids.len(), context.context) {
            return Err(RolloutError::PromptTooLong {
                task: task.id.clone(),
                tokens: ids.len(),
                context: context.context,
            });
        }
        prompts.insert(task.id.clone(), ids);
    }
    Ok(prompts)
}

fn open<'a>(request: &'a RolloutRequest<'a>, prompt: &[TokenId]) -> Episode<'a> {
    Episode {
        request,
        state: State::Generating,
        segments: vec![Segment::given(Author::Prompt, prompt.to_vec()).at(Span::default())],
        calls: Vec::new(),
        unread: VecDeque::new(),
        turn: TurnText::default(),
        model_text: String::new(),
        response: String::new(),
        rng: ChaCha8Rng::seed_from_u64(request.seed),
        started: Instant::now(),
        seconds: 0.0,
        sampled: 0,
        length: prompt.len(),
    }
}

/// Lets the model read what is unread, and returns the logits of the episodes that may sample next.
fn advance<B: Backend>(
    engine: &mut Engine<'_, B>,
    episodes: &mut [Episode<'_>],
) -> Vec<(usize, Vec<f32>)> {
    let long: Vec<usize> = engine
        .keys()
        .iter()
        .copied()
        .filter(|key| !episodes[*key].is_finished() && episodes[*key].unread.len() > BLOCK_FROM)
        .collect();
    if !long.is_empty() {
        let blocks: Vec<(usize, Vec<TokenId>)> =
            long.iter().map(|key| (*key, episodes[*key].unread.drain(..).collect())).collect();
        let blocks: Vec<(usize, &[u32])> =
            blocks.iter().map(|(key, ids)| (*key, ids.as_slice())).collect();
        let read = engine.extend(&blocks);
        return long
            .into_iter()
            .zip(read)
            .filter(|(key, _)| matches!(episodes[*key].state, State::Generating))
            .collect();
    }
    let next = |key: &usize| {
        if episodes[*key].is_finished() { None } else { episodes[*key].unread.pop_front() }
    };
    let tokens: Vec<Option<TokenId>> = engine.keys().iter().map(next).collect();
    if tokens.iter().all(Option::is_none) {
        return Vec::new();
    }
    let read = engine.step(&tokens);
    let may_sample = |key: &usize| {
        episodes[*key].unread.is_empty() && matches!(episodes[*key].state, State::Generating)
    };
    let rows = engine.keys().iter().zip(&tokens).zip(read);
    rows.filter(|((key, token), _)| token.is_some() && may_sample(key))
        .map(|((key, _), row)| (*key, row))
        .collect()
}

/// Samples an episode's next token and ends the episode where that token or a budget says so.
fn draw<B: Backend>(
    context: &RolloutContext<'_, B>,
    config: &RolloutConfig,
    logits: &[f32],
    episode: &mut Episode<'_>,
) -> Result<(), RolloutError> {
    let earlier = episode.segments.iter().flat_map(|segment| segment.ids.iter().copied());
    let drawn = sample(logits, earlier, &config.sampling, &mut episode.rng);
    // where activations are too large, norms make zeros of them, and all logits are equal
    let are_equal = logits.iter().all(|logit| *logit == logits[0]);
    if drawn.is_none() || are_equal {
        let segments = episode.segments.iter();
        let ids: Vec<TokenId> = segments.flat_map(|segment| segment.ids.iter().copied()).collect();
        let place = first_overflow(context.model, &ids, context.device);
        if drawn.is_none() || place.is_some() {
            let what = if drawn.is_none() { "not finite" } else { "all equal by overflow" };
            let (task, tokens) = (episode.request.task.id.clone(), ids.len());
            return Err(RolloutError::NotFinite { what, task, tokens, place });
        }
    }
    let Some(drawn) = drawn else { return Ok(()) };
    episode.push_sampled(context.weight_version, &drawn);
    if context.text.end_ids.contains(&drawn.id) {
        episode.finish(FinishReason::Stop);
        return Ok(());
    }
    episode.turn.push(&context.text.tokenizer, drawn.id)?;
    if episode.sampled >= config.max_sampled_tokens || episode.length >= context.context {
        episode.finish(FinishReason::Length);
    }
    Ok(())
}

/// Submits the call that the turn has just completed, if any.
fn call_if_asked<B: Backend>(
    context: &RolloutContext<'_, B>,
    config: &RolloutConfig,
    desk: &mut ToolDesk,
    episode: &mut Episode<'_>,
) -> Result<(), RolloutError> {
    if episode.is_finished() || desk.tools.is_empty() || episode.calls.len() >= config.max_calls {
        return Ok(());
    }
    let Some(written) = config.syntax.completed_call(episode.turn.text()) else { return Ok(()) };
    let lag = match config.tool_schedule {
        ToolSchedule::FixedLag { steps } => steps.max(1),
        ToolSchedule::AsReady {} => 0,
    };
    let failed =
        |text: String| ToolOutcome::new(CallStatus::Error, text, 0.0).with_fault(Fault::Call);
    match config.syntax.parse(written) {
        Parsed::None => Ok(()),
        Parsed::Malformed(reason) => {
            let outcome = failed(reason);
            append_outcome(context, config, (None, episode.now()), outcome, episode)
        }
        Parsed::Call(call) => match desk.tools.get(&call.name) {
            None => {
                let reason = format!("ToolError: there is no tool `{}`", call.name);
                let began = episode.now();
                append_outcome(context, config, (Some(call), began), failed(reason), episode)
            }
            Some(tool) => {
                let deadline = Instant::now() + config.call_seconds.duration();
                let (ticket, due) = (desk.next_ticket, desk.round + lag);
                desk.next_ticket += 1;
                desk.pool.submit(
                    ticket,
                    tool.clone(),
                    call.clone(),
                    CallContext { trajectory: episode.request.id.clone(), deadline },
                );
                let (began, give_up) = (episode.now(), deadline + CALL_GRACE);
                episode.state = State::Waiting { ticket, call, began, due, give_up };
                Ok(())
            }
        },
    }
}

/// Hands outcomes to the episodes that are due, in the order of the episodes. Returns the seconds
/// spent waiting.
fn deliver_outcomes<B: Backend>(
    desk: &mut ToolDesk,
    context: &RolloutContext<'_, B>,
    config: &RolloutConfig,
    episodes: &mut [Episode<'_>],
) -> Result<f64, RolloutError> {
    let mut waited = 0.0;
    desk.receive(Duration::ZERO);
    for episode in episodes {
        let State::Waiting { ticket, due, give_up, .. } = &episode.state else { continue };
        let (ticket, give_up) = (*ticket, *give_up);
        let held = matches!(config.tool_schedule, ToolSchedule::FixedLag { .. });
        if held && desk.round < *due {
            continue;
        }
        let started = Instant::now();
        while held
            && !desk.arrived.contains_key(&ticket)
            && Instant::now() < give_up
            && !context.cancelled.load(Ordering::Relaxed)
        {
            desk.receive(Duration::from_millis(20));
        }
        waited += started.elapsed().as_secs_f64();
        let outcome = match desk.arrived.remove(&ticket) {
            Some(outcome) => outcome,
            None if Instant::now() >= give_up => {
                let text = format!(
                    "TimeoutError: the tool did not answer within {:.1} s",
                    config.call_seconds
                );
                let seconds = config.call_seconds.single();
                ToolOutcome::new(CallStatus::Timeout, text, seconds).with_fault(Fault::Tool)
            }
            None => continue,
        };
        if let State::Waiting { call, began, .. } =
            std::mem::replace(&mut episode.state, State::Generating)
        {
            append_outcome(context, config, (Some(call), began), outcome, episode)?;
        }
    }
    Ok(waited)
}

/// Puts a tool's output behind the turn, marked as the tool's, and lets the episode go on. `call` is
/// what was asked for, and since when.
fn append_outcome<B: Backend>(
    context: &RolloutContext<'_, B>,
    config: &RolloutConfig,
    (call, began): (Option<ToolCall>, f32),
    mut outcome: ToolOutcome,
    episode: &mut Episode<'_>,
) -> Result<(), RolloutError> {
    let tokenizer = &context.text.tokenizer;
    let (before, after) = config.syntax.output_markers();
    let mut output = tokenizer.encode_plain(&outcome.text)?;
    if output.len() > config.max_output_tokens {
        let ellipsis = tokenizer.encode_plain("...")?;
        output = config.output_truncation.apply(&output, config.max_output_tokens, &ellipsis);
        outcome.truncated = true;
    }
    let shown = if outcome.truncated { tokenizer.decode(&output)? } else { outcome.text.clone() };
    let segment = episode.segments.iter().rposition(|segment| segment.author == Author::Model);
    let turn = std::mem::take(&mut episode.turn);
    episode.model_text.push_str(turn.text());
    episode.response.push_str(turn.text());
    episode.response.push_str(before);
    episode.response.push_str(&shown);
    episode.response.push_str(after);
    episode.push_given(Author::Template, tokenizer.encode_plain(before)?);
    episode.push_given(Author::Tool, output);
    episode.push_given(Author::Template, tokenizer.encode_plain(after)?);
    let time = Some(Span { began, ended: episode.now() });
    episode.calls.push(CallRecord { call, outcome, segment, time });
    if episode.length >= context.context {
        episode.finish(FinishReason::Length);
    }
    Ok(())
}

fn to_trajectory<B: Backend>(
    context: &RolloutContext<'_, B>,
    episode: &mut Episode<'_>,
) -> Trajectory {
    let State::Finished(finish) = &episode.state else {
        unreachable!("only finished episodes become trajectories")
    };
    let request = episode.request;
    Trajectory {
        segments: std::mem::take(&mut episode.segments),
        calls: std::mem::take(&mut episode.calls),
        finish: finish.clone(),
        // only what the policy wrote can hold its answer; a tool may print anything
        answer: context.environment.extract_answer(&episode.model_text),
        response: std::mem::take(&mut episode.response),
        seconds: episode.seconds,
        ..Trajectory::empty(request.id.clone(), &request.task.id, request.sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_dealt_out_whole_and_in_turn() {
        let tasks: Vec<Task> =
            ["a", "b", "c"].iter().map(|id| Task { id: (*id).into(), ..Task::default() }).collect();
        let requests: Vec<RolloutRequest<'_>> = tasks
            .iter()
            .flat_map(|task| {
                (0..2).map(move |sample| RolloutRequest {
                    id: TrajectoryId::new("test", 0, sample),
                    task,
                    sample,
                    seed: 0,
                })
            })
            .collect();
        // a and c go to the first worker, b to the second
        assert_eq!(split(&requests, 2), [vec![0, 1, 4, 5], vec![2, 3]]);
        // no more parts than tasks
        assert_eq!(split(&requests, 5).len(), 3);
        assert_eq!(split(&[], 5), [Vec::<usize>::new()]);
    }

    #[test]
    fn long_output_loses_its_end_or_its_middle() {
        let ids: Vec<TokenId> = (0..10).collect();
        assert_eq!(OutputTruncation::Tail.apply(&ids, 4, &[99]), [0, 1, 2, 3]);
        // a budget of 6 leaves 5 beside the ellipsis: 3 in front, 2 behind
        assert_eq!(OutputTruncation::Middle.apply(&ids, 6, &[99]), [0, 1, 2, 99, 8, 9]);
        // no room for an ellipsis
        assert_eq!(OutputTruncation::Middle.apply(&ids, 1, &[99]), [0]);
    }
}
