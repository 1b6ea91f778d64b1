//! Speed and memory of a policy with random weights on one backend, for
//! `experiments/backends/run.sh`.
//!
//! ```text
//! card CONFIG.json f32|bf16|f16 TASK...
//!
//! device:MIB:SIZE            a copy of so many mebibytes, a product of square matrices
//! decode:BATCH:PROMPT:NEW    read prompts of random ids, sample at temperature 1
//! train:full|lora:SEQUENCES:TIME:plain|lean
//!                            forward, cross-entropy on all ids, backward, AdamW; `lean` is
//!                            gradient checkpointing with chunks of 1,024 logits
//! write:FOLDER               the weights and `config.json`, for a run of the program
//! ```
//!
//! Prints a JSON line for each task as soon as it is done. Rounds that compile and tune kernels are
//! not counted. What is timed is the best of two further rounds, and memory is that of one more, in
//! which the backend is asked every few milliseconds how much of its memory is in use.
//!
//! Left out: attention's products in the number of operations, and the reading of activations in
//! the number of bytes, so that the shares of a card's peaks are low estimates.

mod decode;
mod device;
mod memory;
mod policy;
mod train;

pub(crate) use memory::{Memory, Usage};

use burn::tensor::FloatDType;
use burn::tensor::backend::AutodiffBackend;
use paretopo_engine::SamplingPlace;
use paretopo_models::{AutoConfig, AutoFamily, ModelFamily, Placement, save_folder};
use serde_json::Value;
use std::path::Path;

/// Timed rounds, of which the best counts.
const ROUNDS: usize = 2;

/// A backend, and what is measured on it.
pub(crate) struct Measurement<B: AutodiffBackend> {
    pub(crate) place: Placement<B>,
    /// Where tokens are drawn.
    pub(crate) sampling: SamplingPlace,
    /// How much memory the backend holds.
    pub(crate) memory: Memory,
}

/// What all tasks of a call share.
struct Settings {
    config: AutoConfig,
    precision: FloatDType,
}

impl<B: AutodiffBackend> Measurement<B> {
    /// Does the tasks that this process's arguments name.
    pub(crate) fn run(self) {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [config, precision, tasks @ ..] = arguments.as_slice() else {
            panic!("give CONFIG.json, a precision and tasks")
        };
        let text = std::fs::read_to_string(config).unwrap();
        let config = AutoFamily::parse(serde_json::from_str(&text).unwrap()).unwrap();
        let precision = match precision.as_str() {
            "f32" => FloatDType::F32,
            "bf16" => FloatDType::BF16,
            "f16" => FloatDType::F16,
            other => panic!("no precision `{other}`"),
        };
        let settings = Settings { config, precision };
        for task in tasks {
            let mut line = self.task(&settings, task);
            line["task"] = task.as_str().into();
            line["host_peak"] = memory::host_peak().into();
            println!("{line}");
            // what one task held is no part of the next one's
            B::memory_cleanup(&self.place.device);
        }
    }

    fn task(&self, settings: &Settings, task: &str) -> Value {
        let parts: Vec<&str> = task.split(':').collect();
        let number = |place: usize| -> usize { parts[place].parse().unwrap() };
        match parts[0] {
            "device" => self.device(settings, number(1), number(2)),
            "write" => self.write(settings, task.trim_start_matches("write:").as_ref()),
            "decode" => self.decode(settings, (number(1), number(2), number(3))),
            "train" => {
                let adapts = matches!(parts[1], "lora");
                let is_lean = matches!(parts[4], "lean");
                self.train(settings, (number(2), number(3)), adapts, is_lean)
            }
            other => panic!("no task `{other}`"),
        }
    }

    fn write(&self, settings: &Settings, folder: &Path) -> Value {
        let model = policy::random(settings, &self.place.inner());
        save_folder(folder, &settings.config, &model).unwrap();
        serde_json::json!({})
    }

    /// Waits until everything is computed.
    fn wait(&self) {
        B::sync(&self.place.device).unwrap();
    }
}

/// Bytes of a number.
fn bytes(precision: FloatDType) -> f64 {
    if precision == FloatDType::F32 { 4.0 } else { 2.0 }
}
