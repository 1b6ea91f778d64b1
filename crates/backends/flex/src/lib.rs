//! burn's flex backend: portable SIMD on the CPU, no system library. The default, with fused
//! kernels of our own.

mod attention;
mod fused;
mod kernels;
mod packed;
mod tile;

use burn::backend::Autodiff;
use burn_flex::{Flex, FlexDevice};
use paretopo_models::{Kernels, ModelFamily};
use paretopo_training::{BackendChoice, EntryPoints};

struct Choice;

impl BackendChoice for Choice {
    const NAME: &'static str = "flex";
    const ON_CPU: bool = true;
    type Backend = Autodiff<Flex>;

    fn device(index: usize) -> Result<FlexDevice, String> {
        if index == 0 { Ok(FlexDevice) } else { Err("there is one CPU device, `flex:0`".into()) }
    }

    fn kernels() -> Kernels {
        kernels()
    }
}

/// The fused kernels, for tensors with autodiff and without.
pub fn kernels() -> Kernels {
    let none = Kernels::none();
    none.with::<Flex>(fused::FlexKernels).with::<Autodiff<Flex>>(fused::FlexKernels)
}

/// The recipes on this backend, for a family of models.
pub fn entry_points<F: ModelFamily>() -> EntryPoints {
    EntryPoints::of::<Choice, F>()
}
