//! Rotary positions in the ways that libraries write them.

use super::attention::{heads, merged, scores};
use super::{lifted, lines};
use crate::op::{BinaryOp, Op, UnaryOp};
use crate::program::{Kind, ValueId};
use crate::sketch::{Sketch, b, n, s};

const F: Kind = Kind::Float;

/// Angles `[S, pairs]` of positions times `base^(-2 c / dims)`.
fn angles(t: &mut Sketch, dims: u64, base: f64) -> ValueId {
    let pairs = n(dims / 2);
    let pair = t.op(Op::Arange { start: 0, step: 2 }, &[], Kind::Int, &[pairs]);
    let pair = t.cast(pair, F);
    let width = t.float(dims as f64);
    let exponent = t.binary(BinaryOp::Div, pair, width);
    let base = t.float(base);
    let power = t.binary(BinaryOp::Pow, base, exponent);
    let frequency = t.unary(UnaryOp::Reciprocal, power);
    let place = t.arange(s());
    let place = t.cast(place, F);
    let place = t.reshape(place, &[s(), n(1)]);
    t.mul(place, frequency)
}

fn part(t: &mut Sketch, x: ValueId, start: u64, width: u64) -> ValueId {
    let mut shape = t.ty(x).shape;
    let axis = shape.len() - 1;
    shape[axis] = n(width);
    t.op(Op::Slice { axis, start: n(start), step: 1 }, &[x], F, &shape)
}

fn joined(t: &mut Sketch, xs: &[ValueId]) -> ValueId {
    let mut shape = t.ty(xs[0]).shape;
    let axis = shape.len() - 1;
    let widths = xs.iter().map(|&x| t.ty(x).shape[axis].clone());
    shape[axis] = widths.reduce(|a, b| a + b).unwrap();
    t.op(Op::Concat { axis }, xs, F, &shape)
}

/// `x cos + rotate_half(x) sin` of the first `dims` columns of `width`.
fn halves(t: &mut Sketch, x: ValueId, [dims, width]: [u64; 2], base: f64) -> ValueId {
    let angles = angles(t, dims, base);
    let angles = joined(t, &[angles, angles]);
    let (cos, sin) = (t.unary(UnaryOp::Cos, angles), t.unary(UnaryOp::Sin, angles));
    let turned = if dims == width { x } else { part(t, x, 0, dims) };
    let (a, c) = (part(t, turned, 0, dims / 2), part(t, turned, dims / 2, dims / 2));
    let negated = t.unary(UnaryOp::Neg, c);
    let across = joined(t, &[negated, a]);
    let kept = t.mul(turned, cos);
    let across = t.mul(across, sin);
    let turned = t.add(kept, across);
    if dims == width {
        return turned;
    }
    let rest = part(t, x, dims, width - dims);
    joined(t, &[turned, rest])
}

/// Attention whose queries and keys are turned in this way; the rotations found.
fn turned(turn: impl Fn(&mut Sketch, ValueId) -> ValueId) -> Vec<String> {
    let mut t = Sketch::new(60);
    let [q, k, v] = heads(&mut t);
    let (q, k) = (turn(&mut t, q), turn(&mut t, k));
    let scores = scores(&mut t, q, k, 0.5);
    let weights = t.softmax(scores);
    let context = t.matmul(weights, v);
    merged(&mut t, context);
    lines(&lifted(&t), "rotary")
}

#[test]
fn halves_turned_against_each_other_are_a_rotation() {
    let found = turned(|t, x| halves(t, x, [4, 4], 10_000.0));
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|line| line.contains("rotary = half(4, 10000.0)")), "{found:?}");
    let found = turned(|t, x| halves(t, x, [4, 4], 160_000.0));
    assert!(found[0].contains("rotary = half(4, 160000.0)"), "{found:?}");
    let found = turned(|t, x| halves(t, x, [2, 4], 10_000.0));
    assert!(found[0].contains("rotary = half(2, 10000.0)"), "{found:?}");
}

#[test]
fn a_named_rotation_takes_its_base_from_its_tables() {
    for interleaved in [false, true] {
        let found = turned(|t, x| {
            let angles = angles(t, 4, 500.0);
            let (cos, sin) = (t.unary(UnaryOp::Cos, angles), t.unary(UnaryOp::Sin, angles));
            let shape = t.ty(x).shape;
            t.op(Op::Rope { interleaved }, &[x, cos, sin], F, &shape)
        });
        let pairs = if interleaved { "interleaved" } else { "half" };
        assert!(found[0].contains(&format!("rotary = {pairs}(4, 500.0)")), "{found:?}");
    }
}

#[test]
fn heads_may_stay_beside_each_other_while_rows_turn() {
    let mut t = Sketch::new(20);
    let x = t.input("x", F, &[b(), s(), n(2), n(4)]);
    let angles = angles(&mut t, 4, 10_000.0);
    let angles = joined(&mut t, &[angles, angles]);
    let angles = t.reshape(angles, &[s(), n(1), n(4)]);
    let (cos, sin) = (t.unary(UnaryOp::Cos, angles), t.unary(UnaryOp::Sin, angles));
    let (a, c) = (part(&mut t, x, 0, 2), part(&mut t, x, 2, 2));
    let negated = t.unary(UnaryOp::Neg, c);
    let across = joined(&mut t, &[negated, a]);
    let (kept, across) = (t.mul(x, cos), t.mul(across, sin));
    let y = t.add(kept, across);
    t.output("y", y);
    let graph = lifted(&t);
    assert_eq!(lines(&graph, "rotary").len(), 1);
    assert_eq!(super::ops(&graph), 3, "{graph}");
}
