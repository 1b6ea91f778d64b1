//! The kernels as burn operations, without and with autodiff.

use crate::attention;
use crate::kernels;
use crate::packed::{self, Path};
use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, OpsPrep};
use burn::tensor::{Int, Shape, Tensor, TensorData, TensorMetadata, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};
use paretopo_models::{
    AdamWState, AdamWStep, AttentionHeads, FusedOps, KeyValueCache, PackedMatrix, PackedWeights,
};
use paretopo_vectorised::vectorised;
use rayon::prelude::*;
use std::sync::Arc;

type Tracked = Autodiff<Flex>;

/// Values of a parameter that a thread updates at a time.
const CHUNK: usize = 1 << 16;

/// Kernels for [`Flex`] and its autodiff backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlexKernels;

/// Contiguous, and shared with nobody if the tensor was not.
pub(crate) fn plain<const D: usize>(tensor: Tensor<Flex, D>) -> FlexTensor {
    tensor.into_primitive().tensor().to_contiguous()
}

pub(crate) fn wrap<const D: usize>(tensor: FlexTensor) -> Tensor<Flex, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

pub(crate) fn from_values(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn rms_norm(x: &FlexTensor, weight: &FlexTensor, eps: f32) -> FlexTensor {
    let mut y = vec![0.0; x.shape().num_elements()];
    vectorised(
        #[inline(always)]
        || kernels::rms_norm(x.storage(), weight.storage(), eps, &mut y),
    );
    from_values(y, x.shape())
}

fn gated_silu(mut gate: FlexTensor, up: &FlexTensor) -> FlexTensor {
    vectorised(
        #[inline(always)]
        || kernels::gated_silu(gate.storage_mut(), up.storage()),
    );
    gate
}

fn masked_softmax(mut scores: FlexTensor, mask: Option<&FlexTensor>) -> FlexTensor {
    let columns = *scores.shape().last().expect("scores have columns");
    let mask = mask.map(|mask| (mask.storage(), mask.shape()[0]));
    vectorised(
        #[inline(always)]
        || kernels::masked_softmax(scores.storage_mut(), columns, mask),
    );
    scores
}

fn rotate(x: &FlexTensor, angles: &Angles, sign: f32) -> FlexTensor {
    let (shape, head_dim) = (x.shape(), angles.cos.shape()[1]);
    let width = shape[1];
    let mut y = vec![0.0; shape.num_elements()];
    let turns = [angles.cos.storage(), angles.sin.storage()];
    vectorised(
        #[inline(always)]
        || kernels::rotate(x.storage(), width, turns, head_dim, sign, &mut y),
    );
    from_values(y, shape)
}

/// What a rotation's gradient needs.
#[derive(Clone, Debug)]
struct Angles {
    cos: FlexTensor,
    sin: FlexTensor,
}

/// What the gradient of log-probabilities needs.
#[derive(Clone, Debug)]
struct Scored {
    logits: FlexTensor,
    normalisers: Vec<f32>,
    targets: Vec<usize>,
}

fn target_logprobs(logits: FlexTensor, targets: TensorData) -> (FlexTensor, Scored) {
    let targets: Vec<usize> = targets.iter::<i64>().map(|id| id as usize).collect();
    let vocab_size = *logits.shape().last().expect("logits have columns");
    let values: &[f32] = logits.storage();
    let normalisers = vectorised(
        #[inline(always)]
        || kernels::log_sum_exp(values, vocab_size),
    );
    let picked = targets
        .iter()
        .zip(&normalisers)
        .enumerate()
        .map(|(row, (target, normaliser))| values[row * vocab_size + target] - normaliser);
    let output = from_values(picked.collect(), Shape::new([targets.len()]));
    (output, Scored { logits, normalisers, targets })
}

impl FusedOps<Flex> for FlexKernels {
    fn rms_norm(&self, x: Tensor<Flex, 2>, weight: Tensor<Flex, 1>, eps: f32) -> Tensor<Flex, 2> {
        wrap(rms_norm(&plain(x), &plain(weight), eps))
    }

    fn gated_silu(&self, gate: Tensor<Flex, 2>, up: Tensor<Flex, 2>) -> Tensor<Flex, 2> {
        wrap(gated_silu(plain(gate), &plain(up)))
    }

    fn masked_softmax(
        &self,
        scores: Tensor<Flex, 4>,
        mask: Option<Tensor<Flex, 2>>,
    ) -> Tensor<Flex, 4> {
        wrap(masked_softmax(plain(scores), mask.map(plain).as_ref()))
    }

    fn rotate(
        &self,
        x: Tensor<Flex, 2>,
        cos: Tensor<Flex, 2>,
        sin: Tensor<Flex, 2>,
    ) -> Tensor<Flex, 2> {
        wrap(rotate(&plain(x), &Angles { cos: plain(cos), sin: plain(sin) }, 1.0))
    }

    fn target_logprobs(
        &self,
        logits: Tensor<Flex, 2>,
        targets: Tensor<Flex, 1, Int>,
    ) -> Tensor<Flex, 1> {
        wrap(target_logprobs(plain(logits), targets.into_data()).0)
    }

    fn pack(
        &self,
        matrix: Tensor<Flex, 2>,
        weights: PackedWeights,
    ) -> Option<Arc<dyn PackedMatrix<Flex>>> {
        Some(packed::pack(matrix, weights))
    }

    fn key_value_cache(
        &self,
        heads: AttentionHeads,
        rows: usize,
    ) -> Option<Box<dyn KeyValueCache<Flex>>> {
        Some(Box::new(attention::Cache::new(heads, rows, Path::best())))
    }

    fn adamw(
        &self,
        parameter: AdamWState<Flex>,
        gradient: Tensor<Flex, 1>,
        step: AdamWStep,
    ) -> AdamWState<Flex> {
        let [mut weight, mut first, mut second] =
            [parameter.weight, parameter.first_moment, parameter.second_moment].map(plain);
        let gradient = plain(gradient);
        let parts = (
            weight.storage_mut().par_chunks_mut(CHUNK),
            first.storage_mut().par_chunks_mut(CHUNK),
            second.storage_mut().par_chunks_mut(CHUNK),
        );
        let parts = parts.into_par_iter().zip(gradient.storage().par_chunks(CHUNK));
        parts.for_each(|((weight, first, second), gradient)| {
            vectorised(
                #[inline(always)]
                || kernels::adamw(weight, first, second, gradient, step),
            )
        });
        AdamWState { weight: wrap(weight), first_moment: wrap(first), second_moment: wrap(second) }
    }
}

type AutodiffTensor = <Tracked as burn::tensor::backend::BackendTypes>::FloatTensorPrimitive;

fn inside<const D: usize>(tensor: Tensor<Tracked, D>) -> AutodiffTensor {
    let mut tensor = tensor.into_primitive().tensor();
    tensor.primitive = tensor.primitive.to_contiguous();
    tensor
}

fn outside<const D: usize>(tensor: AutodiffTensor) -> Tensor<Tracked, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

/// An operation on `N` tensors with its output and what its gradient needs, put into the graph if
/// any of them is tracked.
fn record<O: Backward<Flex, N, State = S>, S, const N: usize>(
    operation: O,
    inputs: [&AutodiffTensor; N],
    state: impl FnOnce() -> S,
    output: FlexTensor,
) -> AutodiffTensor
where
    S: Clone + Send + std::fmt::Debug + 'static,
{
    let prepared: OpsPrep<_, _, _, NoCheckpointing, N, _> =
        operation.prepare(inputs.map(|input| input.node.clone()));
    match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state(), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

/// Gives each parent its gradient.
fn spread<S, const N: usize>(
    ops: Ops<S, N>,
    gradients: &mut Gradients,
    found: impl FnOnce(S, FlexTensor) -> [FlexTensor; N],
) {
    let incoming = gradients.consume::<Flex>(&ops.node).to_contiguous();
    for (parent, gradient) in ops.parents.into_iter().zip(found(ops.state, incoming)) {
        if let Some(parent) = parent {
            gradients.register::<Flex>(parent.id, gradient);
        }
    }
}

#[derive(Debug)]
struct RmsNorm;

impl Backward<Flex, 2> for RmsNorm {
    type State = (FlexTensor, FlexTensor, f32);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        spread(ops, gradients, |(x, weight, eps), g| {
            let (mut dx, mut dw) =
                (vec![0.0; x.shape().num_elements()], vec![0.0; weight.shape().num_elements()]);
            vectorised(
                #[inline(always)]
                || {
                    kernels::rms_norm_backward(
                        x.storage(),
                        weight.storage(),
                        eps,
                        g.storage(),
                        &mut dx,
                        &mut dw,
                    )
                },
            );
            [from_values(dx, x.shape()), from_values(dw, weight.shape())]
        });
    }
}

#[derive(Debug)]
struct GatedSilu;

impl Backward<Flex, 2> for GatedSilu {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        spread(ops, gradients, |(gate, up), mut g| {
            let mut dup = vec![0.0; up.shape().num_elements()];
            vectorised(
                #[inline(always)]
                || {
                    kernels::gated_silu_backward(
                        gate.storage(),
                        up.storage(),
                        g.storage_mut(),
                        &mut dup,
                    )
                },
            );
            [g, from_values(dup, up.shape())]
        });
    }
}

