//! `runs.jsonl`: the numbers of finished runs, a line for each, beside the experiment that they
//! belong to. It is committed, so that a long experiment goes on anywhere, and its tables can be
//! made without its run folders.
//!
//! Several processes may append at once: each takes the file's lock, writes a whole line at the end
//! and synchronises it. What a kill leaves of a line is put aside by the next line's own line
//! break, named when the file is read, and left out: its run is made again.

use crate::RunResult;
use paretopo_durable::{Failure, File, read};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Points of a curve, about.
const POINTS: usize = 60;

/// The numbers of each step that are kept, where a run has them, beside the means of all objectives
/// (`reward/NAME`).
const CURVES: [&str; 13] = [
    "em",
    "calls",
    "tool_free/em",
    "validation/head_skill",
    "response_tokens",
    "environment/cost",
    "entropy_estimate",
    "n_optimal/zero_share",
    "estimator/r_pareto",
    "estimator/rank_1",
    "estimator/rank_2",
    "estimator/tie_right_wrong",
    "estimator/archive_hypervolume",
];

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The hash of its resolved configuration, its seed and its starting policy.
    pub configuration: String,
    /// The commit that the program was built from.
    pub commit: String,
    /// The day of its end, as `2026-11-26`.
    pub date: String,
    /// Seconds that it took; of a run that was interrupted, its last part's; `None` for runs that
    /// had ended before there was a ledger.
    pub seconds: Option<f64>,
    /// What it found.
    pub result: RunResult,
    /// How it went.
    pub curve: Curve,
}

/// Numbers of a training, thinned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// The first step of each block; each number is a mean over the steps of its block.
    pub step: Vec<f64>,
    /// By metric, a value for each block; `None` where no step of the block has it.
    pub values: BTreeMap<String, Vec<Option<f64>>>,
}

impl Curve {
    /// The means of about sixty blocks of steps, to four decimals.
    pub fn of(metrics: &[BTreeMap<String, f64>]) -> Self {
        let blocks: Vec<_> = metrics.chunks(metrics.len().div_ceil(POINTS).max(1)).collect();
        let mean_of = |block: &[BTreeMap<String, f64>], key: &str| {
            let found: Vec<f64> = block.iter().filter_map(|step| step.get(key).copied()).collect();
            (!found.is_empty()).then(|| (crate::mean(&found) * 1e4).round() / 1e4)
        };
        let is_kept = |key: &&String| {
            let of_objective = key.starts_with("reward/") && !key.ends_with("_std");
            of_objective || CURVES.contains(&key.as_str())
        };
        let keys: BTreeSet<&String> =
            metrics.iter().flat_map(BTreeMap::keys).filter(is_kept).collect();
        let mut values = BTreeMap::new();
        for key in keys {
            let means: Vec<_> = blocks.iter().map(|block| mean_of(block, key)).collect();
            if means.iter().any(Option::is_some) {
                values.insert(key.clone(), means);
            }
        }
        let first = |block: &&[BTreeMap<String, f64>]| block[0].get("step").copied();
        Self { step: blocks.iter().filter_map(first).collect(), values }
    }

    /// The same as lines of a run's metrics.
    pub fn metrics(&self) -> Vec<BTreeMap<String, f64>> {
        let line = |(index, step): (usize, &f64)| {
            let value = |(key, values): (&String, &Vec<Option<f64>>)| {
                Some((key.clone(), (*values.get(index)?)?))
            };
            let found = self.values.iter().filter_map(value);
            found.chain([("step".to_owned(), *step)]).collect()
        };
        self.step.iter().enumerate().map(line).collect()
    }
}

impl Line {
    /// The run as if its folder had been read, with thinned metrics.
    pub fn to_result(&self) -> RunResult {
        RunResult { metrics: self.curve.metrics(), ..self.result.clone() }
    }
}

/// The lines of a ledger, and what is wrong with those that are left out; none without the file.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read_ledger(path: &Path) -> Result<(Vec<Line>, Vec<String>), Failure> {
    let Some(bytes) = read(path)? else { return Ok(Default::default()) };
    let mut lines = Vec::new();
    let mut damaged = Vec::new();
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for (index, part) in parts.iter().enumerate() {
        if part.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        // what is whole ends with a line break, behind which there is an empty part
        let is_torn = index + 1 == parts.len();
        match serde_json::from_slice(part) {
            Ok(line) if !is_torn => lines.push(line),
            Ok(_) => damaged.push(format!("line {} is cut off", index + 1)),
            Err(error) if is_torn => {
                damaged.push(format!("line {} is cut off: {error}", index + 1))
            }
            Err(error) => damaged.push(format!("line {}: {error}", index + 1)),
        }
    }
    Ok((lines, damaged))
}

