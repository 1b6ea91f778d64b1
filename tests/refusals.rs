//! What contradicts a run is refused before it does anything, by its name; what a person should know
//! is said, once.

use crate::checkout;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn paretopo(folder: &Path, arguments: &[&str], settings: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(arguments).current_dir(folder).env("PARETOPO_CACHE", folder.join("cache"));
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

const SMALL: [&str; 6] = [
    "train.prompts_per_step=2",
    "train.rollouts_per_prompt=2",
    "train.validate_every=0",
    "train.save_trajectories_every=0",
    "evaluation.tasks=2",
    "workers=1",
];

/// The shipped policy with another `generation_config.json`; `null` for none.
fn policy(folder: &Path, generation: &Value) {
    std::fs::create_dir_all(folder).unwrap();
    for file in std::fs::read_dir(checkout("models/tiny-math")).unwrap().flatten() {
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let path = folder.join("generation_config.json");
    std::fs::remove_file(&path).unwrap();
    if !generation.is_null() {
        std::fs::write(path, generation.to_string()).unwrap();
    }
}

#[test]
fn a_checkpoints_sampling_is_followed_or_refused_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let follow = "evaluation.checkpoint_sampling=true";
    let settings = [&SMALL[..], &["train.steps=1", "sft.steps=1", follow]].concat();
    let commands: [&[&str]; 3] = [
        &["-q", "train", "--model", "policy", "--run", "train"],
        &["-q", "sft", "--model", "policy", "--run", "sft"],
        &["-q", "evaluate", "--model", "policy"],
    ];
    policy(
        &here.join("policy"),
        &json!({ "eos_token_id": 4, "do_sample": true, "typical_p": 0.9 }),
    );
    for command in commands {
        let error = said(&paretopo(here, command, &settings), 2);
        assert!(
            error.contains("policy/generation_config.json") && error.contains("`typical_p` is 0.9"),
            "{command:?}: {error}"
        );
        let steps = std::fs::read(here.join("train/metrics.jsonl")).unwrap_or_default();
        assert!(steps.is_empty(), "{command:?}");
    }
    // it is nobody's business where it is not followed
    let plain = &settings[..settings.len() - 1];
    said(&paretopo(here, commands[2], plain), 0);
    policy(&here.join("policy"), &Value::Null);
    let error = said(&paretopo(here, commands[2], &settings), 2);
    assert!(error.contains("has no `generation_config.json`"), "{error}");
    // what is supported is followed: so strong a penalty leaves no answer as it was
    let scores = |generation: Value| {
        policy(&here.join("policy"), &generation);
        let output =
            paretopo(here, commands[2], &[&settings[..], &["evaluation.tasks=30"]].concat());
        said(&output, 0);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    let greedy = scores(json!({ "eos_token_id": 4, "do_sample": false }));
    let same = scores(json!({ "eos_token_id": 4, "do_sample": true, "min_p": 1.0 }));
    assert_eq!(greedy, same);
    let penalised = scores(json!({ "eos_token_id": 4, "repetition_penalty": 50.0 }));
    assert_ne!(greedy, penalised);
}

/// Changes a checkpoint's state, and its checksum with it.
fn change_state(checkpoint: &Path, pointer: &str, value: Value) {
    let path = checkpoint.join("state.json");
    let mut state = crate::json(&path);
    *state.pointer_mut(pointer).unwrap() = value;
    let text = state.to_string();
    std::fs::write(&path, &text).unwrap();
    let sums_path = checkpoint.join("checksums.json");
    let mut sums = crate::json(&sums_path);
    sums["state.json"] = blake3::hash(text.as_bytes()).to_hex().to_string().into();
    std::fs::write(&sums_path, sums.to_string()).unwrap();
}

#[test]
fn a_whole_checkpoint_whose_state_contradicts_its_run_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let settings = [&SMALL[..], &["train.steps=2", "train.checkpoint_every=1"]].concat();
    let train = ["-q", "train", "--run", "run"];
    said(&paretopo(here, &train, &settings), 0);
    let checkpoint = here.join("run/checkpoints/step-000002");
    let sound = std::fs::read(checkpoint.join("state.json")).unwrap();
    let metrics = || std::fs::read(here.join("run/metrics.jsonl")).unwrap();
    let before = metrics();
    for (pointer, value, key) in [
        ("/step", json!(99), "`step` is 99"),
        ("/updates", json!(1000), "`updates` is 1000, but may be at most 2"),
        ("/prompts_drawn", json!(5), "`prompts_drawn` is 5"),
        ("/estimator/state/average_gain", json!(-1.0), "`estimator.average_gain` is -1.0"),
        ("/estimator/state/switched", json!(false), "`estimator.switched` is false"),
    ] {
        std::fs::write(checkpoint.join("state.json"), &sound).unwrap();
        change_state(&checkpoint, pointer, value);
        let error = said(&paretopo(here, &train, &settings), 2);
        assert!(
            error.contains("run/checkpoints") && error.contains(key) && error.contains("hint: "),
            "{pointer}: {error}"
        );
        assert_eq!(metrics(), before, "{pointer}");
    }
    // as it was it is resumed
    let state: Value = serde_json::from_slice(&sound).unwrap();
    std::fs::write(checkpoint.join("state.json"), &sound).unwrap();
    change_state(&checkpoint, "/step", state["step"].clone());
    said(&paretopo(here, &train, &settings), 0);
}

#[test]
fn a_reference_above_all_rewards_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let steps = [&SMALL[..], &["train.steps=4"]].concat();
    let run = |name: &str, reference: &str| {
        let settings = [&steps[..], &[reference, "estimator.switch.at=1"]].concat();
        said(&paretopo(here, &["train", "--run", name], &settings), 0)
    };
    // no reward is above 1: that is known before
    let above = run("above", "estimator.reference=[0, 1]");
    assert!(above.contains("warning: `reference` is 1 in objective 2"), "{above}");
    // below 1, but a response of one token or more is worth at most exp(-1 / 10) = 0.905
    let length = "environment.objectives=[{ type = \"task\" }, { type = \"response_length\", \
                  scale = 10 }]";
    let settings = [&steps[..], &[length, "estimator.reference=[0, 0.95]"]].concat();
    let seen = said(&paretopo(here, &["train", "--run", "seen"], &settings), 0);
    let log = std::fs::read_to_string(here.join("seen/log.txt")).unwrap();
    let stands = "warning: `estimator.reference` is 0.95 in objective 2";
    assert_eq!((seen.matches(stands).count(), log.matches(stands).count()), (1, 1), "{seen}");
    let none = run("none", "estimator.reference=[0, 0]");
    assert!(!none.contains("reference"), "{none}");
}

