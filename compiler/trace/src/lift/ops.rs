//! Ops that become ops.

use bytec_ir::attrs::{BinaryFn, Real, ReduceFn, UnaryFn};
use bytec_ir::dim::Dim;
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op as IrOp;

use super::aligned::Frame;
use super::convolution::{self, Conv};
use super::lower::{Lower, Lowered};
use super::rows;
use super::sizes::Program;
use super::view::View;
use crate::dims::{product, squeezed, squeezed_axis};
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::program::{Kind, ValueId};

type Outcome = Result<View, String>;

/// A node as an op of the graph, or several; the view may have axes of 1.
pub(super) fn lower(l: &mut Lower<'_, '_>, value: ValueId) -> Outcome {
    let node = l.program.node(value);
    let name = l.name(value);
    let xs = node.operands.clone();
    let shape = node.ty.shape.clone();
    match &node.op {
        Op::Unary(f) => unary(l, *f, xs[0], &name),
        Op::Binary(f) => binary(l, *f, [xs[0], xs[1]], value),
        Op::Cast if node.ty.kind == l.program.node(xs[0]).ty.kind => l.view(xs[0]),
        Op::Reshape => {
            let view = l.view(xs[0])?;
            l.reshaped(&view, &squeezed(&shape), &name)
        }
        Op::Permute { perm } => {
            let view = l.view(xs[0])?;
            Ok(l.permuted(&view, l.program.shape(xs[0]), perm))
        }
        Op::Expand | Op::Repeat => repeated(l, xs[0], &shape, matches!(node.op, Op::Repeat), &name),
        Op::Slice { axis, start, step } => slice(l, xs[0], (*axis, start, *step), &shape, &name),
        Op::Select { axis, index } => {
            let view = l.view(xs[0])?;
            let from = l.program.shape(xs[0]).to_vec();
            let Some(at) = squeezed_axis(&from, *axis) else { return Ok(view) };
            pick(l, &view, at, index, &from[*axis], &name)
        }
        Op::Concat { axis } => concat(l, &xs, *axis, &name),
        Op::Index if xs.len() == 2 => rows::looked_up(l, xs[0], xs[1], 0, &name),
        Op::IndexSelect { axis } => rows::looked_up(l, xs[0], xs[1], *axis, &name),
        Op::Index => Err(
            "expected one list of indices into the first axis: a graph picks no element by several"
                .to_owned(),
        ),
        Op::Reduce { f, axes, .. } => reduce(l, *f, axes, xs[0], &name),
        Op::Places { skip } => {
            let view = l.view(xs[0])?;
            let ids = l.computed(&view, &name)?;
            let skip = usize::try_from(*skip).map_err(|_| "expected a padding id from 0 on")?;
            l.made(&name, IrOp::Places { skip }, &[ids])
        }
        Op::MatMul => matmul(l, xs[0], xs[1], &shape, &name),
        Op::Linear => {
            let x = l.view(xs[0])?;
            let weight = l.full(xs[1])?;
            let bias = xs.get(2).map(|&bias| l.full(bias)).transpose()?;
            let columns = l.program.shape(xs[0]).last().cloned().ok_or("x has no axis")?;
            let mut full = squeezed(&l.program.shape(xs[0])[..l.program.shape(xs[0]).len() - 1]);
            full.push(columns);
            let x = l.shaped(&x, &full, &name)?;
            linear(l, x, weight, bias, &name)
        }
        Op::Conv { stride, padding, dilation, groups } => {
            let by = Conv { stride, padding, dilation, groups: *groups };
            convolution::lower(l, &xs, &by, &shape, &name)
        }
        Op::Softmax { axis } => {
            let view = l.view(xs[0])?;
            let at = squeezed_axis(l.program.shape(xs[0]), *axis);
            let at = at.ok_or("a softmax of one element is 1")?;
            let perm = last(view.shape().len(), at);
            let x = l.computed(&view.transposed(&perm), &name)?;
            let out = l.made(&name, IrOp::Softmax {}, &[x])?;
            Ok(out.transposed(&inverse(&perm)))
        }
        Op::LayerNorm { axes, eps } => normalised(l, &xs, *axes, Real(*eps), &name),
        Op::RmsNorm { eps } => {
            let width = l.program.shape(xs[0]).last().cloned().ok_or("x has no axis")?;
            let x = wide(l, xs[0], 1, &width, &name)?;
            let gamma = l.view(xs[1])?;
            let gamma = l.shaped(&gamma, &[width], &name)?;
            l.made(&name, IrOp::RmsNorm { eps: Real(*eps) }, &[x, gamma])
        }
        op => Err(format!("a graph of one sample has no {}", op.name())),
    }
}

