//! ParetoPO (ICML 2026, arXiv 2606.16111): stage 1 adapts the reward by hypervolume progress, stage
//! 2 turns Pareto ranks into advantages. Both share the archive. Where the paper leaves a choice
//! open it is an option here.

mod stage1;
mod stage2;

use super::statistics::{check_archive, check_volume};
use super::{Advantages, Estimator, EstimatorError, Group, Progress, fits, weighted};
use crate::pareto::{Archive, non_dominated_ranks, underflows};
use paretopo_settings::{DecayRate, Finite, NonNegative, Share, Weights, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// Pareto ranking policy optimization (arXiv 2606.16111).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParetoPoConfig {
    /// Preference weights `w`, one per objective.
    pub weights: Weights,
    /// When stage 2 begins.
    pub switch: StageSwitch,
    /// The reference point of the hypervolume; empty for the origin.
    pub reference: Vec<Finite>,
    /// Share of the past in the smoothed dHV, in [0, 1).
    pub gamma: DecayRate,
    /// What dHV is averaged over.
    pub smoothing: Smoothing,
    /// Which archive dHV is measured against.
    pub archive_scope: ArchiveScope,
    /// What enters the archive.
    pub archive_content: ArchiveContent,
    /// Whether stage 1 divides by the group's deviation.
    pub std_normalization: bool,
    /// Share of the reward inside a rank, in [0, 1].
    pub beta: Share,
    /// What is subtracted from stage 2's advantages.
    pub centering: Centering,
    /// Scale of the Gumbel noise on objectives before sorting; 0 sorts exactly.
    pub stochastic_rank: NonNegative,
}

impl Default for ParetoPoConfig {
    fn default() -> Self {
        Self {
            weights: Weights::literal([0.6, 0.4]),
            switch: StageSwitch::Fraction { at: const { Share::literal(0.5) } },
            reference: Vec::new(),
            gamma: const { DecayRate::literal(0.9) },
            smoothing: Smoothing::PerTrajectory,
            archive_scope: ArchiveScope::Global,
            archive_content: ArchiveContent::Trajectory,
            std_normalization: true,
            beta: const { Share::literal(1.0) },
            centering: Centering::Mean,
            stochastic_rank: const { NonNegative::literal(0.0) },
        }
    }
}

/// What ParetoPO remembers between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParetoPoState {
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
    /// Whether stage 2 has begun.
    pub switched: bool,
}

impl Estimator for ParetoPoConfig {
    type State = ParetoPoState;

    fn advantages(
        &self,
        state: &mut ParetoPoState,
        groups: &[Group],
        progress: Progress,
    ) -> Result<Advantages, EstimatorError> {
        Ok(advantages(self, state, groups, progress))
    }

    fn weight_count(&self) -> Option<usize> {
        Some(self.weights.len())
    }

    fn fits(&self, objectives: usize) -> Result<(), String> {
        fits("weights", Some(self.weights.len()), objectives)?;
        let reference = Some(self.reference.len()).filter(|count| *count > 0);
        fits("reference", reference, objectives)
    }

    fn warnings(&self) -> Vec<String> {
        warnings(self)
    }

    fn check_state(
        &self,
        state: &ParetoPoState,
        progress: Progress,
        objectives: usize,
    ) -> Result<(), String> {
        check_archive("archive", &state.archive, objectives)?;
        for (prompt, archive) in &state.prompt_archives {
            check_archive(&format!("prompt_archives.{prompt}"), archive, objectives)?;
        }
        check_volume("average_gain", state.average_gain)?;
        check_volume("plateau_level", state.plateau_level)?;
        if state.plateau_steps > progress.step {
            return Err(format!(
                "`plateau_steps` is {}, but may be at most {} (its steps)",
                state.plateau_steps, progress.step
            ));
        }
        // it is decided before each step, of which the last was the one before
        let StageSwitch::Fraction { .. } = self.switch else { return Ok(()) };
        let latest = Progress { step: progress.step.saturating_sub(1), ..progress };
        let should = progress.step > 0 && should_switch(&self.switch, state, latest);
        if state.switched != should {
            return Err(format!(
                "`switched` is {}, but after {} of {} steps it is {should} (`estimator.switch`)",
                state.switched, progress.step, progress.total_steps
            ));
        }
        Ok(())
    }
}

impl ParetoPoConfig {
    fn reference(&self, objectives: usize) -> Vec<f64> {
        if self.reference.is_empty() {
            return vec![0.0; objectives];
        }
        self.reference.iter().map(|coordinate| coordinate.get()).collect()
    }
}

/// Settings that are legal but do not do what one may expect.
fn warnings(config: &ParetoPoConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.smoothing == Smoothing::PerStep && config.std_normalization {
        warnings
                .push("`smoothing = \"per_step\"` with `std_normalization` makes stage 1 equal to `scalarized`: the factor cancels".into());
    }
    if config.beta.get() < 0.5 {
        warnings
                .push(format!("`beta = {}` lets a wrong answer without a call rank with a right answer that called too often", config.beta));
    }
    // the largest value that a reward may have
    if let Some((index, coordinate)) =
        config.reference.iter().enumerate().find(|(_, coordinate)| coordinate.get() >= 1.0)
    {
        warnings.push(format!(
            "`reference` is {coordinate} in objective {}, but no reward is above 1: no reward \
                 has hypervolume, and stage 1 treats all alike",
            index + 1
        ));
    }
    warnings
}

