//! Rows laid out as the matrix tile reads them.

use super::super::gemm::PANEL;
use super::super::isa::Simd;
use super::super::isa::tiles::SIDE;
use super::super::matrix::Matrix;

/// Puts up to [`SIDE`] rows side by side into the columns of a panel from `top` on, as pairs of bf16 if `DOT`; missing ones
/// are zero.
#[inline(always)]
pub(super) fn put_rows<V: Simd, const DOT: bool>(x: Matrix<'_>, top: usize, panel: &mut [f32]) {
    let held = if DOT { 2 } else { 1 };
    let (panel, _) = panel.as_chunks_mut::<PANEL>();
    for word in (0..x.width.div_ceil(held)).step_by(SIDE) {
        let mut tile = [[0.0; SIDE]; SIDE];
        for (i, out) in tile.iter_mut().enumerate().take(x.rows) {
            let row = &x.row(i)[word * held..];
            let row = &row[..row.len().min(SIDE * held)];
            if DOT {
                let out = &mut out[..row.len().div_ceil(2)];
                V::round(row, bytemuck::cast_slice_mut(out));
            } else {
                match row.first_chunk() {
                    Some(row) => *out = *row,
                    None => out[..row.len()].copy_from_slice(row),
                }
            }
        }
        V::transpose(&mut tile);
        for (row, tile) in panel[word..].iter_mut().zip(&tile) {
            row[top..][..SIDE].copy_from_slice(tile);
        }
    }
}

/// The values as panels of 32 columns, missing columns zero; two rows as one of pairs of bf16 if `DOT`, a missing last
/// row zero.
#[inline(always)]
pub(super) fn pack_values<V: Simd, const DOT: bool>(v: Matrix<'_>, panels: &mut [f32]) {
    let together = if DOT { 2 } else { 1 };
    let steps = v.rows.div_ceil(together);
    for (p, panel) in panels.chunks_exact_mut((steps * PANEL).max(1)).enumerate() {
        let first = p * PANEL;
        let width = PANEL.min(v.width - first);
        let row = |j: usize| {
            let mut out = [0.0; PANEL];
            if j < v.rows {
                let row = &v.row(j)[first..first + width];
                match row.first_chunk() {
                    Some(row) => out = *row,
                    None => out[..width].copy_from_slice(row),
                }
            }
            out
        };
        for (j, out) in panel.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
            if DOT {
                let pairs = V::round_together(&row(2 * j), &row(2 * j + 1));
                *out = bytemuck::cast(pairs);
            } else {
                *out = row(j);
            }
        }
    }
}

/// Makes pairs of bf16 of two rows each of `[rows][32]`, in place, and gives how many there are. With `odd` the first row
/// stands beside zeros, as does the last where it is left over.
#[inline(always)]
pub(super) fn pair_rows<V: Simd>(rows: &mut [f32], odd: bool) -> usize {
    let (rows, _) = rows.as_chunks_mut::<PANEL>();
    if rows.is_empty() {
        return 0;
    }
    let count = (rows.len() + usize::from(odd)).div_ceil(2);
    let zeros = [0.0; PANEL];
    for pair in 0..count {
        // A pair is never behind the rows that it is made of.
        let low = (2 * pair).checked_sub(usize::from(odd));
        let high = low.map_or(0, |low| low + 1);
        let low = low.map_or(zeros, |low| rows[low]);
        let high = rows.get(high).copied().unwrap_or(zeros);
        rows[pair] = bytemuck::cast(V::round_together(&low, &high));
    }
    count
}
