//! Tensors from card to card by NCCL: over NVLink within a machine, over the network between them.
//!
//! NCCL links cards, one a rank, and carries buffers of theirs; what else ranks say to each other goes
//! on through the job's own [`Collective`], by which the link is made, too. Sends and receives of
//! pairs are used and none of its sums, whose order is its own.
//!
//! The library is opened when it is first wanted. It has no deadlines: a rank that dies is found by
//! what started the job, which ends it.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorPrimitive};
use burn_cuda::{Cuda, CudaDevice};
use cudarc::driver::{CudaContext, CudaStream};
use cudarc::nccl::{result, sys};
use paretopo_collective::exchange::{broadcast, from_bytes, share, to_bytes};
use paretopo_collective::{Collective, CollectiveError, TensorCarrier};
use std::any::Any;
use std::ffi::c_int;
use std::fmt::{Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

/// The ranks of a job, whose cards are linked.
#[derive(Debug)]
pub(crate) struct Nccl {
    host: Arc<dyn Collective>,
    device: CudaDevice,
    link: Mutex<Link>,
}

/// A rank's end of the link.
struct Link {
    communicator: sys::ncclComm_t,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
}

/// Which way a buffer goes.
enum Way {
    Out,
    In,
}

impl Link {
    /// Carries a buffer to or from another rank; it is done when the stream was waited for.
    fn carry(&self, way: Way, buffer: &Buffer, other: usize) -> Result<(), result::NcclError> {
        let Buffer { address, length, .. } = *buffer;
        let (kind, other) = (sys::ncclDataType_t::ncclFloat32, other as c_int);
        let (communicator, stream) = (self.communicator, self.stream.cu_stream().cast());
        // SAFETY: the buffer is held, in this card's memory, until the stream was waited for. One
        // that comes in is of nobody but its tensor, which nobody reads before.
        let called = unsafe {
            match way {
                Way::Out => {
                    result::send(address as *const _, length, kind, other, communicator, stream)
                }
                Way::In => {
                    result::recv(address as *mut _, length, kind, other, communicator, stream)
                }
            }
        };
        called.map(drop)
    }
}

// SAFETY: a communicator may be used by any thread, one at a time, which the mutex around it sees to.
unsafe impl Send for Link {}

impl Debug for Link {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Link")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // nothing is under way: sends and receives are waited for
        // SAFETY: the communicator was made by `link`, and is used no more.
        let _ = unsafe { result::comm_abort(self.communicator) };
    }
}

impl Nccl {
    /// Links the cards of a job; all ranks call this.
    ///
    /// # Errors
    /// Says which rank lacks the library, or why there is no link.
    pub(crate) fn join(host: Arc<dyn Collective>, device: &CudaDevice) -> Result<Self, String> {
        // a rank that could not take part would be waited for without end
        let missing = missing_library();
        let all = share(&*host, missing).map_err(|error| error.to_string())?;
        let first = all.iter().enumerate().find_map(|(rank, one)| Some((rank, one.as_ref()?)));
        if let Some((rank, reason)) = first {
            return Err(format!(
                "rank {rank}: {reason}\nhint: install NCCL (`libnccl2`) on its machine, or build \
                 without the feature `nccl`: then tensors go through the host's memory"
            ));
        }
        let link = link(&*host, device)?;
        Ok(Self { host, device: device.clone(), link: Mutex::new(link) })
    }

    /// Does something with the card's end of the link, in one group of calls, and waits for it.
    fn grouped(
        &self,
        other: usize,
        calls: impl Fn(&Link) -> Result<(), result::NcclError>,
    ) -> Result<(), CollectiveError> {
        let lost = |reason: String| CollectiveError::Lost { rank: other, reason };
        let by_nccl = |error: result::NcclError| lost(format!("NCCL fails: {error:?}"));
        let by_driver = |error: cudarc::driver::DriverError| lost(error.to_string());
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.context.bind_to_thread().map_err(by_driver)?;
        // what computes the tensors, or used their memory before, has streams of its own
        Cuda::<f32, i32>::sync(&self.device).map_err(|error| lost(format!("{error:?}")))?;
        result::group_start().map_err(by_nccl)?;
        let called = calls(&link);
        // also after a failure: else all further calls were of this group
        let ended = result::group_end();
        called.and(ended.map(drop)).map_err(by_nccl)?;
        link.stream.synchronize().map_err(by_driver)
    }
}

impl Collective for Nccl {
    fn rank(&self) -> usize {
        self.host.rank()
    }

