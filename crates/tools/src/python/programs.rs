//! One program in CPython, as the trainer sees it: its text goes to a fork of the interpreter
//! through a sealed file in memory, what it prints comes through a pipe, its last words (an
//! exception, or the value of its last expression) through another. Both are bytes, read up to a
//! bound and never parsed; whether the program succeeded says its exit code, which it chooses
//! itself, for itself. How and when it ends says the interpreter, over a socket that no program
//! has; in a session, the session's warden, and the program's fork may go on to the next.

use super::{GRACE, PythonLimits, Ran, late, out_of_memory};
use paretopo_containment::{Conversation, WorkerFailure};
use paretopo_trajectory::CallStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The codes by which the interpreter's own part of a fork says how the program ended.
const ENDED_WITH_ERROR: i32 = 250;
const ENDED_AT_LIMIT: i32 = 251;
const ENDED_OUT_OF_MEMORY: i32 = 252;
/// How a program ends that is stopped.
const KILLED: i32 = -libc::SIGKILL;
/// How much is read at a time.
const PIECE: usize = 1 << 16;

#[derive(Serialize)]
struct Request {
    limits: Limits,
}

#[derive(Serialize)]
struct Limits {
    seconds: f64,
    memory: usize,
    recursion: usize,
    printed: usize,
    /// Bytes in all files, and in one.
    files: usize,
    file: usize,
}

#[derive(Serialize)]
struct Stop {}

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    /// Its exit code, or minus the number of the signal that ended it.
    code: i32,
    /// Whether it was ended because it had too much in files.
    full: bool,
    /// Why it was never begun, if it was not.
    trouble: String,
    /// Whether the worker takes the next program at once. If not, a session has ended; a worker
    /// says so later.
    ready: bool,
}

/// Bytes of the kernel's `siginfo_t`, as `waitid` fills it in.
const SIGINFO: usize = 128;

impl Ended {
    /// Reads `siginfo_t`, two bytes for whether it was full and whether the worker is ready, and the
    /// trouble. The kernel's own bytes, since the process that forks shall not know how a program
    /// ended: the next program would find it in its memory.
    fn read(body: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(i32::from_ne_bytes(body.get(at..at + 4)?.try_into().ok()?));
        // offsets of `si_code` and `si_status` in the union for SIGCHLD, on 64-bit Linux
        let (how, status) = (number(8)?, number(24)?);
        let [full, ready] = *body.get(SIGINFO..SIGINFO + 2)? else { return None };
        Some(Self {
            code: if how == libc::CLD_EXITED { status } else { -status },
            full: full != 0,
            trouble: String::from_utf8_lossy(&body[SIGINFO + 2..]).into_owned(),
            ready: ready != 0,
        })
    }
}

/// Why a program's run is not known, and its worker not to be used again.
#[derive(Debug)]
pub(super) enum Broken {
    /// The worker's fault, or of a program that has ended it.
    Worker(WorkerFailure),
    /// Anything else, in words.
    Other(String),
}

impl From<WorkerFailure> for Broken {
    fn from(failure: WorkerFailure) -> Self {
        Self::Worker(failure)
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<Errno> for Broken {
    fn from(error: Errno) -> Self {
        std::io::Error::from(error).into()
    }
}

/// What is to become of a worker after a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It takes the next program.
    Ready,
    /// It cleans up, and says when it is ready.
    Cleaning,
    /// It did not say in time that the program has ended, and is not to be used again.
    Lost,
}

/// Why a program was stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Late,
    Loud,
}

/// Something that a program writes to, and what it has written.
struct Written {
    pipe: OwnedFd,
    bytes: Vec<u8>,
    most: usize,
    open: bool,
}

