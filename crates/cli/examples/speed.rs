//! One speed measurement, as a JSON line, for `experiments/speed/compare.py` (`just bench-peers`).
//!
//! ```text
//! speed MODEL decode BATCH PROMPT NEW      read random prompts, sample at temperature 1, record log-probabilities
//! speed MODEL group ROWS PROMPT NEW        the same for rows that share one prompt
//! speed MODEL train SEQUENCES TIME BUDGET  forward, cross-entropy on all ids, backward, AdamW; micro-batches of BUDGET tokens
//! speed MODEL rollouts ROWS PROMPT NEW     the same for rows that share a prompt, on what is behind it; TOGETHER of them (all) in a micro-batch
//! speed MODEL step ROWS PROMPT NEW         a whole step: packing, rollouts of one prompt, and training on them
//! ```
//!
//! MODEL is a checkpoint folder; one with a `config.json` and no weights stands for random weights.
//! `PACKED=none` decodes without packed matrices, `PACKED=bf16` with weights in bf16; `WORKERS=n`
//! by so many workers in place of as many as suit. A first round that is not counted warms up.
//!
//! `phases` of the line has what the counted round went into: seconds, what was resident behind it
//! and the most that was, in MiB. `decode` consists of `decode/model`, `decode/sampling` and the
//! keeping of rows. Workers are at their phases at the same time: seconds are those of the slowest
//! one in decoding and the mean in training, as a run's metrics have it, memory is that of all of
//! them. What is freed stays resident, since it is kept for the next operation.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use burn::backend::Autodiff;
use burn::module::Module;
use burn_flex::Flex;
use paretopo_agent::{Weights, Workers};
use paretopo_engine::{LocalGenerators, SamplingPlace, StateSize};
use paretopo_generation::{
    Event, GenerationSettings, Generators, Recorded, Row as GeneratedRow, SamplingConfig,
};
use paretopo_models::{
    AutoConfig, AutoFamily, AutoModel, CausalLm, ModelConfig, ModelFamily, PackedWeights,
    Placement, initialize, load_folder, read_config,
};
use paretopo_training::{
    AdamW, GradientSum, MemoryConfig, MicroBatch, OptimizerConfig, TrainingSequence,
    accumulate_gradient, total_gradient,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

type Tracked = Autodiff<Flex>;

/// Freed memory is kept for the next operation, as the program itself does.
fn keep_freed_memory() {
    // SAFETY: `mallopt` only sets parameters of the allocator.
    #[expect(unsafe_code, reason = "the setting has no safe interface")]
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}

fn load<B: burn::tensor::backend::Backend>(folder: &Path) -> (AutoConfig, AutoModel<B>) {
    let kernels = paretopo_backend_flex::kernels();
    let place = Placement::<B> { device: Default::default(), kernels };
    if folder.join("model.safetensors").exists() {
        return load_folder::<AutoFamily, B>(folder, &place).unwrap();
    }
    let config = read_config::<AutoFamily>(folder).unwrap();
    let model = AutoFamily::init(&config, &place).unwrap();
    let model = initialize(model, config.initializer_range(), 1);
    (config, model)
}

/// As the program does: one for each thread.
fn workers<B: burn::tensor::backend::Backend>(model: &AutoModel<B>) -> Workers {
    let threads = rayon::current_num_threads();
    Workers::new(Workers::suitable(0, threads, model.num_params() as u64), threads).unwrap()
}

fn random_ids(rng: &mut ChaCha8Rng, config: &AutoConfig, count: usize) -> Vec<u32> {
    (0..count).map(|_| rng.random_range(0..config.vocab_size() as u32)).collect()
}

/// The most KiB that were resident so far.
static MOST: AtomicU64 = AtomicU64::new(0);

/// MiB that are resident, and the most that were since the last call.
#[derive(Clone, Copy)]
struct Memory {
    resident: f64,
    peak: f64,
}

impl Memory {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kibibytes = |field: &str| {
            let line = status.lines().find(|line| line.starts_with(field)).unwrap_or("VmRSS: 0 kB");
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let (resident, peak) = (kibibytes("VmRSS"), kibibytes("VmHWM"));
        MOST.fetch_max(peak, Ordering::Relaxed);
        // where this is not allowed, a peak is that of all phases so far
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { resident: resident as f64 / 1024.0, peak: peak as f64 / 1024.0 }
    }

    /// The larger of each.
    fn max(self, other: Self) -> Self {
        Self { resident: self.resident.max(other.resident), peak: self.peak.max(other.peak) }
    }
}

/// A part of the work.
#[derive(Clone, Copy)]
struct Phase {
    name: &'static str,
    seconds: f64,
    /// None of a part of which there are many, between other parts.
    memory: Option<Memory>,
}

impl Phase {
    /// One that has just ended.
    fn ended(name: &'static str, started: Instant) -> Self {
        let seconds = started.elapsed().as_secs_f64();
        Self { name, seconds, memory: Some(Memory::now()) }
    }

    /// The same phase of two workers.
    fn together(self, other: Self, seconds: impl Fn(f64, f64) -> f64) -> Self {
        let memory = self.memory.zip(other.memory).map(|(one, other)| one.max(other));
        Self { seconds: seconds(self.seconds, other.seconds), memory, ..self }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "phase": self.name,
            "seconds": self.seconds,
            "resident": self.memory.map(|memory| memory.resident),
            "peak": self.memory.map(|memory| memory.peak),
        })
    }
}

