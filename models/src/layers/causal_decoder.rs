//! What the architectures have in common as a whole: the fields of their `config.json`, and a
//! decoder with an output matrix.

use super::unembed_rows;
use super::{
    Activation, AttentionKind, Decoder, DecoderShape, DecoderState, HeadLayout, LayerKind,
    LengthFactor, Projection, RopeParameters, RotaryEmbedding, unembed,
};
use crate::packed::{pack_projections, projection_bytes};
use crate::{
    CausalLm, DecodingState, ExpertCounts, Footprint, ForwardInput, Kernels, LayerFootprint,
    LinearMap, Packed, PackedWeights, Placement,
};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// The shared fields of `config.json` that change the computation, named as there. Fields that do
/// not are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecoderConfig {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key-value heads; as many as query heads when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_key_value_heads: Option<usize>,
    /// Features of a head; `hidden_size / num_attention_heads` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Added to the mean square under the root.
    #[serde(default = "default_rms_norm_eps")]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies (before transformers 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Scaling of the rotary frequencies (before transformers 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeParameters>,
    /// Base and scaling of the rotary frequencies (transformers 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeParameters>,
    /// Whether the output matrix is the embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// The feed-forward activation; only `silu` (also called `swish`) is supported.
    #[serde(default = "default_hidden_act")]
    pub hidden_act: String,
    /// Standard deviation of initial weights.
    #[serde(default = "default_initializer_range")]
    pub initializer_range: f32,
    /// The id, or list of ids, that ends a turn; kept for who reads the folder next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eos_token_id: Option<serde_json::Value>,
}

fn default_rms_norm_eps() -> f64 {
    1e-6
}

fn default_hidden_act() -> String {
    "silu".into()
}

fn default_initializer_range() -> f32 {
    0.02
}

/// What counts of tokens, features and layers may be; published ones are below 1.1e7.
const LARGEST_COUNT: usize = 1_000_000_000;

/// In what an architecture differs from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Whether `q_proj`, `k_proj`, `v_proj` have biases.
    pub query_key_value_bias: bool,
    /// Whether `o_proj` has a bias.
    pub output_bias: bool,
    /// Whether the feed-forward maps have biases.
    pub feed_forward_bias: bool,
    /// Whether queries and keys are normalised per head.
    pub query_key_norm: bool,
    /// Whether they are normalised over all heads together.
    pub query_key_norm_over_heads: bool,
    /// Whether norms scale with `1 + weight`.
    pub norms_around_one: bool,
    /// Whether embedded tokens are multiplied with `sqrt(hidden_size)`.
    pub scaled_embedding: bool,
    /// What the gate of feed-forward blocks goes through.
    pub activation: Activation,
}

impl Differences {
    /// Numbers in the biases of a layer, given the features that its maps give.
    fn biases(self, hidden_size: f64, queries: f64, keys: f64, inner: f64) -> f64 {
        let parts = [
            (self.query_key_value_bias, queries + 2.0 * keys),
            (self.output_bias, hidden_size),
            (self.feed_forward_bias, hidden_size + 2.0 * inner),
        ];
        parts.iter().filter(|(has, _)| *has).map(|(_, count)| count).sum()
    }
}

/// The configuration of an architecture made of these parts.
pub trait Architecture {
    /// What it shares with others.
    fn decoder(&self) -> &DecoderConfig;

    /// In what this checkpoint differs from others.
    fn differences(&self) -> Differences;

    /// The kind of the layer of that number.
    fn layer(&self, _number: usize) -> LayerKind {
        LayerKind::default()
    }

    /// The attention of the layer of that number.
    fn attention(&self, _layer: usize) -> AttentionKind {
        AttentionKind::default()
    }

    /// The rotations that [`AttentionKind::rotation`] tells apart.
    ///
    /// # Errors
    /// Says which setting is not supported, out of range or contradicts another.
    fn rotations(&self) -> Result<Vec<RotaryEmbedding>, String> {
        Ok(vec![self.decoder().rotary()?])
    }

    /// A factor of queries at late positions.
    fn length_factor(&self) -> Option<LengthFactor> {
        None
    }

    /// `c` of `c tanh(logits / c)`, to which logits are bounded.
    fn logit_softcapping(&self) -> Option<f64> {
        None
    }

    /// Whether a model can be made of the settings that the architecture does not share.
    ///
    /// # Errors
    /// Says which setting is not supported, out of range or contradicts another.
    fn check(&self) -> Result<(), String> {
        self.decoder().check_activation()
    }

