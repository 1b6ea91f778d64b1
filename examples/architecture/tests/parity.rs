//! GPT-NeoX against Hugging Face transformers, on the tiny checkpoints of `make_fixture.py`: one with
//! parallel residuals, one with the output tied to the embedding and the blocks one after the other.
//! Everything is compared without and with kernels, of which the family uses that of the softmax.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use paretopo_engine::Engine;
use paretopo_example_architecture::{Neox, NeoxFamily};
use paretopo_models::{
    AdapterConfig, AutoFamily, CausalLm, DecodingState, ForwardInput, ModelConfig, ModelFamily,
    OneOf, Placement, attach_adapter, load_folder, load_tensors, named_parameters, save_folder,
    to_host,
};
use paretopo_training::{GradientSum, MicroBatch, TrainingSequence, response_logprobs};
use std::path::{Path, PathBuf};

type Plain = burn_flex::Flex;
type Tracked = Autodiff<Plain>;

const CASES: [&str; 2] = ["parallel", "sequential"];

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture").join(case)
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What transformers computed.
struct Expected {
    ids: Vec<u32>,
    logits: Vec<Vec<f32>>,
    greedy: Vec<u32>,
    loss: f32,
}

fn expected(case: &str) -> Expected {
    let value = json(&folder(case).join("expected.json"));
    let ids = |name: &str| serde_json::from_value(value[name].clone()).unwrap();
    Expected {
        ids: ids("ids"),
        logits: serde_json::from_value(value["logits"].clone()).unwrap(),
        greedy: ids("greedy"),
        loss: value["loss"].as_f64().unwrap() as f32,
    }
}

/// Every checkpoint, without and with kernels.
fn models<B: Backend<Device: Default>>() -> Vec<(&'static str, Neox<B>)> {
    let kernels = Placement { kernels: paretopo_backend_flex::kernels(), ..plain() };
    let places = [plain(), kernels];
    let load = |case, place| load_folder::<NeoxFamily, B>(&folder(case), place).unwrap().1;
    CASES.iter().flat_map(|case| places.iter().map(|place| (*case, load(case, place)))).collect()
}

fn plain<B: Backend<Device: Default>>() -> Placement<B> {
    Placement::plain(Default::default())
}

/// The logits of each place, row by row.
fn logits(
    model: &Neox<Plain>,
    input: &ForwardInput<Plain>,
    state: Option<&mut DecodingState<Plain, <Neox<Plain> as CausalLm<Plain>>::State>>,
) -> Vec<Vec<f32>> {
    let logits = model.unembed(model.hidden(input, state));
    let vocab_size = logits.dims()[2];
    to_host(logits).chunks(vocab_size).map(<[f32]>::to_vec).collect()
}

#[track_caller]
fn assert_close(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance, "{what}: value {index} is {got}, expected {want}");
    }
}

#[test]
fn logits_equal_transformers() {
    for (case, model) in models::<Plain>() {
        let expected = expected(case);
        // a shorter row beside it, padded behind
        let rows = [&expected.ids[..], &expected.ids[..5]];
        let got = logits(&model, &ForwardInput::right_padded(&rows, &Default::default()), None);
        let time = expected.ids.len();
        for (place, (got, want)) in got.iter().zip(&expected.logits).enumerate() {
            assert_close(got, want, 2e-5, &format!("{case}, place {place}"));
        }
        for place in 0..5 {
            let what = format!("{case}, short row, place {place}");
            assert_close(&got[time + place], &expected.logits[place], 2e-5, &what);
        }
    }
}

#[test]
fn a_token_at_a_time_has_the_same_logits() {
    let device = Default::default();
    for (case, model) in models::<Plain>() {
        let expected = expected(case);
        let mut state = model.empty_state(1);
        for (place, (id, want)) in expected.ids.iter().zip(&expected.logits).enumerate() {
            let input = ForwardInput::cached(&[&[*id]], &mut state, &device);
            let got = logits(&model, &input, Some(&mut state));
            assert_close(&got[0], want, 2e-5, &format!("{case}, place {place}"));
        }
    }
}

