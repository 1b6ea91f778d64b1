//! Advantage estimators: from the reward vectors of a step to one number per trajectory.
//!
//! Each estimator is a file of plain f64 code with its formula; [`EstimatorConfig`] picks one. What
//! an estimator remembers between steps lies in [`EstimatorState`], which is part of the
//! checkpoint.

pub mod call_penalty;
mod chebyshev;
pub mod gdpo;
mod grpo;
pub mod hv_weighting;
pub mod mo_grpo;
pub mod otc;
pub mod paretopo;
pub mod reinforce_plus_plus;
mod rloo;
mod statistics;

pub use paretopo::ParetoPoConfig;

use crate::pareto::{Archive, Point};
use paretopo_settings::{TaskWeights, Weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The rollouts of one prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Identifies the prompt over the whole run.
    pub prompt: String,
    /// One reward vector per rollout, each value in [0, 1]; the first objective is task success.
    pub rewards: Vec<Point>,
    /// Tool calls per rollout; `None` when unknown.
    pub calls: Option<Vec<usize>>,
}

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps done before this one.
    pub step: u64,
    /// Steps planned.
    pub total_steps: u64,
    /// Seed of this step's random numbers (only `stochastic_rank` draws any).
    pub seed: u64,
}

/// One advantage per rollout, group by group, and what to log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advantages {
    /// As many values per group as it has rollouts.
    pub values: Vec<Vec<f64>>,
    /// Numbers for the metrics.
    pub diagnostics: BTreeMap<&'static str, f64>,
    /// What a person should be told once in a run, by what it is about.
    pub notes: BTreeMap<&'static str, String>,
}

/// What estimators remember between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EstimatorState {
    /// The archive `B`.
    pub archive: Archive,
    /// An archive per prompt, where `archive_scope = "per_prompt"`.
    pub prompt_archives: BTreeMap<String, Archive>,
    /// The running average of dHV.
    pub average_gain: f64,
    /// The archive's hypervolume at the last step that moved it.
    pub plateau_level: f64,
    /// Steps since then.
    pub plateau_steps: u64,
    /// Whether ParetoPO has gone over to stage 2.
    pub switched: bool,
    /// dHV of the policy's latest validation point, for `hv_weighting`.
    pub validation_gain: f64,
}

impl EstimatorState {
    /// Tells the estimator the policy's own point on the validation tasks (used by `hv_weighting`).
    pub fn observe_validation(&mut self, point: &[f64], config: &EstimatorConfig) {
        if let EstimatorConfig::HvWeighting(_) = config {
            self.validation_gain = self.archive.gain(point, &vec![0.0; point.len()]);
            self.archive.insert(point);
        }
    }
}

/// A scalar reward made of weights, and whether to divide by the group's deviation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WeightedConfig {
    /// One weight per objective.
    pub weights: Weights,
    /// Whether to divide by the group's standard deviation.
    pub std_normalization: bool,
}

impl Default for WeightedConfig {
    fn default() -> Self {
        Self { weights: Weights::literal([0.6, 0.4]), std_normalization: true }
    }
}

/// Weights over the objectives; empty means the first objective alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaskConfig {
    /// One weight per objective; empty for accuracy alone.
    pub weights: TaskWeights,
}

/// Which estimator, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum EstimatorConfig {
    /// Pareto ranking policy optimization (arXiv 2606.16111).
    #[serde(rename = "paretopo")]
    ParetoPo(ParetoPoConfig),
    /// GRPO on accuracy alone (ToRL, Search-R1).
    Grpo(TaskConfig),
    /// GRPO without the division by the deviation (Dr. GRPO, arXiv 2503.20783).
    DrGrpo(TaskConfig),
    /// Leave-one-out baseline (RLOO, arXiv 2402.14740).
    Rloo(TaskConfig),
    /// Standardised over the whole batch (REINFORCE++, arXiv 2501.03262).
    ReinforcePlusPlus(reinforce_plus_plus::ReinforceConfig),
    /// GRPO on a fixed weighting (static scalarization).
    Scalarized(WeightedConfig),
    /// GRPO on the weighted Chebyshev distance from (1, ..., 1).
    Chebyshev(WeightedConfig),
    /// OTC-GRPO (arXiv 2504.14870).
    Otc(otc::OtcConfig),
    /// GRPO on accuracy minus a price per call (a heuristic).
    CallPenalty(call_penalty::CallPenaltyConfig),
    /// Sum of separately standardised objectives (MO-GRPO, arXiv 2509.22047).
    MoGrpo(mo_grpo::MoGrpoConfig),
    /// Group-wise decoupled normalisation (GDPO, arXiv 2601.05242).
    Gdpo(gdpo::GdpoConfig),
    /// Scalarization weighted by the validation point's hypervolume gain (arXiv 2509.11452).
    HvWeighting(hv_weighting::HvWeightingConfig),
}

