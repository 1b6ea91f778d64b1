//! Tasks of an OpenEnv server: seeds, with what the server says at their reset as the question.

use super::address::Address;
use super::config::{OpenEnvAction, OpenEnvConfig, OpenEnvReward};
use super::server::Server;
use super::sessions::{Openings, Sessions, TASK, text_of};
use crate::{Environment, LoadObserver, Partner};
use paretopo_tools::Tool;
use paretopo_trajectory::{Message, Split, Task, ToolSpec, Trajectory};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How far rounding may take a reward below what counts as right.
const ROUNDING: f64 = 1e-9;

/// How often it is told how far the opening of tasks is.
const LOOKED: Duration = Duration::from_millis(20);

/// An environment of an OpenEnv server.
pub(super) struct OpenEnvEnvironment {
    config: OpenEnvConfig,
    sessions: Arc<Sessions>,
    tools: Vec<ToolSpec>,
    /// Training, validation, test.
    tasks: [Vec<Task>; 3],
}

impl OpenEnvEnvironment {
    /// Asks the server for its schema, its tools and the opening of each task.
    ///
    /// # Errors
    /// What of that it does not say, or which setting does not fit it.
    pub(super) fn open(
        config: &OpenEnvConfig,
        address: Address,
        observer: &mut dyn LoadObserver,
    ) -> Result<Self, String> {
        let server = Server::meet(config, address)?;
        let field = field(config, &server.action)?;
        let seeds: Vec<u64> =
            (config.seed..).take(config.train + config.validation + config.test).collect();
        let texts = openings(config, &server, &seeds, observer)?;
        let tools = match config.tools {
            true => server.connect(until(config))?.tools(until(config))?,
            false => Vec::new(),
        };
        if tools.is_empty() && config.action == (OpenEnvAction::None {}) {
            return Err(
                "the environment has no tools, which alone act with `environment.action = \
                        { type = \"none\" }`"
                    .into(),
            );
        }
        let distinct = texts.iter().collect::<HashSet<_>>().len();
        if distinct < texts.len() {
            observer.note(&format!(
                "the environment opens {} seeds with {distinct} different observations",
                texts.len()
            ));
        }
        let task = |(seed, text): (&u64, &String)| Task {
            id: format!("seed-{seed}"),
            question: text.clone(),
            ..Task::default()
        };
        let mut train: Vec<Task> = seeds.iter().zip(&texts).map(task).collect();
        let known = |(task, seed): (&Task, &u64)| (task.id.clone(), (*seed, task.question.clone()));
        let openings: Openings = train.iter().zip(&seeds).map(known).collect();
        let mut validation = train.split_off(config.train);
        let test = validation.split_off(config.validation);
        Ok(Self {
            config: config.clone(),
            sessions: Sessions::new(config, server, field, openings),
            tools,
            tasks: [train, validation, test],
        })
    }

    /// What an episode got by a name, as its server told last.
    fn worth(&self, name: &str, reward: &OpenEnvReward, trajectory: &Trajectory) -> Option<f64> {
        if trajectory.lost().is_some() {
            // what it would have been worth is not known
            return Some(f64::NAN);
        }
        trajectory.replies.last()?.rewards.get(name).map(|value| reward.worth(value))
    }
}

/// When a request before the run is given up.
fn until(config: &OpenEnvConfig) -> Instant {
    Instant::now() + config.start_seconds.duration()
}

/// The field of an action that a turn becomes; empty where turns become none.
fn field(config: &OpenEnvConfig, schema: &Value) -> Result<String, String> {
    let OpenEnvAction::Text { field, .. } = &config.action else { return Ok(String::new()) };
    let properties = schema["properties"].as_object();
    let texts: Vec<&String> = properties
        .into_iter()
        .flatten()
        .filter(|(name, about)| *name != "metadata" && about["type"] == "string")
        .map(|(name, _)| name)
        .collect();
    let required = schema["required"].as_array();
    let is_required = |name: &&&String| {
        required.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(name.as_str())))
    };
    let wanted: Vec<&&String> = texts.iter().filter(is_required).collect();
    let known = || properties.map(|all| all.keys().cloned().collect::<Vec<_>>().join("`, `"));
    match field {
        Some(field) if properties.is_some_and(|all| all.contains_key(field)) => Ok(field.clone()),
        Some(field) => Err(format!(
            "its actions have no `{field}` (`environment.action`); they have `{}`",
            known().unwrap_or_default()
        )),
        None => match (wanted.as_slice(), texts.as_slice()) {
            ([one], _) => Ok((**one).clone()),
            ([], [one]) => Ok((*one).clone()),
            _ => Err(format!(
                "its actions have not one text alone, but `{}`\nhint: name the field by \
                 `environment.action = {{ type = \"text\", field = \"..\" }}`, or take \
                 `{{ type = \"json\" }}` or `{{ type = \"none\" }}`",
                known().unwrap_or_default()
            )),
        },
    }
}

