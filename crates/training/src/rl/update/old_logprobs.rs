//! What the importance ratio is taken against: the log-probabilities that the sampler recorded, or
//! those of the trainer before the update (`train.old_logprobs`).
//!
//! Where the trainer's are taken, each token can be corrected for having been drawn from the
//! sampler's distribution. With `r = exp(trainer - sampler)` of a token, or the product of these over
//! a trajectory (`train.importance_level`), its weight is
//!
//! - truncated: `min(r, cap)` (truncated importance sampling; Ionides, 2008; for rollouts of another
//!   engine Yao et al., 2025, "Your efficient RL framework secretly brings you off-policy RL training")
//! - masked: `r` where `1 / cap <= r <= cap`, else 0 (IcePop; Ling Team, 2025, arXiv 2510.18855)

use super::mismatch::{LogprobMismatch, Mismatch};
use crate::TrainConfig;
use crate::TrainingSequence;
use crate::rl::{ImportanceBeyond, ImportanceLevel};
use paretopo_settings::Positive;
use serde::{Deserialize, Serialize};

/// How tokens are corrected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correction {
    pub(super) cap: Positive,
    pub(super) level: ImportanceLevel,
    pub(super) beyond: ImportanceBeyond,
}

/// What the corrections of a step are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::rl) struct Corrected {
    /// Of the ratios.
    pub(in crate::rl) ratio: Mismatch,
    /// Of tokens that were truncated or masked.
    pub(in crate::rl) cut: Mismatch,
}

impl Correction {
    pub(super) fn of(settings: &TrainConfig) -> Option<Self> {
        let (level, beyond) = (settings.importance_level, settings.importance_beyond);
        settings.importance_cap.map(|cap| Self { cap, level, beyond })
    }

    /// The weight of a token with this logarithm of its ratio, and whether it was cut.
    fn weight(self, log_ratio: f32) -> (f32, bool) {
        let cap = self.cap.single();
        let log_cap = cap.ln();
        match self.beyond {
            // compared before it may overflow
            ImportanceBeyond::Truncate if log_ratio > log_cap => (cap, true),
            ImportanceBeyond::Mask if log_ratio.abs() > log_cap.abs() => (0.0, true),
            ImportanceBeyond::Truncate | ImportanceBeyond::Mask => (log_ratio.exp(), false),
        }
    }

    /// The weights of a sequence's tokens.
    fn weights(self, log_ratios: &[f32], corrected: &mut Corrected) -> Vec<f32> {
        let whole: f32 = log_ratios.iter().sum();
        let weigh = |own: &f32| {
            let log_ratio = match self.level {
                ImportanceLevel::Token => *own,
                ImportanceLevel::Sequence => whole,
            };
            let (weight, is_cut) = self.weight(log_ratio);
            // what f32 cannot hold is far beyond any cap
            corrected.ratio.add(f64::from(log_ratio).min(80.0).exp(), 1.0);
            corrected.cut.add(f64::from(u8::from(is_cut)), 1.0);
            weight
        };
        log_ratios.iter().map(weigh).collect()
    }
}

