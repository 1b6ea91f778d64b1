//! A family of models: how a `config.json` is read, and how it becomes a model on a backend.
//!
//! Recipes, checkpoints and plans are generic over a family, since a model's type depends on the
//! backend. [`crate::AutoFamily`] is ours; a crate of your own brings another.

use crate::unsupported::refuse_unsupported;
use crate::{CausalLm, Footprint, Kernels, LinearMap};
use burn::tensor::backend::{AutodiffBackend, Backend};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// What a `config.json` says.
///
/// It is read by serde and written again by [`crate::save_folder`], which adds `architectures` and
/// `torch_dtype`. So it has a field for every setting that changes the numbers, named as in the
/// file; `model_type`, by which others find the architecture; and `eos_token_id`, which ends a turn.
/// Settings that it has no field for are dropped, so it must not deny unknown fields.
///
/// Each setting that changes the numbers is computed or refused by its name: those that it knows by
/// [`Self::check`], many others by [`ModelFamily::parse`].
pub trait ModelConfig:
    Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Whether a model can be made of it; asked when a file is read.
    ///
    /// # Errors
    /// Says which setting is not supported, out of range or contradicts another.
    fn check(&self) -> Result<(), String>;

    /// Number of tokens that the model knows.
    fn vocab_size(&self) -> usize;

    /// Longest sequence that the model was made for, in tokens; longer ones are refused.
    fn context(&self) -> usize;

    /// Standard deviation of initial weights, for [`crate::initialize`].
    fn initializer_range(&self) -> f32;

    /// The class name that transformers expects under `architectures`.
    fn class_name(&self) -> &'static str;

    /// What memory the model takes; known before anything is loaded. A checkpoint with fewer than
    /// half of its parameters is refused before room is made for it.
    fn footprint(&self) -> Footprint;

    /// The linear maps that may get an adapter: those of [`CausalLm::projections_mut`], in its
    /// order, with its keys.
    fn linear_maps(&self) -> Box<dyn Iterator<Item = LinearMap> + '_>;

    /// Whether a checkpoint's tensor of that name says nothing (a buffer, the copy of another one)
    /// and is passed over. Every other tensor must be a parameter of the model.
    fn is_superfluous(&self, _tensor: &str) -> bool {
        false
    }

    /// Another name that a checkpoint may have for the parameter of that key; taken where it is
    /// there.
    fn other_name(&self, _key: &str) -> Option<String> {
        None
    }
}

/// Configurations and the models that they describe, on every backend.
///
/// An implementation is a name without values, such as [`crate::AutoFamily`]: whoever is generic
/// over it says `F::Model<B>` for the backend at hand. Required are the two types, `init`, and
/// `valid`, which is `model.valid()`.
pub trait ModelFamily: Clone + Debug + Send + Sync + 'static {
    /// What a `config.json` says.
    type Config: ModelConfig;

    /// The model on a backend.
    type Model<B: Backend>: CausalLm<B>;

    /// The values of `model_type` whose models these are; [`Self::parse`] refuses others. Without
    /// any it is not looked at.
    fn model_types() -> Vec<&'static str> {
        Vec::new()
    }

    /// The settings that Llama and Qwen do not have and these models compute, such as `rotary_pct`.
    /// [`Self::parse`] leaves them to [`ModelConfig::check`].
    fn computed_settings() -> &'static [&'static str] {
        &[]
    }

    /// A configuration from the values of its file.
    ///
    /// Refused are settings that are known to change the numbers of some architecture
    /// (quantisation, mixtures of experts, sliding windows, softcapping, factors), unless they are
    /// among [`Self::computed_settings`].
    ///
    /// # Errors
    /// Names a setting that is missing, malformed or not supported.
    fn parse(value: serde_json::Value) -> Result<Self::Config, String> {
        parse_config(value, &Self::model_types(), Self::computed_settings())
    }

    /// A model with the shapes of the configuration: matrices zero, scales of norms 1. A checkpoint
    /// or [`crate::initialize`] fills it.
    ///
    /// # Errors
    /// Says which setting of the configuration is not supported.
    fn init<B: Backend>(
        config: &Self::Config,
        place: &Placement<B>,
    ) -> Result<Self::Model<B>, String>;

    /// The same weights without autodiff: `model.valid()`, in a place where no bound need say that
    /// a model has it.
    fn valid<B: AutodiffBackend>(model: &Self::Model<B>) -> Self::Model<B::InnerBackend>;
}

/// [`ModelFamily::parse`] with the types and the settings that are computed.
pub(crate) fn parse_config<C: ModelConfig>(
    value: serde_json::Value,
    model_types: &[&str],
    computed: &[&str],
) -> Result<C, String> {
    check_model_type(&value, model_types)?;
    let settings = value.as_object().into_iter().flatten();
    let others = settings.filter(|(name, _)| !computed.contains(&name.as_str()));
    let others = others.map(|(name, value)| (name.clone(), value.clone()));
    refuse_unsupported(&others.collect())?;
    let config: C = serde_json::from_value(value).map_err(|error| error.to_string())?;
    config.check()?;
    Ok(config)
}

/// # Errors
/// When `model_type` is missing or not among `known`; with none known it is not looked at.
pub(crate) fn check_model_type(value: &serde_json::Value, known: &[&str]) -> Result<(), String> {
    let supported = known.join("`, `");
    match value.get("model_type").and_then(|name| name.as_str()) {
        _ if known.is_empty() => Ok(()),
        None => Err(format!("`model_type` is missing (supported: `{supported}`)")),
        Some(name) if !known.contains(&name) => {
            Err(format!("the `model_type` `{name}` is not supported (supported: `{supported}`)"))
        }
        Some(_) => Ok(()),
    }
}

/// Where a model computes, and what helps it there.
#[derive(Clone, Debug)]
pub struct Placement<B: Backend> {
    /// The device.
    pub device: B::Device,
    /// Kernels that layers use in place of their formulas; see [`CausalLm::kernels`].
    pub kernels: Kernels,
}

impl<B: Backend> Placement<B> {
    /// A device without kernels of ours.
    pub fn plain(device: B::Device) -> Self {
        Self { device, kernels: Kernels::none() }
    }
}

impl<B: AutodiffBackend> Placement<B> {
    /// The same without autodiff.
    pub fn inner(&self) -> Placement<B::InnerBackend> {
        Placement { device: self.device.clone(), kernels: self.kernels.clone() }
    }
}
