//! The arena: values that are never alive together share a slot.
//!
//! A slot's size is not a number but a list of needs, bytes a row for each kind of rows; the runtime evaluates it for
//! a batch. Slots lie one after the other, so their addresses follow from the capacities alone.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytec_plan::extent::Rows;
use bytec_plan::program::{Need, Operand, Slot};

use super::Schedule;

/// Gives every buffer a slot, the largest first: a buffer goes to the smallest slot that none of its contemporaries has.
///
/// A step's output never shares with one of its operands; outputs live to the end.
pub fn assign(schedule: &mut Schedule) {
    let lives = lives(schedule);
    let rows = nominal_rows(schedule);
    let element = schedule.target.dtype().bytes();
    let needs: Vec<Need> = schedule
        .buffers
        .iter()
        .map(|buffer| Need { rows: buffer.rows, bytes_per_row: buffer.width * element })
        .collect();
    let mut by_size: Vec<usize> = (0..needs.len()).collect();
    by_size.sort_by_key(|&i| (std::cmp::Reverse(size(&[needs[i]], &rows)), lives[i].start()));
    let mut slots: Vec<(Slot, Vec<usize>)> = Vec::new();
    for buffer in by_size {
        let free =
            |held: &[usize]| held.iter().all(|&other| !overlap(&lives[buffer], &lives[other]));
        let best = (0..slots.len())
            .filter(|&i| free(&slots[i].1))
            .min_by_key(|&i| fit(&slots[i].0, needs[buffer], &rows));
        let slot = best.unwrap_or_else(|| {
            slots.push((Slot { needs: Vec::new() }, Vec::new()));
            slots.len() - 1
        });
        grow(&mut slots[slot].0, needs[buffer]);
        slots[slot].1.push(buffer);
        schedule.buffers[buffer].slot = slot as u32;
    }
    schedule.slots = slots.into_iter().map(|(slot, _)| slot).collect();
}

fn overlap(a: &RangeInclusive<usize>, b: &RangeInclusive<usize>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

/// The steps during which each buffer lives: from the one that writes it to the last that reads it.
fn lives(schedule: &Schedule) -> Vec<RangeInclusive<usize>> {
    let mut lives: Vec<_> = schedule.buffers.iter().map(|_| 0..=0).collect();
    for (i, step) in schedule.steps.iter().enumerate() {
        lives[step.output as usize] = i..=i;
        for operand in &step.operands {
            if let Operand::View(view) = operand {
                let life = &mut lives[view.buffer as usize];
                *life = *life.start()..=i;
            }
        }
    }
    for output in &schedule.outputs {
        let life = &mut lives[output.buffer as usize];
        *life = *life.start()..=usize::MAX;
    }
    lives
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
