//! The formula.

use paretopo::prelude::*;
use paretopo_example_estimator::{Baseline, MovingBaseline};

#[test]
fn rewards_are_compared_with_earlier_steps() {
    let settings = MovingBaseline { weights: Weights::literal([1.0]), decay: Share::literal(0.5) };
    let group = |rewards: [f64; 2]| {
        let rewards = rewards.map(|reward| vec![reward]).to_vec();
        [Group { rewards, ..Group::default() }]
    };
    let progress = Progress { step: 0, total_steps: 2, seed: 0, call_limit: 4.0 };
    let mut state = Baseline::default();
    let mut step = |rewards| {
        let advantages = settings.advantages(&mut state, &group(rewards), progress);
        (advantages.expect("advantages").values, state.value)
    };
    // b = (1 + 0) / 2, and stays
    assert_eq!(step([1.0, 0.0]), (vec![vec![0.5, -0.5]], Some(0.5)));
    // 1 - 0.5 twice; then b = 0.5 * 0.5 + 0.5 * 1
    assert_eq!(step([1.0, 1.0]), (vec![vec![0.5, 0.5]], Some(0.75)));
    // 0 - 0.75 twice; then b = 0.5 * 0.75 + 0.5 * 0
    assert_eq!(step([0.0, 0.0]), (vec![vec![-0.75, -0.75]], Some(0.375)));
}

#[test]
fn a_state_that_rewards_cannot_make_is_refused() {
    let settings = MovingBaseline { weights: Weights::literal([1.0]), decay: Share::literal(0.5) };
    let progress = Progress { step: 1, total_steps: 2, seed: 0, call_limit: 4.0 };
    let check = |value| settings.check_state(&Baseline { value: Some(value) }, progress, 1);
    assert_eq!(check(1.0), Ok(()));
    assert!(check(1.5).is_err_and(|reason| reason.contains("`value` is 1.5")));
}
