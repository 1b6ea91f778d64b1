//! Operations that a backend may do in one pass over memory, instead of the several of their
//! formulas.
//!
//! Every layer has a plain path in burn's operations, which runs on any backend. A backend's crate
//! may have its own kernels, forward and backward; they must agree with the plain path up to
//! rounding, which the backend's tests check. They are used for f32 alone. A model is given them
//! when it is made ([`Kernels`]) and its layers hold them, so that two models in one process need
//! not compute alike.

use crate::{AttentionHeads, KeyValueCache, PackedMatrix, PackedWeights};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor};
use std::any::{Any, TypeId, type_name};
use std::fmt::{Debug, Formatter};
use std::sync::Arc;

/// The operations. All tensors are f32; those on an autodiff backend keep the graph.
pub trait FusedOps<B: Backend>: Send + Sync {
    /// `x / sqrt(mean(x^2) + eps) * weight`.
    ///
    /// # Shapes
    /// - `x`, output: `[rows, size]`; `weight`: `[size]`
    fn rms_norm(&self, x: Tensor<B, 2>, weight: Tensor<B, 1>, eps: f32) -> Tensor<B, 2>;

    /// `silu(gate) * up`.
    ///
    /// # Shapes
    /// - all: `[tokens, intermediate_size]`
    fn gated_silu(&self, gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2>;

    /// Softmax over the last dimension of `scores + mask`. The scores fall apart into blocks as
    /// long as a row of the mask, which is that of as many neighbouring blocks as there are for
    /// each.
    ///
    /// # Shapes
    /// - `scores`, output: `[batch, kv_heads, group * time, columns]`; `mask`: `[rows, time *
    ///   columns]`, where `rows` divides the number of blocks
    fn masked_softmax(&self, scores: Tensor<B, 4>, mask: Option<Tensor<B, 2>>) -> Tensor<B, 4>;

    /// `x cos + (-b, a) sin` with `x = (a, b)` the halves of each head.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, heads * head_dim]`
    /// - `cos`, `sin`: `[tokens, head_dim]`; both halves of a head have the same angles
    fn rotate(&self, x: Tensor<B, 2>, cos: Tensor<B, 2>, sin: Tensor<B, 2>) -> Tensor<B, 2>;

    /// `log_softmax(logits)` at the targets.
    ///
    /// # Shapes
    /// - `logits`: `[rows, vocab_size]`; `targets`, output: `[rows]`
    fn target_logprobs(&self, logits: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> Tensor<B, 1>;

    /// A matrix, `[d_input, d_output]`, for many products with few rows; `None` where the backend
    /// has none that are faster than usual ones, or keeps a graph.
    fn pack(
        &self,
        _matrix: Tensor<B, 2>,
        _weights: PackedWeights,
    ) -> Option<Arc<dyn PackedMatrix<B>>> {
        None
    }

    /// An attention with a state of its own, for `rows` sequences of which nothing has been read;
    /// `None` where the backend has none, or keeps a graph.
    fn key_value_cache(
        &self,
        _heads: AttentionHeads,
        _rows: usize,
    ) -> Option<Box<dyn KeyValueCache<B>>> {
        None
    }

    /// [`adamw`], outside of any graph.
    fn adamw(
        &self,
        parameter: AdamWState<B>,
        gradient: Tensor<B, 1>,
        step: AdamWStep,
    ) -> AdamWState<B> {
        adamw(parameter, gradient, step)
    }
}

/// A parameter with its moments, `[values]` each.
#[derive(Clone, Debug)]
pub struct AdamWState<B: Backend> {
    /// The parameter.
    pub weight: Tensor<B, 1>,
    /// `m`.
    pub first_moment: Tensor<B, 1>,
    /// `v`.
    pub second_moment: Tensor<B, 1>,
}

/// The numbers of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// What the gradient is multiplied with.
    pub scale: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// `1 - beta1^t`: the first moment began at zero.
    pub correction1: f64,
    /// `1 - beta2^t`.
    pub correction2: f64,
    /// What the step is multiplied with.
    pub learning_rate: f64,
    /// Added under the step.
    pub epsilon: f64,
    /// What the weight is multiplied with.
    pub decay: f64,
}

/// A step of AdamW on a flat parameter in burn's operations, with `g = scale * gradient`:
///
/// `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`,
/// `w = decay w - learning_rate (m / correction1) / (sqrt(v / correction2) + epsilon)`.
pub fn adamw<B: Backend>(
    parameter: AdamWState<B>,
    gradient: Tensor<B, 1>,
    step: AdamWStep,
) -> AdamWState<B> {
    let AdamWState { weight, first_moment, second_moment } = parameter;
    let gradient = gradient * step.scale;
    let first_moment = first_moment * step.beta1 + gradient.clone() * (1.0 - step.beta1);
    let second_moment = second_moment * step.beta2 + gradient.square() * (1.0 - step.beta2);
    let first = first_moment.clone() / step.correction1;
    let second = second_moment.clone() / step.correction2;
    let change = first / (second.sqrt() + step.epsilon) * step.learning_rate;
    let weight = if step.decay == 1.0 { weight } else { weight * step.decay };
    AdamWState { weight: weight - change, first_moment, second_moment }
}

/// Kernels by backend: those of a backend and of its autodiff backend, as a rule. Cheap to clone.
#[derive(Clone, Default)]
pub struct Kernels(Arc<[Entry]>);

/// The kernels of one backend, `Box<dyn FusedOps<B>>`, whose type is forgotten so that one value
/// serves all backends that a model may be moved to.
#[derive(Clone)]
struct Entry {
    backend: TypeId,
    name: &'static str,
    ops: Arc<dyn Any + Send + Sync>,
}

impl Debug for Kernels {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|entry| entry.name)).finish()
    }
}

impl Kernels {
    /// No kernels: every layer computes its formula.
    pub fn none() -> Self {
        Self::default()
    }

    /// With `ops` for backend `B`, in place of those it had.
    pub fn with<B: Backend>(&self, ops: impl FusedOps<B> + 'static) -> Self {
        let ops: Box<dyn FusedOps<B>> = Box::new(ops);
        let entry =
            Entry { backend: TypeId::of::<B>(), name: type_name::<B>(), ops: Arc::new(ops) };
        let others = self.0.iter().filter(|other| other.backend != entry.backend).cloned();
        Self(others.chain([entry.clone()]).collect())
    }

    /// The kernels of a backend, if there are any.
    pub fn of<B: Backend>(&self) -> Option<&dyn FusedOps<B>> {
        let entry = self.0.iter().find(|entry| entry.backend == TypeId::of::<B>())?;
        let ops = entry.ops.downcast_ref::<Box<dyn FusedOps<B>>>();
        Some(ops.expect("kernels lie under their backend").as_ref())
    }

    /// The kernels for tensors like `tensor`, if there are any.
    pub fn suiting<B: Backend, const D: usize>(
        &self,
        tensor: &Tensor<B, D>,
    ) -> Option<&dyn FusedOps<B>> {
        self.of().filter(|_| tensor.dtype() == DType::F32)
    }
}
