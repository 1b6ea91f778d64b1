//! What memory a training run needs, computed from its configuration and the model's `config.json`
//! before anything is loaded.
//!
//! With `P` parameters, of which `T` are trained (all, or those of an adapter) and `E = V * H` are
//! the embedding's, `L` layers of width `H` and feed-forward width `I`, `Q` query and `K` key-value
//! features, `h` query heads, sequences of `S` tokens and a micro-batch of `M` tokens, `R` of them
//! trained on, and `c` bytes a number in the precision of the computation, the bytes held are:
//!
//! | phase | bytes |
//! |---|---|
//! | always | weights `4 P`, with an adapter `c P + 4 T`; moments `8 T`; `4 P` for a reference model, if there is one of its own |
//! | rollout | copy of trained weights `c P` if `c < 4`; cache `2 c K L` a token of every episode that decodes; logits `4 V` an episode |
//! | gradient | gradients `4 T` (`8 T` with several micro-batches; with several workers see below), activations, logits |
//! | update | gradients `4 T`, three of the largest trained parameter |
//!
//! The autodiff graph keeps `a = 24 H + 12 h S + c (2 Q + 2 K + 3 I)` bytes a token and layer:
//! inputs of both norms and their factors (`6 H`, in f32), the softmax (`3 h S`, in f32), the
//! attention products (`2 Q + 2 K`), the gated product (`3 I`). Activations are `M L a`; with
//! gradient checkpointing `c M (L + 1) H + M a`. Trained weights of another precision are cast for
//! the products, which holds `c` bytes for each: for the whole model, or one layer at a time. The
//! vocabulary projection holds `16 V` a row (the logits, their log-softmax and both gradients), for
//! all `R` rows or a chunk of them, and two copies of its matrix (one if it is frozen).
//!
//! `n` workers hold cast weights, activations and logits `n` times; gradients are then those of
//! each worker's micro-batch, what its backward pass has beside them, and the sum: `4 T (2 n + 1)`,
//! with gradient checkpointing `4 T (n + 1)`.
//!
//! Not counted: the process itself, what the allocator keeps, tool workers. `docs/memory.md`
//! compares with measurements.

use crate::{Precision, RunConfig};
use paretopo_agent::Workers;
use paretopo_models::{AdapterConfig, AutoConfig};

const F32: f64 = 4.0;

/// Gibibytes by part, for each phase of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryPlan {
    /// Scalar parameters.
    pub parameters: u64,
    /// Those that are trained.
    pub trained: u64,
    /// Tokens of the longest episode that the budgets allow.
    pub longest: u64,
    /// The phases, each with its parts.
    pub phases: Vec<(&'static str, Vec<(&'static str, f64)>)>,
}

