//! An evaluation as a log of Inspect (`inspect_ai`, MIT, UK AI Security Institute), which `inspect
//! view` opens: version 2 of its log format, in its JSON form. Fields are those of its classes
//! `EvalLog`, `EvalSpec`, `EvalSample`, `ChatMessage`, `ModelOutput` and `Score` (version 0.3.285).
//!
//! A sample is a task, an epoch one of its episodes. The order of the log's own keys is part of the
//! format: its reader stops at `samples`, which come last. What is left out: rewards that are no
//! number, which JSON does not have.

use crate::conversation::{Message, Reading, Usage, messages};
use crate::inspect_events::Transcript;
use chrono::{DateTime, SecondsFormat};
use paretopo_durable::{Failure, fill_atomically};
use paretopo_records::Evaluation;
use paretopo_trajectory::{
    CallRecord, CallStatus, Fault, FinishReason, ObjectiveValues, Task, Trajectory,
};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The version of the log format.
const VERSION: u64 = 2;
/// Bytes that are written at once.
const PART: usize = 1 << 20;
/// Half the width of a 95% interval in standard errors, as evaluations have it.
const HALF_WIDTH: f64 = 1.96;

/// An evaluation, as far as its log needs it.
#[derive(Debug)]
pub struct InspectLog<'a> {
    /// What was evaluated on, e.g. the environment's type.
    pub task: &'a str,
    /// The policy's name.
    pub model: &'a str,
    /// Which evaluation this is: a text that no other one has.
    pub identity: &'a str,
    /// When it came to its end, in seconds since 1970.
    pub ended_unix: u64,
    /// All settings.
    pub config: &'a Value,
    /// Version and commit of this program.
    pub program: [&'a str; 2],
    /// What was found.
    pub evaluation: &'a Evaluation,
    /// What was asked, in order.
    pub tasks: &'a [Task],
    /// All episodes.
    pub trajectories: &'a [Trajectory],
}

