//! Keys and values of what has been read, so that decoding reads each token once.
//!
//! All rows share their columns and are aligned at the right end; which columns of a row hold real tokens is kept on the host.
//! Attention does not care in which column a key lies, so gaps are exact as long as they are masked. Rows can be taken out,
//! repeated and merged with another cache, which is what continuous batching and shared prompts need.

use crate::layers::matching;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

/// Keys and values of one layer, `[rows, kv_heads, columns, head_dim]`.
#[derive(Clone, Debug)]
pub struct LayerCache<B: Backend> {
    keys: Option<Tensor<B, 4>>,
    values: Option<Tensor<B, 4>>,
}

impl<B: Backend> LayerCache<B> {
    /// Adds the newest columns and returns all of them.
    ///
    /// # Shapes
    /// - `keys`, `values`: `[rows, kv_heads, time, head_dim]`
    /// - output: `[rows, kv_heads, past + time, head_dim]`
    pub fn append(&mut self, keys: Tensor<B, 4>, values: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4>) {
        let join = |past: Option<Tensor<B, 4>>, new| match past {
            Some(past) => Tensor::cat(vec![past, new], 2),
            None => new,
        };
        let (keys, values) = (join(self.keys.take(), keys), join(self.values.take(), values));
        self.keys = Some(keys.clone());
        self.values = Some(values.clone());
        (keys, values)
    }

    fn map(self, change: impl Fn(Tensor<B, 4>) -> Tensor<B, 4>) -> Self {
        Self { keys: self.keys.map(&change), values: self.values.map(&change) }
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
        Self { layers: vec![LayerCache { keys: None, values: None }; layers], valid: vec![Vec::new(); rows] }
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
            layer.map(|tensor| {
                let indices = Tensor::<B, 1, Int>::from_data(TensorData::new(indices.clone(), [indices.len()]), &tensor.device());
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
        let join = |a: Option<Tensor<B, 4>>, b: Option<Tensor<B, 4>>| a.zip(b).map(|(a, b)| Tensor::cat(vec![a, b], 0));
        let layers = first.layers.into_iter().zip(second.layers);
        Self {
            layers: layers.map(|(a, b)| LayerCache { keys: join(a.keys, b.keys), values: join(a.values, b.values) }).collect(),
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
        let pad = |tensor: Tensor<B, 4>| {
            let [rows, heads, _, head_dim] = tensor.dims();
            let gap = matching(Tensor::zeros([rows, heads, missing, head_dim], &tensor.device()), &tensor);
            Tensor::cat(vec![gap, tensor], 2)
        };
        Self { layers: self.layers.into_iter().map(|layer| layer.map(pad)).collect(), valid: self.valid }
    }

    /// Drops leading columns that no row uses.
    pub fn trim(mut self) -> Self {
        let unused = self.valid.iter().map(|valid| valid.iter().take_while(|valid| !**valid).count()).min().unwrap_or(0);
        if unused == 0 {
            return self;
        }
        let kept = self.columns() - unused;
        for valid in &mut self.valid {
            valid.drain(..unused);
        }
        let cut = |tensor: Tensor<B, 4>| tensor.narrow(2, unused, kept);
        Self { layers: self.layers.into_iter().map(|layer| layer.map(cut)).collect(), valid: self.valid }
    }
}
