//! The two products of attention with a softmax between them, for a few queries and one key-value
//! head:
//!
//! `s = q K^T` over all blocks that the queries see, `w = softmax(s)` over those tokens that each
//! sees, `y = w V`. Sums are kept in registers, for several queries or, where these are few,
//! several blocks at a time; each is taken over features and tokens in their order.

use super::BLOCK;
use crate::kernels::masked_softmax;
#[cfg(target_arch = "x86_64")]
use crate::packed::{Avx2, Avx512};
use crate::packed::{Lanes, Path, Portable};

/// What a thread needs while it attends.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Scaled, `[queries, head_dim]`: tokens, and of each the heads of a group.
    pub(super) queries: Vec<f32>,
    /// The keys in each block that the last query sees.
    pub(super) keys: Vec<*const f32>,
    /// The values in each of these blocks.
    pub(super) values: Vec<*const f32>,
    /// The result, `[queries, panels * BLOCK]`.
    pub(super) attended: Vec<f32>,
    /// `[queries of a tile, blocks * BLOCK]`
    weights: Vec<f32>,
}

/// What the queries attend to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    pub(super) head_dim: usize,
    /// Panels of values.
    pub(super) panels: usize,
    /// Queries of a token.
    pub(super) group: usize,
    /// Tokens that the queries of the first token see; those of each further token see one more.
    pub(super) sees: usize,
}

impl Path {
    /// # Safety
    /// The processor has the instructions; the keys and values point to blocks of the layout.
    pub(super) unsafe fn attend(self, scratch: &mut Scratch, keys: Keys) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512(scratch: &mut Scratch, keys: Keys) {
            // SAFETY: as the caller promises
            unsafe { attend::<Avx512, 1, 8>(scratch, keys) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(scratch: &mut Scratch, keys: Keys) {
            // SAFETY: as the caller promises
            unsafe { attend::<Avx2, 2, 6>(scratch, keys) }
        }
        // SAFETY: as the caller promises
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512(scratch, keys),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2(scratch, keys),
                Self::Portable => attend::<Portable, 2, 4>(scratch, keys),
            }
        }
    }
}

/// Attends with all queries, `MOST` at a time.
///
/// # Safety
/// See [`Path::attend`].
#[inline(always)]
unsafe fn attend<L: Lanes, const VECTORS: usize, const MOST: usize>(
    scratch: &mut Scratch,
    keys: Keys,
) {
    // tiles have at most 8 rows, and of more than one panel at most 4; a block is a row of
    // registers
    const { assert!(MOST <= 8 && VECTORS * L::COUNT == BLOCK) };
    let Keys { head_dim, panels, group, sees } = keys;
    let count = scratch.queries.len() / head_dim;
    let width = panels * BLOCK;
    scratch.attended.clear();
    scratch.attended.resize(count * width, 0.0);
    // tiles as even as they get
    let tiles = count.div_ceil(MOST);
    for tile in 0..tiles {
        let [first, end] = [tile, tile + 1].map(|tile| count * tile / tiles);
        let rows = end - first;
        let blocks = (sees + (end - 1) / group).div_ceil(BLOCK);
        let columns = blocks * BLOCK;
        scratch.weights.resize(rows * columns, 0.0);
        let weights = scratch.weights.as_mut_ptr();
        // SAFETY: places lie within the slices by their lengths, blocks as the caller promises
        unsafe {
            let scores = Product {
                x: scratch.queries.as_ptr().add(first * head_dim),
                stride: head_dim,
                depth: head_dim,
                steps: 1,
                y: weights,
                y_stride: columns,
            };
            let lists = &scratch.keys;
            product::<L, VECTORS, MOST>(&scores, rows, blocks, |_, block| {
                *lists.get_unchecked(block)
            });
            for row in 0..rows {
                let seen = sees + (first + row) / group;
                let row = std::slice::from_raw_parts_mut(weights.add(row * columns), columns);
                masked_softmax(&mut row[..seen], seen, None);
                row[seen..].fill(0.0);
            }
            let sums = Product {
                x: weights,
                stride: columns,
                depth: BLOCK,
                steps: blocks,
                y: scratch.attended.as_mut_ptr().add(first * width),
                y_stride: width,
            };
            let lists = &scratch.values;
            product::<L, VECTORS, MOST>(&sums, rows, panels, |step, panel| {
                lists.get_unchecked(step).add(panel * BLOCK * BLOCK)
            });
        }
    }
}

