//! The sessions of the episodes that are played: one for each, opened by its first turn or call,
//! closed with it.

use super::config::{OpenEnvAction, OpenEnvConfig, OpenEnvReward, RewardOver, TurnPart};
use super::server::{Refusal, Server, Session, shown};
use crate::{Partner, final_answer};
use paretopo_tools::{CallContext, Tool};
use paretopo_trajectory::{
    CallStatus, Fault, ObjectiveValues, Reply, Task, ToolCall, ToolOutcome, ToolSpec, TrajectoryId,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The name of the task's own reward.
pub(super) const TASK: &str = "reward";
/// How often sessions are looked at that nobody asks. Servers take one for dead that answers no ping
/// for 20 seconds.
const LOOKED: Duration = Duration::from_secs(4);

/// A task's seed, and what the server said at its reset.
pub(super) type Openings = HashMap<String, (u64, String)>;

/// All sessions.
pub(super) struct Sessions {
    config: OpenEnvConfig,
    server: Server,
    /// The field of an action that a turn becomes.
    field: String,
    openings: Openings,
    episodes: Mutex<HashMap<TrajectoryId, Arc<Mutex<Episode>>>>,
    /// Ends the thread that looks at them.
    _alive: Sender<()>,
}

/// What is known of an episode.
#[derive(Default)]
struct Episode {
    task: String,
    session: Option<Session>,
    rewards: BTreeMap<String, f64>,
    done: bool,
    /// Why its session is of no use.
    failed: Option<String>,
}

fn held<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    pub(super) fn new(
        config: &OpenEnvConfig,
        server: Server,
        field: String,
        openings: Openings,
    ) -> Arc<Self> {
        let (alive, ended) = channel();
        let sessions = Arc::new(Self {
            config: config.clone(),
            server,
            field,
            openings,
            episodes: Mutex::default(),
            _alive: alive,
        });
        let watched = Arc::downgrade(&sessions);
        std::thread::spawn(move || {
            while ended.recv_timeout(LOOKED) == Err(RecvTimeoutError::Timeout) {
                look_at_all(&watched);
            }
        });
        sessions
    }

    /// The tools that the server lists.
    pub(super) fn tools(self: &Arc<Self>, specs: &[ToolSpec]) -> Vec<Arc<dyn Tool>> {
        let tool = |spec: &ToolSpec| {
            let tool = SessionTool { sessions: self.clone(), spec: spec.clone() };
            Arc::new(tool) as Arc<dyn Tool>
        };
        specs.iter().map(tool).collect()
    }

    fn episode(&self, trajectory: &TrajectoryId) -> Result<Arc<Mutex<Episode>>, String> {
        let found = held(&self.episodes).get(trajectory).cloned();
        found.ok_or_else(|| format!("no episode `{trajectory}` is played"))
    }

    /// Opens the session of an episode that has none yet.
    fn require_session(
        &self,
        episode: &mut Episode,
        trajectory: &TrajectoryId,
        until: Instant,
    ) -> Result<(), String> {
        if let Some(reason) = &episode.failed {
            return Err(reason.clone());
        }
        if episode.session.is_some() {
            return Ok(());
        }
        let task = &episode.task;
        let (seed, opening) = self
            .openings
            .get(task)
            .ok_or_else(|| format!("the task `{task}` is none of the environment's"))?;
        let (session, observed) = self.server.begin(*seed, Some(trajectory), until)?;
        if text_of(&self.config, &observed)? != *opening {
            self.server.suspect();
            return Err(format!(
                "it opens the task `{task}` with another observation than at the start of the run"
            ));
        }
        episode.session = Some(session);
        Ok(())
    }

    /// Gives up an episode's session.
    fn lose(&self, episode: &mut Episode, reason: &str) {
        episode.session = None;
        episode.failed = Some(reason.to_owned());
        self.server.suspect();
    }

    /// The action that a turn is.
    ///
    /// # Errors
    /// What the policy reads instead.
    fn action(&self, said: &str) -> Result<Value, String> {
        match &self.config.action {
            OpenEnvAction::Text { part, .. } => {
                let answer = Some(*part)
                    .filter(|part| *part == TurnPart::Answer)
                    .and_then(|_| final_answer(said));
                let text = answer.unwrap_or_else(|| said.trim().to_owned());
                let mut action = Map::new();
                action.insert(self.field.clone(), text.into());
                Ok(action.into())
            }
            OpenEnvAction::Json {} => match serde_json::from_str::<Map<String, Value>>(said.trim())
            {
                Ok(action) => Ok(action.into()),
                Err(error) => Err(format!("ActionError: this is no object of JSON: {error}")),
            },
            OpenEnvAction::None {} => Err("ActionError: only tools act here".into()),
        }
    }

    /// Makes a step in an episode's session; the text that is read of what is observed.
    fn step(
        &self,
        episode: &mut Episode,
        action: Value,
        until: Instant,
    ) -> Result<Map<String, Value>, Refusal> {
        let Some(session) = &mut episode.session else {
            return Err(Refusal::Server("there is no session".into()));
        };
        let observed = session.step(action, until)?;
        episode.done |= observed.get("done") == Some(&Value::Bool(true));
        let own = [(TASK.to_owned(), self.config.reward.clone())];
        for (name, reward) in own.into_iter().chain(self.config.rewards.clone()) {
            if let Some(value) = number_at(&observed, &reward) {
                let known = episode.rewards.entry(name).or_insert(0.0);
                *known = match reward.over {
                    RewardOver::Sum => *known + value,
                    RewardOver::Last => value,
                };
            }
        }
        Ok(observed)
    }

    fn answered(&self, said: &str, context: &CallContext) -> Result<Reply, String> {
        let place = self.episode(&context.trajectory)?;
        let mut episode = held(&place);
        let (trajectory, until) = (&context.trajectory, context.deadline);
        if let Err(reason) = self.require_session(&mut episode, trajectory, until) {
            episode.failed = Some(reason.clone());
            return Err(reason);
        }
        if episode.done || self.config.action == (OpenEnvAction::None {}) {
            return Ok(reply(&episode, String::new(), true));
        }
        let action = match self.action(said) {
            Ok(action) => action,
            Err(words) => return Ok(reply(&episode, words, false)),
        };
        let text = match self.step(&mut episode, action, until) {
            Ok(observed) => text_of(&self.config, &observed),
            Err(Refusal::Action(reason)) => Ok(format!("ActionError: {reason}")),
            Err(Refusal::Server(reason)) => Err(reason),
        };
        match text {
            Ok(text) => Ok(reply(&episode, text, episode.done)),
            Err(reason) => {
                self.lose(&mut episode, &reason);
                Err(reason)
            }
        }
    }
}

