//! A family of models that this project does not have, brought by a crate that uses public items
//! alone: a layer of gated linear recurrence, then one of our attention. What the recurrence
//! remembers is a vector, not columns. The engine must serve it row by row as if each row were
//! alone, and the recipes must train it.

use crate::prompts::rollout;
use crate::{Plain, Tracked, assert_close, both, checkout, plain, python_worker, rows_of};
use burn::module::{AutodiffModule, Module, Param};
use burn::nn::Embedding;
use burn::tensor::activation::sigmoid;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use paretopo_engine::Engine;
use paretopo_environments::Resources;
use paretopo_models::layers::{
    Attention, AttentionState, DecoderShape, Differences, HeadLayout, Projection, RmsNorm,
    RopeParameters, RotaryEmbedding, unembed,
};
use paretopo_models::{
    CausalLm, DecodingState, Footprint, ForwardInput, Kernels, LayerFootprint, LayerState,
    LinearMap, ModelConfig, ModelFamily, Placement, initialize, load_folder, named_parameters,
    select_rows, tensor_bytes, to_host,
};
use paretopo_training::{
    GradientSum, MemoryConfig, MicroBatch, RunConfig, Surroundings, TrainingSequence,
    accumulate_gradient, sft, train,
};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::path::Path;

/// A `config.json` of this family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct HybridConfig {
    vocab_size: usize,
    hidden_size: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    eos_token_id: u32,
}

impl HybridConfig {
    /// One layer of attention with as many key-value heads as query heads.
    fn shape(&self, kernels: &Kernels) -> Result<DecoderShape, String> {
        let head_dim = self.hidden_size / self.num_attention_heads;
        Ok(DecoderShape {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: 0,
            layers: 1,
            heads: self.num_attention_heads,
            kv_heads: self.num_attention_heads,
            head_dim,
            rms_norm_eps: 1e-6,
            differences: Differences::default(),
            rotary: RotaryEmbedding::new(head_dim, 1e4, &RopeParameters::default())?,
            kernels: kernels.clone(),
        })
    }
}

const RECURRENT: [&str; 3] = ["recurrence.gate_proj", "recurrence.value_proj", "recurrence.o_proj"];
const ATTENDING: [&str; 4] =
    ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];

impl ModelConfig for HybridConfig {
    fn check(&self) -> Result<(), String> {
        self.shape(&Kernels::none()).map(drop)
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn context(&self) -> usize {
        self.max_position_embeddings
    }

    fn initializer_range(&self) -> f32 {
        0.1
    }

    fn class_name(&self) -> &'static str {
        "HybridForCausalLM"
    }

    fn footprint(&self) -> Footprint {
        let (hidden, heads) = (self.hidden_size as f64, self.num_attention_heads as f64);
        let recurrent = LayerFootprint {
            count: 1.0,
            parameters: 3.0 * hidden * hidden,
            state_per_token: 0.0,
            state: hidden,
            kept_single: 3.0 * hidden,
            kept_per_pair: 0.0,
            kept: 5.0 * hidden,
        };
        let attending = LayerFootprint {
            parameters: 4.0 * hidden * hidden,
            state_per_token: 2.0 * hidden,
            state: 0.0,
            kept_per_pair: 3.0 * heads,
            kept: 4.0 * hidden,
            ..recurrent
        };
        let vocab_size = self.vocab_size as f64;
        Footprint {
            parameters: 2.0 * vocab_size * hidden + 7.0 * hidden * hidden,
            vocab_size,
            hidden_size: hidden,
            largest_parameter: vocab_size * hidden,
            layers: vec![recurrent, attending],
        }
    }

    fn linear_maps(&self) -> Box<dyn Iterator<Item = LinearMap> + '_> {
        Box::new(RECURRENT.into_iter().chain(ATTENDING).map(|key| LinearMap {
            key: key.into(),
            d_input: self.hidden_size,
            d_output: self.hidden_size,
        }))
    }
}

/// `h = a h + (1 - a) v` with `a = sigmoid(y G)`, `v = y V` of the normalised input `y`; the output
/// is `x + h O`.
#[derive(Module, Debug)]
struct Recurrence<B: Backend> {
    norm: RmsNorm<B>,
    gate_proj: Projection<B>,
    value_proj: Projection<B>,
    o_proj: Projection<B>,
}

