//! What the architectures share, and parts for architectures of your own.
//!
//! | part | computes |
//! |---|---|
//! | [`embed`], [`unembed`] | tokens to vectors in the asked precision; vectors to logits in f32 |
//! | [`RmsNorm`], [`LayerNorm`] | normalisation, in f32 |
//! | [`Projection`] | a linear map that may get an adapter |
//! | [`RotaryEmbedding`] | positions, by turning all features of a head or the first few |
//! | [`HeadLayout::attend`] | attention over queries, keys and values, with or without a state |
//! | [`AttentionState`] | what a layer of attention remembers |
//! | [`GatedDeltaNet`], [`DeltaNetState`] | linear attention, and what it remembers |
//! | [`Attention`], [`FeedForward`], [`DecoderLayer`], [`Decoder`] | the blocks of Llama and others |
//!
//! A weight lies in its checkpoint under the path of its field. A matrix inside a [`Projection`], or
//! burn's `Linear`, lies there transposed, as in PyTorch's `Linear`; every other tensor as it is.

mod attention;
mod attention_state;
pub(crate) mod causal_decoder;
mod decoder;
mod delta_rule;
mod feed_forward;
mod gated_delta_net;
mod head_layout;
mod layer_norm;
mod layer_types;
mod norm;
mod projection;
mod recurrent_layout;
mod rotary;

pub use attention::{Attention, AttentionKind};
pub use attention_state::AttentionState;
pub use causal_decoder::{Architecture, CausalDecoder, DecoderConfig, Differences};
pub use decoder::{
    Decoder, DecoderLayer, DecoderShape, DecoderState, Layer, LayerKind, LengthFactor,
};
pub(crate) use decoder::{NamedMap, attention_maps, layer_maps, mlp_maps};
pub use feed_forward::{Activation, FeedForward};
pub use gated_delta_net::{DeltaNetShape, DeltaNetState, GatedDeltaNet, ShortConvolution};
pub use head_layout::HeadLayout;
pub use layer_norm::LayerNorm;
pub(crate) use layer_types::{
    RotaryKind, check_kinds, check_layer_types, check_window, check_windows, is_sliding,
};
pub use norm::RmsNorm;
pub use projection::{LowRank, Projection};
pub use rotary::{RopeParameters, RotaryEmbedding, Rotation};

use crate::ForwardInput;
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

/// The embedded tokens, in the precision that the input asks for.
///
/// # Shapes
/// - output: `[tokens, hidden_size]`
pub fn embed<B: Backend>(embedding: &Embedding<B>, input: &ForwardInput<B>) -> Tensor<B, 2> {
    let [batch, time] = input.tokens.dims();
    let x = embedding.weight.val().select(0, input.tokens.clone().reshape([batch * time]));
    match input.precision {
        Some(precision) if x.dtype() != precision.into() => x.cast(precision),
        _ => x,
    }
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
    unembed_rows(hidden, |rows| match lm_head {
        Some(lm_head) => lm_head.forward(rows, None),
        None => rows.clone().matmul(matching(embedding.weight.val(), &rows).transpose()),
    })
}

/// [`unembed`] by whatever makes `[tokens, vocab_size]` of `[tokens, hidden_size]`.
pub(crate) fn unembed_rows<B: Backend>(
    hidden: Tensor<B, 3>,
    product: impl FnOnce(Tensor<B, 2>) -> Tensor<B, 2>,
) -> Tensor<B, 3> {
    let [batch, time, hidden_size] = hidden.dims();
    let logits = product(hidden.reshape([batch * time, hidden_size]));
    let [_, vocab_size] = logits.dims();
    in_f32(logits).reshape([batch, time, vocab_size])
}
