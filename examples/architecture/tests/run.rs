//! The program as its user meets it: a model of this architecture is planned, trained, resumed and
//! evaluated by the command line.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_paretopo-example-architecture");
/// A run of seconds.
const SMALL: [&str; 6] = [
    "train.steps=2",
    "train.prompts_per_step=2",
    "train.rollouts_per_prompt=4",
    "train.validate_every=0",
    "train.checkpoint_every=1",
    "evaluation.tasks=4",
];

/// A folder with a `config.json` and the tokenizer of the shipped math policy.
fn untrained(folder: &Path) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny-math");
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        std::fs::copy(shipped.join(name), folder.join(name)).unwrap();
    }
    let llama = std::fs::read_to_string(shipped.join("config.json")).unwrap();
    let llama: serde_json::Value = serde_json::from_str(&llama).unwrap();
    let config = serde_json::json!({
        "model_type": "gpt_neox", "vocab_size": llama["vocab_size"], "hidden_size": 32,
        "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 256, "layer_norm_eps": 1e-5, "initializer_range": 0.05,
        "hidden_act": "gelu", "use_parallel_residual": true, "rotary_pct": 0.5,
        "eos_token_id": llama["eos_token_id"],
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder.to_owned()
}

fn run(arguments: &[&str], settings: &[String]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.output().unwrap()
}

#[test]
fn the_command_line_trains_and_evaluates_the_architecture() {
    let folder = tempfile::tempdir().unwrap();
    let policy = untrained(folder.path());
    let mut settings: Vec<String> = SMALL.iter().map(ToString::to_string).collect();
    settings.push(format!("policy={{ type = \"new\", path = \"{}\" }}", policy.display()));
    let out = folder.path().join("run");
    let train = ["--quiet", "train", "--run", out.to_str().unwrap()];
    let said = run(&train, &settings);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let written = std::fs::read_to_string(out.join("policy/config.json")).unwrap();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["model_type"], "gpt_neox");
    let (weights, again) = (out.join("policy/model.safetensors"), run(&train, &settings));
    assert!(weights.exists() && again.status.success());
    let trained =
        ["--quiet", "evaluate", "--model", out.join("policy").to_str().unwrap()].map(str::to_owned);
    let trained: Vec<&str> = trained.iter().map(String::as_str).collect();
    let said = run(&trained, &["evaluation.tasks=2".into()]);
    assert!(String::from_utf8_lossy(&said.stdout).starts_with("EM "), "{said:?}");
    let said = run(&["plan"], &settings);
    assert!(String::from_utf8_lossy(&said.stdout).contains("parameters, "), "{said:?}");
}

#[test]
fn shipped_architectures_are_known_beside_it() {
    let said = run(&["--quiet", "evaluate"], &["evaluation.tasks=2".into()]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let folder = tempfile::tempdir().unwrap();
    let policy = untrained(folder.path());
    let config = std::fs::read_to_string(policy.join("config.json")).unwrap();
    std::fs::write(policy.join("config.json"), config.replace("gpt_neox", "gpt_nox")).unwrap();
    let said = run(&["plan", "--model", policy.to_str().unwrap()], &[]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("gpt_nox") && said.contains("gpt_neox") && said.contains("llama"),
        "{said}"
    );
}
