//! Keys and values as a backend lays them out for an attention of its own.
//!
//! The plain path ([`crate::layers::AttentionState`]) keeps columns that all rows of a batch share,
//! with gaps that a mask blocks. A backend whose [`crate::FusedOps`] has a cache keeps each row's
//! tokens apart, without gaps: it attends over what is filled, appends in place, and a row's result
//! does not depend on the rows beside it.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::any::Any;
use std::fmt::Debug;

/// The heads of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionHeads {
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; divides `heads`. Neighbouring query heads share one.
    pub kv_heads: usize,
    /// Features of a head.
    pub head_dim: usize,
}

/// What one layer of attention remembers of the rows of a batch.
pub trait KeyValueCache<B: Backend>: Debug + Send + Sync {
    /// Remembers the keys and values of the real tokens. Gives, for each real token and head,
    /// `softmax(q k^T / sqrt(head_dim)) v` over its own row's tokens up to itself, and zeros at
    /// padding.
    ///
    /// # Shapes
    /// - `queries`, output: `[rows * time, heads * head_dim]`, f32
    /// - `keys`, `values`: `[rows * time, kv_heads * head_dim]`, f32
    /// - `real`: one for each of `rows * time`
    ///
    /// # Panics
    /// When `real` has another length.
    fn attend(
        &mut self,
        queries: Tensor<B, 2>,
        keys: Tensor<B, 2>,
        values: Tensor<B, 2>,
        real: &[bool],
    ) -> Tensor<B, 2>;

    /// The same, of which nothing has been read, for tokens that see the newest `window` ones of
    /// their row alone; `None` where the backend has no such cache.
    fn within(&self, _window: usize) -> Option<Box<dyn KeyValueCache<B>>> {
        None
    }

    /// The given rows, in the given order; a row may be named several times, and `None` is one of
    /// which nothing has been read.
    fn select(&self, rows: &[Option<usize>]) -> Box<dyn KeyValueCache<B>>;

    /// Puts the rows of `below`, a cache of the same layer, under these.
    ///
    /// # Panics
    /// When another backend has made it.
    fn merge(&mut self, below: &dyn KeyValueCache<B>);

    /// Bytes held; what rows share is counted once.
    fn bytes(&self) -> usize;

    /// Itself, for the backend that made it.
    fn as_any(&self) -> &dyn Any;
}
