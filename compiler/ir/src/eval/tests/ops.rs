//! Each op against small cases worked out by hand.

use super::{close, f, i, run};
use crate::attrs::{BinaryFn, Expr, PoolKind, Real, ReduceFn, UnaryFn};
use crate::dim::{Bindings, Dim};
use crate::eval::{EvalError, eval_node};
use crate::ops::Op;

#[test]
fn ops_that_move() {
    let x = f(&[2, 3], &[1., 2., 3., 4., 5., 6.]);
    assert_eq!(run(&Op::Select { axis: 0, index: 1 }, &[&x]), f(&[3], &[4., 5., 6.]));
    assert_eq!(run(&Op::Select { axis: 1, index: 2 }, &[&x]), f(&[2], &[3., 6.]));
    assert_eq!(run(&Op::Slice { axis: 1, start: 1, end: 3 }, &[&x]), f(&[2, 2], &[2., 3., 5., 6.]));
    assert_eq!(run(&Op::Slice { axis: 0, start: 0, end: 1 }, &[&x]), f(&[1, 3], &[1., 2., 3.]));
    assert_eq!(
        run(&Op::Reshape { shape: vec![Dim::fixed(3), Dim::fixed(2)] }, &[&x]),
        f(&[3, 2], &[1., 2., 3., 4., 5., 6.])
    );
    assert_eq!(
        run(&Op::Transpose { perm: vec![1, 0] }, &[&x]),
        f(&[3, 2], &[1., 4., 2., 5., 3., 6.])
    );
    let y = f(&[2, 1], &[7., 8.]);
    assert_eq!(
        run(&Op::Concat { axis: 1 }, &[&x, &y]),
        f(&[2, 4], &[1., 2., 3., 7., 4., 5., 6., 8.])
    );
    let ids = i(&[2], &[5, 6]);
    assert_eq!(run(&Op::Concat { axis: 0 }, &[&ids, &ids]), i(&[4], &[5, 6, 5, 6]));
    // Axis i of the result is axis perm[i] of the operand.
    let cube = f(&[1, 2, 3], &[1., 2., 3., 4., 5., 6.]);
    assert_eq!(
        run(&Op::Transpose { perm: vec![2, 0, 1] }, &[&cube]),
        f(&[3, 1, 2], &[1., 4., 2., 5., 3., 6.])
    );
    assert_eq!(run(&Op::Iota { extent: Dim::fixed(3), start: -1 }, &[]), i(&[3], &[-1, 0, 1]));
}

fn bound(name: &str, n: u64) -> Bindings {
    Bindings::from([(crate::dim::Symbol::new(name), n)])
}

#[test]
fn dims_are_bound() {
    let iota = Op::Iota { extent: Dim::symbol("L") + Dim::fixed(1), start: 4 };
    assert_eq!(eval_node(&iota, &[], &bound("L", 1)).unwrap(), i(&[2], &[4, 5]));
    let shape = vec![Dim::symbol("L"), Dim::fixed(2)];
    let x = f(&[4], &[1., 2., 3., 4.]);
    let reshape = Op::Reshape { shape };
    assert_eq!(eval_node(&reshape, &[&x], &bound("L", 2)).unwrap().shape, [2, 2]);
    assert!(eval_node(&reshape, &[&x], &bound("L", 3)).is_err());
    assert!(eval_node(&reshape, &[&x], &Bindings::new()).is_err());
}

