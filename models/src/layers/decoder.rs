//! The pre-norm decoder stack.

use super::{
    Attention, AttentionState, Differences, FeedForward, HeadLayout, Projection, RmsNorm,
    RotaryEmbedding, embed,
};
use crate::{ForwardInput, Kernels};
use burn::module::{Module, Param};
use burn::nn::Embedding;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// The numbers that a decoder is built from; each architecture derives them from its own
/// configuration.
#[derive(Clone, Debug)]
pub struct DecoderShape {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; divides `heads`.
    pub kv_heads: usize,
    /// Features of a head; even.
    pub head_dim: usize,
    /// Added to the mean square under the root.
    pub rms_norm_eps: f64,
    /// Biases and norms that not all architectures have.
    pub differences: Differences,
    /// Positions.
    pub rotary: RotaryEmbedding,
    /// What layers use in place of their formulas.
    pub kernels: Kernels,
}

/// Attention and feed-forward, each behind a norm and around a residual.
#[derive(Module, Debug)]
pub struct DecoderLayer<B: Backend> {
    /// Before attention.
    pub input_layernorm: RmsNorm<B>,
    /// Attention.
    pub self_attn: Attention<B>,
    /// Before the feed-forward block.
    pub post_attention_layernorm: RmsNorm<B>,
    /// Feed-forward.
    pub mlp: FeedForward<B>,
}

/// Embedding, layers and final norm.
#[derive(Module, Debug)]
pub struct Decoder<B: Backend> {
    /// `[vocab_size, hidden_size]`
    pub embed_tokens: Embedding<B>,
    /// The layers.
    pub layers: Vec<DecoderLayer<B>>,
    /// After the last layer.
    pub norm: RmsNorm<B>,
    heads: usize,
    kv_heads: usize,
    #[module(skip)]
    rotary: RotaryEmbedding,
    #[module(skip)]
    kernels: Kernels,
}

impl<B: Backend> Decoder<B> {
    /// A decoder with zero weights.
    pub fn new(shape: &DecoderShape, device: &B::Device) -> Self {
        let norm = || RmsNorm::new(shape.hidden_size, shape.rms_norm_eps, &shape.kernels, device);
        let layer = |_| DecoderLayer {
            input_layernorm: norm(),
            self_attn: Attention::new(shape, device),
            post_attention_layernorm: norm(),
            mlp: FeedForward::new(
                shape.hidden_size,
                shape.intermediate_size,
                shape.differences.feed_forward_bias,
                &shape.kernels,
                device,
            ),
        };
        Self {
            embed_tokens: Embedding {
                weight: Param::from_tensor(Tensor::zeros(
                    [shape.vocab_size, shape.hidden_size],
                    device,
                )),
            },
            layers: (0..shape.layers).map(layer).collect(),
            norm: norm(),
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            rotary: shape.rotary.clone(),
            kernels: shape.kernels.clone(),
        }
    }

    /// See [`crate::CausalLm::kernels`].
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// See [`crate::CausalLm::layout`].
    pub fn layout(&self, input: &ForwardInput<B>) -> HeadLayout<B> {
        HeadLayout::new(input, &self.rotary, self.heads, self.kv_heads, &self.kernels)
    }

    /// See [`crate::CausalLm::embed`].
    pub fn embed(&self, input: &ForwardInput<B>) -> Tensor<B, 2> {
        embed(&self.embed_tokens, input)
    }

    /// See [`crate::CausalLm::projections_mut`].
    pub fn projections_mut(&mut self) -> Vec<(String, &mut Projection<B>)> {
        let mut found = Vec::new();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let (attention, mlp) = (&mut layer.self_attn, &mut layer.mlp);
            let maps = [
                ("self_attn.q_proj", &mut attention.q_proj),
                ("self_attn.k_proj", &mut attention.k_proj),
                ("self_attn.v_proj", &mut attention.v_proj),
                ("self_attn.o_proj", &mut attention.o_proj),
                ("mlp.gate_proj", &mut mlp.gate_proj),
                ("mlp.up_proj", &mut mlp.up_proj),
                ("mlp.down_proj", &mut mlp.down_proj),
            ];
            found.extend(maps.map(|(name, map)| (format!("model.layers.{index}.{name}"), map)));
        }
        found
    }

    /// See [`crate::CausalLm::layer`].
    pub fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let layer = &self.layers[index];
        let x =
            x.clone() + layer.self_attn.forward(layer.input_layernorm.forward(x), layout, state);
        x.clone() + layer.mlp.forward(layer.post_attention_layernorm.forward(x), layout.dropout)
    }
}
