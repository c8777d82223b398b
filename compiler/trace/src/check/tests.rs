//! Every way in which a node's type may not be what its op gives.

use bytec_ir::dim::Dim;

use super::misfit;
use crate::constant::{Constant, Values};
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::program::{Kind, Type};
use crate::sketch::{b, n, s};

fn of(kind: Kind, shape: &[Dim]) -> Type {
    Type::new(kind, shape.iter().cloned())
}

fn f(shape: &[Dim]) -> Type {
    of(Kind::Float, shape)
}

fn i(shape: &[Dim]) -> Type {
    of(Kind::Int, shape)
}

fn truth(shape: &[Dim]) -> Type {
    of(Kind::Bool, shape)
}

/// What an op, its operands and its result are refused for.
fn problem(op: Op, operands: &[Type], result: Type) -> String {
    let operands: Vec<_> = operands.iter().collect();
    misfit(&op, &operands, &result).unwrap_or_default()
}

fn rows() -> Type {
    f(&[b(), s(), n(8)])
}

fn reduce(f: ReduceOp, axes: &[usize], keep: bool) -> Op {
    Op::Reduce { f, axes: axes.to_vec(), keep }
}

fn conv(stride: &[u64], dilation: &[u64], groups: u64) -> Op {
    let padding = vec![0; stride.len()];
    Op::Conv { stride: stride.to_vec(), padding, dilation: dilation.to_vec(), groups }
}

fn constant(kind: Kind, shape: &[u64], values: Values) -> Op {
    Op::Constant(Constant { kind, shape: shape.to_vec(), values })
}

/// Each op of a trace with a type that it gives.
#[test]
fn what_fits_is_not_refused() {
    let picture = f(&[b(), n(6), s(), s()]);
    let cases: Vec<(Op, Vec<Type>, Type)> = vec![
        (constant(Kind::Int, &[2], Values::Int(vec![1, 2])), vec![], i(&[n(2)])),
        (Op::Arange { start: 0, step: 1 }, vec![], i(&[s()])),
        (Op::Full, vec![f(&[])], rows()),
        (Op::Cast, vec![i(&[s()])], f(&[s()])),
        (Op::Binary(BinaryOp::Add), vec![rows(), f(&[n(8)])], rows()),
        (Op::Where, vec![truth(&[s(), n(1)]), rows(), f(&[])], rows()),
        (Op::Reshape, vec![rows()], f(&[b() * s(), n(8)])),
        (Op::Permute { perm: vec![2, 0, 1] }, vec![rows()], f(&[n(8), b(), s()])),
        (Op::Expand, vec![f(&[s(), n(1)])], rows()),
        (Op::Repeat, vec![f(&[s(), n(4)])], f(&[s() * n(2), n(8)])),
        (Op::Slice { axis: 1, start: n(1), step: 2 }, vec![rows()], f(&[b(), n(3), n(8)])),
        (Op::Select { axis: 1, index: n(0) }, vec![rows()], f(&[b(), n(8)])),
        (Op::Concat { axis: 1 }, vec![rows(), rows()], f(&[b(), s() + s(), n(8)])),
        (Op::Softmax { axis: 2 }, vec![rows()], rows()),
        (Op::Diff { axis: 2 }, vec![rows()], f(&[b(), s(), n(7)])),
        (Op::Gather { axis: 1 }, vec![rows(), i(&[b(), n(2), n(8)])], f(&[b(), n(2), n(8)])),
        (Op::Index, vec![f(&[n(9), n(8)]), i(&[b(), s()])], rows()),
        (Op::IndexSelect { axis: 1 }, vec![rows(), i(&[n(3)])], f(&[b(), n(3), n(8)])),
        (reduce(ReduceOp::Mean, &[0, 2], true), vec![rows()], f(&[n(1), s(), n(1)])),
        (Op::MatMul, vec![rows(), f(&[n(8), n(3)])], f(&[b(), s(), n(3)])),
        (Op::Linear, vec![rows(), f(&[n(3), n(8)]), f(&[n(3)])], f(&[b(), s(), n(3)])),
        (
            conv(&[1, 1], &[1, 1], 2),
            vec![picture, f(&[n(4), n(3), n(3), n(3)]), f(&[n(4)])],
            f(&[b(), n(4), s() - n(2), s() - n(2)]),
        ),
        (Op::LayerNorm { axes: 1, eps: 1e-5 }, vec![rows(), f(&[n(8)])], rows()),
        (
            Op::Attention { scale: 1.0, causal: false },
            vec![rows(), rows(), rows(), truth(&[b(), n(1), s()])],
            rows(),
        ),
        (Op::Rope { interleaved: false }, vec![rows(), f(&[s(), n(4)]), f(&[s(), n(4)])], rows()),
    ];
    for (op, operands, result) in cases {
        assert_eq!(problem(op.clone(), &operands, result), "", "{op:?}");
    }
}

