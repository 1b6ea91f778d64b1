//! Everything that a run needs to go on exactly: weights, both moments, the run's memory, the
//! estimator's state, where it was.
//!
//! Random numbers need no state: each step derives its own from the run's seed. `checksums.json`
//! holds the BLAKE3 sum of every other file, so that a flipped bit is noticed as well as a missing
//! half. `run.json` is that of the run, so that a checkpoint of another one is noticed, too.
//!
//! A checkpoint that is **damaged** (a file is missing, is none, or is not what was written) is
//! passed over and put aside. One that is whole and yet of no use, or that this user may not read,
//! ends the run: the one before it would go on as if nothing were wrong. Neither is written over.

use crate::run::run_folder::{access, read_metadata};
use crate::{AdamW, Policy, Stage, TrainingError};
use burn::tensor::backend::AutodiffBackend;
use paretopo_algorithms::EstimatorState;
use paretopo_durable::{put_aside, put_folder, read, remove_folder, sync, write};
use paretopo_environments::RunMemory;
use paretopo_models::{CheckpointError, ModelFamily, load_tensors, write_tensors};
use paretopo_trajectory::ObjectiveValues;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The state besides weights and moments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingState {
    /// Steps done.
    pub step: u64,
    /// Optimiser updates done.
    pub updates: u64,
    /// Prompts drawn so far.
    pub prompts_drawn: u64,
    /// `N_optimal` of each prompt.
    pub memory: RunMemory,
    /// The estimator's archive and averages.
    pub estimator: EstimatorState,
    /// The best validation so far: the volume of its mean rewards, which is their product.
    #[serde(default)]
    pub best_validation: Option<f64>,
}

const STATE: &str = "state.json";
const MOMENTS: &str = "optimizer.safetensors";
const CHECKSUMS: &str = "checksums.json";
const METADATA: &str = "run.json";
/// The weights, of a policy or of an adapter, and what says how to read them.
const TRAINED: [[&str; 2]; 2] =
    [["model.safetensors", "config.json"], ["adapter_model.safetensors", "adapter_config.json"]];

/// What is to be done about a checkpoint that is whole and of no use.
const WAY_OUT: &str = "hint: the checkpoint is whole, but not of this run's policy, or of another \
                       version of this program; put back what the run began with, or choose \
                       another folder with `--run`";

