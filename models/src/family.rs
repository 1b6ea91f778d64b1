//! A family of models: how a `config.json` is read, and how it becomes a model on a backend.
//!
//! Recipes, checkpoints and plans are generic over a family, since a model's type depends on the
//! backend. [`crate::AutoFamily`] is ours; a crate of your own brings another.

use crate::{CausalLm, Footprint, Kernels, LinearMap};
use burn::tensor::backend::{AutodiffBackend, Backend};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// What a `config.json` says.
pub trait ModelConfig:
    Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// # Errors
    /// Says which setting is not supported, out of range or contradicts another.
    fn check(&self) -> Result<(), String>;

    /// Number of tokens that the model knows.
    fn vocab_size(&self) -> usize;

    /// Longest sequence that the model was made for.
    fn context(&self) -> usize;

    /// Standard deviation of initial weights.
    fn initializer_range(&self) -> f32;

    /// The class name that transformers expects under `architectures`.
    fn class_name(&self) -> &'static str;

    /// What memory the model takes.
    fn footprint(&self) -> Footprint;

    /// The linear maps that may get an adapter: those of [`CausalLm::projections_mut`], in its
    /// order.
    fn linear_maps(&self) -> Box<dyn Iterator<Item = LinearMap> + '_>;

    /// Whether a checkpoint's tensor of that name says nothing (a buffer, the copy of another one).
    fn is_superfluous(&self, _tensor: &str) -> bool {
        false
    }
}

/// Configurations and the models that they describe, on every backend.
pub trait ModelFamily: Clone + Debug + Send + Sync + 'static {
    /// What a `config.json` says.
    type Config: ModelConfig;

    /// The model on a backend.
    type Model<B: Backend>: CausalLm<B>;

    /// A configuration from the values of its file.
    ///
    /// # Errors
    /// Names a setting that is missing, malformed or not supported.
    fn parse(value: serde_json::Value) -> Result<Self::Config, String> {
        let config: Self::Config =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    /// A model with zero weights.
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

/// Where a model computes, and what helps it there.
#[derive(Clone, Debug)]
pub struct Placement<B: Backend> {
    /// The device.
    pub device: B::Device,
    /// Kernels that layers use in place of their formulas.
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
