//! A process that answers lines of JSON with lines of JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{Display, Formatter};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, parent_id};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often a worker looks whether its parent is still there.
const ORPHANED: Duration = Duration::from_millis(500);

/// Why a worker gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerFailure {
    /// It did not answer in time.
    Late,
    /// It ended, or answered nonsense.
    Died,
}

impl Display for WorkerFailure {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Late => "it did not answer",
            Self::Died => "it ended",
        })
    }
}

/// The process; killed when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
    scratch: Option<PathBuf>,
    ended: Option<ExitStatus>,
}

impl Worker {
    /// Starts it in a process group of its own, with an empty environment. `scratch` is a folder to
    /// remove with it.
    ///
    /// # Errors
    /// When the command is empty or does not start.
    pub fn start(command: &[PathBuf], scratch: Option<PathBuf>) -> std::io::Result<Self> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| std::io::Error::other("no worker command given"))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().process_group(0);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let requests = child.stdin.take().expect("stdin was asked for");
        let stdout = BufReader::new(child.stdout.take().expect("stdout was asked for"));
        let (sender, answers) = channel();
        // the reader ends with the worker's stdout, so at the latest when the worker is dropped and
        // killed
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, requests, answers, scratch, ended: None })
    }

    /// The next line that it says.
    ///
    /// # Errors
    /// When it says none within `patience`, or has ended.
    pub fn hear(&mut self, patience: Duration) -> Result<String, WorkerFailure> {
        self.answers.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => WorkerFailure::Late,
            RecvTimeoutError::Disconnected => WorkerFailure::Died,
        })
    }

    /// Its answer to a request. Ask nothing more after an error: the answer to this request may
    /// still come.
    ///
    /// # Errors
    /// When no answer comes within `patience`, it has ended, or its answer is not an `A`.
    pub fn ask<A: DeserializeOwned>(
        &mut self,
        request: &impl Serialize,
        patience: Duration,
    ) -> Result<A, WorkerFailure> {
        let mut line = serde_json::to_string(request).map_err(|_| WorkerFailure::Died)?;
        line.push('\n');
        self.requests.write_all(line.as_bytes()).map_err(|_| WorkerFailure::Died)?;
        serde_json::from_str(&self.hear(patience)?).map_err(|_| WorkerFailure::Died)
    }

    /// Ends it; the exit code, unless a signal ended it. A worker that has ended by itself keeps
    /// its code.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.end().and_then(|status| status.code())
    }

    /// Kills its whole process group, since it may have forked, and waits for it. Once only:
    /// afterwards its number may be another's.
    fn end(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            // SAFETY: kill takes two numbers and touches no memory
            #[expect(unsafe_code, reason = "the standard library kills a process, not a group")]
            unsafe {
                libc::kill(-(self.child.id() as libc::pid_t), libc::SIGKILL);
            }
            self.ended = self.child.wait().ok();
        }
        self.ended
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
        if let Some(scratch) = &self.scratch {
            // fails only when there is nothing left to do
            let _ = std::fs::remove_dir_all(scratch);
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

/// A worker's main loop: a JSON request a line on standard input, a JSON answer a line on standard
/// output, until the input ends. If the parent ends first, so does this process, whatever it is
/// doing.
///
/// # Errors
/// When standard input or output break, or a line is not an `R`; the worker should then end.
pub fn serve_lines<R: DeserializeOwned, A: Serialize>(
    mut answer: impl FnMut(R) -> A,
) -> std::io::Result<()> {
    end_with_parent(parent_id());
    let (input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    for line in input.lines() {
        serde_json::to_writer(&mut output, &answer(serde_json::from_str(&line?)?))?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn worker(command: &[&str]) -> Worker {
        Worker::start(&command.iter().map(PathBuf::from).collect::<Vec<_>>(), None).unwrap()
    }

    #[test]
    fn a_line_is_answered_by_a_line() {
        let mut echo = worker(&["cat"]);
        for number in [1, 2] {
            assert_eq!(echo.ask::<u32>(&number, Duration::from_secs(20)), Ok(number));
        }
    }

    /// The shell forks and waits; killing it alone would leave `sleep`.
    #[test]
    fn a_dropped_worker_takes_its_children_along() {
        let mut family = worker(&["sh", "-c", "sleep 60 & echo $!; wait"]);
        let child = format!("/proc/{}/stat", family.hear(Duration::from_secs(20)).unwrap());
        let runs = || {
            std::fs::read_to_string(&child)
                .is_ok_and(|text| !text.rsplit(')').next().unwrap().starts_with(" Z"))
        };
        assert!(cfg!(not(target_os = "linux")) || runs());
        drop(family);
        let started = Instant::now();
        while runs() {
            assert!(started.elapsed() < Duration::from_secs(20), "a child outlived its worker");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn silence_an_end_and_nonsense_are_failures() {
        assert_eq!(
            worker(&["sleep", "30"]).ask::<u32>(&1, Duration::from_millis(20)),
            Err(WorkerFailure::Late)
        );
        let mut ended = worker(&["false"]);
        assert_eq!(ended.hear(Duration::from_secs(20)), Err(WorkerFailure::Died));
        assert_eq!(ended.exit_code(), Some(1));
        let mut talker = worker(&["sh", "-c", "echo no number; sleep 60"]);
        assert_eq!(talker.ask::<u32>(&1, Duration::from_secs(20)), Err(WorkerFailure::Died));
        assert_eq!(talker.exit_code(), None);
        assert_eq!(
            worker(&["echo", "no number"]).ask::<u32>(&1, Duration::from_secs(20)),
            Err(WorkerFailure::Died)
        );
    }
}
