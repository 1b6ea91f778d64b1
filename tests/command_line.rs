//! The command line as a person meets it: help, the likeliest mistakes, the small tools.

use crate::checkout;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn paretopo(arguments: &[&str], folder: &Path, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Exit code, standard output and standard error as one text.
fn transcript(arguments: &[&str], folder: &Path, input: &str) -> String {
    let output = paretopo(arguments, folder, input);
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_paretopo")).unwrap();
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .replace(&folder.display().to_string(), "[FOLDER]")
            .replace(&program.display().to_string(), "[PARETOPO]")
    };
    format!(
        "exit code {:?}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr)
    )
}

macro_rules! snapshot {
    ($name:literal, $transcript:expr) => {
        let transcript = $transcript;
        insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($name, transcript);
        });
    };
}

#[test]
fn help() {
    let folder = tempfile::tempdir().unwrap();
    snapshot!("help", transcript(&["--help"], folder.path(), ""));
    snapshot!("help_train", transcript(&["train", "--help"], folder.path(), ""));
}

#[test]
fn the_likeliest_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let write = |name: &str, text: &str| std::fs::write(here.join(name), text).unwrap();
    snapshot!("missing_file", transcript(&["train", "nothing.toml"], here, ""));
    write("bad.toml", "seed = 1\n[train\nsteps = 2\n");
    snapshot!("bad_toml", transcript(&["train", "bad.toml"], here, ""));
    write("unknown_key.toml", "seed = 1\n\n[train]\nstepz = 2\n");
    snapshot!("unknown_key", transcript(&["train", "unknown_key.toml"], here, ""));
    snapshot!("bad_override", transcript(&["train", "--set", "train.learning_rat=1"], here, ""));
    snapshot!("unknown_backend", transcript(&["--backend", "tpu", "train"], here, ""));
    snapshot!("no_such_device", transcript(&["--backend", "flex:3", "train"], here, ""));
    std::fs::create_dir(here.join("checkpoint")).unwrap();
    write("checkpoint/config.json", "{\"model_type\": \"gemma\"}");
    snapshot!("bad_checkpoint", transcript(&["evaluate", "--model", "checkpoint", "-q"], here, ""));
    write(
        "data.jsonl",
        "{\"id\":\"a\",\"question\":\"1+1?\",\"answer\":\"2\"}\n{\"id\":\"b\",\"question\":\"1+2?\"}\n",
    );
    let source = "environment.problems={type=\"jsonl\",path=\"data.jsonl\",test=0,validation=0}";
    snapshot!("bad_data_line", transcript(&["train", "-q", "--set", source], here, ""));
    write("file", "");
    snapshot!("unwritable_folder", transcript(&["train", "-q", "--run", "file/run"], here, ""));
    let short: [&str; 10] = [
        "train",
        "-q",
        "--run",
        "run",
        "--set",
        "train.steps=1",
        "--set",
        "evaluation.tasks=1",
        "--set",
        "train.validate_every=0",
    ];
    assert!(paretopo(&short, here, "").status.success());
    let mut other = short.to_vec();
    other.extend(["--set", "seed=9"]);
    snapshot!("resume_with_another_configuration", transcript(&other, here, ""));
    snapshot!(
        "unknown_estimator",
        transcript(&["advantages", "-", "--estimator", "ppo"], here, "")
    );
    snapshot!(
        "bad_line",
        transcript(&["front", "-"], here, "{\"point\":[1,2]}\n{\"point\":[1]}\n")
    );
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_backend_that_is_not_compiled_in() {
    let folder = tempfile::tempdir().unwrap();
    snapshot!(
        "backend_not_compiled_in",
        transcript(&["--backend", "cuda", "train"], folder.path(), "")
    );
}

