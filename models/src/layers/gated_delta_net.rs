//! Gated DeltaNet (Yang et al., 2024, arXiv 2412.06464), the linear attention of Qwen3.5: what it
//! remembers of a sequence is of one size, however long that is.
//!
//! With `y` a token of the normalised input, `*` a short convolution of each channel over the tokens
//! up to this one, and heads side by side:
//!
//! ```text
//! (q, k, v) = silu(conv * y W_qkv)
//! q = q / |q| / sqrt(key_dim),   k = k / |k|            |x| = sqrt(sum(x^2) + 1e-6)
//! b = sigmoid(y W_b)                                    one rate for each value head
//! g = -e^A_log softplus(y W_a + dt_bias)                the logarithm of its decay
//! o = delta_rule(q, k, v, b, g)                         see `delta_rule.rs`
//! output = (norm(o) silu(y W_z)) W_out                  the norm is over each head
//! ```
//!
//! Each key head serves `value_heads / key_heads` neighbours. From the convolution to the norm all
//! is computed in f32. Padding, in front or behind, changes neither the memory nor what the
//! convolution remembers.
//!
//! Several tokens are read in chunks, and single ones by the recurrence. So the length of what a row
//! and its neighbours read together changes its numbers by rounding. Left out: kernels of a backend's
//! own.

#![expect(non_snake_case, reason = "`A_log` is the key in checkpoints")]

use super::delta_rule::{CHUNK, DeltaTokens, delta_rule};
use super::recurrent_layout::RecurrentLayout;
use super::{DecoderShape, HeadLayout, NamedMap, Projection, RmsNorm, in_f32, matching};
use crate::state::{LayerState, select_rows, tensor_bytes};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, sigmoid, silu};
use burn::tensor::backend::Backend;

/// Added to the squared length of queries and keys.
const LENGTH_EPS: f64 = 1e-6;

/// The numbers of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaNetShape {
    /// Heads of queries and keys; divides `value_heads`.
    pub key_heads: usize,
    /// Heads of values, each with a memory of its own.
    pub value_heads: usize,
    /// Features of a key.
    pub key_dim: usize,
    /// Features of a value.
    pub value_dim: usize,
    /// Tokens that the convolution sees, its own among them; at least 2.
    pub kernel: usize,
}

impl DeltaNetShape {
    /// Features of all keys.
    pub(crate) fn keys(self) -> usize {
        self.key_heads.saturating_mul(self.key_dim)
    }

    /// Features of all values.
    pub(crate) fn values(self) -> usize {
        self.value_heads.saturating_mul(self.value_dim)
    }

    /// Channels of the convolution: queries, keys and values.
    pub(crate) fn channels(self) -> usize {
        self.keys().saturating_mul(2).saturating_add(self.values())
    }

