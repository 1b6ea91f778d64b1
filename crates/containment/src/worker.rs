//! A process that answers messages, and may turn against whoever started it. A worker that says
//! anything but the answer that waits is not asked again.

use crate::channel::{HEADER, header, parsed};
use crate::conversation::{Conversation, WorkerFailure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a worker looks whether its parent is still there.
const ORPHANED: Duration = Duration::from_millis(500);
/// How long a worker that ends by itself is waited for by whoever drops it.
const FAREWELL: Duration = Duration::from_millis(100);
/// After that long it is killed.
const OVERSTAYED: Duration = Duration::from_secs(10);

/// What happens to a worker that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Its process group is killed at once.
    Kill,
    /// Its socket is closed, whereupon it cleans up and ends; killed if it does not.
    HangUp,
}

/// The process; ended when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Option<Child>,
    conversation: Conversation,
    farewell: Farewell,
    ended: Option<ExitStatus>,
}

impl Worker {
    /// Starts it in a process group of its own, with an empty environment and a socket as its
    /// standard input, over which it also answers, with at most `most` bytes a message.
    ///
    /// # Errors
    /// When the command is empty or does not start.
    pub fn start(command: &[PathBuf], most: usize, farewell: Farewell) -> std::io::Result<Self> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| std::io::Error::other("no worker command given"))?;
        let (conversation, theirs) = Conversation::pair(most)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().process_group(0);
        let child = command
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child: Some(child), conversation, farewell, ended: None })
    }

    /// What is said with it.
    pub fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// What it says next ([`Conversation::hear`]).
    ///
    /// # Errors
    /// When it says nothing within `patience`, has ended, or says something else.
    pub fn hear<A: DeserializeOwned>(
        &mut self,
        number: u64,
        patience: Duration,
    ) -> Result<A, WorkerFailure> {
        self.conversation.hear(number, patience)
    }

    /// Its answer to a request ([`Conversation::ask`]).
    ///
    /// # Errors
    /// When no answer comes within `patience`, it has ended, or its answer is not an `A`.
    pub fn ask<A: DeserializeOwned>(
        &mut self,
        request: &impl Serialize,
        patience: Duration,
    ) -> Result<A, WorkerFailure> {
        self.conversation.ask(request, patience)
    }

    /// Ends it; the exit code, unless a signal ended it. A worker that has ended by itself keeps
    /// its code. One that cleans up first is given little time to end, and has no code after that.
    pub fn exit_code(&mut self) -> Option<i32> {
        if self.farewell == Farewell::Kill {
            return self.kill().and_then(|status| status.code());
        }
        self.conversation.hang_up();
        let child = self.child.as_mut()?;
        ends_within(child, FAREWELL).then(|| child.wait().ok()?.code()).flatten()
    }

    /// Kills its whole process group, since it may have forked, and waits for it. Once only:
    /// afterwards its number may be another's.
    fn kill(&mut self) -> Option<ExitStatus> {
        if let Some(mut child) = self.child.take() {
            kill_process_group(child.id());
            self.ended = child.wait().ok();
        }
        self.ended
    }
}

/// Kills the process group that a process began, which must not have been waited for: until then
/// its number is nobody else's.
pub fn kill_process_group(leader: u32) {
    // SAFETY: kill takes two numbers and touches no memory
    #[expect(unsafe_code, reason = "the standard library kills a process, not a group")]
    unsafe {
        libc::kill(-(leader as libc::pid_t), libc::SIGKILL);
    }
}

/// Whether it has ended within `patience`; it is waited for then.
fn ends_within(child: &mut Child, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while !matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.farewell == Farewell::Kill {
            self.kill();
            return;
        }
        self.conversation.hang_up();
        let Some(mut child) = self.child.take() else { return };
        if !ends_within(&mut child, FAREWELL) {
            // cleaning up may take it long, and nobody waits for that
            std::thread::spawn(move || {
                if !ends_within(&mut child, OVERSTAYED) {
                    kill_process_group(child.id());
                    let _ = child.wait();
                }
            });
        }
    }
}

/// Workers that wait for a request, so that each request in flight has one of its own.
#[derive(Debug, Default)]
pub struct IdleWorkers(Mutex<Vec<Worker>>);

impl IdleWorkers {
    /// One of them, if any waits.
    pub fn take(&self) -> Option<Worker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Lets a worker wait that has answered all it was asked.
    pub fn keep(&self, worker: Worker) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }
}

/// Lets this process end soon after its parent has, whatever it is doing then. `parent` is the id
/// that the parent gave itself; if another process is the parent already, it ends now.
pub fn end_with_parent(parent: u32) {
    std::thread::spawn(move || {
        while parent_id() == parent {
            std::thread::sleep(ORPHANED);
        }
        std::process::exit(1);
    });
}

/// Says something unasked over the socket that [`Worker::start`] gave this process as its standard
/// input.
///
/// # Errors
/// When standard input is no open socket.
pub fn say(message: &impl Serialize) -> std::io::Result<()> {
    say_numbered(&mut parent(), 0, message)
}

