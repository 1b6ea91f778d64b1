//! The policy gradient loss with clipped importance ratios.
//!
//! With `rho = exp(log pi - log pi_old)` per token (GRPO) or `exp(mean over the sequence)` (GSPO,
//! arXiv 2507.18071):
//! - clipped: `-min(rho A, clip(rho, 1 - low, 1 + high) A)` (PPO; unequal bounds are DAPO's
//!   clip-higher, arXiv 2503.14476)
//! - CISPO: `-stop_gradient(min(rho, 1 + high)) A log pi` (arXiv 2506.13585): no token loses its
//!   gradient

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use paretopo_settings::{ClipHigh, ClipLow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one ratio is taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RatioLevel {
    /// Each token has its own.
    #[default]
    Token,
    /// The geometric mean over the sequence's sampled tokens (GSPO).
    Sequence,
}

/// The surrogate objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Surrogate {
    /// PPO's clipped minimum.
    #[default]
    Clipped,
    /// CISPO's clipped weight on the log-probability.
    Cispo,
}

/// Settings of the policy loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyLossConfig {
    /// Ratios below `1 - clip_low` are clipped.
    pub clip_low: ClipLow,
    /// Ratios above `1 + clip_high` are clipped.
    pub clip_high: ClipHigh,
    /// What one ratio is taken over.
    pub ratio: RatioLevel,
    /// The surrogate objective.
    pub surrogate: Surrogate,
}

impl Default for PolicyLossConfig {
    fn default() -> Self {
        Self {
            clip_low: const { ClipLow::literal(0.2) },
            clip_high: const { ClipHigh::literal(0.2) },
            ratio: RatioLevel::Token,
            surrogate: Surrogate::Clipped,
        }
    }
}

/// The loss and what to log about it. All numbers but the loss are detached sums over sampled
/// tokens.
#[derive(Clone, Debug)]
pub struct PolicyLoss<B: Backend> {
    /// `sum_t weight_t loss_t`, `[1]`.
    pub loss: Tensor<B, 1>,
    /// Tokens whose ratio was clipped from below, `[1]`.
    pub clipped_low: Tensor<B, 1>,
    /// Tokens whose ratio was clipped from above, `[1]`.
    pub clipped_high: Tensor<B, 1>,
    /// The largest `|log rho|`, `[1]`.
    pub largest_log_ratio: Tensor<B, 1>,
}

