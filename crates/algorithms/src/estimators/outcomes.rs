//! Groups of which only success and calls are told, for tests of estimators that count calls.

use super::Group;
use proptest::prelude::*;

/// Whether a rollout is right, 1 or 0, and how many calls it made.
pub(super) type Outcome = (f64, f64);

/// A group's outcomes, of up to fifteen rollouts.
pub(super) fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
    let outcome = ((0u8..2).prop_map(f64::from), (0u8..9).prop_map(f64::from));
    proptest::collection::vec(outcome, 1..16)
}

pub(super) fn group(outcomes: &[Outcome]) -> Group {
    Group {
        rewards: outcomes.iter().map(|(right, _)| vec![*right]).collect(),
        calls: Some(outcomes.iter().map(|(_, calls)| *calls).collect()),
        ..Group::default()
    }
}

/// The right rollouts: their calls, and what the estimator makes of them.
pub(super) fn right<'a>(
    outcomes: &'a [Outcome],
    values: &'a [f64],
) -> impl Iterator<Item = (f64, f64)> {
    let pairs = outcomes.iter().zip(values);
    pairs.filter(|((right, _), _)| *right > 0.5).map(|((_, calls), value)| (*calls, *value))
}

/// Of right rollouts fewer calls never earn less, and more where calls count at all.
pub(super) fn fewer_calls_earn_more(
    outcomes: &[Outcome],
    values: &[f64],
    calls_count: bool,
) -> Result<(), TestCaseError> {
    for (fewer, own) in right(outcomes, values) {
        for (more, other) in right(outcomes, values).filter(|(calls, _)| *calls >= fewer) {
            prop_assert!(own >= other, "{values:?}");
            prop_assert!(own > other || more == fewer || !calls_count, "{values:?}");
        }
    }
    Ok(())
}
