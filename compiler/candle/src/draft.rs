//! A trace in the making: nodes that may still turn out to be of no use.

use bytec_ir::dim::{Dim, Symbol};
use bytec_ir::types::SymbolRange;
use bytec_trace::{BinaryOp, Constant, Kind, Op, Source, Trace, Type, Values};

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
        self.nodes.push(Made { op, args: args.to_vec(), ty, source: self.source.clone() });
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
        let constant = match kind {
            Kind::Float => Constant::float(value),
            Kind::Int | Kind::Bool => Constant::int(value as i64),
        };
        self.add(Op::Constant(constant), &[], kind, &[])
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
