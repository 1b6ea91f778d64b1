//! The configuration of a run: one TOML file, defaults that are the vetted setting, overrides as
//! `key.path=value`.

mod described;
mod documents;
mod environments;
mod migration;
mod pieces;
mod reference;
mod schema;
mod values;
mod written;

pub use environments::EnvironmentEntry;
pub use pieces::Pieces;

use crate::{EvaluationConfig, GeneratorConfig, OldLogprobs, SftConfig, TrainConfig};
use burn::tensor::FloatDType;
use paretopo_agent::RolloutConfig;
use paretopo_algorithms::estimators::ParetoPoConfig;
use paretopo_algorithms::{EstimatorConfig, estimator};
use paretopo_dashboards::DashboardsConfig;
use paretopo_environments::{
    DataError, EnvironmentConfig, LoadObserver, MathConfig, ObjectiveConfig, Resources,
    ToolEnvironment, environment, named_objectives, usual_objectives,
};
use paretopo_models::AdapterConfig;
use paretopo_settings::{LARGEST_SEED, read_moved_toml, read_table, whole, within};
use paretopo_tools::ToolEntry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where the policy comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum PolicySource {
    /// A small policy inside the binary: `tiny-math` (made by `just warm-start-math-python`),
    /// `graded-math` (`just warm-start-math`), `graded-math-told` (`just warm-start-math-told`),
    /// `tiny-qa` (`just warm-start-qa`) or `tiny-qa-familiar` (`just warm-start-qa-familiar`).
    Embedded {
        /// Which of them.
        #[serde(default = "tiny_math")]
        name: String,
    },
    /// A Hugging Face checkpoint folder.
    Folder {
        /// The folder.
        path: PathBuf,
        /// A peft folder with a low-rank adapter to start from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        adapter: Option<PathBuf>,
    },
    /// A model on the Hugging Face hub.
    Hub {
        /// `owner/name`.
        name: String,
        /// Branch, tag or commit.
        #[serde(default = "main_branch")]
        revision: String,
        /// A peft folder with a low-rank adapter to start from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        adapter: Option<PathBuf>,
    },
    /// Random weights; `config.json` and the tokenizer files are read from a folder.
    New {
        /// The folder.
        path: PathBuf,
    },
}

fn tiny_math() -> String {
    "tiny-math".into()
}

fn main_branch() -> String {
    "main".into()
}

impl PolicySource {
    /// The folder of the adapter to start from.
    pub fn adapter(&self) -> Option<&Path> {
        match self {
            Self::Folder { adapter, .. } | Self::Hub { adapter, .. } => adapter.as_deref(),
            Self::Embedded { .. } | Self::New { .. } => None,
        }
    }

    /// How people and files name it.
    pub fn name(&self) -> String {
        match self {
            Self::Embedded { name } | Self::Hub { name, .. } => name.clone(),
            Self::Folder { path, .. } | Self::New { path } => path.display().to_string(),
        }
    }
}

/// The number type in which a model computes. Weights that are trained, their moments and all
/// losses stay in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of f32.
    Bf16,
    /// 16 bits; gradients below 6e-8 vanish.
    F16,
}

impl Precision {
    /// Bytes of a number.
    pub fn bytes(self) -> f64 {
        if self == Self::F32 { 4.0 } else { 2.0 }
    }
}

impl From<Precision> for FloatDType {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::BF16,
            Precision::F16 => Self::F16,
        }
    }
}

/// Rollouts of a step; more would not fit any machine.
const LARGEST_BATCH: usize = 1_000_000;

