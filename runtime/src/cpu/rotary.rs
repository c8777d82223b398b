//! Heads turned by the position of their row.

use bytec_plan::attention::{Pairs, Rotary};

use super::args::{Args, Operands, TASK};
use super::isa::{Body, Simd};
use super::matrix::Matrix;
use super::threads::{Block, Cut};

/// A rotation and its table.
#[derive(Clone, Copy)]
pub(super) struct Turns<'a> {
    pairs: Pairs,
    dims: usize,
    /// For each position the cosines, then the sines.
    table: &'a [f32],
}

impl<'a> Turns<'a> {
    /// The rotation whose table is this operand.
    pub(super) fn new(rotary: Rotary, operands: &Operands<'a>, operand: usize) -> Turns<'a> {
        let table = operands.weight(operand);
        Turns { pairs: rotary.pairs, dims: rotary.dims as usize, table }
    }

    /// One head of the row at `position`, turned.
    #[inline(always)]
    pub(super) fn turn(&self, x: &[f32], position: usize, out: &mut [f32]) {
        let half = self.dims / 2;
        let (cos, sin) = self.table[position * self.dims..][..self.dims].split_at(half);
        let (x, rest) = x.split_at(self.dims);
        let (turned, out_rest) = out.split_at_mut(self.dims);
        out_rest.copy_from_slice(rest);
        match self.pairs {
            Pairs::Half => {
                let ((a, b), (left, right)) = (x.split_at(half), turned.split_at_mut(half));
                for c in 0..half {
                    left[c] = a[c].mul_add(cos[c], -(b[c] * sin[c]));
                    right[c] = b[c].mul_add(cos[c], a[c] * sin[c]);
                }
            }
            Pairs::Interleaved => {
                let pairs = turned.chunks_exact_mut(2).zip(x.chunks_exact(2));
                for ((out, x), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                    out[0] = x[0].mul_add(*cos, -(x[1] * *sin));
                    out[1] = x[1].mul_add(*cos, x[0] * *sin);
                }
            }
        }
    }
}

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, head_size: usize, rotary: Rotary) {
    let operands = args.operands();
    let (x, turns) = (operands.matrix(0), Turns::new(rotary, &operands, 1));
    let offsets = args.batch.offsets(args.out_rows);
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        let mut sample = offsets.sample(block.rows.start);
        for row in block.rows.clone() {
            while row >= offsets.range(sample).end {
                sample += 1;
            }
            let position = row - offsets.range(sample).start;
            args.isa.run(Row { x, turns, head_size, block, row, position });
        }
    });
}

struct Row<'a, 'b> {
    x: Matrix<'a>,
    turns: Turns<'a>,
    head_size: usize,
    block: &'a mut Block<'b>,
    row: usize,
    position: usize,
}

impl Body for Row<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Row { x, turns, head_size, block, row, position } = self;
        let heads = block.row(row).chunks_exact_mut(head_size);
        for (out, x) in heads.zip(x.row(row).chunks_exact(head_size)) {
            turns.turn(x, position, out);
        }
    }
}
