//! One trajectory with all that is known of each of its tokens.

use paretopo_chat::Tokenizer;
use paretopo_trajectory::{Author, Segment, Trajectory};
use serde_json::{Value, json};

/// Tokens of a trajectory that are shown; those behind them are counted.
const MOST_TOKENS: usize = 50_000;

/// The trajectory, its segments with the text of each token where a tokenizer is known.
pub(crate) fn shown(trajectory: &Trajectory, tokenizer: Option<&Tokenizer>) -> Value {
    let mut left = MOST_TOKENS;
    let mut segments = Vec::new();
    let turns = trajectory.turns();
    for (place, segment) in trajectory.segments.iter().enumerate() {
        let count = segment.ids.len().min(left);
        left -= count;
        let mut value = of_segment(segment, count, tokenizer);
        let turn = turns.iter().position(|turn| turn.contains(&place));
        value["advantage"] = turn.and_then(|turn| advantage(trajectory, turn)).into();
        segments.push(value);
    }
    let mut value = serde_json::to_value(trajectory).unwrap_or_default();
    value["segments"] = segments.into();
    value["left_out"] = (trajectory.ids().len() - (MOST_TOKENS - left)).into();
    value
}

/// What a turn was weighed by.
fn advantage(trajectory: &Trajectory, turn: usize) -> Option<f64> {
    match trajectory.advantages.as_slice() {
        [one] => Some(*one),
        of_turns => of_turns.get(turn).copied(),
    }
}

fn of_segment(segment: &Segment, count: usize, tokenizer: Option<&Tokenizer>) -> Value {
    let ids = &segment.ids[..count];
    let numbers = |values: &[f32]| -> Vec<Option<f32>> {
        let shown = values.iter().take(count);
        shown.map(|value| Some(*value).filter(|value| value.is_finite())).collect()
    };
    let texts = tokenizer.and_then(|tokenizer| crate::tokens::texts(tokenizer, ids));
    json!({
        "author": match segment.author {
            Author::Prompt => "prompt",
            Author::Model => "model",
            Author::Tool => "tool",
            Author::Environment => "environment",
            Author::Template => "template",
        },
        "ids": ids,
        "texts": texts,
        "thinking": segment.thinking,
        "weight_version": segment.weight_version,
        "logprobs": numbers(&segment.logprobs),
        "sampling_logprobs": numbers(&segment.sampling_logprobs),
        "trainer_logprobs": numbers(&segment.trainer_logprobs),
        "entropies": numbers(&segment.entropies),
        "time": segment.time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::TrajectoryId;

    #[test]
    fn each_turn_has_what_it_was_weighed_by() {
        let sampled = |ids: &[u32]| Segment {
            ids: ids.to_vec(),
            logprobs: vec![-1.0; ids.len()],
            sampling_logprobs: vec![f32::NAN; ids.len()],
            ..Segment::sampling(3)
        };
        let mut trajectory = Trajectory {
            segments: vec![
                Segment::given(Author::Prompt, vec![1]),
                sampled(&[2, 3]),
                Segment::given(Author::Tool, vec![4]),
                sampled(&[5]),
            ],
            advantages: vec![0.5, -0.25],
            ..Trajectory::empty(TrajectoryId::new("train", 0, 0), "t", 0)
        };
        let found = shown(&trajectory, None);
        let of_segments = |found: &Value| -> Vec<Value> {
            let segments = found["segments"].as_array().unwrap().iter();
            segments.map(|segment| segment["advantage"].clone()).collect()
        };
        assert_eq!(of_segments(&found), [json!(null), json!(0.5), json!(null), json!(-0.25)]);
        assert_eq!(found["segments"][1]["sampling_logprobs"], json!([null, null]));
        assert_eq!((&found["left_out"], &found["task_id"]), (&json!(0), &json!("t")));
        trajectory.advantages = vec![0.75];
        assert_eq!(of_segments(&shown(&trajectory, None))[3], json!(0.75));
    }
}
