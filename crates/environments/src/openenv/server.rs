//! An OpenEnv server: what it says of itself, its sessions, and when it is left alone.
//!
//! A session is a WebSocket at `/ws`. A request is `{"type", "data"}`, of the type `reset`, `step` or
//! `mcp`; its answer is of the type `observation` or `mcp`, or an `error` with a `code`. The server
//! has an environment for each session, which ends with it. By HTTP only `/schema` is asked: `/reset`
//! and `/step` make an environment for each request, so that no episode could be played by them.

use super::address::Address;
use super::config::OpenEnvConfig;
use super::socket::{Socket, addresses, cut};
use paretopo_retrieval::{Breaker, why_untrusted};
use paretopo_trajectory::{ToolSpec, TrajectoryId};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a schema; more is nonsense.
const MOST: u64 = 4 << 20;
/// How long is waited before a session is asked for again; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Tools that a server may have.
const MOST_TOOLS: usize = 1000;

/// A server that was met.
pub(super) struct Server {
    config: OpenEnvConfig,
    address: Address,
    addresses: Vec<SocketAddr>,
    agent: ureq::Agent,
    breaker: Breaker,
    /// The schema of actions when it was met.
    pub(super) action: Value,
    /// Whether something has gone wrong since its schema was looked at.
    suspect: AtomicBool,
}

/// Why there is no observation.
pub(super) enum Refusal {
    /// What the policy did is no action of the environment's.
    Action(String),
    /// The server is to blame, and its session is of no use any more.
    Server(String),
}

/// Why there is no session.
enum NotBegun {
    /// There may be one a moment later.
    Now(String),
    /// It is no use to ask again.
    Ever(String),
}

impl Server {
    /// Looks at a server for the first time.
    ///
    /// # Errors
    /// Why it is of no use.
    pub(super) fn meet(config: &OpenEnvConfig, address: Address) -> Result<Self, String> {
        let until = Instant::now() + config.start_seconds.duration();
        let mut server = Self {
            addresses: addresses(&address.host, until)?,
            agent: address.trust.agent(),
            address,
            breaker: Breaker::new(config.breaker),
            action: Value::Null,
            suspect: AtomicBool::new(false),
            config: config.clone(),
        };
        server.action = server.schema(until)?;
        Ok(server)
    }

    /// The schema of its actions.
    fn schema(&self, until: Instant) -> Result<Value, String> {
        let url = self.address.http("/schema");
        let said = |error: ureq::Error| {
            let reason = why_untrusted(&error).unwrap_or_else(|| error.to_string());
            format!("{url}: {reason}")
        };
        let left = until.saturating_duration_since(Instant::now());
        let request = self.agent.get(&url).config().timeout_global(Some(left)).build();
        let headers = self.address.headers.iter();
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        let mut answer = request.call().map_err(said)?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(MOST).read_to_string().map_err(said)?;
        if !status.is_success() {
            return Err(format!("{url}: status {status}: {}", cut(&body)));
        }
        let schema: Value = serde_json::from_str(&body)
            .map_err(|_| format!("{url}: its answer is no JSON: {}", cut(&body)))?;
        match schema.get("action") {
            Some(action) if action.is_object() => Ok(action.clone()),
            _ => Err(format!("{url}: it is no OpenEnv server: there is no schema of an `action`")),
        }
    }

