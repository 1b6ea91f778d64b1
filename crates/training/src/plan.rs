//! What memory a training run needs, computed from its configuration and the model's `config.json` before anything is loaded.
//!
//! With `P` parameters, of which `V * H` are the embedding's, `L` layers of width `H` and feed-forward width `I`, `Q` query and `K` key-value
//! features, `h` query heads, sequences of `T` tokens and a micro-batch of `M` tokens, `R` of them trained on, the numbers held are:
//!
//! | phase | numbers |
//! |---|---|
//! | rollout | weights `P`, moments `2 P`, cache `2 K L` a token of every episode that decodes, logits `V` an episode |
//! | gradient | weights `P`, moments `2 P`, gradients `P` (`2 P` with several micro-batches), activations, logits |
//! | update | weights `P`, moments `2 P`, gradients `P`, three of the largest parameter |
//!
//! The autodiff graph keeps `a = 6 H + 2 Q + 2 K + 3 h T + 3 I` numbers a token and layer: inputs of both norms and their factors (`6 H`), of
//! the attention products (`2 Q + 2 K`), of the softmax (`3 h T`), of the gated product (`3 I`). Activations are `M L a`; with gradient
//! checkpointing `M (L + 1) H + M a`. The vocabulary projection holds `4 V` a row (the logits, their log-softmax and both gradients), for all `R`
//! rows or a chunk of them, and two copies of its matrix.
//!
//! Not counted: the process itself, what the allocator keeps, tool workers. `docs/memory.md` compares with measurements.

use crate::RunConfig;
use paretopo_models::AutoConfig;

/// Gibibytes by part, for each phase of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryPlan {
    /// Scalar parameters.
    pub parameters: u64,
    /// Tokens of the longest episode that the budgets allow.
    pub longest: u64,
    /// The phases, each with its parts.
    pub phases: Vec<(&'static str, Vec<(&'static str, f64)>)>,
}

