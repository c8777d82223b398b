//! A call of an op: its arguments by name, with the defaults that the archive leaves out, and the nodes it becomes.

use bytec_ir::dim::Dim;
use bytec_trace::{Constant, Kind, Op, ReduceOp, Type, ValueId};

use super::super::error::Pt2Error;
use super::super::expr;
use super::super::schema::{Argument, Node, OptionalTensor, SymIntArgument};
use super::{Lowering, source};

/// A number among the arguments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Float(f64),
    Int(i64),
    Bool(bool),
}

impl Scalar {
    pub(super) fn kind(self) -> Kind {
        match self {
            Scalar::Float(_) => Kind::Float,
            Scalar::Int(_) => Kind::Int,
            Scalar::Bool(_) => Kind::Bool,
        }
    }

    pub(super) fn float(self) -> f64 {
        match self {
            Scalar::Float(x) => x,
            Scalar::Int(n) => n as f64,
            Scalar::Bool(b) => f64::from(u8::from(b)),
        }
    }

    /// As an element of this kind; a float becomes an integer by truncation.
    pub(super) fn constant(self, kind: Kind) -> Constant {
        let int = match self {
            Scalar::Float(x) => x as i64,
            Scalar::Int(n) => n,
            Scalar::Bool(b) => b.into(),
        };
        match kind {
            Kind::Float => Constant::float(self.float()),
            Kind::Int => Constant::int(int),
            Kind::Bool => Constant { kind, ..Constant::int((self.float() != 0.0).into()) },
        }
    }
}

/// An operand of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operand {
    Tensor(ValueId),
    Scalar(Scalar),
}

pub(super) struct Call<'c, 'a> {
    pub(super) lowering: &'c mut Lowering<'a>,
    pub(super) node: &'a Node,
    /// The type that the program gives the first result.
    pub(super) declared: Type,
    /// The first result's name.
    pub(super) result: &'a str,
}

