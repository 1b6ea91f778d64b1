//! What the page on methods says of p*, the success rate in the head above which a method prefers
//! no call: it is what the code computes, to the digits that are printed.

use crate::checkout;
use paretopo_algorithms::{EstimatorConfig, call_threshold, call_threshold_where};
use paretopo_environments::{
    Environment, RunMemory, ToolEfficiency, ToolEnvironment, named_objectives, objective,
    score_group, usual_objectives,
};
use paretopo_trajectory::{
    CallRecord, CallStatus, Split, Task, ToolOutcome, Trajectory, TrajectoryId,
};
use serde_json::{Value, json};

/// The rows of the first table of a page whose heading begins so, by cells.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let lines = page.lines().skip_while(|line| !line.starts_with(heading));
    lines.skip(2).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// What stands in the first backticks of a cell.
#[track_caller]
fn quoted(cell: &str) -> String {
    cell.split('`').nth(1).unwrap_or_else(|| panic!("nothing is quoted in {cell}")).to_owned()
}

/// p* in groups of 8 with the usual alpha, as `--call-threshold 0.5` prints it.
fn computed(estimator: &Value) -> f64 {
    let config: EstimatorConfig = serde_json::from_value(estimator.clone()).unwrap();
    call_threshold(&config, 8, 0.5).unwrap()
}

#[track_caller]
fn assert_printed(printed: &str, estimator: &Value) {
    let digits = printed.split_once('.').map_or(0, |(_, behind)| behind.len());
    let p = computed(estimator);
    assert_eq!(format!("{p:.digits$}"), printed, "{estimator}: {p}");
}

#[test]
fn the_thresholds_of_paretopos_options_are_computed() {
    let page = std::fs::read_to_string(checkout("docs/methods.md")).unwrap();
    let (mut key, mut count) = (String::new(), 0);
    for row in table(&page, "| key | value |") {
        // a row without a key is a further value of the one above
        if !row[0].is_empty() {
            key = quoted(&row[0]);
        }
        let Some((_, behind)) = row[3].split_once("p* ") else { continue };
        let is_part = |sign: char| sign.is_ascii_digit() || sign == '.';
        let printed: String = behind.chars().take_while(|sign| is_part(*sign)).collect();
        let mut estimator = json!({ "type": "paretopo" });
        estimator[key.as_str()] = quoted(&row[1]).into();
        assert_printed(printed.trim_end_matches('.'), &estimator);
        count += 1;
    }
    assert!(count >= 6, "only {count} options have a p*");
}

/// The settings that a number of the column is said to be for.
fn meant(said: &str) -> Value {
    match said {
        // where it is computed an episode may make four calls
        "" | "at 4 calls" => json!({}),
        "at w = 0.15" => json!({ "tool_weight": 0.15 }),
        "at beta = 0.2" => json!({ "beta": 0.2 }),
        "at k = 1" => json!({ "sharpness": 1.0 }),
        "without deviation" => json!({ "std_normalization": false }),
        other => panic!("`{other}` is behind a p*, and this test does not know what it means"),
    }
}

#[test]
fn the_thresholds_of_the_baselines_are_computed() {
    let page = std::fs::read_to_string(checkout("docs/methods.md")).unwrap();
    let rows = table(&page, "| `type` |");
    assert!(rows.len() >= 8, "only {} baselines", rows.len());
    for row in rows {
        let (name, said) = (quoted(&row[0]), row[3].as_str());
        if said == "1 - lambda" {
            for price in [0.1, 0.3] {
                let estimator = json!({ "type": name, "start": price, "rate": 0.0 });
                let p = computed(&estimator);
                assert!((p - (1.0 - price)).abs() < 1e-6, "{estimator}: {p}");
            }
            continue;
        }
        let (printed, behind) = said.split_once(' ').unwrap_or((said, ""));
        let mut estimator = meant(behind);
        estimator["type"] = name.into();
        assert_printed(printed, &estimator);
    }
}

