//! What a model remembers of what it has read, so that decoding reads each token once.
//!
//! What a layer remembers is its own business: keys and values, the window of a convolution, the
//! state of a recurrence. All that is asked of it is that sequences can be taken out, repeated and
//! stacked ([`LayerState`]), which is what continuous batching and shared prompts need.
//!
//! Sequences of a batch share their columns and are aligned at the right end, unless a backend
//! keeps them apart ([`crate::KeyValueCache`]). Which columns of a row hold real tokens is kept on
//! the host ([`DecodingState`]); a layer that remembers columns masks the others, and one that does
//! not (a recurrence) leaves its state as it is at padding.

use crate::upload::{from_host, indices};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::fmt::Debug;

/// Added to the score of a position that must not be attended to. Finite, so that a row of padding
/// yields numbers.
pub(crate) const BLOCKED: f32 = -1e9;

/// What one layer remembers of the rows of a batch.
///
/// [`crate::layers::AttentionState`] is that of attention; an enum of states serves a model whose
/// layers differ. A column is a place in time that all rows share. A layer that remembers something
/// for each column implements all methods; one whose state is of one size, whatever was read, needs
/// `select`, `merge` and `bytes`, and `has_columns` as `false`.
pub trait LayerState<B: Backend>: Clone + Debug + Send {
    /// The given rows, in the given order; a row may be named several times.
    fn select(self, rows: &[usize]) -> Self;

    /// The rows of `below` under these; both have the same columns. One of both may have been made
    /// by [`crate::CausalLm::empty_state`], and then has read nothing, however many columns it is
    /// said to have.
    fn merge(self, below: Self) -> Self;

    /// So many columns that nobody looks at in front of all others. What is remembered without
    /// columns stays as it is.
    fn pad_front(self, _columns: usize) -> Self {
        self
    }

    /// Without so many leading columns, which are padding in every row.
    fn trim_front(self, _columns: usize) -> Self {
        self
    }

    /// Whether it remembers columns, or may begin to, so that layers want a mask of those that are
    /// real.
    fn has_columns(&self) -> bool {
        true
    }

    /// How many of the newest columns are looked at, if not all; known as soon as something was
    /// read.
    fn window(&self) -> Option<usize> {
        None
    }

    /// Bytes held on the device.
    fn bytes(&self) -> usize;
}

/// The rows of a tensor in the given order, for [`LayerState::select`]; the same tensor if these
/// are all as they are.
///
/// # Shapes
/// - `tensor`: `[rows, ..]`; output: `[rows.len(), ..]`
pub fn select_rows<B: Backend, const D: usize>(
    tensor: Tensor<B, D>,
    rows: &[usize],
) -> Tensor<B, D> {
    if rows.iter().copied().eq(0..tensor.dims()[0]) {
        return tensor;
    }
    let indices = indices(rows.iter().copied(), &tensor.device());
    // as a matrix: backends copy and, for the gradient, add its rows as they are
    let mut shape = tensor.dims();
    let width = shape[1..].iter().product();
    let matrix = tensor.reshape([shape[0], width]).select(0, indices);
    shape[0] = rows.len();
    matrix.reshape(shape)
}

/// Bytes that a tensor's values take, for [`LayerState::bytes`].
pub fn tensor_bytes<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> usize {
    tensor.dims().iter().product::<usize>() * tensor.dtype().size()
}

/// What all layers of a model remember of a batch.
#[derive(Clone, Debug)]
pub struct DecodingState<B: Backend, S: LayerState<B>> {
    layers: Vec<S>,
    /// For each row, which columns hold a real token.
    real: Vec<Vec<bool>>,
    /// [`Self::step_mask`] of the last step, `[rows, columns]`.
    mask: Option<Tensor<B, 2>>,
    /// [`Self::step_places`] of the last step, `[rows, columns]`.
    places: Option<Tensor<B, 2>>,
}

impl<B: Backend, S: LayerState<B>> DecodingState<B, S> {
    /// The state of `rows` sequences of which nothing has been read, given that of each layer.
    pub fn new(layers: Vec<S>, rows: usize) -> Self {
        Self { layers, real: vec![Vec::new(); rows], mask: None, places: None }
    }

    /// Number of sequences.
    pub fn rows(&self) -> usize {
        self.real.len()
    }

    /// Number of columns, gaps included.
    pub fn columns(&self) -> usize {
        self.real.first().map_or(0, Vec::len)
    }

    /// Number of real tokens in a row.
    pub fn length(&self, row: usize) -> usize {
        self.real[row].iter().filter(|real| **real).count()
    }

    /// Bytes held on the device.
    pub fn bytes(&self) -> usize {
        let kept = self.mask.iter().chain(&self.places);
        kept.map(tensor_bytes).sum::<usize>() + self.layers.iter().map(S::bytes).sum::<usize>()
    }

