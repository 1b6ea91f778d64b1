//! A policy with random weights, made on the device, where a billion of them take a moment.

use super::Settings;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use paretopo_models::{AutoFamily, AutoModel, ModelConfig, ModelFamily, Placement};

/// In f32; norms stay 1 and biases 0.
pub(crate) fn random<B: Backend>(settings: &Settings, place: &Placement<B>) -> AutoModel<B> {
    struct Draw(f64);
    impl<B: Backend> ModuleMapper<B> for Draw {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            if D < 2 {
                return param;
            }
            let values = Distribution::Normal(0.0, self.0);
            param.map(|old| Tensor::random(old.shape(), values, &old.device()).require_grad())
        }
    }
    B::seed(&place.device, 1);
    let model = AutoFamily::init(&settings.config, place).unwrap();
    model.map(&mut Draw(f64::from(settings.config.initializer_range())))
}

/// `count` ids that look like none in particular.
pub(crate) fn ids(settings: &Settings, row: usize, count: usize) -> Vec<u32> {
    let vocabulary = settings.config.vocab_size();
    (0..count).map(|place| ((row * 7919 + place * 104_729) % vocabulary) as u32).collect()
}
