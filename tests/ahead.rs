//! Rollouts of later steps that are played while a step's update runs.

use crate::{checkout, weights};
use paretopo_training::RunConfig;
use std::path::Path;
use std::process::{Command, Output};

const STEPS: usize = 5;

fn train(run: &Path, settings: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    child.args(["--quiet", "train"]).arg(checkout("experiments/math/paretopo.toml"));
    child.arg("--run").arg(run);
    let small = [
        "train.steps=5",
        "train.prompts_per_step=2",
        "train.rollouts_per_prompt=4",
        "train.optimizer.learning_rate=1e-3",
        "train.save_trajectories_every=1",
        "train.checkpoint_every=1",
        "evaluation.tasks=4",
        "evaluation.head_skill=false",
        "rollout.max_sampled_tokens=40",
    ];
    for setting in small.iter().chain(settings) {
        child.args(["--set", setting]);
    }
    child.output().unwrap()
}

#[track_caller]
fn succeed(run: &Path, settings: &[&str]) {
    let output = train(run, settings);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The version of the weights that sampled each step, which all its trajectories share.
fn versions(run: &Path) -> Vec<u64> {
    let of_step = |step: usize| {
        let path = run.join(format!("trajectories/step-{step:06}.jsonl"));
        let found: Vec<u64> = lines(&path)
            .iter()
            .flat_map(|own| own["segments"].as_array().unwrap().clone())
            .filter_map(|segment| segment["weight_version"].as_u64())
            .collect();
        assert!(found.windows(2).all(|two| two[0] == two[1]), "{found:?}");
        found[0]
    };
    (0..STEPS).map(of_step).collect()
}

#[test]
fn each_step_learns_from_weights_so_many_steps_behind() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    for (lag, wanted) in [("0", [0, 1, 2, 3, 4]), ("1", [0, 0, 1, 2, 3]), ("2", [0, 0, 0, 1, 2])] {
        let run = place(lag);
        let setting = format!("train.max_staleness={lag}");
        // a validation in between is of the weights that there are
        succeed(&run, &[&setting, "train.validate_every=2"]);
        assert_eq!(versions(&run), wanted, "{lag}");
        for (step, metrics) in lines(&run.join("metrics.jsonl")).iter().enumerate() {
            let staleness = step as u64 - wanted[step];
            assert_eq!(metrics["staleness"].as_f64(), Some(staleness as f64));
            // else the policy has moved meanwhile
            assert_eq!(metrics["logprob_mismatch"].is_null(), staleness > 0, "{metrics}");
        }
    }
    // whatever the clock says
    succeed(&place("again"), &["train.max_staleness=2", "train.validate_every=2"]);
    assert_eq!(weights(&place("again")), weights(&place("2")));
    assert_ne!(weights(&place("2")), weights(&place("0")));
    // prompts come in the same order, each once
    let tasks = |name: &str| -> Vec<serde_json::Value> {
        let of_step =
            |step: usize| lines(&place(name).join(format!("trajectories/step-{step:06}.jsonl")));
        (0..STEPS).flat_map(of_step).map(|own| own["id"].clone()).collect()
    };
    assert_eq!(tasks("2"), tasks("0"));
}

#[test]
fn a_run_that_was_stopped_goes_on_with_what_was_ordered() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let settings = ["train.max_staleness=2", "train.validate_every=0"];
    let mut half = settings.to_vec();
    // it stops behind step 3: what was ordered for later is lost with the process
    half.push("train.old_logprobs=recompute");
    half.push("train.importance_cap=2.0");
    succeed(&run, &half);
    let whole = lines(&run.join("metrics.jsonl"));
    assert!(whole.iter().all(|step| step["importance/mean"].as_f64().unwrap() > 0.0));
    // back to the checkpoint of step 4, as after a kill
    std::fs::remove_dir_all(run.join("policy")).unwrap();
    std::fs::remove_file(run.join("evaluation.json")).unwrap();
    let checkpoints = run.join("checkpoints");
    let mut steps: Vec<_> =
        std::fs::read_dir(&checkpoints).unwrap().map(|entry| entry.unwrap().path()).collect();
    steps.sort();
    std::fs::remove_dir_all(steps.pop().unwrap()).unwrap();
    succeed(&run, &half);
    let again = lines(&run.join("metrics.jsonl"));
    assert_eq!(again.len(), STEPS);
    // its last step was played anew, with the weights of the checkpoint
    assert_eq!(again[4]["staleness"].as_f64(), Some(0.0));
    assert_eq!(again[3]["staleness"].as_f64(), Some(2.0));
}

#[test]
fn a_failure_of_the_player_is_the_runs() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        ["train.max_staleness=1", "generator={ type = 'vllm', urls = ['http://127.0.0.1:9'] }"];
    let output = train(&folder.path().join("run"), &settings);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is vLLM running there?"), "{said}");
}

#[test]
fn replaced_groups_are_refused_beside_it() {
    let settings = ["train.max_staleness=1".to_owned(), "train.refill_rounds=1".to_owned()];
    let error = RunConfig::parse("", "", &settings).unwrap_err().to_string();
    assert!(error.contains("`train.max_staleness` needs `train.refill_rounds = 0`"), "{error}");
}
