//! Random numbers without a state to save: every use derives its own seed.

use paretopo_trajectory::well_mixed;

/// What random numbers are for. No two purposes share a number, whatever their indices
/// (`no_two_purposes_collide`); those of usual runs are as they always were, so that a run repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// What adapters drop in a micro-batch; from the minibatch's own seed, steps count micro-batches.
    MicroBatch,
    /// The order of training tasks; steps count passes over them.
    TaskOrder,
    /// What an estimator draws.
    Estimator,
    /// What the policy is asked to prefer; steps count drawn prompts.
    Preference,
    /// Which environment prompts come from; one for a run.
    Environments,
    /// The order of the training tasks of the so-many-th of several environments; steps count passes
    /// over them.
    PartOrder(u64),
    /// The order of sequences in an epoch of a step.
    EpochOrder(u64),
    /// What adapters drop in the minibatch that begins with the so-many-th sequence of a step.
    Dropout(u64),
    /// The tokens of the so-many-th episode; steps count drawn prompts.
    Episode(u64),
    /// The tokens of a task's so-many-th episode of an evaluation; steps count tasks.
    Evaluation(u64),
}

/// Indices that have a number among the small ones; all others lie behind [`FAR`].
const EPOCHS: u64 = 100;
const DROPPED: u64 = 800;
const EPISODES: u64 = 0xE7A1_0000 - 1000;
const EVALUATED: u64 = 0xE7A1_0000;
/// Between the regions of far indices.
const FAR: u64 = 1 << 56;

impl Purpose {
    fn number(self) -> u64 {
        let far = |region: u64, index: u64| region * FAR + index % FAR;
        match self {
            Self::MicroBatch => 0,
            Self::TaskOrder => 1,
            Self::Estimator => 2,
            Self::Preference => 3,
            Self::Environments => 4,
            Self::PartOrder(part) => far(5, part),
            Self::EpochOrder(epoch) if epoch < EPOCHS => 100 + epoch,
            Self::EpochOrder(epoch) => far(1, epoch),
            Self::Dropout(index) if index < DROPPED => 200 + index,
            Self::Dropout(index) => far(2, index),
            Self::Episode(index) if index < EPISODES => 1000 + index,
            Self::Episode(index) => far(3, index),
            Self::Evaluation(sample) if sample < EVALUATED => EVALUATED + sample,
            Self::Evaluation(sample) => far(4, sample),
        }
    }
}

/// A seed for one purpose of one step (or task), well mixed: neighbouring arguments give unrelated
/// seeds.
pub(crate) fn derive_seed(seed: u64, step: u64, purpose: Purpose) -> u64 {
    let number = seed
        .wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(purpose.number().wrapping_mul(0xbf58_476d_1ce4_e5b9));
    well_mixed(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn no_two_purposes_collide() {
        let indexed: [fn(u64) -> Purpose; 5] = [
            Purpose::EpochOrder,
            Purpose::Dropout,
            Purpose::Episode,
            Purpose::Evaluation,
            Purpose::PartOrder,
        ];
        let edges = [EPOCHS, DROPPED, EPISODES, EVALUATED, FAR - 5000];
        let indices: Vec<u64> =
            (0..5000).chain(edges.iter().flat_map(|edge| edge - 50..edge + 50)).collect();
        let mut known: HashMap<u64, Purpose> = HashMap::new();
        let all = indexed.iter().flat_map(|purpose| indices.iter().map(|index| purpose(*index)));
        for purpose in all.chain([
            Purpose::MicroBatch,
            Purpose::TaskOrder,
            Purpose::Environments,
            Purpose::Estimator,
            Purpose::Preference,
        ]) {
            let earlier = known.insert(purpose.number(), purpose);
            assert!(earlier.is_none_or(|earlier| earlier == purpose), "{purpose:?} {earlier:?}");
        }
    }

    #[test]
    fn the_seeds_of_usual_runs_stay() {
        // as they were before purposes had names: 1, 2, 100, 200, 1000 and 0xE7A1_0000 on
        let numbers = [
            Purpose::MicroBatch,
            Purpose::TaskOrder,
            Purpose::Estimator,
            Purpose::EpochOrder(3),
            Purpose::Dropout(95),
            Purpose::Episode(95),
            Purpose::Evaluation(1),
        ]
        .map(Purpose::number);
        assert_eq!(numbers, [0, 1, 2, 103, 295, 1095, 0xE7A1_0001]);
    }
}
