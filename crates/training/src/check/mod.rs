//! Whether a backend computes what it should, held against PyTorch's numbers for tiny checkpoints
//! of every architecture (`tests/fixtures/models`).
//!
//! Per architecture: logits, log-probabilities of a sequence, gradients of the policy loss, three
//! optimiser steps, greedy decoding with the cache, drawing on the device as on the host with no
//! more than the drawn tokens crossing the bus and no step that sends more than the one before,
//! twenty steps of training; and the logits once more in bf16 and f16 where the device computes in
//! them.

mod generation;

use crate::run::run_folder::access;
use crate::{
    AdamW, GradientSum, LearningRateSchedule, MemoryConfig, MicroBatch, OptimizerConfig,
    TrainingError, TrainingSequence,
};
use crate::{accumulate_gradient, response_logprobs};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, FloatDType};
use paretopo_agent::RolloutError;
use paretopo_algorithms::losses::{PolicyLossConfig, policy_loss};
use paretopo_engine::Engine;
use paretopo_generation::log_softmax;
use paretopo_models::{
    CausalLm, ForwardInput, ModelFamily, NamedTensor, Placement, in_precision, load_folder,
    load_tensors, to_host,
};
use paretopo_settings::{DecayRate, LearningRate, WeightDecay};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

/// A comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The checkpoint's folder.
    pub case: String,
    /// What was compared.
    pub what: String,
    /// The largest difference, as a share of the largest expected value.
    pub difference: f64,
    /// The largest difference allowed.
    pub tolerance: f64,
}

impl Check {
    /// Whether the difference is allowed; a difference that is no number is not.
    pub fn passed(&self) -> bool {
        self.difference <= self.tolerance
    }
}

/// What is allowed, of each the largest difference as a share of the largest expected value.
#[derive(Clone, Copy)]
struct Allowed {
    /// Logits and log-probabilities.
    forward: f64,
    gradients: f64,
    /// Logits behind three steps of the optimiser, which divides by small numbers.
    stepped: f64,
    /// Losses of 20 steps.
    losses: f64,
}

/// Rounding of f32, whatever the order of sums.
const F32: Allowed = Allowed { forward: 1e-4, gradients: 2e-3, stepped: 2e-3, losses: 2e-3 };
/// Twice what transformers' own numbers differ by on these checkpoints where products round their
/// inputs to TF32 (`experiments/backends/tf32.py`: 0.0046, 0.0161, 0.167 and 0.0016).
const TF32: Allowed = Allowed { forward: 9.2e-3, gradients: 3.2e-2, stepped: 0.34, losses: 3.2e-3 };
/// Twice what transformers' own bf16 logits differ by on these checkpoints (at most 0.050).
const BF16: f64 = 1e-1;
/// Twice what its f16 logits differ by (at most 0.0078).
const F16: f64 = 1.6e-2;

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    logits: Vec<Vec<f32>>,
    greedy: Vec<u32>,
    trained_logits: Vec<f32>,
}

#[derive(Deserialize)]
struct ExpectedTraining {
    learning_rate: LearningRate,
    losses: Vec<f32>,
}

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckDepth {
    /// Everything.
    Whole,
    /// Logits in f32 and the gradients, where a device takes seconds to compile a kernel.
    Gradients,
}

/// Hears of each comparison as it is made; an error ends them.
pub(crate) type Hear<'a> = &'a mut dyn FnMut(Check) -> Result<(), TrainingError>;

/// Compares with every folder in `fixtures`; `tf32` says whether products of f32 round their inputs
/// to TF32.
///
/// # Errors
/// When a fixture cannot be read, or `hear` wants no more.
pub(crate) fn check<F: ModelFamily, B: AutodiffBackend>(
    fixtures: &Path,
    place: &Placement<B>,
    tf32: bool,
    depth: CheckDepth,
    hear: Hear<'_>,
) -> Result<(), TrainingError> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(fixtures).map_err(access(fixtures))? {
        folders.push(entry.map_err(access(fixtures))?.path());
    }
    folders.sort();
    folders.retain(|folder| folder.join("expected.json").exists());
    if folders.is_empty() {
        return Err(TrainingError::Invalid {
            path: fixtures.into(),
            reason: "there is no folder with an `expected.json` in it".into(),
        });
    }
    for folder in &folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let expected = read(&folder.join("expected.json"))?;
        let allowed = if tf32 { TF32 } else { F32 };
        let mut case = Case { name, folder, expected, allowed, depth, hear };
        check_case::<F, B>(&mut case, place)?;
    }
    Ok(())
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, TrainingError> {
    let text = std::fs::read_to_string(path).map_err(access(path))?;
    serde_json::from_str(&text)
        .map_err(|error| TrainingError::Invalid { path: path.into(), reason: error.to_string() })
}

