//! OLMo 3 (Ai2, 2025) as in transformers' `modeling_olmo3.py`: norms behind attention and
//! feed-forward instead of in front of them, norms over all query and all key heads together, and
//! three layers with a window of the newest tokens to each that sees all. Layers that see all may
//! scale their rotation (`yarn`), those with a window never do.

use crate::auto::Settings;
use crate::layers::{
    Architecture, Attention, AttentionKind, AttentionState, DecoderConfig, DecoderShape,
    Differences, FeedForward, HeadLayout, NamedMap, RmsNorm, RotaryEmbedding, RotaryKind,
    check_windows, is_sliding, layer_maps,
};
use crate::layers::{LayerKind, RopeParameters};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

pub(crate) const SETTINGS: Settings = Settings {
    computed: &["layer_types", "sliding_window"],
    defaults: &[("rms_norm_eps", "1e-5"), ("sliding_window", "4096")],
};

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Olmo3Config {
    /// What it shares with others.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
    /// Whether the attention projections have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// How many tokens each sees in layers with a window.
    #[serde(default)]
    pub sliding_window: Option<usize>,
    /// For each layer `full_attention` or `sliding_attention`; when absent, every fourth layer sees
    /// all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<String>>,
}

impl Olmo3Config {
    fn slides(&self, layer: usize) -> bool {
        is_sliding(self.layer_types.as_deref(), layer, || !(layer + 1).is_multiple_of(4))
    }
}

/// The base of all layers when none is given.
const THETA: f64 = 500_000.0;

impl Architecture for Olmo3Config {
    fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    fn differences(&self) -> Differences {
        Differences {
            query_key_value_bias: self.attention_bias,
            output_bias: self.attention_bias,
            query_key_norm_over_heads: true,
            ..Differences::default()
        }
    }

    fn layer(&self, _number: usize) -> LayerKind {
        LayerKind::Olmo3
    }

    fn attention(&self, layer: usize) -> AttentionKind {
        let slides = self.slides(layer);
        AttentionKind {
            rotation: Some(usize::from(slides)),
            window: self.sliding_window.filter(|_| slides),
            scale: None,
        }
    }

    fn rotations(&self) -> Result<Vec<RotaryEmbedding>, String> {
        let theta = self.decoder.rope_theta;
        if self.decoder.rope_parameters.is_none()
            && let Some(theta) = theta.filter(|theta| *theta != THETA)
        {
            return Err(format!(
                "`rope_theta` is {theta}, which versions of transformers read differently for layers with a window\nhint: write `rope_parameters` with a base for each kind of layer"
            ));
        }
        let scaling = self.decoder.rope_scaling.as_ref();
        let kind = |name, scaling: Option<&RopeParameters>| {
            let old_theta = ("rope_theta", theta);
            self.decoder.rotary_of(RotaryKind { name, scaling, old_theta, default: THETA })
        };
        Ok(vec![kind("full_attention", scaling)?, kind("sliding_attention", None)?])
    }

    fn check(&self) -> Result<(), String> {
        let count = self.decoder.num_hidden_layers;
        self.decoder.check_activation()?;
        let slides = |layer| self.slides(layer);
        check_windows(self.layer_types.as_deref(), self.sliding_window, count, slides)
    }
}

/// Attention and feed-forward, each in front of a norm and inside a residual.
#[derive(Module, Debug)]
pub struct Olmo3Layer<B: Backend> {
    /// Attention.
    pub self_attn: Attention<B>,
    /// Behind attention.
    pub post_attention_layernorm: RmsNorm<B>,
    /// Feed-forward.
    pub mlp: FeedForward<B>,
    /// Behind the feed-forward block.
    pub post_feedforward_layernorm: RmsNorm<B>,
}

impl<B: Backend> Olmo3Layer<B> {
    pub(crate) fn new(shape: &DecoderShape, attention: AttentionKind, device: &B::Device) -> Self {
        Self {
            self_attn: Attention::of_kind(shape, attention, device),
            post_attention_layernorm: shape.norm(shape.hidden_size, device),
            mlp: shape.feed_forward(shape.intermediate_size, device),
            post_feedforward_layernorm: shape.norm(shape.hidden_size, device),
        }
    }

    /// `y = x + norm(attention(x))`, `y + norm(mlp(y))`.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub(crate) fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let attended = self.self_attn.forward(x.clone(), layout, state);
        let x = x + self.post_attention_layernorm.forward(attended);
        let inner = self.mlp.forward(x.clone(), layout.dropout);
        x + self.post_feedforward_layernorm.forward(inner)
    }

    pub(crate) fn maps(&mut self) -> Vec<NamedMap<'_, B>> {
        layer_maps(&mut self.self_attn, &mut self.mlp)
    }
}