/// Everything about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Seed of everything random but the generated problems.
    #[serde(deserialize_with = "within::<0, LARGEST_SEED, _, _>")]
    #[schemars(schema_with = "whole::<0, LARGEST_SEED>")]
    pub seed: u64,
    /// Where the policy comes from.
    pub policy: PolicySource,
    /// The number type in which the policy computes.
    pub precision: Precision,
    /// Threads that each do a part of every batch on their own, on a CPU backend; 0 leaves it to
    /// the machine: one for each core, up to 8, and just one for a model above 500 million
    /// parameters, whose operations are split instead. Each holds its own activations and
    /// gradients. Runs on flex are bit-exact for an equal number; two runs on ndarray differ by
    /// rounding in any case.
    #[serde(deserialize_with = "within::<0, 256, _, _>")]
    #[schemars(schema_with = "whole::<0, 256>")]
    pub workers: usize,
    /// Train a low-rank adapter and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<AdapterConfig>,
    /// Where the tasks come from.
    #[schemars(schema_with = "pieces::environment_schema")]
    pub environment: EnvironmentConfig,
    /// Several environments in one run, in place of `environment`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentEntry>,
    /// What the agent may call; the environment's usual tools where there is no list.
    // always a list in a configuration that was parsed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pieces::tools_schema")]
    pub tools: Option<Vec<ToolEntry>>,
    /// The reward vector; the first must be `task`.
    #[schemars(schema_with = "pieces::objectives_schema")]
    pub objectives: Vec<ObjectiveConfig>,
    /// Where the tokens of rollouts and evaluations are drawn; in this process when absent. A warm start
    /// always evaluates in this process.
    #[serde(skip_serializing_if = "is_local")]
    pub generator: GeneratorConfig,
    /// Budgets and limits of rollouts.
    pub rollout: RolloutConfig,
    /// How rewards become advantages.
    #[schemars(schema_with = "pieces::estimator_schema")]
    pub estimator: EstimatorConfig,
    /// The reinforcement learning recipe.
    pub train: TrainConfig,
    /// The warm-start recipe.
    pub sft: SftConfig,
    /// The evaluation recipe.
    pub evaluation: EvaluationConfig,
    /// Who else hears of a run while it trains. It is no part of which run it is: a run may go on
    /// with other dashboards.
    pub dashboards: DashboardsConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            policy: PolicySource::Embedded { name: tiny_math() },
            precision: Precision::F32,
            workers: 0,
            lora: None,
            environment: usual_environment(),
            environments: Vec::new(),
            tools: None,
            objectives: usual_objectives(),
            generator: GeneratorConfig::default(),
            rollout: RolloutConfig::default(),
            estimator: estimator("paretopo", ParetoPoConfig::default()),
            train: TrainConfig::default(),
            sft: SftConfig::default(),
            evaluation: EvaluationConfig::default(),
            dashboards: DashboardsConfig::default(),
        }
    }
}

fn usual_environment() -> EnvironmentConfig {
    environment("math", MathConfig::default())
}

fn is_local(generator: &GeneratorConfig) -> bool {
    *generator == GeneratorConfig::default()
}

/// What can be wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is missing or unreadable.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a configuration; the message has line and column.
    #[error("`{path}`: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// An override cannot be applied.
    #[error("`--set {assignment}`: {reason}")]
    Override {
        /// As given.
        assignment: String,
        /// What is wrong.
        reason: String,
    },
    /// A combination of settings makes no sense.
    #[error("{0}")]
    Setting(String),
}

impl RunConfig {
    /// Parses TOML text and applies overrides (`train.steps=200`, `tools.python.price=2`); `name` is
    /// used in messages. A `type` stands for the pieces that [`Pieces::while_reading`] makes known,
    /// or that we ship.
    ///
    /// # Errors
    /// Names line and column of an unknown key or a wrong value, or the override that does not fit.
    pub fn parse(text: &str, name: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        // first alone, so that messages point into the file
        let mut config: Self = read_moved_toml(text, migration::migrate).map_err(|refused| {
            ConfigError::Parse { path: name.into(), message: refused.to_string() }
        })?;
        for assignment in overrides {
            config = config.with_override(assignment)?;
        }
        config.validate()?;
        Ok(config.with_all_settings())
    }

    /// The same, with the tools that are usual where none are listed.
    fn with_all_settings(&self) -> Self {
        Self { tools: Some(self.tools()), ..self.clone() }
    }

    /// What the agent may call: what is listed, or else what is usual in the environment.
    pub fn tools(&self) -> Vec<ToolEntry> {
        self.tools.clone().unwrap_or_else(|| match self.environments.as_slice() {
            [] => self.environment.usual_tools(),
            several => environments::usual_tools(several),
        })
    }

