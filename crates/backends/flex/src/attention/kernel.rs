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
use crate::tile::{Operand, of_height, panels_together};

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
    /// Tokens up to that of the first query, itself included; each further one has one more.
    pub(super) sees: usize,
    /// How many of these it sees, the newest.
    pub(super) window: usize,
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
                Self::Avx512Bf16 | Self::Avx512 => avx512(scratch, keys),
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
    let Keys { head_dim, panels, group, sees, window } = keys;
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
            let x = scratch.queries.as_ptr().add(first * head_dim);
            let queries = Operand { x, stride: head_dim, depth: head_dim, steps: 1 };
            let keys_at = |_, block: usize| *scratch.keys.get_unchecked(block);
            product::<L, VECTORS, MOST>(&queries, [rows, blocks], keys_at, weights);
            for row in 0..rows {
                let seen = sees + (first + row) / group;
                let row = std::slice::from_raw_parts_mut(weights.add(row * columns), columns);
                let from = seen.saturating_sub(window);
                row[..from].fill(0.0);
                masked_softmax(&mut row[from..seen], seen - from, None);
                row[seen..].fill(0.0);
            }
            let shares = Operand { x: weights, stride: columns, depth: BLOCK, steps: blocks };
            let values_at = |step: usize, panel: usize| {
                scratch.values.get_unchecked(step).add(panel * BLOCK * BLOCK)
            };
            let y = scratch.attended.as_mut_ptr().add(first * width);
            product::<L, VECTORS, MOST>(&shares, [rows, panels], values_at, y);
        }
    }
}

/// `y = x W` for `panels` of [`BLOCK`] columns side by side; `place` gives the one of a step and
/// number.
///
/// # Safety
/// See [`Path::attend`]; all places lie within what they point to, `rows` is at most 8, and `y` has
/// room for `[rows, columns]`.
#[inline(always)]
unsafe fn product<L: Lanes, const VECTORS: usize, const MOST: usize>(
    operand: &Operand,
    [rows, panels]: [usize; 2],
    place: impl Fn(usize, usize) -> *const f32,
    y: *mut f32,
) {
    let columns = panels * BLOCK;
    let together = panels_together(rows, MOST);
    let mut panel = 0;
    while panel < panels {
        let next = if panel + together <= panels { together } else { 1 };
        let store = |r: usize, p: usize, sums: &[L::Vector; VECTORS]| {
            for (v, sum) in sums.iter().enumerate() {
                // SAFETY: as the caller promises
                unsafe { L::store(y.add(r * columns + (panel + p) * BLOCK + v * L::COUNT), *sum) };
            }
        };
        let place = |step, p| place(step, panel + p);
        // SAFETY: as the caller promises
        unsafe { of_height::<L, f32, VECTORS>(operand, [rows, next], place, store) };
        panel += next;
    }
}
