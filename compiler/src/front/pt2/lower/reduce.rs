//! Sums, means, extremes and running sums.

use bytec_ir::dim::Dim;
use bytec_trace::{BinaryOp, Kind, Op, ReduceOp, Type, UnaryOp, ValueId};

use super::super::error::Pt2Error;
use super::arguments::Call;
use super::table::Results;

impl Call<'_, '_> {
    /// The axes of an argument, ascending; all of them if it is left out or empty.
    fn axes(&self, name: &str, rank: usize) -> Result<Vec<usize>, Pt2Error> {
        let given = self.ints(name)?.unwrap_or_default();
        if given.is_empty() {
            return Ok((0..rank).collect());
        }
        let mut axes: Vec<usize> =
            given.into_iter().map(|axis| self.counted(axis, rank)).collect::<Result<_, _>>()?;
        axes.sort_unstable();
        let count = axes.len();
        axes.dedup();
        if axes.len() != count {
            return Err(self.wrong("expected each axis once"));
        }
        Ok(axes)
    }

    /// A reduction of `self` over the axes of `dim`.
    pub(super) fn reduced(&mut self, f: ReduceOp) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let (axes, keep) = (self.axes("dim", self.rank(x))?, self.flag("keepdim")?);
        let kind = match f {
            ReduceOp::Any | ReduceOp::All => Kind::Bool,
            ReduceOp::ArgMax => self.ty(x).kind,
            _ => self.declared.kind,
        };
        let x = self.cast(x, kind)?;
        if axes.is_empty() && f != ReduceOp::ArgMax {
            return Ok(x);
        }
        if f == ReduceOp::ArgMax && axes.len() != 1 {
            return Err(self.wrong("expected one axis"));
        }
        self.emit(Op::Reduce { f, axes, keep }, vec![x])
    }

    /// The extremes along an axis and, if anybody reads them, where they are.
    pub(super) fn extremes(
        &mut self,
        f: ReduceOp,
        names: &[Option<&str>],
    ) -> Result<Results, Pt2Error> {
        let value = self.reduced(f)?;
        let mut results = vec![Some(value)];
        if names.len() > 1 {
            let place = if f == ReduceOp::Max && names[1].is_some() {
                let x = self.tensor("self")?;
                let (axes, keep) = (self.axes("dim", self.rank(x))?, self.flag("keepdim")?);
                Some(self.emit_as(
                    Op::Reduce { f: ReduceOp::ArgMax, axes, keep },
                    vec![x],
                    Kind::Int,
                )?)
            } else {
                None
            };
            results.push(place);
        }
        Ok(results)
    }

    /// `sqrt(sum(x^2))`.
    pub(super) fn length(&mut self, order: &str) -> Result<ValueId, Pt2Error> {
        let order = self.float(order, 2.0)?;
        if order != 2.0 {
            return Err(self.wrong(format!("expected the norm of order 2, found {order}")));
        }
        let x = self.tensor("self")?;
        let (axes, keep) = (self.axes("dim", self.rank(x))?, self.flag("keepdim")?);
        let x = self.cast(x, Kind::Float)?;
        let squares = self.on(Op::Unary(UnaryOp::Square), vec![x])?;
        let sum = self.emit(Op::Reduce { f: ReduceOp::Sum, axes, keep }, vec![squares])?;
        self.emit(Op::Unary(UnaryOp::Sqrt), vec![sum])
    }

    /// The mean over the whole of the last axes: a pool that adapts to one element.
    pub(super) fn whole_mean(&mut self, axes: usize) -> Result<ValueId, Pt2Error> {
        let size = self.ints("output_size")?.unwrap_or_default();
        if size.is_empty() || size.iter().any(|&n| n != 1) {
            return Err(self.wrong(format!("expected a pool to one element, found {size:?}")));
        }
        let x = self.tensor("self")?;
        let rank = self.rank(x);
        let Some(first) = rank.checked_sub(axes) else {
            return Err(self.wrong(format!("expected at least {axes} axes, found {rank}")));
        };
        let axes = (first..rank).collect();
        self.emit(Op::Reduce { f: ReduceOp::Mean, axes, keep: true }, vec![x])
    }

    /// The mean of squared distances from the mean, over `n - correction`.
    pub(super) fn variance(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let (axes, keep) = (self.axes("dim", self.rank(x))?, self.flag("keepdim")?);
        let unbiased = match self.argument("unbiased") {
            Some(_) => f64::from(u8::from(self.flag("unbiased")?)),
            None => 1.0,
        };
        let correction = self.float("correction", unbiased)?;
        let mut count = 1.0;
        for &axis in &axes {
            count *= self.fixed(x, axis)? as f64;
        }
        if count - correction <= 0.0 {
            return Err(self.wrong("expected more elements than the correction takes away"));
        }
        let mut kept = self.ty(x).clone();
        for &axis in &axes {
            kept.shape[axis] = Dim::fixed(1);
        }
        let mean = Op::Reduce { f: ReduceOp::Mean, axes: axes.clone(), keep: true };
        let mean = self.push(mean, vec![x], kept)?;
        let apart = self.on(Op::Binary(BinaryOp::Sub), vec![x, mean])?;
        let squares = self.on(Op::Unary(UnaryOp::Square), vec![apart])?;
        let of_squares = self.emit(Op::Reduce { f: ReduceOp::Mean, axes, keep }, vec![squares])?;
        if correction == 0.0 {
            return Ok(of_squares);
        }
        self.with(BinaryOp::Mul, of_squares, count / (count - correction))
    }

    /// The root of the [variance](Self::variance).
    pub(super) fn deviation(&mut self) -> Result<ValueId, Pt2Error> {
        let variance = self.variance()?;
        self.emit(Op::Unary(UnaryOp::Sqrt), vec![variance])
    }

    pub(super) fn running_sum(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let x = self.cast(x, self.declared.kind)?;
        let axis = self.axis("dim", 0, self.rank(x))?;
        self.emit(Op::CumSum { axis }, vec![x])
    }

    /// Differences of neighbours, after what is put before and behind.
    pub(super) fn differences(&mut self) -> Result<ValueId, Pt2Error> {
        if self.int("n", 1)? != 1 {
            return Err(self.wrong("expected differences of the first order"));
        }
        let x = self.tensor("self")?;
        let axis = self.axis("dim", -1, self.rank(x))?;
        let (before, after) = (self.maybe_tensor("prepend")?, self.maybe_tensor("append")?);
        let parts: Vec<ValueId> = before.into_iter().chain([x]).chain(after).collect();
        let kind = self.ty(x).kind;
        if kind == Kind::Bool {
            return Err(self.wrong("expected numbers, found truth values"));
        }
        let mut whole = self.ty(x).clone();
        if parts.len() > 1 {
            let mut extent = Dim::fixed(0);
            for &part in &parts {
                let along = self.shape(part).get(axis).cloned();
                let sum = along.and_then(|along| extent.checked_add(&along));
                extent = sum.ok_or_else(|| self.wrong("expected tensors of as many axes"))?;
            }
            whole.shape[axis] = extent;
            let cast: Result<Vec<_>, _> =
                parts.into_iter().map(|part| self.cast(part, kind)).collect();
            let joined = self.push(Op::Concat { axis }, cast?, whole)?;
            return self.emit(Op::Diff { axis }, vec![joined]);
        }
        self.emit(Op::Diff { axis }, vec![x])
    }

    pub(super) fn softmax(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let x = self.cast(x, Kind::Float)?;
        let axis = self.axis("dim", -1, self.rank(x))?;
        self.emit(Op::Softmax { axis }, vec![x])
    }

    /// `(x - max) - log(sum(exp(x - max)))` along an axis.
    pub(super) fn log_softmax(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let x = self.cast(x, Kind::Float)?;
        let axis = self.axis("dim", -1, self.rank(x))?;
        let mut kept: Type = self.ty(x).clone();
        kept.shape[axis] = Dim::fixed(1);
        let over = |f| Op::Reduce { f, axes: vec![axis], keep: true };
        let most = self.push(over(ReduceOp::Max), vec![x], kept.clone())?;
        let below = self.on(Op::Binary(BinaryOp::Sub), vec![x, most])?;
        let exp = self.on(Op::Unary(UnaryOp::Exp), vec![below])?;
        let sum = self.push(over(ReduceOp::Sum), vec![exp], kept.clone())?;
        let log = self.push(Op::Unary(UnaryOp::Log), vec![sum], kept)?;
        self.emit(Op::Binary(BinaryOp::Sub), vec![below, log])
    }
}
