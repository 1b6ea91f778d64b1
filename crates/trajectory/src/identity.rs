//! What an episode is called, in its file, by tools that keep something for it, and in messages.

use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};
use std::sync::Arc;

/// A name that no other trajectory of a run has: which recipe plays it, the place of its prompt in
/// the order in which that recipe draws prompts, and which of the prompt's rollouts it is
/// (`train-41-3`). It does not depend on the clock or on workers, so a resumed run gives an episode
/// the same name again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrajectoryId(Arc<str>);

impl TrajectoryId {
    /// Rollout `sample` of the `prompt`-th prompt that `recipe` draws.
    pub fn new(recipe: &str, prompt: u64, sample: usize) -> Self {
        Self(format!("{recipe}-{prompt}-{sample}").into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name as it stands in a file.
impl From<&str> for TrajectoryId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl Display for TrajectoryId {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}