impl MemoryPlan {
    /// Plans `config` with a model. `prompt` is the length of the longest prompt in tokens;
    /// `threads` are those that workers may share, 1 on a graphics card.
    pub fn new(config: &RunConfig, model: &AutoConfig, prompt: usize, threads: usize) -> Self {
        let shape = Shape::of(model);
        let (rollout, train) = (&config.rollout, &config.train);
        let number = config.precision.bytes();
        let budget =
            prompt + rollout.max_sampled_tokens + rollout.max_calls * rollout.max_output_tokens;
        let longest = budget.min(model.context()) as f64;
        let episodes = (train.prompts_per_step * train.rollouts_per_prompt) as f64;
        let tokens = (train.micro_batch_tokens as f64).max(longest);
        let rows = tokens * (rollout.max_sampled_tokens as f64 / longest).min(1.0);
        let rows = if train.memory.logits_chunk == 0 {
            rows
        } else {
            rows.min(train.memory.logits_chunk as f64)
        };
        let (checkpointing, several) =
            (train.memory.gradient_checkpointing, episodes * longest > tokens);
        let embedding = shape.vocabulary * shape.hidden;
        let adapter = config.lora.as_ref().map(|lora| shape.adapter(lora));
        let trained = adapter.unwrap_or(shape.parameters);
        // trained weights are cast for use if the precision is another; frozen ones are held in it
        let cast =
            if adapter.is_none() && config.precision != Precision::F32 { number } else { 0.0 };

        let kept = F32 * (6.0 * shape.hidden + 3.0 * shape.heads * longest)
            + number * (2.0 * shape.queries + 2.0 * shape.keys + 3.0 * shape.intermediate);
        let activations = if checkpointing {
            tokens * (number * (shape.layers + 1.0) * shape.hidden + kept)
        } else {
            tokens * shape.layers * kept
        };
        let micro_batches = (episodes * longest / train.minibatches as f64 / tokens).ceil();
        let workers = (Workers::suitable(config.workers, threads, shape.parameters as u64) as f64)
            .min(micro_batches.max(1.0));
        let cast_weights =
            cast * if checkpointing { shape.layer } else { shape.layers * shape.layer };
        let matrices = if adapter.is_some() { number } else { 2.0 * F32 };
        let decoding = episodes.min(rollout.batch_size as f64);
        // with checkpointing the gradients of one stage are added at a time
        let gradients = if workers > 1.0 {
            1.0 + workers * if checkpointing { 1.0 } else { 2.0 }
        } else if several && !checkpointing {
            2.0
        } else {
            1.0
        };
        let largest =
            if adapter.is_some() { shape.largest_adapter(config.lora.as_ref()) } else { embedding };

        let base = if adapter.is_some() {
            number * shape.parameters + F32 * trained
        } else {
            F32 * shape.parameters
        };
        let mut held = vec![("weights", base), ("moments", 2.0 * F32 * trained)];
        if train.kl.coefficient.get() != 0.0 && adapter.is_none() {
            held.push(("reference model", F32 * shape.parameters));
        }
        let with = |more: &[(&'static str, f64)]| {
            let parts = held.iter().chain(more).filter(|(_, bytes)| *bytes > 0.0);
            parts.map(|(name, bytes)| (*name, bytes / f64::from(1u32 << 30))).collect::<Vec<_>>()
        };
        let cache = decoding * longest * 2.0 * number * shape.keys * shape.layers;
        let logits = rows * 4.0 * F32 * shape.vocabulary + matrices * embedding;
        let phases = vec![
            (
                "rollout",
                with(&[
                    ("copy", cast * shape.parameters),
                    ("cache", cache),
                    ("logits", decoding * F32 * shape.vocabulary),
                ]),
            ),
            (
                "gradient",
                with(&[
                    ("gradients", gradients * F32 * trained),
                    ("cast weights", workers * cast_weights),
                    ("activations", workers * activations),
                    ("logits", workers * logits),
                ]),
            ),
            ("update", with(&[("gradients", F32 * trained), ("temporaries", 3.0 * F32 * largest)])),
        ];
        Self {
            parameters: shape.parameters as u64,
            trained: trained as u64,
            longest: longest as u64,
            phases,
        }
    }

    /// Gibibytes of each phase.
    pub fn sums(&self) -> Vec<f64> {
        self.phases.iter().map(|(_, parts)| parts.iter().map(|(_, size)| size).sum()).collect()
    }

    /// Gibibytes of the largest phase.
    pub fn peak(&self) -> f64 {
        self.sums().into_iter().fold(0.0, f64::max)
    }
}

/// The numbers of the formulas above.
struct Shape {
    parameters: f64,
    /// Parameters of a layer.
    layer: f64,
    vocabulary: f64,
    hidden: f64,
    intermediate: f64,
    layers: f64,
    heads: f64,
    queries: f64,
    keys: f64,
}

impl Shape {
    /// Biases and norms, far below a thousandth of the parameters, are left out.
    fn of(model: &AutoConfig) -> Self {
        let config = model.decoder();
        let head_dim = config.head_dim.unwrap_or(config.hidden_size / config.num_attention_heads);
        let kv_heads = config.num_key_value_heads.unwrap_or(config.num_attention_heads);
        let [vocabulary, hidden, intermediate, layers, heads] = [
            config.vocab_size,
            config.hidden_size,
            config.intermediate_size,
            config.num_hidden_layers,
            config.num_attention_heads,
        ]
        .map(|number| number as f64);
        let (queries, keys) =
            ((config.num_attention_heads * head_dim) as f64, (kv_heads * head_dim) as f64);
        let layer = hidden * (2.0 * queries + 2.0 * keys) + 3.0 * hidden * intermediate;
        let matrices = if config.tie_word_embeddings { 1.0 } else { 2.0 };
        let parameters = matrices * vocabulary * hidden + layers * layer;
        Self { parameters, layer, vocabulary, hidden, intermediate, layers, heads, queries, keys }
    }

