//! Hugging Face checkpoint folders: `config.json` and one or many safetensors files, in f32, f16 or bf16.

use crate::{AutoConfig, AutoModel, NamedTensor, fill_parameters, named_parameters};
use burn::tensor::backend::Backend;
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
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

fn access(path: &Path) -> impl Fn(std::io::Error) -> CheckpointError {
    move |source| CheckpointError::Access { path: path.into(), source }
}

fn invalid(path: &Path, reason: impl ToString) -> CheckpointError {
    CheckpointError::Invalid { path: path.into(), reason: reason.to_string() }
}

/// Reads a checkpoint folder into a model on `device`.
///
/// # Errors
/// Names the file and what is wrong with it: an unknown `model_type`, an unsupported setting, or a tensor that is missing, left
/// over or mis-shaped.
pub fn load_folder<B: Backend>(folder: &Path, device: &B::Device) -> Result<(AutoConfig, AutoModel<B>), CheckpointError> {
    let config_path = folder.join("config.json");
    let text = std::fs::read_to_string(&config_path).map_err(access(&config_path))?;
    let config = parse_config(&text).map_err(|reason| invalid(&config_path, reason))?;
    let model = config.init(device).map_err(|reason| invalid(&config_path, reason))?;
    let mut tensors = BTreeMap::new();
    for file in weight_files(folder)? {
        tensors.append(&mut load_tensors(&file)?);
    }
    // buffers that old checkpoints carry along, and the copy of a tied embedding
    tensors.retain(|name, _| !(name.ends_with("rotary_emb.inv_freq") || config.decoder().tie_word_embeddings && name == "lm_head.weight"));
    let model = fill_parameters(model, tensors).map_err(|reason| invalid(folder, reason))?;
    Ok((config, model))
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
    let index: serde_json::Value = serde_json::from_str(&text).map_err(|error| invalid(&index_path, error))?;
    let map = index["weight_map"].as_object().ok_or_else(|| invalid(&index_path, "`weight_map` is missing"))?;
    let names: BTreeSet<&str> = map.values().filter_map(|name| name.as_str()).collect();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Reads all tensors of one safetensors file as f32.
///
/// # Errors
/// When the file cannot be read, is damaged, or holds another number type.
pub fn load_tensors(path: &Path) -> Result<BTreeMap<String, NamedTensor>, CheckpointError> {
    let file = File::open(path).map_err(access(path))?;
    // SAFETY: the map is read-only and lives only in this function; a file that another process changes meanwhile yields wrong
    // values, as reading it would.
    #[expect(unsafe_code, reason = "memory-mapping avoids a second copy of the weights")]
    let bytes = unsafe { Mmap::map(&file) }.map_err(access(path))?;
    let parsed = SafeTensors::deserialize(&bytes).map_err(|error| invalid(path, format!("not a whole safetensors file: {error}")))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in parsed.tensors() {
        let values = to_f32(&view).map_err(|reason| invalid(path, format!("`{name}` {reason}")))?;
        tensors.insert(name.clone(), NamedTensor { name, shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}

fn to_f32(view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let pairs = || view.data().chunks_exact(2).map(|bytes| [bytes[0], bytes[1]]);
    Ok(match view.dtype() {
        Dtype::F32 => view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect(),
        Dtype::F16 => pairs().map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        other => return Err(format!("is stored as {other:?}; only F32, F16 and BF16 are supported")),
    })
}

/// Serialises tensors as a safetensors file in f32.
///
/// # Errors
/// When a tensor's shape does not fit its values.
pub fn tensors_to_bytes(tensors: &[NamedTensor]) -> Result<Vec<u8>, String> {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .zip(&bytes)
        .map(|(tensor, bytes)| TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map(|view| (tensor.name.as_str(), view)))
        .collect();
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views.map_err(|error| error.to_string())?, Some(metadata)).map_err(|error| error.to_string())
}

/// Writes `config.json` and `model.safetensors` (f32) so that transformers loads them. Existing files are replaced.
///
/// # Errors
/// When a file cannot be written.
pub fn save_folder<B: Backend>(folder: &Path, config: &AutoConfig, model: &AutoModel<B>) -> Result<(), CheckpointError> {
    std::fs::create_dir_all(folder).map_err(access(folder))?;
    let mut value = serde_json::to_value(config).map_err(|error| invalid(folder, error))?;
    value["architectures"] = serde_json::json!([config.class_name()]);
    value["torch_dtype"] = "float32".into();
    let config_path = folder.join("config.json");
    let text = serde_json::to_string_pretty(&value).map_err(|error| invalid(&config_path, error))?;
    std::fs::write(&config_path, text + "\n").map_err(access(&config_path))?;
    let weights_path = folder.join("model.safetensors");
    let bytes = tensors_to_bytes(&named_parameters(model)).map_err(|reason| invalid(&weights_path, reason))?;
    std::fs::write(&weights_path, bytes).map_err(access(&weights_path))
}
