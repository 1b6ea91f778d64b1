//! Low-rank adapters against Hugging Face's peft, on the folders of `fixtures/make_adapters.py`,
//! and in training.

use crate::{
    Plain, Tracked, assert_close, both, checkout, ids, json, load, numbers, plain, with_kernels,
};
use burn::module::AutodiffModule;
use paretopo_models::{
    AdapterConfig, AutoFamily, AutoModel, CausalLm, ForwardInput, Placement, attach_adapter,
    freeze, load_adapter, load_tensors, merge_adapter, named_parameters, save_adapter, to_host,
    without_adapter,
};
use paretopo_training::{
    AdamW, GradientSum, MemoryConfig, MicroBatch, OptimizerConfig, TrainingSequence,
    accumulate_gradient,
};
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::Command;

const CASES: [&str; 2] = ["some", "all_rslora"];

fn adapter(case: &str) -> PathBuf {
    checkout("tests/fixtures/adapters").join(case)
}

fn base<B: burn::tensor::backend::Backend>(place: &Placement<B>) -> AutoModel<B> {
    load(&checkout("tests/fixtures/models/qwen2"), place).1
}

fn logits<B: burn::tensor::backend::Backend>(model: &AutoModel<B>, ids: &[u32]) -> Vec<f32> {
    to_host(
        model.unembed(model.hidden(&ForwardInput::right_padded(&[ids], &Default::default()), None)),
    )
}

/// All ids but the first are trained on, with equal weights.
/// Accumulates the gradient of the mean next-token cross-entropy.
fn gradient(
    model: &AutoModel<Tracked>,
    ids: &[u32],
    memory: MemoryConfig,
    dropout: u64,
) -> GradientSum<Tracked> {
    let mut sum = GradientSum::default();
    let batch = MicroBatch::new(&[&TrainingSequence::whole(ids.to_vec())], &Default::default())
        .with_dropout(dropout);
    let weights = batch.weights.clone();
    let loss = |logprobs: burn::Tensor<Tracked, 2>, _| {
        Ok::<_, Infallible>((logprobs * weights).sum().neg())
    };
    accumulate_gradient::<AutoFamily, _, _>(model, &batch, memory, false, &mut sum, loss).unwrap();
    sum
}

fn flat(gradient: &GradientSum<Tracked>) -> Vec<f32> {
    gradient.parts().iter().flatten().flat_map(|gradient| to_host(gradient.clone())).collect()
}

#[test]
fn logits_and_gradients_equal_peft() {
    for (case, place) in CASES.iter().flat_map(|case| both::<Tracked>().map(|place| (case, place)))
    {
        let expected = json(&adapter(case).join("expected.json"));
        let ids = ids(&expected["ids"]);
        let want: Vec<f32> =
            expected["logits"].as_array().unwrap().iter().flat_map(numbers).collect();
        let (_, model) =
            load_adapter(freeze(base(&place)), &adapter(case), &Default::default()).unwrap();
        assert_close(&logits(&model.valid(), &ids), &want, 1e-4, case);
        // merged it is the same, without it the checkpoint's own
        assert_close(
            &logits(&merge_adapter(model.valid()), &ids),
            &want,
            1e-4,
            &format!("{case}, merged"),
        );
        assert_eq!(
            logits(&without_adapter(model.valid()), &ids),
            logits(&base(&place.inner()), &ids)
        );

        let gradients = gradient(&model, &ids, MemoryConfig::default(), 0);
        let names: Vec<String> =
            named_parameters(&model).into_iter().map(|tensor| tensor.name).collect();
        let mut found = 0;
        for (name, gradient) in names.iter().zip(gradients.parts()) {
            let Some(gradient) = gradient else {
                assert!(!name.contains(".lora."), "{case}: `{name}` has no gradient");
                continue;
            };
            let key = format!(
                "base_model.model.{}.weight",
                name.replace(".lora.a", ".lora_A").replace(".lora.b", ".lora_B")
            );
            // ours are [d_input, d_output], peft's [d_output, d_input]
            let parameter =
                named_parameters(&model).into_iter().find(|tensor| tensor.name == *name).unwrap();
            let [rows, columns] = parameter.shape[..] else { panic!("a matrix") };
            let got = to_host(gradient.clone());
            let transposed: Vec<f32> = (0..rows)
                .flat_map(|row| (0..columns).map(move |column| (row, column)))
                .map(|(row, column)| got[column * rows + row])
                .collect();
            assert_close(
                &transposed,
                &numbers(&expected["gradients"][&key]),
                1e-5,
                &format!("{case}: gradient of {key}"),
            );
            found += 1;
        }
        assert_eq!(found, expected["gradients"].as_object().unwrap().len(), "{case}");
    }
}

#[test]
fn a_new_adapter_changes_nothing_and_is_all_that_is_trained() {
    let ids = ids(&json(&adapter("some").join("expected.json"))["ids"]);
    let config = AdapterConfig { rank: 3, ..AdapterConfig::default() };
    let mut model =
        attach_adapter(freeze(base(&with_kernels::<Tracked>())), &config, 5, &Default::default())
            .unwrap();
    assert_eq!(logits(&model.valid(), &ids), logits(&base(&with_kernels::<Plain>()), &ids));
    let before = named_parameters(&model);
    let mut losses = Vec::new();
    for _ in 0..3 {
        let mut optimizer = AdamW::new(OptimizerConfig::default(), 1);
        let gradient = gradient(&model, &ids, MemoryConfig::default(), 0);
        let norm = gradient.norm();
        losses.push(norm);
        model = optimizer.update(model, gradient, norm);
        // moments are held for the adapter alone: both, for two matrices of 14 maps
        assert_eq!(optimizer.state().len(), 2 * 2 * 14);
    }
    for (before, after) in before.iter().zip(named_parameters(&model)) {
        assert_eq!(before.name, after.name);
        assert_eq!(
            before.values == after.values,
            !before.name.contains(".lora."),
            "{}",
            before.name
        );
    }
    assert!(losses.iter().all(|norm| *norm > 1e-4), "{losses:?}");
}

