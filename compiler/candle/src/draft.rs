//! A trace in the making: nodes that may still turn out to be of no use.

use bytec_ir::dim::{Dim, Symbol};
use bytec_ir::types::SymbolRange;
use bytec_trace::{BinaryOp, Constant, Kind, Op, ReduceOp, Source, Trace, Type, UnaryOp, Values};

use crate::error::Error;
use crate::options::BATCH;

/// The largest batch that a trace is said to hold for.
const LARGEST_BATCH: u64 = 1 << 16;

/// A node, with operands by number.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) op: Op,
    pub(crate) args: Vec<usize>,
    pub(crate) ty: Type,
    source: Source,
    /// As [`Draft::uniform`].
    uniform: Option<f64>,
    /// The size that every element is, such as the number of tokens, where a model counts a mask of ones.
    size: Option<Dim>,
}

/// Nodes in order.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) nodes: Vec<Made>,
    /// What the next nodes come from.
    pub(crate) source: Source,
}

impl Draft {
    pub(crate) fn add(&mut self, op: Op, args: &[usize], kind: Kind, shape: &[Dim]) -> usize {
        let ty = Type { kind, shape: shape.to_vec() };
        let operands: Vec<_> = args.iter().map(|&arg| self.nodes[arg].uniform).collect();
        let uniform = uniform(&op, kind, &operands);
        let size = self.size_of(&op, args);
        let source = self.source.clone();
        self.nodes.push(Made { op, args: args.to_vec(), ty, source, uniform, size });
        self.nodes.len() - 1
    }

    pub(crate) fn shape(&self, node: usize) -> Vec<Dim> {
        self.nodes[node].ty.shape.clone()
    }

    pub(crate) fn kind(&self, node: usize) -> Kind {
        self.nodes[node].ty.kind
    }

    /// A number without axes.
    pub(crate) fn number(&mut self, value: f64, kind: Kind) -> usize {
        self.table(&[], &[value], kind)
    }

    /// A table of numbers.
    pub(crate) fn table(&mut self, shape: &[usize], values: &[f64], kind: Kind) -> usize {
        let dims: Vec<_> = shape.iter().map(|&n| Dim::from(n)).collect();
        let values = match kind {
            Kind::Float => Values::Float(values.to_vec()),
            Kind::Int | Kind::Bool => Values::Int(values.iter().map(|&x| x as i64).collect()),
        };
        let constant = Constant { kind, shape: shape.iter().map(|&n| n as u64).collect(), values };
        self.add(Op::Constant(constant), &[], kind, &dims)
    }

    pub(crate) fn cast(&mut self, node: usize, kind: Kind) -> usize {
        if self.kind(node) == kind {
            return node;
        }
        let shape = self.shape(node);
        self.add(Op::Cast, &[node], kind, &shape)
    }

    pub(crate) fn reshape(&mut self, node: usize, shape: &[Dim]) -> usize {
        if self.nodes[node].ty.shape == shape {
            return node;
        }
        let kind = self.kind(node);
        self.add(Op::Reshape, &[node], kind, shape)
    }

    /// The number that every element is, where numbers alone decide it: masks of samples without padding, scales that a
    /// model works out.
    pub(crate) fn uniform(&self, node: usize) -> Option<f64> {
        self.nodes[node].uniform
    }

    /// The size that every element of a result is.
    fn size_of(&self, op: &Op, args: &[usize]) -> Option<Dim> {
        let size = |k: usize| args.get(k).and_then(|&arg| self.nodes[arg].size.clone());
        let number = |k: usize| args.get(k).and_then(|&arg| self.nodes[arg].uniform);
        match op {
            Op::Reduce { f: ReduceOp::Sum, axes, .. } if number(0) == Some(1.0) => {
                Some(self.count(*args.first()?, axes))
            }
            Op::Reshape | Op::Expand | Op::Repeat | Op::Cast => size(0),
            // Sizes are at least 1, and less than any number that a model guards against.
            Op::Binary(BinaryOp::Max) if number(1).is_some_and(|least| least <= 1.0) => size(0),
            Op::Binary(BinaryOp::Min) if number(1).is_some_and(|most| most >= 2f64.powi(53)) => {
                size(0)
            }
            _ => None,
        }
    }

    /// How many elements of a value are reduced to one.
    pub(crate) fn count(&self, node: usize, axes: &[usize]) -> Dim {
        let shape = &self.nodes[node].ty.shape;
        axes.iter().fold(Dim::fixed(1), |all, &axis| all * shape[axis].clone())
    }