/// A checkpoint and what it should compute.
struct Case<'a> {
    name: String,
    folder: &'a Path,
    expected: Expected,
    allowed: Allowed,
    depth: CheckDepth,
    hear: Hear<'a>,
}

impl Case<'_> {
    fn put(&mut self, what: &str, difference: f64, tolerance: f64) -> Result<(), TrainingError> {
        let case = self.name.clone();
        (self.hear)(Check { case, what: what.into(), difference, tolerance })
    }

    /// The sequence, all of its tokens with an advantage of 1.
    fn sequence(&self) -> TrainingSequence {
        let ids = self.expected.ids.clone();
        TrainingSequence { advantage: 1.0, ..TrainingSequence::whole(ids) }
    }
}

fn check_case<F: ModelFamily, B: AutodiffBackend>(
    case: &mut Case<'_>,
    place: &Placement<B>,
) -> Result<(), TrainingError> {
    let (_, model) = load_folder::<F, B>(case.folder, place)?;
    let plain = F::valid(&model);
    check_logits(case, &plain, &place.device)?;
    check_gradients::<F, B>(case, &model, &place.device)?;
    if case.depth == CheckDepth::Gradients {
        return Ok(());
    }
    check_logprobs(case, &plain, &place.device)?;
    check_training::<F, B>(case, model, &place.device)?;
    check_generation(case, &plain, &place.device)
}

fn check_logits<B: Backend, M: CausalLm<B>>(
    case: &mut Case<'_>,
    plain: &M,
    device: &B::Device,
) -> Result<(), TrainingError> {
    let want: Vec<f32> = case.expected.logits.concat();
    let got = logits(plain, &case.expected.ids, None, device);
    case.put("logits", difference(&got, &want), case.allowed.forward)
}

fn check_logprobs<B: Backend, M: CausalLm<B>>(
    case: &mut Case<'_>,
    plain: &M,
    device: &B::Device,
) -> Result<(), TrainingError> {
    let want: Vec<f32> = case.expected.logits.concat();
    for (name, number, tolerance) in [("bf16", DType::BF16, BF16), ("f16", DType::F16, F16)] {
        if B::supports_dtype(device, number) {
            let number = FloatDType::from(number);
            let half = in_precision(plain.clone(), number);
            let got = logits(&half, &case.expected.ids, Some(number), device);
            case.put(&format!("logits in {name}"), difference(&got, &want), tolerance)?;
        }
    }
    let sequence = TrainingSequence::whole(case.expected.ids.clone());
    let (logprobs, _) = response_logprobs(plain, &MicroBatch::new(&[&sequence], device), false);
    let rows = case.expected.logits.iter().zip(&case.expected.ids[1..]);
    let want: Vec<f32> = rows.map(|(row, id)| log_softmax(row)[*id as usize]).collect();
    case.put("log-probabilities", difference(&to_host(logprobs), &want), case.allowed.forward)
}

fn check_gradients<F: ModelFamily, B: AutodiffBackend>(
    case: &mut Case<'_>,
    model: &F::Model<B>,
    device: &B::Device,
) -> Result<(), TrainingError> {
    let batch = MicroBatch::new(&[&case.sequence()], device);
    let (gradient, _) = policy_gradient::<F, B>(model, &batch);
    let found: BTreeMap<String, Vec<f32>> =
        gradient.named(model).into_iter().map(|tensor| (tensor.name, tensor.values)).collect();
    let tensors = load_tensors(&case.folder.join("gradients.safetensors"))?;
    let of = |(name, want): (&String, &NamedTensor)| {
        found.get(name).map_or(f64::INFINITY, |got| difference(got, &want.values))
    };
    let worst = tensors.iter().map(of).fold(0.0, f64::max);
    case.put("gradients of the policy loss", worst, case.allowed.gradients)
}

fn check_training<F: ModelFamily, B: AutodiffBackend>(
    case: &mut Case<'_>,
    model: F::Model<B>,
    device: &B::Device,
) -> Result<(), TrainingError> {
    let training: ExpectedTraining = read(&case.folder.join("training.json"))?;
    let sequence = case.sequence();
    let batch = || MicroBatch::<B>::new(&[&sequence], device);
    let trained = train::<F, B>(model.clone(), const { LearningRate::literal(0.01) }, 3, batch).0;
    let got = logits(&F::valid(&trained), &case.expected.ids, None, device);
    let want = &case.expected.trained_logits;
    let apart = difference(&got[got.len() - want.len()..], want);
    case.put("logits after 3 steps", apart, case.allowed.stepped)?;
    let (_, losses) = train::<F, B>(model, training.learning_rate, training.losses.len(), batch);
    case.put("losses of 20 steps", difference(&losses, &training.losses), case.allowed.losses)
}

