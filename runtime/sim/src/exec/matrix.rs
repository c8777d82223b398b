//! `ldmatrix`, `stmatrix`, `movmatrix` and `mma`.
//!
//! An `mma` adds its products one k after the other to the f32 accumulator, each addition rounded to
//! nearest. Products of f16, bf16 and tf32 are exact in f32. A tensor core adds several products
//! at once, with its own alignment and truncation, which no document gives; results agree within the
//! usual bounds of f32 sums, not bit for bit.

use bytec_runtime::cpu::isa::Compiled;

use super::Cluster;
use super::access::{Reach, Step, address};
use super::warp::{Warp, lanes};
use crate::fault::AccessKind;
use crate::inst::{Address, Col, Mma, Space, Ty};
use crate::memory::banks;
use crate::num::{f32ops, half};

impl Cluster<'_> {
    pub(super) fn ldmatrix<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        d: &[Col],
        transposed: bool,
        from: Address,
    ) -> Step<()> {
        // Eight lanes a matrix give the addresses of its rows.
        let used = u32::MAX >> (32 - 8 * d.len());
        let offsets = match self.bulk(warp, used, Space::Shared, from, 16) {
            Some(bulk) => {
                if CHECK {
                    self.check_bulk(warp.index, &bulk, 16)?;
                }
                bulk.offsets
            }
            None => self.row_offsets::<CHECK>(warp, used, from)?,
        };
        self.profile.shared_reads.requests += 1;
        self.profile.shared_reads.bytes += 128 * d.len() as u64;
        self.profile.extra_wavefronts += banks::extra(&offsets, used, 16);
        for (rows, col) in offsets.chunks_exact(8).zip(d) {
            let shared = &self.blocks[self.block].shared;
            warp.narrow[*col as usize] = matrix(&shared.data, rows, transposed);
            if CHECK && self.launch.tracked {
                warp.narrow_taint[*col as usize] = matrix(&shared.taint, rows, transposed);
            }
        }
        Ok(())
    }

    pub(super) fn stmatrix<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        from: &[Col],
        transposed: bool,
        to: Address,
    ) -> Step<()> {
        let used = u32::MAX >> (32 - 8 * from.len());
        let mut offsets = [0; 32];
        for lane in lanes(used) {
            let reach = Reach { lane, access: AccessKind::Write, bytes: 16, align: 16 };
            let target = self.resolve(Space::Shared, address(warp, to, lane), reach, 0)?;
            if CHECK {
                self.check(warp.index, target, reach)?;
            }
            offsets[lane] = target.offset();
        }
        self.profile.shared_writes.requests += 1;
        self.profile.shared_writes.bytes += 128 * from.len() as u64;
        self.profile.extra_wavefronts += banks::extra(&offsets, used, 16);
        let shared = &mut self.blocks[self.block].shared;
        let turned = |words: &[u32; 32]| if transposed { transpose(words) } else { *words };
        for (rows, col) in offsets.chunks_exact(8).zip(from) {
            scatter(&mut shared.data, rows, &turned(&warp.narrow[*col as usize]));
            rows.iter().for_each(|row| shared.set_written(*row, 16));
            if CHECK && self.launch.tracked {
                scatter(&mut shared.taint, rows, &turned(&warp.narrow_taint[*col as usize]));
            }
        }
        Ok(())
    }

    /// Where the rows of matrices lie, lane by lane up to the first fault.
    fn row_offsets<const CHECK: bool>(
        &mut self,
        warp: &Warp,
        used: u32,
        from: Address,
    ) -> Step<[u64; 32]> {
        let mut offsets = [0; 32];
        for lane in lanes(used) {
            let reach = Reach { lane, access: AccessKind::Read, bytes: 16, align: 16 };
            let target = self.resolve(Space::Shared, address(warp, from, lane), reach, 0)?;
            if CHECK {
                self.check(warp.index, target, reach)?;
            }
            offsets[lane] = target.offset();
        }
        Ok(offsets)
    }

    pub(super) fn mma(&mut self, warp: &mut Warp, mma: &Mma) {
        self.profile.tensor_ops += 2 * 16 * 8 * u64::from(mma.k);
        let columns = &mut warp.narrow[..];
        match mma.ty {
            Ty::Tf32 => {
                // The low 13 bits don't count.
                let elements = |bits: u32| [f32::from_bits(bits & !0x1fff)];
                warp.isa.compiled(Product { columns, mma, elements });
            }
            Ty::F16 => {
                let elements =
                    |bits: u32| [half::f16_to_f32(bits & 0xffff), half::f16_to_f32(bits >> 16)];
                warp.isa.compiled(Product { columns, mma, elements });
            }
            _ => {
                let elements =
                    |bits: u32| [half::bf16_to_f32(bits & 0xffff), half::bf16_to_f32(bits >> 16)];
                warp.isa.compiled(Product { columns, mma, elements });
            }
        }
    }
}