    /// Which columns of a row hold a real token.
    pub(crate) fn real(&self, row: usize) -> &[bool] {
        &self.real[row]
    }

    /// Adds `time` columns, whose last ones are the new tokens of each row.
    pub(crate) fn register(&mut self, rows: &[&[u32]], time: usize) {
        assert_eq!(rows.len(), self.rows(), "one list of new tokens per row of the state");
        for (real, ids) in self.real.iter_mut().zip(rows) {
            real.resize(real.len() + time - ids.len(), false);
            real.resize(real.len() + ids.len(), true);
        }
    }

    /// What is added to the scores of one new token of each row, `[rows, columns]`; `None` when all
    /// columns are real, or no layer asks. It is sent to the device once for each composition of
    /// the batch, and then grows by a column a step.
    pub(crate) fn step_mask(&mut self, device: &B::Device) -> Option<Tensor<B, 2>> {
        let value = |real: &bool| if *real { 0.0 } else { BLOCKED };
        let has_columns = self.layers.iter().any(S::has_columns);
        if !has_columns || self.real.iter().flatten().all(|real| *real) {
            self.mask = None;
            return None;
        }
        let (rows, columns) = (self.rows(), self.columns());
        let mask = match self.mask.take().filter(|mask| mask.dims()[1] + 1 == columns) {
            Some(mask) => {
                let newest = || self.real.iter().filter_map(|row| row.last());
                let column = if newest().all(|real| *real) {
                    Tensor::zeros([rows, 1], device)
                } else {
                    from_host(newest().map(value).collect(), [rows, 1], device)
                };
                Tensor::cat(vec![mask, column], 1)
            }
            None => {
                from_host(self.real.iter().flatten().map(value).collect(), [rows, columns], device)
            }
        };
        self.mask = Some(mask.clone());
        Some(mask)
    }

    /// How many real columns are in front of each real one, `[rows, columns]`, and a number far
    /// below 0 at the others; `None` where no layer looks at the newest ones alone. It grows as
    /// [`Self::step_mask`] does.
    pub(crate) fn step_places(&mut self, device: &B::Device) -> Option<Tensor<B, 2>> {
        self.layers.iter().find_map(S::window)?;
        let (rows, columns) = (self.rows(), self.columns());
        let places = match self.places.take().filter(|places| places.dims()[1] + 1 == columns) {
            Some(places) => {
                let newest = |real: &Vec<bool>| match real.last() {
                    Some(true) => real.iter().filter(|real| **real).count() as f32 - 1.0,
                    _ => BLOCKED,
                };
                let newest = self.real.iter().map(newest).collect();
                Tensor::cat(vec![places, from_host(newest, [rows, 1], device)], 1)
            }
            None => {
                let places = self.real.iter().flat_map(|real| {
                    real.iter().scan(0.0, |count, real| {
                        let place = if *real { *count } else { BLOCKED };
                        *count += f32::from(*real);
                        Some(place)
                    })
                });
                from_host(places.collect(), [rows, columns], device)
            }
        };
        self.places = Some(places.clone());
        Some(places)
    }

    /// What the layer of that number remembers.
    pub fn layer_mut(&mut self, index: usize) -> &mut S {
        &mut self.layers[index]
    }

    /// With another state for each layer.
    pub(crate) fn map<T: LayerState<B>>(self, change: impl Fn(S) -> T) -> DecodingState<B, T> {
        let layers = self.layers.into_iter().map(change).collect();
        DecodingState { layers, real: self.real, mask: None, places: None }
    }

    /// The given rows, in the given order; a row may be named several times (a shared prompt).
    pub fn select(mut self, rows: &[usize]) -> Self {
        if rows.iter().copied().eq(0..self.rows()) {
            return self;
        }
        self.real = rows.iter().map(|row| self.real[*row].clone()).collect();
        self.map(|layer| layer.select(rows))
    }

    /// Both states as one batch, the shorter padded in front.
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
            layers: layers.map(|(first, second)| first.merge(second)).collect(),
            real: first.real.into_iter().chain(second.real).collect(),
            mask: None,
            places: None,
        }
    }

    fn pad_front(mut self, columns: usize) -> Self {
        let missing = columns - self.columns();
        if missing == 0 {
            return self;
        }
        for real in &mut self.real {
            real.splice(0..0, std::iter::repeat_n(false, missing));
        }
        self.map(|layer| layer.pad_front(missing))
    }

    /// Drops leading columns that no row uses.
    pub fn trim(mut self) -> Self {
        let leading = |real: &Vec<bool>| real.iter().take_while(|real| !**real).count();
        let unused = self.real.iter().map(leading).min().unwrap_or(0);
        if unused == 0 {
            return self;
        }
        for real in &mut self.real {
            real.drain(..unused);
        }
        self.map(|layer| layer.trim_front(unused))
    }
}
