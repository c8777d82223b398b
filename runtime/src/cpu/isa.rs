//! The instruction sets: which one a machine has, and the vector type of each.
//!
//! Every kernel is written once, over `Simd` or over plain slices, as a `Body`. `Isa::run` compiles the body once for
//! each instruction set and jumps to the right copy. All arithmetic is explicit (fma where fma is meant, nothing
//! reassociated), so the copies give the same bits.

#[cfg(target_arch = "x86_64")]
mod amx;
pub(crate) mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;

use self::tiles::{Emulated, SIDE, Unit};
use super::gemm::PANEL;
use crate::float::f32_to_bf16;

/// What a type of one instruction more takes from the one that it holds.
macro_rules! as_in {
    ($inner:ty) => {
        const LANES: usize = <$inner>::LANES;
        const ROWS: usize = <$inner>::ROWS;

        #[inline(always)]
        fn zero() -> Self {
            Self(<$inner>::zero())
        }

        #[inline(always)]
        fn splat(x: f32) -> Self {
            Self(<$inner>::splat(x))
        }

        #[inline(always)]
        fn fma(self, b: Self, c: Self) -> Self {
            Self(self.0.fma(b.0, c.0))
        }

        #[inline(always)]
        fn widened(self) -> [Self; 2] {
            self.0.widened().map(Self)
        }

        #[inline(always)]
        unsafe fn load(src: *const f32) -> Self {
            // SAFETY: as the caller promises.
            Self(unsafe { <$inner>::load(src) })
        }

        #[inline(always)]
        unsafe fn store(self, dst: *mut f32) {
            // SAFETY: as the caller promises.
            unsafe { self.0.store(dst) }
        }
    };
}
use as_in;

