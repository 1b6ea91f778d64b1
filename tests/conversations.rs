//! A warm start on conversations of one's own, and how they are shown.

use crate::checkout;
use paretopo_agent::PolicyText;
use paretopo_chat::Conversation;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Ends the turns of an assistant, which the shipped policy's own does not.
const TEMPLATE: &str = "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\
                        {% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}\
                        {% if add_generation_prompt %}<|assistant|>{% endif %}";

/// The shipped policy with such a template.
fn policy(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for name in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(checkout("models/tiny-math").join(name), folder.join(name)).unwrap();
    }
    let mut config = crate::json(&checkout("models/tiny-math").join("tokenizer_config.json"));
    config["chat_template"] = TEMPLATE.into();
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
}

fn conversation(question: &str, answer: &str) -> Value {
    json!({ "messages": [
        { "role": "user", "content": question },
        { "role": "assistant", "content": answer },
    ] })
}

fn write(path: &Path, rows: &[Value]) {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

/// Sums, all of which are answered by 7.
fn sums(count: usize, first: usize) -> Vec<Value> {
    let sum = |n: usize| conversation(&format!("What is {}+{}?", n, n + 1), "\\boxed{7}");
    (first..first + count).map(sum).collect()
}

fn paretopo(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.output().unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned() + &error
}

#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} in {error}");
}

const SETTINGS: &str = r#"
policy = { type = "folder", path = "policy" }
[sft]
steps = 12
batch_size = 8
validate_every = 5
checkpoint_every = 4
data = [
    { path = "sums.jsonl", validation = 4 },
    { path = "more.json", weight = 3.0 },
]
[sft.optimizer]
learning_rate = 1e-3
warmup_updates = 0
"#;

/// A folder with a policy, data and a configuration.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    policy(&folder.path().join("policy"));
    write(&folder.path().join("sums.jsonl"), &sums(20, 10));
    std::fs::write(folder.path().join("more.json"), Value::from(sums(6, 50)).to_string()).unwrap();
    std::fs::write(folder.path().join("config.toml"), SETTINGS).unwrap();
    folder
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_policy_learns_from_conversations_and_goes_on_where_it_was() {
    let folder = prepared();
    let here = folder.path();
    let said = succeeded(&paretopo(here, &["sft", "config.toml", "--run", "run"]));
    assert!(said.contains("wrote run/policy"), "{said}");
    let found = metrics(&here.join("run"));
    let loss = |step: usize| found[step]["loss"].as_f64().unwrap();
    assert!(loss(11) < 0.5 * loss(0), "{} {}", loss(0), loss(11));
    let measured: Vec<usize> = (0..found.len())
        .filter(|step| found[*step].get("validation_loss").is_some())
        .map(|step| step + 1)
        .collect();
    assert_eq!(measured, [5, 10, 12]);
    let held_back = |step: usize| found[step - 1]["validation_loss"].as_f64().unwrap();
    assert!(held_back(12) < held_back(5), "{} {}", held_back(5), held_back(12));
    let answer = ["-q", "solve", "What is 30+31?", "--model", "run/policy"];
    assert_eq!(succeeded(&paretopo(here, &answer)).trim(), "7");

    // the same from a checkpoint in the middle
    let again = here.join("again");
    let copied = Command::new("cp").arg("-r").arg(here.join("run")).arg(&again).status().unwrap();
    assert!(copied.success());
    for later in ["checkpoints/step-000012", "policy"] {
        std::fs::remove_dir_all(again.join(later)).unwrap();
    }
    succeeded(&paretopo(here, &["-q", "sft", "config.toml", "--run", "again"]));
    let weights =
        |run: &str| std::fs::read(here.join(run).join("policy/model.safetensors")).unwrap();
    assert!(weights("run") == weights("again"));
    assert_eq!(metrics(&again)[11]["validation_loss"], found[11]["validation_loss"]);
}

#[test]
fn bad_rows_and_long_conversations_are_named_before_the_first_step() {
    let folder = prepared();
    let here = folder.path();
    let sft = |more: &[&str]| {
        paretopo(
            here,
            &[&["sft", "config.toml", "--run", "run", "--set", "sft.steps=1"], more].concat(),
        )
    };
    let mut rows = sums(20, 10);
    rows[2] = json!({ "question": "?" });
    write(&here.join("sums.jsonl"), &rows);
    refused(&sft(&[]), &["`sums.jsonl` line 3: no `messages`"]);
    let skip = r#"sft.data=[{ path = "sums.jsonl", bad_rows = "skip" }]"#;
    let said = succeeded(&sft(&["--set", skip]));
    assert!(said.contains("left out: `sums.jsonl` line 3: no `messages`"), "{said}");

    rows[2] = conversation(&"What is 1+1? ".repeat(400), "\\boxed{2}");
    rows[5] = json!({ "messages": [{ "role": "user", "content": "What is 1+1?" }] });
    write(&here.join("sums.jsonl"), &rows);
    std::fs::remove_dir_all(here.join("run")).unwrap();
    refused(
        &sft(&[]),
        &["1 conversations are longer than the model's context", "`sums.jsonl` line 3", "hint: "],
    );
    std::fs::remove_dir_all(here.join("run")).unwrap();
    let said = succeeded(&sft(&["--set", "rollout.long_prompts=skip"]));
    assert!(said.contains("left out: 1 conversations are longer"), "{said}");
    assert!(said.contains("1 conversations in which the assistant says nothing"), "{said}");

    let held = r#"sft.data=[{ path = "sums.jsonl", validation = 20 }]"#;
    refused(
        &paretopo(
            here,
            &[
                "sft",
                "--run",
                "held",
                "--model",
                "policy",
                "--set",
                held,
                "--set",
                "rollout.long_prompts=skip",
            ],
        ),
        &["`sums.jsonl`: 18 conversations to learn from, of which 20 are held back"],
    );
}

#[test]
fn conversations_are_shown_as_the_policy_reads_them() {
    let folder = prepared();
    let here = folder.path();
    let shown = succeeded(&paretopo(here, &["render", "policy", "sums.jsonl"]));
    let shown: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(shown.len(), 20);
    let text = "<|user|>What is 10+11?<|assistant|>\\boxed{7}<|end|>";
    let turn = text.find("\\boxed").unwrap();
    assert_eq!(shown[0]["text"], text);
    assert_eq!(shown[0]["assistant"], json!([[turn, text.len()]]));
    let policy = PolicyText::from_folder(&here.join("policy")).unwrap();
    let ids = policy.tokenizer.encode(text).unwrap();
    let prompt = policy.tokenizer.encode(&text[..turn]).unwrap().len();
    assert_eq!(shown[0]["ids"], json!(ids));
    assert_eq!(shown[0]["trained"], json!([[prompt, ids.len()]]));
    let lessons = policy.lessons(&Conversation::of_row(&sums(1, 10)[0]).unwrap()).unwrap();
    assert_eq!(lessons[0].ids, ids);

    write(&here.join("bad.jsonl"), &[sums(1, 1)[0].clone(), json!({ "messages": [{}] })]);
    let output = paretopo(here, &["render", "policy", "bad.jsonl"]);
    refused(&output, &["`bad.jsonl`, conversation 2: message 1 is no object with a `role`"]);
    refused(&paretopo(here, &["render", "nowhere", "bad.jsonl"]), &["nowhere"]);
}
