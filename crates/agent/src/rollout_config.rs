//! Budgets and limits of a rollout.

use crate::{LongPrompts, PreferenceConfig};
use paretopo_chat::ToolSyntax;
use paretopo_generation::{Recorded, SamplingConfig};
use paretopo_settings::{Seconds, whole, within};
use paretopo_trajectory::{ObjectiveValues, TokenId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// When a tool's outcome reaches its episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToolSchedule {
    /// A fixed number of decoding steps after the call, waiting for it if need be. What is batched
    /// with what then does not depend on the clock, and a seeded run is bit-exact on flex.
    FixedLag {
        /// Decoding steps, from 1 to 1000.
        #[serde(deserialize_with = "within::<1, 1000, _, _>")]
        #[schemars(schema_with = "whole::<1, 1000>")]
        steps: u64,
    },
    /// As soon as it is there. For slow tools; runs are then not bit-exact.
    AsReady {},
}

/// What tool output loses that is longer than its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputTruncation {
    /// Its end.
    Tail,
    /// Its middle, where an ellipsis stands instead.
    Middle,
}

impl OutputTruncation {
    /// At most `budget` of the ids.
    pub(crate) fn apply(
        self,
        ids: &[TokenId],
        budget: usize,
        ellipsis: &[TokenId],
    ) -> Vec<TokenId> {
        match self {
            Self::Middle if budget > ellipsis.len() => {
                let kept = budget - ellipsis.len();
                let (head, tail) = (kept.div_ceil(2), kept / 2);
                [&ids[..head], ellipsis, &ids[ids.len() - tail..]].concat()
            }
            _ => ids[..budget].to_vec(),
        }
    }
}

/// The weights that rollouts and evaluations compute with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutPrecision {
    /// As `precision` has them.
    #[default]
    Same,
    /// Rounded to bf16. Faster, and the log-probabilities of rollouts differ from those of the
    /// training: the metric `logprob_mismatch` says by how much, and `train.importance_cap` corrects
    /// for it. On the CPU sums stay f32, and what is multiplied with the weights is rounded only
    /// where the processor multiplies bf16 (AVX512-BF16); elsewhere the whole forward pass is bf16.
    Bf16,
}

/// Budgets and limits of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutConfig {
    /// How tokens are drawn.
    pub sampling: SamplingConfig,
    /// How calls are written.
    pub syntax: ToolSyntax,
    /// Calls an episode may make; afterwards it finishes without tools.
    #[serde(deserialize_with = "within::<0, 1000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1000>")]
    pub max_calls: usize,
    /// Turns of an episode that an environment of several turns answers; afterwards it is cut off.
    #[serde(deserialize_with = "within::<1, 1000, _, _>")]
    #[serde(skip_serializing_if = "is_usual_turns")]
    #[schemars(schema_with = "whole::<1, 1000>")]
    pub max_turns: usize,
    /// Tokens an episode may sample.
    #[serde(deserialize_with = "within::<1, 10_000_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 10_000_000>")]
    pub max_sampled_tokens: usize,
    /// Tokens of tool output an episode may read after each call.
    #[serde(deserialize_with = "within::<0, 10_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 10_000_000>")]
    pub max_output_tokens: usize,
    /// What longer output loses.
    pub output_truncation: OutputTruncation,
    /// Tokens a prompt may have; 0 for as many as leave room to answer in the model's context.
    #[serde(deserialize_with = "within::<0, 10_000_000, _, _>")]
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(schema_with = "whole::<0, 10_000_000>")]
    pub max_prompt_tokens: usize,
    /// What a task does whose prompt has more tokens, or leaves no room in the model's context.
    pub long_prompts: LongPrompts,
    /// Seconds a call may take.
    pub call_seconds: Seconds,
    /// Seconds an episode may take.
    pub episode_seconds: Seconds,
    /// Episodes that are played at the same time, over all workers.
    #[serde(deserialize_with = "within::<1, 100_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 100_000>")]
    pub batch_size: usize,
    /// Threads that run tool calls, over all workers.
    #[serde(deserialize_with = "within::<1, 1024, _, _>")]
    #[schemars(schema_with = "whole::<1, 1024>")]
    pub tool_threads: usize,
    /// When a tool's outcome reaches its episode.
    pub tool_schedule: ToolSchedule,
    /// The weights that are decoded with.
    #[serde(skip_serializing_if = "is_default")]
    pub precision: RolloutPrecision,
    /// What is recorded of each drawn token besides its log-probabilities.
    #[serde(skip_serializing_if = "is_default")]
    pub recorded: Recorded,
    /// So many rollouts of each group in training must not begin a call: what the policy can do in its
    /// head is then known of each prompt (`tool_free/em`), and compared with calling. Their
    /// log-probabilities are those of the policy among all tokens.
    #[serde(deserialize_with = "within::<0, 100_000, _, _>", skip_serializing_if = "is_default")]
    #[schemars(schema_with = "whole::<0, 100_000>")]
    pub tool_free: usize,
    /// What the policy is told to prefer; nothing when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preference: Option<PreferenceConfig>,
    /// Mebibytes that may be held of what layers remember of the episodes that are played at the same
    /// time, over all workers; 0 for as much as they need. Episodes wait for room.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub cache_mib: u64,
}

