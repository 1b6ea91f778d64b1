//! The decoder stack: layers of one of several kinds, each in the file of its architecture, and
//! that of Llama here.

use super::{
    Architecture, Attention, AttentionKind, AttentionState, DeltaNetShape, DeltaNetState,
    Differences, FeedForward, HeadLayout, Projection, RmsNorm, RotaryEmbedding, embed,
};
use crate::gemma3::Gemma3Layer;
use crate::olmo3::Olmo3Layer;
use crate::qwen3_5::{Qwen3_5FullLayer, Qwen3_5LinearLayer};
use crate::qwen3_moe::{Qwen3MoeLayer, Routing};
use crate::{Either, ExpertCounts, ForwardInput, Kernels};
use burn::module::{Module, Param};
use burn::nn::Embedding;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// The numbers that a decoder is built from; each architecture derives them from its own
/// configuration.
#[derive(Clone, Debug)]
pub struct DecoderShape {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; divides `heads`.
    pub kv_heads: usize,
    /// Features of a head; even.
    pub head_dim: usize,
    /// Added to the mean square under the root.
    pub rms_norm_eps: f64,
    /// Biases and norms that not all architectures have.
    pub differences: Differences,
    /// Positions.
    pub rotary: RotaryEmbedding,
    /// What layers use in place of their formulas.
    pub kernels: Kernels,
}

impl DecoderShape {
    /// A norm over `size` features, as the architecture has them.
    pub(crate) fn norm<B: Backend>(&self, size: usize, device: &B::Device) -> RmsNorm<B> {
        let make = match self.differences.norms_around_one {
            true => RmsNorm::around_one,
            false => RmsNorm::new,
        };
        make(size, self.rms_norm_eps, &self.kernels, device)
    }

    /// A feed-forward block with zero weights, as the architecture has them.
    pub(crate) fn feed_forward<B: Backend>(
        &self,
        intermediate_size: usize,
        device: &B::Device,
    ) -> FeedForward<B> {
        let bias = self.differences.feed_forward_bias;
        FeedForward::new(self.hidden_size, intermediate_size, bias, &self.kernels, device)
            .with_activation(self.differences.activation)
    }
}

/// A linear map and the end of its key.
pub(crate) type NamedMap<'a, B> = (String, &'a mut Projection<B>);

/// Attention and feed-forward, each behind a norm and around a residual.
#[derive(Module, Debug)]
pub struct DecoderLayer<B: Backend> {
    /// Before attention.
    pub input_layernorm: RmsNorm<B>,
    /// Attention.
    pub self_attn: Attention<B>,
    /// Before the feed-forward block.
    pub post_attention_layernorm: RmsNorm<B>,
    /// Feed-forward.
    pub mlp: FeedForward<B>,
}

impl<B: Backend> DecoderLayer<B> {
    /// A layer with zero weights.
    pub fn new(shape: &DecoderShape, attention: AttentionKind, device: &B::Device) -> Self {
        Self {
            input_layernorm: shape.norm(shape.hidden_size, device),
            self_attn: Attention::of_kind(shape, attention, device),
            post_attention_layernorm: shape.norm(shape.hidden_size, device),
            mlp: shape.feed_forward(shape.intermediate_size, device),
        }
    }

    /// `y = x + attention(norm(x))`, `y + mlp(norm(y))`.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let attended =
            self.self_attn.forward(self.input_layernorm.forward(x.clone()), layout, state);
        let x = x + attended;
        let y = self.post_attention_layernorm.forward(x.clone());
        x + self.mlp.forward(y, layout.dropout)
    }

    fn maps(&mut self) -> Vec<NamedMap<'_, B>> {
        layer_maps(&mut self.self_attn, &mut self.mlp)
    }
}

/// The linear maps of an attention block that is a layer's `self_attn`.
pub(crate) fn attention_maps<B: Backend>(block: &mut Attention<B>) -> [NamedMap<'_, B>; 4] {
    [
        ("self_attn.q_proj".into(), &mut block.q_proj),
        ("self_attn.k_proj".into(), &mut block.k_proj),
        ("self_attn.v_proj".into(), &mut block.v_proj),
        ("self_attn.o_proj".into(), &mut block.o_proj),
    ]
}

/// The linear maps of a feed-forward block, which is the layer's field of that name.
pub(crate) fn mlp_maps<'a, B: Backend>(
    name: &str,
    block: &'a mut FeedForward<B>,
) -> [NamedMap<'a, B>; 3] {
    [
        (format!("{name}.gate_proj"), &mut block.gate_proj),
        (format!("{name}.up_proj"), &mut block.up_proj),
        (format!("{name}.down_proj"), &mut block.down_proj),
    ]
}

