//! Low-rank adapters (LoRA; Hu et al., 2021) in the folders of Hugging Face's `peft`:
//! `adapter_config.json` and `adapter_model.safetensors`.
//!
//! A frozen model with an adapter computes `x W + (alpha / rank) (x A) B`; only `A` and `B` are
//! trained. `A` starts uniform in `+-1 / sqrt(d_input)` and `B` at zero, as in peft, so that the
//! adapter starts as nothing. What is left out of peft's settings, and refused, stands in
//! `peft_config.rs`.

use crate::checkpoint::{CheckpointError, access, invalid, require_finite};
use crate::layers::LowRank;
use crate::parameters::{fill_parameters, saved_parameters};
use crate::peft_config::PeftConfig;
use crate::{CausalLm, WeightFiles, write_tensors};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Tensor};
use paretopo_settings::{Dropout, Positive, whole, within};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// What an adapter is like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterConfig {
    /// Width of the two matrices between input and output.
    #[serde(deserialize_with = "within::<1, 65_536, _, _>")]
    #[schemars(schema_with = "whole::<1, 65_536>")]
    pub rank: usize,
    /// The adapter's output is multiplied by `alpha / rank`.
    pub alpha: Positive,
    /// Names of the linear maps that get one, as ends of their keys (`q_proj`, `mlp.up_proj`) or
    /// whole keys (`model.layers.0.mlp.up_proj`); `all-linear` for all.
    pub targets: Vec<String>,
    /// Chance that a feature of the input is dropped in training.
    pub dropout: Dropout,
    /// Whether the factor is `alpha / sqrt(rank)` instead (Kalajdzievski, 2023).
    pub rank_stabilized: bool,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: const { Positive::literal(32.0) },
            targets: vec![ALL_LINEAR.into()],
            dropout: const { Dropout::literal(0.0) },
            rank_stabilized: false,
        }
    }
}

pub(crate) const ALL_LINEAR: &str = "all-linear";

impl AdapterConfig {
    fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha.get() / if self.rank_stabilized { rank.sqrt() } else { rank }
    }

    /// Whether the linear map of that key gets an adapter.
    pub fn targets_key(&self, key: &str) -> bool {
        let is_end = |target: &String| {
            key == target
                || key.strip_suffix(target.as_str()).is_some_and(|front| front.ends_with('.'))
        };
        self.targets.iter().any(|target| target == ALL_LINEAR || is_end(target))
    }

    /// The first setting in which another adapter differs, in words; `None` if they are alike.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let targets = |adapter: &Self| shown(&adapter.targets);
        let pairs = [
            ("rank", self.rank.to_string(), other.rank.to_string()),
            ("alpha", self.alpha.to_string(), other.alpha.to_string()),
            ("dropout", self.dropout.to_string(), other.dropout.to_string()),
            (
                "rank_stabilized",
                self.rank_stabilized.to_string(),
                other.rank_stabilized.to_string(),
            ),
            ("targets", targets(self), targets(other)),
        ];
        if self == other {
            return None;
        }
        // lists may be alike in what is shown of them
        let found = pairs.into_iter().find(|(name, own, other)| own != other || *name == "targets");
        found.map(|(name, own, other)| format!("`{name}` is {own} here and {other} there"))
    }

    /// # Errors
    /// Says which setting makes no sense.
    pub fn check(&self) -> Result<(), String> {
        if self.rank == 0 {
            return Err("`rank` must be at least 1".into());
        }
        Ok(())
    }
}

/// Whether a parameter's key is that of an adapter.
pub fn is_adapter_parameter(key: &str) -> bool {
    key.ends_with(".lora.a") || key.ends_with(".lora.b")
}

/// The name of an adapter's parameter in peft's file; `None` for a parameter of the model itself.
fn peft_name(key: &str) -> Option<String> {
    let (front, matrix) = key
        .strip_suffix(".lora.a")
        .map(|front| (front, 'A'))
        .or_else(|| Some((key.strip_suffix(".lora.b")?, 'B')))?;
    Some(format!("base_model.model.{front}.lora_{matrix}.weight"))
}

/// Takes all parameters out of training. What is attached afterwards is trained.
pub fn freeze<B: Backend, M: Module<B>>(model: M) -> M {
    struct Freeze;
    impl<B: Backend> ModuleMapper<B> for Freeze {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            param.map(|tensor| tensor.set_require_grad(false)).set_require_grad(false)
        }
    }
    model.map(&mut Freeze)
}

