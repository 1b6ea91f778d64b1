//! What Llama, Qwen2 and Qwen3 share: RMSNorm, half-split rotary embedding, grouped-query
//! attention, SwiGLU, the decoder stack.

mod attention;
mod attention_state;
mod causal_decoder;
mod decoder;
mod feed_forward;
mod head_layout;
mod norm;
mod projection;
mod rotary;

pub use attention::Attention;
pub use attention_state::AttentionState;
pub use causal_decoder::{Architecture, CausalDecoder, DecoderConfig, Differences};
pub use decoder::{Decoder, DecoderLayer, DecoderShape};
pub use feed_forward::FeedForward;
pub use head_layout::HeadLayout;
pub use norm::RmsNorm;
pub use projection::{LowRank, Projection};
pub use rotary::{RopeParameters, RotaryEmbedding, Rotation};

use burn::nn::Embedding;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Tensor};

/// `tensor` in the number type of `other`; the gradient goes back in its own.
pub(crate) fn matching<B: Backend, const D: usize, const E: usize>(
    tensor: Tensor<B, D>,
    other: &Tensor<B, E>,
) -> Tensor<B, D> {
    if tensor.dtype() == other.dtype() {
        tensor
    } else {
        tensor.cast(FloatDType::from(other.dtype()))
    }
}

/// `tensor` in f32, in which norms, rotations and softmax are computed whatever the other
/// activations are.
pub(crate) fn in_f32<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, D> {
    if tensor.dtype() == DType::F32 { tensor } else { tensor.cast(FloatDType::F32) }
}

/// Logits from hidden states by `lm_head`, or by the embedding, `hidden E^T`, where there is none.
///
/// # Shapes
/// - `hidden`: `[batch, time, hidden_size]`
/// - output: `[batch, time, vocab_size]`, in f32
pub fn unembed<B: Backend>(
    lm_head: Option<&Projection<B>>,
    embedding: &Embedding<B>,
    hidden: Tensor<B, 3>,
) -> Tensor<B, 3> {
    let [batch, time, hidden_size] = hidden.dims();
    let rows = hidden.reshape([batch * time, hidden_size]);
    let logits = match lm_head {
        Some(lm_head) => lm_head.forward(rows, None),
        None => rows.clone().matmul(matching(embedding.weight.val(), &rows).transpose()),
    };
    let [_, vocab_size] = logits.dims();
    in_f32(logits).reshape([batch, time, vocab_size])
}
