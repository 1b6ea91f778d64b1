//! The program as its user meets it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml");
/// A run of seconds.
const SMALL: [&str; 8] = [
    "train.steps=2",
    "train.prompts_per_step=2",
    "train.rollouts_per_prompt=4",
    "train.save_trajectories_every=1",
    "train.validate_every=0",
    "evaluation.tasks=4",
    "sft.steps=2",
    "sft.batch_size=4",
];

/// Exit code, standard output and standard error.
fn run(folder: &Path, arguments: &[&str], settings: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo-example-environment"));
    command.current_dir(folder).arg("--quiet").args(arguments);
    settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn done(folder: &Path, arguments: &[&str], settings: &[&str]) -> String {
    let (code, out, error) = run(folder, arguments, settings);
    assert_eq!(code, 0, "{arguments:?}: {error}");
    out
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn it_trains_and_goes_on_and_the_tool_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    done(here, &["train", CONFIG, "--run", "run"], &SMALL);
    assert!(here.join("run/policy/model.safetensors").exists());
    // the shipped policy knows nothing of boxes, but how to call a tool
    let file = here.join("run/trajectories/step-000001.jsonl");
    let episodes = std::fs::read_to_string(file).unwrap();
    assert!(episodes.contains(r#""name":"python""#) && episodes.contains(r#""text":"error""#));
    assert!(["-pens", "-eggs", "-books"].iter().any(|thing| episodes.contains(thing)));
    // the same command once more makes no step again
    done(here, &["train", CONFIG, "--run", "run"], &SMALL);
    assert_eq!(lines(&here.join("run/metrics.jsonl")), 2);
}

#[test]
fn it_learns_from_demonstrations() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["sft", CONFIG, "--run", "warm"], &SMALL);
    assert!(folder.path().join("warm/policy/model.safetensors").exists());
}

#[test]
fn help_completions_and_new_know_the_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for recipe in ["train", "sft", "evaluate", "plan", "compare", "new"] {
        let help = done(here, &[recipe, "--help"], &[]);
        assert!(
            help.contains("`qa`, `openenv`, `boxes`") && help.contains(", `packing`"),
            "{help}"
        );
    }
    assert!(done(here, &["completions", "bash"], &[]).contains("paretopo-example-environment"));
    done(here, &["new", "config", "new.toml"], &[]);
    assert!(lines(&here.join("new.toml")) > 50);
    let plan = done(here, &["train", CONFIG, "--dry-run"], &["environment.most=12"]);
    assert!(plan.contains("type = \"boxes\"\nseed = 1\nmost = 12\n"), "{plan}");
    assert!(plan.contains("type = \"packing\"") && plan.contains("max_calls = 2"), "{plan}");
    assert!(!here.join("runs").exists());
}

#[test]
fn mistakes_in_its_settings_are_named_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(CONFIG).unwrap();
    for (right, wrong, parts) in [
        ("most = 30", "moost = 30", ["line 5, column 1", "`moost`"]),
        ("most = 30", "most = 3", ["line 5, column 8", "a whole number from 9 to 1000"]),
        ("unknown =", "unknwon =", ["line 13, column 1", "`unknwon`"]),
        (
            "\"packing\"",
            "\"paking\"",
            ["line 8, column 8", "`python`, `search`, `command`, `http`, `mcp`, `packing`"],
        ),
    ] {
        assert!(config.contains(right), "{right}");
        std::fs::write(folder.path().join("bad.toml"), config.replace(right, wrong)).unwrap();
        let (code, _, error) = run(folder.path(), &["train", "bad.toml"], &[]);
        let is_said = parts.iter().all(|part| error.contains(part));
        assert!(code == 2 && is_said, "{wrong}: {code} {error}");
    }
}

#[test]
fn it_is_compared_like_our_own() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = concat!(env!("CARGO_MANIFEST_DIR"), "/experiment.toml");
    let table = done(folder.path(), &["compare", experiment, "--out", "out"], &SMALL[..6]);
    assert!(table.contains("untrained") && table.contains("ParetoPO"), "{table}");
}
