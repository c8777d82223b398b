//! What a kernel gets: its operands as slices, the result's memory, the threads.

use std::mem::size_of;

use bytec_plan::extent::Rows;
use bytec_plan::program::{DType, Layout, Operand, Program, Step, WeightSpec};

use super::isa::Isa;
use super::matrix::Matrix;
use super::threads::{Scratchpad, Threads};
use crate::arena::{Line, Others, floats_mut};
use crate::batch::{Offsets, PackedBatch};
use crate::bytes::WeightBytes;
use crate::observe::ThreadSpan;

/// Memory of one thread, for numbers that don't outlive a task.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    lines: Vec<Line>,
    /// Of a run that is observed, since they were last taken.
    spans: Option<Vec<ThreadSpan>>,
}

impl Scratch {
    /// Room for at least `numbers` numbers; `None` if there is no memory for them.
    pub(crate) fn reserve(&mut self, numbers: usize) -> Option<()> {
        crate::arena::grow(&mut self.lines, numbers)
    }

    /// Notes from now on when its thread works, or no longer.
    pub(crate) fn observe(&mut self, observed: bool) {
        self.spans = observed.then(Vec::new);
    }

    /// All of it.
    pub(crate) fn numbers(&mut self) -> &mut [f32] {
        floats_mut(&mut self.lines)
    }
}

impl Scratchpad for Scratch {
    fn spans(&mut self) -> Option<&mut Vec<ThreadSpan>> {
        self.spans.as_mut()
    }
}

impl AsMut<[f32]> for Scratch {
    fn as_mut(&mut self) -> &mut [f32] {
        self.numbers()
    }
}

/// A step on its way through its kernel.
///
/// `bytec_plan::check` has made sure that operands are of the sorts, types and sizes that the kernel names, so the
/// methods below don't fail for a program that was loaded.
pub(crate) struct Args<'a> {
    pub(crate) program: &'a Program,
    pub(crate) step: &'a Step,
    pub(crate) batch: &'a PackedBatch,
    pub(crate) weights: WeightBytes<'a>,
    pub(crate) others: Others<'a>,
    /// The result: `rows` rows of `width` numbers.
    pub(crate) out: &'a mut [f32],
    pub(crate) out_rows: Rows,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) isa: Isa,
    pub(crate) threads: &'a Threads,
    pub(crate) scratch: &'a mut [Scratch],
    /// Bounds of bands of rows, kept between runs.
    pub(crate) bounds: &'a mut Vec<usize>,
    /// The sample of each band.
    pub(crate) owners: &'a mut Vec<usize>,
}

impl<'a> Args<'a> {
    /// What does not change while the kernel writes its result.
    pub(crate) fn operands(&self) -> Operands<'a> {
        Operands {
            program: self.program,
            step: self.step,
            batch: self.batch,
            weights: self.weights,
            others: self.others,
        }
    }
}

/// The operands of a step.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    program: &'a Program,
    step: &'a Step,
    pub(crate) batch: &'a PackedBatch,
    weights: WeightBytes<'a>,
    others: Others<'a>,
}

impl<'a> Operands<'a> {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.step.operands.len()
    }

    /// A weight's numbers, as they lie.
    pub(crate) fn weight(&self, operand: usize) -> &'a [f32] {
        let weight = spec(self.program, self.step, operand);
        debug_assert_eq!(weight.dtype, DType::F32, "the plan's check asks for floats");
        bytemuck::cast_slice(self.bytes(weight))
    }

    /// A weight's integers, as they lie.
    pub(crate) fn integers(&self, operand: usize) -> &'a [i32] {
        let weight = spec(self.program, self.step, operand);
        debug_assert_eq!(weight.dtype, DType::I32, "the plan's check asks for integers");
        bytemuck::cast_slice(self.bytes(weight))
    }

    /// The type of a weight's elements.
    pub(crate) fn dtype(&self, operand: usize) -> DType {
        spec(self.program, self.step, operand).dtype
    }

    /// A linear's weight as words of what is narrower than a number, as they lie.
    pub(crate) fn words(&self, operand: usize) -> &'a [u32] {
        let weight = spec(self.program, self.step, operand);
        let narrow = matches!(weight.layout, Layout::Pairs { .. } | Layout::Quads { .. });
        debug_assert!(narrow, "the plan's check asks for pairs of bf16 or quads of int8");
        bytemuck::cast_slice(self.bytes(weight))
    }

    /// A weight of rows.
    pub(crate) fn table(&self, operand: usize) -> Matrix<'a> {
        let (rows, width) = table_size(self.program, self.step, operand);
        Matrix::new(self.weight(operand), rows, width, 0, width)
    }

    fn bytes(&self, weight: &WeightSpec) -> &'a [u8] {
        let start = weight.offset as usize;
        &self.weights.0[start..start + weight.bytes as usize]
    }

    /// The kind of rows of a packed operand.
    pub(crate) fn rows(&self, operand: usize) -> Rows {
        rows(self.program, self.step, operand)
    }

    /// A packed operand's rows by sample.
    pub(crate) fn offsets(&self, operand: usize) -> Offsets<'a> {
        self.batch.offsets(self.rows(operand))
    }

    /// A packed operand.
    pub(crate) fn matrix(&self, operand: usize) -> Matrix<'a> {
        match self.step.operands[operand] {
            Operand::View(view) => {
                let buffer = &self.program.buffers[view.buffer as usize];
                let rows = self.batch.rows(buffer.rows);
                let stride = buffer.width as usize;
                let data = self.others.slot(buffer.slot as usize);
                Matrix::new(data, rows, stride, view.column as usize, view.width as usize)
            }
            Operand::Input(input) => {
                let spec = &self.program.inputs[input as usize];
                let (rows, width) = (self.batch.rows(spec.rows), spec.width as usize);
                Matrix::new(self.batch.floats(input as usize), rows, width, 0, width)
            }
            Operand::Weight(_) => unreachable!("the plan's check asks for packed rows"),
        }
    }

    /// An operand of one integer a row.
    pub(crate) fn ids(&self, operand: usize) -> &'a [i64] {
        match self.step.operands[operand] {
            Operand::Input(input) => self.batch.integers(input as usize),
            other => unreachable!("the plan's check asks for an input, found {other:?}"),
        }
    }
}

fn spec<'a>(program: &'a Program, step: &Step, operand: usize) -> &'a WeightSpec {
    match step.operands[operand] {
        Operand::Weight(weight) => &program.weights[weight as usize],
        other => unreachable!("the plan's check asks for a weight, found {other:?}"),
    }
}

/// Rows and columns of a weight that is a matrix.
pub(crate) fn table_size(program: &Program, step: &Step, operand: usize) -> (usize, usize) {
    match spec(program, step, operand).shape[..] {
        [rows, width] => (rows as usize, width as usize),
        ref other => unreachable!("the plan's check asks for a matrix, found {other:?}"),
    }
}

/// The kind of rows of a packed operand.
pub(crate) fn rows(program: &Program, step: &Step, operand: usize) -> Rows {
    match step.operands[operand] {
        Operand::View(view) => program.buffers[view.buffer as usize].rows,
        Operand::Input(input) => program.inputs[input as usize].rows,
        Operand::Weight(_) => unreachable!("the plan's check asks for packed rows"),
    }
}

/// Numbers of a result that are worth a task of their own.
pub(crate) const TASK: usize = (32 << 10) / size_of::<f32>();
