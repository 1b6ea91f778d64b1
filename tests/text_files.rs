//! Text as people and programs write it: byte-order marks in every file that a person may have
//! written, other encodings, and ids that joined sets share.

use crate::checkout;
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const MARK: &str = "\u{feff}";

fn paretopo(arguments: &[&str], folder: &Path, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(arguments)
        .env("PARETOPO_CACHE", folder.join("cache"))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Exit code 2, a message with all of these words, and no panic.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
}

fn utf16(text: &str) -> Vec<u8> {
    format!("{MARK}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn every_text_of_a_checkpoint_may_begin_with_a_mark() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy");
    std::fs::create_dir(&policy).unwrap();
    std::fs::copy(checkout("models/tiny-math/model.safetensors"), policy.join("model.safetensors"))
        .unwrap();
    let names =
        ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];
    let text_of =
        |name: &str| std::fs::read_to_string(checkout("models/tiny-math").join(name)).unwrap();
    for name in names {
        std::fs::write(policy.join(name), format!("{MARK}{}", text_of(name))).unwrap();
    }
    let config: serde_json::Value =
        serde_json::from_str(&text_of("tokenizer_config.json")).unwrap();
    let template = config["chat_template"].as_str().unwrap().to_owned();
    let solve =
        || paretopo(&["solve", "-q", "--model", "policy", "What is 3+4?"], folder.path(), b"");
    assert_eq!(succeeded(&solve()).trim(), "7");
    // a template of its own file; the mark is no part of it
    let own = policy.join("chat_template.jinja");
    std::fs::write(&own, format!("{MARK}{template}")).unwrap();
    assert_eq!(succeeded(&solve()).trim(), "7");
    // one that cannot be read is not passed over for the other
    std::fs::write(&own, utf16(&template)).unwrap();
    refused(&solve(), &["chat_template.jinja", "UTF-16", "save it as UTF-8"]);
    std::fs::remove_file(&own).unwrap();
    for name in names {
        std::fs::write(policy.join(name), utf16(&text_of(name))).unwrap();
        refused(&solve(), &[name, "UTF-16"]);
        std::fs::write(policy.join(name), text_of(name)).unwrap();
    }
}

#[test]
fn configurations_and_lines_may_begin_with_a_mark() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("run.toml"), format!("{MARK}seed = 3\r\n")).unwrap();
    let shown = succeeded(&paretopo(&["train", "run.toml", "--dry-run"], here, b""));
    assert!(shown.starts_with("seed = 3"), "{shown}");
    std::fs::write(here.join("run.toml"), utf16("seed = 3")).unwrap();
    refused(&paretopo(&["train", "run.toml"], here, b""), &["run.toml", "UTF-16"]);
    // two files that were joined, each with a mark
    let points = format!("{MARK}{{\"point\":[1,2]}}\r\n{MARK}{{\"point\":[2,1]}}\r\n");
    for (file, input) in [("-", points.as_bytes()), ("points.jsonl", b"".as_slice())] {
        std::fs::write(here.join("points.jsonl"), &points).unwrap();
        // 2 * 1 + 1 * (2 - 1)
        let shown = succeeded(&paretopo(&["front", file], here, input));
        assert!(shown.ends_with("{\"hypervolume\":3.0}\n"), "{shown}");
    }
    refused(&paretopo(&["front", "-"], here, &utf16(&points)), &["UTF-16"]);
    refused(
        &paretopo(&["front", "-"], here, b"{\"point\":[1]}\n\"\xe9\""),
        &["line 2 is not UTF-8"],
    );
    let grade = format!("{MARK}{{\"gold\":\"1\",\"pred\":\"1\"}}");
    let shown = succeeded(&paretopo(&["grade", "-"], here, grade.as_bytes()));
    assert!(shown.contains("\"equal\":true"), "{shown}");
    let program = format!("{MARK}print(7)");
    assert_eq!(succeeded(&paretopo(&["python", "-"], here, program.as_bytes())).trim(), "7");
    let corpus = format!("{MARK}{{\"id\":1,\"title\":\"東京都\",\"text\":\"日本の首都\"}}\n");
    std::fs::write(here.join("corpus.jsonl"), corpus).unwrap();
    let shown =
        succeeded(&paretopo(&["-q", "search", "corpus.jsonl", "--query", "首都"], here, b""));
    assert!(shown.contains("\"id\":\"1\""), "{shown}");
    // an experiment and the configuration that it names
    std::fs::write(here.join("one.toml"), format!("{MARK}seed = 1\n")).unwrap();
    let experiment = format!("{MARK}methodz = 1\n");
    std::fs::write(here.join("experiment.toml"), experiment).unwrap();
    let output = paretopo(&["compare", "experiment.toml", "--out", "out"], here, b"");
    // what is wrong with it is its key, not its first byte
    refused(&output, &["methodz"]);
}

/// Sets that were joined share ids: none is lost, each is told apart, it is said once, and an
/// evaluation that was cut off plays only what is missing.
#[test]
fn ids_that_joined_sets_share_are_made_unique_once_and_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let row = |id: &str, sum: (u32, u32)| {
        format!(
            "{{\"id\":\"{id}\",\"question\":\"What is {}+{}?\",\"answer\":{}}}\n",
            sum.0,
            sum.1,
            sum.0 + sum.1
        )
    };
    let rows = [row("a", (1, 2)), row("a", (2, 2)), row("b", (3, 2)), row("a", (4, 2))].concat();
    std::fs::write(here.join("rows.jsonl"), rows).unwrap();
    let source = "environment.problems={type=\"file\",path=\"rows.jsonl\",test=4,validation=0}";
    let arguments = ["evaluate", "--set", source, "--out", "out"];
    let output = paretopo(&arguments, here, b"");
    let accuracy = succeeded(&output).lines().next().unwrap().to_owned();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("have an id that an earlier row has").count(), 1, "{said}");
    assert!(said.contains("2 rows"), "{said}");
    let ids = || -> Vec<String> {
        let text = std::fs::read_to_string(here.join("out/trajectories.jsonl")).unwrap();
        let id = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["task_id"].as_str().unwrap().to_owned()
        };
        text.lines().map(id).collect()
    };
    let first = ids();
    assert_eq!(first, ["a", "rows.jsonl/a", "b", "rows.jsonl:4/a"]);
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 4);
    // as a kill after three episodes leaves it
    let text = std::fs::read_to_string(here.join("out/trajectories.jsonl")).unwrap();
    let kept: String = text
        .lines()
        .take(3)
        .map(|line| line.replacen("\"response\":\"", "\"response\":\"kept ", 1) + "\n")
        .collect();
    std::fs::write(here.join("out/finished.jsonl"), kept).unwrap();
    std::fs::remove_file(here.join("out/evaluation.json")).unwrap();
    std::fs::remove_file(here.join("out/trajectories.jsonl")).unwrap();
    assert!(succeeded(&paretopo(&arguments, here, b"")).starts_with(&accuracy));
    assert_eq!(ids(), first);
    let again = std::fs::read_to_string(here.join("out/trajectories.jsonl")).unwrap();
    assert_eq!(again.matches("\"response\":\"kept ").count(), 3, "{again}");
}

#[test]
fn a_benchmark_is_listed_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = paretopo(&["evaluate", "--benchmarks", "gsm8k,nq,gsm8k"], folder.path(), b"");
    refused(&output, &["`--benchmarks`", "`gsm8k`", "twice"]);
}
