//! The plan's spelling of the IR's functions and expressions.

use bytec_ir::{BinaryFn, Expr, PoolKind, UnaryFn};
use bytec_plan::kernel as plan;

/// The plan's function of one number.
pub(crate) fn unary(f: UnaryFn) -> plan::UnaryFn {
    match f {
        UnaryFn::Neg => plan::UnaryFn::Neg,
        UnaryFn::Abs => plan::UnaryFn::Abs,
        UnaryFn::Exp => plan::UnaryFn::Exp,
        UnaryFn::Sqrt => plan::UnaryFn::Sqrt,
        UnaryFn::Rsqrt => plan::UnaryFn::Rsqrt,
        UnaryFn::Erf => plan::UnaryFn::Erf,
        UnaryFn::Tanh => plan::UnaryFn::Tanh,
        UnaryFn::Sigmoid => plan::UnaryFn::Sigmoid,
        UnaryFn::Relu => plan::UnaryFn::Relu,
        UnaryFn::Silu => plan::UnaryFn::Silu,
        UnaryFn::GeluErf => plan::UnaryFn::GeluErf,
        UnaryFn::GeluTanh => plan::UnaryFn::GeluTanh,
        UnaryFn::QuickGelu => plan::UnaryFn::QuickGelu,
        UnaryFn::ReluSquared => plan::UnaryFn::ReluSquared,
        UnaryFn::Relu6 => plan::UnaryFn::Relu6,
        UnaryFn::LeakyRelu => plan::UnaryFn::LeakyRelu,
        UnaryFn::Mish => plan::UnaryFn::Mish,
    }
}

fn binary(f: BinaryFn) -> plan::BinaryFn {
    match f {
        BinaryFn::Add => plan::BinaryFn::Add,
        BinaryFn::Sub => plan::BinaryFn::Sub,
        BinaryFn::Mul => plan::BinaryFn::Mul,
        BinaryFn::Div => plan::BinaryFn::Div,
        BinaryFn::Max => plan::BinaryFn::Max,
        BinaryFn::Min => plan::BinaryFn::Min,
    }
}

/// The plan's pooling.
pub(crate) fn pooling(kind: PoolKind) -> plan::PoolKind {
    match kind {
        PoolKind::Mean => plan::PoolKind::Mean,
        PoolKind::Cls => plan::PoolKind::Cls,
        PoolKind::Max => plan::PoolKind::Max,
        PoolKind::MeanSqrtLen => plan::PoolKind::MeanSqrtLen,
        PoolKind::WeightedMean => plan::PoolKind::WeightedMean,
        PoolKind::Last => plan::PoolKind::Last,
    }
}

/// An expression as a chain of instructions, operands before uses; equal parts are computed once.
pub(crate) fn chain(expr: &Expr) -> Vec<plan::Instr> {
    let mut body = Vec::new();
    append(expr, &mut body);
    body
}

fn append(expr: &Expr, body: &mut Vec<plan::Instr>) -> u32 {
    let instr = match expr {
        Expr::Arg(i) => plan::Instr::Operand(*i as u32),
        Expr::Const(value) => plan::Instr::Const((value.0 as f32).to_bits()),
        Expr::Unary(f, x) => plan::Instr::Unary(unary(*f), append(x, body)),
        Expr::Binary(f, a, b) => {
            let a = append(a, body);
            let b = append(b, body);
            plan::Instr::Binary(binary(*f), a, b)
        }
    };
    if let Some(known) = body.iter().position(|known| *known == instr) {
        return known as u32;
    }
    body.push(instr);
    (body.len() - 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_ends_with_its_result_and_shares_parts() {
        let expr: Expr = "mul(add(x0, 0.5), tanh(add(x0, 0.5)))".parse().expect("well formed");
        assert_eq!(
            chain(&expr),
            [
                plan::Instr::Operand(0),
                plan::Instr::Const(0.5f32.to_bits()),
                plan::Instr::Binary(plan::BinaryFn::Add, 0, 1),
                plan::Instr::Unary(plan::UnaryFn::Tanh, 2),
                plan::Instr::Binary(plan::BinaryFn::Mul, 2, 3),
            ]
        );
    }
}
