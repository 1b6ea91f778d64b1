//! Keys and values of what has been read: what a layer of attention remembers.
//!
//! Attention does not care in which column a key lies, so gaps are exact as long as they are
//! masked. Where the backend has a cache of its own ([`KeyValueCache`]), that is all there is.

use super::{HeadLayout, matching};
use crate::state::{LayerState, select_rows, tensor_bytes};
use crate::{AttentionHeads, KeyValueCache};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// So many of the newest columns are kept apart, so that a decoding step copies these few and not
/// all.
const RECENT: usize = 32;

/// What an architecture has got wrong that gives a mask of its own to some inputs of a state.
const MASK_FIRST: &str = "a mask of one's own is given to all inputs of a state";

/// Keys, `[rows, kv_heads, head_dim, columns]`, and values, `[rows, kv_heads, columns, head_dim]`,
/// of some columns. Keys lie as the product with the queries reads them, so that it need not
/// rearrange all of them in every step.
pub(crate) type KeysValues<B> = (Tensor<B, 4>, Tensor<B, 4>);

/// Keys and values of one layer.
#[derive(Debug)]
pub struct AttentionState<B: Backend> {
    rows: usize,
    held: Held<B>,
    /// That of the layer, once something was read.
    window: Option<usize>,
}

#[derive(Debug)]
enum Held<B: Backend> {
    /// As tensors; nothing, to begin with.
    Columns(Columns<B>),
    /// As the backend does it.
    Cache(Box<dyn KeyValueCache<B>>),
}

/// Columns that all rows share: the older ones, which stay as they are while tokens are
/// decoded, and the newest, whose keys lie as they came (`[rows, kv_heads, columns, head_dim]`),
/// since they are copied in every step.
#[derive(Clone, Debug)]
struct Columns<B: Backend> {
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

impl<B: Backend> Clone for AttentionState<B> {
    fn clone(&self) -> Self {
        let held = match &self.held {
            Held::Columns(columns) => Held::Columns(columns.clone()),
            Held::Cache(cache) => {
                let all: Vec<Option<usize>> = (0..self.rows).map(Some).collect();
                Held::Cache(cache.select(&all))
            }
        };
        Self { rows: self.rows, held, window: self.window }
    }
}

impl<B: Backend> AttentionState<B> {
    /// The state of `rows` sequences of which nothing has been read.
    pub fn empty(rows: usize) -> Self {
        Self { rows, held: Held::Columns(Columns::nothing()), window: None }
    }

    /// The backend's own cache for queries like `queries` of a layer with that window, if it has
    /// one. Which of the two ways is gone is decided when the first tokens are read.
    pub(super) fn cache(
        &mut self,
        layout: &HeadLayout<B>,
        queries: &Tensor<B, 2>,
        window: Option<usize>,
    ) -> Option<&mut dyn KeyValueCache<B>> {
        self.look_at(window);
        if let Held::Columns(columns) = &self.held
            && columns.are_none()
            && layout.is_causal()
            && let Some(fused) = layout.kernels.suiting(queries)
        {
            let (heads, kv_heads) = (layout.heads, layout.kv_heads);
            let head_dim = queries.dims()[1] / heads;
            let heads = AttentionHeads { heads, kv_heads, head_dim };
            let cache = fused.key_value_cache(heads, self.rows);
            let cache = match window {
                Some(window) => cache.and_then(|cache| cache.within(window)),
                None => cache,
            };
            if let Some(cache) = cache {
                self.held = Held::Cache(cache);
            }
        }
        match &mut self.held {
            Held::Columns(_) => None,
            Held::Cache(cache) => {
                assert!(layout.is_causal(), "{MASK_FIRST}");
                Some(cache.as_mut())
            }
        }
    }

    /// Notes that the layer sees the newest `window` columns alone.
    pub(crate) fn look_at(&mut self, window: Option<usize>) {
        self.window = window;
    }

    /// Adds the newest columns and returns all of them, in one or two parts from left to right.
    ///
    /// # Shapes
    /// - `keys`, `values`: `[rows, kv_heads, time, head_dim]`
    /// - output: parts whose columns add up to `past + time`
    pub(super) fn append(
        &mut self,
        keys: Tensor<B, 4>,
        values: Tensor<B, 4>,
    ) -> Vec<KeysValues<B>> {
        match &mut self.held {
            Held::Columns(columns) => columns.append(keys, values),
            Held::Cache(_) => unreachable!("`HeadLayout::attend` asks for the cache first"),
        }
    }

