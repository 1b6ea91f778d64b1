//! The gated delta rule (Yang et al., 2024, arXiv 2412.06464): a memory that is read with a key
//! before it is written to, so that a value replaces what stood there.
//!
//! The memory of a head is a matrix `S`, `[key features, value features]`, zero to begin with. A
//! token with query `q`, key `k`, value `v`, rate `b` and decay `e^g` does
//!
//! ```text
//! S = e^g S,   u = b (v - S^T k),   S = S + k u^T,   o = S^T q
//! ```
//!
//! One token is computed so. More are computed in chunks of [`CHUNK`], as in transformers'
//! `torch_chunk_gated_delta_rule`: a few products for each chunk, and a graph that grows with the
//! chunks, not with the tokens. With `c_i` the sum of `g` up to token `i` of a chunk, `K`, `V`, `Q`
//! its tokens as rows, `D_ij = e^(c_i - c_j)` where `i >= j` and else 0, and `L` the part of
//! `(b K) K^T * D` below the diagonal:
//!
//! ```text
//! U = (I + L)^-1 (b V - (b e^c K) S)
//! O = (e^c Q) S + (Q K^T * D) U
//! S = e^(c_last) S + (e^(c_last - c) K)^T U
//! ```
//!
//! Both are the same function up to rounding. A token whose rate and `g` are 0 changes nothing.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::collections::{BTreeMap, BTreeSet};

/// Tokens that are computed together.
pub(super) const CHUNK: usize = 64;

/// What the rule reads of each token; a row is a head of a sequence. All are f32.
#[derive(Clone, Debug)]
pub(super) struct DeltaTokens<B: Backend> {
    /// `q`, `[rows, time, key_dim]`
    pub(super) queries: Tensor<B, 3>,
    /// `k`, `[rows, time, key_dim]`
    pub(super) keys: Tensor<B, 3>,
    /// `v`, `[rows, time, value_dim]`
    pub(super) values: Tensor<B, 3>,
    /// `g`, at most 0, `[rows, time, 1]`
    pub(super) log_decays: Tensor<B, 3>,
    /// `b`, `[rows, time, 1]`
    pub(super) rates: Tensor<B, 3>,
}

/// `O` of all tokens, and `S` behind the last.
///
/// # Shapes
/// - `memory`: `[rows, key_dim, value_dim]`, in and out
/// - output: `[rows, time, value_dim]`
pub(super) fn delta_rule<B: Backend>(
    tokens: &DeltaTokens<B>,
    mut memory: Tensor<B, 3>,
    masks: &ChunkMasks<B>,
) -> (Tensor<B, 3>, Tensor<B, 3>) {
    let [_, time, _] = tokens.values.dims();
    let mut outputs = Vec::new();
    for (start, columns) in chunks(time) {
        let chunk = tokens.narrow(start, columns);
        let output;
        (output, memory) = match masks.0.get(&columns) {
            Some(mask) => chunk.read_together(memory, mask),
            None => chunk.read_one(memory),
        };
        outputs.push(output);
    }
    let outputs = if outputs.len() == 1 { outputs.remove(0) } else { Tensor::cat(outputs, 1) };
    (outputs, memory)
}

/// First token and length of each chunk.
fn chunks(time: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..time).step_by(CHUNK).map(move |start| (start, CHUNK.min(time - start)))
}

impl<B: Backend> DeltaTokens<B> {
    fn narrow(&self, start: usize, columns: usize) -> Self {
        let [_, time, _] = self.values.dims();
        if columns == time {
            return self.clone();
        }
        let part = |tensor: &Tensor<B, 3>| tensor.clone().narrow(1, start, columns);
        Self {
            queries: part(&self.queries),
            keys: part(&self.keys),
            values: part(&self.values),
            log_decays: part(&self.log_decays),
            rates: part(&self.rates),
        }
    }

