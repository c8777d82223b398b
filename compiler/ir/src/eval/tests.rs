//! Every op and function on cases small enough to check by hand, and graphs and samples that do not fit.

mod distance;
mod functions;
mod graphs;
mod misfits;
mod ops;

use super::{Tensor, eval_node};
use crate::dim::Bindings;
use crate::ops::Op;

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
