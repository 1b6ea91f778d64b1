//! Where the tokens of a batch lie for a layer that reads them one after the other, made once for
//! all layers of a forward pass.
//!
//! Padding may be in front of a row's tokens or behind them. A recurrence passes over it, but a
//! convolution would take it for the tokens before. So tokens are moved in front of their padding
//! where they are not there already, and back at the end of the layer.

use super::delta_rule::ChunkMasks;
use super::gated_delta_net::DeltaNetShape;
use super::head_layout::{gather, indices};
use crate::upload;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

/// Index lists and masks; what a batch without padding, or of one token a row, does not need is
/// absent.
#[derive(Clone, Debug)]
pub(super) struct RecurrentLayout<B: Backend> {
    batch: usize,
    time: usize,
    shape: DeltaNetShape,
    order: Option<Order<B>>,
    /// 1 at tokens and 0 at padding, in the new order, `[tokens, 1]`.
    real: Option<Tensor<B, 2>>,
    /// The newest columns of each row, among those that were remembered and those that are new,
    /// `[batch * (kernel - 1)]`.
    newest: Option<Tensor<B, 1, Int>>,
    heads: Option<HeadRows<B>>,
    pub(super) masks: ChunkMasks<B>,
}

/// The places of tokens in front of their padding, and where each came from, `[tokens]`.
#[derive(Clone, Debug)]
struct Order<B: Backend> {
    forward: Tensor<B, 1, Int>,
    back: Tensor<B, 1, Int>,
}

/// For each row of the target layout its row in the source layout, as in [`super::HeadLayout`].
#[derive(Clone, Debug)]
struct HeadRows<B: Backend> {
    keys_forward: Tensor<B, 1, Int>,
    values_forward: Tensor<B, 1, Int>,
    values_back: Tensor<B, 1, Int>,
}

impl<B: Backend> RecurrentLayout<B> {
    /// For a batch of which `real` says, row by row, what is no padding.
    pub(super) fn new(
        [batch, time]: [usize; 2],
        real: &[bool],
        shape: DeltaNetShape,
        device: &B::Device,
    ) -> Self {
        let rows = || real.chunks(time.max(1));
        let lengths: Vec<usize> =
            rows().map(|row| row.iter().filter(|real| **real).count()).collect();
        let order: Vec<usize> = rows()
            .enumerate()
            .flat_map(|(row, real)| tokens_first(real).map(move |place| row * time + place))
            .collect();
        let is_padded = lengths.iter().any(|length| *length < time);
        let kept = shape.kernel - 1;
        let newest = lengths.iter().enumerate().flat_map(|(row, length)| {
            let start = row * (kept + time) + length;
            start..start + kept
        });
        let is_real = lengths.iter().flat_map(|length| (0..time).map(move |place| place < *length));
        let heads = |heads, forward| indices(batch, time, heads, forward, device);
        Self {
            batch,
            time,
            shape,
            order: Order::new(&order, device),
            real: is_padded.then(|| {
                let values = is_real.map(f32::from).collect();
                crate::from_host(values, [batch * time, 1], device)
            }),
            newest: is_padded.then(|| upload::indices(newest, device)),
            heads: (time > 1).then(|| HeadRows {
                keys_forward: heads(shape.key_heads, true),
                values_forward: heads(shape.value_heads, true),
                values_back: heads(shape.value_heads, false),
            }),
            masks: ChunkMasks::new(time, device),
        }
    }

    /// Rows and columns of the batch.
    pub(super) fn dims(&self) -> [usize; 2] {
        [self.batch, self.time]
    }

    /// Tokens in front of their padding; all else here is in that order.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, ..]`
    pub(super) fn in_order(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match &self.order {
            Some(order) => x.select(0, order.forward.clone()),
            None => x,
        }
    }

