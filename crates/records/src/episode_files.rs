//! Which files of trajectories a run has: `trajectories/step-000010.jsonl`, those of its evaluation,
//! and those that it wrote out because something was wrong.

use crate::{RecordError, of};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A file of trajectories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpisodeFile {
    /// The step whose episodes it holds; `None` of an evaluation, and of what was written out
    /// because something was wrong.
    pub step: Option<u64>,
    /// Its name without the ending.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// The files in `trajectories`, in the order of their steps, those without one behind them by name;
/// none without the folder.
///
/// ```
/// use paretopo_records::episode_files;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let run = tempfile::tempdir()?;
///     assert_eq!(episode_files(run.path())?, []);
///     let folder = run.path().join("trajectories");
///     std::fs::create_dir(&folder)?;
///     for name in ["evaluation.jsonl", "step-1000000.jsonl", "step-000020.jsonl", "note.txt"] {
///         std::fs::write(folder.join(name), "")?;
///     }
///     let steps: Vec<_> = episode_files(run.path())?.into_iter().map(|file| file.step).collect();
///     assert_eq!(steps, [Some(20), Some(1_000_000), None]);
///     Ok(())
/// }
/// ```
///
/// # Errors
/// When the folder is there and cannot be read.
pub fn episode_files(run: &Path) -> Result<Vec<EpisodeFile>, RecordError> {
    let folder = run.join("trajectories");
    let listed = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(of(&folder))?,
    };
    let mut files = Vec::new();
    for entry in listed {
        let path = entry.map_err(of(&folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_suffix(".jsonl").map(str::to_owned) else { continue };
        let step = name.strip_prefix("step-").and_then(|step| step.parse().ok());
        files.push(EpisodeFile { step, name, path });
    }
    files.sort_by_key(|file| (file.step.is_none(), file.step, file.name.clone()));
    Ok(files)
}
