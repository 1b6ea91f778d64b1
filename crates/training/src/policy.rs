//! A policy: weights, architecture and text side, from a checkpoint folder; and the adapter, if one
//! is trained on it.

use crate::fitting::Reader;
use crate::generating::Source;
use crate::{ConfigError, PolicySource, Precision, RunConfig, Stage, Surroundings, TrainingError};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, FloatDType};
use paretopo_agent::{PolicyText, RolloutContext, Workers};
use paretopo_durable::{create_folder, sync, write};
use paretopo_engine::{LocalGenerators, StateSize};
use paretopo_environments::ToolEnvironment;
use paretopo_generation::Generators;
use paretopo_models::{
    AdapterConfig, CausalLm, CheckpointError, ModelConfig, ModelFamily, Placement, attach_adapter,
    find_not_finite, first_overflow, flat_parameters, freeze, in_precision, initialize,
    load_adapter, load_folder, load_folder_as, merge_adapter, read_config, save_adapter,
    save_folder, without_adapter,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Files besides the weights that make a folder a usable checkpoint.
const TEXT_FILES: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"];

/// The folder of templates that are chosen by their names.
const FURTHER_TEMPLATES: &str = "additional_chat_templates";

/// Ids that a policy reads before it is written.
const PROBED: u32 = 8;

/// A loaded policy.
#[derive(Debug)]
pub struct Policy<F: ModelFamily, B: Backend> {
    /// Its `config.json`.
    pub config: F::Config,
    /// Its weights.
    pub model: F::Model<B>,
    /// Its tokenizer and chat template.
    pub text: Arc<PolicyText>,
    /// The adapter that is trained while the weights are frozen.
    pub adapter: Option<AdapterConfig>,
    folder: PathBuf,
    name: String,
}

impl<F: ModelFamily, B: Backend> Policy<F, B> {
    /// Loads the policy of a configuration from its folder, with the adapter to start from or a new
    /// one. Frozen weights are held in the configuration's precision, trained ones in f32.
    ///
    /// # Errors
    /// Names the file that is missing or wrong, and the tensor if one is not finite.
    pub fn load(
        run: &RunConfig,
        folder: &Path,
        place: &Placement<B>,
    ) -> Result<Self, TrainingError> {
        Stage::Loading.begin();
        let number = DType::from(FloatDType::from(run.precision));
        if !B::supports_dtype(&place.device, number) {
            let reason = format!(
                "`precision`: this backend does not compute in {number:?} on this device\nhint: `precision=f32`"
            );
            return Err(ConfigError::Setting(reason).into());
        }
        let (config, model) = Self::weights(run, folder, place)?;
        let (adapter, model) = Self::adapted(run, folder, model, &place.device)?;
        let text = Arc::new(PolicyText::from_folder(folder)?);
        require_known(&text, config.vocab_size())
            .map_err(|reason| CheckpointError::Invalid { path: folder.into(), reason })?;
        let (folder, name) = (folder.to_owned(), run.policy.name());
        Ok(Self { config, model, text, adapter, folder, name })
    }

    /// The configuration's weights, or random ones where it asks for a new policy.
    fn weights(
        run: &RunConfig,
        folder: &Path,
        place: &Placement<B>,
    ) -> Result<(F::Config, F::Model<B>), TrainingError> {
        let is_frozen = run.lora.is_some() || run.policy.adapter().is_some();
        let precision = if is_frozen { run.precision.into() } else { FloatDType::F32 };
        let PolicySource::New { .. } = run.policy else {
            return Ok(load_folder_as::<F, B>(folder, precision, place)?);
        };
        let config = read_config::<F>(folder)?;
        let invalid =
            |reason| CheckpointError::Invalid { path: folder.join("config.json"), reason };
        let range = config.initializer_range();
        let model = initialize(F::init(&config, place).map_err(invalid)?, range, run.seed);
        if let Some(found) = find_not_finite(flat_parameters(&model, |_, _| true), Vec::new()) {
            let reason = format!("`initializer_range` is {range}, so that {found}");
            return Err(invalid(reason).into());
        }
        Ok((config, in_precision(model, precision)))
    }

    /// The model with the adapter to start from or a new one, if the configuration has one.
    fn adapted(
        run: &RunConfig,
        folder: &Path,
        model: F::Model<B>,
        device: &B::Device,
    ) -> Result<(Option<AdapterConfig>, F::Model<B>), TrainingError> {
        let invalid = |path: &Path, reason| TrainingError::Invalid { path: path.into(), reason };
        let Some(start) = run.policy.adapter() else {
            let Some(lora) = &run.lora else { return Ok((None, model)) };
            let model = attach_adapter(freeze(model), lora, run.seed, device)
                .map_err(|reason| invalid(folder, reason))?;
            return Ok((Some(lora.clone()), model));
        };
        let (found, model) = load_adapter(freeze(model), start, device)?;
        if let Some(difference) = run.lora.as_ref().and_then(|lora| found.difference(lora)) {
            let reason = format!(
                "is another adapter than `lora` asks for: {difference}\nhint: leave `lora` out to \
                 go on with this one"
            );
            return Err(invalid(start, reason));
        }
        Ok((Some(found), model))
    }

    /// What tasks have to fit.
    pub(crate) fn reader<'a>(&'a self, source: &Source, cancelled: &'a AtomicBool) -> Reader<'a> {
        Reader { text: &self.text, context: source.context(self.config.context()), cancelled }
    }

    /// The policy as it is, without autodiff, for whoever computes with it while it is updated.
    pub(crate) fn snapshot(&self) -> Policy<F, B::InnerBackend>
    where
        B: AutodiffBackend,
    {
        Policy {
            config: self.config.clone(),
            model: F::valid(&self.model),
            text: self.text.clone(),
            adapter: self.adapter.clone(),
            folder: self.folder.clone(),
            name: self.name.clone(),
        }
    }

    /// The same with its adapter added to the weights.
    pub fn merged(self) -> Self {
        Self { model: merge_adapter(self.model), adapter: None, ..self }
    }

    /// What generates with `model`, this policy's weights on some backend.
    pub fn generators<'a, C: Backend, M: CausalLm<C>>(
        &self,
        model: &'a M,
        device: &'a C::Device,
        precision: Precision,
        surroundings: &Surroundings<'_>,
    ) -> LocalGenerators<'a, C, M> {
        let footprint = self.config.footprint();
        let bytes = |numbers: f64| (numbers * precision.bytes()) as u64;
        let state_size = StateSize {
            per_token: bytes(footprint.over_layers(|layer| layer.state_per_token)),
            per_row: bytes(footprint.over_layers(|layer| layer.state)),
        };
        LocalGenerators { model, device, place: surroundings.sampling_place, state_size }
    }

    /// What rollouts with this policy need.
    pub fn context<'a>(
        &'a self,
        generators: &'a dyn Generators,
        environment: &'a ToolEnvironment,
        weight_version: u64,
        cancelled: &'a AtomicBool,
        workers: &'a Workers,
    ) -> RolloutContext<'a> {
        RolloutContext {
            generators,
            context: self.config.context(),
            text: &self.text,
            environment,
            weight_version,
            cancelled,
            workers,
        }
    }

    /// Writes a checkpoint folder with `model`'s weights that this project and transformers load.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save<C: Backend, M: CausalLm<C>>(
        &self,
        model: &M,
        folder: &Path,
    ) -> Result<(), TrainingError> {
        save_folder(folder, &self.config, model)?;
        for name in TEXT_FILES {
            copy_if_there(&self.folder.join(name), &folder.join(name))?;
        }
        self.save_further_templates(folder)
    }

    /// Copies the templates that a checkpoint has beside its own, such as one for tools.
    fn save_further_templates(&self, folder: &Path) -> Result<(), TrainingError> {
        let from = self.folder.join(FURTHER_TEMPLATES);
        let failed = |source| TrainingError::Access { path: from.clone(), source };
        let entries = match std::fs::read_dir(&from) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let to = folder.join(FURTHER_TEMPLATES);
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if let Some(name) = path.file_name()
                && path.extension().is_some_and(|extension| extension == "jinja")
            {
                create_folder(&to)?;
                copy_if_there(&path, &to.join(name))?;
                // only the files of the checkpoint's own folder are synchronised as it is put
                // in place
                sync(&to.join(name))?;
            }
        }
        Ok(())
    }

    /// Writes the adapter, if there is one, as a folder that peft loads.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save_adapter(&self, folder: &Path) -> Result<(), TrainingError> {
        let Some(adapter) = &self.adapter else { return Ok(()) };
        Ok(save_adapter(folder, adapter, &self.name, &self.model)?)
    }

    /// Whether the model computes: weights that are numbers may still overflow in what is computed
    /// with them, which is better known before they are written than when they are used.
    ///
    /// # Errors
    /// Names the first module whose output is not finite when the model reads its first few ids.
    pub(crate) fn require_computes<C: Backend, M: CausalLm<C>>(
        &self,
        model: &M,
    ) -> Result<(), TrainingError> {
        let ids: Vec<u32> = (0..PROBED.min(self.config.vocab_size() as u32)).collect();
        let Some(device) = model.devices().into_iter().next() else { return Ok(()) };
        match first_overflow(model, &ids, &device) {
            None => Ok(()),
            Some(module) => Err(TrainingError::Policy {
                step: None,
                reason: format!(
                    "the weights are numbers, but the output of `{module}` overflows for the ids 0 \
                     to {}",
                    ids.len() - 1
                ),
            }),
        }
    }

    /// Writes what is trained: the adapter if there is one, else everything.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn save_trained(&self, folder: &Path) -> Result<(), TrainingError> {
        match &self.adapter {
            Some(_) => self.save_adapter(folder),
            None => self.save(&self.model, folder),
        }
    }

    /// The model with what [`Self::save_trained`] wrote.
    ///
    /// # Errors
    /// Names the file that is missing or wrong, or of another policy or adapter than this.
    pub(crate) fn load_trained(
        &self,
        folder: &Path,
        device: &B::Device,
    ) -> Result<F::Model<B>, TrainingError> {
        if let Some(adapter) = &self.adapter {
            let base = without_adapter(self.model.clone());
            let (found, model) = load_adapter(base, folder, device)?;
            if as_written(&found) != as_written(adapter) {
                let reason = format!("is {found:?}, but the run's adapter is {adapter:?}");
                return Err(TrainingError::Invalid { path: folder.into(), reason });
            }
            return Ok(model);
        }
        let place = Placement { device: device.clone(), kernels: self.model.kernels().clone() };
        let (found, model) = load_folder::<F, B>(folder, &place)?;
        if let Some(difference) = difference(&self.config, &found) {
            let path = folder.join("config.json");
            return Err(TrainingError::Invalid { path, reason: difference });
        }
        let tokenizer = TEXT_FILES[0];
        let text = |folder: &Path| paretopo_durable::read(&folder.join(tokenizer));
        if let (Some(own), Some(found)) = (text(&self.folder)?, text(folder)?)
            && own != found
        {
            let reason = format!("is not the tokenizer of `{}`", self.folder.display());
            return Err(TrainingError::Invalid { path: folder.join(tokenizer), reason });
        }
        Ok(model)
    }
}

