//! The `config.json` of GPT-NeoX, as transformers 4 and 5 write it: which settings there are, which
//! are refused, and what memory a model takes.

use paretopo_models::layers::{RopeParameters, RotaryEmbedding};
use paretopo_models::{Footprint, LayerFootprint, LinearMap, ModelConfig};
use serde::{Deserialize, Serialize};

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "transformers' `GPTNeoXConfig` says what they are")]
pub struct NeoxConfig {
    pub model_type: String,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub max_position_embeddings: usize,
    pub layer_norm_eps: f64,
    pub initializer_range: f32,
    pub hidden_act: String,
    pub use_parallel_residual: bool,
    #[serde(default = "yes")]
    pub attention_bias: bool,
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Share of a head's features that turn (transformers 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotary_pct: Option<f64>,
    /// Base of their frequencies (transformers 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotary_emb_base: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeParameters>,
    /// Share, base and scaling in one place (transformers 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeParameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eos_token_id: Option<serde_json::Value>,
}

fn yes() -> bool {
    true
}

/// The one value of a setting that may stand in two places, or what holds without.
fn agreed(name: &str, given: [Option<f64>; 2], default: f64) -> Result<f64, String> {
    match given {
        [Some(first), Some(second)] if first != second => Err(format!(
            "`{name}` is {first}, but `rope_parameters` has {second}\nhint: keep the one that the model was trained with"
        )),
        [first, second] => Ok(first.or(second).unwrap_or(default)),
    }
}

impl NeoxConfig {
    /// Which features of a head turn, and how fast.
    pub(crate) fn rotary(&self) -> Result<RotaryEmbedding, String> {
        let mut rope = match (&self.rope_parameters, &self.rope_scaling) {
            (Some(_), Some(_)) => {
                return Err("`rope_parameters` and `rope_scaling` are both given\nhint: keep the one that the model was trained with".into());
            }
            (new, old) => new.as_ref().or(old.as_ref()).cloned().unwrap_or_default(),
        };
        let share = [self.rotary_pct, rope.partial_rotary_factor.take()];
        let share = agreed("rotary_pct", share, 0.25)?;
        let base = agreed("rotary_emb_base", [self.rotary_emb_base, rope.rope_theta], 10_000.0)?;
        let head_dim = self.hidden_size / self.num_attention_heads;
        // transformers rounds down
        RotaryEmbedding::partial((head_dim as f64 * share) as usize, head_dim, base, &rope)
            .map_err(|reason| format!("`rotary_pct` {share}: {reason}"))
    }

    /// The linear maps of a layer: the end of the key, features in, features out.
    fn layer_maps(&self) -> [(&'static str, usize, usize); 4] {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        [
            ("attention.query_key_value", hidden, 3 * hidden),
            ("attention.dense", hidden, hidden),
            ("mlp.dense_h_to_4h", hidden, inner),
            ("mlp.dense_4h_to_h", inner, hidden),
        ]
    }
}

impl ModelConfig for NeoxConfig {
    fn check(&self) -> Result<(), String> {
        let counts = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((name, count)) = counts.iter().find(|(_, count)| !(1..1 << 30).contains(count))
        {
            return Err(format!("`{name}` must be a whole number from 1 to 2^30, not {count}"));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err("`hidden_size` must be a multiple of `num_attention_heads`".into());
        }
        if !["gelu", "gelu_fast", "gelu_new"].contains(&self.hidden_act.as_str()) {
            return Err(format!(
                "`hidden_act` must be `gelu`, `gelu_fast` or `gelu_new`, not `{}`",
                self.hidden_act
            ));
        }
        self.rotary().map(drop)
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn context(&self) -> usize {
        self.max_position_embeddings
    }

    fn initializer_range(&self) -> f32 {
        self.initializer_range
    }

    fn class_name(&self) -> &'static str {
        "GPTNeoXForCausalLM"
    }

    /// The autodiff graph keeps, of a token and layer: the centred and the normalised values of both
    /// norms (`4 H` in f32), the softmax (`3 h` in f32 for each token of the sequence), what the four
    /// maps and both attention products read (`6 H + I`), and what GELU reads (`I`).
    fn footprint(&self) -> Footprint {
        let [vocab, hidden, inner, heads, count] = [
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
            self.num_hidden_layers,
        ]
        .map(|number| number as f64);
        let parameters = self.layer_maps().iter().map(|map| map.1 as f64 * map.2 as f64).sum();
        let layer = LayerFootprint {
            count,
            parameters,
            state_per_token: 2.0 * hidden,
            state: 0.0,
            kept_single: 4.0 * hidden,
            kept_per_pair: 3.0 * heads,
            kept: 6.0 * hidden + 2.0 * inner,
        };
        let embeddings = if self.tie_word_embeddings { 1.0 } else { 2.0 };
        Footprint {
            parameters: embeddings * vocab * hidden + count * parameters,
            vocab_size: vocab,
            hidden_size: hidden,
            largest_parameter: hidden * vocab.max(3.0 * hidden).max(inner),
            layers: vec![layer],
        }
    }

    fn linear_maps(&self) -> Box<dyn Iterator<Item = LinearMap> + '_> {
        Box::new((0..self.num_hidden_layers).flat_map(|layer| {
            self.layer_maps().map(|(name, d_input, d_output)| LinearMap {
                key: format!("gpt_neox.layers.{layer}.{name}"),
                d_input,
                d_output,
            })
        }))
    }

    fn is_superfluous(&self, tensor: &str) -> bool {
        // buffers that old checkpoints carry along, and the copy of a tied embedding
        [".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"]
            .iter()
            .any(|end| tensor.ends_with(end))
            || self.tie_word_embeddings && tensor == "embed_out.weight"
    }
}
