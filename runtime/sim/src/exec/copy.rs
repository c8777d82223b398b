//! `cp.async`, its groups and waits, and atomics.
//!
//! The bytes move when the copy is issued. Until the lane that issued it has waited, the shared
//! memory belongs to the copy: any access to it, by the same lane too, is a fault. A wait is a write
//! by that lane, at that time; other warps need a barrier after it. So it is with the source: until
//! the wait nobody may write it, and the wait is a read.

use super::Cluster;
use super::access::{Reach, Requests, Step, Target, address};
use super::warp::{InFlight, Warp, lanes};
use crate::fault::AccessKind;
use crate::inst::{Atom, AtomOp, CpAsync, Space, Ty};
use crate::memory::blockrace::Source;
use crate::memory::global::PAGE;
use crate::memory::shadow::Who;

impl Cluster<'_> {
    pub(super) fn cp_async<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        copy: &CpAsync,
    ) -> Step<()> {
        let bytes = u64::from(copy.bytes);
        if !CHECK && self.copy_bulk(warp, mask, copy) {
            return Ok(());
        }
        let mut reads = Requests::new(bytes);
        let mut writes = Requests::new(bytes);
        for lane in lanes(mask) {
            let to = Reach { lane, access: AccessKind::Write, bytes, align: bytes };
            let target = self.resolve(Space::Shared, address(warp, copy.shared, lane), to, 0)?;
            writes.note(lane, 0, target);
            let ignored = copy.ignore.is_some_and(|guard| {
                (warp.preds[guard.pred as usize] >> lane & 1 == 1) != guard.negated
            });
            let wanted =
                copy.source_bytes.map_or(bytes, |col| u64::from(warp.narrow[col as usize][lane]));
            let wanted = if ignored { 0 } else { wanted };
            let mut data = [0u64; 2];
            let mut tainted = 0u32;
            let mut read = None;
            if wanted > 0 {
                // A source size above the copy's is refused as a read outside of it.
                let from = Reach { lane, access: AccessKind::Read, bytes: wanted, align: bytes };
                let from_address = address(warp, copy.global, lane);
                let source = self.resolve(Space::Global, from_address, from, 0)?;
                if wanted > bytes {
                    let kind = crate::fault::FaultKind::OutOfBounds {
                        access: AccessKind::Read,
                        bytes: wanted,
                    };
                    return Err(self.trap(kind, lane, source));
                }
                reads.note(lane, from_address, source);
                if let Target::Global { index, offset } = source {
                    read = Some(Source {
                        page: (index as u32, (offset / PAGE) as u32),
                        offset: offset % PAGE,
                        bytes: wanted,
                        warp: warp.index,
                        lane: lane as u32,
                    });
                }
                if CHECK {
                    self.check(warp.index, source, from)?;
                }
                for at in 0..wanted.div_ceil(4) {
                    let keep = (wanted - at * 4).min(4);
                    let word = self.fetch(warp, lane, source, at * 4, keep.next_power_of_two());
                    let word = word & (u64::MAX >> (64 - keep * 8));
                    data[(at / 2) as usize] |= word << (at % 2 * 32);
                }
                if CHECK && self.launch.tracked {
                    tainted = self.marked_bytes(source, wanted);
                }
            }
            let Target::Shared { offset, .. } = target else { continue };
            if CHECK && self.launch.checks.races {
                let known = &self.known[warp.index as usize];
                let who = Who::lane(warp.index, lane as u32, known);
                if let Err(kind) = self.blocks[self.block].shared.shadow.own(offset, bytes, who) {
                    return Err(self.trap(self.named(kind), lane, target));
                }
                let group = warp.committed[lane];
                let lane = lane as u32;
                warp.in_flight.push(InFlight { lane, group, offset, bytes, source: read });
                if let Some(source) = read {
                    self.pages.begin_copy(source);
                }
            }
            for at in (0..bytes).step_by(4) {
                let word = data[(at / 8) as usize] >> (at % 8 * 8) & 0xffff_ffff;
                self.blocks[self.block].shared.write(offset + at, 4, word);
            }
            self.blocks[self.block].shared.set_written(offset, bytes);
            if CHECK && self.launch.tracked {
                for at in 0..bytes {
                    let taint = if tainted >> at & 1 == 1 { 0xff } else { 0 };
                    self.blocks[self.block].shared.taint[(offset + at) as usize] = taint;
                }
            }
        }
        reads.count(self, mask, false);
        writes.count(self, mask, true);
        Ok(())
    }

    pub(super) fn cp_commit(&mut self, warp: &mut Warp, mask: u32) {
        for lane in lanes(mask) {
            warp.committed[lane] += 1;
        }
    }

    /// Waits until at most `pending` of each lane's newest groups are in flight; all copies, the
    /// uncommitted too, with none given.
    pub(super) fn cp_wait(&mut self, warp: &mut Warp, mask: u32, pending: Option<u32>) {
        let known = &self.known[warp.index as usize];
        let (shadow, pages) = (&mut self.blocks[self.block].shared.shadow, &mut self.pages);
        let (committed, index) = (&warp.committed, warp.index);
        warp.in_flight.retain(|copy| {
            let done = mask >> copy.lane & 1 == 1
                && pending.is_none_or(|pending| {
                    copy.group.saturating_add(pending) < committed[copy.lane as usize]
                });
            if done {
                let who = Who::lane(index, copy.lane, known);
                shadow.release(copy.offset, copy.bytes, who);
                if let Some(source) = &copy.source {
                    pages.end_copy(source, known);
                }
            }
            !done
        });
    }

    pub(super) fn atom<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        atom: &Atom,
    ) -> Step<()> {
        let bytes = atom.ty.bytes();
        let mut traffic = Requests::new(bytes);
        for lane in lanes(mask) {
            let reach = Reach { lane, access: AccessKind::Atomic, bytes, align: bytes };
            let from = address(warp, atom.address, lane);
            let target = self.resolve(atom.space, from, reach, 0)?;
            traffic.note(lane, from, target);
            if CHECK {
                self.check(warp.index, target, reach)?;
                if self.launch.tracked {
                    self.atom_taint(warp, atom, lane, target)?;
                }
            }
            let value = |col: u32| {
                if atom.ty.is_wide() {
                    warp.wide[col as usize][lane]
                } else {
                    u64::from(warp.narrow[col as usize][lane])
                }
            };
            let (b, c) = (value(atom.b), value(atom.c));
            let old = match target {
                // Blocks on other threads may change the word between a read and a write.
                Target::Global { index, offset } if bytes == 4 => {
                    match &self.launch.allocations[index] {
                        Some(allocation) => {
                            if let Some(undo) = &self.launch.undo {
                                undo.keep(index, allocation, offset);
                            }
                            let f =
                                |old: u32| combine(atom.op, atom.ty, u64::from(old), b, c) as u32;
                            u64::from(allocation.update(offset, f))
                        }
                        None => 0,
                    }
                }
                _ => {
                    let guard = self.launch.wide_atomics.lock();
                    let old = self.fetch(warp, lane, target, 0, bytes);
                    let new = combine(atom.op, atom.ty, old, b, c);
                    self.put(warp, lane, target, 0, bytes, new);
                    drop(guard);
                    old
                }
            };
            if let Some(d) = atom.target {
                if atom.ty.is_wide() {
                    warp.wide[d as usize][lane] = old;
                } else {
                    warp.narrow[d as usize][lane] = old as u32;
                }
            }
        }
        traffic.count(self, mask, true);
        Ok(())
    }
}

/// The new value of an atomic operation.
pub(super) fn combine(op: AtomOp, ty: Ty, old: u64, b: u64, c: u64) -> u64 {
    let signed = |x: u64| if ty.is_wide() { x as i64 } else { i64::from(x as u32 as i32) };
    let less = if ty.is_signed() { signed(old) < signed(b) } else { old < b };
    let new = match op {
        AtomOp::Add => old.wrapping_add(b),
        AtomOp::Min => {
            if less {
                old
            } else {
                b
            }
        }
        AtomOp::Max => {
            if less {
                b
            } else {
                old
            }
        }
        AtomOp::And => old & b,
        AtomOp::Or => old | b,
        AtomOp::Xor => old ^ b,
        AtomOp::Exch => b,
        AtomOp::Inc => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        AtomOp::Dec => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        AtomOp::Cas => {
            if old == b {
                c
            } else {
                old
            }
        }
    };
    if ty.is_wide() { new } else { new & 0xffff_ffff }
}
