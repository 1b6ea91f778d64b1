//! Keys and values of what has been read, so that decoding reads each token once.
//!
//! All rows share their columns and are aligned at the right end; which columns of a row hold real
//! tokens is kept on the host. Attention does not care in which column a key lies, so gaps are
//! exact as long as they are masked. Rows can be taken out, repeated and merged with another cache,
//! which is what continuous batching and shared prompts need.

use crate::layers::matching;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

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
pub struct LayerCache<B: Backend> {
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

/// The rows of `second` below those of `first`.
fn stacked<B: Backend>(
    first: Option<KeysValues<B>>,
    second: Option<KeysValues<B>>,
) -> Option<KeysValues<B>> {
    let ((keys, values), (more_keys, more_values)) = first.zip(second)?;
    Some((Tensor::cat(vec![keys, more_keys], 0), Tensor::cat(vec![values, more_values], 0)))
}

/// The same values, each beside the next in memory.
fn contiguous<B: Backend>(tensor: Tensor<B, 4>) -> Tensor<B, 4> {
    let shape = tensor.dims();
    tensor.reshape([shape.iter().product::<usize>()]).reshape(shape)
}

impl<B: Backend> LayerCache<B> {
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
            older: self.take().map(|(keys, values)| (change(keys, 3), change(values, 2))),
            recent: None,
        }
    }
}

/// The cache of a batch.
#[derive(Clone, Debug)]
pub struct KvCache<B: Backend> {
    layers: Vec<LayerCache<B>>,
    /// For each row, which columns hold a real token.
    valid: Vec<Vec<bool>>,
}

impl<B: Backend> KvCache<B> {
    /// An empty cache for `rows` sequences.
    pub fn new(layers: usize, rows: usize) -> Self {
        Self {
            layers: vec![LayerCache { older: None, recent: None }; layers],
            valid: vec![Vec::new(); rows],
        }
    }

    /// Number of sequences.
    pub fn rows(&self) -> usize {
        self.valid.len()
    }

    /// Number of columns, gaps included.
    pub fn columns(&self) -> usize {
        self.valid.first().map_or(0, Vec::len)
    }

    /// Number of real tokens in a row.
    pub fn length(&self, row: usize) -> usize {
        self.valid[row].iter().filter(|valid| **valid).count()
    }

    pub(crate) fn valid(&self, row: usize) -> &[bool] {
        &self.valid[row]
    }

    pub(crate) fn register(&mut self, rows: &[&[u32]], time: usize) {
        assert_eq!(rows.len(), self.rows(), "one list of new tokens per cached row");
        for (valid, ids) in self.valid.iter_mut().zip(rows) {
            valid.resize(valid.len() + time - ids.len(), false);
            valid.resize(valid.len() + ids.len(), true);
        }
    }

    pub(crate) fn layer(&mut self, index: usize) -> &mut LayerCache<B> {
        &mut self.layers[index]
    }

    /// The given rows, in the given order; a row may be named several times (a shared prompt).
    pub fn select(self, rows: &[usize]) -> Self {
        if rows.iter().copied().eq(0..self.rows()) {
            return self;
        }
        let valid = rows.iter().map(|row| self.valid[*row].clone()).collect();
        let indices: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
        let layers = self.layers.into_iter().map(|layer| {
            layer.map(|tensor, _| {
                let indices = Tensor::<B, 1, Int>::from_data(
                    TensorData::new(indices.clone(), [indices.len()]),
                    &tensor.device(),
                );
                tensor.select(0, indices)
            })
        });
        Self { layers: layers.collect(), valid }
    }

    /// Both caches as one batch, the shorter padded in front.
    pub fn merge(self, other: Self) -> Self {
        if self.rows() == 0 {
            return other;
        }
        if other.rows() == 0 {
            return self;
        }
        let columns = self.columns().max(other.columns());
        let (first, second) = (self.pad_front(columns), other.pad_front(columns));
        let layers = first.layers.into_iter().zip(second.layers);
        Self {
            layers: layers
                .map(|(mut a, mut b)| LayerCache {
                    older: stacked(a.take(), b.take()),
                    recent: None,
                })
                .collect(),
            valid: first.valid.into_iter().chain(second.valid).collect(),
        }
    }

    fn pad_front(mut self, columns: usize) -> Self {
        let missing = columns - self.columns();
        if missing == 0 {
            return self;
        }
        for valid in &mut self.valid {
            valid.splice(0..0, std::iter::repeat_n(false, missing));
        }
        let pad = |tensor: Tensor<B, 4>, columns: usize| {
            let mut shape = tensor.dims();
            shape[columns] = missing;
            Tensor::cat(
                vec![matching(Tensor::zeros(shape, &tensor.device()), &tensor), tensor],
                columns,
            )
        };
        Self {
            layers: self.layers.into_iter().map(|layer| layer.map(pad)).collect(),
            valid: self.valid,
        }
    }

    /// Drops leading columns that no row uses.
    pub fn trim(mut self) -> Self {
        let unused = self
            .valid
            .iter()
            .map(|valid| valid.iter().take_while(|valid| !**valid).count())
            .min()
            .unwrap_or(0);
        if unused == 0 {
            return self;
        }
        let kept = self.columns() - unused;
        for valid in &mut self.valid {
            valid.drain(..unused);
        }
        let cut =
            |tensor: Tensor<B, 4>, columns: usize| contiguous(tensor.narrow(columns, unused, kept));
        Self {
            layers: self.layers.into_iter().map(|layer| layer.map(cut)).collect(),
            valid: self.valid,
        }
    }
}
