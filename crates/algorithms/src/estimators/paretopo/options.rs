//! The choices that the paper leaves open, and those that were added to it.

use paretopo_settings::{NonNegative, Share, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When stage 2 begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum StageSwitch {
    /// After this share of the run's steps: 0 is stage 2 from the start, 1 is stage 1 throughout.
    Fraction {
        /// In [0, 1].
        at: Share,
    },
    /// When the archive's hypervolume has not moved by more than `epsilon` for `patience` steps.
    Plateau {
        /// Smallest change that counts as progress.
        epsilon: NonNegative,
        /// Steps without progress.
        #[serde(deserialize_with = "within::<1, 1_000_000_000, _, _>")]
        #[schemars(schema_with = "whole::<1, 1_000_000_000>")]
        patience: u64,
    },
}

/// What dHV is averaged over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Smoothing {
    /// Each trajectory mixes its own dHV with the running average of past steps.
    PerTrajectory,
    /// One factor a step, the literal reading; division by the group's deviation cancels it.
    PerStep,
}

/// Which archive dHV is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveScope {
    /// One for the run.
    Global,
    /// One for each prompt.
    PerPrompt,
}

/// What enters the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveContent {
    /// The reward vectors of trajectories. Reaches (1, 1) with the first success, and dHV is 0 from
    /// then on.
    Trajectory,
    /// The mean reward vector of the step: the policy's own point.
    BatchMean,
}

/// What is subtracted from stage 2's advantages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Centering {
    /// Nothing (the literal formula): every advantage is positive.
    None,
    /// The group's mean.
    Mean,
    /// The group's mean, then division by its deviation.
    MeanStd,
}

/// What stage 2 ranks a group's rollouts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ranking {
    /// Non-dominated fronts, as in the paper.
    Fronts,
    /// How many of the group a rollout dominates, less how many dominate it.
    DominanceCounts,
    /// Fronts of classes: rollouts whose calls cost the same share a rank, that of their mean
    /// reward vector, which is drawn towards the group's mean by `class_prior`. Needs groups of 16
    /// or more.
    CallClasses,
}

/// What orders the rollouts of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InRank {
    /// The weighted sum of the rewards, as in the paper.
    Scalarized,
    /// How far the neighbours are (NSGA-II's crowding distance); the ends come first.
    Crowding,
    /// The hypervolume above `reference` that would be lost without the rollout (SMS-EMOA).
    Hypervolume,
}

/// Which tokens the efficiency of a rollout is credited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Credit {
    /// All tokens of a trajectory share one advantage.
    Trajectory,
    /// Success bears on all tokens, what calls cost on those of the calls that were too many, and
    /// what was saved on the turns without a call.
    Turn,
}
