//! The architecture named by `model_type`, as transformers' `AutoModelForCausalLM` picks it.
//!
//! To add one: write its file, add a variant to [`AutoConfig`] and to [`AutoModel`]; the compiler
//! names every place that is left.

use crate::layers::{CausalDecoder, DecoderConfig, HeadLayout, Projection};
use crate::llama::LlamaConfig;
use crate::qwen2::Qwen2Config;
use crate::qwen3::Qwen3Config;
use crate::{CausalLm, ForwardInput, KvCache};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// A `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model_type", rename_all = "snake_case")]
pub enum AutoConfig {
    /// Llama 2 and 3, SmolLM2, TinyLlama and others.
    Llama(LlamaConfig),
    /// Qwen2 and Qwen2.5.
    Qwen2(Qwen2Config),
    /// Qwen3 (dense).
    Qwen3(Qwen3Config),
}

/// A model of any supported architecture.
#[derive(Module, Debug)]
pub enum AutoModel<B: Backend> {
    /// See [`crate::llama`].
    Llama(CausalDecoder<B>),
    /// See [`crate::qwen2`].
    Qwen2(CausalDecoder<B>),
    /// See [`crate::qwen3`].
    Qwen3(CausalDecoder<B>),
}

impl AutoConfig {
    /// The supported values of `model_type`.
    pub const MODEL_TYPES: [&str; 3] = ["llama", "qwen2", "qwen3"];

    /// A model with zero weights.
    ///
    /// # Errors
    /// Says which setting of the configuration is not supported.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Result<AutoModel<B>, String> {
        Ok(match self {
            Self::Llama(config) => AutoModel::Llama(config.init(device)?),
            Self::Qwen2(config) => AutoModel::Qwen2(config.init(device)?),
            Self::Qwen3(config) => AutoModel::Qwen3(config.init(device)?),
        })
    }

    /// # Errors
    /// Says which setting is not supported, out of range or contradicts another.
    pub fn check(&self) -> Result<(), String> {
        let differences = match self {
            Self::Llama(config) => config.differences(),
            Self::Qwen2(config) => config.differences(),
            Self::Qwen3(config) => config.differences(),
        };
        self.decoder().shape(differences).map(drop)
    }

    /// The fields that all architectures share.
    pub fn decoder(&self) -> &DecoderConfig {
        match self {
            Self::Llama(config) => &config.decoder,
            Self::Qwen2(config) => &config.decoder,
            Self::Qwen3(config) => &config.decoder,
        }
    }

    /// Number of decoder layers.
    pub fn layers(&self) -> usize {
        self.decoder().num_hidden_layers
    }

    /// Number of tokens that the model knows.
    pub fn vocab_size(&self) -> usize {
        self.decoder().vocab_size
    }

    /// Longest sequence that the model was made for.
    pub fn context(&self) -> usize {
        self.decoder().max_position_embeddings
    }

    /// The class name that transformers expects under `architectures`.
    pub fn class_name(&self) -> &'static str {
        match self {
            Self::Llama(_) => "LlamaForCausalLM",
            Self::Qwen2(_) => "Qwen2ForCausalLM",
            Self::Qwen3(_) => "Qwen3ForCausalLM",
        }
    }
}

/// The same expression for the model of every variant.
macro_rules! each {
    ($auto:expr, $model:ident => $result:expr) => {
        match $auto {
            AutoModel::Llama($model) => $result,
            AutoModel::Qwen2($model) => $result,
            AutoModel::Qwen3($model) => $result,
        }
    };
}

impl<B: Backend> CausalLm<B> for AutoModel<B> {
    fn layout(&self, input: &ForwardInput<B>) -> HeadLayout<B> {
        each!(self, model => model.layout(input))
    }

    fn embed(&self, input: &ForwardInput<B>) -> Tensor<B, 2> {
        each!(self, model => model.embed(input))
    }

    fn depth(&self) -> usize {
        each!(self, model => model.depth())
    }

    fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        cache: Option<&mut KvCache<B>>,
    ) -> Tensor<B, 2> {
        each!(self, model => model.layer(index, x, layout, cache))
    }

    fn final_norm(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        each!(self, model => model.final_norm(x))
    }

    fn projections_mut(&mut self) -> Vec<(String, &mut Projection<B>)> {
        each!(self, model => model.projections_mut())
    }

    fn unembed(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        each!(self, model => model.unembed(hidden))
    }
}