#[test]
#[cfg(unix)]
fn an_interrupt_stops_after_the_step_and_says_how_to_resume() {
    crate::heed_signals();
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(["-q", "train", "--run", "run"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let metrics = folder.path().join("run/metrics.jsonl");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while std::fs::read_to_string(&metrics).map_or(true, |text| text.is_empty()) {
        assert!(std::time::Instant::now() < deadline, "no step within two minutes");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("run the same command again to resume")
    );
}

#[test]
fn the_default_backend_agrees_with_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("check.json");
    let fixtures = checkout("tests/fixtures/models");
    let output = paretopo(
        &["check", fixtures.to_str().unwrap(), "--out", out.to_str().unwrap()],
        folder.path(),
        "",
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let checks: serde_json::Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    // fourteen checkpoints; ten comparisons in f32, four of them of drawing, two in half precisions
    assert_eq!(checks["checks"].as_array().unwrap().len(), 14 * 12);
    // logits and gradients alone
    let output = paretopo(&["check", fixtures.to_str().unwrap(), "--gradients"], folder.path(), "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("28 comparisons in"), "{text}");
    // what has no fixtures is said, and a wrong number is a failure
    assert_eq!(
        paretopo(&["check", folder.path().to_str().unwrap()], folder.path(), "").status.code(),
        Some(2)
    );
    let case = folder.path().join("llama");
    std::fs::create_dir(&case).unwrap();
    for entry in std::fs::read_dir(fixtures.join("llama")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, case.join(from.file_name().unwrap())).unwrap();
    }
    let training = std::fs::read_to_string(case.join("training.json")).unwrap();
    std::fs::write(
        case.join("training.json"),
        training.replace("\"learning_rate\": 0.003", "\"learning_rate\": 0.004"),
    )
    .unwrap();
    let output = paretopo(&["check", folder.path().to_str().unwrap()], folder.path(), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("1 of 12 comparisons failed"),
        "{output:?}"
    );
}

#[test]
fn front_ranks_and_measures() {
    let folder = tempfile::tempdir().unwrap();
    let points =
        "{\"point\":[1,0.2],\"name\":\"a\"}\n{\"point\":[0.6,0.5]}\n{\"point\":[0.5,0.4]}\n";
    // 1 * 0.2 + 0.6 * 0.3 = 0.38
    snapshot!("front", transcript(&["front", "-", "--reference", "0,0"], folder.path(), points));
}

/// The numbers that `front` and `advantages` print, by line.
fn printed(arguments: &[&str], input: &str, field: &str) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let output = paretopo(arguments, folder.path(), input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()[field].as_f64())
        .collect()
}

#[test]
fn vectors_are_read_and_computed_in_f64() {
    // as f32 the points of each pair are one
    for pair in ["0.30000000000000004]}\n{\"point\":[0.3]}", "16777217]}\n{\"point\":[16777216]}"] {
        let points = format!("{{\"point\":[{pair}\n");
        assert_eq!(printed(&["front", "-"], &points, "rank"), [1.0, 2.0]);
    }
    let volume = |points: &str| printed(&["front", "-"], points, "hypervolume");
    assert_eq!(volume("{\"point\":[16777217,1]}\n"), [16_777_217.0]);
    // 1 * 0.2 + 0.6 * (0.5 - 0.2), each rounded to an f64
    let points = "{\"point\":[1,0.2]}\n{\"point\":[0.6,0.5]}\n";
    assert_eq!(volume(points), [0.2 + 0.6 * (0.5 - 0.2)]);
    // grpo on (2^24 + 1, 2^24): +-0.5 / (sqrt(0.5) + 0.0001) = +-0.707007
    let rows = "{\"group\":1,\"rewards\":[16777217]}\n{\"group\":1,\"rewards\":[16777216]}\n";
    let values = printed(&["advantages", "-", "--estimator", "grpo"], rows, "advantage");
    assert!((values[0] - 0.5 / (0.5f64.sqrt() + 1e-4)).abs() < 1e-15 && values[1] == -values[0]);
    // dr_grpo with weights (0.6, 0.4) on (1, 0) and (0, 1): 0.6 - 0.5 and 0.4 - 0.5
    let rows = "{\"group\":1,\"rewards\":[1,0]}\n{\"group\":1,\"rewards\":[0,1]}\n";
    let arguments = ["advantages", "-", "--estimator", "dr_grpo", "--set", "weights=[0.6,0.4]"];
    let values = printed(&arguments, rows, "advantage");
    assert!((values[0] - 0.1).abs() < 1e-15 && (values[1] + 0.1).abs() < 1e-15, "{values:?}");
    // equal rewards have no advantage, whatever a third of their sum is
    let rows = "{\"group\":1,\"rewards\":[0.1]}\n".repeat(3);
    for estimator in ["grpo", "dr_grpo", "rloo", "reinforce_plus_plus"] {
        let values = printed(&["advantages", "-", "--estimator", estimator], &rows, "advantage");
        assert_eq!(values, [0.0; 3], "{estimator}");
    }
}

#[test]
fn numbers_that_are_none_are_refused_by_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let good = "{\"group\":1,\"point\":[1,2],\"rewards\":[1,2],\"calls\":1}\n\n";
    for (field, value, reason) in [
        ("point", "[1,NaN]", "`NaN` is not a finite number"),
        ("point", "[1,Infinity]", "`Infinity` is not a finite number"),
        ("point", "[1,-1e999]", "`-1e999` is not a finite number"),
        ("point", "[1,null]", "`null` is not a number"),
        ("point", "[1,\"2\"]", "`\"2\"` is not a number"),
        ("point", "[1,9007199254740993]", "`9007199254740993` has more digits"),
        ("point", "[1]", "it has 1 objectives, but the first has 2"),
        ("point", "[]", "the list is empty"),
        ("point", "1", "`1` is not a list of numbers"),
        ("point", "[1,1e200]", "the hypervolume is beyond"),
        ("rewards", "[1,NaN]", "`NaN` is not a finite number"),
        ("rewards", "[1e400,1]", "`1e400` is not a finite number"),
        ("calls", "-1", "`-1` is not a count"),
        ("calls", "2.5", "`2.5` is not a count"),
    ] {
        // 1e200 is a number, but 1e200 times 1e200 is none
        let extra = if value.contains("1e200") { "{\"point\":[1e200,1e200]}\n" } else { "" };
        let mut row = String::from("{\"group\":1,\"rewards\":[1,2]}");
        if field == "point" || field == "rewards" {
            row = format!("{{\"group\":1,\"{field}\":{value}}}");
        } else {
            row.insert_str(row.len() - 1, &format!(",\"{field}\":{value}"));
        }
        let arguments: &[&str] = if field == "point" {
            &["front", "-"]
        } else {
            &["advantages", "-", "--estimator", "grpo"]
        };
        let output = paretopo(arguments, folder.path(), &format!("{good}{extra}{row}\n"));
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{message}");
        assert!(message.contains(reason), "{message}");
        let place = format!("line 3, field `{field}`");
        assert!(message.contains(&place) || extra.len() > 1, "{message}");
    }
}

