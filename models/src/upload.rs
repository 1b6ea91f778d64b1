//! The one place where numbers go from the host to the device that computes, with their bytes
//! counted: a decoding step must not send again what the device has.

use burn::tensor::backend::Backend;
use burn::tensor::{BasicOps, Int, Tensor, TensorData, TensorKind};
use std::cell::Cell;

thread_local! {
    static SENT: Cell<u64> = const { Cell::new(0) };
}

/// Bytes that this thread has sent to devices so far, by [`upload`].
pub fn bytes_sent() -> u64 {
    SENT.get()
}

/// A tensor of host values, in the shape of `data`.
pub fn upload<B: Backend, const D: usize, K: TensorKind<B> + BasicOps<B>>(
    data: TensorData,
    device: &B::Device,
) -> Tensor<B, D, K> {
    SENT.set(SENT.get() + data.bytes.len() as u64);
    Tensor::from_data(data, device)
}

/// A tensor from host values in row-major order.
///
/// # Shapes
/// - `values`: as many as the product of `shape`
pub fn from_host<B: Backend, const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    upload(TensorData::new(values, shape), device)
}

/// Rows or places, as a tensor picks them.
pub(crate) fn indices<B: Backend>(
    places: impl Iterator<Item = usize>,
    device: &B::Device,
) -> Tensor<B, 1, Int> {
    let places: Vec<i32> = places.map(|place| place as i32).collect();
    let count = places.len();
    upload(TensorData::new(places, [count]), device)
}