#[test]
fn rows_of_different_length_are_padded_in_front_and_may_idle() {
    let device = Default::default();
    for (case, model) in models::<Plain>() {
        let expected = expected(case);
        let mut state = model.empty_state(3);
        let mut read = [0; 3];
        // three prompts, then a token for two of three rows, then rows taken out and a block
        let mut feed = |lengths: &[usize], rows: &[usize], state: &mut DecodingState<_, _>| {
            let ends: Vec<usize> =
                rows.iter().zip(lengths).map(|(row, length)| read[*row] + length).collect();
            let blocks: Vec<&[u32]> =
                rows.iter().zip(&ends).map(|(row, end)| &expected.ids[read[*row]..*end]).collect();
            let input = ForwardInput::cached(&blocks, state, &device);
            let got = logits(&model, &input, Some(state));
            let time = got.len() / rows.len();
            for (place, (row, end)) in rows.iter().zip(ends).enumerate() {
                if end > read[*row] {
                    let what = format!("{case}, row {row} behind {end} ids");
                    let last = &got[(place + 1) * time - 1];
                    assert_close(last, &expected.logits[end - 1], 2e-5, &what);
                }
                read[*row] = end;
            }
        };
        feed(&[5, 1, 9], &[0, 1, 2], &mut state);
        for step in 0..6 {
            let lengths: Vec<usize> = (0..3).map(|row| usize::from(row != step % 3)).collect();
            feed(&lengths, &[0, 1, 2], &mut state);
        }
        let mut state = state.select(&[2, 0]).trim();
        feed(&[4, 1], &[2, 0], &mut state);
    }
}

#[test]
fn the_engine_decodes_greedily_as_transformers_generates() {
    let best =
        |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as u32;
    for (case, model) in models::<Plain>() {
        let expected = expected(case);
        let mut engine = Engine::new(&model, &Default::default());
        let mut row = to_host(engine.admit(&[(0, &expected.ids[..8])]));
        for want in expected.greedy {
            assert_eq!(best(&row), want, "{case}");
            row = to_host(engine.step(&[Some(want)]));
        }
    }
}

#[test]
fn gradients_equal_pytorch() {
    for (case, model) in models::<Tracked>() {
        let expected = expected(case);
        let sequence = TrainingSequence::whole(expected.ids);
        let batch = MicroBatch::new(&[&sequence], &Default::default());
        let (logprobs, _) = response_logprobs(&model, &batch, false);
        let loss = (logprobs * batch.weights).sum().neg();
        let mut sum = GradientSum::default();
        sum.collect(&model, &loss.backward());
        assert_close(&[loss.into_scalar()], &[expected.loss], 1e-5, case);
        let want = load_tensors(&folder(case).join("gradients.safetensors")).unwrap();
        let got = sum.named(&model);
        assert_eq!(got.len(), want.len(), "{case}: parameters");
        for tensor in got {
            let what = format!("{case}: gradient of {}", tensor.name);
            assert_eq!(tensor.shape, want[&tensor.name].shape, "{what}");
            assert_close(&tensor.values, &want[&tensor.name].values, 2e-5, &what);
        }
    }
}

#[test]
fn a_saved_checkpoint_holds_what_transformers_saved() {
    for case in CASES {
        let (config, model) = load_folder::<NeoxFamily, Plain>(&folder(case), &plain()).unwrap();
        let copy = tempfile::tempdir().unwrap();
        save_folder(copy.path(), &config, &model).unwrap();
        let again = load_folder::<NeoxFamily, Plain>(copy.path(), &plain()).unwrap();
        assert_eq!(again.0, config);
        assert_eq!(named_parameters(&again.1), named_parameters(&model));
        let tensors = |folder: &Path| load_tensors(&folder.join("model.safetensors")).unwrap();
        assert_eq!(tensors(copy.path()), tensors(&folder(case)), "{case}");
        let settings = json(&copy.path().join("config.json"));
        let theirs = json(&folder(case).join("config.json"));
        for (name, value) in settings.as_object().unwrap() {
            // transformers calls it `dtype` since its fifth version, and writes null for no id; the
            // range of initial weights is an f32 here
            if name != "torch_dtype" && !theirs[name].is_null() {
                let number = |value: &serde_json::Value| value.as_f64().map(|value| value as f32);
                let same = *value == theirs[name] || number(value) == number(&theirs[name]);
                assert!(same, "{name}: {value} is not {}", theirs[name]);
            }
        }
    }
}

#[test]
fn a_configuration_knows_its_models_parameters_and_linear_maps() {
    for case in CASES {
        let (config, mut model) =
            load_folder::<NeoxFamily, Plain>(&folder(case), &plain()).unwrap();
        let matrices: usize = named_parameters(&model)
            .iter()
            .filter(|tensor| tensor.shape.len() == 2)
            .map(|tensor| tensor.values.len())
            .sum();
        assert_eq!(config.footprint().parameters, matrices as f64, "{case}");
        let listed = config.linear_maps().map(|map| (map.key, [map.d_input, map.d_output]));
        let held: Vec<(String, [usize; 2])> = model
            .projections_mut()
            .into_iter()
            .map(|(key, map)| (key, map.weight.dims()))
            .collect();
        assert!(listed.eq(held.iter().cloned()), "{case}");
        // and each is where its key says
        let keys: Vec<String> =
            named_parameters(&model).into_iter().map(|held| held.name).collect();
        assert!(held.iter().all(|(key, _)| keys.contains(&format!("{key}.weight"))), "{case}");
    }
}

