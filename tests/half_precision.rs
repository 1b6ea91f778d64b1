//! Computing in bf16 and f16 with weights, moments and losses in f32.

use crate::{CASES, Plain, Tracked, checkout, ids, json, load, plain};
use burn::tensor::{DType, FloatDType};
use paretopo_models::{
    AutoFamily, AutoModel, CausalLm, DecodingState, ForwardInput, in_precision, load_folder_as,
    named_parameters, to_host,
};
use paretopo_training::{
    AdamW, GradientSum, MemoryConfig, MicroBatch, OptimizerConfig, Policy, Precision, RunConfig,
    TrainingSequence, accumulate_gradient,
};
use std::convert::Infallible;

/// `|got - want| / |want|` over all values together.
fn relative(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    norm(&mut got.iter().zip(want).map(|(got, want)| got - want)) / norm(&mut want.iter().copied())
}

/// bf16 has 8 bits, so a number is off by up to 2^-9 = 0.002, and weights of deviation 0.3 amplify
/// that. transformers in bf16 differs from itself in f32 by up to 0.024 in the logits of these
/// checkpoints and by up to 0.070 in their gradients; at most twice that is allowed here.
/// f16 has 3 bits more and is off by an eighth.
const LOGITS: [(FloatDType, f64); 2] = [(FloatDType::BF16, 0.05), (FloatDType::F16, 0.05 / 8.0)];
const GRADIENTS: f64 = 0.12;

type State = DecodingState<Plain, <AutoModel<Plain> as CausalLm<Plain>>::State>;

#[test]
fn logits_follow_those_in_f32_also_when_decoding() {
    let device = Default::default();
    for (case, (precision, tolerance)) in
        CASES.iter().flat_map(|case| LOGITS.map(|precision| (*case, precision)))
    {
        let folder = checkout("tests/fixtures/models").join(case);
        let all = ids(&json(&folder.join("expected.json"))["ids"]);
        let (_, wide) = load::<Plain>(&folder, &plain());
        let logits =
            |model: &AutoModel<Plain>, input: &ForwardInput<Plain>, state: Option<&mut State>| {
                let logits = model.unembed(model.hidden(input, state));
                assert_eq!(logits.dtype(), DType::F32);
                to_host(logits)
            };
        let want = logits(&wide, &ForwardInput::right_padded(&[&all], &device), None);
        let half = in_precision(wide.clone(), precision);
        let (_, loaded) =
            load_folder_as::<AutoFamily, Plain>(&folder, precision, &plain()).unwrap();
        assert_eq!(named_parameters(&half), named_parameters(&loaded));
        let got = logits(&half, &ForwardInput::right_padded(&[&all], &device), None);
        let error = relative(&got, &want);
        assert!(error < tolerance && error > 1e-6, "{case}, {precision:?}: {error}");
        // two rows of different length, then a step
        let mut state = half.empty_state(2);
        logits(
            &half,
            &ForwardInput::cached(&[&all[..9], &all[..4]], &mut state, &device),
            Some(&mut state),
        );
        let step = logits(
            &half,
            &ForwardInput::cached(&[&all[9..10], &all[4..5]], &mut state, &device),
            Some(&mut state),
        );
        let size = step.len() / 2;
        let expected = [&want[9 * size..10 * size], &want[4 * size..5 * size]].concat();
        let error = relative(&step, &expected);
        assert!(error < tolerance, "{case}, {precision:?}, cached: {error}");
    }
}

#[test]
fn gradients_follow_those_in_f32_and_weights_stay_in_f32() {
    let device = Default::default();
    for case in CASES {
        let folder = checkout("tests/fixtures/models").join(case);
        let all = ids(&json(&folder.join("expected.json"))["ids"]);
        let sequence = TrainingSequence {
            weights: vec![0.1; all.len() - 1],
            ..TrainingSequence::whole(all.clone())
        };
        let (_, model) = load::<Tracked>(&folder, &plain());
        let gradient = |precision: Precision, memory: MemoryConfig| {
            let mut sum = GradientSum::<Tracked>::default();
            let batch = MicroBatch::new(&[&sequence], &device).in_precision(precision);
            let weights = batch.weights.clone();
            let loss = |logprobs: burn::Tensor<Tracked, 2>, _| {
                Ok::<_, Infallible>((logprobs * weights).sum().neg())
            };
            accumulate_gradient::<AutoFamily, _, _>(&model, &batch, memory, false, &mut sum, loss)
                .unwrap();
            for gradient in sum.parts().iter().flatten() {
                assert_eq!(gradient.dtype(), DType::F32, "{case}");
            }
            let values: Vec<f32> = sum
                .parts()
                .iter()
                .flatten()
                .flat_map(|gradient| to_host(gradient.clone()))
                .collect();
            (sum, values)
        };
        let (_, wide) = gradient(Precision::F32, MemoryConfig::default());
        let (_, finer) = gradient(Precision::F16, MemoryConfig::default());
        let error = relative(&finer, &wide);
        assert!(error < GRADIENTS / 8.0 && error > 1e-6, "{case}, f16: {error}");
        let (sum, half) = gradient(Precision::Bf16, MemoryConfig::default());
        let error = relative(&half, &wide);
        assert!(error < GRADIENTS && error > 1e-6, "{case}: {error}");
        let (_, lean) = gradient(
            Precision::Bf16,
            MemoryConfig { gradient_checkpointing: true, logits_chunk: 5 },
        );
        let error = relative(&lean, &half);
        assert!(error < GRADIENTS, "{case}, lean: {error}");
        let norm = sum.norm();
        let updated = AdamW::new(OptimizerConfig::default(), 1).update(model.clone(), sum, norm);
        // an update of 4e-4 / 6 would vanish in bf16 beside weights of 0.3
        let moved = named_parameters(&updated)
            .iter()
            .zip(named_parameters(&model))
            .filter(|(new, old)| new.values != old.values)
            .count();
        assert_eq!(moved, named_parameters(&model).len(), "{case}");
    }
}

