//! The episodes that an evaluation has finished, one JSON object a line, appended as each ends: an
//! interrupted evaluation plays only the others.

use crate::TrainingError;
use crate::run::run_folder::access;
use paretopo_durable::{File, put_aside, rename};
use paretopo_records::{LineError, TrajectoryFile, write_trajectories};
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
    /// Opens or creates the file, whose lines may be of an older format. A last line that a kill cut
    /// off is dropped; with other lines that cannot be read the file is put aside, and those that
    /// can be read are kept.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, TrainingError> {
        let (whole, bad) = match path.try_exists().map_err(access(path))? {
            true => read(path)?,
            false => Default::default(),
        };
        let mut notes = Vec::new();
        if let Some(first) = bad.first() {
            notes.push(format!(
                "`{}`: {} of its lines cannot be read, the first is line {}; their episodes are \
                 played again, and the file as it was is `{}`",
                path.display(),
                bad.len(),
                first.line,
                put_aside(path)?.display()
            ));
        }
        write_trajectories(path, whole.iter())?;
        let key = |trajectory: &Trajectory| (trajectory.task_id.clone(), trajectory.sample);
        let earlier = whole.into_iter().map(|trajectory| (key(&trajectory), trajectory)).collect();
        Ok(Self { path: path.into(), file: File::append(path)?, earlier, notes })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
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
        Ok(self.file.put(&trajectory.to_line())?)
    }
}

/// The episodes that need not be played again, and the lines that cannot be read.
///
/// # Errors
/// When the file cannot be read.
fn read(path: &Path) -> Result<(Vec<Trajectory>, Vec<LineError>), TrainingError> {
    let (mut whole, mut bad) = (Vec::new(), Vec::new());
    for found in TrajectoryFile::open(path).and_then(|file| file.iter())? {
        match found {
            // what something outside the policy ended is played again
            Ok(trajectory) if matches!(trajectory.finish, FinishReason::Failed(_)) => {}
            Ok(trajectory) => whole.push(trajectory),
            Err(error) if error.torn => {}
            Err(error) => bad.push(error),
        }
    }
    Ok((whole, bad))
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::TrajectoryId;

    fn trajectory(task: &str, sample: usize) -> Trajectory {
        Trajectory {
            finish: FinishReason::Length,
            response: "r".into(),
            seconds: 0.5,
            ..Trajectory::empty(TrajectoryId::new("evaluate", 0, sample), task, sample)
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

    #[test]
    fn an_evaluation_of_an_earlier_version_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("finished.jsonl");
        let first = r#"{"task_id":"a","sample":1,"weight_version":3,"segments":[{"author":"model","ids":[5],"logprobs":[-0.5],"sampling_logprobs":[-0.4]}],"calls":[],"finish":{"reason":"stop"},"response":"r","answer":"2","rewards":[],"seconds":0.5}"#;
        std::fs::write(&path, format!("{first}\n")).unwrap();
        let mut finished = FinishedEpisodes::open(&path).unwrap();
        assert_eq!(finished.take_notes(), Vec::<String>::new());
        let read = finished.take().remove(&("a".to_owned(), 1)).unwrap();
        assert_eq!((read.segments[0].weight_version, read.answer.as_deref()), (Some(3), Some("2")));
        // and what it holds is of the format of today
        assert_eq!(std::fs::read(&path).unwrap(), read.to_line());
    }
}
