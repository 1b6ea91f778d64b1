//! Advantage estimators: from the reward vectors of a step to one number per trajectory, or per
//! turn of it.
//!
//! Each estimator is a file of plain f64 code with its formula: a struct of settings that
//! implements [`Estimator`]. [`EstimatorConfig`] is one of those that are registered, chosen by
//! `type`. What an estimator remembers between steps is its own type; [`EstimatorState`] holds it
//! as plain data, which is part of the checkpoint.

pub mod call_penalty;
mod chebyshev;
mod checks;
mod ddca;
mod error;
mod gd2po;
pub mod gdpo;
mod grpo;
mod hdpo;
pub mod hv_weighting;
#[cfg(test)]
mod lacking;
mod lagrangian;
pub mod mo_grpo;
pub mod otc;
#[cfg(test)]
mod outcomes;
pub mod paretopo;
pub mod reinforce_plus_plus;
mod rloo;
mod shipped;
mod smooth_chebyshev;
mod softmin;
mod state;
mod stateless;
mod statistics;

pub use ddca::DdcaConfig;
pub use error::EstimatorError;
pub use gd2po::Gd2poConfig;
pub use hdpo::HdpoConfig;
pub use lagrangian::{LagrangianConfig, LagrangianState};
pub use paretopo::{ParetoPoConfig, ParetoPoState};
pub use shipped::{Chebyshev, DrGrpo, Grpo, Rloo, Scalarized, TaskConfig, WeightedConfig};
pub use smooth_chebyshev::SmoothChebyshevConfig;
pub use softmin::SoftminConfig;
pub use state::EstimatorState;

use crate::pareto::Point;
use checks::{check_advantages, check_rewards, check_turns};
use paretopo_settings::{Chosen, Registry, Settings};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stateless::stateless;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rollouts of one prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Identifies the prompt over the whole run.
    pub prompt: String,
    /// One reward vector per rollout, each value in [0, 1]; the first objective is task success.
    pub rewards: Vec<Point>,
    /// Tool calls per rollout, each weighed by its tool's price; `None` when unknown.
    pub calls: Option<Vec<f64>>,
    /// The same by turns: for each rollout what the calls of each of its turns count for, 0 for a
    /// turn without one. A turn is what the policy wrote up to a tool's output or the end. `None`
    /// when unknown.
    pub turn_costs: Option<Vec<Vec<f64>>>,
    /// Places of the objectives that its environment does not have. Their rewards are 1 in all of its
    /// rollouts, which orders none of them; what is compared over groups leaves them out. Empty in a
    /// run of one environment.
    pub lacks: Vec<usize>,
    /// What its episodes were asked to prefer: a weight for each objective, in place of the
    /// estimator's own. `None` where nothing was told.
    pub preference: Option<Vec<f64>>,
}

impl Group {
    /// The weights that count: those of the preference, or else the configured ones. An estimator
    /// without weights has none here, too.
    pub fn weights<'g>(&'g self, configured: &'g [f64]) -> &'g [f64] {
        match &self.preference {
            Some(own) if !configured.is_empty() => own,
            _ => configured,
        }
    }

    /// `w . r` of each rollout, with [`Self::weights`]; without any the first objective.
    fn scalars(&self, configured: &[f64]) -> Vec<f64> {
        let weights = self.weights(configured);
        self.rewards.iter().map(|reward| weighted(weights, reward)).collect()
    }
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
    /// The most that the calls of an episode can count for, in the unit of [`Group::calls`]:
    /// `rollout.max_calls` where each call has the price 1; at least 0.
    pub call_limit: f64,
}

/// One advantage per rollout, group by group, and what to log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advantages {
    /// As many values per group as it has rollouts.
    pub values: Vec<Vec<f64>>,
    /// Where turns of a rollout differ: for each rollout of each group a value for each of its
    /// turns, which its tokens are then weighed by in place of the value above. `None` where they
    /// do not.
    pub turns: Option<Vec<Vec<Vec<f64>>>>,
    /// Numbers for the metrics.
    pub diagnostics: BTreeMap<&'static str, f64>,
    /// What a person should be told once in a run, by what it is about.
    pub notes: BTreeMap<&'static str, String>,
}

