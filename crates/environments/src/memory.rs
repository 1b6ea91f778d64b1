//! What a run remembers about tasks: `N_optimal`, the fewest calls seen in a success.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// State that objectives share over a whole run; part of the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMemory {
    fewest_calls: BTreeMap<String, usize>,
}

impl RunMemory {
    /// Notes a success with `calls` tool calls; the remembered number never rises.
    pub fn record_success(&mut self, task_id: &str, calls: usize) {
        match self.fewest_calls.get_mut(task_id) {
            Some(fewest) => *fewest = calls.min(*fewest),
            None => {
                self.fewest_calls.insert(task_id.to_owned(), calls);
            }
        }
    }

    /// `N_optimal` of a task, or `None` before its first success.
    pub fn fewest_calls(&self, task_id: &str) -> Option<usize> {
        self.fewest_calls.get(task_id).copied()
    }

    /// All tasks with a success, and their `N_optimal`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.fewest_calls.iter().map(|(id, calls)| (id.as_str(), *calls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn n_optimal_is_the_running_minimum(calls in proptest::collection::vec(0usize..9, 1..20)) {
            let mut memory = RunMemory::default();
            prop_assert_eq!(memory.fewest_calls("t"), None);
            for (index, count) in calls.iter().enumerate() {
                memory.record_success("t", *count);
                prop_assert_eq!(memory.fewest_calls("t"), calls[..=index].iter().min().copied());
            }
        }
    }
}
