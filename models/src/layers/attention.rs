//! Grouped-query attention (Ainslie et al., 2023) with rotary positions, optional biases (Qwen2) and per-head query and key norms
//! (Qwen3).
//!
//! Query heads that share a key-value head are laid out as further query rows of it, so keys and values are never repeated.

use super::{DecoderShape, RmsNorm, Rotation, linear, project};
use crate::cache::LayerCache;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;

/// The attention block of a decoder layer.
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    /// `[hidden_size, heads * head_dim]`
    pub q_proj: Linear<B>,
    /// `[hidden_size, kv_heads * head_dim]`
    pub k_proj: Linear<B>,
    /// `[hidden_size, kv_heads * head_dim]`
    pub v_proj: Linear<B>,
    /// `[heads * head_dim, hidden_size]`
    pub o_proj: Linear<B>,
    /// Over `head_dim`, if the architecture has it.
    pub q_norm: Option<RmsNorm<B>>,
    /// Over `head_dim`, if the architecture has it.
    pub k_norm: Option<RmsNorm<B>>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl<B: Backend> Attention<B> {
    /// A block with zero weights.
    pub fn new(shape: &DecoderShape, device: &B::Device) -> Self {
        let (hidden, queries, keys) = (shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let norm = || shape.query_key_norm.then(|| RmsNorm::new(shape.head_dim, shape.rms_norm_eps, device));
        Self {
            q_proj: linear(hidden, queries, shape.query_key_value_bias, device),
            k_proj: linear(hidden, keys, shape.query_key_value_bias, device),
            v_proj: linear(hidden, keys, shape.query_key_value_bias, device),
            o_proj: linear(queries, hidden, shape.output_bias, device),
            q_norm: norm(),
            k_norm: norm(),
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
        }
    }

    /// `softmax(q k^T / sqrt(head_dim) + mask) v`.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, time, hidden_size]`
    /// - `mask`, added to the scores: `[batch or 1, 1, time, past + time]`
    pub fn forward(&self, x: Tensor<B, 3>, rotation: &Rotation<B>, mask: Option<&Tensor<B, 4>>, cache: Option<&mut LayerCache<B>>) -> Tensor<B, 3> {
        let [batch, time, _] = x.dims();
        let split = |projected: Tensor<B, 3>, heads: usize| projected.reshape([batch, time, heads, self.head_dim]).swap_dims(1, 2);
        let normalise = |norm: &Option<RmsNorm<B>>, x| match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let queries = normalise(&self.q_norm, split(project(&self.q_proj, x.clone()), self.heads));
        let keys = normalise(&self.k_norm, split(project(&self.k_proj, x.clone()), self.kv_heads));
        let values = split(project(&self.v_proj, x), self.kv_heads);
        // scaling the queries costs less than scaling the scores
        let queries = rotation.apply(queries) * (self.head_dim as f64).powf(-0.5);
        let keys = rotation.apply(keys);
        let (keys, values) = match cache {
            Some(cache) => cache.append(keys, values),
            None => (keys, values),
        };
        let past_and_time = keys.dims()[2];
        let group = self.heads / self.kv_heads;
        let queries = queries.reshape([batch, self.kv_heads, group * time, self.head_dim]);
        let mut scores = queries.matmul(keys.swap_dims(2, 3)).reshape([batch, self.heads, time, past_and_time]);
        if let Some(mask) = mask {
            scores = scores + mask.clone();
        }
        let weights = softmax(scores, 3).reshape([batch, self.kv_heads, group * time, past_and_time]);
        let mixed = weights.matmul(values).reshape([batch, self.heads, time, self.head_dim]);
        project(&self.o_proj, mixed.swap_dims(1, 2).reshape([batch, time, self.heads * self.head_dim]))
    }
}
