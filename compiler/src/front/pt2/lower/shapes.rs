//! Elements moved about, repeated and picked.

use bytec_ir::dim::Dim;
use bytec_trace::{Op, Type, ValueId};

use super::super::error::Pt2Error;
use super::super::expr;
use super::super::schema::{Argument, SymIntArgument};
use super::arguments::{Call, Operand, Scalar};
use super::table::Results;

impl Call<'_, '_> {
    /// The first argument as it is.
    pub(super) fn same(&mut self) -> Result<ValueId, Pt2Error> {
        let first = self.maybe_self();
        first.ok_or_else(|| self.wrong("expected a tensor as its first argument"))
    }

    /// `dropout`, which does nothing once a model is trained.
    pub(super) fn dropout(&mut self) -> Result<ValueId, Pt2Error> {
        let trains = self.flag("train")? || self.flag("training")?;
        if trains && self.float("p", 0.5)? != 0.0 {
            return Err(self.wrong("it is random: call model.eval() before the export"));
        }
        self.same()
    }

    /// The elements under the declared shape.
    pub(super) fn reshape(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.same()?;
        self.reshaped(x, self.declared.shape.clone())
    }

    pub(super) fn expand(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        self.expanded(x, self.declared.shape.clone())
    }

    /// `source` in the shape and kind of what it overwrites.
    pub(super) fn copied(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("src")?;
        let x = self.cast(x, self.declared.kind)?;
        self.expanded(x, self.declared.shape.clone())
    }

