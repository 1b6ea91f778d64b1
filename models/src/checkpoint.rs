//! Hugging Face checkpoint folders: `config.json` and one or many safetensors files.

use crate::parameters::{fill_parameters, saved_parameters};
use crate::{AutoConfig, AutoModel, WeightFiles, is_adapter_parameter, write_tensors};
use burn::tensor::FloatDType;
use burn::tensor::backend::Backend;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
}

pub(crate) fn access(path: &Path) -> impl Fn(std::io::Error) -> CheckpointError {
    move |source| CheckpointError::Access { path: path.into(), source }
}

pub(crate) fn invalid(path: &Path, reason: impl ToString) -> CheckpointError {
    CheckpointError::Invalid { path: path.into(), reason: reason.to_string() }
}

/// Reads a checkpoint folder into a model on `device`, in f32.
///
/// # Errors
/// See [`load_folder_as`].
pub fn load_folder<B: Backend>(
    folder: &Path,
    device: &B::Device,
) -> Result<(AutoConfig, AutoModel<B>), CheckpointError> {
    load_folder_as(folder, FloatDType::F32, device)
}

/// Reads a checkpoint folder into a model on `device` whose matrices are held in `precision`; one
/// tensor is on its way at a time.
///
/// # Errors
/// Names the file and what is wrong with it: an unknown `model_type`, an unsupported setting, or a
/// tensor that is missing, left over or mis-shaped.
pub fn load_folder_as<B: Backend>(
    folder: &Path,
    precision: FloatDType,
    device: &B::Device,
) -> Result<(AutoConfig, AutoModel<B>), CheckpointError> {
    let config = read_config(folder)?;
    let mut weights = WeightFiles::open(&weight_files(folder)?)?;
    // a few tensors too few are named below, but no room is made for a model that cannot be meant
    let (least, held) = (config.decoder().least_parameters(), weights.values());
    if least.is_none_or(|least| least / 2 > held) {
        let count = least.map_or("more than 2^64".into(), |least| format!("at least {least}"));
        let reason =
            format!("describes a model of {count} parameters, but the weight files hold {held}");
        return Err(invalid(&folder.join("config.json"), reason));
    }
    let model =
        config.init(device).map_err(|reason| invalid(&folder.join("config.json"), reason))?;
    // buffers that old checkpoints carry along, and the copy of a tied embedding
    let tied = config.decoder().tie_word_embeddings;
    weights
        .forget(|name| name.ends_with("rotary_emb.inv_freq") || tied && name == "lm_head.weight");
    let model = fill_parameters(model, &mut weights, precision, |key| {
        (!is_adapter_parameter(key)).then(|| key.to_owned())
    });
    Ok((config, model.map_err(|reason| invalid(folder, reason))?))
}

/// Reads a folder's `config.json`.
///
/// # Errors
/// When it is missing or malformed, or its `model_type` is not supported.
pub fn read_config(folder: &Path) -> Result<AutoConfig, CheckpointError> {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(access(&path))?;
    parse_config(&text).map_err(|reason| invalid(&path, reason))
}

fn parse_config(text: &str) -> Result<AutoConfig, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let supported = AutoConfig::MODEL_TYPES.join("`, `");
    match value.get("model_type").and_then(|name| name.as_str()) {
        None => Err(format!("`model_type` is missing (supported: `{supported}`)")),
        Some(name) if !AutoConfig::MODEL_TYPES.contains(&name) => {
            Err(format!("the `model_type` `{name}` is not supported (supported: `{supported}`)"))
        }
        Some(_) => serde_json::from_value(value).map_err(|error| error.to_string()),
    }
}

/// `model.safetensors`, or the shards that `model.safetensors.index.json` names.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let index_path = folder.join("model.safetensors.index.json");
    let single = folder.join("model.safetensors");
    if single.exists() || !index_path.exists() {
        return Ok(vec![single]);
    }
    let text = std::fs::read_to_string(&index_path).map_err(access(&index_path))?;
    let index: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| invalid(&index_path, error))?;
    let map = index["weight_map"]
        .as_object()
        .ok_or_else(|| invalid(&index_path, "`weight_map` is missing"))?;
    let names: BTreeSet<&str> = map.values().filter_map(|name| name.as_str()).collect();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Writes `config.json` and `model.safetensors` (f32) so that transformers loads them. Existing
/// files are replaced; adapters are not written.
///
/// # Errors
/// When a file cannot be written.
pub fn save_folder<B: Backend>(
    folder: &Path,
    config: &AutoConfig,
    model: &AutoModel<B>,
) -> Result<(), CheckpointError> {
    std::fs::create_dir_all(folder).map_err(access(folder))?;
    let mut value = serde_json::to_value(config).map_err(|error| invalid(folder, error))?;
    value["architectures"] = serde_json::json!([config.class_name()]);
    value["torch_dtype"] = "float32".into();
    let config_path = folder.join("config.json");
    let text =
        serde_json::to_string_pretty(&value).map_err(|error| invalid(&config_path, error))?;
    std::fs::write(&config_path, text + "\n").map_err(access(&config_path))?;
    let tensors =
        saved_parameters(model, |key| (!is_adapter_parameter(key)).then(|| key.to_owned()));
    write_tensors(&folder.join("model.safetensors"), &tensors)
}
