//! Functions of elements.

use bytec_ir::dim::Dim;
use bytec_trace::{BinaryOp, Kind, Op, Type, UnaryOp, ValueId};

use super::super::error::Pt2Error;
use super::arguments::{Call, Operand, Scalar};

impl Call<'_, '_> {
    /// `f(self)`, in the kind of the result.
    pub(super) fn unary(&mut self, f: UnaryOp) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let kind = if f == UnaryOp::Not { Kind::Bool } else { self.declared.kind };
        let x = self.cast(x, kind)?;
        self.emit_as(Op::Unary(f), vec![x], kind)
    }

    /// `bitwise_not`, of truth values only.
    pub(super) fn bitwise_not(&mut self) -> Result<ValueId, Pt2Error> {
        self.truths(&["self"])?;
        self.unary(UnaryOp::Not)
    }

    pub(super) fn gelu(&mut self) -> Result<ValueId, Pt2Error> {
        match self.word("approximate", "none")? {
            "none" => self.unary(UnaryOp::GeluErf),
            "tanh" => self.unary(UnaryOp::GeluTanh),
            other => Err(self.wrong(format!("expected approximate none or tanh, found {other:?}"))),
        }
    }

    /// `self + alpha * other` and the like, in the kind of the result.
    pub(super) fn arithmetic(&mut self, f: BinaryOp) -> Result<ValueId, Pt2Error> {
        let a = self.operand("self")?;
        let b = self.operand("other")?;
        self.combined(f, a, b)
    }

    /// `other - alpha * self`.
    pub(super) fn reversed(&mut self, f: BinaryOp) -> Result<ValueId, Pt2Error> {
        let a = self.operand("other")?;
        let b = self.operand("self")?;
        self.combined(f, a, b)
    }

    fn combined(&mut self, f: BinaryOp, a: Operand, b: Operand) -> Result<ValueId, Pt2Error> {
        let kind = self.declared.kind;
        let f = match (kind, f) {
            (Kind::Bool, BinaryOp::Add | BinaryOp::Max) => BinaryOp::Or,
            (Kind::Bool, BinaryOp::Mul | BinaryOp::Min) => BinaryOp::And,
            (Kind::Bool, _) => return Err(self.wrong("no such function of truth values")),
            (_, f) => f,
        };
        let alpha = self.scalar("alpha", Scalar::Int(1))?;
        let (a, mut b) = (self.as_kind(a, kind)?, self.as_kind(b, kind)?);
        if alpha.float() != 1.0 {
            let factor = self.constant(alpha.constant(kind))?;
            let ty = self.ty(b).clone();
            b = self.push(Op::Binary(BinaryOp::Mul), vec![b, factor], ty)?;
        }
        self.emit(Op::Binary(f), vec![a, b])
    }

    /// Division, rounded as asked.
    pub(super) fn divided(&mut self) -> Result<ValueId, Pt2Error> {
        match self.word("rounding_mode", "")? {
            "" => self.arithmetic(BinaryOp::Div),
            "floor" => self.arithmetic(BinaryOp::FloorDiv),
            other => {
                Err(self.wrong(format!("expected rounding_mode floor or none, found {other:?}")))
            }
        }
    }

    /// A comparison, of numbers of the wider kind.
    pub(super) fn compared(&mut self, f: BinaryOp) -> Result<ValueId, Pt2Error> {
        let (a, b) = (self.operand("self")?, self.operand("other")?);
        let kinds = [a, b].map(|operand| match operand {
            Operand::Tensor(value) => self.ty(value).kind,
            Operand::Scalar(scalar) => scalar.kind(),
        });
        let kind = if kinds.contains(&Kind::Float) { Kind::Float } else { Kind::Int };
        let (a, b) = (self.as_kind(a, kind)?, self.as_kind(b, kind)?);
        self.emit_as(Op::Binary(f), vec![a, b], Kind::Bool)
    }

    /// A function of truth values; numbers are true unless they are 0.
    pub(super) fn logical(&mut self, f: BinaryOp) -> Result<ValueId, Pt2Error> {
        let (a, b) = (self.operand("self")?, self.operand("other")?);
        let (a, b) = (self.as_kind(a, Kind::Bool)?, self.as_kind(b, Kind::Bool)?);
        self.emit_as(Op::Binary(f), vec![a, b], Kind::Bool)
    }

    /// A function of bits, of truth values only.
    pub(super) fn bitwise(&mut self, f: BinaryOp) -> Result<ValueId, Pt2Error> {
        self.truths(&["self", "other"])?;
        self.logical(f)
    }

    fn truths(&mut self, names: &[&str]) -> Result<(), Pt2Error> {
        for name in names {
            let kind = match self.operand(name)? {
                Operand::Tensor(value) => self.ty(value).kind,
                Operand::Scalar(scalar) => scalar.kind(),
            };
            if kind != Kind::Bool {
                return Err(self.wrong(format!("expected truth values, found {kind} `{name}`")));
            }
        }
        Ok(())
    }

    /// `self` to a power; those with a function of their own become that.
    pub(super) fn power(&mut self) -> Result<ValueId, Pt2Error> {
        let (base, exponent) = (self.operand("self")?, self.operand("exponent")?);
        let kind = self.declared.kind;
        if let (Operand::Tensor(x), Operand::Scalar(exponent)) = (base, exponent) {
            let named = [
                (2.0, UnaryOp::Square),
                (0.5, UnaryOp::Sqrt),
                (-0.5, UnaryOp::Rsqrt),
                (-1.0, UnaryOp::Reciprocal),
            ];
            let x = self.cast(x, kind)?;
            if exponent.float() == 1.0 {
                return Ok(x);
            }
            if let Some((_, f)) = named.into_iter().find(|(of, _)| *of == exponent.float()) {
                return self.emit(Op::Unary(f), vec![x]);
            }
        }
        let (a, b) = (self.as_kind(base, kind)?, self.as_kind(exponent, kind)?);
        self.emit(Op::Binary(BinaryOp::Pow), vec![a, b])
    }

    /// `min <= self <= max`, either of which may be left out.
    pub(super) fn clamped(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.operand("self")?;
        let kind = self.declared.kind;
        let mut x = self.as_kind(x, kind)?;
        for (name, f) in [("min", BinaryOp::Max), ("max", BinaryOp::Min)] {
            if self.argument(name).is_some() {
                let limit = self.operand(name)?;
                let limit = self.as_kind(limit, kind)?;
                x = self.emit(Op::Binary(f), vec![x, limit])?;
            }
        }
        Ok(x)
    }

    /// `condition ? a : b` of these arguments.
    pub(super) fn chosen(
        &mut self,
        condition: &str,
        a: &str,
        b: &str,
    ) -> Result<ValueId, Pt2Error> {
        let condition = self.tensor(condition)?;
        let condition = self.cast(condition, Kind::Bool)?;
        let (a, b) = (self.operand(a)?, self.operand(b)?);
        let kind = self.declared.kind;
        let (a, b) = (self.as_kind(a, kind)?, self.as_kind(b, kind)?);
        self.emit(Op::Where, vec![condition, a, b])
    }

    /// `f(x, number)`, of the type of x.
    pub(super) fn with(
        &mut self,
        f: BinaryOp,
        x: ValueId,
        number: f64,
    ) -> Result<ValueId, Pt2Error> {
        let number = self.number(number)?;
        self.on(Op::Binary(f), vec![x, number])
    }

    /// An op whose result has the type of its first operand.
    pub(super) fn on(&mut self, op: Op, operands: Vec<ValueId>) -> Result<ValueId, Pt2Error> {
        let ty = self.ty(operands[0]).clone();
        self.push(op, operands, ty)
    }

    /// `x > 0 ? x : slope * x`.
    pub(super) fn leaky_relu(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let slope = self.float("negative_slope", 0.01)?;
        let below = self.with(BinaryOp::Mul, x, slope)?;
        self.by_sign(x, below)
    }

    /// `x > 0 ? x : alpha * (exp(x) - 1)`.
    pub(super) fn elu(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let alpha = self.float("alpha", 1.0)?;
        for other in ["scale", "input_scale"] {
            if self.float(other, 1.0)? != 1.0 {
                return Err(self.wrong(format!("expected {other} 1")));
            }
        }
        let exp = self.on(Op::Unary(UnaryOp::Exp), vec![x])?;
        let below = self.with(BinaryOp::Sub, exp, 1.0)?;
        let below = self.with(BinaryOp::Mul, below, alpha)?;
        self.by_sign(x, below)
    }

    fn by_sign(&mut self, x: ValueId, below: ValueId) -> Result<ValueId, Pt2Error> {
        let zero = self.number(0.0)?;
        let above = self.emit_as(Op::Binary(BinaryOp::Gt), vec![x, zero], Kind::Bool)?;
        self.emit(Op::Where, vec![above, x, below])
    }

    /// `min(max(x + 3, 0), 6) / 6`.
    pub(super) fn hard_sigmoid(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let x = self.with(BinaryOp::Add, x, 3.0)?;
        let x = self.with(BinaryOp::Max, x, 0.0)?;
        let x = self.with(BinaryOp::Min, x, 6.0)?;
        self.with(BinaryOp::Div, x, 6.0)
    }

    /// `x * hard_sigmoid(x)`.
    pub(super) fn hard_swish(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let gate = self.hard_sigmoid()?;
        self.emit(Op::Binary(BinaryOp::Mul), vec![x, gate])
    }

    /// `a * sigmoid(b)` of the halves of an axis.
    pub(super) fn glu(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let axis = self.axis("dim", -1, self.rank(x))?;
        let half = self.fixed(x, axis)? / 2;
        let a = self.part(x, axis, Dim::fixed(0), half.into())?;
        let b = self.part(x, axis, half.into(), half.into())?;
        let gate = self.on(Op::Unary(UnaryOp::Sigmoid), vec![b])?;
        self.emit(Op::Binary(BinaryOp::Mul), vec![a, gate])
    }

    /// `x != x`.
    pub(super) fn is_nan(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        self.emit_as(Op::Binary(BinaryOp::Ne), vec![x, x], Kind::Bool)
    }

    /// `beta * input + alpha * a b`.
    pub(super) fn add_product(&mut self, a: &str, b: &str) -> Result<ValueId, Pt2Error> {
        let (alpha, beta) = (self.float("alpha", 1.0)?, self.float("beta", 1.0)?);
        let (mut input, a, b) = (self.tensor("self")?, self.tensor(a)?, self.tensor(b)?);
        let mut product = self.emit(Op::MatMul, vec![a, b])?;
        if alpha != 1.0 {
            product = self.with(BinaryOp::Mul, product, alpha)?;
        }
        // What is multiplied by 0 is not read, NaN included.
        if beta == 0.0 {
            return Ok(product);
        }
        if beta != 1.0 {
            input = self.with(BinaryOp::Mul, input, beta)?;
        }
        self.emit(Op::Binary(BinaryOp::Add), vec![product, input])
    }

    /// Every element of one vector by every element of another.
    pub(super) fn outer(&mut self) -> Result<ValueId, Pt2Error> {
        let (a, b) = (self.tensor("self")?, self.tensor("vec2")?);
        if self.rank(a) != 1 || self.rank(b) != 1 {
            return Err(self.wrong("expected two vectors"));
        }
        let (a, b) = (self.cast(a, self.declared.kind)?, self.cast(b, self.declared.kind)?);
        let mut column = self.shape(a);
        column.push(Dim::fixed(1));
        let a = self.reshaped(a, column)?;
        self.emit(Op::Binary(BinaryOp::Mul), vec![a, b])
    }

    /// A product of matrices.
    pub(super) fn product(&mut self, b: &str) -> Result<ValueId, Pt2Error> {
        let (a, b) = (self.tensor("self")?, self.tensor(b)?);
        if self.rank(a) < 2 || self.rank(b) < 2 {
            return Err(self.wrong("expected operands of at least two axes"));
        }
        self.emit(Op::MatMul, vec![a, b])
    }

    /// Rows and columns of a matrix's elements compared: those on or below (above) the diagonal stay, others become 0.
    pub(super) fn triangle(&mut self, f: BinaryOp) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let rank = self.rank(x);
        if rank < 2 {
            return Err(self.wrong("expected a matrix"));
        }
        let (kind, shape) = (self.declared.kind, self.shape(x));
        let (rows, columns) = (shape[rank - 2].clone(), shape[rank - 1].clone());
        let diagonal = self.int("diagonal", 0)?;
        let count = Op::Arange { start: 0, step: 1 };
        let row = self.push(count.clone(), Vec::new(), Type::new(Kind::Int, [rows.clone()]))?;
        let row = self.reshaped(row, vec![rows.clone(), Dim::fixed(1)])?;
        let column = self.push(count, Vec::new(), Type::new(Kind::Int, [columns.clone()]))?;
        let square = Type::new(Kind::Int, [rows, columns]);
        let apart = self.push(Op::Binary(BinaryOp::Sub), vec![column, row], square.clone())?;
        let limit = self.constant(Scalar::Int(diagonal).constant(Kind::Int))?;
        let square = Type { kind: Kind::Bool, ..square };
        let keep = self.push(Op::Binary(f), vec![apart, limit], square)?;
        let zero = self.constant(Scalar::Int(0).constant(kind))?;
        self.emit(Op::Where, vec![keep, x, zero])
    }
}
