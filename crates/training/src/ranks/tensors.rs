//! Gradients, weights and moments on their way from rank to rank.
//!
//! A list of tensors, some of which may be absent, is a header (their lengths), and then the tensors:
//! from device to device where the ranks have a [`TensorCarrier`], else through the host's memory, in
//! bundles of their f32 values, each of [`BUNDLE`] bytes or one larger tensor.

use crate::GradientSum;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use paretopo_collective::exchange::{broadcast, from_bytes, route, to_bytes};
use paretopo_collective::tree::Carry;
use paretopo_collective::{Collective, CollectiveError, TensorCarrier};
use paretopo_models::{from_host, to_host};
use std::any::Any;

/// A bundle is sent as soon as it has so many bytes.
const BUNDLE: usize = 1 << 24;

/// Flat tensors, `None` where there is none.
pub(super) type Flat<B> = Vec<Option<Tensor<B, 1>>>;

/// Which lengths are there.
type Lengths = Vec<Option<usize>>;

/// Carries sums of gradients.
pub(super) struct Carrier<'a, B: AutodiffBackend> {
    pub(super) collective: &'a dyn Collective,
    pub(super) device: B::Device,
}

impl<B: AutodiffBackend> Carrier<'_, B> {
    /// The sum of rank 0, at every rank.
    pub(super) fn broadcast(&self, sum: GradientSum<B>) -> Result<GradientSum<B>, CollectiveError> {
        let parts = broadcast_tensors(self.collective, 0, sum.into_parts(), &self.device)?;
        Ok(GradientSum::of_parts(parts))
    }
}

impl<B: AutodiffBackend> Carry<GradientSum<B>, CollectiveError> for Carrier<'_, B> {
    fn add(&mut self, left: GradientSum<B>, right: GradientSum<B>) -> GradientSum<B> {
        GradientSum::added(left, right)
    }

    fn send(&mut self, to: usize, sum: GradientSum<B>) -> Result<(), CollectiveError> {
        send_tensors(self.collective, to, &sum.into_parts())
    }

    fn receive(&mut self, from: usize) -> Result<GradientSum<B>, CollectiveError> {
        let parts = receive_tensors(self.collective, from, &self.device)?;
        Ok(GradientSum::of_parts(parts))
    }
}

/// # Errors
/// When the rank is lost.
pub(super) fn send_tensors<B: Backend>(
    collective: &dyn Collective,
    to: usize,
    tensors: &Flat<B>,
) -> Result<(), CollectiveError> {
    collective.send(to, to_bytes(&lengths_of(tensors)))?;
    if let Some(carrier) = collective.tensors() {
        return carrier.send(to, boxed(tensors));
    }
    bundles(tensors, &mut |bytes| collective.send(to, bytes))
}

/// # Errors
/// When the rank is lost, or sends something else.
pub(super) fn receive_tensors<B: Backend>(
    collective: &dyn Collective,
    from: usize,
    device: &B::Device,
) -> Result<Flat<B>, CollectiveError> {
    let lengths: Lengths = from_bytes(from, &collective.receive(from)?)?;
    if let Some(carrier) = collective.tensors() {
        return unboxed(carrier, from, &lengths, device);
    }
    unbundled(from, &lengths, device, &mut |_| collective.receive(from))
}

/// The root's tensors, at every rank.
///
/// # Errors
/// When a rank is lost.
pub(super) fn broadcast_tensors<B: Backend>(
    collective: &dyn Collective,
    root: usize,
    tensors: Flat<B>,
    device: &B::Device,
) -> Result<Flat<B>, CollectiveError> {
    if collective.ranks() == 1 {
        return Ok(tensors);
    }
    let header = broadcast(collective, root, to_bytes(&lengths_of(&tensors)))?;
    if let Some(carrier) = collective.tensors() {
        let (from, to) = route(collective, root);
        let own = |from| unboxed(carrier, from, &from_bytes(root, &header)?, device);
        let tensors = from.map_or(Ok(tensors), own)?;
        to.into_iter().try_for_each(|to| carrier.send(to, boxed(&tensors)))?;
        return Ok(tensors);
    }
    if collective.rank() == root {
        bundles(&tensors, &mut |bytes| broadcast(collective, root, bytes).map(drop))?;
        return Ok(tensors);
    }
    let lengths: Lengths = from_bytes(root, &header)?;
    unbundled(root, &lengths, device, &mut |_| broadcast(collective, root, Vec::new()))
}

/// Those that are there and have numbers, as a carrier takes them.
fn boxed<B: Backend>(tensors: &Flat<B>) -> Vec<Box<dyn Any + Send>> {
    let there = tensors.iter().flatten().filter(|tensor| tensor.dims()[0] > 0);
    there.map(|tensor| Box::new(tensor.clone()) as Box<dyn Any + Send>).collect()
}

