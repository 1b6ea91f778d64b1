//! Tools as a configuration lists them: each with its settings, its price and its limit of calls.

use crate::{
    CalculatorConfig, CommandTool, HttpTool, Luck, McpConfig, PythonConfig, SearchConfig, Tool,
};
use paretopo_retrieval::Passage;
use paretopo_settings::{
    Chosen, LogDeviation, NonNegative, Piece, Registry, Settings, Share, whole, within,
};
use schemars::JsonSchema;
use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

/// What environments and tools use of the machine they run on.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// The command that starts a worker of the Python tool.
    pub python_worker: Vec<PathBuf>,
    /// A folder for what is made once and used again, such as search indices.
    pub cache: PathBuf,
}

/// Hears what building an environment or a tool does.
pub trait LoadObserver {
    /// How far something is.
    fn progress(&mut self, what: &str, done: u64, total: u64);

    /// Something that a person should know.
    fn note(&mut self, message: &str);
}

/// Nobody listens.
impl LoadObserver for () {
    fn progress(&mut self, _: &str, _: u64, _: u64) {}

    fn note(&mut self, _: &str) {}
}

/// What a tool is given when it starts.
pub struct ToolSurroundings<'a> {
    /// What it may use of the machine.
    pub resources: &'a Resources,
    /// The passages that come with the environment's tasks; a tool that needs them takes them.
    pub passages: &'a [Passage],
    /// Hears what takes time.
    pub observer: &'a mut dyn LoadObserver,
}

/// A program that a tool starts, for people who want to know before they start a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedProgram {
    /// Its file; `None` for this very program.
    pub path: Option<PathBuf>,
    /// What it does, in words.
    pub does: String,
}

/// Settings from which a tool starts: what `[[tools]]` with its `type` holds.
///
/// ```
/// use paretopo_tools::{CallContext, Tool, ToolSettings, ToolSurroundings};
/// use paretopo_trajectory::{CallStatus, ToolCall, ToolOutcome, ToolSpec};
/// use std::sync::Arc;
///
/// /// Says what it is told.
/// #[derive(Clone)]
/// struct Echo;
///
/// impl Tool for Echo {
///     fn spec(&self) -> ToolSpec {
///         let parameters = serde_json::json!({
///             "type": "object",
///             "properties": { "text": { "type": "string" } },
///             "required": ["text"],
///         });
///         ToolSpec { name: "echo".into(), description: "Says it again.".into(), parameters }
///     }
///
///     fn call(&self, call: &ToolCall, _: &CallContext) -> ToolOutcome {
///         ToolOutcome::new(CallStatus::Ok, call.arguments["text"].to_string(), 0.0)
///     }
/// }
///
/// impl ToolSettings for Echo {
///     fn start(&self, _: &mut ToolSurroundings<'_>) -> Result<Arc<dyn Tool>, String> {
///         Ok(Arc::new(self.clone()))
///     }
/// }
/// ```
pub trait ToolSettings: Send + Sync + 'static {
    /// Starts the tool.
    ///
    /// # Errors
    /// Says which setting makes no sense, or what is missing on this machine.
    fn start(&self, surroundings: &mut ToolSurroundings<'_>) -> Result<Arc<dyn Tool>, String>;

    /// Starts all that the settings stand for, which are several tools where a server has them.
    ///
    /// # Errors
    /// Says which setting makes no sense, or what is missing on this machine.
    fn start_all(
        &self,
        surroundings: &mut ToolSurroundings<'_>,
    ) -> Result<Vec<Arc<dyn Tool>>, String> {
        Ok(vec![self.start(surroundings)?])
    }

    /// Checks the settings that depend on each other.
    ///
    /// # Errors
    /// Names them.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// The programs that the tool starts. Finding out starts none.
    fn programs(&self) -> Vec<StartedProgram> {
        Vec::new()
    }
}

/// A tool with its settings, as a configuration chooses it.
pub type ToolConfig = Chosen<dyn ToolSettings>;

/// The tools that a program knows.
pub type Tools = Registry<dyn ToolSettings>;