#[test]
fn checkpointing_and_chunks_change_no_gradient_also_with_dropout() {
    let ids = ids(&json(&adapter("some").join("expected.json"))["ids"]);
    for place in both::<Tracked>() {
        let frozen = freeze(base(&place));
        let (_, mut model) = load_adapter(frozen, &adapter("some"), &Default::default()).unwrap();
        for (_, projection) in model.projections_mut() {
            projection.lora.iter_mut().for_each(|lora| lora.dropout = 0.3);
        }
        let plain = flat(&gradient(&model, &ids, MemoryConfig::default(), 9));
        let largest = plain.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        for (gradient_checkpointing, logits_chunk) in [(true, 0), (false, 5), (true, 5)] {
            let lean = flat(&gradient(
                &model,
                &ids,
                MemoryConfig { gradient_checkpointing, logits_chunk },
                9,
            ));
            assert_close(
                &lean,
                &plain,
                1e-5 * largest,
                &format!("{gradient_checkpointing}, {logits_chunk}"),
            );
        }
        // another seed drops others
        assert_ne!(flat(&gradient(&model, &ids, MemoryConfig::default(), 10)), plain);
    }
}

#[test]
fn what_is_saved_is_what_peft_saved() {
    for case in CASES {
        let (config, model) =
            load_adapter(base(&plain::<Plain>()), &adapter(case), &Default::default()).unwrap();
        let copy = tempfile::tempdir().unwrap();
        save_adapter(copy.path(), &config, "qwen2", &model).unwrap();
        let name = "adapter_model.safetensors";
        assert_eq!(
            load_tensors(&copy.path().join(name)).unwrap(),
            load_tensors(&adapter(case).join(name)).unwrap()
        );
        let (theirs, ours) = (
            json(&adapter(case).join("adapter_config.json")),
            json(&copy.path().join("adapter_config.json")),
        );
        for field in ["peft_type", "r", "lora_alpha", "use_rslora", "bias", "task_type"] {
            assert_eq!(
                ours[field].as_f64().map(f64::to_bits),
                theirs[field].as_f64().map(f64::to_bits),
                "{field}"
            );
            assert_eq!(ours[field].as_str(), theirs[field].as_str(), "{field}");
        }
        let (config_again, again) =
            load_adapter(base(&plain::<Plain>()), copy.path(), &Default::default()).unwrap();
        assert_eq!((config_again, named_parameters(&again)), (config, named_parameters(&model)));
    }
}

#[test]
fn an_adapter_that_does_not_fit_is_named() {
    let llama = load(&checkout("tests/fixtures/models/qwen3"), &plain::<Plain>()).1;
    let error = load_adapter(llama, &adapter("some"), &Default::default()).unwrap_err().to_string();
    assert!(error.contains("lora_") && error.contains("has the shape"), "{error}");
    let none = AdapterConfig { targets: vec!["c_attn".into()], ..AdapterConfig::default() };
    let error = attach_adapter(base(&plain::<Plain>()), &none, 1, &Default::default()).unwrap_err();
    assert!(error.contains("c_attn") && error.contains("self_attn.q_proj"), "{error}");
}

/// Trains the shipped policy's adapter; the reference of the KL penalty is the policy without it.
fn train(run: &std::path::Path, steps: usize, more: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command
        .args(["--quiet", "train", "--run"])
        .arg(run)
        .args(["--set", &format!("train.steps={steps}")]);
    let settings = [
        "lora={ rank = 4, alpha = 8.0 }",
        "train.prompts_per_step=3",
        "train.rollouts_per_prompt=4",
        "train.checkpoint_every=1",
        "train.validate_every=0",
        "train.kl.coefficient=0.01",
        "train.optimizer.learning_rate=0.01",
        "evaluation.tasks=6",
    ];
    for setting in settings.iter().chain(more) {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_run_trains_saves_merges_and_resumes_an_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&run, 3, &[]);
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let kl: Vec<f64> = metrics
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["kl"].as_f64().unwrap()
        })
        .collect();
    // a new adapter is nothing, so the first step's policy is the reference
    assert!(kl[0].abs() < 1e-6 && kl[2] > 1e-6, "{kl:?}");
    let checkpoint = run.join("checkpoints/step-000003");
    assert!(
        checkpoint.join("adapter_model.safetensors").exists()
            && !checkpoint.join("model.safetensors").exists()
    );
    // the merged policy computes what the base computes with the adapter
    let device = Default::default();
    let (_, merged) = load(&run.join("policy"), &with_kernels::<Plain>());
    let (_, base) = load(&checkout("models/tiny-math"), &with_kernels::<Plain>());
    let (_, adapted) = load_adapter(base.clone(), &run.join("adapter"), &device).unwrap();
    let ids: Vec<u32> = (5..25).collect();
    assert_close(&logits(&merged, &ids), &logits(&adapted, &ids), 1e-3, "merged");
    assert_ne!(logits(&base, &ids), logits(&adapted, &ids));
    // a run that was stopped after its second step and resumed ends with the same adapter
    let resumed = folder.path().join("resumed");
    train(&resumed, 3, &[]);
    for name in ["checkpoints/step-000003", "policy", "adapter", "evaluation.json"] {
        let path = resumed.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap()
        } else {
            std::fs::remove_file(path).unwrap()
        }
    }
    train(&resumed, 3, &[]);
    let weights = |run: &std::path::Path| {
        std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap()
    };
    assert_eq!(weights(&run), weights(&resumed));
}
