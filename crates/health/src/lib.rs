//! What goes wrong in a run of reinforcement learning, in words.
//!
//! ```
//! use paretopo_health::{Record, Settings, examine};
//!
//! // a policy of which all rollouts are alike: every group is silent, a fifth of the answers wrong
//! let step = |step: u64| {
//!     let numbers = [("step", step as f64), ("em", 0.8), ("estimator/groups_without_signal", 1.0)];
//!     numbers.map(|(name, value)| (name.to_owned(), value)).into()
//! };
//! let settings = Settings { prompts_per_step: 12.0, rollouts_per_prompt: 8.0, ..Default::default() };
//! let record = Record { steps: (0..10).map(step).collect(), settings, ..Record::default() };
//! let ill: Vec<_> = examine(&record).into_iter().filter(|verdict| verdict.is_ill()).collect();
//! assert_eq!(ill.len(), 1);
//! assert_eq!(ill[0].rule, "silent_groups");
//! ```
//!
//! A rule is a pure function of what a run recorded ([`Record`]): the metrics of its steps, a few
//! settings, and which weights sampled some of its trajectories. Each stands in a file of its own,
//! with its formula and where its threshold comes from. Thresholds follow from what the number does
//! to learning (how many groups still teach, what luck alone makes of a reward), or from how rarely
//! chance would bring it about. They are held against real runs with faults that were put in, and
//! healthy ones (`experiments/health`). A rule that lacks its numbers says so.
//!
//! A run is judged by its last window: a quarter of its steps, at least 5, at most 50.

mod record;
mod rules;
mod verdict;

pub use record::{Record, Settings, WeightsSeen};
pub use rules::examine;
pub use verdict::{Condition, Curve, Verdict};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