    /// The mean, if `sum / number` is a sum divided by the number of its summands.
    pub(crate) fn mean_by(&mut self, sum: usize, number: usize, shape: &[Dim]) -> Option<usize> {
        let size = self.nodes[number].size.clone()?;
        self.mean_of(sum, shape, |count| *count == size)
    }

    /// The mean, if `sum` is a sum, through a reshape at most, of as many summands as `holds` says.
    pub(crate) fn mean_of(
        &mut self,
        sum: usize,
        shape: &[Dim],
        holds: impl Fn(&Dim) -> bool,
    ) -> Option<usize> {
        let reduced = match self.nodes[sum].op {
            Op::Reshape => self.nodes[sum].args[0],
            _ => sum,
        };
        let Op::Reduce { f: ReduceOp::Sum, axes, keep: true } = self.nodes[reduced].op.clone()
        else {
            return None;
        };
        let of = self.nodes[reduced].args[0];
        if !holds(&self.count(of, &axes)) {
            return None;
        }
        let kept = self.shape(reduced);
        let mean =
            self.add(Op::Reduce { f: ReduceOp::Mean, axes, keep: true }, &[of], Kind::Float, &kept);
        Some(self.reshape(mean, shape))
    }

    /// A choice; the one that is always made, if it is always the same.
    pub(crate) fn choose(&mut self, operands: [usize; 3], kind: Kind, shape: &[Dim]) -> usize {
        let [condition, a, b] = operands;
        if let Some(condition) = self.uniform(condition) {
            let chosen = if condition == 0.0 { b } else { a };
            return match self.nodes[chosen].ty.shape == shape {
                true => chosen,
                false => self.add(Op::Expand, &[chosen], kind, shape),
            };
        }
        let operands = self.unexpanded(operands, shape);
        self.add(Op::Where, &operands, kind, shape)
    }

    /// A factor that all elements share, and what it multiplies.
    pub(crate) fn factored(&self, node: usize) -> Option<(usize, BinaryOp, usize)> {
        let made = &self.nodes[node];
        let Op::Binary(f @ (BinaryOp::Mul | BinaryOp::Div)) = made.op else { return None };
        let [x, factor] = made.args[..] else { return None };
        let one = self.nodes[factor].ty.shape.iter().all(|dim| *dim == Dim::fixed(1));
        (one && self.nodes[x].ty.shape == made.ty.shape && self.uniform(factor).is_some())
            .then_some((x, f, factor))
    }

    /// A part of an axis. It is taken before heads are moved about and before columns are split into heads, so that what is
    /// one slice of a matrix in the model is one here.
    pub(crate) fn slice(&mut self, x: usize, axis: usize, start: Dim, shape: &[Dim]) -> usize {
        if self.nodes[x].ty.shape == shape {
            return x;
        }
        let kind = self.kind(x);
        match self.nodes[x].op.clone() {
            Op::Permute { perm } => {
                let source = self.nodes[x].args[0];
                let mut before = self.shape(source);
                before[perm[axis]] = shape[axis].clone();
                let part = self.slice(source, perm[axis], start, &before);
                return self.add(Op::Permute { perm }, &[part], kind, shape);
            }
            Op::Reshape => {
                let source = self.nodes[x].args[0];
                let (whole, split) = (self.shape(source), self.shape(x));
                let inner =
                    split[axis + 1..].iter().fold(Dim::fixed(1), |all, dim| all * dim.clone());
                let own = split[axis].clone() * inner.clone();
                if whole.len() == axis + 1 && whole[..axis] == split[..axis] && whole[axis] == own {
                    let mut before = whole;
                    before[axis] = shape[axis].clone() * inner.clone();
                    let part = self.slice(source, axis, start * inner, &before);
                    return self.add(Op::Reshape, &[part], kind, shape);
                }
            }
            _ => {}
        }
        self.add(Op::Slice { axis, start, step: 1 }, &[x], kind, shape)
    }

    /// Arithmetic; the operands as they are before their axes were repeated, where that gives the same.
    pub(crate) fn binary(
        &mut self,
        f: BinaryOp,
        a: usize,
        b: usize,
        kind: Kind,
        shape: &[Dim],
    ) -> usize {
        let operands = self.unexpanded([a, b], shape);
        // What a mask of ones is multiplied with stays as it is.
        if f == BinaryOp::Mul
            && self.uniform(operands[1]) == Some(1.0)
            && self.nodes[operands[0]].ty.shape == shape
        {
            return operands[0];
        }
        self.add(Op::Binary(f), &operands, kind, shape)
    }

