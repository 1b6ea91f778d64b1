//! `doctor RUN`: faults that are put into real runs are found, a healthy run raises nothing.

use crate::checkout;
use std::path::Path;
use std::process::{Command, Output};

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paretopo")).args(arguments).output().unwrap()
}

/// Trains in the graded world, and says what the doctor thinks of it.
fn trained(run: &Path, steps: u64, settings: &[&str]) -> (Option<i32>, String) {
    let config = checkout("experiments/math/paretopo.toml");
    let mut arguments = vec!["-q", "train", config.to_str().unwrap(), "--run"];
    arguments.push(run.to_str().unwrap());
    let steps = format!("train.steps={steps}");
    let usual = [&steps, "evaluation.tasks=20", "evaluation.head_skill=false", "workers=1"];
    for setting in usual.iter().chain(settings) {
        arguments.extend(["--set", *setting]);
    }
    let output = program(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = program(&["doctor", run.to_str().unwrap()]);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// The titles of what is wrong, which stand alone in a line in capitals.
fn faults(said: &str) -> Vec<&str> {
    let is_title = |line: &&str| {
        !line.is_empty() && line.chars().all(|c| c.is_ascii_uppercase() || " -".contains(c))
    };
    said.lines().filter(is_title).collect()
}

#[test]
fn a_healthy_run_raises_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = trained(folder.path(), 12, &["train.kl.coefficient=0.01"]);
    assert_eq!((code, faults(&said)), (Some(0), vec![]), "{said}");
    assert!(said.contains("12 steps\n") && said.contains("ok  silent groups"), "{said}");
}

#[test]
fn injected_faults_are_found_by_name() {
    let rollouts_that_are_alike = "rollout.sampling.temperature=0.0";
    let calls_that_fail = "tools=[{ type = 'calculator', failure_rate = 0.6 }]";
    for (setting, steps, title, said) in [
        (rollouts_that_are_alike, 10, "SILENT GROUPS", "100% of the groups had no signal"),
        (calls_that_fail, 10, "TOOL ERRORS", "more of luck than of the policy"),
        ("rollout.max_sampled_tokens=8", 10, "TRUNCATION", "of the responses are cut off before"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (code, words) = trained(folder.path(), steps, &[setting]);
        assert_eq!((code, faults(&words)), (Some(1), vec![title]), "{words}");
        let unbroken = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(unbroken.contains(said) && unbroken.contains("Try: - "), "{words}");
        // the run itself has said it once, after its tenth step
        let log = std::fs::read_to_string(folder.path().join("log.txt")).unwrap();
        assert_eq!(log.matches(&format!("warning: {}", title.to_lowercase())).count(), 1, "{log}");
    }
}

#[test]
fn a_policy_that_is_driven_away_has_more_than_one_fault() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ["train.kl.coefficient=0.0001", "train.optimizer.learning_rate=3e-3"];
    let (code, said) = trained(folder.path(), 30, &settings);
    let found = faults(&said);
    assert!(code == Some(1) && found.contains(&"KL RUN-AWAY"), "{said}");
}

#[test]
fn what_is_no_run_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let refused = |said: &str| {
        let output = program(&["doctor", path]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains(said), "{error}");
        assert!(error.contains("\nhint: give the folder of a run"), "{error}");
    };
    refused("config.toml`: ");
    std::fs::write(folder.path().join("config.toml"), "[train]\n").unwrap();
    refused("holds no steps");
}

#[test]
fn every_rule_stands_in_the_documentation() {
    let page = std::fs::read_to_string(checkout("docs/health.md")).unwrap();
    for verdict in paretopo_health::examine(&paretopo_health::Record::default()) {
        assert!(page.contains(&format!("| {} |", verdict.title)), "{}", verdict.title);
    }
}
