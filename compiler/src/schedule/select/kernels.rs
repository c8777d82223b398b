//! The kernel of each op, and why.

use bytec_ir::{NodeId, Op, PoolKind, ReduceFn};
use bytec_plan::extent::Rows;
use bytec_plan::kernel::{IdSource, Joined, Kernel, Part};
use bytec_plan::program::{Layout, Operand};

use super::{Choice, PANEL_WIDTH, Selector, attention};
use crate::fuse::pack::Placement;
use crate::schedule::functions::{chain, pooling, unary};
use crate::schedule::shapes::{Matrix, row_axes};
use crate::target::Target;

impl Selector<'_> {
    pub(super) fn choose(&mut self, id: NodeId, op: &Op, out: Matrix) -> Result<Choice, String> {
        let xs = self.packed.graph.operands(id);
        let width = out.width as u32;
        match op {
            Op::Gather {} => self.embed(&xs, out, None),
            Op::EmbedLayerNorm { eps } => {
                let (affine, pairs) = xs.split_at(2);
                let (kernel, mut operands, reason) = self.embed(pairs, out, Some(eps.0 as f32))?;
                for &vector in affine {
                    operands.push(self.weight(vector, Layout::RowMajor)?);
                }
                Ok((kernel, operands, reason))
            }
            Op::Linear { epilogue } => {
                let x = self.rows_of(xs[0], out.rows, None)?;
                let (layout, reason) = self.linear_layout();
                let mut operands = vec![x.0, self.weight(xs[1], layout)?];
                if let Some(&bias) = xs.get(2) {
                    operands.push(self.weight(bias, Layout::RowMajor)?);
                }
                let kernel = Kernel::Linear {
                    n: width,
                    k: x.1 as u32,
                    bias: xs.len() > 2,
                    epilogue: epilogue.iter().map(|&f| unary(f)).collect(),
                };
                Ok((kernel, operands, reason.to_owned()))
            }
            Op::Attention { heads, head_size, group, scale, mask, bias, rotary } => {
                let heads = attention::Heads { count: *heads, size: *head_size, group: *group };
                self.attention(&xs, out, heads, scale.0, *mask, bias, *rotary)
            }
            Op::Rotary { heads, head_size, rotary } => {
                let heads = attention::Heads { count: *heads, size: *head_size, group: 1 };
                self.rotary(xs[0], out, heads, *rotary)
            }
            Op::RmsNorm { eps } => {
                let mut operands = vec![self.rows_of(xs[0], out.rows, Some(out.width))?.0];
                operands.push(self.row_weight(xs[1], out)?);
                let kernel = Kernel::RmsNorm { width, eps: eps.0 as f32 };
                Ok((kernel, operands, "row by row".to_owned()))
            }
            Op::Unfold { size, before } => {
                let (x, columns) = self.rows_of(xs[0], out.rows, None)?;
                let (size, before) = (*size as u32, *before as u32);
                let kernel = Kernel::Unfold { width: columns as u32, size, before };
                Ok((kernel, vec![x], "rows are copied beside their neighbours".to_owned()))
            }
            Op::LayerNorm { eps } => self.layer_norm(&xs[..1], &xs[1..], out, eps.0 as f32),
            Op::AddLayerNorm { eps } => self.layer_norm(&xs[..2], &xs[2..], out, eps.0 as f32),
            Op::L2Normalize { eps } => {
                let x = self.rows_of(xs[0], out.rows, Some(out.width))?;
                self.one_axis(id)?;
                let kernel = Kernel::L2Normalize { width, eps: eps.0 as f32 };
                Ok((kernel, vec![x.0], "row by row".to_owned()))
            }
            Op::Softmax {} => {
                let x = self.rows_of(xs[0], out.rows, Some(out.width))?;
                self.one_axis(id)?;
                Ok((Kernel::Softmax { width }, vec![x.0], "row by row".to_owned()))
            }
            Op::Pool { kind, normalize } => {
                let normalize = normalize.map(|eps| eps.0 as f32);
                self.pool(xs[0], out, pooling(*kind), normalize)
            }
            Op::Reduce { f, axis: 0 } => {
                let kind = match f {
                    ReduceFn::Mean => pooling(PoolKind::Mean),
                    ReduceFn::Max => pooling(PoolKind::Max),
                    ReduceFn::Sum => bytec_plan::kernel::PoolKind::Sum,
                };
                self.pool(xs[0], out, kind, None)
            }
            Op::Select { axis: 0, index: 0 } => self.pool(xs[0], out, pooling(PoolKind::Cls), None),
            Op::Concat { axis }
                if *axis < row_axes(self.placement(id), self.packed.graph.ty(id)) =>
            {
                self.join(&xs, out)
            }
            Op::Concat { axis } => self.concat(id, &xs, out, *axis),
            Op::Pointwise { expr } => {
                let (operands, broadcasts) = self.broadcast(&xs, out)?;
                let kernel = Kernel::Pointwise { width, operands: broadcasts, body: chain(expr) };
                Ok((kernel, operands, "generated from the chain's expression".to_owned()))
            }
            Op::Iota { .. }
            | Op::Places { .. }
            | Op::MatMul {}
            | Op::Unary { .. }
            | Op::Binary { .. }
            | Op::Reduce { .. }
            | Op::Select { .. }
            | Op::Slice { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. } => {
                Err("it did not fuse into an op that has a kernel".to_owned())
            }
        }
    }

    /// The rows of all operands, if the first axis counts them.
    fn join(&mut self, xs: &[NodeId], out: Matrix) -> Result<Choice, String> {
        if out.rows == Rows::PerSample {
            return Err("only rows can be joined".to_owned());
        }
        let (mut parts, mut operands) = (Vec::new(), Vec::new());
        for &x in xs {
            let matrix = self.matrix(x)?;
            if *self.placement(x) == Placement::Shared {
                let rows = u32::try_from(matrix.width / out.width)
                    .map_err(|_| "it joins too many shared rows".to_owned())?;
                parts.push(Joined::Shared { rows });
                operands.push(self.weight(x, Layout::RowMajor)?);
            } else {
                parts.push(Joined::Rows);
                operands.push(self.rows_of(x, matrix.rows, Some(out.width))?.0);
            }
        }
        let kernel = Kernel::Join { width: out.width as u32, parts };
        Ok((kernel, operands, "rows are copied behind one another".to_owned()))
    }

    /// How a linear's weight lies for the target, and why.
    pub(super) fn linear_layout(&self) -> (Layout, &'static str) {
        match self.target {
            // Those of int8 are chosen when all steps are known.
            Target::Cpu | Target::CpuInt8 => {
                let layout = Layout::Panels { width: PANEL_WIDTH };
                (layout, "the weight is constant: panels for the registers, k ascending")
            }
            Target::CpuBf16 => {
                let layout = Layout::Pairs { width: PANEL_WIDTH };
                (layout, "the weight is constant: bf16 in panels of pairs of k, ascending")
            }
            Target::Cuda { .. } => {
                (Layout::RowMajor, "the weight is constant: rows of k for 16-byte copies")
            }
        }
    }

    pub(super) fn embed(
        &mut self,
        pairs: &[NodeId],
        out: Matrix,
        eps: Option<f32>,
    ) -> Result<Choice, String> {
        let graph = &self.packed.graph;
        let mut sources = Vec::new();
        let mut operands = Vec::new();
        for pair in pairs.chunks(2) {
            operands.push(self.weight(pair[0], Layout::RowMajor)?);
            if let Some(Op::Iota { start, .. }) = graph.op(pair[1]) {
                let start = u32::try_from(*start)
                    .map_err(|_| format!("positions start at {start}, expected 0 or more"))?;
                sources.push(IdSource::Position { start });
                continue;
            }
            let (ids, source) = match graph.op(pair[1]) {
                Some(Op::Places { skip }) => {
                    let skip = u32::try_from(*skip).map_err(|_| {
                        format!("places of ids but {skip}, expected one of 32 bits")
                    })?;
                    (graph.operands(pair[1])[0], IdSource::Place { skip })
                }
                _ => (pair[1], IdSource::Input),
            };
            let index = *self.input_index.get(&ids).ok_or_else(|| {
                format!("ids %{} are neither an input nor positions", graph.name(ids))
            })?;
            let matrix = self.matrix(ids)?;
            if matrix != (Matrix { rows: out.rows, width: 1 }) {
                return Err(format!("ids %{} must hold one id a row", graph.name(ids)));
            }
            sources.push(source);
            operands.push(Operand::Input(index));
        }
        let reason = format!("{} tables summed row by row", sources.len());
        Ok((Kernel::Embed { sources, width: out.width as u32, eps }, operands, reason))
    }

    pub(super) fn layer_norm(
        &mut self,
        rows: &[NodeId],
        affine: &[NodeId],
        out: Matrix,
        eps: f32,
    ) -> Result<Choice, String> {
        let mut operands = Vec::new();
        for &x in rows {
            operands.push(self.rows_of(x, out.rows, Some(out.width))?.0);
        }
        for &vector in affine {
            operands.push(self.row_weight(vector, out)?);
        }
        let residual = rows.len() > 1;
        let kernel = Kernel::LayerNorm { width: out.width as u32, eps, residual };
        let reason = if residual { "the sum is normalised in one pass" } else { "row by row" };
        Ok((kernel, operands, reason.to_owned()))
    }

    /// A weight of as many elements as a row has.
    fn row_weight(&mut self, vector: NodeId, out: Matrix) -> Result<Operand, String> {
        if self.matrix(vector)?.width != out.width {
            return Err("it normalises a part of the row".to_owned());
        }
        self.weight(vector, Layout::RowMajor)
    }

    pub(super) fn pool(
        &mut self,
        x: NodeId,
        out: Matrix,
        kind: bytec_plan::kernel::PoolKind,
        normalize: Option<f32>,
    ) -> Result<Choice, String> {
        let matrix = self.matrix(x)?;
        if matrix.rows == Rows::PerSample {
            return Err("only several rows of a sample can be pooled".to_owned());
        }
        let operand = self.rows_of(x, matrix.rows, Some(out.width))?.0;
        let kernel = Kernel::Pool { pooling: kind, width: out.width as u32, normalize };
        Ok((kernel, vec![operand], "rows of a sample become one".to_owned()))
    }

    /// Rows of several values put together along an axis within them. The axes before it that are numbers say how often
    /// the values take turns in a row.
    fn concat(
        &mut self,
        id: NodeId,
        xs: &[NodeId],
        out: Matrix,
        axis: usize,
    ) -> Result<Choice, String> {
        let graph = &self.packed.graph;
        let ty = graph.ty(id);
        if !ty.dtype.is_float() {
            return Err("only floats are put side by side".to_owned());
        }
        let rows = row_axes(self.placement(id), ty);
        let groups = ty.shape[rows..axis].iter().filter_map(|dim| dim.as_fixed()).product::<u64>();
        let (mut operands, mut parts) = (Vec::new(), Vec::new());
        for &x in xs {
            let width = self.matrix(x)?.width;
            let weight = *self.placement(x) == Placement::Shared;
            if weight && out.rows != Rows::PerSample {
                return Err("only rows of the sample are put side by side".to_owned());
            }
            operands.push(match weight {
                true => self.weight(x, Layout::RowMajor)?,
                false => self.rows_of(x, out.rows, Some(width))?.0,
            });
            parts.push(Part { columns: (width / groups) as u32, weight });
        }
        let reason = format!("{} values side by side in one pass", xs.len());
        Ok((Kernel::Concat { groups: groups as u32, parts }, operands, reason))
    }

    /// Refuses a value whose rows hold more than one vector of the last axis.
    pub(super) fn one_axis(&mut self, id: NodeId) -> Result<(), String> {
        let last = self.packed.graph.ty(id).shape.last().and_then(|dim| dim.as_fixed());
        if last == Some(self.matrix(id)?.width) {
            Ok(())
        } else {
            Err("the last axis is a part of the row".to_owned())
        }
    }
}
