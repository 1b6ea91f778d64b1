//! Several environments in one run: their shares, tools, objectives and budgets, what metrics and
//! evaluations say of each, and that a run that was stopped goes on with the same prompts.

use crate::openenv::sums_server;
use paretopo_training::RunConfig;
use paretopo_trajectory::Trajectory;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Generated problems with a tool, and sums of a server without one, in a few tokens.
const TWO: &str = r#"
workers = 1

[[environments]]
name = "problems"
share = 3
budget = { max_calls = 1 }
[environments.environment]
type = "math"
problems = { type = "generated", seed = 1, train = 64, validation = 12, test = 30, level_weights = [1, 1, 0, 0, 0, 0] }

[[environments]]
name = "sums"
tools = []
objectives = ["r_task", "r_length"]
budget = { max_turns = 1, max_sampled_tokens = 12 }
[environments.environment]
type = "openenv"
observation = "text"
action = { type = "text", part = "answer" }
tools = false
train = 16
validation = 4
test = 10

[[objectives]]
type = "task"

[[objectives]]
type = "tool_efficiency"
alpha = 0.5

[[objectives]]
type = "response_length"
scale = 50

[estimator]
type = "gdpo"
weights = [0.6, 0.3, 0.1]

[train]
steps = 4
prompts_per_step = 4
rollouts_per_prompt = 4
validate_every = 2
checkpoint_every = 1
save_trajectories_every = 1
refill_rounds = 0

[evaluation]
tasks = 20
"#;

fn paretopo(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(arguments).current_dir(folder).env("RAYON_NUM_THREADS", "1");
    command.stdin(Stdio::null()).output().unwrap()
}

fn train(folder: &Path, run: &str, settings: &[&str]) -> Output {
    let mut arguments = vec!["train", "config.toml", "--run", run];
    settings.iter().for_each(|setting| arguments.extend(["--set", *setting]));
    let output = paretopo(folder, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The episodes of all steps of a run.
fn episodes(run: &Path, steps: u64) -> Vec<Trajectory> {
    let of_step = |step| {
        let path = run.join(format!("trajectories/step-{step:06}.jsonl"));
        std::fs::read_to_string(path).unwrap()
    };
    let all: Vec<String> = (0..steps).map(of_step).collect();
    let read = |line: &str| Trajectory::from_line(line.as_bytes()).unwrap();
    all.iter().flat_map(|text| text.lines()).map(read).collect()
}

fn named(task: &str) -> &str {
    task.split_once('/').unwrap().0
}

#[test]
fn two_environments_train_one_policy() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("config.toml"), TWO).unwrap();
    let url = format!("environments.sums.environment.url={}", sums_server());
    train(here, "run", &[&url]);
    let run = here.join("run");
    let played = episodes(&run, 4);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &played {
        *counts.entry(named(&one.task_id)).or_default() += 1;
        let names: Vec<&str> = one.objectives.names().iter().map(String::as_str).collect();
        if named(&one.task_id) == "sums" {
            assert_eq!(names, ["r_task", "r_length"], "it has no other objective");
            // a call is refused, since its episodes have no tool
            let refused = |text: &str| text == "ToolError: there is no tool `python`";
            assert!(one.calls.iter().all(|call| refused(&call.outcome.text)), "{one:?}");
            assert!(one.sampled_tokens() <= 12 && one.replies.len() <= 1, "{one:?}");
        } else {
            assert_eq!(names, ["r_task", "r_tool", "r_length"]);
            assert!(one.calls.len() <= 1 && one.replies.is_empty(), "{one:?}");
        }
        let finite = one.advantages.iter().all(|advantage| advantage.is_finite());
        assert!(finite && !one.advantages.is_empty(), "{one:?}");
    }
    assert_eq!(counts.values().sum::<usize>(), 64);
    assert!(counts["sums"] >= 4 && counts["problems"] > counts["sums"], "{counts:?}");

    let steps = lines(&run.join("metrics.jsonl"));
    for step in &steps {
        let prompts = |name: &str| step[format!("environment/{name}/prompts")].as_f64().unwrap();
        assert_eq!(prompts("problems") + prompts("sums"), 4.0, "{step}");
        if prompts("sums") > 0.0 {
            assert!(step["environment/sums/turns"].as_f64().unwrap() <= 1.0, "{step}");
            assert_eq!(step["environment/sums/failed"], 0.0, "{step}");
            assert!(step["environment/sums/reward/r_tool"].is_null(), "{step}");
        }
    }
    assert!(steps[0]["environment/problems/reward/r_tool"].is_number(), "{}", steps[0]);
    assert!(steps[0]["validation/sums/em"].is_number(), "{}", steps[0]);
    let evaluation = &lines_of(&run.join("evaluation.json"));
    let of = |name: &str| evaluation["environments"][name].clone();
    // 3 to 1 of 20 tasks
    assert_eq!((&of("problems")["tasks"], &of("sums")["tasks"]), (&15.into(), &5.into()));
    assert!(of("sums")["point"]["r_tool"].is_null(), "{evaluation}");
    let mean = |name: &str| of(name)["point"]["r_length"].as_f64().unwrap();
    let whole = (15.0 * mean("problems") + 5.0 * mean("sums")) / 20.0;
    let told = evaluation["point"]["r_length"].as_f64().unwrap();
    assert!((told - whole).abs() < 1e-9, "{told} {whole}");
    assert_eq!(evaluation["point"]["r_tool"], of("problems")["point"]["r_tool"]);
}

