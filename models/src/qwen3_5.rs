//! Qwen3.5, text (Qwen team, 2026) as in transformers' `modeling_qwen3_5.py`: three of four layers
//! have linear attention ([`crate::layers::GatedDeltaNet`]), the fourth looks at all tokens. Norms
//! scale with `1 + weight`, but for that inside of linear attention.
//!
//! Full attention, with `y` the normalised input and heads side by side:
//!
//! ```text
//! (q_h, gate_h) = y W_q     of each head h its queries, then its gate
//! q = norm(q),  k = norm(y W_k),  v = y W_v             norms of each head
//! q, k = turned by their positions in the first features of each head
//! output = (attention(q, k, v) sigmoid(gate)) W_o
//! ```
//!
//! A model that reads images, too (`model_type` `qwen3_5`), is taken for its text as transformers
//! does where a causal model is asked for: `text_config` is the configuration, parameters are found
//! under `model.language_model`, `model.visual` is passed over. It is saved as a model of text.
//! Weights that guess several tokens ahead (`mtp`) are passed over in both; transformers loads none.
//!
//! Left out: images; positions by time, height and width (`mrope_section`), which are one and the
//! same for text; mixtures of experts (`qwen3_5_moe`).

use crate::auto::Settings;
use crate::layers::{
    Architecture, AttentionState, DecoderConfig, DecoderShape, DeltaNetShape, DeltaNetState,
    Differences, FeedForward, GatedDeltaNet, HeadLayout, LayerKind, NamedMap, Projection, RmsNorm,
    RopeParameters, RotaryEmbedding, check_kinds, mlp_maps,
};
use crate::unsupported::refuse_unsupported;
use crate::{Footprint, LayerFootprint, LinearMap};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) const SETTINGS: Settings = Settings {
    computed: &["attn_output_gate", "layer_types", "partial_rotary_factor"],
    defaults: &[
        ("num_key_value_heads", "4"),
        ("head_dim", "256"),
        ("max_position_embeddings", "32768"),
        ("vocab_size", "248320"),
    ],
};

const TEXT: &str = "qwen3_5_text";

/// The `model_type` of models that read images, too.
pub(crate) const WITH_IMAGES: &str = "qwen3_5";

const FULL: &str = "full_attention";
const LINEAR: &str = "linear_attention";

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Qwen3_5Config {
    /// What it shares with others.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
    /// Whether the projections of full attention have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether what is attended to goes through a gate; only `true` is supported.
    #[serde(default = "default_attn_output_gate")]
    pub attn_output_gate: bool,
    /// For each layer `full_attention` or `linear_attention`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<String>>,
    /// Without `layer_types`: the last of each so many layers has full attention.
    #[serde(default = "default_full_attention_interval")]
    pub full_attention_interval: usize,
    /// Share of each head's features that rotate, where `rope_parameters` has none; a quarter when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
    /// Tokens that the convolution of linear attention sees, its own among them.
    #[serde(default = "default_linear_conv_kernel_dim")]
    pub linear_conv_kernel_dim: usize,
    /// Features of a key of linear attention.
    #[serde(default = "default_linear_head_dim")]
    pub linear_key_head_dim: usize,
    /// Features of a value of linear attention.
    #[serde(default = "default_linear_head_dim")]
    pub linear_value_head_dim: usize,
    /// Heads of queries and keys of linear attention.
    #[serde(default = "default_linear_num_key_heads")]
    pub linear_num_key_heads: usize,
    /// Heads of values of linear attention.
    #[serde(default = "default_linear_num_value_heads")]
    pub linear_num_value_heads: usize,
}

fn default_attn_output_gate() -> bool {
    true
}

fn default_full_attention_interval() -> usize {
    4
}

fn default_linear_conv_kernel_dim() -> usize {
    4
}

fn default_linear_head_dim() -> usize {
    128
}

fn default_linear_num_key_heads() -> usize {
    16
}

fn default_linear_num_value_heads() -> usize {
    32
}

