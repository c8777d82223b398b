//! Functions of one, two and three elements.

use bytec_ir::attrs::UnaryFn;
use bytec_ir::eval::{Data, Tensor, unary as function};

use super::{Outcome, count, floats, ints, offsets, picked, strides};
use crate::op::{BinaryOp, UnaryOp};
use crate::program::Kind;

/// The common shape of operands: axes align from the last; 1 and missing axes repeat.
pub(super) fn broadcast(xs: &[&[usize]]) -> Outcome<Vec<usize>> {
    let rank = xs.iter().map(|x| x.len()).max().unwrap_or(0);
    let mut shape = vec![1; rank];
    for x in xs {
        for (target, &extent) in shape[rank - x.len()..].iter_mut().zip(*x) {
            if *target == 1 {
                *target = extent;
            } else if extent != 1 && extent != *target {
                return Err(format!("the shapes {xs:?} do not broadcast"));
            }
        }
    }
    count(&shape).map(|_| shape)
}

/// The operand repeated to a shape that it broadcasts to.
pub(super) fn expanded(x: &Tensor, shape: &[usize]) -> Outcome<Tensor> {
    if broadcast(&[&x.shape, shape])? != shape {
        return Err(format!("{:?} does not broadcast to {shape:?}", x.shape));
    }
    if x.shape == shape {
        return Ok(x.clone());
    }
    let mut own = vec![0; shape.len() - x.shape.len()];
    let repeated = x.shape.iter().zip(strides(&x.shape));
    own.extend(repeated.map(|(&extent, stride)| if extent == 1 { 0 } else { stride }));
    Ok(picked(x, shape, &offsets(0, shape, &own)))
}

fn map(x: &Tensor, f: impl Fn(f64) -> f64) -> Tensor {
    let data = Data::Float(floats(x).into_iter().map(f).collect());
    Tensor { shape: x.shape.clone(), data }
}

fn map_ints(x: &Tensor, f: impl Fn(i64) -> i64) -> Outcome<Tensor> {
    let data = Data::Int(ints(x)?.iter().map(|&x| f(x)).collect());
    Ok(Tensor { shape: x.shape.clone(), data })
}

pub(super) fn unary(f: UnaryOp, x: &Tensor, kind: Kind) -> Outcome<Tensor> {
    if kind != Kind::Float {
        return match f {
            UnaryOp::Neg => map_ints(x, i64::wrapping_neg),
            UnaryOp::Abs => map_ints(x, i64::wrapping_abs),
            UnaryOp::Sign => map_ints(x, i64::signum),
            UnaryOp::Square => map_ints(x, |x| x.wrapping_mul(x)),
            UnaryOp::Relu => map_ints(x, |x| x.max(0)),
            UnaryOp::Ceil | UnaryOp::Floor | UnaryOp::Round => map_ints(x, |x| x),
            UnaryOp::Not => map_ints(x, |x| i64::from(x == 0)),
            _ => Err(format!("{f:?} does not give {kind}")),
        };
    }
    Ok(match f {
        UnaryOp::Neg => map(x, |x| -x),
        UnaryOp::Abs => map(x, f64::abs),
        UnaryOp::Sign => map(x, |x| if x == 0.0 || x.is_nan() { x } else { x.signum() }),
        UnaryOp::Ceil => map(x, f64::ceil),
        UnaryOp::Floor => map(x, f64::floor),
        UnaryOp::Round => map(x, f64::round_ties_even),
        UnaryOp::Square => map(x, |x| x * x),
        UnaryOp::Sqrt => map(x, f64::sqrt),
        UnaryOp::Rsqrt => map(x, |x| 1.0 / x.sqrt()),
        UnaryOp::Reciprocal => map(x, |x| 1.0 / x),
        UnaryOp::Exp => map(x, f64::exp),
        UnaryOp::Log => map(x, f64::ln),
        UnaryOp::Sin => map(x, f64::sin),
        UnaryOp::Cos => map(x, f64::cos),
        UnaryOp::Tanh => map(x, f64::tanh),
        UnaryOp::Erf => map(x, |x| function(UnaryFn::Erf, x)),
        UnaryOp::Sigmoid => map(x, |x| function(UnaryFn::Sigmoid, x)),
        UnaryOp::Relu => map(x, |x| function(UnaryFn::Relu, x)),
        UnaryOp::Silu => map(x, |x| function(UnaryFn::Silu, x)),
        UnaryOp::GeluErf => map(x, |x| function(UnaryFn::GeluErf, x)),
        UnaryOp::GeluTanh => map(x, |x| function(UnaryFn::GeluTanh, x)),
        UnaryOp::Not => return Err("it does not give floats".to_owned()),
    })
}

