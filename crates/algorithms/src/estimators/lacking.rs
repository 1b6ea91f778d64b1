//! What estimators make of groups whose environment lacks an objective ([`Group::lacks`]): it orders
//! none of their rollouts, and changes nothing for the groups that have it.

use super::{
    EstimatorConfig, EstimatorState, Estimators, Group, ParetoPoConfig, Progress, advantages,
    estimator,
};
use paretopo_settings::{Share, Weights};
use std::cmp::Ordering;
use toml::{Table, Value};

const PROGRESS: Progress = Progress { step: 0, total_steps: 10, seed: 1, call_limit: 4.0 };

fn group(prompt: &str, rewards: &[[f64; 3]], lacks: &[usize]) -> Group {
    let calls: Vec<f64> = (0..rewards.len()).map(|rollout| (rollout % 2) as f64).collect();
    Group {
        prompt: prompt.into(),
        rewards: rewards.iter().map(|reward| reward.to_vec()).collect(),
        turn_costs: Some(calls.iter().map(|calls| vec![*calls]).collect()),
        calls: Some(calls),
        lacks: lacks.to_vec(),
        preference: None,
    }
}

/// It has all three.
fn full() -> Group {
    let rewards = [[1.0, 0.4, 0.3], [1.0, 0.9, 0.1], [0.0, 0.4, 0.8], [0.0, 0.2, 0.2]];
    group("full", &rewards, &[])
}

/// It lacks the third; its first two rollouts are alike, and so are its calls.
fn lacking() -> Group {
    let rewards = [[1.0, 0.3, 1.0], [0.0, 0.5, 1.0], [1.0, 0.3, 1.0], [1.0, 0.7, 1.0]];
    group("lacking", &rewards, &[2])
}

/// The same without a third objective.
fn of_two(group: &Group) -> Group {
    let rewards = group.rewards.iter().map(|reward| reward[..2].to_vec()).collect();
    Group { rewards, lacks: Vec::new(), ..group.clone() }
}

/// An estimator with weights for so many objectives, where it wants some.
fn chosen(name: &str, objectives: usize) -> EstimatorConfig {
    let known = Estimators::in_use();
    let plain = known.choose(name, Table::new()).unwrap();
    if plain.weight_count().is_none() && plain.fits(objectives).is_ok() {
        return plain;
    }
    let weights = [0.5, 0.3, 0.2][..objectives].iter().copied().map(Value::from).collect();
    known.choose(name, Table::from_iter([("weights".to_owned(), Value::Array(weights))])).unwrap()
}

fn values(config: &EstimatorConfig, groups: &[Group]) -> Vec<Vec<f64>> {
    let mut state = EstimatorState::default();
    advantages(config, &mut state, groups, PROGRESS).unwrap().values
}

#[test]
fn an_objective_that_is_lacked_orders_nothing_with_any_estimator() {
    let names: Vec<String> = Estimators::in_use().names().map(str::to_owned).collect();
    assert!(names.len() >= 15, "{names:?}");
    for name in names {
        let both = values(&chosen(&name, 3), &[full(), lacking()]);
        assert!(both.iter().flatten().all(|value| value.is_finite()), "{name}: {both:?}");
        // by itself, since some standardise over the batch
        let found = &values(&chosen(&name, 3), &[lacking()])[0];
        let wanted = &values(&chosen(&name, 2), &[of_two(&lacking())])[0];
        let order = |values: &[f64], a: usize, b: usize| {
            let gap = values[a] - values[b];
            if gap.abs() < 1e-9 { Ordering::Equal } else { gap.total_cmp(&0.0) }
        };
        for a in 0..found.len() {
            for b in 0..a {
                let orders = [order(found, a, b), order(wanted, a, b)];
                assert_eq!(orders[0], orders[1], "{name}: {found:?} beside {wanted:?}");
            }
        }
    }
}

#[test]
fn a_lacked_objective_does_not_fill_the_archive_of_the_others() {
    let config =
        ParetoPoConfig { weights: Weights::literal([0.5, 0.3, 0.2]), ..ParetoPoConfig::default() };
    let config = estimator("paretopo", config);
    let [mut alone, mut beside] = [EstimatorState::default(), EstimatorState::default()];
    // the second step is measured against what the first has put into the archive
    for step in 0..2 {
        let progress = Progress { step, ..PROGRESS };
        let own = advantages(&config, &mut alone, &[full()], progress).unwrap();
        let both = advantages(&config, &mut beside, &[full(), lacking()], progress).unwrap();
        assert_eq!(own.values[0], both.values[0], "step {step}");
        for name in ["hypervolume_gain", "archive_hypervolume"] {
            assert_eq!(own.diagnostics[name], both.diagnostics[name], "{name} of step {step}");
        }
    }
}

#[test]
fn noise_of_ranks_leaves_a_lacked_objective_alone() {
    let ranked = ParetoPoConfig {
        weights: Weights::literal([0.5, 0.3, 0.2]),
        stochastic_rank: paretopo_settings::NonNegative::literal(1e-3),
        switch: super::paretopo::StageSwitch::Fraction { at: const { Share::literal(0.0) } },
        ..ParetoPoConfig::default()
    };
    // right, and the best in the second: with noise in the third another would be beside it
    let rewards = [[1.0, 0.9, 1.0], [1.0, 0.5, 1.0], [1.0, 0.1, 1.0]];
    for seed in 0..50 {
        let progress = Progress { seed, ..PROGRESS };
        let mut state = EstimatorState::default();
        let config = estimator("paretopo", ranked.clone());
        let groups = [group("p", &rewards, &[0, 2])];
        let values = advantages(&config, &mut state, &groups, progress).unwrap().values;
        assert!(values[0][0] > values[0][1] && values[0][1] > values[0][2], "{seed}: {values:?}");
    }
}
