//! Qwen2 and Qwen2.5 (Qwen team, 2024) as in transformers' `modeling_qwen2.py`: Llama with biases
//! on the query, key and value projections. Left out: sliding-window attention, which no released
//! dense checkpoint turns on; a configuration that does is refused.

use crate::layers::{CausalDecoder, DecoderConfig, Differences};
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Qwen2Config {
    /// What it shares with others.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
}

impl Qwen2Config {
    /// In what this checkpoint differs from others.
    pub(crate) fn differences(&self) -> Differences {
        Differences { query_key_value_bias: true, ..Differences::default() }
    }

    /// A model with zero weights.
    ///
    /// # Errors
    /// Says which setting is not supported.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Result<CausalDecoder<B>, String> {
        self.decoder.init(self.differences(), device)
    }
}