impl InspectLog<'_> {
    /// Where the log belongs in a folder: a name as Inspect gives it, by which its reader knows it.
    pub fn place(&self, folder: &Path) -> PathBuf {
        let [created, task] =
            [self.created(), self.task.to_owned()].map(|part| part.replace([':', '/', '_'], "-"));
        folder.join(format!("{created}_{task}_{}.json", self.short_id()))
    }

    /// Writes the log; `read` says what ids mean.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(
        &self,
        path: &Path,
        read: &dyn Fn(&[paretopo_trajectory::TokenId]) -> String,
    ) -> Result<(), Failure> {
        let head = self.head().to_string();
        let head = head.strip_suffix('}').expect("an object ends with its brace");
        let tasks: HashMap<&str, &Task> =
            self.tasks.iter().map(|task| (task.id.as_str(), task)).collect();
        fill_atomically(path, |file| {
            let mut part = format!("{head},\"samples\":[");
            for (place, trajectory) in self.trajectories.iter().enumerate() {
                if place > 0 {
                    part.push(',');
                }
                let task = tasks.get(trajectory.task_id.as_str()).copied();
                part.push_str(&self.sample(trajectory, task, read).to_string());
                if part.len() >= PART {
                    file.put(part.as_bytes())?;
                    part.clear();
                }
            }
            part.push_str("]}\n");
            file.put(part.as_bytes())
        })
    }

    fn created(&self) -> String {
        time(self.ended_unix)
    }

    /// 22 characters that say which evaluation it is (FNV-1a of 128 bits).
    fn short_id(&self) -> String {
        let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
        for byte in self.identity.bytes() {
            hash =
                (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        format!("{hash:032x}").chars().take(22).collect()
    }

    /// Everything but the samples.
    fn head(&self) -> Value {
        json!({
            "version": VERSION,
            "status": "success",
            "eval": self.spec(),
            "plan": {
                "name": "plan",
                "steps": [{
                    "solver": "paretopo/rollout",
                    "params": self.config["rollout"],
                    "params_passed": self.config["rollout"],
                }],
                "config": self.generate_config(),
            },
            "results": self.results(),
            "stats": self.stats(),
        })
    }

    fn spec(&self) -> Value {
        let id = self.short_id();
        let ids: Vec<&str> = self.tasks.iter().map(|task| task.id.as_str()).collect();
        let scorers = self.score_names().into_iter().map(|name| json!({ "name": name }));
        json!({
            "eval_id": id,
            "run_id": id,
            "task_id": id,
            "created": self.created(),
            "task": self.task,
            "task_version": 0,
            "task_args": self.config["environment"],
            "task_args_passed": self.config["environment"],
            "solver": "paretopo/rollout",
            "dataset": {
                "name": self.task,
                "samples": self.tasks.len(),
                "sample_ids": ids,
                "shuffled": false,
            },
            "model": self.model,
            "model_generate_config": self.generate_config(),
            "model_args": self.config["policy"],
            "config": {
                "epochs": self.epochs(),
                "token_limit": self.config["rollout"]["max_sampled_tokens"],
                "token_limit_type": "output",
                "time_limit": self.config["rollout"]["episode_seconds"].as_f64().map(f64::ceil)
                    .map(|seconds| seconds as u64),
            },
            "packages": { "paretopo": self.program[0] },
            "metadata": {
                "commit": self.program[1],
                "seed": self.config["seed"],
                "calls": self.evaluation.calls,
                "objectives": self.evaluation.point,
            },
            "scorers": scorers.collect::<Vec<Value>>(),
        })
    }

    fn generate_config(&self) -> Value {
        let sampling = &self.config["evaluation"]["sampling"];
        let top_k = sampling["top_k"].as_u64().filter(|k| *k > 0);
        json!({
            "temperature": sampling["temperature"],
            "top_p": sampling["top_p"],
            "top_k": top_k,
            "seed": self.config["seed"].as_u64(),
        })
    }

    /// Episodes of a task.
    fn epochs(&self) -> usize {
        self.trajectories.iter().map(|one| one.sample + 1).max().unwrap_or(1)
    }

    /// `success`, then the objectives.
    fn score_names(&self) -> Vec<String> {
        let objectives = self.evaluation.point.names().iter().cloned();
        std::iter::once("success".to_owned()).chain(objectives).collect()
    }

    fn results(&self) -> Value {
        let total = self.trajectories.len();
        let failed = |one: &&Trajectory| matches!(one.finish, FinishReason::Failed(_));
        let completed = total - self.trajectories.iter().filter(failed).count();
        let scored = |has: &dyn Fn(&Trajectory) -> bool| {
            self.trajectories.iter().filter(|one| has(one)).count()
        };
        let of = |name: &str, kind: &str, mean: f64, interval: f64, scored: usize| {
            let metric = |name: &str, value: f64| json!({ "name": name, "value": value });
            json!({
                "name": name,
                "scorer": name,
                "scored_samples": scored,
                "unscored_samples": total - scored,
                "metrics": {
                    kind: metric(kind, mean),
                    "stderr": metric("stderr", interval / HALF_WIDTH),
                },
            })
        };
        let evaluation = self.evaluation;
        let right = scored(&|one| one.success.is_some());
        let mut scores =
            vec![of("success", "accuracy", evaluation.em, evaluation.em_interval, right)];
        for (name, mean) in evaluation.point.iter().filter(|(_, mean)| mean.is_finite()) {
            let interval = evaluation.point_interval.get(name).filter(|half| half.is_finite());
            let count = scored(&|one| one.objectives.get(name).is_some_and(f64::is_finite));
            scores.push(of(name, "mean", mean, interval.unwrap_or(0.0), count));
        }
        json!({ "total_samples": total, "completed_samples": completed, "scores": scores })
    }

    fn stats(&self) -> Value {
        let usage = self.trajectories.iter().map(Usage::of).fold(Usage::default(), Usage::plus);
        let seconds: f64 = self.evaluation.phases.values().sum();
        let started = self.ended_unix.saturating_sub(seconds.ceil() as u64);
        json!({
            "started_at": time(started),
            "completed_at": self.created(),
            "model_usage": { self.model: counted(usage) },
        })
    }

    fn sample(&self, trajectory: &Trajectory, task: Option<&Task>, read: Reading<'_>) -> Value {
        let usage = Usage::of(trajectory);
        let messages = self.messages(trajectory, read);
        let last = messages.iter().rev().find(|message| message["role"] == "assistant").cloned();
        let message = last.unwrap_or_else(|| json!({ "role": "assistant", "content": "" }));
        let (limit, error) = (self.limit(trajectory), failed(trajectory));
        let transcript = Transcript {
            trajectory,
            model: self.model,
            messages: &messages,
            stop_reason: self.stop_reason(trajectory),
            ended_unix: self.ended_unix,
        };
        let events = transcript.events();
        json!({
            "id": trajectory.task_id,
            "epoch": trajectory.sample + 1,
            "input": task.map_or("", |task| task.question.as_str()),
            "target": task.map(|task| task.answers.clone()).unwrap_or_default(),
            "messages": messages,
            "output": {
                "model": self.model,
                "choices": [{ "message": message, "stop_reason": self.stop_reason(trajectory) }],
                "completion": trajectory.response,
                "usage": counted(usage),
                "time": finite(trajectory.seconds.into()),
            },
            "scores": scores(trajectory),
            "metadata": metadata(trajectory, task),
            "events": events,
            "events_data": { "messages": messages, "calls": [] },
            "model_usage": { self.model: counted(usage) },
            "total_time": finite(trajectory.seconds.into()),
            "working_time": finite(trajectory.seconds.into()),
            "uuid": format!("{}-{}", self.short_id(), trajectory.id.as_str()),
            "error": error,
            "limit": limit,
            "turn_count": trajectory.turns().len(),
            "token_limit": self.config["rollout"]["max_sampled_tokens"],
            "token_limit_type": "output",
            "token_limit_usage": usage.written,
        })
    }

    fn messages(&self, trajectory: &Trajectory, read: Reading<'_>) -> Vec<Value> {
        let name = |place: usize| format!("{}-message-{place}", trajectory.id.as_str());
        let found = messages(trajectory, read).into_iter().enumerate();
        found.map(|(place, message)| self.message(trajectory, name(place), message)).collect()
    }

    fn message(&self, trajectory: &Trajectory, id: String, message: Message<'_>) -> Value {
        match message {
            Message::Opening(text) => {
                json!({ "id": id, "role": "user", "content": text, "source": "input" })
            }
            Message::Turn { thinking, text, calls } => {
                let content = match thinking.is_empty() {
                    true => json!(text),
                    false => json!([
                        { "type": "reasoning", "reasoning": thinking },
                        { "type": "text", "text": text },
                    ]),
                };
                let asked = |place: &usize| asked(trajectory, *place);
                let calls: Option<Vec<Value>> =
                    (!calls.is_empty()).then(|| calls.iter().map(asked).collect());
                json!({
                    "id": id,
                    "role": "assistant",
                    "content": content,
                    "source": "generate",
                    "model": self.model,
                    "tool_calls": calls,
                })
            }
            Message::Outcome(place, record) => json!({
                "id": id,
                "role": "tool",
                "content": record.outcome.text,
                "tool_call_id": call_id(trajectory, place),
                "function": function(record),
                "error": tool_error(record),
                "metadata": {
                    "seconds": finite(record.outcome.seconds.into()),
                    "truncated": record.outcome.truncated,
                },
            }),
        }
    }

    /// Whether the budget of sampled tokens was used up, not the model's context.
    fn is_out_of_tokens(&self, trajectory: &Trajectory) -> bool {
        let most = self.config["rollout"]["max_sampled_tokens"].as_u64();
        most.is_some_and(|most| trajectory.sampled_tokens() as u64 >= most)
    }

    fn stop_reason(&self, trajectory: &Trajectory) -> &'static str {
        match trajectory.finish {
            FinishReason::Stop => "stop",
            FinishReason::Length if self.is_out_of_tokens(trajectory) => "max_tokens",
            FinishReason::Length => "model_length",
            FinishReason::Deadline | FinishReason::Failed(_) => "unknown",
        }
    }

    /// The budget that ended the episode.
    fn limit(&self, trajectory: &Trajectory) -> Option<Value> {
        let rollout = &self.config["rollout"];
        match trajectory.finish {
            FinishReason::Length if self.is_out_of_tokens(trajectory) => {
                Some(json!({ "type": "token", "limit": rollout["max_sampled_tokens"] }))
            }
            FinishReason::Length => {
                Some(json!({ "type": "context", "limit": trajectory.ids().len() }))
            }
            FinishReason::Deadline => {
                Some(json!({ "type": "time", "limit": rollout["episode_seconds"] }))
            }
            FinishReason::Stop | FinishReason::Failed(_) => None,
        }
    }
}

