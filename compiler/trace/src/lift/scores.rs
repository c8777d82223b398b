//! What attention scores are made of.

use bytec_ir::dim::Dim;

use super::sizes::Program;
use crate::dims::squeezed;
use crate::op::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::program::{Kind, ValueId};

/// From here down an added number hides a key: its weight is 0 in f32 whatever the scores are.
pub(super) const HIDDEN: f64 = -9_000.0;

/// A value and the shape of scores that it is spread over.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) value: ValueId,
    pub(super) frame: Vec<Dim>,
    /// What it is multiplied with.
    pub(super) factor: f64,
}

/// A product of queries or keys with a table, looked up by distance.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    /// The queries or keys, `[.., rows, head size]`.
    pub(super) rows: ValueId,
    /// The table, `[.., head size, buckets]`.
    pub(super) table: ValueId,
    /// The buckets, `[.., query, key]`, or `[.., key, query]` for keys.
    pub(super) buckets: ValueId,
    pub(super) factor: f64,
}

/// Scores, taken apart. The sum of all terms where every mask lets a key be seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// Queries `[.., Q, D]` times keys `[.., D, K]`, and the factor.
    pub(super) content: Option<(ValueId, ValueId, f64)>,
    /// Truth values that must be as said for a key to be seen.
    pub(super) seen: Vec<(Part, bool)>,
    /// Numbers that the sizes decide.
    pub(super) added: Vec<Part>,
    /// What depends on weights besides.
    pub(super) tables: Vec<Part>,
    /// Content to position.
    pub(super) c2p: Option<Lookup>,
    /// Position to content.
    pub(super) p2c: Option<Lookup>,
}

impl Terms {
    /// Takes apart a value that is spread over scores of shape `frame` and multiplied by `factor`.
    pub(super) fn take(
        &mut self,
        program: &Program<'_>,
        value: ValueId,
        frame: &[Dim],
        factor: f64,
    ) -> Result<(), String> {
        // A stack instead of recursion: a trace may be deep.
        let mut left = vec![(value, frame.to_vec(), factor)];
        while let Some((value, frame, factor)) = left.pop() {
            let node = program.node(value);
            let part = || Part { value, frame: frame.clone(), factor };
            if program.is_sizes_only(value) {
                match node.ty.kind {
                    Kind::Bool => self.seen.push((part(), true)),
                    _ => self.added.push(part()),
                }
                continue;
            }
            let operands = &node.operands[..];
            match (&node.op, operands) {
                (Op::Cast, &[x]) => left.push((x, frame, factor)),
                (Op::Reshape | Op::Expand, &[x])
                    if squeezed(program.shape(x)) == squeezed(&frame) =>
                {
                    left.push((x, program.shape(x).to_vec(), factor));
                }
                (Op::Expand, &[x]) => left.push((x, frame, factor)),
                (Op::Binary(BinaryOp::Add), &[a, b]) => {
                    left.push((b, frame.clone(), factor));
                    left.push((a, frame, factor));
                }
                (Op::Binary(BinaryOp::Sub), &[a, b]) => {
                    left.push((b, frame.clone(), -factor));
                    left.push((a, frame, factor));
                }
                (Op::Binary(f @ (BinaryOp::Mul | BinaryOp::Div)), &[a, b]) => {
                    let (x, number) =
                        scaled(program, *f, a, b).ok_or_else(|| unknown(program, value))?;
                    left.push((x, frame, factor * number));
                }
                (Op::Where, &[condition, a, b]) if program.is_sizes_only(condition) => {
                    let (shown, seen) = match (hides(program, a), hides(program, b)) {
                        (false, true) => (a, true),
                        (true, false) => (b, false),
                        _ => return Err(unknown(program, value)),
                    };
                    let part = Part { value: condition, frame: frame.clone(), factor: 1.0 };
                    self.seen.push((part, seen));
                    left.push((shown, frame, factor));
                }
                (Op::MatMul, &[a, b]) if program.origin(value).input && self.content.is_none() => {
                    if squeezed(&node.ty.shape) != squeezed(&frame) {
                        return Err(unknown(program, value));
                    }
                    self.content = Some((a, b, factor));
                }
                (Op::Gather { .. } | Op::Permute { .. }, _) if program.origin(value).input => {
                    self.lookup(program, value, factor)?;
                }
                _ if !program.origin(value).input => self.tables.push(part()),
                _ => return Err(unknown(program, value)),
            }
        }
        Ok(())
    }

