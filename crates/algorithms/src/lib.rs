//! The equations: Pareto dominance, sorting and hypervolume; advantage estimators; losses.
//!
//! [`pareto`] and [`estimators`] are plain f64 arithmetic on reward vectors, without tensors and
//! without randomness beyond a seed in the state. [`losses`] are functions of tensors, generic over
//! the backend. Nothing here knows text, environments or how rollouts are made.

mod call_threshold;
pub mod estimators;
pub mod losses;
pub mod pareto;

pub use call_threshold::call_threshold;
pub use estimators::{Advantages, EstimatorConfig, EstimatorState, Group, Progress, advantages};