    /// Whether transformers passes over a checkpoint's tensor of that name.
    fn is_superfluous(&self, _tensor: &str) -> bool {
        false
    }

    /// See [`crate::ModelConfig::other_name`].
    fn other_name(&self, _key: &str) -> Option<String> {
        None
    }

    /// See [`crate::ModelConfig::footprint`].
    fn footprint(&self) -> Footprint {
        self.decoder().footprint(self.differences())
    }

    /// See [`crate::ModelConfig::linear_maps`].
    fn linear_maps(&self) -> Box<dyn Iterator<Item = LinearMap> + '_> {
        Box::new(self.decoder().linear_maps())
    }
}

/// An architecture that is told by [`Differences`] alone.
struct Shared {
    decoder: DecoderConfig,
    differences: Differences,
}

impl Architecture for Shared {
    fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    fn differences(&self) -> Differences {
        self.differences
    }
}

/// A model with zero weights.
///
/// # Errors
/// Says which setting is not supported.
pub(crate) fn init<B: Backend>(
    architecture: &dyn Architecture,
    place: &Placement<B>,
) -> Result<CausalDecoder<B>, String> {
    let config = architecture.decoder();
    let shape = shape(architecture)?;
    let shape = DecoderShape { kernels: place.kernels.clone(), ..shape };
    let head = || Projection::new(config.hidden_size, config.vocab_size, false, &place.device);
    Ok(CausalDecoder {
        model: Decoder::new(architecture, &shape, &place.device)?,
        lm_head: (!config.tie_word_embeddings).then(head),
        packed_head: Packed::default(),
        logit_softcapping: architecture.logit_softcapping(),
    })
}

/// # Errors
/// Says which setting is not supported, out of range or contradicts another.
pub(crate) fn shape(architecture: &dyn Architecture) -> Result<DecoderShape, String> {
    architecture.check()?;
    let shape = architecture.decoder().shape(architecture.differences())?;
    let rotary = architecture.rotations()?.into_iter().next();
    Ok(DecoderShape { rotary: rotary.unwrap_or(shape.rotary), ..shape })
}

impl DecoderConfig {
    /// A model with zero weights that differs from others in `differences` alone.
    ///
    /// # Errors
    /// Says which setting is not supported.
    pub fn init<B: Backend>(
        &self,
        differences: Differences,
        place: &Placement<B>,
    ) -> Result<CausalDecoder<B>, String> {
        init(&Shared { decoder: self.clone(), differences }, place)
    }

    /// Key-value heads, and features of a head.
    pub(crate) fn heads(&self) -> (usize, usize) {
        let heads = self.num_attention_heads;
        let head_dim = self.head_dim.or(self.hidden_size.checked_div(heads));
        (self.num_key_value_heads.unwrap_or(heads), head_dim.unwrap_or(0))
    }

    /// The linear maps of a layer: the end of the key, features in, features out.
    fn layer_maps(&self) -> [(&'static str, usize, usize); 7] {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (kv_heads, head_dim) = self.heads();
        let queries = self.num_attention_heads.saturating_mul(head_dim);
        let keys = kv_heads.saturating_mul(head_dim);
        [
            ("self_attn.q_proj", hidden, queries),
            ("self_attn.k_proj", hidden, keys),
            ("self_attn.v_proj", hidden, keys),
            ("self_attn.o_proj", queries, hidden),
            ("mlp.gate_proj", hidden, inner),
            ("mlp.up_proj", hidden, inner),
            ("mlp.down_proj", inner, hidden),
        ]
    }

    /// See [`crate::ModelConfig::linear_maps`].
    pub fn linear_maps(&self) -> impl Iterator<Item = LinearMap> + '_ {
        (0..self.num_hidden_layers).flat_map(|layer| self.linear_maps_of(layer))
    }

    /// Those of the layer of that number.
    pub(crate) fn linear_maps_of(&self, layer: usize) -> [LinearMap; 7] {
        self.layer_maps().map(|(name, d_input, d_output)| LinearMap {
            key: format!("model.layers.{layer}.{name}"),
            d_input,
            d_output,
        })
    }