/// What the server says at the reset of each seed, in their order, by as many sessions at a time as
/// the run will have.
fn openings(
    config: &OpenEnvConfig,
    server: &Server,
    seeds: &[u64],
    observer: &mut dyn LoadObserver,
) -> Result<Vec<String>, String> {
    let opening = Opening { config, server, seeds, done: AtomicUsize::new(0) };
    let count = config.sessions.min(seeds.len()).max(1);
    std::thread::scope(|scope| {
        let opening = &opening;
        let thread = |first| scope.spawn(move || opening.every(first, count));
        let threads: Vec<_> = (0..count).map(thread).collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            std::thread::sleep(LOOKED);
            let done = opening.done.load(Ordering::Relaxed).min(seeds.len());
            observer.progress("opening tasks", done as u64, seeds.len() as u64);
        }
        let mut texts = vec![String::new(); seeds.len()];
        for (first, thread) in threads.into_iter().enumerate() {
            let own = thread.join().map_err(|_| "a thread that opens tasks has panicked")??;
            for (place, text) in own.into_iter().enumerate() {
                texts[first + place * count] = text;
            }
        }
        Ok(texts)
    })
}

/// Threads that reset sessions.
struct Opening<'a> {
    config: &'a OpenEnvConfig,
    server: &'a Server,
    seeds: &'a [u64],
    /// Seeds that were opened; more than there are once one could not be.
    done: AtomicUsize,
}

impl Opening<'_> {
    /// The texts of every so many-th seed, by one session.
    fn every(&self, first: usize, step: usize) -> Result<Vec<String>, String> {
        let mut texts = Vec::new();
        let opened = self.with_a_session(first, step, &mut texts);
        if opened.is_err() {
            self.done.store(usize::MAX / 2, Ordering::Relaxed);
        }
        opened.map(|()| texts)
    }

    fn with_a_session(
        &self,
        first: usize,
        step: usize,
        texts: &mut Vec<String>,
    ) -> Result<(), String> {
        let config = self.config;
        let Some(first_seed) = self.seeds.get(first) else { return Ok(()) };
        let mut session = self.server.connect(until(config))?;
        let mut reset = |seed: u64| {
            let observed = session.reset(config, seed, None, until(config))?;
            text_of(config, &observed)
        };
        for seed in self.seeds.iter().skip(first).step_by(step) {
            texts.push(reset(*seed)?);
            if self.done.fetch_add(1, Ordering::Relaxed) >= self.seeds.len() {
                // another session could not open its task, which says why
                return Ok(());
            }
        }
        // a run stands on it that a seed is a task, whatever was played before
        if first == 0 && reset(*first_seed)? != texts[0] {
            return Err(format!(
                "two resets with the seed {first_seed} observe different things, so a seed is no \
                 task\nhint: name the part of the observation that the seed decides by \
                 `environment.observation`"
            ));
        }
        Ok(())
    }
}

impl Environment for OpenEnvEnvironment {
    fn tasks(&self, split: Split) -> &[Task] {
        &self.tasks[split as usize]
    }

    fn opening(&self, task: &Task) -> Vec<Message> {
        self.config.opening.messages(&task.question)
    }

    fn succeeded(&self, _: &Task, trajectory: &Trajectory) -> bool {
        let worth = self.worth(TASK, &self.config.reward, trajectory);
        worth.is_some_and(|worth| worth >= self.config.success.get() - ROUNDING)
    }

    fn task_reward(&self, _: &Task, trajectory: &Trajectory) -> f64 {
        self.worth(TASK, &self.config.reward, trajectory).unwrap_or(0.0)
    }

    fn metrics(&self, _: &Task, trajectory: &Trajectory) -> Vec<(&'static str, f64)> {
        let replies = &trajectory.replies;
        let is_so = |is_so: bool| f64::from(u8::from(is_so));
        let seconds: f64 = replies.iter().map(|reply| f64::from(reply.seconds)).sum();
        let mut metrics = vec![
            ("turns", replies.len() as f64),
            ("ended", is_so(replies.last().is_some_and(|reply| reply.done))),
            ("lost", is_so(trajectory.lost().is_some())),
            ("seconds", seconds),
        ];
        let given = replies.last().and_then(|reply| reply.rewards.get(TASK));
        metrics.extend(given.map(|reward| ("reward", reward)));
        metrics
    }

    fn partner(&self) -> Option<Arc<dyn Partner>> {
        Some(self.sessions.clone())
    }

    fn own_tools(&self) -> Vec<Arc<dyn Tool>> {
        self.sessions.tools(&self.tools)
    }

    fn most_episodes(&self) -> usize {
        self.config.sessions
    }

    fn reward_names(&self) -> Vec<String> {
        self.config.rewards.keys().cloned().collect()
    }

    fn reward(&self, name: &str, _: &Task, trajectory: &Trajectory) -> Option<f64> {
        self.worth(name, self.config.rewards.get(name)?, trajectory)
    }
}
