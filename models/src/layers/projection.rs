//! A linear map, with room for a low-rank adapter (LoRA; Hu et al., 2021, arXiv 2106.09685).

use super::matching;
use crate::{Kernels, Packed, PackedWeights};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `x W + b`, and with an adapter `x W + b + scale * (dropout(x) A) B`.
#[derive(Module, Debug)]
pub struct Projection<B: Backend> {
    /// `W`, `[d_input, d_output]`; the checkpoint holds it transposed.
    pub weight: Param<Tensor<B, 2>>,
    /// `b`, `[d_output]`.
    pub bias: Option<Param<Tensor<B, 1>>>,
    /// The adapter, if one is attached.
    pub lora: Option<LowRank<B>>,
    packed: Packed<B>,
}

/// An adapter's two matrices.
#[derive(Module, Debug)]
pub struct LowRank<B: Backend> {
    /// `A`, `[d_input, rank]`.
    pub a: Param<Tensor<B, 2>>,
    /// `B`, `[rank, d_output]`.
    pub b: Param<Tensor<B, 2>>,
    /// `alpha / rank`, or `alpha / sqrt(rank)` for a rank-stabilised adapter.
    pub scale: f64,
    /// Chance that a feature of the input is dropped in training.
    pub dropout: f64,
    /// Which adapter of the model; seeds its dropout.
    pub index: usize,
    packed_a: Packed<B>,
    packed_b: Packed<B>,
}

impl<B: Backend> Projection<B> {
    /// A map whose weights are zero until a checkpoint or [`crate::initialize`] fills them.
    pub fn new(d_input: usize, d_output: usize, bias: bool, device: &B::Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::zeros([d_input, d_output], device)),
            bias: bias.then(|| Param::from_tensor(Tensor::zeros([d_output], device))),
            lora: None,
            packed: Packed::default(),
        }
    }

    /// See [`crate::CausalLm::pack`].
    pub fn pack(&mut self, weights: PackedWeights, kernels: &Kernels) {
        self.packed.pack(self.weight.val(), weights, kernels);
        if let Some(lora) = &mut self.lora {
            // what is trained is not rounded, and it is small
            lora.packed_a.pack(lora.a.val(), PackedWeights::F32, kernels);
            lora.packed_b.pack(lora.b.val(), PackedWeights::F32, kernels);
        }
    }

    /// Another `W`; what was packed of the one before is dropped. Whoever writes to the field
    /// itself packs anew.
    pub fn replace_weight(&mut self, weight: Param<Tensor<B, 2>>) {
        self.weight = weight;
        self.packed = Packed::default();
    }

    /// Bytes of what [`Self::pack`] holds.
    pub fn packed_bytes(&self) -> usize {
        let adapter = self.lora.as_ref();
        let adapter = adapter.map_or(0, |lora| lora.packed_a.bytes() + lora.packed_b.bytes());
        self.packed.bytes() + adapter
    }

    /// Tokens of all sequences are rows of one product: a batched one would repeat the weights and,
    /// in the backward pass, their gradient for each sequence. Weights are cast to the type of `x`.
    ///
    /// # Shapes
    /// - `x`: `[tokens, d_input]`
    /// - output: `[tokens, d_output]`
    pub fn forward(&self, x: Tensor<B, 2>, dropout: Option<u64>) -> Tensor<B, 2> {
        let [y] = Self::forward_all([self], x, dropout);
        y
    }

    /// [`Self::forward`] of several maps that read the same `x`; packed ones in one go.
    pub fn forward_all<const N: usize>(
        maps: [&Self; N],
        x: Tensor<B, 2>,
        dropout: Option<u64>,
    ) -> [Tensor<B, 2>; N] {
        let packed = maps.map(|map| map.packed.get().filter(|_| x.dtype() == DType::F32));
        let packed: Option<Vec<_>> = packed.into_iter().collect();
        let mut products = match packed.as_deref() {
            Some([first, others @ ..]) => first.products(x.clone(), others),
            _ => maps
                .iter()
                .map(|map| x.clone().matmul(matching(map.weight.val(), &x)))
                .collect::<Vec<_>>(),
        }
        .into_iter();
        maps.map(|map| {
            let mut y = products.next().expect("a product for each map");
            if let Some(bias) = &map.bias {
                y = y + matching(bias.val(), &x).unsqueeze();
            }
            match &map.lora {
                Some(lora) => y + lora.forward(x.clone(), dropout),
                None => y,
            }
        })
    }
}

