//! Grouped-query attention (Ainslie et al., 2023) with rotary positions or none, over all tokens or
//! a window of the newest, with optional biases (Qwen2) and norms of queries and keys, per head
//! (Qwen3) or over all of them (OLMo 3).

use super::{
    AttentionState, DecoderShape, Differences, HeadLayout, Projection, RmsNorm, in_f32, matching,
};
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
    /// Over `head_dim` or all heads, if the architecture has it.
    pub q_norm: Option<RmsNorm<B>>,
    /// Over `head_dim` or all heads, if the architecture has it.
    pub k_norm: Option<RmsNorm<B>>,
    #[module(skip)]
    kind: AttentionKind,
}

/// What sets the attention of a layer apart from that of others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionKind {
    /// Which of [`HeadLayout::rotations`] turns queries and keys; without one they say nothing of
    /// positions.
    pub rotation: Option<usize>,
    /// How many tokens each sees, its own and the newest in front of it; all when absent.
    pub window: Option<usize>,
    /// What `q k^T` is multiplied with; `head_dim^(-1/2)` when absent.
    pub scale: Option<f64>,
}

impl Default for AttentionKind {
    fn default() -> Self {
        Self { rotation: Some(0), window: None, scale: None }
    }
}

impl<B: Backend> Attention<B> {
    /// A block with zero weights.
    pub fn new(shape: &DecoderShape, device: &B::Device) -> Self {
        Self::of_kind(shape, AttentionKind::default(), device)
    }

    /// A block of a kind, with zero weights.
    pub fn of_kind(shape: &DecoderShape, kind: AttentionKind, device: &B::Device) -> Self {
        let (hidden, queries, keys) =
            (shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let Differences { query_key_norm, query_key_norm_over_heads, .. } = shape.differences;
        let norm = |width: usize| {
            let size = if query_key_norm_over_heads { width } else { shape.head_dim };
            (query_key_norm || query_key_norm_over_heads).then(|| shape.norm(size, device))
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
            q_norm: norm(queries),
            k_norm: norm(keys),
            kind,
        }
    }

    /// The projections of `x`, [`HeadLayout::attend_as`], and the output projection.
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
        let queries = normalise(&self.q_norm, queries);
        let keys = normalise(&self.k_norm, keys);
        let attended = layout.attend_as(self.kind, queries, keys, values, state);
        self.o_proj.forward(attended, layout.dropout)
    }
}

fn normalise<B: Backend>(norm: &Option<RmsNorm<B>>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match norm {
        Some(norm) => norm.forward_parts(x),
        None => x,
    }
}

impl<B: Backend> HeadLayout<B> {
    /// [`Self::attend_as`] over all tokens, with the first rotation.
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
        self.attend_as(AttentionKind::default(), queries, keys, values, state)
    }

    /// Attention of all heads, whatever the projections around it:
    /// `softmax(q k^T / sqrt(head_dim) + mask) v`, with `q` and `k` turned by their positions.
    /// `state` are the keys and values of the tokens before these, to which these are added; all
    /// inputs of a state are of one kind.
    ///
    /// Heads lie side by side, and `heads / kv_heads` neighbours share a key-value head.
    ///
    /// # Shapes
    /// - `queries`, output: `[tokens, heads * head_dim]`
    /// - `keys`, `values`: `[tokens, kv_heads * head_dim]`
    pub fn attend_as(
        &self,
        kind: AttentionKind,
        queries: Tensor<B, 2>,
        keys: Tensor<B, 2>,
        values: Tensor<B, 2>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let head_dim = queries.dims()[1] / self.heads;
        let usual_scale = (head_dim as f64).powf(-0.5);
        let turned = |x| match kind.rotation {
            Some(number) => self.rotations[number].apply(x),
            None => x,
        };
        let mut queries = turned(queries);
        let keys = turned(keys);
        if let Some(factors) = &self.query_factors {
            queries = queries.clone() * matching(factors.clone(), &queries);
        }
        let mut state = state;
        let cache = state.as_mut().and_then(|state| state.cache(self, &queries, kind.window));
        if let Some(cache) = cache {
            // a cache divides by the usual scale
            let queries = match kind.scale {
                Some(scale) => queries * (scale / usual_scale),
                None => queries,
            };
            return cache.attend(queries, keys, values, &self.real);
        }
        let values = self.split_keys(values, self.kv_heads, head_dim);
        // scaling the queries costs less than scaling the scores
        let queries = queries * kind.scale.unwrap_or(usual_scale);
        let queries = self.split_queries(queries, self.kv_heads, head_dim);
        let keys = self.split_keys(keys, self.kv_heads, head_dim);
        let parts = match state {
            Some(state) => state.append(keys, values),
            None => vec![(keys.swap_dims(2, 3), values)],
        };
        let scores = parts.iter().map(|(keys, _)| queries.clone().matmul(keys.clone()));
        let scores = in_f32(side_by_side(scores.collect()));
        let weights = masked_softmax(scores, self.mask_within(kind.window), &self.kernels);
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
    mask: Option<Tensor<B, 2>>,
    kernels: &Kernels,
) -> Tensor<B, 4> {
    if let Some(fused) = kernels.suiting(&scores) {
        return fused.masked_softmax(scores, mask);
    }
    let shape = scores.dims();
    let scores = match mask {
        Some(mask) => {
            let [rows, width] = mask.dims();
            let blocks = shape.iter().product::<usize>() / width;
            let scores = scores.reshape([rows, blocks / rows, width]);
            (scores + mask.unsqueeze_dim(1)).reshape(shape)
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