    fn ranks(&self) -> usize {
        self.host.ranks()
    }

    fn send(&self, to: usize, bytes: Vec<u8>) -> Result<(), CollectiveError> {
        self.host.send(to, bytes)
    }

    fn receive(&self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        self.host.receive(from)
    }

    fn tensors(&self) -> Option<&dyn TensorCarrier> {
        Some(self)
    }
}

impl TensorCarrier for Nccl {
    fn send(&self, to: usize, tensors: Vec<Box<dyn Any + Send>>) -> Result<(), CollectiveError> {
        let mut sent = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let tensor = tensor.downcast::<Tensor<Cuda, 1>>().map_err(|_| no_buffer(to))?;
            sent.push(Buffer::of(*tensor).ok_or_else(|| no_buffer(to))?);
        }
        self.grouped(to, |link| sent.iter().try_for_each(|one| link.carry(Way::Out, one, to)))
    }

    fn receive(
        &self,
        from: usize,
        lengths: &[usize],
    ) -> Result<Vec<Box<dyn Any + Send>>, CollectiveError> {
        let empty = |length: &usize| {
            let tensor = Tensor::<Cuda, 1>::empty([*length], &self.device);
            let buffer = Buffer::of(tensor.clone()).ok_or_else(|| no_buffer(from))?;
            Ok((tensor, buffer))
        };
        let received: Vec<(Tensor<Cuda, 1>, Buffer)> =
            lengths.iter().map(empty).collect::<Result<_, _>>()?;
        self.grouped(from, |link| {
            received.iter().try_for_each(|(_, one)| link.carry(Way::In, one, from))
        })?;
        let boxed = |(tensor, _)| Box::new(tensor) as Box<dyn Any + Send>;
        Ok(received.into_iter().map(boxed).collect())
    }
}

/// Where a tensor's numbers lie on the card, as long as this is held.
struct Buffer {
    address: u64,
    length: usize,
    _held: Box<dyn Any>,
}

impl Buffer {
    /// `None` unless they are f32 one behind the other.
    fn of(tensor: Tensor<Cuda, 1>) -> Option<Self> {
        let length = tensor.dims()[0];
        let TensorPrimitive::Float(primitive) = tensor.into_primitive() else { return None };
        let is_plain = primitive.dtype == DType::F32 && primitive.is_contiguous();
        let found = primitive.client.get_resource(primitive.handle.clone()).ok()?;
        let address = found.resource().ptr;
        is_plain.then(|| Self { address, length, _held: Box::new((primitive, found)) })
    }
}

fn no_buffer(rank: usize) -> CollectiveError {
    CollectiveError::Unexpected { rank, reason: "it is no tensor of f32 on this card".into() }
}

/// Why there is no library.
fn missing_library() -> Option<String> {
    // SAFETY: it opens the library, whose start has no further effects.
    let is_there = unsafe { sys::is_culib_present() };
    (!is_there).then(|| "the library NCCL is not found".into())
}

fn link(host: &dyn Collective, device: &CudaDevice) -> Result<Link, String> {
    let told = |error: result::NcclError| format!("NCCL fails: {error:?}");
    let context = CudaContext::new(device.index).map_err(|error| error.to_string())?;
    let stream = context.new_stream().map_err(|error| error.to_string())?;
    // what is wrong with rank 0 is told to all
    let own: Option<Result<Vec<i8>, String>> = (host.rank() == 0)
        .then(|| result::get_uniqueid().map(|id| id.internal.to_vec()).map_err(told));
    let bytes = broadcast(host, 0, to_bytes(&own)).map_err(|error| error.to_string())?;
    let sent: Option<Result<Vec<i8>, String>> =
        from_bytes(0, &bytes).map_err(|error| error.to_string())?;
    let internal = sent.ok_or("rank 0 sends no name of the link")??;
    let internal = internal.try_into().map_err(|_| "rank 0 sends no name of the link")?;
    let mut communicator = std::ptr::null_mut();
    // SAFETY: the pointer is to a place of this function, and the name is one that NCCL has made.
    let made = unsafe {
        result::comm_init_rank(
            &raw mut communicator,
            host.ranks() as c_int,
            sys::ncclUniqueId { internal },
            host.rank() as c_int,
        )
    };
    made.map_err(|error| {
        format!(
            "the cards cannot be linked: {error:?}\nhint: each rank needs a card of its own; \
             `NCCL_DEBUG=INFO` tells more"
        )
    })?;
    Ok(Link { communicator, context, stream })
}