/// An `mma`, compiled for every instruction set. A register of a factor holds `PER` neighbours in k.
struct Product<'a, F, const PER: usize> {
    columns: &'a mut [[u32; 32]],
    mma: &'a Mma,
    elements: F,
}

impl<const PER: usize, F: Fn(u32) -> [f32; PER]> Compiled for Product<'_, F, PER> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Mma { k, d, a, b, c, .. } = self.mma;
        // Both factors by k, and the sums by column: one vector of rows for each.
        let mut left = [[0f32; 16]; 16];
        let mut right = [[0f32; 8]; 16];
        let mut sums = [[0f32; 16]; 8];
        for (i, col) in a.iter().enumerate() {
            let bits = turned(&self.columns[*col as usize]);
            for pair in 0..4 {
                for at in 0..PER {
                    let rows = &mut left[(i / 2 * 4 + pair) * PER + at];
                    for row in 0..8 {
                        rows[i % 2 * 8 + row] = (self.elements)(bits[pair][row])[at];
                    }
                }
            }
        }
        for (i, col) in b.iter().enumerate() {
            let bits = turned(&self.columns[*col as usize]);
            for pair in 0..4 {
                for at in 0..PER {
                    for row in 0..8 {
                        right[(i * 4 + pair) * PER + at][row] =
                            (self.elements)(bits[pair][row])[at];
                    }
                }
            }
        }
        for (i, col) in c.iter().enumerate() {
            let bits = turned(&self.columns[*col as usize]);
            for pair in 0..4 {
                for row in 0..8 {
                    sums[2 * pair + i % 2][i / 2 * 8 + row] = f32::from_bits(bits[pair][row]);
                }
            }
        }
        // Four columns at a time, so that their sums stay in the vector registers.
        for (first, sums) in sums.chunks_exact_mut(4).enumerate() {
            let mut own = [[0f32; 16]; 4];
            own.copy_from_slice(sums);
            for (rows, columns) in left[..*k as usize].iter().zip(&right) {
                for column in 0..4 {
                    let factor = columns[first * 4 + column];
                    for row in 0..16 {
                        own[column][row] += rows[row] * factor;
                    }
                }
            }
            sums.copy_from_slice(&own);
        }
        for (i, col) in d.iter().enumerate() {
            let column = &mut self.columns[*col as usize];
            for row in 0..8 {
                for pair in 0..4 {
                    column[row * 4 + pair] =
                        f32ops::canonical(sums[2 * pair + i % 2][i / 2 * 8 + row]);
                }
            }
        }
    }
}

/// A fragment's registers, in which lane 4 i + j holds place (i, j), by j.
#[inline(always)]
fn turned(column: &[u32; 32]) -> [[u32; 8]; 4] {
    let mut turned = [[0; 8]; 4];
    for row in 0..8 {
        for pair in 0..4 {
            turned[pair][row] = column[row * 4 + pair];
        }
    }
    turned
}

/// An 8x8 matrix of 16-bit elements over 32 lanes, two neighbours of a row (or column) a lane.
fn matrix(bytes: &[u8], rows: &[u64], transposed: bool) -> [u32; 32] {
    let mut words = [0; 32];
    for (row, offset) in words.chunks_exact_mut(4).zip(rows) {
        let bytes = &bytes[*offset as usize..][..16];
        for (word, bytes) in row.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
    }
    if transposed { transpose(&words) } else { words }
}

/// The opposite of [`matrix`].
fn scatter(bytes: &mut [u8], rows: &[u64], words: &[u32; 32]) {
    for (row, offset) in words.chunks_exact(4).zip(rows) {
        let bytes = &mut bytes[*offset as usize..][..16];
        for (word, bytes) in row.iter().zip(bytes.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// `movmatrix.trans`: the transposed matrix, in the layout of `ldmatrix`.
pub(super) fn transpose(column: &[u32; 32]) -> [u32; 32] {
    let mut turned = [0; 32];
    // Lane 4 i + j has two neighbours: rows 2 j and 2 j + 1 of column i.
    for i in 0..8 {
        for j in 0..4 {
            let half = |row: usize| column[row * 4 + i / 2] >> (i % 2 * 16) & 0xffff;
            turned[i * 4 + j] = half(2 * j) | half(2 * j + 1) << 16;
        }
    }
    turned
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
