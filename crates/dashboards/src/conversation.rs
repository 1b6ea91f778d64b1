//! A trajectory as messages, which other people's programs show instead of tokens.
//!
//! A message's text is what was read or written, token by token, with the marks of its chat format.
//! What the template put around turns is left out, and so is what a model read of a tool's output:
//! the outcome itself stands there, whole.

use paretopo_trajectory::{Author, CallRecord, Segment, TokenId, Trajectory};
use std::ops::Range;

/// What ids say.
pub(crate) type Reading<'a> = &'a dyn Fn(&[TokenId]) -> String;

/// A message of an episode.
#[derive(Debug, PartialEq)]
pub(crate) enum Message<'t> {
    /// What the policy was given to begin with.
    Opening(String),
    /// What it wrote in one go.
    Turn {
        /// What it marked as thinking.
        thinking: String,
        /// The rest.
        text: String,
        /// The calls that it asked for, by their place among all calls.
        calls: Vec<usize>,
    },
    /// What came of a call, by its place.
    Outcome(usize, &'t CallRecord),
}

/// The messages of an episode, in order.
pub(crate) fn messages<'t>(trajectory: &'t Trajectory, read: Reading<'_>) -> Vec<Message<'t>> {
    let turns = trajectory.turns();
    let first = turns.first().map_or(trajectory.segments.len(), |turn| turn.start);
    let opening: Vec<TokenId> = trajectory.segments[..first]
        .iter()
        .flat_map(|segment| segment.ids.iter().copied())
        .collect();
    let mut found = vec![Message::Opening(read(&opening))];
    for (place, turn) in turns.iter().enumerate() {
        // what was recorded before calls knew their turn belongs to the last one
        let is_last = place + 1 == turns.len();
        let calls: Vec<usize> = (0..trajectory.calls.len())
            .filter(|call| match trajectory.calls[*call].segment {
                Some(segment) => turn.contains(&segment),
                None => is_last,
            })
            .collect();
        found.push(Message::Turn {
            thinking: written(trajectory, turn, true, read),
            text: written(trajectory, turn, false, read),
            calls: calls.clone(),
        });
        let outcome = |call: usize| Message::Outcome(call, &trajectory.calls[call]);
        found.extend(calls.into_iter().map(outcome));
    }
    found
}

fn written(
    trajectory: &Trajectory,
    turn: &Range<usize>,
    thinking: bool,
    read: Reading<'_>,
) -> String {
    let segments = trajectory.segments[turn.clone()].iter();
    let own = segments.filter(|segment| segment.thinking == thinking);
    let ids: Vec<TokenId> = own.flat_map(|segment| segment.ids.iter().copied()).collect();
    read(&ids)
}

/// Ids of an episode: those that the policy read, those that it wrote, and of the latter those that
/// it marked as thinking.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) read: usize,
    pub(crate) written: usize,
    pub(crate) thinking: usize,
}

impl Usage {
    pub(crate) fn of(trajectory: &Trajectory) -> Self {
        let count = |takes: &dyn Fn(&Segment) -> bool| -> usize {
            let segments = trajectory.segments.iter().filter(|segment| takes(segment));
            segments.map(|segment| segment.ids.len()).sum()
        };
        Self {
            read: count(&|segment| segment.author != Author::Model),
            written: count(&|segment| segment.author == Author::Model),
            thinking: count(&|segment| segment.author == Author::Model && segment.thinking),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            written: self.written + other.written,
            thinking: self.thinking + other.thinking,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use paretopo_trajectory::{CallStatus, Span, ToolCall, ToolOutcome, TrajectoryId};

    /// Ids as letters: 1 is `a`.
    pub(crate) fn letters(ids: &[TokenId]) -> String {
        ids.iter().map(|id| char::from(b'`' + *id as u8)).collect()
    }

    pub(crate) fn sampled(ids: &[u32]) -> Segment {
        Segment {
            ids: ids.to_vec(),
            logprobs: vec![-1.0; ids.len()],
            sampling_logprobs: vec![-1.0; ids.len()],
            ..Segment::sampling(3)
        }
    }

    /// Thinks, makes two calls in one turn of which the second cannot be read, then answers.
    pub(crate) fn episode(sample: usize) -> Trajectory {
        let arguments = serde_json::json!({ "code": "6*7" });
        let call = ToolCall { name: "python".into(), arguments };
        let asked = |call, outcome| CallRecord {
            segment: Some(2),
            time: Some(Span { began: 0.25, ended: 0.5 }),
            ..CallRecord::new(call, outcome)
        };
        let refused = ToolOutcome::new(CallStatus::Error, "no call", 0.0);
        Trajectory {
            segments: vec![
                Segment::given(Author::Prompt, vec![1, 2]),
                Segment { thinking: true, ..sampled(&[3]) },
                sampled(&[4, 5]),
                Segment::given(Author::Template, vec![6]),
                Segment::given(Author::Tool, vec![7]),
                sampled(&[8]),
            ],
            calls: vec![
                asked(Some(call), ToolOutcome::new(CallStatus::Ok, "42", 0.1)),
                asked(None, refused.with_fault(paretopo_trajectory::Fault::Call)),
            ],
            success: Some(sample == 0),
            objectives: [("r_task", 1.0), ("r_tool", 0.5)].into_iter().collect(),
            answer: Some("42".into()),
            response: "cdefgh".into(),
            seconds: 1.5,
            ..Trajectory::empty(TrajectoryId::new("evaluate", 0, sample), "sum-1", sample)
        }
    }

    #[test]
    fn turns_calls_and_outcomes_are_messages_in_their_order() {
        let episode = episode(0);
        let found = messages(&episode, &letters);
        let turn = |thinking: &str, text: &str, calls: Vec<usize>| Message::Turn {
            thinking: thinking.into(),
            text: text.into(),
            calls,
        };
        let expected = vec![
            Message::Opening("ab".into()),
            turn("c", "de", vec![0, 1]),
            Message::Outcome(0, &episode.calls[0]),
            Message::Outcome(1, &episode.calls[1]),
            turn("", "h", vec![]),
        ];
        assert_eq!(found, expected);
        // the prompt's two, the template's and the tool's; three of four are not thinking
        assert_eq!(Usage::of(&episode), Usage { read: 4, written: 4, thinking: 1 });
    }

    #[test]
    fn an_episode_in_which_nothing_was_sampled_is_its_opening() {
        let mut episode = episode(0);
        episode.segments.truncate(1);
        episode.calls.clear();
        assert_eq!(messages(&episode, &letters), [Message::Opening("ab".into())]);
        // a call that does not know its turn is of the last one
        let mut old = super::tests::episode(0);
        old.calls[1].segment = None;
        let found = messages(&old, &letters);
        assert!(matches!(found[4], Message::Outcome(1, _)), "{found:?}");
    }
}
