//! Every address that a run uses, worked out and checked once for each size class.

use bytec_plan::program::{Buffer, Program};

use super::code::{Code, Place};
use super::driver::Pointer;
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

/// The blocks that a layout is about.
pub(super) struct Blocks<'a> {
    pub(super) slots: &'a [Option<Block>],
    pub(super) batch: &'a Block,
}

impl Addresses {
    /// Works out all addresses; `None` if anything lies outside its memory.
    pub(super) fn renew(
        &mut self,
        code: &Code,
        program: &Program,
        layout: &Layout,
        blocks: &Blocks<'_>,
        batch: &PackedBatch,
    ) -> Option<()> {
        let Addresses { args, births, parts, outputs } = self;
        args.clear();
        births.clear();
        parts.clear();
        outputs.clear();
        for range in &layout.parts {
            let bytes = range.end.checked_sub(range.start)?;
            parts.push(Span { pointer: blocks.batch.at(range.start, bytes)?, bytes });
        }
        let slot = |buffer: &Buffer| {
            let room = *layout.slots.get(buffer.slot as usize)?;
            let rows = size_class(batch.rows(buffer.rows))? as u64;
            let needed = buffer.width.checked_mul(program.dtype.bytes())?.checked_mul(rows)?;
            let pointer = blocks.slots.get(buffer.slot as usize)?.as_ref()?.at(0, room)?;
            (needed <= room).then_some(Span { pointer, bytes: room })
        };
        for (step, launch) in Code::launches(program) {
            births.push(slot(program.buffers.get(step.output as usize)?)?);
            for arg in &launch.args {
                args.push(match code.place(*arg, step, program)? {
                    Place::Weight(pointer) => pointer.0,
                    Place::Part(part) => parts.get(part)?.pointer.0,
                    Place::Buffer { buffer, column } => {
                        let buffer = program.buffers.get(buffer as usize)?;
                        let first = column.checked_mul(program.dtype.bytes())?;
                        slot(buffer)?.pointer.0.checked_add(first)?
                    }
                });
            }
        }
        for output in &program.outputs {
            outputs.push(slot(program.buffers.get(output.buffer as usize)?)?.pointer);
        }
        Some(())
    }
}