    /// Opens a session and resets it; also what it observes then. Nothing has been played yet, so it is
    /// tried again until the deadline: a server that is away for a moment, or has no room, costs no
    /// episode.
    ///
    /// # Errors
    /// Why there is none, by the deadline at the latest.
    pub(super) fn begin(
        &self,
        seed: u64,
        episode: Option<&TrajectoryId>,
        until: Instant,
    ) -> Result<(Session, Map<String, Value>), String> {
        let mut pause = FIRST_PAUSE;
        loop {
            let refused = match self.breaker.enter() {
                Ok(()) => match self.try_to_begin(seed, episode, until) {
                    Ok(begun) => {
                        self.breaker.report(true);
                        return Ok(begun);
                    }
                    Err(refused) => {
                        self.suspect();
                        refused
                    }
                },
                Err(open) => NotBegun::Now(open.to_string()),
            };
            let is_late = until.saturating_duration_since(Instant::now()) <= pause;
            match refused {
                NotBegun::Now(reason) if is_late => return Err(reason),
                NotBegun::Ever(reason) => return Err(reason),
                NotBegun::Now(_) => std::thread::sleep(pause),
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn try_to_begin(
        &self,
        seed: u64,
        episode: Option<&TrajectoryId>,
        until: Instant,
    ) -> Result<(Session, Map<String, Value>), NotBegun> {
        // after a failure it may be another one than it was
        if self.suspect.load(Ordering::Relaxed) {
            if self.schema(until).map_err(NotBegun::Now)? != self.action {
                let reason = "its actions have another schema than at the start of the run";
                return Err(NotBegun::Ever(reason.into()));
            }
            self.suspect.store(false, Ordering::Relaxed);
        }
        let mut session = self.connect(until).map_err(NotBegun::Now)?;
        let observed = session.reset(&self.config, seed, episode, until);
        Ok((session, observed.map_err(NotBegun::Now)?))
    }

    /// A session that is not reset yet.
    pub(super) fn connect(&self, until: Instant) -> Result<Session, String> {
        let socket = Socket::open(&self.addresses, &self.address, "/ws", until)?;
        Ok(Session { socket, requests: 0 })
    }

    /// Something has gone wrong with a session.
    pub(super) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
        self.breaker.report(false);
    }
}

/// An environment of the server's.
pub(super) struct Session {
    socket: Socket,
    /// By its MCP route.
    requests: u64,
}

impl Session {
    /// Begins an episode; what is observed.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn reset(
        &mut self,
        config: &OpenEnvConfig,
        seed: u64,
        episode: Option<&TrajectoryId>,
        until: Instant,
    ) -> Result<Map<String, Value>, String> {
        let mut data: Map<String, Value> = config.reset.clone().into_iter().collect();
        data.insert("seed".into(), seed.into());
        if let Some(episode) = episode {
            data.insert("episode_id".into(), episode.as_str().into());
        }
        let answer = self.ask("reset", data.into(), "observation", until);
        let observed = answer.and_then(observation).map_err(|refusal| match refusal {
            Refusal::Action(reason) | Refusal::Server(reason) => reason,
        })?;
        match observed["done"] == Value::Bool(true) {
            true => Err(format!("its episode with the seed {seed} is over before it begins")),
            false => Ok(observed),
        }
    }

    /// Acts; what is observed.
    ///
    /// # Errors
    /// Why nothing is.
    pub(super) fn step(
        &mut self,
        action: Value,
        until: Instant,
    ) -> Result<Map<String, Value>, Refusal> {
        observation(self.ask("step", action, "observation", until)?)
    }

    /// Its tools; none where the environment has no MCP route.
    ///
    /// # Errors
    /// When it does not say.
    pub(super) fn tools(&mut self, until: Instant) -> Result<Vec<ToolSpec>, String> {
        let listed = match self.mcp("tools/list", json!({}), until) {
            Ok(Ok(listed)) => listed,
            Ok(Err(_)) => return Ok(Vec::new()),
            Err(reason) => return Err(reason),
        };
        let Some(tools) = listed.get("tools").and_then(Value::as_array) else {
            return Err("it answers `tools/list` without a list of `tools`".into());
        };
        if tools.len() > MOST_TOOLS {
            return Err(format!("it lists more than {MOST_TOOLS} tools"));
        }
        let spec = |tool: &Value| {
            let text = |key: &str| tool.get(key).and_then(Value::as_str).map(str::to_owned);
            let schema = tool.get("inputSchema").or_else(|| tool.get("input_schema"));
            let name = text("name").ok_or("it lists a tool without a name")?;
            let parameters = schema.cloned().unwrap_or_else(|| json!({ "type": "object" }));
            let description = text("description").unwrap_or_default();
            Ok(ToolSpec { name, description, parameters })
        };
        tools.iter().map(spec).collect()
    }

    /// A request by the MCP route: its result, or the server's word about it.
    ///
    /// # Errors
    /// When the session is of no use any more.
    pub(super) fn mcp(
        &mut self,
        method: &str,
        params: Value,
        until: Instant,
    ) -> Result<Result<Value, String>, String> {
        self.requests += 1;
        let id = self.requests;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answer = match self.ask("mcp", request, "mcp", until) {
            Ok(answer) => answer,
            Err(Refusal::Action(reason) | Refusal::Server(reason)) => return Err(reason),
        };
        if answer.get("id").and_then(Value::as_u64) != Some(id) {
            return Err("it answered another request than it was asked".into());
        }
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            let said = error.get("message").and_then(Value::as_str);
            return Ok(Err(said.unwrap_or("an error without a message").to_owned()));
        }
        Ok(Ok(answer.get("result").cloned().unwrap_or_default()))
    }

