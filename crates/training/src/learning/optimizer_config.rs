//! Settings of the optimiser.

use paretopo_settings::{
    DecayRate, Epsilon, LearningRate, NonNegative, Share, WeightDecay, whole, within,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// AdamW with warm-up, a schedule and clipping by the global norm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Learning rate after the warm-up.
    pub learning_rate: LearningRate,
    /// Decay of the first moment.
    pub beta1: DecayRate,
    /// Decay of the second moment.
    pub beta2: DecayRate,
    /// Added to the root of the second moment.
    pub epsilon: Epsilon,
    /// Decoupled weight decay of matrices.
    pub weight_decay: WeightDecay,
    /// Largest norm of all gradients together; 0 for no clipping.
    pub clip_grad_norm: NonNegative,
    /// Updates over which the learning rate rises linearly.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub warmup_updates: u64,
    /// What follows.
    pub schedule: LearningRateSchedule,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            learning_rate: const { LearningRate::literal(4e-4) },
            beta1: const { DecayRate::literal(0.9) },
            beta2: const { DecayRate::literal(0.99) },
            epsilon: const { Epsilon::literal(1e-8) },
            weight_decay: const { WeightDecay::literal(0.0) },
            clip_grad_norm: const { NonNegative::literal(1.0) },
            warmup_updates: 5,
            schedule: LearningRateSchedule::Constant {},
        }
    }
}

/// The learning rate after the warm-up, as a share of the highest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LearningRateSchedule {
    /// Stays.
    Constant {},
    /// Falls in a straight line to `final_share` at the last update.
    Linear {
        /// In [0, 1].
        final_share: Share,
    },
    /// Falls along half a cosine to `final_share` at the last update.
    Cosine {
        /// In [0, 1].
        final_share: Share,
    },
}