fn advantages(
    config: &ParetoPoConfig,
    state: &mut ParetoPoState,
    groups: &[Group],
    progress: Progress,
) -> Advantages {
    let objectives = groups.iter().find_map(|group| group.rewards.first()).map_or(0, Vec::len);
    let reference = config.reference(objectives);
    state.switched = state.switched || should_switch(&config.switch, state, progress);
    let mut advantages = if state.switched {
        stage2::advantages(config, groups, progress)
    } else {
        stage1::advantages(config, state, groups, &reference)
    };
    stage1::merge_into_archive(config, state, groups);
    let level = state.archive.hypervolume(&reference);
    track_plateau(&config.switch, state, level);
    let diagnostics = &mut advantages.diagnostics;
    diagnostics.insert("stage", if state.switched { 2.0 } else { 1.0 });
    diagnostics.insert("archive_size", state.archive.points().len() as f64);
    diagnostics.insert("archive_hypervolume", level);
    rank_diagnostics(groups, diagnostics);
    if !state.switched
        && let Some(note) = unreached(&reference, state, groups)
    {
        advantages.notes.insert("reference", note);
    }
    if let Some(reward) =
        groups.iter().flat_map(|group| &group.rewards).find(|reward| underflows(reward, &reference))
    {
        let note = format!(
            "warning: the reward vector {reward:?} is above the reference {reference:?} in every \
             objective, but by so little that the product is below 2.2e-308, the smallest 64-bit \
             float: its hypervolume is taken as (nearly) 0"
        );
        advantages.notes.insert("underflow", note);
    }
    advantages
}

/// In which objective nothing has ever exceeded a reference that is not the origin's.
fn unreached(reference: &[f64], state: &ParetoPoState, groups: &[Group]) -> Option<String> {
    let rewards = groups.iter().flat_map(|group| &group.rewards).chain(state.archive.points());
    let largest = |k: usize| rewards.clone().map(|reward| reward[k]).reduce(f64::max);
    (0..reference.len()).filter(|k| reference[*k] > 0.0).find_map(|k| {
        let most = largest(k).filter(|most| *most <= reference[k])?;
        Some(format!(
            "warning: `estimator.reference` is {} in objective {}, but the largest reward so far is \
             {most}: as long as none is above it no reward has hypervolume, and stage 1 treats all \
             alike",
            reference[k],
            k + 1
        ))
    })
}

fn should_switch(switch: &StageSwitch, state: &ParetoPoState, progress: Progress) -> bool {
    match *switch {
        StageSwitch::Fraction { at } => {
            progress.step as f64 >= at.get() * progress.total_steps as f64
        }
        StageSwitch::Plateau { patience, .. } => state.plateau_steps >= patience,
    }
}

fn track_plateau(switch: &StageSwitch, state: &mut ParetoPoState, level: f64) {
    let StageSwitch::Plateau { epsilon, .. } = switch else { return };
    if (level - state.plateau_level).abs() > epsilon.get() {
        state.plateau_level = level;
        state.plateau_steps = 0;
    } else {
        state.plateau_steps += 1;
    }
}

/// The share of each rank, and how often a wrong rollout ranks no worse than a right one of its
/// group.
fn rank_diagnostics(
    groups: &[Group],
    diagnostics: &mut std::collections::BTreeMap<&'static str, f64>,
) {
    const NAMES: [&str; 4] = ["rank_1", "rank_2", "rank_3", "rank_4_and_more"];
    let (mut histogram, mut rollouts, mut tied, mut mixed) = ([0usize; 4], 0usize, 0usize, 0usize);
    for group in groups {
        let ranks = non_dominated_ranks(&group.rewards);
        for rank in &ranks {
            histogram[(rank - 1).min(3)] += 1;
        }
        rollouts += ranks.len();
        let ranked = || group.rewards.iter().zip(&ranks);
        let worst_right =
            ranked().filter(|(reward, _)| reward[0] > 0.5).map(|(_, rank)| *rank).max();
        let best_wrong =
            ranked().filter(|(reward, _)| reward[0] <= 0.5).map(|(_, rank)| *rank).min();
        if let (Some(right), Some(wrong)) = (worst_right, best_wrong) {
            mixed += 1;
            tied += usize::from(wrong <= right);
        }
    }
    for (name, count) in NAMES.iter().zip(histogram) {
        diagnostics.insert(name, count as f64 / rollouts.max(1) as f64);
    }
    diagnostics.insert("tie_right_wrong", tied as f64 / mixed.max(1) as f64);
}

