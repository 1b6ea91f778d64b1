//! Walls around a program of other people's that is kept running, such as an MCP server. `paretopo
//! enclosed-program` starts it behind them, passes its standard streams on, and stays outside:
//!
//! | layer | holds | file |
//! |---|---|---|
//! | namespaces of users, mounts, processes, network, IPC | no file of the host but those that are named, read-only unless said otherwise; nobody's processes; no network | `tools/src/namespaces.rs` |
//! | a scratch folder in memory, of bounded size | what it writes ends with it | `tools/src/namespaces.rs` |
//! | no capabilities, `no_new_privs` | no rights are gained | `entering.rs` |
//! | seccomp | no socket, no namespaces of its own, no mounts, no look into other processes, and other calls that servers don't need | `calls.rs` |
//! | rlimits | memory of each process, its files, processes and threads | `entering.rs` |
//! | a look at all its processes | their memory and number together, five times a second | `watch.rs` |
//!
//! It is a list of what is refused, not of what is allowed as for the policy's own programs: servers
//! start threads and other programs. Left out: time of the processor; machines without namespaces,
//! where nothing is started.

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod entering;
#[cfg(target_os = "linux")]
mod watch;

use crate::{ProgramConfig, Resources};
use paretopo_containment::Launch;
use paretopo_settings::{whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// Where its scratch folder is.
const SCRATCH: &str = "/scratch";

/// Walls around a program (Linux). It sees the system's programs and libraries, its own file, and
/// what is named here; it writes to a scratch folder in memory, where it runs; it has no network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnclosureConfig {
    /// Further files and folders that it may read.
    pub readable: Vec<PathBuf>,
    /// Folders that it may write to, too. What it leaves there is not bounded.
    pub writable: Vec<PathBuf>,
    /// Bytes of memory: of each process, and of all of them together.
    #[serde(deserialize_with = "within::<1_048_576, 1_099_511_627_776, _, _>")]
    #[schemars(schema_with = "whole::<1_048_576, 1_099_511_627_776>")]
    pub memory: usize,
    /// Bytes of its scratch folder, which is in memory, and of each file that it writes.
    #[serde(deserialize_with = "within::<0, 1_099_511_627_776, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_099_511_627_776>")]
    pub files: usize,
    /// Processes and threads.
    #[serde(deserialize_with = "within::<1, 10_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 10_000>")]
    pub processes: usize,
}

impl Default for EnclosureConfig {
    fn default() -> Self {
        Self {
            readable: Vec::new(),
            writable: Vec::new(),
            memory: 1 << 30,
            files: 64 << 20,
            processes: 128,
        }
    }
}

/// What `paretopo enclosed-program` is told.
#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    program: PathBuf,
    arguments: Vec<String>,
    /// Where it runs; in its scratch folder without.
    folder: Option<PathBuf>,
    /// Any folder of this machine, where the root behind the walls is built.
    temporary: PathBuf,
    walls: EnclosureConfig,
}

impl EnclosureConfig {
    /// # Errors
    /// When these walls would be none, or there can be none.
    pub fn check(&self) -> Result<(), String> {
        if !cfg!(target_os = "linux") {
            return Err("`walls` need Linux\nhint: without them it runs as you do".into());
        }
        for (key, places) in [("readable", &self.readable), ("writable", &self.writable)] {
            for place in places {
                let whole = std::path::absolute(place).map_err(|error| error.to_string())?;
                if whole.parent().is_none() {
                    return Err(format!("`walls.{key}`: the whole file system leaves no wall"));
                }
            }
        }
        Ok(())
    }

    /// How a program is started behind these walls.
    ///
    /// # Errors
    /// When something that is named is not there.
    pub fn launch(&self, program: &ProgramConfig, resources: &Resources) -> Result<Launch, String> {
        let Some(own) = resources.python_worker.first() else {
            return Err("`walls`: this program has no file to put them up with".into());
        };
        let bare = program.launch();
        let absolute = |key: &str, places: &[PathBuf]| {
            let one = |place: &PathBuf| match std::path::absolute(place) {
                Ok(place) if place.exists() => Ok(place),
                _ => Err(format!("`walls.{key}`: `{}` is not there", place.display())),
            };
            places.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let folder = bare.folder.map(std::path::absolute).transpose();
        let settings = Settings {
            program: bare.program,
            arguments: bare.arguments,
            folder: folder.map_err(|error| format!("`program.cwd`: {error}"))?,
            temporary: std::env::temp_dir(),
            walls: Self {
                readable: absolute("readable", &self.readable)?,
                writable: absolute("writable", &self.writable)?,
                ..self.clone()
            },
        };
        let settings = serde_json::to_string(&settings).map_err(|error| error.to_string())?;
        // what looks for a place of its own finds the one that it may write to
        let mut environment: Vec<(OsString, OsString)> =
            ["HOME", "TMPDIR"].map(|name| (name.into(), SCRATCH.into())).into();
        environment.extend(bare.environment);
        Ok(Launch {
            program: own.clone(),
            arguments: vec!["enclosed-program".into(), settings],
            environment,
            folder: None,
        })
    }
}

/// Starts a program behind walls and waits for its end: what `paretopo enclosed-program` does. Its
/// standard streams are this process's.
///
/// # Errors
/// Why it did not start, or was ended.
pub fn enclosed_program(settings: &str) -> Result<u8, String> {
    let settings: Settings = serde_json::from_str(settings).map_err(|error| error.to_string())?;
    #[cfg(target_os = "linux")]
    return entering::enter(&settings);
    #[cfg(not(target_os = "linux"))]
    Err(format!("walls around `{}` need Linux", settings.program.display()))
}
