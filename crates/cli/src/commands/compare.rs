//! `compare`: several methods, several seeds, one process a run, as many at a time as there are
//! cores, or as a launcher finds a place for (`launching.rs`); then the table and the figures
//! (`comparison.rs`).
//!
//! Runs are processes of this same binary with one thread each: on small models two runs side by
//! side are faster than one run on two cores, and a run that fails takes no other with it. A
//! finished run is not repeated, whether its folder tells of it or the experiment's ledger
//! (`ledger.rs`), so the same command resumes. Runs end with this process, however it ends: it
//! kills them when it can, and they end by themselves when it was killed.

use super::comparison::report;
use super::experiment::{Job, Plan, planned};
use super::launching::Launcher;
use super::ledger::Ledger;
use super::remaining::{Extent, Times, in_words};
use crate::commands::Options;
use crate::embedded;
use crate::output::{self, errln, outln};
use crate::problem::{OUT_OF_MEMORY, Problem};
use crate::programs;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use paretopo_records::last_metrics;
use paretopo_report::{RecordError, RunResult};
use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

struct Running {
    job: Job,
    child: Child,
    bar: Option<ProgressBar>,
    started: Instant,
}

/// What an unfinished pool of runs leaves behind when it is dropped: nothing.
struct Pool<'a> {
    running: Vec<Running>,
    launcher: &'a Launcher,
}

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        self.launcher.end(self.running.drain(..).map(|running| running.child).collect());
    }
}

/// How runs are started.
pub(super) struct Starting<'a> {
    pub(super) jobs: Option<usize>,
    pub(super) launcher: &'a Launcher,
}

pub(super) fn compare(
    experiment: Option<&Path>,
    out: &Path,
    set: &[String],
    starting: &Starting<'_>,
    options: &Options<'_>,
) -> Result<(), Problem> {
    let Starting { jobs, launcher } = *starting;
    let Options { backend, quiet, cancelled, .. } = *options;
    make_folder(out)?;
    if experiment.is_none() {
        builtin(out)?;
    }
    let mut plan = planned(experiment, out, set)?;
    let mut ledger = Ledger::open(plan.runs.take())?;
    output::open_log(out);
    let (waiting, known) = divided(&plan.queue, &mut ledger)?;
    let waiting: Vec<Job> = waiting.into_iter().map(|index| plan.queue[index].clone()).collect();
    let at_a_time = jobs.unwrap_or_else(|| launcher.at_a_time()).max(1);
    let started = Instant::now();
    let times = times(&ledger, &plan)?;
    if !quiet {
        let extents: Vec<Extent> = waiting.iter().map(Extent::of).collect();
        let took = match waiting.is_empty() {
            true => "nothing to wait for".to_owned(),
            false => in_words(times.remaining(&extents, at_a_time)),
        };
        errln!(
            "{} runs, {} to do, {at_a_time} at a time, {took}; results in {}",
            plan.queue.len(),
            waiting.len(),
            out.display()
        );
    }
    let bars = (!quiet && std::io::stderr().is_terminal()).then(MultiProgress::new);
    let (done, total) = (0, waiting.len());
    let mut watch = Watch { ledger, times, bars, quiet, done, total, at_a_time, launcher };
    run_all(waiting, &mut watch, backend, cancelled)?;
    let mut results = Vec::new();
    for (index, job) in plan.queue.iter().enumerate() {
        results.push(match known.get(&index) {
            Some(result) => result.clone(),
            None => {
                let result = job.result().map_err(damaged_result)?;
                // one that had ended before there was a ledger
                watch.ledger.append(job, &result, None)?;
                result
            }
        });
    }
    report(&results, &plan, out)?;
    if !quiet {
        errln!("done in {:.1} minutes", started.elapsed().as_secs_f64() / 60.0);
    }
    Ok(())
}

/// What the experiment's own ledger tells of how long runs take, and the one it names for it.
fn times(ledger: &Ledger, plan: &Plan) -> Result<Times, Problem> {
    let others = Ledger::open(plan.times.clone())?;
    Ok(Times::of(ledger.lines().iter().chain(others.lines())))
}

