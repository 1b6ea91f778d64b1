//! Who is asked, a program or a server, and how patiently.

use super::server::ServerConfig;
use crate::StartedProgram;
use crate::found::found;
use paretopo_containment::Launch;
use paretopo_retrieval::BreakerConfig;
use paretopo_settings::{Pause, Seconds, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// A program, with the keys that lists of MCP servers have. It gets nothing of this process but
/// what is named here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgramConfig {
    /// Its file: a name that is found in `PATH`, or a path from where paretopo runs.
    pub command: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables of its environment. They stand in the run's folder: no place for secrets.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Names of the variables that it has from paretopo's own environment, where that has them.
    #[serde(default = "usual_variables")]
    pub inherit: Vec<String>,
    /// Where it runs; where paretopo runs if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
}

fn usual_variables() -> Vec<String> {
    vec!["PATH".into()]
}

impl ProgramConfig {
    /// A program with these arguments, and nothing of this process but its `PATH`.
    pub fn new(command: impl Into<PathBuf>, args: &[&str]) -> Self {
        Self {
            command: command.into(),
            args: args.iter().map(|argument| (*argument).to_owned()).collect(),
            env: BTreeMap::new(),
            inherit: usual_variables(),
            cwd: None,
        }
    }

    /// # Errors
    /// Names what no program can have.
    pub fn check(&self) -> Result<(), String> {
        if self.command.as_os_str().is_empty() {
            return Err(
                "`program.command` is empty\nhint: name a program, such as \"python3\"".into()
            );
        }
        let has_zero = |text: &String| text.contains('\0');
        let is_no_name = |name: &String| name.is_empty() || name.contains(['=', '\0']);
        if self.args.iter().any(has_zero) {
            return Err("`program.args`: an argument has a zero byte".into());
        }
        if let Some(name) = self.inherit.iter().find(|name| is_no_name(name)) {
            return Err(format!("`program.inherit`: `{name:?}` is not the name of a variable"));
        }
        if let Some(name) = self.env.keys().find(|name| is_no_name(name)) {
            return Err(format!("`program.env`: `{name:?}` is not the name of a variable"));
        }
        match self.env.iter().find(|(_, value)| has_zero(value)) {
            Some((name, _)) => Err(format!("`program.env.{name}` has a zero byte")),
            None => Ok(()),
        }
    }

    /// Its file.
    pub fn file(&self) -> PathBuf {
        found(&self.command)
    }

    /// How it is started.
    pub fn launch(&self) -> Launch {
        let inherited =
            self.inherit.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let inherited = inherited.map(|(name, value)| (OsString::from(name), value));
        let own = self.env.iter().map(|(name, value)| (name.into(), value.into()));
        Launch {
            program: self.file(),
            arguments: self.args.clone(),
            environment: inherited.chain(own).collect(),
            folder: self.cwd.clone(),
        }
    }

    /// The same, for people who want to know before it is started.
    pub fn started(&self, does: &str) -> StartedProgram {
        StartedProgram { path: Some(self.file()), does: does.into() }
    }
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A program, by lines over its standard streams.
    Program(ProgramConfig),
    /// A server, by HTTP.
    Server(ServerConfig),
}

impl Asked {
    /// # Errors
    /// Names the setting that makes no sense.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Program(program) => program.check(),
            Self::Server(server) => server.check("server"),
        }
    }

    /// The program that is started, if one is; `does` says for what.
    pub fn programs(&self, does: &str) -> Vec<StartedProgram> {
        match self {
            Self::Program(program) => vec![program.started(does)],
            Self::Server(_) => Vec::new(),
        }
    }
}

/// How patiently a program or a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceLimits {
    /// Seconds for one request. A program that has not answered by then is killed and started anew.
    pub seconds: Seconds,
    /// Seconds for a program to start and greet, or for a server to greet.
    pub start_seconds: Seconds,
    /// Processes of a program, each with one request at a time; requests to a server at a time.
    #[serde(deserialize_with = "within::<1, 256, _, _>")]
    #[schemars(schema_with = "whole::<1, 256>")]
    pub concurrency: usize,
    /// Further attempts at a request that was not answered. A tool's call is tried again only if
    /// nobody can have taken it.
    #[serde(deserialize_with = "within::<0, 1000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1000>")]
    pub retries: u32,
    /// Seconds before the second attempt; doubles with each.
    pub backoff_seconds: Pause,
    /// When it is left alone for a while. It bounds how often a program is started anew, too.
    pub breaker: BreakerConfig,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            seconds: const { Seconds::literal(30.0) },
            start_seconds: const { Seconds::literal(60.0) },
            concurrency: 2,
            retries: 2,
            backoff_seconds: const { Pause::literal(0.2) },
            breaker: BreakerConfig::default(),
        }
    }
}
