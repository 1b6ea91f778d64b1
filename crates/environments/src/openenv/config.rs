//! What `[environment] type = "openenv"` holds.

use super::address::Address;
use super::environment::OpenEnvEnvironment;
use crate::judge::ObjectiveName;
use crate::{DataError, Environment, EnvironmentSettings, LoadObserver, Opening, Resources};
use paretopo_retrieval::{BreakerConfig, check_reachable};
use paretopo_settings::{Finite, LARGEST_SEED, Seconds, Share, whole, within};
use paretopo_tools::ServerConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The largest seed of a task; servers take those of 31 bits at least.
const LARGEST_TASK_SEED: u64 = 2_147_483_647;

/// What of a turn becomes an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnPart {
    /// All that the policy said in it.
    #[default]
    Turn,
    /// The answer in it, as in `<answer>` tags or `\boxed{}`; all of it where there is none.
    Answer,
}

/// How a turn becomes an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum OpenEnvAction {
    /// Its text is a field of the action.
    Text {
        /// The field; the only text that the server's schema asks for where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<String>,
        /// What of the turn.
        #[serde(default)]
        part: TurnPart,
    },
    /// Its text is an action, an object of JSON. One that is none is answered by an error, and no
    /// step is made.
    Json {},
    /// It is no action: the policy acts by the server's tools alone, and the first turn that calls
    /// none ends the episode.
    None {},
}

/// What an episode's rewards come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardOver {
    /// Their sum over its steps.
    #[default]
    Sum,
    /// The last one that was given.
    Last,
}

/// A number that the server gives with each step, and what it is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OpenEnvReward {
    /// Where it stands in what the server answers, such as `reward`, `metadata.format` or
    /// `observation.scores.style`.
    pub from: String,
    /// What an episode's rewards come to.
    pub over: RewardOver,
    /// What is worth 0.
    pub lowest: Finite,
    /// What is worth 1.
    pub highest: Finite,
}

impl Default for OpenEnvReward {
    fn default() -> Self {
        Self {
            from: "reward".into(),
            over: RewardOver::Sum,
            lowest: const { Finite::literal(0.0) },
            highest: const { Finite::literal(1.0) },
        }
    }
}

impl OpenEnvReward {
    /// What a number is worth. It is in [0, 1] where the number is within the bounds.
    pub(super) fn worth(&self, value: f64) -> f64 {
        (value - self.lowest.get()) / (self.highest.get() - self.lowest.get())
    }
}

/// An environment of an OpenEnv server: each task is a seed, each turn of the policy an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OpenEnvConfig {
    /// The server's address, `http://host:port` or `https://host`.
    pub url: String,
    /// The variable of paretopo's environment whose value is sent as `Authorization: Bearer ...`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_from: Option<String>,
    /// Further headers by their names: the variables of paretopo's environment that hold their
    /// values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers_from: BTreeMap<String, String>,
    /// A file of certificates (PEM): the authorities that are believed about an `https` server, and
    /// no others. Without it those that this machine trusts are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Seed of the first training task; each further task has the next one. Validation tasks follow
    /// them, then test tasks.
    #[serde(deserialize_with = "within::<0, LARGEST_SEED, _, _>")]
    #[schemars(schema_with = "whole::<0, LARGEST_SEED>")]
    pub seed: u64,
    /// Training tasks.
    #[serde(deserialize_with = "within::<0, 100_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 100_000>")]
    pub train: usize,
    /// Validation tasks.
    #[serde(deserialize_with = "within::<0, 100_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 100_000>")]
    pub validation: usize,
    /// Test tasks.
    #[serde(deserialize_with = "within::<0, 100_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 100_000>")]
    pub test: usize,
    /// What `reset` is told besides the seed.
    pub reset: BTreeMap<String, serde_json::Value>,
    /// How an episode opens; what the server says at `reset` is the question.
    pub opening: Opening,
    /// Where the text stands that the policy reads, such as `prompt` or `messages.last`, in an
    /// observation; without it the policy reads the observation as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<String>,
    /// How a turn becomes an action.
    pub action: OpenEnvAction,
    /// Whether the policy may call the server's tools, if it has some.
    pub tools: bool,
    /// The reward of the task, `r_task`.
    pub reward: OpenEnvReward,
    /// Further rewards by the names that objectives of the type `environment` call them.
    pub rewards: BTreeMap<String, OpenEnvReward>,
    /// The reward of the task from which on an episode counts as right.
    pub success: Share,
    /// Episodes that are played at a time, each with a session of its own. The server has to bear as
    /// many (`max_concurrent_envs`).
    #[serde(deserialize_with = "within::<1, 1_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1_000>")]
    pub sessions: usize,
    /// Seconds for the server to take a session or to reset it, before the run. In an episode all
    /// waits end with `rollout.call_seconds`.
    pub start_seconds: Seconds,
    /// When the server is left alone for a while.
    pub breaker: BreakerConfig,
}

