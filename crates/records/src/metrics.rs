//! `metrics.jsonl`: the numbers of each step, one JSON object a line.

use crate::lines::{Line, is_blank, next_line};
use crate::{RecordError, of};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;

/// The file's name in a run's folder.
pub const METRICS: &str = "metrics.jsonl";

/// Bytes at a file's end in which its last line is looked for, few first.
const ENDS: [u64; 2] = [1 << 13, 1 << 18];

/// A step's numbers by name; what was no number (`null`) is left out.
pub type Step = BTreeMap<String, f64>;

fn step(line: &[u8]) -> serde_json::Result<Step> {
    let numbers: BTreeMap<String, Option<f64>> =
        serde_json::from_slice(paretopo_reading::unmarked_line(line))?;
    Ok(numbers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

fn opened(path: &Path) -> Result<Option<File>, RecordError> {
    paretopo_durable::open(path).map_err(|failure| of(path)(failure.source))
}

/// The steps of a run, in the file's order; none without the file.
///
/// ```
/// use paretopo_records::{METRICS, last_metrics, read_metrics};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let run = tempfile::tempdir()?;
///     let lines = "{\"step\":0,\"loss\":0.5}\n{\"step\":1,\"loss\":null}\n";
///     std::fs::write(run.path().join(METRICS), lines)?;
///     let steps = read_metrics(run.path())?;
///     assert_eq!((steps.len(), steps[0]["loss"], steps[1].get("loss")), (2, 0.5, None));
///     assert_eq!(last_metrics(run.path())?.map(|last| last["step"]), Some(1.0));
///     Ok(())
/// }
/// ```
///
/// # Errors
/// When the file cannot be read; names a line that is malformed.
pub fn read_metrics(folder: &Path) -> Result<Vec<Step>, RecordError> {
    let path = folder.join(METRICS);
    let Some(file) = opened(&path)? else { return Ok(Vec::new()) };
    let mut reader = BufReader::new(file);
    let (mut steps, mut buffer, mut number) = (Vec::new(), Vec::new(), 0u64);
    loop {
        let (taken, line) = next_line(&mut reader, &mut buffer).map_err(of(&path))?;
        if taken == 0 {
            return Ok(steps);
        }
        number += 1;
        let wrong = |reason: String| of(&path)(format!("line {number}: {reason}"));
        match line {
            Line::TooLong => return Err(wrong(Line::too_long())),
            Line::Whole { .. } if is_blank(&buffer) => {}
            Line::Whole { .. } => {
                steps.push(step(&buffer).map_err(|error| wrong(error.to_string()))?)
            }
        }
    }
}

/// What a file of metrics held behind a place in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewSteps {
    /// The steps, in the file's order.
    pub steps: Vec<Step>,
    /// How many whole lines could not be read.
    pub unreadable: usize,
    /// The place behind the last whole line, to go on from.
    pub end: u64,
}

/// The steps of a run that may be at work: those behind the place `from`, 0 for all. A line that is
/// not whole yet is left for the next time; one that cannot be read is counted. A file that has
/// become shorter, as that of a resumed run, is read from its beginning.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read_new_metrics(folder: &Path, from: u64) -> Result<NewSteps, RecordError> {
    let path = folder.join(METRICS);
    let Some(mut file) = opened(&path)? else { return Ok(NewSteps::default()) };
    let length = file.metadata().map_err(of(&path))?.len();
    let from = if from > length { 0 } else { from };
    file.seek(SeekFrom::Start(from)).map_err(of(&path))?;
    let mut reader = BufReader::new(file);
    let mut new = NewSteps { end: from, ..NewSteps::default() };
    let mut buffer = Vec::new();
    loop {
        let (taken, line) = next_line(&mut reader, &mut buffer).map_err(of(&path))?;
        match line {
            Line::Whole { ended: false } => return Ok(new),
            Line::TooLong => new.unreadable += 1,
            Line::Whole { .. } if is_blank(&buffer) => {}
            Line::Whole { .. } => match step(&buffer) {
                Ok(step) => new.steps.push(step),
                Err(_) => new.unreadable += 1,
            },
        }
        new.end += taken;
    }
}

/// The last step that can be read; `None` before the first.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn last_metrics(folder: &Path) -> Result<Option<Step>, RecordError> {
    let path = folder.join(METRICS);
    let Some(mut file) = opened(&path)? else { return Ok(None) };
    for end in ENDS {
        if let Some(last) = last_of(&mut file, end).map_err(of(&path))? {
            return Ok(Some(last));
        }
    }
    Ok(None)
}

/// The last step that can be read in so many bytes at the end of a file.
fn last_of(file: &mut File, end: u64) -> std::io::Result<Option<Step>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(end)))?;
    let mut reader = BufReader::new(file);
    let (mut last, mut buffer) = (None, Vec::new());
    loop {
        let (taken, _) = next_line(&mut reader, &mut buffer)?;
        if taken == 0 {
            return Ok(last);
        }
        last = step(&buffer).ok().filter(|step| !step.is_empty()).or(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_at_work_is_read_on_from_where_its_last_whole_line_ended() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        assert_eq!(read_new_metrics(here, 0).unwrap(), NewSteps::default());
        let write = |text: &str| std::fs::write(here.join(METRICS), text).unwrap();
        // 11 + 1 bytes, a damaged line of 2 + 1, and the beginning of one
        write("{\"step\":0.0}\n{x\n{\"step\":1");
        let new = read_new_metrics(here, 0).unwrap();
        assert_eq!((new.steps.len(), new.unreadable, new.end), (1, 1, 16));
        write("{\"step\":0.0}\n{x\n{\"step\":1}\n");
        let next = read_new_metrics(here, new.end).unwrap();
        assert_eq!((next.steps[0]["step"], next.unreadable, next.end), (1.0, 0, 27));
        assert_eq!(read_new_metrics(here, next.end).unwrap().steps, []);
        // a resumed run has dropped steps
        write("{\"step\":5}\n");
        assert_eq!(read_new_metrics(here, next.end).unwrap().steps[0]["step"], 5.0);
    }

    #[test]
    fn steps_are_read_in_order_and_the_last_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        assert_eq!((read_metrics(here).unwrap(), last_metrics(here).unwrap()), (vec![], None));
        let text = "{\"step\":0,\"em\":0.5,\"loss\":null}\n\n{\"step\":1,\"em\":0.75}\n";
        std::fs::write(here.join(METRICS), text).unwrap();
        let steps = read_metrics(here).unwrap();
        assert_eq!((steps.len(), steps[0].get("loss"), steps[1]["em"]), (2, None, 0.75));
        // what a kill leaves of a line is no step
        std::fs::write(here.join(METRICS), format!("{text}{{\"step\":2,\"e")).unwrap();
        assert_eq!(last_metrics(here).unwrap().unwrap()["step"], 1.0);
        let error = read_metrics(here).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl`: line 4: "), "{error}");
        // of a long file only the end is read: the first line that is, is cut off in front
        let long = "{\"step\":7,\"em\":0.1}\n".repeat(20_000);
        std::fs::write(here.join(METRICS), format!("{long}{{\"step\":8}}\n")).unwrap();
        assert_eq!(last_metrics(here).unwrap().unwrap()["step"], 8.0);
    }
}
