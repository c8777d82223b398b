//! The elements of a block in another order.

use super::args::{Args, TASK};
use super::matrix::Matrix;
use super::threads::Cut;

/// An order of elements: those of [`bytec_plan::kernel::Kernel::Permute`].
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) from: [u32; 2],
    pub(super) to: [u32; 2],
    pub(super) start: u32,
    pub(super) shape: &'a [u32],
    pub(super) strides: &'a [u32],
}

impl Order<'_> {
    /// The element of x's block that is element `at` of the output's, and how many after it follow along the last axis.
    fn source(&self, mut at: usize) -> (usize, usize) {
        let (mut source, mut left) = (self.start as usize, 1);
        for (nth, (extent, stride)) in self.shape.iter().zip(self.strides).enumerate().rev() {
            let index = at % *extent as usize;
            at /= *extent as usize;
            source += index * *stride as usize;
            if nth + 1 == self.shape.len() {
                left = *extent as usize - index;
            }
        }
        (source, left)
    }
}

/// Runs a step of this kernel.
pub(super) fn run(args: Args<'_>, order: Order<'_>) {
    let x = args.operands().matrix(0);
    let [from, width] = order.from.map(|n| n as usize);
    let [to, _] = order.to.map(|n| n as usize);
    let step = order.strides.last().map_or(1, |stride| *stride as usize);
    let cut = Cut::rows(args.rows, args.width, TASK, args.threads.count());
    args.threads.blocks(args.scratch, args.out, args.width, cut, |_, block| {
        for row in block.rows.clone() {
            let out = block.row(row);
            let (first, mut column) = (row / to * from, 0);
            while column < out.len() {
                let (source, left) = order.source(row % to * out.len() + column);
                let end = out.len().min(column + left);
                copy(&mut out[column..end], x, first * width + source, step);
                column = end;
            }
        }
    });
}

/// Every `step`-th element of x, counted row by row from `element` on.
fn copy(mut out: &mut [f32], x: Matrix<'_>, mut element: usize, step: usize) {
    while !out.is_empty() {
        let row = &x.row(element / x.width)[element % x.width..];
        // What lies side by side in one row is copied at once.
        let count = if step == 1 { row.len().min(out.len()) } else { 1 };
        let (run, rest) = std::mem::take(&mut out).split_at_mut(count);
        run.copy_from_slice(&row[..count]);
        out = rest;
        element += count * step;
    }
}
