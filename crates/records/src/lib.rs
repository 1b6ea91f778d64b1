//! What a run leaves in its folder: trajectory files, evaluations, metrics, the state beside its
//! checkpoints; one reader of each.
//!
//! ```
//! use paretopo_records::{Evaluation, read_evaluation, write_evaluation};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let folder = tempfile::tempdir()?;
//!     let evaluation = Evaluation {
//!         episodes: 4,
//!         tasks: 2,
//!         em: 0.75,
//!         calls: 1.5,
//!         point: [("r_task", 0.75), ("r_tool", 0.5)].into_iter().collect(),
//!         ..Evaluation::default()
//!     };
//!     write_evaluation(folder.path(), &evaluation)?;
//!
//!     let read = read_evaluation(folder.path())?;
//!     assert_eq!(read, evaluation);
//!     assert_eq!(read.point.get("r_tool"), Some(0.5));
//!     Ok(())
//! }
//! ```
//!
//! These files are written by `training`, and read by `report`, by the command line, and by
//! whatever shows a run later. They may be damaged, cut off by a kill, or of an older version: what
//! can be read is read, and the rest is named with its file and line. Nothing here knows burn or
//! how a run is made.

mod episode_files;
mod episodes;
mod evaluation;
mod line_index;
mod lines;
mod metrics;
mod state;
mod trajectories;

pub use episode_files::{EpisodeFile, episode_files};
pub use episodes::EpisodeSummary;
pub use evaluation::{
    EVALUATION, EnvironmentSummary, Evaluation, LevelSummary, PreferencePoint, read_evaluation,
    write_evaluation,
};
pub use lines::LineError;
pub use metrics::{METRICS, NewSteps, Step, last_metrics, read_metrics, read_new_metrics};
pub use state::latest_archive;
pub use trajectories::{Trajectories, TrajectoryFile, write_trajectories};

use std::path::{Path, PathBuf};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// A file of a run that cannot be read, or does not hold what it should.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`: {reason}")]
pub struct RecordError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// An error of that file, for `map_err`.
fn of<E: ToString>(path: &Path) -> impl Fn(E) -> RecordError {
    move |error| RecordError { path: path.into(), reason: error.to_string() }
}
