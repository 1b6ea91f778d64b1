//! The gated feed-forward block (SwiGLU; Shazeer, 2020).

use super::Projection;
use crate::Kernels;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use burn::tensor::backend::Backend;

/// `down(silu(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub struct FeedForward<B: Backend> {
    /// `[hidden_size, intermediate_size]`
    pub gate_proj: Projection<B>,
    /// `[hidden_size, intermediate_size]`
    pub up_proj: Projection<B>,
    /// `[intermediate_size, hidden_size]`
    pub down_proj: Projection<B>,
    #[module(skip)]
    kernels: Kernels,
}

impl<B: Backend> FeedForward<B> {
    /// A block with zero weights.
    pub fn new(
        hidden_size: usize,
        intermediate_size: usize,
        bias: bool,
        kernels: &Kernels,
        device: &B::Device,
    ) -> Self {
        Self {
            gate_proj: Projection::new(hidden_size, intermediate_size, bias, device),
            up_proj: Projection::new(hidden_size, intermediate_size, bias, device),
            down_proj: Projection::new(intermediate_size, hidden_size, bias, device),
            kernels: kernels.clone(),
        }
    }

    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub fn forward(&self, x: Tensor<B, 2>, dropout: Option<u64>) -> Tensor<B, 2> {
        let [gate, up] = Projection::forward_all([&self.gate_proj, &self.up_proj], x, dropout);
        let inner = match self.kernels.suiting(&gate) {
            Some(fused) => fused.gated_silu(gate, up),
            None => silu(gate) * up,
        };
        self.down_proj.forward(inner, dropout)
    }
}