/// `2026-11-27T12:30:00+00:00`.
fn time(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|unix| DateTime::from_timestamp(unix, 0));
    time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// `null` where it is no number.
fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

fn counted(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.read,
        "output_tokens": usage.written,
        "total_tokens": usage.read + usage.written,
        "reasoning_tokens": usage.thinking,
    })
}

fn scores(trajectory: &Trajectory) -> Map<String, Value> {
    let mut scores = Map::new();
    if let Some(success) = trajectory.success {
        let value = if success { "C" } else { "I" };
        scores.insert("success".into(), json!({ "value": value, "answer": trajectory.answer }));
    }
    for (name, value) in trajectory.objectives.iter().filter(|(_, value)| value.is_finite()) {
        scores.insert(name.to_owned(), json!({ "value": value }));
    }
    scores
}

fn metadata(trajectory: &Trajectory, task: Option<&Task>) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("trajectory".into(), json!(trajectory.id.as_str()));
    metadata.insert("calls".into(), json!(trajectory.call_count()));
    if let Some(level) = task.and_then(|task| task.level) {
        metadata.insert("level".into(), json!(level));
    }
    if let Some(needed) = task.and_then(|task| task.needed_calls) {
        metadata.insert("needed_calls".into(), json!(needed));
    }
    if trajectory.tool_free {
        metadata.insert("tool_free".into(), json!(true));
    }
    if trajectory.preference != ObjectiveValues::default() {
        metadata.insert("preference".into(), json!(trajectory.preference));
    }
    metadata
}