/// The configuration of the text's part, of a model that reads images, too; others as they are.
///
/// # Errors
/// When that part is missing or of another architecture, or the weights are quantised.
pub(crate) fn text_part(mut value: Value) -> Result<Value, String> {
    if value.get("model_type").and_then(Value::as_str) != Some(WITH_IMAGES) {
        return Ok(value);
    }
    if let Some(settings) = value.as_object() {
        refuse_unsupported(settings)?;
    }
    let Some(Value::Object(mut text)) = value.get_mut("text_config").map(Value::take) else {
        return Err(format!(
            "`text_config` is missing, which describes the text's part of a `{WITH_IMAGES}`"
        ));
    };
    let model_type = text.entry("model_type").or_insert_with(|| TEXT.into());
    if *model_type != TEXT {
        return Err(format!("`model_type` of `text_config` must be `{TEXT}`, not {model_type}"));
    }
    Ok(Value::Object(text))
}

impl Qwen3_5Config {
    /// The numbers of linear attention, where a layer has it.
    fn linear(&self, layer: usize) -> Option<DeltaNetShape> {
        let is_linear = match &self.layer_types {
            Some(kinds) => kinds.get(layer).is_some_and(|kind| kind == LINEAR),
            None => !(layer + 1).is_multiple_of(self.full_attention_interval),
        };
        is_linear.then_some(DeltaNetShape {
            key_heads: self.linear_num_key_heads,
            value_heads: self.linear_num_value_heads,
            key_dim: self.linear_key_head_dim,
            value_dim: self.linear_value_head_dim,
            kernel: self.linear_conv_kernel_dim,
        })
    }

    /// The linear maps of a layer.
    fn linear_maps_of(&self, layer: usize) -> Vec<LinearMap> {
        let mut maps = self.decoder.linear_maps_of(layer).to_vec();
        match self.linear(layer) {
            // in place of the four of attention
            Some(shape) => {
                let own = shape.maps(self.decoder.hidden_size);
                let own = own.map(|(name, d_input, d_output)| LinearMap {
                    key: format!("model.layers.{layer}.{name}"),
                    d_input,
                    d_output,
                });
                maps.splice(..4, own);
            }
            // queries and their gates
            None => maps[0].d_output = maps[0].d_output.saturating_mul(2),
        }
        maps
    }
}

/// Takes out of a table what text does not need of it, and the share of features that rotate.
fn take_share(rope: &mut RopeParameters) -> Option<f64> {
    // of text, the positions in time, height and width are the same
    rope.other.remove("mrope_section");
    rope.other.remove("mrope_interleaved");
    rope.partial_rotary_factor.take()
}

impl Architecture for Qwen3_5Config {
    fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    fn differences(&self) -> Differences {
        Differences {
            query_key_value_bias: self.attention_bias,
            output_bias: self.attention_bias,
            norms_around_one: true,
            ..Differences::default()
        }
    }

    fn layer(&self, number: usize) -> LayerKind {
        match self.linear(number) {
            Some(shape) => LayerKind::Qwen3_5Linear(shape),
            None => LayerKind::Qwen3_5Full,
        }
    }

    fn rotations(&self) -> Result<Vec<RotaryEmbedding>, String> {
        let mut decoder = self.decoder.clone();
        let tables = [&mut decoder.rope_parameters, &mut decoder.rope_scaling];
        let [new, old] = tables.map(|table| table.as_mut().and_then(take_share));
        let mut shares = [new, old, self.partial_rotary_factor].into_iter().flatten();
        let share = shares.next().unwrap_or(0.25);
        if let Some(other) = shares.find(|other| *other != share) {
            return Err(format!(
                "`partial_rotary_factor` is {share} and {other}\nhint: keep the one that the model was trained with"
            ));
        }
        let (_, head_dim) = decoder.heads();
        let rotary_dim = (head_dim as f64 * share) as usize;
        if !(2..=head_dim).contains(&rotary_dim) || !rotary_dim.is_multiple_of(2) {
            return Err(format!(
                "`partial_rotary_factor` is {share}, so that {rotary_dim} of {head_dim} features rotate; it must be an even number of them"
            ));
        }
        Ok(vec![decoder.partial_rotary(rotary_dim, 1e4)?])
    }

