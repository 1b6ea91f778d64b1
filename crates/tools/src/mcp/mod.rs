//! Tools of servers that speak the Model Context Protocol, as a list of `mcpServers` names them: a
//! program (stdio) or an address (streamable HTTP), by the protocol's own crate, `rmcp`.
//!
//! | file | what |
//! |---|---|
//! | `client.rs` | the tools of a server, calls with their deadlines, from synchronous threads |
//! | `session.rs` | one line to a server: started, greeted, asked for its tools, killed |
//!
//! Left out: what a server may ask of its client (sampling, roots, elicitation), which is refused;
//! resources and prompts.

#[cfg(feature = "mcp")]
mod client;
#[cfg(feature = "mcp")]
mod session;

use crate::{
    EnclosureConfig, ProgramConfig, ServerConfig, StartedProgram, Tool, ToolSettings,
    ToolSurroundings,
};
use paretopo_retrieval::BreakerConfig;
use paretopo_settings::{Seconds, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Who shares a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum McpScope {
    /// All trajectories.
    #[default]
    Shared,
    /// Nobody: each trajectory has one of its own, begun by its first call and ended with it.
    Trajectory,
}

/// The tools of an MCP server: a `program`, or a `server` with an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct McpConfig {
    /// Names of the server's tools that are offered; all if there are none.
    pub tools: Vec<String>,
    /// The program that is the server, over its standard streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramConfig>,
    /// Walls around the program (Linux): `walls = {}` for the usual ones. Without them it runs as
    /// paretopo does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walls: Option<EnclosureConfig>,
    /// The server, by streamable HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerConfig>,
    /// Who shares it.
    pub scope: McpScope,
    /// Servers that may live at a time, of `scope = "trajectory"`. A call that would begin one more
    /// waits, at most until its deadline.
    #[serde(deserialize_with = "within::<1, 1_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000>")]
    pub most_servers: usize,
    /// Seconds for a server to start, to greet and to list its tools.
    pub start_seconds: Seconds,
    /// When it is left alone for a while. It bounds how often a server is started anew, too.
    pub breaker: BreakerConfig,
    /// Longest text that the model reads, in characters; longer output loses its middle.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub output_characters: usize,
}

impl Default for McpConfig {
    fn default() -> Self {
        Self {
            tools: Vec::new(),
            program: None,
            walls: None,
            server: None,
            scope: McpScope::default(),
            most_servers: 64,
            start_seconds: const { Seconds::literal(60.0) },
            breaker: BreakerConfig::default(),
            output_characters: 4096,
        }
    }
}

impl ToolSettings for McpConfig {
    fn start(&self, surroundings: &mut ToolSurroundings<'_>) -> Result<Arc<dyn Tool>, String> {
        let mut tools = self.start_all(surroundings)?;
        tools.pop().ok_or_else(|| "the server offers no tool".into())
    }

    #[cfg(feature = "mcp")]
    fn start_all(
        &self,
        surroundings: &mut ToolSurroundings<'_>,
    ) -> Result<Vec<Arc<dyn Tool>>, String> {
        let launch = match (&self.program, &self.walls) {
            (Some(program), Some(walls)) => Some(walls.launch(program, surroundings.resources)?),
            (Some(program), None) => Some(program.launch()),
            (None, _) => None,
        };
        client::start(self, launch)
    }

    #[cfg(not(feature = "mcp"))]
    fn start_all(&self, _: &mut ToolSurroundings<'_>) -> Result<Vec<Arc<dyn Tool>>, String> {
        Err("MCP servers are left out of this build\nhint: build it with `--features mcp`".into())
    }

    fn check(&self) -> Result<(), String> {
        if let Some(walls) = &self.walls {
            walls.check()?;
        }
        match (&self.program, &self.server) {
            (Some(program), None) => program.check(),
            (None, Some(_)) if self.walls.is_some() => {
                Err("`walls` are around a `program`; a `server` is somewhere else".into())
            }
            (None, Some(server)) => server.check("server"),
            (None, None) => Err("`program` or `server` is missing\nhint: name a program, such as \
                                 `program = { command = \"npx\", args = [..] }`"
                .into()),
            (Some(_), Some(_)) => Err("`program` and `server` exclude each other".into()),
        }
    }

    fn programs(&self) -> Vec<StartedProgram> {
        let does = match self.walls {
            Some(_) => "answers the policy's calls, by MCP, behind walls",
            None => "answers the policy's calls, by MCP",
        };
        self.program.iter().map(|program| program.started(does)).collect()
    }
}

#[cfg(test)]
#[cfg(feature = "mcp")]
mod tests;

#[cfg(test)]
#[cfg(not(feature = "mcp"))]
mod tests {
    use super::*;
    use crate::Resources;

    #[test]
    fn mcp_that_is_left_out_is_refused_with_a_hint() {
        let program = Some(ProgramConfig::new("true", &[]));
        let config = McpConfig { program, ..McpConfig::default() };
        let resources = Resources::default();
        let mut surroundings =
            ToolSurroundings { resources: &resources, passages: &[], observer: &mut () };
        let reason = config.start(&mut surroundings).err().unwrap();
        assert!(reason.contains("left out") && reason.contains("--features mcp"), "{reason}");
    }
}
