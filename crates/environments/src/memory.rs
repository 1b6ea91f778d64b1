//! What a run remembers about tasks: `N_optimal`, the fewest calls seen in a success, and how often
//! which number of calls was right. A call counts as much as its tool's price.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// State that objectives share over a whole run; part of the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMemory {
    /// Called so in files since calls had no price.
    #[serde(rename = "fewest_calls")]
    lowest_costs: BTreeMap<String, f64>,
    /// By task, in the order of their cost. Runs before 2026-11-26 did not count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tries: BTreeMap<String, Vec<Tries>>,
}

/// How often a task was tried with calls of some cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tries {
    /// What the calls cost together.
    pub cost: f64,
    /// Rollouts whose calls cost so much.
    pub attempts: u64,
    /// Those of them that were right.
    pub successes: u64,
}

impl Tries {
    /// `s / (n + 1/2)` for s successes of n attempts: half an attempt was wrong before the first.
    pub fn success_rate(&self) -> f64 {
        self.successes as f64 / (self.attempts as f64 + 0.5)
    }
}

impl RunMemory {
    /// Notes a rollout whose calls cost `cost`. The lowest cost of a success never rises.
    pub fn record(&mut self, task_id: &str, cost: f64, is_right: bool) {
        self.count(task_id, cost, is_right);
        if !is_right {
            return;
        }
        match self.lowest_costs.get_mut(task_id) {
            Some(lowest) => *lowest = cost.min(*lowest),
            None => {
                self.lowest_costs.insert(task_id.to_owned(), cost);
            }
        }
    }

    /// Notes a success whose calls cost `cost`.
    pub fn record_success(&mut self, task_id: &str, cost: f64) {
        self.record(task_id, cost, true);
    }

    fn count(&mut self, task_id: &str, cost: f64, is_right: bool) {
        let tries = match self.tries.get_mut(task_id) {
            Some(tries) => tries,
            None => self.tries.entry(task_id.to_owned()).or_default(),
        };
        let place = tries.partition_point(|tries| tries.cost < cost);
        if tries.get(place).is_none_or(|tries| tries.cost != cost) {
            tries.insert(place, Tries { cost, attempts: 0, successes: 0 });
        }
        tries[place].attempts += 1;
        tries[place].successes += u64::from(is_right);
    }

    /// `N_optimal` of a task, or `None` before its first success.
    pub fn lowest_cost(&self, task_id: &str) -> Option<f64> {
        self.lowest_costs.get(task_id).copied()
    }

    /// The lowest cost at which a task was right at a rate ([`Tries::success_rate`]) of at least
    /// `rate`, which is in [0, 1]; where there is none, the one with the highest rate, of equal
    /// rates the lower. `None` before the first success.
    pub fn reliable_cost(&self, task_id: &str, rate: f64) -> Option<f64> {
        let tries = self.tries(task_id).iter().filter(|tries| tries.successes > 0);
        if let Some(reliable) = tries.clone().find(|tries| tries.success_rate() >= rate) {
            return Some(reliable.cost);
        }
        let likelier = |best: Tries, next: Tries| {
            if next.success_rate() > best.success_rate() { next } else { best }
        };
        let likeliest = tries.copied().reduce(likelier);
        // a run that began before it counted knows the lowest cost alone
        likeliest.map(|tries| tries.cost).or_else(|| self.lowest_cost(task_id))
    }

    /// What was tried of a task, in the order of its cost.
    pub fn tries(&self, task_id: &str) -> &[Tries] {
        self.tries.get(task_id).map_or(&[], Vec::as_slice)
    }

