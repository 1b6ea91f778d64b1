//! The metrics of a run as columns, thinned to what a screen can show.

use paretopo_records::{Step, read_new_metrics};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Points of a curve. A wide screen has about as many pixels.
const MOST_POINTS: usize = 2000;

/// The columns of the metrics that are asked for, or of all: `{"step": [..], "columns": {..}}`.
/// Where there are more steps than points, each point is the mean of a block of steps.
///
/// # Errors
/// When the file is there and cannot be read.
pub(crate) fn series(run: &Path, names: Option<&[&str]>) -> Result<Value, String> {
    let found = read_new_metrics(run, 0).map_err(|error| error.to_string())?;
    let all: std::collections::BTreeSet<&str> =
        found.steps.iter().flat_map(|step| step.keys().map(String::as_str)).collect();
    let block = found.steps.len().div_ceil(MOST_POINTS).max(1);
    let columns: Map<String, Value> = all
        .iter()
        .filter(|name| **name != "step" && names.is_none_or(|names| names.contains(name)))
        .map(|name| ((*name).to_owned(), column(&found.steps, name, block)))
        .collect();
    let steps: Vec<Option<f64>> =
        found.steps.chunks(block).map(|block| block[0].get("step").copied()).collect();
    Ok(json!({
        "step": steps,
        "columns": columns,
        "names": all.iter().filter(|name| **name != "step").collect::<Vec<_>>(),
        "block": block,
        "unreadable": found.unreadable,
    }))
}

fn column(steps: &[Step], name: &str, block: usize) -> Value {
    let mean = |block: &[Step]| {
        let values: Vec<f64> = block.iter().filter_map(|step| step.get(name).copied()).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    steps.chunks(block).map(mean).collect::<Vec<Option<f64>>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_shown_by_means_of_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let line = |step: u64| match step % 2 {
            0 => format!("{{\"step\":{step},\"em\":{step},\"odd\":1}}\n"),
            _ => format!("{{\"step\":{step},\"em\":{step}}}\n"),
        };
        let text: String = (0..3000).map(line).collect();
        std::fs::write(folder.path().join("metrics.jsonl"), text).unwrap();
        let found = series(folder.path(), Some(&["em", "odd"])).unwrap();
        // 3000 steps in blocks of two: (2 + 3) / 2
        assert_eq!((&found["step"][1], &found["block"]), (&json!(2.0), &json!(2)));
        assert_eq!(found["columns"]["em"][1], json!(2.5));
        assert_eq!(found["columns"]["odd"][1], json!(1.0));
        assert_eq!(series(folder.path(), Some(&[])).unwrap()["columns"], json!({}));
    }
}