#[derive(Module, Debug)]
struct Hybrid<B: Backend> {
    embed_tokens: Embedding<B>,
    recurrence: Recurrence<B>,
    input_layernorm: RmsNorm<B>,
    self_attn: Attention<B>,
    norm: RmsNorm<B>,
    lm_head: Projection<B>,
    heads: usize,
    #[module(skip)]
    rotary: RotaryEmbedding,
    #[module(skip)]
    kernels: Kernels,
}

/// What a layer remembers: `h`, `[rows, hidden_size]`, or keys and values.
#[derive(Clone, Debug)]
enum HybridState<B: Backend> {
    Recurrent(Tensor<B, 2>),
    Attending(AttentionState<B>),
}

impl<B: Backend> LayerState<B> for HybridState<B> {
    fn select(self, rows: &[usize]) -> Self {
        match self {
            Self::Recurrent(h) => Self::Recurrent(select_rows(h, rows)),
            Self::Attending(state) => Self::Attending(state.select(rows)),
        }
    }

    fn merge(self, below: Self) -> Self {
        match (self, below) {
            (Self::Recurrent(h), Self::Recurrent(below)) => {
                Self::Recurrent(Tensor::cat(vec![h, below], 0))
            }
            (Self::Attending(state), Self::Attending(below)) => Self::Attending(state.merge(below)),
            _ => unreachable!("a layer merges with itself"),
        }
    }

    fn pad_front(self, columns: usize) -> Self {
        match self {
            Self::Attending(state) => Self::Attending(state.pad_front(columns)),
            recurrent => recurrent,
        }
    }

    fn trim_front(self, columns: usize) -> Self {
        match self {
            Self::Attending(state) => Self::Attending(state.trim_front(columns)),
            recurrent => recurrent,
        }
    }

    fn has_columns(&self) -> bool {
        match self {
            Self::Recurrent(_) => false,
            Self::Attending(state) => state.has_columns(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Recurrent(h) => tensor_bytes(h),
            Self::Attending(state) => state.bytes(),
        }
    }
}

#[derive(Clone, Debug)]
struct HybridLayout<B: Backend> {
    heads: HeadLayout<B>,
    /// 1 at real tokens and 0 at padding, `[batch, time, 1]`; `None` without padding.
    real: Option<Tensor<B, 3>>,
    shape: [usize; 2],
}

impl<B: Backend> Recurrence<B> {
    fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HybridLayout<B>,
        state: Option<&mut HybridState<B>>,
    ) -> Tensor<B, 2> {
        let ([batch, time], [tokens, size]) = (layout.shape, x.dims());
        let y = self.norm.forward(x.clone());
        let dropout = layout.heads.dropout;
        let gate = sigmoid(self.gate_proj.forward(y.clone(), dropout));
        let value = self.value_proj.forward(y, dropout).reshape([batch, time, size]);
        let gate = gate.reshape([batch, time, size]);
        // a gate of 1 leaves the state as it is
        let gate = match &layout.real {
            Some(real) => gate * real.clone() + (real.clone().neg() + 1.0),
            None => gate,
        };
        let mut h = match &state {
            Some(HybridState::Recurrent(h)) => h.clone(),
            _ => Tensor::zeros([batch, size], &x.device()),
        };
        let mut outputs = Vec::with_capacity(time);
        for place in 0..time {
            let at =
                |tensor: &Tensor<B, 3>| tensor.clone().narrow(1, place, 1).reshape([batch, size]);
            let gate = at(&gate);
            h = gate.clone() * h + (gate.neg() + 1.0) * at(&value);
            outputs.push(h.clone().reshape([batch, 1, size]));
        }
        if let Some(state) = state {
            *state = HybridState::Recurrent(h);
        }
        let h = Tensor::cat(outputs, 1).reshape([tokens, size]);
        x + self.o_proj.forward(h, dropout)
    }
}

impl<B: Backend> CausalLm<B> for Hybrid<B> {
    type State = HybridState<B>;
    type Layout = HybridLayout<B>;

    fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    fn empty_state(&self, rows: usize) -> DecodingState<B, HybridState<B>> {
        let weight = self.embed_tokens.weight.val();
        let h = Tensor::zeros([rows, weight.dims()[1]], &weight.device());
        let attention = AttentionState::empty(rows);
        let layers = vec![HybridState::Recurrent(h), HybridState::Attending(attention)];
        DecodingState::new(layers, rows)
    }