    /// Makes the environment and starts the tools; the observer hears what takes time.
    ///
    /// # Errors
    /// When data cannot be read, a tool cannot start, or a setting makes no sense.
    pub fn build_environment(
        &self,
        resources: &Resources,
        observer: &mut dyn LoadObserver,
    ) -> Result<ToolEnvironment, DataError> {
        let (tools, objectives) = (self.tools(), &self.objectives);
        if self.environments.is_empty() {
            let environment = &self.environment;
            return ToolEnvironment::build(environment, &tools, objectives, resources, observer);
        }
        let several = environments::several(&self.environments);
        ToolEnvironment::build_several(&several, &tools, objectives, resources, observer)
    }

    fn with_override(&self, assignment: &str) -> Result<Self, ConfigError> {
        let wrong =
            |reason: String| ConfigError::Override { assignment: assignment.into(), reason };
        let (path, value) =
            assignment.split_once('=').ok_or_else(|| wrong("expected `key.path=value`".into()))?;
        let value = parse_value(value.trim()).map_err(wrong)?;
        let (path, value) = migration::of_override(path.trim(), value);
        let mut full = self.clone();
        if path.starts_with("tools.") {
            full.tools = Some(self.tools());
        }
        let table = toml::Table::try_from(&full).map_err(|error| wrong(error.to_string()))?;
        let mut root = toml::Value::Table(table);
        let mut keys: Vec<&str> = path.split('.').collect();
        let last = keys.pop().unwrap_or_default();
        let mut place = &mut root;
        for key in keys {
            if let toml::Value::Table(table) = &mut *place {
                // an optional section that is absent begins with the defaults; an unknown one is refused below
                table.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            }
            let found = section(place, key);
            place = found.ok_or_else(|| wrong(format!("there is no section `{key}`")))?;
        }
        match place {
            toml::Value::Table(table) => _ = table.insert(last.to_owned(), value),
            pieces => {
                let piece = section(pieces, last)
                    .ok_or_else(|| wrong(format!("there is no section `{last}`")))?;
                replace_piece(piece, value);
            }
        }
        let toml::Value::Table(mut table) = root else { unreachable!("it was made of a table") };
        if path == "environment" {
            migration::migrate_replaced(&mut table);
        }
        read_table(table).map_err(|refused| match &refused.key {
            // which is what was just named
            Some(key) if *key == path => wrong(refused.reason),
            _ => wrong(refused.to_string()),
        })
    }

