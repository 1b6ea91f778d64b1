//! What Llama, Qwen2 and Qwen3 share: RMSNorm, half-split rotary embedding, grouped-query attention, SwiGLU, the decoder stack.

mod attention;
mod causal_decoder;
mod decoder;
mod feed_forward;
mod head_layout;
mod norm;
mod rotary;

pub use attention::Attention;
pub use causal_decoder::{CausalDecoder, DecoderConfig, Differences};
pub use decoder::{Decoder, DecoderLayer, DecoderShape};
pub use feed_forward::FeedForward;
pub use head_layout::HeadLayout;
pub use norm::RmsNorm;
pub use rotary::{RopeParameters, RotaryEmbedding, Rotation};

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

/// `x W + b`. Tokens of all sequences are rows of one product: a batched one would repeat the weights and, in the backward pass,
/// their gradient for each sequence.
///
/// # Shapes
/// - `x`: `[tokens, d_input]`
/// - output: `[tokens, d_output]`
pub fn project<B: Backend>(linear: &Linear<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    let y = x.matmul(linear.weight.val());
    match &linear.bias {
        Some(bias) => y + bias.val().unsqueeze(),
        None => y,
    }
}

/// Logits from hidden states by `lm_head`, or by the embedding, `hidden E^T`, where there is none.
///
/// # Shapes
/// - `hidden`: `[batch, time, hidden_size]`
/// - output: `[batch, time, vocab_size]`
pub fn unembed<B: Backend>(lm_head: Option<&Linear<B>>, embedding: &Embedding<B>, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
    let [batch, time, hidden_size] = hidden.dims();
    let rows = hidden.reshape([batch * time, hidden_size]);
    let logits = match lm_head {
        Some(lm_head) => project(lm_head, rows),
        None => rows.matmul(embedding.weight.val().transpose()),
    };
    let [_, vocab_size] = logits.dims();
    logits.reshape([batch, time, vocab_size])
}