/// Tables and figures of the runs that are finished; none is started.
pub(super) fn finished(
    experiment: Option<&Path>,
    out: &Path,
    set: &[String],
) -> Result<(), Problem> {
    let mut plan = planned(experiment, out, set)?;
    let mut ledger = Ledger::open(plan.runs.take())?;
    let (waiting, mut known) = divided(&plan.queue, &mut ledger)?;
    let total = plan.queue.len();
    let queue = std::mem::take(&mut plan.queue).into_iter();
    let done = queue.enumerate().filter(|(index, _)| !waiting.contains(index));
    let mut results = Vec::new();
    for (index, job) in done {
        results.push(match known.remove(&index) {
            Some(result) => result,
            None => job.result().map_err(damaged_result)?,
        });
        plan.queue.push(job);
    }
    if results.is_empty() {
        return Err(Problem::mistake(format!(
            "none of the {total} runs is finished\nhint: run the same command without `--finished`"
        )));
    }
    errln!("{} of {total} runs are finished", results.len());
    make_folder(out)?;
    report(&results, &plan, out)
}

fn make_folder(out: &Path) -> Result<(), Problem> {
    std::fs::create_dir_all(out)
        .map_err(|error| Problem::mistake(format!("cannot create `{}`: {error}", out.display())))
}

/// By their numbers in the queue the runs that are to be made, and the results of those of which
/// only the ledger tells.
fn divided(
    queue: &[Job],
    ledger: &mut Ledger,
) -> Result<(Vec<usize>, BTreeMap<usize, RunResult>), Problem> {
    if let Some(path) = ledger.path() {
        for damaged in &ledger.damaged {
            let path = path.display();
            errln!("`{path}`: {damaged}; it is left out, and its run is made again");
        }
    }
    let mut waiting = Vec::new();
    let mut known = BTreeMap::new();
    let mut commits = BTreeMap::new();
    for (index, job) in queue.iter().enumerate() {
        if job.is_done()? {
            continue;
        }
        match ledger.find(job)? {
            None => waiting.push(index),
            Some(line) => {
                *commits.entry(line.commit.clone()).or_insert(0usize) += 1;
                // the names are those of today's experiment
                let (method, setting) = (job.method.name.clone(), job.method.setting.clone());
                known.insert(index, RunResult { method, setting, ..line.to_result() });
            }
        }
    }
    if !known.is_empty() {
        let listed: Vec<String> =
            commits.iter().map(|(commit, runs)| format!("{runs} of {commit}")).collect();
        output::log_line(&format!("runs of the ledger, by commit: {}", listed.join(", ")));
    }
    Ok((waiting, known))
}

/// A finished run whose files cannot be read: what the run makes again, it makes whole.
fn damaged_result(error: RecordError) -> Problem {
    Problem::failure(format!(
        "{error}\nhint: delete the run's `evaluation.json` and run the same command again"
    ))
}

/// Says which runs an experiment has and which programs they would start; starts and writes
/// nothing.
pub(super) fn dry_run(
    experiment: Option<&Path>,
    out: &Path,
    set: &[String],
) -> Result<(), Problem> {
    let mut plan = planned(experiment, out, set)?;
    let mut ledger = Ledger::open(plan.runs.take())?;
    let times = times(&ledger, &plan)?;
    let queue = plan.queue;
    let mut waiting = Vec::new();
    for job in &queue {
        let is_known = ledger.find(job)?.is_some();
        let told = if is_known { ", in the ledger" } else { "" };
        outln!("{}: {} (seed {}){told}", job.folder.display(), job.method.row(), job.seed);
        if !is_known {
            waiting.push(Extent::of(job));
        }
    }
    if let Some(seconds) = times.remaining(&waiting, 1) {
        let took = in_words(Some(seconds));
        outln!("\n{} of {} runs are to be made, {took} one at a time", waiting.len(), queue.len());
    }
    outln!("\neach run is a process of this program");
    programs::print(queue.iter().map(|job| &job.resolved), "")
}

/// Writes the built-in experiment.
fn builtin(out: &Path) -> Result<(), Problem> {
    let folder = out.join("configs");
    let failed = |error: std::io::Error| {
        Problem::mistake(format!("cannot write `{}`: {error}", folder.display()))
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for (name, text) in embedded::EXPERIMENT {
        std::fs::write(folder.join(name), text).map_err(failed)?;
    }
    Ok(())
}

/// What goes on while runs are made.
struct Watch<'a> {
    launcher: &'a Launcher,
    ledger: Ledger,
    times: Times,
    bars: Option<MultiProgress>,
    quiet: bool,
    done: usize,
    total: usize,
    at_a_time: usize,
}