    /// The linear maps of a layer: the end of the key, features in, features out.
    pub(crate) fn maps(self, hidden_size: usize) -> [(&'static str, usize, usize); 5] {
        [
            ("linear_attn.in_proj_qkv", hidden_size, self.channels()),
            ("linear_attn.in_proj_z", hidden_size, self.values()),
            ("linear_attn.in_proj_b", hidden_size, self.value_heads),
            ("linear_attn.in_proj_a", hidden_size, self.value_heads),
            ("linear_attn.out_proj", self.values(), hidden_size),
        ]
    }

    /// Parameters of a layer; its norm and those of single heads, a few hundred, are left out.
    pub(crate) fn parameters(self, hidden_size: usize) -> f64 {
        let maps = self.maps(hidden_size);
        let maps = maps.iter().map(|(_, from, to)| *from as f64 * *to as f64);
        maps.sum::<f64>() + self.channels() as f64 * self.kernel as f64
    }

    /// Numbers that the autodiff graph keeps of each token: 8 of each channel for convolution,
    /// activation and length, 6 of each value for norm and gate. Of each value head a row of 25
    /// square matrices of a chunk, 8 keys, 6 values, and a share of 3 memories.
    pub(crate) fn kept(self) -> f64 {
        let [chunk, heads, key, value] =
            [CHUNK, self.value_heads, self.key_dim, self.value_dim].map(|number| number as f64);
        let of_head = 25.0 * chunk + 8.0 * key + 6.0 * value + 3.0 * key * value / chunk;
        8.0 * self.channels() as f64 + 6.0 * self.values() as f64 + heads * of_head
    }

    /// Numbers that are remembered of a sequence: the memories, and the convolution's columns.
    pub(crate) fn state(self) -> f64 {
        let memories = self.values() as f64 * self.key_dim as f64;
        memories + (self.kernel as f64 - 1.0) * self.channels() as f64
    }
}

/// The block of a layer; fields are named as the checkpoint's keys.
#[derive(Module, Debug)]
pub struct GatedDeltaNet<B: Backend> {
    /// `W_qkv`, `[hidden_size, 2 * keys + values]`
    pub in_proj_qkv: Projection<B>,
    /// `W_z`, `[hidden_size, values]`
    pub in_proj_z: Projection<B>,
    /// `W_b`, `[hidden_size, value_heads]`
    pub in_proj_b: Projection<B>,
    /// `W_a`, `[hidden_size, value_heads]`
    pub in_proj_a: Projection<B>,
    /// Over the tokens up to each.
    pub conv1d: ShortConvolution<B>,
    /// `[value_heads]`
    pub dt_bias: Param<Tensor<B, 1>>,
    /// `[value_heads]`
    pub A_log: Param<Tensor<B, 1>>,
    /// Over the features of a value head.
    pub norm: RmsNorm<B>,
    /// `W_out`, `[values, hidden_size]`
    pub out_proj: Projection<B>,
    #[module(skip)]
    shape: DeltaNetShape,
}

/// `y_t = sum_j w_j x_(t - kernel + 1 + j)` of each channel.
#[derive(Module, Debug)]
pub struct ShortConvolution<B: Backend> {
    /// `w`, `[channels, 1, kernel]`
    pub weight: Param<Tensor<B, 3>>,
}

/// What a layer remembers.
#[derive(Clone, Debug)]
pub struct DeltaNetState<B: Backend> {
    rows: usize,
    /// `None` where nothing has been read, which is as good as zeros.
    read: Option<Remembered<B>>,
}

#[derive(Clone, Debug)]
struct Remembered<B: Backend> {
    /// The newest inputs of the convolution, `[rows, kernel - 1, channels]`.
    columns: Tensor<B, 3>,
    /// `S` of each head, in f32, `[rows, value_heads, key_dim, value_dim]`.
    memory: Tensor<B, 4>,
}

impl<B: Backend> ShortConvolution<B> {
    /// # Shapes
    /// - `columns`: `[batch, kernel - 1 + time, channels]`; output: `[batch, time, channels]`, in
    ///   f32
    fn forward(&self, columns: Tensor<B, 3>) -> Tensor<B, 3> {
        let [channels, _, kernel] = self.weight.dims();
        let [_, count, _] = columns.dims();
        let time = count + 1 - kernel;
        let columns = in_f32(columns);
        // a row of weights for each place
        let weight = in_f32(self.weight.val()).reshape([channels, kernel]).transpose();
        let of_place = |place: usize| {
            let weight = weight.clone().narrow(0, place, 1).reshape([1, 1, channels]);
            columns.clone().narrow(1, place, time) * weight
        };
        (1..kernel).fold(of_place(0), |sum, place| sum + of_place(place))
    }
}

impl<B: Backend> GatedDeltaNet<B> {
    /// A block with zero matrices. `A_log` and `dt_bias` are where training begins, not zero:
    /// `e^A_log` is spread evenly below 16, where transformers draws it.
    pub(crate) fn new(shape: &DecoderShape, own: DeltaNetShape, device: &B::Device) -> Self {
        let DeltaNetShape { value_heads, value_dim, kernel, .. } = own;
        let [qkv, z, b, a, out] = own
            .maps(shape.hidden_size)
            .map(|(_, d_input, d_output)| Projection::new(d_input, d_output, false, device));
        let rate = |head: usize| 16.0 * (head as f32 + 0.5) / value_heads as f32;
        let rates = (0..value_heads).map(|head| rate(head).ln()).collect();
        let weight = Tensor::zeros([own.channels(), 1, kernel], device);
        Self {
            in_proj_qkv: qkv,
            in_proj_z: z,
            in_proj_b: b,
            in_proj_a: a,
            conv1d: ShortConvolution { weight: Param::from_tensor(weight) },
            dt_bias: Param::from_tensor(Tensor::ones([value_heads], device)),
            A_log: Param::from_tensor(crate::from_host(rates, [value_heads], device)),
            norm: RmsNorm::new(value_dim, shape.rms_norm_eps, &shape.kernels, device),
            out_proj: out,
            shape: own,
        }
    }

