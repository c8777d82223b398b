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
    let exact = exact(trace);
    for (value, node) in trace.nodes() {
        let ones = match &node.op {
            Op::Input { name } => options.ones.contains(name),
            _ => counted[value.index()],
        };
        if let (true, false, Some((input, padding))) =
            (counted[value.index()], exact, comparison(trace, value))
        {
            let proviso = format!(
                "no element of {input} is {padding}: positions are counted over all of them ({})",
                node.place()
            );
            if !provisos.contains(&proviso) {
                provisos.push(proviso);
            }
        }
        let mut operands: Vec<_> =
            node.operands.iter().map(|operand| moved[operand.index()]).collect();
        if let (Op::Index, &[_, ids]) = (&node.op, &node.operands[..])
            && let Some((of, skip)) = places(trace, ids)
        {
            let (ty, source) = (trace.node(ids).ty.clone(), trace.node(ids).source.clone());
            let counted = out.push(Op::Places { skip }, vec![moved[of.index()]], ty, source);
            operands[1] = counted.expect("the ids are an earlier value");
        }
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

/// The ids and the padding of `cumsum(ids != padding) * (ids != padding) + padding` along the last of two axes.
fn places(trace: &Trace, value: ValueId) -> Option<(ValueId, i64)> {
    let node = trace.node(value);
    let (Op::Binary(BinaryOp::Add), &[product, padding]) = (&node.op, &node.operands[..]) else {
        return None;
    };
    let product = without(trace, product);
    let (Op::Binary(BinaryOp::Mul), &[a, b]) =
        (&trace.node(product).op, &trace.node(product).operands[..])
    else {
        return None;
    };
    let (count, real) = (without(trace, a), without(trace, b));
    let (Op::CumSum { axis: 1 }, &[counted]) =
        (&trace.node(count).op, &trace.node(count).operands[..])
    else {
        return None;
    };
    let (_, skip) = comparison(trace, real)?;
    let ids = trace.node(real).operands[0];
    let same = without(trace, counted) == real && number(trace, padding) == Some(skip);
    (same && trace.node(ids).ty == node.ty && node.ty.shape.len() == 2).then_some((ids, skip))
}

/// The value before casts between integers and truth values, and before 0 was added.
fn without(trace: &Trace, mut value: ValueId) -> ValueId {
    loop {
        let node = trace.node(value);
        match (&node.op, &node.operands[..]) {
            (Op::Cast, &[x]) if trace.node(x).ty.kind != Kind::Float => value = x,
            (Op::Binary(BinaryOp::Add), &[x, zero])
                if number(trace, zero) == Some(0) && trace.node(x).ty == node.ty =>
            {
                value = x;
            }
            _ => return value,
        }
    }
}

/// The integer that a value without axes, or a view of one, is.
fn number(trace: &Trace, mut value: ValueId) -> Option<i64> {
    while let (Op::Cast | Op::Full | Op::Expand | Op::Reshape, &[x]) =
        (&trace.node(value).op, &trace.node(value).operands[..])
    {
        value = x;
    }
    match &trace.node(value).op {
        Op::Constant(constant) => match &constant.values {
            crate::constant::Values::Int(values) if values.len() == 1 => Some(values[0]),
            _ => None,
        },
        _ => None,
    }
}

/// Whether every needed use of counted positions is a lookup in a table, which counts them exactly, or a choice from a
/// constant that is the same everywhere, to which they make no difference.
fn exact(trace: &Trace) -> bool {
    let needed = crate::batch::needed(trace);
    let nodes: Vec<_> = trace.nodes().filter(|(value, _)| needed[value.index()]).collect();
    let counts: Vec<ValueId> = nodes
        .iter()
        .map(|(value, _)| *value)
        .filter(|&value| places(trace, value).is_some())
        .collect();
    let sums = nodes.iter().filter(|(_, node)| matches!(node.op, Op::CumSum { .. })).count();
    let uses = nodes.iter().flat_map(|(_, node)| {
        node.operands.iter().enumerate().map(move |(at, operand)| (*node, at, *operand))
    });
    let harmless = uses.filter(|(_, _, operand)| counts.contains(operand)).all(|(node, at, _)| {
        match node.op {
            Op::Index => at == 1 && node.operands.len() == 2,
            Op::Gather { .. } => at == 1 && is_flat(trace, node.operands[0]),
            _ => false,
        }
    });
    harmless && sums == counts.len()
}

/// A constant whose elements are all the same, or a view of one.
fn is_flat(trace: &Trace, mut value: ValueId) -> bool {
    while let (Op::Cast | Op::Expand | Op::Reshape | Op::Slice { .. }, &[x]) =
        (&trace.node(value).op, &trace.node(value).operands[..])
    {
        value = x;
    }
    match &trace.node(value).op {
        Op::Constant(constant) => match &constant.values {
            crate::constant::Values::Int(values) => values.windows(2).all(|w| w[0] == w[1]),
            crate::constant::Values::Float(values) => values.windows(2).all(|w| w[0] == w[1]),
        },
        _ => false,
    }
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
