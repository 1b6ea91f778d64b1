//! What the pages on concepts and metrics say: their numbers are those that the code computes, their
//! names those that runs write.

use crate::checkout;
use paretopo_algorithms::estimators::{ParetoPoConfig, ParetoPoState};
use paretopo_algorithms::pareto::non_dominated_ranks;
use paretopo_algorithms::{Estimator, Group, Progress};
use std::process::Command;

/// The cells of the page's tables whose first column is `rollout`, by heading; eight numbers each.
fn columns(page: &str) -> Vec<(String, Vec<f64>)> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    while let Some(line) = lines.next() {
        if !line.starts_with("| rollout |") {
            continue;
        }
        let rows: Vec<Vec<String>> =
            lines.by_ref().skip(1).take_while(|row| row.starts_with('|')).map(cells).collect();
        for (place, heading) in cells(line).into_iter().enumerate().skip(1) {
            let values = rows.iter().filter_map(|row| row[place].parse().ok()).collect();
            found.push((heading, values));
        }
    }
    found
}

#[test]
fn the_worked_example_is_what_the_code_computes() {
    let page = std::fs::read_to_string(checkout("docs/concepts.md")).unwrap();
    let columns = columns(&page);
    let column = |name: &str, nth: usize| -> &[f64] {
        let mut all = columns.iter().filter(|(heading, _)| heading == name);
        let (_, values) = all.nth(nth).unwrap_or_else(|| panic!("no column `{name}`"));
        assert_eq!(values.len(), 8, "`{name}`");
        values
    };
    let near = |name: &str, nth: usize, want: &[f64]| {
        let apart = column(name, nth).iter().zip(want).map(|(a, b)| (a - b).abs());
        let worst = apart.fold(0.0, f64::max);
        assert!(worst <= 5.001e-4, "`{name}` {nth}: {:?}, computed {want:?}", column(name, nth));
    };
    let calls = column("calls", 0).to_vec();
    let efficiency: Vec<f64> =
        calls.iter().map(|calls| (-0.5 * (calls - 1.0).abs()).exp()).collect();
    near("`r_tool`", 0, &efficiency);
    let tasks = column("`r_task`", 0);
    let rewards: Vec<Vec<f64>> =
        tasks.iter().zip(&efficiency).map(|(task, tool)| vec![*task, *tool]).collect();
    let group = Group { rewards: rewards.clone(), ..Group::default() };

    let ranks = non_dominated_ranks(&rewards);
    near("rank", 0, &ranks.iter().map(|rank| *rank as f64).collect::<Vec<_>>());
    let scalars: Vec<f64> =
        rewards.iter().map(|reward| 0.6 * reward[0] + 0.4 * reward[1]).collect();
    near("w . r", 0, &scalars);

    // stage 1: the archive holds what rollout 3 has
    let config = ParetoPoConfig::default();
    let mut state = ParetoPoState::default();
    state.archive.insert(&rewards[2]);
    let gains: Vec<f64> =
        rewards.iter().map(|reward| state.archive.gain(reward, &[0.0, 0.0])).collect();
    near("dHV", 0, &gains);
    let factors: Vec<f64> = gains.iter().map(|gain| 0.5 + 1.5 * (0.1 * gain).tanh()).collect();
    near("factor", 0, &factors);
    let weighed: Vec<f64> = scalars.iter().zip(&factors).map(|(w, f)| w * f).collect();
    near("reward", 0, &weighed);
    let mut at = |step| {
        let progress = Progress { step, total_steps: 10, seed: 0, call_limit: 4.0 };
        let groups = std::slice::from_ref(&group);
        config.advantages(&mut state, groups, progress).unwrap().values.remove(0)
    };
    near("advantage", 0, &at(0));
    // stage 2, behind half of the steps
    near("advantage", 1, &at(5));
    // and by hand: N = 3 ranks
    let inside = column("r_hat", 0);
    let raw: Vec<f64> = (0..8).map(|i| column("base", 0)[i] + inside[i] - 0.5).collect();
    near("raw", 0, &raw);
    assert!((0..8).all(|i| column("base", 0)[i] == 3.0 - column("rank", 0)[i] + 1.0));
}

/// The metrics that `docs/metrics.md` explains; a `*` stands for any name.
fn explained(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let firsts = rows.filter_map(|row| row.split(" | ").next());
    firsts.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

#[test]
fn every_metric_that_a_run_writes_is_explained() {
    let page = std::fs::read_to_string(checkout("docs/metrics.md")).unwrap();
    let explained = explained(&page);
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.args(["--quiet", "train", "--run"]).arg(&run);
    for setting in [
        "train.steps=2",
        "train.prompts_per_step=3",
        "train.rollouts_per_prompt=4",
        "train.validate_every=1",
        "train.kl.coefficient=0.01",
        "evaluation.tasks=6",
        "rollout.tool_free=1",
        "estimator={ type = 'paretopo', credit = 'turn' }",
    ] {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let mut count = 0;
    for line in text.lines() {
        let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        for name in line.keys().filter(|name| *name != "step") {
            let is_told = explained.iter().any(|one| match one.split_once('*') {
                Some((front, back)) => name.starts_with(front) && name.ends_with(back),
                None => one == name,
            });
            assert!(is_told, "`docs/metrics.md` does not explain `{name}`");
            count += 1;
        }
    }
    assert!(count > 80, "only {count} metrics were written");
}
