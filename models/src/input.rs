//! What a forward pass reads: token ids, the position of each, and which earlier tokens each may
//! attend to.
//!
//! Rows of different length share a batch by padding. Padding is exact: a padded position is never
//! attended to by a real one, and positions count real tokens only, so a sequence's logits do not
//! depend on what it is batched with.

use crate::state::BLOCKED;
use crate::{DecodingState, LayerState, upload};
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
    /// That of one token a row, as it is added to attention scores, `[batch, columns]`.
    Step(Tensor<B, 2>),
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
        let (past, real) = match self {
            Self::Given(mask) => return Some(mask.clone()),
            Self::Step(mask) => {
                let [rows, columns] = mask.dims();
                return Some(mask.clone().reshape([rows, 1, 1, columns]));
            }
            Self::Causal { past, real } => (*past, real),
        };
        let columns = real.first().map_or(past, Vec::len);
        let time = columns - past;
        if time <= 1 && real.iter().flatten().all(|real| *real) {
            return None;
        }
        let mut mask = Vec::with_capacity(real.len() * time * columns);
        for real in real {
            for query in 0..time {
                let allowed = |(key, real): (usize, &bool)| *real && key <= past + query;
                let value = |column| if allowed(column) { 0.0 } else { BLOCKED };
                mask.extend(real.iter().enumerate().map(value));
            }
        }
        Some(crate::from_host(mask, [real.len(), 1, time, columns], device))
    }
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
        let mask = if time == 1 { state.step_mask(device) } else { None };
        let columns = || (0..rows.len()).map(|row| state.real(row).to_vec()).collect();
        let visible = mask.map_or_else(|| Visible::causal(past, columns()), Visible::Step);
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
                Visible::Step(mask) => Visible::Step(mask.clone().inner()),
                Visible::Given(mask) => Visible::Given(mask.clone().inner()),
            },
            precision: self.precision,
            dropout: self.dropout,
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
