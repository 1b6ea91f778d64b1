//! Runs whose tokens are drawn on servers. The server is a small one of the protocol that computes
//! with the folders it is given, so that numbers are those of the policy.

use crate::{Plain, checkout, json, load, plain};
use paretopo_models::{AutoModel, CausalLm, ForwardInput, freeze, load_adapter, to_host};
use paretopo_training::RunConfig;
use server::{Fault, Manners, Server};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

#[path = "../crates/serving/tests/server/mod.rs"]
#[expect(dead_code, reason = "the tests of the crate misuse more of it")]
pub(crate) mod server;

const POLICY: &str = "models/graded-math";
/// What the variable `PARETOPO_TEST_KEY` of runs holds.
const KEY: &str = "sk-9f2c";

/// The policy with what a folder has: all weights, or an adapter.
fn model(weights: Option<&PathBuf>) -> AutoModel<Plain> {
    let base = || load::<Plain>(&checkout(POLICY), &plain()).1;
    match weights {
        None => base(),
        Some(folder) if folder.join("adapter_config.json").exists() => {
            load_adapter(freeze(base()), folder, &Default::default()).unwrap().1
        }
        Some(folder) => load::<Plain>(folder, &plain()).1,
    }
}

pub(crate) fn serve(manners: Manners) -> Server {
    let models: Mutex<HashMap<Option<PathBuf>, Arc<AutoModel<Plain>>>> = Mutex::default();
    let logits = move |weights: Option<&PathBuf>, ids: &[u32]| {
        let own = models
            .lock()
            .unwrap()
            .entry(weights.cloned())
            .or_insert_with(|| Arc::new(model(weights)))
            .clone();
        let hidden = own.hidden(&ForwardInput::right_padded(&[ids], &Default::default()), None);
        let logits = own.unembed(hidden);
        let size = logits.dims()[2];
        to_host(logits)[(ids.len() - 1) * size..].to_vec()
    };
    Server::start(manners, Box::new(logits))
}

fn paretopo(command: &str, servers: &[&Server], settings: &[&str], place: [&str; 2]) -> Output {
    prepared(command, servers, settings, place).output().unwrap()
}

fn prepared(command: &str, servers: &[&Server], settings: &[&str], place: [&str; 2]) -> Command {
    let urls: Vec<String> = servers.iter().map(|server| format!("'{}'", server.url())).collect();
    let generator = format!(
        "generator={{ type = 'vllm', urls = [{}], backoff_seconds = 0.01 }}",
        urls.join(", ")
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    child.args(["--quiet", command]).arg(checkout("experiments/math/paretopo.toml")).args(place);
    let small = [
        "train.steps=3",
        "train.prompts_per_step=2",
        "train.rollouts_per_prompt=4",
        "train.optimizer.learning_rate=1e-3",
        "evaluation.tasks=4",
        "evaluation.head_skill=false",
        "rollout.max_sampled_tokens=40",
    ];
    let given = if servers.is_empty() { None } else { Some(generator.as_str()) };
    for setting in small.into_iter().chain(given).chain(settings.iter().copied()) {
        child.args(["--set", setting]);
    }
    child.env("PARETOPO_TEST_KEY", KEY);
    child
}

#[track_caller]
fn require_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn metrics(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn train(servers: &[&Server], settings: &[&str]) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = paretopo("train", servers, settings, ["--run", run.to_str().unwrap()]);
    (folder, output)
}

/// Each step's rollouts are of the weights behind the step before it.
#[track_caller]
fn check_learnt(run: &Path) {
    let metrics = metrics(run);
    assert_eq!(metrics.len(), 3);
    for step in &metrics {
        let number = |name: &str| step[name].as_f64().unwrap();
        assert!(number("logprob_mismatch") < 1e-4, "{step}");
        assert!(number("generator/difference") < 1e-4, "{step}");
        assert!(number("generator/update_seconds") > 0.0, "{step}");
    }
    assert!(run.join("policy/model.safetensors").exists());
    assert_eq!(json(&run.join("evaluation.json"))["episodes"], 4);
}

#[test]
fn a_run_gives_servers_each_version_of_its_weights() {
    let fault = Manners { fault: Fault::Cut, faults: 3, after: 2, ..Manners::default() };
    let [one, two] = [serve(Manners::default()), serve(fault)];
    let (folder, output) = train(&[&one, &two], &[]);
    require_success(&output);
    let run = folder.path().join("run");
    check_learnt(&run);
    // the version of the start and one behind each step
    assert_eq!(one.asked("/collective_rpc"), 4);
    let kept: Vec<String> = std::fs::read_dir(run.join("served"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(kept, ["version-3"]);
}

#[test]
fn rollouts_that_are_played_ahead_are_of_the_weights_that_servers_had() {
    let server = serve(Manners::default());
    let settings = ["train.max_staleness=1", "train.save_trajectories_every=1"];
    let (folder, output) = train(&[&server], &settings);
    require_success(&output);
    let run = folder.path().join("run");
    let staleness: Vec<f64> =
        metrics(&run).iter().map(|step| step["staleness"].as_f64().unwrap()).collect();
    assert_eq!(staleness, [0.0, 1.0, 1.0]);
    // versions 0, 1 of the rollouts and 3 of the evaluation
    assert_eq!(server.asked("/collective_rpc"), 3);
    // one that keeps old weights is found by the player
    let server = serve(Manners { keeps_old_weights: true, ..Manners::default() });
    let (_folder, output) = train(&[&server], &settings);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("does not compute with the weights it was given (version 1)"), "{said}");
}

#[test]
fn a_run_gives_servers_each_version_of_its_adapter() {
    let server = serve(Manners::default());
    let (folder, output) = train(&[&server], &["lora={ rank = 4, alpha = 8.0 }"]);
    require_success(&output);
    check_learnt(&folder.path().join("run"));
    assert_eq!((server.asked("/v1/load_lora_adapter"), server.asked("/collective_rpc")), (4, 0));
}

#[test]
fn a_run_stops_where_a_server_keeps_old_weights() {
    let server = serve(Manners { keeps_old_weights: true, ..Manners::default() });
    let (folder, output) = train(&[&server], &[]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("does not compute with the weights it was given (version 1)"), "{said}");
    assert!(said.contains("hint: restart it"), "{said}");
    // the step before was sound
    assert_eq!(metrics(&folder.path().join("run")).len(), 1);
}

/// A file size limit stands in for a full disk: both fail in the middle of a write.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_ends_a_run_before_a_server_is_asked() {
    let server = serve(Manners::default());
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let plain = || prepared("train", &[&server], &[], ["--run", run.to_str().unwrap()]);
    // blocks of 512 bytes: half of the weights; writes fail where the signal is ignored
    let mut limited = Command::new("sh");
    let plain_command = plain();
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""])
        .arg(plain_command.get_program())
        .args(plain_command.get_args());
    let output = limited.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("version-0/model.safetensors") && said.contains("File too large"),
        "{said}"
    );
    assert_eq!(server.asked("/collective_rpc"), 0);
    require_success(&plain().output().unwrap());
    check_learnt(&run);
}

