//! What has no counterpart in a graph is refused with the op, the module and the reason, all at once.

use super::super::{LiftError, LiftOptions, lift};
use super::attention::{heads, merged, scores};
use crate::constant::{Constant, Values};
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::program::{Kind, ValueId};
use crate::sketch::{Sketch, b, n, s};

const F: Kind = Kind::Float;

fn refused(build: impl FnOnce(&mut Sketch)) -> String {
    let mut t = Sketch::new(12);
    t.module("encoder");
    build(&mut t);
    match lift(&t.trace, &LiftOptions::default()) {
        Err(LiftError::Refused(refusals)) => refusals.to_string(),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// Of a function of rows `[B, S, 6]`, which is given out.
fn of_rows(build: impl FnOnce(&mut Sketch, ValueId) -> ValueId) -> String {
    refused(|t| {
        let x = t.input("x", F, &[b(), s(), n(6)]);
        let y = build(t, x);
        t.output("y", y);
    })
}

/// Of attention whose scores are changed.
fn of_scores(build: impl FnOnce(&mut Sketch, ValueId) -> ValueId) -> String {
    refused(|t| {
        let [q, k, v] = heads(t);
        let scores = scores(t, q, k, 0.5);
        let scores = build(t, scores);
        let weights = t.softmax(scores);
        let context = t.matmul(weights, v);
        merged(t, context);
    })
}

fn places(t: &mut Sketch) -> [ValueId; 2] {
    let i = t.arange(s());
    [t.reshape(i, &[s(), n(1)]), i]
}

#[test]
fn each_is_refused_by_name_and_reason() {
    let conv = |stride, padding, groups| Op::Conv {
        stride: vec![stride],
        padding: vec![padding],
        dilation: vec![1],
        groups,
    };
    let cases = [
        (of_rows(|t, x| t.unary(UnaryOp::Log, x)), "aten.unary v1 in encoder: a graph has no Log"),
        (
            of_rows(|t, x| {
                let zero = t.float(0.0);
                let positive = t.binary(BinaryOp::Gt, x, zero);
                t.select(positive, x, zero)
            }),
            "aten.where v3 in encoder: expected a condition that the sizes decide",
        ),
        (
            of_rows(|t, x| {
                let most = Op::Reduce { f: ReduceOp::ArgMax, axes: vec![1], keep: true };
                let most = t.op(most, &[x], Kind::Int, &[b(), n(1), n(6)]);
                t.op(Op::Gather { axis: 1 }, &[x, most], F, &[b(), n(1), n(6)])
            }),
            "the place of the largest element depends on the sample",
        ),
        (
            of_rows(|t, x| t.op(Op::CumSum { axis: 1 }, &[x], F, &[b(), s(), n(6)])),
            "a graph of one sample has no cumsum",
        ),
        (of_rows(|t, x| t.op(Op::Flip { axis: 1 }, &[x], F, &[b(), s(), n(6)])), "has no flip"),
        (
            of_rows(|t, x| {
                let exponent = t.float(2.5);
                t.binary(BinaryOp::Pow, x, exponent)
            }),
            "expected an exponent of 2, 3, 0.5, -0.5 or -1, found 2.5",
        ),
        (
            of_rows(|t, x| {
                let row = Op::Select { axis: 1, index: n(0) };
                let row = t.op(row, &[x], F, &[b(), n(6)]);
                let row = t.reshape(row, &[b(), n(1), n(6)]);
                t.expand(row, &[b(), s(), n(6)])
            }),
            "it repeats an axis of 1 to S, which a graph does not",
        ),
        (
            of_rows(|t, x| {
                let half = t.op(
                    Op::Slice { axis: 1, start: n(0), step: 2 },
                    &[x],
                    F,
                    &[b(), s().ceil_div(2), n(6)],
                );
                t.unary(UnaryOp::Tanh, half)
            }),
            "it takes ceil(S, 2) indices from 0 by 2 of an axis of S",
        ),
        (
            of_rows(|t, x| {
                let places = t.arange(s());
                let places = t.cast(places, F);
                let places = t.reshape(places, &[s(), n(1)]);
                let waves = t.unary(UnaryOp::Sin, places);
                t.add(x, waves)
            }),
            "aten.unary v4 in encoder: expected a number, consecutive integers, a mask",
        ),
        (
            of_rows(|t, x| {
                let columns = t.permute(x, &[0, 2, 1]);
                let kernel = t.weight("kernel", &[6, 3, 3]);
                t.op(conv(1, 1, 2), &[columns, kernel], F, &[b(), n(6), s()])
            }),
            "expected a convolution of one group without dilation, found 2 groups",
        ),
        (
            of_rows(|t, x| {
                let columns = t.permute(x, &[0, 2, 1]);
                let kernel = t.weight("kernel", &[6, 6, 3]);
                t.op(conv(2, 1, 1), &[columns, kernel], F, &[b(), n(6), s().ceil_div(2)])
            }),
            "expected patches that do not overlap, or a window over rows",
        ),
        (
            of_rows(|t, x| {
                let columns = t.permute(x, &[0, 2, 1]);
                let image = t.reshape(columns, &[b(), n(6), s(), n(1)]);
                let kernel = t.weight("kernel", &[6, 6, 1 << 40, 1 << 40]);
                let stride = vec![1; 2];
                let [padding, dilation] = [vec![0; 2], stride.clone()];
                let conv = Op::Conv { stride, padding, dilation, groups: 1 };
                let y = t.op(conv, &[image, kernel], F, &[b(), n(6), s(), n(1)]);
                t.reshape(y, &[b(), n(6), s()])
            }),
            "a kernel of [1099511627776, 1099511627776] is too large",
        ),
        (
            of_rows(|t, x| {
                let rows = t.cast(x, Kind::Int);
                t.cast(rows, F)
            }),
            "a graph of one sample has no cast",
        ),
        (
            of_scores(|t, x| {
                let tanh = t.unary(UnaryOp::Tanh, x);
                t.add(tanh, x)
            }),
            "aten.matmul v23 in encoder: its scores hold aten.unary v20 in encoder, a unary",
        ),
        (
            of_scores(|t, x| {
                let [i, j] = places(t);
                let (i, j) = (t.cast(i, F), t.cast(j, F));
                let sum = t.mul(i, j);
                t.add(x, sum)
            }),
            "what is added to its scores does not fall evenly with the distance",
        ),
        (
            of_scores(|t, x| {
                let [i, j] = places(t);
                let (two, least) = (t.int(2), t.float(-1e9));
                let blocks = [i, j].map(|place| t.binary(BinaryOp::FloorDiv, place, two));
                let seen = t.binary(BinaryOp::Eq, blocks[0], blocks[1]);
                t.select(seen, x, least)
            }),
            "its mask is no band around the diagonal",
        ),
        (
            of_scores(|t, x| {
                let [i, j] = places(t);
                let least = t.float(-1e9);
                let seen = t.binary(BinaryOp::Lt, j, i);
                t.select(seen, x, least)
            }),
            "its mask hides key 0 from the query of its own row",
        ),
        (
            of_scores(|t, x| {
                let [i, j] = places(t);
                let eleven = t.int(11);
                let sum = t.add(i, j);
                let rows = t.binary(BinaryOp::Min, sum, eleven);
                let table = t.weight("bias", &[12, 2]);
                let bias = t.embedding(table, rows);
                let bias = t.permute(bias, &[2, 0, 1]);
                t.add(x, bias)
            }),
            "others of the same distance",
        ),
        (
            of_scores(|t, x| {
                let [i, j] = places(t);
                let distance = t.binary(BinaryOp::Sub, i, j);
                let (zero, three) = (t.int(0), t.int(3));
                let past = t.binary(BinaryOp::Max, distance, zero);
                let rows = t.binary(BinaryOp::Remainder, past, three);
                let table = t.weight("bias", &[3, 2]);
                let bias = t.embedding(table, rows);
                let bias = t.permute(bias, &[2, 0, 1]);
                t.add(x, bias)
            }),
            "follow none of the rules clip, log and t5",
        ),
        (
            refused(|t| {
                let [q, k, v] = heads(t);
                let mask = t.input("mask", F, &[b(), n(1), s(), s()]);
                let shape = t.ty(q).shape;
                let op = Op::Attention { scale: 0.5, causal: false };
                let context = t.op(op, &[q, k, v, mask], F, &shape);
                merged(t, context);
            }),
            "its scores hold aten.input",
        ),
        (
            refused(|t| {
                let [q, _, _] = heads(t);
                let places = t.arange(s());
                let places = t.cast(places, F);
                let angle = t.mul(places, places);
                let angle = t.reshape(angle, &[s(), n(1)]);
                let angle = t.expand(angle, &[s(), n(2)]);
                let (cos, sin) = (t.unary(UnaryOp::Cos, angle), t.unary(UnaryOp::Sin, angle));
                let shape = t.ty(q).shape;
                let y = t.op(Op::Rope { interleaved: false }, &[q, cos, sin], F, &shape);
                merged(t, y);
            }),
            "it is no rotation by positions",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    }
}

#[test]
fn all_come_at_once_in_the_order_of_the_program() {
    let found = of_rows(|t, x| {
        let log = t.unary(UnaryOp::Log, x);
        let sine = t.unary(UnaryOp::Sin, x);
        t.add(log, sine)
    });
    let ops: Vec<_> = found.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(ops, ["aten.unary v1 in encoder", "aten.unary v2 in encoder"]);
}

#[test]
fn a_table_that_is_too_large_to_look_at_is_refused() {
    let mut t = Sketch::new(1 << 14);
    let [q, k, v] = heads(&mut t);
    let [i, j] = places(&mut t);
    let seen = t.binary(BinaryOp::Le, j, i);
    // A running sum looks at neighbours, so that some positions don't stand for all.
    let seen = t.cast(seen, Kind::Int);
    let sums = t.op(Op::CumSum { axis: 1 }, &[seen], Kind::Int, &[s(), s()]);
    let one = t.int(1);
    let seen = t.binary(BinaryOp::Ge, sums, one);
    let shape = t.ty(q).shape;
    let op = Op::Attention { scale: 0.5, causal: false };
    let context = t.op(op, &[q, k, v, seen], F, &shape);
    merged(&mut t, context);
    let error = lift(&t.trace, &LiftOptions::default()).unwrap_err().to_string();
    assert!(error.contains("trace the model with a lower limit"), "{error}");
}

#[test]
fn a_graph_that_breaks_an_invariant_is_an_error() {
    let mut t = Sketch::new(12);
    let table = t.weight("table", &[4, 6]);
    let half = Constant { kind: Kind::Int, shape: vec![1], values: Values::Int(vec![0]) };
    let ids = t.op(Op::Constant(half), &[], Kind::Int, &[n(1)]);
    let y = t.embedding(table, ids);
    t.output("y", y);
    assert!(matches!(lift(&t.trace, &LiftOptions::default()), Err(LiftError::Verify(_))));
}
