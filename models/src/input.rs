//! What a forward pass reads: token ids, the position of each, and which earlier tokens each may
//! attend to.
//!
//! Rows of different length share a batch by padding. Padding is exact: a padded position is never
//! attended to by a real one, and positions count real tokens only, so a sequence's logits do not
//! depend on what it is batched with.

use crate::state::BLOCKED;
use crate::{DecodingState, ExpertChoice, LayerState, upload};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{FloatDType, Int, Tensor, TensorData};

/// A padded batch.
#[derive(Clone, Debug)]
pub struct ForwardInput<B: Backend> {
    /// `[batch, time]`; 0 at padding.
    pub tokens: Tensor<B, 2, Int>,
    /// Positions row by row, `batch * time` values.
    pub positions: Vec<u32>,
    /// Which positions hold real tokens, row by row; the others are padding, at which a layer must
    /// not change what it remembers. A row that is fed nothing is all padding.
    pub real: Vec<bool>,
    /// Which earlier tokens each may attend to.
    pub visible: Visible<B>,
    /// The number type of activations; that of the embedding when absent.
    pub precision: Option<FloatDType>,
    /// Seed of what adapters drop in training.
    pub dropout: Option<u64>,
    /// Who chooses which experts read each token, in a model that has some.
    pub experts: ExpertChoice,
}

/// Which columns each token may attend to. The tensor is made by [`Self::mask`], for layers that
/// compute with one.
#[derive(Clone, Debug)]
pub enum Visible<B: Backend> {
    /// Real ones, its own and those in front of it.
    Causal {
        /// Columns in front of these tokens.
        past: usize,
        /// Which of the `past + time` columns may be seen by what is behind them, for each row; one
        /// list where all are alike.
        real: Vec<Vec<bool>>,
    },
    /// One token a row, which sees all real columns.
    Step {
        /// Added to attention scores, `[batch, columns]`; `None` where all columns are real.
        mask: Option<Tensor<B, 2>>,
        /// How many real ones are in front of each real column, `[batch, columns]`, where a layer
        /// looks at the newest alone.
        places: Option<Tensor<B, 2>>,
        /// Real columns of the longest row.
        longest: usize,
    },
    /// Added to attention scores, `[batch or 1, 1, time, past + time]`.
    Given(Tensor<B, 4>),
}

impl<B: Backend> Visible<B> {
    fn causal(past: usize, mut real: Vec<Vec<bool>>) -> Self {
        if real.windows(2).all(|pair| pair[0] == pair[1]) {
            real.truncate(1);
        }
        Self::Causal { past, real }
    }

    /// What is added to attention scores, `[batch or 1, 1, time, past + time]`; `None` when
    /// everything may be attended to.
    pub fn mask(&self, device: &B::Device) -> Option<Tensor<B, 4>> {
        self.mask_within(usize::MAX, device)
    }

    /// [`Self::mask`] where each token sees the newest `window` of what it may see, which are its
    /// own and those in front of it.
    pub fn mask_within(&self, window: usize, device: &B::Device) -> Option<Tensor<B, 4>> {
        match self {
            Self::Given(mask) if self.exceeds(window) => Some(newest(mask, window)),
            Self::Given(mask) => Some(mask.clone()),
            Self::Step { mask, places, longest } => {
                let mask = match (mask, places) {
                    (mask, _) if *longest <= window => mask.clone()?,
                    (_, Some(places)) => newest_places(places, window),
                    (Some(mask), None) => mask.clone(),
                    (None, None) => Tensor::zeros([1, *longest], device),
                };
                let [rows, columns] = mask.dims();
                let mask = mask.reshape([rows, 1, 1, columns]);
                let is_done = *longest <= window || places.is_some();
                Some(if is_done { mask } else { newest(&mask, window) })
            }
            Self::Causal { past, real } => {
                let columns = real.first().map_or(*past, Vec::len);
                let time = columns - past;
                let all = !self.exceeds(window) && real.iter().flatten().all(|real| *real);
                if time <= 1 && all {
                    return None;
                }
                let mask = real.iter().flat_map(|real| causal(real, *past, window)).collect();
                Some(crate::from_host(mask, [real.len(), 1, time, columns], device))
            }
        }
    }

