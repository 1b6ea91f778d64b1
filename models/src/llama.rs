//! Llama (Touvron et al., 2023) as in transformers' `modeling_llama.py`: optional biases, `llama3`
//! rope scaling. SmolLM2 and many others are Llama checkpoints. Left out: `pretraining_tp` other
//! than 1, which changes nothing but rounding.

use crate::layers::{CausalDecoder, DecoderConfig, Differences};
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlamaConfig {
    /// What it shares with others.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
    /// Whether the attention projections have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether the feed-forward maps have biases.
    #[serde(default)]
    pub mlp_bias: bool,
}

impl LlamaConfig {
    /// In what this checkpoint differs from others.
    pub(crate) fn differences(&self) -> Differences {
        Differences {
            query_key_value_bias: self.attention_bias,
            output_bias: self.attention_bias,
            feed_forward_bias: self.mlp_bias,
            ..Differences::default()
        }
    }

    /// A model with zero weights.
    ///
    /// # Errors
    /// Says which setting is not supported.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Result<CausalDecoder<B>, String> {
        self.decoder.init(self.differences(), device)
    }
}
