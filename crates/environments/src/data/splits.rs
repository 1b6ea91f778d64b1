//! An environment's tasks by split.

use super::DataError;
use paretopo_trajectory::{Split, Task};
use std::path::Path;

/// The tasks of each split, in a fixed order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Splits {
    pub(crate) train: Vec<Task>,
    pub(crate) validation: Vec<Task>,
    pub(crate) test: Vec<Task>,
}

impl Splits {
    /// The tasks of a file by position: first test, then validation, the rest is for training.
    pub(crate) fn by_position(
        path: &Path,
        mut tasks: Vec<Task>,
        test: usize,
        validation: usize,
    ) -> Result<Self, DataError> {
        if tasks.len() < test + validation {
            return Err(DataError::Setting(format!(
                "`{}` holds {} tasks, not {test} for testing and {validation} for validation",
                path.display(),
                tasks.len()
            )));
        }
        let mut rest = tasks.split_off(test);
        let train = rest.split_off(validation);
        Ok(Self { train, validation: rest, test: tasks })
    }

    pub(crate) fn get(&self, split: Split) -> &[Task] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}
