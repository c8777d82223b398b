//! The vectors of x86-64.

#![expect(unsafe_code, reason = "vector instructions are unsafe outside code compiled for them")]

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::gemm::PANEL;
use super::tiles::SIDE;
use super::{Body, Simd, as_in};

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

#[target_feature(enable = "avxvnni,avx2,fma")]
pub(super) fn avx2_vnni<B: Body>(body: B) -> B::Output {
    body.run::<Avx2Vnni>()
}

#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,avx2,fma")]
pub(super) fn avx512_vnni<B: Body>(body: B) -> B::Output {
    body.run::<Avx512Vnni>()
}

/// Brings a line into the second-level cache.
#[inline(always)]
pub(super) fn prefetch(line: *const f32) {
    // SAFETY: asking for a line neither reads it nor faults, and every x86-64 processor can be asked.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
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

/// Eight lanes, and products of int8. Only made inside [`avx2_vnni`].
#[derive(Clone, Copy)]
pub(super) struct Avx2Vnni(Avx2);

/// Sixteen lanes, and products of int8. Only made inside [`avx512_vnni`].
#[derive(Clone, Copy)]
pub(super) struct Avx512Vnni(Avx512);

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
    fn quads(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            // By sixteens of two bytes each; their products and the sum of two fit in 32 bits.
            let [a, b, c] = [self, b, c].map(|x| _mm256_castps_si256(x.0));
            let even = _mm256_and_si256(a, _mm256_set1_epi16(0xff));
            let even = _mm256_madd_epi16(even, _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b)));
            let odd = _mm256_srli_epi16::<8>(a);
            let odd = _mm256_madd_epi16(odd, _mm256_srai_epi16::<8>(b));
            let sum = _mm256_add_epi32(c, _mm256_add_epi32(even, odd));
            Avx2(_mm256_castsi256_ps(sum))
        }
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
    fn quads(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            // By sixteens of two bytes each; their products and the sum of two fit in 32 bits.
            let [a, b, c] = [self, b, c].map(|x| _mm512_castps_si512(x.0));
            let even = _mm512_and_si512(a, _mm512_set1_epi16(0xff));
            let even = _mm512_madd_epi16(even, _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(b)));
            let odd = _mm512_srli_epi16::<8>(a);
            let odd = _mm512_madd_epi16(odd, _mm512_srai_epi16::<8>(b));
            let sum = _mm512_add_epi32(c, _mm512_add_epi32(even, odd));
            Avx512(_mm512_castsi512_ps(sum))
        }
    }

    #[inline(always)]
    fn transpose(tile: &mut [[f32; SIDE]; SIDE]) {
        // SAFETY: see above.
        unsafe { transpose(tile) }
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
    as_in!(Avx512);

    #[inline(always)]
    fn transpose(tile: &mut [[f32; SIDE]; SIDE]) {
        Avx512::transpose(tile);
    }

    #[inline(always)]
    fn quads(self, b: Self, c: Self) -> Self {
        Avx512Bf16(self.0.quads(b.0, c.0))
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
    unsafe fn dot_row(left: *const f32, right: [Self; 2], acc: [Self; 2]) -> [Self; 2] {
        // SAFETY: see above, and as the caller promises.
        unsafe { dot_row(left, right.map(|x| x.0.0), acc.map(|x| x.0.0)) }
            .map(|x| Avx512Bf16(Avx512(x)))
    }

    #[inline(always)]
    fn round(x: &[f32], pairs: &mut [u32]) {
        let (whole, rest) = x.as_chunks::<PANEL>();
        let (most, last) = pairs.split_at_mut(whole.len() * (PANEL / 2));
        for (x, out) in whole.iter().zip(most.as_chunks_mut().0) {
            *out = neighbours(x);
        }
        if !rest.is_empty() {
            let mut x = [0.0; PANEL];
            x[..rest.len()].copy_from_slice(rest);
            let pairs = neighbours(&x);
            last.copy_from_slice(&pairs[..rest.len().div_ceil(2)]);
        }
    }

    #[inline(always)]
    fn round_together(low: &[f32; PANEL], high: &[f32; PANEL]) -> [u32; PANEL] {
        /// Number `i` of the first half beside number `i` of the second.
        const ORDER: [u16; PANEL] = {
            let mut order = [0; PANEL];
            let mut i = 0;
            while i < PANEL {
                order[i] = (i / 2 + i % 2 * (PANEL / 2)) as u16;
                i += 1;
            }
            order
        };
        let (low, high) = (low.as_chunks::<16>().0, high.as_chunks::<16>().0);
        let mut out = [[0; 16]; 2];
        for ((low, high), out) in low.iter().zip(high).zip(&mut out) {
            // SAFETY: see above; arrays and vectors of the same size are made of the same bits.
            unsafe {
                let order = std::mem::transmute::<[u16; PANEL], __m512i>(ORDER);
                let (low, high) = (_mm512_loadu_ps(low.as_ptr()), _mm512_loadu_ps(high.as_ptr()));
                let halves = _mm512_cvtne2ps_pbh(high, low);
                let halves = std::mem::transmute::<__m512bh, __m512i>(halves);
                let pairs = _mm512_permutexvar_epi16(order, halves);
                *out = std::mem::transmute::<__m512i, [u32; 16]>(pairs);
            }
        }
        let mut pairs = [0; PANEL];
        pairs.as_chunks_mut().0.copy_from_slice(&out);
        pairs
    }
}

impl Simd for Avx2Vnni {
    as_in!(Avx2);

    #[inline(always)]
    fn quads(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let [a, b, c] = [self, b, c].map(|x| _mm256_castps_si256(x.0.0));
            Avx2Vnni(Avx2(_mm256_castsi256_ps(_mm256_dpbusd_avx_epi32(c, a, b))))
        }
    }
}

