//! Settings of the reinforcement learning recipe.

use crate::{MemoryConfig, OptimizerConfig};
use paretopo_algorithms::losses::{Aggregation, KlConfig, PolicyLossConfig};
use paretopo_settings::{Coefficient, LogRatio, Positive, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which log-probabilities the importance ratio is taken against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OldLogprobs {
    /// Those recorded while sampling; saves a forward pass.
    Sampler,
    /// Computed by the trainer before the update; allows an importance correction for what differs
    /// from sampling.
    Recompute,
}

/// Whose ratio corrects a token for having been drawn from the sampler's distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportanceLevel {
    /// Its own.
    #[default]
    Token,
    /// That of all sampled tokens of its trajectory, the product of theirs. Without bias, and of a
    /// variance that grows with length.
    Sequence,
}

/// What becomes of a ratio beyond the cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportanceBeyond {
    /// The cap stands in its place.
    #[default]
    Truncate,
    /// Nothing is learnt from the token; nor where the ratio is below 1 / cap.
    Mask,
}

/// What happens when numbers are no good: a reward, a loss, a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadNumbers {
    /// The run stops; the batch is written out.
    Stop,
    /// The group or update is left out, said, written out, and counted as `skipped_groups` or
    /// `skipped_updates`.
    Skip,
}

/// Trained parameters beyond which a second sum of gradients is not held unasked.
const LARGE: u64 = 200_000_000;