#[test]
fn ops_that_multiply() {
    let x = f(&[2, 2], &[1., 2., 3., 4.]);
    let weight = f(&[3, 2], &[1., 0., 0., 1., 1., 1.]);
    let bias = f(&[3], &[0., 0., -10.]);
    let plain = Op::Linear { epilogue: Vec::new() };
    assert_eq!(run(&plain, &[&x, &weight]), f(&[2, 3], &[1., 2., 3., 3., 4., 7.]));
    let epilogue = Op::Linear { epilogue: vec![UnaryFn::Relu, UnaryFn::Neg] };
    assert_eq!(run(&epilogue, &[&x, &weight, &bias]), f(&[2, 3], &[-1., -2., -0., -3., -4., -0.]));
    let row = f(&[2], &[1., 2.]);
    assert_eq!(run(&plain, &[&row, &weight]), f(&[3], &[1., 2., 3.]));
    let y = f(&[2, 2], &[0., 1., 1., 0.]);
    assert_eq!(run(&Op::MatMul {}, &[&x, &y]), f(&[2, 2], &[2., 1., 4., 3.]));
    let (a, b) = (f(&[2, 1, 2], &[1., 2., 3., 4.]), f(&[2, 2, 1], &[1., 1., 2., 0.]));
    assert_eq!(run(&Op::MatMul {}, &[&a, &b]), f(&[2, 1, 1], &[3., 6.]));
}

#[test]
fn ops_on_rows() {
    let x = f(&[2, 2], &[0., 3f64.ln(), 5., 5.]);
    close(&run(&Op::Softmax {}, &[&x]), &f(&[2, 2], &[0.25, 0.75, 0.5, 0.5]));
    let large = f(&[1, 2], &[1e300, 1e300]);
    close(&run(&Op::Softmax {}, &[&large]), &f(&[1, 2], &[0.5, 0.5]));
    let x = f(&[1, 4], &[1., 2., 3., 4.]);
    let (gamma, beta) = (f(&[4], &[1., 1., 2., 1.]), f(&[4], &[0., 0., 0., 1.]));
    // mean 2.5, variance 1.25
    let s = 1.25f64.sqrt();
    let expected = f(&[1, 4], &[-1.5 / s, -0.5 / s, 1. / s, 1.5 / s + 1.]);
    close(&run(&Op::LayerNorm { eps: Real(0.) }, &[&x, &gamma, &beta]), &expected);
    let half = f(&[1, 4], &[0.5, 1., 1.5, 2.]);
    close(&run(&Op::AddLayerNorm { eps: Real(0.) }, &[&half, &half, &gamma, &beta]), &expected);
    // eps is added to the variance: 1.25 + 2.75 = 4.
    let wide = run(&Op::LayerNorm { eps: Real(2.75) }, &[&x, &gamma, &beta]);
    close(&wide, &f(&[1, 4], &[-0.75, -0.25, 0.5, 1.75]));
    let x = f(&[2, 2], &[3., 4., 0., 0.]);
    close(&run(&Op::L2Normalize { eps: Real(1e-12) }, &[&x]), &f(&[2, 2], &[0.6, 0.8, 0., 0.]));
    close(&run(&Op::L2Normalize { eps: Real(10.) }, &[&x]), &f(&[2, 2], &[0.3, 0.4, 0., 0.]));
}

#[test]
fn ops_that_reduce() {
    let x = f(&[2, 3], &[1., 5., 3., 4., 2., 6.]);
    let reduce = |f, axis| run(&Op::Reduce { f, axis }, &[&x]);
    assert_eq!(reduce(ReduceFn::Sum, 0), f(&[3], &[5., 7., 9.]));
    assert_eq!(reduce(ReduceFn::Mean, 1), f(&[2], &[3., 4.]));
    assert_eq!(reduce(ReduceFn::Max, 0), f(&[3], &[4., 5., 6.]));
    let cube = f(&[2, 2, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]);
    assert_eq!(
        run(&Op::Reduce { f: ReduceFn::Sum, axis: 1 }, &[&cube]),
        f(&[2, 2], &[4., 6., 12., 14.])
    );
    let pool = |kind, normalize| run(&Op::Pool { kind, normalize }, &[&x]);
    assert_eq!(pool(PoolKind::Cls, None), f(&[3], &[1., 5., 3.]));
    assert_eq!(pool(PoolKind::Max, None), f(&[3], &[4., 5., 6.]));
    assert_eq!(pool(PoolKind::Mean, None), f(&[3], &[2.5, 3.5, 4.5]));
    let root = 2f64.sqrt();
    close(&pool(PoolKind::MeanSqrtLen, None), &f(&[3], &[5. / root, 7. / root, 9. / root]));
    assert_eq!(pool(PoolKind::WeightedMean, None), f(&[3], &[3., 3., 5.]));
    assert_eq!(pool(PoolKind::Last, None), f(&[3], &[4., 2., 6.]));
    let norm = (2.5f64 * 2.5 + 3.5 * 3.5 + 4.5 * 4.5).sqrt();
    let expected = f(&[3], &[2.5 / norm, 3.5 / norm, 4.5 / norm]);
    close(&pool(PoolKind::Mean, Some(Real(1e-12))), &expected);
}