    /// The linear maps of a layer: the end of the key, features in, features out.
    fn maps(&self) -> [(&'static str, f64, f64); 7] {
        let (hidden, inner) = (self.hidden, self.intermediate);
        [
            ("self_attn.q_proj", hidden, self.queries),
            ("self_attn.k_proj", hidden, self.keys),
            ("self_attn.v_proj", hidden, self.keys),
            ("self_attn.o_proj", self.queries, hidden),
            ("mlp.gate_proj", hidden, inner),
            ("mlp.up_proj", hidden, inner),
            ("mlp.down_proj", inner, hidden),
        ]
    }

    /// Parameters of an adapter.
    fn adapter(&self, lora: &AdapterConfig) -> f64 {
        let maps = self.maps();
        let keys = (0..self.layers as usize).flat_map(|layer| {
            maps.iter()
                .map(move |(key, from, to)| (format!("model.layers.{layer}.{key}"), from + to))
        });
        let targeted = keys.filter(|(key, _)| lora.targets_key(key));
        targeted.map(|(_, features)| lora.rank as f64 * features).sum()
    }

    fn largest_adapter(&self, lora: Option<&AdapterConfig>) -> f64 {
        lora.map_or(0.0, |lora| {
            lora.rank as f64 * self.hidden.max(self.intermediate).max(self.queries)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIBIBYTE: f64 = 1_073_741_824.0;

    /// Two layers of width 8, 2 query heads and 1 key-value head of 4 features, feed-forward 16, 10
    /// tokens known, tied.
    fn model() -> AutoConfig {
        serde_json::from_str(
            r#"{"model_type":"llama","vocab_size":10,"hidden_size":8,"intermediate_size":16,"num_hidden_layers":2,
            "num_attention_heads":2,"num_key_value_heads":1,"max_position_embeddings":100,"tie_word_embeddings":true}"#,
        )
        .unwrap()
    }

    fn plan(changes: &[&str]) -> MemoryPlan {
        let settings = [
            "rollout.max_sampled_tokens=10",
            "rollout.max_calls=2",
            "rollout.max_output_tokens=5",
            "rollout.batch_size=3",
            "train.prompts_per_step=2",
            "train.rollouts_per_prompt=4",
            "train.micro_batch_tokens=50",
        ];
        let settings: Vec<String> =
            settings.iter().chain(changes).map(ToString::to_string).collect();
        MemoryPlan::new(&RunConfig::parse("", "test", &settings).unwrap(), &model(), 5, 1)
    }

    #[test]
    fn parts_by_hand() {
        let parts = |plan: &MemoryPlan, phase: usize| -> Vec<(&str, f64)> {
            plan.phases[phase]
                .1
                .iter()
                .map(|(name, size)| (*name, (size * GIBIBYTE).round()))
                .collect()
        };
        let plain = plan(&[]);
        // layer: q 8*8, k and v 8*4 each, o 8*8, three of 8*16: 64 + 64 + 64 + 384 = 576; with the
        // embedding 10*8: 2*576 + 80
        assert_eq!((plain.parameters, plain.trained), (1232, 1232));
        // 5 + 10 + 2*5
        assert_eq!(plain.longest, 25);
        // 3 episodes of 25 tokens with 2*4*2 numbers each; 3 rows of 10 logits; 4 bytes a number
        assert_eq!(
            parts(&plain, 0),
            [("weights", 4928.0), ("moments", 9856.0), ("cache", 4800.0), ("logits", 120.0)]
        );
        // a token and layer keep 6*8 + 3*2*25 + 2*8 + 2*4 + 3*16 = 270; 50 tokens, 2 layers:
        // 27,000; 20 trained rows of 4*10, and 2*80: 960
        assert_eq!(
            parts(&plain, 1)[2..],
            [("gradients", 9856.0), ("activations", 108_000.0), ("logits", 3840.0)]
        );
        assert_eq!(parts(&plain, 2)[2..], [("gradients", 4928.0), ("temporaries", 960.0)]);
        assert_eq!(
            (plain.peak() * GIBIBYTE).round(),
            4928.0 + 9856.0 + 9856.0 + 108_000.0 + 3840.0
        );
        // 50 tokens: 3 inputs of 8, and one layer's 270: 14,700; chunks of 5 rows of 4*10, and
        // 2*80: 360
        let lean = plan(&["train.memory={ gradient_checkpointing = true, logits_chunk = 5 }"]);
        assert_eq!(
            parts(&lean, 1)[2..],
            [("gradients", 4928.0), ("activations", 58_800.0), ("logits", 1440.0)]
        );
        let reference = plan(&["train.kl.coefficient=0.1"]);
        assert_eq!(parts(&reference, 2)[2], ("reference model", 4928.0));
        // the model's own limit, where it is shorter
        assert_eq!(plan(&["rollout.max_sampled_tokens=500"]).longest, 100);
    }

    #[test]
    fn half_precision_and_adapters_by_hand() {
        let parts = |plan: &MemoryPlan, phase: usize| -> Vec<(&str, f64)> {
            plan.phases[phase]
                .1
                .iter()
                .map(|(name, size)| (*name, (size * GIBIBYTE).round()))
                .collect()
        };
        let lean = "train.memory={ gradient_checkpointing = true, logits_chunk = 5 }";
        let half = plan(&["precision=bf16", lean]);
        // trained weights stay in f32, and are copied for rollouts: 2*1232; the cache has 2 bytes a
        // number
        assert_eq!(
            parts(&half, 0),
            [
                ("weights", 4928.0),
                ("moments", 9856.0),
                ("copy", 2464.0),
                ("cache", 2400.0),
                ("logits", 120.0)
            ]
        );
        // one layer's 576 cast; 50 * (2 * 3*8 + 4 * (48 + 150) + 2 * (16 + 8 + 48)) = 50 * (48 +
        // 792 + 144)
        assert_eq!(
            parts(&half, 1)[3..],
            [("cast weights", 1152.0), ("activations", 49_200.0), ("logits", 1440.0)]
        );
        // rank 2 on queries and values: 2 layers * 2 * ((8 + 8) + (8 + 4)) = 112 numbers
        let adapter = plan(&[
            "precision=bf16",
            "lora={ rank = 2, targets = [\"q_proj\", \"v_proj\"] }",
            "train.kl.coefficient=0.1",
            lean,
        ]);
        assert_eq!(adapter.trained, 112);
        // weights 2*1232 + 4*112, moments 8*112, no reference model: it is the same without the
        // adapter
        assert_eq!(
            parts(&adapter, 0),
            [("weights", 2912.0), ("moments", 896.0), ("cache", 2400.0), ("logits", 120.0)]
        );
        // the queries of the second layer alone: 2 * (8 + 8)
        let one = plan(&["lora={ rank = 2, targets = [\"model.layers.1.self_attn.q_proj\"] }"]);
        assert_eq!(one.trained, 32);
        // 5 rows of 16*10 and one copy of the embedding in 2 bytes
        assert_eq!(
            parts(&adapter, 1)[2..],
            [("gradients", 448.0), ("activations", 49_200.0), ("logits", 960.0)]
        );
        assert_eq!(parts(&adapter, 2)[2..], [("gradients", 448.0), ("temporaries", 384.0)]);
    }
}
