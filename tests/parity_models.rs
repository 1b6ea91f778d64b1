//! Architectures against Hugging Face transformers, on the tiny checkpoints of
//! `fixtures/make_models.py`.

use crate::{
    CASES, Plain, Tracked, assert_close, cases, checkout, ids, json, load, numbers, plain, rows_of,
    write_shards,
};
use burn::tensor::backend::Backend;
use paretopo_engine::Engine;
use paretopo_models::{
    AutoFamily, AutoModel, CausalLm, DecodingState, ForwardInput, ModelConfig, NamedTensor,
    load_folder, load_tensors, named_parameters, save_folder, to_host,
};
use paretopo_settings::{LearningRate, WeightDecay};
use paretopo_training::{
    AdamW, GradientSum, MicroBatch, OptimizerConfig, TrainingSequence, response_logprobs,
};
use std::path::PathBuf;

fn folder(case: &str) -> PathBuf {
    checkout("tests/fixtures/models").join(case)
}

fn logits<B: Backend>(
    model: &AutoModel<B>,
    input: &ForwardInput<B>,
    state: Option<&mut DecodingState<B, <AutoModel<B> as CausalLm<B>>::State>>,
) -> Vec<Vec<f32>> {
    let logits = model.unembed(model.hidden(input, state));
    let vocab_size = logits.dims()[2];
    to_host(logits).chunks(vocab_size).map(<[f32]>::to_vec).collect()
}

#[test]
fn logits_equal_transformers() {
    let device = Default::default();
    for (case, place) in cases() {
        let expected = json(&folder(case).join("expected.json"));
        let (_, model) = load::<Plain>(&folder(case), &place);
        let got =
            logits(&model, &ForwardInput::right_padded(&[&ids(&expected["ids"])], &device), None);
        for (position, (got, want)) in
            got.iter().zip(expected["logits"].as_array().unwrap()).enumerate()
        {
            assert_close(got, &numbers(want), 1e-4, &format!("{case}, position {position}"));
        }
    }
}

#[test]
fn cached_decoding_equals_the_full_forward_pass_in_any_batch() {
    let device = Default::default();
    for (case, place) in cases() {
        let expected = json(&folder(case).join("expected.json"));
        let all = ids(&expected["ids"]);
        let (_, model) = load::<Plain>(&folder(case), &place);
        let full = logits(&model, &ForwardInput::right_padded(&[&all], &device), None);
        // three rows that start at different lengths, one of them idle now and then
        let mut state = model.empty_state(3);
        let prefixes: [&[u32]; 3] = [&all[..5], &all[..1], &all[..9]];
        let first =
            logits(&model, &ForwardInput::cached(&prefixes, &mut state, &device), Some(&mut state));
        let mut read = [5, 1, 9];
        let last = |rows: &[Vec<f32>], row: usize| rows[(row + 1) * rows.len() / 3 - 1].clone();
        for row in 0..3 {
            assert_close(
                &last(&first, row),
                &full[read[row] - 1],
                1e-4,
                &format!("{case}, prefix of row {row}"),
            );
        }
        for step in 0..10 {
            let idle = step % 3;
            let blocks: Vec<&[u32]> = (0..3)
                .map(|row| if row == idle { &[][..] } else { &all[read[row]..read[row] + 1] })
                .collect();
            let got = logits(
                &model,
                &ForwardInput::cached(&blocks, &mut state, &device),
                Some(&mut state),
            );
            for row in (0..3).filter(|row| *row != idle) {
                read[row] += 1;
                assert_close(
                    &got[row],
                    &full[read[row] - 1],
                    1e-4,
                    &format!("{case}, row {row}, step {step}"),
                );
            }
        }
        // taking rows out, merging and reading a block behind gaps changes nothing
        let state = state.select(&[2, 0]).trim();
        let mut other = model.empty_state(1);
        logits(&model, &ForwardInput::cached(&[&all[..20]], &mut other, &device), Some(&mut other));
        let mut merged = state.merge(other);
        let blocks: [&[u32]; 3] =
            [&all[read[2]..read[2] + 3], &all[read[0]..read[0] + 1], &all[20..22]];
        let got =
            logits(&model, &ForwardInput::cached(&blocks, &mut merged, &device), Some(&mut merged));
        for (row, end) in [read[2] + 3, read[0] + 1, 22].into_iter().enumerate() {
            assert_close(
                &last(&got, row),
                &full[end - 1],
                1e-4,
                &format!("{case}, merged row {row}"),
            );
        }
    }
}

