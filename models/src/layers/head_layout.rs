//! Moving heads in front of time and back, and what else all layers of a forward pass share.
//!
//! Activations are `[tokens, heads * head_dim]`; attention wants `[batch, heads, time, head_dim]`.
//! The rows of `head_dim` values are moved by gathering, which copies whole rows and leaves
//! everything contiguous on every backend.

use super::{RotaryEmbedding, Rotation};
use crate::{ForwardInput, Kernels};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

/// Index lists, rotations and the mask of one forward pass.
#[derive(Clone, Debug)]
pub struct HeadLayout<B: Backend> {
    batch: usize,
    time: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) kernels: Kernels,
    /// Rotation of the query heads.
    pub query_rotation: Rotation<B>,
    /// Rotation of the key heads.
    pub key_rotation: Rotation<B>,
    /// Added to attention scores, `[batch, time * columns]`, or `[1, time * columns]` for all alike.
    pub mask: Option<Tensor<B, 2>>,
    /// Seed of what adapters drop; `None` outside of training.
    pub dropout: Option<u64>,
    queries_forward: Option<Tensor<B, 1, Int>>,
    queries_back: Option<Tensor<B, 1, Int>>,
    keys_forward: Option<Tensor<B, 1, Int>>,
}

impl<B: Backend> HeadLayout<B> {
    /// For a batch and a model's numbers of heads.
    pub fn new(
        input: &ForwardInput<B>,
        rotary: &RotaryEmbedding,
        heads: usize,
        kv_heads: usize,
        kernels: &Kernels,
    ) -> Self {
        let device = input.tokens.device();
        let [batch, time] = input.tokens.dims();
        // with one token a sequence the two layouts are the same
        let indices = |heads: usize, forward: bool| {
            (time > 1).then(|| indices(batch, time, heads, forward, &device))
        };
        let mask = input.mask.clone().map(|mask| {
            let [rows, _, _, columns] = mask.dims();
            mask.reshape([rows, time * columns])
        });
        let [query_rotation, key_rotation] =
            rotary.rotations(&input.positions, [heads, kv_heads], kernels, &device);
        Self {
            batch,
            time,
            heads,
            kv_heads,
            kernels: kernels.clone(),
            query_rotation,
            key_rotation,
            mask,
            dropout: input.dropout,
            queries_forward: indices(heads, true),
            queries_back: indices(heads, false),
            keys_forward: indices(kv_heads, true),
        }
    }

    /// Query heads in front of time; those that share a key-value head are further rows of it.
    ///
    /// # Shapes
    /// - `x`: `[tokens, heads * head_dim]`; output: `[batch, kv_heads, heads / kv_heads * time,
    ///   head_dim]`
    pub fn split_queries(&self, x: Tensor<B, 2>, kv_heads: usize, head_dim: usize) -> Tensor<B, 4> {
        let rows = x.dims()[1] / head_dim * self.time / kv_heads;
        gather(x, self.queries_forward.as_ref(), head_dim)
            .reshape([self.batch, kv_heads, rows, head_dim])
    }

    /// Key or value heads in front of time.
    ///
    /// # Shapes
    /// - `x`: `[tokens, kv_heads * head_dim]`; output: `[batch, kv_heads, time, head_dim]`
    pub fn split_keys(&self, x: Tensor<B, 2>, kv_heads: usize, head_dim: usize) -> Tensor<B, 4> {
        gather(x, self.keys_forward.as_ref(), head_dim)
            .reshape([self.batch, kv_heads, self.time, head_dim])
    }

    /// The inverse of [`Self::split_queries`].
    ///
    /// # Shapes
    /// - `x`: `[batch, kv_heads, heads / kv_heads * time, head_dim]`; output: `[tokens, heads *
    ///   head_dim]`
    pub fn join(&self, x: Tensor<B, 4>) -> Tensor<B, 2> {
        let [batch, kv_heads, rows, head_dim] = x.dims();
        let tokens = self.batch * self.time;
        let flat = x.reshape([batch * kv_heads * rows, head_dim]);
        gather(flat, self.queries_back.as_ref(), head_dim)
            .reshape([tokens, batch * kv_heads * rows * head_dim / tokens])
    }
}

fn gather<B: Backend>(
    x: Tensor<B, 2>,
    indices: Option<&Tensor<B, 1, Int>>,
    head_dim: usize,
) -> Tensor<B, 2> {
    let [rows, width] = x.dims();
    let x = x.reshape([rows * width / head_dim, head_dim]);
    match indices {
        Some(indices) => x.select(0, indices.clone()),
        None => x,
    }
}

/// For each row of the target layout its row in the source layout.
fn indices<B: Backend>(
    batch: usize,
    time: usize,
    heads: usize,
    forward: bool,
    device: &B::Device,
) -> Tensor<B, 1, Int> {
    let (outer, inner) = if forward { (heads, time) } else { (time, heads) };
    let row =
        |sequence: usize, a: usize, b: usize| (sequence * time * heads + b * outer + a) as i32;
    let rows = (0..batch).flat_map(|sequence| {
        (0..outer).flat_map(move |a| (0..inner).map(move |b| row(sequence, a, b)))
    });
    Tensor::from_data(TensorData::new(rows.collect(), [batch * time * heads]), device)
}
