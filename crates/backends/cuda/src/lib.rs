//! burn's CUDA backend for NVIDIA cards. Builds without CUDA; needs the driver to run.

use burn::backend::Autodiff;
use burn_cuda::{Cuda, CudaDevice};
use paretopo_models::ModelFamily;
use paretopo_training::{BackendChoice, EntryPoints};

struct Choice;

impl BackendChoice for Choice {
    const NAME: &'static str = "cuda";
    const ON_CPU: bool = false;
    type Backend = Autodiff<Cuda>;

    fn device(index: usize) -> Result<CudaDevice, String> {
        let device = CudaDevice::new(index);
        // cudarc panics where the driver is missing
        let probe = std::panic::catch_unwind(|| {
            burn::tensor::Tensor::<Cuda, 1>::ones([1], &device).into_data()
        });
        match probe {
            Ok(_) => Ok(device),
            Err(_) => Err(format!(
                "no CUDA device {index} was found\nhint: install the NVIDIA driver and the CUDA runtime compiler (nvrtc)"
            )),
        }
    }
}

/// The recipes on this backend, for a family of models.
pub fn entry_points<F: ModelFamily>() -> EntryPoints {
    EntryPoints::of::<Choice, F>()
}
