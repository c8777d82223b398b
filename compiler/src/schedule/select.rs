//! Gives every op its kernel, its operands and the reason.
//!
//! Ops on weights alone get no step: their value is a weight that the emitter computes. A slice of columns and a
//! reshape that keeps the rows get none either: they are views of the buffer.

use std::collections::BTreeMap;

use bytec_ir::ids::input_limits;
use bytec_ir::{Def, Dim, NodeId, Op, PoolKind, ReduceFn};
use bytec_plan::extent::Rows;
use bytec_plan::kernel::{Broadcast, IdSource, Instr, Kernel};
use bytec_plan::program::{
    Buffer, DType, InputSpec, Layout, Operand, OutputSpec, Step, SymbolSpec, View,
};

use super::functions::{chain, pooling, unary};
use super::shapes::{Extents, Matrix, row_axes};
use super::{Schedule, ScheduleError, WeightUse};
use crate::fuse::pack::{Packed, Placement};
use crate::target::Target;

/// Outputs in one panel of a linear's weight: two AVX-512 registers, or four of AVX2.
pub const PANEL_WIDTH: u32 = 32;

/// What was found for one op: the kernel, what it reads, and why.
type Choice = (Kernel, Vec<Operand>, String);

/// Selects a kernel for every op, in this order.
///
/// # Errors
/// All ops that no kernel computes.
pub fn select(
    packed: &Packed,
    order: &[NodeId],
    target: Target,
) -> Result<Schedule, ScheduleError> {
    let mut selector = Selector::new(packed, target);
    for &id in order {
        selector.visit(id);
    }
    let outputs = selector.outputs();
    if !selector.missing.is_empty() {
        return Err(ScheduleError::NoKernel { target, ops: selector.missing });
    }
    let symbols = packed
        .graph
        .symbols()
        .iter()
        .map(|range| SymbolSpec {
            name: range.symbol.name().to_owned(),
            min: range.min,
            max: range.max,
        })
        .collect();
    Ok(Schedule {
        target,
        symbols,
        extents: selector.extents.ragged.into_iter().map(|(_, extent)| extent).collect(),
        inputs: selector.inputs,
        outputs,
        weights: selector.weights,
        buffers: selector.buffers,
        slots: Vec::new(),
        steps: selector.steps,
    })
}

struct Selector<'a> {
    packed: &'a Packed,
    target: Target,
    extents: Extents,
    inputs: Vec<InputSpec>,
    input_index: BTreeMap<NodeId, u32>,
    /// How many rows the smallest table has that an input indexes.
    input_limits: BTreeMap<NodeId, Dim>,
    weights: Vec<WeightUse>,
    buffers: Vec<Buffer>,
    values: BTreeMap<NodeId, View>,
    steps: Vec<Step>,
    missing: Vec<String>,
}

impl<'a> Selector<'a> {
    fn new(packed: &'a Packed, target: Target) -> Self {
        let graph = &packed.graph;
        let mut selector = Self {
            packed,
            target,
            extents: Extents {
                symbols: graph.symbols().iter().map(|range| range.symbol.clone()).collect(),
                ragged: Vec::new(),
            },
            inputs: Vec::new(),
            input_index: BTreeMap::new(),
            input_limits: input_limits(graph),
            weights: Vec::new(),
            buffers: Vec::new(),
            values: BTreeMap::new(),
            steps: Vec::new(),
            missing: Vec::new(),
        };
        for id in graph.inputs() {
            selector.declare_input(id);
        }
        selector
    }

