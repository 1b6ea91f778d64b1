//! Checkpoint and adapter folders as people bring them: settings that are computed or refused by
//! name, quantised weights, ends of turns, file names that lead elsewhere.

use crate::{Plain, assert_close, checkout, ids, json, plain};
use paretopo_agent::PolicyText;
use paretopo_models::{
    AdapterConfig, AutoFamily, AutoModel, CausalLm, ForwardInput, NamedTensor, SavedTensor,
    attach_adapter, load_adapter, load_folder, load_tensors, read_config, save_adapter, to_host,
    write_tensors,
};
use serde_json::{Value, json as value};
use std::path::Path;
use std::process::Command;

fn fixture(case: &str) -> std::path::PathBuf {
    checkout("tests/fixtures/models").join(case)
}

fn logits(model: &AutoModel<Plain>, ids: &[u32]) -> Vec<f32> {
    let input = ForwardInput::right_padded(&[ids], &Default::default());
    to_host(model.unembed(model.hidden(&input, None)))
}

/// A copy of a fixture whose `config.json` has some keys changed.
fn changed(case: &str, changes: &[(&str, Value)]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut config = json(&fixture(case).join("config.json"));
    for (key, value) in changes {
        config[*key] = value.clone();
    }
    std::fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
    std::fs::copy(fixture(case).join("model.safetensors"), copy.path().join("model.safetensors"))
        .unwrap();
    copy
}

fn load(folder: &Path) -> Result<AutoModel<Plain>, String> {
    load_folder::<AutoFamily, _>(folder, &plain())
        .map(|(_, model)| model)
        .map_err(|e| e.to_string())
}

/// All experts of a layer in one tensor, as transformers 5 has them in memory.
#[test]
fn stacked_experts_are_the_experts() {
    let copy = changed("qwen3_moe", &[]);
    let path = copy.path().join("model.safetensors");
    let mut tensors = load_tensors(&path).unwrap();
    let mut stacked: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for layer in 0..2 {
        let experts = format!("model.layers.{layer}.mlp.experts");
        let mut take = |expert: usize, name: &str| {
            tensors.remove(&format!("{experts}.{expert}.{name}.weight")).unwrap().values
        };
        let (mut gate_up, mut down) = (Vec::new(), Vec::new());
        for expert in 0..4 {
            gate_up.extend(take(expert, "gate_proj"));
            gate_up.extend(take(expert, "up_proj"));
            down.extend(take(expert, "down_proj"));
        }
        // 4 experts, 8 wide, of hidden states of 16
        stacked.push((format!("{experts}.gate_up_proj"), vec![4, 2 * 8, 16], gate_up));
        stacked.push((format!("{experts}.down_proj"), vec![4, 16, 8], down));
    }
    let stacked =
        stacked.into_iter().map(|(name, shape, values)| NamedTensor { name, shape, values });
    let saved: Vec<_> = stacked.chain(tensors.into_values()).map(SavedTensor::from).collect();
    write_tensors(&path, &saved).unwrap();
    let ids = ids(&json(&fixture("qwen3_moe").join("expected.json"))["ids"]);
    let want = logits(&load(&fixture("qwen3_moe")).unwrap(), &ids);
    assert_eq!(logits(&load(copy.path()).unwrap(), &ids), want);
}

