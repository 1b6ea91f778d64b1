//! What memory a training run needs, computed from its configuration and what the model's
//! `config.json` says of itself (`Footprint`), before anything is loaded.
//!
//! With `P` parameters, of which `T` are trained (all, or those of an adapter), `V` tokens known,
//! `L` layers that hand on vectors of width `H`, sequences of `S` tokens and a micro-batch of `M`
//! tokens and `c` bytes a number in the precision of the computation, the bytes held are:
//!
//! | phase | bytes |
//! |---|---|
//! | always | weights `4 P`, with an adapter `c P + 4 T`; moments `8 T`; `4 P` for a reference model, if there is one of its own |
//! | rollout | copy of trained weights `c P` if `c < 4`; packed weights; what layers remember, `c` a number, of every episode that decodes, at most `rollout.cache_mib`; logits `4 V` an episode |
//! | gradient | gradients `4 T s` (`4 T (s + 1)` with several micro-batches; with several workers see below), activations, logits |
//! | update | gradients `4 T`, three of the largest trained parameter |
//!
//! Weights are packed for decoding on the CPU's own backend, in f32 or for
//! `rollout.precision = "bf16"` in half: `4 P` or `2 P`. Backends that do not pack hold less.
//!
//! The autodiff graph keeps `a` bytes a token of each layer, of which the model says the numbers:
//! `a = 4 (kept_single + kept_per_pair S) + c kept`. Activations are the sum of `M a` over the
//! layers; with gradient checkpointing `c M (L + 1) H`, and `M a` of the largest. Trained weights
//! of another precision are cast for the products, which holds `c` bytes for each: for all layers,
//! or the largest. The vocabulary projection holds `16 V` a row (the logits, their log-softmax and
//! both gradients), and two copies of its matrix, `V H` (one if it is frozen). Its rows are a chunk,
//! or all trained tokens of a micro-batch: `M` at most, since prompts are shared, or all that a step
//! samples.
//!
//! Rollouts that share a prompt read it once, and each has a copy of what a layer remembers of it.
//! A micro-batch counts [`REMEMBERED`] such tokens as one, so `a` is at least what they take. What a
//! layer remembers of a sequence as a whole is held twice for each, as it was and as it was copied.
//!
//! Micro-batches are added up in `p` parts (`train.gradient_parts`, or as many as there are
//! micro-batches), and the parts in a binary tree, which holds `s = 1 + log2 p` sums, rounded up.
//!
//! `n` workers hold cast weights, activations and logits `n` times; gradients are then those of
//! each worker's micro-batch, what its backward pass has beside them, and the sums: `4 T (2 n + s)`,
//! with gradient checkpointing `4 T (n + s)`.
//!
//! Each of `r` processes plays its share of the prompts, rounded up, and adds up its share of the
//! parts. With `train.shard_optimizer` it holds moments of `8 T / r`; rank 0 holds all of them while
//! a checkpoint is written, and no gradient then.
//!
//! With `train.max_staleness = k`, `k` versions of what is trained are held besides, `4 k T`, and what
//! a rollout holds is held in every phase.
//!
//! Not counted: the process itself, what the allocator keeps, tool workers. `docs/memory.md`
//! compares with measurements.

