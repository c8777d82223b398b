//! The matrix tile: a few rows times one panel of 32 columns.
//!
//! All matrix products of the CPU kernels go through [`multiply`]. Each element of the result is one f32 accumulator
//! that starts at zero and takes one fma for each k, ascending. Nothing else about the call can change its bits: not
//! the number of rows, not the instruction set, not which tile computes it. Products of bf16 take one [`Simd::dot`] for
//! each pair of k, which is two fma everywhere but where the processor has an instruction for it. Products of int8 take
//! one [`Simd::quads`] for four k; their sums are integers, which are exact on every processor. Where there is a matrix
//! unit, both go through it instead, 16 words at a time and in the same order for any number of rows.

mod tiles;

use super::isa::Simd;
use super::isa::tiles::{Multiply, Unit};

/// Columns of a panel, and of the weights' layout.
pub const PANEL: usize = 32;

/// The most rows that [`multiply_by`] takes at once, on any instruction set.
pub(crate) const MOST_ROWS: usize = tiles::ROWS;

/// What the words of both factors hold, and how they are multiplied.
pub(crate) trait Words {
    /// How many k lie in a word.
    const HELD: usize;

    /// The matrix unit's product of them, if it has one.
    fn by(unit: Unit) -> Option<Multiply>;

    /// `acc` plus the products of both vectors with the one word at `left`.
    ///
    /// # Safety
    /// `left` must be valid for reads of a word.
    #[expect(unsafe_code, reason = "the matrix tile reads through pointers")]
    unsafe fn add<V: Simd>(left: *const f32, right: [V; 2], acc: [V; 2]) -> [V; 2];
}

/// A number a word.
pub(crate) struct Singles;

/// Two numbers of bf16 a word.
pub(crate) struct Pairs;

/// Four bytes a word, those of the left factor unsigned and those of the right one signed; the result is an i32 in the
/// place of each number.
pub(crate) struct Quads;

impl Words for Singles {
    const HELD: usize = 1;

    #[inline(always)]
    fn by(_: Unit) -> Option<Multiply> {
        None
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "the matrix tile reads through pointers")]
    unsafe fn add<V: Simd>(left: *const f32, right: [V; 2], acc: [V; 2]) -> [V; 2] {
        // SAFETY: as the caller promises.
        let left = V::splat(unsafe { *left });
        [left.fma(right[0], acc[0]), left.fma(right[1], acc[1])]
    }
}

impl Words for Pairs {
    const HELD: usize = 2;

    #[inline(always)]
    fn by(unit: Unit) -> Option<Multiply> {
        Some(unit.pairs)
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "the matrix tile reads through pointers")]
    unsafe fn add<V: Simd>(left: *const f32, right: [V; 2], acc: [V; 2]) -> [V; 2] {
        // SAFETY: as the caller promises.
        unsafe { V::dot_row(left, right, acc) }
    }
}

impl Words for Quads {
    const HELD: usize = 4;

    #[inline(always)]
    fn by(unit: Unit) -> Option<Multiply> {
        Some(unit.quads)
    }

    #[inline(always)]
    #[expect(unsafe_code, reason = "the matrix tile reads through pointers")]
    unsafe fn add<V: Simd>(left: *const f32, right: [V; 2], acc: [V; 2]) -> [V; 2] {
        // SAFETY: as the caller promises.
        unsafe { V::quads_row(left, right, acc) }
    }
}

/// The most rows that [`multiply_by`] takes at once.
#[inline(always)]
pub(crate) fn most_rows<V: Simd, W: Words>() -> usize {
    if V::UNIT.and_then(W::by).is_some() { tiles::ROWS } else { V::ROWS }
}

/// The left operand of [`multiply`].
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Row `r` is `data[r * stride ..][..k]`.
    Rows {
        /// The numbers, from the first row on.
        data: &'a [f32],
        /// From one row to the next.
        stride: usize,
    },
    /// Row `r` is column `r` of a panel: element k is `data[k * PANEL + r]`.
    Panel(&'a [f32]),
}

/// `out[r][c] = sum_k left[r][k] * right[k * stride + c]` for `rows` rows and [`PANEL`] columns.
///
/// # Panics
/// If a slice is too short for `rows` and `k`, or `rows` is more than [`most_rows`].
#[inline(always)]
pub(crate) fn multiply<V: Simd>(
    left: Left<'_>,
    right: &[f32],
    right_stride: usize,
    rows: usize,
    k: usize,
    out: &mut [f32],
) {
    multiply_by::<V, Singles>(left, right, right_stride, rows, k, out);
}

