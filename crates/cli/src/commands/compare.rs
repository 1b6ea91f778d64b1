//! `compare`: several methods, several seeds, one process a run, as many at a time as there are
//! cores; then the table and the figures.
//!
//! Runs are processes of this same binary with one thread each: on small models two runs side by
//! side are faster than one run on two cores, and a run that fails takes no other with it. A
//! finished run is not repeated, so the same command resumes. Runs end with this process, however it
//! ends: it kills them when it can, and they end by themselves when it was killed.

use super::benchmarks::Identity;
use super::this_program;
use crate::embedded;
use crate::problem::{OUT_OF_MEMORY, Problem};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use paretopo_report::{
    ReportError, RunResult, archive_svg, curves_svg, environment_table, front_picture, front_svg,
    levels_table, read_run, summarise_methods, summary_table,
};
use paretopo_settings::{LARGEST_SEED, all_within, read_toml};
use paretopo_training::{RunConfig, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The list of methods and seeds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Experiment {
    #[serde(deserialize_with = "all_within::<0, LARGEST_SEED, _, _>")]
    seeds: Vec<u64>,
    /// Settings changed for every method.
    #[serde(default)]
    set: Vec<String>,
    methods: Vec<Method>,
    /// A setting that every trained method is run with several values of.
    #[serde(default)]
    sweep: Option<Sweep>,
}

/// A setting and its values; a method's name gets the value behind it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sweep {
    key: String,
    values: Vec<toml::Value>,
}

/// Bytes of a method's name, which is that of its runs' folders, too.
const LONGEST_NAME: usize = 100;

impl Experiment {
    /// # Errors
    /// When there is nothing to compare, a seed is listed twice, or a setting would be overruled.
    fn check(&self, methods: &[Method], set: &[String]) -> Result<(), String> {
        if self.seeds.is_empty() {
            return Err(
                "`seeds` is empty\nhint: list at least one, as in `seeds = [1, 2, 3]`".into()
            );
        }
        let is_twice = |index: &usize| self.seeds[..*index].contains(&self.seeds[*index]);
        if let Some(index) = (0..self.seeds.len()).find(is_twice) {
            return Err(format!(
                "the seed {} is listed twice in `seeds`, which would count one run as two",
                self.seeds[index]
            ));
        }
        if self.methods.is_empty() {
            return Err("`methods` is empty\nhint: add a section `[[methods]]`".into());
        }
        if self.sweep.as_ref().is_some_and(|sweep| sweep.values.is_empty()) {
            return Err("`sweep.values` is empty, so no method would be trained".into());
        }
        if methods.iter().any(|method| !method.name.contains(char::is_alphanumeric)) {
            return Err("a method needs a `name` with at least a letter or digit".into());
        }
        let is_bad = |name: &str| {
            name.len() > LONGEST_NAME || name.contains(|c: char| c == '|' || c.is_control())
        };
        if let Some(method) = methods.iter().find(|method| is_bad(&method.name)) {
            return Err(format!(
                "the name {:?} cannot stand in a table and name a folder\nhint: at most {LONGEST_NAME} \
                 bytes, without `|` and line breaks",
                method.name
            ));
        }
        let of_methods = self.methods.iter().flat_map(|method| &method.set);
        let swept = self.sweep.as_ref().map(|sweep| &sweep.key);
        let keys = self.set.iter().chain(of_methods).chain(set).chain(swept);
        let is_seed =
            |text: &String| text.split('=').next().is_some_and(|key| key.trim() == "seed");
        match keys.into_iter().find(|text| is_seed(text)) {
            Some(text) => Err(format!(
                "`{text}` has no effect: each run has a seed of the list `seeds`\nhint: change that list"
            )),
            None => Ok(()),
        }
    }

    /// The methods, each once for every value of the sweep.
    fn variants(&self) -> Vec<Method> {
        let Some(sweep) = &self.sweep else { return self.methods.clone() };
        let with = |method: &Method, value: &toml::Value| {
            let mut variant = method.clone();
            variant.name = format!("{} {value}", method.name);
            variant.set.push(format!("{}={value}", sweep.key));
            variant
        };
        let of = |method: &Method| match method.untrained {
            true => vec![method.clone()],
            false => sweep.values.iter().map(|value| with(method, value)).collect(),
        };
        self.methods.iter().flat_map(of).collect()
    }
}

/// A method of an experiment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    /// Its name in tables.
    name: String,
    /// Its configuration, beside the experiment's file.
    config: PathBuf,
    /// Settings changed for this method.
    #[serde(default)]
    set: Vec<String>,
    /// Whether the starting policy is only evaluated.
    #[serde(default)]
    untrained: bool,
    /// Whether others are compared with it.
    #[serde(default = "yes")]
    baseline: bool,
}

fn yes() -> bool {
    true
}