fn check_generation<B: Backend, M: CausalLm<B>>(
    case: &mut Case<'_>,
    plain: &M,
    device: &B::Device,
) -> Result<(), TrainingError> {
    let got = greedy(plain, &case.expected, device);
    let want = &case.expected.greedy;
    let wrong = got.iter().zip(want).filter(|(got, want)| got != want).count();
    case.put("greedy decoding", wrong as f64 / want.len() as f64, 0.0)?;
    let drawn =
        generation::compare(plain, &case.expected.ids, device).map_err(RolloutError::Generation)?;
    case.put("tokens drawn on the device", drawn.differing, 0.0)?;
    case.put("their log-probabilities", drawn.apart, F32.forward)?;
    case.put("bytes from the device for each", drawn.bytes, generation::BYTES)?;
    case.put("bytes sent to it again", drawn.sent_again, 0.0)
}

/// The largest difference as a share of the largest expected value; infinite for other lengths.
fn difference(got: &[f32], want: &[f32]) -> f64 {
    if got.len() != want.len() || got.iter().any(|value| !value.is_finite()) {
        return f64::INFINITY;
    }
    let largest = want.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let worst =
        got.iter().zip(want).fold(0.0f32, |worst, (got, want)| worst.max((got - want).abs()));
    f64::from(worst / largest)
}

fn logits<B: Backend, M: CausalLm<B>>(
    model: &M,
    ids: &[u32],
    number: Option<FloatDType>,
    device: &B::Device,
) -> Vec<f32> {
    let mut input = ForwardInput::right_padded(&[ids], device);
    input.precision = number;
    to_host(model.unembed(model.hidden(&input, None)))
}

/// The gradient of the policy loss at the policy that sampled, whose ratios are 1; it is that of
/// the mean cross-entropy. And that mean.
fn policy_gradient<F: ModelFamily, B: AutodiffBackend>(
    model: &F::Model<B>,
    batch: &MicroBatch<B>,
) -> (GradientSum<B>, f32) {
    let (mut sum, mut mean) = (GradientSum::default(), 0.0);
    let result = accumulate_gradient::<F, B, Infallible>(
        model,
        batch,
        MemoryConfig::default(),
        false,
        &mut sum,
        |logprobs, _| {
            mean = -to_host((logprobs.clone() * batch.weights.clone()).sum().inner())[0];
            let old = logprobs.clone().detach();
            Ok(policy_loss(
                &PolicyLossConfig::default(),
                logprobs,
                old,
                batch.advantages.clone(),
                batch.weights.clone(),
            )
            .loss)
        },
    );
    result.unwrap_or_else(|never| match never {});
    (sum, mean)
}

fn train<F: ModelFamily, B: AutodiffBackend>(
    mut model: F::Model<B>,
    learning_rate: LearningRate,
    steps: usize,
    batch: impl Fn() -> MicroBatch<B>,
) -> (F::Model<B>, Vec<f32>) {
    let schedule = LearningRateSchedule::Constant {};
    let config = OptimizerConfig {
        learning_rate,
        weight_decay: const { WeightDecay::literal(0.1) },
        warmup_updates: 0,
        beta2: const { DecayRate::literal(0.99) },
        schedule,
        ..OptimizerConfig::default()
    };
    let mut optimizer = AdamW::new(config, steps as u64);
    let mut losses = Vec::with_capacity(steps);
    for _ in 0..steps {
        let (gradient, loss) = policy_gradient::<F, B>(&model, &batch());
        losses.push(loss);
        let norm = gradient.norm();
        model = optimizer.update(model, gradient, norm);
    }
    (model, losses)
}

fn greedy<B: Backend, M: CausalLm<B>>(
    model: &M,
    expected: &Expected,
    device: &B::Device,
) -> Vec<u32> {
    let best =
        |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0) as u32;
    let mut engine = Engine::new(model, device);
    let mut rows = engine.admit(&[(0, &expected.ids[..8])]);
    let mut found = Vec::with_capacity(expected.greedy.len());
    while found.len() < expected.greedy.len() {
        let id = best(&to_host(rows));
        found.push(id);
        rows = engine.step(&[Some(id)]);
    }
    found
}
