//! The CPU's fused kernels against the formulas that they stand for, outputs and gradients. That
//! models, gradients and the agent compute the same with them is shown where those are tested
//! (`cases`, `both`).

use crate::{Plain, Tracked, assert_close, both, checkout, load};
use burn::tensor::{Int, Tensor, TensorData};
use paretopo_models::{CausalLm, from_host, to_host};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[test]
fn kernels_are_used_for_f32_on_their_backends_alone() {
    let kernels = paretopo_backend_flex::kernels();
    let tensor = Tensor::<Tracked, 2>::zeros([1, 1], &Default::default());
    assert!(
        kernels.suiting(&tensor).is_some() && kernels.suiting(&tensor.clone().inner()).is_some()
    );
    assert!(kernels.suiting(&tensor.cast(burn::tensor::FloatDType::BF16)).is_none());
    // a graph within a graph has none
    assert!(kernels.of::<burn::backend::Autodiff<Tracked>>().is_none());
}

#[test]
fn a_model_keeps_the_kernels_that_it_was_given() {
    let folder = checkout("tests/fixtures/models/qwen3");
    for (place, has) in both::<Tracked>().iter().zip([false, true]) {
        let model = load(&folder, place).1;
        assert_eq!(model.kernels().of::<Tracked>().is_some(), has);
        let inner = burn::module::AutodiffModule::valid(&model);
        assert_eq!(inner.kernels().of::<Plain>().is_some(), has);
    }
}

/// Rows longer than a vector register and no multiple of one.
const ROWS: usize = 5;
const SIZE: usize = 44;

/// The plain formulas, from burn's operations.
mod plain {
    use super::*;

    pub(super) fn rms_norm(
        x: Tensor<Tracked, 2>,
        weight: Tensor<Tracked, 1>,
    ) -> Tensor<Tracked, 2> {
        let mean_square = x.clone().square().mean_dim(1);
        x * (mean_square + 1e-5).sqrt().recip() * weight.unsqueeze()
    }

    pub(super) fn gated_silu(
        gate: Tensor<Tracked, 2>,
        up: Tensor<Tracked, 2>,
    ) -> Tensor<Tracked, 2> {
        burn::tensor::activation::silu(gate) * up
    }

    /// Heads of `SIZE / 2` features.
    pub(super) fn rotate(
        x: Tensor<Tracked, 2>,
        cos: Tensor<Tracked, 2>,
        sin: Tensor<Tracked, 2>,
    ) -> Tensor<Tracked, 2> {
        let quarter = SIZE / 4;
        let swapped = [1, 0, 3, 2].map(|part| {
            let part: Tensor<Tracked, 2> = x.clone().narrow(1, part * quarter, quarter);
            part
        });
        let [b, a, d, c] = swapped;
        x.clone() * cos + Tensor::cat(vec![b.neg(), a, d.neg(), c], 1) * sin
    }

    pub(super) fn target_logprobs(
        logits: Tensor<Tracked, 2>,
        targets: Tensor<Tracked, 1, Int>,
    ) -> Tensor<Tracked, 1> {
        burn::tensor::activation::log_softmax(logits, 1)
            .gather(1, targets.unsqueeze_dim(1))
            .squeeze_dim(1)
    }
}

fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<Tracked, D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values = (0..shape.iter().product()).map(|_| rng.random_range(-6.0..6.0)).collect();
    from_host(values, shape, &Default::default()).require_grad()
}

/// A formula, or the kernel for it.
type Way<'a, const D: usize, const E: usize> =
    &'a dyn Fn(&[Tensor<Tracked, D>]) -> Tensor<Tracked, E>;