impl Default for OpenEnvConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8000".into(),
            bearer_from: None,
            headers_from: BTreeMap::new(),
            ca_file: None,
            seed: 0,
            train: 256,
            validation: 64,
            test: 256,
            reset: BTreeMap::new(),
            opening: Opening::Question {},
            observation: None,
            action: OpenEnvAction::Text { field: None, part: TurnPart::Turn },
            tools: true,
            reward: OpenEnvReward::default(),
            rewards: BTreeMap::new(),
            success: const { Share::literal(1.0) },
            sessions: 8,
            start_seconds: const { Seconds::literal(30.0) },
            breaker: BreakerConfig::default(),
        }
    }
}

impl OpenEnvConfig {
    /// The server, without what it is asked.
    pub(super) fn server(&self) -> ServerConfig {
        ServerConfig {
            url: self.url.clone(),
            bearer_from: self.bearer_from.clone(),
            headers_from: self.headers_from.clone(),
            ca_file: self.ca_file.clone(),
        }
    }

    /// The settings that make no sense together.
    fn misfit(&self) -> Result<(), String> {
        let scheme = self.url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https" | "ws" | "wss")) {
            return Err(format!(
                "`environment.url`: `{}` begins with neither `http://` nor `https://`",
                self.url
            ));
        }
        check_reachable(&self.url).map_err(|error| format!("`environment.url`: {error}"))?;
        self.server().check_additions("environment")?;
        let largest = self.seed + (self.train + self.validation + self.test) as u64;
        if largest > LARGEST_TASK_SEED {
            return Err(format!(
                "`environment.seed`: the last task would have the seed {largest}, but servers take \
                 at most {LARGEST_TASK_SEED}"
            ));
        }
        let named = self.rewards.iter().map(|(name, reward)| (format!("rewards.{name}"), reward));
        for (key, reward) in named.chain([("reward".to_owned(), &self.reward)]) {
            if reward.lowest.get() >= reward.highest.get() {
                return Err(format!("`environment.{key}`: `lowest` is not below `highest`"));
            }
        }
        for name in self.rewards.keys() {
            ObjectiveName::try_from(name.clone())
                .map_err(|reason| format!("`environment.rewards`: {reason}"))?;
            if name == "reward" {
                return Err("`environment.rewards`: `reward` is the task's own".into());
            }
        }
        match self.reset.keys().find(|key| matches!(key.as_str(), "seed" | "episode_id")) {
            Some(key) => Err(format!("`environment.reset`: `{key}` is told by the run")),
            None => Ok(()),
        }
    }
}

impl EnvironmentSettings for OpenEnvConfig {
    fn build(
        &self,
        _: &Resources,
        observer: &mut dyn LoadObserver,
    ) -> Result<Box<dyn Environment>, DataError> {
        let said = |reason| DataError::Setting(format!("`environment.url`: {reason}"));
        let address = Address::of(self).map_err(DataError::Setting)?;
        Ok(Box::new(OpenEnvEnvironment::open(self, address, observer).map_err(said)?))
    }

    fn check(&self) -> Result<(), DataError> {
        self.misfit().map_err(DataError::Setting)
    }
}