/// Parameters have other names there, beside tensors that are none of the text.
#[test]
fn the_text_of_a_checkpoint_with_images_is_the_model() {
    let copy = tempfile::tempdir().unwrap();
    let config = value!({
        "model_type": "qwen3_5", "text_config": json(&fixture("qwen3_5").join("config.json")),
        "vision_config": { "depth": 1 }
    });
    std::fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
    let tensors = load_tensors(&fixture("qwen3_5").join("model.safetensors")).unwrap();
    let write = |more: &[&str]| {
        let renamed = |name: &str| name.replacen("model.", "model.language_model.", 1);
        let text = tensors
            .values()
            .map(|tensor| NamedTensor { name: renamed(&tensor.name), ..tensor.clone() }.into());
        let others = more.iter().map(|name| SavedTensor {
            name: name.to_string(),
            shape: vec![1],
            values: Box::new(|| vec![0.5]),
        });
        let all: Vec<SavedTensor> = text.chain(others).collect();
        write_tensors(&copy.path().join("model.safetensors"), &all).unwrap();
    };
    let ids = ids(&json(&fixture("qwen3_5").join("expected.json"))["ids"]);
    let want = logits(&load(&fixture("qwen3_5")).unwrap(), &ids);
    write(&["model.visual.blocks.0.norm1.weight", "mtp.norm.weight"]);
    assert_eq!(logits(&load(copy.path()).unwrap(), &ids), want);
    write(&["model.language_model.other.weight"]);
    let error = load(copy.path()).unwrap_err();
    assert!(
        error.contains("`model.language_model.other.weight` belongs to no parameter"),
        "{error}"
    );
}

#[test]
fn rope_settings_of_transformers_4_and_5_are_the_same_model() {
    let ids = ids(&json(&fixture("llama").join("expected.json"))["ids"]);
    let of = |changes: &[(&str, Value)]| {
        load(changed("llama", changes).path()).map(|model| logits(&model, &ids))
    };
    let linear = value!({ "rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0 });
    let new = of(&[("rope_parameters", linear.clone())]).unwrap();
    assert_ne!(new, of(&[]).unwrap());
    let both = value!({ "type": "linear", "rope_type": "linear", "factor": 2.0 });
    let (theta, none) = (value!(5000.0), Value::Null);
    for scaling in [
        both.clone(),
        value!({ "type": "linear", "factor": 2 }),
        value!({ "rope_type": "linear", "factor": 2.0, "beta_fast": null }),
    ] {
        let old = [
            ("rope_parameters", none.clone()),
            ("rope_scaling", scaling),
            ("rope_theta", theta.clone()),
        ];
        assert_eq!(of(&old).unwrap(), new);
    }
    // twice the same is no contradiction
    assert_eq!(
        of(&[("rope_parameters", linear.clone()), ("rope_scaling", both), ("rope_theta", theta)])
            .unwrap(),
        new
    );
    for (changes, parts) in [
        (
            vec![(
                "rope_scaling",
                value!({ "type": "linear", "rope_type": "llama3", "factor": 2 }),
            )],
            vec!["`rope_scaling`", "`llama3`", "`linear`"],
        ),
        (
            vec![
                ("rope_parameters", linear.clone()),
                ("rope_scaling", value!({ "type": "linear", "factor": 4.0 })),
            ],
            vec!["`rope_parameters` and `rope_scaling` contradict"],
        ),
        (
            vec![("rope_parameters", linear), ("rope_theta", value!(10000.0))],
            vec!["`rope_theta` of `rope_parameters` is 5000", "10000"],
        ),
        (
            vec![
                ("rope_parameters", none.clone()),
                ("rope_scaling", value!({ "type": "yarn", "factor": 4.0 })),
            ],
            vec!["config.json", "`rope_scaling`", "`yarn`"],
        ),
        (
            vec![("rope_parameters", value!({ "rope_type": "default", "rope_theta": 0 }))],
            vec!["`rope_theta`", "from 1 to 1000000000000, not 0.0"],
        ),
    ] {
        let error = of(&changes).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} in {error}");
    }
}

#[test]
fn settings_that_change_the_numbers_are_refused_where_a_configuration_is_read() {
    for (case, key, setting) in [
        ("llama", "logit_scale", value!(0.5)),
        ("llama", "partial_rotary_factor", value!(0.25)),
        ("llama", "quantization_config", value!({ "quant_method": "fp8" })),
        ("llama", "hidden_act", value!("gelu")),
        ("llama", "head_dim", value!(7)),
        ("qwen2", "use_sliding_window", value!(true)),
        ("qwen2", "layer_types", value!(["full_attention", "sliding_attention"])),
        ("qwen3", "mlp_bias", value!(true)),
        ("qwen3", "rms_norm_eps", value!(-1.0)),
        ("qwen3", "rms_norm_eps", value!(1e300)),
        ("llama", "vocab_size", value!(0)),
        ("llama", "hidden_size", value!(0)),
        ("llama", "num_hidden_layers", value!(0)),
        ("llama", "intermediate_size", value!(10_000_000_000u64)),
        ("llama", "max_position_embeddings", value!(0)),
    ] {
        let copy = changed(case, &[(key, setting)]);
        let error = read_config::<AutoFamily>(copy.path()).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains(&format!("`{key}`")), "{error}");
    }
    // another name of the same function
    let copy = changed("llama", &[("hidden_act", value!("swish"))]);
    load(copy.path()).unwrap();
}

