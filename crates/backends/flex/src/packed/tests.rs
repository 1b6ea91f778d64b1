//! Every path that this processor has against sums in f64. That none of them is passed over is shown
//! beside what the processor says of itself.

use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn tensor(values: Vec<f32>, shape: [usize; 2]) -> FlexTensor {
    from_values(values, Shape::new(shape))
}

/// `x W` in f64, and the sum of the products' sizes, to which rounding is in proportion.
fn plain(x: &[f32], weights: &[f32], depth: usize, columns: usize) -> Vec<(f64, f64)> {
    let of = |row: &[f32], column: usize| {
        let terms =
            (0..depth).map(|i| f64::from(row[i]) * f64::from(weights[i * columns + column]));
        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
    };
    x.chunks(depth).flat_map(|row| (0..columns).map(move |column| of(row, column))).collect()
}

fn run(matrix: &Matrix, x: &[f32]) -> Vec<f32> {
    products(x, &[matrix]).remove(0)
}

#[test]
fn the_paths_are_those_that_the_processor_has() {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = flags.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|found| found == flag);
    let names: Vec<String> = Path::all().iter().map(|path| format!("{path:?}")).collect();
    if cfg!(target_arch = "x86_64") && !flags.is_empty() {
        assert_eq!(names.contains(&"Avx512Bf16".to_owned()), has("avx512_bf16"));
        assert_eq!(names.contains(&"Avx512".to_owned()), has("avx512f"));
        assert_eq!(names.contains(&"Avx2".to_owned()), has("avx2") && has("fma"));
    }
    // the fastest is what a model is packed for
    let packed = pack(Tensor::zeros([2, 3], &Default::default()), PackedWeights::F32);
    let matrix = packed.as_any().downcast_ref::<Matrix>().unwrap();
    assert_eq!(matrix.path, Path::all()[0]);
}

#[test]
fn every_path_computes_the_product() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for path in Path::all() {
        // below, at and above the width of a panel of each path, and no multiple of it
        for (depth, columns) in [(1, 1), (7, 15), (64, 48), (33, 100), (576, 193)] {
            let weights = random(&mut rng, depth * columns);
            let matrix = tensor(weights.clone(), [depth, columns]);
            let packed = Matrix::new(&matrix, PackedWeights::F32, path);
            for rows in [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 64, 100] {
                let x = random(&mut rng, rows * depth);
                let wanted = plain(&x, &weights, depth, columns);
                for (got, (sum, size)) in run(&packed, &x).iter().zip(&wanted) {
                    // sums of `depth` terms in f32 err by at most depth 2^-24 of their sizes
                    let bound = depth as f64 * 2f64.powi(-24) * size;
                    let error = (f64::from(*got) - sum).abs();
                    assert!(error <= bound, "{path:?} {rows} x {depth} x {columns}: {error:e}");
                }
            }
        }
    }
}

#[test]
fn bf16_weights_are_rounded_and_nothing_else_is() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (depth, columns, rows) = (96, 50, 5);
    let weights = random(&mut rng, depth * columns);
    let rounded = in_bf16(&weights);
    let x = random(&mut rng, rows * depth);
    // where pairs are multiplied, `x` is rounded as well: see the next test
    for path in Path::all().into_iter().filter(|path| !multiplies_pairs(*path)) {
        let half =
            Matrix::new(&tensor(weights.clone(), [depth, columns]), PackedWeights::Bf16, path);
        let single =
            Matrix::new(&tensor(rounded.clone(), [depth, columns]), PackedWeights::F32, path);
        assert_eq!(run(&half, &x), run(&single, &x), "{path:?}");
        assert_eq!(half.bytes() * 2, single.bytes());
    }
}

fn in_bf16(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect()
}

fn multiplies_pairs(path: Path) -> bool {
    format!("{path:?}") == "Avx512Bf16"
}

