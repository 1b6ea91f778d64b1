//! Numbers that are not numbers, and episodes that all failed: a run stops and says so, before
//! anything good is overwritten.

use crate::{Plain, checkout, plain};
use paretopo_models::{
    AutoFamily, CheckpointError, NamedTensor, SavedTensor, load_folder, load_tensors, write_tensors,
};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the program in a folder; each text is an argument, and those with `=` are settings.
fn paretopo(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.current_dir(folder).arg("-q");
    for argument in arguments {
        if argument.contains('=') {
            command.arg("--set");
        }
        command.arg(argument);
    }
    command.output().unwrap()
}

/// Exit code, and what was said on standard error.
fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn assert_stops(output: &Output, code: i32, parts: &[&str]) {
    let (found, message) = said(output);
    assert_eq!(found, code, "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

/// Rewrites a safetensors file with some values changed.
fn rewrite(path: &Path, change: impl Fn(&str, &mut Vec<f32>)) {
    let mut tensors: Vec<NamedTensor> = load_tensors(path).unwrap().into_values().collect();
    tensors.iter_mut().for_each(|tensor| change(&tensor.name, &mut tensor.values));
    let saved: Vec<_> = tensors.into_iter().map(SavedTensor::from).collect();
    write_tensors(path, &saved).unwrap();
}

/// The shipped policy in `folder`, with some values changed.
fn changed_policy(folder: &Path, change: impl Fn(&str, &mut Vec<f32>)) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    for entry in std::fs::read_dir(checkout("models/tiny-math")).unwrap().flatten() {
        std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    rewrite(&folder.join("model.safetensors"), change);
    folder.to_owned()
}

const TENSOR: &str = "model.layers.0.mlp.up_proj.weight";

fn with_one_value(folder: &Path, value: f32) -> PathBuf {
    changed_policy(folder, |name, values| {
        if name == TENSOR {
            values[7] = value;
        }
    })
}

/// A policy of sound numbers whose first layer multiplies three of 1e15.
fn overflowing(folder: &Path) -> PathBuf {
    changed_policy(folder, |name, values| {
        if name.starts_with("model.layers.0.mlp") {
            values.fill(1e15);
        }
    })
}

/// A policy whose hidden state is 1 everywhere: the logit of each token is the sum of its
/// embedding, `128 * 3` for all but the end, which has 0.
fn talking_on(folder: &Path) -> PathBuf {
    const END: usize = 4;
    changed_policy(folder, |name, values| {
        if name == "model.embed_tokens.weight" {
            values.fill(3.0);
            values[END * 128..(END + 1) * 128].fill(0.0);
        } else if name == "model.norm.weight" {
            values.fill(1.0);
        } else if name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") {
            values.fill(0.0);
        }
    })
}

const SHORT: [&str; 8] = [
    "train.prompts_per_step=3",
    "train.rollouts_per_prompt=4",
    "train.checkpoint_every=1",
    "train.validate_every=0",
    "evaluation.tasks=4",
    "sft.steps=3",
    "sft.batch_size=4",
    "sft.optimizer.warmup_updates=0",
];

fn short<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &SHORT[..]].concat()
}

fn listing(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>());
    let name = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.unwrap_or_default().iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_value_that_no_weight_may_have_is_refused_at_load() {
    let folder = tempfile::tempdir().unwrap();
    let load = |value: f32| {
        let policy = with_one_value(&folder.path().join("policy"), value);
        load_folder::<AutoFamily, Plain>(&policy, &plain())
    };
    // the square of 1.9e19, 3.6e38, is beyond the largest f32
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.9e19, -3e38] {
        match load(bad) {
            Err(CheckpointError::NotFinite { path, found }) => {
                assert!(path.starts_with(folder.path()), "{path:?}");
                assert_eq!((found.tensor.as_str(), found.value.to_bits()), (TENSOR, bad.to_bits()));
            }
            other => panic!("{bad}: {other:?}"),
        }
    }
    for sound in [0.0, -0.0, 1e-45, 1.8e19, -1.8e19] {
        assert!(load(sound).is_ok(), "{sound}");
    }
}

#[test]
fn every_command_refuses_a_policy_that_is_not_finite() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    with_one_value(&here.join("broken"), f32::NAN);
    std::fs::write(here.join("ids.jsonl"), "{\"ids\":[1,2,3]}\n").unwrap();
    for command in [
        &["train", "--model", "broken", "--run", "run"][..],
        &["sft", "--model", "broken", "--run", "run-sft"],
        &["evaluate", "--model", "broken", "--out", "out"],
        &["solve", "--model", "broken", "What is 3+4?"],
        &["score", "broken", "ids.jsonl"],
    ] {
        let output = paretopo(here, command);
        assert_stops(&output, 2, &["broken/model.safetensors", TENSOR, "holds NaN"]);
        assert!(output.stdout.is_empty(), "{command:?}");
    }
    assert!(!here.join("out/evaluation.json").exists() && !here.join("run/best").exists());
}

