//! Matrices that a backend keeps a second time, laid out as its products of few rows read them.
//!
//! Decoding multiplies a few rows with every matrix of the model. Where the rows are few, most of a
//! usual product is spent on arranging the matrix. A backend whose [`crate::FusedOps`] can
//! [`pack`](crate::FusedOps::pack) does that once for each version of the policy: when a model is made
//! ready for generating ([`crate::CausalLm::pack`]). Whatever changes a parameter drops what was
//! packed: it lives in a module that forgets when it is mapped, loaded, moved or tracked.

use crate::layers::Projection;
use crate::{CausalLm, Kernels};
use burn::module::{
    AutodiffModule, Content, Devices, EmptyRecord, Module, ModuleDisplay, ModuleDisplayDefault,
    ModuleMapper, ModuleVisitor,
};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use std::any::Any;
use std::fmt::{Debug, Formatter};
use std::sync::Arc;

/// The number type of packed weights; sums are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedWeights {
    /// As they are.
    F32,
    /// Rounded to bf16: half the bytes to read, and log-probabilities that differ from those of the
    /// weights themselves. A backend may round what it multiplies them with, too.
    Bf16,
}

impl PackedWeights {
    /// Bytes of one.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// A packed matrix `[d_input, d_output]`.
pub trait PackedMatrix<B: Backend>: Send + Sync {
    /// `x W` for this matrix and then for `others`, which the same backend has packed, in one go.
    ///
    /// # Shapes
    /// - `x`: `[rows, d_input]`, f32; outputs: `[rows, d_output]` of each
    fn products(&self, x: Tensor<B, 2>, others: &[&dyn PackedMatrix<B>]) -> Vec<Tensor<B, 2>>;

    /// Bytes that it holds.
    fn bytes(&self) -> usize;

    /// Itself, for the backend that packed it.
    fn as_any(&self) -> &dyn Any;
}

/// A place for a packed matrix beside its parameter. It is empty until [`Self::pack`] fills it, and
/// again as soon as the module around it is changed as a whole.
#[derive(Clone)]
pub struct Packed<B: Backend>(Option<Arc<dyn PackedMatrix<B>>>);

impl<B: Backend> Default for Packed<B> {
    fn default() -> Self {
        Self(None)
    }
}

impl<B: Backend> Debug for Packed<B> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.0.is_some() { "packed" } else { "not packed" })
    }
}

impl<B: Backend> Packed<B> {
    /// Keeps `matrix`, `[d_input, d_output]`, packed, if the backend of `kernels` can.
    pub fn pack(&mut self, matrix: Tensor<B, 2>, weights: PackedWeights, kernels: &Kernels) {
        self.0 = kernels.suiting(&matrix).and_then(|fused| fused.pack(matrix, weights));
    }

    /// What is packed.
    pub fn get(&self) -> Option<&dyn PackedMatrix<B>> {
        self.0.as_deref()
    }

    /// Bytes that are held for it.
    pub fn bytes(&self) -> usize {
        self.get().map_or(0, PackedMatrix::bytes)
    }
}

/// [`CausalLm::pack`] for the projections of a model.
pub(crate) fn pack_projections<B: Backend>(model: &mut impl CausalLm<B>, weights: PackedWeights) {
    let kernels = model.kernels().clone();
    for (_, projection) in model.projections_mut() {
        projection.pack(weights, &kernels);
    }
}

/// [`CausalLm::packed_bytes`] of the projections of a model.
pub(crate) fn projection_bytes<B: Backend>(model: &mut impl CausalLm<B>) -> usize {
    let maps = model.projections_mut();
    maps.iter().map(|(_, projection): &(_, &mut Projection<B>)| projection.packed_bytes()).sum()
}

impl<B: Backend> Module<B> for Packed<B> {
    type Record = EmptyRecord;

    fn visit<V: ModuleVisitor<B>>(&self, _: &mut V) {}

    fn map<M: ModuleMapper<B>>(self, _: &mut M) -> Self {
        Self::default()
    }

    fn load_record(self, _: EmptyRecord) -> Self {
        Self::default()
    }

    fn into_record(self) -> EmptyRecord {
        EmptyRecord
    }

    fn to_device(self, _: &B::Device) -> Self {
        Self::default()
    }

    fn fork(self, _: &B::Device) -> Self {
        Self::default()
    }

    fn collect_devices(&self, devices: Devices<B>) -> Devices<B> {
        devices
    }
}

impl<B: AutodiffBackend> AutodiffModule<B> for Packed<B> {
    type InnerModule = Packed<B::InnerBackend>;

    fn valid(&self) -> Packed<B::InnerBackend> {
        Packed::default()
    }

    fn from_inner(_: Packed<B::InnerBackend>) -> Self {
        Self::default()
    }
}

impl<B: Backend> ModuleDisplayDefault for Packed<B> {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&format!("{self:?}")).optional()
    }
}

impl<B: Backend> ModuleDisplay for Packed<B> {}