/// What is said of an episode as it stands.
fn reply(episode: &Episode, text: String, done: bool) -> Reply {
    let rewards = episode.rewards.iter().map(|(name, value)| (name.clone(), *value));
    Reply { text, done, rewards: rewards.collect::<ObjectiveValues>(), ..Reply::default() }
}

/// Answers what servers ask of sessions that wait, and hears which of them are over.
fn look_at_all(sessions: &Weak<Sessions>) {
    let Some(sessions) = sessions.upgrade() else { return };
    let all: Vec<Arc<Mutex<Episode>>> = held(&sessions.episodes).values().cloned().collect();
    for place in all {
        // who is being asked answers for itself
        let Ok(mut episode) = place.try_lock() else { continue };
        if let Some(Err(reason)) = episode.session.as_mut().map(Session::look) {
            sessions.lose(&mut episode, &reason);
        }
    }
}

/// What stands at a path of an answer, such as `observation.scores.style`.
fn at<'v>(answer: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    let mut parts = path.split('.');
    let mut found = answer.get(parts.next()?)?;
    for part in parts {
        found = match found {
            Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
            other => other.get(part)?,
        };
    }
    Some(found)
}

fn number_at(answer: &Map<String, Value>, reward: &OpenEnvReward) -> Option<f64> {
    match at(answer, &reward.from)? {
        Value::Bool(is_so) => Some(f64::from(u8::from(*is_so))),
        value => value.as_f64(),
    }
}

/// What the policy reads of an answer.
///
/// # Errors
/// When it is not where it is configured to be.
pub(super) fn text_of(
    config: &OpenEnvConfig,
    answer: &Map<String, Value>,
) -> Result<String, String> {
    let observed = answer.get("observation").and_then(Value::as_object);
    let Some(observed) = observed else { return Err("it observes nothing".into()) };
    let Some(path) = &config.observation else {
        return Ok(Value::Object(observed.clone()).to_string());
    };
    let found = at(observed, path).map(shown);
    found.ok_or_else(|| {
        let keys: Vec<&str> = observed.keys().map(String::as_str).collect();
        format!(
            "its observation has no `{path}` (`environment.observation`); it has `{}`",
            keys.join("`, `")
        )
    })
}

