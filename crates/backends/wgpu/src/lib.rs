//! burn's wgpu backend: Vulkan, Metal, DX12 or OpenGL, whichever the system has.

use burn::backend::Autodiff;
use burn_wgpu::{Wgpu, WgpuDevice};
use paretopo_models::ModelFamily;
use paretopo_training::{BackendChoice, EntryPoints};

struct Choice;

impl BackendChoice for Choice {
    const NAME: &'static str = "wgpu";
    const ON_CPU: bool = false;
    type Backend = Autodiff<Wgpu>;

    fn device(index: usize) -> Result<WgpuDevice, String> {
        let device =
            if index == 0 { WgpuDevice::DefaultDevice } else { WgpuDevice::DiscreteGpu(index - 1) };
        // wgpu has no fallible constructor here: an adapter that is missing shows as a panic of the
        // first operation
        let probe = std::panic::catch_unwind(|| {
            burn::tensor::Tensor::<Wgpu, 1>::ones([1], &device).into_data()
        });
        match probe {
            Ok(_) => Ok(device),
            Err(_) => {
                Err("no graphics adapter was found\nhint: install a Vulkan driver (on Debian `mesa-vulkan-drivers` for the CPU)".into())
            }
        }
    }
}

/// The recipes on this backend, for a family of models.
pub fn entry_points<F: ModelFamily>() -> EntryPoints {
    EntryPoints::of::<Choice, F>()
}
