//! The evaluator against values worked out by hand, and its refusals.

use std::collections::BTreeMap;

use bytec_ir::dim::{Bindings, Dim, Symbol};
use bytec_ir::eval::{Data, Tensor};
use bytec_ir::sample::Random;

use super::{Run, eval};
use crate::constant::{Constant, Values};
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::program::{Kind, ValueId};
use crate::sketch::{Sketch, b, n, s};

/// A value that needs no input, at a length.
fn at(sketch: &Sketch, value: ValueId, length: u64) -> Tensor {
    let bindings = Bindings::from([(Symbol::new("S"), length), (Symbol::new("B"), 2)]);
    let (inputs, weights) = (BTreeMap::new(), BTreeMap::new());
    let run = Run { trace: &sketch.trace, bindings: &bindings, inputs: &inputs, weights: &weights };
    run.values(&[value], BTreeMap::new()).unwrap().remove(0)
}

fn ints(sketch: &Sketch, value: ValueId, length: u64) -> Vec<i64> {
    at(sketch, value, length).as_ints().unwrap().to_vec()
}

fn table(sketch: &mut Sketch, shape: &[u64], values: &[f64]) -> ValueId {
    let constant = Constant {
        kind: Kind::Float,
        shape: shape.to_vec(),
        values: Values::Float(values.to_vec()),
    };
    let dims: Vec<_> = shape.iter().map(|&extent| n(extent)).collect();
    sketch.op(Op::Constant(constant), &[], Kind::Float, &dims)
}

fn whole(sketch: &mut Sketch, values: &[i64]) -> ValueId {
    let shape = vec![values.len() as u64];
    let constant = Constant { kind: Kind::Int, shape, values: Values::Int(values.to_vec()) };
    sketch.op(Op::Constant(constant), &[], Kind::Int, &[n(values.len() as u64)])
}

#[test]
fn a_logarithm_of_zero_becomes_the_least_integer_and_does_not_trap() {
    let mut t = Sketch::new(8);
    let i = t.arange(s());
    let x = t.cast(i, Kind::Float);
    let log = t.unary(UnaryOp::Log, x);
    let bucket = t.cast(log, Kind::Int);
    let minus = t.int(-8);
    let shifted = t.add(bucket, minus);
    assert_eq!(at(&t, log, 2).as_floats().unwrap(), [f64::NEG_INFINITY, 0.0]);
    assert_eq!(ints(&t, bucket, 2), [i64::MIN, 0]);
    assert_eq!(ints(&t, shifted, 2), [i64::MIN.wrapping_sub(8), -8]);
}

#[test]
fn values_of_the_sizes_alone_are_rounded_to_f32_and_others_are_not() {
    let mut t = Sketch::new(8);
    let (one, three) = (t.float(1.0), t.float(3.0));
    let third = t.binary(BinaryOp::Div, one, three);
    let x = t.input("x", Kind::Float, &[b(), s()]);
    let y = t.binary(BinaryOp::Div, x, three);
    t.output("third", third);
    t.output("y", y);
    let x = Tensor::floats(&[1, 1], vec![1.0]).unwrap();
    let outputs = eval(&t.trace, &BTreeMap::from([("x".to_owned(), x)]), &BTreeMap::new()).unwrap();
    assert_eq!(outputs["third"].as_floats().unwrap(), [f64::from(1.0f32 / 3.0)]);
    assert_eq!(outputs["y"].as_floats().unwrap(), [1.0 / 3.0]);
}