fn say_numbered(parent: &mut File, number: u64, message: &impl Serialize) -> std::io::Result<()> {
    let body = serde_json::to_vec(message)?;
    parent.write_all(&header(number, body.len())?)?;
    parent.write_all(&body)
}

/// The socket to the parent, never closed by who uses it.
fn parent() -> std::mem::ManuallyDrop<File> {
    // SAFETY: descriptor 0 is this process's standard input, and stays open
    #[expect(unsafe_code, reason = "standard input cannot be written to otherwise")]
    std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(0) })
}

/// A worker's main loop: a request and its answer, in JSON, until the socket is closed. If the
/// parent ends first, so does this process, whatever it is doing.
///
/// ```no_run
/// // the `main` of a worker that squares numbers
/// fn main() -> std::io::Result<()> {
///     paretopo_containment::serve(|number: u64| number * number)
/// }
/// ```
///
/// # Errors
/// When the socket breaks, or a request is not an `R`; the worker should then end.
pub fn serve<R: DeserializeOwned, A: Serialize>(
    mut answer: impl FnMut(R) -> A,
) -> std::io::Result<()> {
    end_with_parent(parent_id());
    let mut parent = parent();
    let mut header = [0; HEADER];
    loop {
        match parent.read_exact(&mut header) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let (number, length) = parsed(header);
        // the parent is trusted, so what it announces is read
        let mut body = vec![0; length];
        parent.read_exact(&mut body)?;
        say_numbered(&mut parent, number, &answer(serde_json::from_slice(&body)?))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Its standard input is the socket, so `>&0` is how a shell answers.
    fn worker(script: &str) -> Worker {
        let command = ["sh", "-c", script].map(PathBuf::from);
        Worker::start(&command, 1 << 16, Farewell::Kill).unwrap()
    }

    #[test]
    fn a_message_is_answered_by_a_message() {
        let mut echo = worker("cat >&0");
        for number in [1, 2] {
            assert_eq!(echo.ask::<u32>(&number, LONG), Ok(number));
        }
    }

    /// The shell forks and waits; killing it alone would leave `sleep`. It says `{"pid":...}` with
    /// number 0: eight zeros, the length, the body.
    #[test]
    fn a_dropped_worker_takes_its_children_along() {
        let script = r#"sleep 60 & body=$(printf '%010d' $!)
            printf '\0\0\0\0\0\0\0\0\014\0\0\0"%s"' $body >&0; wait"#;
        let mut family = worker(script);
        let child: String = family.hear(0, LONG).unwrap();
        let child = format!("/proc/{}/stat", child.trim_start_matches('0'));
        let runs = || {
            std::fs::read_to_string(&child)
                .is_ok_and(|text| !text.rsplit(')').next().unwrap().starts_with(" Z"))
        };
        assert!(cfg!(not(target_os = "linux")) || runs());
        drop(family);
        let started = Instant::now();
        while runs() {
            assert!(started.elapsed() < LONG, "a child outlived its worker");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn silence_and_an_end_are_failures() {
        let mut silent = worker("sleep 30");
        assert_eq!(silent.ask::<u32>(&1, Duration::from_millis(20)), Err(WorkerFailure::Late));
        let mut ended = worker("exit 1");
        assert_eq!(ended.hear::<u32>(0, LONG), Err(WorkerFailure::Died));
        assert_eq!(ended.exit_code(), Some(1));
    }

    /// Lines as of old, an answer to another request, a body that is no number, an endless one.
    #[test]
    fn whatever_breaks_the_protocol_is_no_answer() {
        for script in [
            r#"printf '{"status":"ok"}\n' >&0; sleep 60"#,
            r"head -c 13 >/dev/null; printf '\1\0\0\0\0\0\0\0\1\0\0\0\61' >&0; sleep 60",
            r"head -c 8 >&0; printf '\1\0\0\0x' >&0; sleep 60",
            "tr '\\0' x >&0 </dev/zero",
        ] {
            let mut hostile = worker(script);
            assert_eq!(hostile.ask::<u32>(&1, LONG), Err(WorkerFailure::Misbehaved), "{script}");
            assert_eq!(hostile.exit_code(), None);
        }
    }

    /// An answer that comes too early or twice belongs to no request: the numbers differ.
    #[test]
    fn an_answer_given_twice_does_not_count_for_the_next_request() {
        let script = r"m=$(mktemp); head -c 13 >$m; cat $m $m >&0; rm $m; sleep 60";
        let mut twice = worker(script);
        assert_eq!(twice.ask::<u32>(&7, LONG), Ok(7));
        assert_eq!(twice.ask::<u32>(&7, LONG), Err(WorkerFailure::Misbehaved));
    }

    #[test]
    fn a_worker_that_is_hung_up_on_ends_by_itself() {
        let folder = std::env::temp_dir().join(format!("paretopo-farewell-{}", std::process::id()));
        let script = format!("cat >/dev/null; touch {}", folder.display());
        let command = ["sh", "-c", &script].map(PathBuf::from);
        drop(Worker::start(&command, 100, Farewell::HangUp).unwrap());
        let started = Instant::now();
        while !folder.exists() {
            assert!(started.elapsed() < LONG, "it was killed before it could clean up");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(&folder).unwrap();
    }
}
