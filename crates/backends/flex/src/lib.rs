//! burn's flex backend: portable SIMD on the CPU, no system library. The default, with fused
//! kernels of our own.

mod fused;
mod kernels;

use burn::backend::Autodiff;
use burn_flex::{Flex, FlexDevice};
use paretopo_training::{BackendChoice, EntryPoints};

struct Choice;

impl BackendChoice for Choice {
    const NAME: &'static str = "flex";
    const ON_CPU: bool = true;
    type Backend = Autodiff<Flex>;

    fn device(index: usize) -> Result<FlexDevice, String> {
        if index == 0 { Ok(FlexDevice) } else { Err("there is one CPU device, `flex:0`".into()) }
    }
}

/// Lets models on this backend use the fused kernels.
pub fn install_kernels() {
    paretopo_models::install::<Flex>(fused::FlexKernels);
    paretopo_models::install::<Autodiff<Flex>>(fused::FlexKernels);
}

/// The recipes on this backend.
pub fn entry_points() -> EntryPoints {
    install_kernels();
    EntryPoints::of::<Choice>()
}
