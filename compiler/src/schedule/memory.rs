//! The arena: values that are never alive together share a slot.
//!
//! A slot's size is not a number but a list of needs, bytes a row for each kind of rows; the runtime evaluates it for
//! a batch. Slots lie one after the other, so their addresses follow from the capacities alone.

use std::collections::BTreeMap;

use bytec_plan::extent::Rows;
use bytec_plan::program::{Need, Operand, Slot};

use super::Schedule;

/// Gives every buffer a slot. A step's output never shares with one of its operands; outputs live to the end.
pub fn assign(schedule: &mut Schedule) {
    let last_use = last_uses(schedule);
    let weight_of_rows = nominal_rows(schedule);
    let element = schedule.target.dtype().bytes();
    let mut slots: Vec<Slot> = Vec::new();
    let mut free: Vec<u32> = Vec::new();
    for (i, step) in schedule.steps.iter().enumerate() {
        let buffer = &schedule.buffers[step.output as usize];
        let need = Need { rows: buffer.rows, bytes_per_row: buffer.width * element };
        let best = free
            .iter()
            .enumerate()
            .min_by_key(|&(_, &slot)| fit(&slots[slot as usize], need, &weight_of_rows))
            .map(|(position, _)| position);
        let slot = match best {
            Some(position) => free.remove(position),
            None => {
                slots.push(Slot { needs: Vec::new() });
                (slots.len() - 1) as u32
            }
        };
        grow(&mut slots[slot as usize], need);
        schedule.buffers[step.output as usize].slot = slot;
        let mut dead: Vec<u32> = last_use
            .iter()
            .filter(|&(_, &last)| last == Some(i))
            .map(|(&buffer, _)| schedule.buffers[buffer as usize].slot)
            .collect();
        dead.sort_unstable();
        free.extend(dead);
    }
    schedule.slots = slots;
}

/// The step after which each buffer is dead; `None` for outputs.
fn last_uses(schedule: &Schedule) -> BTreeMap<u32, Option<usize>> {
    let mut last = BTreeMap::new();
    for (i, step) in schedule.steps.iter().enumerate() {
        last.insert(step.output, Some(i));
        for operand in &step.operands {
            if let Operand::View(view) = operand {
                last.insert(view.buffer, Some(i));
            }
        }
    }
    for output in &schedule.outputs {
        last.insert(output.buffer, None);
    }
    last
}

/// How many rows one sample of the largest size has, to weigh one kind of rows against another.
fn nominal_rows(schedule: &Schedule) -> BTreeMap<Rows, u64> {
    let largest: Vec<_> = schedule.symbols.iter().map(|symbol| symbol.max).collect();
    let mut rows = BTreeMap::from([(Rows::PerSample, 1)]);
    for (i, extent) in schedule.extents.iter().enumerate() {
        rows.insert(Rows::Ragged(i as u32), extent.eval(&largest).unwrap_or(u64::MAX));
    }
    rows
}

fn size(needs: &[Need], rows: &BTreeMap<Rows, u64>) -> u128 {
    let bytes = |need: &Need| {
        u128::from(need.bytes_per_row) * u128::from(rows.get(&need.rows).copied().unwrap_or(1))
    };
    needs.iter().map(bytes).max().unwrap_or(0)
}

/// How well a free slot takes a need: first by how much it grows, then by how much of it stays unused.
fn fit(slot: &Slot, need: Need, rows: &BTreeMap<Rows, u64>) -> (u128, u128) {
    let before = size(&slot.needs, rows);
    let wanted = size(&[need], rows);
    (wanted.saturating_sub(before), before.saturating_sub(wanted))
}

fn grow(slot: &mut Slot, need: Need) {
    match slot.needs.iter_mut().find(|old| old.rows == need.rows) {
        Some(old) => old.bytes_per_row = old.bytes_per_row.max(need.bytes_per_row),
        None => slot.needs.push(need),
    }
}

/// The arena as an expression, such as `max(1536*sum(L), 1536*samples) + 6144*sum(L)`, in bytes.
pub fn arena_expression(slots: &[Slot], extents: &[String]) -> String {
    let term = |need: &Need| match need.rows {
        Rows::PerSample => format!("{}*samples", need.bytes_per_row),
        Rows::Ragged(extent) => format!("{}*sum({})", need.bytes_per_row, extents[extent as usize]),
    };
    let slot = |slot: &Slot| {
        let terms: Vec<_> = slot.needs.iter().map(term).collect();
        if terms.len() == 1 { terms[0].clone() } else { format!("max({})", terms.join(", ")) }
    };
    let sizes: Vec<_> = slots.iter().map(slot).collect();
    if sizes.is_empty() { "0".to_owned() } else { sizes.join(" + ") }
}

/// True if two buffers would be written over each other: same slot, lives that overlap.
#[cfg(test)]
pub(crate) fn clashes(schedule: &Schedule) -> Vec<(String, String)> {
    let last_use = last_uses(schedule);
    let born: BTreeMap<u32, usize> =
        schedule.steps.iter().enumerate().map(|(i, step)| (step.output, i)).collect();
    let mut found = Vec::new();
    let name = |buffer: u32| &schedule.buffers[buffer as usize];
    for (&a, &born_a) in &born {
        for (&b, &born_b) in &born {
            let end_a = last_use[&a].unwrap_or(usize::MAX);
            if a != b && name(a).slot == name(b).slot && born_a <= born_b && born_b <= end_a {
                found.push((name(a).name.clone(), name(b).name.clone()));
            }
        }
    }
    found
}
