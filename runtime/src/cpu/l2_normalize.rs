//! Rows divided by their L2 norm.

use super::args::{Args, TASK};
use super::isa::{Body, Simd};
use super::math;
use super::matrix::Matrix;
use super::threads::{Block, Cut};

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, eps: f32) {
    let x = args.operands().matrix(0);
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        args.isa.run(Rows { x, eps, block });
    });
}

/// `x / max(sqrt(sum x_i^2), eps)` in place; the sum is taken in an order that depends on the width alone.
#[inline(always)]
pub(super) fn row(row: &mut [f32], eps: f32) {
    let norm = math::sum(row, |sum, x| x.mul_add(x, sum)).sqrt();
    let norm = if norm < eps { eps } else { norm };
    for x in row {
        *x /= norm;
    }
}

struct Rows<'a, 'b> {
    x: Matrix<'a>,
    eps: f32,
    block: &'a mut Block<'b>,
}

impl Body for Rows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        for r in self.block.rows.clone() {
            let out = self.block.row(r);
            out.copy_from_slice(self.x.row(r));
            row(out, self.eps);
        }
    }
}
