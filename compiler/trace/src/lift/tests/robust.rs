//! A trace that says anything at all is lifted or refused; nothing panics.

use bytec_ir::dim::Dim;
use bytec_ir::sample::Random;

use super::super::{LiftOptions, lift};
use super::attention::{heads, merged, scores};
use crate::op::{BinaryOp, Op, ReduceOp};
use crate::program::{Kind, Trace, Type, ValueId};
use crate::sketch::{Sketch, b, n, s};

/// A little of everything.
fn program() -> Trace {
    let mut t = Sketch::new(9);
    let [q, k, v] = heads(&mut t);
    let i = t.arange(s());
    let j = t.reshape(i, &[s(), n(1)]);
    let distance = t.binary(BinaryOp::Sub, j, i);
    let zero = t.int(0);
    let seen = t.binary(BinaryOp::Ge, distance, zero);
    let scores = scores(&mut t, q, k, 0.5);
    let least = t.float(-1e9);
    let masked = t.select(seen, scores, least);
    let weights = t.softmax(masked);
    let context = t.matmul(weights, v);
    merged(&mut t, context);
    let rows = t.trace.outputs[0].1;
    let gamma = t.weight("gamma", &[8]);
    let shape = t.ty(rows).shape;
    let normed = t.op(Op::RmsNorm { eps: 1e-6 }, &[rows, gamma], Kind::Float, &shape);
    let first = t.op(Op::Select { axis: 1, index: n(0) }, &[normed], Kind::Float, &[b(), n(8)]);
    let mean = Op::Reduce { f: ReduceOp::Mean, axes: vec![1], keep: true };
    let mean = t.op(mean, &[normed], Kind::Float, &[b(), n(1), n(8)]);
    let joined = Op::Concat { axis: 1 };
    let joined = t.op(joined, &[mean, normed], Kind::Float, &[b(), s() + n(1), n(8)]);
    t.output("first", first);
    t.output("joined", joined);
    t.trace
}

/// The program with one thing changed.
fn changed(trace: &Trace, random: &mut Random) -> Trace {
    let mut out = Trace::new(trace.symbols.clone(), trace.batch.clone());
    if random.chance(10) {
        out.batch = None;
    }
    let ids: Vec<ValueId> = trace.nodes().map(|(id, _)| id).collect();
    let at = random.below(ids.len());
    for (place, (_, node)) in trace.nodes().enumerate() {
        let (mut op, mut operands, mut ty) =
            (node.op.clone(), node.operands.clone(), node.ty.clone());
        if place == at {
            change(random, &mut op, &mut operands, &mut ty, &ids[..place]);
        }
        out.push(op, operands, ty, node.source.clone()).unwrap();
    }
    out.outputs.clone_from(&trace.outputs);
    out
}

fn change(
    random: &mut Random,
    op: &mut Op,
    operands: &mut Vec<ValueId>,
    ty: &mut Type,
    earlier: &[ValueId],
) {
    let dims = [n(0), n(1), n(3), s(), b(), s() * b(), s() - n(2), Dim::fixed(u64::MAX)];
    match random.below(6) {
        0 if !ty.shape.is_empty() => {
            let axis = random.below(ty.shape.len());
            ty.shape[axis] = dims[random.below(dims.len())].clone();
        }
        1 => ty.kind = [Kind::Float, Kind::Int, Kind::Bool][random.below(3)],
        2 if !earlier.is_empty() => match random.below(3) {
            0 => operands.push(earlier[random.below(earlier.len())]),
            1 => drop(operands.pop()),
            _ if operands.is_empty() => {}
            _ => {
                let place = random.below(operands.len());
                operands[place] = earlier[random.below(earlier.len())];
            }
        },
        3 => drop(ty.shape.pop()),
        4 => ty.shape.push(dims[random.below(dims.len())].clone()),
        _ => {
            let axis = random.below(5);
            let others = [
                Op::Softmax { axis },
                Op::Select { axis, index: s() },
                Op::Slice { axis, start: s(), step: 2 },
                Op::Permute { perm: vec![axis, 0, 1] },
                Op::Concat { axis },
                Op::Gather { axis },
                Op::Index,
                Op::IndexSelect { axis },
                Op::Reduce { f: ReduceOp::Max, axes: vec![axis, 1], keep: false },
                Op::CumSum { axis },
                Op::MatMul,
                Op::Linear,
                Op::LayerNorm { axes: axis, eps: 0.0 },
                Op::Attention { scale: f64::NAN, causal: true },
                Op::Rope { interleaved: true },
                Op::Expand,
                Op::Repeat,
                Op::Full,
                Op::Where,
                Op::Diff { axis },
                Op::Conv {
                    stride: vec![axis as u64],
                    padding: vec![u64::MAX],
                    dilation: vec![1],
                    groups: 0,
                },
            ];
            *op = others[random.below(others.len())].clone();
        }
    }
}

#[test]
fn changed_programs_are_lifted_or_refused() {
    let whole = program();
    lift(&whole, &LiftOptions::default()).unwrap();
    let mut random = Random::new(11);
    let mut refused = 0;
    for _ in 0..3000 {
        let mut trace = changed(&whole, &mut random);
        if random.chance(40) {
            trace = changed(&trace, &mut random);
        }
        refused += usize::from(lift(&trace, &LiftOptions::default()).is_err());
    }
    assert!(refused > 1000, "only {refused} refused");
}
