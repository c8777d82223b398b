//! Parts of tables that begin where the sizes say: the part is taken of what is looked up in, and then of the rows' numbers.
//!
//! DeBERTa looks up distances in `table[most - length .. most + length]`, so row `d + length` of the part is row `d + most`
//! of the table. A part of rows that are each treated alone is moved behind what treats them, until rows are picked from it;
//! then the whole table is picked from, by numbers that begin later.

use std::collections::BTreeMap;

use bytec_ir::dim::{Atom, Dim};

use crate::constant::Constant;
use crate::dims::product;
use crate::op::{BinaryOp, Op, ReduceOp};
use crate::origin::origins;
use crate::program::{Kind, Node, Source, Trace, TraceError, Type, ValueId};

/// A part of an axis, not yet taken.
#[derive(Clone, Debug)]
struct Window {
    /// The whole, in the new trace.
    whole: ValueId,
    axis: usize,
    start: Dim,
    /// How long the whole axis is.
    extent: Dim,
}

/// The program with such parts moved behind lookups.
pub(super) fn moved(trace: &Trace) -> Result<Trace, TraceError> {
    let origins = origins(trace);
    let opens = |node: &Node| match (&node.op, &node.operands[..]) {
        (Op::Slice { axis, start, step: 1 }, &[x]) => {
            let fixed = trace.node(x).ty.shape[*axis].as_fixed().is_some();
            let origin = origins[x.index()];
            let of_sizes = start.as_fixed().is_none() && node.ty.shape[*axis].as_fixed().is_none();
            origin.weight && !origin.input && fixed && of_sizes
        }
        _ => false,
    };
    if !trace.nodes().any(|(_, node)| opens(node)) {
        return Ok(trace.clone());
    }
    let out = Trace::new(trace.symbols.clone(), trace.batch.clone());
    let mut moving = Moving { trace, out, taken: Vec::new(), windows: BTreeMap::new() };
    for (value, node) in trace.nodes() {
        let window = if opens(node) { moving.opened(node)? } else { moving.through(node)? };
        let taken = match window {
            Some(window) => {
                moving.windows.insert(value, window);
                None
            }
            None => Some(moving.copied(node)?),
        };
        moving.taken.push(taken);
    }
    for (name, value) in &trace.outputs {
        let value = moving.value(*value)?;
        moving.out.outputs.push((name.clone(), value));
    }
    Ok(moving.out)
}

struct Moving<'t> {
    trace: &'t Trace,
    out: Trace,
    /// Every value in the new trace; `None` for a part that is not taken yet.
    taken: Vec<Option<ValueId>>,
    windows: BTreeMap<ValueId, Window>,
}

