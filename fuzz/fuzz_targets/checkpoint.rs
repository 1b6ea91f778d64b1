//! Weights and configurations of checkpoints.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paretopo_models::{AutoConfig, load_tensors};
use std::io::Write;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::Builder::new().suffix(".safetensors").tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    let _ = load_tensors(file.path());
    let _ = serde_json::from_slice::<AutoConfig>(bytes);
});
