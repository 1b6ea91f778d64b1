//! An estimator that remembers: rewards are compared with those of earlier steps.

use paretopo::prelude::*;

/// `A_i = w . r_i - b`, where `b` is a moving average of `w . r` over the steps before. Settings
/// behind `[estimator] type = "moving_baseline"`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MovingBaseline {
    /// One weight per objective.
    pub weights: Weights,
    /// What a step leaves of the average before it.
    pub decay: Share,
}

/// What is remembered between steps, and saved with each checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Baseline {
    /// `b`; `None` before the first step.
    pub value: Option<f64>,
}

impl Estimator for MovingBaseline {
    type State = Baseline;

    fn advantages(
        &self,
        state: &mut Baseline,
        groups: &[Group],
        _: Progress,
    ) -> Result<Advantages, EstimatorError> {
        let weights = self.weights.get();
        let weigh = |reward: &Vec<f64>| reward.iter().zip(&weights).map(|(r, w)| r * w).sum();
        let of_group = |group: &Group| group.rewards.iter().map(weigh).collect();
        let mut values: Vec<Vec<f64>> = groups.iter().map(of_group).collect();
        let count = values.iter().map(Vec::len).sum::<usize>().max(1);
        let mean = values.iter().flatten().sum::<f64>() / count as f64;
        // the first step has none before it, and is its own measure
        let baseline = state.value.unwrap_or(mean);
        values.iter_mut().flatten().for_each(|value| *value -= baseline);
        let decay = self.decay.get();
        state.value = Some(decay * baseline + (1.0 - decay) * mean);
        let diagnostics = [("baseline", baseline)].into();
        Ok(Advantages { values, diagnostics, ..Advantages::default() })
    }

    fn weight_count(&self) -> Option<usize> {
        Some(self.weights.len())
    }

    fn check_state(&self, state: &Baseline, _: Progress, _: usize) -> Result<(), String> {
        let most: f64 = self.weights.get().iter().sum();
        match state.value {
            Some(value) if !(0.0..=most).contains(&value) => {
                Err(format!("`value` is {value}, but rewards are from 0 to {most}"))
            }
            _ => Ok(()),
        }
    }
}
