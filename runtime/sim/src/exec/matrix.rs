//! `ldmatrix`, `movmatrix` and `mma`.
//!
//! An `mma` adds its products one k after the other to the f32 accumulator, each addition rounded to
//! nearest. Products of f16, bf16 and tf32 are exact in f32. A tensor core adds several products
//! at once, with its own alignment and truncation, which no document gives; results agree within the
//! usual bounds of f32 sums, not bit for bit.

use super::Cta;
use super::access::{Reach, Step, Target, address};
use super::warp::Warp;
use crate::fault::AccessKind;
use crate::inst::{Address, Col, Mma, Space, Ty};
use crate::memory::banks;
use crate::num::half;

impl Cta<'_> {
    pub(super) fn ldmatrix<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        d: &[Col],
        transposed: bool,
        from: Address,
    ) -> Step<()> {
        let mut results = [[0u32; 32]; 4];
        let mut taints = [[0u32; 32]; 4];
        self.profile.shared_reads.requests += 1;
        self.profile.shared_reads.bytes += 128 * d.len() as u64;
        for (matrix, result) in results.iter_mut().take(d.len()).enumerate() {
            let mut rows = [[0u32; 4]; 8];
            let mut row_taints = [[0u32; 4]; 8];
            let mut offsets = [0u64; 32];
            for row in 0..8 {
                let lane = matrix * 8 + row;
                let reach = Reach { lane, access: AccessKind::Read, bytes: 16, align: 16 };
                let target = self.resolve(Space::Shared, address(warp, from, lane), reach, 0)?;
                if CHECK {
                    self.check(warp.index, target, reach)?;
                }
                let Target::Shared(offset) = target else { continue };
                offsets[row] = offset;
                let span = offset as usize..offset as usize + 16;
                rows[row] = words(&self.shared.data[span.clone()]);
                if CHECK && self.launch.tracked {
                    row_taints[row] = words(&self.shared.taint[span]);
                }
            }
            self.profile.extra_wavefronts += banks::extra(&offsets, 0xff, 16);
            *result = distribute(&rows, transposed);
            taints[matrix] = distribute(&row_taints, transposed);
        }
        for (matrix, col) in d.iter().enumerate() {
            warp.narrow[*col as usize] = results[matrix];
            if CHECK && self.launch.tracked {
                warp.narrow_taint[*col as usize] = taints[matrix];
            }
        }
        Ok(())
    }

    pub(super) fn mma(&mut self, warp: &mut Warp, mma: &Mma) {
        self.profile.tensor_ops += 2 * 16 * 8 * u64::from(mma.k);
        let k = mma.k as usize;
        let mut a = [[0f32; 16]; 16];
        let mut b = [[0f32; 8]; 16];
        let mut d = [[0f32; 8]; 16];
        if mma.ty == Ty::Tf32 {
            spread_tf32(warp, mma, &mut a, &mut b);
        } else if mma.ty == Ty::F16 {
            spread_half(warp, mma, &mut a, &mut b, half::f16_to_f32);
        } else {
            spread_half(warp, mma, &mut a, &mut b, half::bf16_to_f32);
        }
        for lane in 0..32 {
            let (row, col) = (lane / 4, lane % 4 * 2);
            for (at, c) in mma.c.iter().enumerate() {
                d[row + at / 2 * 8][col + at % 2] = f32::from_bits(warp.narrow[*c as usize][lane]);
            }
        }
        for (sums, factors) in d.iter_mut().zip(&a) {
            let mut row = *sums;
            for (factor, b) in factors[..k].iter().zip(&b) {
                for (sum, b) in row.iter_mut().zip(b) {
                    *sum += factor * b;
                }
            }
            *sums = row;
        }
        for lane in 0..32 {
            let (row, col) = (lane / 4, lane % 4 * 2);
            for (at, target) in mma.d.iter().enumerate() {
                let sum = d[row + at / 2 * 8][col + at % 2];
                let bits = if sum.is_nan() { crate::num::round::NAN32 } else { sum.to_bits() };
                warp.narrow[*target as usize][lane] = bits;
            }
        }
    }
}

/// The four words of a row of 16 bytes.
fn words(bytes: &[u8]) -> [u32; 4] {
    std::array::from_fn(|at| {
        let at = at * 4;
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    })
}

