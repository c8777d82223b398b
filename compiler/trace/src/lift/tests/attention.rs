//! Attention whole and written out, with masks and biases in the ways that libraries make them.

use super::super::{LiftOptions, lift};
use super::{lifted, lines};
use crate::constant::{Constant, Values};
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::program::{Kind, ValueId};
use crate::sketch::{Sketch, b, n, s};

const HEADS: u64 = 2;
const SIZE: u64 = 4;
const WIDTH: u64 = HEADS * SIZE;
const F: Kind = Kind::Float;

/// Rows of each sample, and queries, keys and values `[B, heads, S, size]` of them.
pub(super) fn heads(t: &mut Sketch) -> [ValueId; 3] {
    let x = t.input("x", F, &[b(), s(), n(WIDTH)]);
    ["q", "k", "v"].map(|name| {
        let rows = t.linear(x, name, [WIDTH, WIDTH]);
        let split = t.reshape(rows, &[b(), s(), n(HEADS), n(SIZE)]);
        t.permute(split, &[0, 2, 1, 3])
    })
}

/// The context `[B, heads, S, size]` as rows, given out.
pub(super) fn merged(t: &mut Sketch, context: ValueId) {
    let rows = t.permute(context, &[0, 2, 1, 3]);
    let rows = t.reshape(rows, &[b(), s(), n(WIDTH)]);
    t.output("y", rows);
}

/// `q k^T`, times a number.
pub(super) fn scores(t: &mut Sketch, q: ValueId, k: ValueId, scale: f64) -> ValueId {
    let turned = t.permute(k, &[0, 1, 3, 2]);
    let scores = t.matmul(q, turned);
    let scale = t.float(scale);
    t.mul(scores, scale)
}

fn weighted(t: &mut Sketch, scores: ValueId, v: ValueId) {
    let weights = t.softmax(scores);
    let context = t.matmul(weights, v);
    merged(t, context);
}

/// `i - j`, integers `[S, S]`.
fn distances(t: &mut Sketch) -> ValueId {
    let i = t.arange(s());
    let i = t.reshape(i, &[s(), n(1)]);
    let j = t.arange(s());
    let j = t.reshape(j, &[n(1), s()]);
    t.binary(BinaryOp::Sub, i, j)
}

/// Written-out attention under a mask made of distances, in one of three ways of applying it.
fn masked(apply: &str, seen: impl Fn(&mut Sketch, ValueId) -> ValueId) -> Vec<String> {
    let mut t = Sketch::new(40);
    let [q, k, v] = heads(&mut t);
    let distances = distances(&mut t);
    let seen = seen(&mut t, distances);
    let least = t.float(if apply == "fill" { f64::NEG_INFINITY } else { -3.4028234663852886e38 });
    let zero = t.float(0.0);
    if apply == "whole" {
        let seen = t.expand(seen, &[b(), n(1), s(), s()]);
        let shape = t.ty(q).shape;
        let op = Op::Attention { scale: 0.5, causal: false };
        let context = t.op(op, &[q, k, v, seen], F, &shape);
        merged(&mut t, context);
    } else {
        let scores = scores(&mut t, q, k, 0.5);
        let shown = match apply {
            "fill" => {
                let hidden = t.unary(UnaryOp::Not, seen);
                t.select(hidden, least, scores)
            }
            _ => {
                let added = t.select(seen, zero, least);
                t.add(scores, added)
            }
        };
        weighted(&mut t, shown, v);
    }
    let graph = lifted(&t);
    assert_eq!(super::ops(&graph), 7, "{graph}");
    lines(&graph, "attention")
}

#[test]
fn masks_are_bands_however_they_are_made_and_applied() {
    for apply in ["whole", "fill", "add"] {
        let all = masked(apply, |t, distance| {
            let far = t.int(-1000);
            t.binary(BinaryOp::Ge, distance, far)
        });
        assert!(all[0].ends_with("{heads = 2, head_size = 4, scale = 0.5}"), "{all:?}");
        let causal = masked(apply, |t, distance| {
            let zero = t.int(0);
            t.binary(BinaryOp::Ge, distance, zero)
        });
        assert!(causal[0].contains("mask = causal"), "{causal:?}");
        let local = masked(apply, |t, distance| {
            let (three, two) = (t.int(3), t.int(-2));
            let before = t.binary(BinaryOp::Le, distance, three);
            let after = t.binary(BinaryOp::Gt, distance, two);
            t.binary(BinaryOp::And, before, after)
        });
        assert!(local[0].contains("mask = band(3, 1)"), "{local:?}");
    }
}

