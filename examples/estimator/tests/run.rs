//! The program as its user meets it: what the estimator remembers is part of the checkpoint.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
const PROGRAM: &str = env!("CARGO_BIN_EXE_paretopo-example-estimator");
/// A run of seconds, with a checkpoint behind each step.
const SMALL: [&str; 7] = [
    "train.steps=3",
    "train.prompts_per_step=2",
    "train.rollouts_per_prompt=4",
    "train.validate_every=0",
    "train.checkpoint_every=1",
    "evaluation.tasks=4",
    "workers=1",
];

fn command(program: &str, config: &Path, run: &Path, settings: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("--quiet").arg("train").arg(config).arg("--run").arg(run);
    settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
    command.stdout(Stdio::null());
    command
}

fn weights(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("policy/model.safetensors")).unwrap()
}

/// What the estimator remembers after a step.
fn state(run: &Path, step: usize) -> serde_json::Value {
    let file = run.join(format!("checkpoints/step-{step:06}/state.json"));
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    state["estimator"].clone()
}

#[test]
fn an_interrupted_run_ends_like_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    assert!(command(PROGRAM, CONFIG.as_ref(), &whole, &SMALL).status().unwrap().success());
    // killed behind the first checkpoint
    let mut child = command(PROGRAM, CONFIG.as_ref(), &killed, &SMALL).spawn().unwrap();
    let started = Instant::now();
    while !killed.join("checkpoints/step-000001").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!killed.join("policy").exists(), "it ended before it was killed");
    let first = state(&killed, 1);
    assert_eq!(first["type"], "moving_baseline");
    assert!(first["state"]["value"].is_number(), "{first}");

    // a program without the estimator says what is missing, and leaves the run as it is
    let config = killed.join("config.toml");
    let without = env!("CARGO_BIN_EXE_without");
    for config in [&config, Path::new(CONFIG)] {
        let refused = command(without, config, &killed, &[]).output().unwrap();
        let error = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{error}");
        assert!(error.contains("`moving_baseline` is none of `paretopo`, `grpo`"), "{error}");
    }
    assert_eq!(state(&killed, 1), first);

    assert!(command(PROGRAM, CONFIG.as_ref(), &killed, &SMALL).status().unwrap().success());
    assert_eq!(weights(&whole), weights(&killed));
    assert_eq!(state(&whole, 3), state(&killed, 3));
    assert_ne!(state(&whole, 3), first);
}

#[test]
fn help_knows_it_and_mistakes_are_named_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let help = Command::new(PROGRAM).args(["train", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("`, `moving_baseline`"), "{help}");
    let config = std::fs::read_to_string(CONFIG).unwrap();
    for (right, wrong, parts) in [
        ("decay = 0.9", "decai = 0.9", ["line 5, column 1", "`decai`"]),
        ("decay = 0.9", "decay = 2", ["line 5, column 9", "`2` is not a number from 0 to 1"]),
        ("0.6, 0.4", "0.6", ["`estimator.weights`", "1 values for 2 objectives"]),
    ] {
        assert!(config.contains(right), "{right}");
        let file = folder.path().join("bad.toml");
        std::fs::write(&file, config.replace(right, wrong)).unwrap();
        let output = command(PROGRAM, &file, &folder.path().join("run"), &[]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let is_said = parts.iter().all(|part| error.contains(part));
        assert!(output.status.code() == Some(2) && is_said, "{wrong}: {error}");
    }
}