    fn check(&self) -> Result<(), String> {
        self.decoder.check_activation()?;
        if !self.attn_output_gate {
            return Err("`attn_output_gate` must be true, not false".into());
        }
        let count = self.decoder.num_hidden_layers;
        check_kinds([FULL, LINEAR], self.layer_types.as_deref(), count)?;
        let (key_heads, value_heads) = (self.linear_num_key_heads, self.linear_num_value_heads);
        for (name, count, least) in [
            ("full_attention_interval", self.full_attention_interval, 1),
            ("linear_conv_kernel_dim", self.linear_conv_kernel_dim, 2),
            ("linear_key_head_dim", self.linear_key_head_dim, 1),
            ("linear_value_head_dim", self.linear_value_head_dim, 1),
            ("linear_num_key_heads", key_heads, 1),
            ("linear_num_value_heads", value_heads, 1),
        ] {
            if !(least..=1 << 16).contains(&count) {
                return Err(format!(
                    "`{name}` must be a whole number from {least} to 65536, not {count}"
                ));
            }
        }
        if !value_heads.is_multiple_of(key_heads) {
            return Err(format!(
                "`linear_num_value_heads` ({value_heads}) must be a multiple of `linear_num_key_heads` ({key_heads})"
            ));
        }
        Ok(())
    }

    fn is_superfluous(&self, tensor: &str) -> bool {
        ["mtp.", "model.visual."].iter().any(|front| tensor.starts_with(front))
    }

    fn other_name(&self, key: &str) -> Option<String> {
        key.strip_prefix("model.").map(|rest| format!("model.language_model.{rest}"))
    }

    /// Layers of full attention are those of Llama, with a gate for each feature attended to: `H Q`
    /// parameters, and `3 Q` kept. The others have what `DeltaNetShape::kept` says in place of
    /// attention's.
    fn footprint(&self) -> Footprint {
        let decoder = &self.decoder;
        let mut footprint = decoder.footprint(self.differences());
        let usual = footprint.layers.remove(0);
        let (_, head_dim) = decoder.heads();
        let (hidden, inner) = (decoder.hidden_size as f64, decoder.intermediate_size as f64);
        let queries = decoder.num_attention_heads as f64 * head_dim as f64;
        let linear: Vec<DeltaNetShape> =
            (0..decoder.num_hidden_layers).filter_map(|layer| self.linear(layer)).collect();
        let full = LayerFootprint {
            count: usual.count - linear.len() as f64,
            parameters: usual.parameters + hidden * queries,
            kept: usual.kept + 3.0 * queries,
            ..usual
        };
        let recurrent = linear.first().map(|shape| LayerFootprint {
            count: linear.len() as f64,
            parameters: shape.parameters(decoder.hidden_size) + 3.0 * hidden * inner,
            state_per_token: 0.0,
            state: shape.state(),
            kept_single: 6.0 * hidden + shape.kept(),
            kept_per_pair: 0.0,
            kept: 3.0 * inner,
        });
        let layers = recurrent.into_iter().chain([full]).filter(|layer| layer.count > 0.0);
        footprint.layers = layers.collect();
        footprint.parameters +=
            footprint.over_layers(|layer| layer.parameters) - usual.count * usual.parameters;
        footprint
    }

    fn linear_maps(&self) -> Box<dyn Iterator<Item = LinearMap> + '_> {
        Box::new((0..self.decoder.num_hidden_layers).flat_map(|layer| self.linear_maps_of(layer)))
    }
}

/// Attention whose output goes through a gate.
#[derive(Module, Debug)]
pub struct GatedAttention<B: Backend> {
    /// Of each head queries and gate, `[hidden_size, heads * 2 * head_dim]`
    pub q_proj: Projection<B>,
    /// `[hidden_size, kv_heads * head_dim]`
    pub k_proj: Projection<B>,
    /// `[hidden_size, kv_heads * head_dim]`
    pub v_proj: Projection<B>,
    /// `[heads * head_dim, hidden_size]`
    pub o_proj: Projection<B>,
    /// Over `head_dim`.
    pub q_norm: RmsNorm<B>,
    /// Over `head_dim`.
    pub k_norm: RmsNorm<B>,
}

impl<B: Backend> GatedAttention<B> {
    fn new(shape: &DecoderShape, device: &B::Device) -> Self {
        let DecoderShape { hidden_size, head_dim, differences, .. } = *shape;
        let (queries, keys) = (shape.heads * head_dim, shape.kv_heads * head_dim);
        let inward = |d_output: usize| {
            Projection::new(hidden_size, d_output, differences.query_key_value_bias, device)
        };
        Self {
            q_proj: inward(2 * queries),
            k_proj: inward(keys),
            v_proj: inward(keys),
            o_proj: Projection::new(queries, hidden_size, differences.output_bias, device),
            q_norm: shape.norm(head_dim, device),
            k_norm: shape.norm(head_dim, device),
        }
    }