#[cfg(target_arch = "x86_64")]
#[test]
fn pairs_of_bf16_are_multiplied_and_summed_in_f32() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for path in Path::all().into_iter().filter(|path| multiplies_pairs(*path)) {
        // also odd depths, whose last pair is half empty
        for (depth, columns) in [(1, 1), (2, 48), (7, 15), (64, 49), (33, 100), (576, 193)] {
            let weights = random(&mut rng, depth * columns);
            let matrix = tensor(weights.clone(), [depth, columns]);
            let packed = Matrix::new(&matrix, PackedWeights::Bf16, path);
            assert!(packed.has_pairs());
            assert_eq!(packed.bytes(), 4 * depth.div_ceil(2) * columns.div_ceil(48) * 48);
            for rows in [1, 2, 5, 8, 9, 64] {
                let x = random(&mut rng, rows * depth);
                let wanted = plain(&in_bf16(&x), &in_bf16(&weights), depth, columns);
                for (got, (sum, size)) in run(&packed, &x).iter().zip(&wanted) {
                    let bound = depth as f64 * 2f64.powi(-24) * size;
                    let error = (f64::from(*got) - sum).abs();
                    assert!(error <= bound, "{path:?} {rows} x {depth} x {columns}: {error:e}");
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn numbers_become_pairs_as_bf16_rounds_them() {
    // 1 + 2^-8 lies between 1 and 1 + 2^-7, and 1 is even; 1 + 3 2^-8 between 1 + 2^-7 and 1 + 2^-6
    let halfway = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0];
    assert_eq!(in_bf16(&halfway), [1.0, 1.0 + 1.0 / 64.0]);
    if !Path::all().contains(&Path::Avx512Bf16) {
        return;
    }
    let special = [halfway[0], halfway[1], -0.0, f32::MAX, f32::NEG_INFINITY, f32::MIN_POSITIVE];
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    // fewer than are rounded together, as many, and an odd number more
    for count in [1, 6, 32, 77] {
        let mut x = random(&mut rng, count);
        let place = count.min(special.len());
        x[..place].copy_from_slice(&special[..place]);
        // two rows: each begins a pair
        x.extend_from_within(..);
        // SAFETY: the processor has them, as was just seen
        let pairs = unsafe { in_pairs(&x, count) };
        assert_eq!(pairs.len(), 2 * count.div_ceil(2));
        for (x, pairs) in x.chunks(count).zip(pairs.chunks(count.div_ceil(2))) {
            let halves = pairs.iter().map(|pair| pair.to_bits());
            let halves = halves.flat_map(|pair| [pair as u16, (pair >> 16) as u16]);
            let wanted = x.iter().map(|value| bf16::from_f32(*value).to_bits());
            let filled = wanted.chain((count % 2 == 1).then_some(0));
            assert!(halves.eq(filled), "{count}");
        }
    }
    // SAFETY: as above
    let none = unsafe { in_pairs(&[f32::NAN, 1.0], 2) };
    assert!(bf16::from_bits(none[0].to_bits() as u16).is_nan());
}

#[test]
fn a_row_does_not_depend_on_its_neighbours_nor_on_the_threads() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (depth, columns) = (300, 1000);
    let matrix = tensor(random(&mut rng, depth * columns), [depth, columns]);
    let x = random(&mut rng, 64 * depth);
    for path in Path::all() {
        for weights in [PackedWeights::F32, PackedWeights::Bf16] {
            let packed = Matrix::new(&matrix, weights, path);
            let alone: Vec<f32> = x.chunks(depth).flat_map(|row| run(&packed, row)).collect();
            for rows in 1..=64 {
                let together = run(&packed, &x[..rows * depth]);
                assert!(together == alone[..rows * columns], "{path:?}, {rows} rows");
            }
            for threads in [1, 2, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert!(pool.install(|| run(&packed, &x)) == alone, "{path:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn matrices_are_read_as_they_lie_and_several_at_once() {
    // W = (1 2 3; 4 5 6), x = (1 10): x W = (41, 52, 63); W^T of its transpose is the same
    let matrix = tensor(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3]);
    let transposed = tensor(vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0], [3, 2]).transpose(0, 1);
    for path in Path::all() {
        let [first, second] =
            [&matrix, &transposed].map(|matrix| Matrix::new(matrix, PackedWeights::F32, path));
        let found = products(&[1.0, 10.0], &[&first, &second]);
        assert_eq!(found, [[41.0, 52.0, 63.0], [41.0, 52.0, 63.0]], "{path:?}");
    }
}
