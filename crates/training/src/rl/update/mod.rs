//! All updates of a step: epochs over its sequences, in minibatches, in micro-batches.
//!
//! A minibatch's loss is `sum of weight * correction * loss` over its sampled tokens. The weights
//! come from [`token_weights`] for the minibatch as a whole, so it may be cut into micro-batches
//! anywhere.

mod loss;
mod mismatch;
mod old_logprobs;
mod sequences;

pub(crate) use loss::UpdateSums;
pub(super) use sequences::sequences;

use crate::learning::arrangement::micro_batches;
use crate::learning::logprobs::{Scoring, in_order, logprobs_of_groups};
use crate::ranks::{Ranks, trained_parameters};
use crate::rl::{BadNumbers, OldLogprobs};
use crate::seeds::{Purpose, derive_seed};
use crate::{
    AdamW, GradientSum, MicroBatch, RunConfig, TrainConfig, TrainingSequence, accumulate_gradient,
};
use burn::tensor::backend::AutodiffBackend;
use loss::{Terms, loss_of};
use old_logprobs::{Correction, recompute};
use paretopo_agent::Workers;
use paretopo_algorithms::losses::token_weights;
use paretopo_collective::CollectiveError;
use paretopo_models::{ModelFamily, Placement};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Why a step's update is no good.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum BadUpdate {
    /// A loss, gradient or ratio.
    Batch(String),
    /// A weight or moment after it, or the log-probabilities before it, which nothing mends.
    Policy(String),
    /// Ranks do not work together any more.
    Ranks(String),
}

impl From<CollectiveError> for BadUpdate {
    fn from(error: CollectiveError) -> Self {
        Self::Ranks(error.to_string())
    }
}

/// The updates of one step.
pub(crate) struct Update<'a, F: ModelFamily, B: AutodiffBackend> {
    pub(crate) config: &'a RunConfig,
    /// What the KL penalty is taken against.
    pub(crate) reference: Option<&'a F::Model<B::InnerBackend>>,
    pub(crate) workers: &'a Workers,
    pub(crate) place: &'a Placement<B>,
    pub(crate) step: u64,
    /// Who computes it; all of them run the same update of the same sequences.
    pub(crate) ranks: Ranks<'a>,
}

/// What an update learns from.
struct Minibatch<'a> {
    members: &'a [TrainingSequence],
    /// The reference policy's log-probabilities of each member.
    references: Option<Vec<&'a Vec<f32>>>,
    /// For adapters that drop features.
    seed: u64,
    /// Whether the weights are those that sampled, so that sampler and trainer may be compared.
    is_first: bool,
}