/// Puts axis `at` last.
fn last(rank: usize, at: usize) -> Vec<usize> {
    (0..rank).filter(|&axis| axis != at).chain([at]).collect()
}

/// The axes that depend on the sample, then the others.
fn rows_first(view: &View) -> Vec<usize> {
    let shape = view.shape();
    let (rows, columns): (Vec<_>, Vec<_>) =
        (0..shape.len()).partition(|&axis| shape[axis].as_fixed().is_none());
    [rows, columns].concat()
}

fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut back = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    back
}

fn unary(l: &mut Lower<'_, '_>, f: UnaryOp, x: ValueId, name: &str) -> Outcome {
    let view = l.view(x)?;
    let shape = view.shape();
    let x = l.computed(&view, name)?;
    let function = match f {
        UnaryOp::Neg => UnaryFn::Neg,
        UnaryOp::Abs => UnaryFn::Abs,
        UnaryOp::Sqrt => UnaryFn::Sqrt,
        UnaryOp::Rsqrt => UnaryFn::Rsqrt,
        UnaryOp::Exp => UnaryFn::Exp,
        UnaryOp::Tanh => UnaryFn::Tanh,
        UnaryOp::Erf => UnaryFn::Erf,
        UnaryOp::Sigmoid => UnaryFn::Sigmoid,
        UnaryOp::Relu => UnaryFn::Relu,
        UnaryOp::Silu => UnaryFn::Silu,
        UnaryOp::GeluErf => UnaryFn::GeluErf,
        UnaryOp::GeluTanh => UnaryFn::GeluTanh,
        UnaryOp::Square => {
            return l.made(name, IrOp::Binary { f: BinaryFn::Mul }, &[x, x]);
        }
        UnaryOp::Reciprocal => {
            let one = l.number(&format!("{name}.one"), 1.0);
            return l.made(name, IrOp::Binary { f: BinaryFn::Div }, &[one, x]);
        }
        UnaryOp::Sign
        | UnaryOp::Ceil
        | UnaryOp::Floor
        | UnaryOp::Round
        | UnaryOp::Log
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Not => {
            return Err(format!("a graph has no {f:?} of values that depend on the sample"));
        }
    };
    let out = l.made(name, IrOp::Unary { f: function }, &[x])?;
    l.reshaped(&out, &shape, name)
}

fn binary(l: &mut Lower<'_, '_>, f: BinaryOp, xs: [ValueId; 2], value: ValueId) -> Outcome {
    let name = l.name(value);
    if l.program.node(value).ty.kind != Kind::Float {
        return Err(format!("a graph has no {f:?} of integers or of truth values"));
    }
    if f == BinaryOp::Pow {
        return power(l, xs, &name);
    }
    let function = match f {
        BinaryOp::Add => BinaryFn::Add,
        BinaryOp::Sub => BinaryFn::Sub,
        BinaryOp::Mul => BinaryFn::Mul,
        BinaryOp::Div => BinaryFn::Div,
        BinaryOp::Min => BinaryFn::Min,
        BinaryOp::Max => BinaryFn::Max,
        _ => return Err(format!("a graph has no {f:?} of values that depend on the sample")),
    };
    let frame = Frame::new(l, l.program.shape(value), &xs);
    let mut operands = Vec::new();
    for x in xs {
        operands.push(match l.lowered(x) {
            Lowered::Number(number) => {
                let number = *number;
                l.number(&format!("{name}.number"), number)
            }
            _ => frame.operand(l, x, &name)?,
        });
    }
    let out = l.made(&name, IrOp::Binary { f: function }, &operands)?;
    frame.result(&out).ok_or_else(|| {
        format!(
            "it repeats {:?} along axes of {}, which a graph does not",
            out.shape().iter().map(ToString::to_string).collect::<Vec<_>>(),
            l.program.node(value).ty
        )
    })
}