    /// The recurrence, for a single token.
    fn read_one(self, memory: Tensor<B, 3>) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let memory = memory * self.log_decays.exp();
        let known = self.keys.clone().matmul(memory.clone());
        let change = (self.values - known) * self.rates;
        let memory = memory + self.keys.transpose().matmul(change);
        (self.queries.matmul(memory.clone()), memory)
    }

    /// The formulas of a chunk.
    fn read_together(
        self,
        memory: Tensor<B, 3>,
        mask: &ChunkMask<B>,
    ) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let [_, columns, _] = self.values.dims();
        // a difference of two sums `c` would lose the digits of small decays behind large ones
        let sums = (self.log_decays.clone() * mask.below.clone()).cumsum(1);
        let between = sums.exp() * mask.lower.clone();
        let until_end = between.clone().narrow(1, columns - 1, 1).transpose();
        let since_start = self.log_decays.cumsum(1).exp();
        let whole = since_start.clone().narrow(1, columns - 1, 1);

        let across = self.keys.clone().transpose();
        let rated = self.keys.clone() * self.rates.clone();
        let system = rated.clone().matmul(across.clone()) * between.clone();
        let known = (rated * since_start.clone()).matmul(memory.clone());
        let changes = mask.inverse(system).matmul(self.values * self.rates - known);

        let nearby = self.queries.clone().matmul(across) * between;
        let outputs = (self.queries * since_start).matmul(memory.clone());
        let outputs = outputs + nearby.matmul(changes.clone());
        let written = (self.keys * until_end).transpose().matmul(changes);
        (outputs, memory * whole + written)
    }
}

/// The masks of chunks by their length, for the lengths of one forward pass that are above 1.
#[derive(Clone, Debug)]
pub(super) struct ChunkMasks<B: Backend>(BTreeMap<usize, ChunkMask<B>>);

impl<B: Backend> ChunkMasks<B> {
    /// For sequences of `time` tokens.
    pub(super) fn new(time: usize, device: &B::Device) -> Self {
        let lengths = chunks(time).map(|(_, columns)| columns).filter(|columns| *columns > 1);
        let lengths: BTreeSet<usize> = lengths.collect();
        Self(lengths.into_iter().map(|length| (length, ChunkMask::new(length, device))).collect())
    }
}

/// Which entries of a chunk's square matrices are kept, `[1, columns, columns]` each.
#[derive(Clone, Debug)]
struct ChunkMask<B: Backend> {
    /// On the diagonal and below.
    lower: Tensor<B, 3>,
    /// Below the diagonal.
    below: Tensor<B, 3>,
    /// On the diagonal.
    identity: Tensor<B, 3>,
    /// Below the diagonal, in parts: of blocks of twice 1, 2, 4, .. rows the lower left quarter.
    quarters: Vec<Tensor<B, 3>>,
}

impl<B: Backend> ChunkMask<B> {
    fn new(columns: usize, device: &B::Device) -> Self {
        let mask = |keeps: &dyn Fn(usize, usize) -> bool| {
            let rows = (0..columns).flat_map(|row| (0..columns).map(move |column| (row, column)));
            let values = rows.map(|(row, column)| f32::from(keeps(row, column))).collect();
            crate::from_host(values, [1, columns, columns], device)
        };
        let quarter = |half: usize| {
            let is_in_quarter =
                |row: usize, column: usize| row / half == column / half + 1 && row / half % 2 == 1;
            mask(&is_in_quarter)
        };
        let halves = std::iter::successors(Some(1), |half| Some(half * 2));
        Self {
            lower: mask(&|row, column| row >= column),
            below: mask(&|row, column| row > column),
            identity: mask(&|row, column| row == column),
            quarters: halves.take_while(|half| *half < columns).map(quarter).collect(),
        }
    }

