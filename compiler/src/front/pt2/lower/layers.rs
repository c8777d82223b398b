//! Layers: linear, convolution, normalisation, attention.

use bytec_ir::dim::Dim;
use bytec_trace::{BinaryOp, Op, Type, UnaryOp, ValueId};

use super::super::error::Pt2Error;
use super::arguments::{Call, Scalar};
use super::table::Results;

impl Call<'_, '_> {
    pub(super) fn linear(&mut self) -> Result<ValueId, Pt2Error> {
        let mut operands = vec![self.tensor("input")?, self.tensor("weight")?];
        if self.rank(operands[1]) != 2 {
            return Err(self.wrong("expected a matrix as its weight"));
        }
        operands.extend(self.maybe_tensor("bias")?);
        self.emit(Op::Linear, operands)
    }

    /// A convolution over the last `axes` axes; all but one if that isn't known by the op's name.
    pub(super) fn convolution(&mut self, axes: Option<usize>) -> Result<ValueId, Pt2Error> {
        let mut operands = vec![self.tensor("input")?, self.tensor("weight")?];
        operands.extend(self.maybe_tensor("bias")?);
        let axes = axes.unwrap_or(self.rank(operands[1]).saturating_sub(2));
        if self.rank(operands[0]) != axes + 2 || self.rank(operands[1]) != axes + 2 {
            return Err(self.wrong(format!("expected operands of {} axes", axes + 2)));
        }
        if self.flag("transposed")? {
            return Err(self.wrong("a transposed convolution, which isn't built"));
        }
        let numbers = |call: &Self, name: &str, default: i64| -> Result<Vec<u64>, Pt2Error> {
            let given = call.ints(name)?.unwrap_or_else(|| vec![default]);
            let given = if given.len() == 1 { vec![given[0]; axes] } else { given };
            let numbers: Option<Vec<u64>> = given.into_iter().map(|n| n.try_into().ok()).collect();
            let numbers = numbers.filter(|numbers| numbers.len() == axes);
            numbers.ok_or_else(|| {
                call.wrong(format!("expected `{name}` to be {axes} numbers of at least 0"))
            })
        };
        let stride = numbers(self, "stride", 1)?;
        let dilation = numbers(self, "dilation", 1)?;
        let padding = match self.argument("padding") {
            Some(super::Argument::String(word)) if word == "valid" => vec![0; axes],
            Some(super::Argument::String(word)) => {
                return Err(self.wrong(format!("expected padding in numbers, found {word:?}")));
            }
            _ => numbers(self, "padding", 0)?,
        };
        let groups = u64::try_from(self.int("groups", 1)?).unwrap_or(0);
        if groups == 0 || stride.contains(&0) || dilation.contains(&0) {
            return Err(self.wrong("expected groups, stride and dilation of at least 1"));
        }
        self.emit(Op::Conv { stride, padding, dilation, groups }, operands)
    }

    /// The number of last axes that a normalisation is over, as its argument says.
    fn normalized(&self, x: ValueId) -> Result<usize, Pt2Error> {
        let normalized = self.ints("normalized_shape")?.unwrap_or_default();
        let shape = &self.ty(x).shape;
        let last = shape.len().checked_sub(normalized.len()).map(|first| &shape[first..]);
        let fits = last.is_some_and(|last| {
            last.iter().zip(&normalized).all(|(dim, &n)| dim.as_fixed() == u64::try_from(n).ok())
        });
        if normalized.is_empty() || !fits {
            return Err(self
                .wrong(format!("expected the last axes of {}, found {normalized:?}", self.ty(x))));
        }
        Ok(normalized.len())
    }

    pub(super) fn layer_norm(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("input")?;
        let axes = self.normalized(x)?;
        let eps = self.float("eps", 1e-5)?;
        let (gamma, beta) = (self.maybe_tensor("weight")?, self.maybe_tensor("bias")?);
        let mut operands = vec![x];
        match (gamma, beta) {
            (Some(gamma), beta) => operands.extend([Some(gamma), beta].into_iter().flatten()),
            (None, None) => operands.push(self.ones(x, axes)?),
            (None, Some(beta)) => operands.extend([self.ones(x, axes)?, beta]),
        }
        self.emit(Op::LayerNorm { axes, eps }, operands)
    }

    /// `[result, mean, deviation]`, of which only the first can be had.
    pub(super) fn native_layer_norm(
        &mut self,
        names: &[Option<&str>],
    ) -> Result<Results, Pt2Error> {
        let first = self.layer_norm()?;
        Ok(only_first(first, names))
    }

    fn ones(&mut self, x: ValueId, axes: usize) -> Result<ValueId, Pt2Error> {
        let shape = self.shape(x);
        let ty = Type { kind: self.ty(x).kind, shape: shape[shape.len() - axes..].to_vec() };
        let one = self.number(1.0)?;
        self.push(Op::Full, vec![one], ty)
    }

