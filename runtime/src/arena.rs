//! The arena: one aligned block of memory, cut into the program's slots.

use std::ops::Range;

use bytec_plan::program::Program;
use bytemuck::{Pod, Zeroable};

use crate::batch::PackedBatch;

/// A cache line of numbers; memory in lines is aligned for every vector instruction.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; Line::NUMBERS]);

impl Line {
    /// Numbers of a line.
    const NUMBERS: usize = 16;

    const ZERO: Line = Line([0.0; Line::NUMBERS]);
    const NAN: Line = Line([f32::NAN; Line::NUMBERS]);
}

/// The numbers of some lines.
pub(crate) fn floats(lines: &[Line]) -> &[f32] {
    bytemuck::cast_slice(lines)
}

/// The numbers of some lines.
pub(crate) fn floats_mut(lines: &mut [Line]) -> &mut [f32] {
    bytemuck::cast_slice_mut(lines)
}

/// Makes room for `numbers` numbers, which keep their values; `None` if there is no memory for them. Never shrinks.
pub(crate) fn grow(lines: &mut Vec<Line>, numbers: usize) -> Option<()> {
    let wanted = numbers.div_ceil(Line::NUMBERS);
    if wanted > lines.len() {
        lines.try_reserve_exact(wanted - lines.len()).ok()?;
        lines.resize(wanted, Line::ZERO);
    }
    Some(())
}

/// Fills memory with NaN, so that a read of what was not written shows.
pub(crate) fn poison(lines: &mut [Line]) {
    lines.fill(Line::NAN);
}

/// The size that a size is rounded up to, so that batches of about the same size need the same memory: an eighth of a
/// power of two at a time. `None` if it does not fit.
pub(crate) fn size_class(size: usize) -> Option<usize> {
    let bits = usize::BITS - size.leading_zeros();
    size.checked_next_multiple_of(1 << bits.saturating_sub(4))
}

/// Memory for the program's buffers.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    lines: Vec<Line>,
    /// The lines of each slot.
    slots: Vec<Range<usize>>,
}

impl Arena {
    /// An arena that has no memory yet.
    pub(crate) fn new(program: &Program) -> Arena {
        Arena { lines: Vec::new(), slots: vec![0..0; program.slots.len()] }
    }

    /// Lays the slots out for a batch; `None` if there is no memory for them. Allocates only if the batch is of a
    /// larger size class than those before it.
    pub(crate) fn lay_out(&mut self, program: &Program, batch: &PackedBatch) -> Option<()> {
        let mut end = 0usize;
        for (range, slot) in self.slots.iter_mut().zip(&program.slots) {
            let mut bytes = 0;
            for need in &slot.needs {
                let rows = size_class(batch.rows(need.rows))?;
                let need = usize::try_from(need.bytes_per_row).ok()?.checked_mul(rows)?;
                bytes = need.max(bytes);
            }
            let start = end;
            end = end.checked_add(bytes.div_ceil(size_of::<Line>()))?;
            *range = start..end;
        }
        grow(&mut self.lines, end.checked_mul(Line::NUMBERS)?)
    }

    /// Fills all slots with NaN.
    pub(crate) fn poison(&mut self) {
        poison(&mut self.lines);
    }

    /// Bytes that the arena holds.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    /// One slot to write, all others to read.
    pub(crate) fn split(&mut self, slot: usize) -> (&mut [f32], Others<'_>) {
        let out = self.slots[slot].clone();
        let (before, rest) = self.lines.split_at_mut(out.start);
        let (written, after) = rest.split_at_mut(out.len());
        let others = Others { before, after, after_from: out.end, slots: &self.slots };
        (floats_mut(written), others)
    }

    /// One slot to read.
    pub(crate) fn slot(&self, slot: usize) -> &[f32] {
        floats(&self.lines[self.slots[slot].clone()])
    }
}

/// All slots but one.
#[derive(Clone, Copy)]
pub(crate) struct Others<'a> {
    before: &'a [Line],
    after: &'a [Line],
    /// The line at which `after` begins.
    after_from: usize,
    slots: &'a [Range<usize>],
}

impl<'a> Others<'a> {
    /// A slot's numbers. The plan's check refuses a step that reads the slot which it writes.
    pub(crate) fn slot(&self, slot: usize) -> &'a [f32] {
        let range = self.slots[slot].clone();
        if range.end <= self.before.len() {
            floats(&self.before[range])
        } else {
            floats(&self.after[range.start - self.after_from..range.end - self.after_from])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_ascend_and_waste_at_most_an_eighth() {
        let mut last = 0;
        for size in 0..100_000 {
            let class = size_class(size).unwrap();
            assert!(class >= size && class >= last && class <= size + size / 8, "{size}: {class}");
            assert_eq!(size_class(class), Some(class));
            last = class;
        }
        assert_eq!(size_class(usize::MAX), None);
    }
}