impl<B: Backend> LowRank<B> {
    /// An adapter without dropout, the first of its model.
    ///
    /// # Shapes
    /// - `a`: `[d_input, rank]`; `b`: `[rank, d_output]`
    pub fn new(a: Param<Tensor<B, 2>>, b: Param<Tensor<B, 2>>, scale: f64) -> Self {
        let (packed_a, packed_b) = (Packed::default(), Packed::default());
        Self { a, b, scale, dropout: 0.0, index: 0, packed_a, packed_b }
    }

    /// # Shapes
    /// - `x`: `[tokens, d_input]`
    /// - output: `[tokens, d_output]`
    fn forward(&self, x: Tensor<B, 2>, dropout: Option<u64>) -> Tensor<B, 2> {
        let x = match dropout {
            Some(seed) if self.dropout > 0.0 => {
                let mask = dropout_mask(seed, self.index as u64, self.dropout, x.dims());
                let mask: Tensor<B, 2> = crate::from_host(mask, x.dims(), &x.device());
                x.clone() * matching(mask, &x)
            }
            _ => x,
        };
        if let (Some(a), Some(b)) = (self.packed_a.get(), self.packed_b.get())
            && x.dtype() == DType::F32
        {
            let inner = a.products(x, &[]).remove(0);
            return b.products(inner, &[]).remove(0) * self.scale;
        }
        let (a, b) = (matching(self.a.val(), &x), matching(self.b.val(), &x));
        x.matmul(a).matmul(b) * self.scale
    }
}

/// 0 with the given chance, else `1 / (1 - chance)`. Drawn on the host, so that a stage that is
/// computed again (gradient checkpointing) drops the same features, on every backend.
fn dropout_mask(seed: u64, stream: u64, chance: f64, shape: [usize; 2]) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let kept = (1.0 / (1.0 - chance)) as f32;
    (0..shape[0] * shape[1]).map(|_| if rng.random_bool(chance) { 0.0 } else { kept }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type B = burn_flex::Flex;

    #[test]
    fn an_adapter_adds_a_scaled_product() {
        let device = Default::default();
        let matrix = |values: &[f32], shape: [usize; 2]| {
            Param::from_tensor(crate::from_host::<B, 2>(values.to_vec(), shape, &device))
        };
        let mut map = Projection::<B>::new(2, 2, true, &device);
        map.weight = matrix(&[1.0, 0.0, 0.0, 1.0], [2, 2]);
        map.bias = Some(Param::from_tensor(Tensor::from_data([10.0, 20.0], &device)));
        let (a, b) = (matrix(&[1.0, 2.0], [2, 1]), matrix(&[3.0, -1.0], [1, 2]));
        map.lora = Some(LowRank::new(a, b, 0.5));
        let x = Tensor::<B, 2>::from_data([[1.0, 1.0]], &device);
        // x W + b = (11, 21); x A = 1 + 2 = 3; 0.5 * 3 * (3, -1) = (4.5, -1.5)
        assert_eq!(crate::to_host(map.forward(x, None)), [15.5, 19.5]);
    }

    #[test]
    fn dropout_keeps_the_mean_and_repeats_itself() {
        let mask = dropout_mask(1, 2, 0.25, [100, 100]);
        assert_eq!(mask, dropout_mask(1, 2, 0.25, [100, 100]));
        assert_ne!(mask, dropout_mask(1, 3, 0.25, [100, 100]));
        // kept features are 4/3; the mean of 10,000 draws has a standard error of sqrt(1/3) / 100 =
        // 0.006
        let mean = mask.iter().sum::<f32>() / 10_000.0;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        assert!(mask.iter().all(|value| *value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
    }
}
