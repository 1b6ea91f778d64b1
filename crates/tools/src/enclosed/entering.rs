//! From outside of the walls to a program behind them.

use super::{SCRATCH, Settings, calls, watch};
use crate::cloning;
use crate::namespaces::{self, Furniture};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::CapabilitySet;
use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What programs need of a system: themselves, their libraries, and how those are found.
const SYSTEM: [&str; 9] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
];
/// Descriptors that a process may have.
const DESCRIPTORS: u64 = 1024;

/// Starts the program, and waits for its end.
///
/// # Errors
/// Why it did not start, or was ended.
pub(super) fn enter(settings: &Settings) -> Result<u8, String> {
    rustix::thread::set_no_new_privs(true).map_err(|error| format!("`no_new_privs`: {error}"))?;
    // before anything is cloned: what counts processes must be there
    watch::require()?;
    let refused = |error| {
        format!(
            "this machine refuses namespaces: {error} (hint: without `walls` it runs as you do)"
        )
    };
    let started = cloning::start(namespaces::ALL, refused, |ids| become_program(settings, ids))?;
    // this process holds the same standard streams, so that they end with it, behind what it has to
    // say about the end
    watch::until_its_end(started, &settings.walls)
}

/// Puts the walls up around this process and becomes the program.
fn become_program(settings: &Settings, ids: (u32, u32)) -> Result<Infallible, String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| error.to_string())?;
    let Settings { program, arguments, folder, temporary, walls } = settings;
    let mut readable: Vec<PathBuf> = SYSTEM.map(PathBuf::from).into();
    readable.extend(walls.readable.iter().cloned());
    readable.push(program.clone());
    // a name may lead to a file elsewhere
    readable.extend(std::fs::canonicalize(program));
    let furniture = Furniture {
        readable: &readable,
        writable: &walls.writable,
        scratch: SCRATCH,
        room: Some(walls.files),
        temporary,
    };
    namespaces::furnish(&furniture, ids)?;
    let place = folder.as_deref().unwrap_or(Path::new(SCRATCH));
    std::env::set_current_dir(place).map_err(|error| {
        format!(
            "`{}`: {error} (hint: it runs where `walls.readable` or `walls.writable` reach)",
            place.display()
        )
    })?;
    limit(settings)?;
    namespaces::keep_capabilities(CapabilitySet::empty())?;
    // nothing that was inherited by mistake
    // SAFETY: it takes numbers, and what it marks is closed when the program is executed
    #[expect(unsafe_code, reason = "marking what others may hold has no safe interface")]
    unsafe {
        libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32);
    }
    calls::refuse()?;
    let error = Command::new(program).args(arguments).exec();
    Err(format!(
        "cannot start `{}`: {error} (hint: `walls.readable` is to name the folders that it, or the \
         interpreter of its first line, consists of)",
        program.display()
    ))
}

/// Memory is limited where it can be written, not the addresses: interpreters with a compiler reserve
/// more of these than there is memory.
fn limit(settings: &Settings) -> Result<(), String> {
    let walls = &settings.walls;
    for (resource, most) in [
        (Resource::Data, walls.memory as u64),
        (Resource::Fsize, walls.files as u64),
        (Resource::Nproc, walls.processes as u64),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Core, 0),
    ] {
        let limits = Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(resource, limits)
            .map_err(|error| format!("a limit of {resource:?}: {error}"))?;
    }
    Ok(())
}