#[test]
fn advantages_by_group() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "{\"group\":1,\"rewards\":[1,1]}\n{\"group\":2,\"rewards\":[0,0]}\n{\"group\":1,\"rewards\":[1,0.6]}\n{\"group\":1,\"rewards\":[0,1]}\n{\"group\":1,\"rewards\":[0,0.6]}\n";
    let stage2 =
        ["advantages", "-", "--estimator", "paretopo", "--set", "switch={type=\"fraction\",at=0}"];
    snapshot!("advantages", transcript(&stage2, folder.path(), rows));
    snapshot!(
        "advantages_need_calls",
        transcript(&["advantages", "-", "--estimator", "otc"], folder.path(), rows)
    );
}

#[test]
fn plan_prints_the_memory_of_each_phase() {
    let folder = tempfile::tempdir().unwrap();
    snapshot!("plan", transcript(&["plan", "--prompt-tokens", "40"], folder.path(), ""));
}

#[test]
fn grade_and_python() {
    let folder = tempfile::tempdir().unwrap();
    let rows =
        "{\"gold\":\"0.5\",\"pred\":\"\\\\frac12\"}\n{\"gold\":\"3\",\"pred\":\"4\",\"id\":7}\n";
    snapshot!("grade", transcript(&["grade", "-"], folder.path(), rows));
    snapshot!(
        "python",
        transcript(&["python", "-"], folder.path(), "print(sum(range(10)))\n1/0\n")
    );
    snapshot!(
        "python_truncated",
        transcript(&["python", "-", "--output", "20"], folder.path(), "print('0123456789' * 10)")
    );
}