fn copy_if_there(from: &Path, to: &Path) -> Result<(), TrainingError> {
    if from.exists() && from != to {
        let text = std::fs::read(from)
            .map_err(|source| TrainingError::Access { path: from.into(), source })?;
        write(to, &text)?;
    }
    Ok(())
}

/// Whether the model knows what the tokenizer may give it.
///
/// # Errors
/// Says what it does not know.
fn require_known(text: &PolicyText, vocab_size: usize) -> Result<(), String> {
    let tokens = text.tokenizer.vocab_size();
    if tokens > vocab_size {
        return Err(format!(
            "the tokenizer has {tokens} tokens, but the model knows {vocab_size} (`vocab_size`)"
        ));
    }
    match text.end_ids.iter().find(|id| **id as usize >= vocab_size) {
        None => Ok(()),
        Some(id) => Err(format!(
            "the id {id} is to end a turn (`eos_token_id`), but the model knows {vocab_size} \
             tokens (`vocab_size`)"
        )),
    }
}

/// An adapter as its file has it: what gets all linear maps gets nothing else.
fn as_written(adapter: &AdapterConfig) -> AdapterConfig {
    let mut adapter = adapter.clone();
    if adapter.targets_key("") {
        adapter.targets.clear();
    }
    adapter
}

/// The first setting of a model's configuration that another one has otherwise, as written.
fn difference<C: ModelConfig>(own: &C, other: &C) -> Option<String> {
    let value = |config: &C| serde_json::to_value(config).unwrap_or_default();
    let (own, other) = (value(own), value(other));
    let keys = own.as_object()?.keys().chain(other.as_object()?.keys());
    let key = keys.into_iter().find(|key| own.get(key.as_str()) != other.get(key.as_str()))?;
    let (own, other) = (&own[key.as_str()], &other[key.as_str()]);
    Some(format!("`{key}` is {other}, but the policy's is {own}"))
}
