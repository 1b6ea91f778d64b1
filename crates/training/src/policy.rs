//! A policy: weights, architecture and text side, from a checkpoint folder.

use crate::{PolicySource, TrainingError};
use burn::tensor::backend::Backend;
use paretopo_agent::{PolicyText, RolloutContext};
use paretopo_environments::Environment;
use paretopo_models::{AutoConfig, AutoModel, CheckpointError, initialize, load_folder, save_folder};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Files besides the weights that make a folder a usable checkpoint.
const TEXT_FILES: [&str; 4] = ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"];

/// A loaded policy.
#[derive(Debug)]
pub struct Policy<B: Backend> {
    /// Its `config.json`.
    pub config: AutoConfig,
    /// Its weights.
    pub model: AutoModel<B>,
    /// Its tokenizer and chat template.
    pub text: PolicyText,
    folder: PathBuf,
}

impl<B: Backend> Policy<B> {
    /// Loads the policy. `embedded` is the folder that holds the policy inside the binary; `seed` is for new weights.
    ///
    /// # Errors
    /// Names the file that is missing or wrong.
    pub fn load(source: &PolicySource, embedded: &Path, seed: u64, device: &B::Device) -> Result<Self, TrainingError> {
        let folder = match source {
            PolicySource::Embedded { .. } => embedded,
            PolicySource::Folder { path } | PolicySource::New { path } => path,
        };
        let (config, model) = if let PolicySource::New { .. } = source {
            let path = folder.join("config.json");
            let text = std::fs::read_to_string(&path).map_err(|source| CheckpointError::Access { path: path.clone(), source })?;
            let invalid = |reason: String| CheckpointError::Invalid { path: path.clone(), reason };
            let config: AutoConfig = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
            let model = config.init(device).map_err(invalid)?;
            let model = initialize(model, config.decoder().initializer_range, seed);
            (config, model)
        } else {
            load_folder(folder, device)?
        };
        let text = PolicyText::from_folder(folder)?;
        let known = text.tokenizer.vocab_size();
        if known > config.vocab_size() {
            let reason = format!("the tokenizer has {known} tokens, but the model knows {} (`vocab_size`)", config.vocab_size());
            return Err(CheckpointError::Invalid { path: folder.into(), reason }.into());
        }
        Ok(Self { config, model, text, folder: folder.to_owned() })
    }

    /// What rollouts with `model`, this policy's weights on some backend, need.
    pub fn context<'a, C: Backend>(
        &'a self,
        model: &'a AutoModel<C>,
        device: &'a C::Device,
        environment: &'a dyn Environment,
        weight_version: u64,
        cancelled: &'a AtomicBool,
    ) -> RolloutContext<'a, C> {
        let (layers, context) = (self.config.layers(), self.config.context());
        RolloutContext { model, layers, context, device, text: &self.text, environment, weight_version, cancelled }
    }

    /// Writes a checkpoint folder with `model`'s weights that this project and transformers load.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save<C: Backend>(&self, model: &AutoModel<C>, folder: &Path) -> Result<(), TrainingError> {
        save_folder(folder, &self.config, model)?;
        for name in TEXT_FILES {
            let (from, to) = (self.folder.join(name), folder.join(name));
            if from.exists() && from != to {
                std::fs::copy(&from, &to).map_err(|source| TrainingError::Access { path: to, source })?;
            }
        }
        Ok(())
    }
}
