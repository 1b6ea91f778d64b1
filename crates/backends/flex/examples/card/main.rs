//! Speed and memory of policies with random weights on this backend; see `measure/mod.rs`:
//!
//! ```text
//! cargo run --release -p paretopo-backend-flex --example card -- CONFIG.json PRECISION TASK...
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

mod measure;

use burn::backend::Autodiff;
use burn_flex::{Flex, FlexDevice};
use measure::{Measurement, Usage};
use paretopo_engine::SamplingPlace;
use paretopo_models::Placement;

fn main() {
    let kernels = paretopo_backend_flex::kernels();
    let place = Placement::<Autodiff<Flex>> { device: FlexDevice, kernels };
    let memory = Box::new(|| None::<Usage>);
    Measurement { place, sampling: SamplingPlace::Host, memory }.run();
}
