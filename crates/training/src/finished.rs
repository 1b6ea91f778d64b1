//! The episodes that an evaluation has finished, one JSON object a line, appended as each ends: an
//! interrupted evaluation plays only the others.

use crate::TrainingError;
use crate::run_folder::{access, write_atomically};
use paretopo_trajectory::{FinishReason, Trajectory};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Task and sample.
type Key = (String, usize);

/// The file, and what it held when it was opened.
#[derive(Debug)]
pub struct FinishedEpisodes {
    path: PathBuf,
    file: File,
    earlier: HashMap<Key, Trajectory>,
}

impl FinishedEpisodes {
    /// Opens or creates the file. A last line that a kill cut off is dropped.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, TrainingError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(access(path)(error)),
        };
        let (mut earlier, mut whole) = (HashMap::new(), String::new());
        for line in text.lines() {
            let Ok(trajectory) = serde_json::from_str::<Trajectory>(line) else { continue };
            // what something outside the policy ended is played again
            if matches!(trajectory.finish, FinishReason::Failed(_)) {
                continue;
            }
            earlier.insert((trajectory.task_id.clone(), trajectory.sample), trajectory);
            whole.extend([line, "\n"]);
        }
        write_atomically(path, whole.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(access(path))?;
        Ok(Self { path: path.into(), file, earlier })
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
        std::fs::rename(&self.path, &aside).map_err(access(&self.path))?;
        Ok(aside)
    }

    pub(crate) fn append(&mut self, trajectory: &Trajectory) -> Result<(), TrainingError> {
        let mut line = serde_json::to_vec(trajectory).expect("plain data serialises");
        line.push(b'\n');
        self.file.write_all(&line).map_err(access(&self.path))
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
        assert_eq!(last.put_aside().unwrap(), folder.join("failed.jsonl"));
        assert!(FinishedEpisodes::open(&path).unwrap().take().is_empty());
        let kept = std::fs::read_to_string(folder.join("failed.jsonl")).unwrap();
        assert_eq!(kept.lines().count(), 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
