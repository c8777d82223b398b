//! Traces written by hand, for tests.

use bytec_ir::dim::{Dim, Symbol};
use bytec_ir::types::SymbolRange;

use crate::constant::Constant;
use crate::op::{BinaryOp, Op, UnaryOp};
use crate::program::{Kind, Source, Trace, Type, ValueId};

/// A trace under construction. Shapes of ops that keep or broadcast them are inferred.
pub(crate) struct Sketch {
    pub(crate) trace: Trace,
    module: String,
}

/// The batch symbol.
pub(crate) fn b() -> Dim {
    Dim::symbol("B")
}

/// The length symbol.
pub(crate) fn s() -> Dim {
    Dim::symbol("S")
}

/// A number as a dimension.
pub(crate) fn n(n: u64) -> Dim {
    Dim::fixed(n)
}

impl Sketch {
    /// A program of samples of `1..=longest` tokens in batches of up to 64.
    pub(crate) fn new(longest: u64) -> Self {
        let range = |name: &str, max| SymbolRange { symbol: Symbol::new(name), min: 1, max };
        let symbols = vec![range("B", 64), range("S", longest)];
        Self { trace: Trace::new(symbols, Some(Symbol::new("B"))), module: String::new() }
    }

    /// Nodes from here on are called by this module.
    pub(crate) fn module(&mut self, module: &str) {
        module.clone_into(&mut self.module);
    }

    pub(crate) fn ty(&self, value: ValueId) -> Type {
        self.trace.node(value).ty.clone()
    }

    pub(crate) fn op(
        &mut self,
        op: Op,
        operands: &[ValueId],
        kind: Kind,
        shape: &[Dim],
    ) -> ValueId {
        let name = format!("v{}", self.trace.nodes().count());
        let source =
            Source { op: format!("aten.{}", op.name()), module: self.module.clone(), name };
        let ty = Type { kind, shape: shape.to_vec() };
        self.trace.push(op, operands.to_vec(), ty, source).unwrap()
    }

    pub(crate) fn input(&mut self, name: &str, kind: Kind, shape: &[Dim]) -> ValueId {
        self.op(Op::Input { name: name.to_owned() }, &[], kind, shape)
    }

    /// Ids `[B, S]`.
    pub(crate) fn ids(&mut self) -> ValueId {
        self.input("input_ids", Kind::Int, &[b(), s()])
    }

    pub(crate) fn weight(&mut self, name: &str, shape: &[u64]) -> ValueId {
        let shape: Vec<_> = shape.iter().map(|&extent| n(extent)).collect();
        self.op(Op::Weight { name: name.to_owned() }, &[], Kind::Float, &shape)
    }

    pub(crate) fn float(&mut self, value: f64) -> ValueId {
        self.op(Op::Constant(Constant::float(value)), &[], Kind::Float, &[])
    }

    pub(crate) fn int(&mut self, value: i64) -> ValueId {
        self.op(Op::Constant(Constant::int(value)), &[], Kind::Int, &[])
    }

    pub(crate) fn arange(&mut self, count: Dim) -> ValueId {
        self.op(Op::Arange { start: 0, step: 1 }, &[], Kind::Int, &[count])
    }

    pub(crate) fn unary(&mut self, f: UnaryOp, x: ValueId) -> ValueId {
        let ty = self.ty(x);
        self.op(Op::Unary(f), &[x], ty.kind, &ty.shape)
    }

    pub(crate) fn cast(&mut self, x: ValueId, kind: Kind) -> ValueId {
        let ty = self.ty(x);
        self.op(Op::Cast, &[x], kind, &ty.shape)
    }

    fn broadcast(&self, xs: &[ValueId]) -> Vec<Dim> {
        let shapes: Vec<_> = xs.iter().map(|&x| self.ty(x).shape).collect();
        let rank = shapes.iter().map(Vec::len).max().unwrap();
        let mut out = vec![n(1); rank];
        for shape in shapes {
            let missing = rank - shape.len();
            for (target, dim) in out[missing..].iter_mut().zip(shape) {
                if *target == n(1) {
                    *target = dim;
                }
            }
        }
        out
    }

    pub(crate) fn binary(&mut self, f: BinaryOp, x: ValueId, y: ValueId) -> ValueId {
        let shape = self.broadcast(&[x, y]);
        let floats = [x, y].iter().any(|&v| self.ty(v).kind == Kind::Float);
        let kind = match f {
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt => Kind::Bool,
            BinaryOp::Ge | BinaryOp::And | BinaryOp::Or => Kind::Bool,
            BinaryOp::Div => Kind::Float,
            _ if floats => Kind::Float,
            _ => Kind::Int,
        };
        self.op(Op::Binary(f), &[x, y], kind, &shape)
    }

    pub(crate) fn add(&mut self, x: ValueId, y: ValueId) -> ValueId {
        self.binary(BinaryOp::Add, x, y)
    }

    pub(crate) fn mul(&mut self, x: ValueId, y: ValueId) -> ValueId {
        self.binary(BinaryOp::Mul, x, y)
    }

    pub(crate) fn select(&mut self, condition: ValueId, x: ValueId, y: ValueId) -> ValueId {
        let shape = self.broadcast(&[condition, x, y]);
        let kind = self.ty(x).kind;
        self.op(Op::Where, &[condition, x, y], kind, &shape)
    }

    pub(crate) fn reshape(&mut self, x: ValueId, shape: &[Dim]) -> ValueId {
        let kind = self.ty(x).kind;
        self.op(Op::Reshape, &[x], kind, shape)
    }

    pub(crate) fn expand(&mut self, x: ValueId, shape: &[Dim]) -> ValueId {
        let kind = self.ty(x).kind;
        self.op(Op::Expand, &[x], kind, shape)
    }

    pub(crate) fn permute(&mut self, x: ValueId, perm: &[usize]) -> ValueId {
        let ty = self.ty(x);
        let shape: Vec<_> = perm.iter().map(|&axis| ty.shape[axis].clone()).collect();
        self.op(Op::Permute { perm: perm.to_vec() }, &[x], ty.kind, &shape)
    }

    pub(crate) fn linear(
        &mut self,
        x: ValueId,
        name: &str,
        [outputs, inputs]: [u64; 2],
    ) -> ValueId {
        let weight = self.weight(&format!("{name}.weight"), &[outputs, inputs]);
        let bias = self.weight(&format!("{name}.bias"), &[outputs]);
        let mut shape = self.ty(x).shape;
        *shape.last_mut().unwrap() = n(outputs);
        self.op(Op::Linear, &[x, weight, bias], Kind::Float, &shape)
    }

    /// A table's rows.
    pub(crate) fn embedding(&mut self, table: ValueId, ids: ValueId) -> ValueId {
        let mut shape = self.ty(ids).shape;
        shape.push(self.ty(table).shape[1].clone());
        self.op(Op::Index, &[table, ids], Kind::Float, &shape)
    }

    pub(crate) fn matmul(&mut self, x: ValueId, y: ValueId) -> ValueId {
        let (mut shape, other) = (self.ty(x).shape, self.ty(y).shape);
        *shape.last_mut().unwrap() = other.last().unwrap().clone();
        self.op(Op::MatMul, &[x, y], Kind::Float, &shape)
    }

    pub(crate) fn softmax(&mut self, x: ValueId) -> ValueId {
        let ty = self.ty(x);
        self.op(Op::Softmax { axis: ty.shape.len() - 1 }, &[x], Kind::Float, &ty.shape)
    }

    pub(crate) fn output(&mut self, name: &str, value: ValueId) {
        self.trace.outputs.push((name.to_owned(), value));
    }
}