    fn layout(&self, input: &ForwardInput<B>) -> HybridLayout<B> {
        let shape @ [batch, time] = input.tokens.dims();
        let is_padded = input.real.iter().any(|real| !real);
        let values: Vec<f32> =
            input.real.iter().map(|real| if *real { 1.0 } else { 0.0 }).collect();
        let mask = TensorData::new(values, [batch, time, 1]);
        HybridLayout {
            heads: HeadLayout::new(input, &self.rotary, self.heads, self.heads, &self.kernels),
            real: is_padded.then(|| Tensor::from_data(mask, &input.tokens.device())),
            shape,
        }
    }

    fn embed(&self, input: &ForwardInput<B>) -> Tensor<B, 2> {
        let [batch, time] = input.tokens.dims();
        self.embed_tokens.weight.val().select(0, input.tokens.clone().reshape([batch * time]))
    }

    fn depth(&self) -> usize {
        2
    }

    fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        layout: &HybridLayout<B>,
        state: Option<&mut HybridState<B>>,
    ) -> Tensor<B, 2> {
        if index == 0 {
            return self.recurrence.forward(x, layout, state);
        }
        let state = state.map(|state| match state {
            HybridState::Attending(state) => state,
            HybridState::Recurrent(_) => unreachable!("the second layer attends"),
        });
        let y = self.input_layernorm.forward(x.clone());
        x + self.self_attn.forward(y, &layout.heads, state)
    }

    fn final_norm(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.norm.forward(x)
    }

    fn projections_mut(&mut self) -> Vec<(String, &mut Projection<B>)> {
        let (recurrence, attention) = (&mut self.recurrence, &mut self.self_attn);
        let maps = [
            &mut recurrence.gate_proj,
            &mut recurrence.value_proj,
            &mut recurrence.o_proj,
            &mut attention.q_proj,
            &mut attention.k_proj,
            &mut attention.v_proj,
            &mut attention.o_proj,
        ];
        RECURRENT.into_iter().chain(ATTENDING).map(str::to_owned).zip(maps).collect()
    }

    fn unembed(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        unembed(Some(&self.lm_head), &self.embed_tokens, hidden)
    }
}

#[derive(Clone, Copy, Debug)]
struct HybridFamily;

impl ModelFamily for HybridFamily {
    type Config = HybridConfig;
    type Model<B: Backend> = Hybrid<B>;

    fn init<B: Backend>(config: &HybridConfig, place: &Placement<B>) -> Result<Hybrid<B>, String> {
        let (size, device, kernels) = (config.hidden_size, &place.device, &place.kernels);
        let shape = config.shape(kernels)?;
        let norm = || RmsNorm::new(size, shape.rms_norm_eps, kernels, device);
        let map = |output| Projection::new(size, output, false, device);
        let embedding = Tensor::zeros([config.vocab_size, size], device);
        Ok(Hybrid {
            embed_tokens: Embedding { weight: Param::from_tensor(embedding) },
            recurrence: Recurrence {
                norm: norm(),
                gate_proj: map(size),
                value_proj: map(size),
                o_proj: map(size),
            },
            input_layernorm: norm(),
            self_attn: Attention::new(&shape, device),
            norm: norm(),
            lm_head: map(config.vocab_size),
            heads: shape.heads,
            rotary: shape.rotary,
            kernels: kernels.clone(),
        })
    }

    fn valid<B: AutodiffBackend>(model: &Hybrid<B>) -> Hybrid<B::InnerBackend> {
        model.valid()
    }
}

fn config(vocab_size: usize) -> HybridConfig {
    HybridConfig {
        vocab_size,
        hidden_size: 16,
        num_attention_heads: 2,
        max_position_embeddings: 256,
        eos_token_id: 4,
    }
}

/// Weights large enough that a wrong state shows in the logits.
fn model<B: Backend>(place: &Placement<B>) -> Hybrid<B> {
    initialize(HybridFamily::init(&config(50), place).unwrap(), 0.4, 7)
}

/// The logits behind the last id, by a plain pass over the whole sequence.
fn alone(model: &Hybrid<Plain>, ids: &[u32]) -> Vec<f32> {
    let input = ForwardInput::right_padded(&[ids], &Default::default());
    let hidden = model.hidden(&input, None).narrow(1, ids.len() - 1, 1);
    to_host(model.unembed(hidden))
}

/// Some ids that look random.
fn ids(seed: u32, count: usize) -> Vec<u32> {
    (0..count as u32).map(|place| (seed * 31 + place * 17 + place * place * 5) % 50).collect()
}

/// An engine, and what each of its rows has read.
struct Scene<'a> {
    model: &'a Hybrid<Plain>,
    engine: Engine<'a, Plain, Hybrid<Plain>>,
    read: Vec<Vec<u32>>,
}