/// Attaches a new adapter, which changes no output yet. `seed` decides its first values.
///
/// # Errors
/// When a setting makes no sense or no linear map is targeted.
pub fn attach_adapter<B: Backend, M: CausalLm<B>>(
    model: M,
    config: &AdapterConfig,
    seed: u64,
    device: &B::Device,
) -> Result<M, String> {
    attach(model, config, device, |index, d_input| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index as u64);
        let bound = (d_input as f32).powf(-0.5);
        let values = (0..d_input * config.rank).map(|_| rng.random_range(-bound..bound)).collect();
        crate::from_host(values, [d_input, config.rank], device)
    })
}

/// Attaches an adapter whose `A` matrices come from `first`, given the number of the linear map and
/// its features in.
fn attach<B: Backend, M: CausalLm<B>>(
    mut model: M,
    config: &AdapterConfig,
    device: &B::Device,
    first: impl Fn(usize, usize) -> Tensor<B, 2>,
) -> Result<M, String> {
    config.check()?;
    let mut attached = 0;
    for (index, (key, projection)) in model.projections_mut().into_iter().enumerate() {
        if !config.targets_key(&key) {
            continue;
        }
        let [d_input, d_output] = projection.weight.val().dims();
        require_rank(config.rank, &key, [d_input, d_output])?;
        let a = Param::from_tensor(first(index, d_input));
        let b = Param::from_tensor(Tensor::zeros([config.rank, d_output], device));
        let mut adapter = LowRank::new(a, b, config.scale());
        adapter.dropout = config.dropout.get();
        adapter.index = index;
        projection.lora = Some(adapter);
        attached += 1;
    }
    if attached == 0 {
        let known: Vec<String> =
            model.projections_mut().into_iter().take(7).map(|(key, _)| key).collect();
        return Err(format!(
            "the adapter's targets, {}, name no linear map\nhint: there are `{}` and so on",
            shown(&config.targets),
            known.join("`, `")
        ));
    }
    Ok(model)
}

/// # Errors
/// When the adapter would be wider than the linear map itself: beyond that a rank can only cost
/// memory. One between the two sides of a matrix is of no use, either, but common where several
/// maps share it.
fn require_rank(rank: usize, key: &str, [d_input, d_output]: [usize; 2]) -> Result<(), String> {
    let most = d_input.max(d_output);
    if rank <= most {
        return Ok(());
    }
    Err(format!(
        "the adapter's rank (`rank`, in peft's files `r`) is {rank}, but `{key}` has {d_input} \
         features in and {d_output} out\nhint: at most {most}"
    ))
}

/// Names, of many but the first few and their number.
fn shown(names: &[String]) -> String {
    const FEW: usize = 7;
    let first = names[..names.len().min(FEW)].join("`, `");
    match names.len().saturating_sub(FEW) {
        0 => format!("`{first}`"),
        more => format!("`{first}` and {more} more"),
    }
}

/// The same model without its adapter; weights are shared, not copied.
pub fn without_adapter<B: Backend, M: CausalLm<B>>(mut model: M) -> M {
    for (_, projection) in model.projections_mut() {
        projection.lora = None;
    }
    model
}

/// Adds the adapter to the weights, `W + scale * A B`, and drops it.
pub fn merge_adapter<B: Backend, M: CausalLm<B>>(mut model: M) -> M {
    for (_, projection) in model.projections_mut() {
        let Some(lora) = projection.lora.take() else { continue };
        let product = lora.a.val().matmul(lora.b.val()) * lora.scale;
        let merged = projection.weight.clone().map(|weight| {
            let tracked = weight.is_require_grad();
            let product = crate::layers::matching(product, &weight);
            (weight.detach() + product.detach()).set_require_grad(tracked)
        });
        projection.replace_weight(merged);
    }
    model
}

/// Writes the model's adapter as a folder that peft loads. `base` is where the model itself is.
///
/// # Errors
/// When a file cannot be written; when the adapter is not finite, before anything is.
pub fn save_adapter<B: Backend, M: Module<B>>(
    folder: &Path,
    config: &AdapterConfig,
    base: &str,
    model: &M,
) -> Result<(), CheckpointError> {
    require_finite(folder, model, is_adapter_parameter)?;
    paretopo_durable::create_folder(folder)?;
    let peft = PeftConfig::new(config, base);
    let path = folder.join(CONFIG);
    let text = serde_json::to_string_pretty(&peft).map_err(|error| invalid(&path, error))?;
    paretopo_durable::write(&path, (text + "\n").as_bytes())?;
    write_tensors(&folder.join(WEIGHTS), &saved_parameters(model, peft_name))
}