impl<'a> Call<'_, 'a> {
    pub(super) fn wrong(&self, problem: impl Into<String>) -> Pt2Error {
        self.lowering.node_error(self.node, problem.into())
    }

    fn misfit(&self, name: &str, expected: &str) -> Pt2Error {
        self.wrong(format!("expected argument `{name}` to be {expected}"))
    }

    /// The argument of this name, if it is given and not none.
    pub(super) fn argument(&self, name: &str) -> Option<&'a Argument> {
        let input = self.node.inputs.iter().find(|input| input.name == name)?;
        match &input.arg {
            Argument::None(_) | Argument::OptionalTensor(OptionalTensor::None(_)) => None,
            argument => Some(argument),
        }
    }

    pub(super) fn maybe_tensor(&mut self, name: &str) -> Result<Option<ValueId>, Pt2Error> {
        match self.argument(name) {
            None => Ok(None),
            Some(
                Argument::Tensor(tensor) | Argument::OptionalTensor(OptionalTensor::Tensor(tensor)),
            ) => self.lowering.value(&tensor.name).map(Some),
            Some(_) => Err(self.misfit(name, "a tensor")),
        }
    }

    pub(super) fn tensor(&mut self, name: &str) -> Result<ValueId, Pt2Error> {
        self.maybe_tensor(name)?.ok_or_else(|| self.misfit(name, "a tensor"))
    }

    /// The argument that ops in place overwrite.
    pub(super) fn maybe_self(&mut self) -> Option<ValueId> {
        let name = super::first_tensor(self.node)?;
        self.lowering.value(name).ok()
    }

    /// The tensors of a list; `None` for one that is left out.
    pub(super) fn tensors(&mut self, name: &str) -> Result<Vec<Option<ValueId>>, Pt2Error> {
        let names: Vec<Option<&str>> = match self.argument(name) {
            Some(Argument::Tensors(tensors)) => {
                tensors.iter().map(|tensor| Some(tensor.name.as_str())).collect()
            }
            Some(Argument::OptionalTensors(tensors)) => {
                let name = |tensor: &'a OptionalTensor| match tensor {
                    OptionalTensor::Tensor(tensor) => Some(tensor.name.as_str()),
                    OptionalTensor::None(_) => None,
                };
                tensors.iter().map(name).collect()
            }
            _ => return Err(self.misfit(name, "a list of tensors")),
        };
        let value = |name: Option<&str>| name.map(|name| self.lowering.value(name)).transpose();
        names.into_iter().map(value).collect()
    }

    /// A size, which may depend on the sizes of the inputs.
    pub(super) fn size(&self, name: &str) -> Result<Option<Dim>, Pt2Error> {
        match self.argument(name) {
            None => Ok(None),
            Some(Argument::Int(n) | Argument::SymInt(SymIntArgument::Int(n))) => {
                Ok(Some(expr::number(*n)))
            }
            Some(Argument::SymInt(SymIntArgument::Name(size))) => {
                self.lowering.named_size(size).map(Some)
            }
            Some(_) => Err(self.misfit(name, "a size")),
        }
    }

    pub(super) fn maybe_int(&self, name: &str) -> Result<Option<i64>, Pt2Error> {
        match self.argument(name) {
            None => Ok(None),
            Some(Argument::Int(n) | Argument::SymInt(SymIntArgument::Int(n))) => Ok(Some(*n)),
            Some(Argument::SymInt(SymIntArgument::Name(size))) => {
                let fixed = self.lowering.named_size(size)?.as_fixed();
                let fixed = fixed.and_then(|n| i64::try_from(n).ok());
                fixed.map(Some).ok_or_else(|| self.misfit(name, "a number that no size changes"))
            }
            Some(_) => Err(self.misfit(name, "an integer")),
        }
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, Pt2Error> {
        Ok(self.maybe_int(name)?.unwrap_or(default))
    }

    /// A list of integers, or one on its own.
    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Pt2Error> {
        match self.argument(name) {
            None => Ok(None),
            Some(Argument::Ints(ints)) => Ok(Some(ints.clone())),
            Some(Argument::Int(n)) => Ok(Some(vec![*n])),
            Some(Argument::SymInts(sizes)) => {
                let fixed = |size: &SymIntArgument| match size {
                    SymIntArgument::Int(n) => Ok(*n),
                    SymIntArgument::Name(size) => {
                        let fixed = self.lowering.named_size(size)?.as_fixed();
                        let fixed = fixed.and_then(|n| i64::try_from(n).ok());
                        fixed.ok_or_else(|| self.misfit(name, "numbers that no size changes"))
                    }
                };
                sizes.iter().map(fixed).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(self.misfit(name, "a list of integers")),
        }
    }

    pub(super) fn maybe_scalar(&self, name: &str) -> Result<Option<Scalar>, Pt2Error> {
        match self.argument(name) {
            None => Ok(None),
            Some(Argument::Float(x)) => match x.value() {
                Some(x) => Ok(Some(Scalar::Float(x))),
                None => Err(self.misfit(name, "a number")),
            },
            Some(Argument::Bool(b)) => Ok(Some(Scalar::Bool(*b))),
            Some(Argument::Int(_) | Argument::SymInt(_)) => {
                Ok(self.maybe_int(name)?.map(Scalar::Int))
            }
            Some(_) => Err(self.misfit(name, "a number")),
        }
    }

    pub(super) fn scalar(&self, name: &str, default: Scalar) -> Result<Scalar, Pt2Error> {
        Ok(self.maybe_scalar(name)?.unwrap_or(default))
    }

    pub(super) fn float(&self, name: &str, default: f64) -> Result<f64, Pt2Error> {
        Ok(self.scalar(name, Scalar::Float(default))?.float())
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Pt2Error> {
        match self.argument(name) {
            None => Ok(false),
            Some(Argument::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.misfit(name, "true or false")),
        }
    }

    pub(super) fn word(&self, name: &str, default: &'static str) -> Result<&'a str, Pt2Error> {
        match self.argument(name) {
            None => Ok(default),
            Some(Argument::String(word)) => Ok(word),
            Some(_) => Err(self.misfit(name, "a word")),
        }
    }

    pub(super) fn operand(&mut self, name: &str) -> Result<Operand, Pt2Error> {
        match self.argument(name) {
            Some(Argument::Tensor(_)) => self.tensor(name).map(Operand::Tensor),
            Some(Argument::SymInt(SymIntArgument::Name(size))) => {
                let size = self.lowering.named_size(size)?;
                match size.as_fixed() {
                    Some(_) => self.scalar(name, Scalar::Int(0)).map(Operand::Scalar),
                    None => self.size_as_number(size).map(Operand::Tensor),
                }
            }
            _ => match self.maybe_scalar(name)? {
                Some(scalar) => Ok(Operand::Scalar(scalar)),
                None => Err(self.misfit(name, "a tensor or a number")),
            },
        }
    }

    /// A size that depends on the inputs', as an integer without axes: the sum of as many ones.
    fn size_as_number(&mut self, size: Dim) -> Result<ValueId, Pt2Error> {
        let one = self.constant(Constant::int(1))?;
        let ones = self.push(Op::Full, vec![one], Type::new(Kind::Int, [size]))?;
        let sum = Op::Reduce { f: ReduceOp::Sum, axes: vec![0], keep: false };
        self.push(sum, vec![ones], Type { kind: Kind::Int, shape: Vec::new() })
    }

    /// The axis that an argument counts, from either end, of a value of `rank` axes.
    pub(super) fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize, Pt2Error> {
        self.counted(self.int(name, default)?, rank)
    }

    pub(super) fn counted(&self, axis: i64, rank: usize) -> Result<usize, Pt2Error> {
        let counted = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        let counted = counted.and_then(|axis| usize::try_from(axis).ok());
        counted.filter(|&axis| axis < rank).ok_or_else(|| {
            self.wrong(format!("expected one of the {rank} axes, found axis {axis}"))
        })
    }

    pub(super) fn ty(&self, value: ValueId) -> &Type {
        &self.lowering.trace.node(value).ty
    }

    pub(super) fn shape(&self, value: ValueId) -> Vec<Dim> {
        self.ty(value).shape.clone()
    }

    pub(super) fn rank(&self, value: ValueId) -> usize {
        self.ty(value).shape.len()
    }

    /// The extent of an axis, if no size changes it.
    pub(super) fn fixed(&self, value: ValueId, axis: usize) -> Result<u64, Pt2Error> {
        let extent = self.ty(value).shape.get(axis).and_then(Dim::as_fixed);
        extent.ok_or_else(|| {
            self.wrong(format!("expected axis {axis} of {} to be a number", self.ty(value)))
        })
    }

    /// A node of the declared type.
    pub(super) fn emit(&mut self, op: Op, operands: Vec<ValueId>) -> Result<ValueId, Pt2Error> {
        let ty = self.declared.clone();
        self.push(op, operands, ty)
    }

    /// A node of the declared extents and another kind.
    pub(super) fn emit_as(
        &mut self,
        op: Op,
        operands: Vec<ValueId>,
        kind: Kind,
    ) -> Result<ValueId, Pt2Error> {
        let ty = Type { kind, shape: self.declared.shape.clone() };
        self.push(op, operands, ty)
    }

    pub(super) fn push(
        &mut self,
        op: Op,
        operands: Vec<ValueId>,
        ty: Type,
    ) -> Result<ValueId, Pt2Error> {
        let source = source(self.node, self.result);
        self.lowering.push(op, operands, ty, source)
    }

    pub(super) fn constant(&mut self, constant: Constant) -> Result<ValueId, Pt2Error> {
        let ty = Type::new(constant.kind, constant.shape.iter().copied());
        self.push(Op::Constant(constant), Vec::new(), ty)
    }

    pub(super) fn number(&mut self, number: f64) -> Result<ValueId, Pt2Error> {
        self.constant(Constant::float(number))
    }

    /// The value as another kind.
    pub(super) fn cast(&mut self, value: ValueId, kind: Kind) -> Result<ValueId, Pt2Error> {
        if self.ty(value).kind == kind {
            return Ok(value);
        }
        let ty = Type { kind, shape: self.shape(value) };
        self.push(Op::Cast, vec![value], ty)
    }

    /// The operand as a value of this kind.
    pub(super) fn as_kind(&mut self, operand: Operand, kind: Kind) -> Result<ValueId, Pt2Error> {
        match operand {
            Operand::Tensor(value) => self.cast(value, kind),
            Operand::Scalar(scalar) => self.constant(scalar.constant(kind)),
        }
    }

    /// The value in another shape of as many elements.
    pub(super) fn reshaped(
        &mut self,
        value: ValueId,
        shape: Vec<Dim>,
    ) -> Result<ValueId, Pt2Error> {
        if self.ty(value).shape == shape {
            return Ok(value);
        }
        let ty = Type { kind: self.ty(value).kind, shape };
        self.push(Op::Reshape, vec![value], ty)
    }

    /// The value repeated to a shape.
    pub(super) fn expanded(
        &mut self,
        value: ValueId,
        shape: Vec<Dim>,
    ) -> Result<ValueId, Pt2Error> {
        if self.ty(value).shape == shape {
            return Ok(value);
        }
        let ty = Type { kind: self.ty(value).kind, shape };
        self.push(Op::Expand, vec![value], ty)
    }
}