#[test]
fn logits_that_overflow_are_an_error_and_no_episode() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    overflowing(&here.join("large"));
    std::fs::write(here.join("ids.jsonl"), "{\"ids\":[1,2,3]}\n").unwrap();
    let place = "that of `model.layers.0`";
    for (command, said) in [
        (&["evaluate", "--model", "large", "--out", "out", "evaluation.tasks=4"][..], "for task `"),
        (&["solve", "--model", "large", "What is 3+4?"], "for task `question`"),
        (&["score", "large", "ids.jsonl"], "request 1"),
        (&["train", "--model", "large", "--run", "run"], "step 0: "),
        (&["train", "--model", "large", "--run", "run2", "train.validate_every=0"], "step 0: "),
    ] {
        assert_stops(&paretopo(here, command), 1, &["overflows", place, said]);
    }
    // the gradient is what is not finite here, and its parameters are named
    let sft = paretopo(here, &short(&["sft", "--model", "large", "--run", "run-sft"]));
    assert_stops(&sft, 1, &["step 0: loss ", "`model.", "failed-step-000000.json"]);
    let episodes = std::fs::read_to_string(here.join("out/finished.jsonl")).unwrap();
    assert_eq!(episodes, "");
    assert!(!here.join("out/evaluation.json").exists() && !here.join("run/best").exists());
    assert!(listing(&here.join("run/trajectories")).is_empty());
}

/// A run of two steps that goes on from its first checkpoint, in which a value of every first
/// moment is `value`.
fn with_first_moments(run: &Path, value: f32) {
    for gone in ["checkpoints/step-000002", "policy"] {
        std::fs::remove_dir_all(run.join(gone)).unwrap();
    }
    std::fs::remove_file(run.join("evaluation.json")).unwrap();
    let checkpoint = run.join("checkpoints/step-000001");
    let moments = checkpoint.join("optimizer.safetensors");
    rewrite(&moments, |name, values| {
        if name.starts_with("first.") {
            values[0] = value;
        }
    });
    // the checkpoint is whole as far as its checksums say
    let path = checkpoint.join("checksums.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut sums: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let sum = blake3::hash(&std::fs::read(&moments).unwrap()).to_hex().to_string();
    sums.insert("optimizer.safetensors".into(), sum.into());
    std::fs::write(&path, serde_json::to_vec(&sums).unwrap()).unwrap();
}

/// Gradients are clipped to a norm of 1, so a second moment is at most 1. A first moment of 1e19
/// then moves its weight by some 1e19 / 1 and more at a learning rate of 1; beyond 1.8e19 a weight
/// cannot be squared.
#[test]
fn an_update_that_breaks_the_policy_ends_the_run_before_anything_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // a broken policy is no bad batch that could be left out
    for (name, handling, extra) in [
        ("stop", "stop", "seed=3"),
        ("skip", "skip", "seed=3"),
        ("lora", "stop", "lora={ rank = 2 }"),
    ] {
        let bad_numbers = format!("train.bad_numbers={handling}");
        let rate = "train.optimizer.learning_rate=1";
        let run = ["train", "--run", name, "train.steps=2", &bad_numbers, extra, rate];
        let begun = paretopo(here, &short(&run));
        assert_eq!(said(&begun).0, 0, "{}", said(&begun).1);
        with_first_moments(&here.join(name), 1e19);
        let before = std::fs::read(here.join(name).join("metrics.jsonl")).unwrap();
        let parts = ["step 1: after update ", "` holds "];
        assert_stops(&paretopo(here, &short(&run)), 1, &parts);
        assert_eq!(listing(&here.join(name).join("checkpoints")), ["step-000001"]);
        assert!(!here.join(name).join("policy").exists());
        assert!(!here.join(name).join("evaluation.json").exists());
        let after = std::fs::read(here.join(name).join("metrics.jsonl")).unwrap();
        assert!(before.starts_with(&after) && !after.is_empty());
    }
}

#[test]
fn an_adapter_that_is_not_finite_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let run = ["train", "--run", "run", "lora={ rank = 2, targets = [\"q_proj\"] }"];
    assert!(paretopo(here, &short(&[&run[..], &["train.steps=1"]].concat())).status.success());
    let evaluate = ["evaluate", "--model", "tiny-math", "--adapter", "run/adapter"];
    assert!(paretopo(here, &short(&evaluate)).status.success());
    let name = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight";
    rewrite(&here.join("run/adapter/adapter_model.safetensors"), |tensor, values| {
        if tensor == name {
            values[0] = f32::INFINITY;
        }
    });
    let parts = ["run/adapter/adapter_model.safetensors", name, "holds inf"];
    assert_stops(&paretopo(here, &short(&evaluate)), 2, &parts);
    // frozen weights that f16 cannot hold
    with_one_value(&here.join("large"), 1e5);
    let half = ["evaluate", "--model", "large", "--adapter", "run/adapter", "precision=f16"];
    assert_stops(&paretopo(here, &short(&half)), 2, &[TENSOR, "100000", "f16 cannot hold"]);
}

