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

/// A weight as it lies in memory.
pub(crate) trait Weight: Copy + Send + Sync + 'static {
    /// Zero.
    const ZERO: Self;

    fn of(value: f32) -> Self;

    /// # Safety
    /// See [`Lanes`].
    unsafe fn load<L: Lanes>(from: *const Self) -> L::Vector;
}

impl Weight for f32 {
    const ZERO: Self = 0.0;

    fn of(value: f32) -> Self {
        value
    }

    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L::Vector {
        unsafe { L::load(from) }
    }
}

impl Weight for bf16 {
    const ZERO: Self = bf16::ZERO;

    fn of(value: f32) -> Self {
        bf16::from_f32(value)
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
    use super::{Lanes, bf16};
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
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};
