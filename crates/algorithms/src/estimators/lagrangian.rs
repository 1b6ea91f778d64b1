//! A budget of calls by dual ascent: GRPO on `r_task - lambda (N_call - budget)`, and after each
//! step `lambda <- max(0, lambda + rate (mean N_call - budget))`.
//!
//! Inside a group the budget cancels; it acts through lambda alone, which grows while the policy
//! spends more than the budget and shrinks while it spends less. The deviation is not divided by
//! unless asked for: in a group that is right throughout, any lambda would give the same
//! advantages.

use super::{Advantages, Estimator, EstimatorError, Group, Progress, grpo};
use paretopo_settings::NonNegative;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Accuracy under a budget of calls, whose price follows by dual ascent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LagrangianConfig {
    /// Calls an episode may make on average; with tools of different price, what they may count
    /// for.
    pub budget: NonNegative,
    /// How much lambda moves a step for each call beside the budget.
    pub rate: NonNegative,
    /// Lambda before the first step.
    pub start: NonNegative,
    /// Whether to divide by the group's standard deviation.
    pub std_normalization: bool,
}

impl Default for LagrangianConfig {
    fn default() -> Self {
        Self {
            budget: const { NonNegative::literal(0.5) },
            rate: const { NonNegative::literal(0.02) },
            start: const { NonNegative::literal(0.0) },
            std_normalization: false,
        }
    }
}

/// What it remembers between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LagrangianState {
    /// The price of a call; `None` before the first step.
    pub lambda: Option<f64>,
}

impl Estimator for LagrangianConfig {
    type State = LagrangianState;

    fn advantages(
        &self,
        state: &mut LagrangianState,
        groups: &[Group],
        _: Progress,
    ) -> Result<Advantages, EstimatorError> {
        let lambda = state.lambda.unwrap_or(self.start.get());
        let budget = self.budget.get();
        let mut scalars = Vec::with_capacity(groups.len());
        let (mut spent, mut rollouts) = (0.0, 0usize);
        for group in groups {
            let calls = group.calls.as_ref().ok_or(EstimatorError::NoCalls("lagrangian"))?;
            spent += calls.iter().sum::<f64>();
            rollouts += calls.len();
            let reward = |(reward, calls): (&Vec<f64>, &f64)| reward[0] - lambda * (calls - budget);
            scalars.push(group.rewards.iter().zip(calls).map(reward).collect());
        }
        if rollouts > 0 {
            let excess = spent / rollouts as f64 - budget;
            state.lambda = Some((lambda + self.rate.get() * excess).max(0.0));
        }
        let mut advantages = grpo::from_scalars(scalars.into_iter(), self.std_normalization);
        advantages.diagnostics.insert("lambda", lambda);
        Ok(advantages)
    }

    fn check_state(&self, state: &LagrangianState, _: Progress, _: usize) -> Result<(), String> {
        match state.lambda {
            Some(lambda) if !(lambda.is_finite() && lambda >= 0.0) => {
                Err(format!("`lambda` is {lambda:?}, but a price is never below 0"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Progress = Progress { step: 0, total_steps: 1, seed: 0, call_limit: 4.0 };

    fn group(calls: [f64; 2]) -> Group {
        Group {
            rewards: vec![vec![1.0], vec![1.0]],
            calls: Some(calls.to_vec()),
            ..Group::default()
        }
    }

    #[test]
    fn the_price_rises_above_the_budget_and_falls_below_it() {
        let config = LagrangianConfig { rate: NonNegative::literal(0.1), ..Default::default() };
        let mut state = LagrangianState::default();
        let mut step = |calls| {
            let found = config.advantages(&mut state, &[group(calls)], START).unwrap();
            (found.values[0].clone(), state.lambda.unwrap())
        };
        // lambda 0: equal rewards; mean 2 calls, budget 0.5: lambda = 0.1 * 1.5 = 0.15
        let (values, lambda) = step([1.0, 3.0]);
        assert!(values == [0.0, 0.0] && (lambda - 0.15).abs() < 1e-12);
        // r = 1 - 0.15 (-0.5, 1.5) = (1.075, 0.775): +-0.15; mean 1: lambda = 0.15 + 0.05
        let (values, lambda) = step([0.0, 2.0]);
        assert!((values[0] - 0.15).abs() < 1e-12 && (values[1] + 0.15).abs() < 1e-12);
        assert!((lambda - 0.2).abs() < 1e-12);
        // without calls 0.05 a step less, and never below 0
        let lambdas = [(); 5].map(|()| step([0.0, 0.0]).1);
        let want = [0.15, 0.1, 0.05, 0.0, 0.0];
        assert!(lambdas.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{lambdas:?}");
    }

    #[test]
    fn a_price_that_cannot_be_is_refused_and_calls_are_needed() {
        let config = LagrangianConfig::default();
        let check = |lambda| config.check_state(&LagrangianState { lambda }, START, 2);
        assert_eq!((check(None), check(Some(0.25))), (Ok(()), Ok(())));
        assert!(check(Some(-0.5)).unwrap_err().starts_with("`lambda` is -0.5"));
        let unknown = Group { calls: None, ..group([0.0, 0.0]) };
        let found = config.advantages(&mut LagrangianState::default(), &[unknown], START);
        assert_eq!(found, Err(EstimatorError::NoCalls("lagrangian")));
    }
}