impl Partner for Sessions {
    fn begin(&self, task: &Task, trajectory: &TrajectoryId) {
        let episode = Episode { task: task.id.clone(), ..Episode::default() };
        held(&self.episodes).insert(trajectory.clone(), Arc::new(Mutex::new(episode)));
    }

    fn answer(&self, said: &str, context: &CallContext) -> Reply {
        self.answered(said, context).unwrap_or_else(Reply::failed)
    }

    fn end(&self, trajectory: &TrajectoryId) {
        let ended = held(&self.episodes).remove(trajectory);
        // outside of the lock: it says goodbye
        drop(ended);
    }
}

/// A tool of the server's, called in the session of the episode that calls.
struct SessionTool {
    sessions: Arc<Sessions>,
    spec: ToolSpec,
}

impl SessionTool {
    /// Whether the call has succeeded, and its text.
    ///
    /// # Errors
    /// When the server is to blame.
    fn ask(&self, arguments: &Value, context: &CallContext) -> Result<(bool, String), String> {
        let sessions = &self.sessions;
        let place = sessions.episode(&context.trajectory)?;
        let mut episode = held(&place);
        let (trajectory, until) = (&context.trajectory, context.deadline);
        if let Err(reason) = sessions.require_session(&mut episode, trajectory, until) {
            episode.failed = Some(reason.clone());
            return Err(reason);
        }
        if episode.done {
            return Ok((false, "ToolError: the episode is over".into()));
        }
        let name = &self.spec.name;
        let answered = match sessions.config.action {
            // the step that a call is gives rewards, too
            OpenEnvAction::None {} => {
                let action =
                    json!({ "type": "call_tool", "tool_name": name, "arguments": arguments });
                match sessions.step(&mut episode, action, until) {
                    Ok(observed) => Ok(of_step(&observed)),
                    Err(Refusal::Action(reason)) => Ok(Err(reason)),
                    Err(Refusal::Server(reason)) => Err(reason),
                }
            }
            _ => match &mut episode.session {
                Some(session) => {
                    let params = json!({ "name": name, "arguments": arguments });
                    session.mcp("tools/call", params, until)
                }
                None => Err("there is no session".into()),
            },
        };
        match answered {
            Ok(Ok(result)) => Ok(text_of_result(&result)),
            Ok(Err(reason)) => Ok((false, format!("ToolError: {reason}"))),
            Err(reason) => {
                sessions.lose(&mut episode, &reason);
                Err(reason)
            }
        }
    }
}

/// The result in what a call by `step` observes.
fn of_step(observed: &Map<String, Value>) -> Result<Value, String> {
    match at(observed, "observation.error").filter(|error| !error.is_null()) {
        Some(error) => Err(error.get("message").map(shown).unwrap_or_else(|| error.to_string())),
        None => Ok(at(observed, "observation.result").cloned().unwrap_or_default()),
    }
}

/// Whether a result of MCP is no error, and its texts; what is no text is named.
fn text_of_result(result: &Value) -> (bool, String) {
    let is_error = ["is_error", "isError"].iter().any(|key| result[*key] == Value::Bool(true));
    let Some(content) = result.get("content").and_then(Value::as_array) else {
        return (!is_error, shown(result));
    };
    let parts = content.iter().map(|part| match part.get("text").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => format!("({} is left out)", part["type"].as_str().unwrap_or("something")),
    });
    (!is_error, parts.collect::<Vec<_>>().join("\n"))
}

impl Tool for SessionTool {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome {
        let started = Instant::now();
        if !call.arguments.is_object() {
            let reason = format!("ToolError: the arguments of `{}` are no object", call.name);
            return ToolOutcome::new(CallStatus::Error, reason, 0.0).with_fault(Fault::Call);
        }
        let answered = self.ask(&call.arguments, context);
        let seconds = started.elapsed().as_secs_f32();
        match answered {
            Ok((true, text)) => ToolOutcome::new(CallStatus::Ok, text, seconds),
            Ok((false, text)) => ToolOutcome::new(CallStatus::Error, text, seconds),
            Err(reason) => {
                let text = format!("ToolError: {reason}");
                ToolOutcome::new(CallStatus::Error, text, seconds).with_fault(Fault::Tool)
            }
        }
    }
}