fn lines_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_run_that_was_stopped_goes_on_with_the_same_prompts() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("config.toml"), TWO).unwrap();
    let url = format!("environments.sums.environment.url={}", sums_server());
    let steps = "train.steps=12";
    train(here, "whole", &[&url, steps]);
    // it is killed behind its third step or later, and goes on by itself
    let arguments = ["train", "config.toml", "--run", "parts", "--set", &url, "--set", steps];
    let mut child = Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(arguments)
        .current_dir(here)
        .env("RAYON_NUM_THREADS", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let done = || {
        let text = std::fs::read_to_string(here.join("parts/metrics.jsonl")).unwrap_or_default();
        text.lines().count()
    };
    while done() < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!((3..12).contains(&done()), "it was killed between its steps: {}", done());
    train(here, "parts", &[&url, steps]);
    let facts = |run: &str| -> Vec<(String, Vec<u32>)> {
        let all = episodes(&here.join(run), 12);
        all.into_iter().map(|one| (one.task_id.clone(), one.ids())).collect()
    };
    assert_eq!(facts("parts"), facts("whole"));
    let policy =
        |run: &str| std::fs::read(here.join(run).join("policy/model.safetensors")).unwrap();
    assert!(policy("parts") == policy("whole"));
    // and so it does where rollouts are played ahead
    let ahead = ["train.max_staleness=1", "train.validate_every=0"];
    train(here, "ahead", &[&url, steps, ahead[0], ahead[1]]);
    let tasks = |run: &str| -> Vec<String> {
        episodes(&here.join(run), 12).into_iter().map(|one| one.task_id).collect()
    };
    assert_eq!(tasks("ahead"), tasks("whole"));
}

#[test]
fn what_does_not_fit_several_environments_is_named() {
    let error = |change: &dyn Fn(String) -> String| {
        RunConfig::parse(&change(TWO.to_owned()), "config.toml", &[]).unwrap_err().to_string()
    };
    for (old, new, reason) in [
        ("name = \"sums\"", "name = \"problems\"", "two of `environments` are called `problems`"),
        ("share = 3", "share = 0.001", "`environments.problems.share` is less than one of 100"),
        (
            "\"r_length\"]\nbudget",
            "\"r_style\"]\nbudget",
            "`environments.sums.objectives` names `r_style`, but there is `r_task`, `r_tool`",
        ),
        (
            "[\"r_task\", \"r_length\"]",
            "[\"r_length\"]",
            "`environments.sums.objectives` must begin with `r_task`",
        ),
        ("max_turns = 1", "max_turns = 0", "`0` is not a whole number from 1 to 1000"),
        (
            "share = 3\n",
            "objectives = [\"r_task\", \"r_length\"]\n",
            "no environment has the objective `r_tool`\nhint: ",
        ),
        (
            "[[environments]]\nname = \"problems\"",
            "[environment]\ntype = \"qa\"\n\n[[environments]]\nname = \"problems\"",
            "`environment` and `environments` exclude each other",
        ),
        ("type = \"openenv\"", "type = \"openenv\"\nurl = \"ftp://x\"", "begins with neither"),
    ] {
        let said = error(&|text| {
            assert!(text.contains(old), "{old}");
            text.replacen(old, new, 1)
        });
        assert!(said.contains(reason), "{said}");
    }
}
