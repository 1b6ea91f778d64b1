//! `[[environments]]`: several environments in one run.

use super::{ConfigError, pieces};
use paretopo_environments::{
    Budget, DataError, EnvironmentConfig, ObjectiveName, OneOfSeveral, named_objectives,
};
use paretopo_environments::{ObjectiveConfig, Schedule};
use paretopo_settings::Positive;
use paretopo_tools::ToolEntry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the environments of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentEntry {
    /// Its name in metrics, and in front of its tasks' ids.
    pub name: ObjectiveName,
    /// Its share of the prompts, relative to the others'.
    #[serde(default = "one_share")]
    pub share: Positive,
    /// Where its tasks come from.
    #[schemars(schema_with = "pieces::environment_schema")]
    pub environment: EnvironmentConfig,
    /// Tools of `[[tools]]` that its episodes may call, by their names; all without a list. What an
    /// environment brings itself is its own in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Objectives that its episodes have, by their names, `r_task` first; all without a list. One
    /// that it lacks is neutral for its groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Vec<String>>,
    /// What its episodes may use up, where that is not what `rollout` says.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub budget: Budget,
}

fn one_share() -> Positive {
    const { Positive::literal(1.0) }
}

fn is_usual(budget: &Budget) -> bool {
    *budget == Budget::default()
}

/// The environments as a run builds them.
pub(super) fn several(entries: &[EnvironmentEntry]) -> Vec<OneOfSeveral> {
    let one = |entry: &EnvironmentEntry| OneOfSeveral {
        name: entry.name.as_str().to_owned(),
        share: entry.share.get(),
        environment: entry.environment.clone(),
        tools: entry.tools.clone(),
        objectives: entry.objectives.clone(),
        budget: entry.budget,
    };
    entries.iter().map(one).collect()
}

/// The tools that are usual in any of the environments, each once.
pub(super) fn usual_tools(entries: &[EnvironmentEntry]) -> Vec<ToolEntry> {
    let mut tools: Vec<ToolEntry> = Vec::new();
    for tool in entries.iter().flat_map(|entry| entry.environment.usual_tools()) {
        if !tools.contains(&tool) {
            tools.push(tool);
        }
    }
    tools
}

/// # Errors
/// Names the setting that makes no sense.
pub(super) fn check(
    entries: &[EnvironmentEntry],
    objectives: &[ObjectiveConfig],
) -> Result<(), ConfigError> {
    let said = |error: DataError| ConfigError::Setting(error.to_string());
    let several = several(entries);
    for (place, one) in several.iter().enumerate() {
        let name = &one.name;
        if several[..place].iter().any(|other| other.name == *name) {
            return Err(ConfigError::Setting(format!("two of `environments` are called `{name}`")));
        }
        one.environment.check().map_err(|error| said(one.said(error)))?;
    }
    let parts: Vec<_> = several.iter().map(OneOfSeveral::part).collect();
    Schedule::new(&parts, 0).map_err(said)?;
    let named = named_objectives(objectives).map_err(said)?;
    let names: Vec<&str> = named.iter().map(|objective| objective.name.as_str()).collect();
    for part in &parts {
        part.check_objectives(&names).map_err(said)?;
    }
    let is_lacked = |name: &&&str| {
        let lacks = |one: &OneOfSeveral| {
            let own = one.objectives.as_ref();
            own.is_some_and(|own| !own.iter().any(|objective| objective == **name))
        };
        several.iter().all(lacks)
    };
    match names.iter().find(is_lacked) {
        Some(name) => Err(ConfigError::Setting(format!(
            "no environment has the objective `{name}`\nhint: name it in one of \
             `environments.NAME.objectives`, or leave it out of `objectives`"
        ))),
        None => Ok(()),
    }
}