#[test]
fn adapters_are_attached_to_every_linear_map() {
    let (config, model) = load_folder::<NeoxFamily, Plain>(&folder("parallel"), &plain()).unwrap();
    let adapter: AdapterConfig = serde_json::from_str(r#"{"rank": 2}"#).unwrap();
    let model = attach_adapter(model, &adapter, 3, &Default::default()).unwrap();
    let named = named_parameters(&model);
    for map in config.linear_maps() {
        let shape = |end: &str| {
            let name = format!("{}.{end}", map.key);
            named.iter().find(|tensor| tensor.name == name).unwrap().shape.clone()
        };
        assert_eq!(shape("lora.a"), [2, map.d_input], "{}", map.key);
        assert_eq!(shape("lora.b"), [map.d_output, 2], "{}", map.key);
    }
}

/// A program may have this family and the shipped ones.
#[test]
fn one_program_loads_both_kinds_of_checkpoints() {
    type Both = OneOf<NeoxFamily, AutoFamily>;
    let llama = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models/llama");
    for (folder, class) in [(folder("parallel"), "GPTNeoXForCausalLM"), (llama, "LlamaForCausalLM")]
    {
        let (config, model) = load_folder::<Both, Plain>(&folder, &plain()).unwrap();
        assert_eq!(config.class_name(), class);
        let value = json(&folder.join("expected.json"));
        let ids: Vec<u32> = serde_json::from_value(value["ids"].clone()).unwrap();
        let want: Vec<Vec<f32>> = serde_json::from_value(value["logits"].clone()).unwrap();
        // the first half at once, then a token at a time
        let mut state = model.empty_state(1);
        let mut read = 0;
        for end in ids.len() / 2..=ids.len() {
            let input = ForwardInput::cached(&[&ids[read..end]], &mut state, &Default::default());
            let last = model.hidden(&input, Some(&mut state)).narrow(1, end - read - 1, 1);
            let got = to_host(model.unembed(last));
            assert_close(&got, &want[end - 1], 1e-4, &format!("{class} behind {end} ids"));
            read = end;
        }
        // what it saves is what it loaded
        let copy = tempfile::tempdir().unwrap();
        save_folder(copy.path(), &config, &model).unwrap();
        let tensors = |folder: &Path| load_tensors(&folder.join("model.safetensors")).unwrap();
        assert_eq!(tensors(copy.path()), tensors(&folder));
        assert_eq!(load_folder::<Both, Plain>(copy.path(), &plain()).unwrap().0, config);
    }
    let error = Both::parse(serde_json::json!({"model_type": "gemma"})).unwrap_err();
    assert!(error.contains("`gpt_neox`, `llama`, `qwen2`, `qwen3`"), "{error}");
}

#[test]
fn what_changes_the_numbers_is_computed_or_refused_by_name() {
    let parse = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = json(&folder("parallel").join("config.json"));
        change(&mut value);
        NeoxFamily::parse(value)
    };
    // transformers 4 has them at the top
    let old = parse(&|config| {
        config["rope_parameters"] = serde_json::Value::Null;
        config["rotary_pct"] = 0.5.into();
        config["rotary_emb_base"] = 500.into();
    });
    let device = Default::default();
    let ids = expected("parallel").ids;
    let input = ForwardInput::right_padded(&[&ids], &device);
    let (_, model) = load_folder::<NeoxFamily, Plain>(&folder("parallel"), &plain()).unwrap();
    let copy = tempfile::tempdir().unwrap();
    save_folder(copy.path(), &old.unwrap(), &model).unwrap();
    let (_, again) = load_folder::<NeoxFamily, Plain>(copy.path(), &plain()).unwrap();
    assert_eq!(logits(&again, &input, None), logits(&model, &input, None));

    type Change = fn(&mut serde_json::Value);
    let refused: [(&str, Change); 9] = [
        ("model_type", |config| config["model_type"] = "gpt_neox_japanese".into()),
        ("hidden_act", |config| config["hidden_act"] = "relu".into()),
        ("hidden_size", |config| config["hidden_size"] = 17.into()),
        ("vocab_size", |config| config["vocab_size"] = 0.into()),
        ("rotary_pct", |config| config["rotary_pct"] = 0.25.into()),
        ("rotary_emb_base", |config| config["rotary_emb_base"] = 10_000.into()),
        ("rotary_pct", |config| config["rope_parameters"]["partial_rotary_factor"] = 0.4.into()),
        ("quantization_config", |config| {
            config["quantization_config"] = serde_json::json!({"quant_method": "gptq"});
        }),
        ("rope_scaling", |config| {
            config["rope_scaling"] = serde_json::json!({"type": "linear", "factor": 2.0});
        }),
    ];
    for (name, change) in refused {
        let error = parse(&change).unwrap_err();
        assert!(error.contains(&format!("`{name}`")), "{name}: {error}");
    }
}