fn power(l: &mut Lower<'_, '_>, [x, exponent]: [ValueId; 2], name: &str) -> Outcome {
    let Lowered::Number(exponent) = *l.lowered(exponent) else {
        return Err("expected an exponent that is a number".to_owned());
    };
    let view = l.view(x)?;
    let x = l.computed(&view, name)?;
    let multiply = IrOp::Binary { f: BinaryFn::Mul };
    if exponent == 2.0 {
        return l.made(name, multiply, &[x, x]);
    }
    if exponent == 3.0 {
        let square = l.op(&format!("{name}.square"), multiply.clone(), &[x, x])?;
        return l.made(name, multiply, &[square, x]);
    }
    if exponent == 0.5 || exponent == -0.5 {
        let f = if exponent > 0.0 { UnaryFn::Sqrt } else { UnaryFn::Rsqrt };
        return l.made(name, IrOp::Unary { f }, &[x]);
    }
    if exponent == -1.0 {
        let one = l.number(&format!("{name}.one"), 1.0);
        return l.made(name, IrOp::Binary { f: BinaryFn::Div }, &[one, x]);
    }
    Err(format!("expected an exponent of 2, 3, 0.5, -0.5 or -1, found {exponent}"))
}

/// Axes repeated: copies side by side, which a fixed number of them can be.
fn repeated(l: &mut Lower<'_, '_>, x: ValueId, shape: &[Dim], whole: bool, name: &str) -> Outcome {
    const MOST: u64 = 256;
    let own = l.program.shape(x);
    let ahead = shape.len().saturating_sub(own.len());
    let one = Dim::fixed(1);
    let mut full: Vec<Dim> = vec![one.clone(); ahead];
    full.extend(own.iter().cloned());
    let view = l.view(x)?;
    if full == shape || squeezed(&full) == squeezed(shape) {
        return l.reshaped(&view, shape, name);
    }
    let mut view = l.reshaped(&view, &full, name)?;
    for (axis, dim) in shape.iter().enumerate() {
        if full[axis] == *dim {
            continue;
        }
        let times = crate::dims::quotient(dim, &full[axis]).and_then(|times| times.as_fixed());
        let times = times.filter(|&times| times <= MOST && (whole || full[axis] == one));
        let times = times.ok_or_else(|| {
            format!("it repeats an axis of {} to {dim}, which a graph does not", full[axis])
        })?;
        let id = l.computed(&view, name)?;
        view = l.made(name, IrOp::Concat { axis }, &vec![id; times as usize])?;
    }
    Ok(view)
}

