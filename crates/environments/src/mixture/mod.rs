//! Several environments in one run: each task belongs to one of them, whose name stands in front of
//! its id (`sums/seed-3`).
//!
//! | file | what |
//! |---|---|
//! | `part.rs` | what a run knows of each: share, tools, objectives, budget |
//! | `schedule.rs` | which of them a prompt comes from |
//! | `partners.rs` | who answers turns, where some do |

mod part;
mod partners;
mod schedule;

pub use part::{Budget, Part};
pub use schedule::Schedule;
use schedule::interleaved;

use crate::{DataError, Environment, Partner};
use paretopo_retrieval::Passage;
use paretopo_tools::Tool;
use paretopo_trajectory::{Message, Split, Task, Trajectory};
use partners::Partners;
use std::collections::HashMap;
use std::sync::Arc;

/// Several environments as one.
pub(crate) struct Mixture {
    parts: Vec<Part>,
    environments: Vec<Box<dyn Environment>>,
    places: HashMap<String, usize>,
    partner: Option<Arc<Partners>>,
    /// Training, validation, test; in each a beginning has them by their shares.
    tasks: [Vec<Task>; 3],
}

impl Mixture {
    /// Joins environments with what is known of each.
    ///
    /// # Errors
    /// When two have one name, or a share is too small to be drawn.
    pub(crate) fn new(
        parts: Vec<Part>,
        environments: Vec<Box<dyn Environment>>,
    ) -> Result<Self, DataError> {
        let mut places = HashMap::new();
        for (place, part) in parts.iter().enumerate() {
            if places.insert(part.name.clone(), place).is_some() {
                return Err(DataError::Setting(format!(
                    "two of `environments` are called `{}`",
                    part.name
                )));
            }
        }
        Schedule::new(&parts, 0)?;
        let shares: Vec<f64> = parts.iter().map(|part| part.share).collect();
        let named = |split: Split| {
            let lists: Vec<Vec<Task>> = parts
                .iter()
                .zip(&environments)
                .map(|(part, environment)| {
                    let own = environment.tasks(split).iter();
                    own.map(|task| part.named(task)).collect()
                })
                .collect();
            interleaved(lists, &shares)
        };
        let tasks = [Split::Train, Split::Validation, Split::Test].map(named);
        let partner = Partners::of(&parts, &environments);
        Ok(Self { parts, environments, places, partner, tasks })
    }

    /// The environment of a task, and the task as that knows it; the first one for a task of no
    /// environment.
    fn of(&self, task: &Task) -> (&dyn Environment, Task) {
        let place = self.place(task).unwrap_or(0);
        (self.environments[place].as_ref(), self.parts[place].unnamed(task))
    }

    fn place(&self, task: &Task) -> Option<usize> {
        let (name, _) = task.id.split_once('/')?;
        self.places.get(name).copied()
    }
}

impl Environment for Mixture {
    fn tasks(&self, split: Split) -> &[Task] {
        &self.tasks[split as usize]
    }

    fn opening(&self, task: &Task) -> Vec<Message> {
        let (environment, task) = self.of(task);
        environment.opening(&task)
    }

    fn extract_answer(&self, response: &str) -> Option<String> {
        self.environments[0].extract_answer(response)
    }

    fn answer_to(&self, task: &Task, response: &str) -> Option<String> {
        let (environment, task) = self.of(task);
        environment.answer_to(&task, response)
    }

    fn succeeded(&self, task: &Task, trajectory: &Trajectory) -> bool {
        let (environment, task) = self.of(task);
        environment.succeeded(&task, trajectory)
    }

    fn task_reward(&self, task: &Task, trajectory: &Trajectory) -> f64 {
        let (environment, task) = self.of(task);
        environment.task_reward(&task, trajectory)
    }

    fn metrics(&self, task: &Task, trajectory: &Trajectory) -> Vec<(&'static str, f64)> {
        let (environment, task) = self.of(task);
        environment.metrics(&task, trajectory)
    }

    fn partner(&self) -> Option<Arc<dyn Partner>> {
        self.partner.clone().map(|partner| partner as Arc<dyn Partner>)
    }

    fn own_tools(&self) -> Vec<Arc<dyn Tool>> {
        self.environments.iter().flat_map(|environment| environment.own_tools()).collect()
    }

    fn most_episodes(&self) -> usize {
        let all = self.environments.iter().map(|environment| environment.most_episodes());
        all.min().unwrap_or(usize::MAX)
    }

    fn reward_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for name in self.environments.iter().flat_map(|environment| environment.reward_names()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn reward(&self, name: &str, task: &Task, trajectory: &Trajectory) -> Option<f64> {
        let (environment, task) = self.of(task);
        environment.reward(name, &task, trajectory)
    }

    fn take_passages(&mut self) -> Vec<Passage> {
        let all = self.environments.iter_mut();
        all.flat_map(|environment| environment.take_passages()).collect()
    }

    fn parts(&self) -> &[Part] {
        &self.parts
    }
}
