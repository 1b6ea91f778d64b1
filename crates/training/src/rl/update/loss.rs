//! A micro-batch's loss, and what is summed up about it:
//!
//! `L = sum of weight (surrogate(rho, A) + beta KL - eta H)` over its sampled tokens, with the
//! policy loss's surrogate, a KL penalty and an entropy bonus.

use super::BadUpdate;
use super::mismatch::{LogprobMismatch, Mismatch};
use super::old_logprobs::Corrected;
use crate::{MicroBatch, TrainConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use paretopo_algorithms::losses::{kl_penalty, policy_loss};
use paretopo_models::{from_host, to_host};
use serde::{Deserialize, Serialize};

/// Sums over the tokens and updates of a step.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct UpdateSums {
    pub(in crate::rl) loss: f64,
    pub(in crate::rl) tokens: f64,
    pub(in crate::rl) clipped_low: f64,
    pub(in crate::rl) clipped_high: f64,
    pub(in crate::rl) largest_log_ratio: f64,
    pub(in crate::rl) mismatch: LogprobMismatch,
    /// Where tokens are corrected for how they were drawn.
    pub(in crate::rl) corrected: Corrected,
    /// Where experts were given.
    pub(in crate::rl) experts: Mismatch,
    pub(in crate::rl) kl: f64,
    pub(in crate::rl) entropy: f64,
    pub(in crate::rl) gradient_norm: f64,
    /// Of the last update.
    pub(in crate::rl) learning_rate: f64,
    pub(in crate::rl) updates: f64,
    /// Over all workers.
    pub(in crate::rl) forward_seconds: f64,
    /// Over all workers.
    pub(in crate::rl) backward_seconds: f64,
    pub(in crate::rl) optimizer_seconds: f64,
    /// Why each update that was left out was.
    pub(in crate::rl) skipped: Vec<String>,
}

impl UpdateSums {
    /// Adds what another micro-batch summed up.
    pub(super) fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.tokens += other.tokens;
        self.clipped_low += other.clipped_low;
        self.clipped_high += other.clipped_high;
        self.largest_log_ratio = self.largest_log_ratio.max(other.largest_log_ratio);
        self.mismatch.merge(&other.mismatch);
        self.experts.merge(&other.experts);
        self.kl += other.kl;
        self.entropy += other.entropy;
        self.forward_seconds += other.forward_seconds;
        self.backward_seconds += other.backward_seconds;
    }
}

/// What the loss is a function of, `[batch, longest]` each.
pub(super) struct Terms<'a, B: AutodiffBackend> {
    pub(super) logprobs: Tensor<B, 2>,
    /// Of the distribution that each token was drawn from, if there is a bonus.
    pub(super) entropy: Option<Tensor<B, 2>>,
    /// The reference policy's log-probabilities, row by row without padding, if there is a penalty.
    pub(super) reference: Option<&'a [&'a Vec<f32>]>,
}