impl<F: ModelFamily, B: AutodiffBackend> Update<'_, F, B> {
    /// All epochs and minibatches.
    ///
    /// # Errors
    /// Says which number went wrong.
    pub(crate) fn run(
        &self,
        mut model: F::Model<B>,
        optimizer: &mut AdamW<B>,
        mut sequences: Vec<TrainingSequence>,
    ) -> Result<(F::Model<B>, UpdateSums), BadUpdate> {
        let settings = &self.config.train;
        let ones = |sequence: &TrainingSequence| vec![1.0; sequence.old_logprobs.len()];
        let mut corrections: Vec<Vec<f32>> = sequences.iter().map(ones).collect();
        let mut sums = UpdateSums::default();
        let recomputes = settings.old_logprobs == OldLogprobs::Recompute;
        let place = self.place.inner();
        let logprobs =
            |model: &F::Model<B::InnerBackend>, sequences: &[TrainingSequence], replay| {
                let precision = self.config.precision.into();
                let scoring = Scoring { tokens: settings.micro_batch_tokens, precision, replay };
                let groups = self.ranks.own_of(micro_batches(sequences, scoring.tokens));
                let work = (self.workers, &place);
                let own = logprobs_of_groups(model, sequences, groups, scoring, work);
                Ok::<_, BadUpdate>(in_order(sequences.len(), self.ranks.share_rows(own)?))
            };
        if recomputes {
            let trainer = logprobs(&F::valid(&model), &sequences, true)?;
            corrections = recompute(
                &mut sequences,
                trainer,
                Correction::of(settings),
                &mut sums.mismatch,
                &mut sums.corrected,
            );
        }
        // another policy, whose experts are its own
        let references =
            self.reference.map(|model| logprobs(model, &sequences, false)).transpose()?;
        let mut dropped = 0;
        for chosen in minibatches(sequences.len(), self.config, self.step) {
            let (places, members) = members(&sequences, &corrections, &chosen, settings);
            let references = references
                .as_ref()
                .map(|references| places.iter().map(|place| &references[*place]).collect());
            let job = Minibatch {
                members: &members,
                references,
                seed: derive_seed(self.config.seed, self.step, Purpose::Dropout(dropped)),
                is_first: sums.updates == 0.0,
            };
            dropped += members.len() as u64;
            let (gradient, norm, part) = match self.gradient_of(&model, &job) {
                Ok(found) => found,
                Err(BadUpdate::Batch(reason)) if settings.bad_numbers == BadNumbers::Skip => {
                    sums.skipped.push(reason);
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            sums.add(&part);
            model = self.apply(model, (gradient, norm), optimizer, &mut sums)?;
        }
        Ok((model, sums))
    }

    /// One update of the weights, by a gradient and its norm.
    ///
    /// # Errors
    /// When a weight or moment is no number after it.
    fn apply(
        &self,
        model: F::Model<B>,
        (gradient, norm): (GradientSum<B>, f64),
        optimizer: &mut AdamW<B>,
        sums: &mut UpdateSums,
    ) -> Result<F::Model<B>, BadUpdate> {
        sums.gradient_norm += norm;
        sums.updates += 1.0;
        sums.learning_rate = optimizer.learning_rate();
        let started = Instant::now();
        let model = optimizer.update(model, gradient, norm);
        let fault = optimizer.find_not_finite(&model);
        let fault = fault.map(|found| format!("after update {}, {found}", optimizer.updates()));
        if let Some(reason) = self.ranks.first_fault(self.config, fault)? {
            return Err(BadUpdate::Policy(reason));
        }
        let model = self.ranks.share_updated(self.config, model)?;
        sums.optimizer_seconds += started.elapsed().as_secs_f64();
        Ok(model)
    }

    /// The gradient of a minibatch, its norm, and the sums of its losses.
    ///
    /// # Errors
    /// Says which number went wrong.
    fn gradient_of(
        &self,
        model: &F::Model<B>,
        minibatch: &Minibatch<'_>,
    ) -> Result<(GradientSum<B>, f64, UpdateSums), BadUpdate> {
        let members = minibatch.members;
        let groups = micro_batches(members, self.config.train.micro_batch_tokens);
        let groups: Vec<(usize, Vec<usize>)> = groups.into_iter().enumerate().collect();
        let work =
            |model: &F::Model<B>, (index, group): (usize, Vec<usize>), sum: &mut GradientSum<B>| {
                self.accumulate(model, minibatch, (index, &group), sum)
            };
        let parts = self.config.train.parts(trained_parameters(model));
        let how = (self.workers, parts);
        let (gradient, parts) = self.ranks.total_gradient(how, model, groups, work)?;
        let mut sums = UpdateSums::default();
        parts.iter().for_each(|part| sums.add(part));
        let norm = gradient.norm();
        if norm.is_finite() && sums.loss.is_finite() {
            return Ok((gradient, norm, sums));
        }
        Err(BadUpdate::Batch(gradient.in_words(model, sums.loss, norm)))
    }

    /// Adds the gradient of a micro-batch, given by its number and the places of its members.
    fn accumulate(
        &self,
        model: &F::Model<B>,
        minibatch: &Minibatch<'_>,
        (index, group): (usize, &[usize]),
        sum: &mut GradientSum<B>,
    ) -> Result<UpdateSums, BadUpdate> {
        let settings = &self.config.train;
        let started = Instant::now();
        let mut sums = UpdateSums::default();
        let rows: Vec<&TrainingSequence> =
            group.iter().map(|place| &minibatch.members[*place]).collect();
        let seed = derive_seed(minibatch.seed, index as u64, Purpose::MicroBatch);
        let batch = MicroBatch::<B>::new(&rows, &self.place.device)
            .in_precision(self.config.precision)
            .with_dropout(seed);
        let reference: Option<Vec<&Vec<f32>>> = minibatch
            .references
            .as_ref()
            .map(|references| group.iter().map(|place| references[*place]).collect());
        let with_entropy = settings.entropy_coefficient.get() != 0.0;
        accumulate_gradient::<F, B, _>(
            model,
            &batch,
            settings.memory,
            with_entropy,
            sum,
            |logprobs, entropy| {
                let terms = Terms { logprobs, entropy, reference: reference.as_deref() };
                // else the sequences no longer have the sampler's
                let compares =
                    minibatch.is_first && settings.old_logprobs != OldLogprobs::Recompute;
                let loss = loss_of(settings, &batch, terms, compares, &mut sums)?;
                sums.forward_seconds = started.elapsed().as_secs_f64();
                Ok::<_, BadUpdate>(loss)
            },
        )?;
        if minibatch.is_first {
            let (compared, different) = batch.expert_differences();
            sums.experts.add(different as f64, compared as f64);
        }
        sums.backward_seconds = started.elapsed().as_secs_f64() - sums.forward_seconds;
        Ok(sums)
    }
}

/// The places of the sequences of each minibatch, epoch by epoch, each epoch in an order of its
/// own.
fn minibatches(sequences: usize, config: &RunConfig, step: u64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences).collect();
    let mut found = Vec::new();
    for epoch in 0..config.train.epochs as u64 {
        let seed = derive_seed(config.seed, step, Purpose::EpochOrder(epoch));
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let size = sequences.div_ceil(config.train.minibatches).max(1);
        found.extend(order.chunks(size).map(<[usize]>::to_vec));
    }
    found
}

