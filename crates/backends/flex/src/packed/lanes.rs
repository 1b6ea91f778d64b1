//! Vector registers, so that one kernel is written for all of them. Which a processor has is found
//! out when a matrix is packed.

use half::bf16;

/// Registers of a processor. A multiplication and its addition are rounded once where the processor
/// can ([`Lanes::multiply_add`]).
///
/// # Safety
/// All functions need the instructions that the implementation names; pointers are good for
/// [`Lanes::COUNT`] numbers, in any alignment.
pub(crate) trait Lanes: Copy {
    /// Numbers side by side.
    type Vector: Copy;
    /// How many.
    const COUNT: usize;

    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn load_half(from: *const bf16) -> Self::Vector;
    /// `a b + c`.
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    unsafe fn store(to: *mut f32, vector: Self::Vector);
}

/// A weight as it lies in memory; or several, one below the other.
pub(crate) trait Weight: Copy + Default + Send + Sync + 'static {
    /// Rows of the matrix that it holds.
    const ROWS: usize;

    /// What lies in these rows of a column.
    fn of(rows: impl Fn(usize) -> f32) -> Self;

    /// # Safety
    /// See [`Lanes`].
    unsafe fn load<L: Lanes>(from: *const Self) -> L::Vector;
}

impl Weight for f32 {
    const ROWS: usize = 1;

    #[inline(always)]
    fn of(rows: impl Fn(usize) -> f32) -> Self {
        rows(0)
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L::Vector {
        unsafe { L::load(from) }
    }
}

impl Weight for bf16 {
    const ROWS: usize = 1;

    #[inline(always)]
    fn of(rows: impl Fn(usize) -> f32) -> Self {
        Self::from_f32(rows(0))
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L::Vector {
        unsafe { L::load_half(from) }
    }
}

/// No instructions that not every processor has: a multiplication and an addition are rounded each.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Lanes for Portable {
    type Vector = [f32; 8];
    const COUNT: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 8] {
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_half(from: *const bf16) -> [f32; 8] {
        unsafe { from.cast::<[bf16; 8]>().read_unaligned() }.map(bf16::to_f32)
    }

    #[inline(always)]
    unsafe fn multiply_add(a: [f32; 8], b: [f32; 8], mut c: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            c[lane] += a[lane] * b[lane];
        }
        c
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: [f32; 8]) {
        unsafe { to.cast::<[f32; 8]>().write_unaligned(vector) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Lanes, Weight, bf16};
    use std::arch::x86_64::*;

    /// `avx2`, `fma`.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2;

    impl Lanes for Avx2 {
        type Vector = __m256;
        const COUNT: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn load_half(from: *const bf16) -> __m256 {
            // a bf16 is the upper half of the f32
            unsafe {
                let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves))
            }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, vector: __m256) {
            unsafe { _mm256_storeu_ps(to, vector) }
        }
    }

    /// `avx512f`.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512;

    impl Lanes for Avx512 {
        type Vector = __m512;
        const COUNT: usize = 16;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn load_half(from: *const bf16) -> __m512 {
            unsafe {
                let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
            }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, vector: __m512) {
            unsafe { _mm512_storeu_ps(to, vector) }
        }
    }

    /// Two neighbouring rows of a column, rounded to bf16, the first in the lower half; or two
    /// neighbouring numbers of `x`. Only [`Avx512Bf16`] computes with them.
    #[derive(Clone, Copy, Debug, Default)]
    #[repr(transparent)]
    pub(crate) struct Pair(u32);

    impl Pair {
        /// The two numbers rounded to the nearest bf16, of two the even one.
        #[inline(always)]
        fn new(first: f32, second: f32) -> Self {
            let [first, second] = [first, second].map(|value| bf16::from_f32(value).to_bits());
            Self(u32::from(first) | u32::from(second) << 16)
        }

        /// Numbers in pairs, an odd last one beside a zero, as bits that [`Lanes::splat`] and
        /// [`Lanes::load`] move.
        ///
        /// # Safety
        /// The processor has `avx512bf16`. `pairs` has room for half as many as there are numbers.
        #[target_feature(enable = "avx512f,avx512bf16")]
        pub(crate) unsafe fn of_row(x: &[f32], pairs: &mut [f32]) {
            let together = 2 * Avx512::COUNT;
            let (whole, rest) = x.split_at(x.len() / together * together);
            for (place, from) in whole.chunks_exact(together).enumerate() {
                // SAFETY: both halves lie within `x`, and as many pairs as a half has numbers within
                // `pairs`, as the caller promises
                unsafe {
                    let [low, high] = [0, 1].map(|half| from.as_ptr().add(half * Avx512::COUNT));
                    let found = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(high), _mm512_loadu_ps(low));
                    let to = pairs.as_mut_ptr().add(place * Avx512::COUNT);
                    to.cast::<__m512bh>().write_unaligned(found);
                }
            }
            for (from, pair) in rest.chunks(2).zip(&mut pairs[whole.len() / 2..]) {
                let found = Self::new(from[0], from.get(1).copied().unwrap_or(0.0));
                *pair = f32::from_bits(found.0);
            }
        }
    }

    impl Weight for Pair {
        const ROWS: usize = 2;

        #[inline(always)]
        fn of(rows: impl Fn(usize) -> f32) -> Self {
            Self::new(rows(0), rows(1))
        }

        #[inline(always)]
        unsafe fn load<L: Lanes>(from: *const Self) -> L::Vector {
            unsafe { L::load(from.cast()) }
        }
    }

    /// `avx512bf16`: a lane of `a` and `b` is a [`Pair`], and `a b + c` is `a0 b0 + a1 b1 + c`, with
    /// sums in f32.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512Bf16;

    impl Lanes for Avx512Bf16 {
        type Vector = __m512;
        const COUNT: usize = 16;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { Avx512::splat(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { Avx512::load(from) }
        }

        #[inline(always)]
        unsafe fn load_half(from: *const bf16) -> __m512 {
            unsafe { Avx512::load_half(from) }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            // no closure does this: it would be compiled for any processor
            unsafe {
                let a = std::mem::transmute::<__m512, __m512bh>(a);
                let b = std::mem::transmute::<__m512, __m512bh>(b);
                _mm512_dpbf16_ps(c, a, b)
            }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, vector: __m512) {
            unsafe { Avx512::store(to, vector) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Avx512Bf16, Pair};