    /// Two axes exchanged.
    pub(super) fn transpose(&mut self, a: &str, b: &str) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let rank = self.rank(x);
        let mut perm: Vec<usize> = (0..rank).collect();
        if rank > 0 {
            perm.swap(self.axis(a, -1, rank)?, self.axis(b, -1, rank)?);
        }
        self.permuted(x, perm)
    }

    /// A matrix with rows for columns.
    pub(super) fn turned(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        match self.rank(x) {
            0 | 1 => Ok(x),
            2 => self.permuted(x, vec![1, 0]),
            rank => Err(self.wrong(format!("expected at most 2 axes, found {rank}"))),
        }
    }

    pub(super) fn permute(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let rank = self.rank(x);
        let dims = self.ints("dims")?.unwrap_or_default();
        let perm: Vec<usize> =
            dims.into_iter().map(|dim| self.counted(dim, rank)).collect::<Result<_, _>>()?;
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if sorted.into_iter().ne(0..rank) {
            return Err(self.wrong(format!("expected each of the {rank} axes once")));
        }
        self.permuted(x, perm)
    }

    /// Axis `source` put at `destination`.
    pub(super) fn moved(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let rank = self.rank(x);
        let (from, to) = (
            self.ints("source")?.unwrap_or_default(),
            self.ints("destination")?.unwrap_or_default(),
        );
        let (&[from], &[to]) = (&from[..], &to[..]) else {
            return Err(self.wrong("expected one axis to move"));
        };
        let mut perm: Vec<usize> = (0..rank).collect();
        let axis = perm.remove(self.counted(from, rank)?);
        perm.insert(self.counted(to, rank)?, axis);
        self.permuted(x, perm)
    }

    fn permuted(&mut self, x: ValueId, perm: Vec<usize>) -> Result<ValueId, Pt2Error> {
        if perm.iter().copied().eq(0..perm.len()) {
            return Ok(x);
        }
        let shape = self.shape(x);
        let shape = perm.iter().map(|&axis| shape[axis].clone()).collect();
        let ty = Type { kind: self.ty(x).kind, shape };
        self.push(Op::Permute { perm }, vec![x], ty)
    }

    /// `length` indices of an axis from `start`.
    pub(super) fn part(
        &mut self,
        x: ValueId,
        axis: usize,
        start: Dim,
        length: Dim,
    ) -> Result<ValueId, Pt2Error> {
        let mut ty = self.ty(x).clone();
        if start == Dim::fixed(0) && ty.shape[axis] == length {
            return Ok(x);
        }
        ty.shape[axis] = length;
        self.push(Op::Slice { axis, start, step: 1 }, vec![x], ty)
    }

    /// An index, counted from the end of the axis if it is negative.
    fn counted_size(&self, index: Dim, extent: &Dim) -> Result<Dim, Pt2Error> {
        let negative = index.bounds(&self.lowering.trace.symbols).is_some_and(|(_, high)| high < 0);
        let counted = if negative { extent.checked_add(&index) } else { Some(index) };
        counted.ok_or_else(|| self.wrong("an index past the limits of a size"))
    }

    /// `self[start:end:step]` along an axis. How many there are is in the declared type.
    pub(super) fn slice(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let axis = self.axis("dim", 0, self.rank(x))?;
        let start = self.size("start")?.unwrap_or(Dim::fixed(0));
        let step = self.int("step", 1)?;
        let step = u64::try_from(step).ok().filter(|&step| step > 0);
        let step = step.ok_or_else(|| self.wrong("expected a step above 0"))?;
        let start = self.counted_size(start, &self.shape(x)[axis])?;
        if self.declared == *self.ty(x) && start == Dim::fixed(0) && step == 1 {
            return Ok(x);
        }
        self.emit(Op::Slice { axis, start, step }, vec![x])
    }

    /// `length` indices of an axis.
    pub(super) fn narrow(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let axis = self.axis("dim", 0, self.rank(x))?;
        let start = self.size("start")?.unwrap_or(Dim::fixed(0));
        let start = self.counted_size(start, &self.shape(x)[axis])?;
        let length = self.declared.shape.get(axis).cloned();
        let length = length.ok_or_else(|| self.wrong("its result has fewer axes"))?;
        self.part(x, axis, start, length)
    }

    pub(super) fn select(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let axis = self.axis("dim", 0, self.rank(x))?;
        let index = self.size("index")?.ok_or_else(|| self.wrong("expected an index"))?;
        let index = self.counted_size(index, &self.shape(x)[axis])?;
        self.emit(Op::Select { axis, index }, vec![x])
    }

    /// Every index of an axis on its own.
    pub(super) fn unbind(&mut self) -> Result<Results, Pt2Error> {
        let x = self.tensor("self")?;
        let axis = self.axis("dim", 0, self.rank(x))?;
        let count = self.fixed(x, axis)?.min(self.node.outputs.len().max(1 << 12) as u64);
        let mut ty = self.ty(x).clone();
        ty.shape.remove(axis);
        let one = |i: u64| self.push(Op::Select { axis, index: i.into() }, vec![x], ty.clone());
        (0..count).map(one).map(|part| part.map(Some)).collect()
    }

    /// Parts of an axis one after the other, of the lengths that their types say.
    pub(super) fn parts(&mut self, names: &[Option<&str>]) -> Result<Results, Pt2Error> {
        let x = self.tensor("self")?;
        let axis = self.axis("dim", 0, self.rank(x))?;
        let extent = self.shape(x)[axis].clone();
        let mut start = Dim::fixed(0);
        let mut parts = Vec::new();
        for name in names {
            let Some(name) = name else {
                return Err(self.wrong("expected results that are tensors"));
            };
            let length = self.lowering.declared(name)?.shape.get(axis).cloned();
            let length = length.ok_or_else(|| self.wrong("its results have fewer axes"))?;
            let end = start.checked_add(&length);
            parts.push(Some(self.part(x, axis, start, length)?));
            start = end.ok_or_else(|| self.wrong("a length past the limits of a size"))?;
        }
        if start != extent {
            return Err(self.wrong(format!("expected parts of {extent} in all, found {start}")));
        }
        Ok(parts)
    }

    fn given(&mut self, name: &str) -> Result<Vec<ValueId>, Pt2Error> {
        let tensors: Option<Vec<_>> = self.tensors(name)?.into_iter().collect();
        let tensors = tensors.filter(|tensors| !tensors.is_empty());
        tensors.ok_or_else(|| self.wrong("expected at least one tensor, and none left out"))
    }

    pub(super) fn concat(&mut self) -> Result<ValueId, Pt2Error> {
        let axis = self.axis("dim", 0, self.declared.shape.len())?;
        let kind = self.declared.kind;
        let mut parts = Vec::new();
        for tensor in self.given("tensors")? {
            // An empty tensor of one axis is allowed anywhere and adds nothing.
            if self.ty(tensor).shape != [Dim::fixed(0)] {
                parts.push(self.cast(tensor, kind)?);
            }
        }
        match parts[..] {
            [one] => Ok(one),
            [] => Err(self.wrong("expected a tensor that isn't empty")),
            _ => self.emit(Op::Concat { axis }, parts),
        }
    }

    /// Tensors side by side along a new axis.
    pub(super) fn stack(&mut self) -> Result<ValueId, Pt2Error> {
        let axis = self.axis("dim", 0, self.declared.shape.len())?;
        let kind = self.declared.kind;
        let mut parts = Vec::new();
        for tensor in self.given("tensors")? {
            let mut shape = self.shape(tensor);
            if shape.len() < axis {
                return Err(self.wrong("expected tensors of one axis fewer than the result"));
            }
            shape.insert(axis, Dim::fixed(1));
            let tensor = self.cast(tensor, kind)?;
            parts.push(self.reshaped(tensor, shape)?);
        }
        match parts[..] {
            [one] => Ok(one),
            _ => self.emit(Op::Concat { axis }, parts),
        }
    }

    pub(super) fn flip(&mut self) -> Result<ValueId, Pt2Error> {
        let mut x = self.tensor("self")?;
        for axis in self.ints("dims")?.unwrap_or_default() {
            let axis = self.counted(axis, self.rank(x))?;
            x = self.on(Op::Flip { axis }, vec![x])?;
        }
        Ok(x)
    }

    /// Axes turned round by so many indices.
    pub(super) fn roll(&mut self) -> Result<ValueId, Pt2Error> {
        let mut x = self.tensor("self")?;
        let (shifts, axes) =
            (self.ints("shifts")?.unwrap_or_default(), self.ints("dims")?.unwrap_or_default());
        if shifts.len() != axes.len() {
            return Err(self.wrong("expected an axis for every shift"));
        }
        for (shift, axis) in shifts.into_iter().zip(axes) {
            let axis = self.counted(axis, self.rank(x))?;
            let extent = self.fixed(x, axis)?;
            let Some(shift) = i128::from(shift).checked_rem_euclid(extent.into()) else { continue };
            let shift = shift as u64;
            if shift == 0 {
                continue;
            }
            let ty = self.ty(x).clone();
            let last = self.part(x, axis, (extent - shift).into(), shift.into())?;
            let first = self.part(x, axis, Dim::fixed(0), (extent - shift).into())?;
            x = self.push(Op::Concat { axis }, vec![last, first], ty)?;
        }
        Ok(x)
    }

    pub(super) fn repeat(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let missing = self.declared.shape.len().saturating_sub(self.rank(x));
        let mut shape = vec![Dim::fixed(1); missing];
        shape.extend(self.shape(x));
        let x = self.reshaped(x, shape)?;
        if *self.ty(x) == self.declared { Ok(x) } else { self.emit(Op::Repeat, vec![x]) }
    }

    /// Every index of an axis so many times before the next.
    pub(super) fn repeat_interleave(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let (Some(times), Some(_)) = (self.size("repeats")?, self.argument("dim")) else {
            return Err(self.wrong("expected a number of times and an axis"));
        };
        let axis = self.axis("dim", 0, self.rank(x))?;
        let mut shape = self.shape(x);
        shape.insert(axis + 1, Dim::fixed(1));
        let x = self.reshaped(x, shape.clone())?;
        shape[axis + 1] = times;
        let x = self.expanded(x, shape)?;
        self.reshaped(x, self.declared.shape.clone())
    }

    /// Vectors, each along an axis of its own and repeated along the others.
    pub(super) fn grid(&mut self, names: &[Option<&str>]) -> Result<Results, Pt2Error> {
        let vectors = self.given("tensors")?;
        let turned = match self.word("indexing", "ij")? {
            "ij" => false,
            "xy" => vectors.len() > 1,
            other => return Err(self.wrong(format!("expected indexing ij or xy, found {other:?}"))),
        };
        if names.len() != vectors.len() {
            return Err(self.wrong("expected as many results as vectors"));
        }
        let mut order: Vec<usize> = (0..vectors.len()).collect();
        if turned {
            order.swap(0, 1);
        }
        let mut grids = Vec::new();
        for ((&vector, name), axis) in vectors.iter().zip(names).zip(order) {
            let Some(name) = name else {
                return Err(self.wrong("expected results that are tensors"));
            };
            let extent = match &self.ty(vector).shape[..] {
                [] => Dim::fixed(1),
                [extent] => extent.clone(),
                _ => return Err(self.wrong("expected vectors")),
            };
            let mut shape = vec![Dim::fixed(1); vectors.len()];
            shape[axis] = extent;
            let vector = self.reshaped(vector, shape)?;
            let whole = self.lowering.declared(name)?.shape;
            grids.push(Some(self.expanded(vector, whole)?));
        }
        Ok(grids)
    }

    /// Rows of a table.
    pub(super) fn embedding(&mut self) -> Result<ValueId, Pt2Error> {
        let (table, ids) = (self.tensor("weight")?, self.tensor("indices")?);
        self.emit(Op::Index, vec![table, ids])
    }

    /// `self[index_0, index_1, ..]`, `:` for an index that is left out.
    pub(super) fn index(&mut self) -> Result<ValueId, Pt2Error> {
        let x = self.tensor("self")?;
        let indices = self.tensors("indices")?;
        let skipped = indices.iter().take_while(|index| index.is_none()).count();
        let used: Option<Vec<ValueId>> = indices[skipped..].iter().copied().collect();
        let trailing = indices[skipped..].iter().rev().take_while(|index| index.is_none()).count();
        let used = match used {
            Some(used) => used,
            None => indices[skipped..indices.len() - trailing]
                .iter()
                .copied()
                .collect::<Option<_>>()
                .ok_or_else(|| self.wrong("expected indices of neighbouring axes"))?,
        };
        if used.iter().any(|&index| self.ty(index).kind != bytec_trace::Kind::Int) {
            return Err(self.wrong("picked by truth values: how many there are depends on values"));
        }
        match (skipped, &used[..]) {
            (_, []) => Ok(x),
            (0, _) => {
                let operands = std::iter::once(x).chain(used).collect();
                self.emit(Op::Index, operands)
            }
            (axis, &[index]) => self.picked(x, axis, index),
            _ => Err(self.wrong("expected several indices to be those of the first axes")),
        }
    }

    pub(super) fn index_select(&mut self) -> Result<ValueId, Pt2Error> {
        let (x, index) = (self.tensor("self")?, self.tensor("index")?);
        let axis = self.axis("dim", 0, self.rank(x))?;
        self.picked(x, axis, index)
    }

    /// Indices of one axis; those of an index of several axes are picked flat.
    fn picked(&mut self, x: ValueId, axis: usize, index: ValueId) -> Result<ValueId, Pt2Error> {
        if axis >= self.rank(x) {
            return Err(self.wrong("more indices than axes"));
        }
        let extents = self.shape(index);
        let count = extents.iter().try_fold(Dim::fixed(1), |product, dim| product.checked_mul(dim));
        let count = count.ok_or_else(|| self.wrong("more indices than a size can count"))?;
        let index = self.reshaped(index, vec![count.clone()])?;
        let mut ty = self.ty(x).clone();
        ty.shape[axis] = count;
        let picked = self.push(Op::IndexSelect { axis }, vec![x, index], ty)?;
        self.reshaped(picked, self.declared.shape.clone())
    }

    pub(super) fn gather(&mut self) -> Result<ValueId, Pt2Error> {
        let (x, index) = (self.tensor("self")?, self.tensor("index")?);
        let axis = self.axis("dim", 0, self.rank(x))?;
        self.emit(Op::Gather { axis }, vec![x, index])
    }

    /// A border of one number around the last axes; where it is negative, the tensor is cut.
    pub(super) fn pad(&mut self) -> Result<ValueId, Pt2Error> {
        if self.word("mode", "constant")? != "constant" {
            return Err(self.wrong("expected mode constant"));
        }
        let mut x = self.tensor("self")?;
        let kind = self.declared.kind;
        let value = self.scalar("value", Scalar::Int(0))?;
        let value = self.as_kind(Operand::Scalar(value), kind)?;
        let widths = self.widths("pad")?;
        let rank = self.rank(x);
        for (i, pair) in widths.chunks(2).enumerate() {
            let Some(axis) = rank.checked_sub(i + 1) else {
                return Err(self.wrong("expected widths for no more axes than there are"));
            };
            let [before, after] = pair else {
                return Err(self.wrong("expected two widths for each axis"));
            };
            let mut parts = vec![x];
            for (width, at) in [(before, 0), (after, 1)] {
                let negative =
                    width.bounds(&self.lowering.trace.symbols).is_none_or(|(low, _)| low < 0);
                if negative {
                    return Err(self.wrong("expected widths of at least 0"));
                }
                if *width != Dim::fixed(0) {
                    let mut ty = self.ty(x).clone();
                    ty.shape[axis] = width.clone();
                    let border = self.push(Op::Full, vec![value], ty)?;
                    parts.insert(at * parts.len(), border);
                }
            }
            if parts.len() > 1 {
                let mut ty = self.ty(x).clone();
                let whole =
                    ty.shape[axis].checked_add(before).and_then(|sum| sum.checked_add(after));
                ty.shape[axis] =
                    whole.ok_or_else(|| self.wrong("a width past the limits of a size"))?;
                x = self.push(Op::Concat { axis }, parts, ty)?;
            }
        }
        Ok(x)
    }

    fn widths(&self, name: &str) -> Result<Vec<Dim>, Pt2Error> {
        match self.argument(name) {
            Some(Argument::Ints(ints)) => Ok(ints.iter().map(|&n| expr::number(n)).collect()),
            Some(Argument::SymInts(sizes)) => {
                let size = |size: &SymIntArgument| match size {
                    SymIntArgument::Int(n) => Ok(expr::number(*n)),
                    SymIntArgument::Name(name) => self.lowering.named_size(name),
                };
                sizes.iter().map(size).collect()
            }
            _ => Err(self.wrong(format!("expected argument `{name}` to be a list of widths"))),
        }
    }
}
