//! Estimators of the KL divergence to a reference policy from one sample a token (Schulman, 2020,
//! "Approximating KL divergence").

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use paretopo_settings::NonNegative;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// With `d = log pi - log pi_ref`:
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `d`: unbiased, may be negative.
    K1,
    /// `d^2 / 2`: biased, its gradient is that of the KL.
    K2,
    /// `exp(-d) + d - 1`: unbiased, never negative (GRPO's).
    #[default]
    K3,
}

/// The KL penalty in the loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KlConfig {
    /// Its factor; at 0 no reference model is held.
    pub coefficient: NonNegative,
    /// The estimator.
    pub estimator: KlEstimator,
}

impl Default for KlConfig {
    fn default() -> Self {
        Self { coefficient: const { NonNegative::literal(0.0) }, estimator: KlEstimator::default() }
    }
}

/// The estimate for each token.
///
/// # Shapes
/// - `logprobs`, `reference_logprobs`, output: `[batch, time]`
pub fn kl_penalty<B: Backend>(
    estimator: KlEstimator,
    logprobs: Tensor<B, 2>,
    reference_logprobs: Tensor<B, 2>,
) -> Tensor<B, 2> {
    let difference = logprobs - reference_logprobs;
    match estimator {
        KlEstimator::K1 => difference,
        KlEstimator::K2 => difference.square() * 0.5,
        KlEstimator::K3 => difference.clone().neg().exp() + difference - 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;

    #[test]
    fn three_estimators_by_hand() {
        type B = burn_flex::Flex;
        let device = Default::default();
        let kl = |estimator| {
            kl_penalty::<B>(
                estimator,
                Tensor::from_data([[-1.0, -2.0]], &device),
                Tensor::from_data([[-1.5, -2.0]], &device),
            )
            .into_data()
        };
        // d = (0.5, 0): d; d^2 / 2 = 0.125; exp(-0.5) + 0.5 - 1 = 0.106531
        kl(KlEstimator::K1)
            .assert_approx_eq::<f32>(&[[0.5f32, 0.0]].into(), Tolerance::absolute(1e-6));
        kl(KlEstimator::K2)
            .assert_approx_eq::<f32>(&[[0.125f32, 0.0]].into(), Tolerance::absolute(1e-6));
        kl(KlEstimator::K3)
            .assert_approx_eq::<f32>(&[[0.106_530_7f32, 0.0]].into(), Tolerance::absolute(1e-6));
    }
}
