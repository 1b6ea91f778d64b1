//! What the device does at best, as far as this backend reaches it: a copy and a product.

use super::{Measurement, Settings};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, Tensor};
use serde_json::{Value, json};
use std::time::Instant;

/// Repetitions of a round.
const REPEATED: usize = 10;

impl<B: AutodiffBackend> Measurement<B> {
    pub(super) fn device(&self, settings: &Settings, mebibytes: usize, size: usize) -> Value {
        let device = &self.place.device;
        let mut values = Tensor::<B::InnerBackend, 1>::ones([mebibytes << 18], device);
        let copy = self.seconds(|| values = values.clone() + 1.0);
        let uniform = Distribution::Uniform(-1.0, 1.0);
        let matrix = Tensor::<B::InnerBackend, 2>::random([size, size], uniform, device);
        let matrix = matrix.cast(settings.precision);
        let mut product = None;
        let matmul = self.seconds(|| product = Some(matrix.clone().matmul(matrix.clone())));
        json!({
            // each number is read and written
            "bytes_per_second": 2.0 * (mebibytes << 20) as f64 / copy,
            "operations_per_second": 2.0 * (size as f64).powi(3) / matmul,
        })
    }

    /// Seconds of one repetition in the better of two rounds; a first one compiles kernels.
    fn seconds(&self, mut work: impl FnMut()) -> f64 {
        let mut round = || {
            let started = Instant::now();
            (0..REPEATED).for_each(|_| work());
            self.wait();
            started.elapsed().as_secs_f64() / REPEATED as f64
        };
        round();
        round().min(round())
    }
}
