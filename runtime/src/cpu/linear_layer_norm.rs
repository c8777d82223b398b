//! A linear, and the LayerNorm of its sum with a residual: the two kernels, one after the other.

use super::args::{Args, TASK};
use super::isa::{Body, Simd};
use super::layer_norm::Norm;
use super::linear::{linear, weights};
use super::matrix::Matrix;
use super::threads::{Block, Cut};

/// Runs a step of this kernel. A row has the bits that `linear` and `layer_norm` with the residual give it.
pub(super) fn run(args: Args<'_>, n: usize, k: usize, bias: bool, eps: f32) {
    let operands = args.operands();
    let residual = 2 + usize::from(bias);
    let weights = weights(&operands, n, k, bias, &[]);
    let Args { isa, threads, scratch, out, .. } = args;
    linear(isa, threads, scratch, operands.matrix(0), weights, out);
    let added = operands.matrix(residual);
    let (gamma, beta) = (operands.weight(residual + 1), operands.weight(residual + 2));
    let norm = Norm { gamma, beta, eps };
    let cut = Cut::rows(args.rows, args.width, TASK, threads.count());
    threads.blocks(scratch, out, args.width, cut, |_, block| {
        isa.run(Rows { added, norm, block });
    });
}

struct Rows<'a, 'b> {
    added: Matrix<'a>,
    norm: Norm<'a>,
    block: &'a mut Block<'b>,
}

impl Body for Rows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Simd>(self) {
        let Rows { added, norm, block } = self;
        for r in block.rows.clone() {
            let row = block.row(r);
            for (out, b) in row.iter_mut().zip(added.row(r)) {
                *out += *b;
            }
            norm.row(row);
        }
    }
}
