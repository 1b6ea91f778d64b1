//! Hugging Face checkpoint folders: `config.json` and one or many safetensors files, all inside the
//! folder (a file may be a symbolic link out of it, as in the hub's cache).

use crate::parameters::{fill_parameters, saved_parameters};
use crate::unsupported::refuse_quantised;
use crate::{
    ModelConfig, ModelFamily, NotFinite, Placement, WeightFiles, find_not_finite, flat_parameters,
    is_adapter_parameter, write_tensors,
};
use burn::module::Module;
use burn::tensor::FloatDType;
use burn::tensor::backend::Backend;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// What can be wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file is missing, unreadable or unwritable.
    #[error("cannot access `{path}`: {source}")]
    Access {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{path}`: {reason}")]
    Invalid {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor holds a value that is no number, infinite, or too large to be squared.
    #[error(
        "`{path}`: {found}\nhint: its policy is broken; use an earlier checkpoint, or a sound copy"
    )]
    NotFinite {
        /// The file, or the folder that was to be written.
        path: PathBuf,
        /// The tensor, and its first such value.
        found: NotFinite,
    },
}

impl From<paretopo_durable::Failure> for CheckpointError {
    fn from(failure: paretopo_durable::Failure) -> Self {
        Self::Access { path: failure.path, source: failure.source }
    }
}

pub(crate) fn access(path: &Path) -> impl Fn(std::io::Error) -> CheckpointError {
    move |source| CheckpointError::Access { path: path.into(), source }
}

pub(crate) fn invalid(path: &Path, reason: impl ToString) -> CheckpointError {
    CheckpointError::Invalid { path: path.into(), reason: reason.to_string() }
}

/// Reads a checkpoint folder into a model, in f32.
///
/// # Errors
/// See [`load_folder_as`].
pub fn load_folder<F: ModelFamily, B: Backend>(
    folder: &Path,
    place: &Placement<B>,
) -> Result<(F::Config, F::Model<B>), CheckpointError> {
    load_folder_as::<F, B>(folder, FloatDType::F32, place)
}

/// Reads a checkpoint folder into a model whose matrices are held in `precision`; one tensor is on
/// its way at a time.
///
/// # Errors
/// Names the file and what is wrong with it: an unknown `model_type`, an unsupported setting, or a
/// tensor that is missing, left over, mis-shaped or not finite.
pub fn load_folder_as<F: ModelFamily, B: Backend>(
    folder: &Path,
    precision: FloatDType,
    place: &Placement<B>,
) -> Result<(F::Config, F::Model<B>), CheckpointError> {
    let config = read_config::<F>(folder)?;
    let mut weights = WeightFiles::open(&weight_files(folder)?)?;
    refuse_quantised(weights.packed()).map_err(|reason| invalid(folder, reason))?;
    // a few tensors too few are named below, but no room is made for a model that cannot be meant
    let (least, held) = (config.footprint().parameters, weights.values());
    if least / 2.0 > held as f64 {
        let count = match least {
            least if least >= u64::MAX as f64 => "more than 2^64".into(),
            least => format!("at least {least}"),
        };
        let reason =
            format!("describes a model of {count} parameters, but the weight files hold {held}");
        return Err(invalid(&folder.join("config.json"), reason));
    }
    let model =
        F::init(&config, place).map_err(|reason| invalid(&folder.join("config.json"), reason))?;
    weights.forget(|name| config.is_superfluous(name));
    let held: BTreeSet<String> = weights.names().cloned().collect();
    let model = fill_parameters(model, &mut weights, precision, folder, |key| {
        let other = config.other_name(key).filter(|name| held.contains(name));
        (!is_adapter_parameter(key)).then(|| other.unwrap_or_else(|| key.to_owned()))
    });
    Ok((config, model?))
}

/// Reads a folder's `config.json`.
///
/// # Errors
/// When it is missing or malformed, or its `model_type` or another setting is not supported; names
/// the setting.
pub fn read_config<F: ModelFamily>(folder: &Path) -> Result<F::Config, CheckpointError> {
    let path = folder.join("config.json");
    let text = paretopo_reading::read_text(&path).map_err(access(&path))?;
    let value = serde_json::from_str(&text).map_err(|error| invalid(&path, error))?;
    F::parse(value).map_err(|reason| invalid(&path, reason))
}

/// `model.safetensors`, or the shards that `model.safetensors.index.json` names.
pub(crate) fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let index_path = folder.join("model.safetensors.index.json");
    let single = folder.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    if !index_path.exists() {
        let other = other_weights(folder).map_or_else(String::new, |name| {
            format!(
                "; `{name}` cannot be read here\nhint: take the checkpoint in safetensors files"
            )
        });
        let reason =
            format!("holds no `model.safetensors` or `model.safetensors.index.json`{other}");
        return Err(invalid(folder, reason));
    }
    let text = paretopo_reading::read_text(&index_path).map_err(access(&index_path))?;
    let index: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| invalid(&index_path, error))?;
    let map = index["weight_map"]
        .as_object()
        .filter(|map| !map.is_empty())
        .ok_or_else(|| invalid(&index_path, "`weight_map` is missing or empty"))?;
    let mut names = BTreeSet::new();
    for (tensor, name) in map {
        let inside = name.as_str().filter(|name| stays_inside(name)).ok_or_else(|| {
            let reason = format!(
                "`weight_map` puts `{tensor}` into {name}, which is no file inside this folder"
            );
            invalid(&index_path, reason)
        })?;
        names.insert(inside);
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Whether a file name leads to a place below its folder: it names something, and has neither a
/// root nor `..` in it.
fn stays_inside(name: &str) -> bool {
    let parts = || Path::new(name).components();
    !name.contains('\\')
        && parts().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        && parts().any(|part| matches!(part, Component::Normal(_)))
}

/// A file of weights in another format.
fn other_weights(folder: &Path) -> Option<String> {
    let names = std::fs::read_dir(folder).ok()?.flatten();
    let mut names: Vec<String> =
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let formats = [".gguf", ".bin", ".pt", ".pth", ".npz", ".h5", ".msgpack", ".onnx"];
    names.into_iter().find(|name| formats.iter().any(|format| name.ends_with(format)))
}

/// Writes `config.json` and `model.safetensors` (f32) so that transformers loads them. Existing
/// files are replaced; adapters are not written.
///
/// # Errors
/// When a file cannot be written; when a parameter is not finite, before anything is.
pub fn save_folder<B: Backend, M: Module<B>>(
    folder: &Path,
    config: &impl ModelConfig,
    model: &M,
) -> Result<(), CheckpointError> {
    require_finite(folder, model, |key| !is_adapter_parameter(key))?;
    paretopo_durable::create_folder(folder)?;
    let mut value = serde_json::to_value(config).map_err(|error| invalid(folder, error))?;
    value["architectures"] = serde_json::json!([config.class_name()]);
    value["torch_dtype"] = "float32".into();
    let config_path = folder.join("config.json");
    let text =
        serde_json::to_string_pretty(&value).map_err(|error| invalid(&config_path, error))?;
    paretopo_durable::write(&config_path, (text + "\n").as_bytes())?;
    let tensors =
        saved_parameters(model, |key| (!is_adapter_parameter(key)).then(|| key.to_owned()));
    write_tensors(&folder.join("model.safetensors"), &tensors)
}

/// # Errors
/// Names a parameter that is not finite, of those whose key is `wanted`.
pub(crate) fn require_finite<B: Backend, M: Module<B>>(
    folder: &Path,
    model: &M,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), CheckpointError> {
    match find_not_finite(flat_parameters(model, |key, _| wanted(key)), Vec::new()) {
        Some(found) => Err(CheckpointError::NotFinite { path: folder.into(), found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stay_inside_their_folder() {
        for name in [
            "model-1.safetensors",
            "./model-1.safetensors",
            "shards/1.safetensors",
            "..model",
            "a..b",
        ] {
            assert!(stays_inside(name), "{name}");
        }
        for name in
            ["", "/etc/passwd", "../model.safetensors", "a/../../b", "./..", ".", "..\\b", "C:\\b"]
        {
            assert!(!stays_inside(name), "{name}");
        }
    }
}
