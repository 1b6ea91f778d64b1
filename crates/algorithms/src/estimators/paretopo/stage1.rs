//! Stage 1, hypervolume-guided dynamic scalarization:
//!
//! `dHV_i = HV(B + {r_i}) - HV(B)`, `dHV_bar_i = gamma * average + (1 - gamma) * dHV_i`,
//! `r_pareto_i = 0.5 + 1.5 tanh(dHV_bar_i)`, `r_i = r_pareto_i * (w . r_i)`, then GRPO.
//!
//! With credit by turns the part of success is that of `r_pareto_i w_1 r_i1`, centred, and divided
//! by the same deviation.

use super::ParetoPoState;
use super::{
    ArchiveContent, ArchiveScope, Credit, ParetoPoConfig, Smoothing, credit, scalar_rewards,
};
use crate::estimators::statistics::{batch_mean, standardised_by};
use crate::estimators::{Advantages, EstimatorError, Group, grpo};
use crate::pareto::{Archive, Point};

pub(super) fn advantages(
    config: &ParetoPoConfig,
    state: &mut ParetoPoState,
    groups: &[Group],
    reference: &[f64],
) -> Result<Advantages, EstimatorError> {
    let empty = Archive::default();
    let gains: Vec<Vec<f64>> = groups
        .iter()
        .map(|group| {
            let archive = match config.archive_scope {
                ArchiveScope::Global => &state.archive,
                ArchiveScope::PerPrompt => {
                    state.prompt_archives.get(&group.prompt).unwrap_or(&empty)
                }
            };
            // with an objective less it is measured by nothing that others have reached
            let gain = |reward: &Point| match is_comparable(config, group) {
                true => archive.gain(reward, reference),
                false => 0.0,
            };
            group.rewards.iter().map(gain).collect()
        })
        .collect();
    let mean_gain = match config.archive_content {
        ArchiveContent::BatchMean if config.smoothing == Smoothing::PerStep => {
            batch_mean(groups).map_or(0.0, |mean| state.archive.gain(&mean, reference))
        }
        _ => {
            let own = groups.iter().zip(&gains);
            let measured = own.filter(|(group, _)| is_comparable(config, group));
            mean(measured.flat_map(|(_, gains)| gains))
        }
    };
    let past = state.average_gain;
    let gamma = config.gamma.get();
    let smoothed = |gain: f64| gamma * past + (1.0 - gamma) * gain;
    let factor = |gain: f64| match config.smoothing {
        Smoothing::PerTrajectory => 0.5 + 1.5 * smoothed(gain).tanh(),
        Smoothing::PerStep => 0.5 + 1.5 * smoothed(mean_gain).tanh(),
    };
    let factors: Vec<Vec<f64>> =
        gains.iter().map(|group| group.iter().map(|gain| factor(*gain)).collect()).collect();
    let mut advantages = weighed(config, groups, &factors)?;
    let factors: Vec<f64> = factors.into_iter().flatten().collect();
    let mean_factor = mean(factors.iter());
    let deviation = mean(
        factors.iter().map(|factor| (factor - mean_factor).powi(2)).collect::<Vec<_>>().iter(),
    )
    .sqrt();
    advantages.diagnostics.insert("hypervolume_gain", mean_gain);
    advantages.diagnostics.insert("r_pareto", mean_factor);
    advantages.diagnostics.insert("r_pareto_std", deviation);
    state.average_gain = smoothed(mean_gain);
    Ok(advantages)
}

/// Whether a group's points can be held against the archive's: an archive of all prompts has none of
/// a group whose environment lacks an objective, since such a point would dominate whatever falls
/// short of the ideal there.
fn is_comparable(config: &ParetoPoConfig, group: &Group) -> bool {
    config.archive_scope == ArchiveScope::PerPrompt || group.lacks.is_empty()
}

/// GRPO on the scalarized rewards times the factors.
fn weighed(
    config: &ParetoPoConfig,
    groups: &[Group],
    factors: &[Vec<f64>],
) -> Result<Advantages, EstimatorError> {
    let times = |scalars: Vec<f64>, factors: &[f64]| -> Vec<f64> {
        scalars.iter().zip(factors).map(|(reward, factor)| reward * factor).collect()
    };
    let scalars: Vec<Vec<f64>> = groups
        .iter()
        .zip(factors)
        .map(|(group, factors)| times(scalar_rewards(config, group), factors))
        .collect();
    let mut advantages = grpo::from_scalars(scalars.iter().cloned(), config.std_normalization);
    if config.credit == Credit::Turn {
        let configured = config.weights.get();
        let mut turns = Vec::with_capacity(groups.len());
        for (place, group) in groups.iter().enumerate() {
            let weight = group.weights(&configured)[0];
            let success = group.rewards.iter().map(|reward| weight * reward[0]).collect();
            let success = times(success, &factors[place]);
            let divide = config.std_normalization;
            let success = standardised_by(&success, &scalars[place], divide);
            turns.push(credit::by_turns(group, &advantages.values[place], &success)?);
        }
        advantages.turns = Some(turns);
    }
    Ok(advantages)
}