/// The phases of two workers, each with its own.
fn together<const N: usize>(
    one: [Phase; N],
    other: [Phase; N],
    seconds: impl Fn(f64, f64) -> f64,
) -> [Phase; N] {
    std::array::from_fn(|place| one[place].together(other[place], &seconds))
}

/// Packs as `PACKED` says.
fn pack(model: &mut AutoModel<Flex>) -> Option<PackedWeights> {
    let packed = std::env::var("PACKED").unwrap_or_else(|_| "f32".into());
    let weights = match packed.as_str() {
        "none" => return None,
        "bf16" => PackedWeights::Bf16,
        "f32" => PackedWeights::F32,
        other => panic!("`PACKED={other}` is none of `none`, `f32`, `bf16`"),
    };
    model.pack(weights);
    Some(weights)
}

/// As the program does: those that suit what is packed.
fn rollout_workers(
    model: &mut AutoModel<Flex>,
    packed: Option<PackedWeights>,
    rows: usize,
) -> Workers {
    let Some(packed) = packed else { return workers(model) };
    let wanted = std::env::var("WORKERS").map_or(0, |wanted| wanted.parse().unwrap());
    let weights = Weights { bytes: model.packed_bytes() as u64, each: packed.bytes() };
    Workers::of_rollouts(wanted, rayon::current_num_threads(), rows, weights).unwrap()
}

/// Loading, packing and the parts of [`generate`], for `batch` rows.
fn decode(folder: &Path, batch: usize, prompt: usize, new: usize, shared: bool) -> Vec<Phase> {
    let started = Instant::now();
    let (config, mut model) = load::<Flex>(folder);
    let loading = Phase::ended("load", started);
    let started = Instant::now();
    let packed = pack(&mut model);
    let packing = Phase::ended("pack", started);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut prompts: Vec<Vec<u32>> =
        (0..batch).map(|_| random_ids(&mut rng, &config, prompt)).collect();
    if shared {
        prompts = vec![prompts[0].clone(); batch];
    }
    let workers = rollout_workers(&mut model, packed, batch);
    play(&model, &workers, &prompts, 4);
    let (phases, _) = play(&model, &workers, &prompts, new);
    [loading, packing].into_iter().chain(phases).collect()
}

/// The tokens of a row and their log-probabilities.
type Row = Vec<(u32, f32)>;

/// [`generate`] by all workers; of their seconds those of the slowest.
fn play(
    model: &AutoModel<Flex>,
    workers: &Workers,
    prompts: &[Vec<u32>],
    count: usize,
) -> ([Phase; 4], Vec<Row>) {
    let part = prompts.len().div_ceil(workers.count());
    let (mut slowest, mut rows) = (None, BTreeMap::new());
    let play = |(): &mut (),
                (number, prompts): (usize, &[Vec<u32>]),
                tell: &mut dyn FnMut((usize, [Phase; 4], Vec<Row>))| {
        let (phases, rows) = generate(model, prompts, count, (number * part) as u64);
        tell((number, phases, rows));
    };
    let jobs = prompts.chunks(part).enumerate().collect();
    Memory::now();
    workers.run(vec![(); workers.count()], jobs, play, &mut |(number, phases, drawn)| {
        slowest = Some(match slowest {
            Some(others) => together(others, phases, f64::max),
            None => phases,
        });
        rows.insert(number, drawn);
    });
    (slowest.unwrap(), rows.into_values().flatten().collect())
}

