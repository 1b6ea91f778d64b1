//! Root-mean-square normalisation (Zhang & Sennrich, 2019).

use super::{in_f32, matching};
use crate::Kernels;
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};

/// `y = x / sqrt(mean(x^2) + eps) * weight`, over the last dimension; computed in f32, whatever the
/// type of `x`.
#[derive(Module, Debug)]
pub struct RmsNorm<B: Backend> {
    /// Scale of each feature, `[size]`.
    pub weight: Param<Tensor<B, 1>>,
    eps: f64,
    /// Added to the scale: 1 in Gemma, whose `weight` is 0 where nothing is scaled.
    offset: f64,
    #[module(skip)]
    kernels: Kernels,
}

impl<B: Backend> RmsNorm<B> {
    /// A norm over `size` features with scale 1.
    pub fn new(size: usize, eps: f64, kernels: &Kernels, device: &B::Device) -> Self {
        let weight = Param::from_tensor(Tensor::ones([size], device));
        Self { weight, eps, offset: 0.0, kernels: kernels.clone() }
    }

    /// Gemma's: scales with `1 + weight`, and begins with a weight of 0.
    pub fn around_one(size: usize, eps: f64, kernels: &Kernels, device: &B::Device) -> Self {
        let weight = Param::from_tensor(Tensor::zeros([size], device));
        Self { weight, offset: 1.0, ..Self::new(size, eps, kernels, device) }
    }

    fn scale(&self) -> Tensor<B, 1> {
        let weight = self.weight.val();
        if self.offset == 0.0 { weight } else { in_f32(weight) + self.offset }
    }

    /// # Shapes
    /// - `x`, output: `[.., size]`
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let fused = self.kernels.suiting(&x);
        if let Some(fused) = fused.filter(|_| self.weight.val().dtype() == DType::F32) {
            let (shape, [size]) = (x.dims(), self.weight.dims());
            let rows = x.reshape([shape.iter().product::<usize>() / size, size]);
            return fused.rms_norm(rows, self.scale(), self.eps as f32).reshape(shape);
        }
        let wide = in_f32(x.clone());
        let mean_square = wide.clone().square().mean_dim(D - 1);
        matching(
            wide * (mean_square + self.eps).sqrt().recip() * in_f32(self.scale()).unsqueeze(),
            &x,
        )
    }

    /// [`Self::forward`] of each part of a token that is as long as the norm.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, parts * size]`
    pub(crate) fn forward_parts(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let ([tokens, width], [size]) = (x.dims(), self.weight.dims());
        self.forward(x.reshape([tokens * width / size, size])).reshape([tokens, width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;

    #[test]
    fn a_scale_around_one_is_one_at_zero() {
        type B = burn_flex::Flex;
        let device = Default::default();
        let x = Tensor::<B, 2>::from_data([[3.0, 4.0]], &device);
        let mut norm = RmsNorm::<B>::around_one(2, 0.0, &Kernels::none(), &device);
        // (3, 4) / sqrt(12.5) = (0.848528, 1.131371), then twice the first and half the second
        norm.weight = Param::from_tensor(Tensor::from_data([1.0, -0.5], &device));
        norm.forward(x).into_data().assert_approx_eq::<f32>(
            &[[1.697_056_3f32, 0.565_685_45]].into(),
            Tolerance::absolute(1e-6),
        );
    }

    #[test]
    fn divides_by_the_root_mean_square() {
        type B = burn_flex::Flex;
        let device = Default::default();
        let norm = RmsNorm::<B>::new(2, 0.0, &Kernels::none(), &device);
        // mean((3, 4)^2) = 12.5; 3 / sqrt(12.5) = 0.848528, 4 / sqrt(12.5) = 1.131371
        let y = norm.forward(Tensor::<B, 2>::from_data([[3.0, 4.0]], &device));
        y.into_data().assert_approx_eq::<f32>(
            &[[0.848_528_1f32, 1.131_370_9]].into(),
            Tolerance::absolute(1e-6),
        );
    }
}