    /// What every architecture with these fields takes. The autodiff graph keeps, of a token and
    /// layer, the inputs of both norms and their factors (`6 H` in f32), the softmax (`3 h` in f32
    /// for each token of the sequence), the attention products (`2 Q + 2 K`) and the gated product
    /// (`3 I`); remembered are a token's keys and values (`2 K`).
    pub fn footprint(&self, differences: Differences) -> Footprint {
        let (kv_heads, head_dim) = self.heads();
        let [vocab_size, hidden_size, inner, count, heads] = [
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
        ]
        .map(|number| number as f64);
        let queries = heads * head_dim as f64;
        let keys = kv_heads as f64 * head_dim as f64;
        let maps = self.layer_maps();
        let parameters = maps.iter().map(|(_, from, to)| *from as f64 * *to as f64);
        let parameters =
            parameters.sum::<f64>() + differences.biases(hidden_size, queries, keys, inner);
        let embedding = vocab_size * hidden_size;
        let layer = LayerFootprint {
            count,
            parameters,
            state_per_token: 2.0 * keys,
            state: 0.0,
            kept_single: 6.0 * hidden_size,
            kept_per_pair: 3.0 * heads,
            kept: 2.0 * queries + 2.0 * keys + 3.0 * inner,
        };
        let matrices = if self.tie_word_embeddings { 1.0 } else { 2.0 };
        Footprint {
            parameters: matrices * embedding + count * parameters,
            vocab_size,
            hidden_size,
            largest_parameter: embedding,
            layers: vec![layer],
        }
    }

    /// # Errors
    /// When the activation is another than SiLU.
    pub(crate) fn check_activation(&self) -> Result<(), String> {
        if !["silu", "swish"].contains(&self.hidden_act.as_str()) {
            return Err(format!("`hidden_act` must be `silu`, not `{}`", self.hidden_act));
        }
        Ok(())
    }

    /// The shape, with a rotation that is not scaled.
    ///
    /// # Errors
    /// Says which setting is not supported, out of range or contradicts another.
    fn shape(&self, differences: Differences) -> Result<DecoderShape, String> {
        let heads = self.num_attention_heads;
        let (kv_heads, head_dim) = self.heads();
        if kv_heads == 0 || heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(format!(
                "`num_attention_heads` ({heads}) must be a multiple of `num_key_value_heads` ({kv_heads})"
            ));
        }
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            return Err(format!(
                "`head_dim` (`hidden_size` / `num_attention_heads` when absent) must be an even number above 0, not {head_dim}"
            ));
        }
        let counts = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((name, count)) =
            counts.into_iter().find(|(_, count)| !(1..=LARGEST_COUNT).contains(count))
        {
            return Err(format!(
                "`{name}` must be a whole number from 1 to {LARGEST_COUNT}, not {count}"
            ));
        }
        // what is added to a mean square; 1 and more would drown it
        if !(0.0..=1.0).contains(&self.rms_norm_eps) {
            return Err(format!(
                "`rms_norm_eps` must be a number from 0 to 1, not {:?}",
                self.rms_norm_eps
            ));
        }
        Ok(DecoderShape {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads,
            kv_heads,
            head_dim,
            rms_norm_eps: self.rms_norm_eps,
            differences,
            rotary: RotaryEmbedding::new(head_dim, 1e4, &RopeParameters::default())?,
            kernels: Kernels::none(),
        })
    }

    /// The rotation that `rope_parameters`, `rope_scaling` and `rope_theta` describe together.
    ///
    /// # Errors
    /// Says which setting is not supported, out of range or contradicts another.
    pub(crate) fn rotary(&self) -> Result<RotaryEmbedding, String> {
        self.rotary_or(10_000.0)
    }

    /// The same with another base where none is given.
    ///
    /// # Errors
    /// Says which setting is not supported, out of range or contradicts another.
    pub(crate) fn rotary_or(&self, usual: f64) -> Result<RotaryEmbedding, String> {
        let (_, head_dim) = self.heads();
        self.partial_rotary(head_dim, usual)
    }

    /// The same of the first `rotary_dim` features of each head.
    ///
    /// # Errors
    /// Says which setting is not supported, out of range or contradicts another.
    pub(crate) fn partial_rotary(
        &self,
        rotary_dim: usize,
        usual: f64,
    ) -> Result<RotaryEmbedding, String> {
        let (_, head_dim) = self.heads();
        let rotary = |theta: f64, rope: &RopeParameters| {
            RotaryEmbedding::partial(rotary_dim, head_dim, theta, rope)
        };
        let in_old = |reason| format!("`rope_scaling`: {reason}");
        let in_new = |reason| format!("`rope_parameters`: {reason}");
        let filled = |rope: &Option<RopeParameters>| {
            rope.clone().map(|rope| self.in_context(rope)).transpose()
        };
        let new = filled(&self.rope_parameters).map_err(in_new)?;
        let old = filled(&self.rope_scaling).map_err(in_old)?;
        let (new, old) = (new.as_ref(), old.as_ref());
        if let (Some(new), Some(old)) = (new, old) {
            old.scales_as(old).map_err(in_old)?;
            new.scales_as(new).map_err(in_new)?;
            if !new.scales_as(old)? {
                return Err(
                    "`rope_parameters` and `rope_scaling` contradict each other\nhint: keep the one that the model was trained with".into(),
                );
            }
        }
        let places = [
            ("`rope_theta` of `rope_parameters`", new.and_then(|rope| rope.rope_theta)),
            ("`rope_theta` of `rope_scaling`", old.and_then(|rope| rope.rope_theta)),
            ("`rope_theta`", self.rope_theta),
        ];
        let mut given = places.into_iter().filter_map(|(place, theta)| Some((place, theta?)));
        let theta = match given.next() {
            None => usual,
            Some((first, theta)) => {
                if let Some((second, other)) = given.find(|(_, other)| *other != theta) {
                    return Err(format!(
                        "{first} is {theta}, but {second} is {other}\nhint: keep the one that the model was trained with"
                    ));
                }
                theta
            }
        };
        match (new, old) {
            (Some(new), _) => rotary(theta, new).map_err(in_new),
            (None, Some(old)) => rotary(theta, old).map_err(in_old),
            (None, None) => rotary(theta, &RopeParameters::default()),
        }
    }

    /// A scaling with the context that it is for.
    ///
    /// # Errors
    /// When it states another.
    pub(crate) fn in_context(&self, mut rope: RopeParameters) -> Result<RopeParameters, String> {
        let context = self.max_position_embeddings as f64;
        match rope.max_position_embeddings.replace(context) {
            Some(stated) if stated != context => Err(format!(
                "`max_position_embeddings` is {stated}, but that of the model is {context}"
            )),
            _ => Ok(rope),
        }
    }
}