#[test]
fn ids_that_passages_share_are_mentioned_by_search() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let row = |id: &str, text: &str| format!("{{\"id\":\"{id}\",\"text\":\"{text}\"}}\n");
    let corpus = |rows: [(&str, &str); 3]| {
        let text: String = rows.iter().map(|(id, text)| row(id, text)).collect();
        std::fs::write(here.join("corpus.jsonl"), text).unwrap();
        let output = paretopo(here, &["search", "corpus.jsonl", "--query", "cat"], &[]);
        (said(&output, 0), String::from_utf8(output.stdout).unwrap())
    };
    let (note, hits) = corpus([("a", "cat"), ("a", "cat"), ("b", "dog")]);
    assert!(note.contains("`corpus.jsonl`: 1 id belongs to several passages"), "{note}");
    assert_eq!(hits.lines().count(), 2);
    let (note, _) = corpus([("a", "cat"), ("c", "cat"), ("b", "dog")]);
    assert!(!note.contains("several passages"), "{note}");
}

#[test]
fn a_server_keeps_no_session() {
    let folder = tempfile::tempdir().unwrap();
    let python = "environment.python={ interpreter = \"sandbox_fusion\", session = true, \
                  sandbox_fusion = { url = \"http://127.0.0.1:9\" } }";
    for arguments in [&["-q", "train", "--run", "run"][..], &["train", "--dry-run"]] {
        let text = said(&paretopo(folder.path(), arguments, &[python]), 2);
        assert!(
            text.contains("`tools[0].session` is true, but a `sandbox_fusion` server keeps"),
            "{text}"
        );
        assert!(text.contains("hint: "), "{text}");
    }
    assert!(!folder.path().join("run").exists());
}
