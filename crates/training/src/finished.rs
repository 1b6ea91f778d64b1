//! The episodes that an evaluation has finished, one JSON object a line, appended as each ends: an
//! interrupted evaluation plays only the others.

use crate::TrainingError;
use paretopo_durable::{File, put_aside, read, rename, write_atomically};
use paretopo_trajectory::{FinishReason, Trajectory};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Task and sample.
type Key = (String, usize);

/// The file, and what it held when it was opened.
#[derive(Debug)]
pub struct FinishedEpisodes {
    path: PathBuf,
    file: File,
    earlier: HashMap<Key, Trajectory>,
    notes: Vec<String>,
}

impl FinishedEpisodes {
    /// Opens or creates the file. A last line that a kill cut off is dropped; with other lines that
    /// cannot be read the file is put aside, and those that can be read are kept.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, TrainingError> {
        let bytes = read(path)?.unwrap_or_default();
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        lines.pop();
        let (mut earlier, mut whole, mut bad) = (HashMap::new(), Vec::new(), Vec::new());
        for (index, line) in lines.into_iter().enumerate() {
            let Ok(trajectory) = serde_json::from_slice::<Trajectory>(line) else {
                bad.push(index + 1);
                continue;
            };
            // what something outside the policy ended is played again
            if matches!(trajectory.finish, FinishReason::Failed(_)) {
                continue;
            }
            earlier.insert((trajectory.task_id.clone(), trajectory.sample), trajectory);
            whole.extend_from_slice(line);
            whole.push(b'\n');
        }
        let mut notes = Vec::new();
        if let Some(first) = bad.first() {
            notes.push(format!(
                "`{}`: {} of its lines cannot be read, the first is line {first}; their episodes \
                 are played again, and the file as it was is `{}`",
                path.display(),
                bad.len(),
                put_aside(path)?.display()
            ));
        }
        write_atomically(path, &whole)?;
        Ok(Self { path: path.into(), file: File::append(path)?, earlier, notes })
    }

    /// What was mended when the file was opened, the first time that it is asked for.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// What was finished before, by task and sample.
    pub(crate) fn take(&mut self) -> HashMap<Key, Trajectory> {
        std::mem::take(&mut self.earlier)
    }

    /// Puts the file aside as `failed.jsonl`, so that its episodes are kept and played again.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub(crate) fn put_aside(self) -> Result<PathBuf, TrainingError> {
        let aside = self.path.with_file_name("failed.jsonl");
        rename(&self.path, &aside)?;
        Ok(aside)
    }

    pub(crate) fn append(&mut self, trajectory: &Trajectory) -> Result<(), TrainingError> {
        let mut line = serde_json::to_vec(trajectory).expect("plain data serialises");
        line.push(b'\n');
        Ok(self.file.put(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trajectory(task: &str, sample: usize) -> Trajectory {
        Trajectory {
            task_id: task.into(),
            sample,
            weight_version: 0,
            segments: vec![],
            calls: vec![],
            finish: FinishReason::Length,
            response: "r".into(),
            answer: None,
            rewards: vec![],
            seconds: 0.5,
        }
    }

    #[test]
    fn what_was_finished_is_found_again_and_a_torn_line_is_dropped() {
        let folder = std::env::temp_dir().join(format!("paretopo-finished-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("finished.jsonl");
        let mut finished = FinishedEpisodes::open(&path).unwrap();
        finished.append(&trajectory("a", 0)).unwrap();
        finished.append(&trajectory("a", 1)).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let mut again = FinishedEpisodes::open(&path).unwrap();
        assert_eq!(again.take(), HashMap::from([(("a".to_owned(), 0), trajectory("a", 0))]));
        again.append(&trajectory("b", 0)).unwrap();
        let failed = FinishReason::Failed("the server was down".into());
        again.append(&Trajectory { finish: failed, ..trajectory("c", 0) }).unwrap();
        let mut last = FinishedEpisodes::open(&path).unwrap();
        assert_eq!(last.take().len(), 2);
        let last_notes = last.take_notes();
        assert_eq!(last.put_aside().unwrap(), folder.join("failed.jsonl"));
        assert!(FinishedEpisodes::open(&path).unwrap().take().is_empty());
        assert_eq!(last_notes, Vec::<String>::new());
        let kept = std::fs::read_to_string(folder.join("failed.jsonl")).unwrap();
        assert_eq!(kept.lines().count(), 2);
        // a bad byte in the first of two lines
        let mut damaged = std::fs::read(folder.join("failed.jsonl")).unwrap();
        damaged[5] = 0xff;
        std::fs::write(&path, &damaged).unwrap();
        let mut mended = FinishedEpisodes::open(&path).unwrap();
        assert_eq!(mended.take().len(), 1);
        let notes = mended.take_notes();
        assert!(notes.len() == 1 && notes[0].contains("the first is line 1"), "{notes:?}");
        assert_eq!(std::fs::read(folder.join("damaged-finished.jsonl")).unwrap(), damaged);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
