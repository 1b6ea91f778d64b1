//! Tools and rewards that are other people's programs and servers, in whole runs.

use crate::checkout;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Sender, channel};

const SHORT: [&str; 8] = [
    "train.steps=2",
    "train.prompts_per_step=2",
    "train.rollouts_per_prompt=4",
    "train.validate_every=0",
    "train.refill_rounds=0",
    "evaluation.tasks=4",
    "rollout.call_seconds=20",
    "workers=1",
];

/// A calculator: the value of the expression that a policy writes into its fence. It writes down
/// its number, and each call.
const TOOL: &str = r#"
import json, os, sys
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"]}
    if request["type"] == "call":
        print(os.getpid(), file=open("calls", "a"))
        program = request["arguments"]["code"].strip().removeprefix("print(").removesuffix(")")
        try:
            answer["text"] = str(eval(program, {"__builtins__": {}}))
        except Exception as error:
            answer["error"] = type(error).__name__
    print(json.dumps(answer), flush=True)
"#;

/// A reward of 1 / (1 + characters / 100). With a first argument it ends at that request.
const JUDGE: &str = r#"
import json, sys
last, count = int((sys.argv + ["0"])[1]), 0
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"]}
    if request["type"] == "rewards":
        count += 1
        if count == last:
            sys.exit("the judge is ill")
        assert request["objective"] == "r_short" and request["task"]["question"]
        lengths = [len(rollout["response"]) for rollout in request["rollouts"]]
        answer["rewards"] = [1 / (1 + length / 100) for length in lengths]
    print(json.dumps(answer), flush=True)
"#;

/// A configuration of both programs; without a `python3` this says so, and there is none.
fn scene(folder: &Path) -> bool {
    let python = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    if !python.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no `python3`");
        return false;
    }
    std::fs::write(folder.join("tool.py"), TOOL).unwrap();
    std::fs::write(folder.join("judge.py"), JUDGE).unwrap();
    let config = r#"
[[tools]]
type = "command"
name = "python"
description = "Computes."
program = { command = "python3", args = ["tool.py"] }

[[objectives]]
type = "task"

[[objectives]]
type = "command"
name = "r_short"
program = { command = "python3", args = ["judge.py", "0"] }
limits = { concurrency = 1, retries = 0 }
"#;
    std::fs::write(folder.join("config.toml"), config).unwrap();
    true
}

fn paretopo(folder: &Path, arguments: &[&str], settings: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(arguments).current_dir(folder).env("RAYON_NUM_THREADS", "1");
    for setting in SHORT.iter().chain(settings) {
        command.args(["--set", setting]);
    }
    command.stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_tool_and_a_reward_by_command_train_a_policy() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    if !scene(here) {
        return;
    }
    let output = paretopo(here, &["train", "config.toml", "--run", "run"], &[]);
    assert!(output.status.success(), "{}", said(&output));
    let evaluation = read_json(&here.join("run/evaluation.json"));
    let short = evaluation["point"]["r_short"].as_f64().unwrap();
    assert!(short > 0.0 && short < 1.0, "{evaluation}");
    // the policy is a good calculator with one
    assert!(evaluation["calls"].as_f64().unwrap() > 0.0, "{evaluation}");
    let path = here.join("run/trajectories/evaluation.jsonl");
    let episodes = std::fs::read_to_string(path).unwrap();
    assert!(episodes.contains(r#""status":"ok""#), "{episodes}");
    // two processes from the first call to the last
    let calls = std::fs::read_to_string(here.join("calls")).unwrap();
    let numbers: std::collections::BTreeSet<&str> = calls.lines().collect();
    assert!(calls.lines().count() > 4 && numbers.len() <= 2, "{calls}");
    // and none is left
    for number in numbers {
        assert!(!Path::new("/proc").join(number).exists(), "process {number} is still there");
    }
}

#[test]
fn a_reward_that_cannot_be_had_stops_a_run_or_costs_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    if !scene(here) {
        return;
    }
    let ends = r#"objectives=[{ type = "task" }, { type = "command", name = "r_short",
        program = { command = "python3", args = ["judge.py", "2"] },
        limits = { concurrency = 1, retries = 0 } }]"#;
    let train = |run: &str, handling: &str| {
        let handling = format!("train.bad_numbers={handling}");
        paretopo(here, &["train", "config.toml", "--run", run], &[ends, &handling])
    };
    let stopped = train("stop", "stop");
    assert_eq!(stopped.status.code(), Some(1), "{}", said(&stopped));
    for part in
        ["step 0: `r_short` gave nothing for task `", "it ended with code 1: the judge is ill"]
    {
        assert!(said(&stopped).contains(part), "{part}: {}", said(&stopped));
    }
    // each process judges one group, and the evaluation's second task finds one that ends
    let skipped = train("skip", "skip");
    let text = said(&skipped);
    assert_eq!(skipped.status.code(), Some(1), "{text}");
    assert!(text.contains("step 0: left out what is in `"), "{text}");
    assert!(
        text.contains("the evaluation of the trained policy: `r_short` gave nothing"),
        "{text}"
    );
    let metrics = std::fs::read_to_string(here.join("skip/metrics.jsonl")).unwrap();
    assert!(metrics.contains(r#""skipped_groups":1.0"#), "{metrics}");
    assert_eq!(metrics.lines().count(), 2, "{metrics}");
}

#[test]
fn a_judge_that_does_not_start_ends_a_run_before_its_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    if !scene(here) {
        return;
    }
    std::fs::write(here.join("judge.py"), "import no_such_module").unwrap();
    let output = paretopo(here, &["train", "config.toml", "--run", "run"], &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("the objective `r_short`: no answer to the greeting: `"), "{text}");
    assert!(text.contains("No module named 'no_such_module'"), "{text}");
}