/// A micro-batch's loss; `compares` says whether the mismatch of its log-probabilities counts.
///
/// # Errors
/// When a log importance ratio is out of range, or no number: then the policy is to blame, since the
/// sampler's log-probabilities are finite.
pub(super) fn loss_of<B: AutodiffBackend>(
    settings: &TrainConfig,
    batch: &MicroBatch<B>,
    terms: Terms<'_, B>,
    compares: bool,
    sums: &mut UpdateSums,
) -> Result<Tensor<B, 1>, BadUpdate> {
    let Terms { logprobs, entropy, reference } = terms;
    let sampled = batch.weights.clone().not_equal_elem(0.0).float();
    let total = |values: Tensor<B, 2>| number((values * sampled.clone()).sum());
    let mut extra = logprobs.clone().zeros_like();
    if let Some(reference) = reference {
        let reference = padded(reference, &logprobs);
        let kl = kl_penalty(settings.kl.estimator, logprobs.clone() * sampled.clone(), reference);
        sums.kl += total(kl.clone());
        extra = extra + kl * settings.kl.coefficient.single();
    }
    if let Some(entropy) = entropy {
        sums.entropy += total(entropy.clone());
        extra = extra - entropy * settings.entropy_coefficient.single();
    }
    let tokens = number(sampled.clone().sum());
    if compares {
        let difference = (logprobs.clone() - batch.old_logprobs.clone()).abs();
        let [_, longest] = difference.dims();
        let (difference, sampled) = (difference.inner(), sampled.clone().inner());
        sums.mismatch.add_rows(&to_host(difference), &to_host(sampled), longest);
    }
    let weights = batch.weights.clone();
    let result = policy_loss(
        &settings.loss,
        logprobs,
        batch.old_logprobs.clone(),
        batch.advantages.clone(),
        weights.clone(),
    );
    let loss = result.loss + (extra * weights).sum();
    sums.loss += number(loss.clone());
    sums.tokens += tokens;
    sums.clipped_low += number(result.clipped_low);
    sums.clipped_high += number(result.clipped_high);
    let log_ratio = number(result.largest_log_ratio);
    sums.largest_log_ratio = sums.largest_log_ratio.max(log_ratio);
    require_in_range(log_ratio, settings)?;
    Ok(loss)
}

fn number<B: AutodiffBackend>(value: Tensor<B, 1>) -> f64 {
    f64::from(to_host(value.inner())[0])
}

/// Rows with zeros behind them, in the shape of `like`.
fn padded<B: AutodiffBackend>(rows: &[&Vec<f32>], like: &Tensor<B, 2>) -> Tensor<B, 2> {
    let [_, longest] = like.dims();
    let values = rows
        .iter()
        .flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0.0, longest - row.len())));
    from_host(values.collect(), like.dims(), &like.device())
}