    /// `(I + L)^-1`, given `L` below the diagonal and anything elsewhere.
    ///
    /// Blocks of `n` rows on the diagonal are inverted; two neighbours make one of `2 n` rows:
    /// `[[A, 0], [C, D]]^-1 = [[A^-1, 0], [-D^-1 C A^-1, D^-1]]`. That is as exact as solving row
    /// by row, with as many products as `2 n` can be doubled.
    ///
    /// # Shapes
    /// - `system`, output: `[rows, columns, columns]`
    fn inverse(&self, system: Tensor<B, 3>) -> Tensor<B, 3> {
        let mut quarters = self.quarters.iter();
        let Some(first) = quarters.next() else { return self.identity.clone() };
        // blocks of one row are 1, and so are their inverses
        let mut inverse = self.identity.clone() - system.clone() * first.clone();
        for quarter in quarters {
            let below = system.clone() * quarter.clone();
            let below = inverse.clone().matmul(below).matmul(inverse.clone());
            inverse = inverse - below;
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;
    use burn::tensor::Tolerance;

    type Plain = burn_flex::Flex;

    /// Numbers from -1 to 1 that look random.
    fn noise(seed: usize, count: usize) -> Vec<f32> {
        let value = |place: usize| (place * 7919 + seed * 104_729 + place * place * 31) % 2003;
        (0..count).map(|place| value(place) as f32 / 1001.0 - 1.0).collect()
    }

    /// `rows` sequences of `time` tokens with keys of length 1 and decays from `e^-strongest` to 1.
    fn tokens<B: Backend>(rows: usize, time: usize, strongest: f32) -> DeltaTokens<B> {
        let device = Default::default();
        let of = |seed: usize, width: usize| -> Tensor<B, 3> {
            crate::from_host(noise(seed, rows * time * width), [rows, time, width], &device)
        };
        let keys = of(1, 3);
        let length = keys.clone().square().sum_dim(2).sqrt();
        DeltaTokens {
            queries: of(2, 3),
            keys: keys / length,
            values: of(3, 2),
            log_decays: (of(4, 1) - 1.0) * (strongest / 2.0),
            rates: (of(5, 1) + 1.0) / 2.0,
        }
    }

    fn memory<B: Backend>(rows: usize) -> Tensor<B, 3> {
        crate::from_host(noise(6, rows * 3 * 2), [rows, 3, 2], &Default::default())
    }

    /// Token by token, whatever the masks.
    fn one_by_one<B: Backend>(
        tokens: &DeltaTokens<B>,
        mut memory: Tensor<B, 3>,
    ) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let [_, time, _] = tokens.values.dims();
        let mut outputs = Vec::new();
        for place in 0..time {
            let output;
            (output, memory) = tokens.narrow(place, 1).read_one(memory);
            outputs.push(output);
        }
        (Tensor::cat(outputs, 1), memory)
    }

    fn together<B: Backend>(
        tokens: &DeltaTokens<B>,
        memory: Tensor<B, 3>,
    ) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let [_, time, _] = tokens.values.dims();
        delta_rule(tokens, memory, &ChunkMasks::new(time, &Default::default()))
    }

    /// One head with keys of two features and values of one.
    ///
    /// Token 1: `S = (0, 0)`, `k = (1, 0)`, `v = 4`, `b = 1/2`: `u = 2`, `S = (2, 0)`; with
    /// `q = (1, 1)` it reads 2.
    ///
    /// Token 2: `e^g = 1/2`, so `S = (1, 0)`; `k = (0.6, 0.8)` reads 0.6; `v = 2.6`, `b = 1`:
    /// `u = 2`, `S = (1 + 1.2, 1.6)`; with `q = (1, -1)` it reads 0.6.
    #[test]
    fn two_tokens_by_hand() {
        let device = Default::default();
        let of = |values: &[f32], width: usize| -> Tensor<Plain, 3> {
            crate::from_host(values.to_vec(), [1, 2, width], &device)
        };
        let tokens = DeltaTokens {
            queries: of(&[1.0, 1.0, 1.0, -1.0], 2),
            keys: of(&[1.0, 0.0, 0.6, 0.8], 2),
            values: of(&[4.0, 2.6], 1),
            log_decays: of(&[-3.0, 0.5f32.ln()], 1),
            rates: of(&[0.5, 1.0], 1),
        };
        let empty = Tensor::zeros([1, 2, 1], &device);
        for (outputs, memory) in [one_by_one(&tokens, empty.clone()), together(&tokens, empty)] {
            let tolerance = Tolerance::absolute(1e-6);
            outputs.into_data().assert_approx_eq::<f32>(&[[[2.0f32], [0.6]]].into(), tolerance);
            memory.into_data().assert_approx_eq::<f32>(&[[[2.2f32], [1.6]]].into(), tolerance);
        }
    }

