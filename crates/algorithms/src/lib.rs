//! The equations: advantage estimators and losses; with [`pareto`], dominance, sorting and
//! hypervolume, which reports need, too.
//!
//! [`pareto`] and [`estimators`] are plain f64 arithmetic on reward vectors, without tensors and
//! without randomness beyond a seed in the state. [`losses`] are functions of tensors, generic over
//! the backend. Nothing here knows text, environments or how rollouts are made.

mod call_threshold;
pub mod estimators;
pub mod losses;

pub use call_threshold::{call_threshold, call_threshold_where};
pub use estimators::{
    Advantages, AnyEstimator, Estimator, EstimatorConfig, EstimatorError, EstimatorState,
    Estimators, Group, Progress, advantages, estimator, observe_validation, register_estimator,
};
pub use paretopo_pareto as pareto;
