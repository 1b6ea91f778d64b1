//! The Python tool's settings.

#[cfg(target_os = "linux")]
use super::CpythonConfig;
use super::SandboxFusionConfig;
use paretopo_settings::{Seconds, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one program may use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PythonLimits {
    /// Execution time in seconds.
    pub seconds: Seconds,
    /// Memory in bytes beyond what an idle worker needs.
    #[serde(deserialize_with = "within::<1_048_576, 1_099_511_627_776, _, _>")]
    #[schemars(schema_with = "whole::<1_048_576, 1_099_511_627_776>")]
    pub memory: usize,
    /// Depth of function calls.
    #[serde(deserialize_with = "within::<1, 100_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 100_000>")]
    pub recursion: usize,
    /// Bytes that a program may print before it is stopped.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
    pub printed: usize,
    /// Bytes that a program may have in files; for `cpython`, the others have none.
    #[serde(deserialize_with = "within::<65_536, 1_099_511_627_776, _, _>")]
    #[schemars(schema_with = "whole::<65_536, 1_099_511_627_776>")]
    pub files: usize,
}

impl Default for PythonLimits {
    fn default() -> Self {
        Self {
            seconds: const { Seconds::literal(2.0) },
            memory: 64 << 20,
            recursion: 200,
            printed: 1 << 20,
            files: 64 << 20,
        }
    }
}

/// Who runs programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PythonInterpreter {
    /// An interpreter in Rust, sandboxed by what it lacks.
    Monty,
    /// The system's Python in a sandbox.
    Cpython,
    /// A SandboxFusion server.
    SandboxFusion,
}

/// Runs Python programs, kept from the host and from each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PythonConfig {
    /// Who runs programs.
    pub interpreter: PythonInterpreter,
    /// For `interpreter = "cpython"`.
    #[cfg(target_os = "linux")]
    pub cpython: CpythonConfig,
    /// For `interpreter = "sandbox_fusion"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_fusion: Option<SandboxFusionConfig>,
    /// Whether the calls of one trajectory share names (variables, functions, imports) and files.
    /// Memory and files are then limited over all of them, time and output call by call. A call
    /// that is late, is killed or runs out of memory, files or output loses them, and says so. For
    /// `monty` and `cpython`.
    pub session: bool,
    /// Sessions that may live at a time; one has up to `limits.memory` and `limits.files`. A call
    /// that would begin one more waits, at most until its deadline.
    #[serde(deserialize_with = "within::<1, 1_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000>")]
    pub most_sessions: usize,
    /// Limits for each program.
    pub limits: PythonLimits,
    /// Longest text that the model reads, in characters; longer output loses its middle.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub output_characters: usize,
}

impl Default for PythonConfig {
    fn default() -> Self {
        Self {
            interpreter: PythonInterpreter::Monty,
            #[cfg(target_os = "linux")]
            cpython: CpythonConfig::default(),
            sandbox_fusion: None,
            session: false,
            most_sessions: 256,
            limits: PythonLimits::default(),
            output_characters: 256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ToolSettings;

    #[test]
    fn a_server_keeps_no_session() {
        for interpreter in [PythonInterpreter::Monty, PythonInterpreter::Cpython] {
            let config = PythonConfig { interpreter, session: true, ..PythonConfig::default() };
            assert_eq!(config.check(), Ok(()));
        }
        let interpreter = PythonInterpreter::SandboxFusion;
        let server = PythonConfig { interpreter, ..PythonConfig::default() };
        assert_eq!(server.check(), Ok(()));
        let reason = PythonConfig { session: true, ..server }.check().unwrap_err();
        assert!(reason.starts_with("`session` is true, but a `sandbox_fusion` server"), "{reason}");
        assert!(reason.contains("hint:"), "{reason}");
    }
}
