//! Qwen3, dense (Qwen team, 2025) as in transformers' `modeling_qwen3.py`: Llama with a norm over
//! each query and key head, and a head size of its own. Left out: sliding-window attention, which
//! is refused, and mixtures of experts.

use crate::layers::{Architecture, DecoderConfig, Differences};
use serde::{Deserialize, Serialize};

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Qwen3Config {
    /// What it shares with others.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
    /// Whether the attention projections have biases.
    #[serde(default)]
    pub attention_bias: bool,
}

impl Architecture for Qwen3Config {
    fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    fn differences(&self) -> Differences {
        Differences {
            query_key_value_bias: self.attention_bias,
            output_bias: self.attention_bias,
            query_key_norm: true,
            ..Differences::default()
        }
    }
}