    /// Whether a token may see more than `window` ones; a mask of one's own is not looked at.
    pub(crate) fn exceeds(&self, window: usize) -> bool {
        let count = |real: &Vec<bool>| real.iter().filter(|real| **real).count();
        match self {
            Self::Given(mask) => mask.dims()[3] > window,
            Self::Step { longest, .. } => *longest > window,
            Self::Causal { real, .. } => {
                real.first().is_some_and(|columns| columns.len() > window)
                    && real.iter().any(|real| count(real) > window)
            }
        }
    }
}

/// The mask of a row's tokens behind `past` columns, each of which sees at most `window` real ones.
fn causal(real: &[bool], past: usize, window: usize) -> Vec<f32> {
    // how many real ones there are up to each column
    let counts: Vec<usize> = real
        .iter()
        .scan(0, |count, real| {
            *count += usize::from(*real);
            Some(*count)
        })
        .collect();
    let mut mask = Vec::with_capacity((real.len() - past) * real.len());
    for query in past..real.len() {
        let sees = |key: usize| real[key] && key <= query && counts[query] - counts[key] < window;
        mask.extend((0..real.len()).map(|key| if sees(key) { 0.0 } else { BLOCKED }));
    }
    mask
}

/// The mask of one token behind each row, given the places of its columns.
///
/// # Shapes
/// - `places`, output: `[batch, columns]`
fn newest_places<B: Backend>(places: &Tensor<B, 2>, window: usize) -> Tensor<B, 2> {
    let behind = places.clone().max_dim(1) - places.clone();
    Tensor::zeros_like(places).mask_fill(behind.greater_equal_elem(window as f32), BLOCKED)
}

/// A mask in which each token sees the last `window` of the columns that it saw; made on the host.
fn newest<B: Backend>(mask: &Tensor<B, 4>, window: usize) -> Tensor<B, 4> {
    let shape = mask.dims();
    let mut values = crate::to_host(mask.clone());
    for row in values.chunks_mut(shape[3].max(1)) {
        let seen = row.iter_mut().rev().filter(|value| **value > BLOCKED / 2.0);
        seen.skip(window).for_each(|value| *value = BLOCKED);
    }
    crate::from_host(values, shape, &mask.device())
}

impl<B: Backend> ForwardInput<B> {
    /// Whole sequences, padded behind. No mask per row is needed: causality keeps real tokens from
    /// seeing what follows.
    ///
    /// # Shapes
    /// - `rows`: `batch` sequences of at most `time` ids; the output holds `[batch, longest]`
    pub fn right_padded(rows: &[&[u32]], device: &B::Device) -> Self {
        let time = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let mut tokens = Vec::with_capacity(rows.len() * time);
        let mut positions = Vec::with_capacity(rows.len() * time);
        let mut real = Vec::with_capacity(rows.len() * time);
        for row in rows {
            tokens.extend(row.iter().map(|id| *id as i32));
            tokens.resize(tokens.len() + time - row.len(), 0);
            positions.extend(0..time as u32);
            real.extend((0..time).map(|place| place < row.len()));
        }
        // causality keeps real tokens from seeing the padding behind them
        let visible = Visible::causal(0, vec![vec![true; time]]);
        Self::new(tokens, [rows.len(), time], positions, real, visible, device)
    }

    /// Sequences from which others go on by [`Self::behind`], padded in front: their last ids are
    /// in the last column.
    ///
    /// # Shapes
    /// - `rows`: `batch` sequences of at most `time` ids; the output holds `[batch, longest]`
    pub fn left_padded(rows: &[&[u32]], device: &B::Device) -> Self {
        let (time, tokens, positions, real) = padded_in_front(rows, |_| 0);
        let paddings: Vec<usize> = rows.iter().map(|row| time - row.len()).collect();
        let visible = behind_padding(&paddings, 0, time);
        Self::new(tokens, [rows.len(), time], positions, real, visible, device)
    }

