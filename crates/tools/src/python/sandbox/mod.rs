//! The walls around CPython. `paretopo python-sandbox` starts the interpreter behind them and stays
//! outside as its keeper (`keeper.rs`):
//!
//! | layer | holds | where |
//! |---|---|---|
//! | empty environment, a socket as the only descriptor | nothing is inherited, nothing can be opened through `/proc` a second time | always |
//! | `no_new_privs`, no capabilities, not dumpable | no rights are gained, or kept by root | always |
//! | namespaces (`tools/src/namespaces.rs`) of users, mounts, network, IPC for the interpreter; of processes and mounts for each program | nothing of the host's processes and files is seen; a scratch folder in memory, of bounded size, ends with its program | where the machine grants them |
//! | Landlock (`files.rs`), one layer for the interpreter and one for each program | files: the interpreter's are readable, the scratch folder is writable, all others do not open; no TCP; no signals outside | where the kernel has it |
//! | the keeper | a scratch folder on the disk: bytes, entries and depth while a program runs, removal afterwards | without namespaces |
//! | seccomp (`seccomp.rs`), in each fork that runs a program | system calls: a list of what an interpreter needs | always |
//! | rlimits, in each fork | address space, CPU time, file size, open files, processes | always |
//! | the warden (`session.py`), one for each session | the program's fork stands still between calls, and ends with the trajectory | `python.session` |
//! | `programs.rs`, in the trainer | wall-clock time, output; what a program can write to is never parsed | always |

mod files;
mod folder_watch;
mod keeper;
mod scratch;
mod seccomp;

use super::{CpythonConfig, MissingLayers, Walls};
use crate::cloning;
use crate::namespaces::{self, Furniture};
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{DumpableBehavior, Pid, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use scratch::ScratchRoot;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that forks others.
const ZYGOTE: &str =
    concat!(include_str!("fork.py"), include_str!("session.py"), include_str!("zygote.py"));

/// Where a program's scratch folder is mounted. Landlock's rule is on the folder above, since the
/// mounted one is another for each program.
const SCRATCH: &str = "/scratch/program";

/// Files and folders that a program may have at a time.
const ENTRIES: usize = 10_000;

/// What the launcher is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LauncherSettings {
    pub(super) interpreter: PathBuf,
    /// Folders that hold the interpreter and its packages.
    pub(super) readable: Vec<PathBuf>,
    /// Where scratch folders on the disk are made.
    pub(super) temporary: PathBuf,
    /// Bytes that a program may have in files.
    pub(super) files: usize,
    /// Whether its forks are sessions, not single programs.
    pub(super) sessions: bool,
    pub(super) config: CpythonConfig,
}

/// What the interpreter is told.
#[derive(Serialize)]
struct ZygoteSettings<'a> {
    preload: &'a [String],
    namespaces: bool,
    scratch: &'a Path,
    entries: usize,
    layers: Vec<String>,
    filters: Vec<String>,
    /// Descriptors; 0 where there is none.
    statm: RawFd,
    ruleset: RawFd,
    keeper: RawFd,
    /// Numbers of system calls that the interpreter's library has no names for.
    restrict_self: i64,
    capset: i64,
}

/// Starts the interpreter behind the walls and keeps it until it or the trainer ends.
///
/// # Errors
/// Why it did not start.
pub(super) fn enter(settings: &str) -> Result<(), String> {
    let settings: LauncherSettings =
        serde_json::from_str(settings).map_err(|error| error.to_string())?;
    rustix::thread::set_no_new_privs(true).map_err(|error| format!("`no_new_privs`: {error}"))?;
    // whatever was inherited by mistake
    // SAFETY: nothing of this process has a descriptor beyond the standard ones yet
    #[expect(unsafe_code, reason = "closing what others may hold has no safe interface")]
    unsafe {
        libc::close_range(3, u32::MAX, 0);
    }
    let in_namespaces = match settings.config.walls {
        Walls::Landlock => Err("they were not asked for".to_owned()),
        Walls::Strongest | Walls::Namespaces => launch(&settings, Place::Namespaces),
    };
    let (interpreter, keeping) = match in_namespaces {
        Ok(interpreter) => (interpreter, None),
        Err(reason) if settings.config.walls == Walls::Namespaces => {
            return Err(format!(
                "{reason}\nhint: `python.cpython.walls = \"strongest\"` does with what there is; `paretopo doctor` says what that is"
            ));
        }
        Err(_) => {
            let root = ScratchRoot::create(&settings.temporary)?;
            let (ours, theirs) =
                socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                    .map_err(|error| error.to_string())?;
            let place = Place::Folder { root: root.path(), keeper: &theirs };
            (launch(&settings, place)?, Some((root, ours)))
        }
    };
    renounce()?;
    keeper::keep(interpreter, keeping, &settings);
    Ok(())
}

/// Where the interpreter and its programs live.
#[derive(Clone, Copy)]
enum Place<'a> {
    Namespaces,
    Folder { root: &'a Path, keeper: &'a OwnedFd },
}

