//! AdamW (Loshchilov and Hutter, 2019) with clipping by the global gradient norm.
//!
//! Written here because gradients are clipped together, and because the moments go into the same
//! portable checkpoint as the weights. Moments and updates live on the inner backend.

use crate::{GradientSum, Stage};
use crate::{LearningRateSchedule, OptimizerConfig};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use paretopo_models::{
    AdamWState, AdamWStep, CausalLm, Kernels, NamedTensor, NotFinite, SavedTensor, adamw,
    find_not_finite, from_host, parameter_keys, to_host,
};
use std::collections::BTreeMap;

/// The optimiser's state: both moments, flat, in the order of the model's parameters.
#[derive(Clone, Debug)]
pub struct AdamW<B: AutodiffBackend> {
    config: OptimizerConfig,
    total_updates: u64,
    updates: u64,
    first_moments: Moments<B>,
    second_moments: Moments<B>,
    /// Which parameters are updated here, where ranks share them; all where this is empty.
    own: Vec<bool>,
}

/// A moment of each parameter, `None` where it is not trained.
pub(crate) type Moments<B> = Vec<Option<Tensor<<B as AutodiffBackend>::InnerBackend, 1>>>;

impl<B: AutodiffBackend> AdamW<B> {
    /// An optimiser for `total_updates` updates of a model.
    pub fn new(config: OptimizerConfig, total_updates: u64) -> Self {
        Self {
            config,
            total_updates,
            updates: 0,
            first_moments: Vec::new(),
            second_moments: Vec::new(),
            own: Vec::new(),
        }
    }

    /// From now on these parameters alone are updated here, and the moments of no others are held
    /// (ZeRO, stage 1; Rajbhandari et al., 2020).
    pub(crate) fn shard(&mut self, own: Vec<bool>) {
        for moments in [&mut self.first_moments, &mut self.second_moments] {
            moments.iter_mut().zip(&own).for_each(|(moment, own)| {
                moment.take_if(|_| !own);
            });
        }
        self.own = own;
    }

    /// Whether a parameter is updated here.
    fn is_own(&self, index: usize) -> bool {
        self.own.get(index).copied().unwrap_or(true)
    }

