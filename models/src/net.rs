//! The IR builder together with a checkpoint: layers by their module's name.
//!
//! A tensor that is missing or misshapen is noted and building goes on with the shape it should have, so that all
//! problems of a file are reported at once.

use bytec_ir::attrs::{BinaryFn, Real};
use bytec_ir::builder::{BuildError, Builder, Built};
use bytec_ir::graph::NodeId;
use bytec_ir::ops::Op;

use crate::error::{TensorProblem, TensorProblems};
use crate::{Alias, Checkpoint};

/// A module of the checkpoint: its path for ops, and its path for tensors, which may carry a prefix.
#[derive(Clone, Debug)]
pub struct Module {
    name: String,
    tensors: String,
}

impl Module {
    /// The base model, whose tensors carry `prefix` (empty, or without a dot at its end).
    pub fn base(prefix: &str) -> Self {
        Self { name: String::new(), tensors: prefix.to_owned() }
    }

    /// The module at `path`, with no prefix.
    pub fn at(path: &str) -> Self {
        Self { name: path.to_owned(), tensors: path.to_owned() }
    }

    /// The module `path` inside this one.
    #[must_use]
    pub fn child(&self, path: &str) -> Self {
        let join = |parent: &str| {
            if parent.is_empty() { path.to_owned() } else { format!("{parent}.{path}") }
        };
        Self { name: join(&self.name), tensors: join(&self.tensors) }
    }

    /// Its path for ops, without the prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The full name of its tensor `parameter`.
    pub fn tensor(&self, parameter: &str) -> String {
        format!("{}.{parameter}", self.tensors)
    }
}

/// A graph under construction and the checkpoint that its weights come from.
#[derive(Debug)]
pub struct Net<'c> {
    /// The graph under construction.
    pub builder: Builder,
    /// The checkpoint.
    pub checkpoint: &'c Checkpoint,
    problems: Vec<TensorProblem>,
    aliases: Vec<Alias>,
}

impl<'c> Net<'c> {
    /// An empty graph over `checkpoint`.
    pub fn new(checkpoint: &'c Checkpoint) -> Self {
        Self { builder: Builder::new(), checkpoint, problems: Vec::new(), aliases: Vec::new() }
    }

    /// The tensor that goes by the first of `names` that the file has.
    pub fn weight(&mut self, names: &[String], shape: &[u64]) -> NodeId {
        self.weight_or(names, shape, None)
    }

    /// As [`Net::weight`]; `help` is added to the report if the tensor doesn't fit.
    pub fn weight_or(&mut self, names: &[String], shape: &[u64], help: Option<&str>) -> NodeId {
        let held = names.iter().find(|name| self.checkpoint.holds(name));
        let name = held.unwrap_or(&names[0]);
        let info = self.checkpoint.get(name);
        if !info.is_some_and(|info| info.is_weight() && info.shape == shape) {
            self.problems.push(TensorProblem {
                name: name.clone(),
                also: if held.is_some() { Vec::new() } else { names[1..].to_vec() },
                expected: shape.to_vec(),
                found: info.cloned(),
                help: help.map(str::to_owned),
            });
        } else if *name != names[0] {
            let alias = Alias { wanted: names[0].clone(), found: name.clone() };
            if !self.aliases.contains(&alias) {
                self.aliases.push(alias);
            }
        }
        self.builder.weight(name, shape.iter().copied())
    }

    /// A module's linear layer with bias: x `[.., inputs]` to `[.., outputs]`.
    ///
    /// # Errors
    /// If x has another width.
    pub fn linear(&mut self, module: &Module, x: NodeId, outputs: u64, inputs: u64) -> Built {
        let weight = self.weight(&[module.tensor("weight")], &[outputs, inputs]);
        let bias = self.weight(&[module.tensor("bias")], &[outputs]);
        self.builder.linear(module.name(), x, weight, Some(bias))
    }

    /// As [`Net::linear`], without a bias.
    ///
    /// # Errors
    /// If x has another width.
    pub fn linear_without_bias(
        &mut self,
        module: &Module,
        x: NodeId,
        outputs: u64,
        inputs: u64,
    ) -> Built {
        let weight = self.weight(&[module.tensor("weight")], &[outputs, inputs]);
        self.builder.linear(module.name(), x, weight, None)
    }

