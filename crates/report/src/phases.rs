//! What a run's time went into.

use paretopo_records::{EVALUATION, RecordError, read_evaluation, read_metrics};
use std::collections::BTreeMap;
use std::path::Path;

/// In the order of a step.
const PHASES: [&str; 8] =
    ["prefill", "decode", "sampling", "tools", "grading", "forward", "backward", "optimizer"];

/// Seconds of each phase, in the order of a step: of the training steps (`metrics.jsonl`) and of
/// the evaluation behind them (`evaluation.json`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Phases {
    /// Steps that were counted.
    pub steps: usize,
    /// Phase and seconds of all steps together.
    pub training: Vec<(String, f64)>,
    /// Phase and seconds.
    pub evaluation: Vec<(String, f64)>,
}

/// Reads a run's folder, or an evaluation's.
///
/// # Errors
/// When it holds no phases, or a file is damaged.
pub fn read_phases(run: &Path) -> Result<Phases, RecordError> {
    let metrics = read_metrics(run)?;
    let steps = metrics.len();
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for (name, seconds) in metrics.into_iter().flatten() {
        if let Some(phase) =
            name.strip_prefix("phase/").and_then(|name| name.strip_suffix("_seconds"))
        {
            *sums.entry(phase.to_owned()).or_default() += seconds;
        }
    }
    let evaluation = match run.join(EVALUATION).exists() {
        true => read_evaluation(run)?.phases,
        false => BTreeMap::new(),
    };
    let phases = Phases { steps, training: in_order(sums), evaluation: in_order(evaluation) };
    if phases.training.is_empty() && phases.evaluation.is_empty() {
        return Err(RecordError {
            path: run.into(),
            reason: "holds neither a `metrics.jsonl` nor an `evaluation.json` with phases".into(),
        });
    }
    Ok(phases)
}

fn in_order(sums: BTreeMap<String, f64>) -> Vec<(String, f64)> {
    let place = |name: &str| PHASES.iter().position(|phase| *phase == name).unwrap_or(PHASES.len());
    let mut found: Vec<(String, f64)> = sums.into_iter().collect();
    found.sort_by_key(|(name, _)| place(name));
    found
}

/// A Markdown table: seconds a step and share of each phase of training, then of the evaluation.
pub fn phases_table(phases: &Phases) -> String {
    let mut table = String::new();
    for (what, steps, rows) in
        [("training", phases.steps, &phases.training), ("evaluation", 1, &phases.evaluation)]
    {
        let total: f64 = rows.iter().map(|(_, seconds)| seconds).sum();
        if rows.is_empty() || total <= 0.0 {
            continue;
        }
        let unit = if what == "training" {
            format!("seconds a step, of {steps}")
        } else {
            "seconds".into()
        };
        table += &format!("| {what} | {unit} | share |\n|---|---|---|\n");
        for (name, seconds) in rows {
            table += &format!(
                "| {name} | {:.4} | {:.1}% |\n",
                seconds / steps as f64,
                100.0 * seconds / total
            );
        }
        table += "\n";
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_summed_over_steps_and_stand_in_their_order() {
        let run = std::env::temp_dir().join(format!("paretopo-phases-{}", std::process::id()));
        std::fs::create_dir_all(&run).expect("a folder");
        assert!(read_phases(&run).is_err());
        let lines = "{\"step\":0,\"phase/forward_seconds\":1.0,\"phase/decode_seconds\":2.0}\n{\"step\":1,\"phase/forward_seconds\":2.0,\"phase/decode_seconds\":3.0}\n";
        std::fs::write(run.join("metrics.jsonl"), lines).expect("a file");
        let phases = read_phases(&run).expect("phases");
        assert_eq!(phases.training, [("decode".to_owned(), 5.0), ("forward".to_owned(), 3.0)]);
        // 5 s in 2 steps are 2.5 s a step, 5 of 8 s are 62.5%
        assert!(phases_table(&phases).contains("| decode | 2.5000 | 62.5% |"));
        std::fs::remove_dir_all(&run).expect("removed");
    }
}
