//! The one place where numbers come from the device that computes to the host, with their bytes
//! counted.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use paretopo_models::to_host;

/// Values on the host in row-major order; waits for the device. Adds their bytes, as they cross, to
/// `bytes`.
pub(crate) fn read_back<B: Backend, const D: usize>(
    tensor: Tensor<B, D>,
    bytes: &mut u64,
) -> Vec<f32> {
    let values = tensor.dims().iter().product::<usize>();
    *bytes += (values * tensor.dtype().size()) as u64;
    to_host(tensor)
}
