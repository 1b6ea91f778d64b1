//! The pieces that a configuration can choose among, all kinds of them together.

use paretopo_algorithms::{AnyEstimator, Estimators};
use paretopo_environments::{EnvironmentSettings, Environments, Objective, Objectives};
use paretopo_settings::{Piece, Registry};
use paretopo_tools::{ToolEntry, ToolSettings, Tools};
use schemars::{Schema, SchemaGenerator};
use serde_json::json;
use std::sync::Arc;

/// What a program knows of each kind: what we ship, and its own.
#[derive(Clone, Debug)]
pub struct Pieces {
    /// Where tasks come from.
    pub environments: Arc<Environments>,
    /// What agents can call.
    pub tools: Arc<Tools>,
    /// What episodes are judged by.
    pub objectives: Arc<Objectives>,
    /// How rewards become advantages.
    pub estimators: Arc<Estimators>,
}

impl Default for Pieces {
    fn default() -> Self {
        Self {
            environments: <dyn EnvironmentSettings>::shipped(),
            tools: <dyn ToolSettings>::shipped(),
            objectives: <dyn Objective>::shipped(),
            estimators: <dyn AnyEstimator>::shipped(),
        }
    }
}

impl Pieces {
    /// Those by which this thread reads.
    pub fn in_use() -> Self {
        Self {
            environments: Registry::in_use(),
            tools: Registry::in_use(),
            objectives: Registry::in_use(),
            estimators: Registry::in_use(),
        }
    }

    /// Does something that reads configurations; `type` then stands for these pieces.
    pub fn while_reading<R>(&self, work: impl FnOnce() -> R) -> R {
        self.environments.while_reading(|| {
            self.tools.while_reading(|| {
                self.objectives.while_reading(|| self.estimators.while_reading(work))
            })
        })
    }
}

fn of_kind<P: Piece + ?Sized>(generator: &mut SchemaGenerator, description: &str) -> Schema {
    let mut schema = Registry::<P>::in_use().schema(generator, &[]);
    schema.insert("description".into(), description.into());
    schema
}

pub(super) fn environment_schema(generator: &mut SchemaGenerator) -> Schema {
    of_kind::<dyn EnvironmentSettings>(generator, "Where the tasks come from.")
}

pub(super) fn estimator_schema(generator: &mut SchemaGenerator) -> Schema {
    of_kind::<dyn AnyEstimator>(generator, "How rewards become advantages.")
}

pub(super) fn objectives_schema(generator: &mut SchemaGenerator) -> Schema {
    let objective = Registry::<dyn Objective>::in_use().schema(generator, &[]);
    list_of(objective, "The reward vector; the first must be `task`.")
}

pub(super) fn tools_schema(generator: &mut SchemaGenerator) -> Schema {
    let common = ToolEntry::common_schemas(generator);
    let tool = Registry::<dyn ToolSettings>::in_use().schema(generator, &common);
    list_of(tool, "What the agent may call; the environment's usual tools where there is no list.")
}

fn list_of(items: Schema, description: &str) -> Schema {
    let list = json!({ "type": "array", "items": items, "description": description });
    list.try_into().expect("an object is a schema")
}
