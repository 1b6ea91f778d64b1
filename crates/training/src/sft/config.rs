//! Settings of the warm-start recipe.

use crate::{LearningRateSchedule, MemoryConfig, OptimizerConfig};
use paretopo_settings::{LearningRate, Share, WeightDecay, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the warm start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SftConfig {
    /// Optimiser updates.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
    pub steps: u64,
    /// Demonstrations an update.
    #[serde(deserialize_with = "within::<1, 1_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000>")]
    pub batch_size: usize,
    /// Tokens, padding included, that are held in one forward and backward pass.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
    pub micro_batch_tokens: usize,
    /// What is held in memory at a time.
    pub memory: MemoryConfig,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// Steps between checkpoints.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
    pub checkpoint_every: u64,
}

impl Default for SftConfig {
    fn default() -> Self {
        Self {
            steps: 3000,
            batch_size: 128,
            micro_batch_tokens: 1024,
            memory: MemoryConfig::default(),
            optimizer: OptimizerConfig {
                learning_rate: const { LearningRate::literal(2e-3) },
                weight_decay: const { WeightDecay::literal(0.01) },
                warmup_updates: 100,
                schedule: LearningRateSchedule::Cosine {
                    final_share: const { Share::literal(0.05) },
                },
                ..OptimizerConfig::default()
            },
            checkpoint_every: 250,
        }
    }
}