    /// Checks what no setting can know alone: those that depend on each other. [`Self::parse`] does
    /// this; a configuration that a program builds may be checked by it, too.
    ///
    /// # Errors
    /// Names the settings.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let setting = |message: String| Err(ConfigError::Setting(message));
        let train = &self.train;
        let rollouts = train.prompts_per_step.saturating_mul(train.rollouts_per_prompt);
        if rollouts > LARGEST_BATCH {
            return setting(format!(
                "`train.prompts_per_step` times `train.rollouts_per_prompt` is {rollouts}, but may \
                 be {LARGEST_BATCH}"
            ));
        }
        if self.rollout.tool_free > train.rollouts_per_prompt {
            return setting(format!(
                "`rollout.tool_free` is {}, but a group has {} rollouts \
                 (`train.rollouts_per_prompt`)",
                self.rollout.tool_free, train.rollouts_per_prompt
            ));
        }
        if train.minibatches > rollouts {
            return setting(format!(
                "`train.minibatches` is {}, but a step has {rollouts} rollouts\nhint: they are \
                 `train.prompts_per_step` times `train.rollouts_per_prompt`",
                train.minibatches
            ));
        }
        self.check_importance()?;
        if let Some(lora) = &self.lora {
            lora.check().map_err(|reason| ConfigError::Setting(format!("`lora`: {reason}")))?;
        }
        let said = |error: DataError| ConfigError::Setting(error.to_string());
        self.check_environments()?;
        for (index, entry) in self.tools().iter().enumerate() {
            // `session` of the tool is `tools[0].session` of the configuration
            let of_tool = |reason: String| match reason.strip_prefix('`') {
                Some(rest) => ConfigError::Setting(format!("`tools[{index}].{rest}")),
                None => ConfigError::Setting(format!("`tools[{index}]`: {reason}")),
            };
            entry.tool.check().map_err(of_tool)?;
        }
        named_objectives(&self.objectives).map_err(said)?;
        self.check_preferences()?;
        crate::generating::check(self)?;
        self.estimator.fits(self.objectives.len()).map_err(ConfigError::Setting)
    }

    /// # Errors
    /// When settings of an environment make no sense, or one and several are configured.
    fn check_environments(&self) -> Result<(), ConfigError> {
        if self.environments.is_empty() {
            let said = |error: DataError| ConfigError::Setting(error.to_string());
            return self.environment.check().map_err(said);
        }
        if self.environment != usual_environment() {
            return Err(ConfigError::Setting(
                "`environment` and `environments` exclude each other\nhint: list all of them in \
                 `environments`"
                    .into(),
            ));
        }
        environments::check(&self.environments, &self.objectives)
    }

    /// # Errors
    /// When settings of importance or staleness lack those that they need.
    fn check_importance(&self) -> Result<(), ConfigError> {
        let train = &self.train;
        let setting = |message: String| Err(ConfigError::Setting(message));
        if train.importance_cap.is_some() && train.old_logprobs != OldLogprobs::Recompute {
            return setting(
                "`train.importance_cap` needs `train.old_logprobs = \"recompute\"`".into(),
            );
        }
        let is_usual = train.importance_level == Default::default()
            && train.importance_beyond == Default::default();
        if train.importance_cap.is_none() && !is_usual {
            return setting(
                "`train.importance_level` and `train.importance_beyond` need \
                 `train.importance_cap`"
                    .into(),
            );
        }
        if train.max_staleness > 0 && train.refill_rounds > 0 {
            return setting(
                "`train.max_staleness` needs `train.refill_rounds = 0`: which prompts come next is \
                 known before a step is scored"
                    .into(),
            );
        }
        Ok(())
    }

    /// # Errors
    /// When a preference has no weight for each objective, or is played that is not told.
    fn check_preferences(&self) -> Result<(), ConfigError> {
        let objectives = self.objectives.len();
        let told = self.rollout.preference.as_ref();
        let evaluated = &self.evaluation.preferences;
        if told.is_none() && !evaluated.is_empty() {
            return Err(ConfigError::Setting(
                "`evaluation.preferences` needs `rollout.preference`, which says how they are told"
                    .into(),
            ));
        }
        let usual = told.map(|config| ("rollout.preference.weights", &config.weights));
        let others = evaluated.iter().map(|weights| ("evaluation.preferences", weights));
        match usual.into_iter().chain(others).find(|(_, weights)| weights.len() != objectives) {
            Some((key, weights)) => Err(ConfigError::Setting(format!(
                "`{key}`: {} weights for {objectives} objectives\nhint: give one for each of \
                 `objectives`",
                weights.len()
            ))),
            None => Ok(()),
        }
    }

    /// The whole configuration as TOML.
    ///
    /// # Errors
    /// Never for a configuration that was parsed; TOML cannot express all values a program could
    /// build.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string_pretty(&self.with_all_settings())
            .map_err(|error| ConfigError::Setting(error.to_string()))
    }

    /// The part of [`Self::to_toml`] that a run's numbers depend on: all but the dashboards, which are
    /// its last section.
    ///
    /// # Errors
    /// When a setting cannot be written.
    pub fn to_toml_of_numbers(&self) -> Result<String, ConfigError> {
        let bare = Self { dashboards: DashboardsConfig::default(), ..self.clone() };
        let mut text = bare.to_toml()?;
        // without any dashboard it is one table
        text.truncate(text.rfind("\n[dashboards]").unwrap_or(text.len()));
        Ok(text)
    }

    /// Whether `text`, as an earlier version may have written it, is this configuration: settings
    /// that it does not know have their defaults. Dashboards are no part of it.
    pub fn is_written_as(&self, text: &str) -> bool {
        let dashboards = || self.dashboards.clone();
        Self::parse(text, "", &[]).is_ok_and(|written| {
            Self { dashboards: dashboards(), ..written } == self.with_all_settings()
        })
    }

    /// The first line of `text` that differs from how this configuration is written; `None` if it is
    /// this configuration.
    pub fn first_difference(&self, text: &str) -> Option<String> {
        if self.is_written_as(text) {
            return None;
        }
        let written = Self::parse(text, "", &[]).and_then(|written| written.to_toml());
        let (old, new) = (written.unwrap_or_else(|_| text.to_owned()), self.to_toml().ok()?);
        let differing = old.lines().zip(new.lines()).find(|(old, new)| old != new);
        Some(differing.map_or_else(|| "its length".to_owned(), |(old, _)| old.to_owned()))
    }

    /// Settings that are legal but may not do what one expects.
    pub fn warnings(&self) -> Vec<String> {
        self.estimator.warnings()
    }
}