fn slice(
    l: &mut Lower<'_, '_>,
    x: ValueId,
    (axis, start, step): (usize, &Dim, u64),
    shape: &[Dim],
    name: &str,
) -> Outcome {
    let from = l.program.shape(x).to_vec();
    let view = l.view(x)?;
    let Some(at) = squeezed_axis(&from, axis) else { return Ok(view) };
    let taken = &shape[axis];
    if *taken == Dim::fixed(1) {
        return pick(l, &view, at, start, &from[axis], name);
    }
    let (first, fixed) = (start.as_fixed(), (taken.as_fixed(), from[axis].as_fixed()));
    if step == 1
        && let (Some(first), (Some(taken), Some(_))) = (first, fixed)
    {
        // In rows as they are packed: a part of their columns is none of a transposed value.
        let order = rows_first(&view);
        let id = l.computed(&view.transposed(&order), name)?;
        let axis = inverse(&order)[at];
        let op = IrOp::Slice { axis, start: first as usize, end: (first + taken) as usize };
        return Ok(l.made(name, op, &[id])?.transposed(&inverse(&order)));
    }
    // Every so many of an axis: one of each group.
    if let (Some(first), (Some(taken), Some(extent))) = (first, fixed)
        && taken.checked_mul(step) == Some(extent)
        && first < step
    {
        let mut apart = view.shape();
        apart.splice(at..=at, [Dim::fixed(taken), Dim::fixed(step)]);
        let apart = l.reshaped(&view, &apart, name)?;
        let mut order = rows_first(&apart);
        let moved = apart.transposed(&order);
        let out = pick(l, &moved, inverse(&order)[at + 1], start, &Dim::fixed(step), name)?;
        order.retain(|&axis| axis != at + 1);
        order.iter_mut().for_each(|axis| *axis -= usize::from(*axis > at));
        return Ok(out.transposed(&inverse(&order)));
    }
    // The first rows of a table, as many as a sample needs.
    if step == 1
        && !l.program.origin(x).input
        && let (Some(first), Some(rows)) = (first, from[axis].as_fixed())
    {
        let perm: Vec<_> =
            [at].into_iter().chain((0..view.shape().len()).filter(|a| *a != at)).collect();
        let moved = view.transposed(&perm);
        let rest = moved.shape()[1..].to_vec();
        let width = product(&rest).ok_or("the table is too large")?;
        let table = l.shaped(&moved, &[Dim::fixed(rows), width], name)?;
        let op = IrOp::Iota { extent: taken.clone(), start: first as i64 };
        let ids = l.op(&format!("{name}.positions"), op, &[])?;
        let out = l.made(name, IrOp::Gather {}, &[table, ids])?;
        let full: Vec<_> = [taken.clone()].into_iter().chain(rest).collect();
        return Ok(l.reshaped(&out, &full, name)?.transposed(&inverse(&perm)));
    }
    Err(format!(
        "it takes {taken} indices from {start} by {step} of an axis of {}: expected numbers and a step of 1, or one index",
        from[axis]
    ))
}

/// One index of an axis.
pub(super) fn pick(
    l: &mut Lower<'_, '_>,
    view: &View,
    at: usize,
    index: &Dim,
    extent: &Dim,
    name: &str,
) -> Outcome {
    let id = l.computed(view, name)?;
    if let Some(index) = index.as_fixed() {
        return l.made(name, IrOp::Select { axis: at, index: index as usize }, &[id]);
    }
    if extent.checked_sub(&Dim::fixed(1)).as_ref() == Some(index) {
        let moved: Vec<_> =
            [at].into_iter().chain((0..view.shape().len()).filter(|axis| *axis != at)).collect();
        let moved = view.transposed(&moved);
        let rest = moved.shape()[1..].to_vec();
        let width = product(&rest).ok_or("the rows are too wide")?;
        let rows = l.shaped(&moved, &[extent.clone(), width], name)?;
        let kind = bytec_ir::attrs::PoolKind::Last;
        let row = l.made(name, IrOp::Pool { kind, normalize: None }, &[rows])?;
        return l.reshaped(&row, &rest, name);
    }
    Err(format!(
        "expected the index of a row from the start, or of the last one, found {index} of {extent}"
    ))
}

