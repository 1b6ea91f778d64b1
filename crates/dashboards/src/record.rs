//! What is told of a run: its steps, some of its trajectories, its evaluation.

use crate::conversation::{Message, Reading, Usage, messages};
use paretopo_trajectory::{CallStatus, FinishReason, Trajectory};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Characters of a message that are told; a trajectory's file has all of it.
const MOST: usize = 16_000;

/// One thing that is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// Milliseconds since 1970 at which it came to pass.
    pub(crate) milliseconds: u64,
    /// The step that it is of.
    pub(crate) step: u64,
    /// What it is.
    pub(crate) content: Content,
}

/// What is told of a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// The metrics of a step.
    Metrics(BTreeMap<String, f64>),
    /// Numbers of the evaluation at the end.
    Evaluation(BTreeMap<String, f64>),
    /// Trajectories.
    Traces(Vec<Trace>),
}

/// A trajectory, as dashboards show one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trace {
    /// Messages as OpenAI has them.
    pub(crate) messages: Vec<Value>,
    /// What it was worth, how it ended.
    pub(crate) metadata: Value,
    /// When what was written and called.
    pub(crate) spans: Vec<Value>,
}

impl Record {
    pub(crate) fn now(step: u64, content: Content) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { milliseconds: since.as_millis() as u64, step, content }
    }
}

/// The first characters of a text, and how many more there are.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => {
            format!("{}… ({} more characters)", &text[..end], text[end..].chars().count())
        }
    }
}

impl Trace {
    pub(crate) fn of(trajectory: &Trajectory, read: Reading<'_>) -> Self {
        let messages = messages(trajectory, read).into_iter();
        let messages = messages.map(|message| told(trajectory, message)).collect();
        Self { messages, metadata: metadata(trajectory), spans: spans(trajectory) }
    }
}

fn call_id(trajectory: &Trajectory, place: usize) -> String {
    format!("{}-call-{place}", trajectory.id.as_str())
}

fn told(trajectory: &Trajectory, message: Message<'_>) -> Value {
    match message {
        Message::Opening(text) => json!({ "role": "user", "content": shortened(&text) }),
        Message::Turn { thinking, text, calls } => {
            let content = shortened(&(thinking + &text));
            if calls.is_empty() {
                return json!({ "role": "assistant", "content": content });
            }
            let asked = |place: &usize| {
                let call = trajectory.calls[*place].call.as_ref();
                let name = call.map_or("unreadable", |call| call.name.as_str());
                let arguments = call.map_or(String::new(), |call| call.arguments.to_string());
                json!({
                    "id": call_id(trajectory, *place),
                    "type": "function",
                    "function": { "name": name, "arguments": shortened(&arguments) },
                })
            };
            let calls: Vec<Value> = calls.iter().map(asked).collect();
            json!({ "role": "assistant", "content": content, "tool_calls": calls })
        }
        Message::Outcome(place, record) => json!({
            "role": "tool",
            "tool_call_id": call_id(trajectory, place),
            "content": shortened(&record.outcome.text),
        }),
    }
}

fn metadata(trajectory: &Trajectory) -> Value {
    let (end, failure) = match &trajectory.finish {
        FinishReason::Stop => ("stop", None),
        FinishReason::Length => ("length", None),
        FinishReason::Deadline => ("deadline", None),
        FinishReason::Failed(reason) => ("failed", Some(shortened(reason))),
    };
    let usage = Usage::of(trajectory);
    json!({
        "trajectory": trajectory.id.as_str(),
        "task": trajectory.task_id,
        "success": trajectory.success,
        "rewards": trajectory.objectives,
        "advantages": trajectory.advantages,
        "answer": trajectory.answer.as_deref().map(shortened),
        "ended_by": end,
        "failure": failure,
        "status": if failure.is_some() { "error" } else { "ok" },
        "duration_ms": f64::from(trajectory.seconds) * 1000.0,
        "tokens_read": usage.read,
        "tokens_sampled": usage.written,
    })
}

/// What was decoded and called when, in milliseconds since the episode began.
fn spans(trajectory: &Trajectory) -> Vec<Value> {
    let root = trajectory.id.as_str();
    let length = |span: paretopo_trajectory::Span| f64::from(span.ended - span.began) * 1000.0;
    let mut spans = Vec::new();
    for (place, segment) in trajectory.segments.iter().enumerate() {
        let (Some(time), Some(version)) = (segment.time, segment.weight_version) else { continue };
        spans.push(json!({
            "id": format!("{root}-segment-{place}"),
            "name": if segment.thinking { "thinking" } else { "decoding" },
            "kind": "generation",
            "duration_ms": length(time),
            "status": "ok",
            "usage": { "output_tokens": segment.ids.len() },
            "metadata": { "began_ms": f64::from(time.began) * 1000.0, "weight_version": version },
        }));
    }
    for (place, record) in trajectory.calls.iter().enumerate() {
        let Some(time) = record.time else { continue };
        let is_good = record.outcome.status == CallStatus::Ok;
        spans.push(json!({
            "id": call_id(trajectory, place),
            "name": record.call.as_ref().map_or("unreadable", |call| call.name.as_str()),
            "kind": "tool",
            "duration_ms": length(time),
            "status": if is_good { "ok" } else { "error" },
            "input": record.call.as_ref().map(|call| shortened(&call.arguments.to_string())),
            "output": shortened(&record.outcome.text),
            "metadata": { "began_ms": f64::from(time.began) * 1000.0 },
        }));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::tests::{episode, letters};

    #[test]
    fn a_trace_has_messages_rewards_and_when_tools_were_called() {
        let mut episode = episode(0);
        episode.advantages = vec![0.5, -0.5];
        let trace = Trace::of(&episode, &letters);
        let roles: Vec<&str> =
            trace.messages.iter().map(|one| one["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "tool", "tool", "assistant"]);
        assert_eq!(trace.messages[1]["content"], "cde");
        let function = &trace.messages[1]["tool_calls"][0]["function"];
        assert_eq!(
            (&function["name"], &function["arguments"]),
            (&json!("python"), &json!("{\"code\":\"6*7\"}"))
        );
        assert_eq!(trace.messages[2]["tool_call_id"], "evaluate-0-0-call-0");
        assert_eq!(trace.metadata["rewards"], json!({ "r_task": 1.0, "r_tool": 0.5 }));
        assert_eq!(trace.metadata["duration_ms"], 1500.0);
        // of two calls with the same times; its segments have none
        assert_eq!(trace.spans.len(), 2);
        assert_eq!(
            (&trace.spans[0]["duration_ms"], &trace.spans[0]["status"]),
            (&json!(250.0), &json!("ok"))
        );
        assert_eq!(trace.spans[1]["status"], "error");
    }

    #[test]
    fn long_texts_say_what_is_missing() {
        let long = "ä".repeat(MOST + 3);
        let told = shortened(&long);
        assert!(told.ends_with("ä… (3 more characters)"), "{}", &told[told.len() - 40..]);
        assert_eq!(shortened(&"ä".repeat(MOST)).chars().count(), MOST);
    }
}
