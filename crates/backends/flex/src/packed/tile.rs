//! The kernel: some rows of `x` times some panels of weights, with all sums in registers.
//!
//! A panel holds `VECTORS` registers of neighbouring columns, row by row of the matrix, so that it
//! is read from its first to its last number. Every sum is taken over the rows of the matrix in
//! their order, whatever tile it is in: what a row of `x` gives does not depend on the rows beside
//! it.

use super::lanes::{Lanes, Weight};
use std::ops::Range;

/// Bytes of `x` that are used again and again before others are; half of a small second cache.
const BLOCK_BYTES: usize = 192 << 10;

/// Columns of the widest panel.
const WIDEST: usize = 48;

/// A product `y = x W`, as far as a kernel needs to know it.
pub(super) struct Product<'a, W> {
    /// `[rows, depth]`
    pub(super) x: &'a [f32],
    /// Columns of `x`, and rows of the matrix.
    pub(super) depth: usize,
    /// Panels, one behind the other; the last is filled up with zeros.
    pub(super) weights: &'a [W],
    /// Columns of the matrix and of `y`.
    pub(super) columns: usize,
    /// `[rows, columns]`
    pub(super) y: Output,
}

/// Where threads write, each its own columns.
#[derive(Clone, Copy)]
pub(crate) struct Output(pub(crate) *mut f32);

// SAFETY: threads write to different places of it
unsafe impl Send for Output {}
unsafe impl Sync for Output {}

/// The columns of some panels, for all rows. `MOST` rows are computed together; fewer of them with
/// more panels, so that enough sums are under way to hide how long one takes.
///
/// # Safety
/// Needs the instructions of `L`. `panels` are panels of the product, whose slices have the lengths
/// that [`Product`] says; nobody else writes to their columns of `y`.
#[inline(always)]
pub(super) unsafe fn run<L, W, const VECTORS: usize, const MOST: usize>(
    product: &Product<'_, W>,
    panels: Range<usize>,
) where
    L: Lanes,
    W: Weight,
{
    let rows = product.x.len() / product.depth.max(1);
    let block = (BLOCK_BYTES / (4 * product.depth.max(1)) / MOST).max(1) * MOST;
    let mut first = 0;
    while first < rows {
        let count = block.min(rows - first);
        // tiles as even as they get, the highest of `count / tiles` rows
        let tiles = count.div_ceil(MOST);
        let height = count.div_ceil(tiles);
        let together = [4, 2].into_iter().find(|panels| height * panels <= MOST).unwrap_or(1);
        let mut panel = panels.start;
        while panel < panels.end {
            let next = if panel + together <= panels.end { together } else { 1 };
            for tile in 0..tiles {
                let [start, end] = [tile, tile + 1].map(|tile| count * tile / tiles);
                let place = Place { row: first + start, panel };
                // SAFETY: as the caller promises
                unsafe { of_height::<L, W, VECTORS>(product, place, end - start, next) };
            }
            panel += next;
        }
        first += count;
    }
}

/// The first row of `x` and the first panel of a tile.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    panel: usize,
}

/// # Safety
/// See [`run`].
#[inline(always)]
unsafe fn of_height<L: Lanes, W: Weight, const VECTORS: usize>(
    product: &Product<'_, W>,
    place: Place,
    height: usize,
    panels: usize,
) {
    // SAFETY: as the caller promises
    unsafe {
        match (height, panels) {
            (1, 4) => tile::<L, W, VECTORS, 1, 4>(product, place),
            (1, 2) => tile::<L, W, VECTORS, 1, 2>(product, place),
            (1, _) => tile::<L, W, VECTORS, 1, 1>(product, place),
            (2, 4) => tile::<L, W, VECTORS, 2, 4>(product, place),
            (2, 2) => tile::<L, W, VECTORS, 2, 2>(product, place),
            (2, _) => tile::<L, W, VECTORS, 2, 1>(product, place),
            (3, 2) => tile::<L, W, VECTORS, 3, 2>(product, place),
            (3, _) => tile::<L, W, VECTORS, 3, 1>(product, place),
            (4, 2) => tile::<L, W, VECTORS, 4, 2>(product, place),
            (4, _) => tile::<L, W, VECTORS, 4, 1>(product, place),
            (5, _) => tile::<L, W, VECTORS, 5, 1>(product, place),
            (6, _) => tile::<L, W, VECTORS, 6, 1>(product, place),
            (7, _) => tile::<L, W, VECTORS, 7, 1>(product, place),
            _ => tile::<L, W, VECTORS, 8, 1>(product, place),
        }
    }
}

/// `ROWS` rows of `x` times `PANELS` panels.
///
/// Plain indices: iterators are not always resolved before the loops are unrolled, and then the
/// sums are not kept in registers.
///
/// # Safety
/// See [`run`].
#[inline(always)]
unsafe fn tile<
    L: Lanes,
    W: Weight,
    const VECTORS: usize,
    const ROWS: usize,
    const PANELS: usize,
>(
    product: &Product<'_, W>,
    Place { row, panel }: Place,
) {
    let depth = product.depth;
    let width = VECTORS * L::COUNT;
    // SAFETY: the tile lies within the slices, as the caller promises
    unsafe {
        let x = product.x.as_ptr().add(row * depth);
        let weights = product.weights.as_ptr().add(panel * width * depth);
        let mut sums = [[[L::splat(0.0); VECTORS]; PANELS]; ROWS];
        let mut i = 0;
        while i < depth {
            let mut p = 0;
            while p < PANELS {
                let from = weights.add((p * depth + i) * width);
                let mut columns = [L::splat(0.0); VECTORS];
                let mut v = 0;
                while v < VECTORS {
                    columns[v] = W::load::<L>(from.add(v * L::COUNT));
                    v += 1;
                }
                let mut r = 0;
                while r < ROWS {
                    let value = L::splat(*x.add(r * depth + i));
                    let mut v = 0;
                    while v < VECTORS {
                        sums[r][p][v] = L::multiply_add(value, columns[v], sums[r][p][v]);
                        v += 1;
                    }
                    r += 1;
                }
                p += 1;
            }
            i += 1;
        }
        for (r, sums) in sums.iter().enumerate() {
            for (p, sums) in sums.iter().enumerate() {
                store::<L, W, VECTORS>(product, Place { row: row + r, panel: panel + p }, sums);
            }
        }
    }
}

/// Writes a row's sums of a panel, without those of columns that only fill up the last panel.
///
/// # Safety
/// See [`run`].
#[inline(always)]
unsafe fn store<L: Lanes, W: Weight, const VECTORS: usize>(
    product: &Product<'_, W>,
    Place { row, panel }: Place,
    sums: &[L::Vector; VECTORS],
) {
    let width = VECTORS * L::COUNT;
    let from = panel * width;
    // SAFETY: the place lies within the output, as the caller promises
    unsafe {
        let y = product.y.0.add(row * product.columns + from);
        if from + width <= product.columns {
            for (v, sum) in sums.iter().enumerate() {
                L::store(y.add(v * L::COUNT), *sum);
            }
            return;
        }
        let mut all = [0.0f32; WIDEST];
        for (v, sum) in sums.iter().enumerate() {
            L::store(all.as_mut_ptr().add(v * L::COUNT), *sum);
        }
        std::ptr::copy_nonoverlapping(all.as_ptr(), y, product.columns - from);
    }
}
