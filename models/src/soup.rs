//! Interpolating checkpoints (rewarded soups, Rame et al., 2023, arXiv 2306.04488):
//!
//! `theta = sum over j of w_j theta_j`, with weights that add up to 1.
//!
//! Policies that were trained from one start for different objectives are often connected by policies
//! that trade these objectives off, so that a front costs as many trainings as objectives.

use crate::checkpoint::{CheckpointError, access, invalid, weight_files};
use crate::weights::{NamedTensor, SavedTensor, WeightFiles, write_tensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What weights may miss 1 by.
const ROUNDING: f64 = 1e-6;

/// Keys of `config.json` that say how a file came about, not what the model is.
const INCIDENTAL: [&str; 4] = ["torch_dtype", "dtype", "transformers_version", "_name_or_path"];

/// Writes the weighted mean of checkpoint folders to the folder `out`, in f32, with all other files of the
/// first. One of the models is held in memory.
///
/// ```no_run
/// use paretopo_models::soup;
/// use std::path::{Path, PathBuf};
///
/// let ingredients = [(PathBuf::from("accurate"), 0.7), (PathBuf::from("thrifty"), 0.3)];
/// soup(&ingredients, Path::new("between"))?;
/// # Ok::<(), paretopo_models::CheckpointError>(())
/// ```
///
/// # Errors
/// When there are fewer than two folders, weights do not add up to 1, configurations or tensors differ,
/// a value is not finite, or a file cannot be read or written. `out` must not hold a checkpoint yet.
pub fn soup(ingredients: &[(PathBuf, f64)], out: &Path) -> Result<(), CheckpointError> {
    let [(first, _), rest @ ..] = ingredients else {
        return Err(invalid(out, "a soup needs at least two checkpoints"));
    };
    if rest.is_empty() {
        return Err(invalid(out, "a soup needs at least two checkpoints"));
    }
    let total: f64 = ingredients.iter().map(|(_, weight)| weight).sum();
    if (total - 1.0).abs() > ROUNDING || ingredients.iter().any(|(_, weight)| !weight.is_finite()) {
        return Err(invalid(out, format!("the weights add up to {total}, not to 1")));
    }
    let checkpoint = ["model.safetensors", "model.safetensors.index.json"];
    if checkpoint.iter().any(|file| out.join(file).exists()) {
        return Err(invalid(out, "holds a checkpoint already\nhint: choose another folder"));
    }
    let config = config_of(first)?;
    for (folder, _) in rest {
        if config_of(folder)? != config {
            let reason = format!("describes another model than that of `{}`", first.display());
            return Err(invalid(&folder.join("config.json"), reason));
        }
    }
    let tensors = mixed(ingredients)?;
    copy_others(first, out)?;
    let saved: Vec<SavedTensor> = tensors.into_values().map(SavedTensor::from).collect();
    write_tensors(&out.join("model.safetensors"), &saved)
}

/// The weighted sum of each tensor.
fn mixed(ingredients: &[(PathBuf, f64)]) -> Result<BTreeMap<String, NamedTensor>, CheckpointError> {
    let mut sums: BTreeMap<String, NamedTensor> = BTreeMap::new();
    for (index, (folder, weight)) in ingredients.iter().enumerate() {
        let mut files = WeightFiles::open(&weight_files(folder)?)?;
        let names: Vec<String> = files.names().cloned().collect();
        if index > 0
            && let Some(missing) = sums.keys().find(|name| !names.contains(name))
        {
            return Err(invalid(folder, format!("has no tensor `{missing}`")));
        }
        for name in names {
            let Some(tensor) = files.take(&name) else { continue };
            let mut tensor = tensor?;
            match sums.get_mut(&name) {
                None if index == 0 => {
                    tensor.values.iter_mut().for_each(|value| *value = scaled(*value, *weight));
                    sums.insert(name, tensor);
                }
                Some(sum) if sum.shape == tensor.shape => {
                    let pairs = sum.values.iter_mut().zip(&tensor.values);
                    pairs.for_each(|(sum, value)| *sum += scaled(*value, *weight));
                }
                Some(sum) => {
                    let (found, expected) = (&tensor.shape, &sum.shape);
                    let reason = format!("`{name}` has the shape {found:?}, not {expected:?}");
                    return Err(invalid(folder, reason));
                }
                None => {
                    let reason = format!("has the tensor `{name}`, which the first has not");
                    return Err(invalid(folder, reason));
                }
            }
        }
    }
    Ok(sums)
}

fn scaled(value: f32, weight: f64) -> f32 {
    (f64::from(value) * weight) as f32
}

/// What `config.json` says of the model.
fn config_of(folder: &Path) -> Result<serde_json::Value, CheckpointError> {
    let path = folder.join("config.json");
    let text = paretopo_reading::read_text(&path).map_err(access(&path))?;
    let mut value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| invalid(&path, error))?;
    if let Some(keys) = value.as_object_mut() {
        INCIDENTAL.iter().for_each(|key| drop(keys.remove(*key)));
    }
    Ok(value)
}

