//! Qwen2 and Qwen2.5 (Qwen team, 2024) as in transformers' `modeling_qwen2.py`: Llama with biases
//! on the query, key and value projections. Left out: sliding-window attention, which no released
//! dense checkpoint turns on; a configuration that does is refused.

use crate::layers::{Architecture, DecoderConfig, Differences};
use serde::{Deserialize, Serialize};

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Qwen2Config {
    /// What it shares with others.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
}

impl Architecture for Qwen2Config {
    fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    fn differences(&self) -> Differences {
        Differences { query_key_value_bias: true, ..Differences::default() }
    }
}
