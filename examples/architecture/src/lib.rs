//! GPT-NeoX (Black et al., 2022, arXiv 2204.06745) as in transformers' `modeling_gpt_neox.py`, the
//! architecture of Pythia: an example of a family that this project does not have. It differs from
//! Llama in every block, and uses public items of `paretopo-models` alone.
//!
//! Attention and feed-forward read the same residual stream, `x + attention(norm1(x)) +
//! mlp(norm2(x))`, or one after the other (`use_parallel_residual`). Left out: the activations
//! other than GELU, which are refused, and dropout in pre-training.
//!
//! | for a model of your own | here |
//! |---|---|
//! | [`NeoxConfig`]: what `config.json` says | `config.rs` |
//! | [`Neox`]: modules whose field paths are the checkpoint's keys | this file |
//! | [`CausalLm`]: embedding, layers, last norm, logits | this file |
//! | [`NeoxFamily`]: how one becomes the other | this file |
//! | the same numbers as transformers | `tests/parity.rs` |

mod config;

pub use config::NeoxConfig;

use burn::module::{AutodiffModule, Initializer, Module};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, gelu_approximate};
use burn::tensor::backend::{AutodiffBackend, Backend};
use paretopo_models::layers::{
    AttentionState, HeadLayout, LayerNorm, Projection, RotaryEmbedding, embed, unembed,
};
use paretopo_models::{
    CausalLm, DecodingState, ForwardInput, Kernels, ModelConfig, ModelFamily, Placement,
};

/// A model; `gpt_neox.layers.0.attention.dense.weight` is a field and a key.
#[derive(Module, Debug)]
pub struct Neox<B: Backend> {
    gpt_neox: Stack<B>,
    /// `None` when the output matrix is the embedding.
    embed_out: Option<Projection<B>>,
    #[module(skip)]
    config: NeoxConfig,
    #[module(skip)]
    rotary: RotaryEmbedding,
    #[module(skip)]
    kernels: Kernels,
}

#[derive(Module, Debug)]
struct Stack<B: Backend> {
    embed_in: Embedding<B>,
    layers: Vec<Layer<B>>,
    final_layer_norm: LayerNorm<B>,
}

#[derive(Module, Debug)]
struct Layer<B: Backend> {
    input_layernorm: LayerNorm<B>,
    post_attention_layernorm: LayerNorm<B>,
    attention: Attention<B>,
    mlp: FeedForward<B>,
}

#[derive(Module, Debug)]
struct Attention<B: Backend> {
    /// `[hidden_size, heads * 3 * head_dim]`: query, key and value of a head lie together.
    query_key_value: Projection<B>,
    dense: Projection<B>,
}

#[derive(Module, Debug)]
struct FeedForward<B: Backend> {
    dense_h_to_4h: Projection<B>,
    dense_4h_to_h: Projection<B>,
}

impl<B: Backend> Attention<B> {
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    fn forward(
        &self,
        x: Tensor<B, 2>,
        heads: usize,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let [tokens, hidden_size] = x.dims();
        let head_dim = hidden_size / heads;
        let fused = self.query_key_value.forward(x, layout.dropout);
        let fused = fused.reshape([tokens * heads, 3 * head_dim]);
        let part = |number: usize| {
            let part = fused.clone().narrow(1, number * head_dim, head_dim);
            part.reshape([tokens, hidden_size])
        };
        let attended = layout.attend(part(0), part(1), part(2), state);
        self.dense.forward(attended, layout.dropout)
    }
}

impl<B: Backend> FeedForward<B> {
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    fn forward(&self, x: Tensor<B, 2>, activation: &str, dropout: Option<u64>) -> Tensor<B, 2> {
        let inner = self.dense_h_to_4h.forward(x, dropout);
        let inner = if activation == "gelu" { gelu(inner) } else { gelu_approximate(inner) };
        self.dense_4h_to_h.forward(inner, dropout)
    }
}

impl<B: Backend> CausalLm<B> for Neox<B> {
    type State = AttentionState<B>;
    type Layout = HeadLayout<B>;

    fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    fn empty_state(&self, rows: usize) -> DecodingState<B, AttentionState<B>> {
        DecodingState::new(vec![AttentionState::empty(rows); self.depth()], rows)
    }

    fn layout(&self, input: &ForwardInput<B>) -> HeadLayout<B> {
        let heads = self.config.num_attention_heads;
        HeadLayout::new(input, &self.rotary, heads, heads, &self.kernels)
    }

    fn embed(&self, input: &ForwardInput<B>) -> Tensor<B, 2> {
        embed(&self.gpt_neox.embed_in, input)
    }

    fn depth(&self) -> usize {
        self.gpt_neox.layers.len()
    }

    fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let (layer, config) = (&self.gpt_neox.layers[index], &self.config);
        let y = layer.input_layernorm.forward(x.clone());
        let attended =
            x.clone() + layer.attention.forward(y, config.num_attention_heads, layout, state);
        let read = if config.use_parallel_residual { x } else { attended.clone() };
        let y = layer.post_attention_layernorm.forward(read);
        attended + layer.mlp.forward(y, &config.hidden_act, layout.dropout)
    }

    fn final_norm(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.gpt_neox.final_layer_norm.forward(x)
    }

    fn projections_mut(&mut self) -> Vec<(String, &mut Projection<B>)> {
        let keys: Vec<String> = self.config.linear_maps().map(|map| map.key).collect();
        let maps = self.gpt_neox.layers.iter_mut().flat_map(|layer| {
            let (attention, mlp) = (&mut layer.attention, &mut layer.mlp);
            let attention = [&mut attention.query_key_value, &mut attention.dense];
            attention.into_iter().chain([&mut mlp.dense_h_to_4h, &mut mlp.dense_4h_to_h])
        });
        keys.into_iter().zip(maps).collect()
    }

    fn unembed(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        unembed(self.embed_out.as_ref(), &self.gpt_neox.embed_in, hidden)
    }
}

/// GPT-NeoX checkpoints and their models.
#[derive(Clone, Copy, Debug)]
pub struct NeoxFamily;

impl ModelFamily for NeoxFamily {
    type Config = NeoxConfig;
    type Model<B: Backend> = Neox<B>;

    fn model_types() -> Vec<&'static str> {
        vec!["gpt_neox"]
    }

    fn computed_settings() -> &'static [&'static str] {
        &["rotary_pct", "use_parallel_residual"]
    }

    fn init<B: Backend>(config: &NeoxConfig, place: &Placement<B>) -> Result<Neox<B>, String> {
        config.check()?;
        let (hidden, inner, device) = (config.hidden_size, config.intermediate_size, &place.device);
        let norm = || LayerNorm::new(hidden, config.layer_norm_eps, true, device);
        let layer = |_| Layer {
            input_layernorm: norm(),
            post_attention_layernorm: norm(),
            attention: Attention {
                query_key_value: Projection::new(hidden, 3 * hidden, config.attention_bias, device),
                dense: Projection::new(hidden, hidden, config.attention_bias, device),
            },
            mlp: FeedForward {
                dense_h_to_4h: Projection::new(hidden, inner, true, device),
                dense_4h_to_h: Projection::new(inner, hidden, true, device),
            },
        };
        let embedding = EmbeddingConfig::new(config.vocab_size, hidden);
        let embed_out = || Projection::new(hidden, config.vocab_size, false, device);
        Ok(Neox {
            gpt_neox: Stack {
                embed_in: embedding.with_initializer(Initializer::Zeros).init(device),
                layers: (0..config.num_hidden_layers).map(layer).collect(),
                final_layer_norm: norm(),
            },
            embed_out: (!config.tie_word_embeddings).then(embed_out),
            config: config.clone(),
            rotary: config.rotary()?,
            kernels: place.kernels.clone(),
        })
    }

    fn valid<B: AutodiffBackend>(model: &Neox<B>) -> Neox<B::InnerBackend> {
        model.valid()
    }
}