    /// Keeps it alive while nothing is asked.
    ///
    /// # Errors
    /// When it is over.
    pub(super) fn look(&mut self) -> Result<(), String> {
        self.socket.look()
    }

    fn ask(
        &mut self,
        kind: &str,
        data: Value,
        wanted: &str,
        until: Instant,
    ) -> Result<Map<String, Value>, Refusal> {
        let request = json!({ "type": kind, "data": data });
        let mut answer = self.socket.ask(&request, until).map_err(Refusal::Server)?;
        let data = answer.remove("data");
        let answered = answer.get("type").and_then(Value::as_str).unwrap_or_default();
        match (data, answered) {
            (Some(Value::Object(data)), answered) if answered == wanted => Ok(data),
            (Some(Value::Object(data)), "error") => Err(refusal(&data)),
            _ => Err(Refusal::Server(format!(
                "it answered `{kind}` with no `data` of the type `{wanted}`"
            ))),
        }
    }
}

/// What a message means that nobody asked for: a server without room says so before it is asked.
pub(super) fn unasked(text: &str) -> String {
    let message: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let is_error = message.get("type").is_some_and(|kind| kind == "error");
    match message.get("data").and_then(Value::as_object).filter(|_| is_error) {
        Some(data) => match refusal(data) {
            Refusal::Action(reason) | Refusal::Server(reason) => reason,
        },
        None => "it sent what nobody asked for".into(),
    }
}

/// An error of the server's. Of its codes one is about the action alone.
fn refusal(data: &Map<String, Value>) -> Refusal {
    let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
    let code = text("code");
    let mut said = cut(text("message"));
    let errors = data.get("errors").and_then(Value::as_array).into_iter().flatten();
    for error in errors.take(3) {
        let place: Vec<String> = error["loc"].as_array().into_iter().flatten().map(shown).collect();
        let reason = error["msg"].as_str().unwrap_or_default();
        said.push_str(&format!("; `{}`: {}", place.join("."), cut(reason)));
    }
    match code {
        "VALIDATION_ERROR" => Refusal::Action(said),
        "CAPACITY_REACHED" => Refusal::Server(format!(
            "{said}\nhint: start the server with a larger `max_concurrent_envs`, or set \
             `environment.sessions` to as many as it takes"
        )),
        _ => Refusal::Server(format!("{code}: {said}")),
    }
}

/// A text as it is, anything else as JSON.
pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What was observed, if it is that.
fn observation(data: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let is_sound = data.get("observation").is_some_and(Value::is_object)
        && data.get("done").is_none_or(Value::is_boolean);
    match is_sound {
        true => Ok(data),
        false => Err(Refusal::Server("its answer holds no `observation` and `done`".into())),
    }
}
