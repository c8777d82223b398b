//! The arena: slots hold their buffers, and no buffer is written over while it is needed.

use std::collections::BTreeSet;

use super::{CheckError, Fault, at, check_rows, entry};
use crate::program::{Buffer, Operand, Program};

/// Checks that every slot counts each kind of rows once, in whole elements, and has room for its buffers.
pub(super) fn check_slots(program: &Program) -> Result<(), CheckError> {
    for (i, slot) in program.slots.iter().enumerate() {
        let here = |fault| at("slot", i, None, fault);
        let mut seen = BTreeSet::new();
        for need in &slot.needs {
            check_rows(need.rows, program).map_err(here)?;
            if !seen.insert(need.rows) {
                return Err(here(Fault::NeedTwice { rows: need.rows }));
            }
            let (element, found) = (program.dtype.bytes(), need.bytes_per_row);
            if !found.is_multiple_of(element) {
                return Err(here(Fault::NeedBytes { element, found }));
            }
        }
    }
    for (i, buffer) in program.buffers.iter().enumerate() {
        check_buffer(buffer, program)
            .map_err(|fault| at("buffer", i, Some(&buffer.name), fault))?;
    }
    Ok(())
}

fn check_buffer(buffer: &Buffer, program: &Program) -> Result<(), Fault> {
    check_rows(buffer.rows, program)?;
    if buffer.width == 0 {
        return Err(Fault::NoColumns);
    }
    let expected = buffer.width.checked_mul(program.dtype.bytes()).ok_or(Fault::TooLarge)?;
    let slot = entry(&program.slots, "slots", buffer.slot)?;
    let need = slot.needs.iter().find(|need| need.rows == buffer.rows);
    let found = need.map_or(0, |need| need.bytes_per_row);
    if found < expected {
        return Err(Fault::SlotTooSmall { slot: buffer.slot, expected, found });
    }
    Ok(())
}

/// Checks that buffers are written once, before they are read, and stay until nothing needs them. Indices must have
/// been checked.
pub(super) fn check_lives(program: &Program) -> Result<(), CheckError> {
    let mut written: Vec<Option<usize>> = vec![None; program.buffers.len()];
    // The last step that needs a buffer; the end of the steps for what is given out.
    let mut last: Vec<usize> = vec![0; program.buffers.len()];
    for (i, step) in program.steps.iter().enumerate() {
        let here = |fault| at("step", i, Some(&step.name), fault);
        for operand in &step.operands {
            if let Operand::View(view) = operand {
                if written[view.buffer as usize].is_none() {
                    return Err(here(Fault::Unwritten { buffer: view.buffer }));
                }
                last[view.buffer as usize] = i;
            }
        }
        let output = step.output as usize;
        if let Some(other) = written[output] {
            return Err(here(Fault::WrittenTwice { buffer: step.output, other }));
        }
        written[output] = Some(i);
        last[output] = i;
    }
    for (i, output) in program.outputs.iter().enumerate() {
        if written[output.buffer as usize].is_none() {
            let fault = Fault::Unwritten { buffer: output.buffer };
            return Err(at("output", i, Some(&output.name), fault));
        }
        last[output.buffer as usize] = program.steps.len();
    }
    // The latest buffer of a slot decides: it was checked against those before it.
    let mut latest: Vec<Option<u32>> = vec![None; program.slots.len()];
    for (i, step) in program.steps.iter().enumerate() {
        let slot = program.buffers[step.output as usize].slot;
        if let Some(live) = latest[slot as usize].replace(step.output)
            && last[live as usize] >= i
        {
            return Err(at("step", i, Some(&step.name), Fault::Overlap { slot, live }));
        }
    }
    Ok(())
}
