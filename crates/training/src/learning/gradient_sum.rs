//! Gradients of several micro-batches, added up parameter by parameter.

use burn::module::Module;
use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use paretopo_models::{NamedTensor, named_parameters, parameter_keys, to_host};

/// The sum, flat, in the order of the model's parameters; `None` for a parameter that no loss
/// depended on, empty before the first.
#[derive(Clone, Debug)]
pub struct GradientSum<B: AutodiffBackend>(Vec<Option<Tensor<B::InnerBackend, 1>>>);

impl<B: AutodiffBackend> Default for GradientSum<B> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<B: AutodiffBackend> GradientSum<B> {
    /// Adds what a backward pass found for the model's parameters.
    pub fn collect(&mut self, model: &impl Module<B>, gradients: &B::Gradients) {
        struct Collect<'a, B: AutodiffBackend> {
            gradients: &'a B::Gradients,
            found: GradientSum<B>,
        }
        impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<'_, B> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
                self.found.0.push(
                    param.val().grad(self.gradients).map(|gradient| gradient.flatten(0, D - 1)),
                );
            }
        }
        let mut collect = Collect::<B> { gradients, found: Self::default() };
        model.visit(&mut collect);
        self.add(collect.found);
    }

    /// Adds another sum of the same model's gradients.
    pub fn add(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
            return;
        }
        for (sum, new) in self.0.iter_mut().zip(other.0) {
            *sum = match (sum.take(), new) {
                (Some(sum), Some(new)) => Some(sum + new),
                (sum, new) => sum.or(new),
            };
        }
    }

    /// The sum of two.
    pub(crate) fn added(mut left: Self, right: Self) -> Self {
        left.add(right);
        left
    }

    /// Of such parts.
    pub(crate) fn of_parts(parts: Vec<Option<Tensor<B::InnerBackend, 1>>>) -> Self {
        Self(parts)
    }

    /// The parts, as they are described above.
    pub fn parts(&self) -> &[Option<Tensor<B::InnerBackend, 1>>] {
        &self.0
    }

    pub(crate) fn into_parts(self) -> Vec<Option<Tensor<B::InnerBackend, 1>>> {
        self.0
    }

    /// The gradients with the keys and shapes of `model`'s checkpoint; parameters without one are
    /// left out.
    pub fn named(&self, model: &impl Module<B>) -> Vec<NamedTensor> {
        struct Replace<'a, B: AutodiffBackend>(
            std::slice::Iter<'a, Option<Tensor<B::InnerBackend, 1>>>,
        );
        impl<B: AutodiffBackend> ModuleMapper<B> for Replace<'_, B> {
            fn map_float<const D: usize>(
                &mut self,
                param: Param<Tensor<B, D>>,
            ) -> Param<Tensor<B, D>> {
                match self.0.next().and_then(Option::as_ref) {
                    Some(gradient) => param
                        .map(|weight| Tensor::from_inner(gradient.clone().reshape(weight.dims()))),
                    None => param,
                }
            }
        }
        let replaced = model.clone().map(&mut Replace::<B>(self.0.iter()));
        named_parameters(&replaced)
            .into_iter()
            .zip(&self.0)
            .filter(|(_, part)| part.is_some())
            .map(|(tensor, _)| tensor)
            .collect()
    }

    /// The Euclidean norm of all parts together; waits for the device.
    pub fn norm(&self) -> f64 {
        let squares = self.0.iter().flatten().map(|gradient| gradient.clone().square().sum());
        let total = squares.reduce(|sum, square| sum + square);
        total.map_or(0.0, |total| f64::from(to_host(total)[0]).sqrt())
    }

    /// Loss and norm of which one is not finite, with the first parameter that is to blame.
    pub(crate) fn in_words(&self, model: &impl Module<B>, loss: f64, norm: f64) -> String {
        let bad = self.not_finite(model);
        let place = match bad.as_slice() {
            [] => String::new(),
            [key] => format!(" (`{key}`)"),
            [key, rest @ ..] => format!(" (`{key}` and {} more)", rest.len()),
        };
        format!("loss {loss}, gradient norm {norm}{place}")
    }

    /// The keys of the parameters whose gradient holds a number that is not finite.
    pub fn not_finite(&self, model: &impl Module<B>) -> Vec<String> {
        let is_bad = |gradient: &Option<Tensor<B::InnerBackend, 1>>| {
            gradient
                .as_ref()
                .is_some_and(|gradient| !to_host(gradient.clone().sum())[0].is_finite())
        };
        parameter_keys(model)
            .into_iter()
            .zip(&self.0)
            .filter(|(_, gradient)| is_bad(gradient))
            .map(|(key, _)| key)
            .collect()
    }
}