/// As [`multiply`]; each number of both factors is a word of `W`, and k counts words.
///
/// # Panics
/// As [`multiply`].
#[inline(always)]
pub(crate) fn multiply_by<V: Simd, W: Words>(
    left: Left<'_>,
    right: &[f32],
    right_stride: usize,
    rows: usize,
    k: usize,
    out: &mut [f32],
) {
    assert!(rows <= most_rows::<V, W>() && out.len() >= rows * PANEL, "the tile fits");
    if rows == 0 {
        return;
    }
    if k == 0 {
        out[..rows * PANEL].fill(0.0);
        return;
    }
    let reach = (k - 1).checked_mul(right_stride).and_then(|n| n.checked_add(PANEL));
    assert!(reach.is_some_and(|n| n <= right.len()), "the right operand holds k rows");
    if let Some(unit) = V::UNIT
        && let Some(product) = W::by(unit)
    {
        return tiles::multiply(unit, product, left, (right, right_stride), rows, k, out);
    }
    match left {
        Left::Rows { data, stride } => {
            let reach = (rows - 1).checked_mul(stride).and_then(|n| n.checked_add(k));
            assert!(reach.is_some_and(|n| n <= data.len()), "the left operand holds its rows");
            by_rows::<V, W, 1>(data, stride, right, right_stride, rows, k, out);
        }
        Left::Panel(data) => {
            let reach = (k - 1).checked_mul(PANEL).and_then(|n| n.checked_add(rows));
            assert!(reach.is_some_and(|n| n <= data.len()), "the left panel holds k rows");
            by_rows::<V, W, PANEL>(data, 1, right, right_stride, rows, k, out);
        }
    }
}

/// Adds the same numbers to each row of a tile.
///
/// Written with vectors, since compilers may take a plain loop's rows for lanes, and gather and scatter them.
#[inline(always)]
pub(crate) fn add_to_rows<V: Simd>(tile: &mut [f32], addend: &[f32; PANEL]) {
    let one = V::splat(1.0);
    for row in tile.as_chunks_mut::<PANEL>().0 {
        for column in (0..PANEL).step_by(V::LANES) {
            // SAFETY: both hold PANEL numbers, a whole number of vectors.
            #[expect(unsafe_code, reason = "vectors are read and written through pointers")]
            unsafe {
                let x = row.as_mut_ptr().add(column);
                // Times one is exact.
                V::load(x).fma(one, V::load(addend.as_ptr().add(column))).store(x);
            }
        }
    }
}

/// Picks the tile of exactly `rows` rows. `KS` is the left operand's step from one k to the next.
#[inline(always)]
fn by_rows<V: Simd, W: Words, const KS: usize>(
    left: &[f32],
    row_stride: usize,
    right: &[f32],
    right_stride: usize,
    rows: usize,
    k: usize,
    out: &mut [f32],
) {
    let shape = Shape { row_stride, right_stride, k };
    let (a, b, c) = (left.as_ptr(), right.as_ptr(), out.as_mut_ptr());
    // SAFETY: `multiply` checked that every element which the tile reads or writes lies in the three slices, and that
    // `rows` is at most `V::ROWS`; each tile below has `rows` rows.
    #[expect(unsafe_code, reason = "the tile works on pointers; `multiply` has checked the slices")]
    unsafe {
        match rows {
            1 => tile::<V, W, KS, 1>(a, b, c, shape),
            2 => tile::<V, W, KS, 2>(a, b, c, shape),
            3 => tile::<V, W, KS, 3>(a, b, c, shape),
            4 => tile::<V, W, KS, 4>(a, b, c, shape),
            5 if V::ROWS > 4 => tile::<V, W, KS, 5>(a, b, c, shape),
            6 if V::ROWS > 4 => tile::<V, W, KS, 6>(a, b, c, shape),
            7 if V::ROWS > 6 => tile::<V, W, KS, 7>(a, b, c, shape),
            8 if V::ROWS > 6 => tile::<V, W, KS, 8>(a, b, c, shape),
            9 if V::ROWS > 6 => tile::<V, W, KS, 9>(a, b, c, shape),
            10 if V::ROWS > 6 => tile::<V, W, KS, 10>(a, b, c, shape),
            11 if V::ROWS > 6 => tile::<V, W, KS, 11>(a, b, c, shape),
            12 if V::ROWS > 6 => tile::<V, W, KS, 12>(a, b, c, shape),
            _ => unreachable!("`multiply` takes at most V::ROWS rows"),
        }
    }
}

/// Strides and depth of a tile.
#[derive(Clone, Copy)]
struct Shape {
    row_stride: usize,
    right_stride: usize,
    k: usize,
}

/// `R` rows by [`PANEL`] columns, two vectors of columns at a time, accumulators in registers.
///
/// # Safety
/// `a[r * row_stride + k * KS]` must be readable for all `r < R` and k, `b[k * right_stride ..][..PANEL]` readable for
/// all k, and `c[..R * PANEL]` writable.
#[inline(always)]
#[expect(unsafe_code, reason = "bounds checks here would cost more than the arithmetic")]
unsafe fn tile<V: Simd, W: Words, const KS: usize, const R: usize>(
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    shape: Shape,
) {
    let Shape { row_stride, right_stride, k } = shape;
    let mut column = 0;
    while column < PANEL {
        let mut acc = [[V::zero(); 2]; R];
        for kk in 0..k {
            // SAFETY: `column + 2 * LANES <= PANEL` since both are powers of two, and the rest is the caller's promise.
            unsafe {
                let row = b.add(kk * right_stride + column);
                let right = [V::load(row), V::load(row.add(V::LANES))];
                for (r, acc) in acc.iter_mut().enumerate() {
                    *acc = W::add::<V>(a.add(r * row_stride + kk * KS), right, *acc);
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            // SAFETY: as above; row r of the result has PANEL columns.
            unsafe {
                acc[0].store(c.add(r * PANEL + column));
                acc[1].store(c.add(r * PANEL + column + V::LANES));
            }
        }
        column += 2 * V::LANES;
    }
}
