//! The tools of an MCP server as tools of ours: each call is awaited by the thread that makes it,
//! on a runtime of the server's own, and for no longer than its deadline.
//!
//! A server that ends, or that answers no ping behind a late call, is killed; the next call starts
//! a new one. What a server offers is what it offered at first: a tool that a new one lacks, or has
//! with another schema, is refused by name.

use super::session::Session;
use super::{McpConfig, McpScope};
use crate::{CallContext, Tool, truncate_middle};
use paretopo_containment::Launch;
use paretopo_retrieval::Breaker;
use paretopo_trajectory::{CallStatus, Fault, ToolCall, ToolOutcome, ToolSpec, TrajectoryId};
use rmcp::ServiceError;
use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex as Turn, Semaphore};

/// How long a server has to answer a ping behind a late call.
const PING: Duration = Duration::from_secs(2);
/// How long the runtime is given to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// A place for a server that lives, or will with the next call.
type Slot = Arc<Turn<Option<Arc<Session>>>>;

/// What a server's tools and its runtime's tasks share.
struct Shared {
    config: McpConfig,
    /// How its program is started, if it is one.
    launch: Option<Launch>,
    breaker: Breaker,
    /// By trajectory, of `scope = "trajectory"`; else there is one.
    slots: Mutex<HashMap<Option<TrajectoryId>, Slot>>,
    room: Arc<Semaphore>,
}

/// A server, or one for each trajectory; killed when the last of its tools is dropped.
struct Server {
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // whatever still waits for a slot is given up with the runtime
        self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(FAREWELL);
        }
    }
}

/// One of a server's tools.
struct McpTool {
    server: Arc<Server>,
    spec: ToolSpec,
}

/// Why a call has no result.
enum Failure {
    /// The server's word about the call itself.
    Refused(String),
    /// The server is to blame.
    Server(String),
}

/// The tools of a server that has started.
///
/// # Errors
/// Why it does not start, or which tool it does not offer.
pub(super) fn start(
    config: &McpConfig,
    launch: Option<Launch>,
) -> Result<Vec<Arc<dyn Tool>>, String> {
    // one thread, so that what ends with the thread that started it ends with the runtime
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("mcp")
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime for MCP: {error}"))?;
    let shared = Arc::new(Shared {
        config: config.clone(),
        launch,
        breaker: Breaker::new(config.breaker),
        slots: Mutex::default(),
        room: Arc::new(Semaphore::new(config.most_servers)),
    });
    let server = Server { runtime: Some(runtime), shared: shared.clone() };
    let first = server.first()?;
    let mut chosen = Vec::new();
    for name in &config.tools {
        let Some(spec) = first.tools.iter().find(|spec| spec.name == *name) else {
            let offered: Vec<String> =
                first.tools.iter().map(|spec| format!("`{}`", spec.name)).collect();
            let offered = offered.join(", ");
            return Err(format!("`tools`: the server offers no `{name}`; it has {offered}"));
        };
        chosen.push(spec.clone());
    }
    if config.tools.is_empty() {
        chosen.clone_from(&first.tools);
    }
    if chosen.is_empty() {
        return Err("the server offers no tool".into());
    }
    // of a server for each trajectory, the first was asked for its tools alone
    drop(first);
    let server = Arc::new(server);
    let tool = |spec| Arc::new(McpTool { server: server.clone(), spec }) as Arc<dyn Tool>;
    Ok(chosen.into_iter().map(tool).collect())
}

impl Server {
    /// The server that is asked for its tools; it is kept where all trajectories share it.
    fn first(&self) -> Result<Arc<Session>, String> {
        let shared = self.shared.clone();
        let opening = async move {
            let session =
                Arc::new(Session::open(&shared.config, shared.launch.as_ref(), None).await?);
            if shared.config.scope == McpScope::Shared {
                *shared.slot(None).lock().await = Some(session.clone());
            }
            Ok(session)
        };
        let Some(runtime) = &self.runtime else { return Err("its runtime has ended".into()) };
        let opened = runtime.block_on(runtime.spawn(opening));
        opened.unwrap_or_else(|error| Err(format!("its start was given up: {error}")))
    }
}

impl Shared {
    fn slot(&self, owner: Option<TrajectoryId>) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(owner).or_default().clone()
    }

    /// The server of a slot; a new one where there is none that lives.
    async fn session(&self, slot: &Slot) -> Result<Arc<Session>, String> {
        let mut place = slot.lock().await;
        if let Some(session) = place.as_ref().filter(|session| !session.is_over()) {
            return Ok(session.clone());
        }
        // the old one is killed before the new one starts
        *place = None;
        let room = match self.config.scope {
            McpScope::Shared => None,
            McpScope::Trajectory => self.room.clone().acquire_owned().await.ok(),
        };
        self.breaker.enter().map_err(|open| open.to_string())?;
        let opened = Session::open(&self.config, self.launch.as_ref(), room).await;
        self.breaker.report(opened.is_ok());
        let session = Arc::new(opened?);
        *place = Some(session.clone());
        Ok(session)
    }

    /// Ends a server that answers no ping, unless another one has its place by now.
    async fn end_if_dead(&self, slot: &Slot, session: Arc<Session>) {
        if session.is_alive(PING).await {
            return;
        }
        let mut place = slot.lock().await;
        if place.as_ref().is_some_and(|current| Arc::ptr_eq(current, &session)) {
            *place = None;
        }
    }
}

