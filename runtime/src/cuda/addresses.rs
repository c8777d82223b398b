//! Every address that a run uses, worked out and checked once for each size class.

use bytec_plan::device::{Arg, Map};
use bytec_plan::program::{Buffer, DType, Operand, Program, Step};

use super::code::{Code, Place};
use super::driver::{DriverError, Pointer, TensorMap};
use super::layout::Layout;
use super::memory::Block;
use crate::arena::size_class;
use crate::batch::PackedBatch;

/// Addresses for batches of one size class.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// The arguments of all launches, one launch after the other.
    pub(super) args: Vec<u64>,
    /// For each step the slot that it writes.
    pub(super) births: Vec<Span>,
    /// For each part of the batch its room.
    pub(super) parts: Vec<Span>,
    /// For each output its first element.
    pub(super) outputs: Vec<Pointer>,
}

/// Some device memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) pointer: Pointer,
    pub(super) bytes: u64,
}

impl Span {
    /// What is left past the first `used` bytes; `None` if nothing is.
    pub(super) fn tail(self, used: u64) -> Option<Span> {
        let bytes = self.bytes.checked_sub(used).filter(|bytes| *bytes > 0)?;
        // Inside the span, whose end was found to be an address.
        Some(Span { pointer: Pointer(self.pointer.0 + used), bytes })
    }
}

/// What a tensor map is about, for all batches of this one's size class; `None` if sizes overflow.
fn matrix(
    map: Map,
    address: Pointer,
    step: &Step,
    program: &Program,
    batch: &PackedBatch,
) -> Option<TensorMap> {
    let (stride, _) = map.stride_and_start(step, program)?;
    let class = |rows| size_class(batch.rows(rows)).map(|rows| rows as u64);
    let rows = match *step.operands.get(map.operand as usize)? {
        Operand::View(view) => class(program.buffers.get(view.buffer as usize)?.rows)?,
        Operand::Input(input) => class(program.inputs.get(input as usize)?.rows)?,
        Operand::Weight(weight) => {
            program.weights.get(weight as usize)?.bytes.checked_div(stride)?
        }
    };
    let bf16 = program.dtype == DType::Bf16;
    let (columns, heads) = (map.columns.into(), map.heads.map(u64::from));
    let (box_rows, span) = (map.rows, map.span);
    Some(TensorMap { address, bf16, columns, heads, rows, stride, box_rows, span })
}

/// The blocks that a layout is about.
pub(super) struct Blocks<'a> {
    pub(super) slots: &'a [Option<Block>],
    pub(super) batch: &'a Block,
}

impl Addresses {
    /// Works out all addresses.
    ///
    /// # Errors
    /// `None` if anything lies outside its memory, or what the driver says of a tensor map.
    pub(super) fn renew(
        &mut self,
        code: &Code,
        program: &Program,
        layout: &Layout,
        blocks: &Blocks<'_>,
        batch: &PackedBatch,
    ) -> Result<(), Option<DriverError>> {
        let Addresses { args, births, parts, outputs } = self;
        args.clear();
        births.clear();
        parts.clear();
        outputs.clear();
        for range in &layout.parts {
            let bytes = range.end.checked_sub(range.start).ok_or(None)?;
            let pointer = blocks.batch.at(range.start, bytes).ok_or(None)?;
            parts.push(Span { pointer, bytes });
        }
        let slot = |buffer: &Buffer| {
            let room = *layout.slots.get(buffer.slot as usize)?;
            let rows = size_class(batch.rows(buffer.rows))? as u64;
            let needed = buffer.width.checked_mul(program.dtype.bytes())?.checked_mul(rows)?;
            let pointer = blocks.slots.get(buffer.slot as usize)?.as_ref()?.at(0, room)?;
            (needed <= room).then_some(Span { pointer, bytes: room })
        };
        for (step, launch) in Code::launches(program, batch) {
            let output = program.buffers.get(step.output as usize);
            births.push(output.and_then(slot).ok_or(None)?);
            for arg in &launch.args {
                let place = code.place(*arg, step, program).ok_or(None)?;
                let address = match place {
                    Place::Weight(pointer) => Some(pointer.0),
                    Place::Part(part) => parts.get(part).map(|part| part.pointer.0),
                    Place::Buffer { buffer, column } => {
                        let buffer = program.buffers.get(buffer as usize);
                        let first = column.checked_mul(program.dtype.bytes());
                        let start = buffer.and_then(slot).map(|slot| slot.pointer.0);
                        start.zip(first).and_then(|(start, first)| start.checked_add(first))
                    }
                };
                let address = Pointer(address.ok_or(None)?);
                let Arg::Map(map) = *arg else {
                    args.push(address.0);
                    continue;
                };
                let map = matrix(map, address, step, program, batch).ok_or(None)?;
                // Without rows there is nothing to describe, and nothing is launched.
                let words = if map.rows == 0 { [0; 16] } else { code.driver.tensor_map(&map)? };
                args.extend(words);
            }
        }
        for output in &program.outputs {
            let buffer = program.buffers.get(output.buffer as usize);
            outputs.push(buffer.and_then(slot).ok_or(None)?.pointer);
        }
        Ok(())
    }
}
