//! Functions of numbers.

use super::erf::{erf, erfc};
use crate::attrs::{BinaryFn, Expr, UnaryFn};

/// `f(x)`. NaN gives NaN.
pub fn unary(f: UnaryFn, x: f64) -> f64 {
    match f {
        UnaryFn::Neg => -x,
        UnaryFn::Abs => x.abs(),
        UnaryFn::Exp => x.exp(),
        UnaryFn::Sqrt => x.sqrt(),
        UnaryFn::Rsqrt => 1.0 / x.sqrt(),
        UnaryFn::Erf => erf(x),
        UnaryFn::Tanh => x.tanh(),
        UnaryFn::Sigmoid => sigmoid(x),
        UnaryFn::Relu => binary(BinaryFn::Max, x, 0.0),
        UnaryFn::Silu => x * sigmoid(x),
        // 1 + erf(t) = erfc(-t), without the cancellation for negative t.
        UnaryFn::GeluErf => x / 2.0 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        UnaryFn::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            x / 2.0 * (1.0 + inner.tanh())
        }
        UnaryFn::QuickGelu => x * sigmoid(1.702 * x),
        UnaryFn::ReluSquared => {
            let x = binary(BinaryFn::Max, x, 0.0);
            x * x
        }
        UnaryFn::Relu6 => binary(BinaryFn::Min, binary(BinaryFn::Max, x, 0.0), 6.0),
        UnaryFn::LeakyRelu => {
            if x < 0.0 {
                0.01 * x
            } else {
                x
            }
        }
        // ln(1 + e^x) is x to the last bit long before e^x overflows.
        UnaryFn::Mish => x * (if x > 100.0 { x } else { x.exp().ln_1p() }).tanh(),
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `f(a, b)`. NaN in either gives NaN.
pub fn binary(f: BinaryFn, a: f64, b: f64) -> f64 {
    match f {
        BinaryFn::Add => a + b,
        BinaryFn::Sub => a - b,
        BinaryFn::Mul => a * b,
        BinaryFn::Div => a / b,
        BinaryFn::Max => {
            if a >= b || a.is_nan() {
                a
            } else {
                b
            }
        }
        BinaryFn::Min => {
            if a <= b || a.is_nan() {
                a
            } else {
                b
            }
        }
    }
}

/// The expression's value for these operands.
///
/// # Panics
/// If the expression names an operand that is not there; [`Expr::arity`] says how many it needs.
pub fn expression(expr: &Expr, operands: &[f64]) -> f64 {
    match expr {
        Expr::Arg(i) => operands[*i],
        Expr::Const(value) => value.0,
        Expr::Unary(f, x) => unary(*f, expression(x, operands)),
        Expr::Binary(f, a, b) => binary(*f, expression(a, operands), expression(b, operands)),
    }
}
