//! What linears in int8 ask of their weights, broken once each.

use bytec_plan::program::{DType, Layout, Operand, Program};
use expect_test::expect;

use crate::rules::{breaks, keeps};

/// Twelve outputs in panels of eight, each with four bytes, a scale and a correction.
pub(crate) fn quads(p: &mut Program) {
    p.weights[4].layout = Layout::Quads { width: 8 };
    p.weights[4].dtype = DType::I8;
    p.weights[4].bytes = 2 * 8 * (4 + 4 + 4);
}

#[test]
fn weights_in_quads() {
    keeps(quads);
    breaks(
        |p| {
            quads(p);
            p.weights[4].dtype = DType::F32;
        },
        expect! {"weight 4 `qkv`: expected 768 bytes for its shape, type and layout, found 192"},
    );
    breaks(
        |p| {
            quads(p);
            p.weights[4].layout = Layout::Panels { width: 8 };
        },
        expect! {"weight 4 `qkv`: expected 64 bytes for its shape, type and layout, found 192"},
    );
    breaks(
        |p| {
            quads(p);
            p.weights[4].bytes -= 1;
        },
        expect! {"weight 4 `qkv`: expected 192 bytes for its shape, type and layout, found 191"},
    );
    breaks(
        |p| {
            quads(p);
            p.weights[4].layout = Layout::Quads { width: 0 };
        },
        expect! {"weight 4 `qkv`: expected panels of at least one output of a matrix, found panels of 0 of 2 axes"},
    );
    breaks(
        |p| {
            quads(p);
            p.weights[4].layout = Layout::Quads { width: u32::MAX };
        },
        expect! {"weight 4 `qkv`: expected 51539607540 bytes for its shape, type and layout, found 192"},
    );
    breaks(
        |p| {
            quads(p);
            p.weights[4].shape = vec![12, 2, 2];
        },
        expect! {"weight 4 `qkv`: expected panels of at least one output of a matrix, found panels of 8 of 3 axes"},
    );
    breaks(
        |p| {
            quads(p);
            p.weights[4].shape = vec![12, u64::MAX];
        },
        expect! {"weight 4 `qkv`: expected a size in bytes below 2^64, found a larger one"},
    );
    breaks(
        |p| {
            quads(p);
            p.weights[4].shape = vec![u64::MAX, 4];
        },
        expect! {"weight 4 `qkv`: expected a size in bytes below 2^64, found a larger one"},
    );
    breaks(
        |p| {
            quads(p);
            p.weights[4].shape = vec![1 << 40, 1 << 40];
        },
        expect! {"weight 4 `qkv`: expected a size in bytes below 2^64, found a larger one"},
    );
    // As a bias or a table it is of no use.
    breaks(
        |p| {
            quads(p);
            p.steps[1].operands[2] = Operand::Weight(4);
        },
        expect! {"step 1 `qkv`: operand 2: expected elements of f32, found int8"},
    );
}