impl RolloutConfig {
    /// What an episode is asked to prefer where nobody asks for something else; empty where
    /// nothing is told.
    pub fn usual_preference(&self, objectives: &Arc<[String]>) -> ObjectiveValues {
        self.preference.as_ref().map(|config| config.usual(objectives)).unwrap_or_default()
    }

    /// Tokens a prompt may have with a model of such a context: one less, so that there is room for a
    /// token to answer with, or what is configured.
    pub fn prompt_limit(&self, context: usize) -> usize {
        let fitting = context.saturating_sub(1);
        match self.max_prompt_tokens {
            0 => fitting,
            most => most.min(fitting),
        }
    }

    /// What a prompt tells of a preference in front of the question.
    pub fn told(&self, preference: &ObjectiveValues) -> String {
        self.preference.as_ref().map(|config| config.words(preference)).unwrap_or_default()
    }
}

/// Turns that an environment answers, unless it is configured otherwise.
const USUAL_TURNS: usize = 16;

fn is_usual_turns(turns: &usize) -> bool {
    *turns == USUAL_TURNS
}

fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}

impl Default for RolloutConfig {
    fn default() -> Self {
        Self {
            sampling: SamplingConfig::default(),
            syntax: ToolSyntax::FencedPython {},
            max_calls: 4,
            max_turns: USUAL_TURNS,
            max_sampled_tokens: 96,
            max_output_tokens: 256,
            output_truncation: OutputTruncation::Tail,
            max_prompt_tokens: 0,
            long_prompts: LongPrompts::Stop,
            call_seconds: const { Seconds::literal(5.0) },
            episode_seconds: const { Seconds::literal(600.0) },
            batch_size: 128,
            tool_threads: 2,
            tool_schedule: ToolSchedule::FixedLag { steps: 2 },
            precision: RolloutPrecision::Same,
            recorded: Recorded::default(),
            tool_free: 0,
            preference: None,
            cache_mib: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_output_loses_its_end_or_its_middle() {
        let ids: Vec<TokenId> = (0..10).collect();
        assert_eq!(OutputTruncation::Tail.apply(&ids, 4, &[99]), [0, 1, 2, 3]);
        // a budget of 6 leaves 5 beside the ellipsis: 3 in front, 2 behind
        assert_eq!(OutputTruncation::Middle.apply(&ids, 6, &[99]), [0, 1, 2, 99, 8, 9]);
        // no room for an ellipsis
        assert_eq!(OutputTruncation::Middle.apply(&ids, 1, &[99]), [0]);
    }
}
