//! The architecture named by `model_type`, as transformers' `AutoModelForCausalLM` picks it.
//!
//! To add one: write its file, and a line in the list at the end of this one.

use crate::family::{ModelConfig, ModelFamily, Placement};
use crate::layers::{Architecture, AttentionState, CausalDecoder, DecoderConfig, HeadLayout};
use crate::layers::{Differences, Projection};
use crate::{CausalLm, DecodingState, Footprint, ForwardInput, Kernels, LinearMap, PackedWeights};
use burn::module::{AutodiffModule, Module};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use serde::{Deserialize, Serialize};

/// The family of all architectures in this crate.
#[derive(Clone, Copy, Debug)]
pub struct AutoFamily;

/// Declares [`AutoConfig`], [`AutoModel`] and what differs between their variants.
macro_rules! architectures {
    ($($(#[$doc:meta])* $variant:ident($config:ty) = $model_type:literal, $class:literal;)+) => {
        /// A `config.json`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "model_type")]
        pub enum AutoConfig {
            $($(#[$doc])* #[serde(rename = $model_type)] $variant($config),)+
        }

        /// A model of any supported architecture.
        #[derive(Module, Debug)]
        pub enum AutoModel<B: Backend> {
            $($(#[$doc])* $variant(CausalDecoder<B>),)+
        }

        impl AutoConfig {
            /// The supported values of `model_type`.
            pub const MODEL_TYPES: &[&str] = &[$($model_type),+];

            fn architecture(&self) -> &dyn Architecture {
                match self { $(Self::$variant(config) => config,)+ }
            }

            fn class(&self) -> &'static str {
                match self { $(Self::$variant(_) => $class,)+ }
            }

            /// The model of the same variant.
            fn wrap<B: Backend>(&self, model: CausalDecoder<B>) -> AutoModel<B> {
                match self { $(Self::$variant(_) => AutoModel::$variant(model),)+ }
            }
        }

        impl<B: Backend> AutoModel<B> {
            fn decoder(&self) -> &CausalDecoder<B> {
                match self { $(Self::$variant(model) => model,)+ }
            }

            fn decoder_mut(&mut self) -> &mut CausalDecoder<B> {
                match self { $(Self::$variant(model) => model,)+ }
            }
        }
    };
}

impl AutoConfig {
    /// The fields that all architectures share.
    pub fn decoder(&self) -> &DecoderConfig {
        self.architecture().decoder()
    }

    fn differences(&self) -> Differences {
        self.architecture().differences()
    }
}

impl ModelConfig for AutoConfig {
    fn check(&self) -> Result<(), String> {
        self.decoder().shape(self.differences()).map(drop)
    }

    fn vocab_size(&self) -> usize {
        self.decoder().vocab_size
    }

    fn context(&self) -> usize {
        self.decoder().max_position_embeddings
    }

    fn initializer_range(&self) -> f32 {
        self.decoder().initializer_range
    }

    fn class_name(&self) -> &'static str {
        self.class()
    }

    fn footprint(&self) -> Footprint {
        self.decoder().footprint()
    }

    fn linear_maps(&self) -> Box<dyn Iterator<Item = LinearMap> + '_> {
        Box::new(self.decoder().linear_maps())
    }

    fn is_superfluous(&self, tensor: &str) -> bool {
        // buffers that old checkpoints carry along, and the copy of a tied embedding
        tensor.ends_with("rotary_emb.inv_freq")
            || self.decoder().tie_word_embeddings && tensor == "lm_head.weight"
    }
}

impl ModelFamily for AutoFamily {
    type Config = AutoConfig;
    type Model<B: Backend> = AutoModel<B>;

    fn model_types() -> Vec<&'static str> {
        AutoConfig::MODEL_TYPES.to_vec()
    }

    fn init<B: Backend>(config: &AutoConfig, place: &Placement<B>) -> Result<AutoModel<B>, String> {
        Ok(config.wrap(config.decoder().init(config.differences(), place)?))
    }

    fn valid<B: AutodiffBackend>(model: &AutoModel<B>) -> AutoModel<B::InnerBackend> {
        model.valid()
    }
}

impl<B: Backend> CausalLm<B> for AutoModel<B> {
    type State = AttentionState<B>;
    type Layout = HeadLayout<B>;

    fn kernels(&self) -> &Kernels {
        self.decoder().kernels()
    }

    fn empty_state(&self, rows: usize) -> DecodingState<B, AttentionState<B>> {
        self.decoder().empty_state(rows)
    }

    fn layout(&self, input: &ForwardInput<B>) -> HeadLayout<B> {
        self.decoder().layout(input)
    }

    fn embed(&self, input: &ForwardInput<B>) -> Tensor<B, 2> {
        self.decoder().embed(input)
    }

    fn depth(&self) -> usize {
        self.decoder().depth()
    }

    fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        self.decoder().layer(index, x, layout, state)
    }

    fn final_norm(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.decoder().final_norm(x)
    }

    fn projections_mut(&mut self) -> Vec<(String, &mut Projection<B>)> {
        self.decoder_mut().projections_mut()
    }

    fn pack(&mut self, weights: PackedWeights) {
        self.decoder_mut().pack(weights);
    }

    fn packed_bytes(&mut self) -> usize {
        self.decoder_mut().packed_bytes()
    }

    fn unembed(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        self.decoder().unembed(hidden)
    }
}

architectures! {
    /// Llama 2 and 3, SmolLM2, TinyLlama and others; see [`crate::llama`].
    Llama(crate::llama::LlamaConfig) = "llama", "LlamaForCausalLM";
    /// Qwen2 and Qwen2.5; see [`crate::qwen2`].
    Qwen2(crate::qwen2::Qwen2Config) = "qwen2", "Qwen2ForCausalLM";
    /// Qwen3 (dense); see [`crate::qwen3`].
    Qwen3(crate::qwen3::Qwen3Config) = "qwen3", "Qwen3ForCausalLM";
}