impl MemoryPlan {
    /// Plans `config` with a model. `prompt` is the length of the longest prompt in tokens; numbers have `bytes` bytes.
    pub fn new(config: &RunConfig, model: &AutoConfig, prompt: usize, bytes: f64) -> Self {
        let shape = Shape::of(model);
        let rollout = &config.rollout;
        let budget = prompt + rollout.max_sampled_tokens + rollout.max_calls * rollout.max_output_tokens;
        let longest = budget.min(model.context()) as f64;
        let train = &config.train;
        let episodes = (train.prompts_per_step * train.rollouts_per_prompt) as f64;
        let tokens = (train.micro_batch_tokens as f64).max(longest);
        let trained = tokens * (rollout.max_sampled_tokens as f64 / longest).min(1.0);
        let several = episodes * longest > tokens;

        let kept = 6.0 * shape.hidden + 2.0 * shape.queries + 2.0 * shape.keys + 3.0 * shape.heads * longest + 3.0 * shape.intermediate;
        let activations = if train.memory.gradient_checkpointing {
            tokens * ((shape.layers + 1.0) * shape.hidden + kept)
        } else {
            tokens * shape.layers * kept
        };
        let rows = if train.memory.logits_chunk == 0 { trained } else { trained.min(train.memory.logits_chunk as f64) };
        let decoding = episodes.min(rollout.batch_size as f64);
        // with checkpointing the gradients of one stage are added at a time
        let whole = if several && !train.memory.gradient_checkpointing { 2.0 } else { 1.0 };

        let gibibytes = |numbers: f64| numbers * bytes / f64::from(1u32 << 30);
        let mut held = vec![("weights", gibibytes(shape.parameters)), ("moments", gibibytes(2.0 * shape.parameters))];
        if config.train.kl.coefficient != 0.0 {
            held.push(("reference model", gibibytes(shape.parameters)));
        }
        let with =
            |more: &[(&'static str, f64)]| [held.clone(), more.iter().map(|(name, size)| (*name, gibibytes(*size))).collect()].concat();
        let phases = vec![
            ("rollout", with(&[("cache", decoding * longest * 2.0 * shape.keys * shape.layers), ("logits", decoding * shape.vocabulary)])),
            (
                "gradient",
                with(&[
                    ("gradients", whole * shape.parameters),
                    ("activations", activations),
                    ("logits", rows * 4.0 * shape.vocabulary + 2.0 * shape.vocabulary * shape.hidden),
                ]),
            ),
            ("update", with(&[("gradients", shape.parameters), ("temporaries", 3.0 * shape.vocabulary * shape.hidden)])),
        ];
        Self { parameters: shape.parameters as u64, longest: longest as u64, phases }
    }

    /// Gibibytes of the largest phase.
    pub fn peak(&self) -> f64 {
        self.phases.iter().map(|(_, parts)| parts.iter().map(|(_, size)| size).sum()).fold(0.0, f64::max)
    }
}

/// The numbers of the formulas above.
struct Shape {
    parameters: f64,
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
        let [vocabulary, hidden, intermediate, layers, heads] =
            [config.vocab_size, config.hidden_size, config.intermediate_size, config.num_hidden_layers, config.num_attention_heads]
                .map(|number| number as f64);
        let (queries, keys) = ((config.num_attention_heads * head_dim) as f64, (kv_heads * head_dim) as f64);
        let layer = hidden * (2.0 * queries + 2.0 * keys) + 3.0 * hidden * intermediate;
        let matrices = if config.tie_word_embeddings { 1.0 } else { 2.0 };
        let parameters = matrices * vocabulary * hidden + layers * layer;
        Self { parameters, vocabulary, hidden, intermediate, layers, heads, queries, keys }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two layers of width 8, 2 query heads and 1 key-value head of 4 features, feed-forward 16, 10 tokens known, tied.
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
        let settings: Vec<String> = settings.iter().chain(changes).map(ToString::to_string).collect();
        // numbers of a gibibyte each, so that the plan counts numbers
        MemoryPlan::new(&RunConfig::parse("", "test", &settings).unwrap(), &model(), 5, f64::from(1u32 << 30))
    }

    #[test]
    fn parts_by_hand() {
        let sums = |plan: &MemoryPlan, phase: usize| plan.phases[phase].1.clone();
        let plain = plan(&[]);
        // layer: q 8*8, k and v 8*4 each, o 8*8, three of 8*16: 64 + 64 + 64 + 384 = 576; with the embedding 10*8: 2*576 + 80
        assert_eq!(plain.parameters, 1232);
        // 5 + 10 + 2*5
        assert_eq!(plain.longest, 25);
        // 3 episodes of 25 tokens with 2*4*2 numbers each; 3 rows of 10 logits
        assert_eq!(sums(&plain, 0), [("weights", 1232.0), ("moments", 2464.0), ("cache", 1200.0), ("logits", 30.0)]);
        // a token and layer keep 6*8 + 2*8 + 2*4 + 3*2*25 + 3*16 = 270; 50 tokens, 2 layers; 20 trained rows of 4*10, and 2*80
        assert_eq!(sums(&plain, 1)[2..], [("gradients", 2464.0), ("activations", 27_000.0), ("logits", 960.0)]);
        assert_eq!(sums(&plain, 2)[2..], [("gradients", 1232.0), ("temporaries", 240.0)]);
        assert_eq!(plain.peak(), 1232.0 + 2464.0 + 2464.0 + 27_000.0 + 960.0);
        // 50 tokens: 3 inputs of 8, and one layer's 270; chunks of 5 rows of 4*10, and 2*80
        let lean = plan(&["train.memory={ gradient_checkpointing = true, logits_chunk = 5 }"]);
        assert_eq!(sums(&lean, 1)[2..], [("gradients", 1232.0), ("activations", 14_700.0), ("logits", 360.0)]);
        let reference = plan(&["train.kl.coefficient=0.1"]);
        assert_eq!(sums(&reference, 2)[2], ("reference model", 1232.0));
        // the model's own limit, where it is shorter
        assert_eq!(plan(&["rollout.max_sampled_tokens=500"]).longest, 100);
    }
}
