//! What tests share.

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use paretopo_models::{
    AutoConfig, AutoFamily, AutoModel, NamedTensor, Placement, SavedTensor, load_folder,
    write_tensors,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The backend of all tests here, without and with autodiff.
pub(crate) type Plain = burn_flex::Flex;
pub(crate) type Tracked = Autodiff<Plain>;

/// The tiny checkpoints of `fixtures/make_models.py`.
pub(crate) const CASES: [&str; 14] = [
    "llama",
    "llama_tied_rope3_bias",
    "qwen2",
    "qwen3",
    "llama_yarn",
    "mistral",
    "ministral3",
    "smollm3",
    "olmo3",
    "gemma3",
    "qwen3_moe",
    "qwen3_moe_dense",
    "qwen3_5",
    "qwen3_5_tied",
];

/// The CPU without kernels, where layers are burn's operations as on every backend.
pub(crate) fn plain<B: Backend<Device: Default>>() -> Placement<B> {
    Placement::plain(Default::default())
}

/// The CPU with its fused kernels.
pub(crate) fn with_kernels<B: Backend<Device: Default>>() -> Placement<B> {
    Placement { kernels: paretopo_backend_flex::kernels(), ..plain() }
}

/// Without and with kernels.
pub(crate) fn both<B: Backend<Device: Default>>() -> [Placement<B>; 2] {
    [plain(), with_kernels()]
}

/// Every tiny checkpoint, without and with kernels; the first is its name in [`CASES`].
pub(crate) fn cases<B: Backend<Device: Default>>() -> Vec<(&'static str, Placement<B>)> {
    CASES.iter().flat_map(|case| both().map(|place| (*case, place))).collect()
}

/// A checkpoint folder that is whole.
#[track_caller]
pub(crate) fn load<B: Backend>(folder: &Path, place: &Placement<B>) -> (AutoConfig, AutoModel<B>) {
    load_folder::<AutoFamily, B>(folder, place)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// A path inside the checkout.
pub(crate) fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A path in the folder beside the checkout. Tests that use it are ignored without that folder
/// (`beside_shared`, see `crates/cli/build.rs`).
pub(crate) fn shared(path: &str) -> PathBuf {
    checkout("../shared").join(path)
}

/// The command of the Python tool's workers.
pub(crate) fn python_worker() -> Vec<PathBuf> {
    vec![env!("CARGO_BIN_EXE_paretopo").into(), "python-worker".into()]
}

/// A JSON file.
pub(crate) fn json(path: &Path) -> serde_json::Value {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The numbers of a JSON array.
pub(crate) fn numbers(value: &serde_json::Value) -> Vec<f32> {
    value
        .as_array()
        .expect("an array")
        .iter()
        .map(|number| number.as_f64().expect("a number") as f32)
        .collect()
}

/// The numbers of a JSON array, in full.
pub(crate) fn precise_numbers(value: &serde_json::Value) -> Vec<f64> {
    value
        .as_array()
        .expect("an array")
        .iter()
        .map(|number| number.as_f64().expect("a number"))
        .collect()
}

/// The ids of a JSON array.
pub(crate) fn ids(value: &serde_json::Value) -> Vec<u32> {
    value
        .as_array()
        .expect("an array")
        .iter()
        .map(|number| number.as_u64().expect("an id") as u32)
        .collect()
}

/// All pairs differ by at most `tolerance`.
#[track_caller]
pub(crate) fn assert_close(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance, "{what}: value {index} is {got}, expected {want}");
    }
}

/// Signals end what this process starts from now on. Tests that run in the background of a script
/// begin with some of them ignored, and so would the program, which leaves them so.
#[cfg(unix)]
pub(crate) fn heed_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the default action is set, no handler
        #[expect(unsafe_code, reason = "the action of a signal has no safe interface")]
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Each row's values.
pub(crate) fn rows_of<B: burn::tensor::backend::Backend>(
    tensor: burn::tensor::Tensor<B, 2>,
) -> Vec<Vec<f32>> {
    let width = tensor.dims()[1];
    paretopo_models::to_host(tensor).chunks(width).map(<[f32]>::to_vec).collect()
}

/// The file of the weights that a run has ended with.
#[track_caller]
pub(crate) fn weights(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("policy/model.safetensors")).unwrap()
}

/// A run's metrics without what the clock decides.
#[track_caller]
pub(crate) fn metrics(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let timed = ["seconds", "per_second", "memory"];
    text.lines()
        .map(|line| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            value
                .as_object_mut()
                .unwrap()
                .retain(|key, _| !timed.iter().any(|part| key.contains(part)));
            value
        })
        .collect()
}

/// A server that ends with the test.
pub(crate) struct Killed(pub(crate) std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes a checkpoint's tensors in two files, and the index that names them; the files' names.
pub(crate) fn write_shards(folder: &Path, tensors: &[NamedTensor]) -> Vec<String> {
    let mut names = Vec::new();
    let mut weight_map = BTreeMap::new();
    for (shard, part) in tensors.chunks(tensors.len().div_ceil(2)).enumerate() {
        let name = format!("model-{:05}-of-00002.safetensors", shard + 1);
        let saved: Vec<_> = part.iter().cloned().map(SavedTensor::from).collect();
        write_tensors(&folder.join(&name), &saved).unwrap();
        weight_map.extend(part.iter().map(|tensor| (tensor.name.clone(), name.clone())));
        names.push(name);
    }
    let index = "model.safetensors.index.json";
    let text = serde_json::json!({ "weight_map": weight_map }).to_string();
    std::fs::write(folder.join(index), text).unwrap();
    names.push(index.into());
    names
}