/// Adds a tool to those that a program knows.
///
/// # Panics
/// When the name is taken or no plain word, or a setting is called like one that every tool has.
#[track_caller]
pub fn register_tool<T: ToolSettings + Settings>(tools: &mut Tools, name: &str) {
    tools.register::<T>(name, |tool| Arc::new(tool));
}

impl Piece for dyn ToolSettings {
    const KIND: &'static str = "tool";
    const RESERVED: &'static [&'static str] =
        &["type", "name", "price", "price_deviation", "failure_rate", "max_calls"];

    fn shipped() -> Arc<Registry<Self>> {
        static SHIPPED: LazyLock<Arc<Tools>> = LazyLock::new(|| {
            let mut all = Tools::default();
            register_tool::<CalculatorConfig>(&mut all, "calculator");
            register_tool::<PythonConfig>(&mut all, "python");
            register_tool::<SearchConfig>(&mut all, "search");
            register_tool::<CommandTool>(&mut all, "command");
            register_tool::<HttpTool>(&mut all, "http");
            register_tool::<McpConfig>(&mut all, "mcp");
            Arc::new(all)
        });
        SHIPPED.clone()
    }
}

/// The most calls of a tool that a configuration may allow an episode, and the usual limit: none
/// but that of `rollout.max_calls`.
const MOST_CALLS: usize = 1000;

/// What every tool of a list has besides its own settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ToolTerms {
    /// What calls name it by; its own name where none is given. For two tools of one `type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What a call counts for in `r_tool` and in estimators that look at calls.
    pub price: NonNegative,
    /// Deviation of the logarithm of the price, which is then drawn for each call, with `price` as
    /// its mean: `price * exp(d z - d^2 / 2)`, at most 100 times the price. Without it all calls
    /// have the same.
    #[serde(skip_serializing_if = "is_never")]
    pub price_deviation: LogDeviation,
    /// Share of calls that fail before the tool is asked, drawn for each. Without it none does.
    #[serde(skip_serializing_if = "fails_never")]
    pub failure_rate: Share,
    /// Calls of it that an episode may make.
    #[serde(deserialize_with = "within::<1, 1000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1000>")]
    pub max_calls: usize,
}

impl Default for ToolTerms {
    fn default() -> Self {
        let price = const { NonNegative::literal(1.0) };
        let price_deviation = const { LogDeviation::literal(0.0) };
        let failure_rate = const { Share::literal(0.0) };
        Self { name: None, price, price_deviation, failure_rate, max_calls: MOST_CALLS }
    }
}

fn is_never(deviation: &LogDeviation) -> bool {
    deviation.get() == 0.0
}

fn fails_never(rate: &Share) -> bool {
    rate.get() == 0.0
}

/// A tool as a configuration lists it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ToolEntry {
    // before the tool, which takes every key that is left
    /// Its price, and how often it may be called.
    #[serde(flatten)]
    pub terms: ToolTerms,
    /// Which, with its settings.
    #[serde(flatten)]
    pub tool: ToolConfig,
}

impl Serialize for ToolEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// For a reader, which it is comes first.
        #[derive(Serialize)]
        struct InOrder<'a> {
            #[serde(flatten)]
            tool: &'a ToolConfig,
            #[serde(flatten)]
            terms: &'a ToolTerms,
        }
        InOrder { tool: &self.tool, terms: &self.terms }.serialize(serializer)
    }
}

impl ToolEntry {
    /// A tool at the price of 1, with no limit of its own.
    ///
    /// # Panics
    /// When TOML cannot express its settings.
    pub fn new<T: ToolSettings + Settings>(name: &str, settings: T) -> Self {
        let tool = Chosen::literal(name, settings, |tool| Arc::new(tool) as Arc<dyn ToolSettings>);
        Self { tool, terms: ToolTerms::default() }
    }

    /// The schemas of what every tool has besides its own settings.
    pub fn common_schemas(generator: &mut SchemaGenerator) -> Vec<(String, Schema)> {
        let schema = ToolTerms::json_schema(generator);
        let properties = schema.get("properties").and_then(|all| all.as_object()).cloned();
        let as_schema = |(name, property): (String, serde_json::Value)| {
            Some((name, Schema::try_from(property).ok()?))
        };
        properties.into_iter().flatten().filter_map(as_schema).collect()
    }