/// Merges the step's points into the archive(s), in either stage.
pub(super) fn merge_into_archive(
    config: &ParetoPoConfig,
    state: &mut ParetoPoState,
    groups: &[Group],
) {
    match config.archive_content {
        ArchiveContent::Trajectory => {
            let comparable = groups.iter().filter(|group| group.lacks.is_empty());
            for reward in comparable.flat_map(|group| &group.rewards) {
                state.archive.insert(reward);
            }
        }
        ArchiveContent::BatchMean => {
            if let Some(mean) = batch_mean(groups) {
                state.archive.insert(&mean);
            }
        }
    }
    if config.archive_scope == ArchiveScope::PerPrompt {
        for group in groups {
            let archive = state.prompt_archives.entry(group.prompt.clone()).or_default();
            match config.archive_content {
                ArchiveContent::Trajectory => group.rewards.iter().for_each(|reward| {
                    archive.insert(reward);
                }),
                ArchiveContent::BatchMean => {
                    if let Some(mean) = batch_mean(std::slice::from_ref(group)) {
                        archive.insert(&mean);
                    }
                }
            }
        }
    }
}

fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let (count, sum) = values.fold((0usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ParetoPoConfig {
        ParetoPoConfig { std_normalization: false, ..ParetoPoConfig::default() }
    }

    fn groups() -> Vec<Group> {
        vec![Group {
            prompt: "p".into(),
            rewards: vec![vec![1.0, 0.5], vec![0.0, 1.0]],
            ..Group::default()
        }]
    }

    #[test]
    fn a_trajectory_that_adds_hypervolume_is_worth_more() {
        let mut state = ParetoPoState::default();
        let result = advantages(&config(), &mut state, &groups(), &[0.0, 0.0]).unwrap();
        // dHV = (0.5, 0); smoothed 0.1 * dHV = (0.05, 0); factors 0.5 + 1.5 tanh(0.05) = 0.574938
        // and 0.5 r_w = (0.6 + 0.2, 0.4) = (0.8, 0.4); r = (0.459950, 0.2), mean 0.329975,
        // advantages +-0.129975
        assert!(
            (result.values[0][0] - 0.129_975).abs() < 1e-5
                && (result.values[0][1] + 0.129_975).abs() < 1e-5
        );
        // the running average: 0.9 * 0 + 0.1 * mean(0.5, 0) = 0.025
        assert!((state.average_gain - 0.025).abs() < 1e-9);
        merge_into_archive(&config(), &mut state, &groups());
        // the same vectors add nothing any more; only the past is left: factor 0.5 + 1.5 tanh(0.9 *
        // 0.025) = 0.533744 for both
        let again = advantages(&config(), &mut state, &groups(), &[0.0, 0.0]).unwrap();
        assert!((again.values[0][0] - 0.533_744 * 0.2).abs() < 1e-5);
        assert!(again.diagnostics["r_pareto_std"] < 1e-7);
    }

    #[test]
    fn per_step_smoothing_with_division_is_plain_scalarization() {
        let literal = ParetoPoConfig {
            smoothing: Smoothing::PerStep,
            std_normalization: true,
            ..ParetoPoConfig::default()
        };
        let staged = advantages(&literal, &mut ParetoPoState::default(), &groups(), &[0.0, 0.0])
            .unwrap()
            .values;
        let scalarized = grpo::advantages(&literal.weights.get(), true, &groups()).values;
        // equal but for the epsilon beside the deviation
        assert!(staged[0].iter().zip(&scalarized[0]).all(|(a, b)| (a - b).abs() < 1e-3));
    }

    #[test]
    fn scopes_and_contents_of_the_archive() {
        let two = vec![
            groups()[0].clone(),
            Group { prompt: "q".into(), rewards: vec![vec![0.2, 0.2]], ..Group::default() },
        ];
        let per_prompt = ParetoPoConfig { archive_scope: ArchiveScope::PerPrompt, ..config() };
        let mut state = ParetoPoState::default();
        merge_into_archive(&per_prompt, &mut state, &two);
        // (0.2, 0.2) is dominated globally but stands in its own prompt's archive
        assert_eq!(
            (state.archive.points().len(), state.prompt_archives["q"].points().len()),
            (2, 1)
        );
        let means = ParetoPoConfig { archive_content: ArchiveContent::BatchMean, ..config() };
        let mut state = ParetoPoState::default();
        merge_into_archive(&means, &mut state, &groups());
        // mean of (1, 0.5) and (0, 1)
        assert_eq!(state.archive.points(), [vec![0.5, 0.75]]);
    }
}
