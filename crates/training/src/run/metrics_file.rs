//! `metrics.jsonl`: the metrics of each step, one JSON object a line, appended as steps are made.
//!
//! A kill cuts the last line off, and a power cut may leave anything of the lines behind the last
//! checkpoint; those steps are made again. What cannot be read of the steps before is told, and the
//! file as it was is kept.

use crate::{Metrics, TrainingError};
use paretopo_durable::File;
use paretopo_records::METRICS;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The file, opened to be written at its end.
#[derive(Debug)]
pub(crate) struct MetricsFile {
    path: PathBuf,
    file: File,
}

/// The step of a line; `None` if it cannot be read.
fn step_of(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(line).ok()?["step"].as_u64()
}

impl MetricsFile {
    /// Opens or creates the file of a run.
    ///
    /// # Errors
    /// When that fails, or it is no regular file.
    pub(crate) fn open(run: &Path) -> Result<Self, TrainingError> {
        let path = run.join(METRICS);
        Ok(Self { file: File::append(&path)?, path })
    }

    /// Drops the lines of steps from `step` on. `note` hears of lines that cannot be read and of
    /// steps that are missing; the former are kept in `damaged-metrics.jsonl`.
    ///
    /// # Errors
    /// When the file cannot be read or rewritten.
    pub(crate) fn rewind(
        &mut self,
        step: u64,
        note: &mut dyn FnMut(&str),
    ) -> Result<(), TrainingError> {
        let bytes = paretopo_durable::read(&self.path)?.unwrap_or_default();
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        // behind the last line break there is nothing, or what a kill left of a line
        lines.pop();
        let (mut kept, mut steps, mut bad) = (Vec::new(), BTreeSet::new(), Vec::new());
        for (index, line) in lines.into_iter().enumerate() {
            match step_of(line) {
                Some(found) if found < step && steps.insert(found) => {
                    kept.extend_from_slice(line);
                    kept.push(b'\n');
                }
                Some(_) => {}
                None => bad.push(index + 1),
            }
        }
        if let Some(first) = bad.first() {
            let aside = paretopo_durable::put_aside(&self.path)?;
            note(&format!(
                "`{}`: {} cannot be read and left out, the first is line {first}; the file as it \
                 was is `{}`",
                self.path.display(),
                counted(bad.len(), "line"),
                aside.display()
            ));
        }
        if let Some(first) = (0..step).find(|step| !steps.contains(step)) {
            note(&format!(
                "`{}` lacks {} of the {step} before the checkpoint, the first is step {first}",
                self.path.display(),
                counted(step as usize - steps.len(), "step"),
            ));
        }
        if kept != bytes {
            paretopo_durable::write_atomically(&self.path, &kept)?;
        }
        self.file = File::append(&self.path)?;
        Ok(())
    }

    /// Appends the line of a step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn log(&mut self, step: u64, metrics: &Metrics) -> Result<(), TrainingError> {
        let mut line = serde_json::Map::new();
        line.insert("step".into(), step.into());
        line.extend(metrics.iter().map(|(name, value)| (name.clone(), serde_json::json!(value))));
        let mut text = serde_json::Value::from(line).to_string();
        text.push('\n');
        Ok(self.file.put(text.as_bytes())?)
    }
}

/// `1 line`, `2 lines`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a file after going back to step 2, and what was said.
    fn rewound(name: &str, content: &[u8]) -> (String, Vec<String>, bool) {
        let run =
            std::env::temp_dir().join(format!("paretopo-metrics-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&run).unwrap();
        std::fs::write(run.join("metrics.jsonl"), content).unwrap();
        let mut notes = Vec::new();
        let mut file = MetricsFile::open(&run).unwrap();
        file.rewind(2, &mut |note| notes.push(note.replace(run.to_str().unwrap(), "RUN"))).unwrap();
        let aside = std::fs::read(run.join("damaged-metrics.jsonl"));
        let is_kept = aside.is_ok_and(|aside| aside == content);
        let left = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        std::fs::remove_dir_all(&run).unwrap();
        (left, notes, is_kept)
    }

    #[test]
    fn what_cannot_be_read_is_told_and_kept() {
        let whole = "{\"step\":0,\"a\":1.0}\n{\"step\":1,\"a\":2.0}\n";
        let with = |more: &str| [whole, more].concat().into_bytes();
        let silent = (whole.to_owned(), Vec::new(), false);
        // nothing to do, a later step, and what a kill left of one
        for (index, more) in ["", "{\"step\":2}\n", "{\"step\":2,\"a"].into_iter().enumerate() {
            assert_eq!(rewound(&format!("silent-{index}"), &with(more)), silent, "{more}");
        }
        // a byte that is no UTF-8 inside a name, and what a torn sector leaves
        let lines = "lines cannot be read and left out";
        for (name, bad) in [("byte", &b"{\"step\":1,\"a\xff\":2.0}\n"[..]), ("zeros", b"\0\0\0\n")]
        {
            let (left, notes, kept) = rewound(name, &[&with("")[..19], bad].concat());
            assert_eq!(left, &whole[..19]);
            let said = "`RUN/metrics.jsonl`: 1 line cannot be read and left out, the first is line \
                        2; the file as it was is `RUN/damaged-metrics.jsonl`";
            assert_eq!(notes[0], said);
            let missing = "`RUN/metrics.jsonl` lacks 1 step of the 2 before the checkpoint, the \
                           first is step 1";
            assert_eq!(notes[1..], [missing]);
            assert!(kept, "{lines}");
        }
        // an empty file, where steps were made
        let (left, notes, _) = rewound("empty", b"");
        assert_eq!((left.as_str(), notes.len()), ("", 1));
        assert!(notes[0].contains("lacks 2 steps of the 2"), "{notes:?}");
    }
}