    /// `schedule(update)` times the highest learning rate.
    pub fn learning_rate(&self) -> f64 {
        let (update, warmup) = (self.updates + 1, self.config.warmup_updates);
        if update <= warmup {
            return self.config.learning_rate.get() * update as f64 / (warmup + 1) as f64;
        }
        let done =
            (update - warmup) as f64 / self.total_updates.saturating_sub(warmup).max(1) as f64;
        let done = done.min(1.0);
        let share = match self.config.schedule {
            LearningRateSchedule::Constant {} => 1.0,
            LearningRateSchedule::Linear { final_share } => 1.0 - (1.0 - final_share.get()) * done,
            LearningRateSchedule::Cosine { final_share } => {
                let final_share = final_share.get();
                final_share
                    + (1.0 - final_share) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        };
        self.config.learning_rate.get() * share
    }

    /// One update with a gradient of norm `gradient_norm` (an empty sum is zero). With `g` the
    /// gradient scaled to the largest norm allowed:
    ///
    /// `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
    /// `w = w - lr * decay * w - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`; only
    /// matrices decay.
    pub fn update<M: CausalLm<B>>(
        &mut self,
        model: M,
        gradient: GradientSum<B>,
        gradient_norm: f64,
    ) -> M {
        Stage::Optimizer.begin();
        if self.first_moments.is_empty() {
            self.first_moments = self.zeros(&model);
            self.second_moments = self.first_moments.clone();
        }
        let mut gradients = gradient.into_parts();
        if gradients.is_empty() {
            // nothing pulled: the gradient is zero, and the moments decay
            gradients = self.zeros(&model);
        }
        for (index, gradient) in gradients.iter_mut().enumerate() {
            gradient.take_if(|_| !self.is_own(index));
        }
        let learning_rate = self.learning_rate();
        self.updates += 1;
        let limit = self.config.clip_grad_norm.get();
        let scale =
            if limit > 0.0 && gradient_norm > limit { limit / (gradient_norm + 1e-6) } else { 1.0 };
        let kernels = model.kernels().clone();
        let optimizer = self;
        model.map(&mut Update { optimizer, kernels, gradients, learning_rate, scale, index: 0 })
    }

    /// The numbers of the update that is under way.
    fn step_of(&self, learning_rate: f64, scale: f64, decays: bool) -> AdamWStep {
        let time = self.updates as i32;
        let (beta1, beta2) = (self.config.beta1.get(), self.config.beta2.get());
        let decay = learning_rate * self.config.weight_decay.get();
        AdamWStep {
            scale,
            beta1,
            beta2,
            correction1: 1.0 - beta1.powi(time),
            correction2: 1.0 - beta2.powi(time),
            learning_rate,
            epsilon: self.config.epsilon.get(),
            decay: if decays { 1.0 - decay } else { 1.0 },
        }
    }

    fn zeros(&self, model: &impl Module<B>) -> Moments<B> {
        struct Zeros<'a, B: AutodiffBackend>(&'a AdamW<B>, Moments<B>);
        impl<B: AutodiffBackend> ModuleVisitor<B> for Zeros<'_, B> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
                let weight = param.val();
                let zeros =
                    || Tensor::zeros([weight.dims().iter().product::<usize>()], &weight.device());
                let is_held = weight.is_require_grad() && self.0.is_own(self.1.len());
                self.1.push(is_held.then(zeros));
            }
        }
        let mut zeros = Zeros(self, Vec::new());
        model.visit(&mut zeros);
        zeros.1
    }

    /// The first trained parameter or moment that is not finite, or parameter too large to be
    /// squared. One sum over all of them is read back; tensors are looked at one by one only if it is
    /// not finite.
    pub fn find_not_finite(&self, model: &impl Module<B>) -> Option<NotFinite> {
        let is_trained =
            |index: usize| self.first_moments.get(index).is_none_or(|moment| moment.is_some());
        let keys = parameter_keys(model);
        let parameters = keys.iter().cloned().zip(weights(model)).enumerate();
        let parameters = parameters.filter(|(index, _)| is_trained(*index));
        let parameters = parameters.map(|(_, named)| named).collect();
        let mut named_moments = Vec::new();
        for (kind, moments) in [("first", &self.first_moments), ("second", &self.second_moments)] {
            let named = moments.iter().zip(&keys).filter_map(|(moment, key)| {
                Some((format!("{kind} moment of {key}"), moment.clone()?))
            });
            named_moments.extend(named);
        }
        find_not_finite(parameters, named_moments)
    }

    /// Updates done.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Both moments, empty before the first update.
    pub(crate) fn moments(&self) -> [Moments<B>; 2] {
        [self.first_moments.clone(), self.second_moments.clone()]
    }

    /// Goes on from so many updates with both moments.
    pub(crate) fn go_on(&mut self, updates: u64, [first, second]: [Moments<B>; 2]) {
        self.updates = updates;
        self.first_moments = first;
        self.second_moments = second;
    }

    /// Both moments, for a checkpoint; those of parameters that are not trained are left out.
    pub fn state(&self) -> Vec<SavedTensor> {
        let named = |kind: &str, moments: &Moments<B>| -> Vec<SavedTensor> {
            let tensor = |(index, moment): (usize, &Option<Tensor<B::InnerBackend, 1>>)| {
                let moment = moment.clone()?;
                let shape = moment.dims().to_vec();
                Some(SavedTensor {
                    name: format!("{kind}.{index:05}"),
                    shape,
                    values: Box::new(move || to_host(moment.clone())),
                })
            };
            moments.iter().enumerate().filter_map(tensor).collect()
        };
        named("first", &self.first_moments)
            .into_iter()
            .chain(named("second", &self.second_moments))
            .collect()
    }

    /// Restores [`Self::state`].
    ///
    /// # Errors
    /// When the moments do not fit the model.
    pub fn restore(
        &mut self,
        model: &impl Module<B>,
        updates: u64,
        mut state: BTreeMap<String, NamedTensor>,
        device: &B::Device,
    ) -> Result<(), String> {
        let expected = self.zeros(model);
        let mut take = |kind: &str| -> Result<Moments<B>, String> {
            let moment = |(index, zeros): (usize, &Option<Tensor<B::InnerBackend, 1>>)| {
                let Some(zeros) = zeros else { return Ok(None) };
                let name = format!("{kind}.{index:05}");
                let tensor =
                    state.remove(&name).ok_or_else(|| format!("the moment `{name}` is missing"))?;
                let [size] = zeros.dims();
                if tensor.values.len() != size {
                    return Err(format!(
                        "the moment `{name}` has {} values, but the parameter has {size}",
                        tensor.values.len()
                    ));
                }
                if let Some(value) =
                    tensor.values.iter().find(|value| kind == "second" && **value < 0.0)
                {
                    return Err(format!(
                        "the moment `{name}` holds {value}, but it is a mean of squares"
                    ));
                }
                Ok(Some(from_host(tensor.values, [size], device)))
            };
            expected.iter().enumerate().map(moment).collect()
        };
        if updates > 0 {
            self.first_moments = take("first")?;
            self.second_moments = take("second")?;
        }
        self.updates = updates;
        Ok(())
    }
}

