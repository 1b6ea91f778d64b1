//! Three objectives from the configuration to the table: what is trained is what is validated, kept as
//! the best, evaluated, compared and drawn.

use crate::{checkout, json};
use paretopo_records::{TrajectoryFile, read_evaluation, read_metrics};
use std::path::Path;
use std::process::{Command, Output};

const NAMES: [&str; 3] = ["r_task", "r_tool", "r_length"];

/// Two steps, with a validation before each and an evaluation behind them.
const SETTINGS: [&str; 11] = [
    "environment.objectives=[{type=\"task\"},{type=\"tool_efficiency\",alpha=0.5},\
     {type=\"response_length\",scale=40}]",
    "estimator.weights=[0.5,0.3,0.2]",
    "train.steps=2",
    "train.prompts_per_step=2",
    "train.rollouts_per_prompt=4",
    "train.validate_every=1",
    "train.save_trajectories_every=1",
    "train.keep.best=true",
    "train.checkpoint_every=1",
    "evaluation.tasks=6",
    "evaluation.samples=2",
];

fn compare(folder: &Path, methods: &str) -> Output {
    for name in ["paretopo.toml", "scalarized.toml"] {
        std::fs::copy(checkout("experiments/math-python").join(name), folder.join(name)).unwrap();
    }
    let set: Vec<String> = SETTINGS.iter().map(|setting| format!("{setting:?}")).collect();
    let text = format!("seeds = [1]\nset = [{}]\n{methods}", set.join(", "));
    std::fs::write(folder.join("experiment.toml"), text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .current_dir(folder)
        .args(["-q", "compare", "experiment.toml", "--out", "out"])
        .output()
        .unwrap()
}

#[test]
fn three_objectives_are_trained_validated_evaluated_compared_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let methods = "[[methods]]\nname = \"ParetoPO\"\nconfig = \"paretopo.toml\"\nbaseline = false\n\
                   [[methods]]\nname = \"Scalarized\"\nconfig = \"scalarized.toml\"\n";
    let output = compare(folder.path(), methods);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let out = folder.path().join("out");
    let run = out.join("runs/paretopo-1");
    // every episode has a value of each by name, and their mean is what the step logs
    let metrics = read_metrics(&run).unwrap();
    assert_eq!(metrics.len(), 2);
    for (step, metrics) in metrics.iter().enumerate() {
        let path = run.join(format!("trajectories/step-{step:06}.jsonl"));
        let file = TrajectoryFile::open(&path).unwrap();
        let played: Vec<_> = file.iter().unwrap().map(Result::unwrap).collect();
        assert_eq!(played.len(), 8);
        assert!(played.iter().all(|one| one.objectives.names()[..] == NAMES));
        for name in NAMES {
            let sum: f64 = played.iter().filter_map(|one| one.objectives.get(name)).sum();
            assert!((metrics[&format!("reward/{name}")] - sum / 8.0).abs() < 1e-12, "{metrics:?}");
            assert!(metrics.contains_key(&format!("validation/{name}")), "{metrics:?}");
        }
        let right = played.iter().filter(|one| one.success == Some(true)).count();
        assert_eq!(metrics["em"], right as f64 / 8.0);
    }
    // the best policy is that of the larger volume
    let volume = |step: usize| -> f64 {
        NAMES.iter().map(|name| metrics[step][&format!("validation/{name}")]).product()
    };
    let best = json(&run.join("best/validation.json"));
    let step = usize::from(volume(1) > volume(0));
    assert_eq!(best["step"], step);
    for name in NAMES {
        let mean = best["mean_rewards"][name].as_f64().unwrap();
        assert_eq!(mean, metrics[step][&format!("validation/{name}")]);
    }
    // the evaluation is of the episodes that it kept
    let evaluation = read_evaluation(&run).unwrap();
    let file = TrajectoryFile::open(&run.join("trajectories/evaluation.jsonl")).unwrap();
    assert_eq!((file.count().unwrap(), evaluation.episodes), (12, 12));
    for name in NAMES {
        let values = file.iter().unwrap().map(|one| one.unwrap().objectives.get(name).unwrap());
        let mean = values.sum::<f64>() / 12.0;
        assert!((evaluation.point.get(name).unwrap() - mean).abs() < 1e-12, "{evaluation:?}");
        assert!(evaluation.point_interval.get(name).unwrap() > 0.0 || mean == 1.0 || mean == 0.0);
    }
    // and what is compared is what was evaluated
    let results = json(&out.join("results.json"));
    let shown = &results["objectives"][0];
    assert_eq!(shown["method"], "ParetoPO");
    for name in NAMES {
        assert_eq!(shown["point"][name].as_f64(), evaluation.point.get(name));
    }
    let product: f64 = evaluation.point.values().iter().product();
    let hypervolume = shown["indicators"]["hypervolume"].as_f64().unwrap();
    assert!((hypervolume - product).abs() < 1e-12, "{shown} {product}");
    let table = std::fs::read_to_string(out.join("results.md")).unwrap();
    let heads: Vec<&str> = table.lines().filter(|line| line.contains("| hypervolume")).collect();
    assert!(heads[0].contains("| EM") && heads[1].contains("| r_length"), "{table}");
    assert!(said.contains("objectives (better: right)") && said.contains("\nr_length "), "{said}");
    for name in ["front.svg", "curves.svg", "archive.svg", "pairs.svg", "parallel.svg"] {
        let svg = std::fs::read_to_string(out.join(name)).unwrap();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{name}");
        assert!(name == "front.svg" || svg.contains("r_length"), "{name}");
    }
}