/// The section of a table; of a list of pieces the one of that number, name or `type`.
fn section<'a>(place: &'a mut toml::Value, key: &str) -> Option<&'a mut toml::Value> {
    let toml::Value::Array(pieces) = place else {
        return place.get_mut(key).filter(|section| section.is_table() || section.is_array());
    };
    if let Ok(index) = key.parse::<usize>() {
        return pieces.get_mut(index);
    }
    let is_called = |piece: &&mut toml::Value| {
        let says = |what: &str| piece.get(what).and_then(toml::Value::as_str) == Some(key);
        says("name") || says("type")
    };
    pieces.iter_mut().find(is_called)
}

/// Puts other settings in a piece's place, which is of the same `type` unless they say otherwise.
fn replace_piece(piece: &mut toml::Value, mut settings: toml::Value) {
    if let (Some(kind), Some(table)) = (piece.get("type"), settings.as_table_mut()) {
        table.entry("type").or_insert(kind.clone());
    }
    *piece = settings;
}

/// TOML syntax where it is some, else a string: `0.5`, `true`, `[1, 2]`, `{ type = "grpo" }`,
/// `runs/x`.
///
/// # Errors
/// When it begins like a table, a list or a quoted string and is none.
fn parse_value(text: &str) -> Result<toml::Value, String> {
    let parsed: Result<toml::Table, toml::de::Error> = toml::from_str(&format!("value = {text}"));
    let is_string = !text.starts_with(['{', '[', '"', '\'']);
    match parsed {
        Ok(mut table) if table.len() == 1 => Ok(table.remove("value").unwrap_or(text.into())),
        Err(error) if !is_string => Err(format!("`{text}` is no TOML: {}", error.message())),
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_agent::{PreferenceConfig, Told};
    use paretopo_settings::Weights;

    #[test]
    fn defaults_round_trip_and_overrides_apply() {
        let config = RunConfig::parse("", "x.toml", &[]).unwrap();
        assert_eq!(config, RunConfig::default().with_all_settings());
        assert_eq!(RunConfig::parse(&config.to_toml().unwrap(), "x.toml", &[]).unwrap(), config);
        let overrides = [
            "train.steps=7".to_owned(),
            "estimator={ type = \"grpo\" }".into(),
            "policy={ type = \"folder\", path = \"x\" }".into(),
        ];
        let changed = RunConfig::parse("seed = 3", "x.toml", &overrides).unwrap();
        assert_eq!((changed.seed, changed.train.steps), (3, 7));
        assert_eq!(changed.estimator.name(), "grpo");
        assert_eq!(changed.policy, PolicySource::Folder { path: "x".into(), adapter: None });
    }

    #[test]
    fn an_override_opens_an_optional_section_and_keeps_what_stands_there() {
        let set = ["rollout.preference.weights=[0.2, 0.8]".to_owned()];
        let told = |text: &str| RunConfig::parse(text, "", &set).unwrap().rollout.preference;
        let weights = Weights::literal([0.2, 0.8]);
        let wanted = |tell| Some(PreferenceConfig { tell, weights: weights.clone(), drawn: true });
        assert_eq!(told(""), wanted(Told::Tokens));
        assert_eq!(told("rollout.preference.tell = \"sentence\""), wanted(Told::Sentence));
    }

    #[test]
    fn what_an_earlier_version_wrote_is_the_same_configuration() {
        let config = RunConfig::parse("", "", &[]).unwrap();
        let text = config.to_toml().unwrap();
        let without = |key: &str| -> String {
            text.lines()
                .filter(|line| !line.starts_with(key))
                .flat_map(|line| [line, "\n"])
                .collect()
        };
        let old = without("stop_after_failed_steps");
        assert!(old != text && config.is_written_as(&old) && config.is_written_as(&text));
        assert_eq!(config.first_difference(&old), None);
        // but not where the setting has another value, or is unknown
        let other = RunConfig::parse("", "", &["train.stop_after_failed_steps=4".into()]).unwrap();
        assert_eq!(other.first_difference(&old).unwrap(), "stop_after_failed_steps = 3");
        assert!(!config.is_written_as(&format!("later = 1\n{text}")));
        assert!(config.first_difference("seed = 2").is_some());
    }

    #[test]
    fn a_run_that_never_stops_is_refused() {
        let set = |value: &str| {
            RunConfig::parse("", "", &[format!("train.stop_after_failed_steps={value}")])
        };
        assert_eq!(set("1").unwrap().train.stop_after_failed_steps, 1);
        for bad in ["0", "-1", "1.5", "nan", "inf"] {
            let error = set(bad).unwrap_err().to_string();
            assert!(error.contains("stop_after_failed_steps"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let error = |text: &str, overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            RunConfig::parse(text, "x.toml", &overrides).unwrap_err().to_string()
        };
        let unknown = error("[train]\nstepz = 3", &[]);
        assert!(unknown.contains("line 2, column 1") && unknown.contains("stepz"), "{unknown}");
        assert!(error("seed = \"a\"", &[]).contains("line 1"));
        assert!(error("[estimator]\ntype = \"grpo\"\nbeta = 1", &[]).contains("beta"));
        assert!(error("", &["train.stepz=3"]).contains("stepz"));
        assert!(error("", &["trainn.steps=3"]).contains("trainn"));
        assert!(error("", &["train.steps"]).contains("key.path=value"));
        let alone = error("train.rollouts_per_prompt = 1", &[]);
        assert!(alone.contains("`1` is not a whole number from 2 to"), "{alone}");
        let set = error("", &["train.optimizer.beta2=1"]);
        assert_eq!(set, "`--set train.optimizer.beta2=1`: `1` is not a number from 0 and below 1");
        // what is meant for TOML is not taken for a text
        let torn = error("", &["estimator={ type = \"grpo\""]);
        assert!(torn.contains("`{ type = \"grpo\"` is no TOML: "), "{torn}");
        assert!(error("", &["objectives=[1"]).contains("`[1` is no TOML: "));
        // told apart by `type`, of which serde's own errors know neither key nor place
        let inside = error("", &["environment.problems.level_weights=[0, 0, 0, 0, 0, 0]"]);
        assert!(inside.contains("is not a list of 6 frequencies"), "{inside}");
        let text = "[environment]\ntype = \"math\"\npython = { limits = { seconds = nan } }\n";
        let nested = error(text, &[]);
        assert!(
            nested.contains("line 3, column 33")
                && nested
                    .contains("`environment.python.limits.seconds`: `NaN` is not a number from"),
            "{nested}"
        );
    }

    #[test]
    fn settings_that_depend_on_each_other_are_checked_together() {
        let error = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            RunConfig::parse("", "x.toml", &overrides).err().map(|error| error.to_string())
        };
        let three = "environment.objectives=[{ type = \"task\" }, { type = \"format\" }, \
                     { type = \"response_length\", scale = 9 }]";
        let unfit = error(&[three]).unwrap();
        assert!(unfit.contains("`estimator.weights`: 2 values for 3 objectives"), "{unfit}");
        assert_eq!(error(&[three, "estimator.weights=[1, 2, 3]"]), None);
        let point = ["estimator.reference=[0, 0, 0]"];
        assert!(error(&point).unwrap().contains("`estimator.reference`: 3 values"));
        let grpo = "estimator={ type = \"grpo\" }";
        assert_eq!(error(&[three, grpo]), None);
        let weights = "estimator={ type = \"grpo\", weights = [1.0] }";
        assert!(error(&[weights]).unwrap().contains("1 values for 2 objectives"));
        for (settings, named) in [
            (vec!["environment.objectives=[]"], "the first of `objectives`"),
            (vec!["environment.objectives=[{ type = \"format\" }]"], "the first of `objectives`"),
            (vec!["train.minibatches=97"], "`train.minibatches` is 97, but a step has 96"),
            (
                vec!["train.prompts_per_step=1000000", "train.rollouts_per_prompt=100000"],
                "`train.prompts_per_step` times",
            ),
            (vec!["train.importance_cap=2.0"], "`train.importance_cap` needs"),
            (
                vec![
                    "environment.demonstrations={ drill = 0, head = 0, one_call = 0, redundant = 0 }",
                ],
                "`environment.demonstrations`",
            ),
        ] {
            let error = error(&settings).expect("an error");
            assert!(error.contains(named), "{error}");
        }
        assert_eq!(error(&["train.minibatches=96"]), None);
    }
}
