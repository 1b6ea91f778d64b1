//! Peak memory and speed of one forward and backward pass with each memory setting (`just bench-memory MODEL`).
//!
//! Started without a setting it starts itself once for each, since the peak of a process never falls. Sequences are random ids, the
//! second half of each is trained on; the time includes an update of AdamW, and a first pass that is not counted warms up.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use burn::backend::Autodiff;
use burn_flex::Flex;
use paretopo_models::load_folder;
use paretopo_training::{AdamW, MemoryConfig, MicroBatch, OptimizerConfig, TrainingSequence, accumulate_gradient};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::convert::Infallible;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

type B = Autodiff<Flex>;

const SETTINGS: [(&str, MemoryConfig); 4] = [
    ("plain", MemoryConfig { gradient_checkpointing: false, logits_chunk: 0 }),
    ("logits_chunk = 64", MemoryConfig { gradient_checkpointing: false, logits_chunk: 64 }),
    ("gradient_checkpointing", MemoryConfig { gradient_checkpointing: true, logits_chunk: 0 }),
    ("both", MemoryConfig { gradient_checkpointing: true, logits_chunk: 64 }),
];

/// Highest resident memory since the last call.
fn peak_mebibytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: 0 kB");
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn measure(folder: &Path, memory: MemoryConfig, batch: usize, time: usize) -> [f64; 4] {
    let device = Default::default();
    let (config, mut model) = load_folder::<B>(folder, &device).unwrap();
    let loaded = peak_mebibytes();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let sequences: Vec<TrainingSequence> = (0..batch)
        .map(|_| TrainingSequence {
            ids: (0..time).map(|_| rng.random_range(0..config.vocab_size() as u32)).collect(),
            mask: (0..time).map(|place| place >= time / 2).collect(),
            old_logprobs: vec![0.0; time - time / 2],
            weights: vec![1.0; time - time / 2],
            advantage: 0.0,
        })
        .collect();
    let rows = MicroBatch::<B>::new(&sequences.iter().collect::<Vec<_>>(), &device);
    let mut optimizer = AdamW::<B>::new(OptimizerConfig::default(), 10);
    let (mut seconds, mut gradient, mut update) = (Vec::new(), 0.0, 0.0);
    for _ in 0..3 {
        let started = Instant::now();
        let weights = rows.weights.clone();
        let loss = |logprobs: burn::Tensor<B, 2>, _| Ok::<_, Infallible>((logprobs * weights).sum());
        accumulate_gradient(&model, &rows, memory, false, &mut optimizer, loss).unwrap();
        let norm = optimizer.gradient_norm();
        gradient = peak_mebibytes();
        model = optimizer.update(model, norm);
        update = peak_mebibytes();
        seconds.push(started.elapsed().as_secs_f64());
    }
    let best = seconds[1..].iter().copied().fold(f64::INFINITY, f64::min);
    [loaded, gradient, update, (batch * time) as f64 / best]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, batch, time, setting @ ..] = arguments.as_slice() else { panic!("give MODEL BATCH TIME") };
    let (folder, batch, time) = (Path::new(folder), batch.parse().unwrap(), time.parse().unwrap());
    if let [setting] = setting {
        let (name, memory) = SETTINGS.into_iter().find(|(name, _)| name == setting).unwrap();
        let [loaded, gradient, update, speed] = measure(folder, memory, batch, time);
        println!("| {name} | {loaded:.0} | {gradient:.0} | {update:.0} | {speed:.1} |");
        return;
    }
    println!("{batch} sequences of {time} ids, half of them trained on\n");
    println!("| memory | peak MiB of loading | of the gradient | of the update | tokens/s |\n|---|---|---|---|---|");
    for (name, _) in SETTINGS {
        assert!(Command::new(std::env::current_exe().unwrap()).args(&arguments).arg(name).status().unwrap().success());
    }
}