/// An 8x8 matrix of 16-bit elements over 32 lanes, two neighbours of a row (or column) a lane.
fn distribute(rows: &[[u32; 4]; 8], transposed: bool) -> [u32; 32] {
    std::array::from_fn(|lane| {
        if !transposed {
            return rows[lane / 4][lane % 4];
        }
        let element = |row: usize, col: usize| rows[row][col / 2] >> (col % 2 * 16) & 0xffff;
        let (row, col) = (lane % 4 * 2, lane / 4);
        element(row, col) | element(row + 1, col) << 16
    })
}

/// `movmatrix.trans`: the transposed matrix, in the layout of `ldmatrix`.
pub(super) fn transpose(column: &[u32; 32]) -> [u32; 32] {
    let rows = std::array::from_fn(|row| std::array::from_fn(|at| column[row * 4 + at]));
    distribute(&rows, true)
}

/// Fragments of 16-bit elements: a register holds two neighbours in k.
fn spread_half(
    warp: &Warp,
    mma: &Mma,
    a: &mut [[f32; 16]; 16],
    b: &mut [[f32; 8]; 16],
    widen: impl Fn(u32) -> f32,
) {
    for (at, col) in mma.a.iter().enumerate() {
        let column = &warp.narrow[*col as usize];
        // Whole columns first: that part runs on vectors.
        let low: [f32; 32] = std::array::from_fn(|lane| widen(column[lane] & 0xffff));
        let high: [f32; 32] = std::array::from_fn(|lane| widen(column[lane] >> 16));
        for (row, factors) in a[at % 2 * 8..][..8].iter_mut().enumerate() {
            for (pair, factors) in factors[at / 2 * 8..][..8].chunks_exact_mut(2).enumerate() {
                factors[0] = low[row * 4 + pair];
                factors[1] = high[row * 4 + pair];
            }
        }
    }
    for (at, col) in mma.b.iter().enumerate() {
        let column = &warp.narrow[*col as usize];
        let low: [f32; 32] = std::array::from_fn(|lane| widen(column[lane] & 0xffff));
        let high: [f32; 32] = std::array::from_fn(|lane| widen(column[lane] >> 16));
        for (pair, factors) in b[at * 8..][..8].chunks_exact_mut(2).enumerate() {
            for col in 0..8 {
                factors[0][col] = low[col * 4 + pair];
                factors[1][col] = high[col * 4 + pair];
            }
        }
    }
}

/// Fragments of tf32: one element a register, of which the low 13 bits don't count.
fn spread_tf32(warp: &Warp, mma: &Mma, a: &mut [[f32; 16]; 16], b: &mut [[f32; 8]; 16]) {
    let value = |bits: u32| f32::from_bits(bits & !0x1fff);
    for (at, col) in mma.a.iter().enumerate() {
        for (lane, bits) in warp.narrow[*col as usize].iter().enumerate() {
            a[lane / 4 + at % 2 * 8][lane % 4 + at / 2 * 4] = value(*bits);
        }
    }
    for (at, col) in mma.b.iter().enumerate() {
        for (lane, bits) in warp.narrow[*col as usize].iter().enumerate() {
            b[lane % 4 + at * 4][lane / 4] = value(*bits);
        }
    }
}

/// Which results of an `mma` depend on marked ranges: those with a marked factor in their row of
/// A or their column of B, or a marked accumulator.
pub(super) fn mma_taint(warp: &mut Warp, mma: &Mma) {
    let mut rows = [false; 16];
    let mut cols = [false; 8];
    for (at, col) in mma.a.iter().enumerate() {
        for (lane, bits) in warp.narrow_taint[*col as usize].iter().enumerate() {
            rows[lane / 4 + at % 2 * 8] |= *bits != 0;
        }
    }
    for col in &mma.b {
        for (lane, bits) in warp.narrow_taint[*col as usize].iter().enumerate() {
            cols[lane / 4] |= *bits != 0;
        }
    }
    let mut results = [[0u32; 32]; 4];
    for (at, result) in results.iter_mut().enumerate() {
        let before = &warp.narrow_taint[mma.c[at] as usize];
        for (lane, bits) in result.iter_mut().enumerate() {
            let (row, col) = (lane / 4 + at / 2 * 8, lane % 4 * 2 + at % 2);
            *bits = if rows[row] || cols[col] || before[lane] != 0 { u32::MAX } else { 0 };
        }
    }
    for (col, result) in mma.d.iter().zip(results) {
        warp.narrow_taint[*col as usize] = result;
    }
}
