//! From sequences to updated weights: batches, the gradient of a loss over token log-probabilities,
//! AdamW.

pub(crate) mod arrangement;
pub(crate) mod batch;
pub(crate) mod gradient;
mod gradient_sum;
pub(crate) mod logprobs;
mod optimizer;
mod optimizer_config;
mod passes;

pub use batch::{MicroBatch, TrainingSequence, response_logprobs};
pub use gradient::{MemoryConfig, accumulate_gradient, total_gradient};
pub use gradient_sum::GradientSum;
pub use optimizer::AdamW;
pub use optimizer_config::{LearningRateSchedule, OptimizerConfig};
