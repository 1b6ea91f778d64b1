//! Products with packed matrices beside burn's own, turn and turn about, in GFLOP/s of the faster
//! of several passes, for the three shapes of matrices of a layer of SmolLM2-135M:
//!
//! ```text
//! RAYON_NUM_THREADS=1 cargo run --release -p paretopo-backend-flex --example products
//! ```

use burn::tensor::{Distribution, Tensor};
use burn_flex::Flex;
use paretopo_models::PackedWeights;
use std::hint::black_box;
use std::time::Instant;

/// Rows and columns of a matrix.
const SHAPES: [[usize; 2]; 3] = [[576, 960], [576, 3072], [1536, 576]];
/// Operations of a pass.
const WORK: usize = 2_000_000_000;
/// Passes of each.
const PASSES: usize = 7;

/// GFLOP/s of a pass of `product`.
fn rate(operations: usize, product: impl Fn()) -> f64 {
    let repeated = (WORK / operations).max(1);
    let started = Instant::now();
    (0..repeated).for_each(|_| product());
    (operations * repeated) as f64 / started.elapsed().as_secs_f64() / 1e9
}

fn main() {
    let device = Default::default();
    let kernels = paretopo_backend_flex::kernels();
    let uniform = Distribution::Uniform(-1.0, 1.0);
    println!(
        "| matrix | rows | burn | packed f32 | ratio | packed bf16 |\n|---|---|---|---|---|---|"
    );
    for [depth, columns] in SHAPES {
        let matrix = Tensor::<Flex, 2>::random([depth, columns], uniform, &device);
        let Some(fused) = kernels.suiting(&matrix) else { return };
        let packed = |weights| fused.pack(matrix.clone(), weights);
        let (Some(single), Some(half)) = (packed(PackedWeights::F32), packed(PackedWeights::Bf16))
        else {
            return;
        };
        for rows in [1, 4, 16, 64, 256, 1024] {
            let x = Tensor::<Flex, 2>::random([rows, depth], uniform, &device);
            let operations = 2 * rows * depth * columns;
            let mut best = [0.0f64; 3];
            for _ in 0..PASSES {
                let rates = [
                    rate(operations, || {
                        black_box(x.clone().matmul(matrix.clone()));
                    }),
                    rate(operations, || {
                        black_box(single.products(x.clone(), &[]));
                    }),
                    rate(operations, || {
                        black_box(half.products(x.clone(), &[]));
                    }),
                ];
                best = std::array::from_fn(|place| best[place].max(rates[place]));
            }
            let [plain, single, half] = best;
            let ratio = single / plain;
            println!(
                "| {depth} x {columns} | {rows} | {plain:.0} | {single:.0} | {ratio:.2} | {half:.0} |"
            );
        }
    }
}
