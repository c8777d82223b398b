//! Rows divided by their root mean square.

use super::args::{Args, TASK};
use super::isa::{Body, Simd};
use super::math;
use super::matrix::Matrix;
use super::threads::{Block, Cut};

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, eps: f32) {
    let operands = args.operands();
    let (x, gamma) = (operands.matrix(0), operands.weight(1));
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        args.isa.run(Rows { x, gamma, eps, block });
    });
}

struct Rows<'a, 'b> {
    x: Matrix<'a>,
    gamma: &'a [f32],
    eps: f32,
    block: &'a mut Block<'b>,
}

impl Body for Rows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Rows { x, gamma, eps, block } = self;
        for r in block.rows.clone() {
            let row = x.row(r);
            let mean = math::sum(row, |sum, x| x.mul_add(x, sum)) / row.len() as f32;
            let scale = 1.0 / (mean + eps).sqrt();
            for ((out, x), gamma) in block.row(r).iter_mut().zip(row).zip(gamma) {
                *out = (*x * scale) * *gamma;
            }
        }
    }
}
