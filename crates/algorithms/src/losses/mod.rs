//! Losses as functions of tensors, generic over the backend.

mod kl;
mod policy;
mod weights;

pub use kl::{KlConfig, KlEstimator, kl_penalty};
pub use policy::{PolicyLoss, PolicyLossConfig, RatioLevel, Surrogate, policy_loss};
pub use weights::{Aggregation, token_weights};
