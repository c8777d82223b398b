//! The batch is followed through what models do, and every op that mixes samples is refused by name.

use std::collections::BTreeMap;

use bytec_ir::dim::Dim;
use bytec_ir::eval::{Data, Tensor};
use bytec_ir::sample::Random;

use super::erase_batch;
use crate::eval::eval;
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::program::{Kind, ValueId};
use crate::sketch::{Sketch, b, n, s};

const F: Kind = Kind::Float;

fn rows(t: &mut Sketch) -> ValueId {
    t.input("x", F, &[b(), s(), n(6)])
}

/// What a program is refused for.
fn refused(build: impl FnOnce(&mut Sketch, ValueId) -> ValueId) -> String {
    let mut t = Sketch::new(8);
    t.module("encoder");
    let x = rows(&mut t);
    let y = build(&mut t, x);
    t.output("y", y);
    erase_batch(&t.trace).unwrap_err().to_string()
}

#[test]
fn every_op_that_mixes_samples_is_refused_with_its_name_its_module_and_the_reason() {
    let all = [n(6)];
    let like = |t: &mut Sketch, x, op| {
        let shape = t.ty(x).shape;
        t.op(op, &[x], F, &shape)
    };
    let reduce = |f, axes: &[usize]| Op::Reduce { f, axes: axes.to_vec(), keep: false };
    let cases: Vec<(String, &str)> = vec![
        (
            refused(|t, x| t.op(reduce(ReduceOp::Mean, &[0, 1]), &[x], F, &all)),
            "aten.reduce v1 in encoder: it reduces over the samples: axis 0 carries the batch",
        ),
        (
            refused(|t, x| like(t, x, Op::Softmax { axis: 0 })),
            "aten.softmax v1 in encoder: it normalises over the samples",
        ),
        (refused(|t, x| like(t, x, Op::CumSum { axis: 0 })), "it adds up samples"),
        (
            refused(|t, x| t.op(Op::Diff { axis: 0 }, &[x], F, &[b() - n(1), s(), n(6)])),
            "it takes differences of samples",
        ),
        (refused(|t, x| like(t, x, Op::Flip { axis: 0 })), "it reverses the samples' order"),
        (
            refused(|t, x| t.op(Op::Select { axis: 0, index: n(0) }, &[x], F, &[s(), n(6)])),
            "it takes one of the samples",
        ),
        (
            refused(|t, x| {
                let op = Op::Slice { axis: 0, start: n(0), step: 1 };
                t.op(op, &[x], F, &[n(1), s(), n(6)])
            }),
            "it takes some of the samples",
        ),
        (
            refused(|t, x| t.op(Op::Concat { axis: 0 }, &[x, x], F, &[b() + b(), s(), n(6)])),
            "it puts samples one after the other",
        ),
        (
            refused(|t, x| t.op(Op::Repeat, &[x], F, &[b() + b(), s(), n(6)])),
            "it repeats the samples along axis 0",
        ),
        (
            refused(|t, x| t.reshape(x, &[s(), b(), n(6)])),
            "it lays samples into one another: the batch, axis 0 of [B, S, 6]",
        ),
        (
            refused(|t, x| {
                let turned = t.permute(x, &[1, 0, 2]);
                t.reshape(turned, &[s() * b(), n(6)])
            }),
            "it lays samples into one another: the batch, axis 1 of [S, B, 6]",
        ),
        (
            refused(|t, x| {
                let first = t.op(Op::Select { axis: 1, index: n(0) }, &[x], F, &[b(), n(6)]);
                let one = t.reshape(first, &[b(), n(1), n(6)]);
                let other = t.reshape(first, &[n(1), b(), n(6)]);
                t.op(Op::Binary(BinaryOp::Add), &[one, other], F, &[b(), b(), n(6)])
            }),
            "it pairs every sample with every other: the batch lies along axis 0 of one operand and axis 1 of another",
        ),
        (
            refused(|t, x| {
                let flat = t.op(Op::Select { axis: 1, index: n(0) }, &[x], F, &[b(), n(6)]);
                let turned = t.permute(flat, &[1, 0]);
                t.matmul(turned, flat)
            }),
            "it contracts over the samples",
        ),
        (
            refused(|t, x| {
                let flat = t.op(Op::Select { axis: 1, index: n(0) }, &[x], F, &[b(), n(6)]);
                let turned = t.permute(flat, &[1, 0]);
                t.matmul(flat, turned)
            }),
            "it multiplies every sample by every other",
        ),
        (
            refused(|t, x| {
                let turned = t.permute(x, &[1, 0, 2]);
                let op = Op::Attention { scale: 1.0, causal: false };
                t.op(op, &[turned, turned, turned], F, &[s(), b(), n(6)])
            }),
            "it lets samples see one another",
        ),
        (
            refused(|t, x| {
                let numbers = t.arange(b());
                let numbers = t.cast(numbers, F);
                let numbers = t.unary(UnaryOp::Neg, numbers);
                let numbers = t.reshape(numbers, &[b(), n(1), n(1)]);
                t.mul(x, numbers)
            }),
            "the result would depend on a sample's number in the batch",
        ),
        (
            refused(|t, x| {
                let turned = t.permute(x, &[1, 2, 0]);
                t.op(Op::LayerNorm { axes: 1, eps: 1e-5 }, &[turned], F, &[s(), n(6), b()])
            }),
            "it normalises over the samples",
        ),
        (
            refused(|t, x| {
                let first = t.int(0);
                let first = t.reshape(first, &[n(1)]);
                t.op(Op::IndexSelect { axis: 0 }, &[x, first], F, &[n(1), s(), n(6)])
            }),
            "it picks samples",
        ),
        (
            refused(|t, _| t.input("shared", F, &[n(3)])),
            "expected an input whose first axis is the batch B, found float[3]",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    }
}

#[test]
fn all_refusals_come_at_once_and_what_no_output_needs_is_not_looked_at() {
    let mut t = Sketch::new(8);
    let x = rows(&mut t);
    let flipped = t.op(Op::Flip { axis: 0 }, &[x], F, &[b(), s(), n(6)]);
    let summed = t.op(Op::CumSum { axis: 0 }, &[flipped], F, &[b(), s(), n(6)]);
    t.op(Op::Softmax { axis: 0 }, &[x], F, &[b(), s(), n(6)]);
    t.output("y", summed);
    let refusals = erase_batch(&t.trace).unwrap_err();
    let ops: Vec<_> = refusals.0.iter().map(|refusal| refusal.op.as_str()).collect();
    assert_eq!(ops, ["aten.flip", "aten.cumsum"]);
}

/// Heads folded into the batch and out again, a table repeated over the batch, each sample's row picked by number.
fn folded() -> Sketch {
    let mut t = Sketch::new(8);
    let x = rows(&mut t);
    let split = t.reshape(x, &[b(), s(), n(2), n(3)]);
    let heads = t.permute(split, &[0, 2, 1, 3]);
    let folds = n(2) * b();
    let folded = t.reshape(heads, &[folds.clone(), s(), n(3)]);
    let table = t.weight("table", &[2, 4, 3]);
    let table = t.op(Op::Repeat, &[table], F, &[folds.clone(), n(4), n(3)]);
    let table = t.permute(table, &[0, 2, 1]);
    let scores = t.matmul(folded, table);
    let out = t.reshape(scores, &[b(), n(2), s(), n(4)]);
    let token = t.weight("token", &[1, 1, 6]);
    let token = t.expand(token, &[b(), n(1), n(6)]);
    let longer = t.op(Op::Concat { axis: 1 }, &[token, x], F, &[b(), s() + n(1), n(6)]);
    let sums = t.op(
        Op::Reduce { f: ReduceOp::Sum, axes: vec![2], keep: false },
        &[longer],
        F,
        &[b(), s() + n(1)],
    );
    let largest = Op::Reduce { f: ReduceOp::ArgMax, axes: vec![1], keep: false };
    let largest = t.op(largest, &[sums], Kind::Int, &[b()]);
    let numbers = t.arange(b());
    let own = t.op(Op::Index, &[longer, numbers, largest], F, &[b(), n(6)]);
    t.output("scores", out);
    t.output("own", own);
    t
}

#[test]
fn the_program_of_one_sample_gives_each_samples_part_of_the_batch() {
    let t = folded();
    let sample = erase_batch(&t.trace).unwrap();
    assert_eq!(sample.batch, None);
    assert_eq!(sample.symbols.len(), 1);
    let shapes: Vec<Vec<Dim>> =
        sample.outputs.iter().map(|(_, value)| sample.node(*value).ty.shape.clone()).collect();
    assert_eq!(shapes, [vec![n(2), s(), n(4)], vec![n(6)]]);
    let mut random = Random::new(5);
    let mut tensor = |shape: &[usize]| {
        let count = shape.iter().product();
        Tensor::floats(shape, (0..count).map(|_| random.real()).collect()).unwrap()
    };
    let weights = BTreeMap::from([
        ("table".to_owned(), tensor(&[2, 4, 3])),
        ("token".to_owned(), tensor(&[1, 1, 6])),
    ]);
    let (batch, length) = (3, 5);
    let x = tensor(&[batch, length, 6]);
    let inputs = |x: Tensor| BTreeMap::from([("x".to_owned(), x)]);
    let whole = eval(&t.trace, &inputs(x.clone()), &weights).unwrap();
    for i in 0..batch {
        let one = part(&x, batch, i);
        let alone = eval(&sample, &inputs(one), &weights).unwrap();
        for (name, tensor) in &alone {
            assert_eq!(tensor.data, part(&whole[name], batch, i).data, "{name} of sample {i}");
        }
    }
}

/// Sample `i` of a tensor whose first axis is the batch.
fn part(x: &Tensor, batch: usize, i: usize) -> Tensor {
    let size = x.len() / batch;
    let data = x.as_floats().unwrap()[i * size..][..size].to_vec();
    Tensor { shape: x.shape[1..].to_vec(), data: Data::Float(data) }
}

#[test]
fn a_program_without_a_batch_passes() {
    let mut t = Sketch::new(8);
    t.trace.batch = None;
    t.trace.symbols.remove(0);
    let x = t.input("x", F, &[s(), n(6)]);
    let y = t.op(Op::Softmax { axis: 0 }, &[x], F, &[s(), n(6)]);
    t.output("y", y);
    let sample = erase_batch(&t.trace).unwrap();
    assert_eq!(sample.nodes().count(), 2);
}
