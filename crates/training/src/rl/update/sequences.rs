//! A step's trajectories as sequences to learn from.

use crate::{RunConfig, TrainingSequence};
use paretopo_trajectory::{FinishReason, Trajectory};

/// The trajectories with their advantages and the sampler's log-probabilities, without weights. One
/// that ran out of tokens has no trained token where that is asked for (`train.mask_overlong`).
///
/// # Shapes
/// - `advantages`: one list a group, one value a trajectory
pub(in crate::rl) fn sequences(
    groups: &[Vec<Trajectory>],
    advantages: &[Vec<f64>],
    config: &RunConfig,
) -> Vec<TrainingSequence> {
    let rollouts = groups.iter().flatten().zip(advantages.iter().flatten());
    let sequence = |(trajectory, advantage): (&Trajectory, &f64)| {
        let ids = trajectory.ids();
        let overlong = trajectory.finish == FinishReason::Length && config.train.mask_overlong;
        let mask = if overlong { vec![false; ids.len()] } else { trajectory.mask() };
        let sampled = trajectory.aligned_logprobs().into_iter().zip(&mask);
        TrainingSequence {
            old_logprobs: sampled.filter(|(_, sampled)| **sampled).map(|(one, _)| one).collect(),
            ids,
            mask,
            weights: Vec::new(),
            // from here on in tensors
            advantage: *advantage as f32,
        }
    };
    rollouts.map(sequence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainConfig;
    use paretopo_trajectory::{Author, Segment, TrajectoryId};

    /// A prompt of two ids, two sampled ids, a tool's id and one more sampled id.
    fn trajectory(finish: FinishReason) -> Trajectory {
        let sampled = |ids: &[u32]| Segment {
            ids: ids.to_vec(),
            logprobs: ids.iter().map(|id| -(*id as f32)).collect(),
            sampling_logprobs: vec![0.0; ids.len()],
            ..Segment::sampling(0)
        };
        Trajectory {
            segments: vec![
                Segment::given(Author::Prompt, vec![1, 2]),
                sampled(&[3, 4]),
                Segment::given(Author::Tool, vec![5]),
                sampled(&[6]),
            ],
            finish,
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "t", 0)
        }
    }

    #[test]
    fn what_ran_out_of_tokens_is_masked_where_that_is_asked_for() {
        let groups = vec![vec![trajectory(FinishReason::Stop), trajectory(FinishReason::Length)]];
        let advantages = vec![vec![0.5, -0.5]];
        let with = |mask_overlong| {
            let train = TrainConfig { mask_overlong, ..TrainConfig::default() };
            sequences(&groups, &advantages, &RunConfig { train, ..RunConfig::default() })
        };
        let whole = with(false);
        let mask = [false, false, true, true, false, true];
        for (sequence, advantage) in whole.iter().zip([0.5, -0.5]) {
            assert_eq!(sequence.ids, [1, 2, 3, 4, 5, 6]);
            assert_eq!(sequence.mask, mask);
            assert_eq!(sequence.old_logprobs, [-3.0, -4.0, -6.0]);
            assert_eq!(sequence.advantage, advantage);
        }
        let masked = with(true);
        assert_eq!(masked[0], whole[0]);
        assert_eq!(masked[1].mask, [false; 6]);
        assert!(masked[1].old_logprobs.is_empty() && masked[1].ids == whole[1].ids);
    }
}