    /// A module's linear layer, with a bias if `bias` is set.
    ///
    /// # Errors
    /// If x has another width.
    pub fn linear_with(
        &mut self,
        module: &Module,
        x: NodeId,
        [outputs, inputs]: [u64; 2],
        bias: bool,
    ) -> Built {
        match bias {
            true => self.linear(module, x, outputs, inputs),
            false => self.linear_without_bias(module, x, outputs, inputs),
        }
    }

    /// The linear layers of a module's children, all of x and of the same sizes.
    ///
    /// # Errors
    /// If x has another width.
    pub fn linears<const N: usize>(
        &mut self,
        module: &Module,
        names: [&str; N],
        x: NodeId,
        [outputs, inputs]: [u64; 2],
    ) -> Result<[NodeId; N], BuildError> {
        let mut made = [x; N];
        for (value, name) in made.iter_mut().zip(names) {
            *value = self.linear(&module.child(name), x, outputs, inputs)?;
        }
        Ok(made)
    }

    /// The columns of `x`, `width` at a time.
    ///
    /// # Errors
    /// If x has too few.
    pub fn columns<const N: usize>(
        &mut self,
        module: &Module,
        x: NodeId,
        names: [&str; N],
        width: u64,
    ) -> Result<[NodeId; N], BuildError> {
        let mut made = [x; N];
        for (i, (value, name)) in made.iter_mut().zip(names).enumerate() {
            let start = i * width as usize;
            let op = Op::Slice { axis: 1, start, end: start + width as usize };
            *value = self.builder.op(module.child(name).name(), op, &[x])?;
        }
        Ok(made)
    }

    /// A module's normalisation by the root of the mean of the squares, over rows of `width`.
    ///
    /// # Errors
    /// If x has another width.
    pub fn rms_norm(&mut self, module: &Module, x: NodeId, width: u64, eps: f64) -> Built {
        let gamma = self.weight(&[module.tensor("weight")], &[width]);
        self.builder.op(module.name(), Op::RmsNorm { eps: Real(eps) }, &[x, gamma])
    }

    /// A module's layer normalisation with a weight alone, over rows of `width`.
    ///
    /// # Errors
    /// If x has another width.
    pub fn layer_norm_without_bias(
        &mut self,
        module: &Module,
        x: NodeId,
        width: u64,
        eps: f64,
    ) -> Built {
        let gamma = self.weight(&[module.tensor("weight")], &[width]);
        let zero = self.builder.constant(module.child("zero").name(), 0.0);
        let zeros = module.child("no_bias");
        let beta = self.builder.binary(zeros.name(), BinaryFn::Mul, gamma, zero)?;
        self.builder.layer_norm(module.name(), x, gamma, beta, eps)
    }

    /// A module's layer normalisation over rows of `width`, under today's parameter names or TensorFlow's.
    ///
    /// # Errors
    /// If x has another width.
    pub fn layer_norm(&mut self, module: &Module, x: NodeId, width: u64, eps: f64) -> Built {
        let gamma = self.weight(&[module.tensor("weight"), module.tensor("gamma")], &[width]);
        let beta = self.weight(&[module.tensor("bias"), module.tensor("beta")], &[width]);
        self.builder.layer_norm(module.name(), x, gamma, beta, eps)
    }

    /// A module's embedding table, `[rows, width]`.
    pub fn table(&mut self, module: &Module, rows: u64, width: u64) -> NodeId {
        self.weight(&[module.tensor("weight")], &[rows, width])
    }

    /// The builder and the aliases used, if every tensor fitted.
    ///
    /// # Errors
    /// All tensors that didn't.
    pub fn finish(self) -> Result<(Builder, Vec<Alias>), TensorProblems> {
        if self.problems.is_empty() {
            Ok((self.builder, self.aliases))
        } else {
            let file = self.checkpoint.file().to_owned();
            Err(TensorProblems { file, problems: self.problems })
        }
    }
}