/// Starts the interpreter; an error is what its place lacks.
fn launch(settings: &LauncherSettings, place: Place<'_>) -> Result<Pid, String> {
    let flags = match place {
        Place::Namespaces => namespaces::ALL,
        Place::Folder { .. } => 0,
    };
    let refused = |error| format!("this machine refuses namespaces: {error}");
    cloning::start(flags, refused, |ids| become_interpreter(settings, place, ids))
}

/// Furnishes the interpreter's namespaces, and leaves it the one capability that each program's own
/// namespaces need, which a program drops before it begins.
fn furnish(readable: &[PathBuf], temporary: &Path, ids: (u32, u32)) -> Result<(), String> {
    let system = files::SYSTEM.map(PathBuf::from);
    let readable = [readable, &system].concat();
    let furniture =
        Furniture { readable: &readable, writable: &[], scratch: SCRATCH, room: None, temporary };
    namespaces::furnish(&furniture, ids)?;
    namespaces::keep_capabilities(CapabilitySet::SYS_ADMIN)
}

/// Puts the walls up around this process and becomes the interpreter.
fn become_interpreter(
    settings: &LauncherSettings,
    place: Place<'_>,
    ids: (u32, u32),
) -> Result<std::convert::Infallible, String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| error.to_string())?;
    // before `/proc` is out of reach; the number stays this process's when it is the interpreter
    let statm = File::open("/proc/self/statm").ok();
    let LauncherSettings { interpreter, readable, temporary, config, .. } = settings;
    let (scratch, writable, keeper) = match place {
        Place::Namespaces => {
            furnish(readable, temporary, ids)?;
            let scratch = Path::new(SCRATCH);
            (scratch, scratch.parent().unwrap_or(scratch).to_owned(), None)
        }
        Place::Folder { root, keeper } => {
            renounce()?;
            (root, root.join(scratch::PROGRAMS), Some(keeper))
        }
    };
    let in_namespaces = keeper.is_none();
    let mut layers = Vec::new();
    let mut missing = Vec::new();
    if in_namespaces {
        layers.push("namespaces".to_owned());
    }
    let ruleset = files::prepared(readable, &writable).and_then(|ruleset| {
        // with Landlock around it the interpreter could not mount a program's scratch folder
        if !in_namespaces {
            files::restrict(readable, scratch)?;
        }
        Ok(ruleset)
    });
    let ruleset = match ruleset {
        Ok(ruleset) => {
            layers.push("landlock".to_owned());
            Some(ruleset)
        }
        Err(reason) => {
            // inside namespaces there is nothing to open
            if !in_namespaces {
                missing.push(format!("landlock ({reason})"));
            }
            None
        }
    };
    let filters = seccomp::filters(settings.sessions).and_then(|filters| {
        if seccomp::is_there() { Ok(filters) } else { Err("not in this kernel".into()) }
    });
    let filters = match filters {
        Ok(filters) => {
            layers.push("seccomp".to_owned());
            filters.iter().map(seccomp::hex).collect()
        }
        Err(reason) => {
            missing.push(format!("seccomp ({reason})"));
            Vec::new()
        }
    };
    if !missing.is_empty() && config.missing_layers == MissingLayers::Refuse {
        return Err(format!(
            "this machine lacks {}\nhint: `python.cpython.missing_layers = \"go_on\"` runs programs without",
            missing.join(", ")
        ));
    }
    let told = ZygoteSettings {
        preload: &config.preload,
        namespaces: in_namespaces,
        scratch,
        entries: ENTRIES,
        layers,
        filters,
        statm: inherited(statm.as_ref())?,
        ruleset: inherited(ruleset.as_ref())?,
        keeper: inherited(keeper)?,
        restrict_self: libc::SYS_landlock_restrict_self,
        capset: libc::SYS_capset,
    };
    let told = serde_json::to_string(&told).map_err(|error| error.to_string())?;
    let mut command = Command::new(interpreter);
    // not `-I`, which would leave the order of sets to chance: equal programs shall print equal
    // texts; what else it keeps away is not there
    command.args(["-s", "-B", "-u", "-c", ZYGOTE, &told]).env_clear().current_dir("/");
    // packages for linear algebra start a thread for each core unless told otherwise
    command.envs([
        ("LANG", "C.UTF-8"),
        ("PYTHONHASHSEED", "0"),
        ("OPENBLAS_NUM_THREADS", "1"),
        ("OMP_NUM_THREADS", "1"),
        ("MKL_NUM_THREADS", "1"),
    ]);
    Err(format!("{}: {}", interpreter.display(), command.exec()))
}

/// A copy of a descriptor that outlives `exec`, with a number beyond those that a program has; 0 for
/// none.
fn inherited(descriptor: Option<&impl AsFd>) -> Result<RawFd, String> {
    let Some(descriptor) = descriptor else { return Ok(0) };
    let copy =
        rustix::io::fcntl_dupfd_cloexec(descriptor, 10).map_err(|error| error.to_string())?;
    rustix::io::fcntl_setfd(&copy, FdFlags::empty()).map_err(|error| error.to_string())?;
    Ok(copy.into_raw_fd())
}

/// Gives up every capability, and lets no other process look into this one.
fn renounce() -> Result<(), String> {
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, none)
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| format!("giving up rights: {error}"))
}
