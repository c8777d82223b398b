//! The vectors of x86-64.

#![expect(unsafe_code, reason = "vector instructions are unsafe outside code compiled for them")]

use std::arch::x86_64::*;

use super::{Body, Simd};

#[target_feature(enable = "avx2,fma")]
pub(super) fn avx2<B: Body>(body: B) -> B::Output {
    body.run::<Avx2>()
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
pub(super) fn avx512<B: Body>(body: B) -> B::Output {
    body.run::<Avx512>()
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx2,fma")]
pub(super) fn avx512_bf16<B: Body>(body: B) -> B::Output {
    body.run::<Avx512Bf16>()
}

/// Eight lanes. Only made inside [`avx2`].
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

/// Sixteen lanes. Only made inside [`avx512`].
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

/// Sixteen lanes, and products of bf16. Only made inside [`avx512_bf16`].
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(Avx512);

// SAFETY of every block below: the types are private to this file and reached only through the functions above, which
// run only on machines that were found to have the instructions; pointers are the caller's promise.
impl Simd for Avx2 {
    const LANES: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: see above.
        Avx2(unsafe { _mm256_setzero_ps() })
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: see above.
        Avx2(unsafe { _mm256_set1_ps(x) })
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        Avx2(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn widened(self) -> [Self; 2] {
        // SAFETY: see above.
        unsafe {
            let pairs = _mm256_castps_si256(self.0);
            let low = _mm256_slli_epi32::<16>(pairs);
            let high = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32 as i32));
            [Avx2(_mm256_castsi256_ps(low)), Avx2(_mm256_castsi256_ps(high))]
        }
    }

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        // SAFETY: see above.
        Avx2(unsafe { _mm256_loadu_ps(src) })
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(dst, self.0) }
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const ROWS: usize = 12;

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: see above.
        Avx512(unsafe { _mm512_setzero_ps() })
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: see above.
        Avx512(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        Avx512(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn widened(self) -> [Self; 2] {
        // SAFETY: see above.
        unsafe {
            let pairs = _mm512_castps_si512(self.0);
            let low = _mm512_slli_epi32::<16>(pairs);
            let high = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32));
            [Avx512(_mm512_castsi512_ps(low)), Avx512(_mm512_castsi512_ps(high))]
        }
    }

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        // SAFETY: see above.
        Avx512(unsafe { _mm512_loadu_ps(src) })
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(dst, self.0) }
    }
}

impl Simd for Avx512Bf16 {
    const LANES: usize = Avx512::LANES;
    const ROWS: usize = Avx512::ROWS;

    #[inline(always)]
    fn zero() -> Self {
        Avx512Bf16(Avx512::zero())
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Avx512Bf16(Avx512::splat(x))
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        Avx512Bf16(self.0.fma(b.0, c.0))
    }

    #[inline(always)]
    fn dot(self, b: Self, c: Self) -> Self {
        // SAFETY: see above; the pairs are the same bits in either type.
        unsafe {
            let pairs = |x: __m512| std::mem::transmute::<__m512, __m512bh>(x);
            Avx512Bf16(Avx512(_mm512_dpbf16_ps(c.0.0, pairs(self.0.0), pairs(b.0.0))))
        }
    }

    #[inline(always)]
    fn widened(self) -> [Self; 2] {
        self.0.widened().map(Avx512Bf16)
    }

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        // SAFETY: as the caller promises.
        Avx512Bf16(unsafe { Avx512::load(src) })
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe { self.0.store(dst) }
    }
}