/// Reading prompts and sampling `count` tokens for each, as a rollout does it.
fn generate(
    model: &AutoModel<Flex>,
    prompts: &[Vec<u32>],
    count: usize,
    first: u64,
) -> ([Phase; 4], Vec<Row>) {
    let device = Default::default();
    let state_size = StateSize::default();
    let generators =
        LocalGenerators { model, device: &device, place: SamplingPlace::Host, state_size };
    let settings = GenerationSettings {
        sampling: SamplingConfig::default(),
        recorded: Recorded::default(),
        end_ids: Vec::new(),
        batch_size: prompts.len(),
        memory: None,
    };
    let mut generator = generators.open(&settings).unwrap();
    let row = |(key, ids): (usize, &Vec<u32>)| {
        let seed = first + key as u64;
        GeneratedRow {
            key,
            ids: ids.as_slice().into(),
            seed,
            drawn: 0,
            budget: count,
            forbidden: None,
        }
    };
    let rows: Vec<GeneratedRow> = prompts.iter().enumerate().map(row).collect();
    let started = Instant::now();
    assert_eq!(generator.admit(&rows).unwrap(), rows.len());
    let reading = Phase::ended("prefill", started);
    let started = Instant::now();
    let mut drawn = vec![Row::new(); rows.len()];
    while drawn.iter().any(|row| row.len() < count) {
        for event in generator.step().unwrap() {
            let Event::Drawn(token) = event else { panic!("a row failed") };
            drawn[token.row].push((token.id, token.logprob));
        }
    }
    let decoding = Phase::ended("decode", started);
    let statistics = generator.statistics();
    let part = |name, seconds| Phase { name, seconds, memory: None };
    let model = part("decode/model", statistics.decode_seconds);
    let sampling = part("decode/sampling", statistics.sampling_seconds);
    ([reading, decoding, model, sampling], drawn)
}

/// Sequences of random ids, all trained on.
fn unlike(config: &AutoConfig, sequences: usize, time: usize) -> Vec<TrainingSequence> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let weight = 1.0 / (sequences * (time - 1)) as f32;
    let sequence = |_| TrainingSequence {
        weights: vec![weight; time - 1],
        ..TrainingSequence::whole(random_ids(&mut rng, config, time))
    };
    (0..sequences).map(sequence).collect()
}

/// Sequences that share a prompt, trained on the `new` ids behind it.
fn rollouts(config: &AutoConfig, rows: usize, prompt: usize, new: usize) -> Vec<TrainingSequence> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let shared = random_ids(&mut rng, config, prompt);
    let sequence = |_| TrainingSequence {
        ids: [shared.clone(), random_ids(&mut rng, config, new)].concat(),
        mask: (0..prompt + new).map(|place| place >= prompt).collect(),
        old_logprobs: vec![0.0; new],
        weights: vec![1.0 / (rows * new) as f32; new],
        advantage: 0.0,
        ..TrainingSequence::default()
    };
    (0..rows).map(sequence).collect()
}

/// Rollouts of one prompt by the policy as it is, and what they teach: each other one was right.
fn played(
    model: &AutoModel<Tracked>,
    config: &AutoConfig,
    (rows, prompt, new): (usize, usize, usize),
) -> (Vec<TrainingSequence>, Vec<Phase>) {
    let started = Instant::now();
    let mut policy = AutoFamily::valid(model);
    let packed = pack(&mut policy);
    let packing = Phase::ended("pack", started);
    let shared = random_ids(&mut ChaCha8Rng::seed_from_u64(1), config, prompt);
    let workers = rollout_workers(&mut policy, packed, rows);
    let (phases, drawn) = play(&policy, &workers, &vec![shared.clone(); rows], new);
    let sequence = |(number, row): (usize, Row)| {
        let (ids, old_logprobs): (Vec<u32>, Vec<f32>) = row.into_iter().unzip();
        let advantage = if number % 2 == 0 { 1.0 } else { -1.0 };
        TrainingSequence {
            mask: (0..prompt + new).map(|place| place >= prompt).collect(),
            ids: [shared.clone(), ids].concat(),
            old_logprobs,
            weights: vec![advantage / (rows * new) as f32; new],
            advantage,
            ..TrainingSequence::default()
        }
    };
    let sequences = drawn.into_iter().enumerate().map(sequence).collect();
    (sequences, [packing].into_iter().chain(phases).collect())
}

