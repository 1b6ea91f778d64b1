//! burn's CUDA backend for NVIDIA cards. Builds without CUDA; needs the driver to run.
//!
//! Kernels are compiled on the card's machine when they are first wanted, a product's in two to
//! three seconds. They are kept in a folder for later processes: that of a `cubecl.toml` with
//! `compilation.cache`, else `paretopo/kernels` in the user's cache folder.
//!
//! Products of f32 round their inputs to TF32, about which burn leaves no choice. Operations are not
//! fused: burn 0.21's fusion panicked on a card (`experiments/backends/README.md`).

#[cfg(feature = "nccl")]
mod nccl;

use burn::backend::Autodiff;
use burn_cuda::{Cuda, CudaDevice};
use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use paretopo_models::ModelFamily;
use paretopo_training::{BackendChoice, EntryPoints};
use std::sync::Once;

struct Choice;

impl BackendChoice for Choice {
    const NAME: &'static str = "cuda";
    const ON_CPU: bool = false;
    const TF32: bool = true;
    type Backend = Autodiff<Cuda>;

    fn device(index: usize) -> Result<CudaDevice, String> {
        keep_kernels();
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

    #[cfg(feature = "nccl")]
    fn joined(
        device: &CudaDevice,
        ranks: std::sync::Arc<dyn paretopo_collective::Collective>,
    ) -> Result<std::sync::Arc<dyn paretopo_collective::Collective>, String> {
        if ranks.ranks() == 1 {
            return Ok(ranks);
        }
        Ok(std::sync::Arc::new(nccl::Nccl::join(ranks, device)?))
    }
}

/// Says where compiled kernels are kept, unless a `cubecl.toml` does.
pub fn keep_kernels() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
        let folder = dirs::cache_dir().map(|folder| folder.join("paretopo/kernels"));
        if let (None, Some(folder)) = (&config.compilation.cache, folder) {
            config.compilation.cache = Some(CacheConfig::File(folder));
        }
        CubeClRuntimeConfig::set(config);
    });
}

/// The recipes on this backend, for a family of models.
pub fn entry_points<F: ModelFamily>() -> EntryPoints {
    EntryPoints::of::<Choice, F>()
}
