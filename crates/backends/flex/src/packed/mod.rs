//! Products of few rows with packed matrices: `y = x W` as decoding has it.
//!
//! A matrix lies in panels of neighbouring columns ([`crate::tile`]), so that a product reads each
//! weight once, in the order in which it lies, and arranges nothing. Threads divide the panels: all
//! work on one product, and together read the matrix once. Weights are f32 or bf16; `x`, sums and `y`
//! are f32. The widest instructions of the processor are chosen when a matrix is packed ([`Path`]).
//! Where these multiply pairs of bf16, `x` is rounded to bf16, too, if the weights are.
//!
//! burn's own product (the `gemm` crate) packs the matrix anew in every call, which for few rows is
//! most of its work.

mod lanes;
mod panels;

use crate::fused::{from_values, plain, wrap};
use burn::tensor::{Shape, Tensor, TensorMetadata};
use burn_flex::{Flex, FlexTensor};
use half::bf16;
#[cfg(target_arch = "x86_64")]
pub(crate) use lanes::{Avx2, Avx512};
#[cfg(target_arch = "x86_64")]
use lanes::{Avx512Bf16, Pair};
pub(crate) use lanes::{Lanes, Portable, Weight};
pub(crate) use panels::Output;
use panels::Product;
use paretopo_models::{PackedMatrix, PackedWeights};
use rayon::prelude::*;
use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Multiplications below which threads cost more than they save.
const WORTH_A_THREAD: usize = 1 << 17;

/// How many threads so many multiplications are worth.
pub(crate) fn threads_for(multiplications: usize) -> usize {
    rayon::current_num_threads().min((multiplications / WORTH_A_THREAD).max(1))
}

/// The instructions that a packed matrix is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// As [`Self::Avx512`], but bf16 weights are multiplied in pairs, and with bf16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// 16 numbers in 32 registers.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 8 numbers in 16 registers.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the compiler makes of it.
    Portable,
}

impl Path {
    /// All that this processor has, the fastest first.
    pub(crate) fn all() -> Vec<Self> {
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.insert(0, Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                found.insert(0, Self::Avx512);
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
                found.insert(0, Self::Avx512Bf16);
            }
        }
        found
    }

    /// The fastest of [`Self::all`].
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Path> = OnceLock::new();
        *BEST.get_or_init(|| Self::all()[0])
    }

    /// Columns of a panel.
    fn width(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 | Self::Avx512 => 48,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 16,
            Self::Portable => 16,
        }
    }

    /// Computes the columns of some panels.
    ///
    /// # Safety
    /// See [`panels::run`]; the processor has the instructions.
    unsafe fn run<W: Weight>(self, product: &Product<'_, W>, panels: Range<usize>) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512<W: Weight>(product: &Product<'_, W>, panels: Range<usize>) {
            // SAFETY: as the caller promises
            unsafe { panels::run::<Avx512, W, 3, 8>(product, panels) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2<W: Weight>(product: &Product<'_, W>, panels: Range<usize>) {
            // SAFETY: as the caller promises
            unsafe { panels::run::<Avx2, W, 2, 6>(product, panels) }
        }
        // SAFETY: as the caller promises
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512Bf16 | Self::Avx512 => avx512(product, panels),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2(product, panels),
                Self::Portable => panels::run::<Portable, W, 2, 4>(product, panels),
            }
        }
    }
}

/// Computes the columns of some panels with pairs of `x`.
///
/// # Safety
/// See [`Path::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn run_pairs(product: &Product<'_, Pair>, panels: Range<usize>) {
    // SAFETY: as the caller promises
    unsafe { panels::run::<Avx512Bf16, Pair, 3, 8>(product, panels) }
}

/// Weights in panels.
enum Panels {
    Single(Vec<f32>),
    Half(Vec<bf16>),
    #[cfg(target_arch = "x86_64")]
    Pairs(Vec<Pair>),
}

/// Rows that are multiplied.
struct Rows<'a> {
    /// `[rows, depth]`
    x: &'a [f32],
    /// The same in pairs of bf16, `[rows, ceil(depth / 2)]`, if a matrix needs them.
    pairs: Vec<f32>,
}

