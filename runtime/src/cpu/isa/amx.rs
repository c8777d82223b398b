//! AMX, the matrix unit of Intel's server processors since Sapphire Rapids: eight tiles of 16 rows of 64 bytes.
//!
//! One product holds two by two tiles of sums, so that two tiles of each factor, read once, make four products: the
//! unit takes 16 cycles for each of those, and reading a tile takes 8.

#![expect(
    unsafe_code,
    reason = "tiles are named in assembly alone, and read and written through pointers"
)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::super::gemm::PANEL;
use super::tiles::{Operands, SIDE, Unit};
use super::x86::Avx512Bf16;
use super::{Body, Simd, as_in};

/// Whether the processor has the unit with its products of bf16 and int8, and the system lets this process use it.
pub(super) fn permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| built_in() && enabled() && allowed())
}

/// Whether the processor has the instructions.
fn built_in() -> bool {
    /// AMX-BF16, AMX-TILE and AMX-INT8 of leaf 7.
    const INSTRUCTIONS: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    let leaves = __cpuid(0).eax;
    leaves >= 7 && __cpuid_count(7, 0).edx & INSTRUCTIONS == INSTRUCTIONS
}

/// Whether the system saves the unit's state when it switches threads.
fn enabled() -> bool {
    /// The tiles' configuration and the tiles.
    const STATE: u32 = 1 << 17 | 1 << 18;
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let state: u32;
    // SAFETY: the bit above says that the instruction exists; it reads a register.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") state, out("edx") _, options(nomem, nostack));
    }
    state & STATE == STATE
}

/// Asks Linux to let this process use the tiles; other systems are not asked.
fn allowed() -> bool {
    /// `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`
    const ARCH_PRCTL: i64 = 158;
    const REQUEST: i64 = 0x1023;
    const TILES: i64 = 18;
    if !cfg!(target_os = "linux") {
        return false;
    }
    let mut answer = ARCH_PRCTL;
    // SAFETY: the call changes what the process may do and touches no memory; the kernel overwrites rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inout("rax") answer,
            in("rdi") REQUEST,
            in("rsi") TILES,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

/// How the eight tiles are shaped, as `ldtilecfg` reads it.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Config {
    /// All of them whole.
    const WHOLE: Config = {
        let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
        let mut i = 0;
        while i < 8 {
            (row_bytes[i], rows[i]) = (64, SIDE as u8);
            i += 1;
        }
        Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
    };
}

/// A thread's tiles, for as long as it works with them.
struct Tiles;

impl Tiles {
    /// # Safety
    /// [`permitted`] must have said so.
    unsafe fn set_up() -> Tiles {
        let config = const { &Config::WHOLE };
        // SAFETY: the caller promises the instruction, which reads the 64 bytes of the configuration.
        unsafe { asm!("ldtilecfg [{}]", in(reg) config, options(readonly, nostack)) };
        Tiles
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the value exists, so the unit does. Tiles that are free need not be saved with the thread.
        unsafe { asm!("tilerelease", options(nomem, nostack)) };
    }
}

/// # Safety
/// [`permitted`] must have said so.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx512vnni,avx2,fma")]
pub(super) unsafe fn amx<B: Body>(body: B) -> B::Output {
    // SAFETY: as the caller promises.
    let _tiles = unsafe { Tiles::set_up() };
    body.run::<Amx>()
}

/// Sixteen lanes, and a matrix unit. Only made inside [`amx`].
#[derive(Clone, Copy)]
pub(super) struct Amx(Avx512Bf16);

impl Simd for Amx {
    as_in!(Avx512Bf16);

    const UNIT: Option<Unit> = Some(Unit { pairs, quads, transpose: Avx512Bf16::transpose });

    #[inline(always)]
    fn quads(self, b: Self, c: Self) -> Self {
        Amx(self.0.quads(b.0, c.0))
    }

    #[inline(always)]
    fn transpose(tile: &mut [[f32; SIDE]; SIDE]) {
        Avx512Bf16::transpose(tile);
    }

    #[inline(always)]
    fn round(x: &[f32], pairs: &mut [u32]) {
        Avx512Bf16::round(x, pairs);
    }

    #[inline(always)]
    fn round_together(low: &[f32; PANEL], high: &[f32; PANEL]) -> [u32; PANEL] {
        Avx512Bf16::round_together(low, high)
    }
}