impl EstimatorConfig {
    /// The values of `type`.
    pub const TYPES: [&str; 12] = [
        "paretopo",
        "grpo",
        "dr_grpo",
        "rloo",
        "reinforce_plus_plus",
        "scalarized",
        "chebyshev",
        "otc",
        "call_penalty",
        "mo_grpo",
        "gdpo",
        "hv_weighting",
    ];

    /// For how many objectives it has weights; `None` where it has none, or needs none.
    fn weight_count(&self) -> Option<usize> {
        match self {
            Self::ParetoPo(config) => Some(config.weights.len()),
            Self::Grpo(config) | Self::DrGrpo(config) | Self::Rloo(config) => {
                Some(config.weights.len()).filter(|count| *count > 0)
            }
            Self::ReinforcePlusPlus(config) => {
                Some(config.weights.len()).filter(|count| *count > 0)
            }
            Self::Scalarized(config) | Self::Chebyshev(config) => Some(config.weights.len()),
            Self::HvWeighting(config) => Some(config.weights.len()),
            Self::Gdpo(config) => Some(config.weights.len()),
            Self::Otc(_) | Self::CallPenalty(_) | Self::MoGrpo(_) => None,
        }
    }

    /// Whether its lists have a value for each of so many objectives.
    ///
    /// # Errors
    /// Names the list that does not.
    pub fn fits(&self, objectives: usize) -> Result<(), String> {
        let reference = match self {
            Self::ParetoPo(config) if !config.reference.is_empty() => Some(config.reference.len()),
            _ => None,
        };
        for (name, count) in [("weights", self.weight_count()), ("reference", reference)] {
            if let Some(count) = count.filter(|count| *count != objectives) {
                return Err(format!(
                    "`estimator.{name}`: {count} values for {objectives} objectives\nhint: give \
                     one for each of `environment.objectives`"
                ));
            }
        }
        Ok(())
    }

    /// Settings that are legal but do not do what one may expect.
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::ParetoPo(config) => config.warnings(),
            _ => Vec::new(),
        }
    }
}

/// Why a step's rewards cannot be turned into advantages.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum EstimatorError {
    /// A reward is NaN or infinite.
    #[error("the reward vector {reward:?} of prompt `{prompt}` holds a value that is not finite")]
    NotFinite {
        /// The prompt.
        prompt: String,
        /// The vector.
        reward: Point,
    },
    /// An advantage is NaN or infinite though the rewards are not: they are too large for their
    /// differences.
    #[error("an advantage of prompt `{prompt}` is {advantage}, from rewards up to {largest:e}")]
    Overflow {
        /// The prompt.
        prompt: String,
        /// The advantage.
        advantage: f64,
        /// The largest reward of the prompt, without its sign.
        largest: f64,
    },
    /// Reward vectors of different length.
    #[error(
        "the reward vector {reward:?} of prompt `{prompt}` has {found} objectives, but {expected} are expected"
    )]
    Objectives {
        /// The prompt.
        prompt: String,
        /// The vector.
        reward: Point,
        /// Its length.
        found: usize,
        /// The length asked for.
        expected: usize,
    },
    /// The estimator needs the number of calls.
    #[error("`{0}` needs the number of tool calls of each rollout (`calls`)")]
    NoCalls(&'static str),
}

