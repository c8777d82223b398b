//! Rows in int8, and sums of them as numbers again.
//!
//! A row's numbers become bytes from 0 to 255, so that the smallest and the largest of them and zero take up the whole
//! range: one step is their distance over 254, and zero is a byte of its own. Every operation on floats is rounded by
//! itself, none is fused, so that the bits are the same on every processor.

use super::gemm::PANEL;

/// Steps from the smallest number to the largest: one less than there are, since zero is rounded to a step too.
const STEPS: f32 = 254.0;

/// Adding this rounds to the nearest integer, ties to even, and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Rows that reach less far count as zeros: 2^-100, long before the inverse of a step would overflow.
const LEAST: f32 = f32::from_bits((127 - 100) << 23);

/// Words behind a row's bytes: its step, then its byte for zero.
pub(super) const OF_ROW: usize = 2;

/// Words behind the bytes of a panel's column: the output's scale, then the sum of its bytes.
pub(super) const OF_OUTPUT: usize = 2;

/// A number's bits, ordered as integers as the numbers are; the same undoes it.
#[inline(always)]
fn ordered(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
}

/// Puts a row into its words, four bytes each, with its step and its zero behind them.
///
/// A row that holds a NaN or an infinity, or reaches further than a number can, has a step of NaN, and so nothing but NaN
/// as a result.
#[inline(always)]
pub(super) fn quantize(row: &[f32], words: &mut [f32]) {
    let Some((words, [step, zero])) = words.split_last_chunk_mut::<OF_ROW>() else { return };
    // As integers, whose least and largest don't depend on the order; NaN is past the infinities.
    let (mut low, mut high) = (0, 0);
    for x in row {
        let x = ordered(x.to_bits() as i32);
        (low, high) = (low.min(x), high.max(x));
    }
    let [low, high] = [low, high].map(|x| f32::from_bits(ordered(x) as u32));
    let reach = high - low;
    let inverse = if reach >= LEAST && reach.is_finite() {
        *step = reach / STEPS;
        STEPS / reach
    } else {
        *step = if reach.is_finite() { 0.0 } else { f32::NAN };
        0.0
    };
    // Zero's byte is in the low bits of what is added to each number.
    let zeroed = if inverse > 0.0 { -low * inverse + ROUND } else { ROUND };
    *zero = f32::from_bits(zeroed.to_bits().wrapping_sub(ROUND.to_bits()));
    // Past the row's end the weight is zero, so any bytes would do.
    if let Some(last) = words.last_mut() {
        *last = 0.0;
    }
    for (x, byte) in row.iter().zip(bytemuck::cast_slice_mut::<f32, u8>(words)) {
        *byte = (*x * inverse + zeroed).to_bits() as u8;
    }
}

/// Makes numbers of the sums of a tile of rows: `(sum - zero * sum of the output's bytes) * step * scale`. `rows` are the
/// gathered rows from the tile's first on, `depth` words of bytes each; `of_outputs` is the end of the panel.
#[inline(always)]
pub(super) fn finish(
    tile: &mut [f32],
    rows: &[f32],
    stride: usize,
    depth: usize,
    of_outputs: &[f32],
) {
    let [scales, sums] = of_outputs.as_chunks::<PANEL>().0 else { return };
    for (row, tile) in rows.chunks(stride.max(1)).zip(tile.as_chunks_mut::<PANEL>().0) {
        let (step, zero) = (row[depth], row[depth + 1].to_bits());
        for ((x, scale), sum) in tile.iter_mut().zip(scales).zip(sums) {
            let above = x.to_bits().wrapping_sub(zero.wrapping_mul(sum.to_bits())) as i32;
            *x = above as f32 * step * *scale;
        }
    }
}