/// Answers as an OpenAI-compatible endpoint, but for its first request, for which it is busy.
fn endpoint(listener: &TcpListener, prompts: &Sender<String>) {
    for (count, stream) in listener.incoming().enumerate() {
        let Ok(stream) = stream else { return };
        let prompts = prompts.clone();
        std::thread::spawn(move || complete(stream, count == 0, &prompts));
    }
}

fn complete(mut stream: TcpStream, is_busy: bool, prompts: &Sender<String>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let lower = head.to_lowercase();
    let length = lower.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let (status, text) = match is_busy {
        true => ("503 Busy", "{}".to_owned()),
        false => {
            let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
            assert!(head.contains("Authorization: Bearer secret"), "{head}");
            assert_eq!(request["model"], "small");
            let prompt = request["messages"][0]["content"].as_str().unwrap();
            let _ = prompts.send(prompt.to_owned());
            ("200 OK", r#"{"choices":[{"message":{"role":"assistant","content":" 7/10"}}]}"#.into())
        }
    };
    let length = text.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close");
    let _ = stream.write_all(format!("{head}\r\n\r\n{text}").as_bytes());
}

#[test]
fn the_judge_of_the_tutorial_asks_an_endpoint_for_each_response() {
    let folder = tempfile::tempdir().unwrap();
    if !scene(folder.path()) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (sender, prompts) = channel();
    std::thread::spawn(move || endpoint(&listener, &sender));
    let evaluate = |key: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
        let out = folder.path().join(format!("out-{key}"));
        command.args(["evaluate", "examples/judge/config.toml", "--set", "evaluation.tasks=3"]);
        command.arg("--out").arg(&out).current_dir(checkout(""));
        command.env("JUDGE_URL", &url).env("JUDGE_MODEL", "small").env("JUDGE_KEY", key);
        (command.output().unwrap(), out)
    };
    let (output, out) = evaluate("secret");
    assert!(output.status.success(), "{}", said(&output));
    let evaluation = read_json(&out.join("evaluation.json"));
    let clear = evaluation["point"]["r_clear"].as_f64().unwrap();
    assert!((clear - 0.7).abs() < 1e-9, "{evaluation}");
    let prompts: Vec<String> = prompts.try_iter().collect();
    assert_eq!(prompts.len(), 3);
    assert!(prompts.iter().all(|prompt| prompt.contains("How clear is the response")));
}

#[test]
fn the_shipped_policy_trains_with_a_calculator_that_is_an_mcp_server() {
    let folder = tempfile::tempdir().unwrap();
    if !scene(folder.path()) {
        return;
    }
    let run = folder.path().join("run");
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(["train", "examples/mcp/config.toml", "--run"]).arg(&run);
    command.current_dir(checkout("")).env("RAYON_NUM_THREADS", "1");
    for setting in ["train.steps=2", "train.validate_every=0", "evaluation.tasks=20", "workers=1"] {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let evaluation = read_json(&run.join("evaluation.json"));
    assert!(evaluation["calls"].as_f64().unwrap() > 0.1, "{evaluation}");
    assert!(evaluation["em"].as_f64().unwrap() > 0.3, "{evaluation}");
    assert_eq!(evaluation["failed_calls"], 0.0, "{evaluation}");
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(metrics.contains(r#""tool/python/faults":0.0"#), "{metrics}");
}