    /// What goes on from sequences of `columns` columns that were read by [`Self::left_padded`],
    /// padded behind. Nothing can go on from these: a state would take the padding for real.
    ///
    /// # Shapes
    /// - `rows`: `batch` sequences of at most `time` ids; the output holds `[batch, longest]`
    /// - `pasts`: how many ids each goes on from
    pub fn behind(rows: &[&[u32]], pasts: &[usize], columns: usize, device: &B::Device) -> Self {
        let time = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let (mut tokens, mut positions, mut real) = (Vec::new(), Vec::new(), Vec::new());
        for (row, past) in rows.iter().zip(pasts) {
            tokens.extend(row.iter().map(|id| *id as i32));
            tokens.resize(tokens.len() + time - row.len(), 0);
            let last = (past + row.len()).saturating_sub(1);
            // padding at the last position, so that none is beyond the model's context
            positions.extend((*past..past + time).map(|place| place.min(last) as u32));
            real.extend((0..time).map(|place| place < row.len()));
        }
        let paddings: Vec<usize> = pasts.iter().map(|past| columns - past).collect();
        let visible = behind_padding(&paddings, columns, time);
        Self::new(tokens, [rows.len(), time], positions, real, visible, device)
    }

    fn new(
        tokens: Vec<i32>,
        shape: [usize; 2],
        positions: Vec<u32>,
        real: Vec<bool>,
        visible: Visible<B>,
        device: &B::Device,
    ) -> Self {
        Self {
            tokens: upload(TensorData::new(tokens, shape), device),
            positions,
            real,
            visible,
            precision: None,
            dropout: None,
            experts: ExpertChoice::Router,
        }
    }

    /// New tokens behind those that `state` remembers, padded in front so that the last column is
    /// every row's latest token. Rows may be empty. Registers the new columns with the state, so a
    /// forward pass with that state must follow.
    ///
    /// # Shapes
    /// - `rows`: one per row of the state
    pub fn cached<S: LayerState<B>>(
        rows: &[&[u32]],
        state: &mut DecodingState<B, S>,
        device: &B::Device,
    ) -> Self {
        let (time, tokens, positions, real) = padded_in_front(rows, |row| state.length(row) as u32);
        let past = state.columns();
        state.register(rows, time);
        let visible = if time == 1 {
            let longest = (0..rows.len()).map(|row| state.length(row)).max().unwrap_or(0);
            let mask = state.step_mask(device);
            Visible::Step { mask, places: state.step_places(device), longest }
        } else {
            let columns = (0..rows.len()).map(|row| state.real(row).to_vec()).collect();
            Visible::causal(past, columns)
        };
        Self::new(tokens, [rows.len(), time], positions, real, visible, device)
    }
}

/// Rows padded in front to the longest, which comes first; then tokens, positions, and which are
/// real. `past` is how many ids are in front of a row.
fn padded_in_front(
    rows: &[&[u32]],
    past: impl Fn(usize) -> u32,
) -> (usize, Vec<i32>, Vec<u32>, Vec<bool>) {
    let time = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let (mut tokens, mut positions, mut real) = (Vec::new(), Vec::new(), Vec::new());
    for (row, ids) in rows.iter().enumerate() {
        let (padding, past) = (time - ids.len(), past(row));
        tokens.resize(tokens.len() + padding, 0);
        tokens.extend(ids.iter().map(|id| *id as i32));
        positions.resize(positions.len() + padding, 0);
        positions.extend(past..past + ids.len() as u32);
        real.extend((0..time).map(|place| place >= padding));
    }
    (time, tokens, positions, real)
}

/// What `time` tokens behind `past` columns see, where each row's first columns are padding.
/// Causality keeps real tokens from seeing what is behind them.
fn behind_padding<B: Backend>(paddings: &[usize], past: usize, time: usize) -> Visible<B> {
    let row = |padding: &usize| (0..past + time).map(|column| column >= *padding).collect();
    Visible::causal(past, paddings.iter().map(row).collect())
}