pub(super) fn binary(f: BinaryOp, a: &Tensor, b: &Tensor, kind: Kind) -> Outcome<Tensor> {
    let shape = broadcast(&[&a.shape, &b.shape])?;
    let (a, b) = (expanded(a, &shape)?, expanded(b, &shape)?);
    let data = match (&a.data, &b.data, kind) {
        (Data::Int(a), Data::Int(b), Kind::Int | Kind::Bool) => {
            let pairs = a.iter().zip(b);
            Data::Int(pairs.map(|(&a, &b)| of_ints(f, a, b, kind)).collect::<Outcome<_>>()?)
        }
        (_, _, Kind::Float) => {
            let (a, b) = (floats(&a), floats(&b));
            Data::Float(
                a.iter().zip(&b).map(|(&a, &b)| of_floats(f, a, b)).collect::<Outcome<_>>()?,
            )
        }
        (_, _, Kind::Bool) => {
            let (a, b) = (floats(&a), floats(&b));
            let pairs = a.iter().zip(&b);
            Data::Int(pairs.map(|(&a, &b)| compared(f, a, b)).collect::<Outcome<_>>()?)
        }
        (_, _, Kind::Int) => return Err(format!("{f:?} of floats does not give integers")),
    };
    Ok(Tensor { shape, data })
}

fn of_floats(f: BinaryOp, a: f64, b: f64) -> Outcome<f64> {
    let nan = a.is_nan() || b.is_nan();
    Ok(match f {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::FloorDiv => (a / b).floor(),
        BinaryOp::Remainder => a - (a / b).floor() * b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Min if nan => f64::NAN,
        BinaryOp::Max if nan => f64::NAN,
        BinaryOp::Min => a.min(b),
        BinaryOp::Max => a.max(b),
        _ => return Err(format!("{f:?} does not give floats")),
    })
}

fn compared<T: PartialOrd>(f: BinaryOp, a: T, b: T) -> Outcome<i64> {
    Ok(i64::from(match f {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Lt => a < b,
        BinaryOp::Le => a <= b,
        BinaryOp::Gt => a > b,
        BinaryOp::Ge => a >= b,
        _ => return Err(format!("{f:?} does not give truth values of these")),
    }))
}

fn of_ints(f: BinaryOp, a: i64, b: i64, kind: Kind) -> Outcome<i64> {
    let number = match f {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::FloorDiv if b == 0 => return Err("division by zero".to_owned()),
        BinaryOp::Remainder if b == 0 => return Err("division by zero".to_owned()),
        BinaryOp::FloorDiv => {
            let quotient = a.wrapping_div(b);
            let down = a.wrapping_rem(b) != 0 && (a < 0) != (b < 0);
            quotient - i64::from(down)
        }
        BinaryOp::Remainder => {
            let rest = a.wrapping_rem(b);
            if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
        }
        BinaryOp::Pow => match u32::try_from(b) {
            Ok(b) => a.wrapping_pow(b),
            Err(_) => return Err(format!("expected an exponent from 0 on, found {b}")),
        },
        BinaryOp::Min => a.min(b),
        BinaryOp::Max => a.max(b),
        BinaryOp::And if kind == Kind::Int => a & b,
        BinaryOp::Or if kind == Kind::Int => a | b,
        BinaryOp::And => i64::from(a != 0 && b != 0),
        BinaryOp::Or => i64::from(a != 0 || b != 0),
        BinaryOp::Div => return Err("true division does not give integers".to_owned()),
        _ => return compared(f, a, b),
    };
    Ok(if kind == Kind::Bool { i64::from(number != 0) } else { number })
}

pub(super) fn select(condition: &Tensor, a: &Tensor, b: &Tensor, kind: Kind) -> Outcome<Tensor> {
    let shape = broadcast(&[&condition.shape, &a.shape, &b.shape])?;
    let (a, b) = (cast(&expanded(a, &shape)?, kind), cast(&expanded(b, &shape)?, kind));
    let condition = expanded(condition, &shape)?;
    let condition = ints(&condition)?;
    let data = match (&a.data, &b.data) {
        (Data::Float(a), Data::Float(b)) => Data::Float(chosen(condition, a, b)),
        (Data::Int(a), Data::Int(b)) => Data::Int(chosen(condition, a, b)),
        _ => return Err("expected two operands of one kind".to_owned()),
    };
    Ok(Tensor { shape, data })
}

fn chosen<T: Copy>(condition: &[i64], a: &[T], b: &[T]) -> Vec<T> {
    let pairs = condition.iter().zip(a.iter().zip(b));
    pairs.map(|(&c, (&a, &b))| if c != 0 { a } else { b }).collect()
}

pub(super) fn cast(x: &Tensor, kind: Kind) -> Tensor {
    let data = match (&x.data, kind) {
        (_, Kind::Float) => Data::Float(floats(x)),
        (Data::Float(x), Kind::Int) => Data::Int(x.iter().map(|&x| truncated(x)).collect()),
        (Data::Float(x), Kind::Bool) => Data::Int(x.iter().map(|&x| i64::from(x != 0.0)).collect()),
        (Data::Int(x), Kind::Int) => Data::Int(x.clone()),
        (Data::Int(x), Kind::Bool) => Data::Int(x.iter().map(|&x| i64::from(x != 0)).collect()),
    };
    Tensor { shape: x.shape.clone(), data }
}

/// What does not fit is `i64::MIN`, as the hardware's conversion gives it.
fn truncated(x: f64) -> i64 {
    let limit = 9_223_372_036_854_775_808.0;
    if x >= -limit && x < limit { x as i64 } else { i64::MIN }
}
