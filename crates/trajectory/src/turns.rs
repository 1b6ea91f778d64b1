//! The turns of an episode: what the model wrote in one go, up to a tool's output or the end.

use crate::{Author, Trajectory};
use std::ops::Range;

impl Trajectory {
    /// The segments of each turn, counted from 0: runs of segments that the model wrote. A model
    /// that thinks first has several segments in a turn.
    pub fn turns(&self) -> Vec<Range<usize>> {
        let mut turns: Vec<Range<usize>> = Vec::new();
        for (place, segment) in self.segments.iter().enumerate() {
            if segment.author != Author::Model {
                continue;
            }
            match turns.last_mut() {
                Some(turn) if turn.end == place => turn.end = place + 1,
                _ => turns.push(place..place + 1),
            }
        }
        turns
    }

    /// A number for each sampled id, in their order: that of its turn.
    ///
    /// # Shapes
    /// - `of_turns`: one for each of [`Self::turns`]; output: one for each id that [`Self::mask`]
    ///   marks
    pub fn spread_over_turns(&self, of_turns: &[f64]) -> Vec<f64> {
        let mut spread = Vec::with_capacity(self.sampled_tokens());
        for (turn, value) in self.turns().into_iter().zip(of_turns) {
            let ids: usize = self.segments[turn].iter().map(|segment| segment.ids.len()).sum();
            spread.resize(spread.len() + ids, *value);
        }
        spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Segment, TrajectoryId};

    #[test]
    fn a_turn_ends_where_a_tool_answers() {
        let sampled = |ids: &[u32]| Segment { ids: ids.to_vec(), ..Segment::sampling(0) };
        let trajectory = Trajectory {
            segments: vec![
                Segment::given(Author::Prompt, vec![1, 2]),
                Segment { thinking: true, ..sampled(&[3]) },
                sampled(&[4, 5]),
                Segment::given(Author::Tool, vec![6]),
                sampled(&[7]),
            ],
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "t", 0)
        };
        // thinking and call are one turn, the answer is another
        assert_eq!(trajectory.turns(), [1..3, 4..5]);
        assert_eq!(trajectory.spread_over_turns(&[-0.5, 0.25]), [-0.5, -0.5, -0.5, 0.25]);
        let sampled = trajectory.mask().iter().filter(|sampled| **sampled).count();
        assert_eq!(trajectory.spread_over_turns(&[0.0, 0.0]).len(), sampled);
    }
}
