//! What a run remembers about tasks: `N_optimal`, the fewest calls seen in a success. A call counts
//! as much as its tool's price.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// State that objectives share over a whole run; part of the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMemory {
    /// Called so in files since calls had no price.
    #[serde(rename = "fewest_calls")]
    lowest_costs: BTreeMap<String, f64>,
}

impl RunMemory {
    /// Notes a success whose calls cost `cost`; the remembered number never rises.
    pub fn record_success(&mut self, task_id: &str, cost: f64) {
        match self.lowest_costs.get_mut(task_id) {
            Some(lowest) => *lowest = cost.min(*lowest),
            None => {
                self.lowest_costs.insert(task_id.to_owned(), cost);
            }
        }
    }

    /// `N_optimal` of a task, or `None` before its first success.
    pub fn lowest_cost(&self, task_id: &str) -> Option<f64> {
        self.lowest_costs.get(task_id).copied()
    }

    /// All tasks with a success, and their `N_optimal`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.lowest_costs.iter().map(|(id, cost)| (id.as_str(), *cost))
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
            prop_assert_eq!(memory.lowest_cost("t"), None);
            for (index, count) in calls.iter().enumerate() {
                memory.record_success("t", *count as f64);
                prop_assert_eq!(memory.lowest_cost("t"), calls[..=index].iter().min().map(|count| *count as f64));
            }
        }
    }
}
