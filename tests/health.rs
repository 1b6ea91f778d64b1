//! `doctor RUN`: faults that are put into real runs are found, a healthy run raises nothing. The
//! records of many more runs (`just health-check`) are judged anew.

use crate::checkout;
use paretopo_health::Record;
use std::path::Path;
use std::process::{Command, Output};

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paretopo")).args(arguments).output().unwrap()
}

/// Judges what `just health-check` has recorded: of each run its fault, and the rules that speak up.
fn replayed() -> Vec<(String, Option<String>, Vec<&'static str>)> {
    let text = std::fs::read_to_string(checkout("experiments/health/records.jsonl")).unwrap();
    let judge = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        let columns = value["steps"].as_object().unwrap().clone();
        let count = columns.values().map(|column| column.as_array().unwrap().len()).max().unwrap();
        let step = |place: usize| {
            let own = columns
                .iter()
                .filter_map(|(name, column)| Some((name.clone(), column.get(place)?.as_f64()?)));
            own.chain([("step".to_owned(), place as f64)]).collect()
        };
        let record = Record {
            steps: (0..count).map(step).collect(),
            settings: serde_json::from_value(value["settings"].take()).unwrap(),
            seen: serde_json::from_value(value["seen"].take()).unwrap(),
        };
        let verdicts = paretopo_health::examine(&record);
        let ill = verdicts.iter().filter(|verdict| verdict.is_ill()).map(|verdict| verdict.rule);
        let name = value["name"].as_str().unwrap().to_owned();
        (name, value["fault"].as_str().map(str::to_owned), ill.collect())
    };
    text.lines().map(judge).collect()
}

/// Each fault with three seeds, and twenty healthy runs; none of them is one on which a rule was
/// written or mended.
#[test]
fn every_rule_finds_its_fault_in_three_runs_and_nothing_in_twenty_healthy_ones() {
    let runs = replayed();
    for rule in paretopo_health::examine(&Record::default()).iter().map(|verdict| verdict.rule) {
        let ill = runs.iter().filter(|(_, fault, _)| fault.as_deref() == Some(rule));
        let found: Vec<bool> = ill.map(|(_, _, said)| said.contains(&rule)).collect();
        assert_eq!(found, [true; 3], "{rule}");
    }
    let healthy: Vec<_> = runs.iter().filter(|(_, fault, _)| fault.is_none()).collect();
    let mut names: Vec<&String> = healthy.iter().map(|(name, ..)| name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 20);
    for (name, _, said) in healthy {
        assert!(said.is_empty(), "{name}: {said:?}");
    }
}

/// Trains in the graded world, and says what the doctor thinks of it.
fn trained(run: &Path, steps: u64, settings: &[&str]) -> (Option<i32>, String) {
    let config = checkout("experiments/math/paretopo.toml");
    let mut arguments = vec!["-q", "train", config.to_str().unwrap(), "--run"];
    arguments.push(run.to_str().unwrap());
    let steps = format!("train.steps={steps}");
    let usual = [&steps, "evaluation.tasks=20", "evaluation.head_skill=false", "workers=1"];
    for setting in usual.iter().chain(settings) {
        arguments.extend(["--set", *setting]);
    }
    let output = program(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = program(&["doctor", run.to_str().unwrap()]);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// The titles of what is wrong, which stand alone in a line in capitals.
fn faults(said: &str) -> Vec<&str> {
    let is_title = |line: &&str| {
        !line.is_empty() && line.chars().all(|c| c.is_ascii_uppercase() || " -".contains(c))
    };
    said.lines().filter(is_title).collect()
}

#[test]
fn a_healthy_run_raises_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = trained(folder.path(), 12, &["train.kl.coefficient=0.01"]);
    assert_eq!((code, faults(&said)), (Some(0), vec![]), "{said}");
    assert!(said.contains("12 steps\n") && said.contains("ok  silent groups"), "{said}");
}

#[test]
fn injected_faults_are_found_by_name() {
    let rollouts_that_are_alike = "rollout.sampling.temperature=0.0";
    let calls_that_fail = "tools=[{ type = 'calculator', failure_rate = 0.6 }]";
    for (setting, steps, title, said) in [
        (rollouts_that_are_alike, 10, "SILENT GROUPS", "100% of the groups had no signal"),
        (calls_that_fail, 10, "TOOL ERRORS", "more of luck than of the policy"),
        ("rollout.max_sampled_tokens=8", 10, "TRUNCATION", "of the responses are cut off before"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (code, words) = trained(folder.path(), steps, &[setting]);
        assert_eq!((code, faults(&words)), (Some(1), vec![title]), "{words}");
        let unbroken = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(unbroken.contains(said) && unbroken.contains("Try: - "), "{words}");
        // the run itself has said it once, after its tenth step
        let log = std::fs::read_to_string(folder.path().join("log.txt")).unwrap();
        assert_eq!(log.matches(&format!("warning: {}", title.to_lowercase())).count(), 1, "{log}");
    }
}

#[test]
fn a_policy_that_is_driven_away_has_more_than_one_fault() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ["train.kl.coefficient=0.0001", "train.optimizer.learning_rate=3e-3"];
    let (code, said) = trained(folder.path(), 30, &settings);
    let found = faults(&said);
    assert!(code == Some(1) && found.contains(&"KL RUN-AWAY"), "{said}");
}

#[test]
fn verdicts_and_what_they_are_judged_by_can_be_had_as_json() {
    let run = checkout("experiments/faults/silent-groups");
    let output = program(&["doctor", "--json", run.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdicts = said["verdicts"].as_array().unwrap();
    let is_ill = |verdict: &&serde_json::Value| verdict["condition"]["state"] == "ill";
    let ill: Vec<_> = verdicts.iter().filter(is_ill).map(|verdict| &verdict["rule"]).collect();
    assert_eq!(ill, ["silent_groups"]);
    let record: Record = serde_json::from_value(said["record"].clone()).unwrap();
    assert_eq!((verdicts.len(), record.steps.len()), (10, 30));
    assert_eq!(record, Record::read(&run).unwrap());
}

#[test]
fn what_is_no_run_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let refused = |said: &str| {
        let output = program(&["doctor", path]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains(said), "{error}");
        assert!(error.contains("\nhint: give the folder of a run"), "{error}");
    };
    refused("config.toml`: ");
    std::fs::write(folder.path().join("config.toml"), "[train]\n").unwrap();
    refused("holds no steps");
}

#[test]
fn every_rule_stands_in_the_documentation() {
    let page = std::fs::read_to_string(checkout("docs/health.md")).unwrap();
    for verdict in paretopo_health::examine(&paretopo_health::Record::default()) {
        assert!(page.contains(&format!("| {} |", verdict.title)), "{}", verdict.title);
    }
}