impl Written {
    /// An empty one, and the end for the program.
    fn new(most: usize) -> rustix::io::Result<(Self, OwnedFd)> {
        let (pipe, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok((Self { pipe, bytes: Vec::new(), most, open: true }, theirs))
    }

    /// Reads what there is now, a piece of it; whether there was any.
    fn read(&mut self) -> bool {
        let mut piece = [0; PIECE];
        match read(&self.pipe, &mut piece) {
            Ok(0) => self.open = false,
            Ok(length) => {
                // one byte beyond the bound tells that there was more
                let room = (self.most + 1).saturating_sub(self.bytes.len());
                self.bytes.extend_from_slice(&piece[..length.min(room)]);
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.open = false,
        }
        false
    }

    fn is_loud(&self) -> bool {
        self.bytes.len() > self.most
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(self.most)]).into_owned()
    }
}

/// Runs a program by whoever the conversation is with, a worker or a session, and says what is to
/// become of it. After an error it is not to be used again.
pub(super) fn run(
    line: &mut Conversation,
    program: &str,
    limits: PythonLimits,
    file: usize,
) -> Result<(Ran, Afterwards), Broken> {
    let deadline = Instant::now() + limits.seconds.duration();
    let text = in_memory(program)?;
    let (mut output, into_output) = Written::new(limits.printed)?;
    // a character has four bytes at most
    let (mut words, into_words) = Written::new(limits.printed.saturating_mul(4))?;
    let request = Request {
        limits: Limits {
            seconds: limits.seconds.get(),
            memory: limits.memory,
            recursion: limits.recursion,
            printed: limits.printed,
            files: limits.files,
            file,
        },
    };
    let given = [text.as_fd(), into_output.as_fd(), into_words.as_fd()];
    let number = line.request(&request, &given, limits.seconds.duration() + GRACE)?;
    drop((text, into_output, into_words));
    let (mut stopped, told) = watch(line, number, &mut [&mut output, &mut words], deadline)?;
    if !told {
        let ran = outcome(KILLED, false, stopped, &output, &words, limits);
        return Ok((ran, Afterwards::Lost));
    }
    let ended = line.hear_bytes(number, GRACE)?;
    let ended = Ended::read(&ended).ok_or(WorkerFailure::Misbehaved)?;
    // what was still in the pipes
    while output.read() && !output.is_loud() {}
    while words.read() && !words.is_loud() {}
    if !ended.trouble.is_empty() {
        return Err(Broken::Other(ended.trouble));
    }
    if stopped.is_none() && (output.is_loud() || words.is_loud()) {
        stopped = Some(Stopped::Loud);
    }
    let afterwards = if ended.ready { Afterwards::Ready } else { Afterwards::Cleaning };
    Ok((outcome(ended.code, ended.full, stopped, &output, &words, limits), afterwards))
}

/// Reads what a program writes until its worker has something to say, and has the program stopped
/// if it is late or loud: why it was, and whether the worker has said anything since.
fn watch(
    line: &mut Conversation,
    number: u64,
    written: &mut [&mut Written],
    deadline: Instant,
) -> Result<(Option<Stopped>, bool), Broken> {
    let mut stopped = None;
    let mut until = deadline;
    loop {
        let heard = listen(line, written, until)?;
        let loud = written.iter().any(|one| one.is_loud());
        if heard == Heard::Worker {
            return Ok((stopped, true));
        }
        match stopped {
            // it was told, and the kernel takes its time
            Some(_) if heard == Heard::Nothing => return Ok((stopped, false)),
            None if loud || heard == Heard::Nothing => {
                stopped = Some(if loud { Stopped::Loud } else { Stopped::Late });
                line.tell(number, &Stop {}, &[], GRACE)?;
                until = Instant::now() + GRACE;
            }
            _ => {}
        }
    }
}

/// A text as a file in memory that nobody changes any more.
fn in_memory(text: &str) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"program", flags)?);
    file.write_all(text.as_bytes())?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// The worker has something to say, or has ended.
    Worker,
    Program,
    Nothing,
}

