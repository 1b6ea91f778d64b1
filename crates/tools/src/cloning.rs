//! A process that becomes another program in a place of its own, and says so where that fails.

use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};
use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Write};

/// Clones this process, which has one thread, with these flags. The copy is told the ids of the user
/// and the group that it had before, and becomes another program by `become_it`; it is that program
/// when this returns. `refused` has the words for a machine that clones no process so.
///
/// # Errors
/// What the machine refuses, or what `become_it` did not come to.
pub(crate) fn start(
    flags: i32,
    refused: impl FnOnce(std::io::Error) -> String,
    become_it: impl FnOnce((u32, u32)) -> Result<Infallible, String>,
) -> Result<Pid, String> {
    let (trouble, into_trouble) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string())?;
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: as `fork`, of a process with one thread; the child goes on with a copy of this stack
    #[expect(unsafe_code, reason = "a fork into namespaces has no safe interface")]
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) };
    match pid {
        -1 => Err(refused(std::io::Error::last_os_error())),
        0 => {
            let reason = match become_it(ids) {
                Ok(never) => match never {},
                Err(reason) => reason,
            };
            // whoever reads knows by the text that it did not start
            let _ = File::from(into_trouble).write_all(reason.as_bytes());
            std::process::exit(1);
        }
        pid => {
            drop(into_trouble);
            let mut reason = String::new();
            File::from(trouble).read_to_string(&mut reason).map_err(|error| error.to_string())?;
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no process id")?;
            if reason.is_empty() {
                return Ok(pid);
            }
            // it has ended with that reason
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
            Err(reason)
        }
    }
}