struct Job {
    method: Method,
    seed: u64,
    folder: PathBuf,
    config: PathBuf,
    set: Vec<String>,
    resolved: RunConfig,
}

impl Job {
    /// Whether an earlier call has finished this run.
    ///
    /// # Errors
    /// When the folder holds something of other settings, or an evaluation where a run belongs, or
    /// the other way round.
    fn is_done(&self) -> Result<bool, Problem> {
        let other = |what: &str| {
            Err(Problem::mistake(format!(
                "`{}` holds {what}\nhint: choose another folder with `--out`, or delete this one",
                self.folder.display()
            )))
        };
        let has_result = self.folder.join("evaluation.json").exists();
        let config_path = self.folder.join("config.toml");
        let trained = match paretopo_reading::read_text(&config_path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Problem::unreadable(&config_path, &error)),
        };
        let evaluated = Identity::read(&self.folder)?.map(|identity| identity.config);
        let (written, what, wrong) = match self.method.untrained {
            true => (evaluated, "an evaluation", trained.map(|_| "a training run")),
            false => (trained, "a run", evaluated.map(|_| "an evaluation by `evaluate`")),
        };
        if let Some(wrong) = wrong {
            let kind = if self.method.untrained { "only evaluated" } else { "trained" };
            return other(&format!("{wrong}, but `{}` is {kind}", self.method.name));
        }
        match written {
            Some(text) => match self.resolved.first_difference(&text) {
                None => Ok(has_result),
                Some(difference) => other(&format!(
                    "{what} with another configuration (first difference: `{difference}`)"
                )),
            },
            // earlier versions did not write down of what an evaluation is; it is made again
            None if self.method.untrained => Ok(false),
            None if has_result => other("a result without the configuration that it belongs to"),
            None => Ok(false),
        }
    }
}

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
    backend: Option<&str>,
    quiet: bool,
    cancelled: &'static AtomicBool,
) -> Result<(), Problem> {
    let unwritable = |error: std::io::Error| {
        Problem::mistake(format!("cannot create `{}`: {error}", out.display()))
    };
    std::fs::create_dir_all(out).map_err(unwritable)?;
    let (text, folder, name) = match experiment {
        Some(path) => {
            let text = paretopo_reading::read_text(path)
                .map_err(|error| Problem::unreadable(path, &error))?;
            (text, path.parent().unwrap_or(Path::new("")).to_owned(), path.display().to_string())
        }
        None => (builtin(out)?, out.join("configs"), "the built-in experiment".to_owned()),
    };
    let experiment: Experiment =
        read_toml(&text).map_err(|refused| Problem::mistake(format!("`{name}`: {refused}")))?;
    let methods = experiment.variants();
    experiment
        .check(&methods, set)
        .map_err(|reason| Problem::mistake(format!("`{name}`: {reason}")))?;
    let baselines: Vec<String> =
        methods.iter().filter(|method| method.baseline).map(|method| method.name.clone()).collect();
    let queue = plan(&experiment, &methods, &folder, out, set)?;
    if let Some((first, second)) = collision(&queue) {
        return Err(Problem::mistake(format!(
            "`{name}`: the methods `{}` and `{}` would share the folder `{}`\nhint: give them names that differ in letters or digits",
            first.method.name,
            second.method.name,
            second.folder.display()
        )));
    }
    let all: Vec<(String, u64, PathBuf)> =
        queue.iter().map(|job| (job.method.name.clone(), job.seed, job.folder.clone())).collect();
    let mut waiting = Vec::new();
    for job in queue {
        if !job.is_done()? {
            waiting.push(job);
        }
    }
    let at_a_time =
        jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let started = Instant::now();
    if !quiet {
        eprintln!(
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
        eprintln!("done in {:.1} minutes", started.elapsed().as_secs_f64() / 60.0);
    }
    Ok(())
}

/// A finished run whose files cannot be read: what the run makes again, it makes whole.
fn damaged_result(error: ReportError) -> Problem {
    Problem::failure(format!(
        "{error}\nhint: delete the run's `evaluation.json` and run the same command again"
    ))
}

/// Writes the built-in configurations and returns the experiment's text.
fn builtin(out: &Path) -> Result<String, Problem> {
    let folder = out.join("configs");
    let failed = |error: std::io::Error| {
        Problem::mistake(format!("cannot write `{}`: {error}", folder.display()))
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for (name, text) in embedded::EXPERIMENT {
        std::fs::write(folder.join(format!("{name}.toml")), text).map_err(failed)?;
    }
    Ok(embedded::EXPERIMENT[0].1.to_owned())
}

/// All runs, seed by seed so that early results span all methods; every configuration is checked
/// before the first run starts.
fn plan(
    experiment: &Experiment,
    methods: &[Method],
    folder: &Path,
    out: &Path,
    set: &[String],
) -> Result<Vec<Job>, Problem> {
    let mut jobs = Vec::new();
    for seed in &experiment.seeds {
        for method in methods {
            let config = folder.join(&method.config);
            let text = paretopo_reading::read_text(&config)
                .map_err(|error| Problem::unreadable(&config, &error))?;
            let mut settings = experiment.set.clone();
            settings.extend(method.set.iter().chain(set).cloned());
            settings.push(format!("seed={seed}"));
            let parsed = RunConfig::parse(&text, &config.display().to_string(), &settings)?;
            let slug: String = method
                .name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
                .collect();
            jobs.push(Job {
                method: method.clone(),
                seed: *seed,
                folder: out.join("runs").join(format!("{slug}-{seed}")),
                config,
                set: settings,
                resolved: parsed,
            });
        }
    }
    Ok(jobs)
}

/// Two jobs of one folder.
fn collision(jobs: &[Job]) -> Option<(&Job, &Job)> {
    let mut by_folder: BTreeMap<&Path, &Job> = BTreeMap::new();
    jobs.iter().find_map(|job| Some((by_folder.insert(&job.folder, job)?, job)))
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
    let log = std::fs::File::create(job.folder.join("log.txt")).map_err(failed)?;
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
    let Ok(text) = std::fs::read_to_string(running.job.folder.join("metrics.jsonl")) else {
        return;
    };
    let last = text
        .lines()
        .next_back()
        .and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    if let Some(metrics) = last {
        let number = |key: &str| metrics[key].as_f64().unwrap_or(0.0);
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
        Some(bars) => bars.println(line).map_err(Problem::failure)?,
        None if quiet => {}
        None => eprintln!("{line}"),
    }
    Ok(())
}

#[derive(Serialize)]
struct StoredResults<'a> {
    commit: &'a str,
    methods: &'a [paretopo_report::MethodSummary],
    runs: &'a [RunResult],
}

/// Writes table, figures and numbers, and prints the table and the picture.
fn report(
    results: &[RunResult],
    baselines: &[String],
    out: &Path,
    all: &[(String, u64, PathBuf)],
) -> Result<(), Problem> {
    let summaries = summarise_methods(results, baselines);
    let (table, levels) = (summary_table(&summaries), levels_table(results));
    let trained: Vec<String> = summaries
        .iter()
        .filter(|summary| {
            results.iter().any(|run| run.method == summary.method && !run.metrics.is_empty())
        })
        .map(|summary| summary.method.clone())
        .collect();
    let tables = [Some(table), Some(levels), environment_table(results)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n");
    write_atomically(&out.join("results.md"), tables.as_bytes())?;
    let stored =
        StoredResults { commit: env!("PARETOPO_COMMIT"), methods: &summaries, runs: results };
    write_atomically(
        &out.join("results.json"),
        &serde_json::to_vec_pretty(&stored).map_err(Problem::failure)?,
    )?;
    write_atomically(&out.join("front.svg"), front_svg(&summaries, results).as_bytes())?;
    let panels = [
        ("em", "EM on training prompts"),
        ("calls", "#Tool on training prompts"),
        ("estimator/r_pareto", "r_pareto (stage 1)"),
        (
            "estimator/tie_right_wrong",
            "groups in which a wrong rollout ranks no worse than a right one",
        ),
        ("estimator/rank_1", "share of rollouts in rank 1"),
        ("estimator/rank_2", "share of rollouts in rank 2"),
        ("estimator/archive_hypervolume", "hypervolume of the archive"),
        ("response_tokens", "sampled tokens a response"),
    ];
    write_atomically(&out.join("curves.svg"), curves_svg(&trained, results, &panels).as_bytes())?;
    if let Some((name, points)) =
        all.iter().find_map(|(name, _, folder)| Some((name, archive_of(folder)?)))
    {
        write_atomically(
            &out.join("archive.svg"),
            archive_svg(&format!("Archive of {name}"), &points).as_bytes(),
        )?;
    }
    println!("{tables}\n{}", front_picture(&summaries));
    println!("table {0}/results.md, figures {0}/front.svg and {0}/curves.svg", out.display());
    Ok(())
}

/// The archive in a run's latest checkpoint, if its estimator keeps one of two objectives.
fn archive_of(run: &Path) -> Option<Vec<[f64; 2]>> {
    let mut checkpoints: Vec<PathBuf> = std::fs::read_dir(run.join("checkpoints"))
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    checkpoints.sort();
    let text = std::fs::read_to_string(checkpoints.last()?.join("state.json")).ok()?;
    let state: serde_json::Value = serde_json::from_str(&text).ok()?;
    let points: Vec<[f64; 2]> =
        serde_json::from_value(state["estimator"]["archive"]["points"].clone()).ok()?;
    (!points.is_empty()).then_some(points)
}