/// Settings of the reinforcement learning recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimisation steps; each plays new rollouts.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
    pub steps: u64,
    /// Prompts a step.
    #[serde(deserialize_with = "within::<1, 1_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000>")]
    pub prompts_per_step: usize,
    /// Rollouts a prompt: the group.
    #[serde(deserialize_with = "within::<2, 100_000, _, _>")]
    #[schemars(schema_with = "whole::<2, 100_000>")]
    pub rollouts_per_prompt: usize,
    /// Passes over a step's trajectories.
    #[serde(deserialize_with = "within::<1, 1000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1000>")]
    pub epochs: usize,
    /// Optimiser updates a pass.
    #[serde(deserialize_with = "within::<1, 100_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 100_000>")]
    pub minibatches: usize,
    /// Tokens, padding included, that are held in one forward and backward pass, where rollouts of
    /// a prompt share it; on a CPU small ones stay in the cache and are twice as fast.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
    pub micro_batch_tokens: usize,
    /// What is held in memory at a time.
    pub memory: MemoryConfig,
    /// The micro-batches of an update are added up in so many parts, and the parts in a binary tree,
    /// so that up to so many processes give weights with the same bits as one does. Each part costs
    /// memory: 1 holds one sum of gradients, 4 up to three. 0 is 4 of up to 200 million trained
    /// parameters, and 1 of more.
    #[serde(deserialize_with = "within::<0, 1024, _, _>", skip_serializing_if = "is_default")]
    #[schemars(schema_with = "whole::<0, 1024>")]
    pub gradient_parts: usize,
    /// Where several processes train together: each holds the moments of its part of the parameters
    /// alone, updates these, and sends them to the others (ZeRO, stage 1). The weights are the same
    /// to the bit.
    #[serde(skip_serializing_if = "is_default")]
    pub shard_optimizer: bool,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// The policy loss.
    pub loss: PolicyLossConfig,
    /// How token losses are averaged.
    pub aggregation: Aggregation,
    /// The KL penalty; at coefficient 0 no reference model is held.
    pub kl: KlConfig,
    /// Factor of the entropy bonus.
    pub entropy_coefficient: Coefficient,
    /// Which log-probabilities the ratio is taken against.
    pub old_logprobs: OldLogprobs,
    /// Cap of the importance correction between sampler and trainer; needs
    /// `old_logprobs = "recompute"`. Metrics: `importance/mean` of the ratios and `importance/cut`,
    /// the share of tokens beyond it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance_cap: Option<Positive>,
    /// Whose ratio that is; needs `importance_cap`.
    #[serde(skip_serializing_if = "is_default")]
    pub importance_level: ImportanceLevel,
    /// What becomes of a ratio beyond the cap; needs `importance_cap`.
    #[serde(skip_serializing_if = "is_default")]
    pub importance_beyond: ImportanceBeyond,
    /// The rollouts of so many later steps are played while a step's update runs; each step then
    /// learns from rollouts whose weights are so many steps behind, and `staleness` says how many
    /// updates. The ratio of the update is taken against the weights that played them, or with
    /// `old_logprobs = "recompute"` and `importance_cap` corrected for that. It gains where tools or
    /// servers are waited for, and costs a copy of the weights for each step. Needs
    /// `refill_rounds = 0`.
    #[serde(deserialize_with = "within::<0, 16, _, _>", skip_serializing_if = "is_default")]
    #[schemars(schema_with = "whole::<0, 16>")]
    pub max_staleness: u64,
    /// Groups without signal are replaced by new ones in up to this many further rounds (dynamic
    /// sampling).
    #[serde(deserialize_with = "within::<0, 1000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1000>")]
    pub refill_rounds: usize,
    /// Whether trajectories that ran out of tokens carry no loss.
    pub mask_overlong: bool,
    /// A log ratio beyond this counts as a bad number.
    pub largest_log_ratio: LogRatio,
    /// What a reward outside of [0, 1] does, a loss or gradient that is not finite, or a log ratio
    /// that is too large. An evaluation with such a reward is an error.
    pub bad_numbers: BadNumbers,
    /// After so many steps in a row of which all episodes failed the run stops; at least 1. An
    /// episode failed when its deadline passed, or when no tool call succeeded since a tool was
    /// down, late or at its limit; the metric `failed` counts the former alone. No checkpoint is written after such a step, so that the run
    /// resumes from before the first of them.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
    pub stop_after_failed_steps: u64,
    /// Steps between checkpoints.
    #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
    pub checkpoint_every: u64,
    /// Which checkpoints are kept.
    pub keep: KeepConfig,
    /// Steps between validations; 0 for none.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub validate_every: u64,
    /// Steps between the trajectories that are written out; 0 for none.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub save_trajectories_every: u64,
    /// Write down the trainer's log-probability of each sampled token with those trajectories, beside
    /// the sampler's: where they differ is seen token by token. It is a forward pass more of such
    /// steps.
    #[serde(skip_serializing_if = "is_default")]
    pub save_trainer_logprobs: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 60,
            prompts_per_step: 12,
            rollouts_per_prompt: 8,
            epochs: 1,
            minibatches: 1,
            micro_batch_tokens: 1024,
            memory: MemoryConfig::default(),
            gradient_parts: 0,
            shard_optimizer: false,
            optimizer: OptimizerConfig::default(),
            loss: PolicyLossConfig::default(),
            aggregation: Aggregation::TokenMean {},
            kl: KlConfig::default(),
            entropy_coefficient: const { Coefficient::literal(0.0) },
            old_logprobs: OldLogprobs::Sampler,
            importance_cap: None,
            importance_level: ImportanceLevel::Token,
            importance_beyond: ImportanceBeyond::Truncate,
            max_staleness: 0,
            refill_rounds: 0,
            mask_overlong: false,
            largest_log_ratio: const { LogRatio::literal(10.0) },
            bad_numbers: BadNumbers::Stop,
            stop_after_failed_steps: 3,
            checkpoint_every: 10,
            keep: KeepConfig::default(),
            validate_every: 20,
            save_trajectories_every: 10,
            save_trainer_logprobs: false,
        }
    }
}

fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}

impl TrainConfig {
    /// In how many parts the gradients of so many trained parameters are added up.
    pub(crate) fn parts(&self, trained: u64) -> usize {
        match self.gradient_parts {
            0 if trained <= LARGE => 4,
            0 => 1,
            parts => parts,
        }
    }

    /// Updates of the whole run.
    pub(crate) fn updates(&self) -> u64 {
        self.steps * (self.epochs * self.minibatches) as u64
    }

    /// Whether the loss has terms that do not vanish with the advantage.
    pub(crate) fn pulls_everywhere(&self) -> bool {
        self.kl.coefficient.get() != 0.0 || self.entropy_coefficient.get() != 0.0
    }
}

/// Which checkpoints are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepConfig {
    /// The latest so many.
    #[serde(deserialize_with = "within::<1, 1_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000_000>")]
    pub latest: usize,
    /// Besides, in the folder `best`, what is trained as it was at the validation whose mean
    /// rewards multiply to the most (the hypervolume of their point).
    pub best: bool,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self { latest: 2, best: true }
    }
}