fn concat(l: &mut Lower<'_, '_>, xs: &[ValueId], axis: usize, name: &str) -> Outcome {
    let one = Dim::fixed(1);
    let mut parts = Vec::new();
    let mut at = 0;
    for &x in xs {
        if is_empty(l.program, x, axis) {
            continue;
        }
        let from = l.program.shape(x).to_vec();
        let kept = from.iter().enumerate().filter(|(i, dim)| *i == axis || **dim != one);
        let wanted: Vec<_> = kept.map(|(_, dim)| dim.clone()).collect();
        at = from[..axis.min(from.len())].iter().filter(|dim| **dim != one).count();
        let view = l.view(x)?;
        parts.push(l.reshaped(&view, &wanted, name)?);
    }
    // In rows as they are packed, unless these are what is put together.
    let symbolic = |view: &View, axis: usize| view.shape()[axis].as_fixed().is_none();
    let mut order: Vec<_> =
        parts.first().map_or_else(Vec::new, |part| (0..part.shape().len()).collect());
    if !parts.iter().any(|part| symbolic(part, at)) {
        order = parts.first().map_or_else(Vec::new, rows_first);
    }
    let mut operands = Vec::new();
    for part in parts {
        operands.push(l.computed(&part.transposed(&order), name)?);
    }
    let back = inverse(&order);
    let out = l.made(name, IrOp::Concat { axis: back[at] }, &operands)?;
    Ok(out.transposed(&back))
}

/// Nothing along an axis.
pub(super) fn is_empty(program: &Program<'_>, x: ValueId, axis: usize) -> bool {
    program.shape(x).get(axis).and_then(Dim::as_fixed) == Some(0)
}

pub(super) fn reduce(
    l: &mut Lower<'_, '_>,
    f: ReduceOp,
    axes: &[usize],
    x: ValueId,
    name: &str,
) -> Outcome {
    let (f, flip) = match f {
        ReduceOp::Sum => (ReduceFn::Sum, false),
        ReduceOp::Mean => (ReduceFn::Mean, false),
        ReduceOp::Max => (ReduceFn::Max, false),
        ReduceOp::Min => (ReduceFn::Max, true),
        ReduceOp::ArgMax => {
            return Err("the place of the largest element depends on the sample, and a graph computes no integers".to_owned());
        }
        ReduceOp::Any | ReduceOp::All => return Err("a graph holds no truth values".to_owned()),
    };
    if l.program.node(x).ty.kind != Kind::Float {
        return Err("a graph computes no integers".to_owned());
    }
    let from = l.program.shape(x).to_vec();
    let mut view = l.view(x)?;
    let negate = IrOp::Unary { f: UnaryFn::Neg };
    if flip {
        let id = l.computed(&view, name)?;
        view = l.made(&format!("{name}.negated"), negate.clone(), &[id])?;
    }
    let mut at: Vec<_> = axes.iter().filter_map(|&axis| squeezed_axis(&from, axis)).collect();
    at.sort_unstable();
    for axis in at.into_iter().rev() {
        let id = l.computed(&view, name)?;
        view = l.made(name, IrOp::Reduce { f, axis }, &[id])?;
    }
    if flip {
        let id = l.computed(&view, name)?;
        view = l.made(&format!("{name}.back"), negate, &[id])?;
    }
    Ok(view)
}

pub(super) fn linear(
    l: &mut Lower<'_, '_>,
    x: NodeId,
    weight: NodeId,
    bias: Option<NodeId>,
    name: &str,
) -> Outcome {
    let out = l.made(name, IrOp::Linear { epilogue: Vec::new() }, &[x, weight])?;
    let Some(bias) = bias else { return Ok(out) };
    let product = l.computed(&out, name)?;
    l.made(&format!("{name}.add_bias"), IrOp::Binary { f: BinaryFn::Add }, &[product, bias])
}

