//! Barriers in shared memory, with phases and counts of bytes.
//!
//! A phase ends when all expected arrivals have come and the bytes that were expected and those that came are equal. An
//! arrival publishes what the lanes that arrive did, a wait learns what all arrivals of the completed phases knew, and
//! that the copies which complete on the mbarrier are done. All copies of a phase are done at its end and not before:
//! they stand in the shadows with the mbarrier as the agent and the phase as its clock.
//!
//! An mbarrier's bytes are its own from `init` to `inval`: what they hold is not documented.

use std::borrow::Cow;

use super::Cluster;
use super::access::{Reach, Step, Target, address};
use super::agent::Agent;
use super::warp::{Warp, lanes};
use crate::fault::{AccessKind, FaultKind};
use crate::inst::{MbarrierOp, Mbarriers, Phase};
use crate::memory::shadow::{Seen, Who, before, clock_of, learn};

/// Bytes of an mbarrier.
const BYTES: u64 = 8;
/// The most arrivals that a phase may expect.
const MOST_ARRIVALS: u32 = (1 << 20) - 1;
/// The most bytes that may be expected, or come before they are.
const MOST_BYTES: i64 = (1 << 20) - 1;

/// A valid mbarrier.
#[derive(Debug)]
pub(super) struct Mbarrier {
    block: usize,
    offset: u64,
    /// Its number as an agent.
    agent: u32,
    /// Who initialised it, and whether a fence has shown that to the async proxy.
    maker: u32,
    fenced: bool,
    /// The maker's clock then, and the warps that a barrier of the cluster has shown the initialisation to.
    made: u32,
    shown: Vec<u32>,
    /// The last operation of each warp of another block: the warp, its clock and the phase.
    others: Vec<(u32, u32, u32)>,
    /// Phases that some warp of the own block has seen end.
    seen: u32,
    /// Arrivals that a phase expects.
    expected: u32,
    /// Arrivals that the current phase still expects.
    pending: u32,
    /// Bytes that were expected in the current phase, less those that came.
    bytes: i64,
    /// Phases that have ended.
    phase: u32,
    /// What the arrivals of the current phase knew.
    arriving: [Vec<Seen>; 2],
    /// What those of all completed phases knew, of memory and of proxy fences.
    completed: [Vec<Seen>; 2],
}

impl Mbarrier {
    /// Where it lies: the block, and the offset in its shared memory.
    pub(super) fn place(&self) -> (usize, u64) {
        (self.block, self.offset)
    }

    /// Whether a warp has initialised it and has fenced that.
    pub(super) fn is_shown_by(&self, warp: u32) -> bool {
        self.fenced && self.maker == warp
    }

    /// A warp of another block whose last operation on it is not known to have come: not as a part of a phase whose
    /// end the own block has seen, nor by what that block knows of the warp.
    pub(super) fn late(&self, known: &[Seen]) -> Option<u32> {
        let late = |(warp, clock, phase): &&(u32, u32, u32)| {
            *phase >= self.seen && clock_of(known[*warp as usize]) <= *clock
        };
        self.others.iter().find(late).map(|(warp, ..)| *warp)
    }

    /// A warp learns that it was initialised.
    pub(super) fn learn_init(&mut self, warp: u32) {
        if !self.shown.contains(&warp) {
            self.shown.push(warp);
        }
    }

    /// Whether all that the phase expects has come.
    fn ends(&self) -> bool {
        self.pending == 0 && self.bytes == 0
    }

    fn end_phase(&mut self) {
        if !self.ends() {
            return;
        }
        self.phase += 1;
        self.pending = self.expected;
        for (completed, arriving) in self.completed.iter_mut().zip(&mut self.arriving) {
            learn(completed, arriving);
            arriving.clear();
        }
        // Its copies of all phases so far: their clock is the number of the phase, from one.
        let mut copies = vec![0; self.agent as usize];
        copies.push(before(self.phase + 1));
        learn(&mut self.completed[0], &copies);
    }
}

