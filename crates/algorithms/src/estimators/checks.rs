//! What every estimator is given and has to give: finite numbers, one for each rollout or turn.

use super::{Advantages, EstimatorConfig, EstimatorError, Group};

/// Whether there is a finite advantage for each rollout.
pub(super) fn check_advantages(
    config: &EstimatorConfig,
    groups: &[Group],
    values: &[Vec<f64>],
) -> Result<(), EstimatorError> {
    require_one_for_each(config, groups, values)?;
    groups.iter().zip(values).try_for_each(|(group, values)| require_finite(group, values))
}

/// Whether there is a finite advantage for each turn, if there is one for any.
pub(super) fn check_turns(
    config: &EstimatorConfig,
    groups: &[Group],
    advantages: &Advantages,
) -> Result<(), EstimatorError> {
    let Some(turns) = &advantages.turns else { return Ok(()) };
    require_one_for_each(config, groups, turns)?;
    for (group, rollouts) in groups.iter().zip(turns) {
        for (place, values) in rollouts.iter().enumerate() {
            let costs = group.turn_costs.as_ref().and_then(|costs| costs.get(place));
            let (found, expected) = (values.len(), costs.map_or(values.len(), Vec::len));
            if found != expected {
                let estimator = config.name().into();
                return Err(EstimatorError::Turns { estimator, found, expected });
            }
            require_finite(group, values)?;
        }
    }
    Ok(())
}

/// Whether there is a list for each group, with something for each of its rollouts.
fn require_one_for_each<T>(
    config: &EstimatorConfig,
    groups: &[Group],
    lists: &[Vec<T>],
) -> Result<(), EstimatorError> {
    let estimator = || config.name().to_owned();
    let (found, expected) = (lists.len(), groups.len());
    if found != expected {
        return Err(EstimatorError::Groups { estimator: estimator(), found, expected });
    }
    for (group, list) in groups.iter().zip(lists) {
        let (found, expected) = (list.len(), group.rewards.len());
        if found != expected {
            return Err(EstimatorError::Count { estimator: estimator(), found, expected });
        }
    }
    Ok(())
}

fn require_finite(group: &Group, values: &[f64]) -> Result<(), EstimatorError> {
    let Some(advantage) = values.iter().copied().find(|value| !value.is_finite()) else {
        return Ok(());
    };
    let all = group.rewards.iter().flatten();
    let largest = all.fold(0.0f64, |largest, value| largest.max(value.abs()));
    Err(EstimatorError::Overflow { prompt: group.prompt.clone(), advantage, largest })
}

pub(super) fn check_rewards(
    config: &EstimatorConfig,
    groups: &[Group],
) -> Result<(), EstimatorError> {
    let first = groups.iter().find_map(|group| group.rewards.first()).map(Vec::len);
    let expected = config.weight_count().or(first).unwrap_or(0);
    for group in groups {
        if let Some(weights) = group.preference.as_ref().filter(|own| own.len() != expected) {
            let prompt = &group.prompt;
            return Err(EstimatorError::Other(format!(
                "the preference {weights:?} of prompt `{prompt}` has not a weight for each of \
                 {expected} objectives"
            )));
        }
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
