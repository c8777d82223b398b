//! Random graphs through the stage: what a step reads is still where an earlier step put it.

use std::collections::BTreeMap;

use bytec_ir::sample;
use bytec_plan::program::Operand;

use super::{Schedule, schedule};
use crate::fuse::{RULES, pack, run};
use crate::target::Target;

const GRAPHS: u64 = 1500;

/// The schedules of the random graphs that have one.
fn schedules() -> Vec<(u64, Schedule)> {
    let of = |seed: u64| {
        let (fused, _) = run(&sample::graph(seed), RULES).unwrap();
        Some((seed, schedule(&pack(&fused).ok()?, Target::Cpu).ok()?))
    };
    let schedules: Vec<_> = (0..GRAPHS).filter_map(of).collect();
    assert!(schedules.len() as u64 > GRAPHS / 3, "{} graphs have a schedule", schedules.len());
    schedules
}

/// Goes through the steps with the slots' contents in hand.
#[test]
fn values_that_live_at_once_never_share_a_slot() {
    let mut shared = 0;
    for (seed, schedule) in schedules() {
        let slot = |buffer: u32| schedule.buffers[buffer as usize].slot;
        let mut contents: BTreeMap<u32, u32> = BTreeMap::new();
        for step in &schedule.steps {
            for operand in &step.operands {
                let Operand::View(view) = operand else { continue };
                let held = contents.get(&slot(view.buffer));
                assert_eq!(held, Some(&view.buffer), "graph {seed}: %{} reads", step.name);
                let apart = slot(view.buffer) != slot(step.output);
                assert!(apart, "graph {seed}: %{} is written over its operand", step.name);
            }
            contents.insert(slot(step.output), step.output);
        }
        for output in &schedule.outputs {
            let held = contents.get(&slot(output.buffer));
            assert_eq!(held, Some(&output.buffer), "graph {seed}: output {}", output.name);
        }
        shared += usize::from(schedule.slots.len() < schedule.buffers.len());
    }
    assert!(shared > 0, "no graph has a slot that two values share");
}
