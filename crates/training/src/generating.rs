//! What generates in a run: the policy in this process, or servers elsewhere that are given its
//! weights, and are seen to compute with them before and after each rollout.

use crate::score::scores_of;
use crate::{ConfigError, Policy, RunConfig, TrainingError};
use burn::tensor::backend::Backend;
use paretopo_agent::RolloutContext;
use paretopo_durable::{create_folder, put_folder, remove_folder};
use paretopo_environments::ToolEnvironment;
use paretopo_generation::Generators;
use paretopo_models::{
    CausalLm, ModelConfig, ModelFamily, SavedTensor, flat_parameters, parameter_keys, to_host,
    write_tensors,
};
use paretopo_serving::{
    Fingerprint, Needs, Protocol, ServerConfig, Servers, ServingError, Updated, Weights,
};
use paretopo_trajectory::{Split, TokenId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where the tokens of rollouts and evaluations are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum GeneratorConfig {
    /// In this process.
    Local {},
    /// On vLLM servers that were started with the checkpoint of `policy`.
    Vllm(ServerConfig),
    /// On SGLang servers that were started with the checkpoint of `policy`.
    Sglang(ServerConfig),
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self::Local {}
    }
}

impl GeneratorConfig {
    fn servers(&self) -> Option<(Protocol, &ServerConfig)> {
        match self {
            Self::Local {} => None,
            Self::Vllm(config) => Some((Protocol::Vllm, config)),
            Self::Sglang(config) => Some((Protocol::Sglang, config)),
        }
    }
}

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Tokens of the fixed prompt by which servers are told apart.
const FINGERPRINT: usize = 256;

/// What generates in a run.
pub(crate) struct Source(Option<Served>);

/// Servers, and what they were given.
struct Served {
    servers: Servers,
    /// Where weights are handed over; nowhere where they are only seen to be those of the policy.
    folder: Option<PathBuf>,
    trains: bool,
    /// The latest version.
    given: Option<u64>,
    /// The fixed prompt, once it is known.
    ids: Vec<TokenId>,
    /// In the names of adapters, which no two runs may share.
    run: String,
}

impl Source {
    /// The policy in this process.
    pub(crate) fn local() -> Self {
        Self(None)
    }

    /// What a configuration asks for; of a run that trains, with its folder. Servers are asked
    /// whether they have all that is needed.
    ///
    /// # Errors
    /// Says which server lacks what.
    pub(crate) fn open<F: ModelFamily, B: Backend>(
        config: &RunConfig,
        policy: &Policy<F, B>,
        run: Option<&Path>,
    ) -> Result<Self, TrainingError> {
        let Some((protocol, settings)) = config.generator.servers() else {
            return Ok(Self::local());
        };
        let own = run.map(|run| run.join("served"));
        let folder = settings.folder.clone().or(own);
        let folder = folder.map(|folder| absolute(&folder)).transpose()?;
        let updates = folder.as_ref().map(|_| policy.adapter.is_some());
        let needs = Needs { vocab_size: policy.config.vocab_size(), updates };
        let servers = Servers::probe(protocol, settings, &needs)?;
        let run = format!("paretopo-{}-{:x}", std::process::id(), started());
        let (given, ids, trains) = (None, Vec::new(), updates.is_some());
        Ok(Self(Some(Served { servers, folder, trains, given, ids, run })))
    }

    /// Whether servers draw.
    pub(crate) fn is_remote(&self) -> bool {
        self.0.is_some()
    }

    /// The longest sequence that rollouts may have of a policy that was made for `context` ids.
    pub(crate) fn context(&self, context: usize) -> usize {
        self.0.as_ref().map_or(context, |served| served.servers.longest().min(context))
    }

    /// Gives servers the policy's weights, unless they have that version; `model` has them without
    /// autodiff. `None` where nothing was given.
    ///
    /// # Errors
    /// When they cannot be written, or a server does not compute with them.
    pub(crate) fn give<F: ModelFamily, B: Backend, C: Backend, M: CausalLm<C>>(
        &mut self,
        policy: &Policy<F, B>,
        model: &M,
        version: u64,
        config: &RunConfig,
        environment: &ToolEnvironment,
    ) -> Result<Option<Updated>, TrainingError> {
        let Some(served) = self.0.as_mut().filter(|served| served.given != Some(version)) else {
            return Ok(None);
        };
        if served.ids.is_empty() {
            served.ids = fixed_prompt(policy, config, environment)?;
        }
        let fingerprint = fingerprint(model, &served.ids)?;
        let updated = served.give(policy, version, fingerprint)?;
        served.given = Some(version);
        Ok(Some(updated))
    }

    /// What generates: the servers, or `local` in this process.
    pub(crate) fn generators<'a>(&'a self, local: &'a dyn Generators) -> &'a dyn Generators {
        self.0.as_ref().map_or(local, |served| &served.servers)
    }