/// An instruction set that this machine has.
///
/// A value exists only if the machine was found to have the instructions, which is what makes `Isa::run` sound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa {
    level: Level,
    /// Whether products of bf16 go through AVX512_BF16.
    dots: bool,
    /// Whether products of int8 go through AVX512_VNNI or AVX_VNNI.
    quads: bool,
    /// Whether either goes through a matrix unit instead.
    tiles: Tiles,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tiles {
    None,
    Emulated,
    #[cfg(target_arch = "x86_64")]
    Amx,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    const PORTABLE: Isa =
        Isa { level: Level::Portable, dots: false, quads: false, tiles: Tiles::None };

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
                    let dots = is_x86_feature_detected!("avx512bf16");
                    let quads = is_x86_feature_detected!("avx512vnni");
                    let amx = dots && quads && amx::permitted();
                    let tiles = if amx { Tiles::Amx } else { Tiles::None };
                    all.push(Isa { level: Level::Avx512, dots, quads, tiles });
                }
                let quads = is_x86_feature_detected!("avxvnni");
                all.push(Isa { level: Level::Avx2, dots: false, quads, tiles: Tiles::None });
            }
        }
        all.push(Isa::PORTABLE);
        all
    }

    /// The fastest instruction set that this machine has.
    pub fn best() -> Isa {
        Isa::available().first().copied().unwrap_or(Isa::PORTABLE)
    }

    /// The matrix unit AMX in plain code, with no other instructions: for checking on machines without it.
    pub fn emulated_amx() -> Isa {
        Isa { level: Level::Portable, dots: true, quads: true, tiles: Tiles::Emulated }
    }

    /// Whether products of bf16 and int8 go through a matrix unit, AMX or its emulation.
    pub fn has_amx(self) -> bool {
        self.tiles != Tiles::None
    }

    /// The same without the matrix unit: products of bf16 and int8 go through the vectors' instructions for them.
    pub fn without_amx(self) -> Isa {
        match self.tiles {
            Tiles::Emulated => Isa::PORTABLE,
            _ => Isa { tiles: Tiles::None, ..self },
        }
    }

    /// Whether products of bf16 go through the instruction that is made for them.
    pub fn has_bf16(self) -> bool {
        self.dots
    }

    /// The same without the instruction for products of bf16, which then go by fma in f32.
    pub fn without_bf16(self) -> Isa {
        Isa { dots: false, ..self }
    }

    /// Whether products of int8 go through the instruction that is made for them.
    pub fn has_int8(self) -> bool {
        self.quads
    }

    /// The same without the instruction for products of int8, which then go by wider ones, with the same bits.
    pub fn without_int8(self) -> Isa {
        Isa { quads: false, ..self }
    }

    /// The name: `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self.level {
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
        match self.level {
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

    /// As [`Isa::run`], with the instruction for products of bf16 behind [`Simd::dot`] where the machine has it.
    #[inline]
    pub(crate) fn run_dots<B: Body>(self, body: B) -> B::Output {
        if !self.dots {
            return self.run(body);
        }
        match self.tiles {
            Tiles::Emulated => body.run::<Emulated>(),
            // SAFETY: `dots` is set only by `available`, which found the instructions on this machine.
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "the jump into code for detected instructions")]
            Tiles::None => unsafe { x86::avx512_bf16(body) },
            // SAFETY: `available` found the unit on this machine, and AVX-512 beside it.
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "the jump into code for detected instructions")]
            Tiles::Amx => unsafe { amx::amx(body) },
            #[cfg(not(target_arch = "x86_64"))]
            Tiles::None => self.run(body),
        }
    }

    /// As [`Isa::run`], with the instruction for products of int8 behind [`Simd::quads`] where the machine has it.
    #[inline]
    pub(crate) fn run_quads<B: Body>(self, body: B) -> B::Output {
        if !self.quads {
            return self.run(body);
        }
        match (self.tiles, self.level) {
            (Tiles::Emulated, _) => body.run::<Emulated>(),
            (Tiles::None, Level::Portable) => self.run(body),
            // SAFETY: `quads` is set only by `available`, which found the instructions on this machine.
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "the jump into code for detected instructions")]
            (Tiles::None, Level::Avx2) => unsafe { x86::avx2_vnni(body) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "the jump into code for detected instructions")]
            (Tiles::None, Level::Avx512) => unsafe { x86::avx512_vnni(body) },
            // SAFETY: `available` found the unit on this machine, and AVX-512 beside it.
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "the jump into code for detected instructions")]
            (Tiles::Amx, _) => unsafe { amx::amx(body) },
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
        f.write_str(self.name())?;
        for (there, what) in [
            (self.has_amx(), "amx"),
            (self.dots && !self.has_amx(), "bf16"),
            (self.quads && !self.has_amx(), "int8"),
        ] {
            if there {
                write!(f, "+{what}")?;
            }
        }
        Ok(())
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
    /// What multiplies words of several numbers instead of [`Simd::dot`] and [`Simd::quads`].
    const UNIT: Option<Unit> = None;

    /// All zeros.
    fn zero() -> Self;

    /// The same number in every lane.
    fn splat(x: f32) -> Self;

    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;

    /// `c` plus the products of pairs of bf16, each pair in the place of one number, the first of a pair in its low half.
    ///
    /// By default two fma in f32, the first of the pair first. One processor's own instruction may round otherwise.
    #[inline(always)]
    fn dot(self, b: Self, c: Self) -> Self {
        let ([a_low, a_high], [b_low, b_high]) = (self.widened(), b.widened());
        a_high.fma(b_high, a_low.fma(b_low, c))
    }

    /// `acc + dot(left, right)` of both vectors, with the one pair at `left` in every lane.
    ///
    /// # Safety
    /// `left` must be valid for reads of a number.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the matrix tile reads through pointers")]
    unsafe fn dot_row(left: *const f32, right: [Self; 2], acc: [Self; 2]) -> [Self; 2] {
        // SAFETY: as the caller promises.
        let left = Self::splat(unsafe { *left });
        [left.dot(right[0], acc[0]), left.dot(right[1], acc[1])]
    }

    /// Of four bytes in the place of each number, those of `self` unsigned and those of `b` signed: the i32 of `c` plus
    /// the sum of their products, modulo 2^32. That is exact, and so the same on every processor.
    fn quads(self, b: Self, c: Self) -> Self;

    /// `acc + quads(left, right)` of both vectors, with the four bytes at `left` in every lane.
    ///
    /// # Safety
    /// `left` must be valid for reads of a number.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the matrix tile reads through pointers")]
    unsafe fn quads_row(left: *const f32, right: [Self; 2], acc: [Self; 2]) -> [Self; 2] {
        // SAFETY: as the caller promises.
        let left = Self::splat(unsafe { *left });
        [left.quads(right[0], acc[0]), left.quads(right[1], acc[1])]
    }

    /// The first and the second bf16 of each pair, as f32.
    fn widened(self) -> [Self; 2];

    /// Numbers rounded to bf16, ties to even, as pairs of neighbours: the first of a pair in the low half, a missing last
    /// one zero. `pairs` has half as many, rounded up.
    ///
    /// Where there is an instruction for it, it takes subnormal numbers for zero, as that of [`Simd::dot`] does.
    #[inline(always)]
    fn round(x: &[f32], pairs: &mut [u32]) {
        let (whole, last) = x.as_chunks::<2>();
        for ([low, high], pair) in whole.iter().zip(pairs.iter_mut()) {
            *pair = rounded(*low, *high);
        }
        if let ([last], Some(pair)) = (last, pairs.last_mut()) {
            *pair = rounded(*last, 0.0);
        }
    }

    /// As [`Simd::round`], with pair `i` of `low[i]` and `high[i]`.
    #[inline(always)]
    fn round_together(low: &[f32; PANEL], high: &[f32; PANEL]) -> [u32; PANEL] {
        std::array::from_fn(|i| rounded(low[i], high[i]))
    }

    /// Rows for columns.
    #[inline(always)]
    fn transpose(tile: &mut [[f32; SIDE]; SIDE]) {
        let rows = *tile;
        *tile = std::array::from_fn(|i| rows.map(|row| row[i]));
    }

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

/// Asks for numbers that will be read soon, where the processor can be asked.
#[inline(always)]
pub(crate) fn prefetch(numbers: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(64 / size_of::<f32>()) {
        x86::prefetch(line.as_ptr());
    }
}

/// Two numbers as a pair of bf16.
#[inline(always)]
fn rounded(low: f32, high: f32) -> u32 {
    u32::from(f32_to_bf16(low)) | u32::from(f32_to_bf16(high)) << 16
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
    fn quads(self, b: Self, c: Self) -> Self {
        let mut out = c.0;
        for ((o, a), b) in out.iter_mut().zip(self.0).zip(b.0) {
            let bytes = a.to_ne_bytes().into_iter().zip(b.to_ne_bytes());
            let sum = bytes.fold(o.to_bits() as i32, |sum, (a, b)| {
                sum.wrapping_add(i32::from(a) * i32::from(b as i8))
            });
            *o = f32::from_bits(sum as u32);
        }
        Portable(out)
    }

    #[inline(always)]
    fn widened(self) -> [Self; 2] {
        let bits = self.0.map(f32::to_bits);
        let of = |f: fn(u32) -> u32| Portable(bits.map(|x| f32::from_bits(f(x))));
        [of(|x| x << 16), of(|x| x & 0xffff_0000)]
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