    pub(super) fn rms_norm(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("input")?;
        if self.normalized(x)? != 1 {
            return Err(self.wrong("expected a normalisation over the last axis"));
        }
        let eps = self.float("eps", f64::from(f32::EPSILON))?;
        let gamma = match self.maybe_tensor("weight")? {
            Some(gamma) => gamma,
            None => self.ones(x, 1)?,
        };
        self.emit(Op::RmsNorm { eps }, vec![x, gamma])
    }

    /// `(x - mean) / sqrt(variance + eps) * gamma + beta` with the statistics that the model holds, channel by channel.
    pub(super) fn batch_norm(&mut self) -> Result<ValueId, Pt2Error> {
        if self.flag("training")? {
            return Err(self.wrong("it mixes samples: call model.eval() before the export"));
        }
        let x = self.tensor("input")?;
        let rank = self.rank(x);
        if rank < 2 {
            return Err(self.wrong("expected at least two axes"));
        }
        let channels = self.fixed(x, 1)?;
        let mut shape = vec![Dim::fixed(1); rank];
        shape[1] = channels.into();
        let per_channel = |call: &mut Self, value: ValueId| call.reshaped(value, shape.clone());
        let (Some(mean), Some(variance)) =
            (self.maybe_tensor("running_mean")?, self.maybe_tensor("running_var")?)
        else {
            return Err(self.wrong("it mixes samples: it has no statistics of its own"));
        };
        let eps = self.float("eps", 1e-5)?;
        let variance = self.with(BinaryOp::Add, variance, eps)?;
        let mut scale = self.on(Op::Unary(UnaryOp::Rsqrt), vec![variance])?;
        if let Some(gamma) = self.maybe_tensor("weight")? {
            scale = self.on(Op::Binary(BinaryOp::Mul), vec![scale, gamma])?;
        }
        let (mean, scale) = (per_channel(self, mean)?, per_channel(self, scale)?);
        let x = self.emit(Op::Binary(BinaryOp::Sub), vec![x, mean])?;
        let x = self.emit(Op::Binary(BinaryOp::Mul), vec![x, scale])?;
        let Some(beta) = self.maybe_tensor("bias")? else { return Ok(x) };
        let beta = per_channel(self, beta)?;
        self.emit(Op::Binary(BinaryOp::Add), vec![x, beta])
    }

    pub(super) fn native_batch_norm(
        &mut self,
        names: &[Option<&str>],
    ) -> Result<Results, Pt2Error> {
        let first = self.batch_norm()?;
        Ok(only_first(first, names))
    }

    pub(super) fn attention(&mut self) -> Result<ValueId, Pt2Error> {
        let (q, mut k, mut v) = (self.tensor("query")?, self.tensor("key")?, self.tensor("value")?);
        if self.float("dropout_p", 0.0)? != 0.0 {
            return Err(self.wrong("it is random: call model.eval() before the export"));
        }
        let rank = self.rank(q);
        if rank < 2 || self.rank(k) != rank || self.rank(v) != rank {
            return Err(self.wrong("expected query, key and value of as many axes, at least two"));
        }
        let size = self.fixed(q, rank - 1)?;
        // A single head of keys and values serves all heads of queries without being told to.
        let single = |call: &Self, x: ValueId| rank > 2 && call.shape(x)[rank - 3] == Dim::fixed(1);
        let shared = single(self, k) && single(self, v) && !single(self, q);
        if self.flag("enable_gqa")? || shared {
            (k, v) = (self.grouped(q, k)?, self.grouped(q, v)?);
        }
        let scale = self.scalar("scale", Scalar::Float(1.0 / (size as f64).sqrt()))?.float();
        let causal = self.flag("is_causal")?;
        let mut operands = vec![q, k, v];
        operands.extend(self.maybe_tensor("attn_mask")?);
        self.emit(Op::Attention { scale, causal }, operands)
    }

    /// Heads of keys or values, each repeated for the heads of the queries that share it.
    fn grouped(&mut self, q: ValueId, x: ValueId) -> Result<ValueId, Pt2Error> {
        let rank = self.rank(x);
        let Some(axis) = rank.checked_sub(3) else {
            return Err(self.wrong("expected an axis of heads"));
        };
        let (wanted, held) = (self.fixed(q, axis)?, self.fixed(x, axis)?);
        if held == 0 || wanted % held != 0 {
            return Err(self.wrong(format!("{wanted} heads of queries for {held} of keys")));
        }
        let shape = self.shape(x);
        let mut apart = shape.clone();
        apart.insert(axis + 1, Dim::fixed(1));
        let x = self.reshaped(x, apart.clone())?;
        apart[axis + 1] = (wanted / held).into();
        let x = self.expanded(x, apart)?;
        let mut joined = shape;
        joined[axis] = wanted.into();
        self.reshaped(x, joined)
    }
}

/// The first result; the others serve training, and nobody reads them.
fn only_first(first: ValueId, names: &[Option<&str>]) -> Vec<Option<ValueId>> {
    std::iter::once(Some(first)).chain(names.iter().skip(1).map(|_| None)).collect()
}
