//! Keys and values of what has been read: what a layer of attention remembers.
//!
//! Attention does not care in which column a key lies, so gaps are exact as long as they are
//! masked.

use super::matching;
use crate::state::{LayerState, select_rows, tensor_bytes};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// So many of the newest columns are kept apart, so that a decoding step copies these few and not
/// all.
const RECENT: usize = 32;

/// Keys, `[rows, kv_heads, head_dim, columns]`, and values, `[rows, kv_heads, columns, head_dim]`,
/// of some columns. Keys lie as the product with the queries reads them, so that it need not
/// rearrange all of them in every step.
pub(crate) type KeysValues<B> = (Tensor<B, 4>, Tensor<B, 4>);

/// Keys and values of one layer: the older columns, which stay as they are while tokens are
/// decoded, and the newest, whose keys lie as they came (`[rows, kv_heads, columns, head_dim]`),
/// since they are copied in every step.
#[derive(Clone, Debug)]
pub struct AttentionState<B: Backend> {
    rows: usize,
    older: Option<KeysValues<B>>,
    recent: Option<(Tensor<B, 4>, Tensor<B, 4>)>,
}

/// The columns of `second` behind those of `first`.
fn beside<B: Backend>(
    first: Option<KeysValues<B>>,
    second: Option<KeysValues<B>>,
) -> Option<KeysValues<B>> {
    match (first, second) {
        (Some((keys, values)), Some((more_keys, more_values))) => {
            Some((Tensor::cat(vec![keys, more_keys], 3), Tensor::cat(vec![values, more_values], 2)))
        }
        (first, second) => first.or(second),
    }
}

/// The same values, each beside the next in memory.
fn contiguous<B: Backend>(tensor: Tensor<B, 4>) -> Tensor<B, 4> {
    let shape = tensor.dims();
    tensor.reshape([shape.iter().product::<usize>()]).reshape(shape)
}

/// Zeros like `tensor`, but with a dimension of another length.
fn zeros<B: Backend>(tensor: &Tensor<B, 4>, dimension: usize, length: usize) -> Tensor<B, 4> {
    let mut shape = tensor.dims();
    shape[dimension] = length;
    matching(Tensor::zeros(shape, &tensor.device()), tensor)
}

impl<B: Backend> AttentionState<B> {
    /// The state of `rows` sequences of which nothing has been read.
    pub fn empty(rows: usize) -> Self {
        Self { rows, older: None, recent: None }
    }

    /// Adds the newest columns and returns all of them, in one or two parts from left to right.
    ///
    /// # Shapes
    /// - `keys`, `values`: `[rows, kv_heads, time, head_dim]`
    /// - output: parts whose columns add up to `past + time`
    pub(crate) fn append(
        &mut self,
        keys: Tensor<B, 4>,
        values: Tensor<B, 4>,
    ) -> Vec<KeysValues<B>> {
        let (keys, values) = match self.recent.take() {
            Some((recent_keys, recent_values)) => (
                Tensor::cat(vec![recent_keys, keys], 2),
                Tensor::cat(vec![recent_values, values], 2),
            ),
            None => (keys, values),
        };
        self.recent = Some((keys, values));
        if self.recent.as_ref().is_some_and(|(keys, _)| keys.dims()[2] >= RECENT) {
            self.older = self.take();
        }
        let recent = self.recent.clone().map(|(keys, values)| (keys.swap_dims(2, 3), values));
        self.older.iter().cloned().chain(recent).collect()
    }

    /// All columns as one part.
    fn take(&mut self) -> Option<KeysValues<B>> {
        let recent =
            self.recent.take().map(|(keys, values)| (contiguous(keys.swap_dims(2, 3)), values));
        beside(self.older.take(), recent)
    }

    /// Changes all columns together; the second argument of `change` is the dimension of the
    /// columns.
    fn map(mut self, change: impl Fn(Tensor<B, 4>, usize) -> Tensor<B, 4>) -> Self {
        Self {
            rows: self.rows,
            older: self.take().map(|(keys, values)| (change(keys, 3), change(values, 2))),
            recent: None,
        }
    }
}

impl<B: Backend> LayerState<B> for AttentionState<B> {
    fn select(self, rows: &[usize]) -> Self {
        Self { rows: rows.len(), ..self.map(|tensor, _| select_rows(tensor, rows)) }
    }

    fn merge(mut self, mut below: Self) -> Self {
        // where nothing has been read all columns are padding
        let older = match (self.take(), below.take()) {
            (None, None) => None,
            (first, second) => {
                let (keys, values) = first.as_ref().or(second.as_ref()).expect("one of them is");
                let blank = |rows: usize| (zeros(keys, 0, rows), zeros(values, 0, rows));
                let (blank_first, blank_second) = (
                    first.is_none().then(|| blank(self.rows)),
                    second.is_none().then(|| blank(below.rows)),
                );
                let first = first.or(blank_first);
                let second = second.or(blank_second);
                first.zip(second).map(|((keys, values), (more_keys, more_values))| {
                    let keys = Tensor::cat(vec![keys, more_keys], 0);
                    (keys, Tensor::cat(vec![values, more_values], 0))
                })
            }
        };
        Self { rows: self.rows + below.rows, older, recent: None }
    }

    fn pad_front(self, columns: usize) -> Self {
        self.map(|tensor, dimension| {
            Tensor::cat(vec![zeros(&tensor, dimension, columns), tensor], dimension)
        })
    }

    fn trim_front(self, columns: usize) -> Self {
        self.map(|tensor, dimension| {
            let kept = tensor.dims()[dimension] - columns;
            contiguous(tensor.narrow(dimension, columns, kept))
        })
    }

    fn bytes(&self) -> usize {
        let parts = self.older.iter().chain(&self.recent);
        parts.map(|(keys, values)| tensor_bytes(keys) + tensor_bytes(values)).sum()
    }
}