#[test]
fn a_run_in_bf16_with_an_adapter_goes_through() {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(["--quiet", "train", "--run"])
        .arg(folder.path().join("run"))
        .args([
            "--set",
            "precision=bf16",
            "--set",
            "lora={ rank = 4 }",
            "--set",
            "train.steps=2",
            "--set",
            "train.validate_every=0",
        ])
        .args([
            "--set",
            "train.prompts_per_step=2",
            "--set",
            "train.rollouts_per_prompt=4",
            "--set",
            "evaluation.tasks=4",
        ])
        .args(["--set", "train.memory={ gradient_checkpointing = true, logits_chunk = 64 }"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metrics = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    // sampler and trainer compute in the same precision
    assert!(first["logprob_mismatch"].as_f64().unwrap() < 0.05, "{first}");
}

/// With each sampled token of trajectories that are saved stands what the trainer gives it, where
/// that is asked for; on average it is as far from what the sampler gave as the metrics say.
#[test]
fn what_sampler_and_trainer_differ_by_is_known_of_each_token() {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(["--quiet", "train", "--run"])
        .arg(folder.path())
        .args(["--set", "rollout.precision=bf16", "--set", "train.save_trainer_logprobs=true"])
        .args(["--set", "train.old_logprobs=recompute", "--set", "train.steps=2"])
        .args(["--set", "train.prompts_per_step=2", "--set", "train.rollouts_per_prompt=4"])
        .args(["--set", "train.save_trajectories_every=1", "--set", "train.mask_overlong=false"])
        .args(["--set", "evaluation.tasks=4", "--set", "train.validate_every=0"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metrics = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    for (step, line) in metrics.lines().enumerate() {
        let metrics: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = folder.path().join(format!("trajectories/step-{step:06}.jsonl"));
        let episodes = paretopo_records::TrajectoryFile::open(&path).unwrap();
        let (mut sum, mut count) = (0.0, 0);
        for episode in episodes.iter().unwrap().map(Result::unwrap) {
            for segment in episode.segments.iter().filter(|one| one.weight_version.is_some()) {
                assert_eq!(segment.trainer_logprobs.len(), segment.ids.len());
                let pairs = segment.trainer_logprobs.iter().zip(&segment.logprobs);
                sum += pairs.map(|(trainer, own)| f64::from((trainer - own).abs())).sum::<f64>();
                count += segment.ids.len();
            }
        }
        let (found, said) = (sum / count as f64, metrics["logprob_mismatch"].as_f64().unwrap());
        assert!(said > 1e-5 && (found / said - 1.0).abs() < 1e-3, "{found} {said}");
    }
}

/// A new policy below an adapter is held as a checkpoint's weights are, and as `plan` counts them.
#[test]
fn a_new_policy_is_frozen_in_the_precision() {
    let folder = checkout("models/tiny-math");
    let new = format!("policy={{ type = \"new\", path = \"{}\" }}", folder.display());
    let held = |more: &[&str]| {
        let settings = [&[new.as_str(), "precision=bf16"], more].concat();
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let config = RunConfig::parse("", "test", &settings).unwrap();
        let mut policy = Policy::<AutoFamily, Plain>::load(&config, &folder, &plain()).unwrap();
        let projections = policy.model.projections_mut();
        projections[0].1.weight.val().dtype()
    };
    assert_eq!(held(&["lora={ rank = 4 }"]), DType::BF16);
    assert_eq!(held(&[]), DType::F32);
}