/// Turns the rewards of a step into advantages.
///
/// # Errors
/// When a reward is not finite, vectors or weights differ in length, or calls are needed and not
/// given.
pub fn advantages(
    config: &EstimatorConfig,
    state: &mut EstimatorState,
    groups: &[Group],
    progress: Progress,
) -> Result<Advantages, EstimatorError> {
    check(config, groups)?;
    let mut advantages = match config {
        EstimatorConfig::ParetoPo(config) => paretopo::advantages(config, state, groups, progress),
        EstimatorConfig::Grpo(config) => grpo::advantages(&config.weights.get(), true, groups),
        EstimatorConfig::DrGrpo(config) => grpo::advantages(&config.weights.get(), false, groups),
        EstimatorConfig::Rloo(config) => rloo::advantages(&config.weights.get(), groups),
        EstimatorConfig::ReinforcePlusPlus(config) => {
            reinforce_plus_plus::advantages(config, groups)
        }
        EstimatorConfig::Scalarized(config) => {
            grpo::advantages(&config.weights.get(), config.std_normalization, groups)
        }
        EstimatorConfig::Chebyshev(config) => chebyshev::advantages(config, groups),
        EstimatorConfig::Otc(config) => otc::advantages(config, groups)?,
        EstimatorConfig::CallPenalty(config) => call_penalty::advantages(config, groups)?,
        EstimatorConfig::MoGrpo(config) => mo_grpo::advantages(config, groups),
        EstimatorConfig::Gdpo(config) => gdpo::advantages(config, groups),
        EstimatorConfig::HvWeighting(config) => hv_weighting::advantages(config, state, groups),
    };
    for (group, values) in groups.iter().zip(&advantages.values) {
        if let Some(advantage) = values.iter().copied().find(|value| !value.is_finite()) {
            let largest = group
                .rewards
                .iter()
                .flatten()
                .fold(0.0f64, |largest, value| largest.max(value.abs()));
            return Err(EstimatorError::Overflow {
                prompt: group.prompt.clone(),
                advantage,
                largest,
            });
        }
    }
    let silent = advantages
        .values
        .iter()
        .filter(|group| group.iter().all(|value| value.abs() < 1e-6))
        .count();
    advantages
        .diagnostics
        .insert("groups_without_signal", silent as f64 / groups.len().max(1) as f64);
    Ok(advantages)
}

fn check(config: &EstimatorConfig, groups: &[Group]) -> Result<(), EstimatorError> {
    let first = groups.iter().find_map(|group| group.rewards.first()).map(Vec::len);
    let expected = config.weight_count().or(first).unwrap_or(0);
    for group in groups {
        for reward in &group.rewards {
            let (prompt, reward) = (group.prompt.clone(), reward.clone());
            if reward.iter().any(|value| !value.is_finite()) {
                return Err(EstimatorError::NotFinite { prompt, reward });
            }
            if reward.len() != expected || reward.is_empty() {
                return Err(EstimatorError::Objectives {
                    prompt,
                    found: reward.len(),
                    reward,
                    expected,
                });
            }
        }
    }
    Ok(())
}

/// `w . r`; with no weights the first objective.
fn weighted(weights: &[f64], reward: &[f64]) -> f64 {
    if weights.is_empty() {
        reward[0]
    } else {
        weights.iter().zip(reward).map(|(weight, value)| weight * value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rewards: [f64; 2]) -> Result<Advantages, EstimatorError> {
        let group = Group {
            prompt: "p".into(),
            rewards: rewards.map(|reward| vec![reward]).to_vec(),
            calls: None,
        };
        let progress = Progress { step: 0, total_steps: 1, seed: 0 };
        advantages(
            &EstimatorConfig::Rloo(Default::default()),
            &mut EstimatorState::default(),
            &[group],
            progress,
        )
    }

    /// As runs wrote it whose archives were f32.
    #[test]
    fn the_state_of_earlier_runs_is_read() {
        let text = r#"{"archive":{"points":[[1.0,0.60653067],[0.3,1.0]]},"prompt_archives":{"p":{"points":[[0.1,0.2]]}},
            "average_gain":0.025,"plateau_level":0.0,"plateau_steps":0,"switched":false,"validation_gain":0.0}"#;
        let state: EstimatorState = serde_json::from_str(text).expect("a state");
        assert_eq!(state.archive.points(), [[1.0, 0.606_530_67], [0.3, 1.0]]);
        // exp(-0.5) = 0.6065306597 is the number that was rounded up to 0.60653067: it adds nothing
        assert_eq!(state.archive.gain(&[1.0, (-0.5f64).exp()], &[0.0, 0.0]), 0.0);
        // what is written now reads back as it was
        let text = serde_json::to_string(&state).expect("plain data");
        assert_eq!(serde_json::from_str::<EstimatorState>(&text).expect("a state"), state);
    }

    #[test]
    fn what_is_no_number_is_named() {
        // each minus the mean of the others
        assert_eq!(of([1.0, 0.0]).expect("advantages").values, [[1.0, -1.0]]);
        assert_eq!(
            of([1.0, f64::NAN]).unwrap_err().to_string(),
            "the reward vector [NaN] of prompt `p` holds a value that is not finite"
        );
        // beyond the largest f32, 3.4e38, but no f64
        assert_eq!(of([3e38, -3e38]).expect("advantages").values, [[6e38, -6e38]]);
        // 1e308 - (-1e308) is beyond the largest f64, 1.8e308
        assert_eq!(
            of([1e308, -1e308]).unwrap_err().to_string(),
            "an advantage of prompt `p` is inf, from rewards up to 1e308"
        );
    }
}
