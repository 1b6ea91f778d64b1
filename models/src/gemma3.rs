//! Gemma 3, text (Gemma team, 2025, arXiv 2503.19786) as in transformers' `modeling_gemma3.py`:
//! norms in front of and behind both parts of a layer, all of which scale with `1 + weight`, norms
//! of queries and keys per head, embedded tokens times `sqrt(hidden_size)`, and GELU. Five of six
//! layers look at a window of the newest tokens; they turn queries and keys by another base. Left
//! out: images (`gemma3`), and attention in both directions, which is refused.

use crate::Footprint;
use crate::auto::Settings;
use crate::layers::{
    Activation, Architecture, Attention, AttentionKind, AttentionState, DecoderConfig,
    DecoderShape, Differences, FeedForward, HeadLayout, LayerKind, NamedMap, RmsNorm,
    RopeParameters, RotaryEmbedding, RotaryKind, check_windows, is_sliding, layer_maps,
};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

pub(crate) const SETTINGS: Settings = Settings {
    computed: &[
        "final_logit_softcapping",
        "layer_types",
        "query_pre_attn_scalar",
        "sliding_window",
    ],
    defaults: &[
        ("num_key_value_heads", "4"),
        ("head_dim", "256"),
        ("max_position_embeddings", "131072"),
        ("sliding_window", "4096"),
        ("tie_word_embeddings", "true"),
        ("vocab_size", "262208"),
    ],
};

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gemma3Config {
    /// What it shares with others; `hidden_act` says nothing here.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
    /// Whether the attention projections have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// What the gate goes through; only `gelu_pytorch_tanh` is supported.
    #[serde(default = "default_hidden_activation")]
    pub hidden_activation: String,
    /// Scores are divided by its root, instead of that of `head_dim`.
    #[serde(default = "default_query_pre_attn_scalar")]
    pub query_pre_attn_scalar: f64,
    /// How many tokens each sees in layers with a window.
    #[serde(default)]
    pub sliding_window: Option<usize>,
    /// For each layer `full_attention` or `sliding_attention`; when absent, every sixth layer sees
    /// all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<String>>,
    /// Without `layer_types`: the last of each so many layers sees all (before transformers 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sliding_window_pattern: Option<usize>,
    /// Base of the frequencies in layers with a window (before transformers 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_local_base_freq: Option<f64>,
    /// `c` of `c tanh(logits / c)`; null for logits as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_logit_softcapping: Option<f64>,
}

fn default_hidden_activation() -> String {
    "gelu_pytorch_tanh".into()
}

fn default_query_pre_attn_scalar() -> f64 {
    256.0
}

impl Gemma3Config {
    fn slides(&self, layer: usize) -> bool {
        let pattern = self.sliding_window_pattern.unwrap_or(6);
        is_sliding(self.layer_types.as_deref(), layer, || !(layer + 1).is_multiple_of(pattern))
    }
}

impl Architecture for Gemma3Config {
    fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    fn differences(&self) -> Differences {
        Differences {
            query_key_value_bias: self.attention_bias,
            output_bias: self.attention_bias,
            query_key_norm: true,
            norms_around_one: true,
            scaled_embedding: true,
            activation: Activation::GeluTanh,
            ..Differences::default()
        }
    }

    fn layer(&self, _number: usize) -> LayerKind {
        LayerKind::Gemma3
    }

    fn attention(&self, layer: usize) -> AttentionKind {
        let slides = self.slides(layer);
        AttentionKind {
            rotation: Some(usize::from(slides)),
            window: self.sliding_window.filter(|_| slides),
            scale: Some(self.query_pre_attn_scalar.powf(-0.5)),
        }
    }

    fn rotations(&self) -> Result<Vec<RotaryEmbedding>, String> {
        let scaling: Option<&RopeParameters> = self.decoder.rope_scaling.as_ref();
        let full = RotaryKind {
            name: "full_attention",
            scaling,
            old_theta: ("rope_theta", self.decoder.rope_theta),
            default: 1e6,
        };
        let sliding = RotaryKind {
            name: "sliding_attention",
            scaling: None,
            old_theta: ("rope_local_base_freq", self.rope_local_base_freq),
            default: 1e4,
        };
        Ok(vec![self.decoder.rotary_of(full)?, self.decoder.rotary_of(sliding)?])
    }

    fn logit_softcapping(&self) -> Option<f64> {
        self.final_logit_softcapping
    }

    fn check(&self) -> Result<(), String> {
        let count = self.decoder.num_hidden_layers;
        if self.hidden_activation != "gelu_pytorch_tanh" {
            return Err(format!(
                "`hidden_activation` must be `gelu_pytorch_tanh`, not `{}`",
                self.hidden_activation
            ));
        }
        for (name, value) in [
            ("query_pre_attn_scalar", Some(self.query_pre_attn_scalar)),
            ("final_logit_softcapping", self.final_logit_softcapping),
        ] {
            if let Some(value) = value.filter(|value| !(1e-6..=1e6).contains(value)) {
                return Err(format!("`{name}` must be a number from 1e-6 to 1e6, not {value}"));
            }
        }
        if self.sliding_window_pattern == Some(0) {
            return Err("`sliding_window_pattern` must be at least 1, not 0".into());
        }
        let slides = |layer| self.slides(layer);
        check_windows(self.layer_types.as_deref(), self.sliding_window, count, slides)
    }

    /// As that of Llama, with the inputs and factors of two more norms (`6 H`) and what GELU keeps
    /// (`4 I`).
    fn footprint(&self) -> Footprint {
        let mut footprint = self.decoder.footprint(self.differences());
        for layer in &mut footprint.layers {
            layer.kept_single += 6.0 * self.decoder.hidden_size as f64;
            layer.kept += 4.0 * self.decoder.intermediate_size as f64;
        }
        footprint
    }
}

/// Attention and feed-forward, each between two norms and inside a residual.
#[derive(Module, Debug)]
pub struct Gemma3Layer<B: Backend> {
    /// In front of attention.
    pub input_layernorm: RmsNorm<B>,
    /// Attention.
    pub self_attn: Attention<B>,
    /// Behind attention.
    pub post_attention_layernorm: RmsNorm<B>,
    /// In front of the feed-forward block.
    pub pre_feedforward_layernorm: RmsNorm<B>,
    /// Feed-forward.
    pub mlp: FeedForward<B>,
    /// Behind the feed-forward block.
    pub post_feedforward_layernorm: RmsNorm<B>,
}

impl<B: Backend> Gemma3Layer<B> {
    pub(crate) fn new(shape: &DecoderShape, attention: AttentionKind, device: &B::Device) -> Self {
        let norm = || shape.norm(shape.hidden_size, device);
        Self {
            input_layernorm: norm(),
            self_attn: Attention::of_kind(shape, attention, device),
            post_attention_layernorm: norm(),
            pre_feedforward_layernorm: norm(),
            mlp: shape.feed_forward(shape.intermediate_size, device),
            post_feedforward_layernorm: norm(),
        }
    }

    /// `y = x + norm(attention(norm(x)))`, `y + norm(mlp(norm(y)))`.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub(crate) fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let y = self.input_layernorm.forward(x.clone());
        let attended = self.self_attn.forward(y, layout, state);
        let x = x + self.post_attention_layernorm.forward(attended);
        let y = self.pre_feedforward_layernorm.forward(x.clone());
        let inner = self.mlp.forward(y, layout.dropout);
        x + self.post_feedforward_layernorm.forward(inner)
    }

    pub(crate) fn maps(&mut self) -> Vec<NamedMap<'_, B>> {
        layer_maps(&mut self.self_attn, &mut self.mlp)
    }
}