impl Simd for Avx512Vnni {
    as_in!(Avx512);

    #[inline(always)]
    fn quads(self, b: Self, c: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            let [a, b, c] = [self, b, c].map(|x| _mm512_castps_si512(x.0.0));
            Avx512Vnni(Avx512(_mm512_castsi512_ps(_mm512_dpbusd_epi32(c, a, b))))
        }
    }

    #[inline(always)]
    unsafe fn quads_row(left: *const f32, right: [Self; 2], acc: [Self; 2]) -> [Self; 2] {
        // SAFETY: see above, and as the caller promises.
        unsafe { quads_row(left, right.map(|x| x.0.0), acc.map(|x| x.0.0)) }
            .map(|x| Avx512Vnni(Avx512(x)))
    }
}

/// 32 numbers as 16 pairs of neighbours. Only called inside [`avx512_bf16`].
#[inline(always)]
fn neighbours(x: &[f32; PANEL]) -> [u32; PANEL / 2] {
    // SAFETY: see above; the array has two vectors, and a vector's bits are those of 16 pairs.
    unsafe {
        let [low, high] = [0, 16].map(|i| _mm512_loadu_ps(x.as_ptr().add(i)));
        std::mem::transmute::<__m512bh, [u32; PANEL / 2]>(_mm512_cvtne2ps_pbh(high, low))
    }
}

/// Each round exchanges numbers that are twice as far apart: 1 and 2 within quarters of a vector, then quarters.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(tile: &mut [[f32; SIDE]; SIDE]) {
    // SAFETY: a row is a vector's bits.
    let mut rows = tile.map(|row| unsafe { std::mem::transmute::<[f32; SIDE], __m512>(row) });
    for i in (0..SIDE).step_by(2) {
        let (a, b) = (rows[i], rows[i + 1]);
        (rows[i], rows[i + 1]) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    }
    // Of four rows each: [a0 b0 c0 d0 | a4 ..], [a1 .. ], [a2 ..], [a3 ..].
    for i in (0..SIDE).step_by(4) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|j| _mm512_castps_pd(rows[i + j]));
        let of = [
            _mm512_unpacklo_pd(a, c),
            _mm512_unpackhi_pd(a, c),
            _mm512_unpacklo_pd(b, d),
            _mm512_unpackhi_pd(b, d),
        ];
        for (j, of) in of.into_iter().enumerate() {
            rows[i + j] = _mm512_castpd_ps(of);
        }
    }
    // Quarter q of row 4 g + j holds column 4 q + j of rows 4 g to 4 g + 3.
    for j in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|g| rows[g + j]);
        let (ab, cd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
        let (ab_odd, cd_odd) =
            (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d));
        let of = [
            _mm512_shuffle_f32x4::<0x88>(ab, cd),
            _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd),
            _mm512_shuffle_f32x4::<0xdd>(ab, cd),
            _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd),
        ];
        for (q, of) in of.into_iter().enumerate() {
            // SAFETY: a vector's bits are a row.
            tile[4 * q + j] = unsafe { std::mem::transmute::<__m512, [f32; SIDE]>(of) };
        }
    }
}

/// A row's step with an instruction for words of several numbers. The compiler's own order of a whole tile's broadcasts and
/// products runs out of registers, so these three stay together.
macro_rules! row {
    ($name:ident, $feature:literal, $broadcast:literal, $multiply:literal) => {
        /// The step by the instruction.
        ///
        /// # Safety
        /// `left` must be valid for reads of a number.
        #[inline]
        #[target_feature(enable = $feature)]
        unsafe fn $name(left: *const f32, right: [__m512; 2], acc: [__m512; 2]) -> [__m512; 2] {
            let [mut first, mut second] = acc;
            // SAFETY: the one number that is read is the caller's promise, and nothing is written but the named registers.
            unsafe {
                asm!(
                    concat!($broadcast, " zmm31, dword ptr [{at}]"),
                    concat!($multiply, " {first}, zmm31, {right_first}"),
                    concat!($multiply, " {second}, zmm31, {right_second}"),
                    at = in(reg) left,
                    first = inout(zmm_reg) first,
                    second = inout(zmm_reg) second,
                    right_first = in(zmm_reg) right[0],
                    right_second = in(zmm_reg) right[1],
                    out("zmm31") _,
                    options(pure, readonly, nostack, preserves_flags),
                );
            }
            [first, second]
        }
    };
}

row!(dot_row, "avx512f,avx512bf16", "vbroadcastss", "vdpbf16ps");
row!(quads_row, "avx512f,avx512vnni", "vpbroadcastd", "vpdpbusd");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        if !is_x86_feature_detected!("avx512f") {
            println!("no AVX-512 here: not run");
            return;
        }
        let tile = std::array::from_fn(|i| std::array::from_fn(|j| (i * SIDE + j) as f32));
        let mut found = tile;
        // SAFETY: the instructions are there.
        unsafe { transpose(&mut found) };
        let expected = std::array::from_fn(|i| tile.map(|row: [f32; SIDE]| row[i]));
        assert_eq!(found, expected);
    }
}
