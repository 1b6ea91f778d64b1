//! Objectives whose values come from outside of this process: a program or a server is told a task
//! and all of its rollouts in one request, and answers a reward for each.
//!
//! A reward that cannot be had is not 0. Its group is treated like one with a reward that is no
//! number: the run stops, or leaves the group out (`train.bad_numbers`), and says why.

use crate::{Objective, Scoring};
use paretopo_tools::{
    Asked, ProgramConfig, ServerConfig, Service, ServiceLimits, ServiceRequest, StartedProgram,
    Waiting,
};
use paretopo_trajectory::{Task, Trajectory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Who judges episodes in place of [`Objective::score`].
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    /// The program or the server.
    pub asked: Asked,
    /// How patiently it is asked.
    pub limits: ServiceLimits,
}

impl Judge {
    /// The program that it starts, if it is one.
    pub fn programs(&self) -> Vec<StartedProgram> {
        self.asked.programs("judges the policy's episodes")
    }

    /// # Errors
    /// Names the setting that makes no sense.
    pub fn check(&self) -> Result<(), String> {
        self.asked.check()
    }

    /// Starts it for an objective of that name.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn start(&self, name: &str) -> Result<Service, String> {
        Service::start(&self.asked, &self.limits, "objective", name)
    }
}

/// The rewards of a task's rollouts that a judge was asked for.
pub(crate) struct AskedRewards {
    waiting: Waiting,
    rollouts: usize,
}

impl AskedRewards {
    /// Sends the request; others may be sent before its answer is waited for.
    pub(crate) fn send(service: &Service, name: &str, task: &Task, group: &[Trajectory]) -> Self {
        let rollouts: Vec<Value> = group.iter().map(told).collect();
        let body = json!({
            "type": "rewards", "objective": name, "task": task, "rollouts": rollouts,
        });
        let body = body.as_object().cloned().unwrap_or_default();
        let request = ServiceRequest { body, deadline: None, is_repeatable: true };
        Self { waiting: service.send(request), rollouts: group.len() }
    }

    /// A reward for each rollout.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn receive(self) -> Result<Vec<f64>, String> {
        let answer = self.waiting.answer().map_err(|failure| failure.to_string())?;
        read(&answer, self.rollouts)
    }
}

/// The rewards of an answer.
fn read(answer: &Map<String, Value>, rollouts: usize) -> Result<Vec<f64>, String> {
    if let Some(Value::String(error)) = answer.get("error") {
        return Err(format!("it answered: {error}"));
    }
    let Some(Value::Array(rewards)) = answer.get("rewards") else {
        return Err("its answer has neither a list `rewards` nor a text `error`".into());
    };
    if rewards.len() != rollouts {
        return Err(format!("it gave {} rewards for {rollouts} rollouts", rewards.len()));
    }
    let number = |reward: &Value| reward.as_f64().ok_or_else(|| format!("`{reward}` is no reward"));
    rewards.iter().map(number).collect()
}

/// What a judge is told of an episode: what people see of it, not its tokens.
fn told(trajectory: &Trajectory) -> Value {
    let calls: Vec<Value> = trajectory
        .calls
        .iter()
        .map(|record| {
            json!({
                "name": record.call.as_ref().map(|call| &call.name),
                "arguments": record.call.as_ref().map(|call| &call.arguments),
                "status": record.outcome.status,
                "text": record.outcome.text,
                "seconds": record.outcome.seconds,
            })
        })
        .collect();
    json!({
        "trajectory": trajectory.id.as_str(),
        "sample": trajectory.sample,
        "response": trajectory.response,
        "answer": trajectory.answer,
        "success": trajectory.success,
        "calls": calls,
        "finish": trajectory.finish,
        "sampled_tokens": trajectory.sampled_tokens(),
        "preference": trajectory.preference,
    })
}

/// The name of an objective, as metrics, files and tables have it: of small letters, digits, `_` and
/// `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ObjectiveName(String);

impl ObjectiveName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ObjectiveName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let is_plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(format!("`{name}` is not made of small letters, digits, `_` and `-`"));
        }
        Ok(Self(name))
    }
}

impl From<ObjectiveName> for String {
    fn from(name: ObjectiveName) -> Self {
        name.0
    }
}