impl Moving<'_> {
    /// A value in the new trace; a part is taken now.
    fn value(&mut self, value: ValueId) -> Result<ValueId, TraceError> {
        if let Some(taken) = self.taken[value.index()] {
            return Ok(taken);
        }
        let node = self.trace.node(value);
        let Window { whole, axis, start, .. } = self.windows[&value].clone();
        let part = Op::Slice { axis, start, step: 1 };
        let taken = self.out.push(part, vec![whole], node.ty.clone(), node.source.clone())?;
        self.taken[value.index()] = Some(taken);
        Ok(taken)
    }

    /// A node of values, or a lookup in the whole of a part.
    fn copied(&mut self, node: &Node) -> Result<ValueId, TraceError> {
        if let (Op::Gather { axis }, &[x, index]) = (&node.op, &node.operands[..])
            && let Some(window) =
                self.windows.get(&x).filter(|window| window.axis == *axis).cloned()
            && let Some(start) = self.number(&window.start, &node.source)?
        {
            let ty = self.trace.node(index).ty.clone();
            let index = self.value(index)?;
            let add = Op::Binary(BinaryOp::Add);
            let index = self.out.push(add, vec![index, start], ty, node.source.clone())?;
            let operands = vec![window.whole, index];
            return self.out.push(node.op.clone(), operands, node.ty.clone(), node.source.clone());
        }
        let operands = node.operands.iter().map(|&x| self.value(x)).collect::<Result<_, _>>()?;
        self.out.push(node.op.clone(), operands, node.ty.clone(), node.source.clone())
    }

    fn opened(&mut self, node: &Node) -> Result<Option<Window>, TraceError> {
        let (Op::Slice { axis, start, .. }, &[x]) = (&node.op, &node.operands[..]) else {
            return Ok(None);
        };
        let extent = self.trace.node(x).ty.shape[*axis].clone();
        Ok(Some(Window { whole: self.value(x)?, axis: *axis, start: start.clone(), extent }))
    }

    /// The same of the whole, if the node treats every index of a part alone.
    fn through(&mut self, node: &Node) -> Result<Option<Window>, TraceError> {
        let mut parts = node.operands.iter().enumerate();
        let mut parts = parts.by_ref().filter(|(_, x)| self.windows.contains_key(x));
        let (Some((at, &x)), None) = (parts.next(), parts.next()) else { return Ok(None) };
        // A part that has been taken stays taken.
        if self.taken[x.index()].is_some() {
            return Ok(None);
        }
        let window = self.windows[&x].clone();
        let Some(axis) = self.axis(node, at, window.axis) else { return Ok(None) };
        let mut operands = Vec::new();
        for (i, &operand) in node.operands.iter().enumerate() {
            operands.push(if i == at { window.whole } else { self.value(operand)? });
        }
        let mut ty = node.ty.clone();
        ty.shape[axis] = window.extent.clone();
        let whole = self.out.push(node.op.clone(), operands, ty, node.source.clone())?;
        Ok(Some(Window { whole, axis, ..window }))
    }

    /// Which axis of the result is `axis` of operand `at`, index by index.
    fn axis(&self, node: &Node, at: usize, axis: usize) -> Option<usize> {
        let shape = |x: ValueId| &self.trace.node(x).ty.shape;
        let (of, rank) = (shape(node.operands[at]), node.ty.shape.len());
        let found = match &node.op {
            Op::Cast | Op::Unary(_) => axis,
            Op::Linear | Op::LayerNorm { axes: 1, .. } | Op::RmsNorm { .. } => {
                (at == 0 && axis + 1 < of.len()).then_some(axis)?
            }
            Op::Permute { perm } => perm.iter().position(|&from| from == axis)?,
            Op::Expand => axis + rank.checked_sub(of.len())?,
            Op::Reshape => {
                let before = product(&of[..axis])?;
                (0..rank).find(|&j| {
                    node.ty.shape[j] == of[axis]
                        && product(&node.ty.shape[..j]).as_ref() == Some(&before)
                })?
            }
            Op::Binary(_) => {
                let own = axis + rank.checked_sub(of.len())?;
                let other = shape(*node.operands.get(1 - at)?);
                let same = (own + other.len()).checked_sub(rank);
                let repeated = same.is_none_or(|same| other[same] == Dim::fixed(1));
                repeated.then_some(own)?
            }
            Op::MatMul => match at {
                0 if axis + 2 == of.len() => rank - 2,
                1 if axis + 1 == of.len() => rank - 1,
                _ => return None,
            },
            _ => return None,
        };
        (node.ty.shape.get(found) == of.get(axis)).then_some(found)
    }

    /// A size as an integer without axes, if it is a number and so many of each symbol.
    fn number(&mut self, dim: &Dim, source: &Source) -> Result<Option<ValueId>, TraceError> {
        let mut sum: Option<ValueId> = None;
        let scalar = Type { kind: Kind::Int, shape: Vec::new() };
        let terms: Vec<_> = dim
            .terms()
            .map(|(monomial, count)| (monomial.clone().into_iter().collect::<Vec<_>>(), count))
            .collect();
        for (monomial, count) in terms {
            let count = Op::Constant(Constant::int(count));
            let mut term = self.out.push(count, Vec::new(), scalar.clone(), source.clone())?;
            match &monomial[..] {
                [] => {}
                [(Atom::Symbol(symbol), 1)] => {
                    let one = Op::Constant(Constant::int(1));
                    let one = self.out.push(one, Vec::new(), scalar.clone(), source.clone())?;
                    let ty = Type::new(Kind::Int, [Dim::symbol(symbol.name())]);
                    let ones = self.out.push(Op::Full, vec![one], ty, source.clone())?;
                    let all = Op::Reduce { f: ReduceOp::Sum, axes: vec![0], keep: false };
                    let all = self.out.push(all, vec![ones], scalar.clone(), source.clone())?;
                    let times = Op::Binary(BinaryOp::Mul);
                    let operands = vec![term, all];
                    term = self.out.push(times, operands, scalar.clone(), source.clone())?;
                }
                _ => return Ok(None),
            }
            sum = Some(match sum {
                None => term,
                Some(sum) => {
                    let add = Op::Binary(BinaryOp::Add);
                    self.out.push(add, vec![sum, term], scalar.clone(), source.clone())?
                }
            });
        }
        Ok(sum)
    }
}
