//! The rows of each sample as one row.

use bytec_plan::kernel::PoolKind;

use super::args::Args;
use super::isa::{Body, Simd};
use super::matrix::Matrix;
use super::threads::{Block, Cut};
use super::{l2_normalize, math};
use crate::batch::Offsets;

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, kind: PoolKind, normalize: Option<f32>) {
    let operands = args.operands();
    let (x, offsets) = (operands.matrix(0), operands.offsets(0));
    let cut = Cut::rows(args.rows, args.width, args.width, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        args.isa.run(Samples { x, offsets, kind, normalize, block });
    });
}

struct Samples<'a, 'b> {
    x: Matrix<'a>,
    offsets: Offsets<'a>,
    kind: PoolKind,
    normalize: Option<f32>,
    block: &'a mut Block<'b>,
}

impl Body for Samples<'_, '_> {
    type Output = ();

    /// Each column takes the sample's rows in ascending order. Of no rows, the sum is zero, the maximum minus infinity,
    /// and the means and the first and last row are NaN.
    #[inline(always)]
    fn run<V: Simd>(self) {
        let Samples { x, offsets, kind, normalize, block } = self;
        for sample in block.rows.clone() {
            let out = block.row(sample);
            let rows = offsets.range(sample);
            let count = rows.len();
            match kind {
                PoolKind::Cls | PoolKind::Last => {
                    let row = if kind == PoolKind::Cls { rows.clone().next() } else { rows.last() };
                    match row {
                        Some(row) => out.copy_from_slice(x.row(row)),
                        None => out.fill(f32::NAN),
                    }
                }
                PoolKind::Max => {
                    out.fill(f32::NEG_INFINITY);
                    for r in rows {
                        for (out, x) in out.iter_mut().zip(x.row(r)) {
                            *out = math::max(*out, *x);
                        }
                    }
                }
                PoolKind::Mean | PoolKind::Sum | PoolKind::MeanSqrtLen => {
                    out.fill(0.0);
                    for r in rows {
                        for (out, x) in out.iter_mut().zip(x.row(r)) {
                            *out += *x;
                        }
                    }
                    match kind {
                        PoolKind::Mean => divide(out, count as f32),
                        PoolKind::MeanSqrtLen => divide(out, (count as f32).sqrt()),
                        _ => {}
                    }
                }
                PoolKind::WeightedMean => {
                    out.fill(0.0);
                    for (i, r) in rows.enumerate() {
                        let weight = (i + 1) as f32;
                        for (out, x) in out.iter_mut().zip(x.row(r)) {
                            *out += weight * *x;
                        }
                    }
                    let count = count as f32;
                    divide(out, 0.5 * count * (count + 1.0));
                }
            }
            if let Some(eps) = normalize {
                l2_normalize::row(out, eps);
            }
        }
    }
}

#[inline(always)]
fn divide(row: &mut [f32], divisor: f32) {
    for x in row {
        *x /= divisor;
    }
}