fn folder_of(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

fn place_of(run: &Path, step: u64) -> PathBuf {
    folder_of(run).join(format!("step-{step:06}"))
}

/// Writes a checkpoint beside the others and removes all but the latest `keep`.
///
/// # Errors
/// When a weight or moment is not finite, before anything is written or removed; when a file cannot
/// be written.
pub(crate) fn save<F: ModelFamily, B: AutodiffBackend>(
    run: &Path,
    policy: &Policy<F, B>,
    optimizer: &AdamW<B>,
    state: &TrainingState,
    keep: usize,
) -> Result<(), TrainingError> {
    if let Some(found) = optimizer.find_not_finite(&policy.model) {
        return Err(TrainingError::Policy { step: Some(state.step), reason: found.to_string() });
    }
    policy.require_computes(&F::valid(&policy.model)).map_err(|error| error.at_step(state.step))?;
    Stage::Writing.begin();
    // the lines of the steps before survive whatever this checkpoint survives
    let metrics = run.join("metrics.jsonl");
    if metrics.try_exists().map_err(access(&metrics))? {
        sync(&metrics)?;
    }
    put_folder(&place_of(run, state.step), |folder| {
        policy.save_trained(folder)?;
        write_tensors(&folder.join(MOMENTS), &optimizer.state())?;
        write(&folder.join(STATE), &serde_json::to_vec(state).expect("plain data serialises"))?;
        if let Some(metadata) = read(&run.join(METADATA))? {
            write(&folder.join(METADATA), &metadata)?;
        }
        let sums = serde_json::to_vec_pretty(&checksums(folder)?).expect("plain data serialises");
        Ok::<_, TrainingError>(write(&folder.join(CHECKSUMS), &sums)?)
    })?;
    for step in list(run)?.iter().rev().skip(keep.max(1)) {
        remove_folder(&place_of(run, *step))?;
    }
    Ok(())
}

/// Puts what is trained into the folder `best`, with the validation that made it the best.
pub(crate) fn save_best<F: ModelFamily, B: AutodiffBackend>(
    run: &Path,
    policy: &Policy<F, B>,
    step: u64,
    point: &ObjectiveValues,
) -> Result<(), TrainingError> {
    policy.require_computes(&F::valid(&policy.model)).map_err(|error| error.at_step(step))?;
    Stage::Writing.begin();
    put_folder(&run.join("best"), |folder| {
        policy.save_trained(folder)?;
        let json = serde_json::json!({ "step": step, "mean_rewards": point });
        let text = serde_json::to_vec_pretty(&json).expect("plain data serialises");
        Ok(write(&folder.join("validation.json"), &text)?)
    })
}

/// The sum of every file in a checkpoint but that of the sums.
fn checksums(folder: &Path) -> Result<BTreeMap<String, String>, TrainingError> {
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(access(folder))? {
        let path = entry.map_err(access(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // to open a pipe would wait without end
        if name != CHECKSUMS && fs::metadata(&path).map_err(access(&path))?.is_file() {
            let mut hasher = blake3::Hasher::new();
            hasher.update_mmap(&path).map_err(access(&path))?;
            sums.insert(name, hasher.finalize().to_hex().to_string());
        }
    }
    Ok(sums)
}

/// # Errors
/// Names a file that is missing, is none, or is not what was written.
fn check(folder: &Path) -> Result<(), TrainingError> {
    let path = folder.join(CHECKSUMS);
    let invalid = |name: &str, reason: &str| {
        Err(TrainingError::Invalid { path: folder.join(name), reason: reason.into() })
    };
    let Some(text) = read(&path)? else { return invalid(CHECKSUMS, "is missing") };
    let written: BTreeMap<String, String> = serde_json::from_slice(&text)
        .map_err(|error| TrainingError::Invalid { path, reason: error.to_string() })?;
    let found = checksums(folder)?;
    for (name, sum) in &written {
        match found.get(name) {
            None => return invalid(name, "is missing, or no file"),
            Some(found) if found != sum => {
                return invalid(name, "is not what was written (checksum)");
            }
            Some(_) => {}
        }
    }
    // what is read is what was summed up: sums that were emptied vouch for nothing
    let vouched = |name: &&str| written.contains_key(*name);
    let trained = TRAINED.iter().any(|names| names.iter().all(vouched));
    if !trained || ![STATE, MOMENTS].iter().all(vouched) {
        return invalid(CHECKSUMS, "has no checksum of some of the checkpoint's files");
    }
    Ok(())
}

/// The steps of all finished checkpoints, ascending.
///
/// # Errors
/// When the folder is there and cannot be listed: to begin anew would write over what is in it.
fn list(run: &Path) -> Result<Vec<u64>, TrainingError> {
    let folder = folder_of(run);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(access(&folder)(error)),
    };
    let mut steps = Vec::new();
    for entry in entries {
        let name = entry.map_err(access(&folder))?.file_name();
        let step = name.to_str().and_then(|name| name.strip_prefix("step-")?.parse().ok());
        steps.extend(step.filter(|step| place_of(run, *step).ends_with(&name)));
    }
    steps.sort_unstable();
    Ok(steps)
}

/// Restores the latest whole checkpoint, if there is one; `note` hears of those that are damaged
/// and put aside.
///
/// # Errors
/// When it is whole, but of another run or policy, or holds values that are not finite; when it may
/// not be read; when there are checkpoints, but none is whole.
pub(crate) fn restore<F: ModelFamily, B: AutodiffBackend>(
    run: &Path,
    policy: &mut Policy<F, B>,
    optimizer: &mut AdamW<B>,
    device: &B::Device,
    note: &mut dyn FnMut(&str),
) -> Result<Option<TrainingState>, TrainingError> {
    Stage::Loading.begin();
    let (mut damaged, mut restored) = (Vec::new(), None);
    for step in list(run)?.into_iter().rev() {
        let folder = place_of(run, step);
        match check(&folder) {
            Ok(()) => {
                let found = restore_from(run, &folder, step, policy, optimizer, device);
                restored = Some(found.map_err(with_way_out)?);
                break;
            }
            // whoever may read it finds it whole, perhaps
            Err(TrainingError::Access { path, source })
                if source.kind() == ErrorKind::PermissionDenied =>
            {
                return Err(TrainingError::Access { path, source });
            }
            Err(error) => damaged.push((folder, error)),
        }
    }
    let Some((_, error)) = damaged.first() else { return Ok(restored) };
    if restored.is_none() {
        let reason = format!(
            "no checkpoint is whole; of the latest, {error}\nhint: put back a copy of one that is, \
             or delete this folder to begin the run anew"
        );
        return Err(TrainingError::Invalid { path: folder_of(run), reason });
    }
    for (folder, error) in damaged {
        let aside = put_aside(&folder)?;
        note(&format!(
            "passing over a damaged checkpoint, which is now `{}`: {error}",
            aside.display()
        ));
    }
    Ok(restored)
}

/// The same error, with what is to be done about a checkpoint that is whole and of no use.
fn with_way_out(error: TrainingError) -> TrainingError {
    match error {
        TrainingError::Invalid { path, reason }
        | TrainingError::Checkpoint(CheckpointError::Invalid { path, reason })
            if !reason.contains("hint:") =>
        {
            TrainingError::Invalid { path, reason: format!("{reason}\n{WAY_OUT}") }
        }
        other => other,
    }
}

/// # Errors
/// When a checkpoint is of another run than the folder that it is in.
fn require_own(run: &Path, folder: &Path) -> Result<(), TrainingError> {
    let (Some(own), Some(found)) = (read_metadata(run)?, read_metadata(folder)?) else {
        return Ok(());
    };
    let differs = |what: &str, own: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        let reason = format!("is of another run: `{what}` is {found} there, and {own} in this run");
        Err(TrainingError::Invalid { path: folder.join(METADATA), reason })
    };
    if own.recipe != found.recipe {
        return differs("recipe", &own.recipe, &found.recipe);
    }
    if own.seed != found.seed {
        return differs("seed", &own.seed, &found.seed);
    }
    Ok(())
}

/// Restores a checkpoint whose files are what was written.
fn restore_from<F: ModelFamily, B: AutodiffBackend>(
    run: &Path,
    folder: &Path,
    step: u64,
    policy: &mut Policy<F, B>,
    optimizer: &mut AdamW<B>,
    device: &B::Device,
) -> Result<TrainingState, TrainingError> {
    require_own(run, folder)?;
    let path = folder.join(STATE);
    let text = fs::read(&path).map_err(access(&path))?;
    let state: TrainingState = serde_json::from_slice(&text)
        .map_err(|error| TrainingError::Invalid { path, reason: error.to_string() })?;
    if state.step != step {
        let reason = format!("`step` is {}, but the checkpoint's folder says {step}", state.step);
        return Err(TrainingError::Invalid { path: folder.join(STATE), reason });
    }
    let model = policy.load_trained(folder, device)?;
    let moments = folder.join(MOMENTS);
    let tensors = load_tensors(&moments)?;
    optimizer
        .restore(&model, state.updates, tensors, device)
        .map_err(|reason| TrainingError::Invalid { path: moments, reason })?;
    policy.model = model;
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GradientSum, OptimizerConfig, PolicySource, RunConfig};
    use burn::backend::Autodiff;
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::Tensor;
    use burn::tensor::backend::Backend;
    use paretopo_algorithms::{Group, Progress, advantages};
    use paretopo_models::{AutoFamily, AutoModel, NamedTensor, Placement, SavedTensor};

    type B = Autodiff<burn_flex::Flex>;

    fn policy() -> Policy<AutoFamily, B> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny-math");
        let source = PolicySource::Folder { path: path.clone(), adapter: None };
        let config = RunConfig { policy: source, ..RunConfig::default() };
        Policy::load(&config, &path, &Placement::plain(Default::default())).unwrap()
    }

    /// An optimiser after an update by a zero gradient, which changes no weight.
    fn optimizer(mut policy: Policy<AutoFamily, B>) -> (Policy<AutoFamily, B>, AdamW<B>) {
        let mut optimizer = AdamW::new(OptimizerConfig::default(), 10);
        policy.model = optimizer.update(policy.model, GradientSum::default(), 0.0);
        (policy, optimizer)
    }

    fn state(step: u64) -> TrainingState {
        TrainingState { step, updates: 1, ..TrainingState::default() }
    }

    /// The model with one value of one vector replaced.
    fn with_value(model: AutoModel<B>, value: f32) -> AutoModel<B> {
        struct Replace(Option<f32>);
        impl<C: Backend> ModuleMapper<C> for Replace {
            fn map_float<const D: usize>(
                &mut self,
                param: Param<Tensor<C, D>>,
            ) -> Param<Tensor<C, D>> {
                match self.0.take_if(|_| D == 1) {
                    None => param,
                    Some(value) => param.map(|tensor| {
                        let mut values = paretopo_models::to_host(tensor.clone());
                        values[1] = value;
                        paretopo_models::from_host(values, tensor.dims(), &tensor.device())
                    }),
                }
            }
        }
        model.map(&mut Replace(Some(value)))
    }

    /// Makes every value of every matrix 1e15.
    struct Large;

    impl<C: Backend> ModuleMapper<C> for Large {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<C, D>>) -> Param<Tensor<C, D>> {
            if D == 2 { param.map(|tensor| tensor.ones_like() * 1e15) } else { param }
        }
    }

    /// Changes a value in a checkpoint's file, and its checksum with it.
    fn poison(checkpoint: &Path, file: &str, name: &str, value: f32) {
        let path = checkpoint.join(file);
        let mut tensors: Vec<NamedTensor> = load_tensors(&path).unwrap().into_values().collect();
        tensors.iter_mut().find(|tensor| tensor.name == name).unwrap().values[0] = value;
        let saved: Vec<_> = tensors.into_iter().map(SavedTensor::from).collect();
        write_tensors(&path, &saved).unwrap();
        let sums = serde_json::to_vec(&checksums(checkpoint).unwrap()).unwrap();
        fs::write(checkpoint.join(CHECKSUMS), sums).unwrap();
    }

    fn point(value: f64) -> ObjectiveValues {
        [("r_task", value)].into_iter().collect()
    }

    #[test]
    fn the_archive_of_a_state_is_found_by_who_reads_runs() {
        let run = tempfile::tempdir().unwrap();
        let config = RunConfig::default();
        let mut state = TrainingState::default();
        for (step, point) in [(2, [0.25, 0.5]), (10, [0.5, 0.25])] {
            let group = Group { rewards: vec![point.to_vec(); 2], ..Group::default() };
            let progress = Progress { step, total_steps: 20, seed: 0, call_limit: 4.0 };
            advantages(&config.estimator, &mut state.estimator, &[group], progress).unwrap();
            let folder = place_of(run.path(), step);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(STATE), serde_json::to_vec(&state).unwrap()).unwrap();
        }
        // of the latest, and not of what is being written
        fs::create_dir_all(run.path().join("checkpoints/unfinished-step-000011")).unwrap();
        let found = paretopo_records::latest_archive(run.path());
        assert_eq!(found, Some(vec![vec![0.25, 0.5], vec![0.5, 0.25]]));
        // an earlier version had it there
        let latest = place_of(run.path(), 10).join(STATE);
        fs::write(&latest, r#"{"estimator":{"archive":{"points":[[1.0,0.5]]}}}"#).unwrap();
        let found = paretopo_records::latest_archive(run.path());
        assert_eq!(found, Some(vec![vec![1.0, 0.5]]));
        // an estimator that keeps none
        fs::write(&latest, r#"{"estimator":{"type":"grpo","state":null}}"#).unwrap();
        assert_eq!(paretopo_records::latest_archive(run.path()), None);
    }

    #[test]
    fn nothing_good_is_overwritten_by_a_policy_that_is_not_finite() {
        let folder = std::env::temp_dir().join(format!("paretopo-save-{}", std::process::id()));
        let (policy, optimizer) = optimizer(policy());
        save(&folder, &policy, &optimizer, &state(1), 1).unwrap();
        save_best(&folder, &policy, 1, &point(0.5)).unwrap();
        let kept = || {
            let read = |path: &str| fs::read(folder.join(path)).unwrap();
            let names = ["checkpoints/step-000001", "best"];
            (list(&folder).unwrap(), names.map(|name| read(&format!("{name}/model.safetensors"))))
        };
        let before = kept();
        let with = |value: f32| {
            let mut changed = self::policy();
            changed.model = with_value(policy.model.clone(), value);
            changed
        };
        for bad in [f32::NAN, f32::INFINITY, 2e19] {
            let broken = with(bad);
            let error = save(&folder, &broken, &optimizer, &state(2), 1).unwrap_err().to_string();
            assert!(error.starts_with("step 2: `model."), "{error}");
            assert!(error.contains("layernorm.weight` holds "), "{error}");
            assert!(save_best(&folder, &broken, 2, &point(0.9)).is_err());
            assert_eq!(kept(), before, "{bad}");
        }
        // numbers whose squares are numbers, too, but a product of three of them is none
        let mut large = self::policy();
        large.model = large.model.map(&mut Large);
        let error = save(&folder, &large, &optimizer, &state(2), 1).unwrap_err().to_string();
        let said = "step 2: the weights are numbers, but the output of `model.layers.0` overflows";
        assert!(error.starts_with(said), "{error}");
        assert!(save_best(&folder, &large, 2, &point(0.9)).is_err());
        assert_eq!(kept(), before);
        // one large number is none of these
        save(&folder, &with(1e18), &optimizer, &state(3), 1).unwrap();
        assert_eq!(list(&folder).unwrap(), [3]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_whole_checkpoint_that_is_not_finite_stops_a_run_by_its_name() {
        let folder = std::env::temp_dir().join(format!("paretopo-load-{}", std::process::id()));
        let (first, optimizer) = optimizer(policy());
        let restore_now = || {
            let (mut policy, mut optimizer) =
                (policy(), AdamW::<B>::new(OptimizerConfig::default(), 10));
            let mut notes = Vec::new();
            restore(&folder, &mut policy, &mut optimizer, &Default::default(), &mut |note| {
                notes.push(note.to_owned())
            })
            .map(|state| (state.map(|state| state.step), notes))
            .map_err(|error| error.to_string())
        };
        let name = "model.layers.0.mlp.up_proj.weight";
        for (file, tensor) in [("model.safetensors", name), (MOMENTS, "second.00003")] {
            for step in [1, 2] {
                save(&folder, &first, &optimizer, &state(step), 2).unwrap();
            }
            assert_eq!(restore_now(), Ok((Some(2), Vec::new())));
            let checkpoint = folder_of(&folder).join("step-000002");
            poison(&checkpoint, file, tensor, f32::NAN);
            let error = restore_now().unwrap_err();
            let place = format!("step-000002/{file}`: `{tensor}` holds NaN");
            assert!(error.contains(&place), "{error}");
            // without it the run goes on from the one before
            fs::remove_dir_all(&checkpoint).unwrap();
            assert_eq!(restore_now(), Ok((Some(1), Vec::new())));
        }
        poison(&folder_of(&folder).join("step-000001"), MOMENTS, "second.00003", -1.0);
        let error = restore_now().unwrap_err();
        assert!(error.contains("`second.00003` holds -1, but it is a mean of squares"), "{error}");
        assert!(error.contains("hint: the checkpoint is whole"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