fn run_all(
    jobs: Vec<Job>,
    watch: &mut Watch<'_>,
    backend: Option<&str>,
    cancelled: &AtomicBool,
) -> Result<(), Problem> {
    let mut jobs: VecDeque<Job> = jobs.into();
    let mut pool = Pool { running: Vec::new(), launcher: watch.launcher };
    loop {
        if cancelled.load(Ordering::Relaxed) {
            return Err(Problem {
                message: "interrupted; run the same command again to resume".into(),
                exit_code: 130,
            });
        }
        while pool.running.len() < watch.at_a_time
            && let Some(job) = jobs.pop_front()
        {
            pool.running.push(start(job, backend, watch)?);
        }
        if pool.running.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
        let mut index = 0;
        while index < pool.running.len() {
            show_progress(&pool.running[index]);
            let ended = pool.running[index].child.try_wait().map_err(Problem::failure)?;
            let Some(status) = ended else {
                index += 1;
                continue;
            };
            let running = pool.running.swap_remove(index);
            let is_left = pool.running.iter().map(|running| &running.job).chain(&jobs);
            let left: Vec<Extent> = is_left.map(Extent::of).collect();
            watch.finish(&running, status.code(), &left)?;
        }
    }
}

fn start(job: Job, backend: Option<&str>, watch: &Watch<'_>) -> Result<Running, Problem> {
    let failed = |error: std::io::Error| {
        Problem::failure(format!("cannot start a run in `{}`: {error}", job.folder.display()))
    };
    std::fs::create_dir_all(&job.folder).map_err(failed)?;
    let log_path = job.folder.join("log.txt");
    std::fs::File::create(&log_path).map_err(failed)?;
    // appended to, since the run itself writes there, too
    let log = std::fs::File::options().append(true).open(&log_path).map_err(failed)?;
    let mut command = watch.launcher.command(&job, backend)?;
    command.stdout(log.try_clone().map_err(failed)?).stderr(log);
    let child = command.spawn().map_err(failed)?;
    let bar = watch.bars.as_ref().map(|bars| {
        let bar = bars.add(ProgressBar::new(job.resolved.train.steps));
        let style = ProgressStyle::with_template("{prefix:28!} [{bar:24}] {pos:>3}/{len} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(format!("{} (seed {})", job.method.row(), job.seed));
        bar
    });
    Ok(Running { job, child, bar, started: Instant::now() })
}

/// The last line of the run's metrics.
fn show_progress(running: &Running) {
    let Some(bar) = &running.bar else { return };
    if let Ok(Some(metrics)) = last_metrics(&running.job.folder) {
        let number = |key: &str| metrics.get(key).copied().unwrap_or(0.0);
        bar.set_position(number("step") as u64 + 1);
        bar.set_message(format!("EM {:.3}  #Tool {:.2}", number("em"), number("calls")));
    }
}

impl Watch<'_> {
    /// Reads what a run that has ended found, keeps it, and says it. `left` are those that
    /// have not.
    fn finish(
        &mut self,
        running: &Running,
        code: Option<i32>,
        left: &[Extent],
    ) -> Result<(), Problem> {
        if let Some(bar) = &running.bar {
            bar.finish_and_clear();
        }
        let job = &running.job;
        if code != Some(0) {
            return Err(failure(job, code));
        }
        let result = self.launcher.result(job).map_err(damaged_result)?;
        let seconds = running.started.elapsed().as_secs_f64();
        self.times.add(Extent::of(job), seconds);
        self.ledger.append(job, &result, Some(seconds.round()))?;
        self.done += 1;
        let still = match self.times.remaining(left, self.at_a_time) {
            Some(seconds) if !left.is_empty() => format!(", {} left", in_words(Some(seconds))),
            _ => String::new(),
        };
        let line = format!(
            "[{}/{}] {} (seed {}): EM {:.3}, #Tool {:.2}, {seconds:.0} s{still}",
            self.done,
            self.total,
            job.method.row(),
            job.seed,
            result.em,
            result.calls,
        );
        match &self.bars {
            Some(bars) => {
                output::log_line(&line);
                // a terminal that is gone ends no run
                let _ = bars.println(line);
            }
            None if self.quiet => output::log_line(&line),
            None => errln!("{line}"),
        }
        Ok(())
    }
}

/// What a run that failed said last.
fn failure(job: &Job, code: Option<i32>) -> Problem {
    let log = job.folder.join("log.txt");
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let reason = lines[lines.len().saturating_sub(3)..].join("\n");
    let problem = Problem::failure(format!(
        "{} with seed {} failed (see `{}`):\n{reason}",
        job.method.row(),
        job.seed,
        log.display()
    ));
    match code == Some(OUT_OF_MEMORY.into()) {
        true => Problem { exit_code: OUT_OF_MEMORY, ..problem },
        false => problem,
    }
}
