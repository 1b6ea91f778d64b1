//! Speed and memory of policies with random weights on this backend; see `measure/mod.rs`:
//!
//! ```text
//! cargo run --release -p paretopo-backend-cuda --example card -- CONFIG.json PRECISION TASK...
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

mod measure;

use burn::backend::Autodiff;
use burn_cuda::{Cuda, CudaDevice};
use cubecl::Runtime;
use cubecl::cuda::CudaRuntime;
use cubecl::stream_id::StreamId;
use measure::{Measurement, Memory, Usage};
use paretopo_engine::SamplingPlace;
use paretopo_models::Placement;

fn main() {
    paretopo_backend_cuda::keep_kernels();
    let device = CudaDevice::new(0);
    let memory = memory(&device);
    let place = Placement::<Autodiff<Cuda>>::plain(device);
    Measurement { place, sampling: SamplingPlace::Device, memory }.run();
}

/// Memory is counted for each stream, and a thread has its own: that of this one is asked for.
fn memory(device: &CudaDevice) -> Memory {
    let stream = StreamId::current();
    let client = CudaRuntime::client(device);
    Box::new(move || {
        let found = stream.executes(|| client.memory_usage()).ok()?;
        Some(Usage { in_use: found.bytes_in_use, reserved: found.bytes_reserved })
    })
}
