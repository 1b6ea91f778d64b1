//! `compare`: what would make its table wrong is an error, and a killed one leaves no run behind.

use crate::checkout;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn command(folder: &Path, text: &str, more: &[&str]) -> Command {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::copy(checkout("experiments/math-python/grpo.toml"), folder.join("grpo.toml")).unwrap();
    std::fs::write(folder.join("experiment.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.current_dir(folder).args(["-q", "compare", "experiment.toml"]);
    if !more.contains(&"--out") {
        command.args(["--out", "out"]);
    }
    command.args(more);
    command
}

fn compare(folder: &Path, text: &str, more: &[&str]) -> Output {
    command(folder, text, more).output().unwrap()
}

#[track_caller]
fn assert_refused(output: &Output, parts: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

fn method(name: &str) -> String {
    format!("\n[[methods]]\nname = \"{name}\"\nconfig = \"grpo.toml\"\n")
}

#[test]
fn experiments_that_would_count_wrong_are_refused_before_a_run_starts() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let refuse = |text: &str, more: &[&str], parts: &[&str]| {
        assert_refused(&compare(here, text, more), &[&["`experiment.toml`: "], parts].concat());
        assert!(!here.join("out/runs").exists(), "{text}");
    };
    let one = method("GRPO");
    refuse(&format!("seeds = [1, 2, 1]\n{one}"), &[], &["the seed 1 is listed twice in `seeds`"]);
    refuse(&format!("seeds = []\n{one}"), &[], &["`seeds` is empty"]);
    refuse("seeds = [1]\nmethods = []\n", &[], &["`methods` is empty"]);
    refuse("seeds = [1]\n", &[], &["methods"]);
    // names that differ in what a folder's name leaves out
    for (first, second) in
        [("a b", "a-b"), ("GRPO", "grpo"), ("GRPO", "GRPO"), ("a\u{e9}", "a\u{fc}")]
    {
        let text = format!("seeds = [1, 2]\n{}{}", method(first), method(second));
        refuse(
            &text,
            &[],
            &[&format!("`{first}` and `{second}` would share the folder"), "out/runs/"],
        );
    }
    for nameless in ["", " ", "--"] {
        refuse(&format!("seeds = [1]\n{}", method(nameless)), &[], &["needs a `name`"]);
    }
    let sweep = |values: &str| {
        format!("seeds = [1]\n{one}\n[sweep]\nkey = \"train.steps\"\nvalues = {values}\n")
    };
    refuse(&sweep("[1, 2, 1]"), &[], &["`GRPO 1` and `GRPO 1` would share the folder"]);
    refuse(&sweep("[]"), &[], &["`sweep.values` is empty"]);
    let knob = |text: &str| format!("seeds = [1]\n{one}knob = {{ {text} }}\n");
    refuse(&knob("key = \"train.steps\""), &[], &["method `GRPO`: `knob` needs a `key` and"]);
    refuse(&knob("key = \"seed\", values = [7]"), &[], &["`seed=7` has no effect"]);
    refuse(
        &knob("key = \"train.steps\", values = [1, 1]"),
        &[],
        &["`GRPO 1` and `GRPO 1` would share the folder"],
    );
    let controls = |text: &str| {
        std::fs::write(here.join("controls.json"), text).unwrap();
        let text = format!("seeds = [1]\ncontrols = \"controls.json\"\n{one}");
        let output = compare(here, &text, &[]);
        assert_refused(&output, &["`controls.json`: "]);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(controls("{\"levels\":[]}").contains("`levels` is empty"));
    assert!(controls("{}").contains("missing field `levels`"));
    // a seed that the list would overrule
    let fixed = "`seed=7` has no effect: each run has a seed of the list `seeds`";
    refuse(&format!("seeds = [1]\n{one}"), &["--set", "seed=7"], &[fixed]);
    refuse(&format!("seeds = [1]\nset = [\"seed=7\"]\n{one}"), &[], &[fixed]);
    refuse(&format!("seeds = [1]\n{one}set = [\"seed=7\"]\n"), &[], &[fixed]);
}

#[test]
fn an_untrained_result_of_other_settings_is_refused_and_an_older_right_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let text = format!("seeds = [1]\n{}untrained = true\n", method("untrained"));
    let tasks =
        |count: &str| compare(here, &text, &["--set", &format!("evaluation.tasks={count}")]);
    let run = here.join("out/runs/untrained-1");
    assert!(tasks("2").status.success());
    let result = || std::fs::read_to_string(run.join("evaluation.json")).unwrap();
    let first = result();
    // near miss: the same settings again are not played again
    assert!(tasks("2").status.success());
    assert_eq!(result(), first);
    let other = "an evaluation with another configuration (first difference: `tasks = 2`)";
    assert_refused(&tasks("3"), &["out/runs/untrained-1` holds", other, "hint:"]);
    assert_eq!(result(), first);
    // an earlier version did not know all settings
    let identity = run.join("identity.json");
    let written = std::fs::read_to_string(&identity).unwrap();
    let old = written.replace("stop_after_failed_steps = 3\\n", "");
    assert_ne!(old, written);
    std::fs::write(&identity, &old).unwrap();
    assert!(tasks("2").status.success());
    assert_eq!(result(), first);
    assert_refused(&tasks("3"), &[other]);
    // or did not write down what it evaluated: then it is evaluated again, and the right number is
    // what it was
    std::fs::remove_file(&identity).unwrap();
    let em = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["em"].clone();
    std::fs::write(
        run.join("evaluation.json"),
        first.replace("\"episodes\": 2", "\"episodes\": 9"),
    )
    .unwrap();
    assert!(tasks("2").status.success());
    assert!(result().contains("\"episodes\": 2") && em(&result()) == em(&first));
    assert_eq!(std::fs::read_to_string(&identity).unwrap(), written);
    // a training run of the same name is no evaluation of the policy that it began with
    std::fs::remove_file(&identity).unwrap();
    std::fs::write(run.join("config.toml"), "seed = 1").unwrap();
    let parts = ["holds a training run, but `untrained` is only evaluated"];
    assert_refused(&tasks("2"), &parts);
}

#[test]
fn a_finished_run_of_other_settings_is_refused_and_an_older_right_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let text = format!("seeds = [1]\n{}", method("GRPO"));
    let train = |steps: &str| {
        let settings = [
            &format!("train.steps={steps}"),
            "train.prompts_per_step=2",
            "train.rollouts_per_prompt=2",
            "train.validate_every=0",
            "evaluation.tasks=2",
        ];
        compare(here, &text, &settings.map(|setting| ["--set", setting]).concat())
    };
    let run = here.join("out/runs/grpo-1");
    let first = train("1");
    assert!(first.status.success(), "{first:?}");
    let result = || std::fs::read_to_string(run.join("evaluation.json")).unwrap();
    let kept = result();
    let path = run.join("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let old = config.replace("stop_after_failed_steps = 3\n", "");
    assert_ne!(old, config);
    std::fs::write(&path, old).unwrap();
    assert!(train("1").status.success());
    assert_eq!(result(), kept);
    assert_refused(&train("2"), &["holds a run with another configuration", "`steps = 1`"]);
    std::fs::remove_file(&path).unwrap();
    assert_refused(&train("1"), &["a result without the configuration that it belongs to"]);
    // what `evaluate` left is no trained result
    std::fs::write(run.join("identity.json"), "{\"config\":\"\",\"files\":[]}").unwrap();
    assert_refused(&train("1"), &["holds an evaluation by `evaluate`, but `GRPO` is trained"]);
}

/// The settings of a run of a second.
const SHORT: [&str; 10] = [
    "--set",
    "train.steps=6",
    "--set",
    "train.prompts_per_step=2",
    "--set",
    "train.rollouts_per_prompt=2",
    "--set",
    "train.validate_every=0",
    "--set",
    "evaluation.tasks=6",
];

#[test]
fn a_run_of_the_ledger_is_done_without_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let controls = r#"{"levels":[
        {"level":0,"share":0.5,"head_skill":0.9,"tool_skill":1.0,"calls":1.0},
        {"level":1,"share":0.5,"head_skill":0.1,"tool_skill":1.0,"calls":1.0}]}"#;
    std::fs::write(here.join("controls.json"), controls).unwrap();
    let knob = "knob = { name = \"lr\", key = \"train.optimizer.learning_rate\", values = [1e-4, \
                2e-4] }\n";
    let text = format!(
        "seeds = [1]\nruns = \"runs.jsonl\"\ncontrols = \"controls.json\"\n{}{knob}",
        method("GRPO")
    );
    let made = |out: &str, more: &[&str]| {
        let output = compare(here, &text, &[&SHORT[..], &["--out", out], more].concat());
        assert!(output.status.success(), "{output:?}");
        let runs = std::fs::read_dir(here.join(out).join("runs")).map_or(0, Iterator::count);
        (runs, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let runs = |out: &str| {
        let text = std::fs::read_to_string(here.join(out).join("results.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["fronts"][0]["settings"], serde_json::json!(["lr 0.0001", "lr 0.0002"]));
        assert_eq!(json["frame"]["controls"]["levels"][1]["head_skill"], 0.1);
        json["runs"].clone()
    };
    assert_eq!(made("first", &[]).0, 2);
    let ledger = here.join("runs.jsonl");
    let lines = std::fs::read_to_string(&ledger).unwrap();
    assert_eq!(lines.lines().count(), 2);
    // elsewhere, without the folders: nothing is run, and all tables and figures are there
    assert_eq!(made("second", &[]), (0, String::new()));
    assert_eq!(runs("second"), runs("first"));
    for name in ["results.md", "front.svg", "curves.svg"] {
        let text = |out: &str| std::fs::read_to_string(here.join(out).join(name)).unwrap();
        assert_eq!(text("first"), text("second"), "{name}");
    }
    // a kill within the second line: only the first run is finished
    let cut = lines.len() - 20;
    std::fs::write(&ledger, &lines[..cut]).unwrap();
    let (count, said) = made("partly", &["--finished"]);
    assert!(count == 0 && said.contains("1 of 2 runs are finished"), "{count} {said}");
    let partly = std::fs::read_to_string(here.join("partly/results.json")).unwrap();
    let partly: serde_json::Value = serde_json::from_str(&partly).unwrap();
    // whichever of the two ended first
    let done = partly["runs"].as_array().unwrap();
    assert!(done.len() == 1 && runs("first").as_array().unwrap().contains(&done[0]), "{done:?}");
    let none = ["--finished", "--out", "none", "--set", "evaluation.tasks=8"];
    let output = compare(here, &text, &[&SHORT[..], &none].concat());
    assert_refused(&output, &["none of the 2 runs is finished", "hint:"]);
    // its run is made again
    let (count, said) = made("third", &[]);
    assert_eq!(count, 1, "{said}");
    assert!(said.contains("`runs.jsonl`: line 2 is cut off"), "{said}");
    assert_eq!(std::fs::read_to_string(&ledger).unwrap().lines().count(), 3);
    // runs of another configuration are not these
    assert_eq!(made("fourth", &["--set", "evaluation.tasks=7"]).0, 2);
    assert_eq!(std::fs::read_to_string(&ledger).unwrap().lines().count(), 5);
}

/// A process, told from a later one of the same id by when it started; `None` if it is gone or
/// dead.
#[cfg(target_os = "linux")]
fn started(id: u32) -> Option<(u32, u32, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // behind the name, which may hold anything: state, parent, .., the 20th is the start
    let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
    let (state, parent) = (fields[0], fields[1].parse().ok()?);
    (state != "Z").then(|| (id, parent, fields[19].to_owned()))
}

#[cfg(target_os = "linux")]
fn descendants(root: u32) -> BTreeSet<(u32, u32, String)> {
    let names = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<_> = ids.filter_map(started).collect();
    let (mut family, mut found) = (BTreeSet::from([root]), BTreeSet::new());
    while let Some(next) =
        all.iter().find(|process| family.contains(&process.1) && !family.contains(&process.0))
    {
        family.insert(next.0);
        found.insert(next.clone());
    }
    found
}

/// The runs, their workers, and what those started: all are gone soon, whatever kills `compare`.
#[cfg(target_os = "linux")]
#[test]
fn a_killed_compare_takes_its_runs_with_it() {
    crate::heed_signals();
    for signals in [&["-KILL"][..], &["-TERM"], &["-INT"], &["-TERM", "-TERM"], &["-HUP"]] {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let untrained = format!("{}untrained = true\n", method("untrained"));
        let text = format!("seeds = [1]\n{}{untrained}", method("GRPO"));
        // both would take hours
        let settings = ["train.steps=100000", "train.validate_every=0", "evaluation.samples=2000"];
        let more = [&["--jobs", "2"][..], &settings.map(|setting| ["--set", setting]).concat()];
        let mut compare = command(here, &text, &more.concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // both runs are at work when their tools are
        let deadline = Instant::now() + Duration::from_secs(120);
        let running = loop {
            let running = descendants(compare.id());
            let by_runs = running.iter().filter(|process| process.1 != compare.id()).count();
            if running.len() - by_runs == 2 && by_runs >= 2 {
                break running;
            }
            assert!(Instant::now() < deadline, "two runs with workers within two minutes");
            std::thread::sleep(Duration::from_millis(20));
        };
        for signal in signals {
            let id = compare.id().to_string();
            assert!(Command::new("kill").args([*signal, &id]).status().unwrap().success());
        }
        let status = compare.wait().unwrap();
        assert!(!status.success(), "{signals:?}: {status}");
        let alive = || -> Vec<_> {
            let same = |process: &&(u32, u32, String)| {
                started(process.0).is_some_and(|now| now.2 == process.2)
            };
            running.iter().filter(same).collect()
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !alive().is_empty() {
            assert!(Instant::now() < deadline, "{signals:?} left {:?}", alive());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What an experiment's runs are called: a method's name, and a setting of its knob or "".
fn names_and_settings(experiment: &toml::Table) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for method in experiment["methods"].as_array().unwrap() {
        let name = method["name"].as_str().unwrap();
        let Some(knob) = method.get("knob") else {
            found.insert((name.to_owned(), String::new()));
            continue;
        };
        for setting in knob["settings"].as_array().unwrap() {
            let label = setting["label"].as_str().unwrap();
            let setting = match knob.get("name") {
                Some(knob) => format!("{} {label}", knob.as_str().unwrap()),
                None => label.to_owned(),
            };
            found.insert((name.to_owned(), setting));
        }
    }
    found
}

/// Runs that are known by a hash of their configuration are lost to `compare` when a setting that
/// they never heard of comes to be written.
#[test]
fn runs_that_are_committed_are_those_of_todays_configurations() {
    let experiments = [
        ("math", "full", "runs"),
        ("math", "stages", "runs"),
        ("math", "prices", "runs"),
        ("math", "log_prices", "runs"),
        ("math", "over_time", "runs"),
        ("math", "preferences", "runs"),
        ("math", "told", "told_runs"),
        ("math", "objectives", "objectives_runs"),
        ("math", "four_objectives", "objectives_runs"),
        ("math", "ablations", "ablations_runs"),
        ("math", "options", "ablations_runs"),
        ("math", "tuning", "tuning_runs"),
        ("qa", "full", "runs"),
        ("qa", "tuning", "tuning_runs"),
    ];
    for (world, experiment, ledger) in experiments {
        let home = checkout("experiments").join(world);
        let path = home.join(format!("{experiment}.toml"));
        let listed: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let seeds = listed["seeds"].as_array().unwrap().clone();
        let is_sweep = listed.contains_key("sweep");
        let listed = names_and_settings(&listed);
        let ledger = home.join(format!("{ledger}.jsonl"));
        let text = std::fs::read_to_string(ledger).unwrap();
        let mut committed = BTreeSet::new();
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let run = &line["result"];
            let method = run["method"].as_str().unwrap();
            let setting = run["setting"].as_str().unwrap_or_default();
            let seed = run["seed"].as_i64().unwrap();
            // a sweep puts its value behind the name
            let is_listed = |(name, its): &(String, String)| {
                let is_swept = is_sweep && method.starts_with(&format!("{name} "));
                its == setting && (method == name || is_swept)
            };
            if seeds.contains(&seed.into()) && listed.iter().any(is_listed) {
                committed.insert((method.to_owned(), setting.to_owned(), seed));
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
        command.args(["compare", "--finished", "--out"]).arg(folder.path()).arg(&path);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let known: usize = said.split(' ').next().and_then(|count| count.parse().ok()).unwrap();
        // another experiment may have made some of them under another name
        assert!(
            known >= committed.len(),
            "{world}, {experiment}: {said} of {} committed",
            committed.len()
        );
    }
}
