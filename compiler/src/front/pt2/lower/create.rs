//! Tensors made of nothing: counts, fills and random numbers that aren't.

use bytec_trace::{BinaryOp, Kind, Op, Type, ValueId};

use super::super::error::Pt2Error;
use super::arguments::{Call, Operand, Scalar};

impl Call<'_, '_> {
    /// `start, start + step, ..`.
    pub(super) fn arange(&mut self) -> Result<ValueId, Pt2Error> {
        if let Some(counted) = self.fractions()? {
            return Ok(counted);
        }
        let whole = |scalar: Scalar| {
            let float = scalar.float();
            (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64)
        };
        let number = |call: &Self, name: &str, default: i64| {
            let scalar = call.scalar(name, Scalar::Int(default))?;
            whole(scalar)
                .ok_or_else(|| call.wrong(format!("expected `{name}` to be a whole number")))
        };
        let (start, step) = (number(self, "start", 0)?, number(self, "step", 1)?);
        // The end is in the declared extent; one that is no whole number doesn't count evenly.
        if let Some(super::Argument::Float(end)) = self.argument("end") {
            let end = end.value().unwrap_or(f64::NAN);
            if whole(Scalar::Float(end)).is_none() {
                return Err(self.wrong("expected `end` to be a whole number"));
            }
        }
        let counted = self.emit_as(Op::Arange { start, step }, Vec::new(), Kind::Int)?;
        self.cast(counted, self.declared.kind)
    }

    /// Floats from a start, or in steps, that are no whole numbers. How many there are is in the declared extent.
    fn fractions(&mut self) -> Result<Option<ValueId>, Pt2Error> {
        let start = self.float("start", 0.0)?;
        let step = self.float("step", 1.0)?;
        if self.declared.kind != Kind::Float || start.fract() == 0.0 && step.fract() == 0.0 {
            return Ok(None);
        }
        let counted = self.emit_as(Op::Arange { start: 0, step: 1 }, Vec::new(), Kind::Int)?;
        let counted = self.cast(counted, Kind::Float)?;
        let steps = self.with(BinaryOp::Mul, counted, step)?;
        self.with(BinaryOp::Add, steps, start).map(Some)
    }

    /// One number everywhere.
    pub(super) fn filled(&mut self, value: Scalar) -> Result<ValueId, Pt2Error> {
        let value = self.constant(value.constant(self.declared.kind))?;
        if self.declared.shape.is_empty() {
            return Ok(value);
        }
        self.emit(Op::Full, vec![value])
    }

    /// The number that an argument says, everywhere.
    pub(super) fn filled_with(&mut self, name: &str) -> Result<ValueId, Pt2Error> {
        if self.argument(name).is_none() {
            return Err(self.wrong(format!("expected argument `{name}` to be a number")));
        }
        match self.operand(name)? {
            Operand::Scalar(value) => self.filled(value),
            Operand::Tensor(_) => self.filled_by(name),
        }
    }

    /// The tensor's only element everywhere.
    pub(super) fn filled_by(&mut self, name: &str) -> Result<ValueId, Pt2Error> {
        let value = self.operand(name)?;
        let value = self.as_kind(value, self.declared.kind)?;
        let ty = Type { kind: self.declared.kind, shape: Vec::new() };
        let value =
            if self.rank(value) == 0 { value } else { self.push(Op::Reshape, vec![value], ty)? };
        if self.declared.shape.is_empty() {
            return Ok(value);
        }
        self.emit(Op::Full, vec![value])
    }
}