struct NoTasks;

impl Environment for NoTasks {
    fn tasks(&self, _: Split) -> &[Task] {
        &[]
    }
}

/// The reward vectors of four answers in the head, so many of them right, and four with a call that
/// are all right. Of both a thousand were tried before; the share `p` of those in the head was right.
fn rewards(efficiency: &ToolEfficiency, p: f64, right: usize) -> Vec<Vec<f64>> {
    let mut objectives = usual_objectives();
    objectives[1] = objective("tool_efficiency", efficiency.clone());
    let environment = ToolEnvironment {
        environment: Box::new(NoTasks),
        tools: Vec::new(),
        objectives: named_objectives(&objectives).unwrap(),
    };
    let mut memory = RunMemory::default();
    for tried in 0..1000 {
        memory.record("t", 0.0, f64::from(tried) < 1000.0 * p);
        memory.record("t", 1.0, true);
    }
    let task = Task { id: "t".into(), answers: vec!["yes".into()], ..Task::default() };
    let call = CallRecord::new(None, ToolOutcome::new(CallStatus::Ok, "", 0.0));
    let played = |place: usize| Trajectory {
        calls: vec![call.clone(); usize::from(place >= 4)],
        answer: Some(if place < right || place >= 4 { "yes" } else { "no" }.into()),
        ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "t", 0)
    };
    let mut group: Vec<Trajectory> = (0..8).map(played).collect();
    assert_eq!(score_group(&environment, &task, &mut group, &mut memory), None);
    group.iter().map(|trajectory| trajectory.objectives.values().to_vec()).collect()
}

/// p* of ParetoPO's ranks where this objective says what `r_tool` is.
fn threshold_of_objective(efficiency: &ToolEfficiency) -> f64 {
    let ranks: EstimatorConfig = serde_json::from_value(json!({ "type": "paretopo" })).unwrap();
    call_threshold_where(&ranks, 8, |p, right| rewards(efficiency, p, right)).unwrap()
}

/// Success first, by hand: with none of four right in the head (0, 0) stands below (1, r): the gap is
/// 1 - 2 = -1. With k of them there are three ranks, right, a call, wrong: (3 k + (4 - k)) / 4 - 2 =
/// k / 2 - 1, which is -1 and 1 for k = 0 and 4, too. Its mean is 2 p - 1, so p* = 1/2.
///
/// Reliable at q: below it `N_optimal` is 1, and a sure call dominates all else; above it is 0, as it
/// is for the fewest, which need the golden section, 0.618.
#[test]
fn the_thresholds_of_the_objectives_options_are_computed() {
    let page = std::fs::read_to_string(checkout("docs/methods.md")).unwrap();
    let page = page.split_once("The objective `tool_efficiency`").unwrap().1;
    let (mut key, mut count) = (String::new(), 0);
    for row in table(page, "| key | value |") {
        if !row[0].is_empty() {
            key = quoted(&row[0]);
        }
        let (_, behind) = row[3].split_once("p* ").unwrap_or_else(|| panic!("{row:?} has no p*"));
        let printed: f64 = behind[..4].parse().unwrap();
        let value = quoted(&row[1]).replace("= q", "= 0.75");
        let efficiency: ToolEfficiency =
            toml::from_str(&format!("alpha = 0.5\n{key} = {value}")).unwrap();
        let p = threshold_of_objective(&efficiency);
        assert!((p - printed).abs() < 0.006, "{key} = {value}: {p}, not {printed}");
        count += 1;
    }
    assert_eq!(count, 8);
    for (rate, wanted) in [("0.3", 0.618), ("0.9", 0.9)] {
        let settings = format!("alpha = 0.5\nn_optimal = {{ reliable = {rate} }}");
        let p = threshold_of_objective(&toml::from_str(&settings).unwrap());
        assert!((p - wanted).abs() < 0.003, "{rate}: {p}");
    }
}