fn scalar_rewards(config: &ParetoPoConfig, group: &Group) -> Vec<f64> {
    let weights = config.weights.get();
    group.rewards.iter().map(|reward| weighted(&weights, reward)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EstimatorConfig, EstimatorState, advantages, estimator};

    fn progress(step: u64) -> Progress {
        Progress { step, total_steps: 10, seed: 0 }
    }

    #[test]
    fn the_stages_switch_by_fraction_or_plateau_and_never_back() {
        let groups = [Group { rewards: vec![vec![1.0, 1.0], vec![0.0, 0.5]], ..Group::default() }];
        let stage = |config: &EstimatorConfig, state: &mut EstimatorState, step| {
            advantages(config, state, &groups, progress(step)).unwrap().diagnostics["stage"]
        };
        let mut state = EstimatorState::default();
        let fraction = estimator("paretopo", ParetoPoConfig::default());
        assert_eq!(
            [0, 4, 5, 9].map(|step| stage(&fraction, &mut state, step)),
            [1.0, 1.0, 2.0, 2.0]
        );
        // the archive holds (1, 1) after step 0; steps 1 and 2 bring nothing, so step 3 is in stage
        // 2
        let plateau = estimator(
            "paretopo",
            ParetoPoConfig {
                switch: StageSwitch::Plateau { epsilon: NonNegative::literal(1e-3), patience: 2 },
                ..ParetoPoConfig::default()
            },
        );
        let mut state = EstimatorState::default();
        assert_eq!(
            [0, 1, 2, 3, 4].map(|step| stage(&plateau, &mut state, step)),
            [1.0, 1.0, 1.0, 2.0, 2.0]
        );
    }

    #[test]
    fn a_reference_that_nothing_exceeds_is_told() {
        let with = |reference: &[f64]| ParetoPoConfig {
            reference: reference.iter().map(|value| Finite::literal(*value)).collect(),
            ..ParetoPoConfig::default()
        };
        let warned = |reference: &[f64]| Estimator::warnings(&with(reference));
        assert!(warned(&[]).is_empty() && warned(&[0.9, 0.99]).is_empty());
        assert!(warned(&[0.0, 1.0])[0].starts_with("`reference` is 1 in objective 2"));
        let mut state = EstimatorState::default();
        let mut notes = |config: ParetoPoConfig, rewards: [[f64; 2]; 2], step| {
            let rewards = rewards.map(|reward| reward.to_vec()).to_vec();
            let groups = [Group { rewards, ..Group::default() }];
            advantages(&estimator("paretopo", config), &mut state, &groups, progress(step))
                .unwrap()
                .notes
        };
        let (low, high) = ([[0.0, 0.5], [0.0, 0.25]], [[1.0, 0.5], [0.0, 0.25]]);
        // with the origin nothing is said: before the first success all have no hypervolume
        assert!(notes(with(&[]), low, 0).is_empty());
        assert!(notes(with(&[0.0, 0.25]), low, 0).is_empty());
        let said = &notes(with(&[0.0, 0.5]), low, 0)["reference"];
        assert!(said.contains("0.5 in objective 2") && said.contains("so far is 0.5"), "{said}");
        assert!(notes(with(&[0.5, 0.25]), low, 0)["reference"].contains("objective 1"));
        // once it was exceeded, by whichever step, there is progress; stage 2 needs none
        assert!(notes(with(&[0.5, 0.25]), high, 1).is_empty());
        assert!(notes(with(&[0.5, 0.25]), low, 2).is_empty());
        assert!(notes(with(&[0.5, 0.6]), low, 9).is_empty());
    }

    #[test]
    fn a_hypervolume_that_no_float_holds_is_told() {
        let config = estimator("paretopo", ParetoPoConfig::default());
        let notes = |reward: f64| {
            let groups = [Group { rewards: vec![vec![reward; 2]; 2], ..Group::default() }];
            advantages(&config, &mut EstimatorState::default(), &groups, progress(0)).unwrap().notes
        };
        assert!(notes(1e-160)["underflow"].contains("[1e-160, 1e-160]"));
        assert!(notes(1e-150).is_empty() && notes(0.0).is_empty());
    }

    #[test]
    fn bad_rewards_are_errors() {
        let config = estimator("paretopo", ParetoPoConfig::default());
        let run = |rewards| {
            let group = Group { prompt: "p".into(), rewards, calls: None };
            advantages(&config, &mut EstimatorState::default(), &[group], progress(0))
                .unwrap_err()
                .to_string()
        };
        assert!(run(vec![vec![f64::NAN, 0.0]]).contains("not finite"));
        assert!(run(vec![vec![1.0]]).contains("2 are expected"));
    }

    #[test]
    fn tie_right_wrong_counts_groups() {
        // (1, .4) and (0, 1) are incomparable, so the wrong one ranks with the right one
        let tied = Group { rewards: vec![vec![1.0, 0.4], vec![0.0, 1.0]], ..Group::default() };
        let clear = Group { rewards: vec![vec![1.0, 1.0], vec![0.0, 1.0]], ..Group::default() };
        let mut diagnostics = std::collections::BTreeMap::new();
        rank_diagnostics(&[tied, clear], &mut diagnostics);
        assert_eq!(
            (diagnostics["tie_right_wrong"], diagnostics["rank_1"], diagnostics["rank_2"]),
            (0.5, 0.75, 0.25)
        );
    }
}
