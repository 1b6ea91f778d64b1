//! Products with panels that lie one behind the other: which rows of `x` are taken with which
//! panels, tile by tile ([`crate::tile`]), so that what is read again is still in a cache.

use super::lanes::{Lanes, Weight};
use crate::tile::{Operand, of_height, panels_together};
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
        let together = panels_together(height, MOST);
        let mut panel = panels.start;
        while panel < panels.end {
            let next = if panel + together <= panels.end { together } else { 1 };
            for tile in 0..tiles {
                let [start, end] = [tile, tile + 1].map(|tile| count * tile / tiles);
                // SAFETY: as the caller promises
                unsafe { at::<L, W, VECTORS>(product, first + start..first + end, panel, next) };
            }
            panel += next;
        }
        first += count;
    }
}

/// Some rows of `x` times some panels.
///
/// # Safety
/// See [`run`].
#[inline(always)]
unsafe fn at<L: Lanes, W: Weight, const VECTORS: usize>(
    product: &Product<'_, W>,
    rows: Range<usize>,
    panel: usize,
    panels: usize,
) {
    let depth = product.depth;
    let size = VECTORS * L::COUNT * depth;
    // SAFETY: the tile lies within the slices, as the caller promises
    unsafe {
        let x = product.x.as_ptr().add(rows.start * depth);
        let operand = Operand { x, stride: depth, depth, steps: 1 };
        let from = product.weights.as_ptr().add(panel * size);
        of_height::<L, W, VECTORS>(
            &operand,
            [rows.len(), panels],
            |_, p| from.add(p * size),
            |r, p, sums| store::<L, W, VECTORS>(product, rows.start + r, panel + p, sums),
        );
    }
}

/// Writes a row's sums of a panel, without those of columns that only fill up the last panel.
///
/// # Safety
/// See [`run`].
#[inline(always)]
unsafe fn store<L: Lanes, W: Weight, const VECTORS: usize>(
    product: &Product<'_, W>,
    row: usize,
    panel: usize,
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