impl<B: AutodiffBackend> ForwardInput<B> {
    /// The same for a model without autodiff.
    pub fn inner(&self) -> ForwardInput<B::InnerBackend> {
        ForwardInput {
            tokens: self.tokens.clone().inner(),
            positions: self.positions.clone(),
            real: self.real.clone(),
            visible: match &self.visible {
                Visible::Causal { past, real } => {
                    Visible::Causal { past: *past, real: real.clone() }
                }
                Visible::Step { mask, places, longest } => Visible::Step {
                    mask: mask.clone().map(Tensor::inner),
                    places: places.clone().map(Tensor::inner),
                    longest: *longest,
                },
                Visible::Given(mask) => Visible::Given(mask.clone().inner()),
            },
            precision: self.precision,
            dropout: self.dropout,
            experts: self.experts.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::AttentionState;

    type B = burn_flex::Flex;

    #[test]
    fn what_is_padding_is_told_in_front_and_behind() {
        let device = Default::default();
        let input = ForwardInput::<B>::right_padded(&[&[7, 8, 9], &[5]], &device);
        assert_eq!(input.real, [true, true, true, true, false, false]);
        let mut state = DecodingState::<B, _>::new(vec![AttentionState::empty(3)], 3);
        let first = ForwardInput::cached(&[&[7, 8], &[5], &[]], &mut state, &device);
        assert_eq!(first.real, [true, true, false, true, false, false]);
        assert_eq!(first.positions, [0, 1, 0, 0, 0, 0]);
        // a step in which the second row has nothing to read
        let step = ForwardInput::cached(&[&[9], &[], &[4]], &mut state, &device);
        assert_eq!(step.real, [true, false, true]);
        assert_eq!(step.positions, [2, 0, 0]);
        assert_eq!([0, 1, 2].map(|row| state.length(row)), [3, 1, 1]);
    }

    #[test]
    fn a_window_counts_real_tokens_and_not_columns() {
        let device = Default::default();
        let blocked = |mask: Tensor<B, 4>| -> Vec<u8> {
            crate::to_host(mask).into_iter().map(|value| u8::from(value == BLOCKED)).collect()
        };
        let input = ForwardInput::<B>::right_padded(&[&[7, 8, 9]], &device);
        let mask = input.visible.mask_within(2, &device).unwrap();
        assert_eq!(blocked(mask), [0, 1, 1, 0, 0, 1, 1, 0, 0]);
        // a mask of one's own is cut alike
        let given = Visible::Given(input.visible.mask(&device).unwrap());
        assert_eq!(blocked(given.mask_within(2, &device).unwrap()), [0, 1, 1, 0, 0, 1, 1, 0, 0]);
        // with two places, of which the first row leaves one empty
        let mut state = DecodingState::<B, _>::new(vec![AttentionState::empty(2)], 2);
        state.layer_mut(0).look_at(Some(2));
        for rows in [[&[1, 2][..], &[5]], [&[], &[6]], [&[3], &[7]]] {
            let input = ForwardInput::cached(&rows, &mut state, &device);
            if rows == [&[3][..], &[7]] {
                // columns 1, 2, gap, 3 and gap, 5, 6, 7: each row sees its last two
                let mask = input.visible.mask_within(2, &device).unwrap();
                assert_eq!(blocked(mask), [1, 0, 1, 0, 1, 1, 0, 0]);
                // and as many as there are
                let mask = input.visible.mask_within(3, &device).unwrap();
                assert_eq!(blocked(mask), [0, 0, 1, 0, 1, 0, 0, 0]);
                assert!(!input.visible.exceeds(3) && input.visible.exceeds(2));
            }
        }
    }

    #[test]
    fn what_goes_on_from_prompts_sees_those_and_what_is_in_front_of_it() {
        let device = Default::default();
        let prompts = ForwardInput::<B>::left_padded(&[&[7, 8], &[5]], &device);
        assert_eq!(prompts.positions, [0, 1, 0, 0]);
        assert_eq!(prompts.real, [true, true, false, true]);
        let blocked = |input: &ForwardInput<B>| -> Vec<u8> {
            let mask = crate::to_host(input.visible.mask(&device).unwrap());
            mask.into_iter().map(|value| u8::from(value == BLOCKED)).collect()
        };
        assert_eq!(blocked(&prompts), [0, 1, 0, 0, 1, 1, 1, 0]);
        // two rows behind the second prompt, one behind the first
        let rows: [&[u32]; 3] = [&[1, 2], &[3], &[4]];
        let input = ForwardInput::<B>::behind(&rows, &[1, 2, 1], 2, &device);
        assert_eq!(input.positions, [1, 2, 2, 2, 1, 1]);
        assert_eq!(input.real, [true, true, true, false, true, false]);
        let (first, second) = ([1, 0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(blocked(&input), [first, second, first].concat());
        // behind prompts of one length the rows have one mask
        let input = ForwardInput::<B>::behind(&rows, &[2, 2, 2], 2, &device);
        assert_eq!(blocked(&input), [0, 0, 0, 1, 0, 0, 0, 0]);
        assert!(
            ForwardInput::<B>::behind(&[&[1]], &[2], 2, &device).visible.mask(&device).is_none()
        );
    }
}