    /// `gather(rows x table, buckets)`, turned around if the rows are the keys.
    fn lookup(&mut self, program: &Program<'_>, value: ValueId, factor: f64) -> Result<(), String> {
        let (node, rank) = (program.node(value), program.shape(value).len());
        let turned = match (&node.op, &node.operands[..]) {
            (Op::Permute { perm }, &[x]) if rank >= 2 => {
                let mut last: Vec<_> = (0..rank).collect();
                last.swap(rank - 1, rank - 2);
                if *perm != last {
                    return Err(unknown(program, value));
                }
                Some(x)
            }
            _ => None,
        };
        let gather = without_casts(program, turned.unwrap_or(value));
        let (Op::Gather { axis }, &[product, buckets]) =
            (&program.node(gather).op, &program.node(gather).operands[..])
        else {
            return Err(unknown(program, gather));
        };
        let product = without_casts(program, product);
        let (Op::MatMul, &[rows, table]) =
            (&program.node(product).op, &program.node(product).operands[..])
        else {
            return Err(unknown(program, product));
        };
        if *axis + 1 != rank
            || program.origin(table).input
            || !program.is_sizes_only(buckets)
            || !program.origin(rows).input
        {
            return Err(unknown(program, gather));
        }
        let term = if turned.is_some() { &mut self.p2c } else { &mut self.c2p };
        if term.is_some() {
            return Err(format!("there are two terms like {}", program.node(gather).place()));
        }
        *term = Some(Lookup { rows, table, buckets, factor });
        Ok(())
    }
}

fn unknown(program: &Program<'_>, value: ValueId) -> String {
    format!(
        "its scores hold {}, a {}: expected products of queries and keys, numbers, masks and tables of distances",
        program.node(value).place(),
        program.node(value).op.name()
    )
}

pub(super) fn without_casts(program: &Program<'_>, mut value: ValueId) -> ValueId {
    while let (Op::Cast, &[x]) = (&program.node(value).op, &program.node(value).operands[..])
        && program.node(x).ty.kind == Kind::Float
    {
        value = x;
    }
    value
}

/// The operand and the number of a product with, or a quotient by, a number.
pub(super) fn scaled(
    program: &Program<'_>,
    f: BinaryOp,
    a: ValueId,
    b: ValueId,
) -> Option<(ValueId, f64)> {
    match f {
        BinaryOp::Mul => program
            .uniform(b)
            .map(|number| (a, number))
            .or_else(|| program.uniform(a).map(|number| (b, number))),
        BinaryOp::Div => program.uniform(b).map(|number| (a, 1.0 / number)),
        _ => None,
    }
}

/// Every element hides a key.
fn hides(program: &Program<'_>, value: ValueId) -> bool {
    program.uniform(value).is_some_and(|number| number <= HIDDEN)
}

/// What the softmax along the last axis of `value`, named or written out, is of.
pub(super) fn softmax_of(program: &Program<'_>, value: ValueId) -> Option<ValueId> {
    let node = program.node(value);
    let last = program.shape(value).len().checked_sub(1)?;
    match (&node.op, &node.operands[..]) {
        (Op::Softmax { axis }, &[x]) if *axis == last => Some(x),
        (Op::Binary(BinaryOp::Div), &[shares, sum]) => {
            let reduced = |value: ValueId, function: ReduceOp| {
                let value = unspread(program, value);
                match (&program.node(value).op, &program.node(value).operands[..]) {
                    (Op::Reduce { f, axes, .. }, &[x]) if *f == function && *axes == [last] => {
                        Some(x)
                    }
                    _ => None,
                }
            };
            let (Op::Unary(UnaryOp::Exp), &[below]) =
                (&program.node(shares).op, &program.node(shares).operands[..])
            else {
                return None;
            };
            let (Op::Binary(BinaryOp::Sub), &[x, most]) =
                (&program.node(below).op, &program.node(below).operands[..])
            else {
                return None;
            };
            (reduced(sum, ReduceOp::Sum)? == shares && reduced(most, ReduceOp::Max)? == x)
                .then_some(x)
        }
        _ => None,
    }
}

/// The value before axes of 1 were added to it and repeated.
fn unspread(program: &Program<'_>, mut value: ValueId) -> ValueId {
    loop {
        let node = program.node(value);
        match (&node.op, &node.operands[..]) {
            (Op::Expand, &[x]) => value = x,
            (Op::Reshape, &[x]) if squeezed(program.shape(x)) == squeezed(&node.ty.shape) => {
                value = x;
            }
            _ => return value,
        }
    }
}