/// Attaches the adapter of a peft folder to a model.
///
/// # Errors
/// Names the file and what is wrong with it: a setting that is not supported, or a tensor that does
/// not fit the model.
pub fn load_adapter<B: Backend, M: CausalLm<B>>(
    mut model: M,
    folder: &Path,
    device: &B::Device,
) -> Result<(AdapterConfig, M), CheckpointError> {
    let path = folder.join(CONFIG);
    let text = paretopo_reading::read_text(&path).map_err(access(&path))?;
    let peft: PeftConfig = serde_json::from_str(&text).map_err(|error| invalid(&path, error))?;
    let keys: Vec<String> = model.projections_mut().into_iter().map(|(key, _)| key).collect();
    let config = peft.into_adapter(&keys).map_err(|reason| invalid(&path, reason))?;
    // the files' values replace these
    let zeros = |_, d_input| Tensor::zeros([d_input, config.rank], device);
    let model = attach(model, &config, device, zeros).map_err(|reason| invalid(&path, reason))?;
    let weights_path = folder.join(WEIGHTS);
    let mut weights = WeightFiles::open(std::slice::from_ref(&weights_path))?;
    let filled = fill_parameters(model, &mut weights, FloatDType::F32, &weights_path, peft_name);
    let model = filled.map_err(|error| match error {
        CheckpointError::Invalid { path, reason } => {
            let hint = "`target_modules`, `exclude_modules`, `layers_to_transform` and `r` of \
                        `adapter_config.json` say which tensors there are";
            CheckpointError::Invalid { path, reason: format!("{reason}\nhint: {hint}") }
        }
        other => other,
    })?;
    Ok((config, model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_that_differ_are_told_apart_in_a_few_words() {
        let plain = AdapterConfig::default();
        assert_eq!(plain.difference(&plain), None);
        let other = AdapterConfig { rank: 4, ..plain.clone() };
        assert_eq!(plain.difference(&other).unwrap(), "`rank` is 16 here and 4 there");
        let keys = |count: usize| -> Vec<String> {
            (0..count).map(|layer| format!("model.layers.{layer}.self_attn.q_proj")).collect()
        };
        let many = AdapterConfig { targets: keys(80), ..plain.clone() };
        let said = plain.difference(&many).unwrap();
        assert!(said.starts_with("`targets` is `all-linear` here and `model.layers.0."), "{said}");
        assert!(said.ends_with("` and 73 more there") && said.len() < 400, "{said}");
        // alike in what is shown
        let fewer = AdapterConfig { targets: keys(79), ..plain };
        assert!(fewer.difference(&many).unwrap().starts_with("`targets` is "));
    }

    #[test]
    fn an_adapter_is_no_wider_than_the_map_that_it_belongs_to() {
        let rank = |rank: usize| require_rank(rank, "model.layers.0.self_attn.k_proj", [64, 16]);
        assert!(rank(16).is_ok() && rank(17).is_ok() && rank(64).is_ok());
        let error = rank(65).unwrap_err();
        for part in ["`rank`", "65", "`model.layers.0.self_attn.k_proj`", "64", "16", "hint: "] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn targets_are_ends_of_keys() {
        let config = AdapterConfig {
            targets: vec!["q_proj".into(), "mlp.up_proj".into()],
            ..AdapterConfig::default()
        };
        assert!(
            config.targets_key("model.layers.0.self_attn.q_proj")
                && config.targets_key("model.layers.11.mlp.up_proj")
        );
        assert!(
            !config.targets_key("model.layers.0.self_attn.xq_proj")
                && !config.targets_key("model.layers.0.mlp.gate_proj")
        );
        assert!(AdapterConfig::default().targets_key("model.layers.0.mlp.gate_proj"));
        assert_eq!(
            AdapterConfig { rank: 4, alpha: Positive::literal(6.0), ..AdapterConfig::default() }
                .scale(),
            1.5
        );
        assert_eq!(
            AdapterConfig {
                rank: 4,
                alpha: Positive::literal(6.0),
                rank_stabilized: true,
                ..AdapterConfig::default()
            }
            .scale(),
            3.0
        );
    }
}