#[test]
fn right_padding_changes_no_logit() {
    let device = Default::default();
    for (case, place) in cases() {
        let all = ids(&json(&folder(case).join("expected.json"))["ids"]);
        let (_, model) = load::<Plain>(&folder(case), &place);
        let alone = logits(&model, &ForwardInput::right_padded(&[&all[3..10]], &device), None);
        let together =
            logits(&model, &ForwardInput::right_padded(&[&all, &all[3..10]], &device), None);
        for position in 0..7 {
            assert_close(&together[all.len() + position], &alone[position], 1e-4, case);
        }
    }
}

#[test]
fn the_engine_decodes_greedily_as_transformers_generates() {
    let device = Default::default();
    for (case, place) in cases() {
        let expected = json(&folder(case).join("expected.json"));
        let (all, greedy) = (ids(&expected["ids"]), ids(&expected["greedy"]));
        let (_, model) = load::<Plain>(&folder(case), &place);
        let mut engine = Engine::new(&model, &device);
        let best =
            |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as u32;
        // two rows share the prompt, a third has another
        let mut rows = rows_of(engine.admit(&[(0, &all[..8]), (1, &all[..8]), (2, &all[2..7])]));
        for want in greedy {
            assert_eq!((best(&rows[0]), best(&rows[1])), (want, want), "{case}");
            rows = rows_of(engine.step(&[Some(want), Some(want), Some(best(&rows[2]))]));
        }
    }
}

/// 80 ids, the fixture's over and over.
fn long(all: &[u32]) -> Vec<u32> {
    all.iter().copied().cycle().take(80).collect()
}

#[test]
fn long_decoding_equals_the_full_forward_pass_while_rows_leave() {
    let device = Default::default();
    for (case, place) in cases() {
        let all = long(&ids(&json(&folder(case).join("expected.json"))["ids"]));
        let (_, model) = load::<Plain>(&folder(case), &place);
        let full = logits(&model, &ForwardInput::right_padded(&[&all], &device), None);
        let mut engine = Engine::new(&model, &device);
        engine.admit(&[(0, &all[..3]), (1, &all[..7]), (2, &all[..5])]);
        // rows with keys 0 and 1 go on; over 60 steps the newest columns join the older ones
        // several times
        for step in 0..60 {
            if step == 20 {
                engine.retire(|key| key == 2);
            }
            if step == 45 {
                // a block for one row, longer than what is kept apart
                let rows = rows_of(engine.extend(&[(0, &all[48..52])]));
                assert_close(&rows[0], &full[51], 1e-4, &format!("{case}, block"));
                continue;
            }
            let starts = [3, 7, 5];
            // the block put row 0 three further ahead than one id a step
            let next = |key: usize| {
                starts[key] + step + if key == 0 && step > 45 { 3 } else { 0 }
                    - usize::from(key == 1 && step > 45)
            };
            let tokens: Vec<Option<u32>> =
                engine.keys().iter().map(|key| Some(all[next(*key)])).collect();
            let keys = engine.keys().to_vec();
            let rows = rows_of(engine.step(&tokens));
            for (key, row) in keys.iter().zip(rows) {
                assert_close(
                    &row,
                    &full[next(*key)],
                    1e-4,
                    &format!("{case}, row {key}, step {step}"),
                );
            }
        }
    }
}

