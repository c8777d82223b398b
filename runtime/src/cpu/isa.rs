//! The instruction sets: which one a machine has, and the vector type of each.
//!
//! Every kernel is written once, over `Simd` or over plain slices, as a `Body`. `Isa::run` compiles the body once for
//! each instruction set and jumps to the right copy. All arithmetic is explicit (fma where fma is meant, nothing
//! reassociated), so the copies give the same bits.

use std::fmt;

/// An instruction set that this machine has.
///
/// A value exists only if the machine was found to have the instructions, which is what makes `Isa::run` sound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Every instruction set that this machine has, the fastest first.
    pub fn available() -> Vec<Isa> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                {
                    all.push(Isa(Level::Avx512));
                }
                all.push(Isa(Level::Avx2));
            }
        }
        all.push(Isa(Level::Portable));
        all
    }

    /// The fastest instruction set that this machine has.
    pub fn best() -> Isa {
        Isa::available().first().copied().unwrap_or(Isa(Level::Portable))
    }

    /// The name: `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }

    /// Runs the copy of `body` that is compiled for this instruction set.
    #[inline]
    pub(crate) fn run<B: Body>(self, body: B) -> B::Output {
        match self.0 {
            Level::Portable => body.run::<Portable>(),
            // SAFETY: the value exists, so `available` found the instructions on this machine.
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "the one jump into code for detected instructions")]
            Level::Avx2 => unsafe { x86::avx2(body) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "the one jump into code for detected instructions")]
            Level::Avx512 => unsafe { x86::avx512(body) },
        }
    }

    /// Runs the copy of `work` that is compiled for this instruction set.
    #[inline]
    pub fn compiled<W: Compiled>(self, work: W) -> W::Output {
        self.run(Plain(work))
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Work of another crate over plain slices, compiled once for each instruction set.
///
/// `run` and all that it calls on the hot path must be `#[inline(always)]`, or closures: what is not inlined is compiled
/// for the baseline.
pub trait Compiled {
    /// What it gives.
    type Output;

    /// Does the work.
    fn run(self) -> Self::Output;
}

struct Plain<W>(W);

impl<W: Compiled> Body for Plain<W> {
    type Output = W::Output;

    #[inline(always)]
    fn run<V: Simd>(self) -> W::Output {
        self.0.run()
    }
}

/// Work that is compiled once for each instruction set.
///
/// `run` and all that it calls on the hot path must be `#[inline(always)]`: what is not inlined is compiled for the
/// baseline, which is slower though never wrong.
pub(crate) trait Body {
    /// What it gives.
    type Output;

    /// Does the work.
    fn run<V: Simd>(self) -> Self::Output;
}

/// A vector of f32.
pub(crate) trait Simd: Copy {
    /// Numbers in a vector.
    const LANES: usize;
    /// Rows of the largest matrix tile, two vectors wide, that stays in registers.
    const ROWS: usize;

    /// All zeros.
    fn zero() -> Self;

    /// The same number in every lane.
    fn splat(x: f32) -> Self;

    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;

    /// Reads a vector.
    ///
    /// # Safety
    /// `src` must be valid for reads of [`Simd::LANES`] numbers.
    #[expect(unsafe_code, reason = "the matrix tile reads through pointers")]
    unsafe fn load(src: *const f32) -> Self;

    /// Writes a vector.
    ///
    /// # Safety
    /// `dst` must be valid for writes of [`Simd::LANES`] numbers.
    #[expect(unsafe_code, reason = "the matrix tile writes through pointers")]
    unsafe fn store(self, dst: *mut f32);
}

/// The vector of machines without a known instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Simd for Portable {
    const LANES: usize = 4;
    const ROWS: usize = 4;

    #[inline(always)]
    fn zero() -> Self {
        Portable([0.0; 4])
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Portable([x; 4])
    }

    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        let mut out = c.0;
        for ((o, a), b) in out.iter_mut().zip(self.0).zip(b.0) {
            *o = a.mul_add(b, *o);
        }
        Portable(out)
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "the matrix tile reads through pointers")]
    unsafe fn load(src: *const f32) -> Self {
        // SAFETY: the caller promises four readable numbers.
        Portable(unsafe { src.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "the matrix tile writes through pointers")]
    unsafe fn store(self, dst: *mut f32) {
        // SAFETY: the caller promises four writable numbers.
        unsafe { dst.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions are unsafe outside code compiled for them")]
mod x86 {
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

    /// Eight lanes. Only made inside [`avx2`].
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(__m256);

    /// Sixteen lanes. Only made inside [`avx512`].
    #[derive(Clone, Copy)]
    pub(super) struct Avx512(__m512);

    // SAFETY of every block below: the types are private to this file and reached only through `avx2` and `avx512`,
    // which run only on machines that were found to have the instructions; pointers are the caller's promise.
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
}