    /// The formulas at the top of this file. `state` is what was read before, and is to be
    /// remembered.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub(crate) fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        mut state: Option<&mut DeltaNetState<B>>,
    ) -> Tensor<B, 2> {
        let places = layout.recurrent(self.shape);
        let x = places.in_order(x);
        let maps = [&self.in_proj_qkv, &self.in_proj_z, &self.in_proj_b, &self.in_proj_a];
        let [mixed, z, b, a] = Projection::forward_all(maps, x.clone(), layout.dropout);

        let before = state.as_mut().and_then(|state| state.read.take());
        let before = before.unwrap_or_else(|| self.nothing(places, &mixed));
        let ([batch, time], channels) = (places.dims(), self.shape.channels());
        let mixed = mixed.reshape([batch, time, channels]);
        let columns = Tensor::cat(vec![before.columns, mixed], 1);
        let mixed = silu(self.conv1d.forward(columns.clone())).reshape([batch * time, channels]);

        let tokens = self.tokens(mixed, b, a, places);
        let DeltaNetShape { value_heads, key_dim, value_dim, .. } = self.shape;
        let memory = before.memory.reshape([batch * value_heads, key_dim, value_dim]);
        let (outputs, memory) = delta_rule(&tokens, memory, &places.masks);
        if let Some(state) = state {
            let memory = memory.reshape([batch, value_heads, key_dim, value_dim]);
            state.read = Some(Remembered { columns: places.newest(columns), memory });
        }

        let outputs = self.norm.forward(places.join(outputs));
        let outputs = outputs.reshape([batch * time, value_heads * value_dim]);
        let outputs = matching(outputs * silu(in_f32(z)), &x);
        places.back(self.out_proj.forward(outputs, layout.dropout))
    }

    /// What the delta rule reads of each token.
    ///
    /// # Shapes
    /// - `mixed`: queries, keys and values, `[tokens, channels]`
    /// - `b`, `a`: `[tokens, value_heads]`
    fn tokens(
        &self,
        mixed: Tensor<B, 2>,
        b: Tensor<B, 2>,
        a: Tensor<B, 2>,
        places: &RecurrentLayout<B>,
    ) -> DeltaTokens<B> {
        let DeltaNetShape { key_dim, value_dim, .. } = self.shape;
        let (keys, values) = (self.shape.keys(), self.shape.values());
        let part = |start: usize, width: usize| mixed.clone().narrow(1, start, width);
        let unit = |start: usize| of_unit_length(part(start, keys), key_dim);
        let rates = sigmoid(in_f32(b));
        // softplus(x) = -ln(sigmoid(-x)), which overflows for no x
        let pace = log_sigmoid((in_f32(a) + self.dt_bias.val().unsqueeze()).neg());
        let log_decays = pace * self.A_log.val().exp().unsqueeze();
        DeltaTokens {
            queries: places.split_keys(unit(0) * (key_dim as f64).powf(-0.5), key_dim),
            keys: places.split_keys(unit(keys), key_dim),
            values: places.split_values(part(2 * keys, values), value_dim),
            log_decays: places.split_values(places.without_padding(log_decays), 1),
            rates: places.split_values(places.without_padding(rates), 1),
        }
    }

    /// What is remembered of nothing; columns in the type of `mixed`.
    fn nothing(&self, places: &RecurrentLayout<B>, mixed: &Tensor<B, 2>) -> Remembered<B> {
        let ([batch, _], device) = (places.dims(), mixed.device());
        let DeltaNetShape { value_heads, key_dim, value_dim, kernel, .. } = self.shape;
        let columns = Tensor::zeros([batch, kernel - 1, self.shape.channels()], &device);
        Remembered {
            columns: matching(columns, mixed),
            memory: Tensor::zeros([batch, value_heads, key_dim, value_dim], &device),
        }
    }

    pub(crate) fn maps(&mut self) -> [NamedMap<'_, B>; 5] {
        [
            ("linear_attn.in_proj_qkv".into(), &mut self.in_proj_qkv),
            ("linear_attn.in_proj_z".into(), &mut self.in_proj_z),
            ("linear_attn.in_proj_b".into(), &mut self.in_proj_b),
            ("linear_attn.in_proj_a".into(), &mut self.in_proj_a),
            ("linear_attn.out_proj".into(), &mut self.out_proj),
        ]
    }
}

/// Each part of `size` features divided by its length.
///
/// # Shapes
/// - `x`, output: `[tokens, heads * size]`
fn of_unit_length<B: Backend>(x: Tensor<B, 2>, size: usize) -> Tensor<B, 2> {
    let [tokens, width] = x.dims();
    let x = x.reshape([tokens * width / size, size]);
    let length = (x.clone().square().sum_dim(1) + LENGTH_EPS).sqrt();
    (x / length).reshape([tokens, width])
}

