//! What the process is doing, for whoever has to say who ran out of memory and what to lower.
//!
//! That is said when an allocation has failed, so nothing here allocates: a stage is a number, its
//! words are static. It is the stage of the process and not of a run, since memory is the process'
//! as well; where several runs share a process, it is that of the last who said so.

use crate::TrainingError;
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// A part of a recipe, by what it needs memory for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
pub enum Stage {
    /// Everything outside of the others.
    Other,
    /// Tasks and passages are read.
    Environment,
    /// A policy or a checkpoint is read.
    Loading,
    /// Episodes are played for training.
    Rollout,
    /// Episodes are played for a validation or an evaluation.
    Evaluation,
    /// A gradient is computed.
    Gradient,
    /// Weights and moments are updated.
    Optimizer,
    /// A checkpoint or a policy is written.
    Writing,
}

static NOW: AtomicU8 = AtomicU8::new(Stage::Other as u8);
/// Whether the recipe at work is `sft`, whose settings have names of their own.
static WARM_START: AtomicBool = AtomicBool::new(false);
/// The mark of the run at work, behind which the reason is written.
static MARK: Mutex<Option<File>> = Mutex::new(None);

impl Stage {
    const ALL: [Self; 8] = [
        Self::Other,
        Self::Environment,
        Self::Loading,
        Self::Rollout,
        Self::Evaluation,
        Self::Gradient,
        Self::Optimizer,
        Self::Writing,
    ];

    /// What to lower where it is not known which stage took the memory.
    pub const ANY_LOWER: &'static str = "lower `rollout.batch_size`, `train.micro_batch_tokens` or \
         `workers`, or set `train.memory.gradient_checkpointing=true`, `precision=bf16`, \
         `lora={}`; `paretopo plan` computes what a run needs";

    /// From now on the process does this.
    pub(crate) fn begin(self) {
        NOW.store(self as u8, Ordering::Relaxed);
    }

    /// What the process is doing.
    pub fn now() -> Self {
        let now = NOW.load(Ordering::Relaxed);
        Self::ALL.into_iter().find(|stage| *stage as u8 == now).unwrap_or(Self::Other)
    }

    /// In words, behind "while".
    pub fn what(self) -> &'static str {
        match self {
            Self::Other => "preparing or ending its work",
            Self::Environment => "reading tasks or passages",
            Self::Loading => "reading a policy or a checkpoint",
            Self::Rollout => "playing episodes",
            Self::Evaluation => "playing episodes of an evaluation",
            Self::Gradient => "computing a gradient",
            Self::Optimizer => "updating the weights",
            Self::Writing => "writing a checkpoint",
        }
    }

    /// Which settings to lower, or to set.
    pub fn lower(self) -> &'static str {
        match self {
            Self::Other => Self::ANY_LOWER,
            Self::Environment => {
                "take fewer tasks or passages (`environment`), or a server for search"
            }
            Self::Loading => {
                "take a smaller policy, or hold a frozen one in fewer bytes: `precision=bf16` with \
                 `lora={}`"
            }
            Self::Rollout | Self::Evaluation => {
                "lower `rollout.batch_size` (the keys and values of all episodes that are played \
                 at once), `rollout.max_sampled_tokens`, `rollout.max_output_tokens` or \
                 `workers`, or set `precision=bf16`"
            }
            Self::Gradient if WARM_START.load(Ordering::Relaxed) => {
                "lower `sft.micro_batch_tokens` or `workers`, or set \
                 `sft.memory.gradient_checkpointing=true`, `sft.memory.logits_chunk=256`, \
                 `precision=bf16`, `lora={}`"
            }
            Self::Gradient => {
                "lower `train.micro_batch_tokens` or `workers`, or set \
                 `train.memory.gradient_checkpointing=true`, `train.memory.logits_chunk=256`, \
                 `precision=bf16`, `lora={}`"
            }
            Self::Optimizer => {
                "train fewer weights (`lora={}`), or a smaller policy: weights and moments are \
                 held in f32"
            }
            Self::Writing => "lower `workers`, or train fewer weights (`lora={}`)",
        }
    }
}

/// From now on the process is at work on a recipe.
pub(crate) fn begin_recipe(recipe: &str) {
    WARM_START.store(recipe == "sft", Ordering::Relaxed);
    Stage::Other.begin();
}

/// A reason is written to this file; without one where the system has no second name for it.
pub(crate) fn write_reasons_to(mark: &File) {
    if let Ok(mut place) = MARK.lock() {
        *place = mark.try_clone().ok();
    }
}

/// There is no run at work any more.
pub(crate) fn write_reasons_nowhere() {
    if let Ok(mut place) = MARK.lock() {
        *place = None;
    }
}

/// Writes the reason why the process ends behind the mark of the run at work, where the next
/// process reads it. It allocates nothing, and waits for nobody.
pub fn write_reason(reason: &[u8]) {
    if let Ok(mut place) = MARK.try_lock()
        && let Some(mark) = place.as_mut()
    {
        // there is nobody left to be told that it failed
        let _ = mark.write_all(reason);
    }
}

/// What to lower, if an error of a recipe is that the system has no memory left: it could map no
/// file, or start no thread.
pub fn out_of_memory(error: &TrainingError) -> Option<&'static str> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if kind == Some(std::io::ErrorKind::OutOfMemory) {
            return Some(Stage::now().lower());
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunConfig;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_to_be_lowered_is_a_setting() {
        let table = toml::Table::try_from(RunConfig::default()).unwrap();
        let mut names = BTreeSet::new();
        for warm_start in [false, true] {
            WARM_START.store(warm_start, Ordering::Relaxed);
            for stage in Stage::ALL {
                names.extend(stage.lower().split('`').skip(1).step_by(2));
            }
        }
        assert!(names.len() > 8, "{names:?}");
        for name in names.into_iter().filter(|name| !name.starts_with("paretopo ")) {
            if name.contains('=') {
                RunConfig::parse("", "", &[name.to_owned()]).unwrap();
            } else {
                let whole = toml::Value::Table(table.clone());
                let found = name.split('.').try_fold(&whole, |at, key| at.get(key));
                assert!(found.is_some(), "{name}");
            }
        }
        // one that is none is found out
        assert!(RunConfig::parse("", "", &["train.memory.chunk=256".into()]).is_err());
    }

    #[test]
    fn an_error_of_the_system_is_known_behind_any_other() {
        use paretopo_models::CheckpointError;
        let access = |kind: std::io::ErrorKind| {
            let (path, source) = ("model.safetensors".into(), std::io::Error::from(kind));
            TrainingError::Checkpoint(CheckpointError::Access { path, source })
        };
        assert!(out_of_memory(&access(std::io::ErrorKind::OutOfMemory)).is_some());
        assert!(out_of_memory(&access(std::io::ErrorKind::StorageFull)).is_none());
        assert!(out_of_memory(&TrainingError::Interrupted).is_none());
    }
}