#[test]
fn what_all_prompts_begin_with_is_read_once_and_changes_no_logit() {
    let device = Default::default();
    for (case, place) in cases() {
        let all = long(&ids(&json(&folder(case).join("expected.json"))["ids"]));
        let (_, model) = load::<Plain>(&folder(case), &place);
        let prompt = |tail: &[u32]| [&all[..40], tail].concat();
        let prompts =
            [prompt(&all[3..9]), prompt(&all[10..11]), prompt(&all[3..9]), prompt(&all[20..29])];
        let rows: Vec<(usize, &[u32])> =
            prompts.iter().enumerate().map(|(key, prompt)| (key, prompt.as_slice())).collect();
        let (mut shared, mut alone) = (Engine::new(&model, &device), Engine::new(&model, &device));
        shared.share(prompts.iter().map(Vec::as_slice));
        let (mut got, mut want) = (rows_of(shared.admit(&rows)), rows_of(alone.admit(&rows)));
        // 40 once and tails of 6, 1 and 9 instead of 46, 41 and 49
        assert_eq!((shared.tokens_read, alone.tokens_read), (56, 136));
        for step in 0..5 {
            for (row, (got, want)) in got.iter().zip(&want).enumerate() {
                assert_close(got, want, 1e-4, &format!("{case}, row {row}, step {step}"));
            }
            let tokens =
                [Some(all[step]), Some(all[step + 1]), Some(all[step + 2]), Some(all[step])];
            (got, want) = (rows_of(shared.step(&tokens)), rows_of(alone.step(&tokens)));
        }
        // short beginnings and equal prompts are read as they are
        let mut engine = Engine::new(&model, &device);
        engine.share([&all[..50], &all[..50]]);
        engine.share([&all[..20], &all[5..25]]);
        assert_eq!(engine.tokens_read, 0);
    }
}

#[test]
fn gradients_and_updates_equal_pytorch() {
    let device = Default::default();
    for (case, place) in cases() {
        let expected = json(&folder(case).join("expected.json"));
        let all = ids(&expected["ids"]);
        let (_, mut model) = load::<Tracked>(&folder(case), &place);
        let sequence = TrainingSequence::whole(all.clone());
        let config = OptimizerConfig {
            learning_rate: LearningRate::literal(0.01),
            weight_decay: WeightDecay::literal(0.1),
            warmup_updates: 0,
            ..OptimizerConfig::default()
        };
        let mut optimizer = AdamW::<Tracked>::new(config, 3);
        for step in 0..3 {
            let batch = MicroBatch::new(&[&sequence], &device);
            let (logprobs, _) = response_logprobs(&model, &batch, false);
            let loss = (logprobs * batch.weights).sum().neg();
            let gradients = loss.backward();
            let mut sum = GradientSum::default();
            sum.collect(&model, &gradients);
            if step == 0 {
                assert_close(
                    &[loss.into_scalar()],
                    &[expected["loss"].as_f64().unwrap() as f32],
                    1e-5,
                    case,
                );
                let want = load_tensors(&folder(case).join("gradients.safetensors")).unwrap();
                let norm: f64 = want
                    .values()
                    .flat_map(|tensor| &tensor.values)
                    .map(|value| f64::from(*value).powi(2))
                    .sum::<f64>()
                    .sqrt();
                assert!(
                    (sum.norm() - norm).abs() < 1e-4 * norm,
                    "{case}: norm {} is not {norm}",
                    sum.norm()
                );
                let got = sum.named(&model);
                assert_eq!(got.len(), want.len(), "{case}: parameters");
                for NamedTensor { name, values, .. } in got {
                    assert_close(
                        &values,
                        &want[&name].values,
                        2e-4,
                        &format!("{case}: gradient of {name}"),
                    );
                }
            }
            let norm = sum.norm();
            model = optimizer.update(model, sum, norm);
        }
        let got = logits(&model, &ForwardInput::right_padded(&[&all], &device), None);
        assert_close(
            got.last().unwrap(),
            &numbers(&expected["trained_logits"]),
            2e-3,
            &format!("{case}: after three updates"),
        );
    }
}

