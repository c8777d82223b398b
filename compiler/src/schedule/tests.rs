//! Random graphs through the stage: values that live at once lie apart in the arena.

use bytec_ir::sample;

use super::memory::clashes;
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

#[test]
fn values_that_live_at_once_never_share_a_slot() {
    let mut shared = 0;
    for (seed, schedule) in schedules() {
        assert_eq!(clashes(&schedule), [], "graph {seed}");
        shared += usize::from(schedule.slots.len() < schedule.buffers.len());
    }
    assert!(shared > 0, "no graph has a slot that two values share");
}