    fn placement(&self, id: NodeId) -> &'a Placement {
        &self.packed.placement[&id]
    }

    fn matrix(&mut self, id: NodeId) -> Result<Matrix, String> {
        let placement = self.placement(id);
        self.extents.matrix(placement, self.packed.graph.ty(id))
    }

    fn declare_input(&mut self, id: NodeId) {
        let graph = &self.packed.graph;
        let matrix = match self.matrix(id) {
            Ok(matrix) => matrix,
            Err(why) => return self.missing.push(format!("  input %{}: {why}", graph.name(id))),
        };
        let Def::Input { default } = graph.node(id).def else { return };
        let ty = graph.ty(id);
        self.input_index.insert(id, self.inputs.len() as u32);
        self.inputs.push(InputSpec {
            name: graph.name(id).to_owned(),
            dtype: if ty.dtype.is_float() { DType::F32 } else { DType::I64 },
            shape: ty.shape.iter().map(|dim| self.extents.extent(dim)).collect(),
            rows: matrix.rows,
            width: matrix.width,
            default,
            below: self.input_limits.get(&id).and_then(|rows| rows.as_fixed()),
        });
    }

    fn visit(&mut self, id: NodeId) {
        let graph = &self.packed.graph;
        let Some(op) = graph.op(id) else { return };
        // Positions have no step of their own: the kernels that read them count rows.
        if *self.placement(id) == Placement::Shared || matches!(op, Op::Iota { .. }) {
            return;
        }
        // An op after one that has no kernel says nothing new.
        if graph.operands(id).into_iter().any(|x| self.unknown(x)) {
            return;
        }
        let outcome = self.view_of(id, op).and_then(|view| match view {
            Some(view) => Ok(view),
            None => {
                let matrix = self.matrix(id)?;
                let choice = self.choose(id, op, matrix)?;
                Ok(self.push_step(graph.name(id), matrix, choice))
            }
        });
        match outcome {
            Ok(view) => {
                self.values.insert(id, view);
            }
            Err(why) => self.missing.push(format!(
                "  {} at %{} ({}): {why}",
                op.kind(),
                graph.name(id),
                graph.ty(id)
            )),
        }
    }

    /// True for the result of an op that got no kernel.
    fn unknown(&self, id: NodeId) -> bool {
        let op = self.packed.graph.op(id);
        op.is_some_and(|op| !matches!(op, Op::Iota { .. }))
            && *self.placement(id) != Placement::Shared
            && !self.values.contains_key(&id)
    }

    /// The columns of an earlier buffer that the op's result is, if it needs no step.
    fn view_of(&mut self, id: NodeId, op: &Op) -> Result<Option<View>, String> {
        let graph = &self.packed.graph;
        let operands = graph.operands(id);
        match op {
            Op::Slice { axis, start, end } => {
                let x = operands[0];
                let column_axis = row_axes(self.placement(x), graph.ty(x));
                if *axis != column_axis || graph.ty(x).rank() != column_axis + 1 {
                    return Err("only columns of [rows, width] can be sliced".to_owned());
                }
                let Some(view) = self.values.get(&x) else { return Ok(None) };
                Ok(Some(View {
                    buffer: view.buffer,
                    column: view.column + *start as u64,
                    width: (end - start) as u64,
                }))
            }
            // One place of the first axis after the rows: the columns that it takes up.
            Op::Select { axis, index }
                if *axis == row_axes(self.placement(operands[0]), graph.ty(operands[0])) =>
            {
                let width = self.matrix(id)?.width;
                let view = self.values.get(&operands[0]);
                Ok(view.map(|view| View {
                    buffer: view.buffer,
                    column: view.column + *index as u64 * width,
                    width,
                }))
            }
            Op::Reshape { .. } if self.matrix(id)? == self.matrix(operands[0])? => {
                Ok(self.values.get(&operands[0]).copied())
            }
            _ => Ok(None),
        }
    }

    /// How a linear's weight lies for the target, and why.
    fn linear_layout(&self) -> (Layout, &'static str) {
        match self.target {
            Target::Cpu => {
                let layout = Layout::Panels { width: PANEL_WIDTH };
                (layout, "the weight is constant: panels for the registers, k ascending")
            }
            Target::Cuda { .. } => {
                (Layout::RowMajor, "the weight is constant: rows of k for 16-byte copies")
            }
        }
    }

    fn push_step(
        &mut self,
        name: &str,
        matrix: Matrix,
        (kernel, operands, reason): Choice,
    ) -> View {
        let output = self.buffers.len() as u32;
        self.buffers.push(Buffer {
            name: name.to_owned(),
            rows: matrix.rows,
            width: matrix.width,
            slot: 0,
        });
        self.steps.push(Step { name: name.to_owned(), kernel, operands, output, reason });
        View { buffer: output, column: 0, width: matrix.width }
    }

    fn choose(&mut self, id: NodeId, op: &Op, out: Matrix) -> Result<Choice, String> {
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
            Op::Attention { heads, head_size, scale } => {
                let q = self.rows_of(xs[0], out.rows, Some(out.width))?;
                let kv_rows = self.matrix(xs[1])?.rows;
                let k = self.rows_of(xs[1], kv_rows, Some(out.width))?;
                let v = self.rows_of(xs[2], kv_rows, Some(out.width))?;
                let kernel = Kernel::Attention {
                    heads: *heads as u32,
                    head_size: *head_size as u32,
                    scale: scale.0 as f32,
                };
                Ok((kernel, vec![q.0, k.0, v.0], "scores never leave the kernel".to_owned()))
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
            Op::Pointwise { expr } => {
                let (operands, broadcasts) = self.broadcast(&xs, out)?;
                let kernel = Kernel::Pointwise { width, operands: broadcasts, body: chain(expr) };
                Ok((kernel, operands, "generated from the chain's expression".to_owned()))
            }
            Op::Iota { .. }
            | Op::MatMul {}
            | Op::Unary { .. }
            | Op::Binary { .. }
            | Op::Reduce { .. }
            | Op::Select { .. }
            | Op::Slice { .. }
            | Op::Concat { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. } => {
                Err("it did not fuse into an op that has a kernel".to_owned())
            }
        }
    }

    fn embed(&mut self, pairs: &[NodeId], out: Matrix, eps: Option<f32>) -> Result<Choice, String> {
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
            let index = *self.input_index.get(&pair[1]).ok_or_else(|| {
                format!("ids %{} are neither an input nor positions", graph.name(pair[1]))
            })?;
            let ids = self.matrix(pair[1])?;
            if ids != (Matrix { rows: out.rows, width: 1 }) {
                return Err(format!("ids %{} must hold one id a row", graph.name(pair[1])));
            }
            sources.push(IdSource::Input);
            operands.push(Operand::Input(index));
        }
        let reason = format!("{} tables summed row by row", sources.len());
        Ok((Kernel::Embed { sources, width: out.width as u32, eps }, operands, reason))
    }

    fn layer_norm(
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
            if self.matrix(vector)?.width != out.width {
                return Err("it normalises a part of the row".to_owned());
            }
            operands.push(self.weight(vector, Layout::RowMajor)?);
        }
        let residual = rows.len() > 1;
        let kernel = Kernel::LayerNorm { width: out.width as u32, eps, residual };
        let reason = if residual { "the sum is normalised in one pass" } else { "row by row" };
        Ok((kernel, operands, reason.to_owned()))
    }

    fn pool(
        &mut self,
        x: NodeId,
        out: Matrix,
        kind: bytec_plan::kernel::PoolKind,
        normalize: Option<f32>,
    ) -> Result<Choice, String> {
        let matrix = self.matrix(x)?;
        if matrix.rows == Rows::PerSample {
            return Err("only a ragged axis can be pooled".to_owned());
        }
        let operand = self.rows_of(x, matrix.rows, Some(out.width))?.0;
        let kernel = Kernel::Pool { pooling: kind, width: out.width as u32, normalize };
        Ok((kernel, vec![operand], "rows of a sample become one".to_owned()))
    }

    /// Refuses a value whose rows hold more than one vector of the last axis.
    fn one_axis(&mut self, id: NodeId) -> Result<(), String> {
        let last = self.packed.graph.ty(id).shape.last().and_then(|dim| dim.as_fixed());
        if last == Some(self.matrix(id)?.width) {
            Ok(())
        } else {
            Err("the last axis is a part of the row".to_owned())
        }
    }

    /// A value as rows to read, with its width; it must have these rows and, if given, this width.
    fn rows_of(
        &mut self,
        id: NodeId,
        rows: Rows,
        width: Option<u64>,
    ) -> Result<(Operand, u64), String> {
        let graph = &self.packed.graph;
        if *self.placement(id) == Placement::Shared {
            return Err(format!("%{} is a weight where rows are read", graph.name(id)));
        }
        let matrix = self.matrix(id)?;
        if matrix.rows != rows || width.is_some_and(|width| width != matrix.width) {
            return Err(format!(
                "%{} ({}) does not have the rows that are read",
                graph.name(id),
                graph.ty(id)
            ));
        }
        if let Some(&index) = self.input_index.get(&id) {
            return Ok((Operand::Input(index), matrix.width));
        }
        let view = self
            .values
            .get(&id)
            .ok_or_else(|| format!("%{} has no kernel itself", graph.name(id)))?;
        Ok((Operand::View(*view), matrix.width))
    }

    fn weight(&mut self, id: NodeId, layout: Layout) -> Result<Operand, String> {
        if *self.placement(id) != Placement::Shared {
            let name = self.packed.graph.name(id);
            return Err(format!("%{name} depends on the sample where a weight is read"));
        }
        let shape = &self.packed.graph.ty(id).shape;
        let shape = shape.iter().filter_map(|dim| dim.as_fixed()).collect();
        let wanted = WeightUse { value: id, shape, layout };
        let index = self.weights.iter().position(|known| *known == wanted).unwrap_or_else(|| {
            self.weights.push(wanted);
            self.weights.len() - 1
        });
        Ok(Operand::Weight(index as u32))
    }

    fn broadcast(
        &mut self,
        xs: &[NodeId],
        out: Matrix,
    ) -> Result<(Vec<Operand>, Vec<Broadcast>), String> {
        let mut operands = Vec::new();
        let mut broadcasts = Vec::new();
        for &x in xs {
            let graph = &self.packed.graph;
            let matrix = self.matrix(x)?;
            let shared = *self.placement(x) == Placement::Shared;
            let broadcast = match (shared, matrix.width == out.width, matrix.rows == out.rows) {
                (true, _, _) if matrix.width == 1 => Broadcast::Scalar,
                (true, true, _) => Broadcast::Row,
                (false, true, true) => Broadcast::Full,
                (false, true, false) if matrix.rows == Rows::PerSample => Broadcast::Sample,
                _ => {
                    return Err(format!(
                        "%{} ({}) does not repeat over whole rows of {}",
                        graph.name(x),
                        graph.ty(x),
                        out.width
                    ));
                }
            };
            operands.push(if shared {
                self.weight(x, Layout::RowMajor)?
            } else {
                self.rows_of(x, matrix.rows, None)?.0
            });
            broadcasts.push(broadcast);
        }
        Ok((operands, broadcasts))
    }

    /// The outputs; one that is not a whole buffer is copied into one.
    fn outputs(&mut self) -> Vec<OutputSpec> {
        let graph = &self.packed.graph;
        let mut outputs = Vec::new();
        for output in graph.outputs() {
            match self.output_buffer(output.value) {
                Ok(buffer) => {
                    let shape = &graph.ty(output.value).shape;
                    let shape = shape.iter().map(|dim| self.extents.extent(dim)).collect();
                    outputs.push(OutputSpec { name: output.name.clone(), shape, buffer });
                }
                // An op that has no kernel has been named already.
                Err(why) if self.missing.is_empty() => {
                    self.missing.push(format!("  output {}: {why}", output.name));
                }
                Err(_) => {}
            }
        }
        outputs
    }

    fn output_buffer(&mut self, id: NodeId) -> Result<u32, String> {
        let graph = &self.packed.graph;
        if !graph.ty(id).dtype.is_float() {
            return Err(format!("{} is not a float", graph.ty(id)));
        }
        let matrix = self.matrix(id)?;
        if let Some(view) = self.values.get(&id)
            && view.column == 0
            && view.width == self.buffers[view.buffer as usize].width
        {
            return Ok(view.buffer);
        }
        let (operands, broadcasts) = self.broadcast(&[id], matrix)?;
        let body = vec![Instr::Operand(0)];
        let kernel = Kernel::Pointwise { width: matrix.width as u32, operands: broadcasts, body };
        let reason = "an output is a buffer of its own".to_owned();
        Ok(self.push_step(graph.name(id), matrix, (kernel, operands, reason)).buffer)
    }
}
