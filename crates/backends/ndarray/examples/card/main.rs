//! Speed and memory of policies with random weights on this backend; see `measure/mod.rs`:
//!
//! ```text
//! cargo run --release -p paretopo-backend-ndarray --example card -- CONFIG.json PRECISION TASK...
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

mod measure;

use burn::backend::Autodiff;
use burn_ndarray::{NdArray, NdArrayDevice};
use measure::{Measurement, Usage};
use paretopo_engine::SamplingPlace;
use paretopo_models::Placement;

fn main() {
    let place = Placement::<Autodiff<NdArray>>::plain(NdArrayDevice::Cpu);
    let memory = Box::new(|| None::<Usage>);
    Measurement { place, sampling: SamplingPlace::Host, memory }.run();
}