/// `x` in pairs of bf16, row by row of `depth`.
///
/// # Safety
/// The processor has the instructions of [`Path::Avx512Bf16`].
#[cfg(target_arch = "x86_64")]
unsafe fn in_pairs(x: &[f32], depth: usize) -> Vec<f32> {
    let depth = depth.max(1);
    let each = depth.div_ceil(2);
    let mut pairs = vec![0.0; x.len() / depth * each];
    for (x, pairs) in x.chunks_exact(depth).zip(pairs.chunks_exact_mut(each)) {
        // SAFETY: as the caller promises; a row has room for its pairs
        unsafe { Pair::of_row(x, pairs) }
    }
    pairs
}

/// A packed matrix.
pub(crate) struct Matrix {
    path: Path,
    depth: usize,
    columns: usize,
    panels: Panels,
}

impl Matrix {
    /// Packs `matrix`, `[depth, columns]`, for the given instructions, which the processor must
    /// have.
    pub(crate) fn new(matrix: &FlexTensor, weights: PackedWeights, path: Path) -> Self {
        let shape = matrix.shape();
        let (depth, columns) = (shape[0], shape[1]);
        let panels = match weights {
            PackedWeights::F32 => Panels::Single(panels_of(matrix, path.width())),
            #[cfg(target_arch = "x86_64")]
            PackedWeights::Bf16 if path == Path::Avx512Bf16 => {
                Panels::Pairs(panels_of(matrix, path.width()))
            }
            PackedWeights::Bf16 => Panels::Half(panels_of(matrix, path.width())),
        };
        Self { path, depth, columns, panels }
    }

    fn panel_count(&self) -> usize {
        self.columns.div_ceil(self.path.width())
    }

    #[cfg(target_arch = "x86_64")]
    fn has_pairs(&self) -> bool {
        matches!(self.panels, Panels::Pairs(_))
    }

    /// Computes some panels of `x W`.
    ///
    /// # Safety
    /// `y` has room for `[rows, columns]`, and nobody else writes to these panels' columns.
    unsafe fn run(&self, rows: &Rows<'_>, y: Output, panels: Range<usize>) {
        let Rows { x, pairs } = rows;
        let (depth, columns) = (self.depth, self.columns);
        // SAFETY: the path was chosen among those that the processor has; panels were made for it
        unsafe {
            match &self.panels {
                Panels::Single(weights) => {
                    self.path.run(&Product { x, depth, weights, columns, y }, panels)
                }
                Panels::Half(weights) => {
                    self.path.run(&Product { x, depth, weights, columns, y }, panels)
                }
                #[cfg(target_arch = "x86_64")]
                Panels::Pairs(weights) => {
                    let depth = depth.div_ceil(2);
                    run_pairs(&Product { x: pairs, depth, weights, columns, y }, panels)
                }
            }
        }
    }
}

/// Panels of `width` columns, each `[depth, width]` or, with several rows in a weight, fewer; rows
/// and columns that fill up the last ones are zeros.
fn panels_of<W: Weight>(matrix: &FlexTensor, width: usize) -> Vec<W> {
    let shape = matrix.shape();
    let (depth, columns) = (shape[0], shape[1]);
    let layout = matrix.layout();
    let start = layout.start_offset();
    let [row, column] = [0, 1].map(|dimension| layout.strides()[dimension]);
    let values: &[f32] = matrix.storage();
    let at = |step: usize, j: usize| {
        W::of(|below| match step * W::ROWS + below {
            i if i < depth => {
                values[(start as isize + i as isize * row + j as isize * column) as usize]
            }
            _ => 0.0,
        })
    };
    let steps = depth.div_ceil(W::ROWS);
    let nothing = vec![0.0; width];
    let mut panels = vec![W::default(); columns.div_ceil(width) * width * steps];
    panels.par_chunks_exact_mut((width * steps).max(1)).enumerate().for_each(|(panel, weights)| {
        let first = panel * width;
        let count = width.min(columns - first);
        if column == 1 {
            let columns_of = |i: usize| match i < depth {
                true => &values[(start as isize + i as isize * row) as usize + first..][..count],
                false => &nothing[..count],
            };
            for (step, weights) in weights.chunks_exact_mut(width).enumerate() {
                let rows = [0, W::ROWS - 1].map(|below| columns_of(step * W::ROWS + below));
                for (j, weight) in weights[..count].iter_mut().enumerate() {
                    *weight = W::of(|below| rows[below][j]);
                }
            }
        } else {
            // a transposed matrix is read along its own rows
            for j in 0..count {
                for i in 0..steps {
                    weights[i * width + j] = at(i, first + j);
                }
            }
        }
    });
    panels
}

