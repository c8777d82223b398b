//! Builds a graph, value by value, the way a model's forward reads.
//!
//! Layers such as [`Builder::linear`] and [`Builder::self_attention`] expand to plain ops, as a traced model would give
//! them: fusing is the compiler's work, not the model author's.

use thiserror::Error;

use crate::attrs::{BinaryFn, Real, ReduceFn, UnaryFn};
use crate::dim::{Dim, Symbol};
use crate::graph::{Def, Graph, Node, NodeId, Output};
use crate::infer::{InferError, infer};
use crate::ops::Op;
use crate::types::{DType, SymbolRange, TensorType};

/// A value that could not be built.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("at %{at}: {source}")]
pub struct BuildError {
    /// The name the value would have had.
    pub at: String,
    /// What did not fit.
    pub source: InferError,
}

/// The result of a building step.
pub type Built = Result<NodeId, BuildError>;

/// A graph under construction.
#[derive(Debug, Default)]
pub struct Builder {
    graph: Graph,
    scope: Vec<String>,
}

impl Builder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a symbol of the sample and its limits, both included.
    pub fn symbol(&mut self, name: &str, min: u64, max: u64) -> Dim {
        self.graph.add_symbol(SymbolRange { symbol: Symbol::new(name), min, max });
        Dim::symbol(name)
    }

    /// Names of the ops that `body` builds begin with `scope.`.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn scoped<T, E>(
        &mut self,
        scope: &str,
        body: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.scope.push(scope.to_owned());
        let result = body(self);
        self.scope.pop();
        result
    }

    fn named(&self, name: &str) -> String {
        let mut parts: Vec<&str> = self.scope.iter().map(String::as_str).collect();
        parts.push(name);
        parts.join(".")
    }

    fn add(&mut self, name: String, ty: TensorType, def: Def, operands: &[NodeId]) -> NodeId {
        let id = self.graph.add_node(Node { name: name.clone(), ty, def }, operands);
        self.graph.name_apart(id, &name);
        id
    }

    /// A tensor that every sample brings, unless `default` says what to fill in.
    pub fn input(&mut self, name: &str, ty: TensorType, default: Option<i64>) -> NodeId {
        self.add(name.to_owned(), ty, Def::Input { default }, &[])
    }

    /// A tensor of the checkpoint, by its name there. The same name and shape give the same value; the same name with
    /// another shape gives a graph that [`crate::verify::verify`] refuses.
    pub fn weight(
        &mut self,
        name: &str,
        shape: impl IntoIterator<Item = impl Into<Dim>>,
    ) -> NodeId {
        let ty = TensorType::new(DType::F32, shape);
        match self.graph.weight(name) {
            Some(id) if *self.graph.ty(id) == ty => id,
            _ => self.graph.add_node(Node { name: name.to_owned(), ty, def: Def::Weight }, &[]),
        }
    }

    /// A number.
    pub fn constant(&mut self, name: &str, value: f64) -> NodeId {
        let ty = TensorType { dtype: DType::F32, shape: Vec::new() };
        self.add(self.named(name), ty, Def::Const(Real(value)), &[])
    }

    /// Any op.
    ///
    /// # Errors
    /// If the operands do not fit.
    pub fn op(&mut self, name: &str, op: Op, operands: &[NodeId]) -> Built {
        let name = self.named(name);
        let types: Vec<_> = operands.iter().map(|&id| self.graph.ty(id)).collect();
        let ty = infer(&op, &types).map_err(|source| BuildError { at: name.clone(), source })?;
        Ok(self.add(name, ty, Def::Op(op), operands))
    }

    /// The graph so far, to look at types and names.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// `f(x)`, element by element.
    ///
    /// # Errors
    /// If x is not a float.
    pub fn unary(&mut self, name: &str, f: UnaryFn, x: NodeId) -> Built {
        self.op(name, Op::Unary { f }, &[x])
    }

    /// `f(a, b)`, element by element with broadcasting.
    ///
    /// # Errors
    /// If the shapes do not broadcast.
    pub fn binary(&mut self, name: &str, f: BinaryFn, a: NodeId, b: NodeId) -> Built {
        self.op(name, Op::Binary { f }, &[a, b])
    }

    /// `x weight^T + bias`: a linear without bias, then an addition.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn linear(&mut self, name: &str, x: NodeId, weight: NodeId, bias: Option<NodeId>) -> Built {
        let product = self.op(name, Op::Linear { epilogue: Vec::new() }, &[x, weight])?;
        match bias {
            Some(bias) => self.binary(&format!("{name}.add_bias"), BinaryFn::Add, product, bias),
            None => Ok(product),
        }
    }

    /// Layer normalisation of the last axis.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn layer_norm(
        &mut self,
        name: &str,
        x: NodeId,
        gamma: NodeId,
        beta: NodeId,
        eps: f64,
    ) -> Built {
        self.op(name, Op::LayerNorm { eps: Real(eps) }, &[x, gamma, beta])
    }

    /// A reduction that removes `axis`.
    ///
    /// # Errors
    /// If x has no such axis.
    pub fn reduce(&mut self, name: &str, f: ReduceFn, x: NodeId, axis: usize) -> Built {
        self.op(name, Op::Reduce { f, axis }, &[x])
    }

    /// Multi-head attention in plain ops: heads split, scores, scale, softmax, value, heads merged.
    /// q `[Q, heads*head_size]`, k and v `[K, heads*head_size]`.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn self_attention(
        &mut self,
        q: NodeId,
        k: NodeId,
        v: NodeId,
        heads: usize,
        head_size: usize,
    ) -> Built {
        let width = Dim::from(heads) * Dim::from(head_size);
        let rows = self.graph.ty(q).shape.first().cloned().unwrap_or_else(|| Dim::fixed(1));
        let q = self.split_heads("query.heads", q, heads, head_size, &[1, 0, 2])?;
        let k = self.split_heads("key.heads", k, heads, head_size, &[1, 2, 0])?;
        let v = self.split_heads("value.heads", v, heads, head_size, &[1, 0, 2])?;
        let scores = self.op("scores", Op::MatMul {}, &[q, k])?;
        let scale = self.constant("scale", 1.0 / (head_size as f64).sqrt());
        let scaled = self.binary("scaled", BinaryFn::Mul, scores, scale)?;
        let weights = self.op("softmax", Op::Softmax {}, &[scaled])?;
        let context = self.op("context", Op::MatMul {}, &[weights, v])?;
        let merged = self.op("context.rows", Op::Transpose { perm: vec![1, 0, 2] }, &[context])?;
        self.op("merged", Op::Reshape { shape: vec![rows, width] }, &[merged])
    }

    fn split_heads(
        &mut self,
        name: &str,
        x: NodeId,
        heads: usize,
        head_size: usize,
        perm: &[usize],
    ) -> Built {
        let rows = self.graph.ty(x).shape.first().cloned().unwrap_or_else(|| Dim::fixed(1));
        let shape = vec![rows, Dim::from(heads), Dim::from(head_size)];
        let split = self.op(&format!("{name}.split"), Op::Reshape { shape }, &[x])?;
        self.op(name, Op::Transpose { perm: perm.to_vec() }, &[split])
    }

    /// Gives a value out under `name`.
    pub fn output(&mut self, name: &str, value: NodeId) {
        self.graph.add_output(Output { name: name.to_owned(), value });
    }

    /// The graph. [`crate::verify::verify`] says whether it keeps the invariants.
    pub fn finish(self) -> Graph {
        self.graph
    }
}