    /// What rollouts need, with sequences that are no longer than servers allow.
    pub(crate) fn bounded<'a>(&self, context: RolloutContext<'a>) -> RolloutContext<'a> {
        RolloutContext { context: self.context(context.context), ..context }
    }

    /// Sees that servers computed with the weights that they were given.
    ///
    /// # Errors
    /// Names one that did not.
    pub(crate) fn confirm(&self) -> Result<(), TrainingError> {
        self.0.as_ref().map_or(Ok(()), |served| Ok(served.servers.confirm()?))
    }
}

impl Served {
    fn give<F: ModelFamily, B: Backend>(
        &self,
        policy: &Policy<F, B>,
        version: u64,
        fingerprint: Fingerprint,
    ) -> Result<Updated, TrainingError> {
        let Some(folder) = self.folder.as_ref().filter(|_| self.trains) else {
            return Ok(self.servers.load(Weights::AsStarted, version, fingerprint)?);
        };
        create_folder(folder)?;
        let place = folder.join(format!("version-{version}"));
        let weights = if policy.adapter.is_some() {
            put_folder(&place, |place| policy.save_adapter(place))?;
            Weights::Adapter { folder: place, name: format!("{}-{version}", self.run) }
        } else {
            put_folder(&place, |place| {
                policy.save(&policy.model, place)?;
                save_tied_head(policy, place)
            })?;
            Weights::Full { folder: place }
        };
        let updated = self.servers.load(weights, version, fingerprint)?;
        // which no server needs any more
        if let Some(earlier) = self.given {
            remove_folder(&folder.join(format!("version-{earlier}")))?;
        }
        Ok(updated)
    }
}

/// An output head that is the embedding, once more by its own name: for servers that were started
/// with a checkpoint whose head is not tied. Others pass over it.
fn save_tied_head<F: ModelFamily, B: Backend>(
    policy: &Policy<F, B>,
    folder: &Path,
) -> Result<(), TrainingError> {
    let has_head = parameter_keys(&policy.model).iter().any(|key| key == HEAD);
    let mut found = flat_parameters(&policy.model, |key, _| key == EMBEDDING);
    let Some((_, embedding)) = found.pop().filter(|_| !has_head) else { return Ok(()) };
    let vocab_size = policy.config.vocab_size();
    let shape = vec![vocab_size, embedding.dims()[0] / vocab_size];
    let values = Box::new(move || to_host(embedding.clone()));
    let head = SavedTensor { name: HEAD.into(), shape, values };
    Ok(write_tensors(&folder.join("tied_head.safetensors"), &[head])?)
}

impl From<ServingError> for TrainingError {
    fn from(error: ServingError) -> Self {
        Self::Serving(error)
    }
}

fn absolute(folder: &Path) -> Result<PathBuf, TrainingError> {
    std::path::absolute(folder)
        .map_err(|source| TrainingError::Access { path: folder.to_owned(), source })
}

/// Nanoseconds since 1970.
fn started() -> u128 {
    let since = std::time::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| since.as_nanos())
}

/// The beginning of what the first task opens with.
fn fixed_prompt<F: ModelFamily, B: Backend>(
    policy: &Policy<F, B>,
    config: &RunConfig,
    environment: &ToolEnvironment,
) -> Result<Vec<TokenId>, TrainingError> {
    let splits = [Split::Train, Split::Validation, Split::Test];
    let task = splits.into_iter().find_map(|split| environment.tasks(split).first());
    let syntax = &config.rollout.syntax;
    let opened = task.map(|task| policy.text.opening(environment, task, syntax)).transpose()?;
    let mut ids = opened.unwrap_or_default();
    ids.truncate(FINGERPRINT.min(policy.config.context() - 1));
    if ids.len() < 2 {
        // any ids do
        ids = (0..policy.config.vocab_size().min(8) as TokenId).collect();
    }
    Ok(ids)
}

fn fingerprint<C: Backend, M: CausalLm<C>>(
    model: &M,
    ids: &[TokenId],
) -> Result<Fingerprint, TrainingError> {
    let device = model.devices().into_iter().next().unwrap_or_default();
    let scores = scores_of(model, ids, &device)
        .map_err(|reason| TrainingError::Policy { step: None, reason })?;
    Ok(Fingerprint { ids: ids.to_vec(), logprobs: scores.logprobs })
}

/// # Errors
/// When servers are not to be asked so, or a setting is of the policy in this process alone.
pub(crate) fn check(config: &RunConfig) -> Result<(), ConfigError> {
    let Some((_, settings)) = config.generator.servers() else { return Ok(()) };
    let wrong = |reason: String| Err(ConfigError::Setting(reason));
    settings.check().map_err(ConfigError::Setting)?;
    let rollout = &config.rollout;
    let recorded = rollout.recorded;
    if recorded.entropy || recorded.alternatives > 0 {
        return wrong(
            "`rollout.recorded`: a server tells neither `entropy` nor `alternatives` of tokens"
                .into(),
        );
    }
    if rollout.precision != Default::default() {
        return wrong(
            "`rollout.precision` is that of the policy in this process\nhint: a server's own \
             settings say in which precision it computes"
                .into(),
        );
    }
    if rollout.cache_mib > 0 {
        return wrong(
            "`rollout.cache_mib` bounds the memory of the policy in this process\nhint: a server's \
             own settings bound its memory"
                .into(),
        );
    }
    Ok(())
}