impl Scene<'_> {
    fn admit(&mut self, prompts: &[&[u32]]) {
        let first = self.read.len();
        let rows: Vec<(usize, &[u32])> =
            prompts.iter().enumerate().map(|(row, prompt)| (first + row, *prompt)).collect();
        let logits = rows_of(self.engine.admit(&rows));
        self.read.extend(prompts.iter().map(|prompt| prompt.to_vec()));
        for ((key, prompt), logits) in rows.iter().zip(logits) {
            assert_close(&logits, &alone(self.model, prompt), 1e-4, &format!("prompt {key}"));
        }
    }

    /// A token for each row but those for which `idle` holds.
    fn step(&mut self, token: u32, idle: impl Fn(usize) -> bool) {
        let keys = self.engine.keys().to_vec();
        let next = |key: usize| (!idle(key)).then_some((token + key as u32) % 50);
        let tokens: Vec<Option<u32>> = keys.iter().map(|key| next(*key)).collect();
        let logits = rows_of(self.engine.step(&tokens));
        for ((key, token), logits) in keys.iter().zip(tokens).zip(logits) {
            let Some(token) = token else { continue };
            self.read[*key].push(token);
            let want = alone(self.model, &self.read[*key]);
            let what = format!("row {key} behind {} ids", self.read[*key].len());
            assert_close(&logits, &want, 1e-4, &what);
        }
    }

    fn extend(&mut self, blocks: &[(usize, &[u32])]) {
        let logits = rows_of(self.engine.extend(blocks));
        for ((key, block), logits) in blocks.iter().zip(logits) {
            self.read[*key].extend_from_slice(block);
            let want = alone(self.model, &self.read[*key]);
            assert_close(&logits, &want, 1e-4, &format!("block of row {key}"));
        }
    }
}

#[test]
fn a_rows_logits_do_not_depend_on_its_neighbours() {
    let place = plain::<Plain>();
    let model = model(&place);
    let engine = Engine::new(&model, &place.device);
    let mut scene = Scene { model: &model, engine, read: Vec::new() };
    let all = ids(3, 60);
    // rows 0 and 1 share a prompt, row 2 is shorter
    scene.admit(&[&all[..9], &all[..9], &all[4..8]]);
    for step in 0..12 {
        // one row after the other has nothing to read
        scene.step(step, |key| step as usize % 4 == key);
    }
    scene.admit(&[&ids(8, 25), &all[..3]]);
    for step in 0..40 {
        match step {
            10 => scene.engine.retire(|key| key == 0),
            15 => scene.extend(&[(2, &all[10..21]), (4, &all[1..3])]),
            20 => scene.admit(&[&all[..40]]),
            // only the longest rows are left, so that leading columns are dropped
            30 => scene.engine.retire(|key| key == 5 || key == 3),
            _ => scene.step(step, |key| key == 1 && step % 3 == 0 || key == 4 && step < 30),
        }
    }
    assert_eq!(scene.engine.keys(), [1, 2, 4]);
}

#[test]
fn what_prompts_begin_with_is_read_once_and_remembered_for_all() {
    let place = plain::<Plain>();
    let model = model(&place);
    let engine = Engine::new(&model, &place.device);
    let mut scene = Scene { model: &model, engine, read: Vec::new() };
    let prompt = |tail: &[u32]| [&ids(5, 40), tail].concat();
    let prompts = [prompt(&[1, 2, 3]), prompt(&[4]), prompt(&[1, 2, 3])];
    scene.engine.share(prompts.iter().map(Vec::as_slice));
    scene.admit(&[&prompts[0], &prompts[1], &prompts[2]]);
    // 40 once and tails of 3 (read once for two rows) and 1
    assert_eq!(scene.engine.tokens_read, 44);
    for step in 0..4 {
        scene.step(step, |key| key == 2 && step == 1);
    }
    // what is shared is not moved by those who went on from it
    scene.admit(&[&prompt(&[9, 9])]);
    scene.step(7, |_| false);
}