    /// The inverse of [`Self::in_order`].
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, ..]`
    pub(super) fn back(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match &self.order {
            Some(order) => x.select(0, order.back.clone()),
            None => x,
        }
    }

    /// 0 at padding.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, ..]`
    pub(super) fn without_padding(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match &self.real {
            Some(real) => x * real.clone(),
            None => x,
        }
    }

    /// What a convolution is to remember: of each row the newest `kernel - 1` columns that are no
    /// padding.
    ///
    /// # Shapes
    /// - `columns`: `[batch, kernel - 1 + time, channels]`, those remembered so far in front
    /// - output: `[batch, kernel - 1, channels]`
    pub(super) fn newest(&self, columns: Tensor<B, 3>) -> Tensor<B, 3> {
        let ([batch, count, channels], kept) = (columns.dims(), self.shape.kernel - 1);
        match &self.newest {
            Some(newest) => columns
                .reshape([batch * count, channels])
                .select(0, newest.clone())
                .reshape([batch, kept, channels]),
            None => columns.narrow(1, self.time, kept),
        }
    }

    /// Key heads in front of time, each as often as it has value heads.
    ///
    /// # Shapes
    /// - `x`: `[tokens, key_heads * size]`; output: `[batch * value_heads, time, size]`
    pub(super) fn split_keys(&self, x: Tensor<B, 2>, size: usize) -> Tensor<B, 3> {
        let DeltaNetShape { key_heads, value_heads, .. } = self.shape;
        let rows = gather(x, self.heads.as_ref().map(|heads| &heads.keys_forward), size);
        let (heads, group) = (self.batch * key_heads, value_heads / key_heads);
        let rows = rows.reshape([heads, 1, self.time * size]);
        let rows = if group == 1 { rows } else { rows.repeat_dim(1, group) };
        rows.reshape([heads * group, self.time, size])
    }

    /// Value heads in front of time.
    ///
    /// # Shapes
    /// - `x`: `[tokens, value_heads * size]`; output: `[batch * value_heads, time, size]`
    pub(super) fn split_values(&self, x: Tensor<B, 2>, size: usize) -> Tensor<B, 3> {
        let rows = gather(x, self.heads.as_ref().map(|heads| &heads.values_forward), size);
        rows.reshape([self.batch * self.shape.value_heads, self.time, size])
    }

    /// The inverse of [`Self::split_values`], with a row for each head of a token.
    ///
    /// # Shapes
    /// - `x`: `[batch * value_heads, time, size]`; output: `[tokens * value_heads, size]`
    pub(super) fn join(&self, x: Tensor<B, 3>) -> Tensor<B, 2> {
        let [rows, time, size] = x.dims();
        let rows = x.reshape([rows * time, size]);
        gather(rows, self.heads.as_ref().map(|heads| &heads.values_back), size)
    }
}

/// The places of a row's tokens, then those of its padding.
fn tokens_first(real: &[bool]) -> impl Iterator<Item = usize> {
    let places = |wanted: bool| (0..real.len()).filter(move |place| real[*place] == wanted);
    places(true).chain(places(false))
}

impl<B: Backend> Order<B> {
    /// `None` where nothing moves.
    fn new(order: &[usize], device: &B::Device) -> Option<Self> {
        if order.iter().copied().eq(0..order.len()) {
            return None;
        }
        let mut back = vec![0; order.len()];
        for (place, from) in order.iter().enumerate() {
            back[*from] = place;
        }
        Some(Self {
            forward: upload::indices(order.iter().copied(), device),
            back: upload::indices(back.into_iter(), device),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_host, to_host};

    type B = burn_flex::Flex;

    fn layout(batch: usize, real: &[bool]) -> RecurrentLayout<B> {
        let shape =
            DeltaNetShape { key_heads: 1, value_heads: 2, key_dim: 1, value_dim: 1, kernel: 3 };
        RecurrentLayout::new([batch, real.len() / batch], real, shape, &Default::default())
    }

    fn numbers<const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
        let values = (0..shape.iter().product()).map(|value: usize| value as f32).collect();
        from_host(values, shape, &Default::default())
    }

    /// Rows of 3 columns: two tokens behind padding, one in front of it, none, three.
    #[test]
    fn tokens_come_in_front_of_their_padding() {
        let (o, x) = (false, true);
        let layout = layout(4, &[o, x, x, x, o, o, o, o, o, x, x, x]);
        let tokens = layout.in_order(numbers([12, 1]));
        let wanted = [1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0];
        assert_eq!(to_host(tokens.clone()), wanted);
        assert_eq!(to_host(layout.back(tokens.clone())), to_host(numbers([12, 1])));
        let wanted = [1.0, 2.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 10.0, 11.0];
        assert_eq!(to_host(layout.without_padding(tokens)), wanted);
        // rows of two columns from before and three new ones: behind 2, 1, 0 and 3 tokens
        let newest = layout.newest(numbers([4, 5, 1]));
        assert_eq!(to_host(newest), [2.0, 3.0, 6.0, 7.0, 10.0, 11.0, 18.0, 19.0]);
    }

    #[test]
    fn nothing_moves_without_padding_or_with_padding_behind() {
        let whole = layout(2, &[true; 4]);
        assert!(whole.order.is_none() && whole.real.is_none() && whole.newest.is_none());
        assert_eq!(to_host(whole.newest(numbers([2, 4, 1]))), [2.0, 3.0, 6.0, 7.0]);
        let behind = layout(2, &[true, true, true, false]);
        assert!(behind.order.is_none() && behind.real.is_some());
    }

    #[test]
    fn heads_come_in_front_of_time() {
        let layout = layout(1, &[true; 3]);
        // tokens (0, 1), (2, 3) and (4, 5) of two heads
        let values = layout.split_values(numbers([3, 2]), 1);
        assert_eq!(to_host(values.clone()), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
        assert_eq!(to_host(layout.join(values)), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        // the key head serves both value heads
        let keys = layout.split_keys(numbers([3, 1]), 1);
        assert_eq!(to_host(keys), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
    }
}
