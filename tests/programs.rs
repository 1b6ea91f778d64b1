//! A configuration is code: it names programs. Dry runs and plans start none of them, and say which
//! a run would start.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A program that leaves a mark in its folder, and a configuration that names it.
fn scene(folder: &Path) {
    let program = folder.join("bin/interpreter");
    std::fs::create_dir(folder.join("bin")).unwrap();
    let text = format!("#!/bin/sh\ntouch {}/mark\nexit 1\n", folder.display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = "[environment]\ntype = \"math\"\npython = { interpreter = \"cpython\", cpython = \
                  { interpreter = \"bin/interpreter\" } }\n[[objectives]]\ntype = \"task\"\n\
                  [[objectives]]\ntype = \"command\"\nname = \"r_judge\"\nprogram = { command = \
                  \"bin/judge\" }\n";
    std::os::unix::fs::symlink(&program, folder.join("bin/judge")).unwrap();
    std::fs::write(folder.join("config.toml"), config).unwrap();
    let methods = "[[methods]]\nname = \"a\"\nconfig = \"config.toml\"\n";
    std::fs::write(folder.join("experiment.toml"), format!("seeds = [1, 2]\n{methods}")).unwrap();
}

fn paretopo(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn dry_runs_and_plans_start_no_program_and_name_those_that_a_run_starts() {
    let folder = tempfile::tempdir().unwrap();
    let here = &std::fs::canonicalize(folder.path()).unwrap();
    scene(here);
    let mark = here.join("mark");
    let named = |arguments: &[&str]| {
        let output = paretopo(here, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        assert!(!mark.exists(), "{arguments:?} started a program");
        assert!(!here.join("runs").exists(), "{arguments:?} wrote a run");
        text
    };
    let program = here.join("bin/interpreter");
    let line = format!("  {}: runs the policy's programs, sandboxed", program.display());
    let judge = here.join("bin/judge");
    let target = program.display();
    let judge = format!("  {} ({target}): judges the policy's episodes", judge.display());
    let itself = "(this program): renders chat templates";
    for arguments in [
        &["train", "config.toml", "--dry-run"][..],
        &["sft", "config.toml", "--dry-run"],
        &["evaluate", "config.toml", "--dry-run"],
        &["solve", "1+1?", "config.toml", "--dry-run"],
        &["plan", "config.toml"],
        &["plan", "config.toml", "--dry-run"],
        &["compare", "experiment.toml", "--dry-run"],
    ] {
        let text = named(arguments);
        assert!(text.contains("starts these programs and no others:"), "{arguments:?}: {text}");
        assert!(text.contains(&line) && text.contains(itself), "{arguments:?}: {text}");
        assert!(text.contains(&judge), "{arguments:?}: {text}");
    }
    let runs = named(&["compare", "experiment.toml", "--dry-run"]);
    assert!(runs.contains("runs/compare/runs/a-2: a (seed 2)"), "{runs}");
    // the default starts nothing but itself, and the built-in experiment can be looked at, too
    let default = named(&["train", "--dry-run"]);
    assert!(!default.contains("sandboxed") && default.contains(itself), "{default}");
    assert!(named(&["compare", "--dry-run"]).contains("GDPO w 0.40 (seed 1)"));
    // what is found on the way is named by where it is
    let path = format!("{}/bin:{}", here.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(["plan", "config.toml", "--set"]).current_dir(here).env("PATH", path);
    command.arg("environment.python.cpython.interpreter=interpreter");
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(text.contains(&line) && !mark.exists(), "{text}");
    let missing = "environment.python.cpython.interpreter=no-such-program";
    let text = named(&["plan", "config.toml", "--set", missing]);
    assert!(text.contains("  no-such-program (not found): runs"), "{text}");
    // the mark is a mark: a run does start it
    let output = paretopo(here, &["evaluate", "config.toml", "-q"]);
    assert!(!output.status.success() && mark.exists());
}