#[derive(Debug)]
struct MaskedSoftmax;

impl Backward<Flex, 1> for MaskedSoftmax {
    type State = FlexTensor;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        spread(ops, gradients, |weights, mut g| {
            let columns = *weights.shape().last().expect("weights have columns");
            vectorised(
                #[inline(always)]
                || kernels::softmax_backward(weights.storage(), columns, g.storage_mut()),
            );
            [g]
        });
    }
}

#[derive(Debug)]
struct Rotate;

impl Backward<Flex, 1> for Rotate {
    type State = Angles;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        spread(ops, gradients, |angles, g| [rotate(&g, &angles, -1.0)]);
    }
}

#[derive(Debug)]
struct TargetLogprobs;

impl Backward<Flex, 1> for TargetLogprobs {
    type State = Scored;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        spread(ops, gradients, |Scored { logits, normalisers, targets }, g| {
            let mut dlogits = vec![0.0; logits.shape().num_elements()];
            vectorised(
                #[inline(always)]
                || {
                    kernels::target_logprobs_backward(
                        logits.storage(),
                        &normalisers,
                        &targets,
                        g.storage(),
                        &mut dlogits,
                    )
                },
            );
            [from_values(dlogits, logits.shape())]
        });
    }
}

impl FusedOps<Tracked> for FlexKernels {
    fn rms_norm(
        &self,
        x: Tensor<Tracked, 2>,
        weight: Tensor<Tracked, 1>,
        eps: f32,
    ) -> Tensor<Tracked, 2> {
        let (x, weight) = (inside(x), inside(weight));
        let y = rms_norm(&x.primitive, &weight.primitive, eps);
        outside(record(
            RmsNorm,
            [&x, &weight],
            || (x.primitive.clone(), weight.primitive.clone(), eps),
            y,
        ))
    }

