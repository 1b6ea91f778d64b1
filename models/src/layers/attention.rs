//! Grouped-query attention (Ainslie et al., 2023) with rotary positions, optional biases (Qwen2)
//! and per-head query and key norms (Qwen3).

use super::{AttentionState, DecoderShape, HeadLayout, Projection, RmsNorm, in_f32, matching};
use crate::Kernels;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;

/// The attention block of a decoder layer.
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    /// `[hidden_size, heads * head_dim]`
    pub q_proj: Projection<B>,
    /// `[hidden_size, kv_heads * head_dim]`
    pub k_proj: Projection<B>,
    /// `[hidden_size, kv_heads * head_dim]`
    pub v_proj: Projection<B>,
    /// `[heads * head_dim, hidden_size]`
    pub o_proj: Projection<B>,
    /// Over `head_dim`, if the architecture has it.
    pub q_norm: Option<RmsNorm<B>>,
    /// Over `head_dim`, if the architecture has it.
    pub k_norm: Option<RmsNorm<B>>,
    head_dim: usize,
}

impl<B: Backend> Attention<B> {
    /// A block with zero weights.
    pub fn new(shape: &DecoderShape, device: &B::Device) -> Self {
        let (hidden, queries, keys) =
            (shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let norm = || {
            shape
                .differences
                .query_key_norm
                .then(|| RmsNorm::new(shape.head_dim, shape.rms_norm_eps, &shape.kernels, device))
        };
        Self {
            q_proj: Projection::new(
                hidden,
                queries,
                shape.differences.query_key_value_bias,
                device,
            ),
            k_proj: Projection::new(hidden, keys, shape.differences.query_key_value_bias, device),
            v_proj: Projection::new(hidden, keys, shape.differences.query_key_value_bias, device),
            o_proj: Projection::new(queries, hidden, shape.differences.output_bias, device),
            q_norm: norm(),
            k_norm: norm(),
            head_dim: shape.head_dim,
        }
    }

    /// The projections of `x`, [`HeadLayout::attend`], and the output projection.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let maps = [&self.q_proj, &self.k_proj, &self.v_proj];
        let [queries, keys, values] = Projection::forward_all(maps, x, layout.dropout);
        let queries = self.normalise(&self.q_norm, queries);
        let keys = self.normalise(&self.k_norm, keys);
        self.o_proj.forward(layout.attend(queries, keys, values, state), layout.dropout)
    }

    fn normalise(&self, norm: &Option<RmsNorm<B>>, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let Some(norm) = norm else { return x };
        let [tokens, width] = x.dims();
        norm.forward(x.reshape([tokens * width / self.head_dim, self.head_dim]))
            .reshape([tokens, width])
    }
}

impl<B: Backend> HeadLayout<B> {
    /// Attention of all heads, whatever the projections around it:
    /// `softmax(q k^T / sqrt(head_dim) + mask) v`, with `q` and `k` turned by their positions.
    /// `state` are the keys and values of the tokens before these, to which these are added.
    ///
    /// Heads lie side by side, and `heads / kv_heads` neighbours share a key-value head.
    ///
    /// # Shapes
    /// - `queries`, output: `[tokens, heads * head_dim]`
    /// - `keys`, `values`: `[tokens, kv_heads * head_dim]`
    pub fn attend(
        &self,
        queries: Tensor<B, 2>,
        keys: Tensor<B, 2>,
        values: Tensor<B, 2>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let head_dim = queries.dims()[1] / self.heads;
        let mut state = state;
        if let Some(cache) = state.as_mut().and_then(|state| state.cache(self, &queries)) {
            let queries = self.rotation.apply(queries);
            let keys = self.rotation.apply(keys);
            return cache.attend(queries, keys, values, &self.real);
        }
        let values = self.split_keys(values, self.kv_heads, head_dim);
        // scaling the queries costs less than scaling the scores
        let queries = self.rotation.apply(queries) * (head_dim as f64).powf(-0.5);
        let queries = self.split_queries(queries, self.kv_heads, head_dim);
        let keys = self.split_keys(self.rotation.apply(keys), self.kv_heads, head_dim);
        let parts = match state {
            Some(state) => state.append(keys, values),
            None => vec![(keys.swap_dims(2, 3), values)],
        };
        let scores = parts.iter().map(|(keys, _)| queries.clone().matmul(keys.clone()));
        let scores = in_f32(side_by_side(scores.collect()));
        let weights = masked_softmax(scores, self.mask(), &self.kernels);
        let mut from = 0;
        let attended = parts.into_iter().map(|(_, values)| {
            let columns = values.dims()[2];
            let part = if weights.dims()[3] == columns {
                weights.clone()
            } else {
                weights.clone().narrow(3, from, columns)
            };
            from += columns;
            matching(part, &values).matmul(values)
        });
        let attended =
            attended.reduce(|sum, part| sum + part).expect("a state holds the newest columns");
        self.join(attended)
    }
}

fn side_by_side<B: Backend>(mut parts: Vec<Tensor<B, 4>>) -> Tensor<B, 4> {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, 3) }
}

/// Softmax over the last dimension of `scores + mask`.
///
/// # Shapes
/// - `scores`, output: `[batch, kv_heads, group * time, columns]`
/// - `mask`: see [`HeadLayout::mask`]
fn masked_softmax<B: Backend>(
    scores: Tensor<B, 4>,
    mask: Option<&Tensor<B, 2>>,
    kernels: &Kernels,
) -> Tensor<B, 4> {
    if let Some(fused) = kernels.suiting(&scores) {
        return fused.masked_softmax(scores, mask.cloned());
    }
    let shape = scores.dims();
    let scores = match mask {
        Some(mask) => {
            let [rows, width] = mask.dims();
            let blocks = shape.iter().product::<usize>() / width;
            let scores = scores.reshape([rows, blocks / rows, width]);
            (scores + mask.clone().unsqueeze_dim(1)).reshape(shape)
        }
        None => scores,
    };
    if !B::ad_enabled(&scores.device()) {
        return softmax(scores, 3);
    }
    // exp(-87) is the smallest normal f32 and vanishes beside the largest weight, exp(0); below it
    // exp takes a path many times slower
    let shifted = scores.clone() - scores.detach().max_dim(3);
    let weights = shifted.clamp_min(-87.0).exp();
    weights.clone() / weights.sum_dim(3)
}
