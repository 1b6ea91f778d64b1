//! Mistral (Jiang et al., 2023, arXiv 2310.06825) as in transformers' `modeling_mistral.py`: Llama
//! without biases, whose tokens see the newest `sliding_window` ones, in every layer. Without that
//! setting they see all, as in Mistral 7B v0.2 and later. Left out: `layer_types`, which
//! transformers ignores here and other programs follow; one with a window in it is refused.

use crate::auto::Settings;
use crate::layers::{Architecture, AttentionKind, DecoderConfig, Differences, check_window};
use serde::{Deserialize, Serialize};

pub(crate) const SETTINGS: Settings = Settings {
    computed: &["sliding_window"],
    defaults: &[("num_key_value_heads", "8"), ("sliding_window", "4096")],
};

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MistralConfig {
    /// What it shares with others.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
    /// How many tokens each sees, its own and the newest in front of it; null for all.
    #[serde(default)]
    pub sliding_window: Option<usize>,
}

impl Architecture for MistralConfig {
    fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    fn differences(&self) -> Differences {
        Differences::default()
    }

    fn attention(&self, _layer: usize) -> AttentionKind {
        AttentionKind { window: self.sliding_window, ..AttentionKind::default() }
    }

    fn check(&self) -> Result<(), String> {
        self.decoder.check_activation()?;
        check_window(self.sliding_window)
    }
}
