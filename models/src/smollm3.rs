//! SmolLM3 (Hugging Face, 2025) as in transformers' `modeling_smollm3.py`: Llama in which some
//! layers do not turn queries and keys (NoPE; Yang et al., 2025, arXiv 2501.18795), every fourth
//! unless `no_rope_layers` says otherwise. Layers may look at a window of the newest tokens, which
//! no released checkpoint does.

use crate::auto::Settings;
use crate::layers::{
    Architecture, AttentionKind, DecoderConfig, Differences, RotaryEmbedding, check_layer_types,
    check_window, is_sliding,
};
use serde::{Deserialize, Serialize};

pub(crate) const SETTINGS: Settings = Settings {
    computed: &[
        "layer_types",
        "no_rope_layer_interval",
        "no_rope_layers",
        "sliding_window",
        "use_sliding_window",
    ],
    defaults: &[("num_key_value_heads", "4"), ("tie_word_embeddings", "true")],
};

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmolLm3Config {
    /// What it shares with others.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
    /// Whether the attention projections have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether the feed-forward maps have biases.
    #[serde(default)]
    pub mlp_bias: bool,
    /// For each layer 1 where it turns queries and keys, and 0 where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_rope_layers: Option<Vec<u8>>,
    /// Without `no_rope_layers`: the last of each so many layers does not.
    #[serde(default = "default_no_rope_layer_interval")]
    pub no_rope_layer_interval: usize,
    /// Whether a window is used.
    #[serde(default)]
    pub use_sliding_window: bool,
    /// How many tokens each sees in layers with a window.
    #[serde(default)]
    pub sliding_window: Option<usize>,
    /// For each layer `full_attention` or `sliding_attention`; when absent, those that do not turn
    /// have a window, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<String>>,
}

fn default_no_rope_layer_interval() -> usize {
    4
}

impl SmolLm3Config {
    fn turns(&self, layer: usize) -> bool {
        match &self.no_rope_layers {
            Some(layers) => layers.get(layer).is_some_and(|turns| *turns != 0),
            None => !(layer + 1).is_multiple_of(self.no_rope_layer_interval),
        }
    }

    fn slides(&self, layer: usize) -> bool {
        let has_window = self.use_sliding_window && self.sliding_window.is_some();
        is_sliding(self.layer_types.as_deref(), layer, || has_window && !self.turns(layer))
    }
}

impl Architecture for SmolLm3Config {
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

    fn attention(&self, layer: usize) -> AttentionKind {
        AttentionKind {
            rotation: self.turns(layer).then_some(0),
            window: self.sliding_window.filter(|_| self.slides(layer)),
            scale: None,
        }
    }

    fn rotations(&self) -> Result<Vec<RotaryEmbedding>, String> {
        Ok(vec![self.decoder.rotary_or(2e6)?])
    }

    fn check(&self) -> Result<(), String> {
        let count = self.decoder.num_hidden_layers;
        self.decoder.check_activation()?;
        check_window(self.sliding_window)?;
        check_layer_types(self.layer_types.as_deref(), count)?;
        if let Some(layers) = &self.no_rope_layers {
            if layers.len() != count || layers.iter().any(|turns| *turns > 1) {
                return Err(format!(
                    "`no_rope_layers` must be a list of 0 and 1 for each of {count} layers"
                ));
            }
        } else if self.no_rope_layer_interval == 0 {
            return Err("`no_rope_layer_interval` must be at least 1, not 0".into());
        }
        let slides = self.layer_types.iter().flatten().any(|kind| kind == "sliding_attention");
        if slides && !(self.use_sliding_window && self.sliding_window.is_some()) {
            return Err("`layer_types` has `sliding_attention`, which needs `sliding_window`, and `use_sliding_window` at true".into());
        }
        Ok(())
    }
}
