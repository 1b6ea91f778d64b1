//! Layer normalisation (Ba et al., 2016, arXiv 1607.06450), with the field names of checkpoints
//! (burn's own calls its weights `gamma` and `beta`).

use super::{in_f32, matching};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// `y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias`, over the last dimension; computed
/// in f32, whatever the type of `x`. The variance is that of the population, `mean((x - mean)^2)`.
#[derive(Module, Debug)]
pub struct LayerNorm<B: Backend> {
    /// Scale of each feature, `[size]`.
    pub weight: Param<Tensor<B, 1>>,
    /// What is added to each feature, `[size]`, if the architecture has it.
    pub bias: Option<Param<Tensor<B, 1>>>,
    eps: f64,
}

impl<B: Backend> LayerNorm<B> {
    /// A norm over `size` features with scale 1 and, if it is to have one, bias 0.
    pub fn new(size: usize, eps: f64, bias: bool, device: &B::Device) -> Self {
        let weight = Param::from_tensor(Tensor::ones([size], device));
        let bias = bias.then(|| Param::from_tensor(Tensor::zeros([size], device)));
        Self { weight, bias, eps }
    }

    /// # Shapes
    /// - `x`, output: `[.., size]`
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let wide = in_f32(x.clone());
        let centred = wide.clone() - wide.mean_dim(D - 1);
        let variance = centred.clone().square().mean_dim(D - 1);
        let unit = centred * (variance + self.eps).sqrt().recip();
        let scaled = unit * in_f32(self.weight.val()).unsqueeze();
        let y = match &self.bias {
            Some(bias) => scaled + in_f32(bias.val()).unsqueeze(),
            None => scaled,
        };
        matching(y, &x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Autodiff;

    type B = Autodiff<burn_flex::Flex>;

    fn vector(values: [f32; 3]) -> Param<Tensor<B, 1>> {
        Param::from_tensor(Tensor::from_data(values, &Default::default()).require_grad())
    }

    #[track_caller]
    fn check<const D: usize>(got: Tensor<burn_flex::Flex, D>, want: [f32; 3]) {
        let got = crate::to_host(got);
        let close = got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6);
        assert!(got.len() == 3 && close, "{got:?} is not {want:?}");
    }

    #[test]
    fn centres_and_divides_by_the_deviation() {
        let mut norm = LayerNorm::<B>::new(3, 1.0, true, &Default::default());
        norm.weight = vector([1.0, 2.0, 1.0]);
        norm.bias = Some(vector([0.0, 10.0, 0.0]));
        let x = Tensor::<B, 2>::from_data([[1.0, 1.0, 4.0]], &Default::default()).require_grad();
        // mean 2, centred (-1, -1, 2), variance 6 / 3 = 2, divided by sqrt(2 + 1) = 1.732051:
        // (-0.577350, -0.577350, 1.154701), times (1, 2, 1), plus (0, 10, 0)
        let y = norm.forward(x.clone());
        check(y.clone().inner(), [-0.577_350_3, 8.845_299, 1.154_700_5]);
        // L = y_1: dL/dweight_1 = unit_1, dL/dbias_1 = 1; with g = (0, 2, 0) and u the unit vector,
        // dL/dx = (g - mean(g) - u mean(g u)) / s: mean(g) = 2/3, mean(g u) = -0.384900,
        // u mean(g u) = (0.222222, 0.222222, -0.444444), s = 1.732051:
        // (-0.888889, 1.111111, -0.222222) / 1.732051
        let gradients = y.narrow(1, 1, 1).sum().backward();
        check(x.grad(&gradients).unwrap(), [-0.513_200_2, 0.641_500_3, -0.128_300_06]);
        check(norm.weight.grad(&gradients).unwrap(), [0.0, -0.577_350_3, 0.0]);
        check(norm.bias.unwrap().grad(&gradients).unwrap(), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn without_a_bias_none_is_added() {
        let norm = LayerNorm::<B>::new(3, 1.0, false, &Default::default());
        let x = Tensor::<B, 2>::from_data([[1.0, 1.0, 4.0]], &Default::default());
        check(norm.forward(x).inner(), [-0.577_350_3, -0.577_350_3, 1.154_700_5]);
    }
}