    /// The operands without [`Op::Expand`], as far as they still broadcast to the shape.
    pub(crate) fn unexpanded<const N: usize>(
        &self,
        operands: [usize; N],
        shape: &[Dim],
    ) -> [usize; N] {
        let mut operands = operands;
        for k in 0..N {
            let node = &self.nodes[operands[k]];
            if node.op != Op::Expand {
                continue;
            }
            let mut tried = operands;
            tried[k] = node.args[0];
            let shapes = tried.iter().map(|&operand| self.nodes[operand].ty.shape.as_slice());
            if broadcast(shapes).is_some_and(|all| all == shape) {
                operands = tried;
            }
        }
        operands
    }

    /// The trace of what the outputs need, in order.
    pub(crate) fn finish(
        self,
        symbols: &[SymbolRange],
        outputs: &[(String, usize)],
    ) -> Result<Trace, Error> {
        let mut live = vec![false; self.nodes.len()];
        for (_, output) in outputs {
            live[*output] = true;
        }
        for i in (0..self.nodes.len()).rev() {
            if live[i] {
                for &arg in &self.nodes[i].args {
                    live[arg] = true;
                }
            }
        }
        let batch = SymbolRange { symbol: Symbol::new(BATCH), min: 1, max: LARGEST_BATCH };
        let all = std::iter::once(batch).chain(symbols.iter().cloned()).collect();
        let mut trace = Trace::new(all, Some(Symbol::new(BATCH)));
        let mut values = vec![None; self.nodes.len()];
        for (i, made) in self.nodes.into_iter().enumerate().filter(|(i, _)| live[*i]) {
            let operands = made.args.iter().filter_map(|&arg| values[arg]).collect();
            values[i] = Some(trace.push(made.op, operands, made.ty, made.source)?);
        }
        trace.outputs = outputs
            .iter()
            .filter_map(|(name, node)| Some((name.clone(), values[*node]?)))
            .collect();
        Ok(trace)
    }
}

/// The number that every element of a result is, if the operands are one number each.
fn uniform(op: &Op, kind: Kind, operands: &[Option<f64>]) -> Option<f64> {
    let arg = |k: usize| operands.get(k).copied().flatten();
    Some(match op {
        Op::Constant(constant) => match &constant.values {
            Values::Float(values) => *values.first().filter(|_| values.len() == 1)?,
            Values::Int(values) => *values.first().filter(|_| values.len() == 1)? as f64,
        },
        Op::Full | Op::Reshape | Op::Expand | Op::Repeat => arg(0)?,
        Op::Cast => match kind {
            Kind::Float => arg(0)?,
            Kind::Int => arg(0)?.trunc(),
            Kind::Bool => f64::from(arg(0)? != 0.0),
        },
        Op::Unary(UnaryOp::Sqrt) => arg(0)?.sqrt(),
        Op::Unary(UnaryOp::Neg) => -arg(0)?,
        Op::Binary(f) => {
            let (a, b) = (arg(0)?, arg(1)?);
            match f {
                BinaryOp::Add => a + b,
                BinaryOp::Sub => a - b,
                BinaryOp::Mul => a * b,
                BinaryOp::Div => a / b,
                BinaryOp::Eq => f64::from(a == b),
                BinaryOp::Ne => f64::from(a != b),
                BinaryOp::Lt => f64::from(a < b),
                BinaryOp::Le => f64::from(a <= b),
                BinaryOp::Gt => f64::from(a > b),
                BinaryOp::Ge => f64::from(a >= b),
                _ => return None,
            }
        }
        _ => return None,
    })
}

fn broadcast<'a>(shapes: impl Iterator<Item = &'a [Dim]>) -> Option<Vec<Dim>> {
    let one = Dim::fixed(1);
    let mut all: Vec<Dim> = Vec::new();
    for shape in shapes {
        while all.len() < shape.len() {
            all.insert(0, one.clone());
        }
        let skip = all.len() - shape.len();
        for (own, dim) in all.iter_mut().skip(skip).zip(shape) {
            if *own == one {
                *own = dim.clone();
            } else if *dim != one && dim != own {
                return None;
            }
        }
    }
    Some(all)
}
