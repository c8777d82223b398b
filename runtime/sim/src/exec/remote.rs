//! What goes from a block to the shared memory of another of its cluster and completes on an mbarrier there.
//!
//! The bytes move at once and belong to the operation until a wait for the mbarrier's phase, as those of bulk copies.

use super::Cluster;
use super::access::{By, Reach, Step, Target, address};
use super::warp::{Warp, lanes};
use crate::fault::{AccessKind, FaultKind, Trap};
use crate::inst::{Address, PeerCopy, Space, StoreAsync};

/// Bytes that a copy moves at a time.
const PIECE: u64 = 16;

impl Cluster<'_> {
    /// The mbarrier at a lane's address, which must lie in the block of a target.
    fn completes(
        &mut self,
        warp: &Warp,
        lane: usize,
        at: Address,
        to: Target,
    ) -> Step<(usize, Target)> {
        let reach = Reach { lane, access: AccessKind::Atomic, bytes: 8, align: 8 };
        let target = self.resolve(Space::Cluster, address(warp, at, lane), reach, 0)?;
        if target.block() != to.block() {
            let text = "expected the mbarrier in the block that the bytes go to".to_owned();
            return Err(self.trap(FaultKind::Mbarrier(text), lane, target));
        }
        Ok((self.find_mbarrier(warp.index, lane, target)?, target))
    }

    /// `cp.async.bulk` from the own shared memory to another block's.
    pub(super) fn peer_copy<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        copy: &PeerCopy,
    ) -> Step<()> {
        for lane in lanes(mask) {
            let bytes = u64::from(warp.narrow[copy.bytes as usize][lane]);
            if bytes == 0 || bytes % PIECE != 0 {
                let kind = FaultKind::Misaligned { access: AccessKind::Read, bytes: PIECE };
                return Err(Trap::lane(kind, lane as u32));
            }
            let reads = Reach { lane, access: AccessKind::Read, bytes, align: PIECE };
            let writes = Reach { access: AccessKind::Write, ..reads };
            let from = self.resolve(Space::Shared, address(warp, copy.from, lane), reads, 0)?;
            let to = self.resolve(Space::Cluster, address(warp, copy.to, lane), writes, 0)?;
            let (at, target) = self.completes(warp, lane, copy.mbarrier, to)?;
            let agent = Some(self.copies_of(at, lane, target)?);
            for piece in (0..bytes).step_by(PIECE as usize) {
                let shifted = |target: Target| Target::Shared {
                    block: target.block(),
                    offset: target.offset() + piece,
                };
                let (from, to) = (shifted(from), shifted(to));
                if CHECK {
                    let by = By { warp: warp.index, agent, proxy: true };
                    self.check_by(by, from, Reach { bytes: PIECE, ..reads })?;
                    let by = By { proxy: false, ..by };
                    self.check_by(by, to, Reach { bytes: PIECE, ..writes })?;
                }
                for word in [0, 8] {
                    let value = self.fetch(warp, lane, from, word, 8);
                    self.put(warp, lane, to, word, 8, value);
                }
                if CHECK && self.launch.tracked {
                    let place = |target: Target| {
                        let start = target.offset() as usize;
                        start..start + PIECE as usize
                    };
                    let mut taint = [0; PIECE as usize];
                    taint.copy_from_slice(&self.blocks[from.block()].shared.taint[place(from)]);
                    self.blocks[to.block()].shared.taint[place(to)].copy_from_slice(&taint);
                }
            }
            for traffic in [&mut self.profile.shared_reads, &mut self.profile.shared_writes] {
                traffic.requests += 1;
                traffic.bytes += bytes;
            }
            self.transact(at, -(bytes as i64), lane, target)?;
        }
        Ok(())
    }

    /// `st.async`.
    pub(super) fn store_async<const CHECK: bool>(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        StoreAsync { store, mbarrier }: &StoreAsync,
    ) -> Step<()> {
        let each = store.ty.bytes();
        let bytes = each * store.elements.len() as u64;
        for lane in lanes(mask) {
            let reach = Reach { lane, access: AccessKind::Write, bytes, align: bytes };
            let to = self.resolve(store.space, address(warp, store.address, lane), reach, 0)?;
            let (at, target) = self.completes(warp, lane, *mbarrier, to)?;
            if CHECK {
                // It is no part of the async proxy, so the mbarrier needs no fence.
                let agent = Some(self.phase_of(at));
                self.check_by(By { warp: warp.index, agent, proxy: false }, to, reach)?;
                if self.launch.tracked {
                    self.store_taint(warp, store, lane, to)?;
                }
            }
            for (number, element) in store.elements.iter().enumerate() {
                let Some(col) = element.col else { continue };
                let value = match element.wide {
                    true => warp.wide[col as usize][lane],
                    false => u64::from(warp.narrow[col as usize][lane]),
                };
                self.put(warp, lane, to, number as u64 * each, each, value);
            }
            self.transact(at, -(bytes as i64), lane, target)?;
        }
        self.profile.shared_writes.requests += 1;
        self.profile.shared_writes.bytes += bytes * u64::from(mask.count_ones());
        Ok(())
    }
}
