//! `evaluate --format inspect`: its logs are such as Inspect's own schema describes, without keys
//! that it does not know. `just inspect-check` has Inspect itself read them.

use crate::checkout;
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn evaluate(out: &Path, settings: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    child.args(["--quiet", "evaluate"]).arg(checkout("experiments/math/paretopo.toml"));
    child.args(["--format", "inspect", "--out"]).arg(out);
    let usual = ["evaluation.tasks=6", "evaluation.samples=2", "evaluation.head_skill=false"];
    for setting in usual.iter().chain(settings) {
        child.args(["--set", setting]);
    }
    child.output().unwrap()
}

/// The one log of a folder.
fn log(folder: &Path) -> (PathBuf, Value) {
    let is_log = |path: &PathBuf| path.to_string_lossy().contains("+00-00_math_");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let logs: Vec<PathBuf> = entries.filter(is_log).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    let text = std::fs::read_to_string(&logs[0]).unwrap();
    (logs[0].clone(), serde_json::from_str(&text).unwrap())
}

struct Schema(Schemas, SchemaIndex);

impl Schema {
    fn read() -> Self {
        let path = checkout("tests/fixtures/inspect/schema.json");
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("https://inspect/log.json", schema).unwrap();
        let index = compiler.compile("https://inspect/log.json", &mut schemas).unwrap();
        Self(schemas, index)
    }

    fn refuses(&self, log: &Value) -> Option<String> {
        self.0.validate(log, self.1).err().map(|error| error.to_string())
    }
}

#[test]
fn logs_are_such_as_the_schema_describes() {
    let schema = Schema::read();
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[&str]); 3] = [
        ("plain", &[]),
        ("errors", &["tools=[{ type = 'calculator', failure_rate = 0.6 }]"]),
        ("limits", &["rollout.max_sampled_tokens=6"]),
    ];
    for (name, settings) in cases {
        let out = folder.path().join(name);
        let output = evaluate(&out, settings);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (_, log) = log(&out);
        assert_eq!(schema.refuses(&log), None, "{name}");
        let samples = log["samples"].as_array().unwrap();
        assert_eq!(samples.len(), 12);
        let has = |what: &dyn Fn(&Value) -> bool| samples.iter().any(what);
        match name {
            "errors" => assert!(has(&|sample| {
                let messages = sample["messages"].as_array().unwrap().iter();
                messages.filter(|one| one["role"] == "tool").any(|one| one["error"].is_object())
            })),
            "limits" => assert!(has(&|sample| sample["limit"]["type"] == "token")),
            _ => assert!(has(&|sample| sample["scores"]["success"]["value"] == "C")),
        }
    }
    // the schema is no open door
    let (_, log) = log(&folder.path().join("plain"));
    let without = |pointer: &str, key: &str| {
        let mut log = log.clone();
        log.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        log
    };
    for (pointer, key) in [("", "eval"), ("/eval", "model"), ("/samples/0/messages/0", "content")] {
        assert!(schema.refuses(&without(pointer, key)).is_some(), "without `{key}`");
    }
    for pointer in ["", "/eval", "/samples/3", "/samples/3/messages/0", "/results/scores/0"] {
        let mut log = log.clone();
        log.pointer_mut(pointer).unwrap()["unknown"] = json!(1);
        assert!(schema.refuses(&log).is_some(), "an unknown key at `{pointer}`");
    }
}

#[test]
fn a_log_holds_what_the_evaluation_holds() {
    let folder = tempfile::tempdir().unwrap();
    assert!(evaluate(folder.path(), &[]).status.success());
    let (place, log) = log(folder.path());
    let evaluation = crate::json(&folder.path().join("evaluation.json"));
    let scores = log["results"]["scores"].as_array().unwrap();
    assert_eq!(scores[0]["metrics"]["accuracy"]["value"], evaluation["em"]);
    assert_eq!(scores[2]["metrics"]["mean"]["value"], evaluation["point"]["r_tool"]);
    let half = evaluation["em_interval"].as_f64().unwrap();
    let error = scores[0]["metrics"]["stderr"]["value"].as_f64().unwrap();
    assert!((error * 1.96 - half).abs() < 1e-12);
    assert_eq!(log["eval"]["model"], "paretopo/graded-math");
    let calls: usize = log["samples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sample| {
            let messages = sample["messages"].as_array().unwrap();
            messages.iter().filter(|message| message["role"] == "tool").count()
        })
        .sum();
    assert_eq!(calls as f64 / 12.0, evaluation["calls"].as_f64().unwrap());
    // what the reader of headers stops at comes last
    let text = std::fs::read_to_string(&place).unwrap();
    assert!(text.starts_with("{\"version\":2,\"status\":\"success\",\"eval\":"), "{}", &text[..60]);
    let keys: Vec<&String> = log.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["version", "status", "eval", "plan", "results", "stats", "samples"]);
    // the same command has nothing to play, and writes the same log anew
    std::fs::remove_file(&place).unwrap();
    assert!(evaluate(folder.path(), &[]).status.success());
    assert_eq!(std::fs::read_to_string(&place).unwrap(), text);
}

#[test]
fn a_log_needs_a_folder() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    let output = child.args(["evaluate", "--format", "inspect"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("--out <DIR>"), "{said}");
}