#[test]
fn a_softmax_written_out_and_heads_folded_into_the_batch_are_attention() {
    let mut t = Sketch::new(20);
    let [q, k, v] = heads(&mut t);
    let folded = [n(HEADS) * b(), s(), n(SIZE)];
    let [q, k, v] = [q, k, v].map(|x| t.reshape(x, &folded));
    let k = t.permute(k, &[0, 2, 1]);
    let two = t.float(2.0);
    let k = t.binary(BinaryOp::Div, k, two);
    let scores = t.matmul(q, k);
    let row = [n(HEADS) * b(), s(), n(1)];
    let reduce = |f| Op::Reduce { f, axes: vec![2], keep: true };
    let most = t.op(reduce(ReduceOp::Max), &[scores], F, &row);
    let below = t.binary(BinaryOp::Sub, scores, most);
    let shares = t.unary(UnaryOp::Exp, below);
    let sum = t.op(reduce(ReduceOp::Sum), &[shares], F, &row);
    let weights = t.binary(BinaryOp::Div, shares, sum);
    let context = t.matmul(weights, v);
    let context = t.reshape(context, &[b(), n(HEADS), s(), n(SIZE)]);
    merged(&mut t, context);
    let graph = lifted(&t);
    assert_eq!(super::ops(&graph), 7, "{graph}");
    assert!(lines(&graph, "attention")[0].contains("scale = 0.5"));
}

#[test]
fn slopes_times_distance_are_alibi() {
    for causal in [false, true] {
        let mut t = Sketch::new(40);
        let [q, k, v] = heads(&mut t);
        let distance = distances(&mut t);
        let distance = if causal { distance } else { t.unary(UnaryOp::Abs, distance) };
        let distance = t.cast(distance, F);
        let distance = t.unary(UnaryOp::Neg, distance);
        let slopes = Constant {
            kind: F,
            shape: vec![HEADS, 1, 1],
            values: Values::Float(vec![0.25, 0.0625]),
        };
        let slopes = t.op(Op::Constant(slopes), &[], F, &[n(HEADS), n(1), n(1)]);
        let bias = t.mul(distance, slopes);
        let scores = scores(&mut t, q, k, 0.5);
        let mut scores = t.add(scores, bias);
        if causal {
            let (zero, least) = (t.int(0), t.float(-1e9));
            let distance = distances(&mut t);
            let seen = t.binary(BinaryOp::Ge, distance, zero);
            scores = t.select(seen, scores, least);
        }
        weighted(&mut t, scores, v);
        let found = lines(&lifted(&t), "attention").remove(0);
        assert!(found.contains("bias = alibi([0.25, 0.0625])"), "{found}");
        assert_eq!(found.contains("causal"), causal);
    }
}

/// T5's rule for 8 buckets up to distance 16, in the reference's steps, of `j - i`.
fn t5_buckets(t: &mut Sketch, relative: ValueId) -> ValueId {
    let (zero, four, two, three) = (t.int(0), t.int(4), t.int(2), t.int(3));
    let later = t.binary(BinaryOp::Gt, relative, zero);
    let later = t.cast(later, Kind::Int);
    let first = t.mul(later, four);
    let far = t.unary(UnaryOp::Abs, relative);
    let near = t.binary(BinaryOp::Lt, far, two);
    let steps = t.cast(far, F);
    let steps = t.binary(BinaryOp::Div, steps, two);
    let steps = t.unary(UnaryOp::Log, steps);
    let top = t.float((16f64 / 2.0).ln());
    let steps = t.binary(BinaryOp::Div, steps, top);
    let steps = t.mul(steps, two);
    let steps = t.cast(steps, Kind::Int);
    let steps = t.add(steps, two);
    let steps = t.binary(BinaryOp::Min, steps, three);
    let row = t.select(near, far, steps);
    t.add(first, row)
}

#[test]
fn rows_of_a_table_by_distance_are_a_relative_bias_with_its_mask() {
    let mut t = Sketch::new(40);
    let [q, k, v] = heads(&mut t);
    let distance = distances(&mut t);
    let relative = t.unary(UnaryOp::Neg, distance);
    let buckets = t5_buckets(&mut t, relative);
    let table = t.weight("bias", &[8, HEADS]);
    let bias = t.embedding(table, buckets);
    let bias = t.permute(bias, &[2, 0, 1]);
    let bias = t.reshape(bias, &[n(1), n(HEADS), s(), s()]);
    let (limit, least) = (t.int(-30), t.float(-3.4028234663852886e38));
    let seen = t.binary(BinaryOp::Gt, distance, limit);
    let bias = t.select(seen, bias, least);
    let scores = scores(&mut t, q, k, 1.0);
    let scores = t.add(scores, bias);
    weighted(&mut t, scores, v);
    let found = lines(&lifted(&t), "attention").remove(0);
    assert!(found.contains("mask = band(*, 29), bias = relative(t5(8, 16, both))"), "{found}");
}

