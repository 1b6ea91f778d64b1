//! A run's folder: what is in it and who works there, metrics, checkpoints and the state beside them.

pub(crate) mod checkpoint;
mod metrics_file;
pub(crate) mod run_folder;
mod running;
mod state;
mod tensorboard;

pub use checkpoint::TrainingState;
pub use run_folder::{RunFolder, RunMetadata, write_atomically};
