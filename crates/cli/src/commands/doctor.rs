//! What this machine offers to hold programs that a model wrote. Nothing is concluded from version
//! numbers: each way of running programs is tried with one.

use super::python_worker;
use crate::output::outln;
use crate::problem::Problem;
use paretopo_tools::{PythonConfig, PythonInterpreter, PythonTool};
use paretopo_trajectory::CallStatus;
use std::path::Path;
use std::time::{Duration, Instant};

/// A way of running programs, and what it does not hold.
struct Way {
    settings: &'static str,
    config: PythonConfig,
    open: &'static str,
}

pub(super) fn doctor() -> Result<(), Problem> {
    outln!("machine");
    outln!("  kernel       {}", kernel());
    outln!("  cgroup v2    {}", cgroups());
    outln!("  temporary    {}", std::env::temp_dir().display());
    outln!("\nways to run programs, each tried with one");
    let mut working = 0;
    for way in ways() {
        outln!("  {}", way.settings);
        match try_out(way.config) {
            Ok((layers, started, ran)) => {
                working += 1;
                outln!("    works       started in {started:.1?}, a program took {ran:.1?}");
                outln!("    held by     {layers}");
                outln!("    not held    {}", way.open);
            }
            Err(reason) => {
                let mut lines = reason.lines();
                outln!("    does not    {}", lines.next().unwrap_or_default());
                for line in lines {
                    outln!("                {line}");
                }
            }
        }
    }
    if working == 0 {
        return Err(Problem::failure("no way to run programs works on this machine"));
    }
    Ok(())
}

fn ways() -> Vec<Way> {
    let default = PythonConfig::default();
    let mut ways = vec![Way {
        settings: "interpreter = \"monty\" (the default)",
        config: default.clone(),
        open: "a hole in the interpreter, which then stands in a process of this user",
    }];
    #[cfg(target_os = "linux")]
    for (settings, walls, open) in [
        (
            "interpreter = \"cpython\", cpython.walls = \"namespaces\"",
            paretopo_tools::Walls::Namespaces,
            "a hole in the kernel; time of the processor",
        ),
        (
            "interpreter = \"cpython\", cpython.walls = \"landlock\"",
            paretopo_tools::Walls::Landlock,
            "a hole in the kernel; time of the processor; names, sizes and dates of files and \
             ids of processes are seen; removed files that are still open take up to 0.5 GiB",
        ),
    ] {
        let cpython = paretopo_tools::CpythonConfig { walls, ..default.cpython.clone() };
        let config =
            PythonConfig { interpreter: PythonInterpreter::Cpython, cpython, ..default.clone() };
        ways.push(Way { settings, config, open });
    }
    ways
}

/// What holds programs, and how long the start and one program took.
fn try_out(config: PythonConfig) -> Result<(String, Duration, Duration), String> {
    let started = Instant::now();
    let worker = python_worker().map_err(|problem| problem.message)?;
    let tool = PythonTool::new(config, worker)?;
    let start = started.elapsed();
    let started = Instant::now();
    let outcome = tool.run("print(6 * 7)", Instant::now() + Duration::from_secs(10));
    if (outcome.status, outcome.text.as_str()) != (CallStatus::Ok, "42") {
        return Err(format!("`print(6 * 7)` gave {:?}: {}", outcome.status, outcome.text));
    }
    let layers = match tool.layers() {
        [] => "the language itself, a worker process with limits".to_owned(),
        layers => layers.join(", "),
    };
    Ok((layers, start, started.elapsed()))
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.lines().next().unwrap_or("unknown").to_owned()
}

/// They are not needed: memory is held by limits of each process and the size of its scratch
/// folder.
fn cgroups() -> &'static str {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "there, not used"
    } else {
        "not there, not needed"
    }
}
