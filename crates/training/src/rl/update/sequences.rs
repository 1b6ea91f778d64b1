//! A step's trajectories as sequences to learn from.

use crate::TrainingSequence;
use paretopo_algorithms::Advantages;
use paretopo_trajectory::{FinishReason, Trajectory};

/// The trajectories with their advantages and the sampler's log-probabilities, without weights. One
/// that ran out of tokens has no trained token where that is asked for (`train.mask_overlong`).
///
/// # Shapes
/// - `advantages`: one list a group, one value a trajectory, and one a turn where turns differ
pub(in crate::rl) fn sequences(
    groups: &[Vec<Trajectory>],
    advantages: &Advantages,
    mask_overlong: bool,
) -> Vec<TrainingSequence> {
    let turns = |group: usize, place: usize| Some(&advantages.turns.as_ref()?[group][place]);
    let sequence = |(trajectory, advantage, turns): (&Trajectory, f64, Option<&Vec<f64>>)| {
        let ids = trajectory.ids();
        let overlong = trajectory.finish == FinishReason::Length && mask_overlong;
        let spread = turns.filter(|_| !overlong).map(|turns| trajectory.spread_over_turns(turns));
        let mask = if overlong { vec![false; ids.len()] } else { trajectory.mask() };
        let sampled = trajectory.aligned_logprobs().into_iter().zip(&mask);
        TrainingSequence {
            old_logprobs: sampled.filter(|(_, sampled)| **sampled).map(|(one, _)| one).collect(),
            ids,
            mask,
            weights: Vec::new(),
            experts: trajectory.experts.clone(),
            // from here on in tensors
            advantage: advantage as f32,
            token_advantages: spread
                .unwrap_or_default()
                .into_iter()
                .map(|one| one as f32)
                .collect(),
        }
    };
    let rollouts = groups.iter().enumerate().flat_map(|(group, members)| {
        let member = move |(place, trajectory)| {
            (trajectory, advantages.values[group][place], turns(group, place))
        };
        members.iter().enumerate().map(member)
    });
    rollouts.map(sequence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let advantages = Advantages { values: vec![vec![0.5, -0.5]], ..Advantages::default() };
        let with = |mask_overlong| sequences(&groups, &advantages, mask_overlong);
        let whole = with(false);
        let mask = [false, false, true, true, false, true];
        for (sequence, advantage) in whole.iter().zip([0.5, -0.5]) {
            assert_eq!(sequence.ids, [1, 2, 3, 4, 5, 6]);
            assert_eq!(sequence.mask, mask);
            assert_eq!(sequence.old_logprobs, [-3.0, -4.0, -6.0]);
            assert_eq!(sequence.advantage, advantage);
            assert!(sequence.token_advantages.is_empty());
        }
        let masked = with(true);
        assert_eq!(masked[0], whole[0]);
        assert_eq!(masked[1].mask, [false; 6]);
        assert!(masked[1].old_logprobs.is_empty() && masked[1].ids == whole[1].ids);
    }

    #[test]
    fn each_sampled_id_has_the_advantage_of_its_turn() {
        let groups = vec![vec![trajectory(FinishReason::Stop), trajectory(FinishReason::Length)]];
        let advantages = Advantages {
            values: vec![vec![0.5, -0.5]],
            turns: Some(vec![vec![vec![0.25, 0.75], vec![-1.0, 0.0]]]),
            ..Advantages::default()
        };
        let found = sequences(&groups, &advantages, true);
        // ids 3 and 4 are the first turn, 6 is the second
        assert_eq!(found[0].token_advantages, [0.25, 0.25, 0.75]);
        assert_eq!((found[0].advantage, found[1].advantage), (0.5, -0.5));
        assert!(found[1].token_advantages.is_empty());
    }
}