/// Seconds of one training step, `micro_batch` sequences at a time, and its phases. `sequences` are
/// made in each, with phases of their own.
fn train(
    folder: &Path,
    sequences: impl Fn(&AutoModel<Tracked>, &AutoConfig) -> (Vec<TrainingSequence>, Vec<Phase>),
    micro_batch: usize,
) -> (f64, Vec<Phase>) {
    type B = Tracked;
    let device = Default::default();
    let started = Instant::now();
    let (config, mut model) = load::<B>(folder);
    let loading = Phase::ended("load", started);
    let mut optimizer = AdamW::<B>::new(OptimizerConfig::default(), 10);
    let workers = workers(&model);
    let (mut best, mut phases) = (f64::INFINITY, Vec::new());
    for round in 0..3 {
        Memory::now();
        let started = Instant::now();
        let (all, played) = sequences(&model, &config);
        let work = |model: &AutoModel<B>, group: &[TrainingSequence], sum: &mut GradientSum<B>| {
            let started = Instant::now();
            let batch = MicroBatch::<B>::new(&group.iter().collect::<Vec<_>>(), &device);
            let weights = batch.weights.clone();
            let mut forward = None;
            let mut turned = started;
            let loss = |logprobs: burn::Tensor<B, 2>, _| {
                let loss = (logprobs * weights).sum().neg();
                forward = Some(Phase::ended("forward", started));
                turned = Instant::now();
                Ok::<_, Infallible>(loss)
            };
            accumulate_gradient::<AutoFamily, _, _>(
                model,
                &batch,
                MemoryConfig::default(),
                false,
                sum,
                loss,
            )?;
            let backward = Phase::ended("backward", turned);
            Ok::<_, Infallible>([forward.expect("the loss was asked for"), backward])
        };
        let (gradient, found) =
            total_gradient(&workers, &model, all.chunks(micro_batch).collect(), work).unwrap();
        let updating = Instant::now();
        let norm = gradient.norm();
        model = optimizer.update(model, gradient, norm);
        let update = Phase::ended("optimizer", updating);
        let seconds = started.elapsed().as_secs_f64();
        if round > 0 && seconds < best {
            best = seconds;
            let sums = found.into_iter().reduce(|one, other| together(one, other, |a, b| a + b));
            let busy = workers.count().min(all.len().div_ceil(micro_batch)) as f64;
            let mean = |phase: Phase| Phase { seconds: phase.seconds / busy, ..phase };
            phases = [loading].into_iter().chain(played).collect();
            phases.extend(sums.unwrap().map(mean));
            phases.push(update);
        }
    }
    (best, phases)
}

fn main() {
    keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, task, numbers @ ..] = arguments.as_slice() else {
        panic!("give MODEL, a task and its numbers")
    };
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().unwrap()).collect();
    let [first, second, third] = numbers[..] else { panic!("give three numbers") };
    let folder = Path::new(folder);
    let seconds_of = |phases: &[Phase], name: &str| {
        phases.iter().find(|phase| phase.name == name).expect("every generation has it").seconds
    };
    let (mut result, phases) = match task.as_str() {
        "decode" => {
            let phases = decode(folder, first, second, third, false);
            let prefill = (first * second) as f64 / seconds_of(&phases, "prefill");
            let decode = (first * third) as f64 / seconds_of(&phases, "decode");
            (serde_json::json!({ "prefill": prefill, "decode": decode }), phases)
        }
        "group" => {
            let phases = decode(folder, first, second, third, true);
            let seconds = seconds_of(&phases, "prefill") + seconds_of(&phases, "decode");
            (serde_json::json!({ "seconds": seconds }), phases)
        }
        "train" => {
            let together = (third / second).max(1);
            let sequences = |_: &_, config: &_| (unlike(config, first, second), Vec::new());
            let (seconds, phases) = train(folder, sequences, together);
            (serde_json::json!({ "train": (first * second) as f64 / seconds }), phases)
        }
        "rollouts" => {
            let together = std::env::var("TOGETHER").map_or(first, |rows| rows.parse().unwrap());
            let sequences =
                |_: &_, config: &_| (rollouts(config, first, second, third), Vec::new());
            let (seconds, phases) = train(folder, sequences, together);
            (serde_json::json!({ "seconds": seconds }), phases)
        }
        "step" => {
            let together = std::env::var("TOGETHER").map_or(first, |rows| rows.parse().unwrap());
            let sequences = |model: &_, config: &_| played(model, config, (first, second, third));
            let (seconds, phases) = train(folder, sequences, together);
            (serde_json::json!({ "seconds": seconds }), phases)
        }
        other => panic!("no task `{other}`"),
    };
    Memory::now();
    result["memory"] = (MOST.load(Ordering::Relaxed) as f64 / 1024.0).into();
    result["phases"] = phases.iter().map(Phase::json).collect();
    println!("{result}");
}
