//! What the importance ratio is taken against: the log-probabilities that the sampler recorded, or
//! those of the trainer before the update (`train.old_logprobs`).
//!
//! Where the trainer's are taken, `min(exp(trainer - sampler), cap)` corrects each token for having
//! been drawn from the sampler's distribution (truncated importance sampling; Ionides, 2008).

use super::loss::Mismatch;
use crate::TrainingSequence;
use paretopo_settings::Positive;

/// Replaces the sampler's log-probabilities by the trainer's, of which `mismatch` then knows the
/// difference, and returns each token's correction: 1 without a cap.
///
/// # Shapes
/// - `trainer`, output: as the sequences' `old_logprobs`
pub(super) fn recompute(
    sequences: &mut [TrainingSequence],
    trainer: Vec<Vec<f32>>,
    cap: Option<Positive>,
    mismatch: &mut Mismatch,
) -> Vec<Vec<f32>> {
    let mut corrections = Vec::with_capacity(sequences.len());
    for (sequence, trainer) in sequences.iter_mut().zip(trainer) {
        let pairs = || trainer.iter().zip(&sequence.old_logprobs);
        for (trainer, sampler) in pairs() {
            mismatch.add(f64::from((trainer - sampler).abs()), 1.0);
        }
        let correction = |(trainer, sampler): (&f32, &f32)| match cap {
            Some(cap) => (trainer - sampler).exp().min(cap.single()),
            None => 1.0,
        };
        corrections.push(pairs().map(correction).collect());
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
        let mut mismatch = Mismatch::default();
        let corrections = recompute(&mut sequences, trainer.clone(), None, &mut mismatch);
        assert_eq!(corrections, [vec![1.0, 1.0], vec![1.0]]);
        let found: Vec<_> = sequences.into_iter().map(|own| own.old_logprobs).collect();
        assert_eq!(found, trainer);
        // (|-0.5| + |1| + |0.5|) / 3
        assert!((mismatch.mean() - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_cap_bounds_the_correction_from_above() {
        let (mut sequences, trainer) = example();
        let cap = Some(Positive::literal(1.2));
        let corrections = recompute(&mut sequences, trainer, cap, &mut Mismatch::default());
        // exp(-0.5) = 0.606531; exp(1) = 2.718 and exp(0.5) = 1.649, both cut to 1.2
        let want = [[0.606_531, 1.2].as_slice(), &[1.2]];
        for (got, want) in corrections.iter().zip(want) {
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
        }
    }
}
