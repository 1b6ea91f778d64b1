//! Llama (Touvron et al., 2023) as in transformers' `modeling_llama.py`: optional biases, `llama3`
//! rope scaling. SmolLM2 and many others are Llama checkpoints. Left out: `pretraining_tp` other
//! than 1, which changes nothing but rounding.

use crate::layers::{Architecture, DecoderConfig, Differences};
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

impl Architecture for LlamaConfig {
    fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    fn differences(&self) -> Differences {
        Differences {
            query_key_value_bias: self.attention_bias,
            output_bias: self.attention_bias,
            feed_forward_bias: self.mlp_bias,
            ..Differences::default()
        }
    }
}
