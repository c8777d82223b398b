//! How much memory everything takes on the device, the same for all batches of a size class.

use std::ops::Range;

use bytec_plan::extent::Rows;
use bytec_plan::program::Program;

use super::tables::Part;
use crate::arena::size_class;
use crate::batch::PackedBatch;

/// Addresses on the device are multiples of this, as those that it gives out are.
const ALIGN: u64 = 256;

/// The sizes of slots, and the places of parts in the batch's block.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// The size class: samples, and rows for each extent. Empty while nothing is laid out.
    classes: Vec<usize>,
    /// Bytes of each slot of the arena.
    pub(super) slots: Vec<u64>,
    /// Where the parts lie.
    pub(super) parts: Vec<Range<u64>>,
    /// Bytes of all parts.
    pub(super) batch: u64,
}

impl Layout {
    /// Whether the layout is the one for this batch.
    pub(super) fn fits(&self, program: &Program, batch: &PackedBatch) -> bool {
        let classes = classes(program, batch);
        self.classes.iter().copied().map(Some).eq(classes) && !self.classes.is_empty()
    }

    /// The size class of the batches that the layout fits.
    pub(super) fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// Lays everything out for the batch's size class; `None` if sizes don't fit in 64 bits. The layout fits no batch
    /// until [`Layout::settle`].
    pub(super) fn renew(
        &mut self,
        program: &Program,
        parts: &[Part],
        batch: &PackedBatch,
    ) -> Option<()> {
        self.classes.clear();
        self.slots.clear();
        self.parts.clear();
        for slot in &program.slots {
            let mut bytes = 0;
            for need in &slot.needs {
                let rows = size_class(batch.rows(need.rows))? as u64;
                bytes = need.bytes_per_row.checked_mul(rows)?.max(bytes);
            }
            self.slots.push(bytes);
        }
        self.batch = 0;
        for part in parts {
            self.parts.push(place(&mut self.batch, part.room(program, batch)?)?);
        }
        Some(())
    }

    /// Says that there is memory for the layout, which now fits batches of this one's size class.
    pub(super) fn settle(&mut self, program: &Program, batch: &PackedBatch) {
        self.classes.extend(classes(program, batch).flatten());
    }
}

/// The batch's size class: of its samples, and of its rows for each extent.
fn classes(program: &Program, batch: &PackedBatch) -> impl Iterator<Item = Option<usize>> {
    let ragged = (0..program.extents.len() as u32).map(Rows::Ragged);
    std::iter::once(Rows::PerSample).chain(ragged).map(|rows| size_class(batch.rows(rows)))
}

/// The next `bytes` bytes after `end`, which moves on to the next multiple of [`ALIGN`].
fn place(end: &mut u64, bytes: u64) -> Option<Range<u64>> {
    let start = *end;
    *end = start.checked_add(bytes)?.checked_next_multiple_of(ALIGN)?;
    Some(start..start + bytes)
}
