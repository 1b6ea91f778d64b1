//! Where the runs of an experiment are started: as processes of this machine, or by a launcher such
//! as `srun -n1`, which finds them a place and ends when they do.
//!
//! A launched run may be on another machine. So it cannot see whether `compare` is still there; the
//! launcher is asked to end, and ends it. And its folder, which both share, may show what it wrote a
//! while after it has ended.

use super::experiment::Job;
use super::this_program;
use crate::problem::Problem;
use paretopo_report::{RecordError, RunResult};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Runs at a time behind a launcher, where nobody has said: the scheduler lets them wait.
const AT_A_TIME: usize = 64;
/// How long a result is waited for that a shared folder does not show yet.
const SHARED: Duration = Duration::from_secs(60);
/// How long a launcher may take to end its run.
const GRACE: Duration = Duration::from_secs(10);

/// The words in front of a run's command; none where it is started here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launcher(Vec<String>);

impl FromStr for Launcher {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).ok_or("a quotation mark is not closed")?;
        match words.is_empty() {
            true => Err("is empty".into()),
            false => Ok(Self(words)),
        }
    }
}

impl Launcher {
    /// How many runs there are at a time, where nobody has said.
    pub(super) fn at_a_time(&self) -> usize {
        match self.0.is_empty() {
            true => std::thread::available_parallelism().map_or(1, usize::from),
            false => AT_A_TIME,
        }
    }

    /// The command of a run, but for where its words go.
    ///
    /// # Errors
    /// When this program's own file is not known.
    pub(super) fn command(&self, job: &Job, backend: Option<&str>) -> Result<Command, Problem> {
        let mut command = match self.0.split_first() {
            None => {
                let mut command = Command::new(this_program()?);
                command.args(["--end-with", &std::process::id().to_string()]);
                command
            }
            Some((launcher, words)) => {
                let mut command = Command::new(launcher);
                // by its name, which means the same in another process
                command.args(words).arg(std::env::current_exe().map_err(Problem::failure)?);
                command
            }
        };
        command.arg("--quiet");
        if let Some(backend) = backend {
            command.args(["--backend", backend]);
        }
        match job.method.untrained {
            true => command.arg("evaluate").arg(&job.config).arg("--out").arg(&job.folder),
            false => command.arg("train").arg(&job.config).arg("--run").arg(&job.folder),
        };
        for assignment in &job.set {
            command.args(["--set", assignment]);
        }
        // a run of its own group would not hear Ctrl-C; it stops at its next step and resumes later
        command.env("RAYON_NUM_THREADS", "1").stdin(Stdio::null());
        Ok(command)
    }

    /// Ends runs that are left over.
    pub(super) fn end(&self, mut children: Vec<Child>) {
        if !self.0.is_empty() {
            ask_to_end(&mut children);
        }
        for mut child in children {
            // both fail only when the run has already ended
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What a run has found, as soon as its folder shows it.
    ///
    /// # Errors
    /// When it shows something else, or nothing for too long.
    pub(super) fn result(&self, job: &Job) -> Result<RunResult, RecordError> {
        let started = Instant::now();
        loop {
            match job.result() {
                Err(_) if !self.0.is_empty() && started.elapsed() < SHARED => {
                    std::thread::sleep(Duration::from_millis(500));
                }
                found => return found,
            }
        }
    }
}

/// Launchers hand on what asks them to end, and cannot hand on what kills them.
fn ask_to_end(children: &mut [Child]) {
    #[cfg(unix)]
    {
        for child in &*children {
            if let Some(id) = rustix::process::Pid::from_raw(child.id() as i32) {
                // fails only when it has already ended
                let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            }
        }
        let started = Instant::now();
        while started.elapsed() < GRACE
            && children.iter_mut().any(|child| matches!(child.try_wait(), Ok(None)))
        {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
