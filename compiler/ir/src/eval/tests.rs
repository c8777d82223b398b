//! Every op on cases small enough to check by hand.

use std::collections::BTreeMap;

use super::{
    Data, EvalError, Rounding, Tensor, binary, erf, erfc, eval, eval_all, eval_node, unary,
};
use crate::attrs::{BinaryFn, Expr, PoolKind, Real, ReduceFn, UnaryFn};
use crate::builder::Builder;
use crate::dim::{Bindings, Dim};
use crate::ops::Op;
use crate::sample;
use crate::text::parse;

fn f(shape: &[usize], data: &[f64]) -> Tensor {
    Tensor::floats(shape, data.to_vec()).unwrap()
}

fn i(shape: &[usize], data: &[i64]) -> Tensor {
    Tensor::ints(shape, data.to_vec()).unwrap()
}

fn run(op: &Op, operands: &[&Tensor]) -> Tensor {
    eval_node(op, operands, &Bindings::new()).unwrap()
}

fn close(found: &Tensor, expected: &Tensor) {
    assert_eq!(found.shape, expected.shape);
    let pairs = found.as_floats().unwrap().iter().zip(expected.as_floats().unwrap());
    for (a, b) in pairs {
        assert!(
            (a - b).abs() <= 1e-14 * b.abs().max(1.0),
            "expected {expected:?}, found {found:?}"
        );
    }
}

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
    let op = Op::Attention { heads: 1, head_size: 1, scale: Real(2.) };
    close(&run(&op, &[&q, &k, &v]), &f(&[1, 1], &[7.]));
}

#[test]
fn the_builders_attention_is_the_op() {
    let mut b = Builder::new();
    let (queries, keys) = (b.symbol("Q", 1, 9), b.symbol("K", 1, 9));
    let ty = |rows: &Dim| {
        crate::types::TensorType::new(crate::types::DType::F32, [rows.clone(), Dim::fixed(6)])
    };
    let q = b.input("q", ty(&queries), None);
    let (k, v) = (b.input("k", ty(&keys), None), b.input("v", ty(&keys), None));
    let plain = b.self_attention(q, k, v, 2, 3).unwrap();
    let op = Op::Attention { heads: 2, head_size: 3, scale: Real(1.0 / 3f64.sqrt()) };
    let one = b.op("one", op, &[q, k, v]).unwrap();
    b.output("plain", plain);
    b.output("one", one);
    let graph = b.finish();
    crate::verify::verify(&graph).unwrap();
    for seed in 0..20 {
        let inputs = sample::inputs(&graph, &sample::bindings(&graph, seed), seed);
        let found = eval(&graph, &inputs, &BTreeMap::new(), Rounding::Exact).unwrap();
        close(&found["one"], &found["plain"]);
    }
}

/// erf and erfc by mpmath, 40 digits.
#[expect(clippy::excessive_precision, reason = "the digits of the reference")]
const ERF: &[(f64, f64, f64)] = &[
    (1e-300, 1.1283791670955126022e-300, 1.0),
    (1e-10, 1.128379167095512615e-10, 0.99999999988716208329),
    (0.1, 0.1124629160182848984, 0.8875370839817151016),
    (0.25, 0.27632639016823693299, 0.72367360983176306701),
    (0.46875, 0.49261347321793799159, 0.50738652678206200841),
    (0.5, 0.52049987781304653768, 0.47950012218695346232),
    (0.75, 0.7111556336535151316, 0.2888443663464848684),
    (1.0, 0.84270079294971486934, 0.15729920705028513066),
    (1.5, 0.96610514647531072707, 0.033894853524689272933),
    (2.0, 0.99532226501895273416, 0.0046777349810472658379),
    (2.5, 0.99959304798255504106, 0.00040695201744495893956),
    (3.0, 0.99997790950300141456, 0.000022090496998585441373),
    (3.9, 0.99999996520775140277, 3.4792248597231767129e-8),
    (4.0, 0.99999998458274209972, 1.5417257900280018852e-8),
    (4.1, 0.99999999329997234592, 6.7000276540849184417e-9),
    (5.0, 0.99999999999846254021, 1.5374597944280348502e-12),
    (5.5, 0.99999999999999264215, 7.3578479179743980631e-15),
    (6.0, 0.99999999999999997848, 2.1519736712498913117e-17),
    (7.5, 1.0, 2.7766493860305691007e-26),
    (10.0, 1.0, 2.088487583762544757e-45),
    (20.0, 1.0, 5.3958656116079009289e-176),
    (26.0, 1.0, 5.6631924088561428465e-296),
];

#[test]
fn erf_against_forty_digits() {
    let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-15 * expected.abs();
    for &(x, e, c) in ERF {
        assert!(near(erf(x), e) && near(erf(-x), -e), "erf({x}) = {e}, found {}", erf(x));
        assert!(near(erfc(x), c) && near(erfc(-x), 1.0 + e), "erfc({x}) = {c}, found {}", erfc(x));
    }
    assert!(erf(f64::NAN).is_nan() && erfc(f64::NAN).is_nan());
    assert_eq!(
        [erf(f64::INFINITY), erf(-30.0), erfc(f64::INFINITY), erfc(-30.0)],
        [1., -1., 0., 2.]
    );
}

