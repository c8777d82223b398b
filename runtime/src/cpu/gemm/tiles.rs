//! The matrix tile by way of a matrix unit, which multiplies whole tiles of words only.
//!
//! Both factors are read where they lie as far as whole tiles of them do; what is left is copied beside zeros. How a
//! product is cut depends on its depth alone, so a row's bits do not depend on how many there are.

use super::super::isa::tiles::{Multiply, Operands, SIDE, STACKED, Unit};
use super::{Left, PANEL};

/// The most rows of a product.
pub(crate) const ROWS: usize = STACKED * SIDE;

/// Words of a row that are copied at once.
const COPIED: usize = 4 * SIDE;

/// As [`super::multiply_by`], which has checked that the factors hold `rows` rows and `k` words.
pub(super) fn multiply(
    unit: Unit,
    product: Multiply,
    left: Left<'_>,
    right: (&[f32], usize),
    rows: usize,
    k: usize,
    out: &mut [f32],
) {
    if rows.is_multiple_of(SIDE) {
        whole_tiles(unit, product, left, right, rows, k, out);
    } else {
        let mut tiles = [0.0; ROWS * PANEL];
        whole_tiles(unit, product, left, right, rows, k, &mut tiles);
        out[..rows * PANEL].copy_from_slice(&tiles[..rows * PANEL]);
    }
}

/// As [`multiply`], where `sums` has room for whole tiles of rows.
fn whole_tiles(
    unit: Unit,
    product: Multiply,
    left: Left<'_>,
    (right, right_stride): (&[f32], usize),
    rows: usize,
    k: usize,
    sums: &mut [f32],
) {
    let stacked = rows.div_ceil(SIDE);
    let tall = stacked * SIDE;
    assert!(sums.len() >= tall * PANEL && stacked <= STACKED, "the sums hold the tiles");
    let sums = sums.as_mut_ptr();
    let mut begun = false;
    let mut run = |left: &[f32], left_stride: usize, right: &[f32], right_stride, steps: usize| {
        if steps == 0 {
            return;
        }
        assert!(reaches(left, left_stride, tall, steps * SIDE), "the left factor has the tiles");
        assert!(reaches(right, right_stride, steps * SIDE, PANEL), "the right one has them too");
        let (left, right) = (left.as_ptr(), right.as_ptr());
        let operands =
            Operands { left, left_stride, right, right_stride, steps, stacked, sums, begun };
        // SAFETY: all words and sums were just checked to lie in the slices; a unit is named by no type but that of code
        // which runs where the thread is set up for it.
        #[expect(unsafe_code, reason = "the unit works on pointers; the slices are checked")]
        unsafe {
            product(&operands);
        }
        begun = true;
    };
    let steps = k / SIDE;
    let mut done = 0;
    if let Left::Rows { data, stride } = left
        && reaches(data, stride, tall, steps * SIDE)
    {
        run(data, stride, right, right_stride, steps);
        done = steps;
    }
    if done * SIDE == k {
        return;
    }
    let mut copy = [0.0; ROWS * COPIED];
    while done < steps {
        let words = done * SIDE..(steps * SIDE).min(done * SIDE + COPIED);
        let count = words.len() / SIDE;
        gather(unit, left, rows, words.clone(), &mut copy);
        run(&copy, COPIED, &right[words.start * right_stride..], right_stride, count);
        done += count;
    }
    if steps * SIDE < k {
        gather(unit, left, rows, steps * SIDE..k, &mut copy);
        let mut last = [0.0; SIDE * PANEL];
        let rest = right[steps * SIDE * right_stride..].chunks(right_stride.max(1));
        for (out, row) in last.as_chunks_mut::<PANEL>().0.iter_mut().zip(rest).take(k % SIDE) {
            out.copy_from_slice(&row[..PANEL]);
        }
        run(&copy, COPIED, &last, PANEL, 1);
    }
}

/// Whether `rows` rows of `width` words, `stride` apart, lie in the slice.
fn reaches(data: &[f32], stride: usize, rows: usize, width: usize) -> bool {
    let reach = rows.saturating_sub(1).checked_mul(stride).and_then(|n| n.checked_add(width));
    reach.is_some_and(|n| n <= data.len())
}

/// Copies some words of all rows, and zeros up to whole tiles of words; what missing rows hold does not matter.
fn gather(
    unit: Unit,
    left: Left<'_>,
    rows: usize,
    words: std::ops::Range<usize>,
    copy: &mut [f32; ROWS * COPIED],
) {
    let width = words.len().next_multiple_of(SIDE);
    match left {
        Left::Rows { data, stride } => {
            for (r, out) in copy.chunks_exact_mut(COPIED).take(rows).enumerate() {
                out[..words.len()].copy_from_slice(&data[r * stride..][words.clone()]);
                out[words.len()..width].fill(0.0);
            }
        }
        Left::Panel(data) => {
            for top in (0..rows).step_by(SIDE) {
                for first in (0..width).step_by(SIDE) {
                    let mut tile = [[0.0; SIDE]; SIDE];
                    for (word, out) in words.clone().skip(first).zip(&mut tile) {
                        let row = &data[word * PANEL + top..];
                        match row.first_chunk() {
                            Some(row) => *out = *row,
                            None => out[..row.len()].copy_from_slice(row),
                        }
                    }
                    (unit.transpose)(&mut tile);
                    for (r, row) in tile.iter().enumerate() {
                        copy[(top + r) * COPIED + first..][..SIDE].copy_from_slice(row);
                    }
                }
            }
        }
    }
}