impl<B: Backend> DeltaNetState<B> {
    /// The state of `rows` sequences of which nothing has been read.
    pub fn empty(rows: usize) -> Self {
        Self { rows, read: None }
    }
}

impl<B: Backend> Remembered<B> {
    /// Zeros of the same types for other rows.
    fn zeros(&self, rows: usize) -> Self {
        let ([_, kept, channels], [_, heads, key_dim, value_dim]) =
            (self.columns.dims(), self.memory.dims());
        let device = self.memory.device();
        let columns = Tensor::zeros([rows, kept, channels], &device);
        Self {
            columns: matching(columns, &self.columns),
            memory: Tensor::zeros([rows, heads, key_dim, value_dim], &device),
        }
    }

    fn above(self, below: Self) -> Self {
        Self {
            columns: Tensor::cat(vec![self.columns, below.columns], 0),
            memory: Tensor::cat(vec![self.memory, below.memory], 0),
        }
    }
}

impl<B: Backend> LayerState<B> for DeltaNetState<B> {
    fn select(self, rows: &[usize]) -> Self {
        let read = self.read.map(|read| Remembered {
            columns: select_rows(read.columns, rows),
            memory: select_rows(read.memory, rows),
        });
        Self { rows: rows.len(), read }
    }

    fn merge(self, below: Self) -> Self {
        let rows = self.rows + below.rows;
        let read = match (self.read, below.read) {
            (Some(read), Some(more)) => Some(read.above(more)),
            (Some(read), None) => {
                let blank = read.zeros(below.rows);
                Some(read.above(blank))
            }
            (None, Some(more)) => Some(more.zeros(self.rows).above(more)),
            (None, None) => None,
        };
        Self { rows, read }
    }

    fn has_columns(&self) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        let read = self.read.iter();
        read.map(|read| tensor_bytes(&read.columns) + tensor_bytes(&read.memory)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_host, to_host};

    type Plain = burn_flex::Flex;

    /// Two channels and three places: the weights of one channel are 1, 10 and 100, of the other all
    /// are 1. Behind (1, 2) and (3, 4) comes (5, 6) with `1 + 30 + 500` and `2 + 4 + 6`, then (7, 8)
    /// with `3 + 50 + 700` and `4 + 6 + 8`.
    #[test]
    fn the_convolution_looks_back() {
        let device = Default::default();
        let weight = vec![1.0, 10.0, 100.0, 1.0, 1.0, 1.0];
        let weight = Param::from_tensor(from_host::<Plain, 3>(weight, [2, 1, 3], &device));
        let columns = (1..9).map(|value| value as f32).collect();
        let columns = from_host(columns, [1, 4, 2], &device);
        let y = ShortConvolution { weight }.forward(columns);
        assert_eq!(to_host(y), [531.0, 12.0, 753.0, 18.0]);
    }

    /// (3, 4) and (0, 2) are divided by 5 and by 2.
    #[test]
    fn parts_of_a_token_get_unit_length() {
        let x = from_host::<Plain, 2>(vec![3.0, 4.0, 0.0, 2.0], [1, 4], &Default::default());
        for (got, want) in to_host(of_unit_length(x, 2)).iter().zip([0.6, 0.8, 0.0, 1.0]) {
            assert!((got - want).abs() < 1e-6, "{got}");
        }
    }

    #[test]
    fn rows_that_have_read_nothing_join_others() {
        let device = Default::default();
        let state = |first: f32| DeltaNetState::<Plain> {
            rows: 1,
            read: Some(Remembered {
                columns: from_host(vec![first, 2.0], [1, 1, 2], &device),
                memory: from_host(vec![first, 4.0], [1, 1, 1, 2], &device),
            }),
        };
        let merged = DeltaNetState::empty(1).merge(state(1.0)).merge(DeltaNetState::empty(1));
        let merged = merged.merge(state(7.0)).select(&[3, 1, 0]);
        assert_eq!((merged.rows, merged.bytes()), (3, 4 * 12));
        let read = merged.read.unwrap();
        assert_eq!(to_host(read.columns), [7.0, 2.0, 1.0, 2.0, 0.0, 0.0]);
        assert_eq!(to_host(read.memory), [7.0, 4.0, 1.0, 4.0, 0.0, 0.0]);
        assert_eq!(DeltaNetState::<Plain>::empty(2).merge(DeltaNetState::empty(1)).rows, 3);
    }
}
