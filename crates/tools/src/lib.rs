//! What an agent can call.
//!
//! A [`Tool`] is synchronous and never fails: whatever happens becomes a [`ToolOutcome`] that the
//! model reads. A [`ToolPool`] runs calls on its own threads, so that a slow call never holds up
//! the decoding of other sequences, and delivers each outcome over a channel by the call's deadline
//! at the latest.
//!
//! No async runtime: calls are few, short and bounded, and a fixed set of threads is easier to
//! reason about. MCP servers have one of their own behind their calls, since their protocol's crate
//! needs it.

mod calculator;
#[cfg(target_os = "linux")]
mod cloning;
mod enclosed;
mod found;
mod listed;
mod luck;
mod mcp;
#[cfg(target_os = "linux")]
mod namespaces;
mod output;
mod pool;
mod python;
mod search;
mod service;

pub use calculator::{CalculatorConfig, CalculatorTool};
pub use enclosed::{EnclosureConfig, enclosed_program};
pub use listed::{
    CallTerms, FAILED_CALL, ListedTool, LoadObserver, Resources, StartedProgram, ToolConfig,
    ToolEntry, ToolSettings, ToolSurroundings, ToolTerms, Tools, register_tool, start_tools,
};
pub use luck::Luck;
pub use mcp::{McpConfig, McpScope};
pub use output::truncate_middle;
pub use pool::{Completed, ToolPool};
#[cfg(target_os = "linux")]
pub use python::{CpythonConfig, MissingLayers, Walls};
pub use python::{
    PythonConfig, PythonInterpreter, PythonLimits, PythonTool, SandboxFusionConfig,
    evaluate_python, python_sandbox, python_worker,
};
pub use search::{PassageSource, SearchConfig, SearchTool};
pub use service::{
    Asked, CommandTool, HttpTool, ProgramConfig, ServerConfig, Service, ServiceFailure,
    ServiceLimits, ServiceRequest, Waiting,
};

use paretopo_trajectory::{ToolCall, ToolOutcome, ToolSpec, TrajectoryId};
use std::time::{Duration, Instant};

/// What a tool is told about a call.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The trajectory that calls; used in messages and by tools that keep state.
    pub trajectory: TrajectoryId,
    /// When the outcome is due.
    pub deadline: Instant,
    /// What chance decides about the call, for tools with a say of it.
    pub luck: Luck,
}

impl CallContext {
    /// A call for its own sake, with the luck of a first call with seed 0.
    pub fn new(trajectory: TrajectoryId, deadline: Instant) -> Self {
        let luck = Luck::of_call(0, &trajectory, 0);
        Self { trajectory, deadline, luck }
    }

    /// Time left until the deadline; zero when it has passed.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Something an agent can call.
pub trait Tool: Send + Sync {
    /// Name, description and argument schema.
    fn spec(&self) -> ToolSpec;

    /// A trajectory begins that may call. Must not take long: it runs on the thread that decodes.
    fn begin(&self, _trajectory: &TrajectoryId) {}

    /// Runs the call. Errors are data; the implementation must return soon after
    /// `context.deadline`.
    fn call(&self, call: &ToolCall, context: &CallContext) -> ToolOutcome;

    /// The trajectory has ended, by itself or because it failed, was cut off or was cancelled. Comes
    /// once for every [`Self::begin`], and after its last call has returned. Must not take long.
    fn end(&self, _trajectory: &TrajectoryId) {}
}