#[test]
fn every_misfit_is_named() {
    let x = || vec![rows()];
    let two = |a: &[Dim], b: &[Dim]| vec![f(a), f(b)];
    let attention = || Op::Attention { scale: 1.0, causal: false };
    let huge = Dim::fixed(i64::MAX as u64);
    let cases: Vec<(Op, Vec<Type>, Type, &str)> = vec![
        (Op::MatMul, x(), rows(), "expected 2 to 2 operands, found 1"),
        (
            constant(Kind::Float, &[3], Values::Float(vec![0.0; 2])),
            vec![],
            f(&[n(3)]),
            "expected as many elements as [3] has, found 2",
        ),
        (
            constant(Kind::Float, &[u64::MAX, 3], Values::Float(vec![])),
            vec![],
            f(&[n(3)]),
            "expected as many elements as [18446744073709551615, 3] has, found 0",
        ),
        (
            constant(Kind::Int, &[], Values::Float(vec![0.5])),
            vec![],
            i(&[]),
            "expected elements of kind int, found floats",
        ),
        (
            constant(Kind::Int, &[1], Values::Int(vec![0])),
            vec![],
            i(&[n(2)]),
            "expected int[1], found int[2]",
        ),
        (Op::Arange { start: 0, step: 1 }, vec![], f(&[s()]), "expected integers, found float[S]"),
        (Op::Arange { start: 0, step: 1 }, vec![], i(&[]), "expected 1 axes, found int[]"),
        (Op::Full, x(), rows(), "expected 0 axes, found float[B, S, 8]"),
        (
            Op::Unary(UnaryOp::Exp),
            x(),
            f(&[b(), s()]),
            "expected float[B, S, 8], found float[B, S]",
        ),
        (
            Op::Binary(BinaryOp::Add),
            two(&[s()], &[n(8)]),
            f(&[s()]),
            "expected axes that broadcast, found 8 and S, in float[8]",
        ),
        (Op::Where, vec![i(&[]), f(&[]), f(&[])], f(&[]), "expected truth values, found int[]"),
        (
            Op::Reshape,
            x(),
            f(&[b(), s()]),
            "expected as many elements as float[B, S, 8] has, found float[B, S]",
        ),
        (
            Op::Reshape,
            two(&[huge.clone(), huge.clone()], &[])[..1].to_vec(),
            f(&[]),
            "float[9223372036854775807, 9223372036854775807] has too many elements",
        ),
        (
            Op::Permute { perm: vec![0, 0, 1] },
            x(),
            rows(),
            "expected each axis of float[B, S, 8] once, found [0, 0, 1]",
        ),
        (
            Op::Permute { perm: vec![1, 0, 2] },
            x(),
            rows(),
            "expected float[S, B, 8], found float[B, S, 8]",
        ),
        (
            Op::Expand,
            x(),
            f(&[b(), s(), n(16)]),
            "expected axes that broadcast, found 16 and 8, in float[B, S, 16]",
        ),
        (Op::Expand, x(), f(&[s(), n(8)]), "expected float[B, S, 8], found float[S, 8]"),
        (Op::Repeat, x(), f(&[s(), n(8)]), "expected 3 axes, found float[S, 8]"),
        (
            Op::Repeat,
            x(),
            f(&[b(), s(), n(12)]),
            "expected float[B, S, 8] several times, found float[B, S, 12]",
        ),
        (
            Op::Slice { axis: 3, start: n(0), step: 1 },
            x(),
            rows(),
            "expected an axis 3, found float[B, S, 8]",
        ),
        (
            Op::Slice { axis: 1, start: n(0), step: 0 },
            x(),
            rows(),
            "expected a step of at least 1, found 0",
        ),
        (
            Op::Slice { axis: 1, start: n(0), step: 1 },
            x(),
            f(&[b()]),
            "expected float[B, 8], found float[B]",
        ),
        (
            Op::Select { axis: 3, index: n(0) },
            x(),
            rows(),
            "expected an axis 3, found float[B, S, 8]",
        ),
        (
            Op::Concat { axis: 2 },
            vec![rows(), f(&[b(), n(3), n(8)])],
            rows(),
            "expected float[B, S, 8], found float[B, 3, 8]",
        ),
        (
            Op::Concat { axis: 0 },
            two(std::slice::from_ref(&huge), std::slice::from_ref(&huge)),
            f(&[n(1)]),
            "the parts are too long to count",
        ),
        (Op::Flip { axis: 9 }, x(), rows(), "expected an axis 9, found float[B, S, 8]"),
        (Op::CumSum { axis: 0 }, x(), f(&[]), "expected float[B, S, 8], found float[]"),
        (Op::Softmax { axis: 0 }, x(), i(&[b(), s(), n(8)]), "expected floats, found int[B, S, 8]"),
        (Op::Diff { axis: 1 }, x(), rows(), "expected float[B, S - 1, 8], found float[B, S, 8]"),
        (
            Op::Gather { axis: 1 },
            vec![rows(), rows()],
            rows(),
            "expected integers, found float[B, S, 8]",
        ),
        (
            Op::Gather { axis: 1 },
            vec![rows(), i(&[s()])],
            f(&[s()]),
            "expected 3 axes, found int[S]",
        ),
        (
            Op::Index,
            vec![f(&[s()]), i(&[]), i(&[])],
            f(&[]),
            "expected at most 1 lists of indices, found 2",
        ),
        (Op::Index, vec![f(&[s()]), f(&[])], f(&[]), "expected integers, found float[]"),
        (
            Op::IndexSelect { axis: 0 },
            vec![f(&[s()]), i(&[])],
            f(&[n(1)]),
            "expected 1 axes, found int[]",
        ),
        (
            reduce(ReduceOp::Sum, &[1, 0], false),
            x(),
            f(&[n(8)]),
            "expected ascending axes of float[B, S, 8], found [1, 0]",
        ),
        (
            reduce(ReduceOp::Sum, &[3], false),
            x(),
            rows(),
            "expected ascending axes of float[B, S, 8], found [3]",
        ),
        (
            reduce(ReduceOp::ArgMax, &[0, 1], false),
            x(),
            i(&[n(8)]),
            "expected one axis, found [0, 1]",
        ),
        (
            reduce(ReduceOp::Mean, &[1], true),
            x(),
            f(&[b(), n(8)]),
            "expected float[B, 1, 8], found float[B, 8]",
        ),
        (Op::MatMul, two(&[s()], &[s()]), f(&[]), "expected a matrix, found float[S]"),
        (
            Op::MatMul,
            two(&[s(), n(8)], &[n(7), n(3)]),
            f(&[s(), n(3)]),
            "expected as many columns of float[S, 8] as rows of float[7, 3], found 8 and 7",
        ),
        (
            Op::MatMul,
            two(&[s(), n(8)], &[n(8), n(3)]),
            i(&[s(), n(3)]),
            "expected floats, found int[S, 3]",
        ),
        (Op::Linear, vec![rows(), i(&[n(3), n(8)])], rows(), "expected floats, found int[3, 8]"),
        (Op::Linear, vec![rows(), f(&[n(8)])], rows(), "expected 2 axes, found float[8]"),
        (
            Op::Linear,
            vec![rows(), f(&[n(3), n(7)])],
            rows(),
            "expected 7 columns for a weight float[3, 7], found float[B, S, 8]",
        ),
        (
            Op::Linear,
            vec![rows(), f(&[n(3), n(8)]), f(&[n(8)])],
            f(&[b(), s(), n(3)]),
            "expected float[3], found float[8]",
        ),
        (
            conv(&[0], &[1], 1),
            vec![rows(), f(&[n(4), s(), n(3)])],
            rows(),
            "expected a stride above 0, a padding and a dilation for each axis, found [0], [0], [1]",
        ),
        (
            conv(&[1], &[], 1),
            vec![rows(), f(&[n(4), s(), n(3)])],
            rows(),
            "expected a stride above 0, a padding and a dilation for each axis, found [1], [0], []",
        ),
        (
            conv(&[1], &[1], 1),
            vec![f(&[s(), n(8)]), f(&[n(4), s(), n(3)])],
            rows(),
            "expected 3 axes, found float[S, 8]",
        ),
        (
            conv(&[1], &[1], 2),
            vec![f(&[b(), n(6), s()]), f(&[n(4), n(6), n(3)])],
            f(&[b(), n(4), s()]),
            "expected the channels of 2 groups for a weight float[4, 6, 3], found float[B, 6, S]",
        ),
        (
            conv(&[1], &[1], 0),
            vec![f(&[b(), n(0), s()]), f(&[n(4), n(6), n(3)])],
            f(&[b(), n(4), s()]),
            "expected a multiple of 0 outputs, found float[4, 6, 3]",
        ),
        (
            conv(&[1], &[1], 1),
            vec![f(&[b(), n(6), s()]), f(&[n(4), n(6), n(3)])],
            f(&[b(), n(5), s()]),
            "expected the samples of float[B, 6, S] and the outputs of float[4, 6, 3], found float[B, 5, S]",
        ),
        (
            conv(&[1], &[1], 1),
            vec![f(&[b(), n(6), s()]), f(&[n(4), n(6), n(3)]), f(&[n(6)])],
            f(&[b(), n(4), s()]),
            "expected float[4], found float[6]",
        ),
        (
            Op::LayerNorm { axes: 0, eps: 0.0 },
            x(),
            rows(),
            "expected to normalise 1 to 3 axes, found 0",
        ),
        (
            Op::LayerNorm { axes: 4, eps: 0.0 },
            x(),
            rows(),
            "expected to normalise 1 to 3 axes, found 4",
        ),
        (
            Op::RmsNorm { eps: 0.0 },
            vec![f(&[]), f(&[])],
            f(&[]),
            "expected to normalise 1 to 0 axes, found 1",
        ),
        (
            Op::RmsNorm { eps: 0.0 },
            vec![rows(), f(&[n(7)])],
            rows(),
            "expected float[8], found float[7]",
        ),
        (
            attention(),
            vec![rows(), rows(), f(&[b(), s(), n(4)])],
            f(&[b(), s(), n(4)]),
            "expected queries, keys and values that fit, found float[B, S, 8], float[B, S, 8], float[B, S, 4]",
        ),
        (
            attention(),
            vec![rows(), rows(), rows(), i(&[s(), s()])],
            rows(),
            "expected a mask, found int[S, S]",
        ),
        (
            attention(),
            vec![rows(), rows(), rows(), truth(&[n(3), s(), s()])],
            rows(),
            "expected axes that broadcast, found 3 and B, in bool[3, S, S]",
        ),
        (
            attention(),
            vec![rows(), rows(), rows(), truth(&[n(2), n(1), s(), s()])],
            rows(),
            "expected a mask for bool[B, S, S], found bool[2, 1, S, S]",
        ),
        (
            Op::Rope { interleaved: true },
            vec![f(&[n(8)]), f(&[n(4)]), f(&[n(4)])],
            f(&[n(8)]),
            "expected a matrix, found float[8]",
        ),
        (
            Op::Rope { interleaved: true },
            vec![rows(), i(&[s(), n(4)]), f(&[s(), n(4)])],
            rows(),
            "expected floats, found int[S, 4]",
        ),
    ];
    for (op, operands, result, expected) in cases {
        assert_eq!(problem(op.clone(), &operands, result), expected, "{op:?} {operands:?}");
    }
}
