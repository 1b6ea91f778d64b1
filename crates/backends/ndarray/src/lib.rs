//! burn's ndarray backend: the CPU by way of the `ndarray` crate. Slower than flex; kept for
//! comparison.

use burn::backend::Autodiff;
use burn_ndarray::{NdArray, NdArrayDevice};
use paretopo_models::ModelFamily;
use paretopo_training::{BackendChoice, EntryPoints};

struct Choice;

impl BackendChoice for Choice {
    const NAME: &'static str = "ndarray";
    const ON_CPU: bool = true;
    type Backend = Autodiff<NdArray>;

    fn device(index: usize) -> Result<NdArrayDevice, String> {
        if index == 0 {
            Ok(NdArrayDevice::Cpu)
        } else {
            Err("there is one CPU device, `ndarray:0`".into())
        }
    }
}

/// The recipes on this backend, for a family of models.
pub fn entry_points<F: ModelFamily>() -> EntryPoints {
    EntryPoints::of::<Choice, F>()
}