/// What something outside of the policy has ended.
fn failed(trajectory: &Trajectory) -> Option<Value> {
    match &trajectory.finish {
        FinishReason::Failed(reason) => {
            Some(json!({ "message": reason, "traceback": "", "traceback_ansi": "" }))
        }
        _ => None,
    }
}

fn call_id(trajectory: &Trajectory, place: usize) -> String {
    format!("{}-call-{place}", trajectory.id.as_str())
}

/// The name of the tool; of what could not be read, one that says so.
fn function(record: &CallRecord) -> &str {
    record.call.as_ref().map_or("unreadable", |call| call.name.as_str())
}

fn asked(trajectory: &Trajectory, place: usize) -> Value {
    let record = &trajectory.calls[place];
    let arguments = match record.call.as_ref().map(|call| &call.arguments) {
        Some(Value::Object(arguments)) => json!(arguments),
        Some(other) => json!({ "arguments": other }),
        None => json!({}),
    };
    json!({
        "id": call_id(trajectory, place),
        "function": function(record),
        "arguments": arguments,
        "parse_error": record.call.is_none().then_some(record.outcome.text.as_str()),
        "type": "function",
    })
}

fn tool_error(record: &CallRecord) -> Option<Value> {
    let kind = match record.outcome.status {
        CallStatus::Ok => return None,
        CallStatus::Timeout => "timeout",
        CallStatus::Limit => "limit",
        CallStatus::Error if record.outcome.fault == Some(Fault::Call) => "parsing",
        CallStatus::Error => "unknown",
    };
    Some(json!({ "type": kind, "message": record.outcome.text }))
}
