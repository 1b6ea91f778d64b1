//! Settings of the warm-start recipe.

use crate::{LearningRateSchedule, MemoryConfig, OptimizerConfig};
use paretopo_environments::BadRows;
use paretopo_settings::{LearningRate, Positive, Share, WeightDecay, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Settings of the warm start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SftConfig {
    /// Files of conversations to learn from, in place of the environment's demonstrations. Then no
    /// episode is played at the end; `evaluate` does that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<ConversationFile>,
    /// Steps between measurements of the loss on conversations that are held back (`validation` of
    /// `data`). It is measured at the end, too.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    #[serde(skip_serializing_if = "is_usual_interval")]
    #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
    pub validate_every: u64,
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
    /// The optimiser. A table in its place stands for itself: what it leaves out is as in
    /// `train.optimizer`, without this warm-up, decay and schedule.
    pub optimizer: OptimizerConfig,
    /// Steps between checkpoints.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
    pub checkpoint_every: u64,
}

/// A file of conversations. A row has `messages` and may have `tools` and `chat_template_kwargs`;
/// the policy learns what the assistant wrote, as its chat template writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConversationFile {
    /// JSON (one list), JSON lines or parquet.
    pub path: PathBuf,
    /// How often its conversations are drawn, in proportion to the other files; as often as it has
    /// some when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Positive>,
    /// Conversations at its end that are not learnt from, but measured.
    #[serde(default, deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub validation: usize,
    /// What a bad row does.
    #[serde(default)]
    pub bad_rows: BadRows,
}

/// Usual steps between measurements.
const INTERVAL: u64 = 50;

fn is_usual_interval(steps: &u64) -> bool {
    *steps == INTERVAL
}

impl Default for SftConfig {
    fn default() -> Self {
        Self {
            data: Vec::new(),
            validate_every: INTERVAL,
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
