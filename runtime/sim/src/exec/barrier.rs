//! Barriers of a block, and the order in which its warps run.

use super::Cta;
use super::control::Stop;
use super::warp::{Waiting, Warp};
use crate::fault::{Fault, FaultKind, Trap};
use crate::memory::shadow::{Seen, learn};

/// One of a block's sixteen barriers.
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

impl Cta<'_> {
    /// Runs all warps to their ends.
    pub(super) fn run(&mut self, warps: &mut [Warp]) -> Result<(), Box<Fault>> {
        let mut states = vec![State::Ready; warps.len()];
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
                let checked = self.launch.checks.any();
                let stop = if checked {
                    self.run_warp::<true>(&mut warps[at])?
                } else {
                    self.run_warp::<false>(&mut warps[at])?
                };
                match stop {
                    Stop::Done => states[at] = State::Done,
                    Stop::Polling => states[at] = State::Polling { changes: self.changes },
                    Stop::Warpgroup { pc } => {
                        states[at] = State::Product { pc };
                        let group = at / 4 * 4..at / 4 * 4 + 4;
                        let whole = states.get(group.clone()).is_some_and(|group| {
                            group.iter().all(|state| *state == State::Product { pc })
                        });
                        if whole {
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
                        self.barriers[id].waiting.push(at);
                        states[at] = State::At { id, pc };
                    }
                }
                for id in 0..self.barriers.len() {
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
        let Some(barrier) = self.barriers.get_mut(id) else {
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
        let barrier = &mut self.barriers[id];
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
        self.barriers[id].arrived += 1;
        Ok(())
    }

    /// Lets a barrier's warps go on if all have come.
    fn release(&mut self, id: usize, states: &mut [State]) {
        let running = states.iter().filter(|state| **state != State::Done).count();
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
            if let State::At { id, pc } = state {
                first.get_or_insert((warp as u32, *pc));
                let line = self.launch.program.code[*pc as usize].line;
                let count = self.barriers[*id].count;
                let count = count.map_or(String::new(), |count| format!(" for {count} threads"));
                texts.push(format!("warp {warp} waits at barrier {id}{count}, PTX line {line}"));
            }
            if let State::Product { pc } = state {
                first.get_or_insert((warp as u32, *pc));
                let line = self.launch.program.code[*pc as usize].line;
                texts.push(format!(
                    "warp {warp} waits for its warpgroup at a wgmma, PTX line {line}"
                ));
            }
            for part in &warps[warp].parts {
                if let Waiting::Mbarrier(offset) = part.waiting {
                    first.get_or_insert((warp as u32, part.pc - 1));
                    let line = self.launch.program.code[part.pc as usize - 1].line;
                    let lacking = self.lacking(offset);
                    texts.push(format!("warp {warp} waits at {lacking}, PTX line {line}"));
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