/// Settings of an [`OutsideReward`] that a program gives, which is kept running and asked by lines of
/// JSON; `docs/outside.md` has the protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandReward {
    /// Its name in metrics and tables, such as `r_judge`.
    pub name: ObjectiveName,
    /// The program.
    pub program: ProgramConfig,
    /// How patiently it is asked.
    #[serde(default)]
    pub limits: ServiceLimits,
}

/// Settings of an [`OutsideReward`] that a server gives, which is asked the same by HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpReward {
    /// Its name in metrics and tables, such as `r_judge`.
    pub name: ObjectiveName,
    /// The server.
    pub server: ServerConfig,
    /// How patiently it is asked.
    #[serde(default)]
    pub limits: ServiceLimits,
}

/// A reward that somebody outside of this process gives, whichever way they are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideReward {
    /// Its name in metrics and tables.
    pub name: ObjectiveName,
    /// Who gives it.
    pub judge: Judge,
}

impl From<CommandReward> for OutsideReward {
    fn from(CommandReward { name, program, limits }: CommandReward) -> Self {
        Self { name, judge: Judge { asked: Asked::Program(program), limits } }
    }
}

impl From<HttpReward> for OutsideReward {
    fn from(HttpReward { name, server, limits }: HttpReward) -> Self {
        Self { name, judge: Judge { asked: Asked::Server(server), limits } }
    }
}