#[test]
fn score_and_solve_on_the_shipped_policy() {
    let folder = tempfile::tempdir().unwrap();
    let policy = checkout("models/tiny-math");
    let output = paretopo(
        &["score", policy.to_str().unwrap(), "-"],
        folder.path(),
        "{\"text\":\"1+2\"}\n{\"ids\":[5,6,7]}\n",
    );
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        // three tokens: two log-probabilities, ten candidates for the fourth
        assert_eq!(
            (line["logprobs"].as_array().unwrap().len(), line["top"].as_array().unwrap().len()),
            (2, 10)
        );
        assert!(
            line["logprobs"]
                .as_array()
                .unwrap()
                .iter()
                .all(|logprob| logprob.as_f64().unwrap() <= 0.0)
        );
    }
    let output = paretopo(&["solve", "-q", "What is 3+4?"], folder.path(), "");
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stdout).trim()),
        (Some(0), "7")
    );
    // told what to prefer, without a word of it in a configuration; a policy without the tokens says so
    let graded = checkout("models/graded-math");
    let told = ["solve", "-q", "--preference", "0.2,0.8", "What is 3+4?", "--model"];
    let output = paretopo(&[&told[..], &[graded.to_str().unwrap()]].concat(), folder.path(), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = paretopo(&[&told[..], &[policy.to_str().unwrap()]].concat(), folder.path(), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no token `<w0>`"));
    // one that has learnt to heed it computes with the tool, or in its head
    let heeding = ["--set", "policy={ type = 'embedded', name = 'graded-math-told' }"];
    let config = checkout("experiments/math/paretopo.toml");
    for (preference, calls) in [("1,0", 2), ("0,1", 0)] {
        let asked =
            ["solve", "What is 13*7+5?", config.to_str().unwrap(), "--preference", preference];
        let output = paretopo(&[&asked[..], &heeding[..]].concat(), folder.path(), "");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(shown.matches("<tool_call>").count(), calls, "{preference}: {shown}");
    }
    let outside =
        paretopo(&["score", policy.to_str().unwrap(), "-"], folder.path(), "{\"ids\":[5,9999]}\n");
    assert_eq!(outside.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&outside.stderr).contains("9999"));
}

#[test]
fn a_dry_run_prints_a_configuration_that_parses_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let first = paretopo(&["train", "--dry-run", "--set", "train.steps=7"], folder.path(), "");
    std::fs::write(folder.path().join("again.toml"), &first.stdout).unwrap();
    let second = paretopo(&["train", "again.toml", "--dry-run"], folder.path(), "");
    assert!(first.status.success() && !first.stdout.is_empty());
    assert_eq!(first.stdout, second.stdout);
    assert!(!folder.path().join("runs").exists(), "a dry run writes nothing");
}

/// A template is a program, and each of these takes more time or memory in one step than there is.
/// The first is a fuzzer's.
#[test]
fn a_template_that_takes_everything_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(checkout("models/tiny-math")).unwrap().flatten() {
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let doubled = "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    let templates = [
        // memory or, on a busy machine, time
        ("{{ messages * 6333016665 ~ 1 }}", "it took "),
        // a constant, so this happens while the template is parsed
        ("{{ [1] * 6333016665 ~ 1 }}", "it took "),
        (doubled, "more than 256 MiB"),
        ("{{ messages | tojson(indent=9999999999) }}", "more than 256 MiB"),
        ("{{ (range(100000) | list * 10000000) | sum }}", "longer than 10 s"),
        ("{{ 'x' * 20000000 }}", "renders 19 MiB"),
    ];
    for (template, reason) in templates {
        std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
        let policy =
            format!("policy={{ type = \"folder\", path = \"{}\" }}", folder.path().display());
        let output =
            paretopo(&["solve", "-q", "--set", &policy, "What is 3+4?"], folder.path(), "");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() != Some(0)
                && error.contains("chat template")
                && error.contains(reason),
            "{template}: {error}"
        );
    }
}