/// Tensors of these lengths that a carrier brings.
fn unboxed<B: Backend>(
    carrier: &dyn TensorCarrier,
    from: usize,
    lengths: &Lengths,
    device: &B::Device,
) -> Result<Flat<B>, CollectiveError> {
    let wanted: Vec<usize> = lengths.iter().flatten().copied().filter(|one| *one > 0).collect();
    let mut found = carrier.receive(from, &wanted)?.into_iter();
    let mut next = |length: usize| {
        if length == 0 {
            return Ok(from_host(Vec::new(), [0], device));
        }
        let tensor = found.next().and_then(|one| one.downcast::<Tensor<B, 1>>().ok());
        match tensor.filter(|tensor| tensor.dims()[0] == length) {
            Some(tensor) => Ok(*tensor),
            None => {
                let reason = format!("no tensor of {length} numbers on this backend");
                Err(CollectiveError::Unexpected { rank: from, reason })
            }
        }
    };
    lengths.iter().map(|length| length.map(&mut next).transpose()).collect()
}

fn lengths_of<B: Backend>(tensors: &Flat<B>) -> Lengths {
    tensors.iter().map(|tensor| tensor.as_ref().map(|tensor| tensor.dims()[0])).collect()
}

/// Where bundles end: behind so many of the tensors that are there.
fn ends(lengths: &Lengths) -> Vec<usize> {
    let (mut ends, mut bytes, mut count) = (Vec::new(), 0, 0);
    for length in lengths.iter().flatten() {
        bytes += 4 * length;
        count += 1;
        if bytes >= BUNDLE {
            ends.push(count);
            bytes = 0;
        }
    }
    if bytes > 0 {
        ends.push(count);
    }
    ends
}

fn bundles<B: Backend>(
    tensors: &Flat<B>,
    send: &mut dyn FnMut(Vec<u8>) -> Result<(), CollectiveError>,
) -> Result<(), CollectiveError> {
    let mut there = tensors.iter().flatten();
    let mut done = 0;
    for end in ends(&lengths_of(tensors)) {
        let mut bytes = Vec::new();
        for tensor in there.by_ref().take(end - done) {
            bytes.extend_from_slice(bytemuck::cast_slice(&to_host(tensor.clone())));
        }
        done = end;
        send(bytes)?;
    }
    Ok(())
}

fn unbundled<B: Backend>(
    from: usize,
    lengths: &Lengths,
    device: &B::Device,
    next: &mut dyn FnMut(usize) -> Result<Vec<u8>, CollectiveError>,
) -> Result<Flat<B>, CollectiveError> {
    let there: Vec<usize> = lengths.iter().flatten().copied().collect();
    let mut found = Vec::with_capacity(there.len());
    let mut done = 0;
    for end in ends(lengths) {
        let wanted = &there[done..end];
        let bytes = next(end)?;
        let mut rest = bytes.as_slice();
        if rest.len() != 4 * wanted.iter().sum::<usize>() {
            let reason = format!("{} bytes of tensors of {wanted:?} numbers", rest.len());
            return Err(CollectiveError::Unexpected { rank: from, reason });
        }
        for length in wanted {
            let (own, behind) = rest.split_at(4 * length);
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(own);
            found.push(from_host(values, [*length], device));
            rest = behind;
        }
        done = end;
    }
    // tensors of no numbers are in no bundle behind the last
    for length in &there[found.len()..] {
        found.push(from_host(Vec::new(), [*length], device));
    }
    let mut found = found.into_iter();
    Ok(lengths.iter().map(|length| length.and_then(|_| found.next())).collect())
}

/// The values of all parameters that are trained, in the order of the model's parameters.
pub(super) fn trained_weights<B: AutodiffBackend>(model: &impl Module<B>) -> Flat<B::InnerBackend> {
    struct Collect<B: AutodiffBackend>(Flat<B::InnerBackend>);
    impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<B> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let weight = param.val();
            let trained = weight.is_require_grad();
            self.0.push(trained.then(|| weight.inner().flatten(0, D - 1)));
        }
    }
    let mut found = Collect::<B>(Vec::new());
    model.visit(&mut found);
    found.0
}

/// How many numbers are trained.
pub(crate) fn trained_parameters<B: AutodiffBackend>(model: &impl Module<B>) -> u64 {
    let weights = trained_weights(model);
    weights.iter().flatten().map(|weight| weight.dims()[0] as u64).sum()
}

/// The model with other values of the parameters that are trained.
pub(super) fn with_trained_weights<B: AutodiffBackend, M: Module<B>>(
    model: M,
    weights: Flat<B::InnerBackend>,
) -> M {
    struct Replace<B: AutodiffBackend>(std::vec::IntoIter<Option<Tensor<B::InnerBackend, 1>>>);
    impl<B: AutodiffBackend> ModuleMapper<B> for Replace<B> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            match self.0.next().flatten() {
                Some(values) => param
                    .map(|weight| Tensor::from_inner(values.reshape(weight.dims())).require_grad()),
                None => param,
            }
        }
    }
    model.map(&mut Replace::<B>(weights.into_iter()))
}