#[test]
fn a_state_knows_what_it_holds() {
    let place = plain::<Plain>();
    let model = model(&place);
    let mut state = model.empty_state(3);
    let rows: [&[u32]; 3] = [&ids(1, 5), &[], &ids(2, 2)];
    let input = ForwardInput::cached(&rows, &mut state, &place.device);
    model.hidden(&input, Some(&mut state));
    // h: 3 * 16 numbers; keys and values: 2 * 3 rows * 2 heads * 8 features * 5 columns
    assert_eq!(state.bytes(), 4 * (3 * 16 + 2 * 3 * 2 * 8 * 5));
    // the last row's two tokens are in the last columns
    let state = state.select(&[2, 1]).trim();
    assert_eq!((state.rows(), state.columns(), state.length(0), state.length(1)), (2, 2, 2, 0));
    assert_eq!(state.bytes(), 4 * (2 * 16 + 2 * 2 * 2 * 8 * 2));
    // rows that have read nothing join those that have
    let mut merged = model.empty_state(1).merge(state);
    let rows: [&[u32]; 3] = [&ids(1, 3), &ids(4, 1), &ids(5, 2)];
    let input = ForwardInput::cached(&rows, &mut merged, &place.device);
    let hidden = model.hidden(&input, Some(&mut merged)).narrow(1, 2, 1);
    let logits = to_host(model.unembed(hidden));
    let whole = [rows[0].to_vec(), [&ids(2, 2), rows[1]].concat(), rows[2].to_vec()];
    for (row, whole) in whole.iter().enumerate() {
        let got = &logits[row * 50..(row + 1) * 50];
        assert_close(got, &alone(&model, whole), 1e-4, &format!("merged row {row}"));
    }
}

#[test]
fn gradients_do_not_depend_on_padding_nor_on_what_is_held() {
    let place = plain::<Tracked>();
    let model = model(&place);
    let sequences = [ids(1, 14), ids(2, 5), ids(3, 9)].map(TrainingSequence::whole);
    let gradient = |groups: &[&[TrainingSequence]], memory: MemoryConfig| -> Vec<f32> {
        let mut sum = GradientSum::<Tracked>::default();
        for group in groups {
            let batch = MicroBatch::new(&group.iter().collect::<Vec<_>>(), &place.device);
            let loss = |logprobs: Tensor<Tracked, 2>, _| {
                Ok::<_, Infallible>((logprobs * batch.weights.clone()).sum())
            };
            accumulate_gradient::<HybridFamily, _, _>(
                &model, &batch, memory, false, &mut sum, loss,
            )
            .unwrap();
        }
        sum.parts().iter().flatten().flat_map(|part| to_host(part.clone())).collect()
    };
    let together = gradient(&[&sequences], MemoryConfig::default());
    let held: usize = named_parameters(&model).iter().map(|tensor| tensor.values.len()).sum();
    assert_eq!(together.len(), held);
    let largest = together.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let alone: Vec<&[TrainingSequence]> = sequences.chunks(1).collect();
    let lean = MemoryConfig { gradient_checkpointing: true, logits_chunk: 4 };
    for other in [gradient(&alone, MemoryConfig::default()), gradient(&[&sequences], lean)] {
        assert_close(&other, &together, 1e-5 * largest, "gradient");
    }
}

/// A recurrence's state of a prompt is one for all its rollouts, and so is its gradient.
#[test]
fn rollouts_go_on_from_one_state_of_their_prompt() {
    let sequences = [(1, 50, 9), (2, 43, 12), (3, 50, 1), (4, 43, 3), (5, 50, 12), (6, 50, 2)]
        .map(|(seed, prompt, sampled)| rollout(&ids(7, prompt), seed, sampled));
    let rows: Vec<&TrainingSequence> = sequences.iter().collect();
    for place in both::<Tracked>() {
        let model = model(&place);
        let learned = |groups: &[&[TrainingSequence]], memory: MemoryConfig| -> Vec<f32> {
            let (mut sum, mut found) = (GradientSum::<Tracked>::default(), Vec::new());
            for group in groups {
                let batch = MicroBatch::new(&group.iter().collect::<Vec<_>>(), &place.device);
                let loss = |logprobs: Tensor<Tracked, 2>, _| {
                    for (row, sequence) in rows_of(logprobs.clone().inner()).iter().zip(*group) {
                        found.extend_from_slice(&row[..sequence.weights.len()]);
                    }
                    Ok::<_, Infallible>((logprobs * batch.weights.clone()).sum())
                };
                accumulate_gradient::<HybridFamily, _, _>(
                    &model, &batch, memory, false, &mut sum, loss,
                )
                .unwrap();
            }
            found.extend(sum.parts().iter().flatten().flat_map(|part| to_host(part.clone())));
            found
        };
        // prompts of 50 and 43; 11 read behind five of them, in one pass
        let batch = MicroBatch::<Tracked>::new(&rows, &place.device);
        assert_eq!(batch.tokens(), 2 * 50 + 5 * 11);
        let alone: Vec<&[TrainingSequence]> = sequences.chunks(1).collect();
        let want = learned(&alone, MemoryConfig::default());
        let largest = want.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let lean = MemoryConfig { gradient_checkpointing: true, logits_chunk: 4 };
        for memory in [MemoryConfig::default(), lean] {
            let got = learned(&[&sequences], memory);
            assert_close(&got, &want, 1e-5 * largest, "log-probabilities and gradients");
        }
    }
}

