//! `paretopo soup` as a person runs it: on a checkpoint of several files and one in bf16, with
//! weights beyond its checkpoints, and where it cannot be done.

use crate::{Plain, checkout, load, plain, write_shards};
use paretopo_models::{NamedTensor, load_tensors};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(case: &str) -> PathBuf {
    checkout("tests/fixtures/models").join(case)
}

fn soup(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo"));
    command.arg("soup").args(arguments).current_dir(folder).output().unwrap()
}

#[track_caller]
fn written(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A new folder with a fixture's `config.json`, and its tensors.
fn begun(parent: &Path, name: &str, case: &str) -> (PathBuf, BTreeMap<String, NamedTensor>) {
    let folder = parent.join(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(fixture(case).join("config.json"), folder.join("config.json")).unwrap();
    (folder, load_tensors(&fixture(case).join("model.safetensors")).unwrap())
}

/// A fixture whose tensors lie in two files.
fn sharded(parent: &Path, name: &str, case: &str) {
    let (folder, tensors) = begun(parent, name, case);
    write_shards(&folder, &tensors.into_values().collect::<Vec<_>>());
}

/// The number of bf16 that a number of f32 begins with: its upper 16 bits.
fn shortened(value: f32) -> f32 {
    f32::from_bits(value.to_bits() & 0xffff_0000)
}

/// A fixture in bf16, each value [`shortened`].
fn halved(parent: &Path, name: &str, case: &str) {
    let (folder, tensors) = begun(parent, name, case);
    let (mut header, mut values) = (Map::new(), Vec::new());
    for (name, tensor) in &tensors {
        let start = values.len();
        let upper = |value: &f32| ((value.to_bits() >> 16) as u16).to_le_bytes();
        values.extend(tensor.values.iter().flat_map(upper));
        let place = [start, values.len()];
        let info = json!({ "dtype": "BF16", "shape": tensor.shape, "data_offsets": place });
        header.insert(name.clone(), info);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    let bytes = [&length[..], &header[..], &values[..]].concat();
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

#[test]
fn a_checkpoint_of_several_files_and_one_in_bf16_are_mixed() {
    let folder = tempfile::tempdir().unwrap();
    sharded(folder.path(), "whole", "qwen2");
    halved(folder.path(), "half", "qwen2");
    // without weights they are equal
    let output = soup(folder.path(), &["whole", "half", "--out", "between"]);
    assert_eq!(written(&output), "wrote between\n");
    let between = folder.path().join("between");
    let mixed = load_tensors(&between.join("model.safetensors")).unwrap();
    let whole = load_tensors(&fixture("qwen2").join("model.safetensors")).unwrap();
    assert!(mixed.keys().eq(whole.keys()));
    let mut moved = 0;
    for (name, tensor) in &whole {
        assert_eq!(mixed[name].shape, tensor.shape, "{name}");
        for (found, value) in mixed[name].values.iter().zip(&tensor.values) {
            // halves are exact, and their sum is rounded once, here and there
            assert_eq!(*found, 0.5 * *value + 0.5 * shortened(*value), "{name}");
            moved += usize::from(found != value);
        }
    }
    assert!(moved > 1000, "only {moved} values are between");
    // what is written is one checkpoint of one file in f32, and a model
    let config = std::fs::read_to_string(between.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert!(["torch_dtype", "dtype"].iter().any(|key| config[*key] == "float32"), "{config}");
    assert!(!between.join("model.safetensors.index.json").exists());
    drop(load::<Plain>(&between, &plain()));
}

#[test]
fn weights_may_lead_beyond_the_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    sharded(folder.path(), "whole", "qwen2");
    halved(folder.path(), "half", "qwen2");
    let arguments = ["half", "whole", "--weights", "-0.5,1.5", "--out", "beyond"];
    assert_eq!(written(&soup(folder.path(), &arguments)), "wrote beyond\n");
    let mixed = load_tensors(&folder.path().join("beyond/model.safetensors")).unwrap();
    let whole = load_tensors(&fixture("qwen2").join("model.safetensors")).unwrap();
    for (name, tensor) in &whole {
        for (found, value) in mixed[name].values.iter().zip(&tensor.values) {
            // the products and their sum are rounded to 24 bits: 2^-24 = 6e-8 of 1.5 v, 0.5 v and v
            let want = 1.5 * f64::from(*value) - 0.5 * f64::from(shortened(*value));
            let error = (f64::from(*found) - want).abs();
            assert!(error <= 3e-7 * f64::from(value.abs()), "{name}: {found}, not {want}");
        }
    }
}

#[test]
fn what_cannot_be_mixed_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    sharded(folder.path(), "whole", "qwen2");
    halved(folder.path(), "half", "qwen2");
    halved(folder.path(), "other", "llama");
    sharded(folder.path(), "lacking", "qwen2");
    let lost = "model-00002-of-00002.safetensors";
    std::fs::remove_file(folder.path().join("lacking").join(lost)).unwrap();
    for (arguments, said) in [
        (&["whole"][..], "2 values required"),
        (&["whole", "other"], "`other/config.json`: describes another model than that of `whole`"),
        (&["whole", "lacking"], lost),
        (&["whole", "half", "--weights", "1"], "`--weights` has 1 for 2 checkpoints\nhint: "),
        (&["whole", "half", "--weights", "0.5,0.75"], "the weights add up to 1.25, not to 1"),
        (&["whole", "half", "--weights", "nan,1"], "the weights add up to NaN, not to 1"),
        (&["whole", "nothing"], "cannot access `nothing/config.json`"),
    ] {
        let output = soup(folder.path(), &[arguments, &["--out", "new"]].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
        assert!(!folder.path().join("new").exists(), "{arguments:?}");
    }
    // nor is a checkpoint replaced, of one file or several
    for (out, file) in [("half", "model.safetensors"), ("whole", "config.json")] {
        let before = std::fs::read(folder.path().join(out).join(file)).unwrap();
        let output = soup(folder.path(), &["whole", "half", "--out", out]);
        let error = String::from_utf8_lossy(&output.stderr);
        let said = format!("`{out}`: holds a checkpoint already\nhint: ");
        assert!(error.contains(&said), "{error}");
        assert!(before == std::fs::read(folder.path().join(out).join(file)).unwrap());
    }
    assert!(!folder.path().join("whole/model.safetensors").exists());
}
