//! Other people's programs that answer a line by a line, over the pipes of their standard streams.
//!
//! Such a program is not expected to be hostile, but it may hang, die, or flood. A line has a
//! bound, each exchange a deadline, and whoever drops the program kills its process group. It gets
//! the environment that is named and no descriptor but the three of its standard streams. Where the
//! system can (Linux), it is killed when the thread that started it ends, so that nothing is left
//! behind by a parent that is killed itself.

use crate::conversation::WorkerFailure;
use crate::worker::kill_process_group;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a wait lasts before it is looked whether anyone still wants the answer.
const LOOK: Duration = Duration::from_millis(100);
/// How long a program whose output has ended is given to end itself.
const FAREWELL: Duration = Duration::from_millis(200);
/// Bytes of its standard error that are kept.
const COMPLAINTS: usize = 4096;
/// Characters of its last words that are told.
const TOLD: usize = 300;

/// A program to start, and all that it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Its file; not looked for in any `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it runs; `None` for where this process does.
    pub folder: Option<PathBuf>,
}

impl Launch {
    /// The command with its arguments, environment and folder, in a process group of its own, that
    /// inherits no descriptor but its standard streams and ends with the thread that starts it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().process_group(0);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        #[cfg(target_os = "linux")]
        // SAFETY: between fork and exec, two system calls on numbers are async-signal-safe
        #[expect(unsafe_code, reason = "the standard library closes no descriptor of others")]
        unsafe {
            command.pre_exec(part_from_the_parent);
        }
        command
    }
}

/// Has all descriptors but the standard ones closed by `exec`, and this process killed when the
/// parent's thread ends.
#[cfg(target_os = "linux")]
fn part_from_the_parent() -> std::io::Result<()> {
    let number = |flag: i32| flag as libc::c_ulong;
    // SAFETY: both take numbers and touch no memory
    #[expect(unsafe_code, reason = "neither has a safe interface that may be used after a fork")]
    let done = unsafe {
        libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) == 0
            && libc::prctl(libc::PR_SET_PDEATHSIG, number(libc::SIGKILL)) == 0
    };
    if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// A program that answers lines; killed with its process group when dropped.
#[derive(Debug)]
pub struct LineProcess {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    complaints: Option<ChildStderr>,
    /// What was read and not yet given out.
    read: Vec<u8>,
    /// Up to where in `read` no line ends.
    scanned: usize,
    /// The end of what it wrote to its standard error.
    complained: Vec<u8>,
    /// Bytes of a line.
    most: usize,
}

