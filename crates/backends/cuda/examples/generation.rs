//! Tokens a second of a model with random weights when tokens are drawn on the host and on the device,
//! turn and turn about, and the bytes that come from the device for each token:
//!
//! ```text
//! cargo run --release -p paretopo-backend-cuda --example generation -- CONFIG.json ROWS TOKENS ROUNDS
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use burn::tensor::FloatDType;
use burn_cuda::{Cuda, CudaDevice};
use paretopo_engine::{LocalGenerators, SamplingPlace, StateSize};
use paretopo_generation::{GenerationSettings, Generators, Recorded, Row, SamplingConfig};
use paretopo_models::{
    AutoFamily, AutoModel, ModelConfig, ModelFamily, Placement, in_precision, initialize,
};
use paretopo_settings::{Temperature, TopP};
use std::time::Instant;

/// Tokens of a prompt.
const PROMPT: u32 = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, rows, tokens, rounds] = arguments.as_slice() else {
        panic!("CONFIG.json ROWS TOKENS ROUNDS")
    };
    let text = std::fs::read_to_string(config).unwrap();
    let config = AutoFamily::parse(serde_json::from_str(&text).unwrap()).unwrap();
    let device = CudaDevice::new(0);
    let place = Placement::<Cuda>::plain(device.clone());
    let model = AutoFamily::init(&config, &place).unwrap();
    let model = initialize(model, config.initializer_range(), 1);
    let rows: usize = rows.parse().unwrap();
    let tokens: usize = tokens.parse().unwrap();
    let nucleus = SamplingConfig {
        temperature: Temperature::literal(0.7),
        top_p: TopP::literal(0.9),
        top_k: 50,
        ..SamplingConfig::default()
    };
    for precision in [FloatDType::F32, FloatDType::BF16] {
        let model = in_precision(model.clone(), precision);
        for (name, sampling) in [("plain", SamplingConfig::default()), ("top-k, top-p", nucleus)] {
            for round in 0..=rounds.parse().unwrap() {
                for place in [SamplingPlace::Host, SamplingPlace::Device] {
                    let found = generate(&model, &device, place, sampling, (rows, tokens));
                    let (seconds, bytes) = found;
                    let speed = (rows * tokens) as f64 / seconds;
                    let bytes = bytes as f64 / (rows * tokens) as f64;
                    // the first round compiles kernels
                    if round > 0 {
                        println!(
                            "{precision:?} | {name} | {place:?} | round {round} | {speed:.0} tokens/s | \
                             {bytes:.0} bytes a token"
                        );
                    }
                }
            }
        }
    }
}

/// Seconds of drawing, prompts not counted, and bytes that came from the device.
fn generate(
    model: &AutoModel<Cuda>,
    device: &CudaDevice,
    place: SamplingPlace,
    sampling: SamplingConfig,
    (rows, tokens): (usize, usize),
) -> (f64, u64) {
    let state_size = StateSize::default();
    let generators = LocalGenerators::<Cuda, _> { model, device, place, state_size };
    let settings = GenerationSettings {
        sampling,
        recorded: Recorded::default(),
        end_ids: Vec::new(),
        batch_size: rows,
        memory: None,
    };
    let mut generator = generators.open(&settings).unwrap();
    let row = |key: usize| Row {
        key,
        ids: (0..PROMPT).map(|place| place * 7 % 1000 + key as u32).collect(),
        seed: key as u64,
        drawn: 0,
        budget: tokens,
        forbidden: None,
    };
    let waiting: Vec<Row> = (0..rows).map(row).collect();
    assert_eq!(generator.admit(&waiting).unwrap(), rows);
    // the first step waits for the prompts
    let mut drawn = generator.step().unwrap().len();
    let started = Instant::now();
    while drawn < rows * tokens {
        drawn += generator.step().unwrap().len();
    }
    (started.elapsed().as_secs_f64(), generator.statistics().bytes_to_host)
}