/// The linear maps of a layer with one attention and one feed-forward block.
pub(crate) fn layer_maps<'a, B: Backend>(
    attention: &'a mut Attention<B>,
    feed_forward: &'a mut FeedForward<B>,
) -> Vec<NamedMap<'a, B>> {
    attention_maps(attention).into_iter().chain(mlp_maps("mlp", feed_forward)).collect()
}

/// Which of [`Layer`] a layer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerKind {
    /// A norm in front of each part.
    #[default]
    PreNorm,
    /// See [`crate::olmo3`].
    Olmo3,
    /// See [`crate::gemma3`].
    Gemma3,
    /// See [`crate::qwen3_moe`].
    Qwen3Moe(Routing),
    /// Full attention; see [`crate::qwen3_5`].
    Qwen3_5Full,
    /// Linear attention; see [`crate::qwen3_5`].
    Qwen3_5Linear(DeltaNetShape),
}

/// What a layer remembers: keys and values, or the state of a recurrence.
pub type DecoderState<B> = Either<AttentionState<B>, DeltaNetState<B>>;

/// That of a layer of attention.
fn attending<B: Backend>(state: Option<&mut DecoderState<B>>) -> Option<&mut AttentionState<B>> {
    state.map(|state| match state {
        Either::First(state) => state,
        Either::Second(_) => unreachable!("a layer is given what it remembers"),
    })
}

/// That of a recurrent layer.
fn recurrent<B: Backend>(state: Option<&mut DecoderState<B>>) -> Option<&mut DeltaNetState<B>> {
    state.map(|state| match state {
        Either::First(_) => unreachable!("a layer is given what it remembers"),
        Either::Second(state) => state,
    })
}

/// A layer; its kind is no part of its parameters' keys.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "all layers of a model are of one kind, or two")]
pub enum Layer<B: Backend> {
    /// Llama's.
    PreNorm(DecoderLayer<B>),
    /// See [`crate::olmo3`].
    Olmo3(Olmo3Layer<B>),
    /// See [`crate::gemma3`].
    Gemma3(Gemma3Layer<B>),
    /// See [`crate::qwen3_moe`].
    Qwen3Moe(Qwen3MoeLayer<B>),
    /// See [`crate::qwen3_5`].
    Qwen3_5Full(Qwen3_5FullLayer<B>),
    /// See [`crate::qwen3_5`].
    Qwen3_5Linear(Qwen3_5LinearLayer<B>),
}

impl<B: Backend> Layer<B> {
    fn new(
        kind: LayerKind,
        shape: &DecoderShape,
        attention: AttentionKind,
        device: &B::Device,
    ) -> Self {
        match kind {
            LayerKind::PreNorm => Self::PreNorm(DecoderLayer::new(shape, attention, device)),
            LayerKind::Olmo3 => Self::Olmo3(Olmo3Layer::new(shape, attention, device)),
            LayerKind::Gemma3 => Self::Gemma3(Gemma3Layer::new(shape, attention, device)),
            LayerKind::Qwen3Moe(routing) => {
                Self::Qwen3Moe(Qwen3MoeLayer::new(shape, attention, routing, device))
            }
            LayerKind::Qwen3_5Full => Self::Qwen3_5Full(Qwen3_5FullLayer::new(shape, device)),
            LayerKind::Qwen3_5Linear(own) => {
                Self::Qwen3_5Linear(Qwen3_5LinearLayer::new(shape, own, device))
            }
        }
    }

    fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut DecoderState<B>>,
    ) -> Tensor<B, 2> {
        match self {
            Self::PreNorm(layer) => layer.forward(x, layout, attending(state)),
            Self::Olmo3(layer) => layer.forward(x, layout, attending(state)),
            Self::Gemma3(layer) => layer.forward(x, layout, attending(state)),
            Self::Qwen3Moe(layer) => layer.forward(x, layout, attending(state)),
            Self::Qwen3_5Full(layer) => layer.forward(x, layout, attending(state)),
            Self::Qwen3_5Linear(layer) => layer.forward(x, layout, recurrent(state)),
        }
    }

    /// What it remembers of `rows` sequences of which nothing has been read.
    pub(crate) fn empty_state(&self, rows: usize) -> DecoderState<B> {
        match self {
            Self::PreNorm(_)
            | Self::Olmo3(_)
            | Self::Gemma3(_)
            | Self::Qwen3Moe(_)
            | Self::Qwen3_5Full(_) => Either::First(AttentionState::empty(rows)),
            Self::Qwen3_5Linear(_) => Either::Second(DeltaNetState::empty(rows)),
        }
    }

    fn maps(&mut self) -> Vec<NamedMap<'_, B>> {
        match self {
            Self::PreNorm(layer) => layer.maps(),
            Self::Olmo3(layer) => layer.maps(),
            Self::Gemma3(layer) => layer.maps(),
            Self::Qwen3Moe(layer) => layer.maps(),
            Self::Qwen3_5Full(layer) => layer.maps(),
            Self::Qwen3_5Linear(layer) => layer.maps(),
        }
    }
}