    /// Lengths at and around the ends of chunks, with decays that hardly forget and decays whose
    /// inverse would overflow.
    #[test]
    fn chunks_compute_the_recurrence() {
        for time in [2, 3, 31, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5] {
            for strongest in [0.01, 1.0, 60.0] {
                let tokens = tokens::<Plain>(2, time, strongest);
                let (want, want_memory) = one_by_one(&tokens, memory(2));
                let (got, got_memory) = together(&tokens, memory(2));
                let tolerance = Tolerance::absolute(2e-5);
                got.into_data().assert_approx_eq::<f32>(&want.into_data(), tolerance);
                got_memory.into_data().assert_approx_eq::<f32>(&want_memory.into_data(), tolerance);
            }
        }
    }

    /// A key that is written again and again at full rate: `(I + L)^-1` by powers of `L` would
    /// subtract numbers of 1e18.
    #[test]
    fn equal_keys_are_exact() {
        let mut tokens = tokens::<Plain>(1, CHUNK, 0.0);
        tokens.keys = tokens.keys.narrow(1, 0, 1).repeat_dim(1, CHUNK);
        tokens.rates = tokens.rates.ones_like();
        let (want, _) = one_by_one(&tokens, memory(1));
        let (got, _) = together(&tokens, memory(1));
        got.into_data().assert_approx_eq::<f32>(&want.into_data(), Tolerance::absolute(1e-5));
    }

    #[test]
    fn gradients_of_chunks_are_those_of_the_recurrence() {
        type B = Autodiff<Plain>;
        let gradients = |chunked: bool| -> Vec<f32> {
            let DeltaTokens { queries, keys, values, log_decays, rates } =
                tokens::<B>(2, CHUNK + 9, 2.0);
            let [queries, keys, values, log_decays, rates, memory] =
                [queries, keys, values, log_decays, rates, memory(2)].map(Tensor::require_grad);
            let leaves = [&queries, &keys, &values, &log_decays, &rates, &memory].map(Clone::clone);
            let tokens = DeltaTokens { queries, keys, values, log_decays, rates };
            let (outputs, memory) =
                if chunked { together(&tokens, memory) } else { one_by_one(&tokens, memory) };
            let loss = outputs.square().sum() + (memory.clone().square() * memory).sum();
            let gradients = loss.backward();
            let of = |leaf: &Tensor<B, 3>| crate::to_host(leaf.grad(&gradients).unwrap());
            leaves.iter().flat_map(of).collect()
        };
        let (want, got) = (gradients(false), gradients(true));
        let largest = want.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.1);
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 1e-5 * largest, "{got} is not {want}");
        }
    }

    #[test]
    fn rates_and_decays_of_zero_change_nothing() {
        let mut tokens = tokens::<Plain>(1, 5, 1.0);
        tokens.rates = tokens.rates.zeros_like();
        tokens.log_decays = tokens.log_decays.zeros_like();
        let (_, after) = together(&tokens, memory(1));
        assert_eq!(crate::to_host(after), crate::to_host(memory::<Plain>(1)));
    }
}