use crate::learning::arrangement::REMEMBERED;
use crate::{Precision, RunConfig};
use paretopo_agent::{RolloutPrecision, Workers};
use paretopo_models::{AdapterConfig, Footprint, LayerFootprint, ModelConfig};

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
    pub fn new(
        config: &RunConfig,
        model: &impl ModelConfig,
        prompt: usize,
        threads: usize,
    ) -> Self {
        Self::of_rank(config, model, prompt, threads, 1)
    }

    /// The same for each of so many processes, with `threads` of its own.
    pub fn of_rank(
        config: &RunConfig,
        model: &impl ModelConfig,
        prompt: usize,
        threads: usize,
        ranks: usize,
    ) -> Self {
        let sizes = Sizes::of(config, model, prompt, (threads, ranks));
        let held = sizes.held();
        let played = if config.train.max_staleness > 0 { sizes.rollout() } else { Vec::new() };
        let beside_rollouts = |parts: Vec<Part>| [played.clone(), parts].concat();
        let phase = |name: &'static str, more: Vec<Part>| {
            let parts = held.iter().copied().chain(more).filter(|(_, bytes)| *bytes > 0.0);
            let gibibytes = |(name, bytes)| (name, bytes / f64::from(1u32 << 30));
            (name, parts.map(gibibytes).collect())
        };
        Self {
            parameters: sizes.model.parameters as u64,
            trained: sizes.trained() as u64,
            longest: sizes.longest as u64,
            phases: vec![
                phase("rollout", sizes.rollout()),
                phase("gradient", beside_rollouts(sizes.gradient())),
                phase("update", beside_rollouts(sizes.update())),
            ],
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

/// What is held, and its bytes.
type Part = (&'static str, f64);

/// The numbers of the formulas above.
struct Sizes<'a> {
    config: &'a RunConfig,
    model: Footprint,
    adapter: Option<Adapter>,
    /// Bytes of a number in the precision of the computation.
    number: f64,
    /// Tokens of the longest episode.
    longest: f64,
    /// Episodes of a step.
    episodes: f64,
    /// Tokens of a micro-batch.
    tokens: f64,
    /// Workers that share a step's micro-batches.
    workers: f64,
    /// Processes that share the step.
    ranks: f64,
}

impl<'a> Sizes<'a> {
    fn of(
        config: &'a RunConfig,
        model: &impl ModelConfig,
        prompt: usize,
        (threads, ranks): (usize, usize),
    ) -> Self {
        let (rollout, train) = (&config.rollout, &config.train);
        let outputs = rollout.max_calls * rollout.max_output_tokens;
        let budget = prompt + rollout.max_sampled_tokens + outputs;
        let longest = budget.min(model.context()) as f64;
        let prompts = train.prompts_per_step.div_ceil(ranks);
        let episodes = (prompts * train.rollouts_per_prompt) as f64;
        let tokens = (train.micro_batch_tokens as f64).max(longest);
        let footprint = model.footprint();
        let micro_batches = (episodes * longest / train.minibatches as f64 / tokens).ceil();
        let suitable = Workers::suitable(config.workers, threads, footprint.parameters as u64);
        Self {
            config,
            model: footprint,
            adapter: config.lora.as_ref().map(|lora| Adapter::of(lora, model)),
            number: config.precision.bytes(),
            longest,
            episodes,
            tokens,
            workers: (suitable as f64).min(micro_batches.max(1.0)),
            ranks: ranks as f64,
        }
    }

    /// Scalars that are trained.
    fn trained(&self) -> f64 {
        self.adapter.as_ref().map_or(self.model.parameters, |adapter| adapter.parameters)
    }

    /// Trained weights are cast for use if the precision is another; frozen ones are held in it.
    fn cast(&self) -> f64 {
        let is_cast = self.adapter.is_none() && self.config.precision != Precision::F32;
        if is_cast { self.number } else { 0.0 }
    }

    /// Bytes of a weight that is packed for rollouts.
    fn packed(&self) -> f64 {
        match (self.config.rollout.precision, self.config.precision) {
            (RolloutPrecision::Bf16, _) => 2.0,
            (RolloutPrecision::Same, Precision::F32) => F32,
            (RolloutPrecision::Same, _) => 0.0,
        }
    }

    /// What is held in every phase.
    fn held(&self) -> Vec<Part> {
        let (parameters, trained) = (self.model.parameters, self.trained());
        let owners = if self.config.train.shard_optimizer { self.ranks } else { 1.0 };
        let moments = ("moments", 2.0 * F32 * trained / owners);
        let versions = self.config.train.max_staleness as f64 * F32 * trained;
        let versions = ("earlier versions", versions);
        if self.adapter.is_some() {
            return vec![("weights", self.number * parameters + F32 * trained), moments, versions];
        }
        let has_reference = self.config.train.kl.coefficient.get() != 0.0;
        let reference = if has_reference { F32 * parameters } else { 0.0 };
        vec![("weights", F32 * parameters), moments, versions, ("reference model", reference)]
    }

    fn rollout(&self) -> Vec<Part> {
        let decoding = self.episodes.min(self.config.rollout.batch_size as f64);
        let remembered =
            |layer: &LayerFootprint| layer.state_per_token * self.longest + layer.state;
        let needed = decoding * self.number * self.model.over_layers(remembered);
        let cache = match self.config.rollout.cache_mib {
            0 => needed,
            allowed => needed.min(allowed as f64 * f64::from(1u32 << 20)),
        };
        vec![
            ("copy", self.cast() * self.model.parameters),
            ("packed weights", self.packed() * self.model.parameters),
            ("cache", cache),
            ("logits", decoding * F32 * self.model.vocab_size),
        ]
    }

    fn gradient(&self) -> Vec<Part> {
        let checkpointing = self.config.train.memory.gradient_checkpointing;
        let weights = |layer: &LayerFootprint| layer.parameters;
        let cast = match checkpointing {
            true => self.model.largest_layer(weights),
            false => self.model.over_layers(weights),
        };
        vec![
            ("gradients", self.gradients(checkpointing) * F32 * self.trained()),
            ("cast weights", self.workers * self.cast() * cast),
            ("activations", self.workers * self.activations(checkpointing)),
            ("logits", self.workers * self.logits()),
        ]
    }

    /// How many times gradients of all that is trained are held.
    fn gradients(&self, checkpointing: bool) -> f64 {
        let micro_batches = (self.episodes * self.longest / self.tokens).ceil().max(1.0);
        let parts = self.config.train.parts(self.trained() as u64).max(self.ranks as usize);
        let own = (parts as f64 / self.ranks).ceil().min(micro_batches);
        let sums = 1.0 + own.log2().ceil();
        // with checkpointing the gradients of one stage are added at a time
        if self.workers > 1.0 {
            return sums + self.workers * if checkpointing { 1.0 } else { 2.0 };
        }
        if micro_batches > 1.0 && !checkpointing { sums + 1.0 } else { sums }
    }

    fn activations(&self, checkpointing: bool) -> f64 {
        let rows = self.episodes.min(self.tokens);
        let kept = |layer: &LayerFootprint| {
            let single = layer.kept_single + layer.kept_per_pair * self.longest;
            let read = F32 * single + self.number * layer.kept;
            let remembered = REMEMBERED as f64 * self.number * layer.state_per_token;
            self.tokens * read.max(remembered) + 2.0 * rows * self.number * layer.state
        };
        if !checkpointing {
            return self.model.over_layers(kept);
        }
        let inputs = self.number * (self.model.depth() + 1.0) * self.model.hidden_size;
        self.tokens * inputs + self.model.largest_layer(kept)
    }

    fn logits(&self) -> f64 {
        let sampled = self.config.rollout.max_sampled_tokens as f64;
        let rows = self.tokens.min(self.episodes * sampled);
        let rows = match self.config.train.memory.logits_chunk {
            0 => rows,
            chunk => rows.min(chunk as f64),
        };
        let matrices = if self.adapter.is_some() { self.number } else { 2.0 * F32 };
        let projection = self.model.vocab_size * self.model.hidden_size;
        rows * 4.0 * F32 * self.model.vocab_size + matrices * projection
    }

    fn update(&self) -> Vec<Part> {
        let largest = match &self.adapter {
            Some(adapter) => adapter.largest_parameter,
            None => self.model.largest_parameter,
        };
        vec![("gradients", F32 * self.trained()), ("temporaries", 3.0 * F32 * largest)]
    }
}

/// The numbers of an adapter.
struct Adapter {
    parameters: f64,
    largest_parameter: f64,
}

impl Adapter {
    fn of(lora: &AdapterConfig, model: &impl ModelConfig) -> Self {
        let rank = lora.rank as f64;
        let (mut parameters, mut widest) = (0.0, 0);
        for map in model.linear_maps() {
            widest = widest.max(map.d_input).max(map.d_output);
            if lora.targets_key(&map.key) {
                parameters += rank * (map.d_input as f64 + map.d_output as f64);
            }
        }
        Self { parameters, largest_parameter: rank * widest as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_models::{AutoConfig, LinearMap};
    use serde::{Deserialize, Serialize};

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

    fn config(changes: &[&str]) -> RunConfig {
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
        RunConfig::parse("", "test", &settings).unwrap()
    }

    fn plan_of(model: &impl ModelConfig, changes: &[&str]) -> MemoryPlan {
        MemoryPlan::new(&config(changes), model, 5, 1)
    }

    fn plan(changes: &[&str]) -> MemoryPlan {
        plan_of(&model(), changes)
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
            [
                ("weights", 4928.0),
                ("moments", 9856.0),
                ("packed weights", 4928.0),
                ("cache", 4800.0),
                ("logits", 120.0)
            ]
        );
        assert_eq!(parts(&plan(&["rollout.precision=bf16"]), 0)[2], ("packed weights", 2464.0));
        let ahead = plan(&["train.max_staleness=2"]);
        assert_eq!(parts(&ahead, 0)[2], ("earlier versions", 9856.0));
        assert_eq!(parts(&ahead, 2)[3..6], parts(&plain, 0)[2..]);
        // a token and layer keep 6*8 + 3*2*25 + 2*8 + 2*4 + 3*16 = 270; 50 tokens, 2 layers:
        // 27,000; 50 trained rows of 4*10, of 8 episodes with 10 each, and 2*80: 2160; four
        // micro-batches in four parts: two sums beside the one that grows, and a backward pass's
        assert_eq!(
            parts(&plain, 1)[2..],
            [("gradients", 19_712.0), ("activations", 108_000.0), ("logits", 8640.0)]
        );
        assert_eq!(parts(&plain, 2)[2..], [("gradients", 4928.0), ("temporaries", 960.0)]);
        assert_eq!(
            (plain.peak() * GIBIBYTE).round(),
            4928.0 + 9856.0 + 19_712.0 + 108_000.0 + 8640.0
        );
        // 50 tokens: 3 inputs of 8, and one layer's 270: 14,700; chunks of 5 rows of 4*10, and
        // 2*80: 360
        let lean = plan(&["train.memory={ gradient_checkpointing = true, logits_chunk = 5 }"]);
        assert_eq!(
            parts(&lean, 1)[2..],
            [("gradients", 14_784.0), ("activations", 58_800.0), ("logits", 1440.0)]
        );
        // two processes: 4 episodes each, two parts of two micro-batches: one more sum, and half of
        // the moments
        let shared = config(&["train.shard_optimizer=true"]);
        let rank = MemoryPlan::of_rank(&shared, &model(), 5, 1, 2);
        assert_eq!(parts(&rank, 1)[1..3], [("moments", 4928.0), ("gradients", 14_784.0)]);
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
            [("gradients", 1344.0), ("activations", 49_200.0), ("logits", 960.0)]
        );
        assert_eq!(parts(&adapter, 2)[2..], [("gradients", 448.0), ("temporaries", 384.0)]);
    }

    /// A model with numbers of its own: three layers that read a part of their 1000 parameters and
    /// remember a vector, and one that remembers tokens.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Mixture;

    impl ModelConfig for Mixture {
        fn check(&self) -> Result<(), String> {
            Ok(())
        }

        fn vocab_size(&self) -> usize {
            10
        }

        fn context(&self) -> usize {
            100
        }

        fn initializer_range(&self) -> f32 {
            0.02
        }

        fn class_name(&self) -> &'static str {
            "Mixture"
        }

        fn footprint(&self) -> Footprint {
            let sparse = LayerFootprint {
                count: 3.0,
                parameters: 1000.0,
                state_per_token: 0.0,
                state: 7.0,
                kept_single: 2.0,
                kept_per_pair: 0.0,
                kept: 5.0,
            };
            let dense = LayerFootprint {
                count: 1.0,
                parameters: 200.0,
                state_per_token: 6.0,
                state: 0.0,
                kept_per_pair: 1.0,
                ..sparse
            };
            Footprint {
                parameters: 3240.0,
                vocab_size: 10.0,
                hidden_size: 4.0,
                largest_parameter: 500.0,
                layers: vec![sparse, dense],
            }
        }

        fn linear_maps(&self) -> Box<dyn Iterator<Item = LinearMap> + '_> {
            Box::new(std::iter::empty())
        }
    }

    #[test]
    fn a_model_of_another_kind_states_its_own_numbers() {
        let of = |more: &[&str]| {
            let plan = plan_of(&Mixture, &[&["precision=bf16"], more].concat());
            move |phase: usize, part: &str| {
                let parts = &plan.phases[phase].1;
                let (_, size) = parts.iter().find(|(name, _)| *name == part).unwrap();
                (size * GIBIBYTE).round()
            }
        };
        let plain = of(&[]);
        // 3 episodes of 25 tokens: 3 layers with 7 numbers, one with 6 a token; 2 bytes each
        assert_eq!(plain(0, "cache"), 3.0 * 2.0 * (3.0 * 7.0 + 6.0 * 25.0));
        // 40,000 episodes need 342 bytes each, as above: 13.0 MiB
        let bounded = of(&[
            "rollout.cache_mib=10",
            "rollout.batch_size=40000",
            "train.prompts_per_step=10000",
        ]);
        assert_eq!(bounded(0, "cache"), 10.0 * 1_048_576.0);
        // 3 layers with 1000 parameters and one with 200
        assert_eq!(plain(1, "cast weights"), 2.0 * 3200.0);
        // 50 tokens; a sparse layer keeps 4*2 + 2*5 = 18 bytes, the dense 4*(2 + 25) + 2*5 = 118
        // a sparse one has the 7 numbers of 8 episodes twice; 8 tokens that the dense one remembers
        // are 8*2*6 = 96 bytes, less than a token that it reads
        let state = 2.0 * 8.0 * 2.0 * 7.0;
        assert_eq!(plain(1, "activations"), 50.0 * (3.0 * 18.0 + 118.0) + 3.0 * state);
        assert_eq!(plain(2, "temporaries"), 3.0 * 4.0 * 500.0);
        let lean = of(&["train.memory={ gradient_checkpointing = true }"]);
        // the largest layer's weights and activations, and the inputs of 4 layers and of the norm
        assert_eq!(lean(1, "cast weights"), 2.0 * 1000.0);
        assert_eq!(lean(1, "activations"), 50.0 * (2.0 * 5.0 * 4.0 + 118.0));
    }
}
