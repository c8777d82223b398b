//! Barriers of a block, and the order in which its warps run.

use super::Cluster;
use super::control::Stop;
use super::warp::{Waiting, Warp};
use crate::fault::{Fault, FaultKind, Trap};
use crate::memory::shadow::{Seen, learn};

/// Barriers of a block.
pub(super) const EACH: usize = 16;

/// One of a block's barriers.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    /// Warps that wait, with the place at which they arrived.
    waiting: Vec<usize>,
    /// Warps that arrived without waiting.
    arrived: u32,
    /// The number of threads that the first arrival named.
    count: Option<u32>,
    /// What those that arrived knew.
    known: Vec<Seen>,
    fenced: Vec<Seen>,
}

/// Where a warp is between its turns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    At {
        id: usize,
        pc: u32,
    },
    /// Waits for an mbarrier, none of which had changed so often when it last looked.
    Polling {
        changes: u64,
    },
    /// Waits for the other warps of its warpgroup, before a product.
    Product {
        pc: u32,
    },
    Done,
}

/// Turns that warps may give up one after the other while no mbarrier changes.
const IDLE_LIMIT: u32 = 1 << 16;

impl Cluster<'_> {
    /// Runs all warps to their ends.
    pub(super) fn run(&mut self, warps: &mut [Warp]) -> Result<(), Box<Fault>> {
        let mut states = vec![State::Ready; warps.len()];
        let each = self.warps_each;
        let (mut idle, mut idle_since) = (0, 0);
        while states.iter().any(|state| *state != State::Done) {
            let mut moved = false;
            for at in 0..warps.len() {
                match states[at] {
                    State::Ready => {}
                    State::Polling { changes } if changes != self.changes => warps[at].look_again(),
                    State::Polling { .. }
                    | State::At { .. }
                    | State::Product { .. }
                    | State::Done => continue,
                }
                moved = true;
                self.block = at / each;
                self.warp = at;
                let checked = self.launch.checks.any();
                let stop = if checked {
                    self.run_warp::<true>(&mut warps[at])?
                } else {
                    self.run_warp::<false>(&mut warps[at])?
                };
                match stop {
                    Stop::Done => {
                        states[at] = State::Done;
                        let own = &states[self.block * each..(self.block + 1) * each];
                        if own.iter().all(|state| *state == State::Done) {
                            self.end_block(self.block)
                                .map_err(|trap| self.fault(*trap, at as u32, self.last_exit))?;
                        }
                    }
                    Stop::Polling => states[at] = State::Polling { changes: warps[at].looked },
                    Stop::Warpgroup { pc } => {
                        states[at] = State::Product { pc };
                        let first = at - at % each % 4;
                        let group = first..first + 4;
                        let inside = group.end <= (self.block + 1) * each;
                        let whole = |group: &[State]| {
                            group.iter().all(|state| *state == State::Product { pc })
                        };
                        if inside && whole(&states[group.clone()]) {
                            states[group.clone()].fill(State::Ready);
                            self.product(&mut warps[group], pc)
                                .map_err(|trap| self.fault(*trap, at as u32, pc))?;
                        }
                    }
                    Stop::Turn => {
                        idle = if idle_since == self.changes { idle + 1 } else { 0 };
                        idle_since = self.changes;
                        states[at] = State::Ready;
                    }
                    Stop::Barrier { id, count, pc } => {
                        self.arrive(at, id, count)
                            .map_err(|trap| self.fault(*trap, at as u32, pc))?;
                        let id = self.barriers_of(self.block).start + id;
                        self.barriers[id].waiting.push(at);
                        states[at] = State::At { id, pc };
                    }
                }
                for id in self.barriers_of(self.block) {
                    self.release(id, &mut states);
                }
            }
            if !moved || idle > IDLE_LIMIT {
                return Err(self.stuck(&states, warps));
            }
        }
        Ok(())
    }

    /// A warp comes to a barrier.
    pub(super) fn arrive(
        &mut self,
        warp: usize,
        id: usize,
        count: Option<u32>,
    ) -> Result<(), Box<Trap>> {
        let own = self.barriers_of(self.block_of(warp as u32)).start + id;
        let Some(barrier) = self.barriers.get_mut(own).filter(|_| id < EACH) else {
            let text = format!("expected a barrier from 0 to 15, found {id}");
            return Err(Trap::new(FaultKind::Barrier(text)));
        };
        if let Some(count) = count
            && (count == 0 || count % 32 != 0)
        {
            let text = format!("barrier {id}: expected a count of whole warps, found {count}");
            return Err(Trap::new(FaultKind::Barrier(text)));
        }
        let fresh = barrier.waiting.is_empty() && barrier.arrived == 0;
        if fresh {
            barrier.count = count;
            barrier.known.clear();
            barrier.fenced.clear();
        } else if barrier.count != count {
            let show =
                |count: Option<u32>| count.map_or("all threads".to_owned(), |n| n.to_string());
            let text = format!(
                "barrier {id}: earlier warps expect {}, this one expects {}",
                show(barrier.count),
                show(count)
            );
            return Err(Trap::new(FaultKind::Barrier(text)));
        }
        self.tick(warp as u32);
        let barrier = &mut self.barriers[own];
        learn(&mut barrier.known, &self.known[warp]);
        learn(&mut barrier.fenced, &self.fenced[warp]);
        Ok(())
    }

    /// A warp that does not wait.
    pub(super) fn arrive_only(
        &mut self,
        warp: usize,
        id: usize,
        count: u32,
    ) -> Result<(), Box<Trap>> {
        self.arrive(warp, id, Some(count))?;
        let own = self.barriers_of(self.block_of(warp as u32)).start + id;
        self.barriers[own].arrived += 1;
        Ok(())
    }

    /// Lets a barrier's warps go on if all have come.
    fn release(&mut self, id: usize, states: &mut [State]) {
        let block = &states[self.block * self.warps_each..(self.block + 1) * self.warps_each];
        let running = block.iter().filter(|state| **state != State::Done).count();
        let barrier = &mut self.barriers[id];
        let arrived = barrier.waiting.len() + barrier.arrived as usize;
        let expected = barrier.count.map_or(running, |count| count as usize / 32);
        if arrived == 0 || arrived != expected {
            return;
        }
        let barrier = std::mem::take(barrier);
        for warp in &barrier.waiting {
            states[*warp] = State::Ready;
            learn(&mut self.known[*warp], &barrier.known);
            learn(&mut self.fenced[*warp], &barrier.fenced);
        }
    }

    fn stuck(&self, states: &[State], warps: &[Warp]) -> Box<Fault> {
        let mut texts = Vec::new();
        let mut first = None;
        for (warp, state) in states.iter().enumerate() {
            let block = self.block_of(warp as u32);
            let name = format!("warp {}{}", self.warp_in_block(warp as u32), self.of_block(block));
            if let State::At { id, pc } = state {
                first.get_or_insert((warp as u32, *pc));
                let line = self.launch.program.code[*pc as usize].line;
                let count = self.barriers[*id].count;
                let count = count.map_or(String::new(), |count| format!(" for {count} threads"));
                let id = id % EACH;
                texts.push(format!("{name} waits at barrier {id}{count}, PTX line {line}"));
            }
            if let State::Product { pc } = state {
                first.get_or_insert((warp as u32, *pc));
                let line = self.launch.program.code[*pc as usize].line;
                texts.push(format!("{name} waits for its warpgroup at a wgmma, PTX line {line}"));
            }
            for part in &warps[warp].parts {
                if let Waiting::Mbarrier(offset) = part.waiting {
                    first.get_or_insert((warp as u32, part.pc - 1));
                    let line = self.launch.program.code[part.pc as usize - 1].line;
                    let lacking = self.lacking(block, offset);
                    texts.push(format!("{name} waits at {lacking}, PTX line {line}"));
                }
                if part.waiting == Waiting::Cluster {
                    first.get_or_insert((warp as u32, part.pc));
                    let line = self.launch.program.code[part.pc as usize].line;
                    let lacking = self.meeting.lacking();
                    texts.push(format!(
                        "{name} waits at the cluster's barrier, which lacks {lacking} lanes, PTX line {line}"
                    ));
                }
            }
        }
        let done = states.iter().filter(|state| **state == State::Done).count();
        let text = format!("{}; {done} of {} warps have returned", texts.join(", "), states.len());
        let (warp, pc) = first.unwrap_or((0, 0));
        let trap = Trap { kind: FaultKind::Barrier(text), lane: None, address: None };
        self.fault(trap, warp, pc)
    }
}
