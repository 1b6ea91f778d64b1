//! What Llama, Qwen2 and Qwen3 share: RMSNorm, half-split rotary embedding, grouped-query attention, SwiGLU, the decoder stack.

mod attention;
mod decoder;
mod feed_forward;
mod norm;
mod rotary;

pub use attention::Attention;
pub use decoder::{Decoder, DecoderLayer, DecoderShape};
pub use feed_forward::FeedForward;
pub use norm::RmsNorm;
pub use rotary::{RopeParameters, Rotation, RotaryEmbedding};

use burn::module::Param;
use burn::nn::{Embedding, Linear};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// A linear map whose weights (`[d_input, d_output]`) are zero until a checkpoint or [`crate::initialize`] fills them.
pub fn linear<B: Backend>(d_input: usize, d_output: usize, bias: bool, device: &B::Device) -> Linear<B> {
    Linear {
        weight: Param::from_tensor(Tensor::zeros([d_input, d_output], device)),
        bias: bias.then(|| Param::from_tensor(Tensor::zeros([d_output], device))),
    }
}

/// `x W + b` over the last dimension, as one two-dimensional product: a batched one would repeat the weights and, in the
/// backward pass, their gradient for each row of the batch.
///
/// # Shapes
/// - `x`: `[batch, time, d_input]`
/// - output: `[batch, time, d_output]`
pub fn project<B: Backend>(linear: &Linear<B>, x: Tensor<B, 3>) -> Tensor<B, 3> {
    let [batch, time, d_input] = x.dims();
    let weight = linear.weight.val();
    let [_, d_output] = weight.dims();
    let y = x.reshape([batch * time, d_input]).matmul(weight);
    let y = match &linear.bias {
        Some(bias) => y + bias.val().unsqueeze(),
        None => y,
    };
    y.reshape([batch, time, d_output])
}

/// The output map of models whose output matrix is the embedding: `hidden E^T`.
///
/// # Shapes
/// - `hidden`: `[batch, time, hidden_size]`
/// - output: `[batch, time, vocab_size]`
pub fn unembed_tied<B: Backend>(embedding: &Embedding<B>, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
    let [batch, time, hidden_size] = hidden.dims();
    let embedding = embedding.weight.val();
    let [vocab_size, _] = embedding.dims();
    hidden.reshape([batch * time, hidden_size]).matmul(embedding.transpose()).reshape([batch, time, vocab_size])
}
