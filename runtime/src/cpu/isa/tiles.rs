//! Matrix units: processors' instructions that multiply tiles of words, and the same in plain code.

#![expect(unsafe_code, reason = "tiles are read and written through pointers")]

use super::super::gemm::PANEL;
use super::{Portable, Simd, as_in};

/// Rows of a tile, and words of each of its rows.
pub(crate) const SIDE: usize = 16;

/// Tiles of the left factor, and of the sums below each other, that one product takes at most.
pub(crate) const STACKED: usize = 2;

/// What a product of tiles reads and writes: `sums[r][c] += sum_k left[r][k] * right[k][c]` for `stacked * SIDE` rows,
/// `steps * SIDE` words and [`PANEL`] columns.
pub(crate) struct Operands {
    /// The first word of the left factor, and how many lie between the first words of two rows.
    pub(crate) left: *const f32,
    pub(crate) left_stride: usize,
    /// The first word of the right factor, and how many lie between the first words of two rows.
    pub(crate) right: *const f32,
    pub(crate) right_stride: usize,
    pub(crate) steps: usize,
    /// One, or [`STACKED`].
    pub(crate) stacked: usize,
    /// `[stacked * SIDE][PANEL]`
    pub(crate) sums: *mut f32,
    /// Whether the sums hold numbers already; else they begin at zero.
    pub(crate) begun: bool,
}

/// A product of tiles.
///
/// # Safety
/// All words that [`Operands`] names must be readable, all sums writable, and the thread set up for the unit.
pub(crate) type Multiply = unsafe fn(&Operands);

/// What a matrix unit multiplies.
#[derive(Clone, Copy)]
pub(crate) struct Unit {
    /// Words of two bf16: the products of the first ones of all pairs of a step are summed, and those of the second
    /// ones, and the sum of both is added. Subnormal numbers count as zero.
    pub(crate) pairs: Multiply,
    /// Words of four bytes, those of the left factor unsigned and those of the right one signed, added modulo 2^32.
    pub(crate) quads: Multiply,
    /// Rows for columns.
    pub(crate) transpose: fn(&mut [[f32; SIDE]; SIDE]),
}

/// The vector of a processor whose matrix unit is this file's plain code: what a unit's layouts and bits are held to on
/// machines that have none.
#[derive(Clone, Copy)]
pub(crate) struct Emulated(Portable);

impl Simd for Emulated {
    as_in!(Portable);

    const UNIT: Option<Unit> = Some(Unit {
        pairs: product::<Bf16>,
        quads: product::<Bytes>,
        transpose: Portable::transpose,
    });

    #[inline(always)]
    fn quads(self, b: Self, c: Self) -> Self {
        Emulated(self.0.quads(b.0, c.0))
    }
}

/// How the words of one step are multiplied.
trait Step {
    /// `sum` plus the products of one row's words with one column's.
    fn add(sum: f32, row: &[u32; SIDE], column: &[u32; SIDE]) -> f32;
}

struct Bf16;
struct Bytes;

impl Step for Bf16 {
    fn add(sum: f32, row: &[u32; SIDE], column: &[u32; SIDE]) -> f32 {
        let mut halves = [0.0; 2];
        for (a, b) in row.iter().zip(column) {
            for (sum, half) in halves.iter_mut().zip([|x| x << 16, |x| x & 0xffff_0000]) {
                let [a, b] = [*a, *b].map(|x| flushed(f32::from_bits(half(x))));
                // The product of two bf16 is exact, but for one out of range.
                *sum = flushed(a * b + *sum);
            }
        }
        flushed(flushed(sum) + flushed(halves[0] + halves[1]))
    }
}

impl Step for Bytes {
    fn add(sum: f32, row: &[u32; SIDE], column: &[u32; SIDE]) -> f32 {
        let words = row.iter().zip(column);
        let sum = words.fold(sum.to_bits() as i32, |sum, (a, b)| {
            let bytes = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
            bytes.fold(sum, |sum, (a, b)| sum.wrapping_add(i32::from(a) * i32::from(b as i8)))
        });
        f32::from_bits(sum as u32)
    }
}

/// A number, with a subnormal one taken for zero.
fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

/// # Safety
/// As [`Multiply`] says.
unsafe fn product<S: Step>(o: &Operands) {
    for row in 0..o.stacked * SIDE {
        for column in 0..PANEL {
            // SAFETY: the sums are `[stacked * SIDE][PANEL]`.
            let at = unsafe { o.sums.add(row * PANEL + column) };
            // SAFETY: as above.
            let mut sum = if o.begun { unsafe { at.read() } } else { 0.0 };
            for step in 0..o.steps {
                let words = |i: usize| step * SIDE + i;
                // SAFETY: the caller promises the words of all rows and steps.
                let left = std::array::from_fn(|i| unsafe {
                    o.left.add(row * o.left_stride + words(i)).read().to_bits()
                });
                // SAFETY: as above.
                let right = std::array::from_fn(|i| unsafe {
                    o.right.add(words(i) * o.right_stride + column).read().to_bits()
                });
                sum = S::add(sum, &left, &right);
            }
            // SAFETY: as above.
            unsafe { at.write(sum) };
        }
    }
}