/// Copies the files of a folder but for weights; `config.json` says that they are f32, which is what a
/// soup's are.
fn copy_others(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    paretopo_durable::create_folder(to)?;
    for entry in std::fs::read_dir(from).map_err(access(from))? {
        let entry = entry.map_err(access(from))?;
        let path = entry.path();
        let name = entry.file_name();
        if path.is_file() && !name.to_string_lossy().contains("safetensors") {
            let mut bytes = std::fs::read(&path).map_err(access(&path))?;
            if name == "config.json" {
                bytes = with_type_f32(&bytes).map_err(|error| invalid(&path, error))?;
            }
            paretopo_durable::write(&to.join(name), &bytes)?;
        }
    }
    Ok(())
}

/// A `config.json` whose numbers' type, where it names one, is f32.
fn with_type_f32(config: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut value: serde_json::Value = serde_json::from_slice(config)?;
    for key in ["torch_dtype", "dtype"] {
        if let Some(named) = value.get_mut(key) {
            *named = "float32".into();
        }
    }
    Ok((serde_json::to_string_pretty(&value)? + "\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_tensors;
    use half::bf16;
    use safetensors::tensor::{Dtype, SafeTensors, TensorView};

    /// A folder with one tensor of these values, and a tokenizer.
    fn folder(name: &str, tensor: &str, values: &[f32], width: usize) -> PathBuf {
        let own = format!("paretopo-soup-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(own);
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(r#"{{"width": {width}, "torch_dtype": "{name}"}}"#);
        std::fs::write(folder.join("config.json"), config).unwrap();
        std::fs::write(folder.join("tokenizer.json"), name).unwrap();
        let (shape, values) = (vec![values.len()], values.to_vec());
        let saved = NamedTensor { name: tensor.into(), shape, values }.into();
        write_tensors(&folder.join("model.safetensors"), &[saved]).unwrap();
        folder
    }

    #[test]
    fn a_soup_is_the_weighted_mean_of_its_checkpoints() {
        let a = folder("a", "w", &[1.0, 2.0, -4.0], 3);
        let b = folder("b", "w", &[3.0, 2.0, 4.0], 3);
        let out = std::env::temp_dir().join(format!("paretopo-soup-{}-ab", std::process::id()));
        soup(&[(a.clone(), 0.75), (b.clone(), 0.25)], &out).unwrap();
        // 0.75 * 1 + 0.25 * 3 = 1.5; 0.75 * 2 + 0.25 * 2 = 2; 0.75 * -4 + 0.25 * 4 = -2
        let mixed = load_tensors(&out.join("model.safetensors")).unwrap();
        assert_eq!(mixed["w"].values, [1.5, 2.0, -2.0]);
        assert_eq!(std::fs::read_to_string(out.join("tokenizer.json")).unwrap(), "a");
        let said = |ingredients: &[(PathBuf, f64)], out: &Path| {
            soup(ingredients, out).unwrap_err().to_string()
        };
        assert!(said(&[(a.clone(), 0.5), (b.clone(), 0.5)], &out).contains("already"));
        let new = out.join("new");
        assert!(said(&[(a.clone(), 1.0)], &new).contains("at least two"));
        assert!(said(&[(a.clone(), 0.5), (b, 0.75)], &new).contains("add up to 1.25"));
        let wide = folder("c", "w", &[1.0; 3], 4);
        assert!(said(&[(a.clone(), 0.5), (wide, 0.5)], &new).contains("another model"));
        let short = folder("d", "w", &[1.0; 2], 3);
        assert!(said(&[(a.clone(), 0.5), (short, 0.5)], &new).contains("the shape [2], not [3]"));
        let other = folder("e", "v", &[1.0; 3], 3);
        assert!(said(&[(a.clone(), 0.5), (other, 0.5)], &new).contains("has no tensor `w`"));
        assert!(!new.exists());
        for name in ["a", "b", "c", "d", "e", "ab"] {
            let own = format!("paretopo-soup-{}-{name}", std::process::id());
            std::fs::remove_dir_all(std::env::temp_dir().join(own)).unwrap();
        }
    }

    /// Name, shape and values.
    type Stored<'a> = (&'a str, &'a [usize], &'a [f32]);

    /// A new folder of a test, empty but for `config.json`.
    fn bare(test: &str, name: &str) -> PathBuf {
        let own = format!("paretopo-soup-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(own).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), r#"{"width": 2}"#).unwrap();
        folder
    }

    /// A safetensors file whose values are stored in f32 or bf16.
    fn store(path: &Path, dtype: Dtype, tensors: &[Stored<'_>]) {
        let bytes = |values: &[f32]| -> Vec<u8> {
            match dtype {
                Dtype::BF16 => {
                    values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()
                }
                _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            }
        };
        let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, _, values)| bytes(values)).collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            (*name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap())
        });
        std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    /// One file for each tensor, and the index that names them.
    fn shard(folder: &Path, tensors: &[Stored<'_>]) {
        let mut map = serde_json::Map::new();
        for (place, tensor) in tensors.iter().enumerate() {
            let file = format!("model-{:05}-of-{:05}.safetensors", place + 1, tensors.len());
            store(&folder.join(&file), Dtype::F32, &[*tensor]);
            map.insert(tensor.0.to_owned(), file.into());
        }
        let index = serde_json::json!({ "metadata": { "total_size": 0 }, "weight_map": map });
        std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }

    #[test]
    fn checkpoints_of_several_files_become_one_of_one_file() {
        let [a, b, c] = ["a", "b", "c"].map(|name| bare("sharded", name));
        let out = a.with_file_name("out");
        // one file each, in another order, and both in one
        shard(&a, &[("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), ("v", &[2], &[4.0, 8.0])]);
        shard(&b, &[("v", &[2], &[0.0, -8.0]), ("w", &[2, 2], &[5.0, 6.0, 7.0, 8.0])]);
        let both: [Stored<'_>; 2] =
            [("v", &[2], &[8.0, 0.0]), ("w", &[2, 2], &[-3.0, 2.0, 1.0, 0.0])];
        store(&c.join("model.safetensors"), Dtype::F32, &both);
        let ingredients = [(a.clone(), 0.5), (b, 0.25), (c, 0.25)];
        soup(&ingredients, &out).unwrap();
        let mixed = load_tensors(&out.join("model.safetensors")).unwrap();
        assert_eq!(mixed.keys().collect::<Vec<_>>(), ["v", "w"]);
        // 0.5 * 4 + 0.25 * 0 + 0.25 * 8 = 4; 0.5 * 8 - 0.25 * 8 = 2
        assert_eq!(mixed["v"].shape, [2]);
        assert_eq!(mixed["v"].values, [4.0, 2.0]);
        // 0.5 + 1.25 - 0.75 = 1; 1 + 1.5 + 0.5 = 3; 1.5 + 1.75 + 0.25 = 3.5; 2 + 2 + 0 = 4
        assert_eq!(mixed["w"].shape, [2, 2]);
        assert_eq!(mixed["w"].values, [1.0, 3.0, 3.5, 4.0]);
        // neither the parts nor the index that names them are copied
        let mut names: Vec<String> = std::fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["config.json", "model.safetensors"]);
        // a part that is not there is named, and nothing is written
        std::fs::remove_file(a.join("model-00002-of-00002.safetensors")).unwrap();
        let new = out.join("new");
        let error = soup(&ingredients, &new).unwrap_err().to_string();
        assert!(error.contains("model-00002-of-00002.safetensors") && !new.exists(), "{error}");
        std::fs::remove_dir_all(a.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_is_stored_in_bf16_is_mixed_in_f32() {
        let [a, b] = ["a", "b"].map(|name| bare("bf16", name));
        let out = a.with_file_name("out");
        // 1 + 2^-7 is the number above 1 in bf16; 0.1 is stored as 205 / 2048
        store(&a.join("model.safetensors"), Dtype::BF16, &[("w", &[3], &[1.007_812_5, -2.5, 0.1])]);
        store(&b.join("model.safetensors"), Dtype::F32, &[("w", &[3], &[1.0, 2.5, 0.5])]);
        soup(&[(a.clone(), 0.5), (b, 0.5)], &out).unwrap();
        let bytes = std::fs::read(out.join("model.safetensors")).unwrap();
        let stored = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(stored.tensor("w").unwrap().dtype(), Dtype::F32);
        // 1 + 2^-8, which bf16 does not have; 0; 205 / 4096 + 0.25 = 1229 / 4096
        let mixed = load_tensors(&out.join("model.safetensors")).unwrap();
        assert_eq!(mixed["w"].values, [1.0 + 1.0 / 256.0, 0.0, 1229.0 / 4096.0]);
        std::fs::remove_dir_all(a.parent().unwrap()).unwrap();
    }
}
