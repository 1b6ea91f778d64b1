//! The kernel of all our products: some rows of `x` times some panels of a matrix, with all sums in
//! registers.
//!
//! A panel holds `VECTORS` registers of neighbouring columns, row by row of the matrix, so that it
//! is read from its first to its last number. Every sum is taken over the rows of the matrix in
//! their order, whatever tile it is in: what a row of `x` gives does not depend on the rows beside
//! it.

use crate::packed::{Lanes, Weight};

/// Rows of `x`, and the panels that they are multiplied with: these may lie apart, one below the
/// other in `steps`.
#[derive(Clone, Copy)]
pub(crate) struct Operand {
    /// `[rows, steps * depth]`
    pub(crate) x: *const f32,
    /// Numbers from a row of `x` to the next.
    pub(crate) stride: usize,
    /// Rows of a panel.
    pub(crate) depth: usize,
    pub(crate) steps: usize,
}

/// How many panels so many rows are multiplied with at a time: few rows with more of them, so that
/// enough sums are under way to hide how long one takes.
pub(crate) fn panels_together(rows: usize, most: usize) -> usize {
    [4, 2].into_iter().find(|panels| rows * panels <= most).unwrap_or(1)
}

/// At most 8 rows times one panel or as many as [`panels_together`] says. `place` gives the panel of
/// a step and number, `store` takes the sums of a row and number.
///
/// # Safety
/// Needs the instructions of `L`; rows and panels lie within what they point to.
#[inline(always)]
pub(crate) unsafe fn of_height<L: Lanes, W: Weight, const VECTORS: usize>(
    operand: &Operand,
    [rows, panels]: [usize; 2],
    place: impl Fn(usize, usize) -> *const W,
    store: impl Fn(usize, usize, &[L::Vector; VECTORS]),
) {
    // SAFETY: as the caller promises
    unsafe {
        match (rows, panels) {
            (1, 4) => tile::<L, W, VECTORS, 1, 4>(operand, &place, &store),
            (1, 2) => tile::<L, W, VECTORS, 1, 2>(operand, &place, &store),
            (1, _) => tile::<L, W, VECTORS, 1, 1>(operand, &place, &store),
            (2, 4) => tile::<L, W, VECTORS, 2, 4>(operand, &place, &store),
            (2, 2) => tile::<L, W, VECTORS, 2, 2>(operand, &place, &store),
            (2, _) => tile::<L, W, VECTORS, 2, 1>(operand, &place, &store),
            (3, 2) => tile::<L, W, VECTORS, 3, 2>(operand, &place, &store),
            (3, _) => tile::<L, W, VECTORS, 3, 1>(operand, &place, &store),
            (4, 2) => tile::<L, W, VECTORS, 4, 2>(operand, &place, &store),
            (4, _) => tile::<L, W, VECTORS, 4, 1>(operand, &place, &store),
            (5, _) => tile::<L, W, VECTORS, 5, 1>(operand, &place, &store),
            (6, _) => tile::<L, W, VECTORS, 6, 1>(operand, &place, &store),
            (7, _) => tile::<L, W, VECTORS, 7, 1>(operand, &place, &store),
            _ => tile::<L, W, VECTORS, 8, 1>(operand, &place, &store),
        }
    }
}

/// `ROWS` rows of `x` times `PANELS` panels.
///
/// Plain indices: iterators are not always resolved before the loops are unrolled, and then the
/// sums are not kept in registers.
///
/// # Safety
/// See [`of_height`].
#[inline(always)]
unsafe fn tile<
    L: Lanes,
    W: Weight,
    const VECTORS: usize,
    const ROWS: usize,
    const PANELS: usize,
>(
    operand: &Operand,
    place: &impl Fn(usize, usize) -> *const W,
    store: &impl Fn(usize, usize, &[L::Vector; VECTORS]),
) {
    let Operand { x, stride, depth, steps } = *operand;
    let width = VECTORS * L::COUNT;
    // SAFETY: as the caller promises
    unsafe {
        let mut sums = [[[L::splat(0.0); VECTORS]; PANELS]; ROWS];
        let mut step = 0;
        while step < steps {
            let mut panels = [std::ptr::null(); PANELS];
            let mut p = 0;
            while p < PANELS {
                panels[p] = place(step, p);
                p += 1;
            }
            let mut i = 0;
            while i < depth {
                let mut p = 0;
                while p < PANELS {
                    let from = panels[p].add(i * width);
                    let mut columns = [L::splat(0.0); VECTORS];
                    let mut v = 0;
                    while v < VECTORS {
                        columns[v] = W::load::<L>(from.add(v * L::COUNT));
                        v += 1;
                    }
                    let mut r = 0;
                    while r < ROWS {
                        let value = L::splat(*x.add(r * stride + step * depth + i));
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
            step += 1;
        }
        for (r, sums) in sums.iter().enumerate() {
            for (p, sums) in sums.iter().enumerate() {
                store(r, p, sums);
            }
        }
    }
}