/// Calls a recipe with settings, from the policy in `start`.
fn run(recipe: &str, start: &Path, run: &Path, settings: &[String]) {
    let config = RunConfig::parse("", "test", settings).unwrap();
    let surroundings = Surroundings {
        resources: Resources { python_worker: python_worker(), cache: std::env::temp_dir() },
        cancelled: &crate::scripted::NEVER,
        backend: "test".into(),
        commit: "test",
        policy_folder: start.to_owned(),
        threads: 1,
        sampling_place: paretopo_engine::SamplingPlace::Host,
        collective: std::sync::Arc::new(paretopo_collective::OneProcess),
    };
    let place = plain();
    let recipe =
        if recipe == "sft" { sft::<HybridFamily, Tracked> } else { train::<HybridFamily, Tracked> };
    recipe(&config, run, &place, &surroundings, &mut ()).unwrap();
}

fn metric(run: &Path, name: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let number =
        |line| serde_json::from_str::<serde_json::Value>(line).unwrap()[name].as_f64().unwrap();
    text.lines().map(number).collect()
}

#[test]
fn recipes_train_save_and_resume_a_model_of_another_family() {
    let scratch = tempfile::tempdir().unwrap();
    let (start, taught) = (scratch.path().join("start"), scratch.path().join("taught"));
    std::fs::create_dir(&start).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(checkout("models/tiny-math").join(name), start.join(name)).unwrap();
    }
    let text = serde_json::to_string(&config(160)).unwrap();
    std::fs::write(start.join("config.json"), text).unwrap();
    let common = ["evaluation.tasks=4", "rollout.max_sampled_tokens=12", "workers=1"];
    let settings = |more: &[&str], start: &Path, kind: &str| -> Vec<String> {
        let policy = format!("policy={{ type = \"{kind}\", path = \"{}\" }}", start.display());
        common.iter().chain(more).map(ToString::to_string).chain([policy]).collect()
    };
    let learning = ["sft.steps=30", "sft.batch_size=16", "sft.optimizer.learning_rate=0.02"];
    run("sft", &start, &taught, &settings(&learning, &start, "new"));
    let losses = metric(&taught, "loss");
    // ln(160) = 5.08 before it knows anything
    assert!(losses[0] > 4.5 && losses[29] < 3.5, "{losses:?}");
    let policy = taught.join("policy");
    let (found, model) = load_folder::<HybridFamily, Plain>(&policy, &plain()).unwrap();
    assert_eq!(found, config(160));
    assert!(to_host(model.recurrence.gate_proj.weight.val()).iter().all(|value| *value != 0.0));

    let steps = [
        "train.steps=2",
        "train.prompts_per_step=2",
        "train.rollouts_per_prompt=4",
        "train.validate_every=0",
        "train.checkpoint_every=1",
        "train.kl.coefficient=0.1",
        "train.entropy_coefficient=0.01",
        "train.memory={ gradient_checkpointing = true, logits_chunk = 8 }",
        "lora={ rank = 2 }",
    ];
    let steps = settings(&steps, &policy, "folder");
    let trained = scratch.path().join("trained");
    run("train", &policy, &trained, &steps);
    assert_eq!(metric(&trained, "kl").len(), 2);
    let weights = || std::fs::read(trained.join("adapter/adapter_model.safetensors")).unwrap();
    let whole = weights();
    // the second step once more, from the first one's checkpoint
    for name in ["checkpoints/step-000002", "adapter", "policy"] {
        std::fs::remove_dir_all(trained.join(name)).unwrap();
    }
    std::fs::remove_file(trained.join("evaluation.json")).unwrap();
    run("train", &policy, &trained, &steps);
    assert!(weights() == whole, "resuming changes the adapter");
    let metrics = metric(&trained, "logprob_mismatch");
    // sampler (with state) and trainer (without) agree on the tokens that were sampled
    assert!(metrics.iter().all(|mismatch| *mismatch < 1e-4), "{metrics:?}");
}