/// Replaces the sampler's log-probabilities by the trainer's, of which `mismatch` then knows the
/// difference, and returns each token's correction: 1 where none is asked for.
///
/// # Shapes
/// - `trainer`, output: as the sequences' `old_logprobs`
pub(super) fn recompute(
    sequences: &mut [TrainingSequence],
    trainer: Vec<Vec<f32>>,
    correction: Option<Correction>,
    mismatch: &mut LogprobMismatch,
    corrected: &mut Corrected,
) -> Vec<Vec<f32>> {
    let mut corrections = Vec::with_capacity(sequences.len());
    for (sequence, trainer) in sequences.iter_mut().zip(trainer) {
        let pairs = trainer.iter().zip(&sequence.old_logprobs);
        let log_ratios: Vec<f32> = pairs.map(|(trainer, sampler)| trainer - sampler).collect();
        for (place, log_ratio) in log_ratios.iter().enumerate() {
            mismatch.add(place, f64::from(log_ratio.abs()));
        }
        corrections.push(match correction {
            Some(correction) => correction.weights(&log_ratios, corrected),
            None => vec![1.0; log_ratios.len()],
        });
        sequence.old_logprobs = trainer;
    }
    corrections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Vec<TrainingSequence>, Vec<Vec<f32>>) {
        let sequence = |old_logprobs: Vec<f32>| TrainingSequence {
            old_logprobs,
            ..TrainingSequence::default()
        };
        (vec![sequence(vec![-1.0, -2.0]), sequence(vec![-3.0])], vec![vec![-1.5, -1.0], vec![-2.5]])
    }

    #[test]
    fn without_a_cap_the_trainers_log_probabilities_replace_the_samplers() {
        let (mut sequences, trainer) = example();
        let (mut mismatch, mut corrected) = Default::default();
        let corrections =
            recompute(&mut sequences, trainer.clone(), None, &mut mismatch, &mut corrected);
        assert_eq!(corrections, [vec![1.0, 1.0], vec![1.0]]);
        let found: Vec<_> = sequences.into_iter().map(|own| own.old_logprobs).collect();
        assert_eq!(found, trainer);
        // (|-0.5| + |1| + |0.5|) / 3
        assert!((mismatch.mean() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(corrected, Corrected::default());
    }

    #[track_caller]
    fn check(
        (cap, level, beyond): (f64, ImportanceLevel, ImportanceBeyond),
        wanted: [&[f32]; 2],
        cut: f64,
    ) {
        let (mut sequences, trainer) = example();
        let (mut mismatch, mut corrected) = Default::default();
        let correction = Some(Correction { cap: Positive::literal(cap), level, beyond });
        let found = recompute(&mut sequences, trainer, correction, &mut mismatch, &mut corrected);
        for (got, want) in found.iter().zip(wanted) {
            assert_eq!(got.len(), want.len());
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
        }
        assert!((corrected.cut.mean() - cut).abs() < 1e-12, "{corrected:?}");
    }

    #[test]
    fn a_cap_truncates_the_correction_of_each_token() {
        use ImportanceBeyond::Truncate;
        // exp(-0.5) = 0.606531; exp(1) = 2.718 and exp(0.5) = 1.649, both cut to 1.2
        let wanted = [[0.606_531, 1.2].as_slice(), &[1.2]];
        check((1.2, ImportanceLevel::Token, Truncate), wanted, 2.0 / 3.0);
        // of the sequences: exp(-0.5 + 1) = exp(0.5) = 1.648721 in both
        let wanted = [[1.2, 1.2].as_slice(), &[1.2]];
        check((1.2, ImportanceLevel::Sequence, Truncate), wanted, 1.0);
        let wanted = [[1.648_721, 1.648_721].as_slice(), &[1.648_721]];
        check((2.0, ImportanceLevel::Sequence, Truncate), wanted, 0.0);
    }

    #[test]
    fn a_mask_leaves_out_what_lies_beyond_on_both_sides() {
        use ImportanceBeyond::Mask;
        // of 0.606531, 2.718 and 1.648721 the second is beyond 2, and none below 1/2
        let wanted = [[0.606_531, 0.0].as_slice(), &[1.648_721]];
        check((2.0, ImportanceLevel::Token, Mask), wanted, 1.0 / 3.0);
        // 1 / 1.5 = 0.667: the first is beyond, too
        let wanted = [[0.0, 0.0].as_slice(), &[0.0]];
        check((1.5, ImportanceLevel::Token, Mask), wanted, 1.0);
        let wanted = [[1.648_721, 1.648_721].as_slice(), &[1.648_721]];
        check((2.0, ImportanceLevel::Sequence, Mask), wanted, 0.0);
    }
}