impl LineProcess {
    /// Starts it. Its lines may have at most `most` bytes.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(launch: &Launch, most: usize) -> std::io::Result<Self> {
        let mut command = launch.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(complaints)) = streams else {
            return Err(std::io::Error::other("its standard streams are no pipes"));
        };
        rustix::io::ioctl_fionbio(&input, true)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        rustix::io::ioctl_fionbio(&complaints, true)?;
        let (read, complained) = (Vec::new(), Vec::new());
        let complaints = Some(complaints);
        Ok(Self { child, input, output, complaints, read, scanned: 0, complained, most })
    }

    /// Sends a line, which must have no end of a line in it, and returns the next line that the
    /// program writes. Ask nothing more after an error: the answer may still come.
    ///
    /// # Errors
    /// When no line comes by the deadline or before `given_up` is set, it has ended, or its line is
    /// too long.
    pub fn exchange(
        &mut self,
        line: &[u8],
        deadline: Instant,
        given_up: &AtomicBool,
    ) -> Result<Vec<u8>, WorkerFailure> {
        let message = [line, b"\n"].concat();
        let mut rest = &message[..];
        loop {
            if rest.is_empty()
                && let Some(line) = self.take_line()
            {
                return Ok(line);
            }
            if self.read.len() > self.most {
                return Err(WorkerFailure::Misbehaved);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || given_up.load(Ordering::Relaxed) {
                return Err(WorkerFailure::Late);
            }
            self.wait(!rest.is_empty(), left.min(LOOK))?;
            self.hear_complaints();
            let heard = self.hear();
            // one that answers and ends has answered
            if heard.is_err() {
                let last = self.take_line().filter(|_| rest.is_empty());
                return last.ok_or(WorkerFailure::Died);
            }
            if !rest.is_empty() {
                let written = match self.input.write(rest) {
                    Err(error) if is_for_later(&error) => 0,
                    written => written.map_err(|_| WorkerFailure::Died)?,
                };
                rest = &rest[written..];
            }
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.status().is_some()
    }

    /// How it ended. It is not waited for yet, so that until it is dropped its number, which is that
    /// of its group, is nobody else's.
    fn status(&self) -> Option<String> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let pid = Pid::from_child(&self.child);
        let status = waitid(WaitId::Pid(pid), options).ok().flatten()?;
        Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("with code {code}"),
            (None, Some(signal)) => format!("by signal {signal}"),
            (None, None) => "in an unknown way".into(),
        })
    }

    /// How it ended, in words, with the last line of its standard error; `None` while it runs.
    pub fn ending(&mut self) -> Option<String> {
        let until = Instant::now() + FAREWELL;
        while !self.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.hear_complaints();
        let status = self.status()?;
        let last = self.last_complaint().map_or_else(String::new, |last| format!(": {last}"));
        Some(format!("it ended {status}{last}"))
    }

    /// The last line that it wrote to its standard error.
    pub fn last_complaint(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.complained);
        let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(last.chars().take(TOLD).collect())
    }

    /// The first whole line of what was read.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.read[self.scanned..].iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.read.len();
            return None;
        };
        let mut line: Vec<u8> = self.read.drain(..=self.scanned + end).collect();
        self.scanned = 0;
        line.pop();
        Some(line)
    }

    /// Waits until one of its streams is ready.
    fn wait(&self, is_writing: bool, patience: Duration) -> Result<(), WorkerFailure> {
        let mut streams = vec![PollFd::new(&self.output, PollFlags::IN)];
        if is_writing {
            streams.push(PollFd::new(&self.input, PollFlags::OUT));
        }
        if let Some(complaints) = &self.complaints {
            streams.push(PollFd::new(complaints, PollFlags::IN));
        }
        let patience = Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        match poll(&mut streams, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(_) => Err(WorkerFailure::Died),
        }
    }

    /// Reads what is there of its standard output, up to a piece beyond the bound.
    fn hear(&mut self) -> Result<(), WorkerFailure> {
        let mut piece = [0; 64 * 1024];
        while self.read.len() <= self.most {
            match self.output.read(&mut piece) {
                Ok(0) => return Err(WorkerFailure::Died),
                Ok(count) => self.read.extend_from_slice(&piece[..count]),
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(_) => return Err(WorkerFailure::Died),
            }
        }
        Ok(())
    }

    /// Reads what is there of its standard error, but no more than a pipe holds, and keeps the end.
    fn hear_complaints(&mut self) {
        let mut piece = [0; 16 * 1024];
        for _ in 0..4 {
            let Some(complaints) = &mut self.complaints else { return };
            match complaints.read(&mut piece) {
                Ok(0) => self.complaints = None,
                Ok(count) => {
                    self.complained.extend_from_slice(&piece[..count]);
                    let surplus = self.complained.len().saturating_sub(COMPLAINTS);
                    self.complained.drain(..surplus);
                }
                Err(error) if is_for_later(&error) => return,
                Err(_) => self.complaints = None,
            }
        }
    }
}