#[test]
fn a_saved_checkpoint_loads_again() {
    for (case, place) in cases() {
        let (config, model) = load::<Plain>(&folder(case), &place);
        let copy = tempfile::tempdir().unwrap();
        save_folder(copy.path(), &config, &model).unwrap();
        let (config_again, again) = load::<Plain>(copy.path(), &plain());
        assert_eq!(config, config_again);
        assert_eq!(named_parameters(&model), named_parameters(&again));
    }
}

#[test]
fn half_precision_and_shards_load() {
    let (_, model) = load::<Plain>(&folder("qwen2"), &plain());
    let parameters = named_parameters(&model);
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder("qwen2").join("config.json"), copy.path().join("config.json")).unwrap();
    write_shards(copy.path(), &parameters);
    let (_, sharded) = load::<Plain>(copy.path(), &plain());
    assert_eq!(named_parameters(&sharded), parameters);
}

#[test]
fn a_configuration_knows_its_models_parameters_and_linear_maps() {
    for case in CASES {
        let (config, mut model) = load::<Plain>(&folder(case), &plain());
        let held: usize = named_parameters(&model).iter().map(|tensor| tensor.values.len()).sum();
        let least = config.footprint().parameters as usize;
        // biases and norms are what is left out
        assert!(least <= held && held - least < held / 20, "{case}: {least} of {held}");
        let maps = config.linear_maps().map(|map| (map.key, [map.d_input, map.d_output]));
        let built = model.projections_mut();
        assert!(maps.eq(built.into_iter().map(|(key, map)| (key, map.weight.dims()))), "{case}");
    }
}

#[test]
fn a_wrong_checkpoint_is_named() {
    let error = |change: &dyn Fn(&mut serde_json::Value)| {
        let copy = tempfile::tempdir().unwrap();
        let mut config = json(&folder("llama").join("config.json"));
        change(&mut config);
        std::fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
        std::fs::copy(
            folder("llama").join("model.safetensors"),
            copy.path().join("model.safetensors"),
        )
        .unwrap();
        load_folder::<AutoFamily, Plain>(copy.path(), &plain()).unwrap_err().to_string()
    };
    let unknown = error(&|config| config["model_type"] = "gemma".into());
    assert!(unknown.contains("`gemma`") && unknown.contains("qwen3"), "{unknown}");
    let missing = error(&|config| config["num_hidden_layers"] = 3.into());
    assert!(
        missing.contains(" tensors are missing, such as `model.layers.2.input_layernorm.weight`"),
        "{missing}"
    );
    let extra = error(&|config| config["num_hidden_layers"] = 1.into());
    assert!(
        extra.contains("`model.layers.1.") && extra.contains(" tensors belong to no parameter"),
        "{extra}"
    );
    let shape = error(&|config| config["intermediate_size"] = 41.into());
    assert!(
        shape.contains("gate_proj.weight` has the shape [40, 32]") && shape.contains("[41, 32]"),
        "{shape}"
    );
    // found by fuzzing: room for it was made before the file was looked at
    let giant = error(&|config| config["hidden_size"] = 800_000_000.into());
    assert!(
        giant.contains("config.json") && giant.contains("parameters, but the weight files hold"),
        "{giant}"
    );
    let beyond = error(&|config| {
        ["hidden_size", "intermediate_size", "num_hidden_layers"]
            .iter()
            .for_each(|key| config[*key] = 800_000_000.into());
    });
    assert!(beyond.contains("more than 2^64 parameters"), "{beyond}");
    let activation = error(&|config| config["hidden_act"] = "gelu".into());
    assert!(activation.contains("`gelu`"), "{activation}");
}