#[test]
fn steps_whose_episodes_all_failed_stop_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // a policy that never ends a response, whose tokens take longer than a millisecond
    talking_on(&here.join("talking"));
    let policy = "policy={ type = \"folder\", path = \"talking\" }";
    let slow = [policy, "rollout.episode_seconds=0.001"];
    let late = [&["train", "--run", "late"][..], &slow].concat();
    let all = "all 12 episodes failed; the commonest reason (100%): its deadline passed";
    let third = "step 2, the last of 3 failed steps in a row: ";
    let kept = "late/trajectories/failed-step-000002.jsonl";
    assert_stops(&paretopo(here, &short(&late)), 1, &[third, all, kept]);
    assert_eq!(std::fs::read_to_string(here.join(kept)).unwrap().lines().count(), 12);
    // nothing is left of the failed steps: the run goes on from before them
    assert!(listing(&here.join("late/checkpoints")).is_empty());
    let once = [&["train", "--run", "once"][..], &slow].concat();
    let limit = ["train.stop_after_failed_steps=1"];
    assert_stops(&paretopo(here, &short(&[&once[..], &limit].concat())), 1, &["step 0: all 12"]);
    // a run shorter than the limit fails at its evaluation
    let short_run = [&["train", "--run", "short", "train.steps=2"][..], &slow].concat();
    let parts = ["the evaluation of the trained policy: all 4 episodes failed", "evaluation.jsonl"];
    assert_stops(&paretopo(here, &short(&short_run)), 1, &parts);
    assert!(!here.join("short/evaluation.json").exists());
}

#[test]
fn wrong_answers_and_silence_are_no_failures() {
    let folder = tempfile::tempdir().unwrap();
    // one token: no answer, no call, everything is cut off
    let run = ["train", "--run", "run", "train.steps=4", "rollout.max_sampled_tokens=1"];
    let output = paretopo(folder.path(), &short(&run));
    assert_eq!(said(&output), (0, String::new()));
}

/// A SandboxFusion server that is not there at first, and then is.
#[test]
fn a_run_stops_while_its_server_is_down_and_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let python = format!(
        "environment.python={{ interpreter = \"sandbox_fusion\", sandbox_fusion = {{ url = \"http://{address}\" }} }}"
    );
    let run = short(&["train", "--run", "run", "train.steps=4", &python]);
    let reason = format!("ToolError: http://{address}");
    let parts = ["the ", " of 12 episodes that called a tool or were ended all failed", &reason];
    assert_stops(&paretopo(here, &run), 1, &[&parts[..], &["step 2, the last of 3"]].concat());
    let evaluate = ["evaluate", "--out", "out", "evaluation.tasks=12", &python];
    let out = here.join("out");
    for _ in 0..2 {
        assert_stops(&paretopo(here, &evaluate), 1, &[&parts[..], &["out/failed.jsonl"]].concat());
        let failed = std::fs::read_to_string(out.join("failed.jsonl")).unwrap();
        assert_eq!(failed.lines().count(), 12);
        assert!(failed.contains("\"fault\":\"tool\""), "{failed}");
        assert!(!out.join("evaluation.json").exists() && !out.join("finished.jsonl").exists());
    }
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        let body = r#"{"status":"Success","message":"","run_result":{"status":"Finished","return_code":0,"stdout":"7\n","stderr":""}}"#;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 65536];
                let _ = stream.read(&mut request);
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
                let _ = write!(stream, "{head} {}\r\n\r\n{body}", body.len());
            });
        }
    });
    assert_eq!(said(&paretopo(here, &run)), (0, String::new()));
    assert_eq!(said(&paretopo(here, &evaluate)).0, 0);
    assert!(out.join("evaluation.json").exists());
    let metrics = std::fs::read_to_string(here.join("run/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 4);
}

#[test]
fn a_search_server_that_is_down_stops_run_and_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let qa = std::fs::read_to_string(checkout("experiments/qa/paretopo.toml")).unwrap();
    let remote = "passages = { type = \"remote\", url = \"http://127.0.0.1:1/retrieve\" }";
    let qa = qa.replace("type = \"qa\"", &format!("type = \"qa\"\n{remote}"));
    std::fs::write(here.join("qa.toml"), qa).unwrap();
    let parts = ["SearchError: ", "127.0.0.1:1", "the commonest reason ("];
    let run = paretopo(here, &short(&["train", "qa.toml", "--run", "run"]));
    assert_stops(&run, 1, &[&parts[..], &["step 2, the last of 3"]].concat());
    let evaluation = paretopo(here, &short(&["evaluate", "qa.toml"]));
    assert_stops(&evaluation, 1, &[&parts[..], &["the evaluation"]].concat());
}

/// An earlier version wrote fewer settings; its run goes on.
#[test]
fn a_run_folder_without_a_setting_that_is_new_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let run = short(&["train", "--run", "run", "train.steps=1"]);
    assert!(paretopo(here, &run).status.success());
    let path = here.join("run/config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let old: String = text
        .lines()
        .filter(|line| !line.starts_with("stop_after_failed_steps"))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_ne!(old, text);
    std::fs::write(&path, old).unwrap();
    assert_eq!(said(&paretopo(here, &run)), (0, String::new()));
    let other = [&run[..], &["train.stop_after_failed_steps=4"]].concat();
    assert_stops(&paretopo(here, &other), 2, &["`stop_after_failed_steps = 3`"]);
}
