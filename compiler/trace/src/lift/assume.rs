//! What the caller promises, put into the trace as constants.

use crate::constant::Constant;
use crate::op::{BinaryOp, Op};
use crate::program::{Kind, Trace, Type, ValueId};

use super::LiftOptions;

/// The trace with inputs that are all ones, and comparisons that say where there is no padding, as constants; and what
/// that takes for granted.
///
/// RoBERTa and its kin count positions by a running sum over `ids != padding`. A sample has no padding, so the comparison
/// is true, unless a sample holds the padding token as one of its own.
pub(super) fn assume(trace: &Trace, options: &LiftOptions) -> (Trace, Vec<String>) {
    let mut out = Trace::new(trace.symbols.clone(), trace.batch.clone());
    let mut provisos = Vec::new();
    let mut moved: Vec<ValueId> = Vec::new();
    let counted = counted(trace);
    for (value, node) in trace.nodes() {
        let ones = match &node.op {
            Op::Input { name } => options.ones.contains(name),
            _ => counted[value.index()],
        };
        if let (true, Some((input, padding))) = (counted[value.index()], comparison(trace, value)) {
            let proviso = format!(
                "no element of {input} is {padding}: positions are counted over all of them ({})",
                node.place()
            );
            if !provisos.contains(&proviso) {
                provisos.push(proviso);
            }
        }
        let operands = node.operands.iter().map(|operand| moved[operand.index()]).collect();
        let pushed = if ones {
            let one = match node.ty.kind {
                Kind::Float => Constant::float(1.0),
                kind => Constant { kind, ..Constant::int(1) },
            };
            let scalar = Type { kind: node.ty.kind, shape: Vec::new() };
            out.push(Op::Constant(one), Vec::new(), scalar, node.source.clone())
                .and_then(|one| out.push(Op::Full, vec![one], node.ty.clone(), node.source.clone()))
        } else {
            out.push(node.op.clone(), operands, node.ty.clone(), node.source.clone())
        };
        // Operands come before their users in a trace, and so they do here.
        moved.push(pushed.expect("the operands of a node are earlier nodes"));
    }
    out.outputs =
        trace.outputs.iter().map(|(name, value)| (name.clone(), moved[value.index()])).collect();
    (out, provisos)
}

/// Which values are comparisons of ids with padding whose running sum is taken.
fn counted(trace: &Trace) -> Vec<bool> {
    let mut counted = vec![false; trace.nodes().count()];
    let nodes: Vec<_> = trace.nodes().collect();
    for (value, node) in nodes.into_iter().rev() {
        let through = matches!(node.op, Op::Cast) && counted[value.index()];
        if matches!(node.op, Op::CumSum { .. }) || through {
            node.operands.iter().for_each(|operand| counted[operand.index()] = true);
        }
    }
    for (value, _) in trace.nodes() {
        counted[value.index()] &= comparison(trace, value).is_some();
    }
    counted
}

/// The input and the number of `input != number`.
fn comparison(trace: &Trace, value: ValueId) -> Option<(String, i64)> {
    let node = trace.node(value);
    let (Op::Binary(BinaryOp::Ne), [ids, number]) = (&node.op, &node.operands[..]) else {
        return None;
    };
    let plain = |mut value: ValueId| {
        while let (Op::Cast | Op::Full | Op::Expand | Op::Reshape, [operand]) =
            (&trace.node(value).op, &trace.node(value).operands[..])
        {
            value = *operand;
        }
        trace.node(value)
    };
    match (&plain(*ids).op, &plain(*number).op) {
        (Op::Input { name }, Op::Constant(constant)) if constant.kind == Kind::Int => {
            match &constant.values {
                crate::constant::Values::Int(values) if values.len() == 1 => {
                    Some((name.clone(), values[0]))
                }
                _ => None,
            }
        }
        _ => None,
    }
}