#[test]
fn an_evaluation_on_a_server_is_that_of_this_process() {
    let server = serve(Manners::default());
    let play = |servers: &[&Server]| {
        let folder = tempfile::tempdir().unwrap();
        let out = ["--out", folder.path().to_str().unwrap()];
        let settings = ["evaluation.sampling.temperature=0"];
        require_success(&paretopo("evaluate", servers, &settings, out));
        let text = std::fs::read_to_string(folder.path().join("trajectories.jsonl")).unwrap();
        let ids = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["segments"].as_array().unwrap().iter().map(|own| own["ids"].clone()).collect()
        };
        let mut all: Vec<Vec<serde_json::Value>> = text.lines().map(ids).collect();
        all.sort_by_key(|own| format!("{own:?}"));
        all
    };
    assert_eq!(play(&[&server]), play(&[]));
    // nothing was given that it had already
    assert_eq!(server.asked("/collective_rpc"), 0);
}

#[test]
fn a_server_that_wants_a_key_gets_it_and_nobody_else() {
    let wants = || serve(Manners { key: Some(KEY), ..Manners::default() });
    let named = "generator.token_variable='PARETOPO_TEST_KEY'";
    let (folder, output) = train(&[&wants()], &["train.steps=1", named]);
    require_success(&output);
    let run = folder.path().join("run");
    let told = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(told.contains("PARETOPO_TEST_KEY") && !told.contains(KEY), "{told}");
    // none, one that is not set, and one that it says back
    let other = serve(Manners { key: Some("another"), ..Manners::default() });
    for (server, settings, wanted) in [
        (&wants(), &[][..], "status 401 Unauthorized: who are you"),
        (
            &wants(),
            &["generator.token_variable='PARETOPO_NO_SUCH'"],
            "`PARETOPO_NO_SUCH` is not set",
        ),
        (&other, &[named], "who are you? Bearer …; `generator.token_variable` names the variable"),
    ] {
        let (_folder, output) = train(&[server], settings);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(wanted), "{said}");
        assert!(!said.contains(KEY), "{said}");
    }
}

#[test]
fn settings_of_this_process_are_refused_beside_servers() {
    let generator = "generator={ type = 'sglang', urls = ['http://127.0.0.1:1'] }";
    let error = |setting: &str| {
        let parsed = RunConfig::parse("", "", &[generator.into(), setting.into()]);
        parsed.unwrap_err().to_string()
    };
    for (setting, named) in [
        ("rollout.precision=bf16", "`rollout.precision`"),
        ("rollout.cache_mib=64", "`rollout.cache_mib`"),
        ("rollout.recorded={ entropy = true }", "`rollout.recorded`"),
        ("generator.urls=[]", "`generator.urls` names no server"),
        ("generator.url=x", "unknown field `url`"),
        ("generator={ type = 'local', urls = [] }", "unknown field `urls`"),
        ("generator={ type = 'tgi' }", "`tgi` is none of `local`, `vllm`, `sglang`"),
    ] {
        assert!(error(setting).contains(named), "{setting}: {}", error(setting));
    }
}
