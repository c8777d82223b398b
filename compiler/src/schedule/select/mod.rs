//! Gives every op its kernel, its operands and the reason. `kernels` picks the kernel of an op, `operands` finds what
//! it reads.
//!
//! Ops on weights alone get no step: their value is a weight that the emitter computes. A slice of columns and a
//! reshape that keeps the rows get none either: they are views of the buffer. Other views in a row are one copy.

mod attention;
mod kernels;
mod operands;
mod strided;

use std::collections::BTreeMap;

use bytec_ir::ids::input_limits;
use bytec_ir::{Def, Dim, NodeId, Op};
use bytec_plan::extent::Rows;
use bytec_plan::kernel::{Instr, Kernel};
use bytec_plan::program::{Buffer, DType, InputSpec, Operand, OutputSpec, Step, SymbolSpec, View};

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
    /// Values that are other values' elements in another order.
    strided: BTreeMap<NodeId, strided::Strided>,
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
            strided: BTreeMap::new(),
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
        let counted = matches!(op, Op::Iota { .. } | Op::Places { .. });
        if *self.placement(id) == Placement::Shared || counted {
            return;
        }
        // An op after one that has no kernel says nothing new.
        if graph.operands(id).into_iter().any(|x| self.unknown(x)) {
            return;
        }
        if let Err(why) = self.give(id, op) {
            self.missing.push(format!(
                "  {} at %{} ({}): {why}",
                op.kind(),
                graph.name(id),
                graph.ty(id)
            ));
        }
    }

    /// Whether the op is the first of the rows, of which the pooling makes one.
    fn first_row(&mut self, id: NodeId, op: &Op) -> Result<bool, String> {
        let (Op::Select { axis: 0, index: 0 }, &[x]) = (op, &self.packed.graph.operands(id)[..])
        else {
            return Ok(false);
        };
        let (row, rows) = (self.matrix(id)?, self.matrix(x)?);
        Ok(row.rows == Rows::PerSample && row.width == rows.width)
    }

    /// Gives an op its view or its step.
    fn give(&mut self, id: NodeId, op: &Op) -> Result<(), String> {
        let view = match self.view_of(id, op)? {
            Some(view) => view,
            // The first row of a sample is pooled: its kernel can do more with it.
            None if !self.first_row(id, op)? && self.moved(id, op)?.is_some() => return Ok(()),
            None => {
                if let Some(&x) = self.packed.graph.operands(id).first() {
                    self.write(x)?;
                }
                let matrix = self.matrix(id)?;
                let choice = self.choose(id, op, matrix)?;
                self.push_step(self.packed.graph.name(id), matrix, choice)
            }
        };
        self.values.insert(id, view);
        Ok(())
    }

    /// True for the result of an op that got no kernel.
    fn unknown(&self, id: NodeId) -> bool {
        let op = self.packed.graph.op(id);
        op.is_some_and(|op| !matches!(op, Op::Iota { .. } | Op::Places { .. }))
            && *self.placement(id) != Placement::Shared
            && !self.values.contains_key(&id)
            && !self.strided.contains_key(&id)
    }

    /// The columns of an earlier buffer that the op's result is, if it needs no step.
    fn view_of(&mut self, id: NodeId, op: &Op) -> Result<Option<View>, String> {
        let graph = &self.packed.graph;
        let operands = graph.operands(id);
        // A value that is not written has no columns.
        if operands
            .first()
            .is_some_and(|x| self.strided.contains_key(x) && !self.values.contains_key(x))
        {
            return Ok(None);
        }
        let column_axis = |this: &Self, x: NodeId| row_axes(this.placement(x), graph.ty(x));
        match op {
            Op::Slice { axis, start, end }
                if *axis == column_axis(self, operands[0])
                    && graph.ty(operands[0]).rank() == *axis + 1
                    && self.same_rows(id, operands[0])? =>
            {
                let x = operands[0];
                let view = self.buffer_of(x)?;
                Ok(view.map(|view| View {
                    buffer: view.buffer,
                    column: view.column + *start as u64,
                    width: (end - start) as u64,
                }))
            }
            // One place of the first axis after the rows: the columns that it takes up.
            Op::Select { axis, index }
                if *axis == column_axis(self, operands[0])
                    && self.same_rows(id, operands[0])? =>
            {
                let width = self.matrix(id)?.width;
                let view = self.buffer_of(operands[0])?;
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

    /// Whether two values have the same packed rows.
    fn same_rows(&mut self, a: NodeId, b: NodeId) -> Result<bool, String> {
        Ok(self.matrix(a)?.rows == self.matrix(b)?.rows)
    }

    /// The columns of a buffer that a value is. An input of floats, of which no columns can be read alone, is copied to
    /// one first; all its parts share the copy.
    fn buffer_of(&mut self, id: NodeId) -> Result<Option<View>, String> {
        if let Some(view) = self.values.get(&id) {
            return Ok(Some(*view));
        }
        let graph = &self.packed.graph;
        if !self.input_index.contains_key(&id) || !graph.ty(id).dtype.is_float() {
            return Ok(None);
        }
        let matrix = self.matrix(id)?;
        let (operands, broadcasts) = self.broadcast(&[id], matrix)?;
        let body = vec![Instr::Operand(0)];
        let kernel = Kernel::Pointwise { width: matrix.width as u32, operands: broadcasts, body };
        let reason = "parts of an input are read from a buffer".to_owned();
        let view = self.push_step(graph.name(id), matrix, (kernel, operands, reason));
        self.values.insert(id, view);
        Ok(Some(view))
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
        let (name, inner) = (name.to_owned(), Vec::new());
        self.steps.push(Step { name, inner, kernel, operands, output, reason });
        View { buffer: output, column: 0, width: matrix.width }
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
