//! LayerNorm of rows, and of sums of two rows.

use super::args::{Args, TASK};
use super::isa::{Body, Simd};
use super::math;
use super::matrix::Matrix;
use super::threads::{Block, Cut};

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, eps: f32, residual: bool) {
    let operands = args.operands();
    let x = operands.matrix(0);
    let added = residual.then(|| operands.matrix(1));
    let first = 1 + usize::from(residual);
    let norm = Norm { gamma: operands.weight(first), beta: operands.weight(first + 1), eps };
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        args.isa.run(Rows { x, added, norm, block });
    });
}

/// The parameters of a LayerNorm.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a> {
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
    pub(super) eps: f32,
}

impl Norm<'_> {
    /// Normalises a row in place: mean and variance in two passes, each in an order that depends on the width alone. What
    /// the rounding of the mean leaves in the sum of the differences is taken off as well: where all numbers are much
    /// alike, it would be a part of the result that shows.
    #[inline(always)]
    pub(super) fn row(&self, row: &mut [f32]) {
        let count = row.len() as f32;
        let mean = math::sum(row, |sum, x| sum + x) / count;
        for x in row.iter_mut() {
            *x -= mean;
        }
        let rest = math::sum(row, |sum, x| sum + x) / count;
        for x in row.iter_mut() {
            *x -= rest;
        }
        let variance = math::sum(row, |sum, x| x.mul_add(x, sum)) / count;
        let scale = 1.0 / (variance + self.eps).sqrt();
        for ((x, gamma), beta) in row.iter_mut().zip(self.gamma).zip(self.beta) {
            *x = (*x * scale).mul_add(*gamma, *beta);
        }
    }
}

struct Rows<'a, 'b> {
    x: Matrix<'a>,
    added: Option<Matrix<'a>>,
    norm: Norm<'a>,
    block: &'a mut Block<'b>,
}

impl Body for Rows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Rows { x, added, norm, block } = self;
        for r in block.rows.clone() {
            let row = block.row(r);
            match added {
                Some(added) => {
                    for ((out, a), b) in row.iter_mut().zip(x.row(r)).zip(added.row(r)) {
                        *out = *a + *b;
                    }
                }
                None => row.copy_from_slice(x.row(r)),
            }
            norm.row(row);
        }
    }
}
