//! The matrix tile: a few rows times one panel of 32 columns.
//!
//! All matrix products of the CPU kernels go through [`multiply`]. Each element of the result is one f32 accumulator
//! that starts at zero and takes one fma for each k, ascending. Nothing else about the call can change its bits: not
//! the number of rows, not the instruction set, not which tile computes it. Products of bf16 take one [`Simd::dot`] for
//! each pair of k, which is two fma everywhere but where the processor has an instruction for it.

use super::isa::Simd;

/// Columns of a panel, and of the weights' layout.
pub const PANEL: usize = 32;

/// The most rows that [`multiply`] takes at once, on any instruction set.
pub(crate) const MOST_ROWS: usize = 12;

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
/// If a slice is too short for `rows` and `k`, or `rows` is more than `V::ROWS`.
#[inline(always)]
pub(crate) fn multiply<V: Simd>(
    left: Left<'_>,
    right: &[f32],
    right_stride: usize,
    rows: usize,
    k: usize,
    out: &mut [f32],
) {
    multiply_by::<V, false>(left, right, right_stride, rows, k, out);
}

/// As [`multiply`]; with `DOT` each number stands for a pair of bf16, and each k takes one [`Simd::dot`].
///
/// # Panics
/// As [`multiply`].
#[inline(always)]
pub(crate) fn multiply_by<V: Simd, const DOT: bool>(
    left: Left<'_>,
    right: &[f32],
    right_stride: usize,
    rows: usize,
    k: usize,
    out: &mut [f32],
) {
    assert!(rows <= V::ROWS && out.len() >= rows * PANEL, "the tile fits");
    if rows == 0 {
        return;
    }
    if k == 0 {
        out[..rows * PANEL].fill(0.0);
        return;
    }
    let reach = (k - 1).checked_mul(right_stride).and_then(|n| n.checked_add(PANEL));
    assert!(reach.is_some_and(|n| n <= right.len()), "the right operand holds k rows");
    match left {
        Left::Rows { data, stride } => {
            let reach = (rows - 1).checked_mul(stride).and_then(|n| n.checked_add(k));
            assert!(reach.is_some_and(|n| n <= data.len()), "the left operand holds its rows");
            by_rows::<V, 1, DOT>(data, stride, right, right_stride, rows, k, out);
        }
        Left::Panel(data) => {
            let reach = (k - 1).checked_mul(PANEL).and_then(|n| n.checked_add(rows));
            assert!(reach.is_some_and(|n| n <= data.len()), "the left panel holds k rows");
            by_rows::<V, PANEL, DOT>(data, 1, right, right_stride, rows, k, out);
        }
    }
}

/// Picks the tile of exactly `rows` rows. `KS` is the left operand's step from one k to the next.
#[inline(always)]
fn by_rows<V: Simd, const KS: usize, const DOT: bool>(
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
            1 => tile::<V, KS, DOT, 1>(a, b, c, shape),
            2 => tile::<V, KS, DOT, 2>(a, b, c, shape),
            3 => tile::<V, KS, DOT, 3>(a, b, c, shape),
            4 => tile::<V, KS, DOT, 4>(a, b, c, shape),
            5 if V::ROWS > 4 => tile::<V, KS, DOT, 5>(a, b, c, shape),
            6 if V::ROWS > 4 => tile::<V, KS, DOT, 6>(a, b, c, shape),
            7 if V::ROWS > 6 => tile::<V, KS, DOT, 7>(a, b, c, shape),
            8 if V::ROWS > 6 => tile::<V, KS, DOT, 8>(a, b, c, shape),
            9 if V::ROWS > 6 => tile::<V, KS, DOT, 9>(a, b, c, shape),
            10 if V::ROWS > 6 => tile::<V, KS, DOT, 10>(a, b, c, shape),
            11 if V::ROWS > 6 => tile::<V, KS, DOT, 11>(a, b, c, shape),
            12 if V::ROWS > 6 => tile::<V, KS, DOT, 12>(a, b, c, shape),
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
unsafe fn tile<V: Simd, const KS: usize, const DOT: bool, const R: usize>(
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
                    let left = a.add(r * row_stride + kk * KS);
                    if DOT {
                        *acc = V::dot_row(left, right, *acc);
                    } else {
                        let left = V::splat(*left);
                        *acc = [left.fma(right[0], acc[0]), left.fma(right[1], acc[1])];
                    }
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