    /// All tasks with a success, and their `N_optimal`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.lowest_costs.iter().map(|(id, cost)| (id.as_str(), *cost))
    }

    /// All tasks, and what was tried of them.
    pub fn iter_tries(&self) -> impl Iterator<Item = (&str, &[Tries])> {
        self.tries.iter().map(|(id, tries)| (id.as_str(), tries.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A task that was tried so often: cost, attempts, successes.
    fn tried(tries: &[(f64, u64, u64)]) -> RunMemory {
        let mut memory = RunMemory::default();
        for (cost, attempts, successes) in tries {
            (0..*attempts).for_each(|attempt| memory.record("t", *cost, attempt < *successes));
        }
        memory
    }

    #[test]
    fn a_cost_is_reliable_if_it_is_often_right() {
        // rates 1 / 4.5 = 0.222, 2 / 2.5 = 0.8 and 7 / 7.5 = 0.933
        let memory = tried(&[(1.0, 2, 2), (0.0, 4, 1), (2.0, 7, 7)]);
        assert_eq!(memory.lowest_cost("t"), Some(0.0));
        let reliable = |rate| memory.reliable_cost("t", rate);
        assert_eq!([0.2, 0.5, 0.8, 0.85].map(reliable), [0.0, 1.0, 1.0, 2.0].map(Some));
        // none is that reliable: the likeliest
        assert_eq!(reliable(0.99), Some(2.0));
        // of equal rates the lower cost
        assert_eq!(tried(&[(3.0, 2, 1), (1.0, 2, 1)]).reliable_cost("t", 0.9), Some(1.0));
    }

    #[test]
    fn one_lucky_success_is_not_reliable() {
        // 1 / 1.5 = 0.667
        let memory = tried(&[(0.0, 1, 1)]);
        assert_eq!(memory.tries("t")[0].success_rate(), 1.0 / 1.5);
        assert_eq!(tried(&[(0.0, 1, 1), (1.0, 4, 4)]).reliable_cost("t", 0.75), Some(1.0));
        // before the first success there is none
        assert_eq!(tried(&[(0.0, 3, 0)]).reliable_cost("t", 0.0), None);
        assert_eq!(memory.reliable_cost("other", 0.5), None);
    }

    #[test]
    fn what_runs_wrote_that_did_not_count_is_read() {
        let memory: RunMemory = serde_json::from_str(r#"{"fewest_calls":{"t":2.0}}"#).unwrap();
        assert_eq!((memory.lowest_cost("t"), memory.tries("t")), (Some(2.0), [].as_slice()));
        assert_eq!(memory.reliable_cost("t", 0.9), Some(2.0));
        let counted = tried(&[(1.5, 2, 1)]);
        let text = serde_json::to_string(&counted).unwrap();
        assert_eq!(serde_json::from_str::<RunMemory>(&text).unwrap(), counted);
    }

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

        #[test]
        fn every_attempt_is_counted_once(outcomes in proptest::collection::vec((0u8..4, any::<bool>()), 0..30)) {
            let mut memory = RunMemory::default();
            for (calls, is_right) in &outcomes {
                memory.record("t", f64::from(*calls), *is_right);
            }
            let tries = memory.tries("t");
            prop_assert_eq!(tries.iter().map(|tries| tries.attempts).sum::<u64>() as usize, outcomes.len());
            let right = outcomes.iter().filter(|(_, is_right)| *is_right).count();
            prop_assert_eq!(tries.iter().map(|tries| tries.successes).sum::<u64>() as usize, right);
            prop_assert!(tries.windows(2).all(|pair| pair[0].cost < pair[1].cost));
        }

        #[test]
        fn a_higher_rate_never_asks_for_fewer_calls(
            outcomes in proptest::collection::vec((0u8..4, any::<bool>()), 0..40),
            rates in (0.0f64..=1.0, 0.0f64..=1.0),
        ) {
            let mut memory = RunMemory::default();
            for (calls, is_right) in &outcomes {
                memory.record("t", f64::from(*calls), *is_right);
            }
            let reliable = |rate| memory.reliable_cost("t", rate);
            // at any two rates, also where no cost is as reliable as that; `None` at all or at none
            let (low, high) = (rates.0.min(rates.1), rates.0.max(rates.1));
            prop_assert_eq!(reliable(low).is_none(), reliable(high).is_none());
            prop_assert!(reliable(low) <= reliable(high));
            prop_assert_eq!(reliable(0.0), memory.lowest_cost("t"));
            // it is reliable, and nothing cheaper is; beyond the highest rate, as at the highest
            let right = || memory.tries("t").iter().filter(|tries| tries.successes > 0);
            let highest = right().map(Tries::success_rate).fold(0.0, f64::max);
            for rate in [low, high] {
                for tries in right().filter(|tries| Some(tries.cost) <= reliable(rate)) {
                    let is_reliable = tries.success_rate() >= rate.min(highest);
                    prop_assert_eq!(is_reliable, Some(tries.cost) == reliable(rate));
                }
            }
        }
    }
}
