//! `compare`: several methods, several seeds, one process a run, as many at a time as there are
//! cores; then the table and the figures (`comparison.rs`).
//!
//! Runs are processes of this same binary with one thread each: on small models two runs side by
//! side are faster than one run on two cores, and a run that fails takes no other with it. A
//! finished run is not repeated, so the same command resumes. Runs end with this process, however it
//! ends: it kills them when it can, and they end by themselves when it was killed.

use super::comparison::report;
use super::experiment::{Job, planned};
use super::this_program;
use crate::commands::Options;
use crate::embedded;
use crate::output::{self, errln, outln};
use crate::problem::{OUT_OF_MEMORY, Problem};
use crate::programs;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use paretopo_records::last_metrics;
use paretopo_report::{RecordError, read_run};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

struct Running {
    job: Job,
    child: Child,
    bar: Option<ProgressBar>,
    started: Instant,
}

/// What an unfinished pool of runs leaves behind when it is dropped: nothing.
struct Pool(Vec<Running>);

impl Drop for Pool {
    fn drop(&mut self) {
        for running in &mut self.0 {
            // both fail only when the run has already ended
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

pub(super) fn compare(
    experiment: Option<&Path>,
    out: &Path,
    set: &[String],
    jobs: Option<usize>,
    options: &Options<'_>,
) -> Result<(), Problem> {
    let Options { backend, quiet, cancelled, .. } = *options;
    let unwritable = |error: std::io::Error| {
        Problem::mistake(format!("cannot create `{}`: {error}", out.display()))
    };
    std::fs::create_dir_all(out).map_err(unwritable)?;
    if experiment.is_none() {
        builtin(out)?;
    }
    let (queue, methods) = planned(experiment, out, set)?;
    let baselines: Vec<String> =
        methods.iter().filter(|method| method.baseline).map(|method| method.name.clone()).collect();
    let all: Vec<(String, u64, PathBuf)> =
        queue.iter().map(|job| (job.method.name.clone(), job.seed, job.folder.clone())).collect();
    let mut waiting = Vec::new();
    for job in queue {
        if !job.is_done()? {
            waiting.push(job);
        }
    }
    output::open_log(out);
    let at_a_time =
        jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let started = Instant::now();
    if !quiet {
        errln!(
            "{} runs, {} to do, {at_a_time} at a time; results in {}",
            all.len(),
            waiting.len(),
            out.display()
        );
    }
    run_all(waiting, at_a_time, backend, quiet, cancelled)?;
    let mut results = Vec::new();
    for (method, seed, folder) in &all {
        results.push(read_run(folder, method, *seed).map_err(damaged_result)?);
    }
    report(&results, &baselines, out, &all)?;
    if !quiet {
        errln!("done in {:.1} minutes", started.elapsed().as_secs_f64() / 60.0);
    }
    Ok(())
}

/// A finished run whose files cannot be read: what the run makes again, it makes whole.
fn damaged_result(error: RecordError) -> Problem {
    Problem::failure(format!(
        "{error}\nhint: delete the run's `evaluation.json` and run the same command again"
    ))
}

/// Says which runs an experiment has and which programs they would start; starts and writes nothing.
pub(super) fn dry_run(
    experiment: Option<&Path>,
    out: &Path,
    set: &[String],
) -> Result<(), Problem> {
    let (queue, _) = planned(experiment, out, set)?;
    for job in &queue {
        outln!("{}: {} (seed {})", job.folder.display(), job.method.name, job.seed);
    }
    outln!("\neach run is a process of this program");
    programs::print(queue.iter().map(|job| &job.resolved), "")
}

/// Writes the built-in configurations.
fn builtin(out: &Path) -> Result<(), Problem> {
    let folder = out.join("configs");
    let failed = |error: std::io::Error| {
        Problem::mistake(format!("cannot write `{}`: {error}", folder.display()))
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for (name, text) in embedded::EXPERIMENT {
        std::fs::write(folder.join(format!("{name}.toml")), text).map_err(failed)?;
    }
    Ok(())
}

fn run_all(
    jobs: Vec<Job>,
    at_a_time: usize,
    backend: Option<&str>,
    quiet: bool,
    cancelled: &AtomicBool,
) -> Result<(), Problem> {
    let total = jobs.len();
    let mut jobs = jobs.into_iter();
    let mut pool = Pool(Vec::new());
    let bars = (!quiet && std::io::stderr().is_terminal()).then(MultiProgress::new);
    let mut done = 0;
    loop {
        if cancelled.load(Ordering::Relaxed) {
            return Err(Problem {
                message: "interrupted; run the same command again to resume".into(),
                exit_code: 130,
            });
        }
        while pool.0.len() < at_a_time
            && let Some(job) = jobs.next()
        {
            pool.0.push(start(job, backend, bars.as_ref())?);
        }
        if pool.0.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
        let mut index = 0;
        while index < pool.0.len() {
            show_progress(&pool.0[index]);
            let ended = pool.0[index].child.try_wait().map_err(Problem::failure)?;
            let Some(status) = ended else {
                index += 1;
                continue;
            };
            let running = pool.0.swap_remove(index);
            done += 1;
            finish(&running, status.code(), done, total, bars.as_ref(), quiet)?;
        }
    }
}

fn start(
    job: Job,
    backend: Option<&str>,
    bars: Option<&MultiProgress>,
) -> Result<Running, Problem> {
    let failed = |error: std::io::Error| {
        Problem::failure(format!("cannot start a run in `{}`: {error}", job.folder.display()))
    };
    std::fs::create_dir_all(&job.folder).map_err(failed)?;
    let log_path = job.folder.join("log.txt");
    std::fs::File::create(&log_path).map_err(failed)?;
    // appended to, since the run itself writes there, too
    let log = std::fs::File::options().append(true).open(&log_path).map_err(failed)?;
    let mut command = Command::new(this_program()?);
    command.arg("--quiet").args(["--end-with", &std::process::id().to_string()]);
    if let Some(backend) = backend {
        command.args(["--backend", backend]);
    }
    if job.method.untrained {
        command.arg("evaluate").arg(&job.config).arg("--out").arg(&job.folder);
    } else {
        command.arg("train").arg(&job.config).arg("--run").arg(&job.folder);
    }
    for assignment in &job.set {
        command.args(["--set", assignment]);
    }
    // a run of its own group would not hear Ctrl-C; it stops at its next step and resumes later
    command
        .env("RAYON_NUM_THREADS", "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log);
    let child = command.spawn().map_err(failed)?;
    let bar = bars.map(|bars| {
        let bar = bars.add(ProgressBar::new(job.resolved.train.steps));
        let style = ProgressStyle::with_template("{prefix:28!} [{bar:24}] {pos:>3}/{len} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(format!("{} (seed {})", job.method.name, job.seed));
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

fn finish(
    running: &Running,
    code: Option<i32>,
    done: usize,
    total: usize,
    bars: Option<&MultiProgress>,
    quiet: bool,
) -> Result<(), Problem> {
    if let Some(bar) = &running.bar {
        bar.finish_and_clear();
    }
    let (job, log) = (&running.job, running.job.folder.join("log.txt"));
    if code != Some(0) {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let reason = text
            .lines()
            .rev()
            .take(3)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .join("\n");
        let problem = Problem::failure(format!(
            "{} with seed {} failed (see `{}`):\n{reason}",
            job.method.name,
            job.seed,
            log.display()
        ));
        let is_memory = code == Some(OUT_OF_MEMORY.into());
        return Err(if is_memory {
            Problem { exit_code: OUT_OF_MEMORY, ..problem }
        } else {
            problem
        });
    }
    let result = read_run(&job.folder, &job.method.name, job.seed).map_err(damaged_result)?;
    let line = format!(
        "[{done}/{total}] {} (seed {}): EM {:.3}, #Tool {:.2}, {:.0} s",
        job.method.name,
        job.seed,
        result.em,
        result.calls,
        running.started.elapsed().as_secs_f64()
    );
    match bars {
        Some(bars) => {
            output::log_line(&line);
            // a terminal that is gone ends no run
            let _ = bars.println(line);
        }
        None if quiet => output::log_line(&line),
        None => errln!("{line}"),
    }
    Ok(())
}