/// A safetensors file of one tensor of some number type and four bytes.
fn write_raw(path: &Path, name: &str, kind: &str, shape: &[usize]) {
    let header =
        value!({ name: { "dtype": kind, "shape": shape, "data_offsets": [0, 4] } }).to_string();
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&length[..], header.as_bytes(), &[1; 4]].concat()).unwrap();
}

#[test]
fn quantised_weights_are_refused_as_such() {
    // they are smaller than the model and have other names: neither is what is said
    let copy = changed("llama", &[]);
    let weights = copy.path().join("model.safetensors");
    for (name, kind, shape) in [
        ("model.layers.0.mlp.up_proj.qweight", "I32", &[1][..]),
        ("model.layers.0.mlp.up_proj.weight", "I8", &[2, 2]),
        ("model.layers.0.mlp.up_proj.weight", "U8", &[4, 1]),
        ("model.layers.0.mlp.up_proj.weight", "F8_E4M3", &[4]),
        ("model.layers.0.mlp.up_proj.weight_scale_inv", "F32", &[1]),
        ("model.layers.0.mlp.up_proj.SCB", "F32", &[1]),
    ] {
        write_raw(&weights, name, kind, shape);
        let error = load(copy.path()).unwrap_err();
        assert!(
            error.contains(&format!("`{name}`: quantised weights are not supported"))
                && error.contains("hint: "),
            "{error}"
        );
    }
    // other formats are named
    std::fs::remove_file(&weights).unwrap();
    std::fs::write(copy.path().join("model-q4_k_m.gguf"), "GGUF").unwrap();
    let error = load(copy.path()).unwrap_err();
    assert!(
        error.contains("no `model.safetensors`") && error.contains("`model-q4_k_m.gguf`"),
        "{error}"
    );
}

#[test]
fn shards_lie_inside_their_folder() {
    let copy = changed("llama", &[]);
    let outside = tempfile::tempdir().unwrap();
    let real = outside.path().join("blob");
    std::fs::rename(copy.path().join("model.safetensors"), &real).unwrap();
    let index = |name: Value| {
        let text = value!({ "weight_map": { "lm_head.weight": name } }).to_string();
        std::fs::write(copy.path().join("model.safetensors.index.json"), text).unwrap();
        load(copy.path()).map(drop)
    };
    let up = format!("../{}/blob", outside.path().file_name().unwrap().to_string_lossy());
    for name in [
        value!(real.to_str().unwrap()),
        value!(up),
        value!("shards/../../x.safetensors"),
        value!(""),
        value!("."),
        value!(3),
        Value::Null,
    ] {
        let error = index(name.clone()).unwrap_err();
        assert!(
            error.contains("model.safetensors.index.json")
                && error.contains("`lm_head.weight`")
                && error.contains(&name.to_string()),
            "{name}: {error}"
        );
    }
    let text = value!({ "weight_map": {} }).to_string();
    std::fs::write(copy.path().join("model.safetensors.index.json"), text).unwrap();
    assert!(load(copy.path()).unwrap_err().contains("`weight_map` is missing or empty"));
    // the hub's cache keeps contents elsewhere and links to them
    #[cfg(unix)]
    {
        std::fs::create_dir(copy.path().join("shards")).unwrap();
        let link = copy.path().join("shards/model-00001-of-00001.safetensors");
        std::os::unix::fs::symlink(&real, link).unwrap();
        assert_eq!(index(value!("shards/model-00001-of-00001.safetensors")), Ok(()));
        assert_eq!(index(value!("./shards/model-00001-of-00001.safetensors")), Ok(()));
    }
}