fn is_for_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Drop for LineProcess {
    fn drop(&mut self) {
        kill_process_group(self.child.id());
        // it was killed, so that this takes no time
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    const LONG: Duration = Duration::from_secs(20);
    static NEVER: AtomicBool = AtomicBool::new(false);

    fn launch(script: &str) -> Launch {
        Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_default())],
            folder: None,
        }
    }

    fn process(script: &str) -> LineProcess {
        LineProcess::start(&launch(script), 1 << 16).unwrap()
    }

    fn asked(process: &mut LineProcess, line: &str) -> Result<String, WorkerFailure> {
        let answer = process.exchange(line.as_bytes(), Instant::now() + LONG, &NEVER)?;
        Ok(String::from_utf8(answer).unwrap())
    }

    #[test]
    fn a_line_is_answered_by_a_line_however_long() {
        let mut echo = process("cat");
        // more than a pipe holds, in both directions
        for length in [0, 5, 65_000] {
            let line = "x".repeat(length);
            assert_eq!(asked(&mut echo, &line), Ok(line));
        }
        assert!(!echo.has_ended());
        // two lines at once are two answers
        let mut twice = process("while read -r line; do printf '%s\\n%s!\\n' $line $line; done");
        assert_eq!(asked(&mut twice, "a"), Ok("a".into()));
        assert_eq!(asked(&mut twice, "b"), Ok("a!".into()));
    }

    #[test]
    fn what_hangs_dies_or_floods_is_told_apart() {
        let soon = || Instant::now() + Duration::from_millis(300);
        let mut silent = process("sleep 60");
        assert_eq!(silent.exchange(b"x", soon(), &NEVER), Err(WorkerFailure::Late));
        // a line that nobody reads, of more than a pipe holds
        let line = vec![b'x'; 1 << 20];
        assert_eq!(silent.exchange(&line, soon(), &NEVER), Err(WorkerFailure::Late));
        let mut dead = process("read -r line; echo one; echo 'two: 2' >&2; exit 3");
        assert_eq!(asked(&mut dead, "x"), Ok("one".into()));
        assert_eq!(asked(&mut dead, "x"), Err(WorkerFailure::Died));
        assert_eq!(dead.ending().unwrap(), "it ended with code 3: two: 2");
        let mut flood = process("yes x | tr -d '\\n'");
        assert_eq!(asked(&mut flood, "x"), Err(WorkerFailure::Misbehaved));
        // its standard error is read, or it would hang
        let mut loud = process("yes complaint | head -c 3000000 >&2; cat");
        assert_eq!(asked(&mut loud, "x"), Ok("x".into()));
        assert_eq!(loud.last_complaint().as_deref(), Some("complaint"));
    }

    #[test]
    fn nobody_waits_for_what_is_given_up() {
        let given_up = AtomicBool::new(false);
        let mut silent = process("sleep 60");
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| silent.exchange(b"x", Instant::now() + LONG, &given_up));
            given_up.store(true, Ordering::Relaxed);
            assert_eq!(asking.join().unwrap(), Err(WorkerFailure::Late));
        });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn nothing_is_inherited_that_is_not_named() {
        let null = std::fs::File::open("/dev/null").unwrap();
        // as one would be that a careless parent has left to this process
        let careless = rustix::io::fcntl_dupfd_cloexec(&null, 77).unwrap();
        rustix::io::fcntl_setfd(&careless, rustix::io::FdFlags::empty()).unwrap();
        let mut child = process("echo /proc/$$/fd/* $(env | cut -d= -f1); read -r line");
        let heard = asked(&mut child, "x").unwrap();
        let descriptor = careless.as_raw_fd();
        assert!(descriptor >= 77 && heard.contains("/fd/2"), "{heard}");
        assert!(!heard.contains(&format!("/fd/{descriptor}")), "{heard}");
        // what a shell makes itself, besides what was named
        let variables = heard.split(' ').filter(|word| !word.contains('/'));
        let others =
            variables.filter(|name| !["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name));
        assert_eq!(others.count(), 0, "{heard}");
    }

    /// The shell forks and waits; killing it alone would leave `sleep`.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_dropped_process_takes_its_children_along_and_so_does_the_end_of_its_thread() {
        let runs = |child: &str| {
            std::fs::read_to_string(format!("/proc/{child}/stat"))
                .is_ok_and(|text| !text.rsplit(')').next().unwrap().starts_with(" Z"))
        };
        let gone = |child: &str| {
            let started = Instant::now();
            while runs(child) {
                assert!(started.elapsed() < LONG, "a child outlived its parent");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let mut family = process("sleep 60 & echo $!; wait");
        let child = asked(&mut family, "x").unwrap();
        assert!(runs(&child));
        drop(family);
        gone(&child);
        let started = || {
            let mut alone = process("echo $$; sleep 60");
            let child = asked(&mut alone, "x").unwrap();
            // nobody drops it
            std::mem::forget(alone);
            child
        };
        let child = std::thread::spawn(started).join().unwrap();
        gone(&child);
    }

    #[test]
    fn what_does_not_start_says_so() {
        let missing = Launch { program: "/no/such/program".into(), ..launch("") };
        assert!(LineProcess::start(&missing, 10).is_err());
        let nowhere = Launch { folder: Some("/no/such/folder".into()), ..launch("true") };
        assert!(LineProcess::start(&nowhere, 10).is_err());
    }
}
