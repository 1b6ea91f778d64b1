//! Settings of an evaluation.

use paretopo_environments::Environment;
use paretopo_generation::SamplingConfig;
use paretopo_settings::{Weights, whole, within};
use paretopo_trajectory::{Split, Task};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Which tasks.
    pub split: Split,
    /// At most so many of them; 0 for all.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub tasks: usize,
    /// Episodes a task.
    #[serde(deserialize_with = "within::<1, 4096, _, _>")]
    #[schemars(schema_with = "whole::<1, 4096>")]
    pub samples: usize,
    /// How tokens are drawn.
    pub sampling: SamplingConfig,
    /// Draw tokens as the checkpoint's `generation_config.json` says instead.
    pub checkpoint_sampling: bool,
    /// No episode may begin a call: tokens that would are left out of each draw.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tool_free: bool,
    /// Also play all episodes a second time without calls: `head_skill` is the share that is right.
    /// Of validations during training, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub head_skill: bool,
    /// Also play all episodes once more for each of these preferences (`rollout.preference`): the
    /// front of one policy. Not of validations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<Weights>,
}

impl EvaluationConfig {
    /// How many episodes are played.
    pub(crate) fn episodes(&self, environment: &dyn Environment) -> usize {
        self.chosen(environment).len().saturating_mul(self.samples)
    }

    /// The tasks that are played.
    pub(crate) fn chosen<'e>(&self, environment: &'e dyn Environment) -> &'e [Task] {
        let all = environment.tasks(self.split);
        if self.tasks == 0 { all } else { &all[..self.tasks.min(all.len())] }
    }
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            split: Split::Test,
            tasks: 0,
            samples: 1,
            sampling: SamplingConfig::default(),
            checkpoint_sampling: false,
            tool_free: false,
            head_skill: false,
            preferences: Vec::new(),
        }
    }
}
