//! Generated elementwise chains, interpreted a strip of columns at a time.

use bytec_plan::kernel::{Broadcast, Instr};

use super::args::{Args, Operands, Scratch, TASK};
use super::isa::{Body, Simd};
use super::math;
use super::threads::{Block, Cut};

/// Columns of a strip. All values of a chain, each a strip long, stay in the caches.
const STRIP: usize = 256;

/// The numbers of scratch that a chain needs.
pub(super) fn scratch(body: &[Instr]) -> Option<usize> {
    body.len().checked_mul(STRIP)
}

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, broadcasts: &[Broadcast], body: &[Instr]) {
    let operands = args.operands();
    let offsets = args.batch.offsets(args.out_rows);
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |scratch, block| {
        // Only a value that differs by sample, or by place in it, asks which sample a row is of.
        let mut sample = offsets.sample(block.rows.start);
        for row in block.rows.clone() {
            while row >= offsets.range(sample).end {
                sample += 1;
            }
            let place = row - offsets.range(sample).start;
            args.isa.run(Row { operands, broadcasts, body, scratch, block, row, sample, place });
        }
    });
}

struct Row<'a, 'b> {
    operands: Operands<'a>,
    broadcasts: &'a [Broadcast],
    body: &'a [Instr],
    scratch: &'a mut Scratch,
    block: &'a mut Block<'b>,
    row: usize,
    sample: usize,
    place: usize,
}

impl Body for Row<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Row { operands, broadcasts, body, scratch, block, row, sample, place } = self;
        let out = block.row(row);
        let width = out.len();
        for (strip, out) in out.chunks_mut(STRIP).enumerate() {
            let (first, count) = (strip * STRIP, out.len());
            for (at, instr) in body.iter().enumerate() {
                let (earlier, rest) = scratch.numbers().split_at_mut(at * STRIP);
                let value = &mut rest[..count];
                let earlier = |index: u32| &earlier[index as usize * STRIP..][..count];
                match instr {
                    Instr::Operand(operand) => {
                        let operand = *operand as usize;
                        let strip = first..first + count;
                        match broadcasts[operand] {
                            Broadcast::Full => {
                                let x = operands.matrix(operand).row(row);
                                value.copy_from_slice(&x[strip]);
                            }
                            Broadcast::Sample => {
                                let x = operands.matrix(operand).row(sample);
                                value.copy_from_slice(&x[strip]);
                            }
                            Broadcast::Place => {
                                let x = &operands.weight(operand)[place * width..][..width];
                                value.copy_from_slice(&x[strip]);
                            }
                            Broadcast::Row => {
                                let x = operands.weight(operand);
                                value.copy_from_slice(&x[strip]);
                            }
                            Broadcast::Scalar => value.fill(operands.weight(operand)[0]),
                        }
                    }
                    Instr::Const(bits) => value.fill(f32::from_bits(*bits)),
                    Instr::Unary(function, x) => {
                        value.copy_from_slice(earlier(*x));
                        math::unary(*function, value);
                    }
                    Instr::Binary(function, x, y) => {
                        value.copy_from_slice(earlier(*x));
                        math::binary(*function, value, earlier(*y));
                    }
                }
            }
            let last = (body.len() - 1) * STRIP;
            out.copy_from_slice(&scratch.numbers()[last..last + count]);
        }
    }
}