    fn gated_silu(&self, gate: Tensor<Tracked, 2>, up: Tensor<Tracked, 2>) -> Tensor<Tracked, 2> {
        let (gate, up) = (inside(gate), inside(up));
        let y = gated_silu(gate.primitive.clone(), &up.primitive);
        outside(record(
            GatedSilu,
            [&gate, &up],
            || (gate.primitive.clone(), up.primitive.clone()),
            y,
        ))
    }

    fn masked_softmax(
        &self,
        scores: Tensor<Tracked, 4>,
        mask: Option<Tensor<Tracked, 2>>,
    ) -> Tensor<Tracked, 4> {
        let AutodiffTensor { primitive, node, rc } = inside(scores);
        let weights =
            masked_softmax(primitive, mask.map(inside).as_ref().map(|mask| &mask.primitive));
        // the scores themselves are not needed again: their place in the graph is kept without them
        let scores = AutodiffTensor { primitive: weights.clone(), node, rc };
        outside(record(MaskedSoftmax, [&scores], || weights.clone(), weights.clone()))
    }

    fn rotate(
        &self,
        x: Tensor<Tracked, 2>,
        cos: Tensor<Tracked, 2>,
        sin: Tensor<Tracked, 2>,
    ) -> Tensor<Tracked, 2> {
        let angles = Angles { cos: inside(cos).primitive, sin: inside(sin).primitive };
        let x = inside(x);
        let y = rotate(&x.primitive, &angles, 1.0);
        outside(record(Rotate, [&x], || angles.clone(), y))
    }

    fn target_logprobs(
        &self,
        logits: Tensor<Tracked, 2>,
        targets: Tensor<Tracked, 1, Int>,
    ) -> Tensor<Tracked, 1> {
        let logits = inside(logits);
        let (output, scored) = target_logprobs(logits.primitive.clone(), targets.into_data());
        outside(record(TargetLogprobs, [&logits], || scored.clone(), output))
    }
}