impl McpTool {
    fn owner(&self, trajectory: &TrajectoryId) -> Option<TrajectoryId> {
        let is_own = self.server.shared.config.scope == McpScope::Trajectory;
        is_own.then(|| trajectory.clone())
    }

    /// The result of a call; `None` where there was none by the deadline.
    fn ask(
        &self,
        params: CallToolRequestParams,
        context: &CallContext,
    ) -> Option<Result<CallToolResult, Failure>> {
        let runtime = self.server.runtime.as_ref()?;
        let shared = self.server.shared.clone();
        let slot = shared.slot(self.owner(&context.trajectory));
        // a server that starts slowly goes on starting when its first call has given up
        let opening = {
            let (shared, slot) = (shared.clone(), slot.clone());
            runtime.spawn(async move { shared.session(&slot).await })
        };
        let spec = &self.spec;
        let asking = async {
            let opened = opening.await.unwrap_or_else(|error| Err(error.to_string()));
            let session = opened.map_err(Failure::Server)?;
            require_same(&session, spec).map_err(Failure::Server)?;
            let called = tokio::time::timeout(context.time_left(), session.call(params)).await;
            Ok(match called {
                Ok(called) => Some(called.map_err(|error| failure(&error, &session))),
                Err(_) => {
                    let (shared, slot) = (shared.clone(), slot.clone());
                    tokio::spawn(async move { shared.end_if_dead(&slot, session).await });
                    None
                }
            })
        };
        let waited =
            runtime.block_on(async { tokio::time::timeout(context.time_left(), asking).await });
        match waited {
            Ok(Ok(called)) => called,
            Ok(Err(failure)) => Some(Err(failure)),
            Err(_) => None,
        }
    }
}

/// # Errors
/// When a server that was started anew has a tool no more, or with another schema.
fn require_same(session: &Session, spec: &ToolSpec) -> Result<(), String> {
    let name = &spec.name;
    match session.tools.iter().find(|offered| offered.name == *name) {
        None => Err(format!("the server does not offer `{name}` any more")),
        Some(offered) if offered.parameters != spec.parameters => {
            Err(format!("the server offers `{name}` with other arguments than at its first start"))
        }
        Some(_) => Ok(()),
    }
}

fn failure(error: &ServiceError, session: &Session) -> Failure {
    match error {
        ServiceError::McpError(said) => Failure::Refused(said.message.to_string()),
        other => Failure::Server(format!("{other}{}", session.last_words())),
    }
}

/// The text of a result; what is none is named.
fn text_of(result: &CallToolResult) -> String {
    let left_out = |what: &str| format!("({what} is left out)");
    let parts = result.content.iter().map(|block| match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(_) => left_out("an image"),
        ContentBlock::Audio(_) => left_out("a sound"),
        ContentBlock::Resource(_) => left_out("a resource"),
        ContentBlock::ResourceLink(_) => left_out("the link of a resource"),
        _ => left_out("something"),
    });
    let text = parts.collect::<Vec<_>>().join("\n");
    match &result.structured_content {
        Some(value) if result.content.is_empty() => value.to_string(),
        _ => text,
    }
}

impl Tool for McpTool {
    fn spec(&self) -> ToolSpec {
        self.spec.clone()
    }

    fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome {
        let started = Instant::now();
        let Some(arguments) = call.arguments.as_object() else {
            let reason = format!("ToolError: the arguments of `{}` are no object", call.name);
            return ToolOutcome::new(CallStatus::Error, reason, 0.0).with_fault(Fault::Call);
        };
        let params = CallToolRequestParams::new(self.spec.name.clone());
        let result = self.ask(params.with_arguments(arguments.clone()), context);
        let seconds = started.elapsed().as_secs_f32();
        let (status, text) = match result {
            None => {
                let text = "TimeoutError: the server did not answer in time";
                let outcome = ToolOutcome::new(CallStatus::Timeout, text, seconds);
                return outcome.with_fault(Fault::Tool);
            }
            Some(Err(Failure::Server(reason))) => {
                let text = format!("ToolError: {reason}");
                let outcome = ToolOutcome::new(CallStatus::Error, text, seconds);
                return outcome.with_fault(Fault::Tool);
            }
            Some(Err(Failure::Refused(reason))) => {
                (CallStatus::Error, format!("ToolError: {reason}"))
            }
            Some(Ok(result)) if result.is_error == Some(true) => {
                (CallStatus::Error, text_of(&result))
            }
            Some(Ok(result)) => (CallStatus::Ok, text_of(&result)),
        };
        let (text, truncated) = truncate_middle(&text, self.server.shared.config.output_characters);
        ToolOutcome { truncated, ..ToolOutcome::new(status, text, seconds) }
    }

    fn end(&self, trajectory: &TrajectoryId) {
        let shared = &self.server.shared;
        let owner = self.owner(trajectory);
        if owner.is_some() {
            let mut slots = shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = slots.remove(&owner);
            drop(slots);
            // its process is killed, and nobody waits for that
            if let (Some(slot), Some(runtime)) = (slot, &self.server.runtime) {
                runtime.spawn(async move { drop(slot) });
            }
        }
    }
}
