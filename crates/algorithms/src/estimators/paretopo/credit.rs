//! Credit by turns: what calls cost bears on the turns that made them, success on all.
//!
//! A rollout's advantage `A_i` is taken apart into `S_i`, what its success alone is worth, and the
//! rest `E_i = A_i - S_i`. Turn t gets `A_it = S_i + b_it E_i`:
//!
//! - `E_i < 0`, too many calls: `b_it = x_it / max_t x_it`, with `x_it` what the turn's calls cost
//!   beyond the cheapest right rollout of the group; calls up to there are not to blame. Where no
//!   turn is to blame, or no rollout is right, `b_it = c_it / max_t c_it` of all costs, and 1
//!   without any.
//! - `E_i > 0`, calls were saved: `b_it` is 1 for a turn that costs nothing and 0 for the others; 1
//!   if all cost something.
//!
//! No paper that was read says this formula; it is what "action-level" may mean. With more than two
//! objectives `E_i` holds what all but the first are worth.

use crate::estimators::{EstimatorError, Group};

/// The advantages of each turn of each rollout.
///
/// # Shapes
/// - `whole`, `success`: one value for each rollout; output: one for each of its turns
pub(super) fn by_turns(
    group: &Group,
    whole: &[f64],
    success: &[f64],
) -> Result<Vec<Vec<f64>>, EstimatorError> {
    let costs = group.turn_costs.as_ref().ok_or(EstimatorError::NoTurns("paretopo"))?;
    let totals = costs.iter().map(|turns| turns.iter().sum::<f64>());
    let right = totals.zip(&group.rewards).filter(|(_, reward)| reward[0] > 0.5);
    let enough = right.map(|(total, _)| total).reduce(f64::min);
    let of_rollout = |place: usize| -> Vec<f64> {
        let rest = whole[place] - success[place];
        let shares = shares(&costs[place], enough, rest < 0.0);
        // not `success + rest`, which may differ in its last bit
        let value = |share: f64| match share == 1.0 {
            true => whole[place],
            false => success[place] + share * rest,
        };
        shares.into_iter().map(value).collect()
    };
    Ok((0..costs.len()).map(of_rollout).collect())
}

/// `b_it` of a rollout's turns; `enough` is what the cheapest right rollout cost.
fn shares(costs: &[f64], enough: Option<f64>, is_blame: bool) -> Vec<f64> {
    if !is_blame {
        let is_free = |cost: &f64| f64::from(u8::from(*cost == 0.0));
        let free: Vec<f64> = costs.iter().map(is_free).collect();
        return if free.contains(&1.0) { free } else { vec![1.0; costs.len()] };
    }
    let excess = enough.map(|enough| beyond(costs, enough));
    let excess = excess.filter(|excess| excess.iter().any(|cost| *cost > 0.0));
    let blamed = excess.unwrap_or_else(|| costs.to_vec());
    let most = blamed.iter().copied().fold(0.0, f64::max);
    let share = |cost: &f64| if most > 0.0 { cost / most } else { 1.0 };
    blamed.iter().map(share).collect()
}

/// What each turn costs beyond a budget that the turns before it use up first.
fn beyond(costs: &[f64], budget: f64) -> Vec<f64> {
    let mut spent = 0.0;
    let excess = |cost: &f64| {
        spent += cost;
        (spent - budget).clamp(0.0, *cost)
    };
    costs.iter().map(excess).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_useful_first_call_is_not_blamed_for_the_later_ones() {
        // one call is enough: the second and third are too many, the answer costs nothing
        assert_eq!(shares(&[1.0, 1.0, 1.0, 0.0], Some(1.0), true), [0.0, 1.0, 1.0, 0.0]);
        // prices 2 and 0.5, 1 is enough: beyond it 1 of the first and all of the second
        assert_eq!(shares(&[2.0, 0.5, 0.0], Some(1.0), true), [1.0, 0.5, 0.0]);
        // too few calls for the run's `N_optimal`: no turn is to blame more than another
        assert_eq!(shares(&[0.0], Some(0.0), true), [1.0]);
        // nothing is known to be enough: all calls are to blame
        assert_eq!(shares(&[1.0, 1.0, 0.0], None, true), [1.0, 1.0, 0.0]);
        // what was saved is the merit of the turn that did not call
        assert_eq!(shares(&[1.0, 0.0], Some(1.0), false), [0.0, 1.0]);
        // an episode that ended in its last call
        assert_eq!(shares(&[1.0, 1.0], Some(1.0), false), [1.0, 1.0]);
    }

    #[test]
    fn turns_must_be_known() {
        let group = Group { rewards: vec![vec![1.0, 1.0]], ..Group::default() };
        assert_eq!(by_turns(&group, &[0.5], &[0.5]), Err(EstimatorError::NoTurns("paretopo")));
    }

    proptest! {
        #[test]
        fn each_turn_is_between_success_alone_and_the_whole(
            costs in proptest::collection::vec(prop_oneof![Just(0.0), 0.1f64..3.0], 1..6),
            right in any::<bool>(),
            (whole, success) in (-2.0f64..2.0, -2.0f64..2.0),
        ) {
            let group = Group {
                rewards: vec![vec![f64::from(u8::from(right)), 0.5], vec![1.0, 1.0]],
                turn_costs: Some(vec![costs, vec![1.0, 0.0]]),
                ..Group::default()
            };
            let found = by_turns(&group, &[whole, 0.0], &[success, 0.0]).unwrap();
            let (low, high) = (whole.min(success) - 1e-12, whole.max(success) + 1e-12);
            prop_assert!(found[0].iter().all(|value| (low..=high).contains(value)));
            // and some turn has all of it
            prop_assert!(found[0].contains(&whole));
        }
    }
}