fn require_in_range(log_ratio: f64, settings: &TrainConfig) -> Result<(), BadUpdate> {
    if !log_ratio.is_finite() {
        let reason =
            format!("the policy's log-probabilities give an importance ratio of {log_ratio}");
        return Err(BadUpdate::Policy(reason));
    }
    if log_ratio > settings.largest_log_ratio.get() {
        return Err(BadUpdate::Batch(format!(
            "a log importance ratio of {log_ratio} (at most {} is allowed)",
            settings.largest_log_ratio
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainingSequence;
    use burn::backend::Autodiff;
    use paretopo_algorithms::losses::{
        KlConfig, KlEstimator, PolicyLossConfig, RatioLevel, Surrogate,
    };
    use paretopo_settings::{Coefficient, NonNegative};

    type B = Autodiff<burn_flex::Flex>;

    /// Two sampled tokens with old log-probabilities -1 and -2.
    fn batch(weights: [f32; 2], advantage: f32) -> MicroBatch<B> {
        let sequence = TrainingSequence {
            ids: vec![1, 2, 3],
            mask: vec![false, true, true],
            old_logprobs: vec![-1.0, -2.0],
            weights: weights.to_vec(),
            advantage,
            ..TrainingSequence::default()
        };
        MicroBatch::new(&[&sequence], &Default::default())
    }

    #[test]
    fn equal_advantages_of_all_turns_are_the_trajectorys_to_the_bit() {
        let sequence = |advantage: f32, token_advantages: &[f32]| TrainingSequence {
            ids: vec![1, 2, 3],
            mask: vec![false, true, true],
            old_logprobs: vec![-1.1, -2.3],
            weights: vec![0.3, 0.7],
            advantage,
            token_advantages: token_advantages.to_vec(),
            ..TrainingSequence::default()
        };
        for ratio in [RatioLevel::Token, RatioLevel::Sequence] {
            for surrogate in [Surrogate::Clipped, Surrogate::Cispo] {
                let mut settings = TrainConfig::default();
                settings.loss = PolicyLossConfig { ratio, surrogate, ..settings.loss };
                let of = |sequences: [TrainingSequence; 2]| {
                    let batch = MicroBatch::new(&sequences.each_ref(), &Default::default());
                    let logprobs = Tensor::<B, 2>::from_data(
                        [[-0.8f32, -2.9], [-1.0, -2.1]],
                        &Default::default(),
                    );
                    let logprobs = logprobs.require_grad();
                    let terms =
                        Terms { logprobs: logprobs.clone(), entropy: None, reference: None };
                    let mut sums = UpdateSums::default();
                    let loss = loss_of(&settings, &batch, terms, true, &mut sums).unwrap();
                    let gradient = logprobs.grad(&loss.backward()).unwrap();
                    let bits = |values: Vec<f32>| -> Vec<u32> {
                        values.into_iter().map(f32::to_bits).collect()
                    };
                    (bits(to_host(loss.inner())), bits(to_host(gradient)), sums.clipped_high)
                };
                let whole = of([sequence(0.7, &[]), sequence(-1.3, &[])]);
                let turns = of([sequence(0.7, &[0.7, 0.7]), sequence(-1.3, &[-1.3, -1.3])]);
                assert_eq!(whole, turns);
                // one sequence with turns beside one without
                assert_eq!(whole, of([sequence(0.7, &[0.7, 0.7]), sequence(-1.3, &[])]));
                // and turns that differ do differ
                assert_ne!(whole, of([sequence(0.7, &[0.7, 0.6]), sequence(-1.3, &[])]));
            }
        }
    }

    #[test]
    fn each_token_has_the_advantage_of_its_turn() {
        let sequence = TrainingSequence {
            ids: vec![1, 2, 3],
            mask: vec![false, true, true],
            old_logprobs: vec![-1.0, -2.0],
            weights: vec![0.5, 0.5],
            advantage: 9.0,
            token_advantages: vec![2.0, -1.0],
            ..TrainingSequence::default()
        };
        let batch = MicroBatch::new(&[&sequence], &Default::default());
        // rho = 1: -(2 - 1) / 2; -rho A w = -1 and 0.5
        let (found, gradient, _) = loss(&TrainConfig::default(), &batch, [-1.0, -2.0], None);
        close(&[found], &[-0.5]);
        close(&gradient, &[-1.0, 0.5]);
    }

    fn leaf(values: [f32; 2]) -> Tensor<B, 2> {
        Tensor::from_data([values], &Default::default()).require_grad()
    }

    #[track_caller]
    fn close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} is not {want:?}");
    }

    /// The loss with its gradient by the log-probabilities, and the sums.
    fn loss(
        settings: &TrainConfig,
        batch: &MicroBatch<B>,
        logprobs: [f32; 2],
        reference: Option<&Vec<f32>>,
    ) -> (f32, Vec<f32>, UpdateSums) {
        let logprobs = leaf(logprobs);
        let reference: Option<Vec<&Vec<f32>>> = reference.map(|row| vec![row]);
        let reference = reference.as_deref();
        let terms = Terms { logprobs: logprobs.clone(), entropy: None, reference };
        let mut sums = UpdateSums::default();
        let loss = loss_of(settings, batch, terms, true, &mut sums).unwrap();
        let gradients = loss.backward();
        (to_host(loss.inner())[0], to_host(logprobs.grad(&gradients).unwrap()), sums)
    }

    #[test]
    fn an_entropy_bonus_lowers_the_loss() {
        let settings = TrainConfig {
            entropy_coefficient: Coefficient::literal(0.1),
            ..TrainConfig::default()
        };
        let (logprobs, entropy) = (leaf([-1.0, -2.0]), leaf([1.0, 3.0]));
        let terms =
            Terms { logprobs: logprobs.clone(), entropy: Some(entropy.clone()), reference: None };
        let mut sums = UpdateSums::default();
        let loss = loss_of(&settings, &batch([0.5, 0.5], 2.0), terms, true, &mut sums).unwrap();
        let gradients = loss.backward();
        // rho = 1: -(2 + 2) / 2; bonus 0.1 * (1 + 3) / 2
        close(&to_host(loss.inner()), &[-2.2]);
        // -rho A w = -1; -eta w = -0.05
        close(&to_host(logprobs.grad(&gradients).unwrap()), &[-1.0, -1.0]);
        close(&to_host(entropy.grad(&gradients).unwrap()), &[-0.05, -0.05]);
        assert!((sums.entropy - 4.0).abs() < 1e-6 && sums.tokens == 2.0);
    }

    #[test]
    fn the_kl_penalty_of_each_estimator() {
        let reference = vec![-1.5, -2.0];
        let of = |estimator| {
            let coefficient = NonNegative::literal(0.5);
            let kl = KlConfig { coefficient, estimator };
            let settings = TrainConfig { kl, ..TrainConfig::default() };
            loss(&settings, &batch([0.5, 0.5], 0.0), [-1.0, -2.0], Some(&reference))
        };
        // d = (0.5, 0), no advantage; beta w = 0.25: the loss is 0.25 times the sum over tokens
        let (k1, gradient, sums) = of(KlEstimator::K1);
        close(&[k1, sums.kl as f32], &[0.125, 0.5]);
        // d' = 1 for both tokens
        close(&gradient, &[0.25, 0.25]);
        let (k2, gradient, sums) = of(KlEstimator::K2);
        // d^2 / 2 = 0.125; its derivative is d
        close(&[k2, sums.kl as f32], &[0.031_25, 0.125]);
        close(&gradient, &[0.125, 0.0]);
        let (k3, gradient, sums) = of(KlEstimator::K3);
        // exp(-0.5) + 0.5 - 1 = 0.106531; 1 - exp(-0.5) = 0.393469
        close(&[k3, sums.kl as f32], &[0.026_632_7, 0.106_530_7]);
        close(&gradient, &[0.098_367_3, 0.0]);
    }

    #[test]
    fn an_importance_correction_weighs_tokens() {
        // corrections exp(-0.5) = 0.606531 and 1.2 of weights 1/2, A = 2, rho = 1:
        // -2 (0.303265 + 0.6) = -1.806531
        let corrected = batch([0.303_265_3, 0.6], 2.0);
        let (found, gradient, _) = loss(&TrainConfig::default(), &corrected, [-1.0, -2.0], None);
        close(&[found], &[-1.806_530_6]);
        close(&gradient, &[-0.606_530_6, -1.2]);
    }

    #[test]
    fn the_mismatch_is_a_mean_over_sampled_tokens() {
        // |-0.9 + 1| and |-2.2 + 2|
        let (_, _, sums) =
            loss(&TrainConfig::default(), &batch([0.5, 0.5], 1.0), [-0.9, -2.2], None);
        assert!((sums.mismatch.mean() - 0.15).abs() < 1e-6, "{:?}", sums.mismatch);
        // a token of weight 0 is not sampled
        let (_, _, sums) =
            loss(&TrainConfig::default(), &batch([0.5, 0.0], 1.0), [-0.9, -2.2], None);
        assert!((sums.mismatch.mean() - 0.1).abs() < 1e-6, "{:?}", sums.mismatch);
    }

    #[test]
    fn ratios_out_of_range_are_the_batchs_fault_and_no_numbers_the_policys() {
        let settings = TrainConfig::default();
        let of = |logprob: f32| {
            let terms = Terms { logprobs: leaf([logprob, -2.0]), entropy: None, reference: None };
            let batch = batch([0.5, 0.5], 1.0);
            loss_of(&settings, &batch, terms, false, &mut UpdateSums::default()).map(drop)
        };
        assert_eq!(of(8.9), Ok(()));
        assert!(matches!(of(9.1), Err(BadUpdate::Batch(reason)) if reason.contains("at most 10")));
        assert!(matches!(of(f32::NAN), Err(BadUpdate::Policy(_))));
    }
}
