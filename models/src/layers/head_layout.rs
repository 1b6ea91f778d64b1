//! Moving heads in front of time and back, and what else all layers of a forward pass share.
//!
//! Activations are `[tokens, heads * head_dim]`; attention wants `[batch, heads, time, head_dim]`.
//! The rows of `head_dim` values are moved by gathering, which copies whole rows and leaves
//! everything contiguous on every backend.

use super::gated_delta_net::DeltaNetShape;
use super::recurrent_layout::RecurrentLayout;
use super::{RotaryEmbedding, Rotation};
use crate::{ExpertChoice, ForwardInput, Kernels, Visible};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Index lists, rotations and the mask of one forward pass.
#[derive(Clone, Debug)]
pub struct HeadLayout<B: Backend> {
    batch: usize,
    time: usize,
    device: B::Device,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) kernels: Kernels,
    /// Rotations of query and key heads, of which a layer takes one or none.
    pub rotations: Arc<[Rotation<B>]>,
    /// What each token's queries are multiplied with, `[tokens, 1]`.
    pub(super) query_factors: Option<Tensor<B, 2>>,
    visible: Visible<B>,
    mask: OnceLock<Option<Tensor<B, 2>>>,
    /// Masks of so many of the newest columns.
    windows: Arc<Mutex<BTreeMap<usize, Option<Tensor<B, 2>>>>>,
    /// Which tokens are no padding.
    pub(super) real: Arc<[bool]>,
    /// Seed of what adapters drop; `None` outside of training.
    pub dropout: Option<u64>,
    /// See [`ForwardInput::experts`].
    pub experts: ExpertChoice,
    indices: OnceLock<Option<Indices<B>>>,
    recurrent: OnceLock<RecurrentLayout<B>>,
}

/// For each row of the target layout its row in the source layout.
#[derive(Clone, Debug)]
struct Indices<B: Backend> {
    queries_forward: Tensor<B, 1, Int>,
    queries_back: Tensor<B, 1, Int>,
    keys_forward: Tensor<B, 1, Int>,
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
        Self::with_rotations(input, std::slice::from_ref(rotary), heads, kv_heads, kernels)
    }

    /// The same for layers that do not all turn queries and keys alike.
    pub fn with_rotations(
        input: &ForwardInput<B>,
        rotary: &[RotaryEmbedding],
        heads: usize,
        kv_heads: usize,
        kernels: &Kernels,
    ) -> Self {
        let device = input.tokens.device();
        let [batch, time] = input.tokens.dims();
        let rotation =
            |rotary: &RotaryEmbedding| rotary.rotation(&input.positions, kernels, &device);
        Self {
            batch,
            time,
            heads,
            kv_heads,
            kernels: kernels.clone(),
            indices: OnceLock::new(),
            recurrent: OnceLock::new(),
            rotations: rotary.iter().map(rotation).collect(),
            query_factors: None,
            visible: input.visible.clone(),
            mask: OnceLock::new(),
            windows: Arc::default(),
            real: input.real.as_slice().into(),
            dropout: input.dropout,
            experts: input.experts.clone(),
            device,
        }
    }

    /// Added to attention scores, `[batch, time * columns]`, or `[1, time * columns]` for all
    /// alike; made and uploaded when it is first asked for.
    pub fn mask(&self) -> Option<&Tensor<B, 2>> {
        let made = self.mask.get_or_init(|| {
            let mask = self.visible.mask(&self.device)?;
            let [rows, _, _, columns] = mask.dims();
            Some(mask.reshape([rows, self.time * columns]))
        });
        made.as_ref()
    }

    /// [`Self::mask`] where each token sees the newest `window` of them alone.
    pub fn mask_within(&self, window: Option<usize>) -> Option<Tensor<B, 2>> {
        let Some(window) = window.filter(|window| self.visible.exceeds(*window)) else {
            return self.mask().cloned();
        };
        let make = || {
            let mask = self.visible.mask_within(window, &self.device)?;
            let [rows, _, _, columns] = mask.dims();
            Some(mask.reshape([rows, self.time * columns]))
        };
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.entry(window).or_insert_with(make).clone()
    }

    /// The same, with each token's queries multiplied with the factor of its position.
    pub(super) fn with_query_factors(
        mut self,
        input: &ForwardInput<B>,
        factor: impl Fn(u32) -> f32,
    ) -> Self {
        let factors: Vec<f32> = input.positions.iter().map(|place| factor(*place)).collect();
        if factors.iter().any(|factor| *factor != 1.0) {
            let shape = [factors.len(), 1];
            self.query_factors = Some(crate::from_host(factors, shape, &self.device));
        }
        self
    }

    /// `None` with one token a sequence: the two layouts are the same.
    fn indices(&self) -> Option<&Indices<B>> {
        let make = |heads, forward| indices(self.batch, self.time, heads, forward, &self.device);
        let made = self.indices.get_or_init(|| {
            (self.time > 1).then(|| Indices {
                queries_forward: make(self.heads, true),
                queries_back: make(self.heads, false),
                keys_forward: make(self.kv_heads, true),
            })
        });
        made.as_ref()
    }

    /// The same for layers that read tokens one after the other, all of which have one shape.
    pub(super) fn recurrent(&self, shape: DeltaNetShape) -> &RecurrentLayout<B> {
        let dims = [self.batch, self.time];
        self.recurrent.get_or_init(|| RecurrentLayout::new(dims, &self.real, shape, &self.device))
    }

    /// Whether each token sees what is real in front of it, and no mask says otherwise.
    pub(super) fn is_causal(&self) -> bool {
        !matches!(self.visible, Visible::Given(_))
    }

    /// Query heads in front of time; those that share a key-value head are further rows of it.
    ///
    /// # Shapes
    /// - `x`: `[tokens, heads * head_dim]`; output: `[batch, kv_heads, heads / kv_heads * time,
    ///   head_dim]`
    pub fn split_queries(&self, x: Tensor<B, 2>, kv_heads: usize, head_dim: usize) -> Tensor<B, 4> {
        let rows = x.dims()[1] / head_dim * self.time / kv_heads;
        gather(x, self.indices().map(|indices| &indices.queries_forward), head_dim)
            .reshape([self.batch, kv_heads, rows, head_dim])
    }

    /// Key or value heads in front of time.
    ///
    /// # Shapes
    /// - `x`: `[tokens, kv_heads * head_dim]`; output: `[batch, kv_heads, time, head_dim]`
    pub fn split_keys(&self, x: Tensor<B, 2>, kv_heads: usize, head_dim: usize) -> Tensor<B, 4> {
        gather(x, self.indices().map(|indices| &indices.keys_forward), head_dim)
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
        gather(flat, self.indices().map(|indices| &indices.queries_back), head_dim)
            .reshape([tokens, batch * kv_heads * rows * head_dim / tokens])
    }
}

/// Rows of `head_dim` values in another order; as they are without one.
pub(super) fn gather<B: Backend>(
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
pub(super) fn indices<B: Backend>(
    batch: usize,
    time: usize,
    heads: usize,
    forward: bool,
    device: &B::Device,
) -> Tensor<B, 1, Int> {
    let (outer, inner) = if forward { (heads, time) } else { (time, heads) };
    let row = |sequence: usize, a: usize, b: usize| sequence * time * heads + b * outer + a;
    let rows = (0..batch).flat_map(|sequence| {
        (0..outer).flat_map(move |a| (0..inner).map(move |b| row(sequence, a, b)))
    });
    crate::upload::indices(rows, device)
}