/// `y = x W` for matrices of [`BLOCK`] columns that lie apart, one below the other in `steps`.
#[derive(Clone, Copy)]
struct Product {
    /// `[rows, steps * depth]`
    x: *const f32,
    /// Numbers from a row of `x` to the next.
    stride: usize,
    /// Rows of a matrix.
    depth: usize,
    steps: usize,
    y: *mut f32,
    y_stride: usize,
}

/// The product of some rows with `panels` matrices side by side; `place` gives the one of a step
/// and panel.
///
/// # Safety
/// See [`Path::attend`]; all places lie within what they point to, and `rows` is at most 8.
#[inline(always)]
unsafe fn product<L: Lanes, const VECTORS: usize, const MOST: usize>(
    product: &Product,
    rows: usize,
    panels: usize,
    place: impl Fn(usize, usize) -> *const f32,
) {
    let together = [4, 2].into_iter().find(|panels| rows * panels <= MOST).unwrap_or(1);
    let mut panel = 0;
    while panel < panels {
        let next = if panel + together <= panels { together } else { 1 };
        // SAFETY: as the caller promises
        unsafe {
            match (rows, next) {
                (1, 4) => tile::<L, VECTORS, 1, 4>(product, panel, &place),
                (1, 2) => tile::<L, VECTORS, 1, 2>(product, panel, &place),
                (1, _) => tile::<L, VECTORS, 1, 1>(product, panel, &place),
                (2, 4) => tile::<L, VECTORS, 2, 4>(product, panel, &place),
                (2, 2) => tile::<L, VECTORS, 2, 2>(product, panel, &place),
                (2, _) => tile::<L, VECTORS, 2, 1>(product, panel, &place),
                (3, 2) => tile::<L, VECTORS, 3, 2>(product, panel, &place),
                (3, _) => tile::<L, VECTORS, 3, 1>(product, panel, &place),
                (4, 2) => tile::<L, VECTORS, 4, 2>(product, panel, &place),
                (4, _) => tile::<L, VECTORS, 4, 1>(product, panel, &place),
                (5, _) => tile::<L, VECTORS, 5, 1>(product, panel, &place),
                (6, _) => tile::<L, VECTORS, 6, 1>(product, panel, &place),
                (7, _) => tile::<L, VECTORS, 7, 1>(product, panel, &place),
                _ => tile::<L, VECTORS, 8, 1>(product, panel, &place),
            }
        }
        panel += next;
    }
}

/// `ROWS` rows times `PANELS` panels. Plain indices, so that sums are kept in registers.
///
/// # Safety
/// See [`product`].
#[inline(always)]
unsafe fn tile<L: Lanes, const VECTORS: usize, const ROWS: usize, const PANELS: usize>(
    product: &Product,
    panel: usize,
    place: &impl Fn(usize, usize) -> *const f32,
) {
    let Product { x, stride, depth, steps, y, y_stride } = *product;
    // SAFETY: as the caller promises
    unsafe {
        let mut sums = [[[L::splat(0.0); VECTORS]; PANELS]; ROWS];
        let mut step = 0;
        while step < steps {
            let mut from = [std::ptr::null(); PANELS];
            let mut p = 0;
            while p < PANELS {
                from[p] = place(step, panel + p);
                p += 1;
            }
            let mut i = 0;
            while i < depth {
                let mut p = 0;
                while p < PANELS {
                    let mut columns = [L::splat(0.0); VECTORS];
                    let mut v = 0;
                    while v < VECTORS {
                        columns[v] = L::load(from[p].add(i * BLOCK + v * L::COUNT));
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
        let mut r = 0;
        while r < ROWS {
            let mut p = 0;
            while p < PANELS {
                let mut v = 0;
                while v < VECTORS {
                    let to = y.add(r * y_stride + (panel + p) * BLOCK + v * L::COUNT);
                    L::store(to, sums[r][p][v]);
                    v += 1;
                }
                p += 1;
            }
            r += 1;
        }
    }
}
