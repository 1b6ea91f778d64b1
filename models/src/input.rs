//! What a forward pass reads: token ids, the position of each, and which earlier tokens each may
//! attend to.
//!
//! Rows of different length share a batch by padding. Padding is exact: a padded position is never
//! attended to by a real one, and positions count real tokens only, so a sequence's logits do not
//! depend on what it is batched with.

use crate::{DecodingState, LayerState};
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
    /// Which positions hold real tokens, row by row; the others are padding, at which a layer must
    /// not change what it remembers. A row that is fed nothing is all padding.
    pub real: Vec<bool>,
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
        let mut tokens = Vec::with_capacity(rows.len() * time);
        let mut positions = Vec::with_capacity(rows.len() * time);
        let mut real = Vec::with_capacity(rows.len() * time);
        for row in rows {
            tokens.extend(row.iter().map(|id| *id as i32));
            tokens.resize(tokens.len() + time - row.len(), 0);
            positions.extend(0..time as u32);
            real.extend((0..time).map(|place| place < row.len()));
        }
        let mask = (time > 1).then(|| {
            let mask = (0..time).flat_map(|query| {
                (0..time).map(move |key| if key <= query { 0.0 } else { BLOCKED })
            });
            crate::from_host(mask.collect(), [1, 1, time, time], device)
        });
        Self::new(tokens, [rows.len(), time], positions, real, mask, device)
    }

    fn new(
        tokens: Vec<i32>,
        shape: [usize; 2],
        positions: Vec<u32>,
        real: Vec<bool>,
        mask: Option<Tensor<B, 4>>,
        device: &B::Device,
    ) -> Self {
        Self {
            tokens: Tensor::from_data(TensorData::new(tokens, shape), device),
            positions,
            real,
            mask,
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
        let time = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let (mut tokens, mut positions, mut real) = (Vec::new(), Vec::new(), Vec::new());
        for (row, ids) in rows.iter().enumerate() {
            let padding = time - ids.len();
            let past = state.length(row) as u32;
            tokens.resize(tokens.len() + padding, 0);
            tokens.extend(ids.iter().map(|id| *id as i32));
            positions.resize(positions.len() + padding, 0);
            positions.extend(past..past + ids.len() as u32);
            real.extend((0..time).map(|place| place >= padding));
        }
        let past = state.columns();
        state.register(rows, time);
        let mut mask = Vec::with_capacity(rows.len() * time * (past + time));
        let mut anything_blocked = false;
        for row in 0..rows.len() {
            for query in 0..time {
                for (key, real) in state.real(row).iter().enumerate() {
                    let allowed = *real && key <= past + query;
                    anything_blocked |= !allowed;
                    mask.push(if allowed { 0.0 } else { BLOCKED });
                }
            }
        }
        let mask = anything_blocked
            .then(|| crate::from_host(mask, [rows.len(), 1, time, past + time], device));
        Self::new(tokens, [rows.len(), time], positions, real, mask, device)
    }
}

impl<B: AutodiffBackend> ForwardInput<B> {
    /// The same for a model without autodiff.
    pub fn inner(&self) -> ForwardInput<B::InnerBackend> {
        ForwardInput {
            tokens: self.tokens.clone().inner(),
            positions: self.positions.clone(),
            real: self.real.clone(),
            mask: self.mask.clone().map(Tensor::inner),
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
}