#[test]
fn integer_functions_round_down_and_keep_the_divisors_sign() {
    let mut t = Sketch::new(8);
    let x = whole(&mut t, &[-7, -1, 0, 7]);
    let two = t.int(2);
    let down = t.binary(BinaryOp::FloorDiv, x, two);
    let rest = t.binary(BinaryOp::Remainder, x, two);
    let half = t.binary(BinaryOp::Div, x, two);
    let sign = t.unary(UnaryOp::Sign, x);
    assert_eq!(ints(&t, down, 1), [-4, -1, 0, 3]);
    assert_eq!(ints(&t, rest, 1), [1, 1, 0, 1]);
    assert_eq!(at(&t, half, 1).as_floats().unwrap(), [-3.5, -0.5, 0.0, 3.5]);
    assert_eq!(ints(&t, sign, 1), [-1, -1, 0, 1]);
}

#[test]
fn layouts_move_what_pytorch_moves() {
    let mut t = Sketch::new(8);
    let x = table(&mut t, &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let turned = t.permute(x, &[1, 0]);
    assert_eq!(at(&t, turned, 1).as_floats().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    let slice = Op::Slice { axis: 1, start: n(0), step: 2 };
    let slice = t.op(slice, &[x], Kind::Float, &[n(2), n(2)]);
    assert_eq!(at(&t, slice, 1).as_floats().unwrap(), [0.0, 2.0, 3.0, 5.0]);
    let last = t.op(Op::Select { axis: 0, index: s() - n(1) }, &[x], Kind::Float, &[n(3)]);
    assert_eq!(at(&t, last, 2).as_floats().unwrap(), [3.0, 4.0, 5.0]);
    let flipped = t.op(Op::Flip { axis: 1 }, &[x], Kind::Float, &[n(2), n(3)]);
    assert_eq!(at(&t, flipped, 1).as_floats().unwrap(), [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
    let repeated = t.op(Op::Repeat, &[turned], Kind::Float, &[n(1), n(3), n(4)]);
    assert_eq!(at(&t, repeated, 1).as_floats().unwrap()[..4], [0.0, 3.0, 0.0, 3.0]);
    let both = t.op(Op::Concat { axis: 1 }, &[x, slice], Kind::Float, &[n(2), n(5)]);
    assert_eq!(at(&t, both, 1).as_floats().unwrap()[..5], [0.0, 1.0, 2.0, 0.0, 2.0]);
    let rows = whole(&mut t, &[1, -2]);
    let picked = t.op(Op::IndexSelect { axis: 0 }, &[x, rows], Kind::Float, &[n(2), n(3)]);
    assert_eq!(at(&t, picked, 1).as_floats().unwrap()[..3], [3.0, 4.0, 5.0]);
    let one = t.op(Op::Index, &[x, rows, rows], Kind::Float, &[n(2)]);
    assert_eq!(at(&t, one, 1).as_floats().unwrap(), [4.0, 1.0]);
    let index = t.reshape(rows, &[n(1), n(2)]);
    let gathered = t.op(Op::Gather { axis: 1 }, &[x, index], Kind::Float, &[n(1), n(2)]);
    assert_eq!(at(&t, gathered, 1).as_floats().unwrap(), [1.0, 1.0]);
}

#[test]
fn reductions_look_along_their_axes() {
    let mut t = Sketch::new(8);
    let x = table(&mut t, &[2, 3], &[0.0, 5.0, 2.0, 3.0, 4.0, 4.0]);
    let mut reduced = |f, axes: &[usize], keep, kind, shape: &[Dim]| {
        let op = Op::Reduce { f, axes: axes.to_vec(), keep };
        t.op(op, &[x], kind, shape)
    };
    let sum = reduced(ReduceOp::Sum, &[0], false, Kind::Float, &[n(3)]);
    let mean = reduced(ReduceOp::Mean, &[0, 1], true, Kind::Float, &[n(1), n(1)]);
    let arg = reduced(ReduceOp::ArgMax, &[1], false, Kind::Int, &[n(2)]);
    let all = reduced(ReduceOp::All, &[1], false, Kind::Bool, &[n(2)]);
    assert_eq!(at(&t, sum, 1).as_floats().unwrap(), [3.0, 9.0, 6.0]);
    assert_eq!(at(&t, mean, 1), Tensor { shape: vec![1, 1], data: Data::Float(vec![3.0]) });
    assert_eq!(ints(&t, arg, 1), [1, 1]);
    assert_eq!(ints(&t, all, 1), [0, 1]);
    let running = t.op(Op::CumSum { axis: 1 }, &[x], Kind::Float, &[n(2), n(3)]);
    assert_eq!(at(&t, running, 1).as_floats().unwrap(), [0.0, 5.0, 7.0, 3.0, 7.0, 11.0]);
    let steps = t.op(Op::Diff { axis: 0 }, &[x], Kind::Float, &[n(1), n(3)]);
    assert_eq!(at(&t, steps, 1).as_floats().unwrap(), [3.0, -1.0, 2.0]);
    let columns = t.op(Op::Softmax { axis: 0 }, &[x], Kind::Float, &[n(2), n(3)]);
    let found = at(&t, columns, 1);
    assert!((found.as_floats().unwrap()[0] - 1.0 / (1.0 + 3f64.exp())).abs() < 1e-7);
}

#[test]
fn a_convolution_pads_strides_and_keeps_groups_apart() {
    let mut t = Sketch::new(8);
    let x = table(&mut t, &[1, 2, 4], &[1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0]);
    let weight = table(&mut t, &[2, 1, 3], &[1.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    let bias = table(&mut t, &[2], &[0.0, 0.5]);
    let op = Op::Conv { stride: vec![2], padding: vec![1], dilation: vec![1], groups: 2 };
    let y = t.op(op, &[x, weight, bias], Kind::Float, &[n(1), n(2), n(2)]);
    assert_eq!(at(&t, y, 1).as_floats().unwrap(), [3.0, 9.0, 20.5, 40.5]);
}

#[test]
fn attention_takes_both_sorts_of_mask() {
    let mut t = Sketch::new(8);
    let rows = table(&mut t, &[2, 1], &[0.0, 0.0]);
    let value = table(&mut t, &[2, 1], &[1.0, 3.0]);
    let mask = t.op(Op::Constant(Constant::int(0)), &[], Kind::Bool, &[]);
    let op = Op::Attention { scale: 1.0, causal: true };
    let causal = t.op(op, &[rows, rows, value], Kind::Float, &[n(2), n(1)]);
    assert_eq!(at(&t, causal, 1).as_floats().unwrap(), [1.0, 2.0]);
    let added = table(&mut t, &[1, 2], &[f64::NEG_INFINITY, 0.0]);
    let op = Op::Attention { scale: 1.0, causal: false };
    let masked = t.op(op.clone(), &[rows, rows, value, added], Kind::Float, &[n(2), n(1)]);
    assert_eq!(at(&t, masked, 1).as_floats().unwrap(), [3.0, 3.0]);
    let blind = t.op(op, &[rows, rows, value, mask], Kind::Float, &[n(2), n(1)]);
    assert!(at(&t, blind, 1).as_floats().unwrap()[0].is_nan());
}

#[test]
fn what_does_not_fit_is_an_error_with_the_place() {
    let mut t = Sketch::new(8);
    t.module("encoder.layer.0");
    let x = t.ids();
    let table = t.weight("words", &[4, 2]);
    let y = t.embedding(table, x);
    t.output("y", y);
    let ids = |shape: &[usize], value| {
        let count = shape.iter().product();
        let tensor = Tensor::ints(shape, vec![value; count]).unwrap();
        BTreeMap::from([("input_ids".to_owned(), tensor)])
    };
    let words = Tensor::floats(&[4, 2], vec![0.0; 8]).unwrap();
    let weights = BTreeMap::from([("words".to_owned(), words)]);
    let error = |inputs: &BTreeMap<_, _>, weights: &BTreeMap<_, _>| {
        eval(&t.trace, inputs, weights).unwrap_err().to_string()
    };
    let none = BTreeMap::new();
    assert!(eval(&t.trace, &ids(&[1, 2], 3), &weights).is_ok());
    let found = error(&ids(&[1, 2], 4), &weights);
    assert_eq!(found, "at aten.index v2 in encoder.layer.0: the index 4 is not in an axis of 4");
    assert!(error(&ids(&[1, 9], 0), &weights).contains("S must be in 1..=8, found 9"));
    assert!(error(&ids(&[9], 0), &weights).contains("expected int[B, S], found [9]"));
    assert!(error(&none, &weights).contains("expected an input that has it as an axis"));
    assert!(error(&ids(&[1, 2], 0), &BTreeMap::new()).contains("words"));
}

#[test]
fn an_empty_axis_does_not_hide_extents_whose_product_overflows() {
    let huge = usize::MAX / 2;
    assert_eq!(super::count(&[3, 0, 5]), Ok(0));
    assert!(super::count(&[0, huge, huge]).is_err());
    assert!(super::count(&[huge, 3]).is_err());
}

#[test]
fn a_declared_shape_that_is_not_the_results_is_an_error() {
    let mut t = Sketch::new(8);
    let x = t.arange(s());
    let wrong = t.op(Op::Unary(UnaryOp::Neg), &[x], Kind::Int, &[n(3)]);
    let bindings = Bindings::from([(Symbol::new("S"), 2)]);
    let (inputs, weights) = (BTreeMap::new(), BTreeMap::new());
    let run = Run { trace: &t.trace, bindings: &bindings, inputs: &inputs, weights: &weights };
    let error = run.values(&[wrong], BTreeMap::new()).unwrap_err();
    assert!(error.problem.contains("expected the shape [3], found [2]"), "{error}");
}

#[test]
fn attention_written_out_is_attention() {
    let mut t = Sketch::new(8);
    let x = t.input("x", Kind::Float, &[b(), s(), n(6)]);
    let heads = |t: &mut Sketch, name: &str| {
        let rows = t.linear(x, name, [6, 6]);
        let split = t.reshape(rows, &[b(), s(), n(2), n(3)]);
        t.permute(split, &[0, 2, 1, 3])
    };
    let (q, k, v) = (heads(&mut t, "q"), heads(&mut t, "k"), heads(&mut t, "v"));
    let turned = t.permute(k, &[0, 1, 3, 2]);
    let scores = t.matmul(q, turned);
    let scale = t.float(0.25);
    let scaled = t.mul(scores, scale);
    let i = t.arange(s());
    let i = t.reshape(i, &[s(), n(1)]);
    let j = t.arange(s());
    let seen = t.binary(BinaryOp::Le, j, i);
    let seen = t.expand(seen, &[b(), n(1), s(), s()]);
    let least = t.float(-3.4028234663852886e38);
    let masked = t.select(seen, scaled, least);
    let weights = t.softmax(masked);
    let written = t.matmul(weights, v);
    let shape = t.ty(q).shape;
    let whole = Op::Attention { scale: 0.25, causal: false };
    let whole = t.op(whole, &[q, k, v, seen], Kind::Float, &shape);
    t.output("written", written);
    t.output("whole", whole);
    let mut random = Random::new(3);
    let mut tensor = |shape: &[usize]| {
        let count = shape.iter().product();
        Tensor::floats(shape, (0..count).map(|_| random.real()).collect()).unwrap()
    };
    let inputs = BTreeMap::from([("x".to_owned(), tensor(&[2, 5, 6]))]);
    let mut weights = BTreeMap::new();
    for name in ["q", "k", "v"] {
        weights.insert(format!("{name}.weight"), tensor(&[6, 6]));
        weights.insert(format!("{name}.bias"), tensor(&[6]));
    }
    let outputs = eval(&t.trace, &inputs, &weights).unwrap();
    let pairs =
        outputs["written"].as_floats().unwrap().iter().zip(outputs["whole"].as_floats().unwrap());
    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-12));
}