/// A factor of each query that grows with its position, for long contexts (Llama 4, Ministral 3):
/// `1 + beta ln(1 + floor(position / original))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LengthFactor {
    /// `beta`.
    pub beta: f64,
    /// The context that the model was first trained with, in tokens.
    pub original: f64,
}

impl LengthFactor {
    fn at(self, position: u32) -> f32 {
        let contexts = (f64::from(position) / self.original).floor();
        (1.0 + self.beta * contexts.ln_1p()) as f32
    }
}

/// Embedding, layers and final norm.
#[derive(Module, Debug)]
pub struct Decoder<B: Backend> {
    /// `[vocab_size, hidden_size]`
    pub embed_tokens: Embedding<B>,
    /// The layers.
    pub layers: Vec<Layer<B>>,
    /// After the last layer.
    pub norm: RmsNorm<B>,
    heads: usize,
    kv_heads: usize,
    /// What embedded tokens are multiplied with.
    embedding_scale: Option<f64>,
    #[module(skip)]
    rotary: Vec<RotaryEmbedding>,
    #[module(skip)]
    length_factor: Option<LengthFactor>,
    #[module(skip)]
    kernels: Kernels,
}

impl<B: Backend> Decoder<B> {
    /// A decoder with zero weights.
    ///
    /// # Errors
    /// Says which setting of the architecture is not supported.
    pub fn new(
        architecture: &dyn Architecture,
        shape: &DecoderShape,
        device: &B::Device,
    ) -> Result<Self, String> {
        let layer = |index: usize| {
            let (kind, attention) = (architecture.layer(index), architecture.attention(index));
            Layer::new(kind, shape, attention, device)
        };
        let scale = shape.differences.scaled_embedding;
        Ok(Self {
            embed_tokens: Embedding {
                weight: Param::from_tensor(Tensor::zeros(
                    [shape.vocab_size, shape.hidden_size],
                    device,
                )),
            },
            layers: (0..shape.layers).map(layer).collect(),
            norm: shape.norm(shape.hidden_size, device),
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            embedding_scale: scale.then(|| (shape.hidden_size as f64).sqrt()),
            rotary: architecture.rotations()?,
            length_factor: architecture.length_factor(),
            kernels: shape.kernels.clone(),
        })
    }

    /// See [`crate::CausalLm::kernels`].
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// See [`crate::CausalLm::layout`].
    pub fn layout(&self, input: &ForwardInput<B>) -> HeadLayout<B> {
        let (heads, kv_heads) = (self.heads, self.kv_heads);
        let layout =
            HeadLayout::with_rotations(input, &self.rotary, heads, kv_heads, &self.kernels);
        match self.length_factor {
            Some(factor) => layout.with_query_factors(input, |position| factor.at(position)),
            None => layout,
        }
    }

    /// See [`crate::CausalLm::embed`].
    pub fn embed(&self, input: &ForwardInput<B>) -> Tensor<B, 2> {
        let x = embed(&self.embed_tokens, input);
        match self.embedding_scale {
            Some(scale) => x * scale,
            None => x,
        }
    }

    /// See [`crate::CausalLm::experts`].
    pub fn experts(&self) -> Option<ExpertCounts> {
        let counts = self.layers.iter().filter_map(|layer| match layer {
            Layer::Qwen3Moe(layer) => Some(layer.counts()),
            _ => None,
        });
        let counts: Vec<(usize, usize)> = counts.collect();
        let (experts, chosen) = *counts.first()?;
        Some(ExpertCounts { layers: counts.len(), experts, chosen })
    }

    /// See [`crate::CausalLm::projections_mut`].
    pub fn projections_mut(&mut self) -> Vec<(String, &mut Projection<B>)> {
        let layers = self.layers.iter_mut().enumerate();
        let maps = layers.flat_map(|(index, layer)| {
            let maps = layer.maps().into_iter();
            maps.map(move |(name, map)| (format!("model.layers.{index}.{name}"), map))
        });
        maps.collect()
    }

    /// See [`crate::CausalLm::layer`].
    pub fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut DecoderState<B>>,
    ) -> Tensor<B, 2> {
        self.layers[index].forward(x, layout, state)
    }
}