/// The loss of a (micro-)batch.
///
/// # Shapes
/// - `logprobs` (with gradient), `old_logprobs`, `weights`: `[batch, time]`; `weights` come from
///   [`super::token_weights`], are 0 outside sampled tokens and may hold an importance correction
/// - `advantages`: `[batch, 1]`, or `[batch, time]` where turns of a sequence differ
pub fn policy_loss<B: Backend>(
    config: &PolicyLossConfig,
    logprobs: Tensor<B, 2>,
    old_logprobs: Tensor<B, 2>,
    advantages: Tensor<B, 2>,
    weights: Tensor<B, 2>,
) -> PolicyLoss<B> {
    let sampled = weights.clone().not_equal_elem(0.0).float();
    let log_ratio = (logprobs.clone() - old_logprobs) * sampled.clone();
    let log_ratio = match config.ratio {
        RatioLevel::Token => log_ratio,
        RatioLevel::Sequence => {
            let lengths = sampled.clone().sum_dim(1).clamp_min(1.0);
            (log_ratio.sum_dim(1) / lengths).expand(logprobs.dims())
        }
    };
    let ratio = log_ratio.clone().exp();
    let (low, high) = (1.0 - config.clip_low.single(), 1.0 + config.clip_high.single());
    let token_loss = match config.surrogate {
        Surrogate::Clipped => {
            let clipped = ratio.clone().clamp(low, high) * advantages.clone();
            (ratio.clone() * advantages.clone()).min_pair(clipped).neg()
        }
        Surrogate::Cispo => {
            (ratio.clone().clamp_max(high).detach() * advantages.clone() * logprobs).neg()
        }
    };
    let count = |condition: Tensor<B, 2>| (condition * sampled.clone()).detach().sum();
    let falls = advantages.clone().lower_elem(0.0).float();
    let rises = advantages.greater_elem(0.0).float();
    PolicyLoss {
        loss: (token_loss * weights).sum(),
        clipped_low: count(ratio.clone().lower_elem(low).float() * falls),
        clipped_high: count(ratio.greater_elem(high).float() * rises),
        largest_log_ratio: (log_ratio * sampled).abs().detach().max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;
    use burn::tensor::Tolerance;

    type B = Autodiff<burn_flex::Flex>;

    /// Ratios 1.1, 1.5 and 0.5 for a positive advantage, the third token masked; weights 1/2.
    fn example(config: &PolicyLossConfig, advantage: f32) -> (f32, Vec<f32>, PolicyLoss<B>) {
        let device = Default::default();
        let old = [[-1.0f32, -1.0, -1.0]];
        let new = [[-1.0 + 1.1f32.ln(), -1.0 + 1.5f32.ln(), -1.0 + 0.5f32.ln()]];
        let new = Tensor::<B, 2>::from_data(new, &device).require_grad();
        let weights = Tensor::from_data([[0.5, 0.5, 0.0]], &device);
        let result = policy_loss(
            config,
            new.clone(),
            Tensor::from_data(old, &device),
            Tensor::from_data([[advantage]], &device),
            weights,
        );
        let gradient = new.grad(&result.loss.backward()).unwrap().into_data().to_vec().unwrap();
        (result.loss.clone().into_scalar(), gradient, result)
    }

    fn close(got: &[f32], want: &[f32]) {
        assert!(
            got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5),
            "{got:?} is not {want:?}"
        );
    }

    #[test]
    fn clipped_loss_and_gradient() {
        // A = 2: min(1.1 * 2, 1.1 * 2) = 2.2; min(1.5 * 2, 1.2 * 2) = 2.4, clipped; loss -(2.2 +
        // 2.4) / 2
        let (loss, gradient, result) = example(&PolicyLossConfig::default(), 2.0);
        // d loss / d log pi = -rho A / 2 = -1.1 where not clipped, 0 where clipped or masked
        close(&[loss], &[-2.3]);
        close(&gradient, &[-1.1, 0.0, 0.0]);
        result
            .clipped_high
            .into_data()
            .assert_approx_eq::<f32>(&[1.0f32].into(), Tolerance::absolute(1e-6));
        result
            .clipped_low
            .into_data()
            .assert_approx_eq::<f32>(&[0.0f32].into(), Tolerance::absolute(1e-6));
        // A = -2: the minimum is the unclipped -3 for the second: loss (2.2 + 3) / 2, gradient
        // (1.1, 1.5)
        let (loss, gradient, _) = example(&PolicyLossConfig::default(), -2.0);
        close(&[loss], &[2.6]);
        close(&gradient, &[1.1, 1.5, 0.0]);
    }

    #[test]
    fn clip_higher_keeps_the_gradient() {
        let (loss, gradient, _) = example(
            &PolicyLossConfig { clip_high: ClipHigh::literal(0.6), ..PolicyLossConfig::default() },
            2.0,
        );
        close(&[loss], &[-2.6]);
        close(&gradient, &[-1.1, -1.5, 0.0]);
    }

    #[test]
    fn sequence_ratio_is_the_geometric_mean() {
        // log rho = (ln 1.1 + ln 1.5) / 2 = 0.250388, rho = 1.284523 for both, clipped at 1.2 for A
        // = 2: loss -2.4
        let config =
            PolicyLossConfig { ratio: RatioLevel::Sequence, ..PolicyLossConfig::default() };
        close(&[example(&config, 2.0).0], &[-2.4]);
        // A = -2, not clipped: loss 2 * 1.284523; each token's gradient: sum_t w_t rho |A| * 1/2 =
        // 1.284523
        let (loss, gradient, _) = example(&config, -2.0);
        close(&[loss], &[2.569_047]);
        close(&gradient, &[1.284_523, 1.284_523, 0.0]);
    }

    #[test]
    fn cispo_clips_the_weight_only() {
        let (loss, gradient, _) = example(
            &PolicyLossConfig { surrogate: Surrogate::Cispo, ..PolicyLossConfig::default() },
            2.0,
        );
        // weights min(rho, 1.2) = (1.1, 1.2): -(1.1 * 2 * -0.904690 + 1.2 * 2 * -0.594535) / 2 =
        // 1.708600
        close(&[loss], &[1.708_6]);
        close(&gradient, &[-1.1, -1.2, 0.0]);
    }
}