/// An advantage estimator: a struct of settings, which says how rewards become advantages.
///
/// ```
/// use paretopo_algorithms::estimators::{Advantages, Estimator, EstimatorError, Group, Progress};
///
/// /// `A_i = r_i - r_best` of the first objective.
/// struct BestOfGroup;
///
/// impl Estimator for BestOfGroup {
///     type State = ();
///
///     fn advantages(
///         &self,
///         _: &mut (),
///         groups: &[Group],
///         _: Progress,
///     ) -> Result<Advantages, EstimatorError> {
///         let of_group = |group: &Group| {
///             let best = group.rewards.iter().map(|reward| reward[0]).fold(f64::MIN, f64::max);
///             group.rewards.iter().map(|reward| reward[0] - best).collect()
///         };
///         Ok(Advantages { values: groups.iter().map(of_group).collect(), ..Default::default() })
///     }
/// }
///
/// let group = Group { rewards: vec![vec![1.0], vec![0.25]], ..Group::default() };
/// let progress = Progress { step: 0, total_steps: 1, seed: 0, call_limit: 4.0 };
/// let advantages = BestOfGroup.advantages(&mut (), &[group], progress)?;
/// assert_eq!(advantages.values, [[0.0, -0.75]]);
/// # Ok::<(), EstimatorError>(())
/// ```
pub trait Estimator: Send + Sync + 'static {
    /// What it remembers between steps, `()` for nothing. It is JSON in each checkpoint, and passes
    /// through JSON at each step: numbers are finite (a NaN in an `Option` would become `None`),
    /// keys are texts.
    type State: Default + Serialize + DeserializeOwned;

    /// One value for each rollout of each group, in their order. All rewards are finite, and all
    /// vectors equally long.
    ///
    /// # Errors
    /// Says why these groups have no advantages.
    fn advantages(
        &self,
        state: &mut Self::State,
        groups: &[Group],
        progress: Progress,
    ) -> Result<Advantages, EstimatorError>;

    /// Hears the policy's own point on the validation tasks, a value per objective.
    fn observe_validation(&self, _state: &mut Self::State, _point: &[f64]) {}

    /// For how many objectives it has weights; `None` where it has none, or needs none.
    fn weight_count(&self) -> Option<usize> {
        None
    }

    /// Whether its lists have a value for each of so many objectives.
    ///
    /// # Errors
    /// Names the list that does not.
    fn fits(&self, objectives: usize) -> Result<(), String> {
        fits("weights", self.weight_count(), objectives)
    }

    /// Settings that are legal but do not do what one may expect.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether it can have come to this state by the steps that are done, with so many objectives.
    ///
    /// # Errors
    /// Names what is impossible, `` `archive` holds .. ``.
    fn check_state(
        &self,
        _state: &Self::State,
        _progress: Progress,
        _objectives: usize,
    ) -> Result<(), String> {
        Ok(())
    }
}

/// Whether a list of an estimator has a value for each of so many objectives, or is not given.
///
/// # Errors
/// Names the list.
pub fn fits(list: &str, count: Option<usize>, objectives: usize) -> Result<(), String> {
    match count {
        Some(count) if count != objectives => Err(format!(
            "`estimator.{list}`: {count} values for {objectives} objectives\nhint: give one for \
             each of `objectives`"
        )),
        _ => Ok(()),
    }
}

/// An [`Estimator`] whose state is plain data: what all estimators become.
pub trait AnyEstimator: Send + Sync + 'static {
    /// [`Estimator::advantages`].
    ///
    /// # Errors
    /// When the state is not this estimator's, or it fails.
    fn estimate(
        &self,
        state: &mut EstimatorState,
        groups: &[Group],
        progress: Progress,
    ) -> Result<Advantages, EstimatorError>;

    /// [`Estimator::observe_validation`].
    ///
    /// # Errors
    /// When the state is not this estimator's.
    fn observe(&self, state: &mut EstimatorState, point: &[f64]) -> Result<(), EstimatorError>;

    /// [`Estimator::weight_count`].
    fn weight_count(&self) -> Option<usize>;

    /// [`Estimator::fits`].
    ///
    /// # Errors
    /// Names the list that does not fit.
    fn fits(&self, objectives: usize) -> Result<(), String>;

    /// [`Estimator::warnings`].
    fn warnings(&self) -> Vec<String>;

    /// [`Estimator::check_state`].
    ///
    /// # Errors
    /// When the state is not this estimator's, or impossible.
    fn check_state(
        &self,
        state: &EstimatorState,
        progress: Progress,
        objectives: usize,
    ) -> Result<(), String>;
}

impl<E: Estimator> AnyEstimator for E {
    fn estimate(
        &self,
        state: &mut EstimatorState,
        groups: &[Group],
        progress: Progress,
    ) -> Result<Advantages, EstimatorError> {
        state.with(|own| self.advantages(own, groups, progress))?
    }

    fn observe(&self, state: &mut EstimatorState, point: &[f64]) -> Result<(), EstimatorError> {
        state.with(|own| self.observe_validation(own, point))
    }

    fn weight_count(&self) -> Option<usize> {
        Estimator::weight_count(self)
    }

    fn fits(&self, objectives: usize) -> Result<(), String> {
        Estimator::fits(self, objectives)
    }

    fn warnings(&self) -> Vec<String> {
        Estimator::warnings(self)
    }

    fn check_state(
        &self,
        state: &EstimatorState,
        progress: Progress,
        objectives: usize,
    ) -> Result<(), String> {
        let own = state.read().map_err(|error| error.to_string())?;
        Estimator::check_state(self, &own, progress, objectives)
    }
}

