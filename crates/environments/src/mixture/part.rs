//! What a run knows of one of its environments.

use crate::{DataError, Environment};
use paretopo_settings::{some_whole, some_within};
use paretopo_trajectory::Task;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an episode may use up; what `rollout` says where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Calls an episode may make.
    #[serde(deserialize_with = "some_within::<0, 1000, _, _>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "some_whole::<0, 1000>")]
    pub max_calls: Option<usize>,
    /// Turns of an episode that the environment answers.
    #[serde(deserialize_with = "some_within::<1, 1000, _, _>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "some_whole::<1, 1000>")]
    pub max_turns: Option<usize>,
    /// Tokens an episode may sample.
    #[serde(deserialize_with = "some_within::<1, 10_000_000, _, _>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "some_whole::<1, 10_000_000>")]
    pub max_sampled_tokens: Option<usize>,
}

/// One of the environments of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name, which stands in front of its tasks' ids.
    pub name: String,
    /// Its share of the prompts, relative to the others'.
    pub share: f64,
    /// Tools of the configuration that its episodes may call; all where none are named.
    pub tools: Option<Vec<String>>,
    /// Tools that it brings itself, which are its own alone.
    pub own_tools: Vec<String>,
    /// Tools that others bring.
    pub foreign_tools: Vec<String>,
    /// Objectives that its episodes have; all where none are named, but for rewards that it does
    /// not give.
    pub objectives: Option<Vec<String>>,
    /// Rewards that it gives.
    pub rewards: Vec<String>,
    /// What its episodes may use up.
    pub budget: Budget,
}

impl Part {
    /// Whether a task of a run's environments is of this one.
    pub fn owns(&self, environment: &dyn Environment, task: &Task) -> bool {
        environment.part_of(task).is_some_and(|own| own.name == self.name)
    }

    /// A task with the environment's name in front of its id.
    pub(crate) fn named(&self, task: &Task) -> Task {
        Task { id: format!("{}/{}", self.name, task.id), ..task.clone() }
    }

    /// The task as the environment knows it.
    pub(crate) fn unnamed(&self, task: &Task) -> Task {
        let own = task.id.strip_prefix(self.name.as_str());
        let own = own.and_then(|rest| rest.strip_prefix('/')).unwrap_or(&task.id);
        Task { id: own.to_owned(), ..task.clone() }
    }

    /// Whether its episodes may call a tool.
    pub fn offers(&self, tool: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|own| own == tool);
        has(&self.own_tools) || (!has(&self.foreign_tools) && self.tools.as_deref().is_none_or(has))
    }

    /// Whether its episodes have an objective; `given` is the reward that the objective is, where it
    /// is one of an environment's.
    pub(crate) fn has(&self, objective: &str, given: Option<&str>) -> bool {
        let is_named = |names: &Vec<String>| names.iter().any(|name| name == objective);
        let is_given = |given: &str| self.rewards.iter().any(|name| name == given);
        self.objectives.as_ref().is_none_or(is_named) && given.is_none_or(is_given)
    }

    /// Takes in what the environments bring.
    pub(crate) fn learn(parts: &mut [Self], environments: &[Box<dyn Environment>]) {
        let own: Vec<Vec<String>> = environments
            .iter()
            .map(|environment| {
                let tools = environment.own_tools();
                tools.iter().map(|tool| tool.spec().name).collect()
            })
            .collect();
        for (place, part) in parts.iter_mut().enumerate() {
            part.rewards = environments[place].reward_names();
            part.own_tools.clone_from(&own[place]);
            let others = own.iter().enumerate().filter(|(other, _)| *other != place);
            part.foreign_tools = others.flat_map(|(_, names)| names.clone()).collect();
        }
    }

    /// # Errors
    /// When it names a tool that there is not.
    pub(crate) fn check_tools(&self, known: &[&str]) -> Result<(), DataError> {
        self.check("tools", self.tools.as_ref(), known)
    }

    /// # Errors
    /// When it names an objective that there is not, or lacks that of the task.
    pub fn check_objectives(&self, known: &[&str]) -> Result<(), DataError> {
        self.check("objectives", self.objectives.as_ref(), known)?;
        let (Some(own), Some(first)) = (&self.objectives, known.first()) else { return Ok(()) };
        match own.first().is_some_and(|own| own == first) {
            true => Ok(()),
            false => Err(DataError::Setting(format!(
                "`environments.{}.objectives` must begin with `{first}`",
                self.name
            ))),
        }
    }

    fn check(
        &self,
        key: &str,
        named: Option<&Vec<String>>,
        known: &[&str],
    ) -> Result<(), DataError> {
        let names = named.into_iter().flatten();
        let unknown = names.clone().find(|name| !known.contains(&name.as_str()));
        match unknown {
            Some(name) => Err(DataError::Setting(format!(
                "`environments.{}.{key}` names `{name}`, but there is `{}`",
                self.name,
                known.join("`, `")
            ))),
            None => Ok(()),
        }
    }
}