/// Appends a line, and returns when it would survive a power cut.
///
/// # Errors
/// When it cannot be locked, written or synchronised.
pub fn append_to_ledger(path: &Path, line: &Line) -> Result<(), Failure> {
    let failed = |source| Failure { path: path.into(), source };
    let mut file = File::append(path)?;
    // given back when the file is closed, however this process ends
    file.as_file().lock().map_err(failed)?;
    let mut text = serde_json::to_vec(line).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    if ends_within_a_line(path).map_err(failed)? {
        text.insert(0, b'\n');
    }
    file.put(&text)?;
    file.sync()
}

fn ends_within_a_line(path: &Path) -> std::io::Result<bool> {
    let mut file = std::fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::run;

    fn line(seed: u64) -> Line {
        let result = RunResult { setting: Some("0.6".into()), ..run("GDPO", seed, 0.5, 1.0) };
        let step = |k: u64| [("step".to_owned(), k as f64), ("em".to_owned(), k as f64 / 8.0)];
        Line {
            configuration: format!("{seed:016x}"),
            commit: "abc".into(),
            date: "2026-11-26".into(),
            seconds: Some(12.5),
            result,
            curve: Curve::of(&[step(0).into(), step(1).into()]),
        }
    }

    #[test]
    fn what_is_appended_is_read_and_a_torn_line_is_named_and_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        assert_eq!(read_ledger(&path).unwrap(), (vec![], vec![]));
        append_to_ledger(&path, &line(1)).unwrap();
        let first = std::fs::read(&path).unwrap();
        // a kill at every byte of the second line
        for cut in 1..first.len() {
            std::fs::write(&path, [&first, &first[..cut]].concat()).unwrap();
            let (lines, damaged) = read_ledger(&path).unwrap();
            assert_eq!((lines, damaged.len()), (vec![line(1)], 1), "{cut}");
            assert!(damaged[0].starts_with("line 2 is cut off"), "{}", damaged[0]);
        }
        std::fs::write(&path, [&first, &first[..9]].concat()).unwrap();
        // what follows is whole
        append_to_ledger(&path, &line(3)).unwrap();
        let (lines, damaged) = read_ledger(&path).unwrap();
        assert_eq!((lines.as_slice(), damaged.len()), (&[line(1), line(3)][..], 1));
        assert_eq!(lines[1].to_result().metrics[1]["em"], 0.125);
        assert_eq!(lines[1].to_result().row(), "GDPO 0.6");
    }

    #[test]
    fn those_who_append_at_once_write_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    (0..25).for_each(|k| append_to_ledger(path, &line(writer * 25 + k)).unwrap());
                });
            }
        });
        let (lines, damaged) = read_ledger(&path).unwrap();
        let mut seeds: Vec<u64> = lines.iter().map(|line| line.result.seed).collect();
        seeds.sort_unstable();
        assert_eq!((seeds, damaged), ((0..100).collect(), vec![]));
    }

    #[test]
    fn a_curve_is_thinned_to_means_of_blocks() {
        let step = |k: u64| {
            let numbers = [("step", k as f64), ("calls", k as f64), ("loss", 1.0)];
            numbers.map(|(name, value)| (name.to_owned(), value)).into()
        };
        let metrics: Vec<BTreeMap<String, f64>> = (0..150).map(step).collect();
        let curve = Curve::of(&metrics);
        // blocks of ceil(150 / 60) = 3: 0, 1, 2 have a mean of 1, then 3, 4, 5 one of 4
        assert_eq!((curve.step.len(), curve.step[1]), (50, 3.0));
        assert_eq!(curve.values["calls"][..2], [Some(1.0), Some(4.0)]);
        assert!(!curve.values.contains_key("loss"));
        // thinning what is thinned changes nothing
        assert_eq!(Curve::of(&curve.metrics()), curve);
        assert_eq!(Curve::of(&[]), Curve::default());
    }
}
