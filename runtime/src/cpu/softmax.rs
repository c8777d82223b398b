//! Softmax of rows.

use super::args::{Args, TASK};
use super::isa::{Body, Simd};
use super::math;
use super::matrix::Matrix;
use super::threads::{Block, Cut};

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>) {
    let x = args.operands().matrix(0);
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        args.isa.run(Rows { x, block });
    });
}

struct Rows<'a, 'b> {
    x: Matrix<'a>,
    block: &'a mut Block<'b>,
}

impl Body for Rows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        for r in self.block.rows.clone() {
            let row = self.block.row(r);
            let x = self.x.row(r);
            // A NaN is passed over here but not below: it makes the whole row NaN, as it should.
            let largest = math::largest(x);
            for (out, x) in row.iter_mut().zip(x) {
                *out = math::exp(*x - largest);
            }
            let total = math::sum(row, |sum, x| sum + x);
            for out in row.iter_mut() {
                *out /= total;
            }
        }
    }
}