#[test]
fn ops_that_look_up() {
    let table = f(&[3, 2], &[0., 1., 2., 3., 4., 5.]);
    let ids = i(&[2], &[2, 0]);
    assert_eq!(run(&Op::Gather {}, &[&table, &ids]), f(&[2, 2], &[4., 5., 0., 1.]));
    for id in [3, -1, i64::MAX] {
        let found = eval_node(&Op::Gather {}, &[&table, &i(&[1], &[id])], &Bindings::new());
        assert_eq!(found, Err(EvalError::Id { id, rows: 3 }));
    }
    // Rows [4, 5] + [2, 3] = [6, 8] and [0, 1] + [0, 1] = [0, 2], each normalised to -1, 1.
    let (gamma, beta) = (f(&[2], &[1., 2.]), f(&[2], &[0., 1.]));
    let other = i(&[2], &[1, 0]);
    let op = Op::EmbedLayerNorm { eps: Real(0.) };
    let found = run(&op, &[&gamma, &beta, &table, &ids, &table, &other]);
    close(&found, &f(&[2, 2], &[-1., 3., -1., 3.]));
}

#[test]
fn pointwise_ops_broadcast() {
    let x = f(&[2, 2], &[1., 2., 3., 4.]);
    let (row, column, number) = (f(&[2], &[10., 20.]), f(&[2, 1], &[100., 200.]), f(&[], &[0.5]));
    let add = Op::Binary { f: BinaryFn::Add };
    assert_eq!(run(&add, &[&x, &row]), f(&[2, 2], &[11., 22., 13., 24.]));
    assert_eq!(run(&add, &[&column, &x]), f(&[2, 2], &[101., 102., 203., 204.]));
    assert_eq!(run(&add, &[&row, &column]), f(&[2, 2], &[110., 120., 210., 220.]));
    assert_eq!(run(&add, &[&number, &number]), f(&[], &[1.]));
    let expr: Expr = "sub(mul(x0, x2), max(x1, 15.0))".parse().unwrap();
    let found = run(&Op::Pointwise { expr }, &[&x, &row, &number]);
    assert_eq!(found, f(&[2, 2], &[-14.5, -19., -13.5, -18.]));
}

#[test]
fn attention_by_hand() {
    // One head of one column: scores are scale * q * k = ln 3 and 0, so the weights are 3/4 and 1/4.
    let q = f(&[1, 1], &[3f64.ln()]);
    let (k, v) = (f(&[2, 1], &[0.5, 0.]), f(&[2, 1], &[8., 4.]));
    let op = Op::attention(1, 1, 2.);
    close(&run(&op, &[&q, &k, &v]), &f(&[1, 1], &[7.]));
}

#[test]
fn a_nan_stays_in_its_row_and_is_not_lost() {
    let x = f(&[2, 2], &[1., f64::NAN, 1., 2.]);
    for op in [Op::Softmax {}, Op::L2Normalize { eps: Real(1e-12) }] {
        let found = run(&op, &[&x]);
        let nans: Vec<_> = found.as_floats().unwrap().iter().map(|x| x.is_nan()).collect();
        assert_eq!(nans, [true, true, false, false], "{op:?}");
    }
    let largest = run(&Op::Reduce { f: ReduceFn::Max, axis: 0 }, &[&x]);
    assert!(largest.as_floats().unwrap()[1].is_nan());
}
