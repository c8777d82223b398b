//! Operands that do not fit give errors, never panics.

use super::{f, i};
use crate::attrs::{BinaryFn, Expr, PoolKind, Real, ReduceFn, UnaryFn};
use crate::dim::{Bindings, Dim};
use crate::eval::{Data, Tensor, eval_node};
use crate::ops::Op;

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
        (Op::attention(usize::MAX, 2, 1.), vec![&x, &x, &x]),
        (Op::attention(0, 2, 1.), vec![&x, &x, &x]),
        (Op::Pointwise { expr: Expr::Arg(1) }, vec![&x]),
        (Op::Pointwise { expr: Expr::Arg(usize::MAX) }, vec![&x]),
        (Op::Transpose { perm: vec![0, 0] }, vec![&x]),
        (Op::EmbedLayerNorm { eps: Real(0.) }, vec![&x, &x, &x]),
    ];
    for (op, operands) in cases {
        assert!(eval_node(&op, &operands, &Bindings::new()).is_err(), "{op:?}");
    }
}

/// Odd attributes on odd operands, in all combinations: a result fills its shape, and nothing panics.
#[test]
fn any_op_on_any_operands_is_a_value_or_an_error() {
    let tensors = [
        f(&[], &[1.]),
        f(&[1], &[1.]),
        f(&[2], &[1., 2.]),
        f(&[2, 2], &[1., 2., 3., 4.]),
        f(&[1, 2], &[1., 2.]),
        f(&[2, 1, 2], &[1., 2., 3., 4.]),
        i(&[], &[1]),
        i(&[2], &[0, 1]),
        i(&[2, 2], &[0, 1, 0, 1]),
        Tensor { shape: vec![2, 0], data: Data::Float(Vec::new()) },
    ];
    let eps = Real(1e-5);
    let mut ops = vec![
        Op::Gather {},
        Op::Linear { epilogue: vec![UnaryFn::Relu] },
        Op::MatMul {},
        Op::Unary { f: UnaryFn::Sqrt },
        Op::Binary { f: BinaryFn::Div },
        Op::Softmax {},
        Op::LayerNorm { eps },
        Op::L2Normalize { eps },
        Op::AddLayerNorm { eps },
        Op::EmbedLayerNorm { eps },
        Op::Pool { kind: PoolKind::Max, normalize: Some(eps) },
        Op::Pointwise { expr: "add(x0, 1.0)".parse().unwrap() },
        Op::Pointwise { expr: Expr::Const(Real(1.)) },
        Op::Slice { axis: 0, start: usize::MAX, end: usize::MAX },
    ];
    for axis in [0, 1, 2, usize::MAX] {
        ops.push(Op::Reduce { f: ReduceFn::Max, axis });
        ops.push(Op::Concat { axis });
        ops.push(Op::Slice { axis, start: 0, end: 1 });
        ops.push(Op::Select { axis, index: 1 });
        ops.push(Op::Iota { extent: Dim::from(axis), start: -1 });
        ops.push(Op::attention(axis, 2, eps.0));
        ops.push(Op::Transpose { perm: (0..axis.min(3)).rev().collect() });
        ops.push(Op::Reshape { shape: vec![Dim::from(axis), Dim::fixed(2)] });
    }
    let mut values = 0;
    for op in &ops {
        for count in 0..=4usize {
            for choice in 0..tensors.len().pow(count as u32) {
                let operands: Vec<_> = (0..count as u32)
                    .map(|place| &tensors[choice / tensors.len().pow(place) % tensors.len()])
                    .collect();
                if let Ok(tensor) = eval_node(op, &operands, &Bindings::new()) {
                    assert_eq!(
                        tensor.shape.iter().product::<usize>(),
                        tensor.len(),
                        "{op:?} {operands:?}"
                    );
                    values += 1;
                }
            }
        }
    }
    assert!(values > 1000, "{values}");
}
