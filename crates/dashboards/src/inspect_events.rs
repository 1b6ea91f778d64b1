//! The transcript of an episode in a log of Inspect: an event for each turn of the policy and for
//! each call, with its time. What a turn had read is a range of the sample's messages, so that a
//! long episode is not written once for each of its turns.
//!
//! Trajectories know times since their own beginning alone (`working_start`). The events' absolute
//! times are those of an episode that ended when the evaluation did.

use chrono::{DateTime, SecondsFormat};
use paretopo_trajectory::{Span, Trajectory};
use serde_json::{Value, json};

/// Of an episode.
pub(crate) struct Transcript<'a> {
    pub(crate) trajectory: &'a Trajectory,
    pub(crate) model: &'a str,
    /// Its messages, as the log has them.
    pub(crate) messages: &'a [Value],
    /// Why the last turn ended.
    pub(crate) stop_reason: &'a str,
    pub(crate) ended_unix: u64,
}

impl Transcript<'_> {
    pub(crate) fn events(&self) -> Vec<Value> {
        let last = self.messages.iter().rposition(|message| message["role"] == "assistant");
        let (mut turn, mut call) = (0, 0);
        let mut events = Vec::new();
        for (place, message) in self.messages.iter().enumerate() {
            match message["role"].as_str() {
                Some("assistant") => {
                    let is_last = Some(place) == last;
                    events.push(self.of_turn(turn, place, message, is_last));
                    turn += 1;
                }
                Some("tool") => {
                    events.push(self.of_call(call, message));
                    call += 1;
                }
                _ => {}
            }
        }
        events
    }

    fn of_turn(&self, turn: usize, place: usize, message: &Value, is_last: bool) -> Value {
        let segments = &self.trajectory.segments[self.trajectory.turns()[turn].clone()];
        let began = segments.first().and_then(|segment| segment.time).unwrap_or_default().began;
        let ended = segments.last().and_then(|segment| segment.time).unwrap_or_default().ended;
        let written: usize = segments.iter().map(|segment| segment.ids.len()).sum();
        let why = if is_last { self.stop_reason } else { "tool_calls" };
        json!({
            "uuid": format!("{}-turn-{turn}", self.trajectory.id.as_str()),
            "event": "model",
            "timestamp": self.moment(began),
            "working_start": began,
            "model": self.model,
            "input": [],
            "input_refs": [[0, place]],
            "tools": [],
            "tool_choice": "auto",
            "config": {},
            "output": {
                "model": self.model,
                "choices": [{ "message": message, "stop_reason": why }],
                "usage": { "output_tokens": written, "total_tokens": written },
                "time": ended - began,
            },
            "completed": self.moment(ended),
            "working_time": ended - began,
        })
    }

    fn of_call(&self, place: usize, message: &Value) -> Value {
        let called = |message: &&Value| message["tool_calls"].is_array();
        let asked = self.messages.iter().filter(called).flat_map(|message| {
            message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default()
        });
        let id = &message["tool_call_id"];
        let asked = asked.into_iter().find(|call| call["id"] == *id);
        let arguments = asked.map_or(json!({}), |call| call["arguments"].clone());
        let time = self.trajectory.calls.get(place).and_then(|call| call.time);
        let Span { began, ended } = time.unwrap_or_default();
        json!({
            "uuid": format!("{}-event-{place}", self.trajectory.id.as_str()),
            "event": "tool",
            "timestamp": self.moment(began),
            "working_start": began,
            "id": id,
            "function": message["function"],
            "arguments": arguments,
            "result": message["content"],
            "error": message["error"],
            "completed": self.moment(ended),
            "working_time": ended - began,
            "message_id": message["id"],
        })
    }

    /// The time at so many seconds since the beginning.
    fn moment(&self, seconds: f32) -> String {
        let since_end = (f64::from(seconds) - f64::from(self.trajectory.seconds)) * 1000.0;
        let milliseconds = self.ended_unix as f64 * 1000.0 + since_end;
        let time = DateTime::from_timestamp_millis(milliseconds as i64).unwrap_or_default();
        time.to_rfc3339_opts(SecondsFormat::Millis, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::tests::episode;

    #[test]
    fn a_turn_has_read_the_messages_before_it_and_a_call_has_its_time() {
        let episode = episode(0);
        let calls = json!([{ "id": "c0", "arguments": { "code": "6*7" } }, { "id": "c1" }]);
        let messages = [
            json!({ "role": "user" }),
            json!({ "role": "assistant", "tool_calls": calls }),
            json!({ "role": "tool", "tool_call_id": "c0", "content": "42" }),
            json!({ "role": "tool", "tool_call_id": "c1", "content": "no call" }),
            json!({ "role": "assistant" }),
        ];
        let transcript = Transcript {
            trajectory: &episode,
            model: "m",
            messages: &messages,
            stop_reason: "stop",
            ended_unix: 1_000_000,
        };
        let events = transcript.events();
        let kinds: Vec<&Value> = events.iter().map(|event| &event["event"]).collect();
        assert_eq!(kinds, ["model", "tool", "tool", "model"]);
        assert_eq!(events[3]["input_refs"], json!([[0, 4]]));
        let why = |event: &Value| event["output"]["choices"][0]["stop_reason"].clone();
        assert_eq!((why(&events[0]), why(&events[3])), (json!("tool_calls"), json!("stop")));
        assert_eq!(events[1]["arguments"], json!({ "code": "6*7" }));
        assert_eq!(
            (&events[1]["result"], &events[1]["working_time"]),
            (&json!("42"), &json!(0.25))
        );
        // the episode took 1.5 s, of which 0.25 were over when the call began
        assert_eq!(events[1]["timestamp"], "1970-01-12T13:46:38.750+00:00");
    }
}