/// A model's parameters in the order of its fields, flat and without autodiff.
fn weights<B: AutodiffBackend>(model: &impl Module<B>) -> Vec<Tensor<B::InnerBackend, 1>> {
    struct Collect<B: AutodiffBackend>(Vec<Tensor<B::InnerBackend, 1>>);
    impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<B> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.push(param.val().inner().flatten(0, D - 1));
        }
    }
    let mut collect = Collect::<B>(Vec::new());
    model.visit(&mut collect);
    collect.0
}

/// An update on its way through a model's parameters.
struct Update<'a, B: AutodiffBackend> {
    optimizer: &'a mut AdamW<B>,
    kernels: Kernels,
    gradients: Moments<B>,
    learning_rate: f64,
    scale: f64,
    index: usize,
}
impl<B: AutodiffBackend> ModuleMapper<B> for Update<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let index = self.index;
        self.index += 1;
        let optimizer = &mut *self.optimizer;
        let Some(gradient) = self.gradients[index].take() else { return param };
        let step = optimizer.step_of(self.learning_rate, self.scale, D > 1);
        let moments =
            (optimizer.first_moments[index].as_mut(), optimizer.second_moments[index].as_mut());
        let (Some(first_moment), Some(second_moment)) = moments else { return param };
        param.map(|weight| {
            let (shape, empty) = (weight.dims(), || Tensor::empty([0], &gradient.device()));
            let state = AdamWState {
                weight: weight.inner().flatten(0, D - 1),
                first_moment: std::mem::replace(first_moment, empty()),
                second_moment: std::mem::replace(second_moment, empty()),
            };
            let state = match self.kernels.suiting(&gradient) {
                Some(fused) => fused.adamw(state, gradient, step),
                None => adamw(state, gradient, step),
            };
            (*first_moment, *second_moment) = (state.first_moment, state.second_moment);
            Tensor::from_inner(state.weight.reshape(shape)).require_grad()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_settings::{LearningRate, Share};

    #[test]
    fn schedules_by_hand() {
        type B = burn::backend::Autodiff<burn_flex::Flex>;
        let rates = |schedule, updates: &[u64]| {
            let config = OptimizerConfig {
                learning_rate: LearningRate::literal(1.0),
                warmup_updates: 3,
                schedule,
                ..OptimizerConfig::default()
            };
            let mut optimizer = AdamW::<B>::new(config, 13);
            updates
                .iter()
                .map(|update| {
                    optimizer.updates = *update;
                    optimizer.learning_rate()
                })
                .collect::<Vec<_>>()
        };
        // warm-up over 3 updates: 1/4, 2/4, 3/4; the 4th is 1/10 into the schedule
        assert_eq!(rates(LearningRateSchedule::Constant {}, &[0, 1, 2, 3]), [0.25, 0.5, 0.75, 1.0]);
        // 8th update: (8 - 3) / 10 = 0.5; linear 1 - 0.8 * 0.5 = 0.6, cosine 0.2 + 0.8 * 0.5 = 0.6;
        // at the 13th 0.2
        for schedule in [
            LearningRateSchedule::Linear { final_share: Share::literal(0.2) },
            LearningRateSchedule::Cosine { final_share: Share::literal(0.2) },
        ] {
            let got = rates(schedule, &[7, 12]);
            assert!((got[0] - 0.6).abs() < 1e-12 && (got[1] - 0.2).abs() < 1e-12, "{got:?}");
        }
    }
}