/// Outputs and gradients of both ways agree; gradients are those of a sum in which every output
/// counts differently.
fn compare<const D: usize, const E: usize>(
    what: &str,
    inputs: &[Tensor<Tracked, D>],
    ways: [Way<'_, D, E>; 2],
) {
    let [want, got] = ways.map(|way| {
        let output = way(inputs);
        let shape = output.dims();
        let count = shape.iter().product::<usize>();
        let weights: Vec<f32> = (0..count).map(|place| (place as f32).sin()).collect();
        let weights =
            Tensor::<Tracked, E>::from_data(TensorData::new(weights, shape), &Default::default());
        let values = to_host(output.clone());
        let gradients = (output * weights).sum().backward();
        (
            values,
            inputs.iter().map(|input| to_host(input.grad(&gradients).unwrap())).collect::<Vec<_>>(),
        )
    });
    assert_close(&got.0, &want.0, 2e-5, what);
    for (index, (got, want)) in got.1.iter().zip(&want.1).enumerate() {
        assert!(want.iter().any(|value| value.abs() > 1e-3), "{what}: the gradient vanishes");
        assert_close(got, want, 5e-5, &format!("{what}: gradient of input {index}"));
    }
}

#[test]
fn kernels_and_their_gradients_equal_the_formulas() {
    let device = Default::default();
    let (x, y) = (random(1, [ROWS, SIZE]), random(2, [ROWS, SIZE]));
    let kernels = paretopo_backend_flex::kernels();
    let fused = kernels.suiting(&x).unwrap();
    let weight = random(3, [SIZE]);
    compare(
        "rms_norm of x",
        std::slice::from_ref(&x),
        [&|x| plain::rms_norm(x[0].clone(), weight.clone()), &|x| {
            fused.rms_norm(x[0].clone(), weight.clone(), 1e-5)
        }],
    );
    compare(
        "rms_norm of w",
        std::slice::from_ref(&weight),
        [&|w| plain::rms_norm(x.clone(), w[0].clone()), &|w| {
            fused.rms_norm(x.clone(), w[0].clone(), 1e-5)
        }],
    );
    compare(
        "gated_silu",
        &[x.clone(), y.clone()],
        [&|x| plain::gated_silu(x[0].clone(), x[1].clone()), &|x| {
            fused.gated_silu(x[0].clone(), x[1].clone())
        }],
    );
    // both heads of a token have the same angles, and so have both halves of a head
    let head = SIZE / 2;
    let angle = |place: usize| (place / head * 7 + place % (head / 2)) as f32;
    let table = |of: fn(f32) -> f32| {
        let values = (0..ROWS * head).map(|place| of(angle(place))).collect();
        from_host::<Tracked, 2>(values, [ROWS, head], &device)
    };
    let (cos, sin) = (table(f32::cos), table(f32::sin));
    let twice = |angles: &Tensor<Tracked, 2>| angles.clone().repeat_dim(1, 2);
    compare(
        "rotate",
        std::slice::from_ref(&x),
        [&|x| plain::rotate(x[0].clone(), twice(&cos), twice(&sin)), &|x| {
            fused.rotate(x[0].clone(), cos.clone(), sin.clone())
        }],
    );
    let targets = Tensor::<Tracked, 1, Int>::from_data([0, 43, 7, 7, 20], &device);
    compare(
        "target_logprobs",
        &[x],
        [&|x| plain::target_logprobs(x[0].clone(), targets.clone()), &|x| {
            fused.target_logprobs(x[0].clone(), targets.clone())
        }],
    );
}

#[test]
fn the_softmax_kernel_equals_the_formula_for_every_kind_of_mask() {
    let scores = random(4, [2, 2, 3, SIZE]);
    let kernels = paretopo_backend_flex::kernels();
    let fused = kernels.suiting(&scores).unwrap();
    let mask = |rows: usize| {
        let values: Vec<f32> =
            (0..rows * 3 * SIZE).map(|place| if place * 7 % 11 < 4 { -1e9 } else { 0.0 }).collect();
        Tensor::<Tracked, 2>::from_data(
            TensorData::new(values, [rows, 3 * SIZE]),
            &Default::default(),
        )
    };
    for mask in [None, Some(mask(1)), Some(mask(2)), Some(mask(4))] {
        let plain = |scores: &[Tensor<Tracked, 4>]| {
            let scores = scores[0].clone();
            let shape = scores.dims();
            let masked = match &mask {
                Some(mask) => {
                    let rows = mask.dims()[0];
                    let scores = scores.reshape([rows, 4 / rows, 3 * SIZE]);
                    (scores + mask.clone().unsqueeze_dim(1)).reshape(shape)
                }
                None => scores,
            };
            burn::tensor::activation::softmax(masked, 3)
        };
        compare(
            "masked_softmax",
            std::slice::from_ref(&scores),
            [&plain, &|scores| fused.masked_softmax(scores[0].clone(), mask.clone())],
        );
    }
}
