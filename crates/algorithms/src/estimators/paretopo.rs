//! ParetoPO (ICML 2026, arXiv 2606.16111): stage 1 adapts the reward by hypervolume progress, stage
//! 2 turns Pareto ranks into advantages. Both share the archive. Where the paper leaves a choice
//! open it is an option here.

mod credit;
mod in_rank;
mod options;
mod ranking;
mod stage1;
mod stage2;

pub use options::{
    ArchiveContent, ArchiveScope, Centering, Credit, InRank, Ranking, Smoothing, StageSwitch,
};

use super::statistics::{check_archive, check_volume};
use super::{Advantages, Estimator, EstimatorError, Group, Progress, fits};
use crate::pareto::{Archive, non_dominated_ranks, underflows};
use paretopo_settings::{DecayRate, Finite, NonNegative, Share, Weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// What the archive keeps a step of its points' distance to the reference, in [0, 1]; below 1
    /// the past fades, and standing still is progress again.
    pub archive_decay: Share,
    /// Whether stage 1 divides by the group's deviation.
    pub std_normalization: bool,
    /// Share of the reward inside a rank, in [0, 1].
    pub beta: Share,
    /// What stage 2 ranks a group's rollouts by.
    pub ranking: Ranking,
    /// How many rollouts at the group's mean each class counts besides its own, where `ranking =
    /// "call_classes"`.
    pub class_prior: NonNegative,
    /// What orders the rollouts of one rank.
    pub in_rank: InRank,
    /// What is subtracted from stage 2's advantages. The paper's formula subtracts nothing, and its
    /// bound of the second moment is that formula's.
    pub centering: Centering,
    /// Which tokens the efficiency of a rollout is credited to.
    pub credit: Credit,
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
            archive_decay: const { Share::literal(1.0) },
            std_normalization: true,
            beta: const { Share::literal(1.0) },
            ranking: Ranking::Fronts,
            class_prior: const { NonNegative::literal(1.0) },
            in_rank: InRank::Scalarized,
            centering: Centering::Mean,
            credit: Credit::Trajectory,
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
        advantages(self, state, groups, progress)
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
) -> Result<Advantages, EstimatorError> {
    let objectives = groups.iter().find_map(|group| group.rewards.first()).map_or(0, Vec::len);
    let reference = config.reference(objectives);
    state.switched = state.switched || should_switch(&config.switch, state, progress);
    // faded before the step is measured against it: 1 keeps every bit
    if config.archive_decay.get() < 1.0 {
        state.archive.fade(config.archive_decay.get(), &reference);
        for archive in state.prompt_archives.values_mut() {
            archive.fade(config.archive_decay.get(), &reference);
        }
    }
    let mut advantages = if state.switched {
        stage2::advantages(config, groups, &reference, progress)?
    } else {
        stage1::advantages(config, state, groups, &reference)?
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
    if let Some(note) = underflow(&reference, groups) {
        advantages.notes.insert("underflow", note);
    }
    Ok(advantages)
}

/// Which reward vector has a hypervolume that no float holds.
fn underflow(reference: &[f64], groups: &[Group]) -> Option<String> {
    let mut rewards = groups.iter().flat_map(|group| &group.rewards);
    let reward = rewards.find(|reward| underflows(reward, reference))?;
    Some(format!(
        "warning: the reward vector {reward:?} is above the reference {reference:?} in every \
         objective, but by so little that the product is below 2.2e-308, the smallest 64-bit \
         float: its hypervolume is taken as (nearly) 0"
    ))
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
    group.scalars(&config.weights.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EstimatorConfig, EstimatorState, advantages, estimator};

    fn progress(step: u64) -> Progress {
        Progress { step, total_steps: 10, seed: 0, call_limit: 4.0 }
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
    fn an_archive_that_fades_keeps_progress_alive() {
        let gain = |archive_decay| {
            let config = ParetoPoConfig {
                archive_content: ArchiveContent::BatchMean,
                smoothing: Smoothing::PerStep,
                std_normalization: false,
                archive_decay: Share::literal(archive_decay),
                ..ParetoPoConfig::default()
            };
            let config = estimator("paretopo", config);
            let groups = [Group { rewards: vec![vec![0.8, 0.5]; 2], ..Group::default() }];
            let mut state = EstimatorState::default();
            let mut step = |step| advantages(&config, &mut state, &groups, progress(step)).unwrap();
            [step(0), step(1)].map(|step| step.diagnostics["hypervolume_gain"])
        };
        let close = |found: [f64; 2], want: [f64; 2]| {
            assert!(found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        };
        // the policy's point (0.8, 0.5) adds 0.4, and again nothing
        close(gain(1.0), [0.4, 0.0]);
        // what is left of it is (0.4, 0.25): 0.4 - 0.1
        close(gain(0.5), [0.4, 0.3]);
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
            let group = Group { prompt: "p".into(), rewards, ..Group::default() };
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
