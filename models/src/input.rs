//! What a forward pass reads: token ids, the position of each, and which earlier tokens each may
//! attend to.
//!
//! Rows of different length share a batch by padding. Padding is exact: a padded position is never
//! attended to by a real one, and positions count real tokens only, so a sequence's logits do not
//! depend on what it is batched with.

use crate::KvCache;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{FloatDType, Int, Tensor, TensorData};

/// Added to the score of a position that must not be attended to. Finite, so that a row of padding
/// yields numbers.
const BLOCKED: f32 = -1e9;

/// A padded batch.
#[derive(Clone, Debug)]
pub struct ForwardInput<B: Backend> {
    /// `[batch, time]`; 0 at padding.
    pub tokens: Tensor<B, 2, Int>,
    /// Positions row by row, `batch * time` values.
    pub positions: Vec<u32>,
    /// Added to attention scores, `[batch or 1, 1, time, past + time]`; `None` when everything may
    /// be attended to.
    pub mask: Option<Tensor<B, 4>>,
    /// The number type of activations; that of the embedding when absent.
    pub precision: Option<FloatDType>,
    /// Seed of what adapters drop in training.
    pub dropout: Option<u64>,
}

impl<B: Backend> ForwardInput<B> {
    /// Whole sequences, padded behind. No mask per row is needed: causality keeps real tokens from
    /// seeing what follows.
    ///
    /// # Shapes
    /// - `rows`: `batch` sequences of at most `time` ids; the output holds `[batch, longest]`
    pub fn right_padded(rows: &[&[u32]], device: &B::Device) -> Self {
        let time = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let (mut tokens, mut positions) =
            (Vec::with_capacity(rows.len() * time), Vec::with_capacity(rows.len() * time));
        for row in rows {
            tokens.extend(row.iter().map(|id| *id as i32));
            tokens.resize(tokens.len() + time - row.len(), 0);
            positions.extend(0..time as u32);
        }
        let mask = (time > 1).then(|| {
            let mask = (0..time).flat_map(|query| {
                (0..time).map(move |key| if key <= query { 0.0 } else { BLOCKED })
            });
            crate::from_host(mask.collect(), [1, 1, time, time], device)
        });
        Self::new(tokens, [rows.len(), time], positions, mask, device)
    }

    fn new(
        tokens: Vec<i32>,
        shape: [usize; 2],
        positions: Vec<u32>,
        mask: Option<Tensor<B, 4>>,
        device: &B::Device,
    ) -> Self {
        Self {
            tokens: Tensor::from_data(TensorData::new(tokens, shape), device),
            positions,
            mask,
            precision: None,
            dropout: None,
        }
    }

    /// New tokens behind what `cache` holds, padded in front so that the last column is every row's
    /// latest token. Rows may be empty. Registers the new columns with the cache, so a forward pass
    /// with that cache must follow.
    ///
    /// # Shapes
    /// - `rows`: one per row of the cache
    pub fn cached(rows: &[&[u32]], cache: &mut KvCache<B>, device: &B::Device) -> Self {
        let time = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let (mut tokens, mut positions) = (Vec::new(), Vec::new());
        for (row, ids) in rows.iter().enumerate() {
            let padding = time - ids.len();
            let past = cache.length(row) as u32;
            tokens.resize(tokens.len() + padding, 0);
            tokens.extend(ids.iter().map(|id| *id as i32));
            positions.resize(positions.len() + padding, 0);
            positions.extend(past..past + ids.len() as u32);
        }
        let past = cache.columns();
        cache.register(rows, time);
        let mut mask = Vec::with_capacity(rows.len() * time * (past + time));
        let mut anything_blocked = false;
        for row in 0..rows.len() {
            let valid = cache.valid(row);
            for query in 0..time {
                for (key, valid) in valid.iter().enumerate() {
                    let allowed = *valid && key <= past + query;
                    anything_blocked |= !allowed;
                    mask.push(if allowed { 0.0 } else { BLOCKED });
                }
            }
        }
        let mask = anything_blocked
            .then(|| crate::from_host(mask, [rows.len(), 1, time, past + time], device));
        Self::new(tokens, [rows.len(), time], positions, mask, device)
    }
}

impl<B: AutodiffBackend> ForwardInput<B> {
    /// The same for a model without autodiff.
    pub fn inner(&self) -> ForwardInput<B::InnerBackend> {
        ForwardInput {
            tokens: self.tokens.clone().inner(),
            positions: self.positions.clone(),
            mask: self.mask.clone().map(Tensor::inner),
            precision: self.precision,
            dropout: self.dropout,
        }
    }
}