impl Objective for OutsideReward {
    /// None but by its judge.
    fn score(&self, _: &Scoring<'_>) -> Option<f64> {
        Some(f64::NAN)
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name.0)
    }

    fn judge(&self) -> Option<Judge> {
        Some(self.judge.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        MathConfig, ObjectiveConfig, Resources, RunMemory, ToolEnvironment, environment,
        score_group, score_groups, usual_objectives,
    };
    use paretopo_trajectory::{Split, TrajectoryId};
    use std::time::{Duration, Instant};

    /// A shell program that answers a greeting, and any other line by what `answer` prints.
    fn script(answer: &str) -> String {
        format!(
            r#"while read -r line; do id=${{line#*:}}; id=${{id%%,*}}
               case $line in *'"hello"'*) printf '{{"id":%s}}\n' $id;; *) {answer};; esac; done"#
        )
    }

    /// 0.25 for the answer `a` and 0.75 for any other.
    const BY_ANSWER: &str = r#"r=$(printf '%s' "$line" | grep -o '"answer":"[^"]*"' |
        sed 's/.*:"a"/0.25/; s/.*:".*/0.75/' | paste -sd,)
        printf '{"id":%s,"rewards":[%s]}\n' "$id" "$r""#;

    fn judged(answer: &str, limits: &str) -> ObjectiveConfig {
        let script = toml::Value::String(script(answer)).to_string();
        let program = format!("{{ command = \"sh\", args = [\"-c\", {script}] }}");
        let text = format!("type = \"command\"\nname = \"r_judge\"\nprogram = {program}\n{limits}");
        toml::from_str(&text).unwrap()
    }

    fn built(answer: &str, limits: &str) -> ToolEnvironment {
        let mut objectives = usual_objectives();
        objectives.push(judged(answer, limits));
        let math = environment("math", MathConfig::default());
        let resources = Resources { python_worker: vec!["true".into()], ..Resources::default() };
        ToolEnvironment::build(&math, &[], &objectives, &resources, &mut ()).unwrap()
    }

    fn group(answers: &[&str]) -> Vec<Trajectory> {
        let one = |(sample, answer): (usize, &&str)| Trajectory {
            answer: Some((*answer).to_owned()),
            ..Trajectory::empty(TrajectoryId::new("test", 0, sample), "", sample)
        };
        answers.iter().enumerate().map(one).collect()
    }

    #[test]
    fn a_group_is_judged_in_one_request_in_its_order() {
        // a second request would end it
        let environment = built(&format!("{BY_ANSWER}; exit 1"), "limits = { retries = 0 }");
        let names = environment.objective_names();
        assert_eq!(names[..], ["r_task", "r_tool", "r_judge"]);
        let task = environment.tasks(Split::Train)[0].clone();
        let mut played = group(&["a", "b", "a"]);
        let fault = score_group(&environment, &task, &mut played, &mut RunMemory::default());
        assert_eq!(fault, None);
        let rewards = played.iter().map(|one| one.objectives.get("r_judge").unwrap());
        assert_eq!(rewards.collect::<Vec<_>>(), [0.25, 0.75, 0.25]);
    }

    #[test]
    fn a_reward_that_cannot_be_had_is_not_0_and_concerns_its_group_alone() {
        let quick = "limits = { retries = 0, concurrency = 1 }";
        for (answer, reason) in [
            ("exit 3", "it ended with code 3"),
            (r#"printf '{"id":%s,"error":"model down"}\n' $id"#, "it answered: model down"),
            (r#"printf '{"id":%s,"rewards":[1]}\n' $id"#, "it gave 1 rewards for 2 rollouts"),
            (r#"printf '{"id":%s,"rewards":[1,null]}\n' $id"#, "`null` is no reward"),
            (r#"printf '{"id":%s}\n' $id"#, "neither a list `rewards` nor a text `error`"),
        ] {
            // the second group's answers are judged
            let answer = format!("case $line in *bad*) {answer};; *) {BY_ANSWER};; esac");
            let environment = built(&answer, quick);
            let tasks = &environment.tasks(Split::Train)[..2];
            let mut played = group(&["bad", "bad", "a", "b"]);
            let memory = &mut RunMemory::default();
            let faults = score_groups(&environment, tasks, &mut played, 2, memory);
            let fault = faults[0].as_deref().unwrap();
            let start = format!("`r_judge` gave nothing for task `{}`: ", tasks[0].id);
            assert!(fault.starts_with(&start) && fault.ends_with(reason), "{fault}");
            assert!(played[0].objectives.get("r_judge").unwrap().is_nan());
            assert_eq!(faults[1], None);
            assert_eq!(played[3].objectives.get("r_judge"), Some(0.75));
        }
        // as any other objective's
        let environment = built(r#"printf '{"id":%s,"rewards":[1.5]}\n' $id"#, quick);
        let task = environment.tasks(Split::Train)[0].clone();
        let fault = score_group(&environment, &task, &mut group(&["a"]), &mut RunMemory::default());
        let fault = fault.unwrap();
        assert!(fault.starts_with("`r_judge` gave 1.5, which is not in [0, 1]"), "{fault}");
    }

    #[test]
    fn as_many_groups_are_judged_at_a_time_as_there_are_processes() {
        let environment = built(&format!("sleep 0.5; {BY_ANSWER}"), "limits = { concurrency = 6 }");
        let tasks = &environment.tasks(Split::Train)[..6];
        let mut played = group(&["a"; 6]);
        let started = Instant::now();
        let memory = &mut RunMemory::default();
        let faults = score_groups(&environment, tasks, &mut played, 1, memory);
        assert!(faults.iter().all(Option::is_none), "{faults:?}");
        // one after the other they would take 3 s
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }

    #[test]
    fn a_judge_that_does_not_start_or_makes_no_sense_is_named() {
        let math = environment("math", MathConfig::default());
        let error = |objective: &str| {
            let mut objectives = usual_objectives();
            objectives.push(toml::from_str(objective).unwrap());
            let resources = Resources::default();
            let built = ToolEnvironment::build(&math, &[], &objectives, &resources, &mut ());
            built.err().unwrap().to_string()
        };
        let ends = "type = 'command'\nname = 'r_x'\nprogram = { command = 'false' }";
        let reason = error(ends);
        let expected = "the objective `r_x`: no answer to the greeting: `/";
        assert!(reason.starts_with(expected), "{reason}");
        assert!(reason.ends_with("false`: it ended with code 1"), "{reason}");
        let empty = error("type = 'command'\nname = 'r_x'\nprogram = { command = '' }");
        assert!(empty.starts_with("`objectives[2].program.command` is empty\nhint: "), "{empty}");
        let scheme = error("type = 'http'\nname = 'r_x'\nserver = { url = 'ftp://x' }");
        assert!(scheme.starts_with("`objectives[2].server.url`: `ftp://x` begins"), "{scheme}");
        let name = "type = 'http'\nname = 'R X'\nserver = { url = 'http://x' }";
        let name = toml::from_str::<ObjectiveConfig>(name).unwrap_err();
        assert!(name.message().starts_with("`R X` is not made of small letters"), "{name}");
    }
}