fn matmul(l: &mut Lower<'_, '_>, a: ValueId, b: ValueId, shape: &[Dim], name: &str) -> Outcome {
    let (from_a, from_b) = (l.program.shape(a).to_vec(), l.program.shape(b).to_vec());
    let ([lead_a @ .., m, k], [lead_b @ .., _, n]) = (&from_a[..], &from_b[..]) else {
        return Err("expected operands of at least two axes".to_owned());
    };
    let weights = !l.program.origin(b).input;
    let (a, b) = (l.view(a)?, l.view(b)?);
    let lead = squeezed(lead_a);
    if squeezed(lead_b).is_empty() {
        // One matrix for all: rows of every leading axis, one after the other.
        let matrix = l.reshaped(&b, &[k.clone(), n.clone()], name)?;
        if weights {
            let x: Vec<_> = lead.iter().chain([m, k]).cloned().collect();
            let x = l.shaped(&a, &x, name)?;
            let weight = l.computed(&matrix.transposed(&[1, 0]), name)?;
            return linear(l, x, weight, None, name);
        }
        let rows =
            product(&lead).and_then(|n| n.checked_mul(m)).ok_or("there are too many rows")?;
        let left = l.shaped(&a, &[rows, k.clone()], name)?;
        let right = l.computed(&matrix, name)?;
        let out = l.made(name, IrOp::MatMul {}, &[left, right])?;
        return l.reshaped(&out, &squeezed(shape), name);
    }
    if lead != squeezed(lead_b) {
        return Err(format!("it repeats a matrix over leading axes: {from_a:?} and {from_b:?}"));
    }
    let full = |tail: [&Dim; 2]| lead.iter().chain(tail).cloned().collect::<Vec<_>>();
    let left = l.shaped(&a, &full([m, k]), name)?;
    let right = l.shaped(&b, &full([k, n]), name)?;
    let out = l.made(name, IrOp::MatMul {}, &[left, right])?;
    l.reshaped(&out, &squeezed(shape), name)
}

/// The operand with its last `axes` axes as one.
fn wide(
    l: &mut Lower<'_, '_>,
    x: ValueId,
    axes: usize,
    width: &Dim,
    name: &str,
) -> Result<NodeId, String> {
    let from = l.program.shape(x).to_vec();
    let mut full = squeezed(&from[..from.len().saturating_sub(axes)]);
    full.push(width.clone());
    let view = l.view(x)?;
    l.shaped(&view, &full, name)
}

fn normalised(
    l: &mut Lower<'_, '_>,
    xs: &[ValueId],
    axes: usize,
    eps: Real,
    name: &str,
) -> Outcome {
    let from = l.program.shape(xs[0]).to_vec();
    let width = product(&from[from.len().saturating_sub(axes)..]).ok_or("the rows are too wide")?;
    let x = wide(l, xs[0], axes, &width, name)?;
    let Some(&gamma) = xs.get(1) else {
        return Err("expected a scale: a layer norm without one is not built".to_owned());
    };
    let gamma = l.view(gamma)?;
    let gamma = l.shaped(&gamma, std::slice::from_ref(&width), name)?;
    let beta = match xs.get(2).map(|&beta| (beta, l.lowered(beta).clone())) {
        Some((beta, Lowered::View(_) | Lowered::Plus(..) | Lowered::Row(_) | Lowered::Refused)) => {
            let beta = l.view(beta)?;
            l.shaped(&beta, std::slice::from_ref(&width), name)?
        }
        none_or_number => {
            let number = match none_or_number {
                Some((_, Lowered::Number(number))) => number,
                _ => 0.0,
            };
            // A vector of the number, made of the scale.
            let zero = l.number(&format!("{name}.zero"), 0.0);
            let op = IrOp::Binary { f: BinaryFn::Mul };
            let zeros = l.op(&format!("{name}.no_bias"), op, &[gamma, zero])?;
            match number == 0.0 {
                true => zeros,
                false => {
                    let number = l.number(&format!("{name}.bias"), number);
                    l.op(
                        &format!("{name}.biases"),
                        IrOp::Binary { f: BinaryFn::Add },
                        &[zeros, number],
                    )?
                }
            }
        }
    };
    let out = l.made(name, IrOp::LayerNorm { eps }, &[x, gamma, beta])?;
    l.reshaped(&out, &squeezed(&from), name)
}