/// A product by the instruction of that name. The sums are tiles 0 to 3, two by two; 4 and 5 are the left factor's, below
/// each other, and 6 and 7 the right one's, side by side.
macro_rules! product {
    ($multiply:literal, $operands:expr) => {{
        let Operands { left, left_stride, right, right_stride, steps, stacked, sums, begun } =
            *$operands;
        if steps == 0 {
            return;
        }
        let (left_stride, right_stride) = (left_stride * 4, right_stride * 4);
        // SAFETY: the caller promises the words and the sums, and that the thread's tiles are set up.
        unsafe {
            if stacked == 1 {
                asm!(
                    "test {begun}, {begun}",
                    "jnz 2f",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "jmp 3f",
                    "2:",
                    "tileloadd tmm0, [{sums} + {row}*1]",
                    "tileloadd tmm1, [{sums} + {row}*1 + 64]",
                    "3:",
                    "tileloadd tmm4, [{left} + {left_stride}*1]",
                    "tileloadd tmm6, [{right} + {right_stride}*1]",
                    concat!($multiply, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{right} + {right_stride}*1 + 64]",
                    concat!($multiply, " tmm1, tmm4, tmm7"),
                    "add {left}, 64",
                    "add {right}, {right_step}",
                    "dec {steps}",
                    "jnz 3b",
                    "tilestored [{sums} + {row}*1], tmm0",
                    "tilestored [{sums} + {row}*1 + 64], tmm1",
                    begun = in(reg) u64::from(begun),
                    sums = in(reg) sums,
                    row = in(reg) PANEL * 4,
                    left = inout(reg) left => _,
                    left_stride = in(reg) left_stride,
                    right = inout(reg) right => _,
                    right_stride = in(reg) right_stride,
                    right_step = in(reg) right_stride * SIDE,
                    steps = inout(reg) steps => _,
                    options(nostack),
                );
            } else {
                asm!(
                    "test {below}, {below}",
                    "jnz 2f",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "jmp 3f",
                    "2:",
                    "tileloadd tmm0, [{sums} + {row}*1]",
                    "tileloadd tmm1, [{sums} + {row}*1 + 64]",
                    "tileloadd tmm2, [{sums} + {row}*1 + {half}]",
                    "tileloadd tmm3, [{sums} + {row}*1 + {half} + 64]",
                    "3:",
                    "mov {below}, {left_stride}",
                    "shl {below}, 4",
                    "add {below}, {left}",
                    "4:",
                    "tileloadd tmm4, [{left} + {left_stride}*1]",
                    "tileloadd tmm6, [{right} + {right_stride}*1]",
                    concat!($multiply, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{right} + {right_stride}*1 + 64]",
                    concat!($multiply, " tmm1, tmm4, tmm7"),
                    "tileloadd tmm5, [{below} + {left_stride}*1]",
                    concat!($multiply, " tmm2, tmm5, tmm6"),
                    concat!($multiply, " tmm3, tmm5, tmm7"),
                    "add {left}, 64",
                    "add {below}, 64",
                    "add {right}, {right_step}",
                    "dec {steps}",
                    "jnz 4b",
                    "tilestored [{sums} + {row}*1], tmm0",
                    "tilestored [{sums} + {row}*1 + 64], tmm1",
                    "tilestored [{sums} + {row}*1 + {half}], tmm2",
                    "tilestored [{sums} + {row}*1 + {half} + 64], tmm3",
                    // Whether the sums are begun, then where the lower rows of the left factor are.
                    below = inout(reg) u64::from(begun) => _,
                    sums = in(reg) sums,
                    row = in(reg) PANEL * 4,
                    half = const SIDE * PANEL * 4,
                    left = inout(reg) left => _,
                    left_stride = in(reg) left_stride,
                    right = inout(reg) right => _,
                    right_stride = in(reg) right_stride,
                    right_step = in(reg) right_stride * SIDE,
                    steps = inout(reg) steps => _,
                    options(nostack),
                );
            }
        }
    }};
}

/// # Safety
/// As [`super::tiles::Multiply`] says.
unsafe fn pairs(operands: &Operands) {
    product!("tdpbf16ps", operands);
}

/// # Safety
/// As [`super::tiles::Multiply`] says.
unsafe fn quads(operands: &Operands) {
    product!("tdpbusd", operands);
}
