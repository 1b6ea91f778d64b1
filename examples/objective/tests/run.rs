//! The program as its user meets it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
/// A run of seconds.
const SMALL: [&str; 6] = [
    "train.steps=2",
    "train.prompts_per_step=2",
    "train.rollouts_per_prompt=4",
    "train.save_trajectories_every=1",
    "train.validate_every=0",
    "evaluation.tasks=4",
];

/// Exit code, standard output and standard error.
fn run(folder: &Path, arguments: &[&str], settings: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo-example-objective"));
    command.current_dir(folder).arg("--quiet").args(arguments);
    settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn three_objectives_are_trained_and_the_same_command_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (code, _, error) = run(folder.path(), &["train", CONFIG, "--run", "run"], &SMALL);
        assert_eq!(code, 0, "{error}");
    }
    let read = |name: &str| std::fs::read_to_string(folder.path().join("run").join(name)).unwrap();
    let metrics = read("metrics.jsonl");
    assert!(metrics.lines().count() == 2 && metrics.contains("r_fresh"), "{metrics}");
    // as the formula says: a share of a half, and one repeat is forgiven
    let mut episodes = 0;
    for line in read("trajectories/step-000001.jsonl").lines() {
        let played: serde_json::Value = serde_json::from_str(line).unwrap();
        let calls = played["calls"].as_array().unwrap();
        let distinct: std::collections::BTreeSet<String> =
            calls.iter().map(|record| record["call"].to_string()).collect();
        let repeats = calls.len() - distinct.len();
        let wanted = 0.5f64.powi(repeats.saturating_sub(1) as i32);
        assert_eq!(played["objectives"]["r_fresh"], wanted, "{line}");
        episodes += 1;
    }
    assert_eq!(episodes, 8);
}

#[test]
fn help_knows_it_and_mistakes_are_named_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (_, help, _) = run(here, &["train", "--help"], &[]);
    assert!(help.contains("`format`") && help.contains("`fresh_calls`"), "{help}");
    let (code, shown, _) = run(here, &["train", CONFIG, "--dry-run"], &[]);
    assert!(code == 0 && shown.contains("type = \"fresh_calls\"\nshare = 0.5\n"), "{shown}");
    let config = std::fs::read_to_string(CONFIG).unwrap();
    for (right, wrong, parts) in [
        ("forgiven = 1", "forgive = 1", ["line 12, column 1", "`forgive`"]),
        ("share = 0.5", "share = 1.5", ["line 11, column 9", "`1.5` is not a number from 0 to 1"]),
        ("0.5, 0.3, 0.2", "0.5, 0.5", ["`estimator.weights`", "2 values for 3 objectives"]),
    ] {
        assert!(config.contains(right), "{right}");
        std::fs::write(here.join("bad.toml"), config.replace(right, wrong)).unwrap();
        let (code, _, error) = run(here, &["train", "bad.toml"], &[]);
        let is_said = parts.iter().all(|part| error.contains(part));
        assert!(code == 2 && is_said, "{wrong}: {code} {error}");
    }
}