/// An estimator with its settings, as a configuration chooses it.
pub type EstimatorConfig = Chosen<dyn AnyEstimator>;

/// The estimators that a program knows.
pub type Estimators = Registry<dyn AnyEstimator>;

/// Adds an estimator to those that a program knows.
///
/// # Panics
/// When the name is taken or no plain word, or a setting is called `type`.
#[track_caller]
pub fn register_estimator<E: Estimator + Settings>(estimators: &mut Estimators, name: &str) {
    estimators.register::<E>(name, |estimator| Arc::new(estimator));
}

/// An estimator as a configuration would choose it, by the name under which it is registered.
///
/// # Panics
/// When TOML cannot express its settings.
pub fn estimator<E: Estimator + Settings>(name: &str, settings: E) -> EstimatorConfig {
    Chosen::literal(name, settings, |estimator| Arc::new(estimator) as Arc<dyn AnyEstimator>)
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
    check_rewards(config, groups)?;
    state.require_of(config.name())?;
    let mut advantages = config.estimate(state, groups, progress)?;
    check_advantages(config, groups, &advantages.values)?;
    check_turns(config, groups, &advantages)?;
    let is_quiet = |values: &Vec<f64>| values.iter().all(|value| value.abs() < 1e-6);
    let is_silent = |place: &usize| {
        let turns = advantages.turns.as_ref().map(|turns| &turns[*place]);
        is_quiet(&advantages.values[*place])
            && turns.is_none_or(|rollouts| rollouts.iter().all(is_quiet))
    };
    let silent = (0..groups.len()).filter(is_silent).count();
    advantages
        .diagnostics
        .insert("groups_without_signal", silent as f64 / groups.len().max(1) as f64);
    Ok(advantages)
}

/// Tells the estimator the policy's own point on the validation tasks.
///
/// # Errors
/// When the state is not this estimator's.
pub fn observe_validation(
    config: &EstimatorConfig,
    state: &mut EstimatorState,
    point: &[f64],
) -> Result<(), EstimatorError> {
    state.require_of(config.name())?;
    config.observe(state, point)
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
            ..Group::default()
        };
        let progress = Progress { step: 0, total_steps: 1, seed: 0, call_limit: 4.0 };
        advantages(
            &estimator("rloo", Rloo::default()),
            &mut EstimatorState::default(),
            &[group],
            progress,
        )
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

    /// Two groups with rewards that differ in both objectives, told these weights.
    fn told(preference: Option<[f64; 2]>) -> Vec<Group> {
        let group = |rewards: [[f64; 2]; 3]| Group {
            prompt: "p".into(),
            rewards: rewards.map(|reward| reward.to_vec()).to_vec(),
            calls: Some(vec![0.0, 1.0, 2.0]),
            turn_costs: Some(vec![vec![0.0], vec![1.0, 0.0], vec![1.0, 1.0, 0.0]]),
            lacks: Vec::new(),
            preference: preference.map(|weights| weights.to_vec()),
        };
        vec![
            group([[0.0, 1.0], [1.0, 0.6], [1.0, 0.4]]),
            group([[1.0, 1.0], [0.0, 0.6], [1.0, 0.4]]),
        ]
    }

    #[test]
    fn an_estimator_with_weights_takes_those_that_were_told() {
        let all = Estimators::in_use();
        let mut with_weights = Vec::new();
        for name in all.names() {
            let progress = Progress { step: 0, total_steps: 2, seed: 0, call_limit: 4.0 };
            let values = |config: &EstimatorConfig, groups: &[Group]| {
                let found = advantages(config, &mut EstimatorState::default(), groups, progress);
                found.unwrap().values
            };
            let choose = |settings: serde_json::Value| -> EstimatorConfig {
                serde_json::from_value(settings).unwrap()
            };
            let usual = choose(serde_json::json!({ "type": name }));
            let untold = values(&usual, &told(None));
            if usual.weight_count().is_none() {
                // without weights nothing that is told changes anything
                assert_eq!(values(&usual, &told(Some([0.9, 0.1]))), untold, "{name}");
                continue;
            }
            let set = choose(serde_json::json!({ "type": name, "weights": [0.9, 0.1] }));
            assert_eq!(
                values(&usual, &told(Some([0.9, 0.1]))),
                values(&set, &told(None)),
                "{name}"
            );
            assert_ne!(values(&set, &told(None)), untold, "{name}");
            with_weights.push(name.to_owned());
        }
        assert!(with_weights.len() >= 7, "{with_weights:?}");
        let config = estimator("scalarized", Scalarized::default());
        let three = Group { preference: Some(vec![0.2; 3]), ..told(None).remove(0) };
        let progress = Progress { step: 0, total_steps: 1, seed: 0, call_limit: 4.0 };
        let error = advantages(&config, &mut EstimatorState::default(), &[three], progress);
        assert!(error.unwrap_err().to_string().contains("a weight for each of 2 objectives"));
    }
}