/// `x W` for several matrices of as many rows as `x` has columns.
fn products(x: &[f32], matrices: &[&Matrix]) -> Vec<Vec<f32>> {
    let depth = matrices[0].depth;
    assert!(matrices.iter().all(|matrix| matrix.depth == depth), "one `x` for all matrices");
    let rows = x.len() / depth.max(1);
    // not filled with zeros, which for many rows takes as long as a tenth of the product
    let mut outputs: Vec<Vec<f32>> =
        matrices.iter().map(|matrix| Vec::with_capacity(rows * matrix.columns)).collect();
    let places: Vec<Output> = outputs.iter_mut().map(|y| Output(y.as_mut_ptr())).collect();
    let columns: usize = matrices.iter().map(|matrix| matrix.columns).sum();
    let threads = threads_for(rows * depth * columns);
    #[cfg(target_arch = "x86_64")]
    let pairs = matrices.iter().any(|matrix| matrix.has_pairs()).then(|| {
        // SAFETY: the matrix was packed for these instructions, which the processor has
        unsafe { in_pairs(x, depth) }
    });
    #[cfg(not(target_arch = "x86_64"))]
    let pairs = None;
    let x = Rows { x, pairs: pairs.unwrap_or_default() };
    let part = |thread: usize| {
        for (matrix, y) in matrices.iter().zip(&places) {
            let panels = matrix.panel_count();
            let own = panels * thread / threads..panels * (thread + 1) / threads;
            // SAFETY: outputs have room for all rows and columns; each thread has its own panels
            unsafe { matrix.run(&x, *y, own) }
        }
    };
    match threads {
        1 => part(0),
        _ => (0..threads).into_par_iter().with_max_len(1).for_each(part),
    }
    for (y, matrix) in outputs.iter_mut().zip(matrices) {
        // SAFETY: the threads have written all rows of all panels, and these hold all columns
        unsafe { y.set_len(rows * matrix.columns) }
    }
    outputs
}

impl PackedMatrix<Flex> for Matrix {
    fn products(
        &self,
        x: Tensor<Flex, 2>,
        others: &[&dyn PackedMatrix<Flex>],
    ) -> Vec<Tensor<Flex, 2>> {
        let mut matrices = vec![self];
        for other in others {
            matrices.push(other.as_any().downcast_ref().expect("packed by this backend"));
        }
        let x = plain(x);
        let rows = x.shape()[0];
        let outputs = products(x.storage(), &matrices).into_iter().zip(&matrices);
        let wrapped = outputs
            .map(|(values, matrix)| wrap(from_values(values, Shape::new([rows, matrix.columns]))));
        wrapped.collect()
    }

    fn bytes(&self) -> usize {
        match &self.panels {
            Panels::Single(weights) => 4 * weights.len(),
            Panels::Half(weights) => 2 * weights.len(),
            #[cfg(target_arch = "x86_64")]
            Panels::Pairs(weights) => 4 * weights.len(),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A matrix, packed for the widest instructions that this processor has.
pub(crate) fn pack(matrix: Tensor<Flex, 2>, weights: PackedWeights) -> Arc<dyn PackedMatrix<Flex>> {
    let path = Path::best();
    Arc::new(Matrix::new(&matrix.into_primitive().tensor(), weights, path))
}

#[cfg(test)]
mod tests;