/// Waits for the worker or the program to say something, at most `until`.
fn listen(
    line: &Conversation,
    written: &mut [&mut Written],
    until: Instant,
) -> rustix::io::Result<Heard> {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
    let mut sources = vec![PollFd::new(line, PollFlags::IN)];
    let open: Vec<usize> = (0..written.len()).filter(|at| written[*at].open).collect();
    for at in &open {
        sources.push(PollFd::new(&written[*at].pipe, PollFlags::IN));
    }
    let heard = match poll(&mut sources, Some(&timeout)) {
        Err(Errno::INTR) => return Ok(Heard::Program),
        heard => heard?,
    };
    let said: Vec<bool> = sources.iter().map(|source| !source.revents().is_empty()).collect();
    drop(sources);
    for (at, said) in open.into_iter().zip(&said[1..]) {
        if *said {
            written[at].read();
        }
    }
    Ok(match (heard, said[0]) {
        (_, true) => Heard::Worker,
        // a program that never stops printing has a deadline, too
        (0, _) => Heard::Nothing,
        _ if Instant::now() >= until => Heard::Nothing,
        _ => Heard::Program,
    })
}

/// Status and text, of an exit code or minus a signal's number.
fn outcome(
    code: i32,
    full: bool,
    stopped: Option<Stopped>,
    output: &Written,
    words: &Written,
    limits: PythonLimits,
) -> Ran {
    let (status, last) = match (stopped, code) {
        (Some(Stopped::Late), _) => late(limits.seconds),
        (Some(Stopped::Loud), _) => {
            (CallStatus::Limit, format!("MemoryError: more than {} bytes printed", limits.printed))
        }
        _ if full => (
            CallStatus::Limit,
            format!("OSError: more than {} MiB in files, or too many", limits.files >> 20),
        ),
        (None, 0) => (CallStatus::Ok, words.text()),
        (None, ENDED_WITH_ERROR) => (CallStatus::Error, words.text()),
        (None, ENDED_AT_LIMIT) => (CallStatus::Limit, words.text()),
        (None, ENDED_OUT_OF_MEMORY) if words.bytes.is_empty() => {
            (CallStatus::Limit, out_of_memory(limits.memory))
        }
        (None, ENDED_OUT_OF_MEMORY) => (CallStatus::Limit, words.text()),
        (None, code) if code == -libc::SIGXCPU => late(limits.seconds),
        (None, code @ ..0) => {
            (CallStatus::Error, format!("ToolError: the program ended by signal {}", -code))
        }
        (None, code) => (CallStatus::Error, format!("SystemExit: {code}")),
    };
    let mut text = output.text();
    if status == CallStatus::Ok {
        return (status, if text.is_empty() { last } else { text });
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    (status, text + &last)
}

/// Whether a worker that was cleaning up has said by now that it takes programs again.
pub(super) fn is_ready(line: &mut Conversation) -> Result<bool, WorkerFailure> {
    #[derive(Deserialize)]
    struct Ready {
        ready: bool,
    }
    let mut sources = [PollFd::new(&*line, PollFlags::IN)];
    match poll(&mut sources, Some(&Timespec::default())) {
        Ok(0) | Err(Errno::INTR) => Ok(false),
        Err(_) => Err(WorkerFailure::Died),
        Ok(_) => line.hear::<Ready>(0, GRACE).map(|said| said.ready),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_program_ended_is_what_the_kernel_says() {
        let mut body = vec![0; SIGINFO];
        body[8] = 1; // CLD_EXITED
        body[24] = 250;
        body.extend([0, 1]);
        let ended = Ended { code: 250, full: false, trouble: String::new(), ready: true };
        assert_eq!(Ended::read(&body), Some(ended));
        body[8] = 2; // CLD_KILLED
        body[24] = 9;
        body.extend(b"no room");
        let ended = Ended { code: -9, full: false, trouble: "no room".into(), ready: true };
        assert_eq!(Ended::read(&body), Some(ended));
        assert_eq!(Ended::read(&body[..SIGINFO + 1]), None);
    }
}
