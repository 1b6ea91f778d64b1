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

    /// Sequences from which others go on by [`Self::behind`], padded in front: their last ids are in
    /// the last column.
    ///
    /// # Shapes
    /// - `rows`: `batch` sequences of at most `time` ids; the output holds `[batch, longest]`
    pub fn left_padded(rows: &[&[u32]], device: &B::Device) -> Self {
        let (time, tokens, positions, real) = padded_in_front(rows, |_| 0);
        let paddings: Vec<usize> = rows.iter().map(|row| time - row.len()).collect();
        let mask = causal(&paddings, 0, time, device);
        Self::new(tokens, [rows.len(), time], positions, real, mask, device)
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
        let mask = causal(&paddings, columns, time, device);
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
        let (time, tokens, positions, real) = padded_in_front(rows, |row| state.length(row) as u32);
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

/// The mask of `time` tokens behind `past` columns, where each row's first columns are padding. One
/// for all rows where these are alike; causality keeps real tokens from seeing what is behind them.
///
/// # Shapes
/// - output: `[batch or 1, 1, time, past + time]`
fn causal<B: Backend>(
    paddings: &[usize],
    past: usize,
    time: usize,
    device: &B::Device,
) -> Option<Tensor<B, 4>> {
    let is_alike = paddings.windows(2).all(|pair| pair[0] == pair[1]);
    let paddings = if is_alike { &paddings[..paddings.len().min(1)] } else { paddings };
    if time <= 1 && paddings.iter().all(|padding| *padding == 0) {
        return None;
    }
    let columns = past + time;
    let mut mask = Vec::with_capacity(paddings.len() * time * columns);
    for padding in paddings {
        for query in 0..time {
            let allowed = *padding..past + query + 1;
            let value = |key| if allowed.contains(&key) { 0.0 } else { BLOCKED };
            mask.extend((0..columns).map(value));
        }
    }
    Some(crate::from_host(mask, [paddings.len(), 1, time, columns], device))
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

    #[test]
    fn what_goes_on_from_prompts_sees_those_and_what_is_in_front_of_it() {
        let device = Default::default();
        let prompts = ForwardInput::<B>::left_padded(&[&[7, 8], &[5]], &device);
        assert_eq!(prompts.positions, [0, 1, 0, 0]);
        assert_eq!(prompts.real, [true, true, false, true]);
        let blocked = |input: &ForwardInput<B>| -> Vec<u8> {
            let mask = crate::to_host(input.mask.clone().unwrap());
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
        assert!(ForwardInput::<B>::behind(&[&[1]], &[2], 2, &device).mask.is_none());
    }
}