#[test]
fn functions() {
    let cases = [
        (UnaryFn::Neg, 2.0, -2.0),
        (UnaryFn::Abs, -2.0, 2.0),
        (UnaryFn::Exp, 1.0, std::f64::consts::E),
        (UnaryFn::Sqrt, 6.25, 2.5),
        (UnaryFn::Rsqrt, 0.25, 2.0),
        (UnaryFn::Erf, 1.0, 0.842_700_792_949_714_9),
        (UnaryFn::Tanh, 0.5, 0.462_117_157_260_009_8),
        (UnaryFn::Sigmoid, 0.0, 0.5),
        (UnaryFn::Sigmoid, -1000.0, 0.0),
        (UnaryFn::Relu, -3.0, 0.0),
        (UnaryFn::Relu, 3.0, 3.0),
        (UnaryFn::Silu, 2.0, 1.761_594_155_955_764_9),
        (UnaryFn::GeluErf, 1.0, 0.841_344_746_068_542_9),
        (UnaryFn::GeluErf, -5.0, -1.4332578593959695e-06),
        (UnaryFn::GeluTanh, 1.0, 0.841_191_990_608_276_8),
    ];
    for (f, x, y) in cases {
        let found = unary(f, x);
        assert!((found - y).abs() <= 1e-14 * y.abs(), "{f}({x}) = {y}, found {found}");
    }
    for &f in UnaryFn::ALL {
        assert!(unary(f, f64::NAN).is_nan(), "{f} of NaN");
    }
    for &f in BinaryFn::ALL {
        assert!(
            binary(f, f64::NAN, 1.0).is_nan() && binary(f, 1.0, f64::NAN).is_nan(),
            "{f} of NaN"
        );
    }
    assert_eq!([binary(BinaryFn::Max, 1., 2.), binary(BinaryFn::Min, 1., 2.)], [2., 1.]);
    assert_eq!([binary(BinaryFn::Sub, 1., 2.), binary(BinaryFn::Div, 1., 2.)], [-1., 0.5]);
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

#[test]
fn rounding_is_to_nearest_even_and_agrees_with_half() {
    for bits in 0..=u16::MAX {
        let (h, b) = (half::f16::from_bits(bits), half::bf16::from_bits(bits));
        for (rounding, value, next) in [
            (Rounding::F16, h.to_f64(), half::f16::from_bits(bits.wrapping_add(1)).to_f64()),
            (Rounding::Bf16, b.to_f64(), half::bf16::from_bits(bits.wrapping_add(1)).to_f64()),
        ] {
            if !value.is_finite() || !next.is_finite() || bits & 0x7fff == 0x7fff {
                continue;
            }
            assert_eq!(rounding.round(value).to_bits(), value.to_bits());
            // Between a number and the next one of its sign: ties go to the even one, the rest to the nearer.
            let middle = (value + next) / 2.0;
            let even = if bits & 1 == 0 { value } else { next };
            assert_eq!(rounding.round(middle), even, "{rounding:?} {value} {next}");
            let (below, above) = (middle + (value - next) / 1e10, middle + (next - value) / 1e10);
            assert_eq!([rounding.round(below), rounding.round(above)], [value, next]);
        }
    }
    assert_eq!(Rounding::F16.round(65519.0), 65504.0);
    assert_eq!(Rounding::F16.round(-65520.0), f64::NEG_INFINITY);
    assert_eq!(Rounding::Bf16.round(f64::MAX), f64::INFINITY);
    assert_eq!(Rounding::F32.round(0.1), f64::from(0.1f32));
    assert!(Rounding::Bf16.round(f64::NAN).is_nan());
    assert_eq!(Rounding::F16.round(1e-300), 0.0);
}

const GRAPH: &str = "\
bytec 1
symbol L in 1..=3
input %ids: i64[L]
input %types: i64[L] = 1
input %x: f32[L, 2]
weight @table: f32[2, 2]
const %third = 0.3333333333333333
%a: f32[L, 2] = gather(@table, %types)
%b: f32[L, 2] = gather(@table, %ids)
%c: f32[L, 2] = binary(%a, %b) {f = add}
%d: f32[L, 2] = binary(%c, %x) {f = add}
%y: f32[L, 2] = binary(%d, %third) {f = mul}
output y = %y
output again = %y
";

fn table() -> BTreeMap<String, Tensor> {
    BTreeMap::from([("table".to_owned(), f(&[2, 2], &[1., 2., 3., 4.]))])
}

fn sample_of(tensors: &[(&str, Tensor)]) -> BTreeMap<String, Tensor> {
    tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect()
}

#[test]
fn a_graph_with_a_default() {
    let graph = parse(GRAPH).unwrap();
    let (ids, x) = (i(&[1], &[0]), f(&[1, 2], &[0.1, 0.2]));
    let given = sample_of(&[("ids", ids.clone()), ("x", x.clone())]);
    let found = eval(&graph, &given, &table(), Rounding::Exact).unwrap();
    close(&found["y"], &f(&[1, 2], &[4.1 / 3., 6.2 / 3.]));
    assert_eq!(found["again"], found["y"]);
    let types = i(&[1], &[0]);
    let given = sample_of(&[("ids", ids), ("x", x), ("types", types)]);
    let found = eval(&graph, &given, &table(), Rounding::Exact).unwrap();
    close(&found["y"], &f(&[1, 2], &[2.1 / 3., 4.2 / 3.]));
    // Rounded after each op, inputs and constants too.
    let all = eval_all(&graph, &given, &table(), Rounding::F32).unwrap();
    let third = f64::from(1f32 / 3.);
    assert_eq!(all[&graph.value("third").unwrap()].data, Data::Float(vec![third]));
    let y = f64::from((2f32 + 0.1f32) * (1f32 / 3.));
    assert_eq!(all[&graph.value("y").unwrap()].as_floats().unwrap()[0], y);
}

#[test]
fn samples_that_do_not_fit() {
    let graph = parse(GRAPH).unwrap();
    let (ids, x) = (i(&[2], &[0, 1]), f(&[2, 2], &[0.; 4]));
    let cases = [
        (vec![("ids", ids.clone())], "at %x: the sample leaves it out, and it has no default"),
        (
            vec![("ids", ids.clone()), ("x", x.clone()), ("mask", x.clone())],
            "unknown input \"mask\", expected one of ids, types, x",
        ),
        (
            vec![("ids", ids.clone()), ("x", f(&[1, 2], &[0.; 2]))],
            "at %x: symbol L is 2 by an earlier input and 1 by this one",
        ),
        (
            vec![("ids", i(&[4], &[0; 4])), ("x", x.clone())],
            "at %ids: symbol L must be in 1..=3, found 4",
        ),
        (
            vec![("ids", ids.clone()), ("x", f(&[2, 3], &[0.; 6]))],
            "at %x: expected floats [2, 2], found floats [2, 3]",
        ),
        (
            vec![("ids", ids.clone()), ("x", f(&[4], &[0.; 4]))],
            "at %x: expected f32[L, 2], found floats [4]",
        ),
        (
            vec![("ids", f(&[2], &[0.; 2])), ("x", x.clone())],
            "at %ids: expected integers [2], found floats [2]",
        ),
        (
            vec![("ids", i(&[2], &[0, 2])), ("x", x.clone())],
            "at %b: id 2 is not a row of a table of 2 rows",
        ),
    ];
    for (tensors, expected) in cases {
        let error = eval(&graph, &sample_of(&tensors), &table(), Rounding::Exact).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let given = sample_of(&[("ids", ids), ("x", x)]);
    let none: BTreeMap<String, Tensor> = BTreeMap::new();
    let error = eval(&graph, &given, &none, Rounding::Exact).unwrap_err();
    assert_eq!(error.to_string(), "at @table: no weight is called \"table\"");
    let wrong = sample_of(&[("table", f(&[2, 3], &[0.; 6]))]);
    let error = eval(&graph, &given, &wrong, Rounding::Exact).unwrap_err();
    assert_eq!(error.to_string(), "at @table: expected floats [2, 2], found floats [2, 3]");
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let x = f(&[2, 2], &[0.; 4]);
    let lying = Tensor { shape: vec![3, 3], data: Data::Float(vec![0.0]) };
    let huge = Tensor { shape: vec![usize::MAX, usize::MAX], data: Data::Float(vec![0.0]) };
    let empty = Tensor { shape: vec![0, 2], data: Data::Float(Vec::new()) };
    let cases: Vec<(Op, Vec<&Tensor>)> = vec![
        (Op::Softmax {}, vec![]),
        (Op::Softmax {}, vec![&lying]),
        (Op::Softmax {}, vec![&huge]),
        (Op::Softmax {}, vec![&empty]),
        (Op::Pool { kind: PoolKind::Cls, normalize: None }, vec![&empty]),
        (Op::Select { axis: 0, index: 2 }, vec![&x]),
        (Op::Select { axis: 2, index: 0 }, vec![&x]),
        (Op::Iota { extent: Dim::fixed(2), start: i64::MAX }, vec![]),
        (Op::Iota { extent: Dim::fixed(u64::MAX), start: 0 }, vec![]),
        (Op::Attention { heads: usize::MAX, head_size: 2, scale: Real(1.) }, vec![&x, &x, &x]),
        (Op::Attention { heads: 0, head_size: 2, scale: Real(1.) }, vec![&x, &x, &x]),
        (Op::Pointwise { expr: Expr::Arg(1) }, vec![&x]),
        (Op::Pointwise { expr: Expr::Arg(usize::MAX) }, vec![&x]),
        (Op::Transpose { perm: vec![0, 0] }, vec![&x]),
        (Op::EmbedLayerNorm { eps: Real(0.) }, vec![&x, &x, &x]),
    ];
    for (op, operands) in cases {
        assert!(eval_node(&op, &operands, &Bindings::new()).is_err(), "{op:?}");
    }
}