fn wrong(text: String) -> FaultKind {
    FaultKind::Mbarrier(text)
}

impl Cluster<'_> {
    /// Whether some of these bytes of shared memory belong to an mbarrier.
    pub(super) fn mbarrier_in(&self, block: usize, offset: u64, bytes: u64) -> bool {
        let own = |at: &Mbarrier| {
            at.block == block && at.offset < offset + bytes && offset < at.offset + BYTES
        };
        self.mbarriers.iter().any(own)
    }

    /// What an mbarrier that is waited for lacks.
    pub(super) fn lacking(&self, block: usize, offset: u64) -> String {
        let Some(at) = self.mbarriers.iter().find(|at| at.place() == (block, offset)) else {
            return format!("shared+{offset}, where no mbarrier is any more");
        };
        let Mbarrier { phase, pending, bytes, .. } = at;
        let bytes = match bytes {
            0 => String::new(),
            1.. => format!(" and {bytes} bytes"),
            _ => format!(" and has {} bytes too many", -bytes),
        };
        format!(
            "the mbarrier at shared+{offset}, whose phase {phase} lacks {pending} arrivals{bytes}"
        )
    }

    /// Where a lane's mbarrier is in the block's list. The operation is one access to its bytes.
    pub(super) fn find_mbarrier(&mut self, warp: u32, lane: usize, target: Target) -> Step<usize> {
        let at = match target {
            Target::Shared { block, offset } => {
                let at = self.mbarriers.iter().position(|at| at.place() == (block, offset));
                at.map(|at| (block, at))
            }
            _ => None,
        };
        let Some((block, at)) = at else {
            let text = "expected an initialised mbarrier, found none at this address".to_owned();
            return Err(self.trap(wrong(text), lane, target));
        };
        if self.launch.checks.races {
            let mut known = Cow::Borrowed(&self.known[warp as usize]);
            let mbarrier = &self.mbarriers[at];
            if mbarrier.shown.contains(&warp) {
                let maker = &mut known.to_mut()[mbarrier.maker as usize];
                *maker = (*maker).max(before(mbarrier.made + 1));
            }
            let who = Who::lane(warp, lane as u32, &known);
            let shadow = &mut self.blocks[block].shared.shadow;
            if let Err(kind) = shadow.atomic(target.offset(), BYTES, who) {
                return Err(self.trap(self.named(kind), lane, target));
            }
        }
        if block != self.block {
            let clock = clock_of(self.known[warp as usize][warp as usize]);
            let mbarrier = &mut self.mbarriers[at];
            mbarrier.others.retain(|(other, ..)| *other != warp);
            mbarrier.others.push((warp, clock, mbarrier.phase));
        }
        Ok(at)
    }

    /// The place of a lane's mbarrier.
    fn mbarrier_place(&self, warp: &Warp, op: &MbarrierOp, lane: usize) -> Step<Target> {
        let (access, bytes) = (AccessKind::Atomic, BYTES);
        let reach = Reach { lane, access, bytes, align: BYTES };
        self.resolve(op.space, address(warp, op.address, lane), reach, 0)
    }

    /// Refuses what the mbarriers of other blocks don't take.
    fn own_mbarrier(&self, at: usize, what: &str, lane: usize, target: Target) -> Step<()> {
        if self.mbarriers[at].block == self.block {
            return Ok(());
        }
        let text = format!("expected an mbarrier of the own block for {what}");
        Err(self.trap(wrong(text), lane, target))
    }

    /// Everything but waits.
    pub(super) fn mbarrier(&mut self, warp: &mut Warp, mask: u32, op: &MbarrierOp) -> Step<()> {
        // All lanes publish what the warp knows before the first of them changes it.
        let published = match op.kind {
            Mbarriers::Arrive { .. } => self.published(warp, mask),
            _ => Vec::new(),
        };
        for lane in lanes(mask) {
            let target = self.mbarrier_place(warp, op, lane)?;
            let number = |col: u32| warp.narrow[col as usize][lane];
            match op.kind {
                Mbarriers::Init { count } => {
                    self.init_mbarrier(warp.index, lane, target, number(count))?;
                }
                Mbarriers::Inval => {
                    let at = self.find_mbarrier(warp.index, lane, target)?;
                    self.mbarriers.remove(at);
                    self.write_mbarrier(warp.index, lane, target)?;
                }
                Mbarriers::Transactions { bytes, complete } => {
                    let bytes = i64::from(number(bytes)) * if complete { -1 } else { 1 };
                    let at = self.find_mbarrier(warp.index, lane, target)?;
                    self.transact(at, bytes, lane, target)?;
                }
                Mbarriers::Arrive { state, count, expect, drop } => {
                    let (count, expect) = (count.map_or(1, number), expect.map_or(0, number));
                    let at = self.find_mbarrier(warp.index, lane, target)?;
                    if let Some(state) = state {
                        self.own_mbarrier(at, "an arrival that asks for the phase", lane, target)?;
                        warp.wide[state as usize][lane] = u64::from(self.mbarriers[at].phase);
                    }
                    let all = (&published[..], count, drop);
                    self.arrive_at(at, warp.index, all, i64::from(expect), (lane, target))?;
                }
                Mbarriers::Wait { .. } => {}
            }
        }
        self.changes += 1;
        Ok(())
    }

    /// A write to the bytes by an `init` or an `inval`.
    fn write_mbarrier(&mut self, warp: u32, lane: usize, target: Target) -> Step<()> {
        let reach = Reach { lane, access: AccessKind::Write, bytes: BYTES, align: BYTES };
        self.check(warp, target, reach)
    }

    fn init_mbarrier(&mut self, warp: u32, lane: usize, target: Target, count: u32) -> Step<()> {
        let offset = match target {
            Target::Shared { block, offset } if block == self.block => offset,
            _ => {
                let text = "expected an address in the block's shared memory".to_owned();
                return Err(self.trap(wrong(text), lane, target));
            }
        };
        let block = self.block;
        if !(1..=MOST_ARRIVALS).contains(&count) {
            let text = format!("expected 1 to {MOST_ARRIVALS} arrivals a phase, found {count}");
            return Err(self.trap(wrong(text), lane, target));
        }
        if self.mbarrier_in(block, offset, BYTES) {
            let text = "expected memory without an mbarrier; `inval` it first".to_owned();
            return Err(self.trap(wrong(text), lane, target));
        }
        self.write_mbarrier(warp, lane, target)?;
        // An mbarrier at the same place again is another one, but its copies' clock must not begin anew.
        let agent = self.agent(Agent::Mbarrier { block, offset })?;
        let made = clock_of(self.known[warp as usize][warp as usize]);
        self.mbarriers.push(Mbarrier {
            block,
            offset,
            agent,
            maker: warp,
            fenced: false,
            made,
            shown: Vec::new(),
            others: Vec::new(),
            seen: 0,
            expected: count,
            pending: count,
            bytes: 0,
            phase: 0,
            arriving: Default::default(),
            completed: Default::default(),
        });
        Ok(())
    }

    /// The agent and the clock of copies that complete on the mbarrier now.
    pub(super) fn copies_of(&self, at: usize, lane: usize, target: Target) -> Step<(u32, u32)> {
        let mbarrier = &self.mbarriers[at];
        if self.launch.checks.races && !mbarrier.fenced {
            let text = "expected a fence.mbarrier_init or fence.proxy.async after its init, before a copy uses it";
            return Err(self.trap(wrong(text.to_owned()), lane, target));
        }
        Ok(self.phase_of(at))
    }

    /// The same without the proxy's fence.
    pub(super) fn phase_of(&self, at: usize) -> (u32, u32) {
        let mbarrier = &self.mbarriers[at];
        (mbarrier.agent, mbarrier.phase + 1)
    }

    pub(super) fn transact(
        &mut self,
        at: usize,
        bytes: i64,
        lane: usize,
        target: Target,
    ) -> Step<()> {
        let mbarrier = &mut self.mbarriers[at];
        mbarrier.bytes += bytes;
        if mbarrier.bytes.abs() > MOST_BYTES {
            let found = mbarrier.bytes;
            let text = format!("expected at most {MOST_BYTES} bytes to come, found {found}");
            return Err(self.trap(wrong(text), lane, target));
        }
        let lapped = mbarrier.ends() && mbarrier.seen < mbarrier.phase;
        if lapped && self.launch.checks.races {
            let phase = mbarrier.phase;
            let text = format!(
                "its phase {phase} ends before anybody has seen the end of the one before, which a parity can't tell \
                 from the one after"
            );
            return Err(self.trap(wrong(text), lane, target));
        }
        mbarrier.end_phase();
        self.changes += 1;
        Ok(())
    }

    fn arrive_at(
        &mut self,
        at: usize,
        warp: u32,
        (published, count, drop): (&[Seen], u32, bool),
        expect: i64,
        (lane, target): (usize, Target),
    ) -> Step<()> {
        let mbarrier = &mut self.mbarriers[at];
        if count == 0 || count > mbarrier.pending {
            let pending = mbarrier.pending;
            let text =
                format!("expected at most {pending} more arrivals in its phase, found {count}");
            return Err(self.trap(wrong(text), lane, target));
        }
        mbarrier.pending -= count;
        if drop {
            mbarrier.expected -= count.min(mbarrier.expected);
        }
        learn(&mut mbarrier.arriving[0], published);
        learn(&mut mbarrier.arriving[1], &self.fenced[warp as usize]);
        // Expected bytes count before the arrival that brings them.
        self.transact(at, expect, lane, target)
    }

    /// Whether the phase that all lanes wait for has ended; if not, the first mbarrier that some lane waits for.
    pub(super) fn wait(
        &mut self,
        warp: &Warp,
        mask: u32,
        op: &MbarrierOp,
        phase: Phase,
    ) -> Step<Option<u64>> {
        let mut first = None;
        let mut done = Vec::new();
        for lane in lanes(mask) {
            let target = self.mbarrier_place(warp, op, lane)?;
            let at = self.find_mbarrier(warp.index, lane, target)?;
            self.own_mbarrier(at, "a wait", lane, target)?;
            let mbarrier = &self.mbarriers[at];
            let ended = match phase {
                Phase::Parity(col) => {
                    let parity = warp.narrow[col as usize][lane];
                    if parity > 1 {
                        let text = format!("expected a parity of 0 or 1, found {parity}");
                        return Err(self.trap(wrong(text), lane, target));
                    }
                    mbarrier.phase % 2 != parity
                }
                Phase::State(col) => u64::from(mbarrier.phase) > warp.wide[col as usize][lane],
            };
            if !ended {
                first = first.or(Some(mbarrier.offset));
            } else if done.last() != Some(&at) {
                done.push(at);
            }
        }
        if first.is_none() {
            for at in done {
                let mbarrier = &mut self.mbarriers[at];
                mbarrier.seen = mbarrier.phase;
                let [known, fenced] = &mbarrier.completed;
                learn(&mut self.known[warp.index as usize], known);
                learn(&mut self.fenced[warp.index as usize], fenced);
            }
        }
        Ok(first)
    }

    /// `fence.proxy.async` and `fence.mbarrier_init`.
    pub(super) fn proxy_fence(&mut self, warp: &Warp, mask: u32, only_mbarriers: bool) {
        for mbarrier in &mut self.mbarriers {
            mbarrier.fenced |= mbarrier.maker == warp.index;
        }
        if only_mbarriers {
            return;
        }
        let index = warp.index as usize;
        let published = self.published(warp, mask);
        let own = [vec![0; index], vec![published[index]]].concat();
        learn(&mut self.fenced[index], &own);
    }
}