/// A decoder with its output matrix; fields are named as the checkpoint's keys.
#[derive(Module, Debug)]
pub struct CausalDecoder<B: Backend> {
    /// The decoder stack.
    pub model: Decoder<B>,
    /// The output matrix; `None` when it is the embedding.
    pub lm_head: Option<Projection<B>>,
    /// The embedding as an output matrix, where it is one.
    packed_head: Packed<B>,
    logit_softcapping: Option<f64>,
}

impl<B: Backend> CausalLm<B> for CausalDecoder<B> {
    type State = DecoderState<B>;
    type Layout = HeadLayout<B>;

    fn kernels(&self) -> &Kernels {
        self.model.kernels()
    }

    fn empty_state(&self, rows: usize) -> DecodingState<B, DecoderState<B>> {
        let layers = self.model.layers.iter().map(|layer| layer.empty_state(rows));
        DecodingState::new(layers.collect(), rows)
    }

    fn layout(&self, input: &ForwardInput<B>) -> HeadLayout<B> {
        self.model.layout(input)
    }

    fn embed(&self, input: &ForwardInput<B>) -> Tensor<B, 2> {
        self.model.embed(input)
    }

    fn depth(&self) -> usize {
        self.model.layers.len()
    }

    fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut DecoderState<B>>,
    ) -> Tensor<B, 2> {
        self.model.layer(index, x, layout, state)
    }

    fn final_norm(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.model.norm.forward(x)
    }

    fn projections_mut(&mut self) -> Vec<(String, &mut Projection<B>)> {
        self.model.projections_mut()
    }

    fn experts(&self) -> Option<ExpertCounts> {
        self.model.experts()
    }

    fn pack(&mut self, weights: PackedWeights) {
        pack_projections(self, weights);
        let kernels = self.kernels().clone();
        match &mut self.lm_head {
            Some(lm_head) => lm_head.pack(weights, &kernels),
            None => {
                let embedding = self.model.embed_tokens.weight.val();
                self.packed_head.pack(embedding.transpose(), weights, &kernels);
            }
        }
    }

    fn packed_bytes(&mut self) -> usize {
        let head = self.lm_head.as_ref().map_or(self.packed_head.bytes(), Projection::packed_bytes);
        head + projection_bytes(self)
    }

    fn unembed(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        let packed = self.packed_head.get().filter(|_| hidden.dtype() == DType::F32);
        let logits = match packed {
            Some(packed) => unembed_rows(hidden, |rows| packed.products(rows, &[]).remove(0)),
            None => unembed(self.lm_head.as_ref(), &self.model.embed_tokens, hidden),
        };
        match self.logit_softcapping {
            Some(bound) => (logits / bound).tanh() * bound,
            None => logits,
        }
    }
}
