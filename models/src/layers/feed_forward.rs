//! The gated feed-forward block (SwiGLU; Shazeer, 2020).

use super::{linear, project};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use burn::tensor::backend::Backend;

/// `down(silu(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub struct FeedForward<B: Backend> {
    /// `[hidden_size, intermediate_size]`
    pub gate_proj: Linear<B>,
    /// `[hidden_size, intermediate_size]`
    pub up_proj: Linear<B>,
    /// `[intermediate_size, hidden_size]`
    pub down_proj: Linear<B>,
}

impl<B: Backend> FeedForward<B> {
    /// A block with zero weights.
    pub fn new(hidden_size: usize, intermediate_size: usize, bias: bool, device: &B::Device) -> Self {
        Self {
            gate_proj: linear(hidden_size, intermediate_size, bias, device),
            up_proj: linear(hidden_size, intermediate_size, bias, device),
            down_proj: linear(intermediate_size, hidden_size, bias, device),
        }
    }

    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let gate = silu(project(&self.gate_proj, x.clone()));
        project(&self.down_proj, gate * project(&self.up_proj, x))
    }
}
