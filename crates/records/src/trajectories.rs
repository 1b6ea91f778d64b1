//! Files of trajectories, one a line: read one after the other or by number, never as a whole.

use crate::line_index::{Entry, LineIndex};
use crate::lines::{Line, LineError, is_blank, next_line};
use crate::{RecordError, of};
use paretopo_durable::{Failure, fill_atomically, open};
use paretopo_trajectory::Trajectory;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Bytes that are written at once.
const PART: usize = 1 << 20;

/// A file of trajectories, of any format that there was.
///
/// ```
/// use paretopo_records::{TrajectoryFile, write_trajectories};
/// use paretopo_trajectory::{Trajectory, TrajectoryId};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let folder = tempfile::tempdir()?;
///     let path = folder.path().join("trajectories.jsonl");
///     let episode =
///         |n| Trajectory::empty(TrajectoryId::new("train", 0, n), &format!("task-{n}"), n);
///     write_trajectories(&path, &[episode(0), episode(1)])?;
///     let file = TrajectoryFile::open(&path)?;
///     assert_eq!(file.count()?, 2);
///     let second = file.get(1)?.expect("there are two");
///     assert_eq!(second.task_id, "task-1");
///
///     // what a kill leaves of the last line is an error with its place, and no more
///     let mut bytes = std::fs::read(&path)?;
///     bytes.truncate(bytes.len() - 10);
///     std::fs::write(&path, bytes)?;
///     let read: Vec<_> = TrajectoryFile::open(&path)?.iter()?.collect();
///     assert_eq!(read[0].as_ref().map(|first| first.sample).ok(), Some(0));
///     assert!(read[1].as_ref().is_err_and(|error| error.torn && error.line == 2));
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct TrajectoryFile {
    path: PathBuf,
    /// Made when it is first needed.
    index: OnceLock<LineIndex>,
}

impl TrajectoryFile {
    /// The file, of which nothing is read yet but its beginning.
    ///
    /// # Errors
    /// When it cannot be opened, is no regular file, or is in UTF-16 or UTF-32.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let mut reader = BufReader::new(opened(path)?);
        let beginning = reader.fill_buf().map_err(of(path))?;
        paretopo_reading::without_mark(beginning).map_err(of(path))?;
        Ok(Self { path: path.into(), index: OnceLock::new() })
    }

    /// All trajectories, in order. A line that cannot be read is an error in its place; those behind
    /// it are read.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn iter(&self) -> Result<Trajectories, RecordError> {
        let reader = BufReader::with_capacity(1 << 16, opened(&self.path)?);
        Ok(Trajectories {
            path: self.path.clone(),
            reader,
            buffer: Vec::new(),
            line: 0,
            has_failed: false,
        })
    }

    /// How many lines there are, whether they can be read or not.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count(&self) -> Result<usize, RecordError> {
        Ok(self.entries()?.len())
    }

    /// The trajectory of the `n`-th line that is not blank, counted from 0; `None` behind the last.
    ///
    /// # Errors
    /// When the file or the line cannot be read.
    pub fn get(&self, n: usize) -> Result<Option<Trajectory>, LineError> {
        let error = |line: u64, reason: String| LineError {
            path: self.path.clone(),
            line,
            torn: false,
            reason,
        };
        self.iter_from(n).map_err(|failed| error(0, failed.reason))?.next().transpose()
    }

    /// The trajectories from the `n`-th line that is not blank on, as [`Self::iter`] gives them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn iter_from(&self, n: usize) -> Result<Trajectories, RecordError> {
        let mut file = opened(&self.path)?;
        let line = match self.entries()?.get(n) {
            Some(entry) => {
                file.seek(SeekFrom::Start(entry.offset)).map_err(of(&self.path))?;
                entry.line - 1
            }
            None => file.seek(SeekFrom::End(0)).map_err(of(&self.path)).map(|_| 0)?,
        };
        Ok(Trajectories {
            path: self.path.clone(),
            reader: BufReader::with_capacity(1 << 16, file),
            buffer: Vec::new(),
            line,
            has_failed: false,
        })
    }

    fn entries(&self) -> Result<&[Entry], RecordError> {
        if self.index.get().is_none() {
            let made = LineIndex::of(&self.path).map_err(of(&self.path))?;
            // another thread may have been faster, with the same
            let _ = self.index.set(made);
        }
        Ok(self.index.get().map_or(&[], |index| &index.entries))
    }
}

/// The trajectories of a file.
#[derive(Debug)]
pub struct Trajectories {
    path: PathBuf,
    reader: BufReader<std::fs::File>,
    buffer: Vec<u8>,
    /// The number of the line that was read last.
    line: u64,
    has_failed: bool,
}

impl Iterator for Trajectories {
    type Item = Result<Trajectory, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        // a disk that fails is not asked again: it would fail without end
        while !self.has_failed {
            let read = next_line(&mut self.reader, &mut self.buffer);
            self.line += 1;
            let (path, line) = (self.path.clone(), self.line);
            let error = |torn, reason| Some(Err(LineError { path, line, torn, reason }));
            let ended = match read {
                Err(failed) => {
                    self.has_failed = true;
                    return error(false, failed.to_string());
                }
                Ok((0, _)) => return None,
                Ok((_, Line::TooLong)) => return error(false, Line::too_long()),
                Ok((_, Line::Whole { ended })) => ended,
            };
            if is_blank(&self.buffer) {
                continue;
            }
            let text = paretopo_reading::unmarked_line(&self.buffer);
            return match Trajectory::from_line(text) {
                Ok(trajectory) => Some(Ok(trajectory)),
                Err(failed) => error(!ended, failed.to_string()),
            };
        }
        None
    }
}