/// The sequences of a minibatch that pull at the policy, with their places and their tokens'
/// weights.
///
/// Without an advantage nothing pulls at a sequence, unless a penalty or bonus does; its tokens
/// count in the others' weights all the same.
fn members(
    sequences: &[TrainingSequence],
    corrections: &[Vec<f32>],
    chosen: &[usize],
    settings: &TrainConfig,
) -> (Vec<usize>, Vec<TrainingSequence>) {
    let masks: Vec<&[bool]> =
        chosen.iter().map(|place| sequences[*place].mask.as_slice()).collect();
    let weights = token_weights(settings.aggregation, &masks);
    let mut found = (Vec::new(), Vec::new());
    for (place, weights) in chosen.iter().zip(weights) {
        let sequence = &sequences[*place];
        if sequence.is_silent() && !settings.pulls_everywhere() {
            continue;
        }
        let sampled = weights.iter().zip(&sequence.mask).filter(|(_, sampled)| **sampled);
        let weights = sampled
            .zip(&corrections[*place])
            .map(|((weight, _), correction)| weight * correction)
            .collect();
        found.0.push(*place);
        found.1.push(TrainingSequence { weights, ..sequence.clone() });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::logprobs::logprobs_of;
    use crate::{LearningRateSchedule, OptimizerConfig};
    use burn::backend::Autodiff;
    use paretopo_models::{AutoFamily, AutoModel, load_folder, named_parameters};
    use paretopo_settings::{Coefficient, LearningRate};
    use std::path::Path;

    type B = Autodiff<burn_flex::Flex>;

    fn sequence(ids: &[u32], advantage: f32) -> TrainingSequence {
        TrainingSequence { advantage, ..TrainingSequence::whole(ids.to_vec()) }
    }

    fn config(train: TrainConfig) -> RunConfig {
        let optimizer = OptimizerConfig {
            learning_rate: LearningRate::literal(0.01),
            warmup_updates: 0,
            schedule: LearningRateSchedule::Constant {},
            ..OptimizerConfig::default()
        };
        RunConfig { train: TrainConfig { optimizer, ..train }, ..RunConfig::default() }
    }

    fn place() -> Placement<B> {
        Placement::plain(Default::default())
    }

    fn model() -> AutoModel<B> {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models/qwen3");
        load_folder::<AutoFamily, B>(&folder, &place()).unwrap().1
    }

    fn values(model: &AutoModel<B>) -> Vec<f32> {
        named_parameters(model).into_iter().flat_map(|tensor| tensor.values).collect()
    }

    /// Four sequences whose old log-probabilities are the model's, moved by `offset`.
    fn sequences_of(
        model: &AutoModel<B>,
        config: &RunConfig,
        offset: f32,
    ) -> Vec<TrainingSequence> {
        let mut sequences = vec![
            sequence(&[1, 5, 9, 2], 1.0),
            sequence(&[3, 4], -1.0),
            sequence(&[7, 7, 8], 0.5),
            sequence(&[2, 30, 31, 6, 5], -0.5),
        ];
        let plain = AutoFamily::valid(model);
        let workers = Workers::default();
        let precision = config.precision.into();
        let scoring = Scoring { tokens: config.train.micro_batch_tokens, precision, replay: true };
        let place = place().inner();
        let logprobs = logprobs_of(&plain, &sequences, scoring, &workers, &place);
        for (sequence, logprobs) in sequences.iter_mut().zip(logprobs) {
            sequence.old_logprobs = logprobs.iter().map(|logprob| logprob + offset).collect();
        }
        sequences
    }

    fn run(
        config: &RunConfig,
        reference: Option<&AutoModel<burn_flex::Flex>>,
        sequences: Vec<TrainingSequence>,
    ) -> (AutoModel<B>, UpdateSums) {
        let update = Update::<AutoFamily, B> {
            config,
            reference,
            workers: &Workers::default(),
            place: &place(),
            step: 3,
            ranks: Ranks::alone(),
        };
        let mut optimizer = AdamW::new(config.train.optimizer, 100);
        update.run(model(), &mut optimizer, sequences).unwrap()
    }

    #[test]
    fn each_epoch_is_cut_into_minibatches_of_an_order_of_its_own() {
        let train = TrainConfig { epochs: 3, minibatches: 2, ..TrainConfig::default() };
        let found = minibatches(5, &config(train), 0);
        // ceil(5 / 2) = 3 and the 2 that are left
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 3, 2, 3, 2]);
        let epochs: Vec<Vec<usize>> = found.chunks(2).map(<[Vec<usize>]>::concat).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
    }

    #[test]
    fn a_silent_group_counts_in_the_weights_and_pulls_at_nothing() {
        // 1 + 2 + 2 trained tokens, each of weight 1/5; the second sequence has no advantage
        let sequences =
            [sequence(&[1, 2], 1.0), sequence(&[1, 2, 3], 0.0), sequence(&[4, 5, 6], -1.0)];
        let corrections = [vec![1.0], vec![1.0, 1.0], vec![0.5, 2.0]];
        let settings = TrainConfig::default();
        let (places, found) = members(&sequences, &corrections, &[2, 1, 0], &settings);
        assert_eq!(places, [2, 0]);
        assert_eq!(found[0].weights, [0.1, 0.4]);
        assert_eq!(found[1].weights, [0.2]);
        // a bonus pulls at all
        let entropy_coefficient = Coefficient::literal(0.1);
        let settings = TrainConfig { entropy_coefficient, ..settings };
        let (places, found) = members(&sequences, &corrections, &[2, 1, 0], &settings);
        assert_eq!(places, [2, 1, 0]);
        assert_eq!(found[1].weights, [0.2, 0.2]);
    }

    #[test]
    fn epochs_and_minibatches_are_one_update_after_the_other() {
        let train = TrainConfig { epochs: 2, minibatches: 2, ..TrainConfig::default() };
        let config = config(train);
        let sequences = sequences_of(&model(), &config, 0.0);
        let (found, sums) = run(&config, None, sequences.clone());
        assert_eq!(sums.updates, 4.0);
        // the same by hand: the gradient of each minibatch as one batch, then the optimiser
        let mut wanted = model();
        let mut optimizer = AdamW::new(config.train.optimizer, 100);
        let ones: Vec<Vec<f32>> =
            sequences.iter().map(|own| vec![1.0; own.old_logprobs.len()]).collect();
        for chosen in minibatches(4, &config, 3) {
            let (_, members) = members(&sequences, &ones, &chosen, &config.train);
            let rows: Vec<&TrainingSequence> = members.iter().collect();
            let batch = MicroBatch::<B>::new(&rows, &Default::default());
            let mut sum = GradientSum::default();
            let (memory, none) = (config.train.memory, false);
            accumulate_gradient::<AutoFamily, B, _>(
                &wanted,
                &batch,
                memory,
                none,
                &mut sum,
                |logprobs, _| {
                    let terms = Terms { logprobs, entropy: None, reference: None };
                    loss_of(&config.train, &batch, terms, false, &mut UpdateSums::default())
                },
            )
            .unwrap();
            let norm = sum.norm();
            wanted = optimizer.update(wanted, sum, norm);
        }
        let (found, wanted, before) = (values(&found), values(&wanted), values(&model()));
        let apart = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()))
        };
        assert!(apart(&found, &wanted) < 1e-5, "{}", apart(&found, &wanted));
        assert!(apart(&found, &before) > 1e-3);
    }

    #[test]
    fn the_mismatch_is_that_of_sampler_and_trainer_whatever_the_ratio_is_taken_against() {
        for (old_logprobs, largest) in [(OldLogprobs::Sampler, 0.1), (OldLogprobs::Recompute, 0.0)]
        {
            let config = config(TrainConfig { old_logprobs, ..TrainConfig::default() });
            let (_, sums) = run(&config, None, sequences_of(&model(), &config, 0.1));
            assert!((sums.mismatch.mean() - 0.1).abs() < 1e-5, "{:?}", sums.mismatch);
            assert!((sums.largest_log_ratio - largest).abs() < 1e-5, "{old_logprobs:?}");
        }
    }

    #[test]
    fn a_reference_that_is_the_policy_costs_nothing_at_first_and_holds_it_back_then() {
        let mut train = TrainConfig { epochs: 2, ..TrainConfig::default() };
        train.kl.coefficient = paretopo_settings::NonNegative::literal(0.5);
        let once = config(TrainConfig { epochs: 1, ..train.clone() });
        let reference = AutoFamily::valid(&model());
        let sequences = sequences_of(&model(), &once, 0.0);
        let (_, sums) = run(&once, Some(&reference), sequences.clone());
        assert!(sums.kl.abs() < 1e-6, "{}", sums.kl);
        let (_, sums) = run(&config(train), Some(&reference), sequences);
        assert!(sums.kl > 1e-6, "{}", sums.kl);
    }
}
