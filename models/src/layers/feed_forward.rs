//! The gated feed-forward block (SwiGLU and GEGLU; Shazeer, 2020).

use super::Projection;
use crate::Kernels;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu_approximate, silu};
use burn::tensor::backend::Backend;

/// What the gate goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x sigmoid(x)`; `silu` or `swish`.
    #[default]
    Silu,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`; `gelu_pytorch_tanh`.
    GeluTanh,
}

/// `down(activation(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub struct FeedForward<B: Backend> {
    /// `[hidden_size, intermediate_size]`
    pub gate_proj: Projection<B>,
    /// `[hidden_size, intermediate_size]`
    pub up_proj: Projection<B>,
    /// `[intermediate_size, hidden_size]`
    pub down_proj: Projection<B>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    kernels: Kernels,
}

impl<B: Backend> FeedForward<B> {
    /// A block with zero weights and [`Activation::Silu`].
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
            activation: Activation::Silu,
            kernels: kernels.clone(),
        }
    }

    /// With another activation.
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub fn forward(&self, x: Tensor<B, 2>, dropout: Option<u64>) -> Tensor<B, 2> {
        let [gate, up] = Projection::forward_all([&self.gate_proj, &self.up_proj], x, dropout);
        let inner = match (self.activation, self.kernels.suiting(&gate)) {
            (Activation::Silu, Some(fused)) => fused.gated_silu(gate, up),
            (Activation::Silu, None) => silu(gate) * up,
            (Activation::GeluTanh, _) => gelu_approximate(gate) * up,
        };
        self.down_proj.forward(inner, dropout)
    }
}