/// # Errors
/// When there is no such file, or it cannot be opened.
fn opened(path: &Path) -> Result<std::fs::File, RecordError> {
    let file = open(path).map_err(|failure| of(path)(failure.source))?;
    file.ok_or_else(|| of(path)(std::io::Error::from(ErrorKind::NotFound)))
}

/// Writes trajectories to a file, one a line, so that a kill leaves the old or the new content.
///
/// # Errors
/// When the file cannot be written.
pub fn write_trajectories<'t>(
    path: &Path,
    trajectories: impl IntoIterator<Item = &'t Trajectory>,
) -> Result<(), Failure> {
    fill_atomically(path, |file| {
        let mut part = Vec::new();
        for trajectory in trajectories {
            part.extend(trajectory.to_line());
            if part.len() >= PART {
                file.put(&part)?;
                part.clear();
            }
        }
        file.put(&part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::TrajectoryId;

    fn trajectory(sample: usize) -> Trajectory {
        Trajectory::empty(TrajectoryId::new("test", 0, sample), "t", sample)
    }

    /// Samples that were read, and what was said of the other lines.
    fn read(file: &TrajectoryFile) -> (Vec<usize>, Vec<String>) {
        let (mut samples, mut errors) = (Vec::new(), Vec::new());
        for found in file.iter().unwrap() {
            match found {
                Ok(trajectory) => samples.push(trajectory.sample),
                Err(error) => errors.push(error.to_string()),
            }
        }
        (samples, errors)
    }

    #[test]
    fn what_is_written_is_read_in_order_and_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trajectories.jsonl");
        // 5 MiB of responses, so that they are written in parts and an index is kept
        let long = |sample: usize| {
            let response = sample.to_string().repeat(1 << 18);
            Trajectory { response, ..trajectory(sample) }
        };
        let written: Vec<Trajectory> = (0..20).map(|index| long(index % 10)).collect();
        write_trajectories(&path, &written).unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        let opened = std::fs::File::options().append(true).open(&path).unwrap();
        opened.set_modified(long_ago).unwrap();
        let file = TrajectoryFile::open(&path).unwrap();
        let all: Vec<Trajectory> = file.iter().unwrap().map(Result::unwrap).collect();
        assert_eq!(all, written);
        assert_eq!(file.count().unwrap(), 20);
        assert_eq!(file.get(13).unwrap().unwrap(), written[13]);
        assert!(file.get(20).unwrap().is_none());
        let rest: Vec<Trajectory> = file.iter_from(18).unwrap().map(Result::unwrap).collect();
        assert_eq!(rest, written[18..]);
        assert_eq!(file.iter_from(20).unwrap().count(), 0);
        assert!(folder.path().join("trajectories.jsonl.index").exists());
        // by the index that is kept now, and after the file was written anew
        assert_eq!(TrajectoryFile::open(&path).unwrap().get(13).unwrap().unwrap(), written[13]);
        write_trajectories(&path, &written[4..]).unwrap();
        assert_eq!(TrajectoryFile::open(&path).unwrap().get(9).unwrap().unwrap(), written[13]);
        assert_eq!(TrajectoryFile::open(&path).unwrap().count().unwrap(), 16);
    }

    #[test]
    fn lines_that_cannot_be_read_are_named_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        let line = |sample| String::from_utf8(trajectory(sample).to_line()).unwrap();
        let mut bytes = format!("\u{feff}{}\n{}", line(0), line(1)).into_bytes();
        let damaged = bytes.len() + 20;
        bytes.extend(line(2).into_bytes());
        bytes[damaged] = 0xff;
        bytes.extend(format!("\u{feff}{}{}", line(3), &line(4)[..40]).into_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let file = TrajectoryFile::open(&path).unwrap();
        let (samples, errors) = read(&file);
        assert_eq!(samples, [0, 1, 3]);
        // line 2 is blank, line 4 has the bad byte, line 6 is cut off
        let place = |line| format!("`{}` line {line}: ", path.display());
        assert!(errors[0].starts_with(&place(4)), "{errors:?}");
        assert!(errors[1].starts_with(&format!("{}it is cut off: ", place(6))), "{errors:?}");
        assert_eq!(errors.len(), 2);
        // the third that is not blank is the damaged one
        assert_eq!(file.count().unwrap(), 5);
        assert_eq!(file.get(2).unwrap_err().to_string(), errors[0]);
        assert_eq!(file.get(3).unwrap().unwrap().sample, 3);
        assert!(file.get(4).unwrap_err().torn);
        // a last line that lacks nothing but its line break is whole
        std::fs::write(&path, line(0).trim_end()).unwrap();
        assert_eq!(read(&file), (vec![0], vec![]));
    }

    #[test]
    fn what_is_no_file_of_lines_is_refused_when_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let missing = TrajectoryFile::open(&folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none`: entity not found"), "{missing}");
        let no_file = TrajectoryFile::open(folder.path()).unwrap_err();
        assert!(no_file.to_string().ends_with("is a directory"), "{no_file}");
        let path = folder.path().join("utf16.jsonl");
        std::fs::write(&path, b"\xff\xfe{\0}\0").unwrap();
        let utf16 = TrajectoryFile::open(&path).unwrap_err();
        assert!(utf16.to_string().contains("save it as UTF-8"), "{utf16}");
    }
}
