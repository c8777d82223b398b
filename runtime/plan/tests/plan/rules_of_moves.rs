//! What the kernels that only move rows ask, broken once each.

use bytec_plan::kernel::{Broadcast, Instr, Joined, Kernel};
use bytec_plan::program::{Operand, Program};
use expect_test::expect;

use crate::rules::{breaks, keeps};
use crate::sample::view;

/// The sample's attention as another kernel.
fn become_kernel(p: &mut Program, kernel: Kernel, operands: &[Operand]) {
    p.steps[2].kernel = kernel;
    p.steps[2].operands = operands.to_vec();
}

#[test]
fn elements_in_another_order() {
    let permute = |p: &mut Program, from, to, start, shape: &[u32], strides: &[u32]| {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        let kernel = Kernel::Permute { from, to, start, shape, strides };
        become_kernel(p, kernel, &[view(1, 4, u64::from(from[1]))]);
    };
    keeps(|p| permute(p, [1, 4], [1, 4], 0, &[2, 2], &[1, 2]));
    keeps(|p| permute(p, [1, 6], [1, 4], 1, &[2, 2], &[1, 3]));
    breaks(
        |p| permute(p, [1, 4], [1, 4], 0, &[], &[]),
        expect! {"step 2 `attended`: expected 1 to 6 axes, none of them empty, with a stride each, found extents [] and strides []"},
    );
    breaks(
        |p| permute(p, [1, 4], [1, 4], 0, &[2, 2], &[1]),
        expect! {"step 2 `attended`: expected 1 to 6 axes, none of them empty, with a stride each, found extents [2, 2] and strides [1]"},
    );
    breaks(
        |p| permute(p, [1, 4], [1, 4], 0, &[0, 4], &[1, 1]),
        expect! {"step 2 `attended`: expected 1 to 6 axes, none of them empty, with a stride each, found extents [0, 4] and strides [1, 1]"},
    );
    breaks(
        |p| permute(p, [1, 4], [1, 4], 0, &[2, 3], &[1, 1]),
        expect! {"step 2 `attended`: expected an order of 4 elements, as many as a block of the output has, found 6"},
    );
    breaks(
        |p| permute(p, [1, 4], [1, 4], 0, &[u32::MAX; 6], &[1; 6]),
        expect! {"step 2 `attended`: expected an order of 4 elements, as many as a block of the output has, found 2^64 or more"},
    );
    breaks(
        |p| permute(p, [1, 4], [1, 4], 1, &[4], &[1]),
        expect! {"step 2 `attended`: expected elements below 4, as many as a block of the operand has, found 4"},
    );
    breaks(
        |p| permute(p, [1, 4], [1, 4], 0, &[4], &[u32::MAX]),
        expect! {"step 2 `attended`: expected elements below 4, as many as a block of the operand has, found 12884901885"},
    );
    breaks(
        |p| permute(p, [2, 4], [2, 4], 0, &[8], &[1]),
        expect! {"step 2 `attended`: operand 0: expected one row in and one out, or 2 in every sample, found rows by extent 0"},
    );
    breaks(
        |p| permute(p, [1, 4], [1, 2], 0, &[2], &[1]),
        expect! {"step 2 `attended`: output: expected 2 columns, found 4"},
    );
    breaks(
        |p| {
            permute(p, [1, 4], [1, 4], 0, &[4], &[1]);
            p.steps[2].operands = vec![Operand::Weight(2)];
        },
        expect! {"step 2 `attended`: operand 0: expected a view of a buffer or an input, found a weight"},
    );
}

#[test]
fn rows_behind_one_another() {
    let join = |p: &mut Program, parts: &[Joined], operands: &[Operand]| {
        become_kernel(p, Kernel::Join { width: 4, parts: parts.to_vec() }, operands);
    };
    let (x, shared) = (view(1, 0, 4), Joined::Shared { rows: 1 });
    keeps(|p| join(p, &[Joined::Rows], &[x]));
    breaks(
        |p| join(p, &[], &[]),
        expect! {"step 2 `attended`: expected at least one operand to join, found none"},
    );
    breaks(
        |p| join(p, &[Joined::Rows], &[x, x]),
        expect! {"step 2 `attended`: expected 1 operands for join, found 2"},
    );
    breaks(
        |p| join(p, &[shared, Joined::Rows], &[Operand::Weight(2), x]),
        expect! {"step 2 `attended`: output: expected as many rows as all operands have, found rows by extent 0"},
    );
    breaks(
        |p| join(p, &[Joined::Rows, Joined::Rows], &[x, x]),
        expect! {"step 2 `attended`: output: expected as many rows as all operands have, found rows by extent 0"},
    );
    breaks(
        |p| join(p, &[Joined::Rows], &[view(1, 0, 3)]),
        expect! {"step 2 `attended`: operand 0: expected 4 columns, found 3"},
    );
    breaks(
        |p| join(p, &[Joined::Shared { rows: 2 }], &[Operand::Weight(2)]),
        expect! {"step 2 `attended`: operand 0: expected 8 elements, found 4"},
    );
    breaks(
        |p| join(p, &[shared], &[Operand::Weight(4)]),
        expect! {"step 2 `attended`: operand 0: expected a weight in row-major layout, found panels"},
    );
}

#[test]
fn a_row_for_each_place() {
    let place = |p: &mut Program, weight| {
        let operands = vec![Broadcast::Full, Broadcast::Place];
        let kernel = Kernel::Pointwise { width: 4, operands, body: vec![Instr::Operand(1)] };
        become_kernel(p, kernel, &[view(1, 0, 4), Operand::Weight(weight)]);
    };
    keeps(|p| place(p, 1));
    breaks(
        |p| place(p, 0),
        expect! {"step 2 `attended`: operand 1: expected 8 rows in the table, for the longest sample, found 6"},
    );
    breaks(
        |p| place(p, 4),
        expect! {"step 2 `attended`: operand 1: expected a weight in row-major layout, found panels"},
    );
}
