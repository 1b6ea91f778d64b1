//! Peak memory and speed of one forward and backward pass with each memory setting, planned and
//! measured (`just bench-memory MODEL`).
//!
//! A folder that holds a `config.json` and no weights stands for a model with random weights.
//! Started without a setting it starts itself once for each, since the peak of a process never
//! falls. Sequences are random ids, the second half of each is trained on; the time includes an
//! update of AdamW, and a first pass that is not counted warms up.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use burn::backend::Autodiff;
use burn_flex::Flex;
use paretopo_models::{
    AdapterConfig, AutoConfig, AutoFamily, AutoModel, ModelConfig, ModelFamily, Placement,
    attach_adapter, freeze, in_precision, initialize, load_folder_as, read_config,
};
use paretopo_training::{
    AdamW, GradientSum, MemoryConfig, MemoryPlan, MicroBatch, OptimizerConfig, Precision,
    RunConfig, TrainingSequence, accumulate_gradient,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::convert::Infallible;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

type B = Autodiff<Flex>;

struct Setting {
    name: &'static str,
    memory: MemoryConfig,
    precision: Precision,
    adapter: bool,
}

const PLAIN: Setting = Setting {
    name: "plain",
    memory: MemoryConfig { gradient_checkpointing: false, logits_chunk: 0 },
    precision: Precision::F32,
    adapter: false,
};
const LEAN: MemoryConfig = MemoryConfig { gradient_checkpointing: true, logits_chunk: 64 };

const SETTINGS: [Setting; 7] = [
    PLAIN,
    Setting {
        name: "logits_chunk = 64",
        memory: MemoryConfig { gradient_checkpointing: false, logits_chunk: 64 },
        ..PLAIN
    },
    Setting {
        name: "gradient_checkpointing",
        memory: MemoryConfig { gradient_checkpointing: true, logits_chunk: 0 },
        ..PLAIN
    },
    Setting { name: "both", memory: LEAN, ..PLAIN },
    Setting { name: "both, bf16", memory: LEAN, precision: Precision::Bf16, ..PLAIN },
    Setting { name: "both, lora", memory: LEAN, adapter: true, ..PLAIN },
    Setting { name: "both, lora, bf16", memory: LEAN, precision: Precision::Bf16, adapter: true },
];

/// Highest resident memory since the last call.
fn peak_mebibytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: 0 kB");
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn load(folder: &Path, setting: &Setting) -> (AutoConfig, AutoModel<B>) {
    let kernels = paretopo_backend_flex::kernels();
    let place = Placement { device: Default::default(), kernels };
    let precision = if setting.adapter { setting.precision } else { Precision::F32 };
    let (config, model) = if folder.join("model.safetensors").exists()
        || folder.join("model.safetensors.index.json").exists()
    {
        load_folder_as::<AutoFamily, B>(folder, precision.into(), &place).unwrap()
    } else {
        let config = read_config::<AutoFamily>(folder).unwrap();
        let model = AutoFamily::init(&config, &place).unwrap();
        let model = initialize(model, config.initializer_range(), 1);
        (config, in_precision(model, precision.into()))
    };
    let model = if setting.adapter {
        attach_adapter(freeze(model), &AdapterConfig::default(), 1, &place.device).unwrap()
    } else {
        model
    };
    (config, model)
}

/// Gibibytes of a gradient and of an update, of which moments are counted in the second only: the
/// first gradient comes before them.
fn plan(config: &AutoConfig, setting: &Setting, batch: usize, time: usize) -> [f64; 2] {
    let trained = time - time / 2;
    let mut run = RunConfig { precision: setting.precision, ..RunConfig::default() };
    run.lora = setting.adapter.then(AdapterConfig::default);
    run.rollout.max_sampled_tokens = trained;
    run.rollout.max_calls = 0;
    (run.train.prompts_per_step, run.train.rollouts_per_prompt) = (1, batch);
    (run.train.micro_batch_tokens, run.train.memory) = (batch * time, setting.memory);
    let plan = MemoryPlan::new(&run, config, time / 2, 1);
    let sums = plan.sums();
    [sums[1], sums[2]]
}

fn measure(folder: &Path, setting: &Setting, batch: usize, time: usize) -> ([f64; 2], [f64; 4]) {
    let device = Default::default();
    let (config, mut model) = load(folder, setting);
    let loaded = peak_mebibytes();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let sequences: Vec<TrainingSequence> = (0..batch)
        .map(|_| TrainingSequence {
            ids: (0..time).map(|_| rng.random_range(0..config.vocab_size() as u32)).collect(),
            mask: (0..time).map(|place| place >= time / 2).collect(),
            old_logprobs: vec![0.0; time - time / 2],
            weights: vec![1.0; time - time / 2],
            advantage: 0.0,
            ..TrainingSequence::default()
        })
        .collect();
    let rows = MicroBatch::<B>::new(&sequences.iter().collect::<Vec<_>>(), &device)
        .in_precision(setting.precision);
    let mut optimizer = AdamW::<B>::new(OptimizerConfig::default(), 10);
    let (mut seconds, mut gradient, mut update) = (Vec::new(), 0.0, 0.0);
    for _ in 0..3 {
        let started = Instant::now();
        let weights = rows.weights.clone();
        let loss =
            |logprobs: burn::Tensor<B, 2>, _| Ok::<_, Infallible>((logprobs * weights).sum());
        let mut sum = GradientSum::default();
        accumulate_gradient::<AutoFamily, _, _>(
            &model,
            &rows,
            setting.memory,
            false,
            &mut sum,
            loss,
        )
        .unwrap();
        let norm = sum.norm();
        gradient = peak_mebibytes();
        model = optimizer.update(model, sum, norm);
        update = peak_mebibytes();
        seconds.push(started.elapsed().as_secs_f64());
    }
    let best = seconds[1..].iter().copied().fold(f64::INFINITY, f64::min);
    (plan(&config, setting, batch, time), [loaded, gradient, update, (batch * time) as f64 / best])
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, batch, time, setting @ ..] = arguments.as_slice() else {
        panic!("give MODEL BATCH TIME")
    };
    let (folder, batch, time) = (Path::new(folder), batch.parse().unwrap(), time.parse().unwrap());
    if let [setting] = setting {
        let setting = SETTINGS.iter().find(|known| known.name == setting).unwrap();
        let ([planned, planned_update], [loaded, gradient, update, speed]) =
            measure(folder, setting, batch, time);
        let [loaded, gradient, update] =
            [loaded, gradient, update].map(|mebibytes| mebibytes / 1024.0);
        let name = setting.name;
        println!(
            "| {name} | {loaded:.2} | {planned:.2} | {gradient:.2} | {planned_update:.2} | {update:.2} | {speed:.1} |"
        );
        return;
    }
    println!("{batch} sequences of {time} ids, half of them trained on\n");
    println!(
        "| peak GiB of | loading | the gradient, planned | measured | the update, planned | measured | tokens/s |\n|---|---|---|---|---|---|---|"
    );
    for setting in &SETTINGS {
        let done = Command::new(std::env::current_exe().unwrap())
            .args(&arguments)
            .arg(setting.name)
            .status()
            .unwrap();
        if !done.success() {
            println!("| {} | ended with {done} |", setting.name);
        }
    }
}