/// The shipped policy's text side, with ends of turns as given; `None` leaves a file out.
fn text_side(
    tokenizer: Value,
    generation: Option<Value>,
    model: Option<Value>,
) -> (tempfile::TempDir, Result<Vec<u32>, String>) {
    let folder = tempfile::tempdir().unwrap();
    let shipped = checkout("models/tiny-math");
    std::fs::copy(shipped.join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    let write = |name: &str, content: Value| {
        std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    };
    let mut config = json(&shipped.join("tokenizer_config.json"));
    config["eos_token"] = tokenizer;
    write("tokenizer_config.json", config);
    if let Some(eos) = generation {
        write("generation_config.json", value!({ "eos_token_id": eos }));
    }
    if let Some(eos) = model {
        let mut config = json(&shipped.join("config.json"));
        config["eos_token_id"] = eos;
        write("config.json", config);
    }
    let found = PolicyText::from_folder(folder.path());
    let ends = found.map(|text| text.end_ids).map_err(|error| error.to_string());
    (folder, ends)
}

#[test]
fn whichever_file_names_the_end_of_a_turn_it_ends() {
    let none = Value::Null;
    let end = value!("<|end|>");
    let ends = |tokenizer: &Value, generation: Option<Value>, model: Option<Value>| {
        text_side(tokenizer.clone(), generation, model).1
    };
    // `<|end|>` is 4
    assert_eq!(ends(&end, None, None).unwrap(), [4]);
    assert_eq!(ends(&value!({ "content": "<|end|>" }), None, None).unwrap(), [4]);
    assert_eq!(ends(&none, None, Some(value!(4))).unwrap(), [4]);
    assert_eq!(ends(&none, None, Some(value!([4, 1]))).unwrap(), [4, 1]);
    assert_eq!(ends(&none, Some(none.clone()), Some(value!([4]))).unwrap(), [4]);
    assert_eq!(ends(&none, Some(value!([])), Some(value!(4))).unwrap(), [4]);
    assert_eq!(ends(&none, Some(value!([2, 4])), None).unwrap(), [2, 4]);
    // what the generation configuration says goes before the model's
    assert_eq!(ends(&none, Some(value!(4)), Some(value!(7))).unwrap(), [4]);
    // the tokenizer's own comes first, and none twice
    assert_eq!(ends(&end, Some(value!([2, 4])), None).unwrap(), [4, 2]);
    assert_eq!(ends(&value!("<|nobody|>"), None, Some(value!(4))).unwrap(), [4]);

    let error = ends(&none, Some(none.clone()), Some(none.clone())).unwrap_err();
    assert!(
        error.contains("no `eos_token`")
            && error.contains("`generation_config.json`")
            && error.contains("`config.json`"),
        "{error}"
    );
    let error = ends(&value!("<|nobody|>"), None, None).unwrap_err();
    assert!(error.contains("no token `<|nobody|>`"), "{error}");
    for wrong in [value!("<|end|>"), value!(-1), value!([4, "x"]), value!(4.5)] {
        let error = ends(&end, None, Some(wrong.clone())).unwrap_err();
        assert!(
            error.contains("config.json") && error.contains("`eos_token_id`"),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn a_policy_whose_config_alone_names_the_end_stops_there_and_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let evaluate = |model: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_paretopo"))
            .args(["-q", "evaluate", "--set", "evaluation.tasks=20", "--model"])
            .arg(model)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (model, ends) = text_side(Value::Null, None, Some(value!(4)));
    assert_eq!(ends.unwrap(), [4]);
    let shipped = checkout("models/tiny-math");
    std::fs::copy(shipped.join("model.safetensors"), model.path().join("model.safetensors"))
        .unwrap();
    // but for speed and memory, the lines are the shipped policy's
    let numbers = |text: &str| text.lines().take(2).map(str::to_owned).collect::<Vec<_>>();
    let (code, want, _) = evaluate(&shipped);
    let (own_code, got, error) = evaluate(model.path());
    assert_eq!((code, own_code), (Some(0), Some(0)), "{error}");
    assert_eq!(numbers(&got), numbers(&want));
    assert!(got.contains("0.0% ran out of tokens") == want.contains("0.0% ran out of tokens"));
    // what a run writes has it, too
    let output = Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(["-q", "sft", "--run", "run", "--model"])
        .arg(model.path())
        .args(["--set", "sft.steps=1", "--set", "sft.batch_size=2"])
        .args(["--set", "evaluation.tasks=2"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = PolicyText::from_folder(&folder.path().join("run/policy")).unwrap();
    assert_eq!(written.end_ids, [4]);
    // an id that the model does not know never comes
    let mut config = json(&model.path().join("config.json"));
    config["eos_token_id"] = value!([4, 160]);
    std::fs::write(model.path().join("config.json"), config.to_string()).unwrap();
    let (code, _, error) = evaluate(model.path());
    assert!(code == Some(2) && error.contains("the id 160 is to end a turn"), "{error}");
}

/// The fixture's adapter with settings changed, and only the tensors for which `keep` holds.
fn adapter(changes: &[(&str, Value)], keep: impl Fn(&str) -> bool) -> tempfile::TempDir {
    let from = checkout("tests/fixtures/adapters/some");
    let copy = tempfile::tempdir().unwrap();
    let mut config = json(&from.join("adapter_config.json"));
    for (key, value) in changes {
        config[*key] = value.clone();
    }
    std::fs::write(copy.path().join("adapter_config.json"), config.to_string()).unwrap();
    let name = "adapter_model.safetensors";
    let tensors = load_tensors(&from.join(name)).unwrap();
    let kept = tensors.into_values().filter(|tensor| keep(&tensor.name));
    let saved: Vec<SavedTensor> = kept.map(SavedTensor::from).collect();
    write_tensors(&copy.path().join(name), &saved).unwrap();
    copy
}

#[test]
fn adapters_of_some_layers_or_without_some_maps_compute_what_is_left() {
    let device = Default::default();
    let ids = ids(&json(&fixture("qwen2").join("expected.json"))["ids"]);
    let base = || load(&fixture("qwen2")).unwrap();
    let (_, whole) =
        load_adapter(base(), &checkout("tests/fixtures/adapters/some"), &device).unwrap();
    // the same adapter with what is left out taken off
    let without = |left_out: &str| {
        let mut model = whole.clone();
        for (key, projection) in model.projections_mut() {
            if key.contains(left_out) {
                projection.lora = None;
            }
        }
        logits(&model, &ids)
    };
    for (changes, left_out) in [
        (vec![("layers_to_transform", value!([1]))], "layers.0."),
        (
            vec![("layers_to_transform", value!(0)), ("layers_pattern", value!("layers"))],
            "layers.1.",
        ),
        (vec![("exclude_modules", value!(["down_proj"]))], "down_proj"),
        (
            vec![("exclude_modules", value!(["layers.1.self_attn.q_proj"]))],
            "layers.1.self_attn.q_proj",
        ),
    ] {
        let folder = adapter(&changes, |name| !name.contains(left_out));
        let (config, model) = load_adapter(base(), folder.path(), &device).unwrap();
        let got = logits(&model, &ids);
        assert_close(&got, &without(left_out), 1e-6, left_out);
        assert_ne!(got, logits(&whole, &ids), "{left_out}");
        // what is written is read again
        let copy = tempfile::tempdir().unwrap();
        save_adapter(copy.path(), &config, "qwen2", &model).unwrap();
        let (again, model) = load_adapter(base(), copy.path(), &device).unwrap();
        assert_eq!((again, logits(&model, &ids)), (config, got));
        // with tensors for what is left out the folder contradicts itself
        let folder = adapter(&changes, |_| true);
        let error = load_adapter(base(), folder.path(), &device).unwrap_err().to_string();
        assert!(error.contains(" no parameter") && error.contains("`layers_to_transform`"));
        // however many there are, a few are named
        assert!(error.matches("lora_").count() <= 3 && error.len() < 700, "{error}");
    }
    // and the other way around: more is asked for than there is
    let folder = adapter(&[], |name| name.contains("layers.0."));
    let error = load_adapter(base(), folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains(" tensors are missing, such as `base_model.model."), "{error}");
    assert!(error.matches("lora_").count() <= 3 && error.len() < 700, "{error}");
}

#[test]
fn numbers_of_positions_are_those_of_a_model() {
    let read = |changes: &[(&str, Value)]| {
        read_config::<AutoFamily>(changed("llama", changes).path())
            .map(drop)
            .map_err(|e| e.to_string())
    };
    let none = ("rope_parameters", Value::Null);
    for (theta, is_known) in [
        (value!(10_000.0), true),
        (value!(1e9), true),
        (value!(1), true),
        (value!(1e300), false),
        (value!(1e13), false),
        (value!(0.5), false),
        (value!(-10_000.0), false),
    ] {
        let found = read(&[none.clone(), ("rope_theta", theta.clone())]);
        assert_eq!(found.is_ok(), is_known, "{theta}: {found:?}");
        let error = found.err().unwrap_or("`rope_theta`".into());
        assert!(error.contains("`rope_theta`"), "{error}");
    }
    let llama3 = |name: &str, number: Value| {
        let mut scaling = value!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 });
        scaling[name] = number;
        read(&[none.clone(), ("rope_scaling", scaling)])
    };
    assert_eq!(llama3("factor", value!(32.0)), Ok(()));
    for (name, number) in [
        ("factor", value!(1e300)),
        ("low_freq_factor", value!(0)),
        ("high_freq_factor", value!(1e7)),
        ("original_max_position_embeddings", value!(1e10)),
        ("original_max_position_embeddings", value!(0.5)),
    ] {
        let error = llama3(name, number).unwrap_err();
        assert!(error.contains(&format!("`{name}` must be a number from ")), "{error}");
    }
}

#[test]
fn ranks_beyond_the_matrices_are_refused() {
    let model = || load(&fixture("qwen2")).unwrap();
    let widest = model().projections_mut()[6].1.weight.val().dims().into_iter().max().unwrap();
    let with = |rank: usize, targets: &[&str]| {
        let targets = targets.iter().map(ToString::to_string).collect();
        let config = AdapterConfig { rank, targets, ..AdapterConfig::default() };
        attach_adapter(model(), &config, 1, &Default::default()).map(drop)
    };
    assert_eq!(with(widest, &["down_proj"]), Ok(()));
    let error = with(widest + 1, &["down_proj"]).unwrap_err();
    assert!(error.contains(&format!("{}", widest + 1)) && error.contains("down_proj"), "{error}");
    let folder = adapter(&[("r", value!(60_000))], |_| true);
    let error = load_adapter(model(), folder.path(), &Default::default()).unwrap_err().to_string();
    assert!(error.contains("adapter_config.json") && error.contains("60000"), "{error}");
}

#[test]
fn what_an_adapter_has_that_is_not_computed_is_named_with_its_file() {
    for (key, setting) in [
        ("use_dora", value!(true)),
        ("bias", value!("lora_only")),
        ("rank_pattern", value!({ "q_proj": 8 })),
        ("modules_to_save", value!(["lm_head"])),
        ("fan_in_fan_out", value!(true)),
        ("init_lora_weights", value!("pissa")),
        ("target_modules", value!(".*q_proj")),
        ("some_new_setting", value!({ "x": 1 })),
    ] {
        let folder = adapter(&[(key, setting)], |_| true);
        let base = load(&fixture("qwen2")).unwrap();
        let error = load_adapter(base, folder.path(), &Default::default()).unwrap_err().to_string();
        assert!(
            error.contains("adapter_config.json") && error.contains(&format!("`{key}`")),
            "{error}"
        );
    }
}