    /// The formulas at the top of this file.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let maps = [&self.q_proj, &self.k_proj, &self.v_proj];
        let [both, keys, values] = Projection::forward_all(maps, x, layout.dropout);
        let ([tokens, width], [head_dim]) = (both.dims(), self.q_norm.weight.dims());
        let heads = width / (2 * head_dim);
        let both = both.reshape([tokens * heads, 2 * head_dim]);
        let half = |start: usize| {
            both.clone().narrow(1, start, head_dim).reshape([tokens, heads * head_dim])
        };
        let queries = self.q_norm.forward_parts(half(0));
        let keys = self.k_norm.forward_parts(keys);
        let attended = layout.attend(queries, keys, values, state);
        self.o_proj.forward(attended * sigmoid(half(head_dim)), layout.dropout)
    }

    fn maps(&mut self) -> [NamedMap<'_, B>; 4] {
        [
            ("self_attn.q_proj".into(), &mut self.q_proj),
            ("self_attn.k_proj".into(), &mut self.k_proj),
            ("self_attn.v_proj".into(), &mut self.v_proj),
            ("self_attn.o_proj".into(), &mut self.o_proj),
        ]
    }
}

/// Full attention and feed-forward, each behind a norm and inside a residual.
#[derive(Module, Debug)]
pub struct Qwen3_5FullLayer<B: Backend> {
    /// Before attention.
    pub input_layernorm: RmsNorm<B>,
    /// Attention.
    pub self_attn: GatedAttention<B>,
    /// Before the feed-forward block.
    pub post_attention_layernorm: RmsNorm<B>,
    /// Feed-forward.
    pub mlp: FeedForward<B>,
}

impl<B: Backend> Qwen3_5FullLayer<B> {
    pub(crate) fn new(shape: &DecoderShape, device: &B::Device) -> Self {
        Self {
            input_layernorm: shape.norm(shape.hidden_size, device),
            self_attn: GatedAttention::new(shape, device),
            post_attention_layernorm: shape.norm(shape.hidden_size, device),
            mlp: shape.feed_forward(shape.intermediate_size, device),
        }
    }

    /// `y = x + attention(norm(x))`, `y + mlp(norm(y))`.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub(crate) fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let y = self.input_layernorm.forward(x.clone());
        let x = x + self.self_attn.forward(y, layout, state);
        let y = self.post_attention_layernorm.forward(x.clone());
        x + self.mlp.forward(y, layout.dropout)
    }

    pub(crate) fn maps(&mut self) -> Vec<NamedMap<'_, B>> {
        self.self_attn.maps().into_iter().chain(mlp_maps("mlp", &mut self.mlp)).collect()
    }
}

/// Linear attention and feed-forward, each behind a norm and inside a residual.
#[derive(Module, Debug)]
pub struct Qwen3_5LinearLayer<B: Backend> {
    /// Before linear attention.
    pub input_layernorm: RmsNorm<B>,
    /// Linear attention.
    pub linear_attn: GatedDeltaNet<B>,
    /// Before the feed-forward block.
    pub post_attention_layernorm: RmsNorm<B>,
    /// Feed-forward.
    pub mlp: FeedForward<B>,
}

impl<B: Backend> Qwen3_5LinearLayer<B> {
    pub(crate) fn new(shape: &DecoderShape, own: DeltaNetShape, device: &B::Device) -> Self {
        Self {
            input_layernorm: shape.norm(shape.hidden_size, device),
            linear_attn: GatedDeltaNet::new(shape, own, device),
            post_attention_layernorm: shape.norm(shape.hidden_size, device),
            mlp: shape.feed_forward(shape.intermediate_size, device),
        }
    }

    /// `y = x + linear_attention(norm(x))`, `y + mlp(norm(y))`.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub(crate) fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut DeltaNetState<B>>,
    ) -> Tensor<B, 2> {
        let y = self.input_layernorm.forward(x.clone());
        let x = x + self.linear_attn.forward(y, layout, state);
        let y = self.post_attention_layernorm.forward(x.clone());
        x + self.mlp.forward(y, layout.dropout)
    }

    pub(crate) fn maps(&mut self) -> Vec<NamedMap<'_, B>> {
        self.linear_attn.maps().into_iter().chain(mlp_maps("mlp", &mut self.mlp)).collect()
    }
}