    fn map(self, change: impl Fn(Tensor<B, 4>, usize) -> Tensor<B, 4>) -> Self {
        let held = match self.held {
            Held::Columns(columns) => Held::Columns(columns.map(change)),
            // its rows have no columns in common
            cache => cache,
        };
        Self { rows: self.rows, held, window: self.window }
    }
}

impl<B: Backend> Columns<B> {
    fn nothing() -> Self {
        Self { older: None, recent: None }
    }

    fn are_none(&self) -> bool {
        self.older.is_none() && self.recent.is_none()
    }

    /// See [`AttentionState::append`].
    fn append(&mut self, keys: Tensor<B, 4>, values: Tensor<B, 4>) -> Vec<KeysValues<B>> {
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
        let older = self.take().map(|(keys, values)| (change(keys, 3), change(values, 2)));
        Self { older, recent: None }
    }

    /// The rows of `below` under these. Where nothing has been read all columns are padding.
    fn merge(mut self, mut below: Self, [rows, rows_below]: [usize; 2]) -> Self {
        let (first, second) = (self.take(), below.take());
        let Some((keys, values)) = first.as_ref().or(second.as_ref()) else {
            return Self::nothing();
        };
        let blank = |rows: usize| (zeros(keys, 0, rows), zeros(values, 0, rows));
        let blanks =
            [first.is_none().then(|| blank(rows)), second.is_none().then(|| blank(rows_below))];
        let [blank_first, blank_second] = blanks;
        let pair = first.or(blank_first).zip(second.or(blank_second));
        let older = pair.map(|((keys, values), (more_keys, more_values))| {
            let keys = Tensor::cat(vec![keys, more_keys], 0);
            (keys, Tensor::cat(vec![values, more_values], 0))
        });
        Self { older, recent: None }
    }

    fn bytes(&self) -> usize {
        let parts = self.older.iter().chain(&self.recent);
        parts.map(|(keys, values)| tensor_bytes(keys) + tensor_bytes(values)).sum()
    }
}

impl<B: Backend> LayerState<B> for AttentionState<B> {
    fn select(self, rows: &[usize]) -> Self {
        if let Held::Cache(cache) = &self.held {
            let chosen: Vec<Option<usize>> = rows.iter().copied().map(Some).collect();
            return Self { rows: rows.len(), held: Held::Cache(cache.select(&chosen)), ..self };
        }
        Self { rows: rows.len(), ..self.map(|tensor, _| select_rows(tensor, rows)) }
    }

    fn merge(self, below: Self) -> Self {
        let counts @ [rows, rows_below] = [self.rows, below.rows];
        let window = self.window.or(below.window);
        let held = match (self.held, below.held) {
            (Held::Columns(first), Held::Columns(second)) => {
                Held::Columns(first.merge(second, counts))
            }
            (Held::Cache(mut first), Held::Cache(second)) => {
                first.merge(second.as_ref());
                Held::Cache(first)
            }
            (Held::Cache(first), Held::Columns(second)) if second.are_none() => {
                let blanks = std::iter::repeat_n(None, rows_below);
                let all: Vec<Option<usize>> = (0..rows).map(Some).chain(blanks).collect();
                Held::Cache(first.select(&all))
            }
            (Held::Columns(first), Held::Cache(second)) if first.are_none() => {
                let blanks = std::iter::repeat_n(None, rows);
                let all: Vec<Option<usize>> = blanks.chain((0..rows_below).map(Some)).collect();
                Held::Cache(second.select(&all))
            }
            _ => panic!("{MASK_FIRST}"),
        };
        Self { rows: rows + rows_below, held, window }
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

    fn has_columns(&self) -> bool {
        matches!(self.held, Held::Columns(_))
    }

    fn window(&self) -> Option<usize> {
        self.window.filter(|_| self.has_columns())
    }

    fn bytes(&self) -> usize {
        match &self.held {
            Held::Columns(columns) => columns.bytes(),
            Held::Cache(cache) => cache.bytes(),
        }
    }
}