    /// Starts the tool, or the tools of a server, which have the same terms each.
    ///
    /// # Errors
    /// Says which tool, and what it lacks.
    pub fn start(
        &self,
        surroundings: &mut ToolSurroundings<'_>,
    ) -> Result<Vec<ListedTool>, String> {
        // what `--set` calls it, too
        let called = self.terms.name.as_deref().unwrap_or(self.tool.name());
        let said = |reason| format!("`tools.{called}`: {reason}");
        let tools = self.tool.start_all(surroundings).map_err(said)?;
        let ToolTerms { name, price, price_deviation, failure_rate, max_calls } = &self.terms;
        if tools.len() > 1 && name.is_some() {
            let names: Vec<String> = tools.iter().map(|tool| tool.spec().name).collect();
            return Err(said(format!(
                "`name` is for one tool, but it stands for `{}`\nhint: choose one by `tools`",
                names.join("`, `")
            )));
        }
        let listed = tools.into_iter().map(|tool| ListedTool {
            name: name.clone().unwrap_or_else(|| tool.spec().name),
            price: price.get(),
            price_deviation: price_deviation.get(),
            failure_rate: failure_rate.get(),
            max_calls: *max_calls,
            tool,
        });
        Ok(listed.collect())
    }
}

/// A tool that has started.
#[derive(Clone)]
pub struct ListedTool {
    /// What calls name it by.
    pub name: String,
    /// What a call counts for, on average.
    pub price: f64,
    /// Deviation of the price's logarithm; at 0 each call has the same.
    pub price_deviation: f64,
    /// Chance that a call fails before the tool is asked.
    pub failure_rate: f64,
    /// Calls of it that an episode may make.
    pub max_calls: usize,
    /// The tool.
    pub tool: Arc<dyn Tool>,
}

impl ListedTool {
    /// A tool at the price of 1, without a limit of its own.
    pub fn plain(tool: Arc<dyn Tool>) -> Self {
        Self {
            name: tool.spec().name,
            price: 1.0,
            price_deviation: 0.0,
            failure_rate: 0.0,
            max_calls: MOST_CALLS,
            tool,
        }
    }

    /// What chance decides about a call before the tool is asked. It takes the same draws from
    /// `luck` whatever the settings, which goes on to the tool.
    ///
    /// The price is log-normal with the mean `price`, `price * exp(d z - d^2 / 2)`, cut at
    /// 100 times the price.
    pub fn terms_of_call(&self, luck: &mut Luck) -> CallTerms {
        let fails = luck.chance(self.failure_rate);
        let normal = luck.normal();
        let deviation = self.price_deviation;
        let factor = (deviation * normal - deviation.powi(2) / 2.0).exp().min(MOST_TIMES);
        CallTerms { fails, price: (deviation > 0.0).then_some(self.price * factor) }
    }

    /// The most that a call of it can count for.
    pub fn highest_price(&self) -> f64 {
        if self.price_deviation > 0.0 { self.price * MOST_TIMES } else { self.price }
    }

    /// What the tool offers, under the name that calls use.
    pub fn spec(&self) -> paretopo_trajectory::ToolSpec {
        paretopo_trajectory::ToolSpec { name: self.name.clone(), ..self.tool.spec() }
    }
}

/// How many times its mean a drawn price may be, so that what an episode can cost has a bound.
const MOST_TIMES: f64 = 100.0;

/// What the policy reads where a call fails by chance.
pub const FAILED_CALL: &str = "ToolError: the call failed";

/// What chance has decided about a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CallTerms {
    /// Whether it fails before the tool is asked.
    pub fails: bool,
    /// What it counts for, where that is drawn.
    pub price: Option<f64>,
}

/// Starts tools in their order.
///
/// # Errors
/// When one cannot start, or two have the same name.
pub fn start_tools(
    entries: &[ToolEntry],
    surroundings: &mut ToolSurroundings<'_>,
) -> Result<Vec<ListedTool>, String> {
    let mut tools: Vec<ListedTool> = Vec::with_capacity(entries.len());
    for entry in entries {
        for tool in entry.start(surroundings)? {
            add(tool, &mut tools)?;
        }
    }
    Ok(tools)
}

