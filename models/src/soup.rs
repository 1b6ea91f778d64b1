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
use std::rc::Rc;

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
    if out.join("model.safetensors").exists() {
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
    let saved: Vec<SavedTensor> = tensors
        .into_values()
        .map(|tensor| {
            let values = Rc::new(tensor.values);
            SavedTensor {
                name: tensor.name,
                shape: tensor.shape,
                values: Box::new(move || values.as_ref().clone()),
            }
        })
        .collect();
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

/// Copies the files of a folder but for weights.
fn copy_others(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    paretopo_durable::create_folder(to)?;
    for entry in std::fs::read_dir(from).map_err(access(from))? {
        let entry = entry.map_err(access(from))?;
        let path = entry.path();
        let name = entry.file_name();
        if path.is_file() && !name.to_string_lossy().contains("safetensors") {
            let bytes = std::fs::read(&path).map_err(access(&path))?;
            paretopo_durable::write(&to.join(name), &bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_tensors;

    /// A folder with one tensor of these values, and a tokenizer.
    fn folder(name: &str, tensor: &str, values: &[f32], width: usize) -> PathBuf {
        let own = format!("paretopo-soup-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(own);
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(r#"{{"width": {width}, "torch_dtype": "{name}"}}"#);
        std::fs::write(folder.join("config.json"), config).unwrap();
        std::fs::write(folder.join("tokenizer.json"), name).unwrap();
        let values = values.to_vec();
        let saved = SavedTensor {
            name: tensor.into(),
            shape: vec![values.len()],
            values: Box::new(move || values.clone()),
        };
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
}