#[test]
fn products_with_tables_looked_up_by_distance_are_disentangled() {
    let mut t = Sketch::new(12);
    let [q, k, v] = heads(&mut t);
    let table = t.weight("positions", &[8, WIDTH]);
    let tables = ["pos_k", "pos_q"].map(|name| {
        let rows = t.linear(table, name, [WIDTH, WIDTH]);
        let split = t.reshape(rows, &[n(1), n(8), n(HEADS), n(SIZE)]);
        t.permute(split, &[0, 2, 3, 1])
    });
    let clipped = |t: &mut Sketch, distance| {
        let (span, zero, top) = (t.int(4), t.int(0), t.int(7));
        let row = t.add(distance, span);
        let row = t.binary(BinaryOp::Max, row, zero);
        let row = t.binary(BinaryOp::Min, row, top);
        t.expand(row, &[b(), n(HEADS), s(), s()])
    };
    let distance = distances(&mut t);
    let by_query = clipped(&mut t, distance);
    let negated = t.unary(UnaryOp::Neg, distance);
    let by_key = clipped(&mut t, negated);
    let whole = [b(), n(HEADS), s(), s()];
    let scale = t.float(0.25);
    let scores = scores(&mut t, q, k, 0.25);
    let c2p = t.op(Op::MatMul, &[q, tables[0]], F, &[b(), n(HEADS), s(), n(8)]);
    let c2p = t.op(Op::Gather { axis: 3 }, &[c2p, by_query], F, &whole);
    let c2p = t.mul(c2p, scale);
    let p2c = t.op(Op::MatMul, &[k, tables[1]], F, &[b(), n(HEADS), s(), n(8)]);
    let p2c = t.op(Op::Gather { axis: 3 }, &[p2c, by_key], F, &whole);
    let p2c = t.permute(p2c, &[0, 1, 3, 2]);
    let p2c = t.mul(p2c, scale);
    let scores = t.add(scores, c2p);
    let scores = t.add(scores, p2c);
    weighted(&mut t, scores, v);
    let graph = lifted(&t);
    let found = lines(&graph, "attention").remove(0);
    assert!(found.contains("bias = disentangled(clip(4), c2p, p2c)"), "{found}");
}

#[test]
fn keys_shared_by_heads_are_read_where_they_lie() {
    for whole in [true, false] {
        let graph = lifted(&shared(whole));
        assert!(lines(&graph, "concat").is_empty(), "{graph}");
        let attention = lines(&graph, "attention");
        assert!(attention[0].contains("heads = 2, head_size = 4, group = 2"), "{attention:?}");
    }
}

/// Attention, whole or written out, of two heads that share one of keys and values.
fn shared(whole: bool) -> Sketch {
    let mut t = Sketch::new(12);
    let [q, _, _] = heads(&mut t);
    let x = t.input("z", F, &[b(), s(), n(WIDTH)]);
    let [k, v] = ["one_k", "one_v"].map(|name| {
        let rows = t.linear(x, name, [SIZE, WIDTH]);
        let split = t.reshape(rows, &[b(), s(), n(1), n(1), n(SIZE)]);
        let turned = t.permute(split, &[0, 2, 3, 1, 4]);
        let every = t.expand(turned, &[b(), n(1), n(HEADS), s(), n(SIZE)]);
        t.reshape(every, &[b(), n(HEADS), s(), n(SIZE)])
    });
    if whole {
        let shape = t.ty(q).shape;
        let op = Op::Attention { scale: 0.5, causal: true };
        let context = t.op(op, &[q, k, v], F, &shape);
        merged(&mut t, context);
    } else {
        let scores = scores(&mut t, q, k, 0.5);
        weighted(&mut t, scores, v);
    }
    t
}

#[test]
fn long_tables_are_looked_at_by_some_of_their_positions() {
    let mut t = Sketch::new(1 << 16);
    let [q, k, v] = heads(&mut t);
    let distance = distances(&mut t);
    let far = t.unary(UnaryOp::Abs, distance);
    let window = t.int(1000);
    let seen = t.binary(BinaryOp::Le, far, window);
    let least = t.float(-3.4028234663852886e38);
    let table = t.weight("bias", &[64, HEADS]);
    let (half, top, zero) = (t.int(32), t.int(63), t.int(0));
    let rows = t.add(distance, half);
    let rows = t.binary(BinaryOp::Min, rows, top);
    let rows = t.binary(BinaryOp::Max, rows, zero);
    let bias = t.embedding(table, rows);
    let bias = t.permute(bias, &[2, 0, 1]);
    let scores = scores(&mut t, q, k, 1.0);
    let scores = t.add(scores, bias);
    let scores = t.select(seen, scores, least);
    weighted(&mut t, scores, v);
    let graph = lift(&t.trace, &LiftOptions::default()).unwrap().graph;
    let found = lines(&graph, "attention").remove(0);
    assert!(found.contains("mask = band(1000, 1000), bias = relative(clip(32))"), "{found}");
}