/// # Errors
/// When another one has its name.
fn add(tool: ListedTool, tools: &mut Vec<ListedTool>) -> Result<(), String> {
    if tools.iter().any(|other| other.name == tool.name) {
        return Err(format!(
            "`tools`: two are called `{}`\nhint: give one of them another `name`",
            tool.name
        ));
    }
    tools.push(tool);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_has_settings_of_its_own_and_of_the_list() {
        let text = "type = \"python\"\nprice = 2.5\nmax_calls = 3\nsession = true\n";
        let entry: ToolEntry = toml::from_str(text).unwrap();
        assert_eq!(
            (entry.terms.price.get(), entry.terms.max_calls, entry.tool.name()),
            (2.5, 3, "python")
        );
        let python: PythonConfig = entry.tool.settings_of("python").unwrap();
        assert!(python.session);
        let again: ToolEntry = toml::from_str(&toml::to_string(&entry).unwrap()).unwrap();
        assert_eq!(again, entry);
        let unknown = toml::from_str::<ToolEntry>("type = \"python\"\nprise = 1").unwrap_err();
        let message = unknown.message();
        let common = "; besides, each tool has `name`, `price`, `price_deviation`, \
                      `failure_rate`, `max_calls`";
        assert!(message.starts_with("unknown field `prise`, expected"), "{message}");
        assert!(message.ends_with(common), "{message}");
    }

    #[test]
    fn prices_are_drawn_with_their_mean_and_calls_fail_as_often_as_they_should() {
        let text = "type = \"calculator\"\nprice = 2\nprice_deviation = 1.0\nfailure_rate = 0.1";
        let entry: ToolEntry = toml::from_str(text).unwrap();
        let resources = Resources::default();
        let mut surroundings =
            ToolSurroundings { resources: &resources, passages: &[], observer: &mut () };
        let tool = entry.start(&mut surroundings).unwrap().remove(0);
        let trajectory = paretopo_trajectory::TrajectoryId::new("train", 4, 1);
        let draw = |number| tool.terms_of_call(&mut Luck::of_call(9, &trajectory, number));
        let drawn: Vec<CallTerms> = (0..4000).map(draw).collect();
        let prices: Vec<f64> = drawn.iter().map(|terms| terms.price.unwrap()).collect();
        // mean 2, deviation 2 sqrt(e - 1) = 2.62; five deviations of the mean are 0.207
        let mean = prices.iter().sum::<f64>() / 4000.0;
        assert!((mean - 2.0).abs() < 0.207, "{mean}");
        // the median is 2 exp(-1/2) = 1.213, below which lies half: 2000 +- 5 * 31.6
        let below = prices.iter().filter(|price| **price < 2.0 * (-0.5f64).exp()).count();
        assert!((1842..=2158).contains(&below), "{below}");
        // 400 +- 5 * 19
        let failed = drawn.iter().filter(|terms| terms.fails).count();
        assert!((305..=495).contains(&failed), "{failed}");
        assert_eq!(drawn[7], draw(7));
        let plain = ListedTool { price_deviation: 0.0, failure_rate: 0.0, ..tool };
        let terms = plain.terms_of_call(&mut Luck::of_call(9, &trajectory, 0));
        assert_eq!(terms, CallTerms { fails: false, price: None });
        assert_eq!((plain.highest_price(), plain.price), (2.0, 2.0));
    }

    #[test]
    fn two_tools_of_one_name_are_refused() {
        let resources = Resources { python_worker: vec!["true".into()], ..Resources::default() };
        let mut surroundings =
            ToolSurroundings { resources: &resources, passages: &[], observer: &mut () };
        let python = ToolEntry::new("python", PythonConfig::default());
        let both = [python.clone(), python.clone()];
        let error = start_tools(&both, &mut surroundings).err().unwrap();
        assert!(error.starts_with("`tools`: two are called `python`\nhint:"), "{error}");
        let mut renamed = python.clone();
        renamed.terms.name = Some("other".into());
        let tools = start_tools(&[python, renamed], &mut surroundings).unwrap();
        let names: Vec<String> = tools.iter().map(|tool| tool.spec().name).collect();
        assert_eq!(names, ["python", "other"]);
    }
}
