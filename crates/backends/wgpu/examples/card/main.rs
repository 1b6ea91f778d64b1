//! Speed and memory of policies with random weights on this backend; see `measure/mod.rs`:
//!
//! ```text
//! cargo run --release -p paretopo-backend-wgpu --example card -- CONFIG.json PRECISION TASK...
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

mod measure;

use burn::backend::Autodiff;
use burn_wgpu::{Wgpu, WgpuDevice};
use cubecl::Runtime;
use cubecl::stream_id::StreamId;
use cubecl::wgpu::WgpuRuntime;
use measure::{Measurement, Memory, Usage};
use paretopo_engine::SamplingPlace;
use paretopo_models::Placement;

fn main() {
    let device = WgpuDevice::DefaultDevice;
    let memory = memory(&device);
    let place = Placement::<Autodiff<Wgpu>>::plain(device);
    Measurement { place, sampling: SamplingPlace::Device, memory }.run();
}

/// Memory is counted for each stream, and a thread has its own: that of this one is asked for.
fn memory(device: &WgpuDevice) -> Memory {
    let stream = StreamId::current();
    let client = WgpuRuntime::client(device);
    Box::new(move || {
        let found = stream.executes(|| client.memory_usage()).ok()?;
        Some(Usage { in_use: found.bytes_in_use, reserved: found.bytes_reserved })
    })
}
